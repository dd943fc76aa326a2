/* labels: unit */
/* UTF-8: every scalar value there and back, every kind of broken text, cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "text/utf8.h"

#define R HS_UTF8_REPLACEMENT

static void test_round_trip(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char out[4];
        size_t n = hs__utf8_encode(cp, out);
        uint32_t back = 0;
        int used = hs__utf8_decode(out, n, &back);
        if (cp >= 0xd800 && cp <= 0xdfff)
            wrong += used != -1;
        else
            wrong += used != (int)n || back != cp || hs__utf8_len(out) != n || !hs__utf8_is_valid(out, n);
        for (size_t k = 1; k < n; k++)
            wrong += used > 0 && hs__utf8_decode(out, k, &back) != 0;
    }
    assert_int_equal(wrong, 0);
}

static void check(const char *text, size_t len, const char *expected)
{
    hs_buf out;
    hs_buf_init(&out, 1000);
    for (size_t step = 1; step <= len; step++) {
        unsigned char held[4];
        uint8_t n_held = 0;
        hs_buf_clear(&out);
        for (size_t i = 0; i < len; i += step)
            hs__utf8_push(held, &n_held, text + i, step < len - i ? step : len - i, &out);
        hs__utf8_flush(&n_held, &out);
        assert_string_equal(out.data, expected);
        assert_int_equal(n_held, 0);
    }
    hs_buf_deinit(&out);
}
#define CHECK(text, expected) check(text, sizeof text - 1, expected)

static void test_lossy(void **state)
{
    (void)state;
    CHECK("plain", "plain");
    CHECK("\x80", R);
    CHECK("\xff\xfe", R R);
    CHECK("\xc0\xaf", R R);             /* overlong */
    CHECK("\xe0\x80\xaf", R R R);       /* overlong */
    CHECK("\xed\xa0\x80", R R R);       /* a surrogate */
    CHECK("\xf4\x90\x80\x80", R R R R); /* past U+10FFFF */
    CHECK("\xf5\x80", R R);
    CHECK("\xe4\xbd", R); /* ends too early */
    CHECK("\xe4\xbd"
          "a",
          R "a");
    CHECK("\xf0\x9f\x98", R);
    CHECK("\xf0\x9f\x98\xf0\x9f\x98\x80", R "\xf0\x9f\x98\x80");
    CHECK("\xe4\xe4\xbd\xa0", R "\xe4\xbd\xa0");
    CHECK("\xc3\xa9\xc3", "\xc3\xa9" R);
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(hs__utf8_is_valid("", 0));
    assert_true(hs__utf8_is_valid("a\0b", 3));
    assert_true(hs__utf8_is_valid("12345678\xc3\xa9"
                                  "12345678",
                                  18));
    assert_false(hs__utf8_is_valid("12345678\xc3", 9));
    assert_false(hs__utf8_is_valid("1234567\xff", 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_lossy),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
