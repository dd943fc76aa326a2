/*
 * warm.c - what is known from earlier runs: the policy hears of it, and the experts that were used most are read into
 * EMPTY slots while nobody asks for anything. Such reads are speculative: whatever a token needs goes before them.
 */
#include "residency/residency_int.h"

void hs_residency_warm(hs_residency *r, const uint32_t *objects, const uint32_t *uses, uint32_t n, uint32_t tokens)
{
    for (uint32_t i = n; i-- > 0;) {
        uint32_t of = uses[i] < 1 ? 1 : uses[i] > tokens ? tokens : uses[i];
        r->policy->access(r->policy_state, objects[i], of, tokens, tokens);
    }
    r->tick = r->now = tokens;
}

static bool has_empty(const hs_residency *r)
{
    bool has = false;
    for (uint32_t k = 0; k < r->classes.n; k++)
        has |= r->slabs[k].empty != HS__NONE;
    return has;
}

bool hs_residency_preload(hs_residency *r, const uint32_t *objects, uint32_t n, uint32_t *at)
{
    const hs_objects *o = r->cfg.objects;
    hs__load_drain(r);
    while (hs__expand(r, HS__GUESSES))
        ;
    for (; *at < n && has_empty(r); ++*at) {
        uint32_t object = objects[*at];
        if (r->slot_of[object] != HS__NONE || hs__slab_for(r, object)->empty == HS__NONE)
            continue;
        if (!hs__load_possible(r, object, true) ||
            r->speculative_flying + hs_object_read_bytes(o, object) > r->sweep_budget)
            break;
        hs__load_start(r, hs__slot_for_guess(r, object), object, HS__RESIDENT, HS_IO_SPECULATIVE);
    }
    hs__load_submit(r);
    return r->active_first || (*at < n && has_empty(r));
}
