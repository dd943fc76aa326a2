/*
 * shadow.c - whether the warm tier pays, measured while tokens are generated.
 *
 * Two caches are only counted, of a part of the layers: one with its share of the slots that there are, one with its
 * share of those that the same memory would give the other way, compressed instead of decoded or decoded instead of
 * compressed (cfg.other_slots). The same policy keeps both, and hears of the same uses; how often, and how many, their
 * layers lack is the difference in hits. What a layer takes is measured of all layers, by how many of its experts were
 * absent: one that lacks none, and a line through those that lack some. What the hits' decoding takes is measured as
 * well; in a layer that waits for the drive it is hidden. So the time of a token either way can be estimated, with what
 * lies between the layers: the gain, tokens per second with a warm tier by those without. It does not see what is
 * decoded and computed while it is still in a processor's cache, nor what reading takes from computing elsewhere.
 * Therefore whole tokens are measured, too, as a line over how many experts they lacked: with the lines of both ways
 * (of two runs) and what both caches lack, nothing is estimated.
 *
 * Nothing is decided here, and no state of the cache is touched. Engine thread; nothing is allocated after create.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "residency/residency_int.h"

#define MANY    16u /* layers: of more, one in PARTS is counted, */
#define PARTS   8u
#define FEW     2u   /* else one in FEW, */
#define FILLED  256u /* from so many tokens on: the caches have filled, or are as empty as each other */
#define BLOCK   256u /* tokens from one result to the next */
#define MEMORY  16u  /* blocks */
#define ENOUGH  2u   /* blocks for a result */
#define FULL    32   /* layers that lack none, for a mean of them */
#define OUTLIER 8.0f /* times what a layer took lately: more is somebody else's doing */

static uint32_t parts(uint32_t n_layers)
{
    return n_layers > MANY ? PARTS : n_layers > FEW ? FEW : 1;
}

/* The middle one of so many. */
static bool is_counted(uint32_t n_layers, uint32_t layer)
{
    uint32_t of = parts(n_layers);
    return layer % of == of / 2;
}

static uint32_t layers_counted(uint32_t n_layers)
{
    uint32_t of = parts(n_layers);
    return (n_layers - of / 2 + of - 1) / of;
}

static uint64_t tables_bytes(uint32_t n_objects)
{
    return n_objects * (2 * sizeof(uint8_t) + sizeof(uint32_t));
}

uint64_t hs__shadow_bytes(uint32_t n_layers, uint32_t n_experts)
{
    uint32_t n = layers_counted(n_layers) * n_experts;
    hs_policy_shape shape = {.n_objects = n, .n_slots = n, .layer_objects = n_experts};
    return 2 * hs_policy_most_bytes(&shape) + tables_bytes(n);
}

static bool open_cache(hs_residency *r, hs__counted *c, uint32_t slots)
{
    const hs__shadow *s = &r->shadow;
    uint32_t share = (uint32_t)((uint64_t)slots * s->n_layers / r->cfg.n_layers);
    c->n_slots = share > r->cfg.top_k ? share : r->cfg.top_k;
    hs_policy_shape shape = {.n_objects = s->n_layers * r->cfg.n_experts,
                             .n_slots = c->n_slots,
                             .layer_objects = r->cfg.n_experts,
                             .seed = r->cfg.seed,
                             .inner = hs_policy_find(r->cfg.policy)};
    c->policy = hs_malloc(r->policy->bytes(&shape));
    c->has = hs_calloc(shape.n_objects, sizeof *c->has);
    if (!c->policy || !c->has)
        return false;
    r->policy->init(c->policy, &shape);
    return true;
}

bool hs__shadow_init(hs_residency *r)
{
    hs__shadow *s = &r->shadow;
    if (!r->cfg.other_slots || r->classes.n > 1)
        return true;
    s->n_layers = layers_counted(r->cfg.n_layers);
    s->n_slots = r->n_slots;
    s->asked = hs_calloc(s->n_layers * r->cfg.n_experts, sizeof *s->asked);
    return s->asked && open_cache(r, &s->caches[0], r->n_slots) && open_cache(r, &s->caches[1], r->cfg.other_slots);
}

void hs__shadow_deinit(hs_residency *r)
{
    for (int i = 0; i < 2; i++) {
        hs_free(r->shadow.caches[i].policy);
        hs_free(r->shadow.caches[i].has);
    }
    hs_free(r->shadow.asked);
}

/* A governor has given slots back: for now it is another cache that is measured. */
static bool is_on(const hs_residency *r)
{
    return r->shadow.n_layers && r->n_slots == r->shadow.n_slots;
}

static uint64_t busy_ns(const hs_residency *r)
{
    return hs_io_get_stats(r->cfg.io).busy_ns;
}

/* ---- what the caches lack ---- */

