/*
 * predict.c - which experts the next layer will want, before its attention has run: its norm, router, bias and groups
 * applied to what is known of this layer's result. Only a hint: it decides what is read early, never what is computed.
 * For a prompt, some of its tokens stand for all: what they vote for is nearly certain to be wanted by one of them.
 *
 * A guess's margin is its selection score's distance from the first expert that would not be chosen; twice top_k
 * experts are named, since the runners-up are often right and the reader of hints knows what it can afford.
 */
#include <math.h>
#include <string.h>

#include "model/model_int.h"

#define SAMPLE 16u /* tokens of a prompt that are asked */

/* Token i's residual as far as it is known. HS__BEFORE_EXPERTS: the layer's experts have not been computed, nor has the
 * shared one; else the shared one has and, of a generated token, those in m->known. A dense layer: its whole result. */
static void known_residual(const hs_model *m, hs_phase phase, uint32_t layer, hs__known known, uint32_t i, float *x)
{
    const hs__layer_spec *s = &m->a->layers[layer];
    uint32_t hidden = m->spec->hidden, k = m->spec->top_k;
    float scale = m->a->residual_scale;
    memcpy(x, m->x + (size_t)i * hidden, hidden * sizeof *x);
    if (!s->moe || known == HS__BEFORE_EXPERTS)
        return;
    if (s->ffn_width) {
        float gate = m->layers[layer].w[HS__W_SHARED_GATE].data ? m->shared_gate[i] : 1;
        m->k->axpy(gate * scale, m->shared + (size_t)i * hidden, x, hidden);
    }
    for (uint32_t r = 0; phase == HS_PHASE_DECODE && r < k; r++) {
        size_t pair = (size_t)i * k + r;
        if (m->known[pair])
            m->k->axpy(m->weight[pair] * scale, m->part + pair * hidden, x, hidden);
    }
}

/* Raises predict.best of the experts that token i would choose next. */
static void guess_token(hs_model *m, const hs__layer *next, uint32_t i)
{
    uint32_t n = m->spec->n_experts, top_k = m->spec->top_k, best[2 * HS__MAX_TOP_K];
    uint32_t many = 2 * top_k < n ? 2 * top_k : n;
    hs__route_scores(m, m->predict.logits + (size_t)i * n, next->v[HS__V_ROUTER_BIAS], m->score, m->pick);
    hs_topk(m->pick, n, many, best);
    /* Where the kept groups hold no runner-up there is nothing to be distant from. */
    float limit = many > top_k && isfinite(m->pick[best[top_k]]) ? m->pick[best[top_k]] : 0;
    for (uint32_t j = 0; j < many; j++) {
        float margin = m->pick[best[j]] - limit;
        if (margin > m->predict.best[best[j]])
            m->predict.best[best[j]] = margin;
    }
}

/* Best first; of equal margins the lower expert. */
static bool is_better(const hs_expert_guess *x, const hs_expert_guess *y)
{
    return x->margin > y->margin || (x->margin == y->margin && x->expert < y->expert);
}

static void sift(hs_expert_guess *g, uint32_t n, uint32_t i)
{
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_better(&g[child], &g[child + 1]))
            child++;
        if (!is_better(&g[i], &g[child]))
            return;
        hs_expert_guess t = g[i];
        g[i] = g[child];
        g[child] = t;
    }
}

/* Heap sort in place: libc's qsort may allocate. */
static void sort_guesses(hs_expert_guess *g, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sift(g, n, i);
    for (uint32_t last = n; last-- > 1;) {
        hs_expert_guess t = g[0];
        g[0] = g[last];
        g[last] = t;
        sift(g, last, 0);
    }
}

static bool is_asked(const hs_model *m, uint32_t layer, bool whole)
{
    const hs_experts *x = &m->experts;
    if (!m->cfg.predict || !x->ops->hint || layer >= m->spec->n_layers || !m->a->layers[layer].moe)
        return false;
    return !x->ops->asks || x->ops->asks(x->self, m->a->layers[layer].moe_index, whole);
}

/* All experts whose predict.best is finite, best first; returns their number. */
static uint32_t list_guesses(hs_model *m)
{
    hs__predict *p = &m->predict;
    uint32_t n = 0;
    for (uint32_t e = 0; e < m->spec->n_experts; e++) {
        p->guessed[e] = isfinite(p->best[e]);
        if (p->guessed[e])
            p->guesses[n++] = (hs_expert_guess){e, p->best[e]};
    }
    sort_guesses(p->guesses, n);
    return n;
}

