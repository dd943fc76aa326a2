/* labels: unit */
/* Guesses: read behind demand and within the budget, best first; they protect, they never evict what is needed, and
 * each ends as useful, late or wasted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "base/clock.h"

#include "fake_store.h"
#include "fixture.h"

static hs_residency_stats stats(const fixture *f)
{
    return hs_residency_get_stats(f->r);
}

/* Whether it pays is measured in time, which is not these tests'. */
static void without_trials(fixture *f)
{
    for (uint32_t l = 0; l < LAYERS; l++)
        f->r->ahead[l].block = (hs__block){.period = UINT32_MAX, .turn = HS__NONE};
}

static void useful_late_and_wasted(void **state)
{
    (void)state;
    for (int kind = FAKE_PLAIN; kind <= FAKE_STAGED; kind++) {
        fixture f;
        fixture_open(&f, kind, "ewma", 32, 8 * FAKE_PADDED);
        step(&f, HS_PHASE_DECODE, 1);
        run_layer(&f, 0, 0, 4);
        hint(&f, 1, 0, 3);
        assert_int_equal(stats(&f).prefetch_issued, 3);
        fake_pump(2); /* two have arrived; one that is asked for has not, or has */
        begin(&f, 1, 2, 4);
        fake_pump(1000);
        finish(&f, 4);
        hs_residency_stats s = stats(&f);
        assert_int_equal(s.prefetch_useful + s.prefetch_late, 1);
        assert_int_equal(s.prefetch_wasted + s.prefetch_dropped, 2);
        assert_int_equal(s.miss_predicted, 1);
        assert_int_equal(s.hits, s.prefetch_useful);
        assert_int_equal(s.late, s.prefetch_late);
        fixture_close(&f);
    }
}

static void in_time_is_a_hit(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 0, 0, 4);
    fake_pump(4);
    assert_int_equal(run_layer(&f, 0, 0, 4), 4);
    assert_int_equal(stats(&f).prefetch_useful, 4);
    assert_int_equal(stats(&f).speculative_bytes, 4 * FAKE_PADDED);
    assert_int_equal(stats(&f).demand_bytes, 0);
    fixture_close(&f);
}

static void late_is_promoted(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 0, 0, 4);
    begin(&f, 0, 0, 4);
    assert_int_equal(fake_now().promoted, 4);
    assert_int_equal(fake_now().queued, 4); /* no second read of the same */
    fake_pump(4);
    finish(&f, 4);
    assert_int_equal(stats(&f).prefetch_late, 4);
    assert_int_equal(stats(&f).demand_bytes, 4 * FAKE_PADDED);
    fixture_close(&f);
}

static void the_budget_holds_and_the_best_go_first(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 64, 2 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 1, 4, 6);
    assert_int_equal(fake_now().queued, 2);
    fake_pump(2);
    hs_io_class cls;
    uint32_t first = fake_read(0, &cls), second = fake_read(1, NULL);
    assert_int_equal(cls, HS_IO_SPECULATIVE);
    assert_true((first == EXPERTS + 4 && second == EXPERTS + 5) || (first == EXPERTS + 5 && second == EXPERTS + 4));
    run_layer(&f, 0, 0, 4); /* waiting there lets the next ones go out */
    fake_pump(1000);
    assert_true(stats(&f).prefetch_issued > 2);
    begin(&f, 1, 0, 4);
    assert_int_equal(f.r->n_named[HS__OF_PART], 0); /* what had not been issued is forgotten */
    fake_pump(1000);
    finish(&f, 4);
    fixture_close(&f);
}

static void a_small_budget_is_one_expert(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_STAGED, "ewma", 64, 1);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 1, 4, 6);
    assert_int_equal(fake_now().queued, 1);
    fixture_close(&f);
}

static void wrong_guesses_are_cancelled(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 1, 0, 4);
    begin(&f, 1, 8, 4);
    assert_int_equal(fake_now().cancels, 4);
    fake_pump(1000);
    finish(&f, 4);
    assert_int_equal(stats(&f).bytes_read, 4 * FAKE_PADDED); /* none of them was read */
    assert_int_equal(hs_residency_resident(f.r), 4);
    assert_int_equal(stats(&f).errors, 0);
    fixture_close(&f);
}

