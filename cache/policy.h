/*
 * policy.h - which objects deserve memory: the residency policies, one vtable, equals behind it.
 *
 * A policy is told of every use, insertion and eviction; it names the object that should leave next and says whether a
 * newcomer is worth more than that one. It never reads, waits, allocates or looks at a clock: memory, time and seed are
 * arguments, so that the daemon and the replay of a trace run the very same code.
 *
 * Time is counted in tokens. One thread at a time.
 */
#ifndef HS_CACHE_POLICY_H
#define HS_CACHE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/classes.h"

#define HS_POLICY_NONE  UINT32_MAX /* no object */
#define HS_POLICY_ALIGN 16         /* alignment of a policy's memory */

typedef struct hs_policy_shape {
    uint32_t n_objects; /* objects are 0..n_objects-1; < 2^31 */
    uint32_t n_slots;   /* about so many are resident at once: policies size their queues by what is resident. >= 1 */
    uint32_t layer_objects;     /* objects of one layer, neighbours in number; 0 = all are one layer */
    uint32_t n_classes;         /* of sizes; 0 or 1 = all objects are of one size */
    const uint8_t *layer_class; /* [layers] class of each layer, < n_classes <= HS_CLASSES_MAX; borrowed while the
                                 * state lives. NULL: all 0 */
    uint64_t seed;              /* for policies that draw lots; none of the shipped ones does */
    /* All uses to come, for belady; borrowed. n_future < 2^32 - 1. Others ignore it. */
    const uint32_t *future;
    uint64_t n_future;
    const struct hs_policy *inner; /* for layered: the policy of each layer; borrowed. Others ignore it. */
} hs_policy_shape;

/* True for an object that must stay (in use, or expected to be used at once). Must not call back into the policy. */
typedef bool (*hs_policy_keep_fn)(void *ctx, uint32_t object);

typedef struct hs_policy {
    const char *name;
    /* Memory for this shape. */
    size_t (*bytes)(const hs_policy_shape *shape);
    /* state: `bytes` of memory, HS_POLICY_ALIGN-aligned, any content. Nothing is resident. */
    void (*init)(void *state, const hs_policy_shape *shape);
    /* The object, resident or not, was used by `uses` of the `span` tokens that end at now. 1 <= uses <= span. */
    void (*access)(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now);
    /* It has become resident (it was not), or it is resident no longer. */
    void (*insert)(void *state, uint32_t object, uint64_t now);
    void (*evict)(void *state, uint32_t object);
    /* The resident object of that class that should leave first, of those for which keep (may be NULL) is false;
     * HS_POLICY_NONE if there is none. It stays resident until evict. */
    uint32_t (*victim)(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx);
    /* Whether `object`, just used and not resident, is worth victim's place. sweep: the use is part of a prefill
     * sweep, which touches everything once. */
    bool (*admit)(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now);
    /* Its worth, for reports: bigger stays longer, comparable within one policy and one now. */
    double (*score)(const void *state, uint32_t object, uint64_t now);
    /* Another conversation begins: what was used just now says less about what comes. O(n_objects). NULL: no matter. */
    void (*session)(void *state, uint64_t now);
} hs_policy;

extern const hs_policy hs_policy_ewma, hs_policy_lru, hs_policy_lfu, hs_policy_s3fifo, hs_policy_arc, hs_policy_belady;
/* Each layer its share of the slots, under a policy of its own (shape.inner, of those that a daemon can run). */
extern const hs_policy hs_policy_layered;

/* By name; NULL if there is none. belady knows the future and is for replays only. */
const hs_policy *hs_policy_find(const char *name);
/* The i-th policy that a daemon can run, default first; NULL behind the last. */
const hs_policy *hs_policy_at(unsigned i);
/* The most memory that any of them takes for this shape, alone or by layers. */
size_t hs_policy_most_bytes(const hs_policy_shape *shape);

#endif
