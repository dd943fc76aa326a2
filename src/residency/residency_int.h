/*
 * residency_int.h - the inside of the residency: slots, loads, the layer under way, guesses.
 *
 * Everything belongs to the engine thread, except the `arrived_` part of a load and the list of ended reads, which are
 * shared with the I/O thread under `lock`, and the counters, which have one writer and any number of readers.
 */
#ifndef HS_RESIDENCY_RESIDENCY_INT_H
#define HS_RESIDENCY_RESIDENCY_INT_H

#include <pthread.h>

#include "base/lock.h"
#include <stdatomic.h>

#include "cache/policy.h"
#include "residency/residency.h"

#define HS__NONE      UINT32_MAX
#define HS__MAX_LOADS 128u /* loads under way at most */
#define HS__MAX_GAPS  64u  /* separate pieces of a record that arrived ahead of their turn */
#define HS__MAX_TASKS 64u  /* frames decoded in one go */
#define HS__CLASSES   12u  /* of guesses, by margin */

typedef enum hs__state { HS__EMPTY, HS__READING, HS__DECODING, HS__READY } hs__state;

/* Why a slot that is not EMPTY holds what it holds. */
typedef enum hs__kind {
    HS__RESIDENT, /* admitted: the policy knows it */
    HS__LOOSE,    /* used without being admitted: the first to go */
    HS__GUESS     /* read ahead, not used yet */
} hs__kind;

typedef struct hs__slot {
    uint32_t object;  /* HS__NONE when EMPTY */
    uint32_t want;    /* place in the layer under way, from begin to release; HS__NONE = not asked for */
    uint32_t load;    /* READING, DECODING */
    uint32_t guess;   /* protected while equal to hs_residency.guess_no */
    uint32_t staging; /* warm tier: the buffer that has it decoded, from READY to release; HS__NONE = there is none */
    uint32_t next, prev; /* in the list of EMPTY or of loose slots */
    uint8_t state, kind, pins, slab;
    bool raw;     /* it holds, or gets, the object as it was before packing (HS_OBJECT_RAW) */
    float chance; /* GUESS: that it comes true */
} hs__slot;

/* The slots for layers whose experts are of about one size. They lie side by side, in number and in the arena. */
typedef struct hs__slab {
    uint64_t slot_bytes;
    uint64_t begin;                   /* of its memory in the arena */
    uint32_t first;                   /* of its slots */
    uint32_t n_slots, max_slots;      /* in use; in the arena. Slots from n_slots on are EMPTY or leaving */
    uint32_t n_held, n_leaving;       /* slots that hold something; of these from n_slots on */
    uint32_t empty;                   /* first of the list */
    uint32_t loose_first, loose_last; /* READY, loose, not asked for: oldest first */
    uint32_t n_loose;                 /* loose slots in any state */
    uint32_t n_guessed, max_guessed;  /* slots of kind GUESS */
    uint32_t sweep_window;            /* loose slots that a sweep may take from the residents */
    uint64_t touched;                 /* bytes of its memory, from its start, that have their memory */
    uint64_t memory_end;              /* bytes of its memory behind which nothing is touched */
} hs__slab;

