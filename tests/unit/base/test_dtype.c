/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/dtype.h"

static void names_and_sizes(void **state)
{
    (void)state;
    static const struct {
        hs_dtype t;
        const char *name;
        uint32_t size;
    } want[] = {{HS_DTYPE_F32, "F32", 4},         {HS_DTYPE_F16, "F16", 2}, {HS_DTYPE_BF16, "BF16", 2},
                {HS_DTYPE_F8_E4M3, "F8_E4M3", 1}, {HS_DTYPE_I8, "I8", 1},   {HS_DTYPE_U8, "U8", 1},
                {HS_DTYPE_I32, "I32", 4},         {HS_DTYPE_I64, "I64", 8}, {HS_DTYPE_OTHER, "other", 0},
                {HS_DTYPE_NONE, "none", 0}};
    assert_int_equal(sizeof want / sizeof *want, HS_DTYPE_COUNT);
    for (int i = 0; i < HS_DTYPE_COUNT; i++) {
        assert_string_equal(hs_dtype_name(want[i].t), want[i].name);
        assert_int_equal(hs_dtype_size(want[i].t), want[i].size);
    }
    assert_string_equal(hs_dtype_name(HS_DTYPE_COUNT), "invalid");
    assert_int_equal(hs_dtype_size((hs_dtype)1000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_and_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
