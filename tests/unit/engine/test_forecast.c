/* test_forecast.c - what is expected of a plan: the hit rate's curve, what limits, and what helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hotset/hotset.h"

static void near(double a, double b)
{
    if (a < b * 0.999 || a > b * 1.001)
        fail_msg("%g instead of %g", a, b);
}

static void test_hit_rate(void **state)
{
    (void)state;
    near(hs_forecast_hit_rate(0.3, 0.05, HS_ROUTING_UNIFORM), 0.3);
    near(hs_forecast_hit_rate(0.2, 6.0 / 64, HS_ROUTING_REAL), 0.398);
    near(hs_forecast_hit_rate(0.675, 0.02, HS_ROUTING_REAL), 0.855);
    near(hs_forecast_hit_rate(0.5, 0.25, HS_ROUTING_REAL), 0.5); /* two of eight */
    for (double used = 0.01; used < 0.4; used += 0.03)
        for (double share = 0, last = -1; share <= 1; share += 0.01) {
            double h = hs_forecast_hit_rate(share, used, HS_ROUTING_REAL);
            assert_true(h > last && h <= 1 && h >= share - 1e-9);
            last = h;
        }
    near(hs_forecast_hit_rate(7, 0.1, HS_ROUTING_REAL), 1);
}

static const hs_plan plan = {.n_slots = 500,
                             .n_experts = 1000,
                             .token_cycle = 100,
                             .moe_layers = 10,
                             .bytes_per_token_cold = 1000000000,
                             .prefill_chunk = 512};
static const hs_speed speed = {.decode_s = 0.1,
                               .decode_experts_s = 0.06,
                               .prompt_token_s = 0.001,
                               .prompt_end_s = 0.01,
                               .prompt_expert_s = 0.002,
                               .memory_bytes_per_s = 1e10,
                               .decode_bytes = 900000000};

static void test_drive_limits(void **state)
{
    (void)state;
    hs_forecast f = hs_forecast_make(&plan, &speed, 1e9, 0.5, 0);
    near(f.miss_bytes, 5e8);
    near(f.decode_io_s, 0.5);
    near(f.decode_tokens_per_s, 1 / (0.1 + 0.5 - 0.5 * 0.06 * (1 - 1.0 / 1024)));
    assert_int_equal(f.decode_limit, HS_LIMIT_DRIVE);
    near(f.prompt_bytes, 1000 * 0.5 * 1e7);
    near(f.prompt_tokens_per_s, 512 / 5.0);
    assert_int_equal(f.prompt_limit, HS_LIMIT_DRIVE);
    assert_true(hs_forecast_make(&plan, &speed, 2e9, 0.5, 0).decode_tokens_per_s > f.decode_tokens_per_s);
}

static void test_machine_limits(void **state)
{
    (void)state;
    hs_forecast f = hs_forecast_make(&plan, &speed, 1e11, 0.5, 16);
    near(f.decode_tokens_per_s, 10);
    assert_int_equal(f.decode_limit, HS_LIMIT_MEMORY);
    assert_int_equal(f.prompt_tokens, 16);
    double touched = 1000 * (1 - 0.18530201888518416); /* 0.9 ^ 16 */
    near(f.prompt_tokens_per_s, 16 / (16 * 0.001 + touched * 0.002 + 0.01));
    hs_speed slow = speed;
    slow.decode_bytes = 1000;
    assert_int_equal(hs_forecast_make(&plan, &slow, 1e11, 0.5, 0).decode_limit, HS_LIMIT_COMPUTE);
    f = hs_forecast_make(&plan, &speed, 0, 0.7, 0); /* nothing is known of the drive */
    near(f.decode_tokens_per_s, 10);
    assert_true(f.decode_io_s == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hit_rate), cmocka_unit_test(test_drive_limits),
                                       cmocka_unit_test(test_machine_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
