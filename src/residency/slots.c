/*
 * slots.c - the slot state machine: who holds which slot, and which one is given up for a newcomer.
 *
 *   EMPTY -> READING     hs__slot_fill     a load starts
 *   READING -> DECODING  hs__load_settle   all bytes are there, frames are left to check or decode
 *   READING, DECODING -> READY   hs__slot_ready
 *   READY -> DECODING    hs__slot_decode   warm tier: what is stored is asked for
 *   any -> EMPTY         hs__slot_clear    evicted; or its load was cancelled or has failed (FAILED is not a resting
 * state)
 *
 * A slot is given up in this order: EMPTY, the oldest loose one, the policy's victim. Loose slots hold what was used
 * without being admitted: what a prefill sweep leaves behind, and what the policy let pass. A slot that is asked for is
 * never given up; a predicted one only for a demand that would otherwise wait. Slots from n_slots on are leaving: they
 * are given up like the others, but nothing comes into them any more. All of that within the slab of the newcomer's
 * size.
 */
#include "residency/residency_int.h"

#include <string.h>

static hs__slab *slab_of(hs_residency *r, uint32_t slot)
{
    return &r->slabs[r->slots[slot].slab];
}

static bool is_behind(const hs__slab *b, uint32_t slot)
{
    return slot - b->first >= b->n_slots;
}

/* ---- lists ---- */

static void push_empty(hs_residency *r, uint32_t slot)
{
    hs__slab *b = slab_of(r, slot);
    r->slots[slot].next = b->empty;
    b->empty = slot;
}

static void loose_append(hs_residency *r, uint32_t slot)
{
    hs__slab *b = slab_of(r, slot);
    hs__slot *s = &r->slots[slot];
    s->next = HS__NONE;
    s->prev = b->loose_last;
    if (b->loose_last != HS__NONE)
        r->slots[b->loose_last].next = slot;
    else
        b->loose_first = slot;
    b->loose_last = slot;
}

static void loose_remove(hs_residency *r, uint32_t slot)
{
    hs__slab *b = slab_of(r, slot);
    hs__slot *s = &r->slots[slot];
    if (s->prev != HS__NONE)
        r->slots[s->prev].next = s->next;
    else
        b->loose_first = s->next;
    if (s->next != HS__NONE)
        r->slots[s->next].prev = s->prev;
    else
        b->loose_last = s->prev;
}

static bool is_listed(const hs__slot *s)
{
    return s->state == HS__READY && s->kind == HS__LOOSE && s->want == HS__NONE;
}

/* From the start of its read: the policy hears of what comes in the order in which it was asked for, whatever the order
 * in which it arrives. */
static bool is_in_policy(const hs__slot *s)
{
    return s->state != HS__EMPTY && s->kind == HS__RESIDENT;
}

void hs__slots_init(hs_residency *r)
{
    for (uint32_t k = 0; k < r->classes.n; k++) {
        hs__slab *b = &r->slabs[k];
        b->loose_first = b->loose_last = HS__NONE;
        for (uint32_t i = b->first; i < b->first + b->max_slots; i++)
            r->slots[i] = (hs__slot){
                .object = HS__NONE, .want = HS__NONE, .load = HS__NONE, .staging = HS__NONE, .slab = (uint8_t)k};
    }
    hs__slots_limit(r, r->n_slots);
    for (uint32_t i = 0; i < r->n_objects; i++)
        r->slot_of[i] = HS__NONE;
}

/* ---- transitions ---- */

/* The three membership rules, applied around every change of a slot. */
static void leave(hs_residency *r, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    if (is_listed(s))
        loose_remove(r, slot);
    if (is_in_policy(s))
        r->policy->evict(r->policy_state, s->object);
    if (s->state != HS__EMPTY && s->kind == HS__LOOSE)
        slab_of(r, slot)->n_loose--;
}

static void join(hs_residency *r, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    if (is_listed(s))
        loose_append(r, slot);
    if (is_in_policy(s))
        r->policy->insert(r->policy_state, s->object, r->now);
    if (s->state != HS__EMPTY && s->kind == HS__LOOSE)
        slab_of(r, slot)->n_loose++;
}

static void count_ready(hs_residency *r, uint32_t object, int32_t by)
{
    uint32_t n = atomic_load_explicit(&r->n_ready, memory_order_relaxed);
    atomic_store_explicit(&r->n_ready, n + (uint32_t)by, memory_order_relaxed);
    hs__count(&r->ahead[object / r->cfg.n_experts].count.resident, (uint64_t)(int64_t)by);
}