static void predicted_residents_are_protected(void **state)
{
    (void)state;
    for (int protect = 0; protect < 2; protect++) {
        fixture f;
        fixture_open(&f, FAKE_PLAIN, "lru", 12, 4 * FAKE_PADDED);
        step(&f, HS_PHASE_DECODE, 1);
        run_layer(&f, 3, 0, 4); /* the oldest: the next victims */
        run_layer(&f, 0, 0, 4);
        run_layer(&f, 1, 0, 4);
        if (protect)
            hint(&f, 3, 0, 4);
        run_layer(&f, 2, 0, 4);
        assert_int_equal(run_layer(&f, 3, 0, 4), protect ? 4 : 0);
        fixture_close(&f);
    }
}

/* With everything predicted, a demand still finds a slot. */
static void demand_goes_before_protection(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 8, 4 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    run_layer(&f, 1, 0, 8);
    hint(&f, 1, 0, 8);
    run_layer(&f, 0, 0, 8);
    fixture_close(&f);
}

static void guesses_do_not_evict_what_is_asked_for(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    uint32_t index[4];
    fixture_open(&f, FAKE_PLAIN, "ewma", 5, 8 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    run_layer(&f, 0, 0, 4);
    assert_int_equal(begin(&f, 0, 0, 4), 4);
    hint(&f, 1, 0, 8);
    assert_int_equal(fake_now().queued, 1); /* one slot is not asked for */
    fake_pump(1);
    assert_int_equal(wait_for(&f, 4, index, &err), 4);
    f.x.ops->end(f.x.self);
    fixture_close(&f);
}

/* A sweep drops what decoding has guessed, reads the next layer ahead once nothing of this one is pending, and takes no
 * slot from what decoding uses: with guesses as without. */
static void a_sweep_reads_the_next_layer_ahead(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 24, FAKE_PADDED);
    for (int token = 0; token < 50; token++) {
        step(&f, HS_PHASE_DECODE, 1);
        for (uint32_t l = 0; l < LAYERS; l++)
            run_layer(&f, l, 0, 4);
    }
    hint(&f, 2, 8, 1);
    assert_int_equal(fake_now().queued, 1);
    step(&f, HS_PHASE_PREFILL, 64);
    assert_int_equal(fake_now().cancels, 1);
    fake_pump(1000);
    uint64_t before = stats(&f).prefetch_issued;
    uint32_t ahead = 0;
    for (uint32_t l = 0; l < LAYERS; l++) {
        ahead += begin(&f, l, 0, EXPERTS) > 4;
        hint(&f, l + 1, 4, EXPERTS - 4);
        if (l == 0)
            assert_int_equal(stats(&f).prefetch_issued, before);
        for (uint32_t i = 0; i < EXPERTS; i++) {
            uint32_t index;
            hs_err err;
            fake_pump(1000);
            assert_int_equal(wait_for(&f, 1, &index, &err), 1);
            f.x.ops->release(f.x.self, index);
        }
        f.x.ops->end(f.x.self);
        fixture_check(&f);
        assert_in_range(f.r->slabs[0].n_loose + f.r->n_guessed, 0, 24 - 16);
        fake_pump(1000);
    }
    assert_int_equal(ahead, LAYERS - 1);
    assert_true(stats(&f).prefetch_issued - before > 3 * 1); /* more than the budget of decoding at a time */
    step(&f, HS_PHASE_DECODE, 1);
    for (uint32_t l = 0; l < LAYERS; l++)
        assert_int_equal(run_layer(&f, l, 0, 4), 4);
    fixture_close(&f);
}

static void none_when_off(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 0);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 1, 0, 4);
    assert_int_equal(fake_now().queued, 0);
    fixture_close(&f);
}

