/*
 * staging.c - the buffers besides the slots: which are idle, and what they still hold.
 *
 * A buffer belongs to the load that has taken it. In the warm tier it stays, once it holds the whole object decoded,
 * with the object's slot; it is idle from the object's release on and may be taken by another load, the one that has
 * been idle for longest first. An object that is asked for while it is still there is delivered without decoding.
 */
#include "residency/residency_int.h"

static void unlink_idle(hs_residency *r, uint32_t i)
{
    hs__staging *s = &r->stagings[i];
    if (s->prev != HS__NONE)
        r->stagings[s->prev].next = s->next;
    else
        r->idle_first = s->next;
    if (s->next != HS__NONE)
        r->stagings[s->next].prev = s->prev;
    else
        r->idle_last = s->prev;
    s->is_idle = false;
    r->n_staging_free--;
}

/* What holds nothing is taken first. */
static void link_idle(hs_residency *r, uint32_t i)
{
    hs__staging *s = &r->stagings[i];
    bool first = s->slot == HS__NONE;
    s->prev = first ? HS__NONE : r->idle_last;
    s->next = first ? r->idle_first : HS__NONE;
    if (s->prev != HS__NONE)
        r->stagings[s->prev].next = i;
    else
        r->idle_first = i;
    if (s->next != HS__NONE)
        r->stagings[s->next].prev = i;
    else
        r->idle_last = i;
    s->is_idle = true;
    r->n_staging_free++;
}

void hs__stagings_init(hs_residency *r)
{
    r->idle_first = r->idle_last = HS__NONE;
    for (uint32_t i = r->n_staging; i-- > 0;) {
        r->stagings[i].slot = HS__NONE;
        link_idle(r, i);
    }
}

uint32_t hs__staging_take(hs_residency *r)
{
    uint32_t i = r->idle_first;
    if (i == HS__NONE)
        return HS__NONE;
    unlink_idle(r, i);
    if (r->stagings[i].slot != HS__NONE)
        r->slots[r->stagings[i].slot].staging = HS__NONE;
    r->stagings[i].slot = HS__NONE;
    return i;
}

void hs__staging_give(hs_residency *r, uint32_t i)
{
    if (!r->stagings[i].is_idle)
        link_idle(r, i);
}

void hs__staging_keep(hs_residency *r, uint32_t i)
{
    if (r->stagings[i].is_idle)
        unlink_idle(r, i);
}

void hs__staging_hold(hs_residency *r, uint32_t i, uint32_t slot)
{
    r->stagings[i].slot = slot;
    r->slots[slot].staging = i;
}

void hs__staging_drop(hs_residency *r, uint32_t i)
{
    hs__staging_keep(r, i);
    r->slots[r->stagings[i].slot].staging = HS__NONE;
    r->stagings[i].slot = HS__NONE;
    link_idle(r, i);
}
