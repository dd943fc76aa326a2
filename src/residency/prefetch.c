/*
 * prefetch.c - reading ahead what the router will probably name in a layer to come.
 *
 * Guesses never cost a demand anything: their reads come after all demand reads, within a byte budget; they take EMPTY
 * and loose slots and the policy's victim, never a slot that is asked for, predicted or guessed; and no more than
 * max_guessed slots of a slab. Which ones are worth their read is worth.c's to say. Predicted experts that are resident
 * are protected until their layer begins. A later hint for the same layer tops up, and drops what has become unlikely
 * before it is read. In the end every guess is settled: useful, late, wasted, or dropped without a byte read. In a
 * sweep they bring the next layer's first experts while this layer ends and the next one's attention runs. There they
 * take no victim of the policy and count into the sweep's window, which is also their budget; nothing is learnt from
 * them: a prompt's tokens together are surer than one.
 */
#include "base/clock.h"
#include "residency/residency_int.h"

#define KEEP 0.3f /* least chance with which a guess under way is read on */

static hs__ahead *layer_of(hs_residency *r, uint32_t object)
{
    return &r->ahead[object / r->cfg.n_experts];
}

static void forget(hs_residency *r, uint32_t slot)
{
    for (uint32_t i = 0; i < r->n_guessed; i++) {
        if (r->guessed[i] == slot) {
            r->guessed[i] = r->guessed[--r->n_guessed];
            r->slabs[r->slots[slot].slab].n_guessed--;
            return;
        }
    }
}

void hs__prefetch_used(hs_residency *r, uint32_t slot, bool in_time)
{
    hs__ahead *a = layer_of(r, r->slots[slot].object);
    forget(r, slot);
    hs__count(in_time ? &r->count.prefetch_useful : &r->count.prefetch_late, 1);
    hs__count(in_time ? &a->count.useful : &a->count.late, 1);
    hs__count(&r->count.miss_predicted, 1);
    if (!r->sweep)
        hs__worth_used(r);
}

static void wasted(hs_residency *r, uint32_t object)
{
    hs__count(&r->count.prefetch_wasted, 1);
    hs__count(&layer_of(r, object)->count.wasted, 1);
    if (!r->sweep)
        hs__worth_wasted(r);
}

void hs__prefetch_lost(hs_residency *r, uint32_t slot)
{
    forget(r, slot);
    wasted(r, r->slots[slot].object);
}

void hs__prefetch_dropped(hs_residency *r, uint32_t object, uint64_t bytes)
{
    if (bytes)
        wasted(r, object);
    else
        hs__count(&r->count.prefetch_dropped, 1);
}

static bool issue_guess(hs_residency *r, const hs__named *g)
{
    const hs_objects *o = r->cfg.objects;
    uint64_t budget = r->sweep ? r->sweep_budget : r->cfg.prefetch_budget;
    hs__slab *b = hs__slab_for(r, g->object);
    if (b->n_guessed >= b->max_guessed || r->n_guessed >= r->guessed_room || !hs__load_possible(r, g->object, true) ||
        r->speculative_flying + hs_object_read_bytes(o, g->object) > budget)
        return false;
    uint32_t slot = hs__slot_for_guess(r, g->object);
    if (slot == HS__NONE)
        return false;
    hs__load_start(r, slot, g->object, HS__GUESS, HS_IO_SPECULATIVE);
    r->slots[slot].guess = r->guess_no;
    r->slots[slot].chance = g->chance;
    r->guessed[r->n_guessed++] = slot;
    b->n_guessed++;
    hs__count(&r->count.prefetch_issued, 1);
    hs__count(&layer_of(r, g->object)->count.issued, 1);
    return true;
}

void hs__prefetch_pump(hs_residency *r)
{
    if (r->pending.head < r->pending.tail)
        return;
    for (; r->named_at < r->n_named[r->basis]; r->named_at++) {
        const hs__named *g = &r->named[r->basis][r->named_at];
        if (r->slot_of[g->object] != HS__NONE || (!r->sweep && !hs__is_worth_reading(r, g->object, g->chance)))
            continue;
        if (!issue_guess(r, g))
            break;
    }
    hs__load_submit(r);
}

