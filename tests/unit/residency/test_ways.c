/* labels: unit fault */
/* Packed records or what they were packed from: which way is taken when, that both give the same bytes, and that a way
 * that fails is closed. Time is what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

#define MISSES   10u /* of a layer */
#define COMPUTES 100 /* ns of computing for each */

typedef struct cost {
    uint64_t wait_ns, decode_ns; /* of a miss */
} cost;

static fixture open_both(int kind)
{
    fixture f;
    fixture_open(&f, kind, "lru", 8, 0);
    fake.has_raw = f.r->ways.is_possible = true;
    return f;
}

static uint64_t now = 1;

/* A layer of the step, whose misses cost so much by `by` times. */
static void pass_layer(fixture *f, uint32_t layer, cost c, double by)
{
    f->r->layer = layer;
    uint64_t decode = (uint64_t)(by * MISSES * (double)c.decode_ns);
    uint64_t stood = (uint64_t)(by * MISSES * (double)c.wait_ns) + decode;
    now += stood + COMPUTES * MISSES;
    hs__count(&f->r->count.decode_ns, decode);
    hs__ways_learn(f->r, now, stood, MISSES);
}

/* n decode steps; returns how many layers went the raw way. What a miss costs wavers by `noise` of it. */
static uint32_t decode_noisy(fixture *f, uint32_t n, cost packed, cost raw, double noise)
{
    uint32_t went = 0, random = 1;
    for (uint32_t i = 0; i < n; i++) {
        step(f, HS_PHASE_DECODE, 1);
        hs__ways_step(f->r, now);
        for (uint32_t l = 0; l < LAYERS; l++) {
            bool is_raw = hs__way_is_raw(f->r);
            random = random * 1664525u + 1013904223u;
            went += is_raw;
            pass_layer(f, l, is_raw ? raw : packed, 1 + noise * ((double)(random >> 8) / (1 << 23) - 1));
        }
    }
    return went;
}

static uint32_t decode(fixture *f, uint32_t n, cost packed, cost raw)
{
    return decode_noisy(f, n, packed, raw, 0.5);
}

static void a_slow_drive_is_read_packed(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    decode(&f, 100, (cost){600, 100}, (cost){900, 0}); /* without a forecast it begins raw */
    assert_false(f.r->ways.raw);
    uint32_t went = decode(&f, 4000, (cost){600, 100}, (cost){900, 0});
    assert_false(f.r->ways.raw);
    assert_true(went > 0 && went < 4000 * LAYERS / 100); /* trials: all together a percent of the tokens */
    fixture_close(&f);
}

static void the_faster_way_is_found(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    cost packed = {600, 200}, raw = {600, 0}; /* the drive is what is waited for, and yet */
    uint32_t went = decode(&f, 300, packed, raw);
    assert_true(went > 150 * LAYERS); /* soon */
    assert_true(f.r->ways.raw);
    /* Packed is tried now and then, ever more seldom. */
    went = decode(&f, 8000, packed, raw);
    assert_true(went > 7930 * LAYERS && went < 8000 * LAYERS);
    /* The machine has its cores back, and the drive has got slower. */
    decode(&f, 2 * 7680, (cost){600, 20}, (cost){750, 0});
    assert_false(f.r->ways.raw);
    fixture_close(&f);
}

/* Decoding takes cores: what is no faster is not worth it; and raw bytes need not be faster to be preferred. */
static void what_is_no_better_is_not_taken(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    f.r->ways.raw = true;
    uint32_t went = decode_noisy(&f, 2000, (cost){600, 96}, (cost){700, 0}, 0.02);
    assert_true(f.r->ways.raw && went > 2000 * LAYERS * 9 / 10 && went < 2000 * LAYERS);
    fixture_close(&f);
}

/* Chance must not decide: in the same place with wild costs. */
static void noise_is_no_reason(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        fixture f = open_both(FAKE_STAGED);
        for (uint32_t k = 0; k < 10; k++) {
            decode_noisy(&f, 120 + i, (cost){6000, 500}, (cost){7400, 0}, 0.8);
            assert_false(f.r->ways.raw);
        }
        fixture_close(&f);
    }
}

/* What has been read and decoded before the first token tells which way it takes; in doubt it is the raw one: where
 * decoding is slower than the drive, and where a record is so small that little is saved on each. */
