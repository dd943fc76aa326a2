/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"

static void sentences(void **state)
{
    (void)state;
    hs_err err = {0};
    assert_int_equal(hs_err_set(&err, -EINVAL, "%s: %d", "file", 5), -EINVAL);
    assert_string_equal(err.text, "file: 5");
    assert_int_equal(err.code, -EINVAL);
    assert_int_equal(hs_err_prefix(&err, "model %s", "m"), -EINVAL);
    assert_string_equal(err.text, "model m: file: 5");
    assert_int_equal(hs_err_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(hs_err_prefix(NULL, "x"), -EIO);
    hs_err empty = {0};
    assert_int_equal(hs_err_prefix(&empty, "x"), -EIO);
}

static void control_characters_are_shown(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_err_set(&err, -EINVAL, "tensor %s",
               "a\x1b[31m\nb\x7f\xc2\x9b"
               "c\xc2\xa7\xc3\x9b");
    assert_string_equal(err.text, "tensor a?[31m?b???c\xc2\xa7\xc3\x9b");
    hs_err_prefix(&err, "%s", "x\ry");
    assert_memory_equal(err.text, "x?y: tensor", 11);
}

static void long_ones_are_cut(void **state)
{
    (void)state;
    char big[2000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    hs_err err = {0};
    for (size_t n = 480; n < 520; n++) {
        hs_err_set(&err, -EIO, "%s", "tail");
        hs_err_prefix(&err, "%.*s", (int)n, big);
        assert_true(strlen(err.text) <= sizeof err.text - 1);
        assert_true(strlen(err.text) >= 490 || n < 490);
    }
    hs_err_set(&err, -EIO, "%s", big);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    hs_err_prefix(&err, "p");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "p: yyy", 6);
}

static void texts_of_errnos(void **state)
{
    (void)state;
    assert_string_equal(hs_strerror(-ENOENT), "No such file or directory");
    assert_string_equal(hs_strerror(ENOENT), "No such file or directory");
    assert_string_equal(hs_strerror(-99999), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences),
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(long_ones_are_cut),
        cmocka_unit_test(texts_of_errnos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