/* A read under way, and the decoding of what it brings; in the warm tier also the decoding of what a slot holds. */
typedef struct hs__load {
    hs_io_req req; /* the I/O thread's from submit to on_done */
    struct hs_residency *r;
    struct hs__load *next, *prev; /* among the unused, or the active in order of their start */
    uint32_t slot, object;
    uint32_t from;     /* object, with HS_OBJECT_RAW if that way is taken */
    uint32_t staging;  /* number of the staging buffer, HS__NONE = there is none (yet, in the warm tier) */
    uint32_t attempts; /* that failed */
    bool is_other_way; /* after those of the one before */
    bool speculative;  /* submitted as such and not promoted since */
    bool cancelled;
    bool dropped; /* a guess that was dismissed while it was read */
    bool stalled; /* a wait for it has given up */
    bool over;    /* on_done has been seen */
    bool damaged; /* a frame did not decode */
    int result;   /* of on_done */
    hs_frame_iter it;
    hs_frame frame; /* the next to decode, if has_frame */
    bool has_frame;
    uint32_t frames_left; /* not decoded yet */
    bool in_frames;       /* constant while the request is out: progress is worth waking for */
    uint64_t whole_bytes; /* the same: of all its ranges */
    bool is_known;        /* the frames are checksums alone, and were right before */
    bool is_sample;       /* such a one that is checked again if there is time */
    uint64_t usable;      /* bytes from the record's start that may be decoded */
    hs_err damage;        /* if damaged */
    /* Under the lock. */
    uint64_t arrived_contiguous, arrived_bytes;
    struct {
        uint64_t off, end;
    } arrived_gaps[HS__MAX_GAPS];
    uint32_t n_gaps;
    int done_result;
    struct hs__load *next_done;
} hs__load;

typedef enum hs__want_state {
    HS__WANT_PENDING, /* no slot yet */
    HS__WANT_LOADING,
    HS__WANT_READY,
    HS__WANT_DELIVERED,
    HS__WANT_RELEASED,
    HS__WANT_FAILED
} hs__want_state;

typedef struct hs__want {
    uint32_t object, slot;
    uint8_t state;
    bool is_hit;
} hs__want;

typedef struct hs__queue { /* of places in wants; each enters once per layer */
    uint32_t *item, head, tail;
} hs__queue;

/* What a guess was made of: some of the layer before, or all of it. */
typedef enum hs__basis { HS__OF_PART, HS__OF_WHOLE, HS__BASES } hs__basis;

/* What is left to compute when a hint comes: misses of the layer before, only hits, nothing but attention. */
enum { HS__AMID_MISSES, HS__AMID_HITS, HS__AFTER_LAYER, HS__WINDOWS };

/* An absent expert that the model has named. */
typedef struct hs__named {
    uint32_t object;
    float chance;
    uint8_t class;
} hs__named;

typedef struct hs__outcomes {
    float n, came_true;
} hs__outcomes;

#define HS__AHEAD_COUNTERS(X)                                                                                          \
    X(resident)                                                                                                        \
    X(absent)                                                                                                          \
    X(issued)                                                                                                          \
    X(useful)                                                                                                          \
    X(late)                                                                                                            \
    X(wasted)                                                                                                          \
    X(stall_ns)

/* How much longer it took one way than the other: sums over blocks of d, as a share of the time, and of e, by how many
 * more experts were not there. */
typedef struct hs__took {
    float n, d, e, dd, de, ee;
} hs__took;

/* Steps of which a layer goes the other way in one. */
typedef struct hs__block {
    uint32_t period, at, turn;    /* how many steps; the present one; the one that goes the other way */
    float ns[2], absent[2], n[2]; /* sums of the usual and of the other way */
} hs__block;

/* What is known of a layer's guesses. */
typedef struct hs__ahead {
    hs__outcomes outcomes[HS__BASES][HS__CLASSES];
    float margin;               /* mean size of a margin */
    float window[HS__WINDOWS];  /* ns that the drive has nothing else to do, from hint to begin */
    float gain[HS__WINDOWS];    /* ns that a hint's guesses save */
    uint8_t hints[HS__WINDOWS]; /* so far; saturates */
    float hint_ns;              /* that a hint takes to make */
    float waits;                /* share of the layer's beginnings with a read that a wrong guess would delay */
    float stood;                /* ns that the layer stands still without a hint */
    float missed;               /* absent experts then */
    uint8_t unaided;            /* such steps so far; saturates */
    uint64_t hint_step;         /* the last step with a hint */
    bool pays;
    hs__took took;
    hs__block block;
    uint32_t blocks;                         /* since the last judgement */
    float lately_ns;                         /* that the layer takes */
    uint64_t from_ns, from_step, from_stood; /* where its time begins: the first that was asked of it, in that step */
    struct {
#define X(name) _Atomic uint64_t name;
        HS__AHEAD_COUNTERS(X)
#undef X
    } count;
} hs__ahead;