static bool is_asked_for(void *ctx, uint32_t object)
{
    const hs__shadow *s = ctx;
    return s->asked[object] == s->set;
}

static void bring_in(hs_residency *r, hs__counted *c, uint32_t object)
{
    hs__shadow *s = &r->shadow;
    if (c->n_used == c->n_slots) {
        uint32_t victim = r->policy->victim(c->policy, 0, r->now, is_asked_for, s);
        if (victim == HS_POLICY_NONE || !r->policy->admit(c->policy, object, victim, r->sweep, r->now))
            return;
        r->policy->evict(c->policy, victim);
        c->has[victim] = 0;
        c->n_used--;
    }
    r->policy->insert(c->policy, object, r->now);
    c->has[object] = 1;
    c->n_used++;
}

/* How many of the layer's wants it lacked, which it has then, or not. */
static uint32_t use(hs_residency *r, hs__counted *c, uint32_t first, const hs_expert_want *wants, uint32_t n)
{
    uint32_t lacks = 0;
    for (uint32_t i = 0; i < n; i++) {
        hs__tell_policy(r, c->policy, first + wants[i].expert, &wants[i]);
        lacks += !c->has[first + wants[i].expert];
    }
    for (uint32_t i = 0; lacks && i < n; i++)
        if (!c->has[first + wants[i].expert])
            bring_in(r, c, first + wants[i].expert);
    return lacks;
}

void hs__shadow_uses(hs_residency *r, const hs_expert_want *wants, uint32_t n)
{
    hs__shadow *s = &r->shadow;
    if (!is_on(r))
        return;
    s->wait_before = atomic_load_explicit(&r->count.wait_ns, memory_order_relaxed);
    s->busy_before = r->cfg.warm_tier ? busy_ns(r) : 0;
    if (!is_counted(r->cfg.n_layers, r->layer))
        return;
    uint32_t first = r->layer / parts(r->cfg.n_layers) * r->cfg.n_experts;
    bool counts = !r->sweep && s->tokens >= FILLED;
    s->set++;
    for (uint32_t i = 0; i < n; i++)
        s->asked[first + wants[i].expert] = s->set;
    s->layers += counts;
    for (int k = 0; k < 2; k++) {
        uint32_t lacks = use(r, &s->caches[k], first, wants, n);
        s->caches[k].short_layers += counts && lacks;
        s->caches[k].lacked += counts ? lacks : 0;
    }
}

void hs__shadow_session(hs_residency *r)
{
    for (int k = 0; k < 2 && r->shadow.n_layers; k++)
        if (r->policy->session)
            r->policy->session(r->shadow.caches[k].policy, r->tick);
}

/* ---- what a layer takes ---- */

/* By how much a layer that took so long would be shorter without decoding its hits, or longer with it. The drive sets
 * the pace of one that waited for it, and would of one that decoded meanwhile. */
static double hits_decoding(const hs_residency *r, double hits, double absent, double took, double wait, double each)
{
    const hs__shadow *s = &r->shadow;
    if (!r->cfg.warm_tier)
        return fmax(hits * each - wait, 0) + (r->ways.raw ? absent * each : 0);
    if (absent <= 0)
        return hits * each;
    return wait > 0 ? 0 : fmin(hits * each, fmax(took - (double)(busy_ns(r) - s->busy_before), 0));
}

static void forget(hs__shadow *s)
{
    double *const sums[] = {&s->layers,           &s->caches[0].short_layers,
                            &s->caches[0].lacked, &s->caches[1].short_layers,
                            &s->caches[1].lacked, &s->full.n,
                            &s->full.ns,          &s->full.decoding,
                            &s->part.n,           &s->part.ns,
                            &s->part.decoding,    &s->part_absent,
                            &s->part_squares,     &s->part_products,
                            &s->computing,        &s->whole.n,
                            &s->whole.ns,         &s->whole.absent,
                            &s->whole.squares,    &s->whole.products,
                            &s->between,          &s->spans};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        *sums[i] *= 1 - 1.0 / MEMORY;
}

/* ns of a layer on average: of those that lack none, and a line through the others. */
static double mean_layer(const hs__shadow *s, const hs__counted *c)
{
    double n = s->part.n > 0 ? s->part.n : 1, absent = s->part_absent / n, ns = s->part.ns / n;
    double variance = s->part_squares / n - absent * absent, slope = absent > 0 ? ns / absent : 0;
    if (variance > 0.05)
        slope = fmin(fmax((s->part_products / n - absent * ns) / variance, 0), slope);
    double none = s->full.n >= FULL ? s->full.ns / s->full.n : s->computing / n;
    return (s->layers - c->short_layers) / s->layers * none + c->short_layers / s->layers * (ns - slope * absent) +
           c->lacked / s->layers * slope;
}

