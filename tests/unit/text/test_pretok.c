/* labels: unit */
/* Splitting: every behavior of a Split, the other steps, and what they refuse. Pieces are shown as "a|b|c". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "text/pretok.h"

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"

static int show(void *ctx, const char *piece, size_t len)
{
    hs_buf *out = ctx;
    if (out->len)
        (void)hs_buf_puts(out, "|");
    return hs_buf_append(out, piece, len);
}

static int parse(const char *json, hs__pretok *p, hs_err *err)
{
    json_t *j = NULL;
    assert_int_equal(hs_json_load(json, strlen(json), "test", &j, err), 0);
    int r = hs__pretok_parse(p, j, "test", err);
    json_decref(j);
    return r;
}

static void check(const char *json, const char *text, const char *expected)
{
    hs__pretok p;
    hs_err err = {0};
    if (parse(json, &p, &err) != 0)
        fail_msg("%s: %s", json, err.text);
    hs_buf out;
    hs_buf_init(&out, 1000);
    (void)hs_buf_puts(&out, "");
    hs__regex_scratch *s = NULL;
    assert_int_equal(hs__regex_scratch_create(strlen(text), &s, &err), 0);
    assert_int_equal(hs__pretok_run(&p, s, text, strlen(text), show, &out, &err), 0);
    assert_string_equal(out.data, expected);
    hs__regex_scratch_destroy(&s);
    hs_buf_deinit(&out);
    hs__pretok_deinit(&p);
}

static void split(const char *pattern, const char *behavior, bool invert, const char *text, const char *expected)
{
    char json[512];
    snprintf(json, sizeof json,
             "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":%s,\"behavior\":\"%s\","
             "\"invert\":%s}," BYTE_LEVEL "]}",
             pattern, behavior, invert ? "true" : "false");
    check(json, text, expected);
}

static void test_behaviors(void **state)
{
    (void)state;
    static const char dash[] = "{\"String\":\"-\"}", text[] = "the-final--countdown";
    split(dash, "Isolated", false, text, "the|-|final|-|-|countdown");
    split(dash, "Removed", false, text, "the|final|countdown");
    split(dash, "MergedWithPrevious", false, text, "the-|final-|-|countdown");
    split(dash, "MergedWithNext", false, text, "the|-final|-|-countdown");
    split(dash, "Contiguous", false, text, "the|-|final|--|countdown");
    split(dash, "Removed", true, text, "-|-|-");
    split(dash, "MergedWithNext", true, text, "the-|final-|-|countdown");
    split(dash, "Isolated", false, "-", "-");
    split(dash, "Removed", false, "--", "");
    split(dash, "Isolated", false, "", "");
}

static void test_patterns(void **state)
{
    (void)state;
    split("{\"String\":\"a.b\"}", "Isolated", false, "a.baxb", "a.b|axb");
    split("{\"Regex\":\"(?=[A-Z])\"}", "Isolated", false, "camelCaseWord", "camel|Case|Word");
    split("{\"Regex\":\"x*\"}", "Isolated", false, "axxb", "a|xx|b");
    /* A piece is a text of its own: the lookahead of the second step does not see what comes behind. */
    check(
        "{\"type\":\"Sequence\",\"pretokenizers\":["
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},\"behavior\":\"Isolated\"},"
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\"}," BYTE_LEVEL
        "]}",
        "a   b   x", "a|  | |b|   |x");
}

static void test_other_steps(void **state)
{
    (void)state;
    check("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "don't stop  me 42!", " don|'t| stop| | me| 42|!");
    check("{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}", " a b", " a b");
    check("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL "]}",
          "ab12c", "ab|1|2|c");
    check("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":false}," BYTE_LEVEL
          "]}",
          "ab12c", "ab|12|c");
}

/* U+180E is no blank, U+31350 a letter of the Han script, U+1C89 one in upper case, whatever PCRE2 thinks. */
static void test_standins(void **state)
{
    (void)state;
    split("{\"Regex\":\"\\\\s+\"}", "Isolated", false, "a\xe1\xa0\x8e b", "a\xe1\xa0\x8e| |b");
    split("{\"Regex\":\"\\\\p{L}+\"}", "Isolated", false,
          "1\xf0\xb1\x8d\x90"
          "2",
          "1|\xf0\xb1\x8d\x90|2");
    split("{\"Regex\":\"\\\\p{Han}+\"}", "Isolated", false,
          "1\xf0\xb1\x8d\x90"
          "2",
          "1|\xf0\xb1\x8d\x90|2");
    split("{\"Regex\":\"\\\\p{Lu}\"}", "Isolated", false,
          "a\xe1\xb2\x89"
          "b",
          "a|\xe1\xb2\x89|b");
}

static int stop_at_second(void *ctx, const char *piece, size_t len)
{
    (void)piece;
    (void)len;
    return ++*(int *)ctx == 2 ? -ECANCELED : 0;
}

static void test_emit_may_fail(void **state)
{
    (void)state;
    hs__pretok p;
    hs_err err = {0};
    hs__regex_scratch *s = NULL;
    int calls = 0;
    assert_int_equal(parse("{\"type\":\"ByteLevel\"}", &p, &err), 0);
    assert_int_equal(hs__regex_scratch_create(5, &s, &err), 0);
    assert_int_equal(hs__pretok_run(&p, s, "a b c", 5, stop_at_second, &calls, &err), -ECANCELED);
    assert_int_equal(calls, 2);
    hs__regex_scratch_destroy(&s);
    hs__pretok_deinit(&p);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *sentence;
        int code;
    } cases[] = {
        {"null", "without ByteLevel", -ENOTSUP},
        {"{\"type\":\"Whitespace\"}", "Whitespace", -ENOTSUP},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Sideways\"}", "Sideways", -ENOTSUP},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"}}", "behavior", -EINVAL},
        {"{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}", "pattern", -EINVAL},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[3]}", "pre_tokenizer 1", -EINVAL},
        {"{}", "type", -EINVAL},
        {"3", "type", -EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs__pretok p;
        hs_err err = {0};
        assert_int_equal(parse(cases[i].json, &p, &err), cases[i].code);
        assert_non_null(strstr(err.text, cases[i].sentence));
    }
    /* More steps than there is room for. */
    hs_buf json;
    hs_buf_init(&json, 4000);
    (void)hs_buf_puts(&json, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i <= HS__MAX_STEPS; i++)
        (void)hs_buf_puts(&json, "{\"type\":\"Digits\"},");
    (void)hs_buf_puts(&json, BYTE_LEVEL "]}");
    hs__pretok p;
    hs_err err = {0};
    assert_int_equal(parse(json.data, &p, &err), -E2BIG);
    hs_buf_deinit(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behaviors), cmocka_unit_test(test_patterns),      cmocka_unit_test(test_other_steps),
        cmocka_unit_test(test_standins),  cmocka_unit_test(test_emit_may_fail), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
