/*
 * worth.c - what a guess is worth: how likely it comes true, what it may cost, and whether a layer's guesses pay.
 *
 * The chance is learnt per layer from all that the model names and that is not resident, read or not; so it costs
 * nothing to know that guesses have become good enough. Classes are the margin over the layer's mean margin, apart for
 * guesses made of a part and of the whole of the layer before. A class without much of its own is taken for what it is
 * in other layers.
 *
 * A guess of which the drive has read W of the T ns that it takes when the layer begins saves W if it comes true, and
 * costs T - W if it does not; so its chance must be at least 1 - W/T. It must also be over the bar, which moves so that
 * WASTE guesses are wasted for each that is used.
 *
 * A hint whose guesses save less time than it takes to make them is asked for only every TRY_EVERY tokens.
 *
 * In TRIAL of PERIOD tokens a layer does it the other way, without guesses or with; what the engine thread stood still
 * and what guessing took, per expert that was not there, decides which way is taken on. Layers take their turns one
 * after the other.
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

#define LEARN     64u /* hints after which a window's gain is believed */
#define TRY_EVERY 16u

#define PERIOD 128u
#define TRIAL  8u
#define ENOUGH 8.0f  /* absent experts from which on a way's cost says something */
#define LOSES  0.95f /* reading ahead ends only if it is clearly dearer: noise is no reason */

void hs__worth_init(hs_residency *r)
{
    r->bar = 0.7f;
    for (uint32_t i = 0; i < r->cfg.n_layers; i++)
        r->ahead[i].pays = true;
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

/* What is left of the window when the drive has read what it has been given. */
static float time_left(const hs_residency *r)
{
    uint64_t since = r->window_ns[r->window] > r->demand_ns ? r->window_ns[r->window] : r->demand_ns;
    float left = r->ahead[r->guess_layer].window[r->window] - (float)r->speculative_flying * r->ns_per_byte;
    return demand_is_out(r) ? left : left - (float)(hs_now_ns() - since);
}

bool hs__is_worth_reading(hs_residency *r, uint32_t object, float chance)
{
    float takes = (float)hs_object_read_bytes(r->cfg.objects, object) * r->ns_per_byte;
    float left = fminf(fmaxf(time_left(r), 0), takes);
    if (chance < r->bar || chance * takes < takes - left)
        return false;
    r->gain += left - (1 - chance) * takes;
    return true;
}

/* The guesses of the last hint have had their time. */
static void settle_gain(hs_residency *r, hs__ahead *a)
{
    if (!r->window_ns[r->window])
        return;
    a->hints[r->window] += a->hints[r->window] < LEARN;
    a->gain[r->window] += (r->gain - a->gain[r->window]) / 16;
    r->gain = 0;
}

static uint32_t window_of(const hs_residency *r, hs__basis basis)
{
    return basis == HS__OF_WHOLE ? HS__AFTER_LAYER : demand_is_out(r) ? HS__AMID_MISSES : HS__AMID_HITS;
}

void hs__window_begins(hs_residency *r)
{
    hs__ahead *a = &r->ahead[r->guess_layer];
    uint64_t now = hs_now_ns(), took = r->asked_ns ? now - r->asked_ns : 0;
    settle_gain(r, a);
    r->window = window_of(r, r->basis);
    r->window_ns[r->window] = now;
    r->gain = -(float)took;
    a->guess_ns += took;
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

/* ---- does it pay ---- */

static uint64_t stood(const hs_residency *r)
{
    return atomic_load_explicit(&r->count.wait_ns, memory_order_relaxed) +
           atomic_load_explicit(&r->count.decode_ns, memory_order_relaxed);
}

/* Where the layer is in its period. */
static uint64_t turn(const hs_residency *r, uint32_t layer)
{
    return (r->steps + ((uint64_t)layer + 1) * TRIAL) % PERIOD;
}

bool hs__is_guessing(const hs_residency *r, uint32_t layer)
{
    return r->ahead[layer].pays != (turn(r, layer) < TRIAL);
}

static void judge(hs_residency *r, hs__ahead *a)
{
    float read = (float)r->slot_bytes * r->ns_per_byte;
    float without = a->absent[0] >= ENOUGH ? a->cost[0] / a->absent[0] : read;
    a->pays = a->absent[1] * without >= (a->pays ? LOSES : 1) * a->cost[1];
    for (uint32_t way = 0; way < 2; way++) {
        a->cost[way] /= 2;
        a->absent[way] /= 2;
    }
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
    const hs__ahead *a = &r->ahead[layer];
    uint32_t w = window_of(r, r->asked);
    bool pays = r->ns_per_byte <= 0 || a->hints[w] < LEARN || a->gain[w] >= 0 || r->steps % TRY_EVERY == 0;
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
    r->stood_before = stood(r);
    r->absent_before = absent(r);
}

void hs__worth_end(hs_residency *r)
{
    hs__ahead *a = &r->ahead[r->layer];
    uint64_t stall = stood(r) - r->stood_before, missed = absent(r) - r->absent_before;
    hs__count(&a->count.stall_ns, stall);
    hs__count(&a->count.absent, missed);
    hs__ways_learn(r, stall, missed);
    if (r->sweep || !r->cfg.prefetch)
        return;
    bool way = hs__is_guessing(r, r->layer);
    a->cost[way] += (float)(stall + a->guess_ns);
    a->absent[way] += (float)missed;
    a->guess_ns = 0;
    if (turn(r, r->layer) == TRIAL - 1)
        judge(r, a);
}

void hs_residency_get_layer(const hs_residency *r, uint32_t layer, hs_residency_layer *ret)
{
    const hs__ahead *a = &r->ahead[layer];
#define X(name) ret->name = atomic_load_explicit(&a->count.name, memory_order_relaxed);
    HS__AHEAD_COUNTERS(X)
#undef X
}