/* Packed records or raw bytes: forecast, and measured by turns. */
typedef struct hs__ways {
    bool is_possible;                 /* both ways are there */
    bool raw;                         /* the way that is taken */
    bool is_chosen;                   /* by a forecast or better */
    bool is_told;                     /* that there is no other way */
    uint64_t raw_bytes, stored_bytes; /* to be read, of all objects */
    double last_bytes;                /* raw, of a record: decoded when all of it has been read */
    hs__block block;                  /* of decode steps; one goes the other way */
    hs__took took;                    /* raw bytes longer than packed records */
    float expected;                   /* of that, the forecast when measuring began */
    float lately_ns;                  /* that a step takes */
    uint64_t from_ns;                 /* when the step began; 0: it is not counted */
    uint32_t token_absent;            /* in it so far */
    /* For the forecast: sums that fade. */
    double read_ns, read_bytes;      /* of the drive, without its latency */
    double decode_ns, decoded_bytes; /* of compressed records, raw bytes */
    double absent, short_layers, n;  /* experts that were not there, layers that lacked any, steps */
    double computing;                /* ns in those layers, without waiting and decoding */
    uint64_t layer_from_ns;          /* when the layer began; 0: it was not seen */
    hs_io_stats io_before;
    uint32_t reads_since; /* layers that lacked any since then */
    /* Where there is no other way. */
    double stood, decoded; /* ns since it was looked at */
    uint64_t decode_before;
    uint32_t steps;
} hs__ways;

/* A cache that is only counted (shadow.c). */
typedef struct hs__counted {
    void *policy;
    uint8_t *has; /* [objects of the counted layers] */
    uint32_t n_slots, n_used;
    double short_layers, lacked; /* layers that lacked any; uses of experts that it did not have */
} hs__counted;

/* Sums over layers of decode steps. */
typedef struct hs__layer_times {
    double n, ns, decoding; /* decoding: ns that the layer would save, or take, the other way */
} hs__layer_times;

/* Sums over decode steps of one token. */
typedef struct hs__tokens {
    double n, ns, absent, squares, products; /* squares of the absent, their products with ns */
    double lately;                           /* ns that one takes */
} hs__tokens;

typedef struct hs__shadow {
    uint32_t n_layers;     /* that are counted; 0: nothing is measured */
    uint32_t n_slots;      /* of the cache that is measured */
    hs__counted caches[2]; /* as it is; the other way */
    uint32_t *asked, set;  /* [objects] number of the layer pass that last asked for it */
    uint64_t tokens, wait_before, busy_before, from_ns;
    uint32_t blocks;
    double layers;                                   /* counted */
    hs__layer_times full, part;                      /* of layers that lacked none; some */
    double part_absent, part_squares, part_products; /* sums of the absent, their squares, by ns */
    double computing;                                /* ns in those, without waiting */
    double between, spans, in_layers, lately;        /* ns between layers, by steps; of this step; a layer's */
    hs__tokens whole;
    double token_absent; /* of this step */
} hs__shadow;

typedef struct hs__task {
    hs__load *load;
    hs_frame frame;
    int result;
    hs_err err;
} hs__task;

#define HS__COUNTERS(X)                                                                                                \
    X(hits)                                                                                                            \
    X(misses)                                                                                                          \
    X(evictions)                                                                                                       \
    X(bypasses)                                                                                                        \
    X(late)                                                                                                            \
    X(bytes_read)                                                                                                      \
    X(demand_bytes)                                                                                                    \
    X(speculative_bytes)                                                                                               \
    X(prefetch_issued)                                                                                                 \
    X(prefetch_useful)                                                                                                 \
    X(prefetch_late)                                                                                                   \
    X(prefetch_wasted)                                                                                                 \
    X(prefetch_dropped)                                                                                                \
    X(miss_predicted)                                                                                                  \
    X(wait_ns)                                                                                                         \
    X(decode_ns)                                                                                                       \
    X(unpacked)                                                                                                        \
    X(warm_hits)                                                                                                       \
    X(errors)                                                                                                          \
    X(damaged)                                                                                                         \
    X(shrinks)                                                                                                         \
    X(grows)                                                                                                           \
    X(moves)

