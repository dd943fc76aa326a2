/* labels: unit */
/* Normalisation: the forms, the reference's older tables, and linear time on endless marks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/nfc.h"

static void check(hs__form form, const char *text, const char *expected)
{
    hs__normalizer n = {.forms = {form}, .n = 1};
    const char *out;
    char *owned;
    size_t len;
    assert_int_equal(hs__normalize(&n, text, strlen(text), &out, &len, &owned), 0);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(out, expected, len);
    hs_free(owned);
}

static void test_forms(void **state)
{
    (void)state;
    check(HS__NFC, "plain \xc3\xa9", "plain \xc3\xa9");
    check(HS__NFC, "e\xcc\x81", "\xc3\xa9");
    check(HS__NFD, "\xc3\xa9", "e\xcc\x81");
    check(HS__NFC, "\xe2\x84\xab", "\xc3\x85");                             /* ANGSTROM SIGN */
    check(HS__NFC, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"); /* Hangul */
    check(HS__NFC, "\xef\xac\x81", "\xef\xac\x81");                         /* the ligature fi stays */
    check(HS__NFKC, "\xef\xac\x81", "fi");
    check(HS__NFKD, "\xc2\xbd",
          "1\xe2\x81\x84"
          "2");
    /* U+0301, U+0323 are put into order first. */
    check(HS__NFD, "q\xcc\x81\xcc\xa3", "q\xcc\xa3\xcc\x81");
    check(HS__NFC, "a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81");
}

static void test_young_marks(void **state)
{
    (void)state;
    /* U+1DF6 (Unicode 10) neither moves nor lets U+0301 through to the "a". */
    check(HS__NFC, "a\xe1\xb7\xb6\xcc\x81", "a\xe1\xb7\xb6\xcc\x81");
    check(HS__NFC, "q\xe1\xb7\xb6\xcc\xa3", "q\xe1\xb7\xb6\xcc\xa3");
    check(HS__NFC,
          "e\xcc\x81\xe1\xb7\xb6"
          "e\xcc\x81",
          "\xc3\xa9\xe1\xb7\xb6\xc3\xa9");
    /* U+11938 and its parts. */
    check(HS__NFC, "\xf0\x91\xa4\xb8", "\xf0\x91\xa4\xb8");
    check(HS__NFC, "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0", "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0");
}

static void test_unchanged_is_borrowed(void **state)
{
    (void)state;
    static const char text[] = "plain";
    hs__normalizer n = {.forms = {HS__NFC, HS__NFKD}, .n = 2};
    const char *out;
    char *owned;
    size_t len;
    assert_int_equal(hs__normalize(&n, text, 5, &out, &len, &owned), 0);
    assert_ptr_equal(out, text);
    assert_null(owned);
}

/* A million marks in the worst order. */
static void test_endless_marks(void **state)
{
    (void)state;
    size_t pairs = 1u << 18, len;
    char *text = hs_malloc(pairs * 4);
    assert_non_null(text);
    for (size_t i = 0; i < pairs; i++)
        memcpy(text + 4 * i, "\xcc\x81\xcc\xa3", 4);
    hs__normalizer n = {.forms = {HS__NFC}, .n = 1};
    const char *out;
    char *owned;
    assert_int_equal(hs__normalize(&n, text, pairs * 4, &out, &len, &owned), 0);
    assert_int_equal(len, pairs * 4);
    assert_memory_equal(out, "\xcc\xa3\xcc\xa3", 4);
    assert_memory_equal(out + len - 4, "\xcc\x81\xcc\x81", 4);
    hs_free(owned);
    hs_free(text);
}

static void parse(const char *json, int code, size_t n_forms)
{
    hs_err err = {0};
    json_t *j = NULL;
    hs__normalizer n;
    assert_int_equal(hs_json_load(json, strlen(json), "test", &j, &err), 0);
    assert_int_equal(hs__normalizer_parse(&n, j, "test", &err), code);
    if (code == 0)
        assert_int_equal(n.n, n_forms);
    json_decref(j);
}

static void test_parse(void **state)
{
    (void)state;
    parse("null", 0, 0);
    parse("{\"type\":\"NFC\"}", 0, 1);
    parse("{\"type\":\"Sequence\",\"normalizers\":[]}", 0, 0);
    parse("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"NFKC\"}]}", 0, 2);
    parse("{\"type\":\"Lowercase\"}", -ENOTSUP, 0);
    parse("{\"type\":7}", -EINVAL, 0);
    parse("[]", -EINVAL, 0);
    parse("{\"type\":\"Sequence\"}", -EINVAL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_young_marks),
        cmocka_unit_test(test_unchanged_is_borrowed),
        cmocka_unit_test(test_endless_marks),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
