/* labels: unit fault */
/* The warm tier: slots hold what is stored, buffers what is decoded. What is in memory is decoded for its use without a
 * read; what is damaged in memory is read again; guesses are decoded when they come true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

#define BUFFERS 8u /* the fixture's */

/* Slots for everything, a store that answers at once. */
static fixture open_warm(int kind, uint32_t n_slots, uint64_t budget)
{
    fixture f;
    fixture_open_as(&f, kind, "lru", n_slots, budget, true);
    assert_int_equal(f.r->n_staging, BUFFERS);
    step(&f, HS_PHASE_DECODE, 1);
    return f;
}

static uint64_t warm_hits(const fixture *f)
{
    return hs_residency_get_stats(f->r).warm_hits;
}

/* Where the object's stored bytes are. */
static uint8_t *stored(const fixture *f, uint32_t object)
{
    return hs__slot_memory(f->r, f->r->slot_of[object]);
}

static void a_slot_is_as_big_as_what_is_stored(void **state)
{
    (void)state;
    fake_reset(FAKE_STAGED, 1);
    fake.layer_objects = EXPERTS; /* decoded, half of the layers are bigger */
    hs_objects o = {LAYERS * EXPERTS};
    hs_classes c;
    hs_err err = {0};
    assert_int_equal(hs_residency_classes(&o, EXPERTS, 4, true, &c, &err), 0);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.of[0].bytes, FAKE_PADDED);
    assert_int_equal(hs_residency_staging_bytes(&o, true), FAKE_PADDED + FAKE_TAIL);
    assert_int_equal(hs_residency_staging_bytes(&o, false), FAKE_PADDED);
    assert_int_equal(hs_residency_min_staging(&o, 4, true), 4);
    assert_int_equal(hs_residency_classes(&o, EXPERTS, 4, false, &c, &err), 0);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.of[0].bytes, FAKE_PADDED + FAKE_TAIL);
    fake_reset(FAKE_CHECKED, 1);
    assert_false(hs_residency_can_be_warm(&o));
    assert_int_equal(hs_residency_min_staging(&o, 4, true), 0);
}

static void what_is_in_memory_is_decoded_without_a_read(void **state)
{
    (void)state;
    fixture f = open_warm(FAKE_STAGED, LAYERS * EXPERTS, 0);
    for (uint32_t l = 0; l < LAYERS; l++)
        assert_int_equal(run_layer(&f, l, 0, 4), 0);
    uint32_t reads = fake_now().reads, frames = fake.frames;
    assert_int_equal(warm_hits(&f), 0);
    for (uint32_t l = 0; l < LAYERS; l++)
        assert_int_equal(run_layer(&f, l, 0, 4), 4); /* compares what is delivered */
    assert_int_equal(fake_now().reads, reads);
    assert_int_equal(warm_hits(&f), 4 * LAYERS);
    assert_int_equal(fake.frames - frames, 4 * LAYERS * FAKE_FRAMES);
    fixture_close(&f);
}

/* Even where the same layer comes again at once: how often something is decoded is what a replay counts. */
static void every_use_is_decoded(void **state)
{
    (void)state;
    fixture f = open_warm(FAKE_STAGED, LAYERS * EXPERTS, 0);
    run_layer(&f, 0, 0, 4);
    uint32_t frames = fake.frames;
    for (uint32_t i = 1; i < 5; i++) {
        assert_int_equal(f.r->n_staging_free, BUFFERS);
        assert_int_equal(run_layer(&f, 0, 0, 4), 4);
        assert_int_equal(fake.frames - frames, 4 * i * FAKE_FRAMES);
        assert_int_equal(warm_hits(&f), 4 * i);
    }
    fixture_close(&f);
}

static void damage_in_memory_is_read_again(void **state)
{
    (void)state;
    for (uint32_t bad_reads = 0; bad_reads < 3; bad_reads++) {
        fixture f = open_warm(FAKE_STAGED, LAYERS * EXPERTS, 0);
        hs_err err = {0};
        uint32_t index, got = 0;
        int r = 0;
        for (uint32_t l = 0; l < LAYERS; l++)
            run_layer(&f, l, 0, 4);
        stored(&f, 2)[4711] ^= 1;
        fake_spoil(2, 0, (uint8_t)bad_reads);
        fake_forget();
        fake_start();
        assert_int_equal(begin(&f, 0, 0, 4), 4);
        while (got < 4 && (r = wait_for(&f, 1, &index, &err)) > 0) {
            f.x.ops->release(f.x.self, index);
            got++;
        }
        f.x.ops->end(f.x.self);
        fixture_check(&f);
        fake_stop();
        assert_int_equal(hs_residency_get_stats(f.r).errors, 1 + (bad_reads > 0));
        assert_int_equal(fake_now().reads, 1);
        if (bad_reads) {
            assert_int_equal(r, -EBADMSG);
            assert_non_null(strstr(err.text, "record 2: damaged"));
            assert_false(is_resident(&f, 0, 2));
            fake_spoil(2, 0, 0);
        }
        run_layer(&f, 0, 0, 4);
        assert_true(is_resident(&f, 0, 2));
        fixture_close(&f);
    }
}

