/*
 * engine_int.h - the engine's inside, shared by plan, engine, session, request, scheduler and accounting.
 *
 * Threads: create and sessions run on the caller's thread; after hs_engine_start everything below `model` is the engine
 * thread's alone. `lock` guards the queue, the request lists, the published stats and the flags marked (lock).
 */
#ifndef HS_ENGINE_ENGINE_INT_H
#define HS_ENGINE_ENGINE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/pool.h"
#include "engine/sampler.h"
#include "hotset/hotset.h"
#include "model/model.h"
#include "residency/residency.h"
#include "store/io.h"
#include "store/objects.h"
#include "store/source.h"
#include "text/detok.h"
#include "text/template.h"
#include "text/tokenizer.h"

/* What has been read of a model before any weight: enough to plan. */
typedef struct hs__opened {
    hs_source *source;
    hs_model_spec *spec;
    hs_objects *objects;
    bool warm;          /* warm_tier, if some expert is compressed */
    hs_classes classes; /* sizes of their slots */
    hs_classes decoded; /* what those would be without the warm tier */
    const hs_kernels *kernels;
    bool q8;             /* compute.activations is auto */
    uint64_t text_bytes; /* of tokenizer and template, at their peak while loading */
} hs__opened;

int hs__open(const hs_engine_options *opt, hs__opened *ret, hs_err *err) HS_MUST_CHECK;
void hs__close(hs__opened *o);
/* Slots for experts as they are stored, or decoded: sets the sizes. */
int hs__set_warm(hs__opened *o, bool warm, hs_err *err) HS_MUST_CHECK;
hs_kv_type hs__kv_type(const hs_engine_options *opt);
/* The plan for an opened model; see hs_plan_make. */
int hs__plan(const hs_engine_options *opt, const hs__opened *o, hs_plan *ret, hs_err *err) HS_MUST_CHECK;
/* Seconds that the pool takes to decode one expert, on average; 0: none is stored compressed. -EBADMSG: one is damaged.
 */
int hs__measure_expanding(const hs_objects *objects, hs_pool *pool, double *ret_s, hs_err *err) HS_MUST_CHECK;
void hs__model_config(const hs_plan *p, const hs__opened *o, bool predict, hs_model_config *ret);

/* How files are read, as options and calibration say. */
typedef struct hs__reading {
    const char *engine; /* as io.engine */
    bool buffered;
    uint32_t read_size;
    uint64_t in_flight;
    bool (*stop)(void); /* as in hs_disk_run */
} hs__reading;
/* pace.c: how file reads at the pace of the model's decoding: first_s and each_s of *ret. False: that cannot be
 * measured (no whole expert is in it). Memory: one expert's. */
bool hs__measure_waves(const char *file, const hs__reading *how, const hs_plan *p, const hs_speed *s, double hit_rate,
                       hs_drive *ret);

/* What a generated token takes that lacks so many experts: none_s = 0: not known. */
typedef struct hs__line {
    double none_s, absent_s;
} hs__line;

/* pace_file.c: what of a model's pace was measured, and found out while it served. */
typedef struct hs__pace {
    hs_drive drive;
    hs_speed speed;       /* of it what a generated token takes, and decoding an expert */
    hs__line cold, warm;  /* of tokens without and with a warm tier, while it served */
    double found_gain;    /* tokens per second with it by those without; 0 = nothing was found out */
    uint32_t found_slots; /* with a cache of so many decoded experts */
} hs__pace;
/* Where it is kept: in a state folder, for this model, its drive, this machine and this build. */
typedef struct hs__pace_place {
    char *dir; /* owned; NULL: nowhere */
    char key[600], name[48];
} hs__pace_place;
/* -ENOENT: the options name no folder. */
int hs__pace_place_find(const hs_engine_options *opt, const hs__opened *o, const hs_plan *p, hs__pace_place *ret,
                        hs_err *err) HS_MUST_CHECK;
