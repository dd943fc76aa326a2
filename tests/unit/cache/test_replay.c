/* labels: unit */
/* Hit rates: by hand, on real routes of the test model, and on a trace with a skew and a memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "cache/replay.h"
#include "canary.h"

#define LAYERS  5u
#define EXPERTS 64u
#define TOP_K   6u
#define MOST    (1000u * LAYERS * TOP_K)

static uint32_t object[MOST], token[MOST];

static hs_replay_trace trace_of(uint64_t n, uint32_t first_counted)
{
    return (hs_replay_trace){.object = object,
                             .token = token,
                             .n = n,
                             .n_objects = LAYERS * EXPERTS,
                             .layer_objects = EXPERTS,
                             .first_counted = first_counted};
}

static double hit_rate(const char *policy, const hs_replay_trace *t, uint32_t n_slots, bool in_sets)
{
    const hs_policy *p = hs_policy_find(policy);
    size_t bytes = hs_replay_bytes(p, t, n_slots);
    uint8_t *mem = aligned_alloc(HS_POLICY_ALIGN, (bytes + CANARY + 15) & ~(size_t)15);
    memset(mem, 0xa5, bytes + CANARY);
    hs_replay_result r = hs_replay(p, t, n_slots, in_sets, mem);
    for (int i = 0; i < CANARY; i++)
        assert_int_equal(mem[bytes + i], 0xa5);
    free(mem);
    return (double)r.hits / (double)r.accesses;
}

static void by_hand(void **state)
{
    (void)state;
    /* Two layers of four experts: sets {0,1} {4}, {0,2} {4}, {1,0} {4} */
    const uint32_t o[] = {0, 1, 4, 0, 2, 4, 1, 0, 4}, at[] = {0, 0, 0, 1, 1, 1, 2, 2, 2};
    const uint64_t bytes[] = {1, 100};
    hs_replay_trace t = {.object = o, .token = at, .n = 9, .n_objects = 8, .layer_objects = 4, .layer_bytes = bytes};
    void *mem = malloc(hs_replay_bytes(&hs_policy_lru, &t, 3));
    t.layer_bytes = NULL;
    /* 0 1 4 | hit 0, 2 evicts 1, hit 4 | 1 evicts 0, 0 evicts 2, hit 4 */
    assert_int_equal(hs_replay(&hs_policy_lru, &t, 3, false, mem).hits, 3);
    /* In sets 0 is found before 1 is brought in, in place of 2. */
    assert_int_equal(hs_replay(&hs_policy_lru, &t, 3, true, mem).hits, 4);
    t.first_counted = 2;
    hs_replay_result r = hs_replay(&hs_policy_lru, &t, 3, true, mem);
    assert_int_equal(r.accesses, 3);
    assert_int_equal(r.hits, 2);
    assert_int_equal(r.bytes_read, 0);
    /* All missed once but 1, which is missed twice when it is looked up by itself. */
    t.first_counted = 0;
    t.layer_bytes = bytes;
    assert_int_equal(hs_replay(&hs_policy_lru, &t, 3, true, mem).bytes_read, 104);
    assert_int_equal(hs_replay(&hs_policy_lru, &t, 3, false, mem).bytes_read, 105);
    /* In sets: all three, then 2, then 1; those of warming tokens too. */
    uint32_t misses[3] = {0, 10, 0};
    t.token_misses = misses;
    t.first_counted = 1;
    hs_replay(&hs_policy_lru, &t, 3, true, mem);
    assert_true(misses[0] == 3 && misses[1] == 11 && misses[2] == 1);
    t.token_misses = NULL;
    t.first_counted = 0;
    /* A token's layers read 2 100 | 1 0 | 1 0 in sets, at 10 a second, and compute a second each. */
    t.layer_s = 1;
    t.bytes_per_s = 10;
    assert_true(fabs(hs_replay(&hs_policy_lru, &t, 3, true, mem).seconds - (6 + 10.4)) < 1e-9);
    /* An expert is computed in half a second, when it has been read, which takes 0.05 more, and expanded. */
    t.expert_s = 0.5;
    t.expand_s = 0.01;
    t.latency_s = 0.05;
    assert_true(fabs(hs_replay(&hs_policy_lru, &t, 3, true, mem).seconds - 20.75) < 1e-9);
    /* Warm: all nine uses are decoded, those of hits beside reading: only the first token's two layers stand still. */
    t.bytes_per_s = 0;
    r = hs_replay(&hs_policy_lru, &t, 3, true, mem);
    assert_true(r.warm_hits == 0 && fabs(r.seconds - (6 + 9 * 0.5 + 5 * 0.01 + 2 * 0.05)) < 1e-9);
    t.warm = true;
    r = hs_replay(&hs_policy_lru, &t, 3, true, mem);
    assert_true(r.hits == 4 && r.warm_hits == 4 && fabs(r.seconds - (6 + 9 * 0.51 + 2 * 0.05)) < 1e-9);
    t.warm = false;
    t.bytes_per_s = 10;
    t.expert_s = t.expand_s = t.latency_s = 0;
    t.overlapped = true;
    assert_true(fabs(hs_replay(&hs_policy_lru, &t, 3, true, mem).seconds - (5 + 10)) < 1e-9);
    t.first_counted = 1;
    assert_true(fabs(hs_replay(&hs_policy_lru, &t, 3, true, mem).seconds - 4) < 1e-9);
    free(mem);
}

