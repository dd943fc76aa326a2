/* labels: unit */
/* Added tokens in text: leftmost and longest, raw before normalised, with white space taken along where asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "text/added.h"

static const hs__normalizer nfc = {.forms = {HS__NFC}, .n = 1};

static int parse(const char *json, hs__added_list *l, hs__vocab *v, hs_err *err)
{
    json_t *j = NULL;
    assert_int_equal(hs_json_load(json, strlen(json), "test", &j, err), 0);
    assert_int_equal(hs__vocab_init(v, HS__BYTE_ALPHABET, 0, err), 0);
    int r = hs__added_parse(l, j, &nfc, v, "test", err);
    json_decref(j);
    return r;
}

/* Shows what is found as "id[begin,end)…". */
static void check(const hs__added_list *l, bool normalized, const char *text, const char *expected)
{
    char shown[200] = "";
    size_t pos = 0, floor = 0, begin, end, n = 0;
    uint32_t id;
    while (hs__added_next(l, normalized, text, NULL, strlen(text), &pos, floor, &begin, &end, &id)) {
        assert_true(begin >= floor && end > begin && end <= strlen(text));
        n += (size_t)snprintf(shown + n, sizeof shown - n, "%u[%zu,%zu)", id, begin, end);
        floor = end;
    }
    assert_string_equal(shown, expected);
}

static void test_found(void **state)
{
    (void)state;
    hs__added_list l;
    hs__vocab v;
    hs_err err = {0};
    if (parse("[{\"id\":1,\"content\":\"<a>\",\"special\":true},{\"id\":2,\"content\":\"<a>b\",\"special\":true},"
              "{\"id\":3,\"content\":\"<\",\"special\":true},{\"id\":4,\"content\":\"L\",\"special\":true,\"lstrip\":"
              "true},"
              "{\"id\":5,\"content\":\"R\",\"special\":true,\"rstrip\":true},"
              "{\"id\":6,\"content\":\"W\",\"special\":true,\"single_word\":true},"
              "{\"id\":7,\"content\":\"n\"},{\"id\":8,\"content\":\"e\\u0301\"}]",
              &l, &v, &err) != 0)
        fail_msg("%s", err.text);
    check(&l, false, "", "");
    check(&l, false, "x<a>y", "1[1,4)");
    check(&l, false, "<a>b<a<a>", "2[0,4)3[4,5)1[6,9)");
    check(&l, false, "x \t\xe3\x80\x80L L", "4[1,7)4[7,9)");
    check(&l, false, "R  x R\xc2\xa0", "5[0,3)5[5,8)");
    check(&l, false, "R  L", "5[0,3)4[3,4)");
    check(&l, false, "W WW xW-W\xc3\xa9 (W)", "6[0,1)6[13,14)");
    check(&l, false, "n", "");
    check(&l, true, "anL", "7[1,2)");
    /* Its key is the normalised text: "é" in one piece, since the text is normalised too. */
    check(&l, true, "\xc3\xa9", "8[0,2)");
    check(&l, true, "e\xcc\x81", "");
    assert_int_equal(hs__added_find(&l, "<a>b")->id, 2);
    assert_null(hs__added_find(&l, "<a"));
    assert_true(l.bytes > 0);
    hs__added_deinit(&l);
    hs__vocab_deinit(&v);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[{\"content\":\"a\"}]",
        "[{\"id\":-1,\"content\":\"a\"}]",
        "[{\"id\":1,\"content\":1}]",
        "[{\"id\":1,\"content\":\"a\",\"special\":1}]",
        "[{\"id\":1,\"content\":\"a\"},{\"id\":1,\"content\":\"b\"}]",
        "[7]",
        "7",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs__added_list l;
        hs__vocab v;
        hs_err err = {0};
        assert_true(parse(bad[i], &l, &v, &err) < 0);
        assert_true(err.text[0] != '\0');
        hs__vocab_deinit(&v);
    }
    hs__added_list l;
    hs__vocab v;
    hs_err err = {0};
    assert_int_equal(parse("null", &l, &v, &err), 0);
    check(&l, false, "anything", "");
    hs__added_deinit(&l);
    hs__vocab_deinit(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
