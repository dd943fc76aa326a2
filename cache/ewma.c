/*
 * ewma.c - the default: an expert is worth how often it was used, over a few tokens, some, what is talked about now,
 * and overall, how often after the experts that its layer uses now, how long it was not, and how often its like was
 * used next; how much each of the seven says about what comes is learnt while it runs. Where that hits less than LRU
 * would, LRU decides (rival.h).
 *
 *   each token:  f[i] *= 2^(-1/h[i]),  h = 2, 12, 60         each use:  f[i] += 1 - 2^(-1/h[i]),  uses += 1
 *   topic     =  (f[2] + 0.09 uses / tokens) / (what f[2] of a use at every token would be + 0.09)
 *   x         =  f[0], f[1], topic, uses / tokens, following, 1 / (1 + tokens since / 8), hazard    follow.h, hazard.h
 *   score     =  w . x
 *   w         =  least squares of y on x, per layer;  y = the frequency of uses in the next 4 steps
 *
 * History is kept for all objects, resident or not: a newcomer is admitted only if its score beats the victim's, else
 * it is used once and let go (a global LRU smaller than one token's experts hits nothing; this does not collapse). n
 * uses within a chunk of T tokens count as spread evenly over the chunk, the last one T / 2n before its end.
 *
 * f[2] begins anew with each topic: with a conversation, when f[0] and f[1] keep a third of their value, too; and as
 * soon as what is used has been foretold worse by `topic` than by uses / tokens.
 *
 * A layer has a clock of its own, which stands at the last token that came to it: an expert of a layer still to come
 * has not been passed over by the token under way, nor has one of the layer under way before the token is through with
 * it: when as many have been used as by the token before, or another layer is. So the score of an object changes only
 * when its layer is used, or the weights change. Residents are in one heap per layer, rebuilt by the first victim after
 * such a change: O(n_slots) per token at most. A victim is the least of the heaps' least: O(layers + log n_slots). A
 * use is O(layer_objects): it adds a row of the table of what follows what; the first of a layer and token adds as much
 * again, for learning.
 */
#include "cache/follow.h"
#include "cache/heap.h"
#include "cache/learn.h"
#include "cache/rival.h"

#include <math.h>
#include <string.h>

#define AGEING      0.3f  /* of the short rates, when a conversation begins */
#define PRIOR       0.09f /* of f[TOPIC], as the overall rate says: 8 tokens of a topic say as much */
#define DOUBT       0.15f /* how far what the topic foretells may be behind, summed over tokens: 1 is all of a token */
#define LEAST       1e-4f /* a rate, so that both may be 0 */
#define CLEARLY     1.1f  /* better must be what a sweep brings: it touches all, and many are worth the same */
#define FAR         8     /* tokens since the last use that halve what it says */
#define DECAY_STEPS 256   /* decays that are looked up instead of computed */

enum { TOPIC = HS__N_RATES - 1 };

static const float half_life[HS__N_RATES] = {2, 12, 60};

typedef struct history {
    float f[HS__N_RATES]; /* as of `last` */
    uint32_t last;        /* tokens, modulo 2^32 */
    uint32_t idle;        /* tokens that it was not used for by then, when it was used by some of a chunk */
    uint32_t uses;
} history;

typedef struct layer {
    uint64_t clock;         /* the last token that came here */
    uint64_t passed;        /* the last one that is through: what was not used since has been passed over */
    uint64_t begun;         /* the last one before the topic */
    float per_topic;        /* 1 / (f[TOPIC] of a use at each of its tokens + PRIOR) */
    uint32_t n_now, before; /* uses by the one that came, by the one before */
    uint32_t class;
    bool stale; /* the heap's keys are of another time, or of other weights */
    hs__heap heap;
} layer;

typedef struct ewma {
    uint64_t tokens; /* seen */
    uint32_t n_objects, layer_objects, n_layers;
    uint32_t under_way; /* the layer used last */
    uint32_t n_told;    /* uses by the token under way */
    float told;         /* how much better the topic foretold them, each from -1 to 1 */
    float doubt;        /* how much worse it has been lately */
    hs__rival rival;
    hs__learner learner;
    hs__follow follow;
    float step[HS__N_RATES][DECAY_STEPS];
    hs__heap heap; /* the room that the layers' heaps share */
    layer *layers; /* [n_layers] */
    history *of;   /* [n_objects] */
} ewma;

static uint32_t layers_of(const hs_policy_shape *s)
{
    return s->layer_objects ? (s->n_objects + s->layer_objects - 1) / s->layer_objects : 1;
}

static size_t ewma_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(ewma)) + hs__heap_bytes(s->n_objects) + hs__pad(layers_of(s) * sizeof(layer)) +
           hs__pad(s->n_objects * sizeof(history)) + hs__learner_bytes(s->n_objects, layers_of(s)) +
           hs__rival_bytes(s) + hs__follow_bytes(s->layer_objects ? s->layer_objects : s->n_objects, layers_of(s));
}

