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
static const hs_speed speed = {
    .decode_s = 0.1,
    .decode_experts_s = 0.05,
    .decode_shared_s = 0.01,
    .prompt_token_s = 0.001,
    .prompt_end_s = 0.01,
    .prompt_expert_s = {0.0021, 0.0024, 0.0028, 0.0032, 0.0036, 0.0052, 0.0084}, /* 2 ms, 0.1 of each token */
    .memory_bytes_per_s = 1e10,
    .decode_bytes = 900000000};
static const hs_drive slow = {1e9, 0.001, 0.01}, fast = {1e11, 0, 0.0001};

static hs_forecast at(const hs_speed *s, const hs_drive *d, double hit_rate, uint32_t n_prompt)
{
    hs_use use = {.hit_rate = hit_rate,
                  .routing = HS_ROUTING_UNIFORM,
                  .prompt_tokens = n_prompt,
                  .prompt_experts = -1,
                  .prompt_reads = -1};
    return hs_forecast_make(&plan, s, d, &use);
}

/* The layer as the engine runs it, with every number of misses: hits and the shared expert, then each miss as it lands.
 */
static double simulate(const hs_drive *d, double hit_rate)
{
    const double own = 0.001, expert = 0.0005, rest = 0.004;
    double layer = 0, chance = 1;
    for (int i = 0; i < 10; i++)
        chance *= hit_rate;
    for (int n = 0; n <= 10; n++) {
        double t = own + (10 - n) * expert;
        for (int i = 1; i <= n; i++) {
            double lands = d->first_s + i * d->each_s;
            t = (t > lands ? t : lands) + expert;
        }
        layer += chance * (t + rest);
        chance *= (10.0 - n) / (n + 1) * (1 - hit_rate) / hit_rate;
    }
    return 10 * layer;
}

static void test_decode(void **state)
{
    (void)state;
    hs_forecast f = at(&speed, &slow, 0.5, 0);
    near(f.miss_bytes, 5e8);
    near(f.decode_io_s, 10 * (0.001 * (1 - 1.0 / 1024) + 5 * 0.01));
    assert_true(f.decode_stall_s < f.decode_io_s);
    assert_int_equal(f.decode_limit, HS_LIMIT_DRIVE);
    static const hs_drive drives[] = {
        {1e9, 0.001, 0.01}, {1e10, 0.001, 0.001}, {1e10, 0.004, 0.0004}, {1e11, 0, 0.0001}};
    for (double hits = 0.1; hits < 0.99; hits += 0.1)
        for (size_t i = 0; i < sizeof drives / sizeof *drives; i++)
            near(at(&speed, &drives[i], hits, 0).decode_tokens_per_s, 1 / simulate(&drives[i], hits));
    near(at(&speed, &slow, 1, 0).decode_tokens_per_s, 10);
    near(at(&speed, &slow, 0, 0).decode_stall_s, 10 * (0.001 + 10 * 0.01 + 0.0005 - 0.006));
    assert_true(at(&speed, &slow, 0.6, 0).decode_tokens_per_s > f.decode_tokens_per_s);
    hs_drive none = {0};
    f = at(&speed, &none, 0.7, 0);
    near(f.decode_tokens_per_s, 10);
    assert_true(f.decode_io_s == 0 && f.prompt_io_s == 0);
}

/* Decoding what was read: by whoever waits, before it is computed. */
static void test_packed(void **state)
{
    (void)state;
    hs_speed packed = speed;
    packed.expand_s = 0.003;
    hs_forecast f = at(&packed, &fast, 0, 16), raw = at(&speed, &fast, 0, 16);
    /* Ten misses a layer, the drive is nothing: 10 x (decode + compute) - what computing them takes anyway. */
    near(f.decode_stall_s, 10 * (0.001 + 10 * 0.0035 - 0.006));
    near(f.prompt_compute_s - raw.prompt_compute_s, f.prompt_bytes / 1e7 * 0.003);
    near(16 / f.prompt_tokens_per_s - 16 / raw.prompt_tokens_per_s, f.prompt_bytes / 1e7 * 0.003);
    near(at(&packed, &slow, 0, 0).decode_stall_s, 10 * (0.001 + 10 * 0.01 + 0.003 + 0.0005 - 0.006));
}

