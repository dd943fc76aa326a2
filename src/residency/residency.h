/*
 * residency.h - which experts are in memory, and how the others get there.
 *
 * Owns the slot arena, the staging buffers and the slot state machine; asks a cache/ policy whom to evict; brings
 * objects in through store's hs_io; decodes frames on the pool while the engine thread waits. Implements base's
 * hs_experts for objects numbered moe_layer * n_experts + expert. Everything but the stats is called on the engine
 * thread.
 */
#ifndef HS_RESIDENCY_RESIDENCY_H
#define HS_RESIDENCY_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/experts.h"
#include "base/pool.h"
#include "cache/classes.h"
#include "store/io.h"
#include "store/objects.h"

typedef struct hs_residency hs_residency;

typedef struct hs_residency_config {
    const hs_objects *objects;
    hs_io *io;     /* NULL until hs_residency_attach_io: the arena must exist before its buffers are registered */
    hs_pool *pool; /* helps decoding while the engine thread waits */
    uint32_t n_layers, n_experts; /* n_layers * n_experts == hs_objects_count */
    uint32_t top_k;
    uint32_t n_slots;   /* of all sizes; >= hs_classes_floor */
    uint32_t max_slots; /* to which hs_residency_resize may raise it; 0 = its size is fixed */
    const char *policy; /* of those in cache/policy.c */
    bool by_layer;      /* each layer has its share of the slots */
    uint32_t n_staging; /* staging buffers; 0 if nothing is staged */
    /* Slots hold records as they are stored, and are as big; what is asked for is decoded into staging buffers, which
     * are as big as what they hold then. Only if hs_residency_can_be_warm. */
    bool warm_tier;
    uint32_t other_slots; /* that the same memory would give the other way, to measure it beside; 0 = it is not */
    bool prefetch;
    uint64_t prefetch_budget; /* speculative bytes outstanding at most; raised to one expert if less */
    /* Asked now and then while the engine thread waits for the drive; true: the wait fails with -ECANCELED. May be
     * NULL. A drive that delivers nothing at all for hs_io_patience_ns fails the wait with -ETIMEDOUT. */
    bool (*unwanted)(void *ctx);
    void *unwanted_ctx;
    /* Raw records of a packed model have checksums that reading does not need. Checked are the first read of each,
     * reads from mirrors, and later ones only while there is nothing else to do; true: all of them. */
    bool verify_always;
    uint64_t seed;
} hs_residency_config;

/* Whether some object is compressed. */
bool hs_residency_can_be_warm(const hs_objects *o);
/* The sizes of slots that the objects call for, and how many of each there are of so many in all. */
int hs_residency_classes(const hs_objects *o, uint32_t n_experts, uint32_t top_k, bool warm, hs_classes *ret,
                         hs_err *err) HS_MUST_CHECK;
/* Least number of staging buffers with which any layer can be served (the floor), and what each takes. In the warm tier
 * that is top_k: as many may be delivered and not yet released while more are waited for. */
uint32_t hs_residency_min_staging(const hs_objects *o, uint32_t top_k, bool warm);
uint64_t hs_residency_staging_bytes(const hs_objects *o, bool warm);
/* Memory besides slots and staging: tables, policy state, decoders. */
uint64_t hs_residency_overhead_bytes(const hs_objects *o, uint32_t n_experts, uint32_t n_slots, uint32_t n_staging,
                                     uint32_t n_threads);

int hs_residency_create(const hs_residency_config *cfg, hs_residency **ret, hs_err *err) HS_MUST_CHECK;
void hs_residency_attach_io(hs_residency *r, hs_io *io);
/* Cancels and waits for its own requests; the hs_io must still exist, stopped or not. */
void hs_residency_destroy(hs_residency **r);
/* The vtable for the model; valid while the residency lives. */
hs_experts hs_residency_experts(hs_residency *r);
/* Memory that reads land in, for hs_io_config.buffers: staging if reads go there, then the arena unless its size may
 * change; at most max entries, the number is returned. Mapped until destroy; no read of the residency is under way
 * after that. */
uint32_t hs_residency_buffers(const hs_residency *r, struct iovec *iov, uint32_t max);

/* How many slots there are, and how many are READY now. Any thread. */
uint32_t hs_residency_slots(const hs_residency *r);
uint32_t hs_residency_resident(const hs_residency *r);

