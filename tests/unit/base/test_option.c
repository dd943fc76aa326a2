/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/option.h"

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int r;
        uint64_t v;
    } t[] = {{"0", 0, 0},
             {"4096", 0, 4096},
             {"1k", 0, 1024},
             {"1K", 0, 1024},
             {"512MiB", 0, 512ull << 20},
             {"4G", 0, 4ull << 30},
             {"2t", 0, 2ull << 40},
             {"8388607T", 0, 8388607ull << 40},
             {"9223372036854775807", 0, INT64_MAX},
             {"8388608T", -ERANGE, 0},
             {"9223372036854775808", -ERANGE, 0},
             {"99999999999999999999", -ERANGE, 0},
             {"", -EINVAL, 0},
             {"-1", -EINVAL, 0},
             {" 1", -EINVAL, 0},
             {"1 G", -EINVAL, 0},
             {"1GB", -EINVAL, 0},
             {"1Gi", -EINVAL, 0},
             {"1iB", -EINVAL, 0},
             {"G", -EINVAL, 0},
             {"0x10", -EINVAL, 0},
             {"3.5G", 0, 7ull << 29},
             {"0.25MiB", 0, 1 << 18},
             {"1.1k", 0, 1126},
             {"8388607.99999999999999999999T", -ERANGE, 0},
             {"1.5", -EINVAL, 0},
             {"1.G", -EINVAL, 0},
             {".5G", -EINVAL, 0},
             {"1.5.5G", -EINVAL, 0},
             {"1.-5G", -EINVAL, 0},
             {"1,5G", -EINVAL, 0},
             {"1GiBx", -EINVAL, 0},
             {"+1", -EINVAL, 0}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        uint64_t v = 77;
        if (hs_parse_size(t[i].text, &v) != t[i].r || v != (t[i].r ? 77 : t[i].v))
            fail_msg("%s: %llu", t[i].text, (unsigned long long)v);
    }
}

static void integers_numbers_seconds(void **state)
{
    (void)state;
    int64_t i = 77;
    double d = 77;
    assert_true(hs_parse_int("-9223372036854775808", &i) == 0 && i == INT64_MIN);
    assert_true(hs_parse_int("12", &i) == 0 && i == 12);
    i = 77;
    static const char *const bad[] = {"", " 1", "1 ", "1x", "x", "1.0", "--1", "0x1"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_true(hs_parse_int(bad[k], &i) == -EINVAL && i == 77);
    assert_int_equal(hs_parse_int("9223372036854775808", &i), -ERANGE);
    assert_true(hs_parse_number("1e-3", &d) == 0 && d == 1e-3);
    assert_true(hs_parse_number("inf", &d) < 0 && hs_parse_number("nan", &d) < 0 && hs_parse_number("1e999", &d) < 0);
    assert_true(hs_parse_number("", &d) < 0 && hs_parse_number("1,5", &d) < 0 && d == 1e-3);
    assert_true(hs_parse_seconds("90", &i) == 0 && i == 90);
    assert_true(hs_parse_seconds("5s", &i) == 0 && i == 5);
    assert_true(hs_parse_seconds("2min", &i) == 0 && i == 120);
    assert_true(hs_parse_seconds("1h", &i) == 0 && i == 3600);
    assert_true(hs_parse_seconds("1m", &i) == -EINVAL && hs_parse_seconds("-1", &i) == -EINVAL);
    assert_true(hs_parse_seconds("596524h", &i) == -ERANGE && i == 3600);
}

static void size_specs(void **state)
{
    (void)state;
    hs_size_spec s;
    assert_true(hs_parse_size_spec("auto", &s) == 0 && s.kind == HS_SIZE_AUTO);
    assert_true(hs_parse_size_spec("12.5%", &s) == 0 && s.kind == HS_SIZE_PERCENT && s.percent == 12.5);
    assert_true(hs_parse_size_spec("100%", &s) == 0 && s.percent == 100);
    assert_true(hs_parse_size_spec("8G", &s) == 0 && s.kind == HS_SIZE_BYTES && s.bytes == 8ull << 30);
    static const char *const bad[] = {"", "%", "101%", "-1%", "nan%", "1%%", "Auto", "8 G", "00000000000000000001%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hs_parse_size_spec(bad[i], &s) >= 0)
            fail_msg("%s", bad[i]);
    assert_int_equal(s.bytes, 8ull << 30);
}

static void sizes_for_people(void **state)
{
    (void)state;
    char b[32];
    assert_string_equal(hs_format_size(0, b, sizeof b), "0 B");
    assert_string_equal(hs_format_size(1023, b, sizeof b), "1023 B");
    assert_string_equal(hs_format_size(1024, b, sizeof b), "1.0 KiB");
    assert_string_equal(hs_format_size(11703919616ull, b, sizeof b), "10.9 GiB");
    assert_string_equal(hs_format_size(UINT64_MAX, b, sizeof b), "16777216.0 TiB");
}

static void items(void **state)
{
    (void)state;
    const char *at = " a/b ,, c d,  ,e", *item;
    size_t n;
    assert_true(hs_next_item(&at, &item, &n) && n == 3 && !strncmp(item, "a/b", n));
    assert_true(hs_next_item(&at, &item, &n) && n == 3 && !strncmp(item, "c d", n));
    assert_true(hs_next_item(&at, &item, &n) && n == 1 && *item == 'e');
    assert_false(hs_next_item(&at, &item, &n));
    at = ", ,";
    assert_false(hs_next_item(&at, &item, &n));
    at = "";
    assert_false(hs_next_item(&at, &item, &n));
}

static void checks_name_the_option(void **state)
{
    (void)state;
    static const hs_option o[] = {
        {"a", "int", HS_OPT_INT, "5", 1, 9, NULL, "things", "", false},
        {"a", "free", HS_OPT_INT, "", 0, 0, NULL, "", "", false},
        {"a", "pick", HS_OPT_ENUM, "x", 0, 0, "x|yy|zzz", "", "", false},
        {"a", "auto", HS_OPT_AUTO_SIZE, "auto", 1024, 1e9, NULL, "bytes", "", false},
        {"a", "size", HS_OPT_SIZE, "1k", 1024, 1e9, NULL, "bytes", "", false},
        {"a", "text", HS_OPT_STRING, "", 0, 0, NULL, "", "", false},
    };
    hs_err err = {0};
    assert_int_equal(hs_option_check(&o[0], "9", &err), 0);
    assert_int_equal(hs_option_check(&o[0], "10", &err), -ERANGE);
    assert_string_equal(err.text, "a.int: 10 is outside 1 to 9 things");
    assert_int_equal(hs_option_check(&o[0], "", &err), -EINVAL);
    assert_int_equal(hs_option_check(&o[1], "", &err), 0);
    assert_int_equal(hs_option_check(&o[2], "yy", &err), 0);
    static const char *const no_choice[] = {"", "y", "yyy", "x|yy", "X"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(hs_option_check(&o[2], no_choice[i], &err), -EINVAL);
    assert_int_equal(hs_option_check(&o[3], "auto", &err), 0);
    assert_int_equal(hs_option_check(&o[3], "1", &err), -ERANGE);
    assert_int_equal(hs_option_check(&o[4], "auto", &err), -EINVAL);
    assert_non_null(strstr(err.text, "a.size: 'auto' is not a size"));
    assert_int_equal(hs_option_check(&o[5], "any thing", &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),      cmocka_unit_test(integers_numbers_seconds),
        cmocka_unit_test(size_specs), cmocka_unit_test(sizes_for_people),
        cmocka_unit_test(items),      cmocka_unit_test(checks_name_the_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