/* Until the next layer asks the drive reads what is likely: of each read 0.6 come true. */
static void test_ahead(void **state)
{
    (void)state;
    /* Nothing is in memory: the drive stands from its last read to the next layer's first: 0.5 ms of the last expert
     * and 4 ms before the next one's are known, in which 0.45 of an expert are read. */
    near(1 / at(&speed, &slow, 0, 0).ahead_tokens_per_s,
         1 / at(&speed, &slow, 0, 0).decode_tokens_per_s - 10 * 0.6 * 0.45 * 0.01);
    /* The drive has time for all: four of ten are still missing. */
    hs_drive quick = {1e11, 0.009, 0.0001};
    hs_forecast f = at(&speed, &quick, 0, 0);
    near(f.decode_stall_s, 10 * (0.009 + 0.0001 + 10 * 0.0005 - 0.006));
    near(1 / f.ahead_tokens_per_s, 0.1 + 10 * (0.009 + 0.0001 + 4 * 0.0005 - 0.006));
    for (double hits = 0; hits < 1.01; hits += 0.1) {
        f = at(&speed, &slow, hits, 0);
        assert_true(f.ahead_tokens_per_s >= f.decode_tokens_per_s && f.ahead_tokens_per_s <= 10 + 1e-9);
    }
    near(f.ahead_tokens_per_s, 10);
    hs_drive none = {0};
    near(at(&speed, &none, 0.5, 0).ahead_tokens_per_s, 10);
}

/* A first prompt's experts come into memory that is cleared for them, as many as there are slots. */
static void test_fresh(void **state)
{
    (void)state;
    hs_plan p = plan;
    hs_speed s = speed;
    p.expert_bytes_all = 1000 * 1000;
    s.fresh_bytes_per_s = 1000;
    hs_use use = {.hit_rate = 0.5, .prompt_experts = 200, .prompt_reads = 0};
    double first = 512 / hs_forecast_make(&p, &speed, &fast, &use).first_prompt_tokens_per_s;
    hs_forecast f = hs_forecast_make(&p, &s, &fast, &use);
    near(512 / f.first_prompt_tokens_per_s, first + 200);
    near(f.prompt_tokens_per_s, hs_forecast_make(&p, &speed, &fast, &use).prompt_tokens_per_s);
    use.prompt_experts = 800;
    near(512 / hs_forecast_make(&p, &s, &fast, &use).first_prompt_tokens_per_s,
         512 / hs_forecast_make(&p, &speed, &fast, &use).first_prompt_tokens_per_s + 500);
}

static void test_machine_limits(void **state)
{
    (void)state;
    hs_forecast f = at(&speed, &fast, 0.5, 16);
    near(f.decode_tokens_per_s, 10);
    assert_int_equal(f.decode_limit, HS_LIMIT_MEMORY);
    hs_speed little = speed;
    little.decode_bytes = 1000;
    assert_int_equal(at(&little, &fast, 0.5, 0).decode_limit, HS_LIMIT_COMPUTE);
}

static void test_prompt(void **state)
{
    (void)state;
    hs_forecast f = at(&speed, &fast, 0.5, 16);
    assert_int_equal(f.prompt_tokens, 16);
    near(f.prompt_experts, 1000 * (1 - 0.18530201888518416)); /* 0.9 ^ 16 */
    near(f.prompt_tokens_per_s,
         16 / (16 * 0.001 + f.prompt_experts * 0.002 + 1600 * 0.0001 + 0.05 * f.prompt_io_s + 0.01));
    assert_int_equal(f.prompt_limit, HS_LIMIT_COMPUTE);
    /* The drive is slower than the processors: most of the computing goes on while it reads. */
    hs_drive slower = {1e8, 0, 0.1};
    double computing = 0.512 + 1000 * 0.002 + 51200 * 0.0001;
    f = at(&speed, &slower, 0.5, 0);
    assert_int_equal(f.prompt_tokens, 512);
    near(f.prompt_bytes, 500 * 1e7);
    near(f.prompt_io_s, 50);
    near(f.prompt_tokens_per_s, 512 / (50 + 0.05 * computing + 0.01));
    near(f.first_prompt_tokens_per_s, 512 / (100 + 0.05 * computing + 0.01));
    assert_int_equal(f.prompt_limit, HS_LIMIT_DRIVE);
    hs_use use = {.hit_rate = 0.5, .prompt_experts = 200, .prompt_reads = 50};
    f = hs_forecast_make(&plan, &speed, &slower, &use);
    near(f.first_prompt_tokens_per_s, 512 / (20 + 0.05 * (0.512 + 200 * 0.002 + 5.12) + 0.01));
    near(f.prompt_bytes, 50 * 1e7);
    use.prompt_reads = 0;
    near(hs_forecast_make(&plan, &speed, &slower, &use).prompt_tokens_per_s,
         512 / (0.512 + 200 * 0.002 + 51200 * 0.0001 + 0.01));
}

