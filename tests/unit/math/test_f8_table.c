/* labels: unit */
/* The table of E4M3 against its definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "ref.h"

static void every_code_is_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        double want = ref_e4m3((unsigned char)i);
        if (isnan(want))
            assert_true(isnan(hs_f8_e4m3[i]));
        else
            assert_true((double)hs_f8_e4m3[i] == want && !signbit(hs_f8_e4m3[i]) == !signbit(want));
    }
    assert_true(hs_f8_e4m3[0x7e] == 448.0f && isnan(hs_f8_e4m3[0x7f]) && isnan(hs_f8_e4m3[0xff]));
    assert_true(hs_f8_e4m3[1] == 0x1p-9f && hs_f8_e4m3[8] == 0x1p-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_code_is_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