void hs__slot_fill(hs_residency *r, uint32_t slot, uint32_t object, hs__kind kind, uint32_t load)
{
    hs__slot *s = &r->slots[slot];
    s->object = object;
    s->load = load;
    s->kind = (uint8_t)kind;
    s->state = HS__READING;
    s->guess = r->guess_no - 1;
    r->slot_of[object] = slot;
    slab_of(r, slot)->n_held++;
    join(r, slot);
}

void hs__slot_ready(hs_residency *r, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    s->load = HS__NONE;
    s->state = HS__READY;
    if (is_listed(s))
        loose_append(r, slot);
    count_ready(r, s->object, 1);
}

void hs__slot_decode(hs_residency *r, uint32_t slot, uint32_t load)
{
    hs__slot *s = &r->slots[slot];
    s->load = load;
    s->state = HS__DECODING;
    count_ready(r, s->object, -1);
}

/* It was leaving, and is EMPTY. */
static void has_left(hs_residency *r, uint32_t slot)
{
    slab_of(r, slot)->n_leaving--;
    r->n_leaving--;
}

void hs__slot_clear(hs_residency *r, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    if (s->kind == HS__GUESS)
        hs__prefetch_lost(r, slot);
    leave(r, slot);
    if (s->state == HS__READY)
        count_ready(r, s->object, -1);
    r->slot_of[s->object] = HS__NONE;
    s->state = HS__EMPTY;
    s->object = s->load = s->want = HS__NONE;
    slab_of(r, slot)->n_held--;
    if (is_behind(slab_of(r, slot), slot))
        has_left(r, slot);
    else
        push_empty(r, slot);
}

void hs__slot_set_kind(hs_residency *r, uint32_t slot, hs__kind kind)
{
    leave(r, slot);
    r->slots[slot].kind = (uint8_t)kind;
    join(r, slot);
}

/* The policy's own order does not change by being asked for, so it is not told. */
void hs__slot_want(hs_residency *r, uint32_t slot, uint32_t want)
{
    hs__slot *s = &r->slots[slot];
    if (is_listed(s))
        loose_remove(r, slot);
    s->want = want;
}

void hs__slot_unwant(hs_residency *r, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    s->want = HS__NONE;
    if (is_listed(s))
        loose_append(r, slot);
}

/* ---- choosing ---- */

static bool must_stay(void *ctx, uint32_t object)
{
    const hs_residency *r = ctx;
    const hs__slot *s = &r->slots[r->slot_of[object]];
    return s->want != HS__NONE || s->state != HS__READY || hs__is_protected(r, s);
}

static uint32_t victim_of(hs_residency *r, const hs__slab *b)
{
    return r->policy->victim(r->policy_state, (uint32_t)(b - r->slabs), r->now, must_stay, r);
}

static bool admits(hs_residency *r, uint32_t object, uint32_t victim)
{
    return victim != HS_POLICY_NONE && r->policy->admit(r->policy_state, object, victim, r->sweep, r->now);
}

bool hs__slot_would_admit(hs_residency *r, uint32_t object)
{
    uint32_t victim = victim_of(r, hs__slab_for(r, object));
    return victim != HS_POLICY_NONE && r->policy->admit(r->policy_state, object, victim, true, r->now);
}

void hs__slot_judge(hs_residency *r, uint32_t slot)
{
    const hs__slab *b = slab_of(r, slot);
    bool stay = b->empty != HS__NONE || admits(r, r->slots[slot].object, victim_of(r, b));
    hs__slot_set_kind(r, slot, stay ? HS__RESIDENT : HS__LOOSE);
}

static uint32_t pop_empty(hs_residency *r, hs__slab *b)
{
    uint32_t slot = b->empty;
    b->empty = r->slots[slot].next;
    return slot;
}

static void evict(hs_residency *r, uint32_t slot)
{
    hs__count(&r->count.evictions, 1);
    hs__slot_clear(r, slot);
}

static uint32_t oldest_loose(const hs_residency *r, const hs__slab *b)
{
    uint32_t slot = b->loose_first;
    while (slot != HS__NONE && hs__is_protected(r, &r->slots[slot]))
        slot = r->slots[slot].next;
    return slot;
}

/* A guess that has arrived and is for another layer. */
static uint32_t arrived_guess(hs_residency *r, const hs__slab *b)
{
    for (uint32_t i = r->n_guessed; i-- > 0;) {
        const hs__slot *s = &r->slots[r->guessed[i]];
        if (s->state == HS__READY && s->want == HS__NONE && slab_of(r, r->guessed[i]) == b)
            return r->guessed[i];
    }
    return HS__NONE;
}

/* What a sweep has left in its window without asking the policy, when slots were empty, may be worth more than the
 * victim: then they change places. */