typedef struct hs__counters {
#define X(name) _Atomic uint64_t name;
    HS__COUNTERS(X)
#undef X
} hs__counters;

struct hs_residency {
    hs_residency_config cfg;
    uint32_t n_objects, n_loads, n_staging;
    hs_classes classes;
    hs__slab slabs[HS_CLASSES_MAX];            /* one for each class */
    uint8_t *slab_of;                          /* [n_layers] */
    uint32_t n_slots, max_slots, n_leaving;    /* of all slabs */
    _Atomic uint32_t asked_slots, shown_slots; /* any thread's wish for n_slots; a copy of it to look at */
    _Atomic bool gives_back;                   /* the memory of slots that are not in use has not all gone back */
    uint64_t slot_bytes, staging_bytes;        /* of the biggest */
    uint64_t arena_bytes;
    uint8_t *arena, *staging;

    const hs_policy *policy;
    void *policy_state;
    uint64_t tick; /* tokens so far, those of the step under way included */
    uint64_t now;  /* from where the policy judges: a sweep judges from its beginning */
    uint32_t span; /* tokens of the step under way */
    bool sweep;    /* prefill */

    hs__slot *slots;
    uint32_t *slot_of;    /* [n_objects] */
    uint8_t *known;       /* [n_objects] bits: all frames of the object's record were right once */
    uint64_t known_reads; /* of such records */
    bool ignore_guesses;  /* a demand goes before protection */
    _Atomic uint32_t n_ready;

    hs__load *loads;
    hs__load *unused, *active_first, *active_last;
    uint32_t n_unused;
    /* Memory besides the slots, each for one object: stored, on its way into a slot; in the warm tier decoded. */
    uint32_t *next_staging, free_staging, n_staging_free; /* [n_staging] the free, in a list */
    hs_io_req **batch;                                    /* [n_loads] to be submitted together */
    uint32_t n_batch;

    /* The layer under way. */
    bool in_layer;
    uint32_t layer, n_wants, n_undelivered;
    hs__want *wants;                /* [n_experts] */
    uint32_t *want_of;              /* [n_experts] */
    hs__queue ready, hits, pending; /* hits: of a sweep, or not decoded; for when nothing else is ready */
    int failed;                     /* negative errno of the first want that failed */
    hs_err failure;

    /* Guesses. */
    uint32_t guess_no, guess_layer; /* who is protected, and until which layer's begin */
    uint32_t *guessed;              /* [guessed_room] slots of kind GUESS */
    uint32_t n_guessed, guessed_room;
    hs__named *named[HS__BASES]; /* [n_experts] for guess_layer, best first */
    uint32_t n_named[HS__BASES];
    hs__basis basis; /* of the hint that is followed: named[basis] from named_at on is not issued yet */
    uint32_t named_at;
    uint64_t speculative_flying; /* bytes submitted as speculative whose reads are not over */
    uint64_t sweep_budget;       /* of them in a sweep: its window; in decoding the configured budget holds */

    hs__ways ways;
    hs__shadow shadow;
    struct {
        _Atomic uint64_t gain_ppm, token_ns, none_ns, absent_ns, other_absent_ppm;
    } told; /* hs_residency_tier, in integers */

    /* What guesses are worth. */
    hs__ahead *ahead;                              /* [n_layers] */
    hs__outcomes outcomes[HS__BASES][HS__CLASSES]; /* over all layers */
    float bar;                                     /* least chance of a guess that costs no time */
    float ns_per_byte;                             /* of the drive, lately; 0: not known yet */
    hs_io_stats io_before;
    uint64_t steps;                       /* of decode */
    uint64_t asked_ns;                    /* when the model began to guess; 0: it has not */
    hs__basis asked;                      /* of what it guesses, or would have; the hint that follows tells */
    uint32_t window;                      /* in which the guesses that are followed are read */
    uint64_t window_ns[HS__WINDOWS];      /* its beginning; 0: none */
    float gain, hint_ns;                  /* that the guesses of the last hint save; that it took to make */
    uint64_t demand_ns;                   /* when the last demand read ended */
    uint64_t stood_before, absent_before; /* when the layer began */
    hs__took took;                        /* of all layers */

