/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/ids.h"

static void test_parse(void **state)
{
    (void)state;
    uint32_t *ids;
    size_t n;
    hs_err err = {0};
    static const char text[] = "  0 12\n\t4294967294\r\n7";
    assert_int_equal(hs_ids_parse(text, strlen(text), "f", &ids, &n, &err), 0);
    assert_int_equal(n, 4);
    const uint32_t expected[] = {0, 12, 4294967294u, 7};
    assert_memory_equal(ids, expected, sizeof expected);
    hs_free(ids);
    assert_int_equal(hs_ids_parse("", 0, "f", &ids, &n, &err), 0);
    assert_int_equal(n, 0);
    hs_free(ids);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"1\n2\nx",   "1\n2\n-3",  "1\n2\n4294967295", "1\n2\n99999999999999999999",
                                      "1\n2\n3,4", "1\n2\n0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t *ids = NULL;
        size_t n;
        hs_err err = {0};
        assert_int_equal(hs_ids_parse(bad[i], strlen(bad[i]), "f", &ids, &n, &err), -EINVAL);
        assert_non_null(strstr(err.text, "f: line 3"));
        assert_null(ids);
    }
    uint32_t *ids = NULL;
    size_t n;
    hs_err err = {0};
    assert_int_equal(hs_ids_parse("1\0002", 3, "f", &ids, &n, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
