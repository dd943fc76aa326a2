/*
 * belady.c - the object whose next use is farthest away leaves first: the bound that no online policy passes.
 *
 * It is given all uses in advance (hs_policy_shape.future) and told of each exactly once, in any order within one use
 * of a layer: every object has a cursor of its own in the chain of its uses. It always admits.
 */
#include "cache/heap.h"

#include <string.h>

#define NEVER UINT32_MAX

typedef struct belady {
    hs__layer_classes classes;
    hs__heap heap[HS_CLASSES_MAX];
    uint32_t *next; /* [n_future] place of the same object's next use */
    uint32_t *at;   /* [n_objects] place of the use that comes next */
} belady;

static size_t belady_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(belady)) + hs__heap_bytes(s->n_objects) + hs__pad(s->n_future * sizeof(uint32_t)) +
           hs__pad(s->n_objects * sizeof(uint32_t));
}

static void belady_init(void *state, const hs_policy_shape *s)
{
    belady *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    p->classes = hs__layer_classes_of(s);
    hs__heaps_init(p->heap, at, s);
    at += hs__heap_bytes(s->n_objects);
    p->next = (uint32_t *)at;
    p->at = (uint32_t *)(at + hs__pad(s->n_future * sizeof(uint32_t)));
    memset(p->at, 0xff, s->n_objects * sizeof(uint32_t));
    for (uint64_t i = s->n_future; i-- > 0;) {
        p->next[i] = p->at[s->future[i]];
        p->at[s->future[i]] = (uint32_t)i;
    }
}

static uint64_t belady_key(const belady *p, uint32_t object)
{
    return ~(uint64_t)p->at[object];
}

static hs__heap *heap_of(belady *p, uint32_t object)
{
    return &p->heap[hs__class_in(&p->classes, object)];
}

static void belady_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    belady *p = state;
    (void)uses, (void)span, (void)now;
    if (p->at[object] != NEVER)
        p->at[object] = p->next[p->at[object]];
    if (hs__heap_has(&p->heap[0], object))
        hs__heap_update(heap_of(p, object), object, belady_key(p, object));
}

static void belady_insert(void *state, uint32_t object, uint64_t now)
{
    belady *p = state;
    (void)now;
    hs__heap_push(heap_of(p, object), object, belady_key(p, object));
}

static void belady_evict(void *state, uint32_t object)
{
    hs__heap_remove(heap_of(state, object), object);
}

static uint32_t belady_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    belady *p = state;
    (void)now;
    return hs__heap_least(&p->heap[class], NULL, NULL, keep, ctx);
}

static bool belady_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    (void)state, (void)object, (void)victim, (void)sweep, (void)now;
    return true;
}

static double belady_score(const void *state, uint32_t object, uint64_t now)
{
    (void)now;
    return -(double)((const belady *)state)->at[object];
}

const hs_policy hs_policy_belady = {
    .name = "belady",
    .bytes = belady_bytes,
    .init = belady_init,
    .access = belady_access,
    .insert = belady_insert,
    .evict = belady_evict,
    .victim = belady_victim,
    .admit = belady_admit,
    .score = belady_score,
};
