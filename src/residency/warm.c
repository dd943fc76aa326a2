/*
 * warm.c - what is known from earlier: the policy hears of it, and the experts that were used most are read while
 * nobody asks for anything, into EMPTY slots, or in the place of what is clearly worth less. Such reads are
 * speculative: whatever a token needs goes before them.
 */
#include "residency/residency_int.h"

void hs_residency_warm(hs_residency *r, const uint32_t *objects, const uint32_t *uses, uint32_t n, uint32_t tokens)
{
    r->tick += tokens;
    r->now = r->tick;
    for (uint32_t i = n; i-- > 0;) {
        uint32_t of = uses[i] < 1 ? 1 : uses[i] > tokens ? tokens : uses[i];
        r->policy->access(r->policy_state, objects[i], of, tokens, r->tick);
    }
}

static bool has_empty(const hs_residency *r)
{
    bool has = false;
    for (uint32_t k = 0; k < r->classes.n; k++)
        has |= r->slabs[k].empty != HS__NONE;
    return has;
}

bool hs_residency_preload(hs_residency *r, const uint32_t *objects, uint32_t n, bool replace, uint32_t *at)
{
    const hs_objects *o = r->cfg.objects;
    hs__load_drain(r);
    while (hs__expand(r, HS__GUESSES))
        ;
    for (; *at < n && (replace || has_empty(r)); ++*at) {
        uint32_t object = objects[*at];
        bool is_free = hs__slab_for(r, object)->empty != HS__NONE;
        if (r->slot_of[object] != HS__NONE || !(is_free || (replace && hs__slot_would_admit(r, object))))
            continue;
        if (!hs__load_possible(r, object, true) ||
            r->speculative_flying + hs_object_read_bytes(o, object) > r->sweep_budget)
            break;
        hs__kind kind;
        uint32_t slot = hs__slot_for_demand(r, object, false, &kind);
        if (slot != HS__NONE)
            hs__load_start(r, slot, object, HS__RESIDENT, HS_IO_SPECULATIVE);
    }
    hs__load_submit(r);
    return r->active_first || (*at < n && (replace || has_empty(r)));
}