/* -ENOENT: nothing is kept. */
int hs__pace_load(const hs__pace_place *at, hs__pace *ret, hs_err *err) HS_MUST_CHECK;
int hs__pace_save(const hs__pace_place *at, const hs__pace *pace, hs_err *err) HS_MUST_CHECK;

typedef struct hs__heat hs__heat;

typedef struct hs__seq {
    hs_kv kv;
    bool in_use;
    uint32_t profile; /* of hs__heat */
    /* Of the current step, filled by the route observer. */
    uint32_t step_hits, step_misses;
} hs__seq;

struct hs_engine {
    hs__opened opened;
    hs_io_config how;  /* what options and calibration say, custom and patience; files and memory where it is used */
    char io_note[400]; /* how it reads, in words */
    double drive_bytes_per_s, drive_lone_bytes_per_s; /* as calibrated; 0 = it is not */
    hs_plan plan;
    hs__pace_place pace_place;
    uint32_t cold_slots, warm_slots; /* that the cache has, or would have, either way; 0: there is no choice */
    hs__line other_line;             /* of tokens the other way, as kept */
    double pace_found;               /* the gain that was kept last; of whoever saves */
    bool is_line_kept;               /* of tokens this way; of the same */
    uint32_t max_queue;
    hs_pool *pool;
    hs_tokenizer *tokenizer;
    hs_template *template;
    uint8_t *dense, *kv;
    uint64_t kv_bytes;
    hs_residency *residency;
    hs_io *io;
    hs__heat *heat; /* NULL = it is not counted */
    uint32_t preload_s, preload_at;
    uint64_t preload_until_ns; /* 0 = the next idle moment is its beginning */
    bool is_preloading, is_following;
    _Atomic uint32_t pressure_ppm; /* the governor's; any thread */
    hs_model *model;
    hs__seq *seqs;       /* [plan.parallel] */
    uint32_t *batch_seq; /* [plan.parallel] index into seqs of each row of the running decode */
    hs_kv **batch_kv;    /* [plan.parallel] their kvs */
    uint32_t n_batch;
    uint32_t *step_slots, *step_tokens; /* [plan.parallel] scratch of a decode step */
    hs_receipt **step_receipts;         /* [plan.parallel] */
    uint32_t *route_seen; /* [n_experts] number of the layer pass in which the expert was last counted as a miss */
    uint32_t route_pass;
    uint32_t route_last_layer;
    void (*on_route)(void *ctx, const hs_route_event *ev);
    void *on_route_ctx;

    hs_mutex lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool started, stop, draining;               /* (lock) */
    struct hs_request *queue_head, *queue_tail; /* (lock) waiting, oldest first */
    uint32_t n_queued, n_active;                /* (lock) */
    uint64_t turn;                              /* (lock) latest turn that was served */
    uint64_t n_dropped;                         /* (lock) requests destroyed while they waited */
    struct hs_request **active; /* [plan.parallel], NULL = free; written by the engine thread under lock */
    uint32_t prefill_turn;
    float *logits;           /* [plan.parallel][vocab] */
    hs__candidate *sampling; /* [vocab] */
    hs_engine_stats stats;   /* (lock) published after each step */
    hs_engine_stats counts;  /* engine thread's own: requests and tokens */
};

/* warm_tier.c: share of uses that are expected to find their expert in memory. */
double hs__expected_hit_rate(const hs_plan *p);
/* Decides what is left to be decided, and changes e->opened and e->plan if it is for it. */
int hs__choose_warm_tier(hs_engine *e, const hs_engine_options *opt, hs_err *err) HS_MUST_CHECK;
/* Tokens per second with a warm tier by those without, as found out so far; 0: not known. Any thread. */
double hs__found_gain(const hs_engine *e);
/* Keeps what was found out while serving, if it is another gain than before. Any thread, one at a time. */
int hs__keep_found(hs_engine *e, hs_err *err) HS_MUST_CHECK;
/* drive.c: fills e->how, e->io_note and e->drive_bytes_per_s. */
int hs__choose_io(hs_engine *e, const hs_engine_options *opt, hs_err *err) HS_MUST_CHECK;

