/*
 * lfu.c - least frequently used leaves first; ties by recency.
 *
 * Uses are counted for all objects, resident or not, and halved after every AGING_ROUNDS * n_objects uses, so that
 * what was popular long ago does not stay for ever. Residents are in lazy heaps, one for each class,
 * of (count, last use). It admits every
 * demand miss, and of a prefill sweep what has been used more often than its victim.
 */
#include "cache/heap.h"

#include <string.h>

#define AGING_ROUNDS 10

typedef struct lfu {
    uint32_t n_objects;
    uint32_t clock; /* counts accesses; only ties depend on it, so that it may wrap */
    uint64_t since_aging;
    hs__layer_classes classes;
    hs__heap heap[HS_CLASSES_MAX];
    uint32_t *count, *used; /* [n_objects] */
} lfu;

static size_t lfu_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(lfu)) + hs__heap_bytes(s->n_objects) + 2 * hs__pad(s->n_objects * sizeof(uint32_t));
}

static void lfu_init(void *state, const hs_policy_shape *s)
{
    lfu *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    size_t column = s->n_objects * sizeof(uint32_t);
    *p = (lfu){.n_objects = s->n_objects, .classes = hs__layer_classes_of(s)};
    hs__heaps_init(p->heap, at, s);
    at += hs__heap_bytes(s->n_objects);
    p->count = (uint32_t *)at;
    p->used = (uint32_t *)(at + hs__pad(column));
    memset(p->count, 0, column);
    memset(p->used, 0, column);
}

static uint64_t lfu_key(const void *state, uint32_t object)
{
    const lfu *p = state;
    return (uint64_t)p->count[object] << 32 | p->used[object];
}

static void age(lfu *p)
{
    p->since_aging = 0;
    for (uint32_t i = 0; i < p->n_objects; i++)
        p->count[i] /= 2;
    for (uint32_t c = 0; c < p->classes.n; c++)
        hs__heap_rebuild(&p->heap[c], lfu_key, p);
}

static void lfu_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    lfu *p = state;
    (void)span, (void)now;
    p->used[object] = ++p->clock;
    p->count[object] = uses > UINT32_MAX - p->count[object] ? UINT32_MAX : p->count[object] + uses;
    p->since_aging += uses;
    if (p->since_aging >= (uint64_t)AGING_ROUNDS * p->n_objects)
        age(p);
}

static void lfu_insert(void *state, uint32_t object, uint64_t now)
{
    lfu *p = state;
    (void)now;
    hs__heap_push(&p->heap[hs__class_in(&p->classes, object)], object, lfu_key(p, object));
}

static void lfu_evict(void *state, uint32_t object)
{
    lfu *p = state;
    hs__heap_remove(&p->heap[hs__class_in(&p->classes, object)], object);
}

static uint32_t lfu_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    lfu *p = state;
    (void)now;
    return hs__heap_least(&p->heap[class], lfu_key, p, keep, ctx);
}

static bool lfu_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    const lfu *p = state;
    (void)now;
    return !sweep || p->count[object] > p->count[victim];
}

static double lfu_score(const void *state, uint32_t object, uint64_t now)
{
    (void)now;
    return ((const lfu *)state)->count[object];
}

const hs_policy hs_policy_lfu = {
    .name = "lfu",
    .bytes = lfu_bytes,
    .init = lfu_init,
    .access = lfu_access,
    .insert = lfu_insert,
    .evict = lfu_evict,
    .victim = lfu_victim,
    .admit = lfu_admit,
    .score = lfu_score,
};
