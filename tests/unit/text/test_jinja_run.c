/* labels: unit */
/* Hostile templates: each ends with an error, within the bounds on time, memory, output and nesting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "template_helper.h"

/* n times what, between before and after; hs_free it. */
static char *repeated(const char *before, const char *what, size_t n, const char *after)
{
    hs_buf b;
    hs_buf_init(&b, 4u << 20);
    hs_buf_puts(&b, before);
    for (size_t i = 0; i < n; i++)
        hs_buf_puts(&b, what);
    hs_buf_puts(&b, after);
    char *s = hs_buf_take(&b);
    assert_non_null(s);
    return s;
}

static void check_repeated_error(const char *before, const char *what, size_t n, const char *after, int code,
                                 const char *part)
{
    char *s = repeated(before, what, n, after);
    check_error(s, NULL, code, part);
    hs_free(s);
}

static void test_loops(void **state)
{
    (void)state;
    check_error("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", NULL, -ETIMEDOUT,
                "runs too long");
    check_error("{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}", NULL, -E2BIG, "no memory");
    check_error("{{ range(1000000000000) | list }}", NULL, -E2BIG, "range of more than");
    check_error("{{ range(0, -9223372036854775807, -1) }}", NULL, -E2BIG, "range of more than");
    check_error("{{ range(1, 10, 0) }}", NULL, -EINVAL, "step of zero");
}

static void test_recursion(void **state)
{
    (void)state;
    check_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", NULL, -E2BIG, "nested more than");
    check_error("{% macro f(x) %}{{ g(x) }}{% endmacro %}{% macro g(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}", NULL,
                -E2BIG, "nested more than");
    check_error("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", NULL, -E2BIG, "nested more than");
    check_error("{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}", NULL, -E2BIG, "nested more than");
    check_error("{% set l = [] %}{% set _ = l.append(l) %}{% set k = [] %}{% set _ = k.append(k) %}{{ l == k }}", NULL,
                -E2BIG, "nested more than");
}

static void test_sizes(void **state)
{
    (void)state;
    check_error("{{ 'x' * 1000000000 }}", NULL, -E2BIG, "repetition");
    check_error("{{ [0] * 1000000000 }}", NULL, -E2BIG, "repetition");
    check_error(
        "{% set ns = namespace(s='abcdefgh') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", NULL,
        -E2BIG, "a string of");
    check_error("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", NULL, -E2BIG, "longer than");
    check_error("{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
                NULL, -E2BIG, "no memory");
    check_error("{% set s = 'a' * 1000 %}{{ s.replace('', s).replace('', s) }}", NULL, -E2BIG, "longer than");
    check_error("{% set s = 'a' * 1000 %}{{ s.replace('a', s).replace('a', s) }}", NULL, -E2BIG, "longer than");
    check_error("{{ 'a'.center(1000000000) }}", NULL, -EINVAL, "too wide");
    check_error("{{ 'a' | indent(1000000000) }}", NULL, -EINVAL, "an indent of");
    check_error("{{ [1] | tojson(indent=1000000000) }}", NULL, -EINVAL, "an indent of");
    check_error("{{ 2 ** 64 }}", NULL, -ERANGE, "64 bits");
    check_error("{{ 9223372036854775807 + 1 }}", NULL, -ERANGE, "64 bits");
    check_error("{{ (0 - 9223372036854775807 - 1) // -1 }}", NULL, -ERANGE, "64 bits");
    check_error("{{ strftime_now('%9999999999d') }}", NULL, -EINVAL, "strftime_now");
}

static void test_slow_searches(void **state)
{
    (void)state;
    check_error("{% set s = 'a' * 4000000 %}{{ s.rfind('b' ~ 'a' * 2000000) }}", NULL, -ETIMEDOUT, "runs too long");
    check_error("{% set s = 'a' * 4000000 %}{{ s.strip('b' * 4000000 ~ 'a') }}", NULL, -ETIMEDOUT, "runs too long");
    check_error("{% set s = 'a' * 4000000 %}{% for i in range(100000) %}{% if 'b' in s %}{% endif %}{% endfor %}", NULL,
                -ETIMEDOUT, "runs too long");
    check_error(
        "{% set s = 'a' * 4000000 %}{% for i in range(100000) %}{% if s[3000000] == 'b' %}{% endif %}{% endfor %}",
        NULL, -ETIMEDOUT, "runs too long");
}

/* 200 times open, then close. */
static void check_nested_error(const char *open, const char *middle, const char *close, const char *end)
{
    char *inner = repeated(middle, close, 200, end), *outer = repeated("{{ ", open, 200, inner);
    check_error(outer, NULL, -EINVAL, "nested more than");
    hs_free(inner);
    hs_free(outer);
}

