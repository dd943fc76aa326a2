/* labels: unit */
/* A layer reads ahead where that is faster as measured, and tries the other way the more rarely the surer it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

static uint32_t dice = 1;

/* From 0.7 to 1.3: tokens differ by more than the ways do. */
static double luck(void)
{
    dice = dice * 1664525u + 1013904223u;
    return 0.7 + 0.6 * (dice >> 8) / 16777216.0;
}

/* Tokens in which `layer` takes so many us, more or less, with and without guesses; in how many of them it guesses. */
static int run_tokens(fixture *f, uint32_t layer, int tokens, double with, double without)
{
    int on = 0;
    for (int i = 0; i < tokens; i++) {
        bool guesses = hs__is_guessing(f->r, layer);
        f->r->steps++;
        hs__trial_learn(f->r, layer, (uint64_t)((guesses ? with : without) * luck() * 1000), 2);
        on += guesses;
    }
    return on;
}

static void the_better_way_is_taken(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, FAKE_PADDED);
    run_tokens(&f, 1, 1024, 900, 1000);
    assert_in_range(run_tokens(&f, 1, 512, 900, 1000), 448, 511); /* it pays: the trials alone are without */
    run_tokens(&f, 1, 6144, 1100, 1000);
    assert_in_range(run_tokens(&f, 1, 512, 1100, 1000), 1, 16); /* it does not: the trials alone are with */
    run_tokens(&f, 1, 16384, 900, 1000);
    assert_in_range(run_tokens(&f, 1, 512, 900, 1000), 448, 511); /* and it comes back */
    fixture_close(&f);
}

/* One that loses much ends before it has cost much. */
static void a_loss_ends_soon(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, FAKE_PADDED);
    assert_in_range(run_tokens(&f, 1, 256, 1300, 1000), 1, 64);
    fixture_close(&f);
}

/* Layers that lose end guessing; the others go on. */
static void layers_differ(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, FAKE_PADDED);
    for (int i = 0; i < 2048; i++)
        for (uint32_t l = 0; l < 3; l++)
            run_tokens(&f, l, 1, l == 1 ? 1200 : 850, 1000);
    assert_true(f.r->ahead[0].pays && !f.r->ahead[1].pays && f.r->ahead[2].pays);
    fixture_close(&f);
}

/* A cache that fills makes all steps shorter, with fewer absent experts: that is nobody's merit. */
static void what_changes_in_time_is_no_difference(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, FAKE_PADDED);
    for (uint32_t i = 0; i < 1024; i++) {
        uint64_t absent = 6 - i / 200;
        f.r->steps++;
        hs__trial_learn(f.r, 1, (uint64_t)((100 + 1000.0 * (double)absent) * luck() * 1000), absent);
    }
    const hs__took *t = &f.r->ahead[1].took;
    assert_true(t->n > 32);
    assert_true(t->d / t->n > -0.1f && t->d / t->n < 0.1f);
    assert_true(f.r->ahead[1].pays);
    fixture_close(&f);
}

/* Steps that miss more take longer in either way, and what somebody else's reads take is cut off. */
static void misses_and_outliers_are_no_difference(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 24, FAKE_PADDED);
    for (uint32_t i = 0; i < 2048; i++) {
        bool guesses = hs__is_guessing(f.r, 1);
        uint64_t absent = (uint64_t)(10 * luck());
        double us = 100 * (double)absent - (guesses ? 60 : 0);
        f.r->steps++;
        hs__trial_learn(f.r, 1, (uint64_t)(i % 97 ? us : 1e6) * 1000, absent);
    }
    assert_true(f.r->ahead[1].pays);
    assert_int_equal(f.r->ahead[1].block.period, 32);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_better_way_is_taken),
        cmocka_unit_test(a_loss_ends_soon),
        cmocka_unit_test(layers_differ),
        cmocka_unit_test(what_changes_in_time_is_no_difference),
        cmocka_unit_test(misses_and_outliers_are_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
