/* labels: unit */
/* test_rope.c - frequencies of plain rope and YaRN at known points. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/model_int.h"

static void near_to(double want, double got)
{
    if (fabs(want - got) > 1e-6 * fabs(want))
        fail_msg("%.9g instead of %.9g", got, want);
}

static void test_plain(void **state)
{
    (void)state;
    float f[32];
    hs__rope_frequencies(&(hs__rope){.dim = 64, .theta = 10000}, f);
    for (int i = 0; i < 32; i++)
        near_to(pow(10000, -i / 32.0), f[i]);
}

/* DeepSeek-V3: dimensions up to pair 10 as they were, from pair 23 on divided by 40, a ramp between. */
static void test_yarn_of_deepseek(void **state)
{
    (void)state;
    float f[32];
    hs__rope r = {.dim = 64, .theta = 10000, .yarn = true, .truncate = true, .factor = 40, .original = 4096};
    r.beta_fast = 32;
    r.beta_slow = 1;
    hs__rope_frequencies(&r, f);
    for (int i = 0; i < 32; i++) {
        double plain = pow(10000, -i / 32.0), ramp = i <= 10 ? 0 : i >= 23 ? 1 : (i - 10) / 13.0;
        near_to(plain * (1 - ramp) + plain / 40 * ramp, f[i]);
    }
    near_to(1.368888, hs__yarn_mscale(40, 1));
    near_to(1.346574, hs__yarn_mscale(32, 1));
    near_to(1, hs__yarn_mscale(0.5, 1));
}

/* Without rounding the ramp's ends are fractions (8.0928 and 17.3980 here). */
static void test_yarn_without_truncation(void **state)
{
    (void)state;
    float f[32];
    hs__rope r = {.dim = 64, .theta = 150000, .yarn = true, .factor = 32, .original = 4096};
    r.beta_fast = 32;
    r.beta_slow = 1;
    hs__rope_frequencies(&r, f);
    double plain = pow(150000, -12 / 32.0), ramp = (12 - 8.0928) / (17.3980 - 8.0928);
    assert_true(fabs(f[12] / (plain * (1 - ramp) + plain / 32 * ramp) - 1) < 1e-4);
    near_to(pow(150000, -8 / 32.0), f[8]);
}

/* Both ends on the same pair: a step, not a division by zero. */
static void test_yarn_with_equal_ends(void **state)
{
    (void)state;
    float f[8];
    hs__rope r = {.dim = 16, .theta = 10000, .yarn = true, .truncate = true, .factor = 8, .original = 4};
    r.beta_fast = r.beta_slow = 1;
    hs__rope_frequencies(&r, f);
    for (int i = 0; i < 8; i++)
        assert_true(isfinite(f[i]) && f[i] > 0);
    near_to(pow(10000, -7 / 8.0) / 8, f[7]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_yarn_of_deepseek),
        cmocka_unit_test(test_yarn_without_truncation),
        cmocka_unit_test(test_yarn_with_equal_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
