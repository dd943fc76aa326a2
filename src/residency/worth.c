/*
 * worth.c - what a guess is worth: how likely it comes true, what it saves and what it may cost.
 *
 * The chance is learnt per layer from all that the model names and that is not resident, read or not; so it costs
 * nothing to know that guesses have become good enough. Classes are the margin over the layer's mean margin, apart for
 * guesses made of a part and of the whole of the layer before. A class without much of its own is taken for what it is
 * in other layers.
 *
 * A guess of which the drive has read W of the T ns that it takes when the layer begins saves W if it comes true. If
 * it does not, what is left of it is dropped, and costs what of it was under way: T - W, but at most what the drive is
 * given of guesses at a time. In any case it takes a slot, which would have served a hit instead. How long the drive
 * has for guesses varies from token to token, so W is an expectation: of windows of exponential length. A guess must
 * also be over the bar, which moves so that WASTE guesses are wasted for each that is used.
 *
 * A hint saves at most what the layer stands still without it, and each of its guesses at most what it stands still for
 * one absent expert; both are measured in steps without a hint. One that saves less than it takes to make is asked for
 * only every TRY_EVERY tokens. Whether all this is true is trial.c's to find out.
 */
#include <math.h>

#include "base/clock.h"
#include "residency/residency_int.h"

#define MEMORY    64.0f /* outcomes that a class remembers */
#define PRIOR     4.0f  /* outcomes that what is known of other layers counts for */
#define WASTE     0.4f  /* wasted reads per used one */
#define BAR_STEP  0.005f
#define BAR_LEAST 0.4f
#define BAR_MOST  0.9f

/* Share of a layer's uses that would hit the slots which guesses push out, were all of them: so long a wrong guess is
 * in the way, then a miss takes its slot. Of what was pushed out (bench_prefetch, counted for a token) so much was
 * asked for: 0.13 at 10 % cached, 0.21 at 25, 0.33 at 50, 0.4 to 0.45 at 75. Between 0.1 and 0.5 decode changes by 0.5
 * % at most, without it 3 GB/s are 0.4 % slower. */
#define ROOM 0.25f

#define LEARN     64u /* hints after which a window's gain is believed */
#define TRY_EVERY 32u

void hs__worth_init(hs_residency *r)
{
    r->bar = 0.7f;
    for (uint32_t i = 0; i < r->cfg.n_layers; i++)
        r->ahead[i].waits = 1;
    hs__trial_init(r);
}

/* ---- the chance ---- */

uint8_t hs__class_of(hs_residency *r, uint32_t layer, float margin)
{
    hs__ahead *a = &r->ahead[layer];
    float size = fabsf(margin);
    if (!isfinite(size))
        return 0;
    a->margin += (a->margin > 0 ? 1.0f / 256 : 1) * (size - a->margin);
    const float middle = 0.5f * HS__CLASSES;
    float at = a->margin > 0 ? margin / a->margin * 2 + middle : middle;
    return at <= 0 ? 0 : at >= HS__CLASSES - 1 ? HS__CLASSES - 1 : (uint8_t)at;
}

static float share(const hs__outcomes *o, float prior)
{
    return (o->came_true + PRIOR * prior) / (o->n + PRIOR);
}

float hs__chance(const hs_residency *r, uint32_t layer, hs__basis basis, uint8_t class)
{
    float unknown = class >= HS__CLASSES / 2 ? 0.75f : 0.25f; /* published recalls of top k: 0.7 to 0.9 */
    return share(&r->ahead[layer].outcomes[basis][class], share(&r->outcomes[basis][class], unknown));
}

static void add(hs__outcomes *o, bool came_true)
{
    if (o->n >= MEMORY) {
        o->n /= 2;
        o->came_true /= 2;
    }
    o->n += 1;
    o->came_true += came_true;
}

void hs__worth_learn(hs_residency *r, uint32_t layer, hs__basis basis, uint8_t class, bool came_true)
{
    add(&r->ahead[layer].outcomes[basis][class], came_true);
    add(&r->outcomes[basis][class], came_true);
}

