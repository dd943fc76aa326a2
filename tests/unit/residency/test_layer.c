/* labels: unit */
/* One layer: hits before misses, misses as they land, waves when there are fewer slots than wants, misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cache/replay.h"
#include "fake_store.h"
#include "fixture.h"

static void hits_come_first(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    uint32_t index[4];
    fixture_open(&f, FAKE_PLAIN, "lru", 16, 0);
    step(&f, HS_PHASE_DECODE, 1);
    assert_int_equal(run_layer(&f, 0, 2, 2), 0);
    assert_int_equal(begin(&f, 0, 0, 4), 2);
    assert_int_equal(fake_now().queued, 2); /* both misses are under way before anything is waited for */
    assert_int_equal(wait_for(&f, 4, index, &err), 2);
    assert_true(index[0] == 2 && index[1] == 3);
    fake_pump(1);
    assert_int_equal(wait_for(&f, 4, index, &err), 1);
    fake_pump(1);
    assert_int_equal(wait_for(&f, 4, index, &err), 1);
    f.x.ops->end(f.x.self); /* releases what is still held */
    hs_residency_stats s = hs_residency_get_stats(f.r);
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 4);
    assert_int_equal(s.bytes_read, 4 * FAKE_PADDED);
    fixture_close(&f);
}

static void max_bounds_a_delivery(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    uint32_t index[4];
    fixture_open(&f, FAKE_PLAIN, "lru", 16, 0);
    step(&f, HS_PHASE_DECODE, 1);
    run_layer(&f, 1, 0, 4);
    assert_int_equal(begin(&f, 1, 0, 4), 4);
    assert_int_equal(wait_for(&f, 3, index, &err), 3);
    assert_int_equal(wait_for(&f, 3, index, &err), 1);
    assert_int_equal(f.x.ops->wait(f.x.self, 1, index, NULL, NULL, &err), -EINVAL);
    f.x.ops->end(f.x.self);
    fixture_close(&f);
}

static void more_wants_than_slots(void **state)
{
    (void)state;
    for (int kind = FAKE_PLAIN; kind <= FAKE_MIXED; kind++) {
        fixture f;
        fixture_open(&f, kind, "ewma", 4, 0);
        fake_start();
        for (int phase = HS_PHASE_PREFILL; phase <= HS_PHASE_DECODE; phase++) {
            step(&f, (hs_phase)phase, 8);
            for (uint32_t l = 0; l < LAYERS; l++)
                run_layer(&f, l, 0, EXPERTS);
        }
        assert_int_equal(hs_residency_get_stats(f.r).hits, 0);
        fixture_close(&f);
    }
}

static void holding_everything_is_an_error_not_a_hang(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    uint32_t index[4];
    fixture_open(&f, FAKE_PLAIN, "ewma", 4, 0);
    step(&f, HS_PHASE_DECODE, 2);
    begin(&f, 0, 0, 5);
    fake_pump(4);
    assert_int_equal(wait_for(&f, 4, index, &err), 4);
    assert_int_equal(wait_for(&f, 4, index, &err), -EDEADLK);
    f.x.ops->end(f.x.self);
    fixture_close(&f);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    fixture_open(&f, FAKE_PLAIN, "lru", 8, 0);
    const hs_expert_want twice[] = {{3, 1, 0}, {3, 1, 0}}, beyond[] = {{EXPERTS, 1, 0}}, good[] = {{3, 1, 0}};
    assert_int_equal(f.x.ops->begin(f.x.self, 0, twice, 2, NULL, &err), -EINVAL);
    assert_int_equal(f.x.ops->begin(f.x.self, 0, beyond, 1, NULL, &err), -EINVAL);
    assert_int_equal(f.x.ops->begin(f.x.self, LAYERS, good, 1, NULL, &err), -EINVAL);
    assert_int_equal(f.x.ops->begin(f.x.self, 0, good, 1, NULL, &err), 0);
    assert_int_equal(f.x.ops->begin(f.x.self, 1, good, 1, NULL, &err), -EINVAL);
    fake_pump(1);
    finish(&f, 1);
    fixture_close(&f);
}

