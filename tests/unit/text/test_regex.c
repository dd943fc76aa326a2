/* labels: unit */
/* Oniguruma's dialect on PCRE2: what is translated matches as there, what cannot be is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "text/regex.h"

/* The first match as text, or NULL. */
static const char *first(const char *pattern, const char *text, char out[100])
{
    hs__regex *re = NULL;
    hs__regex_scratch *s = NULL;
    hs_err err = {0};
    if (hs__regex_create(pattern, strlen(pattern), "test", &re, &err) != 0)
        fail_msg("%s: %s", pattern, err.text);
    assert_true(hs__regex_bytes(re) > 0);
    assert_int_equal(hs__regex_scratch_create(strlen(text), &s, &err), 0);
    size_t begin, end;
    int r = hs__regex_find(re, s, text, strlen(text), 0, &begin, &end, &err);
    assert_true(r >= 0);
    if (r) {
        assert_true(end - begin < 100);
        memcpy(out, text + begin, end - begin);
        out[end - begin] = '\0';
    }
    hs__regex_scratch_destroy(&s);
    hs__regex_destroy(&re);
    return r ? out : NULL;
}

static void test_matches(void **state)
{
    (void)state;
    char out[100];
    assert_string_equal(first("\\p{N}{1,3}", "a1234", out), "123");
    assert_string_equal(first("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+", "1 \xc3\xa9t\xc3\xa9", out), " \xc3\xa9t\xc3\xa9");
    assert_string_equal(first("(?i:'s|'t)", "it'S", out), "'S");
    assert_string_equal(first("(?i:'s)", "it'\xc5\xbf", out), "'\xc5\xbf"); /* long s */
    assert_string_equal(first("\\w+", "-a\xcc\x81_1\xe2\x80\xbf-", out), "a\xcc\x81_1\xe2\x80\xbf");
    assert_string_equal(first("\\W+", "ab, c", out), ", ");
    assert_string_equal(first("[\\w-]+", "!a-b!", out), "a-b");
    assert_string_equal(first("\\p{^L}+", "ab12", out), "12");
    assert_string_equal(first("\\u0062", "abc", out), "b");
    assert_string_equal(first("\\x{63}", "abc", out), "c");
    assert_string_equal(first("a++b", "aab", out), "aab");
    assert_string_equal(first("a$", "ba\nc", out), "a"); /* $ and ^ are at every line */
    assert_string_equal(first("^c", "ba\nc", out), "c");
    assert_string_equal(first("a{2", "a{2", out), "a{2"); /* no interval */
    assert_null(first("x|y", "abc", out));
    assert_null(first(".", "\n", out));
    /* A mark that PCRE2 counts among Han by its script extensions. */
    assert_null(first("\\p{Han}", "\xe3\x80\x81", out));
    assert_string_equal(first("\\p{Han}", "\xe3\x80\x81\xe4\xb8\x80", out), "\xe4\xb8\x80");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *sentence;
        int code;
    } cases[] = {
        {"[a&&b]", "intersection", -ENOTSUP},  {"[a[b]]", "class inside a class", -ENOTSUP},
        {"[]a]", "empty class", -ENOTSUP},     {"\\h", "\\h", -ENOTSUP},
        {"\\bx", "word boundary", -ENOTSUP},   {"[\\W]", "\\W", -ENOTSUP},
        {"a{,3}", "{,n}", -ENOTSUP},           {"a{1,3}+", "after an interval", -ENOTSUP},
        {"(?m:a)", "(?i)", -ENOTSUP},          {"(*UCP)a", "(*", -ENOTSUP},
        {"(?#)a", "comment", -ENOTSUP},        {"a)(b", "parenthesis", -EINVAL},
        {"(a", "parenthesis", -EINVAL},        {"a\\", "backslash", -EINVAL},
        {"\\pL", "{name}", -EINVAL},           {"\\p{Klingon}", "regular expression", -EINVAL},
        {"[a", "regular expression", -EINVAL}, {"*", "regular expression", -EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs__regex *re = NULL;
        hs_err err = {0};
        int r = hs__regex_create(cases[i].pattern, strlen(cases[i].pattern), "test", &re, &err);
        if (r != cases[i].code || !strstr(err.text, cases[i].sentence))
            fail_msg("%s: %d %s", cases[i].pattern, r, err.text);
        assert_null(re);
    }
    static char big[HS__MAX_PATTERN + 1];
    memset(big, 'a', sizeof big);
    hs__regex *re = NULL;
    assert_int_equal(hs__regex_create(big, sizeof big, "test", &re, NULL), -E2BIG);
}

static void test_heap_is_bounded(void **state)
{
    (void)state;
    static char text[1u << 22];
    hs__regex *re = NULL;
    hs__regex_scratch *s = NULL;
    hs_err err = {0};
    size_t begin, end;
    memset(text, 'a', sizeof text);
    assert_int_equal(hs__regex_create("(a|b)*c", 7, "test", &re, &err), 0);
    assert_int_equal(hs__regex_scratch_create(sizeof text, &s, &err), 0);
    text[sizeof text - 1] = 'c';
    assert_int_equal(hs__regex_find(re, s, text, sizeof text, 0, &begin, &end, &err), -E2BIG);
    hs__regex_scratch_destroy(&s);
    hs__regex_destroy(&re);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_heap_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
