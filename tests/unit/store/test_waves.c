/* labels: unit */
/* What waves tell of a drive: a first part that counts once, a part for each object, and what noise may not do. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store_int.h"

static void near(double x, double y)
{
    if (fabs(x - y) > 1e-9 + 1e-6 * fabs(y))
        fail_msg("%g instead of %g", x, y);
}

static hs__wave_times waves(double beside_s, uint32_t n, const double *took)
{
    hs__wave_times t = {0};
    for (uint32_t i = 0; i < n; i++)
        hs__wave_add(&t, took[i], beside_s);
    return t;
}

static hs_disk_wave_times fit(uint32_t few, uint32_t many, double beside_s, const double a[4], const double b[4])
{
    const hs_disk_waves run = {.few = few, .many = many, .beside_s = beside_s};
    const hs__wave_times t[2] = {waves(beside_s, 4, a), waves(beside_s, 4, b)};
    hs_disk_wave_times ret = {-1, -1};
    hs__wave_fit(&run, &t[0], &t[1], &ret);
    return ret;
}

/* The slowest wave of each size is somebody else's doing. */
static void test_line(void **state)
{
    (void)state;
    for (uint32_t few = 1; few < 4; few++)
        for (uint32_t many = few + 1; many < 20; many += 3) {
            double a = 0.002 + few * 0.005, b = 0.002 + many * 0.005;
            hs_disk_wave_times t = fit(few, many, 0, (double[4]){a, a, 9, a}, (double[4]){b, 7, b, b});
            near(t.first_s, 0.002);
            near(t.each_s, 0.005);
        }
}

/* Behind what is computed beside them, waves take as long as that and as they are waited for. Waves of five are in time
 * but for one of three, which comes 30 ms late; those of one always are. */
static void test_beside(void **state)
{
    (void)state;
    hs_disk_wave_times t =
        fit(1, 5, 0.02, (double[4]){0.008, 0.010, 0.009, 0.019}, (double[4]){0.012, 0.05, 0.013, 0.08});
    near(t.each_s, (0.02 + 0.03 / 3 - 0.009) / 4);
    near(t.first_s, 0.009 - t.each_s);
    t = fit(1, 5, 0.02, (double[4]){0.03, 0.03, 0.03, 0.03}, (double[4]){0.07, 0.07, 0.07, 0.07});
    near(t.each_s, 0.01);
    near(t.first_s, 0.02);
}

/* A line that would need a drive of negative time: the mean of all waves, as one part or as the other. */
static void test_noise(void **state)
{
    (void)state;
    hs_disk_wave_times t = fit(1, 3, 0, (double[4]){2, 2, 2, 2}, (double[4]){1, 1, 1, 1});
    near(t.first_s, 1.5);
    near(t.each_s, 0);
    t = fit(2, 4, 0, (double[4]){1, 1, 1, 1}, (double[4]){5, 5, 5, 5});
    near(t.first_s, 0);
    near(t.each_s, 1);
    t = fit(3, 3, 0, (double[4]){6, 6, 6, 6}, (double[4]){6, 6, 6, 6}); /* one size tells of no first part */
    near(t.first_s, 0);
    near(t.each_s, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_line), cmocka_unit_test(test_beside),
                                       cmocka_unit_test(test_noise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