static void forecasts_come_first(void **state)
{
    (void)state;
    static const struct {
        uint64_t record, decode_ns; /* bytes; of a megabyte */
        bool raw;
    } cases[] = {{1000000, 10000, false}, {1000000, 1000000, true}, {220000, 10000, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f = open_both(FAKE_STAGED);
        f.r->ways.raw_bytes = cases[i].record * LAYERS * EXPERTS;
        f.r->ways.stored_bytes = f.r->ways.raw_bytes * 4 / 5;
        step(&f, HS_PHASE_PREFILL, 100);
        fake.told_bytes = 1000000000; /* 1 ns each */
        hs__ways_decoded(f.r, 1000000, cases[i].decode_ns);
        step(&f, HS_PHASE_DECODE, 1);
        assert_true(f.r->ways.raw && !f.r->ways.is_chosen);
        step(&f, HS_PHASE_DECODE, 1);
        assert_true(f.r->ways.is_chosen);
        assert_int_equal(f.r->ways.raw, cases[i].raw);
        fixture_close(&f);
    }
}

static void prompts_are_not_counted(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    decode(&f, 5, (cost){90, 10}, (cost){1, 0});
    f.r->ways.raw = false;
    uint32_t at = f.r->ways.block.at;
    f.r->ways.block.turn = at; /* not even amid a trial, whoever's turn it is */
    float lately = f.r->ways.lately_ns;
    for (uint32_t i = 0; i < 200; i++) {
        step(&f, HS_PHASE_PREFILL, 100);
        assert_false(hs__way_is_raw(f.r));
        pass_layer(&f, LAYERS - 1, (cost){1000, 1000000}, 1);
    }
    assert_true(f.r->ways.lately_ns == lately && f.r->ways.block.at == at);
    assert_true(f.r->ways.stood < 5 * LAYERS * MISSES * 200);
    step(&f, HS_PHASE_DECODE, 1);
    assert_true(hs__way_is_raw(f.r));
    fixture_close(&f);
}

static void without_another_way_it_is_told_once(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_STAGED, "lru", 8, 0);
    assert_int_equal(decode(&f, 500, (cost){80, 20}, (cost){0, 0}), 0);
    assert_false(f.r->ways.is_told);
    assert_int_equal(decode(&f, 500, (cost){20, 80}, (cost){0, 0}), 0);
    assert_true(f.r->ways.is_told);
    fixture_close(&f);
    fixture_open(&f, FAKE_PLAIN, "lru", 8, 0); /* nothing is compressed: checksums are all there is to do */
    assert_int_equal(decode(&f, 500, (cost){20, 80}, (cost){0, 0}), 0);
    assert_false(f.r->ways.is_told);
    fixture_close(&f);
}

static void both_ways_bring_the_same_bytes(void **state)
{
    (void)state;
    for (int kind = FAKE_CHECKED; kind <= FAKE_MIXED; kind++) {
        fixture f = open_both(kind);
        fake_start();
        for (uint32_t i = 0; i < 200; i++) {
            step(&f, i % 5 ? HS_PHASE_DECODE : HS_PHASE_PREFILL, 1);
            f.r->ways.raw = i / 3 % 2;
            run_layer(&f, i % LAYERS, i * 5 % 12, 4); /* compares */
        }
        hs_residency_stats s = hs_residency_get_stats(f.r);
        assert_true(s.unpacked > s.misses / 4 && s.unpacked < s.misses * 3 / 4);
        assert_int_equal(s.errors, 0);
        fixture_close(&f);
    }
}

static void a_way_that_fails_is_closed(void **state)
{
    (void)state;
    for (int kind = FAKE_CHECKED; kind <= FAKE_MIXED; kind++) {
        fixture f = open_both(kind);
        fake_start();
        step(&f, HS_PHASE_DECODE, 1);
        f.r->ways.raw = true;
        fake_spoil(5, 2, 0);
        run_layer(&f, 0, 4, 4); /* the third read is that of the packed record */
        assert_int_equal(fake_spoilt(5), 0);
        assert_false(f.r->ways.raw || f.r->ways.is_possible);
        step(&f, HS_PHASE_DECODE, 1);
        uint64_t before = hs_residency_get_stats(f.r).unpacked;
        run_layer(&f, 1, 4, 4);
        assert_int_equal(hs_residency_get_stats(f.r).unpacked, before);
        fixture_close(&f);
    }
}

/* The third read is that of the raw bytes; the others go on as they did. */
static void a_bad_packed_record_is_read_raw(void **state)
{
    (void)state;
    for (int kind = FAKE_CHECKED; kind <= FAKE_MIXED; kind++) {
        fixture f = open_both(kind);
        fake_start();
        step(&f, HS_PHASE_DECODE, 1);
        f.r->ways.raw = false;
        uint64_t before = hs_residency_get_stats(f.r).unpacked;
        fake_spoil(5, 2, 0);
        run_layer(&f, 0, 4, 4);
        assert_int_equal(fake_spoilt(5), 0);
        assert_true(!f.r->ways.raw && f.r->ways.is_possible);
        assert_int_equal(hs_residency_get_stats(f.r).unpacked, before + 1);
        fixture_close(&f);
    }
}

/* Each way is tried twice, whichever comes first. */
static void when_both_ways_fail_it_is_an_error(void **state)
{
    (void)state;
    for (uint32_t raw = 0; raw < 2; raw++) {
        fixture f = open_both(FAKE_STAGED);
        hs_err err = {0};
        uint32_t index[4];
        int r;
        fake_start();
        step(&f, HS_PHASE_DECODE, 1);
        f.r->ways.raw = raw;
        fake_spoil(5, 4, 0);
        begin(&f, 0, 4, 4);
        while ((r = wait_for(&f, 4, index, &err)) >= 0)
            ;
        assert_int_equal(r, -EIO);
        assert_int_equal(fake_spoilt(5), 0);
        f.x.ops->end(f.x.self);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_drive_is_read_packed),
        cmocka_unit_test(the_faster_way_is_found),
        cmocka_unit_test(noise_is_no_reason),
        cmocka_unit_test(what_is_no_better_is_not_taken),
        cmocka_unit_test(forecasts_come_first),
        cmocka_unit_test(prompts_are_not_counted),
        cmocka_unit_test(without_another_way_it_is_told_once),
        cmocka_unit_test(both_ways_bring_the_same_bytes),
        cmocka_unit_test(a_way_that_fails_is_closed),
        cmocka_unit_test(a_bad_packed_record_is_read_raw),
        cmocka_unit_test(when_both_ways_fail_it_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
