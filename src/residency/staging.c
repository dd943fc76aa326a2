/*
 * staging.c - the buffers besides the slots: which are free.
 *
 * A buffer belongs to the load that has taken it; in the warm tier, once it holds the whole object decoded, to the
 * object's slot, until the object is released. Nothing is kept in it for a later use: uses go round the layers, so that
 * what is asked for next has been gone for longest. So what is decoded does not depend on which read ended first.
 */
#include "residency/residency_int.h"

void hs__stagings_init(hs_residency *r)
{
    r->free_staging = HS__NONE;
    for (uint32_t i = r->n_staging; i-- > 0;)
        hs__staging_give(r, i);
}

uint32_t hs__staging_take(hs_residency *r)
{
    uint32_t i = r->free_staging;
    if (i == HS__NONE)
        return HS__NONE;
    r->free_staging = r->next_staging[i];
    r->n_staging_free--;
    return i;
}

void hs__staging_give(hs_residency *r, uint32_t i)
{
    r->next_staging[i] = r->free_staging;
    r->free_staging = i;
    r->n_staging_free++;
}
