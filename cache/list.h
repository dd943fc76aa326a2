/*
 * list.h - doubly linked lists over object numbers, inside cache/: an object is in one list at most.
 *
 * The links of all lists share two arrays; list i has its anchor at place n_objects + i.
 */
#ifndef HS_CACHE_LIST_H
#define HS_CACHE_LIST_H

#include <string.h>

#include "cache/heap.h"

typedef struct hs__lists {
    uint32_t *next, *prev; /* [n_objects + n_lists]; next == HS_POLICY_NONE: in no list */
} hs__lists;

static inline size_t hs__lists_bytes(uint32_t n_objects, uint32_t n_lists)
{
    return 2 * hs__pad((n_objects + n_lists) * sizeof(uint32_t));
}

static inline void hs__lists_init(hs__lists *l, void *mem, uint32_t n_objects, uint32_t n_lists)
{
    size_t links = (n_objects + n_lists) * sizeof(uint32_t);
    l->next = mem;
    l->prev = (uint32_t *)((uint8_t *)mem + hs__pad(links));
    memset(l->next, 0xff, links);
    for (uint32_t a = n_objects; a < n_objects + n_lists; a++)
        l->next[a] = l->prev[a] = a;
}

static inline bool hs__list_has(const hs__lists *l, uint32_t object)
{
    return l->next[object] != HS_POLICY_NONE;
}

static inline void hs__list_remove(hs__lists *l, uint32_t object)
{
    l->next[l->prev[object]] = l->next[object];
    l->prev[l->next[object]] = l->prev[object];
    l->next[object] = HS_POLICY_NONE;
}

static inline void hs__list_push(hs__lists *l, uint32_t anchor, uint32_t object)
{
    uint32_t first = l->next[anchor];
    l->next[object] = first;
    l->prev[object] = anchor;
    l->prev[first] = object;
    l->next[anchor] = object;
}

/* The last one that may go; HS_POLICY_NONE if there is none. */
static inline uint32_t hs__list_last(const hs__lists *l, uint32_t anchor, hs_policy_keep_fn keep, void *ctx)
{
    for (uint32_t o = l->prev[anchor]; o != anchor; o = l->prev[o])
        if (!keep || !keep(ctx, o))
            return o;
    return HS_POLICY_NONE;
}

#endif