/* Few experts of a chunk have many tokens: the mean cost is not the cost of the mean. */
static void test_tokens_of_expert(void **state)
{
    (void)state;
    /* Of 1, 4, 8, 12, 16, 32 and 64 tokens; it steps between 12 and 16. */
    hs_speed s = {.prompt_expert_s = {0.003, 0.004, 0.010, 0.011, 0.031, 0.032, 0.064}, .prompt_block_s = 0.5};
    for (double experts = 100; experts <= 51200; experts *= 2) {
        hs_use use = {.hit_rate = 1, .prompt_experts = experts, .prompt_reads = 0};
        double m = 51200 / experts, chance = 1 / m, mean = 0;
        for (int n = 1; n < 100000; n++, chance *= 1 - 1 / m)
            mean += chance * (n <= 4    ? 0.003 + (n - 1) * 0.001 / 3
                              : n <= 8  ? 0.004 + (n - 4) * 0.0015
                              : n <= 12 ? 0.010 + (n - 8) * 0.00025
                              : n <= 16 ? 0.011 + (n - 12) * 0.005
                              : n <= 32 ? 0.031 + (n - 16) * 0.001 / 16
                                        : 0.032 + (n - 32) * 0.001);
        near(hs_forecast_make(&plan, &s, &fast, &use).prompt_compute_s, experts * mean + 0.5);
    }
    /* Blocks: what their tokens share. */
    hs_plan p = plan;
    p.prefill_chunk = 1025;
    hs_use none = {.prompt_experts = 0, .prompt_reads = 0};
    near(hs_forecast_make(&p, &s, &fast, &none).prompt_compute_s, 3 * 0.5);
}

/* Unions of recorded routes: what n tokens in a row use of a layer's experts. */
static void test_spread(void **state)
{
    (void)state;
    static const struct {
        uint32_t k, n_experts, n, used;
        double hits; /* at a fifth of all */
    } recorded[] = {{6, 64, 8, 279, 0.398},  {6, 64, 32, 507, 0.398},  {6, 64, 64, 580, 0.398},
                    {6, 128, 8, 236, 0.797}, {6, 128, 32, 425, 0.797}, {6, 128, 64, 506, 0.797}};
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        hs_plan p = {.n_slots = recorded[i].n_experts / 5,
                     .n_experts = recorded[i].n_experts,
                     .token_cycle = recorded[i].k,
                     .moe_layers = 1,
                     .bytes_per_token_cold = 1,
                     .prefill_chunk = 2048};
        hs_use use = {
            .hit_rate = recorded[i].hits, .prompt_tokens = recorded[i].n, .prompt_experts = -1, .prompt_reads = -1};
        double f = hs_forecast_make(&p, &speed, &fast, &use).prompt_experts * 10;
        if (f < 0.8 * recorded[i].used || f > 1.2 * recorded[i].used)
            fail_msg("%u tokens: %.1f instead of %.1f experts", recorded[i].n, f / 10, recorded[i].used / 10.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hit_rate), cmocka_unit_test(test_decode),
                                       cmocka_unit_test(test_packed),   cmocka_unit_test(test_ahead),
                                       cmocka_unit_test(test_fresh),    cmocka_unit_test(test_machine_limits),
                                       cmocka_unit_test(test_prompt),   cmocka_unit_test(test_tokens_of_expert),
                                       cmocka_unit_test(test_spread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