/* Two sizes have slots of their own: what one layer brings does not push out the other. */
static void sizes(void **state)
{
    (void)state;
    const uint32_t o[] = {4, 5, 0, 1, 2, 4, 5, 1, 2}, at[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    const uint64_t differ[] = {200000, 100000}, alike[] = {200000, 199000}, untold[] = {200000, 0};
    hs_replay_trace t = {.object = o, .token = at, .n = 9, .n_objects = 8, .layer_objects = 4, .layer_least = 1};
    for (int in_sets = 0; in_sets < 2; in_sets++) {
        t.layer_bytes = differ; /* 2 of each: 2 pushes out 0 */
        assert_true(hit_rate("lru", &t, 4, in_sets) == 4.0 / 9);
        assert_true(hit_rate("belady", &t, 4, in_sets) == 4.0 / 9);
        t.layer_bytes = alike; /* 4 for all: 2 pushes out 4, 4 pushes out 5, 5 pushes out 0 */
        assert_true(hit_rate("lru", &t, 4, in_sets) == 2.0 / 9);
        t.layer_bytes = untold;
        assert_true(hit_rate("lru", &t, 4, in_sets) == 2.0 / 9);
    }
    t.layer_bytes = differ;
    t.layer_least = 2; /* under the floors */
    assert_true(hit_rate("ewma", &t, 1, true) <= 4.0 / 9);
}

/* A set bigger than the cache is served, and nothing is lost. */
static void sets_beyond_the_slots(void **state)
{
    (void)state;
    const uint32_t o[] = {0, 1, 2, 3, 0, 1, 2, 3}, at[] = {0, 0, 0, 0, 1, 1, 1, 1};
    const hs_replay_trace t = {.object = o, .token = at, .n = 8, .n_objects = 4, .layer_objects = 4};
    for (unsigned p = 0; hs_policy_at(p); p++) {
        void *mem = malloc(hs_replay_bytes(hs_policy_at(p), &t, 2));
        hs_replay_result r = hs_replay(hs_policy_at(p), &t, 2, true, mem);
        assert_int_equal(r.accesses, 8);
        assert_int_equal(r.hits, 2);
        free(mem);
    }
}

static hs_replay_trace read_routes(void)
{
    FILE *f = fopen(TESTS_DIR "/unit/cache/tale-moe.routes", "re");
    char line[512];
    uint32_t n = 0, tokens = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *at = line;
        if (*line == '#')
            continue;
        for (uint32_t i = 0; i < LAYERS * TOP_K; i++, n++) {
            object[n] = i / TOP_K * EXPERTS + (uint32_t)strtoul(at, &at, 10);
            token[n] = tokens;
        }
        tokens++;
    }
    fclose(f);
    assert_int_equal(tokens, 1000);
    return trace_of(n, tokens / 4);
}

/* Where the turn changes a session begins, and ewma ages; to other policies it is nothing. */
static void sessions(void **state)
{
    (void)state;
    static uint16_t turn[MOST];
    hs_replay_trace t = read_routes();
    double plain = hit_rate("ewma", &t, 80, false), lru = hit_rate("lru", &t, 80, false);
    for (uint64_t i = 0; i < t.n; i++)
        turn[i] = (uint16_t)(token[i] / 50);
    t.turn = turn;
    assert_true(hit_rate("ewma", &t, 80, false) != plain);
    assert_true(hit_rate("lru", &t, 80, false) == lru);
    memset(turn, 0, sizeof turn);
    assert_true(hit_rate("ewma", &t, 80, false) == plain);
}

static void expect_rate(const hs_replay_trace *t, const char *policy, uint32_t slots, bool by_layer, double should,
                        double within)
{
    hs_replay_trace scoped = *t;
    scoped.by_layer = by_layer;
    double is = 100 * hit_rate(policy, &scoped, slots, false);
    print_message("%u slots%s: %s %.1f\n", slots, by_layer ? " by layer" : "", policy, is);
    if (fabs(is - should) >= within)
        fail_msg("%s: %.2f instead of %.1f", policy, is, should);
}

