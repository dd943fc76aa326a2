/* labels: unit */
/* Figures that were put into tokens' times come out of them, whatever else is missing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/replay_fit.h"

static bool is_near(double x, double y)
{
    return fabs(x - y) <= 1e-9 + 1e-6 * fabs(y);
}

static void test_known(void **state)
{
    (void)state;
    hs_replay_fit f = {0};
    for (uint32_t i = 0; i < 50; i++) {
        hs_replay_token t = {.misses = 3 + i % 7, .layers = 2 + i % 3};
        t.busy_s = 0.001 * t.layers + 0.004 * t.misses;
        t.expert_s = i % 2 ? 0.02 : 0.04;
        t.expand_s = 0.002 * t.misses;
        t.rest_s = 0.05;
        hs_replay_fit_add(&f, &t);
    }
    hs_replay_costs c = hs_replay_fit_solve(&f);
    assert_true(is_near(c.each_s, 0.004) && is_near(c.expand_s, 0.002));
    assert_true(is_near(c.dense_s, 0.05) && is_near(c.experts_s, 0.03));
}

/* In the warm tier what is in memory is decoded too, and where nothing is missed only that. */
static void test_warm(void **state)
{
    (void)state;
    hs_replay_fit f = {0};
    hs_replay_token t = {.warm_hits = 5, .expand_s = 0.01};
    hs_replay_fit_add(&f, &t);
    hs_replay_costs c = hs_replay_fit_solve(&f);
    assert_true(is_near(c.expand_s, 0.002) && c.each_s == 0);
    t = (hs_replay_token){.warm_hits = 2, .misses = 3, .layers = 1, .busy_s = 0.03, .expand_s = 0.01};
    hs_replay_fit_add(&f, &t);
    assert_true(is_near(hs_replay_fit_solve(&f).expand_s, 0.002));
}

/* No tokens, no misses, always as many: no slope can be told, and nothing is made of it. */
static void test_no_slope(void **state)
{
    (void)state;
    hs_replay_fit f = {0};
    hs_replay_costs c = hs_replay_fit_solve(&f);
    assert_true(c.each_s == 0 && c.dense_s == 0 && c.experts_s == 0 && c.expand_s == 0);
    hs_replay_token t = {.expert_s = 0.02, .rest_s = 0.05};
    hs_replay_fit_add(&f, &t);
    c = hs_replay_fit_solve(&f);
    assert_true(c.each_s == 0 && is_near(c.dense_s, 0.05) && is_near(c.experts_s, 0.02) && c.expand_s == 0);
    f = (hs_replay_fit){0};
    t = (hs_replay_token){.misses = 4, .layers = 2, .busy_s = 0.02, .expert_s = 0.02, .rest_s = 0.05};
    for (int i = 0; i < 3; i++)
        hs_replay_fit_add(&f, &t);
    c = hs_replay_fit_solve(&f);
    assert_true(is_near(c.each_s, 0.005) && is_near(c.dense_s, 0.05) && c.expand_s == 0);
}

/* Times that fall where more is read, as on a machine that does other things, make nothing negative; sums stay. */
static void test_noise(void **state)
{
    (void)state;
    hs_replay_fit f = {0};
    for (uint32_t i = 0; i < 20; i++) {
        hs_replay_token t = {.misses = 1 + i, .layers = 1 + i % 4, .busy_s = 1.0 / (1 + i), .rest_s = 0.5 * (1 + i)};
        hs_replay_fit_add(&f, &t);
    }
    hs_replay_costs c = hs_replay_fit_solve(&f);
    assert_true(c.each_s > 0 && c.each_s <= f.busy_s / f.misses && c.each_s >= 0.49 * f.busy_s / f.misses);
    assert_true(c.expand_s == 0 && is_near(c.dense_s, f.rest_s / f.n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_warm),
                                       cmocka_unit_test(test_no_slope), cmocka_unit_test(test_noise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
