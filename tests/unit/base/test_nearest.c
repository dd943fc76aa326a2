/* labels: unit */
/* Suggestions: near names are found by their index, far ones and long ones are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/nearest.h"

static const char *names[] = {"serve", "cache.size", "cache.policy", "io.engine", "top"};
enum { N = sizeof names / sizeof *names };

static const char *name(const void *ctx, size_t i)
{
    (void)ctx;
    return names[i];
}

static void near_names_are_found(void **state)
{
    (void)state;
    assert_int_equal(hs_nearest("srve", name, NULL, N), 0);
    assert_int_equal(hs_nearest("tob", name, NULL, N), 4);
    assert_int_equal(hs_nearest("cash.size", name, NULL, N), 1);
    assert_int_equal(hs_nearest("cache.polcy", name, NULL, N), 2);
    assert_int_equal(hs_nearest("cache.size", name, NULL, N), 1);
    assert_int_equal(hs_nearest("kash.sise", name, NULL, N), 1); /* four of nine letters: one more is too many */
    assert_int_equal(hs_nearest("kash.sisa", name, NULL, N), N);
}

static void far_names_are_not(void **state)
{
    (void)state;
    char word[HS_NEAREST_MAX + 10];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_int_equal(hs_nearest("zzz", name, NULL, N), N);
    assert_int_equal(hs_nearest("foo", name, NULL, N), N); /* one letter of top */
    assert_int_equal(hs_nearest("", name, NULL, N), N);
    assert_int_equal(hs_nearest("serve", name, NULL, 0), 0);
    for (size_t cut = 0; cut < 12; cut++)
        assert_int_equal(hs_nearest(word + cut, name, NULL, N), N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(near_names_are_found), cmocka_unit_test(far_names_are_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