static void test_nesting(void **state)
{
    (void)state;
    check_nested_error("(", "1", ")", " }}");
    check_nested_error("[", "1", "]", " }}");
    check_nested_error("{1:", "1", "}", " }}");
    check_nested_error("f(", "1", ")", " }}");
    check_nested_error("f[", "1", "]", " }}");
    check_nested_error("1 is in(", "1", ")", " }}");
    check_nested_error("1|default(", "1", ")", " }}");
    check_repeated_error("{{ ", "(", 100000, "1", -EINVAL, "nested too deeply");
    check_repeated_error("{{ ", "not ", 100000, "1 }}", -EINVAL, "nested more than");
    check_repeated_error("{{ ", "-", 100000, "1 }}", -EINVAL, "nested more than");
    check_repeated_error("{{ ", "1 if 1 else ", 10000, "1 }}", -EINVAL, "nested more than");
    check_repeated_error("", "{% if 1 %}", 20000, "", -EINVAL, "nested more than");
    check_repeated_error("", "{% for a in b %}", 20000, "", -EINVAL, "nested more than");
    check_repeated_error("{% set ", "(", 100000, "a = 1 %}", -EINVAL, "nested too deeply");
    check_repeated_error("{{ 1", " + 1", 5000, " }}", -E2BIG, "nested more than");
    check_repeated_error("{{ a", ".b", 5000, " }}", -E2BIG, "nested more than");
    check_repeated_error("{{ 1", " | string", 5000, " }}", -E2BIG, "nested more than");
    check_repeated_error("{% filter string", " | string", 5000, " %}{% endfilter %}", -E2BIG, "nested more than");
}

static void test_long_but_flat(void **state)
{
    (void)state;
    char *s = repeated("{% if 0 %}", "{% elif 0 %}", 20000, "{% else %}x{% endif %}");
    check_render(s, NULL, "x");
    hs_free(s);
    s = repeated("", "{{ 1 }}{# #}", 20000, "");
    hs_err err;
    char *text = render_source(s, NULL, &err);
    assert_non_null(text);
    assert_int_equal(strlen(text), 20000);
    hs_free(text);
    hs_free(s);
    s = repeated("{{ [", "1,", 50000, "] | length }}");
    check_render(s, NULL, "50000");
    hs_free(s);
}

static void test_too_big(void **state)
{
    (void)state;
    check_repeated_error("", "0123456789abcdef", HS_TEMPLATE_MAX_SOURCE / 16 + 1, "", -E2BIG, "more than");
    check_repeated_error("{{ [", "0+0,", HS_TEMPLATE_MAX_SOURCE / 4 - 10, "] }}", -E2BIG, "no memory for a template");
}

static void test_broken_input(void **state)
{
    (void)state;
    check_error("a\xff", NULL, -EINVAL, "not valid UTF-8");
    check_error("a\xed\xa0\x80", NULL, -EINVAL, "not valid UTF-8");
    check_error("{{ '\\ud800' }}", NULL, -EINVAL, "escape");
    check_error("{{ x \x01 }}", NULL, -EINVAL, "unexpected character");
    check_error("{{ 99999999999999999999 }}", NULL, -EINVAL, "number");
    check_error("{{ 0x }}", NULL, -EINVAL, "number");
    check_error("{{ a", NULL, -EINVAL, "'{{' without '}}'");
    check_error("{% if a", NULL, -EINVAL, "'{%' without '%}'");
    check_error("{{ '", NULL, -EINVAL, "does not end");
    check_error("{{ '\\", NULL, -EINVAL, "does not end");
    check_error("{#", NULL, -EINVAL, "'#}'");
    check_error("{% raw %}", NULL, -EINVAL, "endraw");
}

/* The Nth allocation fails, for all N: an error, nothing lost, nothing half made. */
static void test_out_of_memory(void **state)
{
    static const char source[] = "{% macro f(x) %}{{ x | upper }}{% endmacro %}{% for i in range(3) %}{{ f('a' ~ i) }}"
                                 "{% set q = {'a': [1, 2]} %}{{ q | tojson }}{% endfor %}{{ 'x' * 10000 }}";
    (void)state;
    for (int64_t n = 0;; n++) {
        hs_err err = {0};
        hs_template *t = NULL;
        char *text = NULL;
        size_t len;
        json_t *messages = json_array();
        const hs_template_input in = {.messages = messages};
        hs_mem_fail_after(n);
        int r = hs_template_create(source, strlen(source), "t", NULL, &t, &err);
        if (r == 0)
            r = hs_template_render(t, &in, &text, &len, NULL, &err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || r == -ENOMEM);
        hs_template_destroy(&t);
        hs_free(text);
        json_decref(messages);
        if (r == 0)
            break;
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loops),         cmocka_unit_test(test_recursion),    cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_slow_searches), cmocka_unit_test(test_nesting),      cmocka_unit_test(test_long_but_flat),
        cmocka_unit_test(test_too_big),       cmocka_unit_test(test_broken_input), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
