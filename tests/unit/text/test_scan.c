/* labels: unit */
/* The pull parser reads what jansson reads, and refuses the rest with a place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "text/scan.h"

static hs_err err;

static hs__scan scan_of(const char *text)
{
    err = (hs_err){0};
    return (hs__scan){.where = "test", .text = text, .p = text, .end = text + strlen(text), .err = &err};
}

static void string_is(const char *json, const char *expected, size_t len)
{
    hs__scan s = scan_of(json);
    hs_buf out;
    hs_buf_init(&out, 100);
    assert_int_equal(hs__scan_string(&s, &out), 0);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, expected, len);
    assert_ptr_equal(s.p, s.end);
    hs_buf_deinit(&out);
}

static void string_fails(const char *json, const char *sentence)
{
    hs__scan s = scan_of(json);
    hs_buf out;
    hs_buf_init(&out, 10);
    assert_true(hs__scan_string(&s, &out) < 0);
    assert_non_null(strstr(err.text, sentence));
    hs_buf_deinit(&out);
}

static void test_strings(void **state)
{
    (void)state;
    string_is("\"\"", "", 0);
    string_is(" \t\r\n\"a b\"", "a b", 3);
    string_is("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
    string_is("\"\\u0041\\u00e9\\u4f60\\ud83d\\ude00\\u0000\"", "A\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80\0", 11);
    string_fails("", "a string was expected");
    string_fails("\"abc", "ends inside a string");
    string_fails("\"\\", "ends inside a string");
    string_fails("\"\\u00", "ends inside a string");
    string_fails("\"\\u00g0\"", "hexadecimal");
    string_fails("\"\\ud800\"", "surrogate");
    string_fails("\"\\ud800\\u0041\"", "surrogate");
    string_fails("\"\\udc00\"", "surrogate");
    string_fails("\"\\x\"", "escape");
    string_fails("\"a\nb\"", "control character");
    string_fails("\"0123456789a\"", "too long");
    string_fails("\n\n  1", "line 3, byte 4");
}

static void test_numbers(void **state)
{
    (void)state;
    uint32_t n = 0;
    hs__scan s = scan_of(" 123,");
    assert_int_equal(hs__scan_uint(&s, 200, &n), 0);
    assert_int_equal(n, 123);
    assert_true(hs__scan_is(&s, ','));
    static const char *const bad[] = {"", "-1", "1.0", "1e3", "201", "99999999999999999999", "\"1\"", "null"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s = scan_of(bad[i]);
        assert_int_equal(hs__scan_uint(&s, 200, &n), -EINVAL);
    }
    assert_int_equal(n, 123);
}

static void skipped(const char *json, size_t n)
{
    hs__scan s = scan_of(json);
    hs__slice slice;
    assert_int_equal(hs__scan_skip(&s, &slice), 0);
    assert_int_equal(slice.len, strlen(json));
    assert_int_equal(slice.n, n);
}

static void test_skip(void **state)
{
    (void)state;
    skipped("null", 1);
    skipped("{}", 0);
    skipped("[ ]", 0);
    skipped("[1]", 1);
    skipped("[[],{},\"],\\\"\",-1.5e3]", 4);
    skipped("{\"a\":[1,2],\"b\" : {\"c\":\"}\"}}", 2);
    static const char *const bad[] = {"", "[", "{\"a\"", "[1}", "]", "\"abc", "[\"", ","};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs__scan s = scan_of(bad[i]);
        hs__slice slice;
        assert_int_equal(hs__scan_skip(&s, &slice), -EINVAL);
    }
}

static void test_fields(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    hs__slice f[3];
    hs__scan s = scan_of("{\"x\":{\"a\":0},\"c\":[1,2],\"a\":\"z\"}");
    assert_int_equal(hs__scan_fields(&s, names, 3, f), 0);
    assert_memory_equal(f[0].p, "\"z\"", 3);
    assert_null(f[1].p);
    assert_int_equal(f[2].n, 2);
    static const char *const bad[] = {"[]", "{\"a\":1,\"a\":1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{1:2}", "{\"a\":1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s = scan_of(bad[i]);
        assert_true(hs__scan_fields(&s, names, 3, f) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
