/*
 * lru.c - least recently used leaves first.
 *
 * A doubly linked list of the resident objects, most recent at the head: O(1) per use; a victim is the first from the
 * tail that may go. It admits everything, except what a prefill sweep brings: that would flush the list.
 */
#include "cache/heap.h"

#include <string.h>

typedef struct lru {
    uint32_t n_objects; /* also the number of the list's anchor */
    uint64_t clock;
    uint32_t *next, *prev; /* [n_objects + 1]; next == HS_POLICY_NONE: not resident */
    uint64_t *used;        /* [n_objects] clock of the last use, for reports */
} lru;

static size_t lru_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(lru)) + 2 * hs__pad((s->n_objects + 1) * sizeof(uint32_t)) +
           hs__pad(s->n_objects * sizeof(uint64_t));
}

static void lru_init(void *state, const hs_policy_shape *s)
{
    lru *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    size_t links = (s->n_objects + 1) * sizeof(uint32_t);
    *p = (lru){.n_objects = s->n_objects, .next = (uint32_t *)at};
    p->prev = (uint32_t *)(at + hs__pad(links));
    p->used = (uint64_t *)(at + 2 * hs__pad(links));
    memset(p->next, 0xff, links);
    memset(p->prev, 0xff, links);
    memset(p->used, 0, s->n_objects * sizeof *p->used);
    p->next[s->n_objects] = p->prev[s->n_objects] = s->n_objects;
}

static void unlink_object(lru *p, uint32_t object)
{
    p->next[p->prev[object]] = p->next[object];
    p->prev[p->next[object]] = p->prev[object];
    p->next[object] = HS_POLICY_NONE;
}

static void link_first(lru *p, uint32_t object)
{
    uint32_t anchor = p->n_objects, first = p->next[anchor];
    p->next[object] = first;
    p->prev[object] = anchor;
    p->prev[first] = object;
    p->next[anchor] = object;
}

static void lru_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    lru *p = state;
    (void)uses, (void)span, (void)now;
    p->used[object] = ++p->clock;
    if (p->next[object] == HS_POLICY_NONE)
        return;
    unlink_object(p, object);
    link_first(p, object);
}

static void lru_insert(void *state, uint32_t object, uint64_t now)
{
    (void)now;
    link_first(state, object);
}

static void lru_evict(void *state, uint32_t object)
{
    unlink_object(state, object);
}

static uint32_t lru_victim(void *state, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    lru *p = state;
    (void)now;
    for (uint32_t o = p->prev[p->n_objects]; o != p->n_objects; o = p->prev[o])
        if (!keep || !keep(ctx, o))
            return o;
    return HS_POLICY_NONE;
}

static bool lru_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    (void)state, (void)object, (void)victim, (void)now;
    return !sweep;
}

static double lru_score(const void *state, uint32_t object, uint64_t now)
{
    (void)now;
    return (double)((const lru *)state)->used[object];
}

const hs_policy hs_policy_lru = {
    .name = "lru",
    .bytes = lru_bytes,
    .init = lru_init,
    .access = lru_access,
    .insert = lru_insert,
    .evict = lru_evict,
    .victim = lru_victim,
    .admit = lru_admit,
    .score = lru_score,
};