    hs_decoder **decoders; /* [n_decoders], one per thread of the pool */
    uint32_t n_decoders;
    hs__task *tasks; /* [HS__MAX_TASKS] */

    hs__counters count;

    hs_mutex lock; /* leaf */
    pthread_cond_t wake;
    hs__load *done;           /* ended reads, newest first; under the lock */
    bool sleeping;            /* the engine thread waits on `wake`; under the lock */
    uint64_t heard_ns;        /* when the drive last delivered anything; under the lock */
    _Atomic uint32_t n_done;  /* grows with every ended read */
    _Atomic uint32_t n_event; /* grows with everything that may let a waiter go on */
    uint32_t seen_done;
    uint64_t told_ns; /* when the log was last told of damage */
};

static inline void hs__count(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

/* The slab that an object belongs in. */
static inline hs__slab *hs__slab_for(hs_residency *r, uint32_t object)
{
    return &r->slabs[r->slab_of[object / r->cfg.n_experts]];
}

static inline uint8_t *hs__slot_memory(const hs_residency *r, uint32_t slot)
{
    const hs__slab *b = &r->slabs[r->slots[slot].slab];
    return r->arena + b->begin + (slot - b->first) * b->slot_bytes;
}

static inline bool hs__is_known(const hs_residency *r, uint32_t object)
{
    return r->known[object / 8] >> object % 8 & 1;
}

static inline bool hs__is_protected(const hs_residency *r, const hs__slot *s)
{
    return s->guess == r->guess_no && !r->ignore_guesses;
}

static inline uint8_t *hs__staging_memory(const hs_residency *r, uint32_t staging)
{
    return r->staging + staging * r->staging_bytes;
}

/* Whether a slot holds the object as it is stored, to be decoded into a staging buffer. */
static inline bool hs__rests_stored(const hs_residency *r, uint32_t object)
{
    return r->cfg.warm_tier && hs_object_is_staged(r->cfg.objects, object);
}

/* A READY slot's object has to be decoded before it can be delivered. */
static inline bool hs__must_decode(const hs_residency *r, uint32_t slot)
{
    return r->slots[slot].staging == HS__NONE && hs__rests_stored(r, r->slots[slot].object);
}

/* ---- slots.c ---- */
void hs__slots_init(hs_residency *r);
/* An EMPTY slot for a demanded object and how it is to be held; one is evicted if need be. HS__NONE: all are in use, or
 * (unless force) the sweep has its share. */
uint32_t hs__slot_for_demand(hs_residency *r, uint32_t object, bool force, hs__kind *ret_kind);
/* The same for a guess of the object: never at the cost of anything asked for, protected or guessed. */
uint32_t hs__slot_for_guess(hs_residency *r, uint32_t object);
/* Would the policy clearly rather have the object than what it would give up for it? */
bool hs__slot_would_admit(hs_residency *r, uint32_t object);
/* EMPTY -> READING. */
void hs__slot_fill(hs_residency *r, uint32_t slot, uint32_t object, hs__kind kind, uint32_t load);
/* READING or DECODING -> READY. */
void hs__slot_ready(hs_residency *r, uint32_t slot);
/* READY -> DECODING, of a slot that is asked for. */
void hs__slot_decode(hs_residency *r, uint32_t slot, uint32_t load);
/* Any -> EMPTY; nobody asks for it. */
void hs__slot_clear(hs_residency *r, uint32_t slot);
/* It is (no longer) asked for by place `want` of the layer. */
void hs__slot_want(hs_residency *r, uint32_t slot, uint32_t want);
void hs__slot_unwant(hs_residency *r, uint32_t slot);
/* A LOOSE or GUESS slot has just been used: does it deserve to stay? */
void hs__slot_judge(hs_residency *r, uint32_t slot);
/* Changes what it is held for; takes it out of, or brings it into, list and policy. */
void hs__slot_set_kind(hs_residency *r, uint32_t slot, hs__kind kind);
/* n slots in use from now on; those behind them that hold something are leaving, or belong again. Before anything is
 * held, and whenever n changes. */
void hs__slots_limit(hs_residency *r, uint32_t n);
/* A leaving slot gives up what it holds, or takes a slot that stays for it if that is worth more than what is there.
 * False: it is in use, or something is on its way into it. */
bool hs__slot_leave(hs_residency *r, uint32_t slot);

/* ---- residency.c ---- */
/* Divides the slots among the slabs, and sets what depends on their number. */
void hs__set_shares(hs_residency *r);

/* ---- staging.c ---- */
void hs__stagings_init(hs_residency *r);
/* HS__NONE: none is free. */
uint32_t hs__staging_take(hs_residency *r);
void hs__staging_give(hs_residency *r, uint32_t staging);

/* ---- resize.c ---- */
/* Follows hs_residency_resize; costs a few loads if there is nothing to do. */
void hs__resize(hs_residency *r);

/* ---- load.c ---- */
void hs__loads_init(hs_residency *r);
/* Whether a load of the object could start: a load, and a staging buffer if it needs one at once. Guesses leave half of
 * both. */
bool hs__load_possible(const hs_residency *r, uint32_t object, bool guess);
/* Prepares it; hs__load_submit sends all that are prepared. */
void hs__load_start(hs_residency *r, uint32_t slot, uint32_t object, hs__kind kind, hs_io_class cls);
void hs__load_submit(hs_residency *r);
/* Warm tier: a load of what the READY slot holds, which has only to be decoded. False: no load or no buffer is free. */
bool hs__load_decode(hs_residency *r, uint32_t slot);
void hs__load_promote(hs_residency *r, hs__load *l);
/* Nobody asks for it any more: what has not been read is dropped, and so is what has been read but not decoded. */
void hs__load_abandon(hs_residency *r, hs__load *l);
/* Takes in the reads that have ended. Costs one atomic load if there are none. */
void hs__load_drain(hs_residency *r);
/* An ended read whose frames are all decoded, or of which something failed: READY, once more, or given up. */
void hs__load_settle(hs_residency *r, hs__load *l);
/* Copies how far each active load has arrived into its `usable`. */
void hs__load_look(hs_residency *r);

/* ---- ways.c ---- */
void hs__ways_init(hs_residency *r);
/* Whether experts are to be read raw now. */
bool hs__way_is_raw(const hs_residency *r);
/* A step begins. */
void hs__ways_step(hs_residency *r, uint64_t now);
/* The layer ends: how long the engine thread stood for so many experts that were not there. */
void hs__ways_learn(hs_residency *r, uint64_t now, uint64_t stood_ns, uint64_t absent);
/* Compressed frames of so many raw bytes took so long to decode. */
void hs__ways_decoded(hs_residency *r, uint64_t raw_bytes, uint64_t ns);
/* A raw read has failed for good: that way is closed. */
void hs__ways_failed(hs_residency *r, const hs_err *err);

/* ---- shadow.c ---- */
/* Memory for it at most. */
uint64_t hs__shadow_bytes(uint32_t n_layers, uint32_t n_experts);
/* False: no memory. */
bool hs__shadow_init(hs_residency *r);
void hs__shadow_deinit(hs_residency *r);
/* The layer begins, with these wants. */
void hs__shadow_uses(hs_residency *r, const hs_expert_want *wants, uint32_t n);
void hs__shadow_session(hs_residency *r);
/* The layer ends; so many of its experts were not there. */
void hs__shadow_learn(hs_residency *r, uint64_t now, uint64_t absent);

/* ---- expand.c ---- */
typedef enum hs__whose {
    HS__WANTED,  /* what is asked for */
    HS__ARRIVED, /* of that, only records of which every byte is there */
    HS__GUESSES  /* what nobody asks for */
} hs__whose;
/* Decodes one round of frames that have arrived, on the pool. False: there were none. */
bool hs__expand(hs_residency *r, hs__whose whose);
/* Checks one frame that need not be checked. False: there was none. */
bool hs__check_known(hs_residency *r);

/* ---- layer.c ---- */
extern const hs_experts_ops hs__experts_ops;
/* The policy with that state, the cache's or one that is only counted, hears of the layer's use of an object. */
void hs__tell_policy(const hs_residency *r, void *state, uint32_t object, const hs_expert_want *w);
/* What a slot that was asked for has become. */
void hs__want_ready(hs_residency *r, uint32_t want);
void hs__want_failed(hs_residency *r, uint32_t want, int code, const hs_err *err);

/* ---- prefetch.c ---- */
void hs__hint(void *self, uint32_t moe_layer, const hs_expert_guess *guesses, uint32_t n);
/* Issues waiting guesses as far as the budget goes. */
void hs__prefetch_pump(hs_residency *r);
/* The layer's wants are marked: guesses for it that did not come true are cancelled or become loose. */
void hs__prefetch_resolve(hs_residency *r, uint32_t layer);
/* A guess has been used (came in time, or late). */
void hs__prefetch_used(hs_residency *r, uint32_t slot, bool in_time);
/* A guess's slot is given up. */
void hs__prefetch_lost(hs_residency *r, uint32_t slot);
/* The read of a guess that was dismissed has ended; so many bytes of it had arrived. */
void hs__prefetch_dropped(hs_residency *r, uint32_t object, uint64_t bytes);
void hs__prefetch_drop_all(hs_residency *r);

/* ---- worth.c ---- */
void hs__worth_init(hs_residency *r);
bool hs__asks(void *self, uint32_t moe_layer, bool whole);
/* The margin's class, and how likely a guess of it comes true. */
uint8_t hs__class_of(hs_residency *r, uint32_t layer, float margin);
float hs__chance(const hs_residency *r, uint32_t layer, hs__basis basis, uint8_t class);
void hs__worth_learn(hs_residency *r, uint32_t layer, hs__basis basis, uint8_t class, bool came_true);
/* A read of a guess was used, or was for nothing. */
void hs__worth_used(hs_residency *r);
void hs__worth_wasted(hs_residency *r);
/* Whether a guess for guess_layer is to be read now. */
bool hs__is_worth_reading(hs_residency *r, uint32_t object, float chance);
/* A hint has come for guess_layer. */
void hs__window_begins(hs_residency *r);
/* A step, a layer begins; a layer ends. */
void hs__worth_step(hs_residency *r);
void hs__worth_begin(hs_residency *r);
/* What the layer asks for is known; waits: something of it has to be read. */
void hs__worth_asked(hs_residency *r, bool waits);
void hs__worth_end(hs_residency *r);

/* How long the engine thread has waited and decoded so far. */
uint64_t hs__stood_ns(const hs_residency *r);

/* ---- trial.c ---- */
/* Any number below `below`, always the same of the same step and layer. */
uint32_t hs__any(uint64_t step, uint32_t layer, uint32_t below);
/* Counts a block; as if there had been no more than `most`. */
void hs__took_add(hs__took *t, float d, float e, float most);
/* The mean of d at equal numbers of absent experts, and the variance of that. False: not known yet. */
bool hs__took_difference(const hs__took *t, float *ret_mean, float *ret_variance);
void hs__trial_init(hs_residency *r);
/* Whether the layer reads ahead in this step. */
bool hs__is_guessing(const hs_residency *r, uint32_t layer);
/* What follows until the layer's end is the layer's time; only the first call in a step counts. */
void hs__trial_from(hs_residency *r, uint32_t layer, uint64_t now);
/* A layer of decode took so long, and so many experts were not there. */
void hs__trial_learn(hs_residency *r, uint32_t layer, uint64_t took_ns, uint64_t absent);

#endif
