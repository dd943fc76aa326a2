/*
 * heap.h - the resident objects of a policy, least key first; inside cache/.
 *
 * Keys may be stale on the low side: an object whose key has grown since need not be told to the heap, it is brought up
 * to date when it comes to the top. That makes a hit O(1) and a victim O(log n) amortised. A key that shrinks must be
 * announced with hs__heap_update.
 */
#ifndef HS_CACHE_HEAP_H
#define HS_CACHE_HEAP_H

#include "cache/policy.h"

typedef struct hs__heap {
    uint32_t n;
    uint64_t *key;    /* [n_objects] */
    uint32_t *object; /* [n_objects] */
    uint32_t *place;  /* [n_objects], HS_POLICY_NONE = not in the heap */
} hs__heap;

/* The object's key as it is now. */
typedef uint64_t (*hs__key_fn)(const void *state, uint32_t object);

/* Memory for the three arrays, a multiple of HS_POLICY_ALIGN. */
size_t hs__heap_bytes(uint32_t n_objects);
void hs__heap_init(hs__heap *h, void *mem, uint32_t n_objects);
/* The part of a whole, empty heap's room from place `first` on: several parts may be used side by side, each of its
 * own objects. */
hs__heap hs__heap_part(const hs__heap *whole, uint32_t first);
static inline bool hs__heap_has(const hs__heap *h, uint32_t object)
{
    return h->place[object] != HS_POLICY_NONE;
}
void hs__heap_push(hs__heap *h, uint32_t object, uint64_t key);
void hs__heap_remove(hs__heap *h, uint32_t object);
void hs__heap_update(hs__heap *h, uint32_t object, uint64_t key);
/* One heap for each class of the shape, in the room of a whole one: mem as for init, ret[HS_CLASSES_MAX]. */
void hs__heaps_init(hs__heap *ret, void *mem, const hs_policy_shape *shape);
/* All keys anew: O(n). */
void hs__heap_rebuild(hs__heap *h, hs__key_fn key, const void *state);
/* The object of least key for which keep is false; those passed over stay in the heap. key may be NULL: none is stale.
 */
uint32_t hs__heap_least(hs__heap *h, hs__key_fn key, const void *state, hs_policy_keep_fn keep, void *ctx);

/* Which class an object belongs to. */
typedef struct hs__layer_classes {
    uint32_t n, layer_objects;
    const uint8_t *of_layer; /* NULL: one */
} hs__layer_classes;

static inline uint32_t hs__n_classes(const hs_policy_shape *s)
{
    return s->n_classes ? s->n_classes : 1;
}

static inline hs__layer_classes hs__layer_classes_of(const hs_policy_shape *s)
{
    uint32_t n = hs__n_classes(s);
    return (hs__layer_classes){.n = n,
                               .layer_objects = s->layer_objects ? s->layer_objects : s->n_objects,
                               .of_layer = n > 1 ? s->layer_class : NULL};
}

static inline uint32_t hs__class_in(const hs__layer_classes *c, uint32_t object)
{
    return c->of_layer ? c->of_layer[object / c->layer_objects] : 0;
}

/* Rounds a size up, for laying arrays out one behind the other. */
static inline size_t hs__pad(size_t n)
{
    return (n + HS_POLICY_ALIGN - 1) & ~(size_t)(HS_POLICY_ALIGN - 1);
}

#endif