/* Guesses the experts of layer `next` from the n residuals in predict.x. */
static void guess(hs_model *m, uint32_t next, uint32_t n)
{
    hs__predict *p = &m->predict;
    const hs__layer *l = &m->layers[next];
    for (uint32_t i = 0; i < n; i++) {
        float *x = p->x + (size_t)i * m->spec->hidden;
        m->k->rmsnorm(x, l->v[HS__V_FFN_NORM], m->spec->hidden, m->a->eps, x);
    }
    hs__router_logits(m, HS_PHASE_DECODE, l, p->x, n, p->logits);
    for (uint32_t e = 0; e < m->spec->n_experts; e++)
        p->best[e] = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        guess_token(m, l, i);
    p->n_guesses = list_guesses(m);
    p->layer = m->a->layers[next].moe_index;
    m->experts.ops->hint(m->experts.self, p->layer, p->guesses, p->n_guesses);
}

void hs__predict_first(hs_model *m, uint32_t layer, uint32_t n)
{
    uint32_t first = 0;
    while (first < m->spec->n_layers && !m->a->layers[first].moe)
        first++;
    if (layer != (first > 1 ? first - 1 : 0) || !is_asked(m, first, false))
        return;
    uint64_t t0 = hs_now_ns();
    memcpy(m->predict.x, m->x, (size_t)n * m->spec->hidden * sizeof *m->x);
    guess(m, first, n);
    m->times.router_ns += hs_now_ns() - t0;
}

void hs__predict_next(hs_model *m, uint32_t layer, uint32_t n, hs__known known)
{
    if (!is_asked(m, layer + 1, known == HS__ALL))
        return;
    uint64_t t0 = hs_now_ns();
    for (uint32_t i = 0; i < n; i++)
        known_residual(m, HS_PHASE_DECODE, layer, known, i, m->predict.x + (size_t)i * m->spec->hidden);
    guess(m, layer + 1, n);
    m->times.router_ns += hs_now_ns() - t0;
}

void hs__predict_prompt(hs_model *m, uint32_t layer, uint32_t n)
{
    hs__predict *p = &m->predict;
    if (!is_asked(m, layer + 1, false))
        return;
    uint64_t t0 = hs_now_ns();
    uint32_t top_k = m->spec->top_k, asked = n < SAMPLE ? n : SAMPLE, best[HS__MAX_TOP_K];
    const hs__layer *next = &m->layers[layer + 1];
    for (uint32_t e = 0; e < m->spec->n_experts; e++)
        p->best[e] = -INFINITY;
    for (uint32_t s = 0; s < asked; s++) {
        known_residual(m, HS_PHASE_PREFILL, layer, HS__SOME, (uint32_t)((uint64_t)s * n / asked), p->x);
        m->k->rmsnorm(p->x, next->v[HS__V_FFN_NORM], m->spec->hidden, m->a->eps, p->x);
        hs__router_logits(m, HS_PHASE_DECODE, next, p->x, 1, p->logits);
        hs__route_scores(m, p->logits, next->v[HS__V_ROUTER_BIAS], m->score, m->pick);
        hs_topk(m->pick, m->spec->n_experts, top_k, best);
        for (uint32_t j = 0; j < top_k; j++)
            p->best[best[j]] = (isfinite(p->best[best[j]]) ? p->best[best[j]] : 0) + 1;
    }
    uint32_t n_guesses = list_guesses(m);
    m->times.router_ns += hs_now_ns() - t0;
    m->experts.ops->hint(m->experts.self, m->a->layers[layer + 1].moe_index, p->guesses, n_guesses);
}

void hs__predict_check(hs_model *m, uint32_t moe_layer, uint32_t n_wants)
{
    hs__predict *p = &m->predict;
    if (p->layer != moe_layer)
        return;
    p->layer = UINT32_MAX;
    p->stats.guessed += p->n_guesses;
    p->stats.actual += n_wants;
    for (uint32_t w = 0; w < n_wants; w++)
        p->stats.correct += p->guessed[m->wants[w].expert];
}

hs_predict_stats hs_model_predict_stats(const hs_model *m)
{
    return m->predict.stats;
}
