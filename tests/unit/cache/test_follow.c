/* labels: unit */
/* What follows what, counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache/follow.h"

#define LAYERS  2u
#define EXPERTS 40u

static int setup(void **state)
{
    static hs__follow f;
    size_t bytes = hs__follow_bytes(EXPERTS, LAYERS);
    void *mem = malloc(bytes);
    assert_non_null(mem);
    memset(mem, 0xa5, bytes);
    hs__follow_init(&f, mem, EXPERTS, LAYERS);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    free(((hs__follow *)*state)->layer);
    return 0;
}

static void step(hs__follow *f, uint32_t layer, uint32_t n, const uint32_t *experts)
{
    hs__follow_step(f, layer);
    for (uint32_t i = 0; i < n; i++)
        hs__follow_use(f, layer, layer * EXPERTS + experts[i]);
}

static void expect(const hs__follow *f, uint32_t layer, uint32_t expert, double should)
{
    double is = hs__follow_rate(f, layer, layer * EXPERTS + expert, 0.5f);
    if (fabs(is - should) > 1e-6)
        fail_msg("expert %u: %g instead of %g", expert, is, should);
}

static void by_hand(void **state)
{
    hs__follow *f = *state;
    expect(f, 0, 3, 0.5);
    step(f, 0, 2, (uint32_t[]){1, 2});
    expect(f, 0, 3, 0.5);
    step(f, 0, 2, (uint32_t[]){3, 4});
    step(f, 0, 2, (uint32_t[]){1, 2});
    /* 1 and 2 were each followed once, by 3 and 4; three uses of nothing known beside it. */
    expect(f, 0, 3, (1 + 1.5) / 4);
    expect(f, 0, 5, 1.5 / 4);
    step(f, 0, 2, (uint32_t[]){3, 5});
    step(f, 0, 1, (uint32_t[]){1}); /* of the two to come, one is known */
    expect(f, 0, 3, ((2 + 1.5) / 5 + 0.5) / 2);
    hs__follow_use(f, 0, 7);
    expect(f, 0, 3, ((2 + 1.5) / 5 + 0.5) / 2);
    hs__follow_use(f, 0, 8); /* more than in the step before */
    expect(f, 0, 3, ((2 + 1.5) / 5 + 0.5 + 0.5) / 3);
    expect(f, 1, 3, 0.5); /* the other layer has seen nothing */
}

/* What is forgotten teaches nothing, what was learnt stays. */
static void breaks(void **state)
{
    hs__follow *f = *state;
    step(f, 0, 1, (uint32_t[]){1});
    step(f, 0, 1, (uint32_t[]){2});
    hs__follow_break(f, 0);
    expect(f, 0, 2, 0.5);
    step(f, 0, 1, (uint32_t[]){3});
    step(f, 0, 1, (uint32_t[]){2});
    expect(f, 0, 3, 0.5); /* nothing followed 2 */
    step(f, 0, 1, (uint32_t[]){1});
    expect(f, 0, 2, (1 + 1.5) / 4);
    expect(f, 0, 3, 1.5 / 4);
}

/* Counts are halved before they overflow: a habit that changes is unlearnt. */
static void halves(void **state)
{
    hs__follow *f = *state;
    for (uint32_t i = 0; i < 1000; i++) {
        step(f, 1, 1, (uint32_t[]){0});
        step(f, 1, 1, (uint32_t[]){i < 500 ? 1 : 2});
    }
    step(f, 1, 1, (uint32_t[]){0});
    assert_true(hs__follow_rate(f, 1, EXPERTS + 2, 0) > 0.8f);
    assert_true(hs__follow_rate(f, 1, EXPERTS + 1, 0) < 0.2f);
}

/* The half that is kept is of both counts. */
static void halves_evenly(void **state)
{
    hs__follow *f = *state;
    for (uint32_t i = 0; i < 256; i++) {
        step(f, 0, 1, (uint32_t[]){5});
        step(f, 0, 1, (uint32_t[]){6});
    }
    step(f, 0, 1, (uint32_t[]){5});
    expect(f, 0, 6, (128 + 1.5) / 131);
}

/* A step of more experts than are heeded does no harm. */
static void wide(void **state)
{
    hs__follow *f = *state;
    uint32_t all[EXPERTS];
    for (uint32_t i = 0; i < EXPERTS; i++)
        all[i] = i;
    for (int i = 0; i < 3; i++)
        step(f, 0, EXPERTS, all);
    expect(f, 0, 0, (1 + 1.5) / 4);
    expect(f, 0, EXPERTS - 1, 1.5 / 4);
}

/* A layer of very many experts has no table. */
static void too_big(void **state)
{
    (void)state;
    hs__follow f;
    assert_int_equal(hs__follow_bytes(1025, 4), 0);
    hs__follow_init(&f, NULL, 1025, 4);
    hs__follow_step(&f, 3);
    hs__follow_use(&f, 3, 4000);
    hs__follow_break(&f, 3);
    assert_true(hs__follow_rate(&f, 3, 4000, 0.25f) == 0.25f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(breaks, setup, teardown),
        cmocka_unit_test_setup_teardown(halves, setup, teardown),
        cmocka_unit_test_setup_teardown(halves_evenly, setup, teardown),
        cmocka_unit_test_setup_teardown(wide, setup, teardown),
        cmocka_unit_test(too_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