/* Guesses that never come true stop, and in a layer that has not guessed yet they do not begin. */
static void a_useless_class_is_left_out(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 48, 8 * FAKE_PADDED);
    without_trials(&f);
    uint64_t before = 0;
    for (int token = 0; token < 100; token++) {
        step(&f, HS_PHASE_DECODE, 1);
        if (token == 50)
            before = stats(&f).prefetch_issued;
        hint(&f, 1, (uint32_t)token % 4, 2);
        fake_pump(1000);
        run_layer(&f, 1, 8, 4);
        run_layer(&f, 0, 0, EXPERTS); /* the wrong ones do not stay */
        run_layer(&f, 2, 0, EXPERTS);
        run_layer(&f, 3, 0, EXPERTS);
    }
    assert_int_equal(stats(&f).prefetch_issued, before);
    uint8_t class = hs__class_of(f.r, 1, 2);
    assert_true(hs__chance(f.r, 1, HS__OF_PART, class) < 0.1f && hs__chance(f.r, 2, HS__OF_PART, class) < 0.2f);
    uint32_t absent = 0; /* whatever the policy keeps of the other layers: not all of it */
    while (absent < LAYERS * EXPERTS && (absent / EXPERTS == 1 || is_resident(&f, absent / EXPERTS, absent % EXPERTS)))
        absent++;
    assert_in_range(absent, 0, LAYERS * EXPERTS - 1);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, absent / EXPERTS, absent % EXPERTS, 2);
    assert_int_equal(stats(&f).prefetch_issued, before);
    /* They are looked at all the same: once they come true, they are read again. */
    for (int token = 0; token < 60; token++) {
        step(&f, HS_PHASE_DECODE, 1);
        hint(&f, 1, 2 * ((uint32_t)token % 4), 2);
        fake_pump(1000);
        run_layer(&f, 1, 2 * ((uint32_t)token % 4), 2);
        run_layer(&f, 0, 0, EXPERTS);
        run_layer(&f, 2, 0, EXPERTS);
        run_layer(&f, 3, 0, EXPERTS);
    }
    assert_true(stats(&f).prefetch_issued > before);
    fixture_close(&f);
}

/* Of several classes in a layer those are read that come true; what is made of the whole layer is judged by itself. */
static void the_chance_is_of_the_class(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    for (int i = 0; i < 50; i++) {
        uint8_t sure = hs__class_of(f.r, 1, 1), unsure = hs__class_of(f.r, 1, -1);
        assert_true(sure > unsure);
        hs__worth_learn(f.r, 1, HS__OF_PART, sure, i % 10 != 0);
        hs__worth_learn(f.r, 1, HS__OF_PART, unsure, i % 10 == 0);
        hs__worth_learn(f.r, 1, HS__OF_WHOLE, unsure, true);
    }
    uint8_t sure = hs__class_of(f.r, 1, 1), unsure = hs__class_of(f.r, 1, -1);
    assert_true(hs__chance(f.r, 1, HS__OF_PART, sure) > 0.8f && hs__chance(f.r, 1, HS__OF_PART, unsure) < 0.2f);
    assert_true(hs__chance(f.r, 1, HS__OF_WHOLE, unsure) > 0.9f);
    assert_true(hs__chance(f.r, 3, HS__OF_PART, sure) > 0.8f); /* what it is elsewhere */
    assert_int_equal(hs__class_of(f.r, 1, -INFINITY), 0);
    assert_int_equal(hs__class_of(f.r, 1, NAN), 0);
    fixture_close(&f);
}

/* A guess for layer 1 of which the drive, which takes 20 s, reads so much until the layer begins on average. */
static bool is_worth(fixture *f, float chance, float share)
{
    float takes = FAKE_PADDED * 1e6f;
    f->r->ns_per_byte = 1e6f;
    f->r->guess_layer = 1;
    f->r->window = HS__AFTER_LAYER;
    f->r->window_ns[HS__AFTER_LAYER] = hs_now_ns();
    f->r->ahead[1].window[HS__AFTER_LAYER] = share * takes;
    return hs__is_worth_reading(f->r, EXPERTS, chance);
}

/* Where the drive reads only a little of a guess before the layer begins, only what is nearly certain is read. */
static void an_unsure_guess_needs_time(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    assert_false(is_worth(&f, 0.75f, 0.2f));
    assert_true(is_worth(&f, 0.95f, 0.2f));
    assert_true(is_worth(&f, 0.75f, 10));
    assert_false(is_worth(&f, 1, 0));          /* nothing at all, and a slot is taken */
    f.r->speculative_flying = 8 * FAKE_PADDED; /* the time is spoken for */
    assert_false(is_worth(&f, 0.95f, 0.2f));
    fixture_close(&f);
}

/* Of a wrong guess the drive reads to the end only what it has been given: of a big expert, a small part. */
static void a_wrong_guess_costs_what_is_under_way(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    assert_false(is_worth(&f, 0.75f, 0.2f));
    fake.max_speculative = FAKE_PADDED / 8;
    assert_true(is_worth(&f, 0.75f, 0.2f));
    fake.max_speculative = 0;
    fixture_close(&f);
}

