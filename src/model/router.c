/*
 * router.c - from a router's logits to the experts of a token and their factors.
 * Selection compares biased scores, within the best groups where there are groups; factors are the unbiased scores.
 * Router order = falling factor, ties to the lower number: partial outputs are summed in this order.
 */
#include <math.h>
#include <string.h>

#include "model/model_int.h"

/* The sum of the group's two best, or its best. */
static float group_score(const float *pick, uint32_t n, bool only_best)
{
    float a = -INFINITY, b = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (pick[i] > a) {
            b = a;
            a = pick[i];
        } else if (pick[i] > b) {
            b = pick[i];
        }
    }
    return only_best ? a : a + b;
}

static void mask_groups(const hs_model *m, float *pick)
{
    const hs__router_rule *r = &m->a->router;
    uint32_t per = m->spec->n_experts / r->n_group, chosen[HS__MAX_EXPERTS];
    for (uint32_t g = 0; g < r->n_group; g++)
        m->group[g] = group_score(pick + g * per, per, r->group_max);
    hs_topk(m->group, r->n_group, r->topk_group, chosen);
    memset(m->group, 0, r->n_group * sizeof *m->group);
    for (uint32_t i = 0; i < r->topk_group; i++)
        m->group[chosen[i]] = 1;
    for (uint32_t e = 0; e < m->spec->n_experts; e++)
        if (m->group[e / per] == 0)
            pick[e] = -INFINITY;
}

void hs__router_logits(hs_model *m, hs_phase phase, const hs__layer *l, const float *x, uint32_t n, float *logits)
{
    uint32_t n_experts = m->spec->n_experts;
    hs__product g = {&l->w[HS__W_ROUTER], x, logits, m->spec->hidden, n_experts};
    hs__linear(m, phase, &g, 1, n);
    for (uint32_t i = 0; l->v[HS__V_LOGIT_BIAS] && i < n; i++)
        hs_add(l->v[HS__V_LOGIT_BIAS], logits + (size_t)i * n_experts, n_experts);
}

void hs__route_scores(const hs_model *m, const float *logits, const float *bias, float *score, float *pick)
{
    uint32_t n = m->spec->n_experts;
    memcpy(score, logits, n * sizeof *score);
    if (m->a->router.sigmoid) {
        for (uint32_t e = 0; e < n; e++)
            score[e] = hs_sigmoid(score[e]);
    } else {
        m->k->softmax(score, n);
    }
    for (uint32_t e = 0; e < n; e++)
        pick[e] = bias ? score[e] + bias[e] : score[e];
    if (m->a->router.n_group > 1)
        mask_groups(m, pick);
}

/* The k best by m->pick, with their scores, by falling score. */
static void choose(const hs_model *m, uint32_t *ids, float *w)
{
    uint32_t k = m->spec->top_k, best[HS__MAX_TOP_K];
    hs_topk(m->pick, m->spec->n_experts, k, best);
    for (uint32_t j = 0; j < k; j++) {
        uint32_t e = best[j], at = j;
        float s = m->score[e];
        while (at > 0 && (s > w[at - 1] || (s == w[at - 1] && e < ids[at - 1]))) {
            w[at] = w[at - 1];
            ids[at] = ids[at - 1];
            at--;
        }
        w[at] = s;
        ids[at] = e;
    }
}

void hs__route_token(hs_model *m, const hs__layer *l, uint32_t i, const uint32_t *chosen)
{
    const hs__router_rule *r = &m->a->router;
    uint32_t k = m->spec->top_k, *ids = m->ids + (size_t)i * k;
    float *w = m->weight + (size_t)i * k, *norm = m->normalised + (size_t)i * k, sum = 0;
    hs__route_scores(m, m->logits + (size_t)i * m->spec->n_experts, l->v[HS__V_ROUTER_BIAS], m->score, m->pick);
    if (chosen) {
        memcpy(ids, chosen, k * sizeof *ids);
        for (uint32_t j = 0; j < k; j++)
            w[j] = m->score[ids[j]];
    } else {
        choose(m, ids, w);
    }
    for (uint32_t j = 0; j < k; j++)
        sum += w[j];
    for (uint32_t j = 0; j < k; j++) {
        norm[j] = sum > 0 ? w[j] / sum : 1.0f / (float)k;
        w[j] = (r->normalise ? w[j] / (sum + r->normalise_eps) : w[j]) * r->scale;
    }
}
