/*
 * replay.h - a recorded sequence of expert uses, run through a policy: what would it have hit?
 */
#ifndef HS_CACHE_REPLAY_H
#define HS_CACHE_REPLAY_H

#include "cache/policy.h"

/* Uses in the order in which they happened. Neighbours of the same token and layer (object / layer_objects) are one
 * set: they are asked for together. */
typedef struct hs_replay_trace {
    const uint32_t *object; /* [n], each < n_objects */
    const uint32_t *token;  /* [n], rising */
    uint64_t n;             /* < 2^32 - 1 */
    uint32_t n_objects, layer_objects;
    uint32_t first_counted;      /* uses by earlier tokens warm the cache and are not counted */
    const uint64_t *layer_bytes; /* [n_objects / layer_objects] size of an object of that layer; NULL = not told.
                                  * Where sizes differ the slots are divided, as in the daemon (classes.h) */
    uint32_t layer_least;        /* slots that a layer needs for that: its top-k */
    const uint16_t *turn;        /* [n] conversation: where it begins, so does a session; NULL = not told */
    bool by_layer;               /* each layer has its share of the slots (hs_policy_layered); not for belady */
    /* For the time it takes, see layer_time.h: layer_s is what comes before a layer's experts are known, and its share
     * of what comes once per token; an expert that lacks is read latency_s, for the first of a layer, and its bytes at
     * bytes_per_s, 0: no time; then it is decoded. warm: so is, for each use, what is in memory. overlapped: the bound
     * for reading ahead. */
    double layer_s, expert_s, expand_s, latency_s, bytes_per_s;
    bool warm, overlapped;
    uint32_t *token_misses; /* [last token + 1] written to: the misses of each token are added; NULL = not asked for */
} hs_replay_trace;

typedef struct hs_replay_result {
    uint64_t accesses, hits, bypasses; /* counted uses; of these hits; of the misses those not admitted */
    uint64_t warm_hits;                /* warm: hits that were decoded */
    uint64_t bytes_read;               /* of the misses; 0 without layer_bytes */
    double seconds;                    /* of the counted tokens */
} hs_replay_result;

/* Memory that hs_replay needs. */
size_t hs_replay_bytes(const hs_policy *policy, const hs_replay_trace *trace, uint32_t n_slots);
/* in_sets: as in the daemon: a set is looked up before any of it is brought in, none of it is evicted for another, and
 * what is not admitted takes a slot while it is used. Else each use by itself, in the trace's order, as in the
 * literature. mem: hs_replay_bytes, HS_POLICY_ALIGN-aligned. */
hs_replay_result hs_replay(const hs_policy *policy, const hs_replay_trace *trace, uint32_t n_slots, bool in_sets,
                           void *mem);

#endif