static void ewma_init(void *state, const hs_policy_shape *s)
{
    ewma *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    memset(p, 0, sizeof *p);
    p->n_objects = s->n_objects;
    p->layer_objects = s->layer_objects ? s->layer_objects : s->n_objects;
    p->n_layers = layers_of(s);
    for (uint32_t r = 0; r < HS__N_RATES; r++)
        for (uint32_t i = 0; i < DECAY_STEPS; i++)
            p->step[r][i] = exp2f(-(float)i / half_life[r]);
    hs__heap_init(&p->heap, at, s->n_objects);
    at += hs__heap_bytes(s->n_objects);
    p->layers = (layer *)at;
    at += hs__pad(p->n_layers * sizeof(layer));
    p->of = (history *)at;
    at += hs__pad(s->n_objects * sizeof(history));
    for (uint32_t l = 0; l < p->n_layers; l++)
        p->layers[l] = (layer){.per_topic = 1 / PRIOR,
                               .class = hs__n_classes(s) > 1 ? s->layer_class[l] : 0,
                               .heap = hs__heap_part(&p->heap, l * p->layer_objects)};
    memset(p->of, 0, s->n_objects * sizeof(history));
    hs__learner_init(&p->learner, at, s->n_objects, p->n_layers);
    at += hs__learner_bytes(s->n_objects, p->n_layers);
    hs__rival_init(&p->rival, at, s);
    at += hs__rival_bytes(s);
    hs__follow_init(&p->follow, at, p->layer_objects, p->n_layers);
}

static inline float decay(const ewma *p, uint32_t rate, uint32_t tokens)
{
    return tokens < DECAY_STEPS ? p->step[rate][tokens] : exp2f(-(float)tokens / half_life[rate]);
}

/* Tokens from the object's last use to that one. */
static inline uint32_t age_at(const ewma *p, uint32_t object, uint64_t clock)
{
    uint32_t age = (uint32_t)clock - p->of[object].last;
    return age > INT32_MAX ? 0 : age;
}

/* Returns the cell of the hazard. */
static inline uint32_t features(const ewma *p, uint32_t object, float x[HS__N_FEATURES])
{
    const history *h = &p->of[object];
    uint32_t l = object / p->layer_objects, age = age_at(p, object, p->layers[l].passed);
    uint64_t clock = p->layers[l].clock;
    for (uint32_t r = 0; r < HS__N_RATES; r++)
        x[r] = h->f[r] * decay(p, r, age);
    age += h->idle;
    float overall = (float)h->uses / (float)(clock ? clock : 1);
    x[TOPIC] = (x[TOPIC] + PRIOR * overall) * p->layers[l].per_topic;
    uint32_t cell = hs__hazard_cell(h->uses ? age : UINT32_MAX, x[1], overall);
    x[HS__N_RATES] = overall;
    x[HS__N_RATES + 1] = hs__follow_rate(&p->follow, l, object, overall);
    x[HS__N_RATES + 2] = h->uses ? 1 / (1 + (float)age / FAR) : 0;
    x[HS__N_RATES + 3] = p->learner.hazard.rate[cell];
    return cell;
}

static float score_of(const ewma *p, uint32_t object)
{
    const float *w = p->learner.lesson[object / p->layer_objects].w;
    float x[HS__N_FEATURES], sum = 0;
    features(p, object, x);
    for (uint32_t i = 0; i < HS__N_FEATURES; i++)
        sum += w[i] * x[i];
    return sum;
}

/* Floats in the order of unsigned numbers; equal scores leave in order of last use. */
static uint64_t ewma_key(const void *state, uint32_t object)
{
    const ewma *p = state;
    float score = score_of(p, object);
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : 1u << 31;
    return (uint64_t)bits << 32 | p->of[object].last;
}

/* All layers' keys are of another time. */
static void make_stale(ewma *p)
{
    for (uint32_t l = 0; l < p->n_layers; l++)
        p->layers[l].stale = true;
}

static void pass(const ewma *p, layer *here)
{
    if (here->passed == here->clock)
        return;
    here->stale = true;
    here->passed = here->clock;
    here->per_topic = 1 / (1 - decay(p, TOPIC, (uint32_t)(here->passed - here->begun)) + PRIOR);
}

static void begin_topic(ewma *p)
{
    for (uint32_t o = 0; o < p->n_objects; o++)
        p->of[o].f[TOPIC] = 0;
    for (uint32_t l = 0; l < p->n_layers; l++) {
        p->layers[l].begun = p->layers[l].passed;
        p->layers[l].per_topic = 1 / PRIOR;
    }
    p->doubt = 0;
    make_stale(p);
}