static void real_routes(void **state)
{
    (void)state;
    hs_replay_trace t = read_routes();
    static const struct {
        uint32_t percent;
        double belady, lru, lfu, s3fifo, arc, lru_by_layer, ewma, ewma_by_layer;
    } rows[] = {
        {10, 39.7, 14.6, 15.0, 15.0, 11.9, 12.9, 19.8, 18.6},
        {25, 62.8, 29.7, 33.8, 30.5, 30.8, 29.6, 38.7, 37.5},
        {50, 83.5, 57.5, 60.7, 59.6, 57.5, 57.1, 64.4, 63.6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t slots = t.n_objects * rows[i].percent / 100;
        expect_rate(&t, "belady", slots, false, rows[i].belady, 0.051);
        expect_rate(&t, "lru", slots, false, rows[i].lru, 0.051);
        expect_rate(&t, "lfu", slots, false, rows[i].lfu, 0.051);
        expect_rate(&t, "s3fifo", slots, false, rows[i].s3fifo, 0.051);
        expect_rate(&t, "arc", slots, false, rows[i].arc, 0.051);
        expect_rate(&t, "lru", slots, true, rows[i].lru_by_layer, 0.051);
        expect_rate(&t, "ewma", slots, false, rows[i].ewma, 0.2); /* libm's last bits decide near-ties */
        expect_rate(&t, "ewma", slots, true, rows[i].ewma_by_layer, 0.2);
    }
}

/* 1000 tokens whose every layer uses TOP_K experts, each another, as `pick` says for token `at`, use n. */
static hs_replay_trace made_of(uint32_t (*pick)(uint32_t *rng, uint32_t at, uint32_t n), uint32_t rng,
                               uint32_t first_counted)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < 1000; at++) {
        for (uint32_t l = 0; l < LAYERS; l++) {
            bool used[EXPERTS] = {false};
            for (uint32_t k = 0; k < TOP_K; k++, n++) {
                uint32_t e;
                do
                    e = pick(&rng, at, n);
                while (used[e]);
                used[e] = true;
                object[n] = l * EXPERTS + e;
                token[n] = at;
            }
        }
    }
    return trace_of(n, first_counted);
}

/* Popularity falls with rank, every fourth choice repeats a recent one, and the popular ones change halfway. */
static uint32_t skewed(uint32_t *rng, uint32_t at, uint32_t n)
{
    uint32_t back = LAYERS * TOP_K * (1 + roll(rng, 20));
    double u = (roll(rng, 1000000) + 0.5) / 1e6;
    uint32_t e = ((uint32_t)(EXPERTS * u * u * u) * 37 + at / 500 * 11) % EXPERTS;
    return roll(rng, 4) == 0 && n >= back + LAYERS * TOP_K ? object[n - back] % EXPERTS : e;
}

static void order_of_policies(void **state)
{
    (void)state;
    hs_replay_trace t = made_of(skewed, 42, 250);
    for (uint32_t percent = 10; percent <= 50; percent += 10) {
        uint32_t slots = t.n_objects * percent / 100;
        double b = hit_rate("belady", &t, slots, true), r = hit_rate("lru", &t, slots, true),
               f = hit_rate("lfu", &t, slots, true), e = hit_rate("ewma", &t, slots, true);
        print_message("%u%%: belady %.3f lru %.3f lfu %.3f ewma %.3f\n", percent, b, r, f, e);
        assert_true(b > e && b > r && b > f);
        assert_true(e > r && e > f);
    }
    /* Below one token's experts a global LRU finds nothing, a score still does. */
    assert_true(hit_rate("lru", &t, LAYERS * TOP_K - 8, false) < 0.05);
    assert_true(hit_rate("ewma", &t, LAYERS * TOP_K - 8, false) > 0.2);
}

/* For long, popularity is all; then each layer uses a window of experts that moves on, of which what was learnt says
 * nothing. */
static uint32_t turned(uint32_t *rng, uint32_t at, uint32_t n)
{
    (void)n;
    double u = (roll(rng, 1000000) + 0.5) / 1e6;
    return at < 700 ? (uint32_t)(EXPERTS * u * u) : (at / 2 + roll(rng, 12)) % EXPERTS;
}

static void never_far_under_lru(void **state)
{
    (void)state;
    hs_replay_trace t = made_of(turned, 7, 700);
    for (uint32_t percent = 20; percent <= 30; percent += 5) {
        uint32_t slots = t.n_objects * percent / 100;
        double r = hit_rate("lru", &t, slots, false), e = hit_rate("ewma", &t, slots, false);
        print_message("%u%%: lru %.3f ewma %.3f\n", percent, r, e);
        assert_true(e > r - 0.045); /* left alone: 0.06 to 0.1 less */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand),
                                       cmocka_unit_test(sizes),
                                       cmocka_unit_test(sets_beyond_the_slots),
                                       cmocka_unit_test(real_routes),
                                       cmocka_unit_test(sessions),
                                       cmocka_unit_test(order_of_policies),
                                       cmocka_unit_test(never_far_under_lru)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
