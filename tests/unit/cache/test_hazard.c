/* labels: unit */
/* Cells by age and frequency; a cell tells what followed, one seen little what followed its like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "cache/hazard.h"

static void cells(void **state)
{
    (void)state;
    const uint32_t age[] = {0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
    for (uint32_t i = 0; i < HS__HAZARD_AGES; i++) {
        assert_int_equal(hs__hazard_cell(age[i], 0, 0), i * 64);
        assert_int_equal(hs__hazard_cell(i < 15 ? age[i + 1] - 1 : UINT32_MAX, 0, 0), i * 64);
    }
    assert_int_equal(hs__hazard_cell(0, 0.0077f, 0), 0);
    assert_int_equal(hs__hazard_cell(0, 0.0079f, 0), 1);
    assert_int_equal(hs__hazard_cell(0, 0.49f, 0.5f), 6 + 7 * 8);
    assert_int_equal(hs__hazard_cell(0, 1, 1), 7 + 7 * 8);
}

static void learns(void **state)
{
    (void)state;
    static hs__hazard h;
    uint32_t often = hs__hazard_cell(1, 0.5f, 0.3f), rarely = hs__hazard_cell(20, 0, 0.1f);
    uint32_t like = hs__hazard_cell(1, 0.05f, 0.3f), other = hs__hazard_cell(20, 0.5f, 0.3f);
    hs__hazard_init(&h);
    hs__hazard_settle(&h);
    assert_true(h.rate[often] == 0);
    for (int i = 0; i < 4000; i++) {
        hs__hazard_learn(&h, often, i % 2 ? 1 : 0);
        hs__hazard_learn(&h, rarely, i % 50 ? 0 : 1);
    }
    hs__hazard_settle(&h);
    assert_true(fabsf(h.rate[often] - 0.5f) < 0.01f);
    assert_true(fabsf(h.rate[rarely] - 0.02f) < 0.005f);
    assert_true(fabsf(h.rate[like] - h.rate[often]) < 0.01f); /* of the same age and overall frequency */
    assert_true(fabsf(h.rate[other] - h.rate[rarely]) < 0.01f);
    for (int i = 0; i < 40000; i++) /* the old fades */
        hs__hazard_learn(&h, often, 0);
    hs__hazard_settle(&h);
    assert_true(h.rate[often] < 0.02f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cells), cmocka_unit_test(learns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