/* The object is used: had the topic foretold it better than all uses together? */
static void compare(ewma *p, const layer *here, const history *h)
{
    float overall = (float)h->uses / (float)here->clock;
    float topic = (h->f[TOPIC] + PRIOR * overall) * here->per_topic + LEAST;
    overall += LEAST;
    p->told += (topic - overall) / (topic + overall);
    p->n_told++;
}

/* A token is through. */
static void judge_topic(ewma *p)
{
    float doubt = p->n_told ? p->doubt - p->told / (float)p->n_told : p->doubt;
    p->doubt = doubt > 0 ? doubt : 0;
    p->told = 0;
    p->n_told = 0;
    if (p->doubt > DOUBT)
        begin_topic(p);
}

/* A token comes to a layer: the lesson of what came true there, and a look at how things stand before it. */
static void enter(ewma *p, uint32_t l, uint32_t span, uint64_t now)
{
    layer *here = &p->layers[l];
    uint32_t first = l * p->layer_objects, end = first + p->layer_objects;
    pass(p, here);
    if (now > p->tokens)
        judge_topic(p);
    if (hs__learner_step(&p->learner, l, first, end < p->n_objects ? end : p->n_objects, span))
        for (uint32_t o = first; o < end && o < p->n_objects; o++)
            p->learner.cell[o] = (uint16_t)features(p, o, hs__learner_features(&p->learner, o));
    if (now > p->tokens) {
        p->tokens = now;
        if (hs__learner_solve(&p->learner))
            make_stale(p);
    }
    if (span <= HS__MOST_SPAN)
        hs__follow_step(&p->follow, l);
    else
        hs__follow_break(&p->follow, l);
    here->clock = now;
    here->before = here->n_now;
    here->n_now = 0;
}

static void ewma_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    ewma *p = state;
    history *h = &p->of[object];
    uint32_t l = object / p->layer_objects;
    layer *here = &p->layers[l];
    if (l != p->under_way)
        pass(p, &p->layers[p->under_way]);
    p->under_way = l;
    if (now > here->clock)
        enter(p, l, span, now);
    float rate = (float)uses / (float)span;
    for (uint32_t r = 0; r < HS__N_RATES; r++)
        h->f[r] *= decay(p, r, age_at(p, object, here->clock));
    if (span <= HS__MOST_SPAN)
        compare(p, here, h);
    for (uint32_t r = 0; r < HS__N_RATES; r++)
        h->f[r] += rate * (1 - decay(p, r, span));
    h->last = (uint32_t)now;
    h->idle = (span / uses - 1) / 2;
    h->uses = uses > UINT32_MAX - h->uses ? UINT32_MAX : h->uses + uses;
    if (span <= HS__MOST_SPAN) {
        if (now == here->clock)
            hs__follow_use(&p->follow, l, object);
        hs__rival_use(&p->rival, object, now);
    }
    if (++here->n_now >= here->before || span > 1)
        pass(p, here);
    here->stale = true;
    hs__learner_use(&p->learner, l, object, rate);
}

static void ewma_insert(void *state, uint32_t object, uint64_t now)
{
    ewma *p = state;
    (void)now;
    hs__rival_insert(&p->rival, object);
    hs__heap_push(&p->layers[object / p->layer_objects].heap, object, ewma_key(p, object));
}

static void ewma_evict(void *state, uint32_t object)
{
    ewma *p = state;
    hs__rival_evict(&p->rival, object);
    hs__heap_remove(&p->layers[object / p->layer_objects].heap, object);
}

static uint32_t ewma_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    ewma *p = state;
    uint32_t found = hs__rival_victim(&p->rival, class, keep, ctx);
    uint64_t least = UINT64_MAX;
    (void)now;
    if (found != HS_POLICY_NONE)
        return found;
    for (uint32_t l = 0; l < p->n_layers; l++) {
        layer *here = &p->layers[l];
        if (here->class != class)
            continue;
        if (here->stale)
            hs__heap_rebuild(&here->heap, ewma_key, p);
        here->stale = false;
        if (!here->heap.n || here->heap.key[0] >= least)
            continue;
        uint32_t o = hs__heap_least(&here->heap, NULL, NULL, keep, ctx);
        uint64_t key = o == HS_POLICY_NONE ? UINT64_MAX : ewma_key(p, o);
        if (key < least) {
            least = key;
            found = o;
        }
    }
    return found;
}

static bool ewma_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    const ewma *p = state;
    (void)now;
    if (p->rival.leads && !sweep)
        return true;
    return score_of(p, object) > score_of(p, victim) * (sweep ? CLEARLY : 1);
}

static double ewma_score(const void *state, uint32_t object, uint64_t now)
{
    (void)now;
    return score_of(state, object);
}

static void ewma_session(void *state, uint64_t now)
{
    ewma *p = state;
    (void)now;
    for (uint32_t o = 0; o < p->n_objects; o++)
        for (uint32_t r = 0; r < TOPIC; r++)
            p->of[o].f[r] *= AGEING;
    begin_topic(p);
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
    .session = ewma_session,
};
