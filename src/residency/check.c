/* check.c - the invariants of the residency, executable: for asserts and for tests after every step. Engine thread. */
#include "residency/residency_int.h"

#include <stdio.h>

typedef struct tally { /* of one slab */
    uint32_t empty, leaving, loose, listed, ready, loading, guesses;
} tally;

static const char *check_slot(const hs_residency *r, const hs__slab *b, uint32_t slot, tally *t)
{
    const hs__slot *s = &r->slots[slot];
    bool behind = slot - b->first >= b->n_slots;
    if (&r->slabs[s->slab] != b)
        return "a slot is in the wrong slab";
    if (s->state == HS__EMPTY) {
        t->empty += !behind;
        bool holds = s->object != HS__NONE || s->want != HS__NONE || s->pins || s->staging != HS__NONE;
        return holds ? "an EMPTY slot holds something" : NULL;
    }
    t->leaving += behind;
    if ((slot - b->first + 1) * b->slot_bytes > b->memory_end)
        return "a slot holds something in memory that has been given back";
    bool loading = s->state == HS__READING || s->state == HS__DECODING;
    t->ready += s->state == HS__READY;
    t->loading += loading;
    t->loose += s->kind == HS__LOOSE;
    t->listed += s->kind == HS__LOOSE && s->state == HS__READY && s->want == HS__NONE;
    t->guesses += s->kind == HS__GUESS;
    if (s->object >= r->n_objects || r->slot_of[s->object] != slot)
        return "a slot's object is not known to be in it";
    if (&r->slabs[r->slab_of[s->object / r->cfg.n_experts]] != b)
        return "an object is in a slot of another size";
    if (s->pins && (s->state != HS__READY || s->want == HS__NONE))
        return "a pinned slot is not READY or not asked for";
    if (loading != (s->load != HS__NONE))
        return "a slot has a load without reading, or reads without a load";
    if (s->pins && hs__must_decode(r, slot))
        return "a pinned slot's object is not decoded";
    if (loading && r->loads[s->load].slot != slot)
        return "a slot's load is for another slot";
    if (s->kind == HS__GUESS && s->want != HS__NONE)
        return "a guess that is asked for is still a guess";
    if (s->want != HS__NONE && (s->want >= r->n_wants || r->wants[s->want].slot != slot))
        return "a slot is asked for by nobody";
    return NULL;
}

static const char *check_wants(const hs_residency *r)
{
    for (uint32_t i = 0; i < r->n_wants; i++) {
        const hs__want *w = &r->wants[i];
        bool held = w->state == HS__WANT_LOADING || w->state == HS__WANT_READY || w->state == HS__WANT_DELIVERED;
        if (held && (w->slot == HS__NONE || r->slots[w->slot].want != i || r->slots[w->slot].object != w->object))
            return "a want's slot does not hold it";
        if (held && (w->state == HS__WANT_LOADING) != (r->slots[w->slot].state != HS__READY))
            return "a want's state is not that of its slot";
    }
    return NULL;
}

static const char *check_slab(const hs_residency *r, const hs__slab *b, tally *all)
{
    tally t = {0};
    uint32_t empty = 0, listed = 0;
    for (uint32_t s = b->first; s < b->first + b->max_slots; s++) {
        const char *wrong = check_slot(r, b, s, &t);
        if (wrong)
            return wrong;
    }
    for (uint32_t s = b->empty; s != HS__NONE && empty <= b->n_slots; s = r->slots[s].next)
        empty++;
    for (uint32_t s = b->loose_first; s != HS__NONE && listed <= b->max_slots; s = r->slots[s].next)
        listed++;
    if (empty != t.empty || listed != t.listed || b->n_loose != t.loose)
        return "the lists of slots do not have what they should";
    if (t.leaving != b->n_leaving || t.empty + b->n_held != b->n_slots + b->n_leaving)
        return "slots that hold something are lost";
    if (t.guesses != b->n_guessed)
        return "guesses are lost";
    all->empty += t.empty;
    all->leaving += t.leaving;
    all->ready += t.ready;
    all->loading += t.loading;
    all->guesses += t.guesses;
    return NULL;
}

/* Free is what neither a load nor an object that is asked for and decoded has. */
static const char *check_stagings(const hs_residency *r, uint32_t of_loads)
{
    uint32_t held = 0, free = 0;
    for (uint32_t i = 0; i < r->max_slots; i++) {
        const hs__slot *s = &r->slots[i];
        bool is_asked = s->want != HS__NONE && r->wants[s->want].state != HS__WANT_RELEASED;
        if (s->staging == HS__NONE)
            continue;
        if (s->staging >= r->n_staging || s->state != HS__READY || !is_asked)
            return "a buffer is kept for what nobody asks for";
        held++;
    }
    for (uint32_t i = r->free_staging; i != HS__NONE && free <= r->n_staging; i = r->next_staging[i])
        free++;
    bool lost = free != r->n_staging_free || of_loads + held + free != r->n_staging;
    return lost ? "staging buffers are lost" : NULL;
}

static const char *check_loads(const hs_residency *r, const tally *t)
{
    uint32_t active = 0, unused = 0, staged = 0;
    for (const hs__load *l = r->active_first; l && active <= r->n_loads; l = l->next) {
        active++;
        staged += l->staging != HS__NONE;
    }
    for (const hs__load *l = r->unused; l && unused <= r->n_loads; l = l->next)
        unused++;
    if (active != t->loading || active + unused != r->n_loads || unused != r->n_unused)
        return "loads are lost";
    if (t->leaving != r->n_leaving)
        return "slots that are leaving are lost";
    if (t->guesses != r->n_guessed || r->n_guessed > r->guessed_room)
        return "guesses are lost";
    if (t->ready != hs_residency_resident(r))
        return "the number of READY slots is wrong";
    if (r->speculative_flying > r->sweep_budget)
        return "the prefetch budget is exceeded";
    return check_stagings(r, staged);
}

static const char *check_layers(const hs_residency *r)
{
    for (uint32_t l = 0; l < r->cfg.n_layers; l++) {
        const uint32_t *slots = r->slot_of + (size_t)l * r->cfg.n_experts;
        uint64_t ready = 0;
        for (uint32_t e = 0; e < r->cfg.n_experts; e++)
            ready += slots[e] != HS__NONE && r->slots[slots[e]].state == HS__READY;
        if (ready != atomic_load_explicit(&r->ahead[l].count.resident, memory_order_relaxed))
            return "a layer's number of READY slots is wrong";
    }
    return NULL;
}

const char *hs_residency_check(const hs_residency *r)
{
    tally t = {0};
    uint32_t mapped = 0;
    for (uint32_t i = 0; i < r->n_objects; i++)
        mapped += r->slot_of[i] != HS__NONE;
    uint32_t slots = 0;
    for (uint32_t k = 0; k < r->classes.n; slots += r->slabs[k++].n_slots) {
        const char *wrong = check_slab(r, &r->slabs[k], &t);
        if (wrong)
            return wrong;
    }
    if (slots != r->n_slots)
        return "the slabs do not have all slots";
    if (mapped + t.empty != r->n_slots + r->n_leaving)
        return "an object is in no slot or in two";
    const char *wrong = check_wants(r);
    if (!wrong)
        wrong = check_loads(r, &t);
    return wrong ? wrong : check_layers(r);
}
