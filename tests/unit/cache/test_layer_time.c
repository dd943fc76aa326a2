/* labels: unit */
/* A layer's time, by hand: what hides what. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/layer_time.h"

static void near(double x, double y)
{
    if (fabs(x - y) > 1e-9)
        fail_msg("%g instead of %g", x, y);
}

static void test_layer(void **state)
{
    (void)state;
    const hs_layer_costs c = {.before_s = 10, .beside_s = 2, .expert_s = 1, .expand_s = 0.5, .first_s = 3, .each_s = 4};
    hs_layer_clock k = {0};
    hs_layer_pass(&k, &c, 6, 0, false);
    near(k.now_s, 18);
    near(k.asked_s, 10);
    near(k.read_s, 0);
    /* Asked at 28, there at 35 and 39; shared expert and four hits are computed by 34. */
    hs_layer_pass(&k, &c, 4, 2, false);
    near(k.now_s, 39 + 1.5);
    near(k.read_s, 39);
    near(k.asked_s, 28);
    /* Six hits hide the first read, which waits for them. */
    hs_layer_pass(&k, &c, 6, 1, false);
    near(k.now_s, 40.5 + 10 + 2 + 6 + 1.5);
    near(k.read_s, 57.5);
}

/* Known with the layer before: its read begins at 10, when that one's experts are known, behind that one's reads. */
static void test_overlapped(void **state)
{
    (void)state;
    const hs_layer_costs c = {.before_s = 10, .expert_s = 1, .first_s = 3, .each_s = 4};
    hs_layer_clock k = {0};
    hs_layer_pass(&k, &c, 8, 0, true);
    hs_layer_pass(&k, &c, 0, 3, true); /* asked for at 10: 17, 21, 25; begins at 28 */
    near(k.read_s, 25);
    near(k.now_s, 18 + 10 + 3);
    hs_layer_pass(&k, &c, 0, 4, true); /* asked for at 28: 35, 39, 43, 47; begins at 41 */
    near(k.now_s, 47 + 1);
    hs_layer_pass(&k, &c, 0, 1, true); /* asked for at 41, behind what is being read: no first part */
    near(k.read_s, 51);
    near(k.now_s, 48 + 10 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layer), cmocka_unit_test(test_overlapped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