/* From now on there shall be n slots, within hs_classes_floor and max_slots; no effect if the size is fixed. Any
 * thread. The engine thread follows while it waits for experts, or in hs_residency_settle. What is given up is worth
 * least; the memory goes back to the system. */
void hs_residency_resize(hs_residency *r, uint32_t n);
uint32_t hs_residency_asked_slots(const hs_residency *r); /* how many there are to be; any thread */
/* Is there something for hs_residency_settle to do? Any thread. */
bool hs_residency_is_resizing(const hs_residency *r);
/* Engine thread, between passes: follows at once, as far as reads that are still out let it. */
void hs_residency_settle(hs_residency *r);

/* What is known from earlier: objects[n], most used first, with uses[n] of so many tokens. To the policy it is as if
 * these had just passed. Engine thread, between passes, or before there are any. */
void hs_residency_warm(hs_residency *r, const uint32_t *objects, const uint32_t *uses, uint32_t n, uint32_t tokens);
/* Engine thread, between passes: starts to read objects[*at..n) into EMPTY slots, as far as reads ahead may go, and
 * takes in what has been read; moves *at on. replace: also in the place of what the policy thinks less of. False:
 * nothing is left, or no slot. */
bool hs_residency_preload(hs_residency *r, const uint32_t *objects, uint32_t n, bool replace, uint32_t *at);
/* Engine thread, between passes: reading ahead from now on, or not; what was learnt of it stays. For one that was
 * created to read ahead. */
void hs_residency_set_prefetch(hs_residency *r, bool on);

typedef struct hs_residency_stats {
    /* Per expert use. A hit had all its bytes in memory when its layer began; one whose read was under way then is a
     * miss, and late. */
    uint64_t hits, misses, late;
    uint64_t evictions, bypasses; /* bypasses: misses that were used without being admitted */
    uint64_t bytes_read, demand_bytes, speculative_bytes;
    /* Experts read ahead: used and there in time, used but late, not used; dropped: before a byte was read. */
    uint64_t prefetch_issued, prefetch_useful, prefetch_late, prefetch_wasted, prefetch_dropped;
    uint64_t miss_predicted; /* useful + late: over (misses + useful) it is the recall of misses */
    uint64_t wait_ns;        /* engine thread stood in wait without anything to decode */
    uint64_t decode_ns;      /* engine thread spent decoding frames */
    uint64_t unpacked;       /* experts of a compressed model that were read raw, because that is faster here */
    uint64_t warm_hits;      /* experts that were decoded from memory: the warm tier's */
    uint64_t errors;         /* reads that failed or brought damaged frames, first tries included */
    uint64_t damaged;        /* of these, the ones with damaged frames */
    uint64_t shrinks, grows; /* changes of the number of slots */
    uint64_t moves;          /* experts copied into a slot that stays */
} hs_residency_stats;
hs_residency_stats hs_residency_get_stats(const hs_residency *r);

/* Whether the warm tier pays, as measured while single tokens are decoded. */
typedef struct hs_residency_tier {
    double gain;             /* tokens/s with it by those without, of which one is estimated */
    double token_s;          /* a token as it is, and by a line: */
    double none_s, absent_s; /* one that lacks no expert, and what each that it lacks takes */
    double other_absent;     /* what one would lack on average the other way, with cfg.other_slots */
} hs_residency_tier;
/* False: not known (yet). Any thread. */
bool hs_residency_get_tier(const hs_residency *r, hs_residency_tier *ret);

/* One layer: what of it is in memory, and reading ahead for it. */
typedef struct hs_residency_layer {
    uint64_t resident; /* READY now */
    uint64_t absent;   /* uses of experts that were not there, or would not have been: misses + useful */
    uint64_t issued, useful, late, wasted;
    uint64_t stall_ns; /* the engine thread stood still in this layer, or decoded */
} hs_residency_layer;
/* layer < n_layers. Any thread. */
void hs_residency_get_layer(const hs_residency *r, uint32_t layer, hs_residency_layer *ret);

/* NULL, or a sentence about the first invariant that does not hold. Engine thread; O(objects + slots). */
const char *hs_residency_check(const hs_residency *r);

#endif