/* ---- the cost ---- */

void hs__worth_used(hs_residency *r)
{
    r->bar = fmaxf(r->bar - WASTE * BAR_STEP, BAR_LEAST);
}

void hs__worth_wasted(hs_residency *r)
{
    r->bar = fminf(r->bar + BAR_STEP, BAR_MOST);
}

static bool demand_is_out(const hs_residency *r)
{
    for (const hs__load *l = r->active_first; l; l = l->next)
        if (!l->over && r->slots[l->slot].want != HS__NONE)
            return true;
    return false;
}

/* ns of a read of `takes` that will be done when the layer begins: it comes after what has been given to the drive. */
static float read_by_then(const hs_residency *r, float takes)
{
    uint64_t since = r->window_ns[r->window] > r->demand_ns ? r->window_ns[r->window] : r->demand_ns;
    float mean = r->ahead[r->guess_layer].window[r->window], from = (float)r->speculative_flying * r->ns_per_byte;
    if (!demand_is_out(r))
        from += (float)(hs_now_ns() - since);
    return mean > 0 ? mean * expf(-from / mean) * -expm1f(-takes / mean) : 0;
}

/* ns that the layer stands still for an absent expert if nothing is read ahead. */
static float stood_for(const hs__ahead *a)
{
    return a->unaided ? a->stood / fmaxf(a->missed, 1.0f / LEARN) : INFINITY;
}

bool hs__is_worth_reading(hs_residency *r, uint32_t object, float chance)
{
    if (chance < r->bar)
        return false;
    float takes = (float)hs_object_read_bytes(r->cfg.objects, object) * r->ns_per_byte;
    float under_way = (float)hs_io_max_speculative(r->cfg.io) * r->ns_per_byte;
    const hs__ahead *a = &r->ahead[object / r->cfg.n_experts];
    float saves = read_by_then(r, takes);
    float loses = fminf(takes - saves, under_way) * a->waits;
    float room = ROOM * (float)r->cfg.top_k / (float)r->n_slots * takes;
    float gain = chance * saves - (1 - chance) * loses - room;
    if (gain > 0)
        r->gain += gain * fminf(1, stood_for(a) / saves);
    return gain >= 0;
}

/* The guesses of the last hint have had their time. */
static void settle_gain(hs_residency *r, hs__ahead *a)
{
    if (!r->window_ns[r->window])
        return;
    a->hints[r->window] += a->hints[r->window] < LEARN;
    a->gain[r->window] += (r->gain - a->gain[r->window]) / (float)a->hints[r->window];
    a->hint_ns += (a->hint_ns > 0 ? 1.0f / 16 : 1) * (r->hint_ns - a->hint_ns);
    r->gain = 0;
}

static uint32_t window_of(const hs_residency *r, hs__basis basis)
{
    return basis == HS__OF_WHOLE ? HS__AFTER_LAYER : demand_is_out(r) ? HS__AMID_MISSES : HS__AMID_HITS;
}

void hs__window_begins(hs_residency *r)
{
    hs__ahead *a = &r->ahead[r->guess_layer];
    uint64_t now = hs_now_ns();
    settle_gain(r, a);
    a->hint_step = r->steps;
    r->window = window_of(r, r->basis);
    r->window_ns[r->window] = now;
    r->hint_ns = r->asked_ns ? (float)(now - r->asked_ns) : 0;
    r->asked_ns = 0;
}

static void window_ends(hs_residency *r, uint32_t layer)
{
    uint64_t now = hs_now_ns();
    if (layer == r->guess_layer)
        settle_gain(r, &r->ahead[layer]);
    for (uint32_t i = 0; i < HS__WINDOWS; i++) {
        uint64_t since = r->window_ns[i] > r->demand_ns ? r->window_ns[i] : r->demand_ns;
        float *mean = &r->ahead[layer].window[i], is = (float)(now - since);
        if (r->window_ns[i] && layer == r->guess_layer)
            *mean += (*mean > 0 ? 1.0f / 16 : 1) * (is - *mean);
        r->window_ns[i] = 0;
    }
}