static void guesses_are_decoded_when_they_come_true(void **state)
{
    (void)state;
    fixture f = open_warm(FAKE_STAGED, LAYERS * EXPERTS, 1 << 20);
    begin(&f, 0, 0, 4);
    hint(&f, 1, 0, 4);
    fake_pump(1000);
    finish(&f, 4);
    assert_int_equal(hs_residency_get_stats(f.r).prefetch_issued, 4);
    assert_int_equal(fake.frames, 4 * FAKE_FRAMES);
    assert_int_equal(run_layer(&f, 1, 2, 4), 2); /* 2 and 3 of them */
    hs_residency_stats s = hs_residency_get_stats(f.r);
    assert_int_equal(s.prefetch_useful, 2);
    assert_int_equal(s.prefetch_wasted, 2);
    assert_int_equal(s.warm_hits, 2);
    assert_int_equal(fake.frames, 8 * FAKE_FRAMES);
    assert_true(is_resident(&f, 1, 0)); /* stored */
    fixture_close(&f);
}

/* More experts than buffers, in memory and not, decoded and not. */
static void a_sweep_goes_on_with_few_buffers(void **state)
{
    (void)state;
    for (int kind = FAKE_STAGED; kind <= FAKE_MIXED; kind++) {
        fixture f = open_warm(kind, 48, 1 << 20);
        fake_start();
        for (uint32_t i = 0; i < 3 * LAYERS; i++) {
            step(&f, i % 3 ? HS_PHASE_PREFILL : HS_PHASE_DECODE, i % 3 ? 40 : 1);
            run_layer(&f, i % LAYERS, 0, EXPERTS);
            run_layer(&f, (i + 1) % LAYERS, 5, 4);
        }
        assert_true(warm_hits(&f) > 0);
        fixture_close(&f);
    }
}

/* Who goes before everything is delivered leaves what is in memory where it is. */
static void an_abandoned_hit_stays_stored(void **state)
{
    (void)state;
    fixture f = open_warm(FAKE_STAGED, LAYERS * EXPERTS, 0);
    for (uint32_t l = 0; l < LAYERS; l++)
        run_layer(&f, l, 0, EXPERTS);
    for (uint32_t i = 0; i < 2 * LAYERS; i++) { /* more hits than buffers, and a few */
        step(&f, i % 2 ? HS_PHASE_PREFILL : HS_PHASE_DECODE, 1);
        assert_int_equal(begin(&f, i % LAYERS, 0, i < LAYERS ? EXPERTS : 4), i < LAYERS ? EXPERTS : 4);
        f.x.ops->end(f.x.self);
        fixture_check(&f);
    }
    step(&f, HS_PHASE_DECODE, 1);
    begin(&f, 0, 0, EXPERTS);
    for (uint32_t i = 0; i <= BUFFERS; i++) { /* the last of them begins to decode the others */
        hs_err err = {0};
        uint32_t index;
        assert_int_equal(wait_for(&f, 1, &index, &err), 1);
        f.x.ops->release(f.x.self, index);
    }
    assert_non_null(f.r->active_first);
    f.x.ops->end(f.x.self);
    assert_int_equal(hs_residency_resident(f.r), LAYERS * EXPERTS);
    uint32_t reads = fake_now().reads;
    assert_int_equal(run_layer(&f, 0, 0, EXPERTS), EXPERTS);
    assert_int_equal(fake_now().reads, reads);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_is_as_big_as_what_is_stored),
        cmocka_unit_test(what_is_in_memory_is_decoded_without_a_read),
        cmocka_unit_test(every_use_is_decoded),
        cmocka_unit_test(damage_in_memory_is_read_again),
        cmocka_unit_test(guesses_are_decoded_when_they_come_true),
        cmocka_unit_test(a_sweep_goes_on_with_few_buffers),
        cmocka_unit_test(an_abandoned_hit_stays_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
