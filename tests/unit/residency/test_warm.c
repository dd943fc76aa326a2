/* labels: unit */
/* test_warm.c - what earlier runs have used: it is read ahead, most used first, and stays when others come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"

#include "fixture.h"

static fixture f;

/* Object i was used 100 - i times of 100 tokens. */
static const uint32_t objects[6] = {5, 21, 37, 53, 6, 22}, uses[6] = {100, 99, 98, 97, 2, 1};

static void most_used_first_and_no_more_than_fit(void **state)
{
    (void)state;
    fixture_open(&f, FAKE_MIXED, "ewma", 5, 4 * FAKE_PADDED);
    uint32_t at = 0, rounds = 0;
    hs_residency_warm(f.r, objects, uses, 6, 100);
    fixture_check(&f);
    for (; hs_residency_preload(f.r, objects, 6, false, &at); rounds++) {
        fixture_check(&f);
        assert_true(f.r->speculative_flying <= f.r->sweep_budget);
        assert_true(rounds < 100);
        fake_pump(1);
    }
    fixture_check(&f);
    assert_int_equal(at, 5);
    assert_int_equal(hs_residency_resident(f.r), 5);
    for (uint32_t i = 0; i < 5; i++)
        assert_true(is_resident(&f, objects[i] / EXPERTS, objects[i] % EXPERTS));
    for (uint32_t i = 0; i < fake_now().reads; i++) {
        hs_io_class cls;
        fake_read(i, &cls);
        assert_int_equal(cls, HS_IO_SPECULATIVE);
    }
    step(&f, HS_PHASE_DECODE, 1);
    assert_int_equal(begin(&f, 0, 5, 1), 1); /* a hit, with its own bytes */
    finish(&f, 1);
    fixture_close(&f);
}

/* The policy has heard of it: newcomers do not push out what was used a hundred times as often. */
static void what_was_used_much_stays(void **state)
{
    (void)state;
    fixture_open(&f, FAKE_PLAIN, "ewma", 8, 0);
    uint32_t at = 0;
    hs_residency_warm(f.r, objects, uses, 6, 100);
    while (hs_residency_preload(f.r, objects, 4, false, &at))
        fake_pump(10);
    for (uint32_t first = 8; first <= 12; first += 4) {
        step(&f, HS_PHASE_DECODE, 1);
        for (uint32_t l = 0; l < LAYERS; l++)
            run_layer(&f, l, first, 4);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_true(is_resident(&f, objects[i] / EXPERTS, objects[i] % EXPERTS));
    fixture_close(&f);
}

/* A request comes while reads are under way: what it needs of them is promoted, the rest arrives beside. */
static void a_demand_goes_before(void **state)
{
    (void)state;
    fixture_open(&f, FAKE_PLAIN, "ewma", 8, 4 * FAKE_PADDED);
    uint32_t at = 0;
    hs_residency_warm(f.r, objects, uses, 6, 100);
    assert_true(hs_residency_preload(f.r, objects, 6, false, &at));
    fixture_check(&f);
    step(&f, HS_PHASE_DECODE, 1);
    assert_int_equal(begin(&f, 0, 4, 3), 0);
    assert_true(fake_now().promoted > 0);
    fake_pump(1000);
    finish(&f, 3);
    while (hs_residency_preload(f.r, objects, 6, false, &at))
        fake_pump(10);
    fixture_check(&f);
    assert_true(is_resident(&f, 1, 5));
    fixture_close(&f);
}

/* One that cannot be read is passed over. */
static void a_bad_record_is_passed_over(void **state)
{
    (void)state;
    fixture_open(&f, FAKE_PLAIN, "ewma", 8, 4 * FAKE_PADDED);
    uint32_t at = 0;
    fake_spoil(21, 9, 0);
    while (hs_residency_preload(f.r, objects, 6, false, &at))
        fake_pump(10);
    fixture_check(&f);
    assert_int_equal(hs_residency_resident(f.r), 5);
    assert_int_equal(hs_residency_get_stats(f.r).errors, 1);
    fixture_close(&f);
}

/* Memory is full of what was used once: what is worth more takes its place, and nothing else moves. */
static void what_is_worth_more_takes_a_place(void **state)
{
    (void)state;
    fixture_open(&f, FAKE_PLAIN, "ewma", 8, 4 * FAKE_PADDED);
    uint32_t at = 0;
    step(&f, HS_PHASE_DECODE, 1);
    for (uint32_t l = 0; l < LAYERS; l++)
        run_layer(&f, l, 8, 2);
    assert_int_equal(hs_residency_resident(f.r), 8);
    hs_residency_warm(f.r, objects, uses, 6, 100);
    assert_false(hs_residency_preload(f.r, objects, 6, false, &at)); /* no room */
    at = 0;
    while (hs_residency_preload(f.r, objects, 6, true, &at)) {
        fixture_check(&f);
        fake_pump(10);
    }
    fixture_check(&f);
    assert_int_equal(hs_residency_resident(f.r), 8);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(is_resident(&f, objects[i] / EXPERTS, objects[i] % EXPERTS));
    uint64_t read = hs_residency_get_stats(f.r).speculative_bytes;
    at = 0;
    while (hs_residency_preload(f.r, objects, 6, true, &at))
        fake_pump(10);
    assert_int_equal(hs_residency_get_stats(f.r).speculative_bytes, read); /* it pays once */
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_used_first_and_no_more_than_fit),
        cmocka_unit_test(what_was_used_much_stays),
        cmocka_unit_test(a_demand_goes_before),
        cmocka_unit_test(a_bad_record_is_passed_over),
        cmocka_unit_test(what_is_worth_more_takes_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
