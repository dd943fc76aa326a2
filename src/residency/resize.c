/*
 * resize.c - fewer slots when memory is short, and more again: what the number of slots is to be, and giving memory
 * back.
 *
 * The wish may come from any thread; the engine thread follows while it waits for experts, so that a shrink is on its
 * way within one layer. From then on the slots of each slab behind its n_slots are leaving: nothing comes into them,
 * and from the arena's end on they move what is worth it into slots that stay. What is in use or being read waits for
 * the next turn. Memory goes back in one piece, or in big ones: from the last slot that still holds something to the
 * end.
 */
#include "base/mem.h"
#include "residency/residency_int.h"

#define MOVE_BYTES (128ull << 20) /* copied at a time: some 20 ms */
#define GIVE_BYTES (64ull << 20)  /* given back at a time, unless it is all there is */
#define HUGE_PAGE  (2ull << 20)

void hs_residency_resize(hs_residency *r, uint32_t n)
{
    uint32_t least = hs_classes_floor(&r->classes);
    if (!r->cfg.max_slots)
        return;
    n = n < least ? least : n > r->max_slots ? r->max_slots : n;
    atomic_store_explicit(&r->asked_slots, n, memory_order_relaxed);
}

uint32_t hs_residency_asked_slots(const hs_residency *r)
{
    return atomic_load_explicit(&r->asked_slots, memory_order_relaxed);
}

bool hs_residency_is_resizing(const hs_residency *r)
{
    return hs_residency_asked_slots(r) != atomic_load_explicit(&r->shown_slots, memory_order_relaxed) ||
           atomic_load_explicit(&r->gives_back, memory_order_relaxed);
}

/* Bytes of the slab that slots in use, and those that still hold something, take. */
static uint64_t end_of_use(const hs_residency *r, const hs__slab *b)
{
    uint32_t n = b->n_slots;
    for (uint32_t i = b->max_slots; b->n_leaving && n == b->n_slots && i-- > b->n_slots;)
        if (r->slots[b->first + i].state != HS__EMPTY)
            n = i + 1;
    return n * b->slot_bytes;
}

/* A huge page that is half in use stays whole; so does the one in which the next slab begins. */
static void give_back(hs_residency *r, hs__slab *b)
{
    bool all = b->n_leaving == 0, is_last = b->begin + b->max_slots * b->slot_bytes == r->arena_bytes;
    uint64_t end = hs_align_up(b->begin + end_of_use(r, b), HUGE_PAGE), memory_end = b->begin + b->memory_end;
    uint64_t given_end = is_last ? memory_end : memory_end / HUGE_PAGE * HUGE_PAGE;
    if (end >= memory_end || (!all && memory_end - end < GIVE_BYTES))
        return;
    if (end < given_end)
        hs_map_give_back(r->arena + end, given_end - end);
    b->memory_end = end - b->begin;
    b->touched = b->touched < b->memory_end ? b->touched : b->memory_end;
}

static void leave(hs_residency *r)
{
    uint64_t left = MOVE_BYTES;
    for (uint32_t k = 0; k < r->classes.n; k++) {
        hs__slab *b = &r->slabs[k];
        for (uint32_t i = b->max_slots; b->n_leaving && left && i-- > b->n_slots;) {
            uint64_t moves = atomic_load_explicit(&r->count.moves, memory_order_relaxed);
            if (r->slots[b->first + i].state != HS__EMPTY)
                hs__slot_leave(r, b->first + i);
            if (atomic_load_explicit(&r->count.moves, memory_order_relaxed) > moves)
                left -= left < b->slot_bytes ? left : b->slot_bytes;
        }
        give_back(r, b);
    }
    atomic_store_explicit(&r->gives_back, r->n_leaving > 0, memory_order_relaxed);
}

void hs__resize(hs_residency *r)
{
    uint32_t n = hs_residency_asked_slots(r);
    if (n != r->n_slots) {
        hs__count(n < r->n_slots ? &r->count.shrinks : &r->count.grows, 1);
        hs__slots_limit(r, n);
        for (uint32_t k = 0; k < r->classes.n; k++) {
            hs__slab *b = &r->slabs[k];
            uint64_t end = b->n_slots * b->slot_bytes;
            b->memory_end = b->memory_end > end ? b->memory_end : end;
        }
        atomic_store_explicit(&r->gives_back, true, memory_order_relaxed);
    }
    if (atomic_load_explicit(&r->gives_back, memory_order_relaxed))
        leave(r);
}

void hs_residency_settle(hs_residency *r)
{
    if (!hs_residency_is_resizing(r))
        return;
    hs__load_drain(r);
    hs__prefetch_drop_all(r);
    uint32_t before;
    do {
        before = r->n_leaving;
        hs__resize(r);
    } while (r->n_leaving && r->n_leaving < before);
}
