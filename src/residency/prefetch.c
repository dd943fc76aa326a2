/*
 * prefetch.c - reading ahead what the router will probably name in a layer to come.
 *
 * Guesses never cost a demand anything: their reads come after all demand reads, within a byte budget; they take EMPTY
 * and loose slots and the policy's victim, never a slot that is asked for, predicted or guessed; and no more than
 * max_guessed slots. Predicted experts that are resident are protected until their layer begins. Then every guess is
 * settled: useful, late, or wasted. A layer whose guesses come true too rarely is left alone, but for a try now and
 * then.
 * In a sweep they bring the next layer's first experts while this layer ends and the next one's attention runs. There
 * they take no victim of the policy and count into the sweep's window, which is also their budget; nothing is learnt
 * from them: a prompt's tokens together are surer than one.
 */
#include "residency/residency_int.h"

#define WORTH_STEP  (1.0f / 32)
#define WORTH_LEAST 0.5f /* of the guesses of a class must come true */
#define TRY_EVERY   16u  /* tokens between tries of a class that is left out */

/* The trial: in the last TRIAL of PERIOD tokens the other way is taken; it wins if the engine thread stood still less.
 */
#define PERIOD 128u
#define TRIAL  8u
#define SETTLE 2u   /* tokens after a change that still show the way before */
#define LOSES  0.9f /* reading ahead ends only if it is clearly dearer: noise is no reason */

/* A layer without guesses of its own yet is taken for an average one. */
static float worth(const hs_residency *r, uint32_t layer, uint32_t rank)
{
    float own = r->worth[layer][rank];
    return own < 0 ? r->worth_of_all[rank] : own;
}

static void learn(hs_residency *r, uint32_t slot, bool came_true)
{
    if (r->sweep)
        return;
    uint32_t layer = r->slots[slot].object / r->cfg.n_experts, rank = r->slots[slot].rank;
    float *own = &r->worth[layer][rank], *all = &r->worth_of_all[rank], is = came_true ? 1.0f : 0.0f;
    *own = worth(r, layer, rank);
    *own += WORTH_STEP * (is - *own);
    *all += WORTH_STEP * (is - *all);
}

static void forget(hs_residency *r, uint32_t slot)
{
    for (uint32_t i = 0; i < r->n_guessed; i++) {
        if (r->guessed[i] == slot) {
            r->guessed[i] = r->guessed[--r->n_guessed];
            return;
        }
    }
}

void hs__prefetch_used(hs_residency *r, uint32_t slot, bool in_time)
{
    forget(r, slot);
    learn(r, slot, true);
    hs__count(in_time ? &r->count.prefetch_useful : &r->count.prefetch_late, 1);
    hs__count(&r->count.miss_predicted, 1);
}

void hs__prefetch_lost(hs_residency *r, uint32_t slot)
{
    forget(r, slot);
    learn(r, slot, false);
    hs__count(&r->count.prefetch_wasted, 1);
}

void hs__prefetch_pump(hs_residency *r)
{
    const hs_objects *o = r->cfg.objects;
    uint64_t budget = r->sweep ? r->sweep_budget : r->cfg.prefetch_budget;
    if (r->pending.head < r->pending.tail)
        return;
    for (; r->to_guess_at < r->n_to_guess; r->to_guess_at++) {
        uint32_t object = r->to_guess[r->to_guess_at].object;
        if (r->slot_of[object] != HS__NONE)
            continue;
        if (r->n_guessed >= r->max_guessed || !hs__load_possible(r, object, true) ||
            r->speculative_flying + hs_object_read_bytes(o, object) > budget)
            break;
        uint32_t slot = hs__slot_for_guess(r);
        if (slot == HS__NONE)
            break;
        hs__load_start(r, slot, object, HS__GUESS, HS_IO_SPECULATIVE);
        r->slots[slot].guess = r->guess_no;
        r->slots[slot].rank = (uint8_t)r->to_guess[r->to_guess_at].rank;
        r->guessed[r->n_guessed++] = slot;
        hs__count(&r->count.prefetch_issued, 1);
    }
    hs__load_submit(r);
}

static bool is_on(const hs_residency *r)
{
    return r->trial.on != (r->trial.at >= PERIOD - TRIAL);
}

void hs__prefetch_step(hs_residency *r)
{
    hs__trial *t = &r->trial;
    uint64_t stood = atomic_load_explicit(&r->count.wait_ns, memory_order_relaxed) +
                     atomic_load_explicit(&r->count.decode_ns, memory_order_relaxed);
    uint32_t since = t->at < PERIOD - TRIAL ? t->at : t->at - (PERIOD - TRIAL);
    if (t->running && since >= SETTLE) {
        float now = (float)(stood - t->stood), *mean = &t->stall[is_on(r)];
        *mean += (*mean > 0 ? 0.25f : 1) * (now - *mean);
    }
    t->stood = stood;
    t->at += t->running;
    t->running = !r->sweep;
    if (t->at < PERIOD)
        return;
    t->at = 0;
    t->on = t->stall[0] >= (t->on ? LOSES : 1.0f) * t->stall[1];
}

void hs__hint(void *self, uint32_t layer, const hs_expert_guess *guesses, uint32_t n)
{
    hs_residency *r = self;
    bool on = r->sweep || is_on(r);
    if (!r->cfg.prefetch || layer >= r->cfg.n_layers)
        return;
    hs__load_drain(r);
    if (layer != r->guess_layer)
        r->guess_no++;
    r->guess_layer = layer;
    r->n_to_guess = r->to_guess_at = 0;
    uint32_t half = (r->cfg.top_k * r->span + 1) / 2;
    half = half ? half : 1;
    for (uint32_t i = 0; i < n && i < r->cfg.n_experts; i++) {
        if (guesses[i].expert >= r->cfg.n_experts)
            continue;
        uint32_t object = layer * r->cfg.n_experts + guesses[i].expert, slot = r->slot_of[object];
        uint32_t rank = i / half < HS__RANKS ? i / half : HS__RANKS - 1;
        if (slot != HS__NONE)
            r->slots[slot].guess = r->guess_no;
        else if (on && (r->sweep || worth(r, layer, rank) >= WORTH_LEAST || r->tick % TRY_EVERY == 0))
            r->to_guess[r->n_to_guess++] = (hs__to_guess){object, rank};
    }
    hs__prefetch_pump(r);
}

/* A guess that did not come true: what is still to be read or decoded is dropped, the rest may be overwritten. */
static void dismiss(hs_residency *r, uint32_t slot)
{
    hs__prefetch_lost(r, slot);
    hs__slot_set_kind(r, slot, HS__LOOSE);
    if (r->slots[slot].load != HS__NONE)
        hs__load_abandon(r, &r->loads[r->slots[slot].load]);
}

void hs__prefetch_resolve(hs_residency *r, uint32_t layer)
{
    if (layer == r->guess_layer) {
        r->guess_no++;
        r->guess_layer = HS__NONE;
        r->n_to_guess = r->to_guess_at = 0;
    }
    for (uint32_t i = r->n_guessed; i-- > 0;)
        if (r->slots[r->guessed[i]].object / r->cfg.n_experts == layer)
            dismiss(r, r->guessed[i]);
}

void hs__prefetch_drop_all(hs_residency *r)
{
    r->guess_no++;
    r->guess_layer = HS__NONE;
    r->n_to_guess = r->to_guess_at = 0;
    while (r->n_guessed)
        dismiss(r, r->guessed[r->n_guessed - 1]);
}
