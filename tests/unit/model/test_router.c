/* labels: unit */
/* test_router.c - selection rules on hand-made scores: bias, groups, ties, factors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "model/model_int.h"

#define E 8u

typedef struct bench {
    hs_model m;
    hs_model_spec spec;
    hs_arch arch;
    hs__layer layer;
    float logits[E], score[E], pick[E], group[E], weight[E], normalised[E], bias[E];
    uint32_t ids[E];
} bench;

static void setup(bench *b, uint32_t top_k, hs__router_rule rule)
{
    memset(b, 0, sizeof *b);
    hs_err err;
    b->spec = (hs_model_spec){.n_experts = E, .top_k = top_k};
    b->arch.router = rule;
    b->m = (hs_model){.spec = &b->spec,
                      .a = &b->arch,
                      .k = hs_kernels_get(HS_KERNELS_GENERIC, &err),
                      .logits = b->logits,
                      .score = b->score,
                      .pick = b->pick,
                      .group = b->group,
                      .weight = b->weight,
                      .normalised = b->normalised,
                      .ids = b->ids};
    b->layer.v[HS__V_ROUTER_BIAS] = b->bias;
}

/* The logit whose sigmoid is s. */
static float logit(float s)
{
    return logf(s / (1 - s));
}

static void test_bias_selects_but_does_not_weigh(void **state)
{
    (void)state;
    bench b;
    setup(&b, 2, (hs__router_rule){.sigmoid = true, .n_group = 1, .topk_group = 1, .normalise = true, .scale = 2.5f});
    const float s[E] = {0.9f, 0.1f, 0.2f, 0.8f, 0.3f, 0.3f, 0.3f, 0.3f};
    for (uint32_t e = 0; e < E; e++)
        b.logits[e] = logit(s[e]);
    b.bias[1] = 5;
    b.bias[0] = -1;
    hs__route_token(&b.m, &b.layer, 0, NULL);
    assert_int_equal(b.ids[0], 3); /* by falling factor, not by selection score */
    assert_int_equal(b.ids[1], 1);
    assert_true(fabsf(b.weight[0] - 2.5f * 0.8f / 0.9f) < 1e-5f);
    assert_true(fabsf(b.weight[1] - 2.5f * 0.1f / 0.9f) < 1e-5f);
    assert_true(fabsf(b.normalised[0] + b.normalised[1] - 1) < 1e-6f);
}

/* Biased scores may be negative: a group that was not kept is out, even if all kept ones are below zero. */
static void test_groups_left_out_are_out(void **state)
{
    (void)state;
    bench b;
    setup(&b, 2, (hs__router_rule){.sigmoid = true, .n_group = 4, .topk_group = 1, .normalise = true, .scale = 1});
    for (uint32_t e = 0; e < E; e++) {
        b.logits[e] = logit(0.5f);
        b.bias[e] = -3;
    }
    b.bias[4] = b.bias[5] = -2;
    hs__route_token(&b.m, &b.layer, 0, NULL);
    assert_int_equal(b.ids[0], 4);
    assert_int_equal(b.ids[1], 5);
    assert_true(isinf(b.pick[0]) && isinf(b.pick[6]) && !isinf(b.pick[4]));
}

/* V3: the two best of a group together; V2: the best alone. */
static void test_group_scores(void **state)
{
    (void)state;
    const float s[E] = {0.9f, 0.01f, 0.6f, 0.5f, 0.1f, 0.1f, 0.1f, 0.1f};
    for (int only_best = 0; only_best < 2; only_best++) {
        bench b;
        setup(&b, 1,
              (hs__router_rule){.sigmoid = true, .n_group = 4, .topk_group = 1, .group_max = only_best, .scale = 1});
        for (uint32_t e = 0; e < E; e++)
            b.logits[e] = logit(s[e]);
        hs__route_token(&b.m, &b.layer, 0, NULL);
        assert_int_equal(b.ids[0], only_best ? 0 : 2);
    }
}

static void test_softmax_and_ties(void **state)
{
    (void)state;
    bench b;
    setup(&b, 3, (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1});
    b.layer.v[HS__V_ROUTER_BIAS] = NULL;
    b.logits[6] = 1;
    hs__route_token(&b.m, &b.layer, 0, NULL); /* the rest is equal: lower numbers first */
    assert_int_equal(b.ids[0], 6);
    assert_int_equal(b.ids[1], 0);
    assert_int_equal(b.ids[2], 1);
    float e = expf(1), sum = e + 7;
    assert_true(fabsf(b.weight[0] - e / sum) < 1e-6f && fabsf(b.weight[1] - 1 / sum) < 1e-6f);
    assert_true(fabsf(b.normalised[0] - e / (e + 2)) < 1e-6f);
}

static void test_nan_logits_choose_distinct_experts(void **state)
{
    (void)state;
    bench b;
    setup(&b, 4, (hs__router_rule){.sigmoid = true, .n_group = 2, .topk_group = 1, .normalise = true, .scale = 1});
    for (uint32_t e = 0; e < E; e++)
        b.logits[e] = NAN;
    hs__route_token(&b.m, &b.layer, 0, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(b.ids[i] < E);
        for (uint32_t j = 0; j < i; j++)
            assert_int_not_equal(b.ids[i], b.ids[j]);
    }
}

/* What somebody else has chosen keeps its order and gets the factors that the router's scores give it. */
static void test_choice_of_somebody_else(void **state)
{
    (void)state;
    bench b;
    setup(&b, 2, (hs__router_rule){.sigmoid = true, .n_group = 1, .topk_group = 1, .normalise = true, .scale = 1});
    for (uint32_t e = 0; e < E; e++)
        b.logits[e] = logit(0.1f * (float)(e + 1));
    const uint32_t chosen[2] = {1, 2};
    hs__route_token(&b.m, &b.layer, 0, chosen);
    assert_memory_equal(b.ids, chosen, sizeof chosen);
    assert_true(fabsf(b.weight[0] - 0.4f) < 1e-5f && fabsf(b.weight[1] - 0.6f) < 1e-5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bias_selects_but_does_not_weigh),
        cmocka_unit_test(test_groups_left_out_are_out),
        cmocka_unit_test(test_group_scores),
        cmocka_unit_test(test_softmax_and_ties),
        cmocka_unit_test(test_nan_logits_choose_distinct_experts),
        cmocka_unit_test(test_choice_of_somebody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