/* How fast the drive is lately, while it has anything to do. */
static void measure_drive(hs_residency *r)
{
    hs_io_stats s = hs_io_get_stats(r->cfg.io);
    uint64_t bytes = s.bytes - r->io_before.bytes, ns = s.busy_ns - r->io_before.busy_ns;
    if (bytes < r->slot_bytes)
        return;
    r->ns_per_byte += (r->ns_per_byte > 0 ? 1.0f / 16 : 1) * ((float)ns / (float)bytes - r->ns_per_byte);
    r->io_before = s;
}

uint64_t hs__stood_ns(const hs_residency *r)
{
    return atomic_load_explicit(&r->count.wait_ns, memory_order_relaxed) +
           atomic_load_explicit(&r->count.decode_ns, memory_order_relaxed);
}

bool hs__asks(void *self, uint32_t layer, bool whole)
{
    hs_residency *r = self;
    if (!r->cfg.prefetch || layer >= r->cfg.n_layers)
        return false;
    r->asked = whole ? HS__OF_WHOLE : HS__OF_PART;
    r->asked_ns = hs_now_ns();
    if (r->sweep)
        return true;
    hs__trial_from(r, layer, r->asked_ns);
    const hs__ahead *a = &r->ahead[layer];
    uint32_t w = window_of(r, r->asked);
    float saves = a->unaided ? a->stood : INFINITY;
    if (a->hints[w] >= LEARN)
        saves = fminf(saves, a->gain[w]);
    bool pays = r->ns_per_byte <= 0 || saves >= a->hint_ns || r->steps % TRY_EVERY == 0;
    return pays && hs__is_guessing(r, layer);
}

void hs__worth_step(hs_residency *r)
{
    r->steps += !r->sweep;
    if (r->cfg.prefetch)
        measure_drive(r);
}

/* Experts that were not there, or would not have been if nothing had been read ahead. */
static uint64_t absent(const hs_residency *r)
{
    return atomic_load_explicit(&r->count.misses, memory_order_relaxed) +
           atomic_load_explicit(&r->count.prefetch_useful, memory_order_relaxed);
}

void hs__worth_begin(hs_residency *r)
{
    window_ends(r, r->layer);
    r->ways.layer_from_ns = hs_now_ns();
    hs__trial_from(r, r->layer, r->ways.layer_from_ns);
    r->stood_before = hs__stood_ns(r);
    r->absent_before = absent(r);
}

void hs__worth_asked(hs_residency *r, bool waits)
{
    hs__ahead *a = &r->ahead[r->layer];
    if (!r->sweep)
        a->waits += ((waits ? 1.0f : 0.0f) - a->waits) / 16;
}

void hs__worth_end(hs_residency *r)
{
    hs__ahead *a = &r->ahead[r->layer];
    uint64_t stall = hs__stood_ns(r) - r->stood_before, missed = absent(r) - r->absent_before;
    hs__count(&a->count.stall_ns, stall);
    hs__count(&a->count.absent, missed);
    uint64_t now = hs_now_ns();
    hs__ways_learn(r, now, stall, missed);
    hs__shadow_learn(r, now, missed);
    if (r->sweep || !r->cfg.prefetch)
        return;
    if (a->hint_step != r->steps) {
        a->unaided += a->unaided < LEARN;
        a->missed += ((float)missed - a->missed) / (float)a->unaided;
        a->stood += ((float)stall - a->stood) / (float)a->unaided;
    }
    uint64_t stood_before = r->stood_before - a->from_stood; /* for the layer before */
    hs__trial_learn(r, r->layer, hs_now_ns() - a->from_ns - stood_before, missed);
}

void hs_residency_get_layer(const hs_residency *r, uint32_t layer, hs_residency_layer *ret)
{
    const hs__ahead *a = &r->ahead[layer];
#define X(name) ret->name = atomic_load_explicit(&a->count.name, memory_order_relaxed);
    HS__AHEAD_COUNTERS(X)
#undef X
}