/* And only where the layer then has to wait for something: what it does not ask the drive for is not delayed. */
static void a_wrong_guess_costs_nothing_where_all_is_there(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 12, 8 * FAKE_PADDED);
    for (int token = 0; token < 100; token++) {
        step(&f, HS_PHASE_DECODE, 1);
        run_layer(&f, 1, 0, 4);
        run_layer(&f, 2, (uint32_t)token * 4 % EXPERTS, 4); /* these have to be read again and again */
        run_layer(&f, 3, (uint32_t)token * 4 % EXPERTS, 4);
    }
    assert_true(f.r->ahead[1].waits < 0.1f && f.r->ahead[2].waits > 0.9f);
    assert_true(is_worth(&f, 0.75f, 0.2f));
    f.r->ahead[1].waits = f.r->ahead[2].waits;
    assert_false(is_worth(&f, 0.75f, 0.2f));
    fixture_close(&f);
}

/* Ten hints save on average what each of them does, and no guess more than the layer stands still for an absent
 * expert. */
static void a_hint_saves_what_its_guesses_do(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    hs__ahead *a = &f.r->ahead[1];
    float takes = FAKE_PADDED * 1e6f;
    for (int capped = 0; capped < 2; capped++) {
        a->stood = 0.2f * takes;
        a->unaided = (uint8_t)capped;
        a->missed = 2;
        a->hints[HS__AFTER_LAYER] = 0;
        for (int i = 0; i < 10; i++) {
            assert_true(is_worth(&f, 1, 1e6f));
            f.r->asked = f.r->basis = HS__OF_WHOLE;
            hs__window_begins(f.r);
        }
        float gain = a->gain[HS__AFTER_LAYER] / takes, is = capped ? 0.1f : 1;
        assert_true(gain < is && gain > 0.9f * is);
    }
    fixture_close(&f);
}

/* The bar settles where four of fourteen reads are wasted, whatever the guesses are like. */
static void the_bar_holds_the_waste(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    float first = f.r->bar;
    f.r->guess_layer = 0;
    for (int i = 0; i < 10; i++)
        hs__worth_used(f.r);
    for (int i = 0; i < 4; i++)
        hs__worth_wasted(f.r);
    assert_true(f.r->bar > first - 1e-4f && f.r->bar < first + 1e-4f);
    for (int i = 0; i < 1000; i++)
        hs__worth_wasted(f.r);
    assert_false(hs__is_worth_reading(f.r, 0, 0.85f));
    for (int i = 0; i < 1000; i++)
        hs__worth_used(f.r);
    assert_true(hs__is_worth_reading(f.r, 0, 0.5f));
    fixture_close(&f);
}

/* A later hint for the same layer issues what is new in it and drops what it no longer names, before it is read. */
static void a_later_hint_tops_up_and_drops(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, 8 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    assert_true(f.x.ops->asks(f.x.self, 1, false));
    hint(&f, 1, 0, 4);
    assert_int_equal(fake_now().queued, 4);
    assert_true(f.x.ops->asks(f.x.self, 1, true));
    hint(&f, 1, 2, 4);
    assert_int_equal(fake_now().cancels, 2);
    assert_int_equal(stats(&f).prefetch_issued, 6);
    fake_pump(1000);
    assert_int_equal(run_layer(&f, 1, 2, 4), 4);
    hs_residency_stats s = stats(&f);
    assert_int_equal(s.prefetch_useful, 4);
    assert_int_equal(s.prefetch_dropped, 2);
    assert_int_equal(s.prefetch_wasted, 0);
    hs_residency_layer l;
    hs_residency_get_layer(f.r, 1, &l);
    assert_true(l.absent == 4 && l.issued == 6 && l.useful == 4 && l.late == 0 && l.wasted == 0);
    fixture_close(&f);
}

/* Where the layer's second hint is not worth making, what the first has named goes on being read. */
static void a_hint_that_is_not_made_stops_nothing(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "ewma", 32, FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    f.r->ns_per_byte = 1;
    f.r->ahead[1].window[HS__AMID_HITS] = 1e12f;
    f.r->ahead[1].hints[HS__AFTER_LAYER] = UINT8_MAX;
    f.r->ahead[1].gain[HS__AFTER_LAYER] = -1;
    assert_true(f.x.ops->asks(f.x.self, 1, false));
    hint(&f, 1, 0, 4);
    assert_int_equal(stats(&f).prefetch_issued, 1);
    assert_false(f.x.ops->asks(f.x.self, 1, true));
    fake_pump(1);
    hs__load_drain(f.r);
    hs__prefetch_pump(f.r);
    assert_int_equal(stats(&f).prefetch_issued, 2);
    fixture_close(&f);
}