/* A prompt that touches everything leaves what decoding has been using. */
static void a_sweep_does_not_flush(void **state)
{
    (void)state;
    static const char *const policies[] = {"ewma", "lru", "lfu"};
    for (int p = 0; p < 3; p++) {
        fixture f;
        fixture_open(&f, FAKE_PLAIN, policies[p], 24, 0);
        for (int token = 0; token < 50; token++) {
            step(&f, HS_PHASE_DECODE, 1);
            for (uint32_t l = 0; l < LAYERS; l++)
                run_layer(&f, l, 0, 4);
        }
        step(&f, HS_PHASE_PREFILL, 64);
        for (uint32_t l = 0; l < LAYERS; l++) {
            begin(&f, l, 0, EXPERTS);
            for (uint32_t i = 0; i < EXPERTS; i++) {
                uint32_t index;
                hs_err err;
                fake_pump(1000);
                assert_int_equal(wait_for(&f, 1, &index, &err), 1);
                f.x.ops->release(f.x.self, index);
            }
            f.x.ops->end(f.x.self);
        }
        step(&f, HS_PHASE_DECODE, 1);
        uint32_t hits = 0;
        for (uint32_t l = 0; l < LAYERS; l++)
            hits += run_layer(&f, l, 0, 4);
        print_message("%s: %u of 16 still resident after the sweep\n", policies[p], hits);
        assert_int_equal(hits, 16);
        fixture_close(&f);
    }
}

/* Each expert that a prompt uses much is kept, wherever its layer is. */
static void a_sweep_warms_decoding(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 24, 0);
    step(&f, HS_PHASE_PREFILL, 64);
    fake_start();
    for (uint32_t l = 0; l < LAYERS; l++) {
        hs_expert_want wants[EXPERTS];
        hs_err err;
        for (uint32_t i = 0; i < EXPERTS; i++)
            wants[i] = (hs_expert_want){i, i >= 12 ? 40 : 2, 0};
        assert_int_equal(f.x.ops->begin(f.x.self, l, wants, EXPERTS, NULL, &err), 0);
        finish(&f, EXPERTS);
    }
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint32_t i = 12; i < EXPERTS; i++)
            assert_true(is_resident(&f, l, i));
    fixture_close(&f);
}

/* The mechanism hits what the replay of the same trace says. */
static void hits_equal_the_replay(void **state)
{
    (void)state;
    static const char *const policies[] = {"lru", "lfu", "ewma", "s3fifo", "arc"};
    enum { TOKENS = 400, N = TOKENS * LAYERS * 4 };
    static uint32_t object[N], token[N];
    uint32_t rng = 3, n = 0;
    for (uint32_t t = 0; t < TOKENS; t++) {
        for (uint32_t l = 0; l < LAYERS; l++) {
            uint32_t first = fake_random(&rng, 3) ? fake_random(&rng, 4) : fake_random(&rng, EXPERTS - 3);
            for (uint32_t k = 0; k < 4; k++, n++) {
                object[n] = l * EXPERTS + first + k;
                token[n] = t;
            }
        }
    }
    const hs_replay_trace trace = {
        .object = object, .token = token, .n = N, .n_objects = LAYERS * EXPERTS, .layer_objects = EXPERTS};
    for (int p = 0; p < 5; p++) {
        const hs_policy *policy = hs_policy_find(policies[p]);
        void *mem = malloc(hs_replay_bytes(policy, &trace, 24));
        uint64_t expected = hs_replay(policy, &trace, 24, true, mem).hits, hits = 0;
        free(mem);
        fixture f;
        fixture_open(&f, FAKE_PLAIN, policies[p], 24, 0);
        for (uint32_t i = 0; i < N; i += 4) {
            if (i == 0 || token[i] != token[i - 1])
                step(&f, HS_PHASE_DECODE, 1);
            hits += run_layer(&f, object[i] / EXPERTS, object[i] % EXPERTS, 4);
        }
        print_message("%s: replay %lu, residency %lu of %d\n", policies[p], (unsigned long)expected,
                      (unsigned long)hits, N);
        /* Misses of one layer land in any order, which decides among equals. */
        uint64_t off = hits > expected ? hits - expected : expected - hits;
        assert_true(off <= N / 100);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_come_first),        cmocka_unit_test(max_bounds_a_delivery),
        cmocka_unit_test(more_wants_than_slots),  cmocka_unit_test(holding_everything_is_an_error_not_a_hang),
        cmocka_unit_test(misuse_is_refused),      cmocka_unit_test(a_sweep_does_not_flush),
        cmocka_unit_test(a_sweep_warms_decoding), cmocka_unit_test(hits_equal_the_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
