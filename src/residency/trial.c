/*
 * trial.c - whether a layer's guesses pay: what it takes with them and without, measured by turns.
 *
 * A layer's time runs from the first question whether to guess for it, amid the layer before, to its end, without what
 * the layer before stands still: it holds all that guessing costs and saves, the guess itself, cores and memory that
 * reading takes from computing, and what is not waited for. Steps come in blocks, in each of which the layer does it
 * the other way once, at a step of its own; that step is compared with the others of its block at equal numbers of
 * absent experts, so that neither a cache that fills nor a context that grows makes a difference. A layer knows little
 * by itself: its difference is weighed against that of all layers, each by how sure it is. The surer, the longer the
 * blocks: where guessing loses clearly, it costs a hundredth of what it would.
 */
#include <math.h>

#include "residency/residency_int.h"

#define BEFORE      16u   /* steps until the first trial: what a layer takes lately must be known */
#define LATELY      32.0f /* steps that "lately" is */
#define OUTLIER     4.0f  /* times what a layer took lately: more is somebody else's doing */
#define MEMORY      64.0f /* blocks that a layer remembers */
#define LEAST       6.0f  /* of them before anything is said */
#define JUDGE       8u    /* of them from one judgement to the next */
#define APART       0.03f /* by which layers differ, as a share of their time */
#define SURE_OFF    2.0f  /* standard errors by which guessing must lose to end, and win to begin again */
#define SURE_ON     1.0f
#define FIRST       2u
#define UNSURE      8u /* longest period while the difference is within its standard error */
#define LONGEST_ON  32u
#define LONGEST_OFF 128u

uint32_t hs__any(uint64_t step, uint32_t layer, uint32_t below)
{
    uint64_t mix = (step * 0x9e3779b97f4a7c15u) ^ ((layer + 1) * 0xbf58476d1ce4e5b9u);
    mix = (mix ^ mix >> 31) * 0x94d049bb133111ebu;
    return (uint32_t)((mix >> 32) % below);
}

void hs__trial_init(hs_residency *r)
{
    for (uint32_t i = 0; i < r->cfg.n_layers; i++) {
        r->ahead[i].pays = true;
        r->ahead[i].block = (hs__block){.period = BEFORE, .turn = HS__NONE};
    }
}

bool hs__is_guessing(const hs_residency *r, uint32_t layer)
{
    const hs__ahead *a = &r->ahead[layer];
    return a->pays != (a->block.at == a->block.turn);
}

void hs__trial_from(hs_residency *r, uint32_t layer, uint64_t now)
{
    hs__ahead *a = &r->ahead[layer];
    if (a->from_step == r->steps)
        return;
    a->from_step = r->steps;
    a->from_ns = now;
    a->from_stood = hs__stood_ns(r);
}

void hs__took_add(hs__took *t, float d, float e, float most)
{
    if (t->n >= most)
        *t = (hs__took){t->n / 2, t->d / 2, t->e / 2, t->dd / 2, t->de / 2, t->ee / 2};
    *t = (hs__took){t->n + 1, t->d + d, t->e + e, t->dd + d * d, t->de + d * e, t->ee + e * e};
}

bool hs__took_difference(const hs__took *t, float *ret_mean, float *ret_variance)
{
    if (t->n < LEAST)
        return false;
    float dd = t->dd - t->d * t->d / t->n, de = t->de - t->d * t->e / t->n, ee = t->ee - t->e * t->e / t->n;
    float slope = ee > 0 ? de / ee : 0;
    *ret_mean = (t->d - slope * t->e) / t->n;
    *ret_variance = fmaxf((dd - slope * de) / (t->n - 2), 1e-6f) / t->n;
    return true;
}

/* Whether the layer is to guess, and how rarely it tries the other way. */
static void judge(hs_residency *r, hs__ahead *a)
{
    float own, own_variance, all, all_variance;
    a->blocks = 0;
    if (!hs__took_difference(&r->took, &all, &all_variance))
        return;
    float weight_all = 1 / (all_variance + APART * APART), weight = weight_all, mean = all;
    if (hs__took_difference(&a->took, &own, &own_variance)) {
        weight += 1 / own_variance;
        mean = (all * weight_all + own / own_variance) / weight;
    }
    float error = sqrtf(1 / weight);
    bool pays = a->pays ? mean < SURE_OFF * error : mean < -SURE_ON * error;
    uint32_t longest = fabsf(mean) < error ? UNSURE : pays ? LONGEST_ON : LONGEST_OFF;
    uint32_t period = pays == a->pays ? 2 * a->block.period : 2 * FIRST;
    a->pays = pays;
    a->block.period = period < longest ? period : longest;
}

/* A block is over: what its one step the other way says. */
static void settle(hs_residency *r, hs__ahead *a)
{
    hs__block *b = &a->block;
    if (b->n[0] > 0 && b->n[1] > 0 && a->lately_ns > 0) {
        float d = (b->ns[1] - b->ns[0] / b->n[0]) / a->lately_ns, e = b->absent[1] - b->absent[0] / b->n[0];
        float with = a->pays ? -1 : 1; /* the other way is without */
        hs__took_add(&a->took, with * d, with * e, MEMORY);
        hs__took_add(&r->took, with * d, with * e, MEMORY * (float)r->cfg.n_layers);
    }
    if (b->turn == HS__NONE)
        b->period = FIRST;
    else if (++a->blocks == JUDGE)
        judge(r, a);
    *b = (hs__block){.period = b->period, .turn = hs__any(r->steps, (uint32_t)(a - r->ahead), b->period)};
}

void hs__trial_learn(hs_residency *r, uint32_t layer, uint64_t took_ns, uint64_t absent)
{
    hs__ahead *a = &r->ahead[layer];
    hs__block *b = &a->block;
    uint32_t other = b->at == b->turn;
    float took = (float)took_ns;
    if (a->lately_ns > 0)
        took = fminf(took, OUTLIER * a->lately_ns);
    a->lately_ns += (a->lately_ns > 0 ? 1 / LATELY : 1) * (took - a->lately_ns);
    b->ns[other] += took;
    b->absent[other] += (float)absent;
    b->n[other] += 1;
    if (++b->at == b->period)
        settle(r, a);
}