/* A hint whose guesses save nothing is not made: the drive has no time before the layer begins. */
static void hints_that_save_nothing_are_not_asked_for(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, 8 * FAKE_PADDED);
    without_trials(&f);
    int asked = 0;
    for (int token = 0; token < 320; token++) {
        fake.told_bytes += 1 << 20;
        step(&f, HS_PHASE_DECODE, 1);
        bool asks = f.x.ops->asks(f.x.self, 1, true);
        if (asks)
            hint(&f, 1, 0, 4);
        asked += asks && token >= 160;
        f.r->ahead[1].window[HS__AFTER_LAYER] = 0;
        run_layer(&f, 1, 0, 4);
    }
    assert_in_range(asked, 1, 16);
    fixture_close(&f);
}

/* Nor is one for a layer that does not stand still anyway: its hits take longer than its reads. */
static void a_layer_that_does_not_wait_needs_no_hints(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, 8 * FAKE_PADDED);
    f.r->ns_per_byte = 1;
    f.r->ahead[1].gain[HS__AFTER_LAYER] = 1e9f;
    f.r->ahead[1].hints[HS__AFTER_LAYER] = UINT8_MAX;
    f.r->ahead[1].hint_ns = 1000;
    step(&f, HS_PHASE_DECODE, 1);
    assert_true(f.x.ops->asks(f.x.self, 1, true));
    f.r->ahead[1].unaided = 1;
    f.r->ahead[1].stood = 100;
    assert_false(f.x.ops->asks(f.x.self, 1, true));
    f.r->ahead[1].stood = 10000;
    assert_true(f.x.ops->asks(f.x.self, 1, true));
    fixture_close(&f);
}

/* What a layer stands still for is learnt from all steps without a hint, whatever the reason. */
static void a_layer_is_watched_without_hints(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, 8 * FAKE_PADDED);
    without_trials(&f);
    const hs__ahead *a = &f.r->ahead[1];
    for (int token = 0; token < 10; token++) {
        step(&f, HS_PHASE_DECODE, 1);
        if (token < 4)
            hint(&f, 1, 0, 4);
        fake_pump(1000);
        run_layer(&f, 1, 4 * ((uint32_t)token % 2), 4);
        run_layer(&f, 0, 0, EXPERTS);
        run_layer(&f, 2, 0, EXPERTS);
    }
    assert_int_equal(a->unaided, 6);
    assert_true(a->missed > 3.9f && a->missed < 4.1f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(useful_late_and_wasted),
        cmocka_unit_test(in_time_is_a_hit),
        cmocka_unit_test(late_is_promoted),
        cmocka_unit_test(the_budget_holds_and_the_best_go_first),
        cmocka_unit_test(a_small_budget_is_one_expert),
        cmocka_unit_test(wrong_guesses_are_cancelled),
        cmocka_unit_test(predicted_residents_are_protected),
        cmocka_unit_test(demand_goes_before_protection),
        cmocka_unit_test(guesses_do_not_evict_what_is_asked_for),
        cmocka_unit_test(a_sweep_reads_the_next_layer_ahead),
        cmocka_unit_test(none_when_off),
        cmocka_unit_test(a_useless_class_is_left_out),
        cmocka_unit_test(the_chance_is_of_the_class),
        cmocka_unit_test(an_unsure_guess_needs_time),
        cmocka_unit_test(a_wrong_guess_costs_what_is_under_way),
        cmocka_unit_test(a_wrong_guess_costs_nothing_where_all_is_there),
        cmocka_unit_test(a_hint_saves_what_its_guesses_do),
        cmocka_unit_test(the_bar_holds_the_waste),
        cmocka_unit_test(a_later_hint_tops_up_and_drops),
        cmocka_unit_test(a_hint_that_is_not_made_stops_nothing),
        cmocka_unit_test(hints_that_save_nothing_are_not_asked_for),
        cmocka_unit_test(a_layer_that_does_not_wait_needs_no_hints),
        cmocka_unit_test(a_layer_is_watched_without_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
