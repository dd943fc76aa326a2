/* labels: unit golden */
/* The language, against Jinja2's own answers (data/templates/language.json), and what our errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "template_helper.h"

static void test_language(void **state)
{
    json_t *all = NULL, *c;
    size_t i;
    int bad = 0;
    hs_err err;
    (void)state;
    if (hs_json_load_file(TESTS_DIR "/data/templates/language.json", 1 << 20, &all, &err) < 0)
        fail_msg("%s", err.text);
    char *variables = json_dumps(json_object_get(all, "variables"), 0);
    json_array_foreach(json_object_get(all, "cases"), i, c)
    {
        const char *source = json_string_value(json_object_get(c, "source"));
        const char *want = json_string_value(json_object_get(c, "text"));
        char *text = render_source(source, variables, &err);
        if (want ? !text || strcmp(text, want) != 0 : text || !err.text[0]) {
            print_error("%s\ngave:     %s\nexpected: %s\n", source, text ? text : err.text, want ? want : "(an error)");
            bad++;
        }
        hs_free(text);
    }
    assert_true(i > 200);
    assert_int_equal(bad, 0);
    free(variables);
    json_decref(all);
}

static void test_syntax_errors(void **state)
{
    (void)state;
    check_error("a\nb\n{{ 1 + }}", NULL, -EINVAL, "test.jinja: line 3: expected an expression, found '}}'");
    check_error("\n{% if x %}\n\n", NULL, -EINVAL, "ends without 'endif' for the block of line 2");
    check_error("{% for x in y %}{% endif %}", NULL, -EINVAL, "line 1: unknown tag 'endif'");
    check_error("{% frob %}", NULL, -EINVAL, "unknown tag 'frob'");
    check_error("{% include 'a' %}", NULL, -EINVAL, "unknown tag 'include'");
    check_error("{{ x | frob }}", NULL, -EINVAL, "no filter named 'frob'");
    check_error("{{ x is frob }}", NULL, -EINVAL, "no test named 'frob'");
    check_error("{{ (1] }}", NULL, -EINVAL, "unexpected ']'");
    check_error("{{ f(a=1, 2) }}", NULL, -EINVAL, "positional argument after");
    check_error("{% break %}", NULL, -EINVAL, "'break' outside of a loop");
    check_error("{% for i in [1] %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}", NULL, -EINVAL,
                "'continue' outside of a loop");
    check_error("{% for i in [1] recursive %}{% endfor %}", NULL, -EINVAL, "recursive loops are not supported");
    check_error("{% set true = 1 %}", NULL, -EINVAL, "cannot assign to 'true'");
    check_error("{% macro f(a=1, b) %}{% endmacro %}", NULL, -EINVAL, "without default");
}

static void test_runtime_errors(void **state)
{
    (void)state;
    check_error("a\n{{ raise_exception('Roles must alternate') }}", NULL, -EINVAL,
                "test.jinja: line 2: Roles must alternate");
    check_error("{{ foo.bar }}", NULL, -EINVAL, "'foo' is undefined");
    check_error("{{ {}.foo.bar }}", NULL, -EINVAL, "'dict' has no attribute 'foo'");
    check_error("{{ [][1].x }}", NULL, -EINVAL, "'list' has no such element");
    check_error("{{ 'a'.nosuch() }}", NULL, -EINVAL, "'str' has no attribute 'nosuch'");
    check_error("{{ 'a'.format() }}", NULL, -EINVAL, "the method 'format' is not supported");
    check_error("{{ 'a' + 1 }}", NULL, -EINVAL, "'+' does not work on 'str' and 'int'");
    check_error("{{ 1 // 0 }}", NULL, -EINVAL, "division by zero");
    check_error("{{ 1 < 'a' }}", NULL, -EINVAL, "have no order");
    check_error("{{ 'a' in none }}", NULL, -EINVAL, "'NoneType'");
    check_error("{{ 'x'.split('') }}", NULL, -EINVAL, "empty separator");
    check_error("{% set x = 1 %}{% set x.y = 2 %}", NULL, -EINVAL, "only attributes of a namespace");
    check_error("{% set a, b = [1] %}", NULL, -EINVAL, "1 values for 2 names");
    check_error("{% macro f() %}{% endmacro %}{{ f(1) }}", NULL, -EINVAL, "takes 0 arguments, 1 were given");
    check_error("{{ {[1]: 2} }}", NULL, -EINVAL, "cannot be the key");
}

/* Slices share their list's elements until one of the two changes. */
static void test_slices_are_values(void **state)
{
    (void)state;
    check_render("{% set a = [1, 2, 3, 4] %}{% set b = a[1:3] %}{% set _ = a.pop(0) %}{{ a }}{{ b }}", NULL,
                 "[2, 3, 4][2, 3]");
    check_render("{% set a = [1, 2, 3] %}{% set b = a[:2] %}{% set _ = b.append(9) %}{{ a }}{{ b }}", NULL,
                 "[1, 2, 3][1, 2, 9]");
    check_render("{% set a = [1, 2, 3] %}{% set b = a[:] %}{% set _ = b.insert(0, 9) %}{{ a }}{{ b }}", NULL,
                 "[1, 2, 3][9, 1, 2, 3]");
    check_render(
        "{% set a = [1, 2, 3] %}{% set b = a[:] %}{% set _ = a.clear() %}{% set _ = a.append(7) %}{{ a }}{{ b }}", NULL,
        "[7][1, 2, 3]");
    check_render("{% set a = [1, 2, 3] %}{% set b = a[:] %}{% set _ = a.reverse() %}{{ a }}{{ b }}", NULL,
                 "[3, 2, 1][1, 2, 3]");
}

/* A string that grows shares its beginning with what it grew from. */
static void test_growing_strings_are_values(void **state)
{
    (void)state;
    check_render("{% set a = 'x' ~ 'y' %}{% set b = a + 'b' %}{% set c = a + 'c' %}{{ a }},{{ b }},{{ c }}", NULL,
                 "xy,xyb,xyc");
    check_render("{% set a = 'x' ~ 'y' %}{% set b = a + a %}{% set c = b + b %}{{ a }},{{ b }},{{ c }}", NULL,
                 "xy,xyxy,xyxyxyxy");
    check_render("{% set ns = namespace(s='') %}{% for i in range(3000) %}{% set ns.s = ns.s + 'ab' %}{% endfor %}"
                 "{{ ns.s | length }}{{ ns.s == 'ab' * 3000 }}",
                 NULL, "6000True");
}

/* Dicts with many keys have an index; removing keeps it right. */
static void test_big_dicts(void **state)
{
    (void)state;
    check_render("{% set d = {} %}{% for i in range(500) %}{% set _ = d.update({'k' ~ i: i}) %}{% endfor %}"
                 "{% for i in range(0, 500, 2) %}{% set _ = d.pop('k' ~ i) %}{% endfor %}"
                 "{{ d | length }} {{ d['k499'] }} {{ 'k498' in d }} {{ d.get('k1') }} {{ d.keys() | first }}",
                 NULL, "250 499 False 1 k1");
    check_render("{% set d = {1: 'a', 1.0: 'b', true: 'c', none: 'd'} %}{{ d }}", NULL, "{1: 'c', None: 'd'}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_runtime_errors),
        cmocka_unit_test(test_slices_are_values),
        cmocka_unit_test(test_growing_strings_are_values),
        cmocka_unit_test(test_big_dicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
