/* labels: unit */
/* Stop strings over a stream: however it is cut, the result is that of a search in the whole text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/detok.h"
#include "text/utf8.h"

/* Pushes text in pieces of `step` bytes; returns whether a stop string was met, the text passed on in out. */
static bool run(const char *const *stops, size_t n, const char *text, size_t step, hs_buf *out)
{
    hs_stop *s = NULL;
    hs_err err = {0};
    assert_int_equal(hs_stop_create(stops, n, &s, &err), 0);
    hs_buf_clear(out);
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i += step) {
        bool hit = hs_stop_push(s, text + i, step < len - i ? step : len - i, out);
        assert_int_equal(hit, hs_stop_is_hit(s));
    }
    bool hit = hs_stop_is_hit(s);
    hs_stop_flush(s, out);
    hs_stop_destroy(&s);
    assert_null(s);
    return hit;
}

static void check(const char *const *stops, size_t n, const char *text, bool hit, const char *passed)
{
    hs_buf out;
    hs_buf_init(&out, 1000);
    (void)hs_buf_puts(&out, "");
    for (size_t step = 1; step <= 8; step++) {
        assert_int_equal(run(stops, n, text, step, &out), hit);
        assert_string_equal(out.data, passed);
    }
    hs_buf_deinit(&out);
}

#define CHECK(text, hit, passed, ...)                                                                                  \
    check((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), text, hit,  \
          passed)

static void test_matches(void **state)
{
    (void)state;
    CHECK("one two three", true, "one ", "two");
    CHECK("one two three", false, "one two three", "four");
    CHECK("one two thre", false, "one two thre", "three");
    CHECK("two", true, "", "two");
    CHECK("", false, "", "two");
    CHECK("aaab", true, "a", "aab");
    CHECK("abababac", true, "abab", "abac");
    CHECK("xabcabcabd", true, "xabc", "abcabd");
    CHECK("aabaaabaaaa", true, "aaba", "aabaaaa"); /* the border of aabaaa is found by way of a shorter one */
    CHECK("\n\n\nUser:", true, "\n", "\n\nUser:");
    /* Complete first wins; the longest of those that end together. */
    CHECK("abcd", true, "a", "abcd", "bc");
    CHECK("abcd", true, "", "bcd", "abcd");
    CHECK("abcx", false, "abcx", "abcd", "bcd");
    /* A failed beginning hides a match inside it from nobody. */
    CHECK("aabx", true, "aa", "aaab", "b");
    CHECK("</thin</think>ok", true, "</thin", "</think>");
    CHECK("caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd!", true, "caf\xc3\xa9 ", "\xe4\xbd\xa0\xe5\xa5\xbd");
    CHECK("\xe4\xbd\xa0\xe5\xa5\xbe!", false, "\xe4\xbd\xa0\xe5\xa5\xbe!", "\xe4\xbd\xa0\xe5\xa5\xbd");
}

/* What may begin a stop string waits, nothing more; what is passed on is whole characters. */
static void test_holds_back(void **state)
{
    (void)state;
    hs_stop *s = NULL;
    hs_err err = {0};
    hs_buf out;
    hs_buf_init(&out, 100);
    assert_int_equal(hs_stop_create((const char *const[]){"END", "\xe4\xbd\xa0x"}, 2, &s, &err), 0);
    assert_false(hs_stop_push(s, "abE", 3, &out));
    assert_string_equal(out.data, "ab");
    assert_false(hs_stop_push(s, "N", 1, &out));
    assert_string_equal(out.data, "ab");
    assert_false(hs_stop_push(s, "E", 1, &out));
    assert_string_equal(out.data, "abEN");
    assert_false(hs_stop_push(s, "", 0, &out));
    assert_false(hs_stop_push(s, "z\xe4\xbd\xa0", 4, &out));
    assert_string_equal(out.data, "abENEz");
    assert_false(hs_stop_push(s, "\xe4\xbd\xa0", 3, &out));
    assert_string_equal(out.data, "abENEz\xe4\xbd\xa0");
    assert_true(hs_stop_push(s, "x after", 7, &out));
    assert_true(hs_stop_push(s, "more", 4, &out));
    hs_stop_flush(s, &out);
    assert_string_equal(out.data, "abENEz\xe4\xbd\xa0");
    hs_buf_deinit(&out);
    hs_stop_destroy(&s);
}

/* Random texts and stop strings over two letters, against a plain search. */
static void test_random(void **state)
{
    (void)state;
    uint32_t random = 3;
    hs_buf out;
    hs_buf_init(&out, 1000);
    for (int round = 0; round < 3000; round++) {
        char text[40], stops[3][8], expected[40];
        const char *list[3] = {stops[0], stops[1], stops[2]};
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)('a' + ((random = random * 1664525 + 1013904223) >> 16) % 2);
        text[sizeof text - 1] = '\0';
        for (int s = 0; s < 3; s++) {
            size_t len = 2 + ((random = random * 1664525 + 1013904223) >> 16) % 6;
            for (size_t i = 0; i < len; i++)
                stops[s][i] = (char)('a' + ((random = random * 1664525 + 1013904223) >> 16) % 2);
            stops[s][len] = '\0';
        }
        size_t end = SIZE_MAX, begin = 0;
        for (int s = 0; s < 3; s++) {
            const char *at = strstr(text, stops[s]);
            size_t b = at ? (size_t)(at - text) : 0, e = at ? b + strlen(stops[s]) : SIZE_MAX;
            if (e < end || (e == end && e != SIZE_MAX && b < begin)) {
                end = e;
                begin = b;
            }
        }
        memcpy(expected, text, sizeof text);
        if (end != SIZE_MAX)
            expected[begin] = '\0';
        assert_int_equal(run(list, 3, text, 1 + random % 5, &out), end != SIZE_MAX);
        assert_int_equal(out.len, strlen(expected));
        assert_memory_equal(out.data ? out.data : "", expected, out.len);
    }
    hs_buf_deinit(&out);
}

static void test_refused(void **state)
{
    (void)state;
    hs_stop *s = NULL;
    hs_err err = {0};
    assert_int_equal(hs_stop_create(NULL, 0, &s, &err), -EINVAL);
    assert_int_equal(hs_stop_create((const char *const[]){"a", ""}, 2, &s, &err), -EINVAL);
    assert_non_null(strstr(err.text, "stop string 2"));
    for (int64_t n = 0;; n++) {
        hs_mem_fail_after(n);
        int r = hs_stop_create((const char *const[]){"a", "bc"}, 2, &s, &err);
        hs_mem_fail_after(-1);
        if (r == 0)
            break;
        assert_int_equal(r, -ENOMEM);
        assert_null(s);
    }
    hs_stop_destroy(&s);
    hs_stop_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_holds_back),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