static double mean_decoding(const hs__shadow *s, const hs__counted *c)
{
    double part = s->part.n > 0 ? s->part.decoding / s->part.n : 0;
    double none = s->full.n > 0 ? s->full.decoding / s->full.n : part;
    return (s->layers - c->short_layers) / s->layers * none + c->short_layers / s->layers * part;
}

static void publish(_Atomic uint64_t *at, double x)
{
    atomic_store_explicit(at, (uint64_t)fmin(fmax(x, 0), 1e18), memory_order_relaxed);
}

/* What has been measured of whole tokens. */
static void settle_tokens(hs_residency *r)
{
    hs__shadow *s = &r->shadow;
    const hs__tokens *t = &s->whole;
    double n = t->n, absent = t->absent / n, ns = t->ns / n, variance = t->squares / n - absent * absent;
    double slope = variance > 0.05 ? fmax((t->products / n - absent * ns) / variance, 0) : 0;
    double more = (s->caches[1].lacked - s->caches[0].lacked) / s->layers * r->cfg.n_layers;
    slope = fmin(slope, absent > 0 ? ns / absent : 0);
    publish(&r->told.token_ns, ns);
    publish(&r->told.none_ns, ns - slope * absent);
    publish(&r->told.absent_ns, slope);
    publish(&r->told.other_absent_ppm, fmax(absent + more, 0) * 1e6);
}

static void settle(hs_residency *r)
{
    hs__shadow *s = &r->shadow;
    if (s->layers <= 0 || s->spans <= 0 || s->full.n + s->part.n <= 0)
        return;
    const hs__counted *other = &s->caches[1];
    double between = s->between / s->spans, is = between + mean_layer(s, &s->caches[0]);
    double decoding = mean_decoding(s, other), layer = mean_layer(s, other);
    double would = between + (r->cfg.warm_tier ? fmax(layer - decoding, 0) : layer + decoding);
    double gain = r->cfg.warm_tier ? would / is : is / would;
    if (++s->blocks >= ENOUGH && gain > 0 && s->whole.n > 0) {
        settle_tokens(r);
        publish(&r->told.gain_ppm, fmin(gain, 1000) * 1e6 + 1);
    }
    forget(s);
}

/* A token by itself, from its first layer to its last. */
static void learn_token(hs__shadow *s, double took)
{
    hs__tokens *t = &s->whole;
    if (t->lately > 0)
        took = fmin(took, OUTLIER * t->lately);
    t->lately += (t->lately > 0 ? 1.0 / 64 : 1) * (took - t->lately);
    if (s->tokens < FILLED)
        return;
    t->n++;
    t->ns += took;
    t->absent += s->token_absent;
    t->squares += s->token_absent * s->token_absent;
    t->products += s->token_absent * took;
}

/* From the first layer of a step to its last, what is not in the layers, by each; and the whole. */
static void learn_step(hs_residency *r, uint64_t now, double took, double absent)
{
    hs__shadow *s = &r->shadow;
    if (r->layer == 0) {
        s->from_ns = r->ways.layer_from_ns;
        s->in_layers = s->token_absent = 0;
    }
    s->in_layers += took;
    s->token_absent += absent;
    if (r->layer + 1 != r->cfg.n_layers || !s->from_ns)
        return;
    double whole = (double)(now - s->from_ns);
    if (r->layer > 0)
        s->between += (whole - s->in_layers) / r->layer;
    s->spans++;
    s->from_ns = 0;
    if (r->span == 1)
        learn_token(s, whole);
}

void hs__shadow_learn(hs_residency *r, uint64_t now, uint64_t absent)
{
    hs__shadow *s = &r->shadow;
    const hs__ways *w = &r->ways;
    if (!is_on(r) || r->sweep || w->decoded_bytes <= 0)
        return;
    double each = w->decode_ns / w->decoded_bytes * (double)hs_object_raw_bytes(r->cfg.objects, 0);
    double wait = (double)(atomic_load_explicit(&r->count.wait_ns, memory_order_relaxed) - s->wait_before);
    double took = (double)(now - w->layer_from_ns), uses = r->n_wants, x = fmin((double)absent, uses);
    learn_step(r, now, took, x);
    if (s->lately > 0)
        took = fmin(took, OUTLIER * s->lately);
    s->lately += (s->lately > 0 ? 1.0 / 64 : 1) * (took - s->lately);
    if (s->tokens >= FILLED) {
        hs__layer_times *t = absent ? &s->part : &s->full;
        t->n++;
        t->ns += took;
        t->decoding += hits_decoding(r, uses - x, x, took, wait, each);
        s->part_absent += x;
        s->part_squares += x * x;
        s->part_products += x * took;
        s->computing += absent ? fmax(took - wait, 0) : 0;
    }
    if (r->layer + 1 == r->cfg.n_layers && ++s->tokens >= FILLED && s->tokens % BLOCK == 0)
        settle(r);
}
