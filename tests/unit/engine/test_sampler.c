/* test_sampler.c - the sampler against filters written the slow way: sort everything, then cut. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sampler.h"

#define VOCAB 200u

static hs__candidate scratch[VOCAB];

static void fill(float *logits, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 12345;
    for (uint32_t i = 0; i < VOCAB; i++) {
        x = x * 1664525u + 1013904223u;
        logits[i] = (float)(x >> 8) / (float)(1 << 24) * 12 - 6;
    }
}

static int falling(const void *a, const void *b)
{
    const hs__candidate *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* Probability of each id after temperature, top_k, top_p, min_p in this order, each over what the one before left. */
static void reference(const hs_sampling *s, const float *logits, double *p)
{
    hs__candidate c[VOCAB];
    float top = -INFINITY;
    for (uint32_t i = 0; i < VOCAB; i++)
        top = logits[i] > top ? logits[i] : top;
    for (uint32_t i = 0; i < VOCAB; i++)
        c[i] = (hs__candidate){expf((logits[i] - top) / s->temperature), i};
    qsort(c, VOCAB, sizeof *c, falling);
    uint32_t n = s->top_k && s->top_k < VOCAB ? s->top_k : VOCAB;
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        total += (double)c[i].p;
    uint32_t kept = 0;
    while (kept < n && !(kept > 0 && c[kept].p < c[0].p * s->min_p)) {
        sum += (double)c[kept++].p;
        if (s->top_p < 1 && sum >= (double)s->top_p * total)
            break;
    }
    memset(p, 0, VOCAB * sizeof *p);
    for (uint32_t i = 0; i < kept; i++)
        p[c[i].id] = (double)c[i].p / sum;
}

static void agrees_with(const hs_sampling *setting, uint32_t n_draws)
{
    float logits[VOCAB];
    double p[VOCAB];
    uint32_t count[VOCAB] = {0};
    fill(logits, 7);
    reference(setting, logits, p);
    for (uint32_t step = 0; step < n_draws; step++) {
        uint32_t id = hs__sample(setting, logits, VOCAB, step, scratch);
        assert_true(id < VOCAB);
        assert_true(p[id] > 0);
        count[id]++;
    }
    for (uint32_t i = 0; i < VOCAB; i++) {
        double mean = p[i] * n_draws, deviation = sqrt(mean * (1 - p[i])) + 1;
        assert_true(fabs(count[i] - mean) < 6 * deviation);
    }
}

static void test_distributions(void **state)
{
    (void)state;
    const hs_sampling settings[] = {
        {.temperature = 1, .top_p = 1, .seed = 1},
        {.temperature = 0.7f, .top_p = 1, .seed = 2},
        {.temperature = 0.8f, .top_p = 0.95f, .seed = 3},
        {.temperature = 1, .top_p = 0.3f, .seed = 4},
        {.temperature = 1, .top_p = 1, .top_k = 5, .seed = 5},
        {.temperature = 1.5f, .top_p = 0.5f, .top_k = 20, .seed = 6},
        {.temperature = 1, .top_p = 1, .min_p = 0.1f, .seed = 7},
        {.temperature = 2, .top_p = 0.9f, .min_p = 0.05f, .top_k = 60, .seed = 8},
        {.temperature = 1, .top_p = 1, .top_k = VOCAB * 2, .seed = 9},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        agrees_with(&settings[i], 20000);
}

static void test_greedy(void **state)
{
    (void)state;
    float logits[VOCAB];
    fill(logits, 3);
    logits[50] = logits[20] = 99;
    hs_sampling s = {.temperature = 0, .top_p = 1};
    assert_int_equal(hs__sample(&s, logits, VOCAB, 0, scratch), 20);
    s = (hs_sampling){.temperature = 1, .top_p = 1, .top_k = 1};
    assert_int_equal(hs__sample(&s, logits, VOCAB, 0, scratch), 20);
}

static void test_seed_and_step_decide(void **state)
{
    (void)state;
    float logits[VOCAB];
    fill(logits, 4);
    hs_sampling a = {.temperature = 1, .top_p = 1, .seed = 10}, b = a;
    b.seed = 11;
    uint32_t same = 0, changes = 0, before = 0;
    for (uint32_t step = 0; step < 200; step++) {
        uint32_t x = hs__sample(&a, logits, VOCAB, step, scratch);
        assert_int_equal(x, hs__sample(&a, logits, VOCAB, step, scratch));
        same += x == hs__sample(&b, logits, VOCAB, step, scratch);
        changes += x != before;
        before = x;
    }
    assert_true(same < 100);
    assert_true(changes > 100);
}

static void test_broken_logits(void **state)
{
    (void)state;
    float logits[VOCAB];
    hs_sampling s = {.temperature = 1, .top_p = 0.9f, .seed = 1};
    for (uint32_t i = 0; i < VOCAB; i++)
        logits[i] = NAN;
    assert_int_equal(hs__sample(&s, logits, VOCAB, 0, scratch), 0);
    logits[9] = 1;
    for (uint32_t step = 0; step < 20; step++)
        assert_int_equal(hs__sample(&s, logits, VOCAB, step, scratch), 9);
    for (uint32_t i = 0; i < VOCAB; i++)
        logits[i] = -INFINITY;
    assert_int_equal(hs__sample(&s, logits, VOCAB, 0, scratch), 0);
    logits[5] = INFINITY;
    assert_int_equal(hs__sample(&s, logits, VOCAB, 0, scratch), 5);
}

static void test_check_names_the_parameter(void **state)
{
    (void)state;
    const struct {
        hs_sampling s;
        const char *name;
    } bad[] = {
        {{.temperature = -1, .top_p = 1}, "temperature"},
        {{.temperature = NAN, .top_p = 1}, "temperature"},
        {{.temperature = 1, .top_p = 0}, "top_p"},
        {{.temperature = 1, .top_p = 1.5f}, "top_p"},
        {{.temperature = 1, .top_p = 1, .min_p = 1}, "min_p"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hs_err err = {0};
        assert_int_equal(hs__sampling_check(&bad[i].s, &err), -EINVAL);
        assert_non_null(strstr(err.text, bad[i].name));
    }
    hs_err err = {0};
    hs_sampling good = {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, .top_k = 40};
    assert_int_equal(hs__sampling_check(&good, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_seed_and_step_decide),
        cmocka_unit_test(test_broken_logits),
        cmocka_unit_test(test_check_names_the_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