/* A guess that is not wanted: what is still to be read or decoded is dropped, the rest may be overwritten. */
static void dismiss(hs_residency *r, uint32_t slot)
{
    hs__load *l = r->slots[slot].load == HS__NONE ? NULL : &r->loads[r->slots[slot].load];
    if (l && !l->over) {
        forget(r, slot);
        l->dropped = true; /* whether it was wasted is known when the read ends */
    } else {
        hs__prefetch_lost(r, slot);
    }
    hs__slot_set_kind(r, slot, HS__LOOSE);
    if (l)
        hs__load_abandon(r, l);
}

static void name(hs_residency *r, uint32_t layer, const hs_expert_guess *guess)
{
    uint32_t object = layer * r->cfg.n_experts + guess->expert, slot = r->slot_of[object];
    hs__slot *s = slot == HS__NONE ? NULL : &r->slots[slot];
    if (s)
        s->guess = r->guess_no;
    if (s && s->kind != HS__GUESS)
        return;
    hs__named *g = &r->named[r->basis][r->n_named[r->basis]++];
    *g = (hs__named){.object = object, .chance = 1};
    if (r->sweep)
        return;
    g->class = hs__class_of(r, layer, guess->margin);
    g->chance = hs__chance(r, layer, r->basis, g->class);
    if (s)
        s->chance = g->chance;
}

static void forget_names(hs_residency *r)
{
    r->n_named[HS__OF_PART] = r->n_named[HS__OF_WHOLE] = r->named_at = 0;
    r->guess_layer = HS__NONE;
    r->guess_no++;
}

void hs__hint(void *self, uint32_t layer, const hs_expert_guess *guesses, uint32_t n)
{
    hs_residency *r = self;
    if (!r->cfg.prefetch || layer >= r->cfg.n_layers)
        return;
    hs__load_drain(r);
    if (layer != r->guess_layer)
        forget_names(r);
    r->guess_layer = layer;
    r->basis = r->asked;
    r->n_named[r->basis] = r->named_at = 0;
    for (uint32_t i = 0; i < r->n_guessed; i++) /* what is not named again */
        if (r->slots[r->guessed[i]].object / r->cfg.n_experts == layer)
            r->slots[r->guessed[i]].chance = 0;
    for (uint32_t i = 0; i < n && i < r->cfg.n_experts; i++)
        if (guesses[i].expert < r->cfg.n_experts)
            name(r, layer, &guesses[i]);
    for (uint32_t i = r->n_guessed; i-- > 0;)
        if (r->slots[r->guessed[i]].state == HS__READING && r->slots[r->guessed[i]].chance < KEEP)
            dismiss(r, r->guessed[i]);
    if (!r->sweep)
        hs__window_begins(r);
    if (!r->sweep && !hs__is_guessing(r, layer))
        r->named_at = r->n_named[r->basis];
    hs__prefetch_pump(r);
}

/* All that was named is learnt from, read or not. */
static void learn(hs_residency *r, uint32_t layer)
{
    for (uint32_t b = 0; b < HS__BASES; b++) {
        for (uint32_t i = 0; i < r->n_named[b]; i++) {
            const hs__named *g = &r->named[b][i];
            bool came_true = r->want_of[g->object % r->cfg.n_experts] != HS__NONE;
            hs__worth_learn(r, layer, (hs__basis)b, g->class, came_true);
        }
    }
}

void hs__prefetch_resolve(hs_residency *r, uint32_t layer)
{
    if (layer == r->guess_layer) {
        if (!r->sweep)
            learn(r, layer);
        forget_names(r);
    }
    for (uint32_t i = r->n_guessed; i-- > 0;)
        if (r->slots[r->guessed[i]].object / r->cfg.n_experts == layer)
            dismiss(r, r->guessed[i]);
}

void hs__prefetch_drop_all(hs_residency *r)
{
    forget_names(r);
    while (r->n_guessed)
        dismiss(r, r->guessed[r->n_guessed - 1]);
}

void hs_residency_set_prefetch(hs_residency *r, bool on)
{
    hs__prefetch_drop_all(r);
    r->cfg.prefetch = on;
}
