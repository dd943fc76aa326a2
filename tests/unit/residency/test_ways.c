/* labels: unit fault */
/* Packed records or what they were packed from: which way is taken when, that both give the same bytes, and that a way
 * that fails is closed. Time is what the counters are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

#define MISSES 10u /* of a step */

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

/* n decode steps; returns how many went the raw way. */
static uint32_t decode(fixture *f, uint32_t n, cost packed, cost raw)
{
    uint32_t went = 0;
    for (uint32_t i = 0; i < n; i++) {
        step(f, HS_PHASE_DECODE, 1);
        cost c = f->r->ways.raw ? raw : packed;
        went += f->r->ways.raw;
        hs__count(&f->r->count.misses, MISSES);
        hs__count(&f->r->count.wait_ns, MISSES * c.wait_ns);
        hs__count(&f->r->count.decode_ns, MISSES * c.decode_ns);
    }
    return went;
}

static void what_is_waited_for_is_the_drive(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    assert_int_equal(decode(&f, 2000, (cost){60, 40}, (cost){10, 0}), 0); /* it is not even asked what raw would cost */
    fixture_close(&f);
}

static void slow_decoding_is_left(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    cost packed = {20, 80}, raw = {60, 0};
    uint32_t went = decode(&f, 200, packed, raw);
    assert_true(went > 170); /* soon */
    assert_true(f.r->ways.raw && !f.r->ways.is_trial);
    /* Packed is tried now and then, ever more seldom. */
    went = decode(&f, 4000, packed, raw);
    assert_true(went > 3900 && went < 4000);
    /* The machine has its cores back. */
    went = decode(&f, 2 * 7680, (cost){40, 10}, raw);
    assert_false(f.r->ways.raw);
    fixture_close(&f);
}

static void what_is_no_better_is_not_taken(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    cost packed = {20, 80}, raw = {97, 0};
    uint32_t went = decode(&f, 2000, packed, raw);
    assert_true(went > 0 && went <= 60); /* trials: after 16, 120, 240, 480, 960 tokens */
    assert_false(f.r->ways.raw && !f.r->ways.is_trial);
    fixture_close(&f);
}

static void prompts_are_not_counted(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    for (uint32_t i = 0; i < 200; i++) {
        step(&f, HS_PHASE_PREFILL, 100);
        hs__count(&f.r->count.misses, 1);
        hs__count(&f.r->count.decode_ns, 1000000000);
        assert_int_equal(decode(&f, 1, (cost){90, 10}, (cost){1, 0}), 0);
    }
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
        fake.fail_reads[5] = 2;
        run_layer(&f, 0, 4, 4); /* the third read is that of the packed record */
        assert_int_equal(fake.fail_reads[5], 0);
        assert_false(f.r->ways.raw || f.r->ways.is_possible);
        step(&f, HS_PHASE_DECODE, 1);
        uint64_t before = hs_residency_get_stats(f.r).unpacked;
        run_layer(&f, 1, 4, 4);
        assert_int_equal(hs_residency_get_stats(f.r).unpacked, before);
        fixture_close(&f);
    }
}

/* Both ways are bad: that is told as damage of the packed record. */
static void when_both_ways_fail_it_is_an_error(void **state)
{
    (void)state;
    fixture f = open_both(FAKE_STAGED);
    hs_err err = {0};
    uint32_t index[4];
    int r;
    fake_start();
    step(&f, HS_PHASE_DECODE, 1);
    f.r->ways.raw = true;
    fake.fail_reads[5] = 3;
    begin(&f, 0, 4, 4);
    while ((r = wait_for(&f, 4, index, &err)) >= 0)
        ;
    assert_int_equal(r, -EIO);
    f.x.ops->end(f.x.self);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_waited_for_is_the_drive),     cmocka_unit_test(slow_decoding_is_left),
        cmocka_unit_test(what_is_no_better_is_not_taken),      cmocka_unit_test(prompts_are_not_counted),
        cmocka_unit_test(without_another_way_it_is_told_once), cmocka_unit_test(both_ways_bring_the_same_bytes),
        cmocka_unit_test(a_way_that_fails_is_closed),          cmocka_unit_test(when_both_ways_fail_it_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
