/*
 * ewma.c - the default: an expert is worth how often it was used, in the last few tokens and in the last few hundred.
 *
 *   each token:  fast *= 2^(-1/6)   slow *= 2^(-1/128)        each use:  fast += 1   slow += 1   uses += 1
 *   score     =  0.5 * [ (1 - 2^(-1/6)) * fast  +  (1 - 2^(-1/128)) * slow  +  uses / tokens ]
 *
 * so each of the three is a frequency in 0..1. History is kept for all objects, resident or not: a newcomer is admitted
 * only if its score beats the victim's, else it is used once and let go (a global LRU smaller than one token's experts
 * hits nothing; this does not collapse). n uses within a chunk of T tokens count as spread evenly over the chunk.
 *
 * Decay is lazy: a history is brought forward when it is used or compared. The order of two scores changes with time,
 * because two half-lives are mixed, but not within one `now`: the heap of residents is rebuilt by the first victim of
 * each now, O(n_slots) per token at most, and every further victim of that token is O(log n_slots). A use is O(1).
 */
#include "cache/heap.h"

#include <math.h>
#include <string.h>

#define HALF_LIFE_FAST 6.0f
#define HALF_LIFE_SLOW 128.0f
#define DECAY_STEPS    128 /* decays that are looked up instead of computed */

typedef struct history {
    float fast, slow; /* as of `last`, in units of frequency: (1 - decay) * sum */
    uint32_t last;    /* tokens, modulo 2^32 */
    uint32_t uses;
} history;

typedef struct ewma {
    uint64_t now;    /* for which the heap's keys hold */
    uint64_t tokens; /* seen */
    bool rebuild;    /* tokens have been seen since */
    float fast_step[DECAY_STEPS], slow_step[DECAY_STEPS];
    hs__heap heap;
    history *of; /* [n_objects] */
} ewma;

static size_t ewma_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(ewma)) + hs__heap_bytes(s->n_objects, s->n_slots) + hs__pad(s->n_objects * sizeof(history));
}

static void ewma_init(void *state, const hs_policy_shape *s)
{
    ewma *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    memset(p, 0, sizeof *p);
    for (uint32_t i = 0; i < DECAY_STEPS; i++) {
        p->fast_step[i] = exp2f(-(float)i / HALF_LIFE_FAST);
        p->slow_step[i] = exp2f(-(float)i / HALF_LIFE_SLOW);
    }
    hs__heap_init(&p->heap, at, s->n_objects, s->n_slots);
    p->of = (history *)(at + hs__heap_bytes(s->n_objects, s->n_slots));
    memset(p->of, 0, s->n_objects * sizeof(history));
}

static inline float decay_fast(const ewma *p, uint32_t tokens)
{
    return tokens < DECAY_STEPS ? p->fast_step[tokens] : 0.0f; /* under 2^-21 */
}

static inline float decay_slow(const ewma *p, uint32_t tokens)
{
    return tokens < DECAY_STEPS ? p->slow_step[tokens] : exp2f(-(float)tokens / HALF_LIFE_SLOW);
}

/* Tokens from a history's last use to now. A sweep may judge from its beginning, which is before its own uses. */
static inline uint32_t age_of(const history *h, uint64_t now)
{
    uint32_t age = (uint32_t)now - h->last;
    return age > INT32_MAX ? 0 : age;
}

static float score_at(const ewma *p, const history *h, uint64_t now)
{
    uint32_t age = age_of(h, now);
    float prior = (float)h->uses / (float)(p->tokens ? p->tokens : 1);
    return 0.5f * (h->fast * decay_fast(p, age) + h->slow * decay_slow(p, age) + prior);
}

/* Non-negative floats order like their bits; equal scores leave in order of last use. */
static uint64_t ewma_key(const void *state, uint32_t object)
{
    const ewma *p = state;
    float score = score_at(p, &p->of[object], p->now);
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return (uint64_t)bits << 32 | p->of[object].last;
}

static void ewma_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    ewma *p = state;
    history *h = &p->of[object];
    uint32_t age = age_of(h, now);
    if (now > p->tokens) {
        p->tokens = now;
        p->rebuild = true;
    }
    float rate = (float)uses / (float)span;
    h->fast = h->fast * decay_fast(p, age) + rate * (1 - decay_fast(p, span));
    h->slow = h->slow * decay_slow(p, age) + rate * (1 - decay_slow(p, span));
    h->last = (uint32_t)now;
    h->uses = uses > UINT32_MAX - h->uses ? UINT32_MAX : h->uses + uses;
}

static void ewma_insert(void *state, uint32_t object, uint64_t now)
{
    ewma *p = state;
    (void)now;
    hs__heap_push(&p->heap, object, ewma_key(p, object));
}

static void ewma_evict(void *state, uint32_t object)
{
    hs__heap_remove(&((ewma *)state)->heap, object);
}

static uint32_t ewma_victim(void *state, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    ewma *p = state;
    if (p->now != now || p->rebuild) {
        p->now = now;
        p->rebuild = false;
        hs__heap_rebuild(&p->heap, ewma_key, p);
    }
    return hs__heap_least(&p->heap, ewma_key, p, keep, ctx);
}

static bool ewma_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    const ewma *p = state;
    (void)sweep;
    return score_at(p, &p->of[object], now) > score_at(p, &p->of[victim], now);
}

static double ewma_score(const void *state, uint32_t object, uint64_t now)
{
    const ewma *p = state;
    return score_at(p, &p->of[object], now);
}

const hs_policy hs_policy_ewma = {
    .name = "ewma",
    .bytes = ewma_bytes,
    .init = ewma_init,
    .access = ewma_access,
    .insert = ewma_insert,
    .evict = ewma_evict,
    .victim = ewma_victim,
    .admit = ewma_admit,
    .score = ewma_score,
};