static uint32_t make_room(hs_residency *r, const hs__slab *b, bool may_evict, uint32_t victim)
{
    uint32_t slot = oldest_loose(r, b);
    bool stays = slot != HS__NONE && r->sweep && admits(r, r->slots[slot].object, victim);
    if (stays)
        hs__slot_set_kind(r, slot, HS__RESIDENT);
    if (stays || (slot == HS__NONE && may_evict && victim != HS_POLICY_NONE))
        slot = r->slot_of[victim];
    return slot;
}

/* Whether the sweep's window has room for one more; what is read ahead is in it. */
static bool in_window(const hs__slab *b)
{
    return b->n_loose + b->n_guessed < b->sweep_window;
}

/* A slot in use, or leaving, that a demand may have; *ret_admitted: its object is worth more than what is there. */
static uint32_t give_up(hs_residency *r, const hs__slab *b, uint32_t object, bool force, bool *ret_admitted)
{
    uint32_t victim = victim_of(r, b);
    bool admitted = admits(r, object, victim);
    bool may_evict = admitted || force || !r->sweep || in_window(b);
    uint32_t slot = make_room(r, b, may_evict, victim);
    if (slot == HS__NONE && may_evict)
        slot = arrived_guess(r, b);
    if (slot == HS__NONE && may_evict) {
        r->ignore_guesses = true;
        slot = make_room(r, b, true, victim_of(r, b));
        r->ignore_guesses = false;
    }
    *ret_admitted = admitted;
    return slot;
}

uint32_t hs__slot_for_demand(hs_residency *r, uint32_t object, bool force, hs__kind *ret_kind)
{
    hs__slab *b = hs__slab_for(r, object);
    if (b->empty != HS__NONE) {
        *ret_kind = r->sweep && in_window(b) ? HS__LOOSE : HS__RESIDENT;
        return pop_empty(r, b);
    }
    bool admitted = false;
    while (b->empty == HS__NONE) {
        uint32_t slot = give_up(r, b, object, force, &admitted);
        if (slot == HS__NONE)
            return HS__NONE;
        evict(r, slot);
    }
    if (!admitted)
        hs__count(&r->count.bypasses, 1);
    *ret_kind = admitted ? HS__RESIDENT : HS__LOOSE;
    return pop_empty(r, b);
}

uint32_t hs__slot_for_guess(hs_residency *r, uint32_t object)
{
    hs__slab *b = hs__slab_for(r, object);
    while (b->empty == HS__NONE) {
        uint32_t slot = make_room(r, b, !r->sweep, victim_of(r, b));
        if (slot == HS__NONE)
            return HS__NONE;
        evict(r, slot);
    }
    return pop_empty(r, b);
}

/* ---- fewer and more ---- */

void hs__slots_limit(hs_residency *r, uint32_t n)
{
    r->n_slots = n;
    r->n_leaving = 0;
    hs__set_shares(r);
    for (uint32_t k = 0; k < r->classes.n; k++) {
        hs__slab *b = &r->slabs[k];
        b->empty = HS__NONE;
        b->n_leaving = 0;
        for (uint32_t i = b->first + b->max_slots; i-- > b->first;) {
            bool holds = r->slots[i].state != HS__EMPTY;
            if (is_behind(b, i))
                b->n_leaving += holds;
            else if (!holds)
                push_empty(r, i);
        }
        r->n_leaving += b->n_leaving;
    }
    atomic_store_explicit(&r->shown_slots, n, memory_order_relaxed);
}

/* What is READY and admitted changes its slot; nobody looks at it now. */
static void move(hs_residency *r, uint32_t from, uint32_t to)
{
    hs__slot *f = &r->slots[from];
    memcpy(hs__slot_memory(r, to), hs__slot_memory(r, from), slab_of(r, from)->slot_bytes);
    r->slots[to] = *f;
    r->slot_of[f->object] = to;
    f->state = HS__EMPTY;
    f->object = HS__NONE;
    has_left(r, from);
    hs__count(&r->count.moves, 1);
}

bool hs__slot_leave(hs_residency *r, uint32_t slot)
{
    const hs__slot *s = &r->slots[slot];
    if (s->state != HS__READY || s->want != HS__NONE || s->kind == HS__GUESS)
        return false;
    if (s->kind == HS__LOOSE) {
        evict(r, slot);
        return true;
    }
    hs__slab *b = slab_of(r, slot);
    while (b->empty == HS__NONE && s->state == HS__READY) {
        uint32_t other = make_room(r, b, true, victim_of(r, b));
        evict(r, other == HS__NONE ? slot : other);
    }
    if (s->state == HS__READY)
        move(r, slot, pop_empty(r, b));
    return true;
}