/* hs_engine_create with reads done by how->custom, or how NULL. */
int hs__engine_create(const hs_engine_options *opt, const hs_io_config *how, hs_engine **ret_engine,
                      hs_err *err) HS_MUST_CHECK;
/* The counters of residency, io and model as they are now. */
void hs__engine_counters(const hs_engine *e, hs_engine_stats *ret);
/* Copies them to e->stats. */
void hs__engine_publish(hs_engine *e);
/* n slots from now on (hs_residency_resize); wakes the engine thread. Any thread. */
void hs__engine_resize(hs_engine *e, uint32_t n);
/* Tells the policy what the profile at work has used; false: nothing. Between passes. */
bool hs__warm_policy(hs_engine *e);
int hs__seq_take(hs_engine *e, uint32_t *ret_index);
void hs__seq_give(hs_engine *e, uint32_t index);

/* Before and after a forward pass over the sequences batch_seq[0..n_batch): what it cost, per receipt. */
typedef struct hs__cost {
    hs_residency_stats before;
    uint64_t t0;
} hs__cost;
void hs__cost_begin(hs_engine *e, hs__cost *c);
/* receipts[n_batch], each may be NULL. Adds bytes by share of misses, waits to all, and uses if the pass was done to
 * its end: one that failed is tried again or was for nothing. Returns seconds passed. */
double hs__cost_end(hs_engine *e, const hs__cost *c, bool done, hs_receipt *const *receipts);
void hs__route_observer(void *ctx, const hs_route *route);

struct hs_request {
    hs_engine *engine;
    hs_request *next;
    uint32_t refs;          /* (lock) owner and engine */
    bool queued, cancelled; /* (lock) */
    uint64_t turn;          /* (lock) lower goes first; a client's own requests have rising ones */
    uint64_t client;
    uint32_t profile; /* of hs__heat */
    uint64_t t_submit, t_start, deadline_ns;
    uint32_t *tokens;
    uint32_t n_tokens, n_done; /* prompt tokens, of them processed */
    uint32_t max_tokens;
    hs_sampling sampling;
    bool ignore_eos;
    uint32_t seq;        /* index, while active */
    uint32_t next_token; /* sampled, not yet fed */
    hs_detok detok;
    uint32_t shown[HS_MAX_SHOWN];
    hs_stop *stop;
    hs_buf piece;               /* engine thread: a token's text */
    hs_buf text;                /* (text_lock) finished characters not yet read */
    hs_mutex text_lock;         /* leaf: guards text, status and notify */
    hs_request_status status;   /* (text_lock) */
    void (*notify)(void *user); /* (text_lock) */
    void *notify_user;
};

#define HS__TEXT_HIGH (64u << 10)         /* unread text that pauses a request */
#define HS__TEXT_MAX  (2 * HS__TEXT_HIGH) /* with what one more token may bring */

void hs__request_unref(hs_request *r);
void hs__request_unref_locked(hs_request *r); /* with engine lock held */
/* Takes r out of the queue; engine lock held. */
void hs__queue_remove(hs_engine *e, hs_request *r);
/* Engine thread: state changes that the owner may see. */
void hs__request_fail(hs_request *r, int code, const char *sentence);
void hs__request_finish(hs_request *r, hs_finish finish);
/* Appends the token's text; *ret_stopped: a stop string ended the answer. -ENOMEM or -E2BIG: the text is not whole. */
int hs__request_emit(hs_request *r, uint32_t token, bool *ret_stopped) HS_MUST_CHECK;
void *hs__scheduler_main(void *arg);
/* One round of the engine thread: admission, a chunk of prompt, a token for all that generate. False: it is to stop. */
bool hs__scheduler_round(hs_engine *e);
/* hs_residency_config.unwanted: nobody waits any more for one of the sequences of the pass under way. */
bool hs__is_pass_unwanted(void *engine);
/* check.c: NULL, or a sentence about the first invariant that does not hold. On the engine's thread, between passes. */
const char *hs__engine_check(hs_engine *e);

#endif
