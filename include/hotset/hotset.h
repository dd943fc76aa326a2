/*
 * hotset.h - the engine as every front end sees it: load a model within a memory budget, run sessions or queued
 * requests, read the receipts. Server and command line use nothing below this header.
 *
 * Two ways to run, not mixed on one engine:
 *   sessions  hs_session_*: synchronous, one calling thread (eval, bench)
 *   requests  hs_engine_start, then hs_request_*: an engine thread schedules them; any thread may submit, poll and
 * destroy
 */
#ifndef HOTSET_HOTSET_H
#define HOTSET_HOTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hs_err;
struct hs_tokenizer;
struct hs_template;
struct json_t;

typedef struct hs_engine hs_engine;

/* ---- memory plan ---- */

typedef enum hs_cache_kind { HS_CACHE_AUTO, HS_CACHE_BYTES, HS_CACHE_PERCENT } hs_cache_kind;

/* Where the io options are left open: take nothing but defaults; what has been measured before; measure if nothing has
 * been; measure. */
typedef enum hs_calibrate_mode {
    HS_CALIBRATE_OFF,
    HS_CALIBRATE_KEPT,
    HS_CALIBRATE_ONCE,
    HS_CALIBRATE_ALWAYS
} hs_calibrate_mode;

/* A model of which there is only the configuration: for plans. */
typedef struct hs_shape {
    const char *name;            /* for sentences */
    const struct json_t *config; /* as config.json; borrowed */
    const char *type;            /* how tensors are stored: hs_model_describe says which types there are */
} hs_shape;

/* Whether compressed experts stay so in the cache, and are decoded for each use. AUTO: if that is expected to be faster
 * here; needs the drive's calibration. */
typedef enum hs_warm_tier { HS_WARM_OFF, HS_WARM_ON, HS_WARM_AUTO } hs_warm_tier;

typedef struct hs_engine_options {
    const char *path;        /* packed folder, safetensors folder or GGUF file */
    const char *mirror;      /* further copies of it, on other drives: paths with commas between; NULL or "" = none */
    uint64_t memory_limit;   /* the whole process; 0 = what machine and cgroup leave, less a reserve */
    uint64_t memory_outside; /* what the rest of the process (server, other models) may take at its maxima */
    hs_cache_kind cache_kind;
    uint64_t cache_bytes;                /* HS_CACHE_BYTES */
    double cache_percent;                /* HS_CACHE_PERCENT: floor(experts x percent / 100) slots */
    const char *policy;                  /* NULL = "ewma" */
    bool cache_by_layer;                 /* each layer has its share of the cache */
    hs_warm_tier warm_tier;              /* of a packed model's compressed experts */
    const char *io_engine;               /* NULL, "auto", "io_uring", "pread" */
    bool io_buffered;                    /* no O_DIRECT */
    bool io_direct;                      /* O_DIRECT even if calibration finds the drive faster without */
    uint64_t io_read_size, io_in_flight; /* 0 = calibrated, or default */
    hs_calibrate_mode io_calibrate;
    bool io_verify_always; /* raw records of a packed model are checked at every read */
    const char *state_dir; /* NULL or "": nothing is kept or found there */
    bool prefetch;
    uint64_t prefetch_budget; /* 0 = default */
    uint32_t threads;         /* 0 = all processors */
    const char *kernels;      /* NULL, "auto", "generic", "avx2" */
    const char *activations;  /* NULL, "auto", "f32" */
    const char *kv_type;      /* NULL, "f16", "f32", "q8" */
    uint32_t context;         /* tokens per sequence; 0 = 8192, or what model or limit allow if that is less */
    uint32_t parallel;        /* sequences decoded side by side, >= 1; 0 = 1 */
    uint32_t max_queue;       /* requests waiting beyond those */
    bool without_text;        /* do not load tokenizer and template (eval --ids, bench, plan) */
    bool governed;            /* a hs_governor may change the size of the cache */
    const char *profile;   /* name under which is counted, and kept in state_dir, which experts are used; NULL: not */
    uint32_t preload_s;    /* reads those that were used most, for so many seconds after hs_engine_start at most */
    const hs_shape *shape; /* plans only: what to plan for instead of the files at path; NULL = those */
    /* Loading progress: stage is a short word; called on the loading thread; nonzero cancels. May be NULL. */
    int (*progress)(void *ctx, const char *stage, uint64_t done, uint64_t total);
    void *progress_ctx;
} hs_engine_options;

typedef struct hs_plan {
    /* What each part takes, bytes. */
    uint64_t dense, kv, scratch, staging, tables, text, runtime, outside, cache;
    uint64_t total;       /* the sum: peak RSS stays under it */
    uint64_t floor;       /* least total with which the model runs (context and batch shrunk) */
    uint64_t recommended; /* two token cycles of cache and the asked-for context, all experts at most */
    uint64_t limit;       /* the budget it was fitted to */
    uint64_t slot_bytes, least_slot_bytes; /* of the biggest experts and of the smallest: each size has its slots */
    uint64_t expert_bytes_all, token_cycle_bytes, bytes_per_token_cold;
    uint32_t n_slots, min_slots, n_experts, token_cycle; /* counts of experts, all layers */
    uint32_t max_slots; /* to which the cache may grow when it is governed; else n_slots */
    uint32_t context, parallel, prefill_chunk, threads, n_staging;
    uint64_t kv_per_token;
    uint64_t model_bytes; /* of all tensors, as they are without compression */
    uint32_t moe_layers;
    bool packed, gguf;
    bool warm;     /* the cache holds experts compressed; staging is where they are decoded */
    bool is_shape; /* of a configuration, without files */
    char arch[32];
} hs_plan;

/* Computes the plan without loading weights. A budget under the floor, or an explicit cache that exceeds the limit:
 * -ENOMEM with the figures in the sentence (it has the word floor); *ret_plan is filled then too (the one exception to
 * the ret_ rule). */
int hs_plan_make(const hs_engine_options *opt, hs_plan *ret_plan, struct hs_err *err);

/* ---- forecast ---- */

#define HS_SPEED_CONTEXT 512u
#define HS_SPEED_BLOCK   512u /* tokens of a prompt that go through a layer together */
#define HS_SPEED_POINTS  7u
extern const uint32_t hs_speed_tokens[HS_SPEED_POINTS]; /* rising, the first is 1 */

/* What this machine computes of a model, measured on some of its layers with zeros for weights: time does not depend on
 * them. Seconds; every matrix is in memory. */
typedef struct hs_speed {
    double decode_s;         /* one generated token at HS_SPEED_CONTEXT tokens of context */
    double decode_experts_s; /* of it, its routed experts */
    double decode_shared_s;  /* of it, the experts that every token uses */
    double prompt_token_s;   /* one prompt token without its routed experts, and */
    double prompt_block_s; /* what up to HS_SPEED_BLOCK of them share: unpacking weights, keys and values before them */
    double prompt_end_s;   /* what a prompt costs besides its tokens: the logits of the last one */
    double prompt_expert_s[HS_SPEED_POINTS]; /* one expert of a chunk that hs_speed_tokens of its tokens use */
    double expand_s;                         /* decoding one expert of a packed model; 0: there is nothing to decode */
    double fresh_bytes_per_s; /* of memory that this process has not had before: the machine clears it; 0 = no time */
    double memory_bytes_per_s;
    uint64_t decode_bytes; /* of weights that a generated token reads from memory */
} hs_speed;

/* n_prompt: as hs_use.prompt_tokens. Takes half a second for small models, a few for big ones on few processors; memory
 * is 256 MiB, or half of what the plan has for weights and state if that is less, but what the biggest tensor takes, or
 * -ENOMEM if it is not free. */
int hs_speed_measure(const hs_engine_options *opt, const hs_plan *plan, uint32_t n_prompt, hs_speed *ret_speed,
                     struct hs_err *err);
/* From `measured` threads to n_cores like them, which together read memory_bytes_per_s (0: in proportion); a token
 * takes no less than memory allows. */
void hs_speed_scale(hs_speed *s, uint32_t n_cores, uint32_t measured, double memory_bytes_per_s);

/* How a drive reads experts. */
typedef struct hs_drive {
    double bytes_per_s; /* with many reads in the air; 0 = not known, then nothing is said about reading */
    double first_s;     /* n experts asked for at once, after a pause, take first_s */
    double each_s;      /* + n times each_s */
} hs_drive;

/* An NVMe drive of which only the rate is known. */
hs_drive hs_drive_of_rate(const hs_plan *plan, double bytes_per_s);

typedef enum hs_drive_source { HS_DRIVE_UNKNOWN, HS_DRIVE_GIVEN, HS_DRIVE_KEPT, HS_DRIVE_MEASURED } hs_drive_source;
/* How the drive at path reads: as calibration has kept it, else measured for a second, also at the pace of the model.
 * bytes_per_s is 0 if it cannot be. speed may be NULL; stop is asked now and then, true: it is over. May be NULL. */
hs_drive_source hs_drive_find(const char *path, const hs_engine_options *opt, const hs_plan *plan,
                              const hs_speed *speed, double hit_rate, bool (*stop)(void), hs_drive *ret_drive);

/* The drives that a model's experts lie on: of the model itself, then of each mirror that lies on none of them. */
#define HS_MAX_DRIVES 16u
typedef struct hs_drive_place {
    char *file;    /* of the model, the biggest there with experts */
    uint64_t dev;  /* st_dev */
    uint32_t copy; /* 0 the model, then its mirrors */
    double share;  /* of that copy's experts, by bytes */
} hs_drive_place;
typedef struct hs_drives {
    uint32_t n;
    bool is_cut; /* one expert lies on several drives; else each on one */
    hs_drive_place drive[HS_MAX_DRIVES];
} hs_drives;
/* Reads the model's tables. -E2BIG: more than HS_MAX_DRIVES. hs_drives_deinit *ret_drives. */
int hs_drives_find(const hs_engine_options *opt, hs_drives *ret_drives, struct hs_err *err);
void hs_drives_deinit(hs_drives *d);
/* What they are together: of[d->n], each reading experts of its own. read_size: of a sub-read, which goes to one copy.
 * Pure. */
hs_drive hs_drives_join(const hs_plan *plan, const hs_drives *d, uint64_t read_size, const hs_drive *of);

/* REAL: as recorded routes of DeepSeek-V2-Lite repeat themselves (forecast.c has the curve); UNIFORM: not at all. */
typedef enum hs_routing { HS_ROUTING_REAL, HS_ROUTING_UNIFORM } hs_routing;
typedef enum hs_limit { HS_LIMIT_DRIVE, HS_LIMIT_MEMORY, HS_LIMIT_COMPUTE } hs_limit;

/* What is asked of the model. */
typedef struct hs_use {
    double hit_rate; /* of generated tokens' experts, 0 to 1 */
    hs_routing routing;
    uint32_t prompt_tokens; /* 0, or more than a chunk: a whole chunk */
    /* That such a chunk uses, of all layers, and of these the ones that are not in memory. Negative: what follows from
     * hit rate and routing. */
    double prompt_experts, prompt_reads;
} hs_use;

typedef struct hs_forecast {
    double hit_rate;
    double miss_bytes;               /* read from the drive per generated token */
    double prompt_bytes;             /* per chunk */
    uint32_t prompt_tokens;          /* of that chunk */
    double prompt_experts;           /* that it uses */
    double decode_io_s, prompt_io_s; /* per token, per chunk; 0 = the drive's speed is not known, or nothing is read */
    double decode_stall_s;           /* what of decode_io_s is not hidden behind computing */
    double prompt_compute_s;         /* of it all, decoding included */
    double decode_tokens_per_s, prompt_tokens_per_s;
    double ahead_tokens_per_s; /* decode where routes can be foretold as recorded ones, and are */
    /* Of a prompt that finds no expert in memory, and memory that is not cleared yet. */
    double first_prompt_tokens_per_s;
    hs_limit decode_limit, prompt_limit;
} hs_forecast;

/* Pure. */
hs_forecast hs_forecast_make(const hs_plan *plan, const hs_speed *speed, const hs_drive *drive, const hs_use *use);
#define HS_WARM_TIER_WINS 1.05 /* what cache.warm_tier = auto asks of it */
/* Whether a plan with a warm tier is expected to beat one of the same memory without clearly enough; *ret_gain: of
 * tokens per second. */
bool hs_warm_tier_pays(const hs_plan *without, const hs_plan *with, const hs_speed *speed, const hs_drive *drive,
                       double *ret_gain);
/* Share of expert uses that find their expert in a cache for `share` of all experts, of which a token uses `used`. */
double hs_forecast_hit_rate(double share, double used, hs_routing routing);

/* ---- engine ---- */

int hs_engine_create(const hs_engine_options *opt, hs_engine **ret_engine, struct hs_err *err);
/* Cancels what runs, joins the thread, frees everything. Its sessions and requests have been destroyed before. */
void hs_engine_destroy(hs_engine **engine);
const hs_plan *hs_engine_plan(const hs_engine *e);
const char *hs_engine_io_name(const hs_engine *e); /* "io_uring", "pread" */
/* "pieces of 1.0 MiB, 16.0 MiB in flight, past the page cache; calibrated: 2.6 GiB/s": how the drive is read, and what
 * is to be said about it. */
const char *hs_engine_io_note(const hs_engine *e);
const char *hs_engine_kernels_name(const hs_engine *e);
uint32_t hs_engine_vocab(const hs_engine *e);
uint32_t hs_engine_max_context(const hs_engine *e); /* tokens one sequence may have */
/* Borrowed, immutable, usable from any thread; NULL if without_text or absent. */
const struct hs_tokenizer *hs_engine_tokenizer(const hs_engine *e);
const struct hs_template *hs_engine_template(const hs_engine *e);
/* generation_config.json, or NULL. */
const struct json_t *hs_engine_generation_config(const hs_engine *e);

/* ---- which experts are used ---- */

#define HS_MAX_PROFILES 32 /* of one model */
#define HS_PROFILE_NAME 40 /* longest name */

/* Keeps it in options.state_dir, for each profile that was used since, if options.profile is set; and whether the warm
 * tier pays, as found out while serving. Any thread, one at a time. */
int hs_engine_save_learnt(hs_engine *e, struct hs_err *err);
/* There is a profile of this name from now on; hs_engine_set_profile: and it is that of requests which name none.
 * -EINVAL: not a name, HS_MAX_PROFILES there are, or the engine has no options.profile. Any thread. */
int hs_engine_add_profile(hs_engine *e, const char *name, struct hs_err *err);
int hs_engine_set_profile(hs_engine *e, const char *name, struct hs_err *err);

typedef struct hs_profile {
    const char *name; /* borrowed from the engine */
    uint64_t requests, expert_hits, expert_misses;
} hs_profile;
/* The i-th; false: there are fewer. Any thread. */
bool hs_engine_get_profile(const hs_engine *e, uint32_t i, hs_profile *ret_profile);

/* ---- governor ---- */

/*
 * Gives experts' memory back while machine or control groups are short of it, and takes it again when they no longer
 * are: it compares what the process may hold (MemAvailable, memory.max, memory.high, v1 limits; of all enclosing
 * groups) and how often tasks stand still for memory (pressure stall information) with what the engines may take. Big
 * steps, a sixteenth of the cache at least; growing waits until nothing has been short for a while.
 */
typedef struct hs_governor hs_governor;

typedef struct hs_governor_options {
    hs_engine *const *engines; /* started, options.governed; they outlive the governor. Copied */
    size_t n_engines;
    uint64_t limit;   /* of the whole process; 0 = what machine and control groups leave */
    uint64_t outside; /* what the rest of the process may take */
    const char *root; /* NULL; tests: a folder to take proc/ and sys/ from */
} hs_governor_options;

int hs_governor_create(const hs_governor_options *opt, hs_governor **ret_governor, struct hs_err *err);
void hs_governor_destroy(hs_governor **g);
/* Looks once, at time now_ns of a clock that only rises, and acts; returns after how many milliseconds to look again.
 * One thread. */
uint32_t hs_governor_tick(hs_governor *g, uint64_t now_ns);
/* The next tick goes by this limit. -ENOMEM: it is under what the engines need at least. Any thread. */
int hs_governor_set_limit(hs_governor *g, uint64_t limit, struct hs_err *err);

/* ---- what it cost ---- */

typedef struct hs_receipt {
    uint64_t bytes_read; /* expert bytes that came from disk while it was in the batch, by its share of the misses */
    uint64_t expert_hits, expert_misses; /* together: tokens processed x MoE layers x top_k */
    double queue_s, prefill_s, decode_s; /* wall time in each phase */
    double disk_wait_s;                  /* the engine stood still for reads while this request was in the batch */
    double expand_s;                     /* decoding of compressed frames on the engine thread */
    uint64_t prefetch_issued, prefetch_useful; /* experts, while this request was in the batch */
    uint64_t unpacked; /* the same: of a compressed model, read raw, because that is faster here */
    uint32_t prompt_tokens, generated_tokens;
} hs_receipt;

typedef struct hs_engine_stats {
    uint64_t expert_hits, expert_misses, expert_evictions;
    uint64_t bytes_read, demand_bytes, speculative_bytes;
    uint64_t io_busy_ns; /* time with at least one read in flight: bytes_read over this is the bandwidth reached */
    uint64_t io_reads, io_errors;
    uint64_t mirror_reads;  /* pieces that a mirror brought because another copy was bad */
    uint64_t damaged_reads; /* experts that were read with a wrong checksum */
    uint64_t prefetch_issued, prefetch_useful, prefetch_late, prefetch_wasted; /* as hs_engine_layer's */
    uint64_t unpacked;  /* experts of a compressed model that were read raw */
    uint64_t warm_hits; /* experts that were decoded from memory */
    /* Warm tier: memory of the cache if it holds compressed experts, and their size by that of decoded ones; tokens per
     * second with it by those without, as measured while serving. 0: there is none, it is not known. Millionths. */
    uint64_t warm_bytes, warm_ratio_ppm, warm_gain_ppm;
    uint64_t predict_guessed, predict_correct, predict_actual;
    uint64_t miss_predicted;
    uint64_t disk_wait_ns, expand_ns;
    uint64_t attention_ns, dense_ffn_ns, expert_ns, router_ns, head_ns;
    uint64_t prompt_tokens, generated_tokens, requests_done, requests_failed, requests_cancelled;
    uint32_t queued, active;
    uint32_t resident, slots, slots_planned; /* experts in memory, that there is room for now, and at the start */
    uint64_t cache_bytes;                    /* memory for that many experts */
    uint64_t cache_shrinks, cache_grows;     /* times that the number of slots has changed */
    bool is_preloading;                      /* the experts that were used most are being read, since the start */
    bool is_following;                       /* the same, since a request brought another profile */
    uint32_t preload_done, preload_total;    /* experts */
    uint64_t memory_pressure_ppm; /* millionths of the last second in which some task stood still for memory */
    uint64_t steps;               /* forward passes: it grows while work advances (watchdog) */
    uint64_t kv_bytes_used;
} hs_engine_stats;
/* Any thread; counters are read without stopping the engine. */
hs_engine_stats hs_engine_get_stats(const hs_engine *e);

/* One layer with experts: how many of them are in memory; of reading ahead for it: uses of experts that were not there
 * or would not have been, experts read ahead; of these used and there in full when the layer began, used and under way
 * then, never used. (useful + late) / absent is how much of what was missing reading ahead has covered. */
typedef struct hs_engine_layer {
    uint64_t resident, absent, issued, useful, late, wasted;
} hs_engine_layer;
/* Any thread; moe_layer < hs_engine_moe_layers. */
hs_engine_layer hs_engine_get_layer(const hs_engine *e, uint32_t moe_layer);

/* A drive that experts are read from: bytes, time with a read in flight; is_behind: it holds the others of a striped
 * model up, being busy at least twice as long lately. */
typedef struct hs_engine_drive {
    char folder[256]; /* of a file on it */
    uint64_t bytes, busy_ns;
    bool is_behind;
} hs_engine_drive;
/* The i-th; false: there are fewer. Any thread. */
bool hs_engine_get_drive(const hs_engine *e, uint32_t i, hs_engine_drive *ret_drive);

/* What a sequence does now. */
typedef struct hs_slot {
    bool is_busy;
    bool is_decoding; /* else it reads its prompt */
    bool is_paused;   /* its reader is slow */
    uint64_t client;  /* hs_request_options.client */
    uint32_t prompt_tokens, generated_tokens, max_tokens;
    uint32_t position; /* tokens that its keys and values hold */
} hs_slot;
/* Any thread; i < plan.parallel. Sessions do not show. */
void hs_engine_get_slot(const hs_engine *e, uint32_t i, hs_slot *ret_slot);

/* ---- sessions ---- */

typedef struct hs_session hs_session;
/* context: tokens; counts against the plan's kv (at most plan.parallel sessions of plan.context tokens). */
int hs_session_create(hs_engine *e, hs_session **ret_session, struct hs_err *err);
void hs_session_destroy(hs_session **s);
void hs_session_reset(hs_session *s); /* forget all tokens */
uint32_t hs_session_length(const hs_session *s);
/* Prompt tokens; logits: NULL or [n_logits][vocab] of the last n_logits. progress: nonzero cancels (-ECANCELED). */
int hs_session_prefill(hs_session *s, const uint32_t *tokens, uint32_t n, float *logits, uint32_t n_logits,
                       int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, struct hs_err *err);
/* One generated token for each of n distinct sessions of one engine; logits [n][vocab]. */
int hs_session_decode(hs_session *const *s, const uint32_t *tokens, uint32_t n, float *logits, struct hs_err *err);

/* Routing observer (trace): see hs_route in model.h for the meaning. NULL switches off. Sessions only. */
typedef struct hs_route_event {
    bool decode;
    uint32_t seq, position, layer, top_k;
    const uint32_t *experts;
    const float *normalised; /* sum 1 */
    const uint8_t *resident;
    uint64_t expert_bytes;
} hs_route_event;
void hs_engine_on_route(hs_engine *e, void (*fn)(void *ctx, const hs_route_event *ev), void *ctx);
/* Generated tokens use these experts instead of the router's (a trace is replayed): fn is called per session of the
 * batch and MoE layer (from 0) and fills ret_experts[n] with distinct numbers; n = experts per token. NULL switches
 * off. Sessions only. */
void hs_engine_choose_routes(hs_engine *e,
                             void (*fn)(void *ctx, uint32_t seq, uint32_t moe_layer, uint32_t *ret_experts), void *ctx);
/* How it works from now on, to compare ways of one engine: between passes, sessions only. Results are the same bits.
 * threads: from 1 to plan.threads. prefetch: of an engine whose options say so; what it has learnt of it stays. */
int hs_engine_set_threads(hs_engine *e, uint32_t threads, struct hs_err *err);
void hs_engine_set_prefetch(hs_engine *e, bool prefetch);
uint32_t hs_engine_experts_per_token(const hs_engine *e); /* of one layer */
uint32_t hs_engine_experts_per_layer(const hs_engine *e);
/* "# layer=…" lines of the trace header: number of MoE layers, and for each its number and bytes. */
uint32_t hs_engine_moe_layers(const hs_engine *e, const uint32_t **ret_numbers);

/* ---- requests ---- */

typedef struct hs_sampling {
    float temperature; /* >= 0; 0 = greedy */
    float top_p;       /* (0, 1]; 1 = off */
    float min_p;       /* [0, 1); 0 = off */
    uint32_t top_k;    /* 0 = off */
    uint64_t seed;     /* used as it is: the caller draws one if the client gave none */
} hs_sampling;

#define HS_MAX_STOP       16
#define HS_MAX_STOP_BYTES 256
#define HS_MAX_SHOWN      8

typedef struct hs_request_options {
    const uint32_t *tokens; /* copied */
    uint32_t n_tokens;
    uint32_t max_tokens; /* 0 = what the context leaves */
    hs_sampling sampling;
    const char *const *stop; /* copied; n_stop <= HS_MAX_STOP, each 1..HS_MAX_STOP_BYTES */
    uint32_t n_stop;
    bool ignore_eos;
    /* Special tokens that become text, with a byte 0xff in front, which text never has; all others are left out.
     * Copied; n_shown <= HS_MAX_SHOWN. */
    const uint32_t *shown;
    uint32_t n_shown;
    uint64_t client;     /* requests of one client take turns with those of others */
    const char *profile; /* for which its uses of experts count; NULL = the engine's */
    uint32_t timeout_s;  /* 0 = none: total time, after which it fails with -ETIMEDOUT */
    /* Something to poll; called on the engine thread; must not block or call back into the engine. May be NULL. */
    void (*notify)(void *user);
    void *notify_user;
} hs_request_options;

typedef struct hs_request hs_request;
typedef enum hs_request_state {
    HS_REQUEST_QUEUED,
    HS_REQUEST_PREFILL,
    HS_REQUEST_DECODE,
    HS_REQUEST_DONE,
    HS_REQUEST_FAILED
} hs_request_state;
typedef enum hs_finish { HS_FINISH_NONE, HS_FINISH_STOP, HS_FINISH_LENGTH, HS_FINISH_CANCELLED } hs_finish;

typedef struct hs_request_status {
    hs_request_state state;
    hs_finish finish;
    uint32_t queue_position;              /* 0 = next, while QUEUED */
    uint64_t prefill_done, prefill_total; /* layer-tokens */
    uint32_t prefill_tokens;              /* of receipt.prompt_tokens; a chunk's count as its layers are done */
    int error;                            /* FAILED: negative errno, with the sentence below */
    char error_text[300];
    hs_receipt receipt; /* so far */
} hs_request_status;

/* Starts the engine thread. */
int hs_engine_start(hs_engine *e, struct hs_err *err);

/* Errors: -EAGAIN queue full; -E2BIG the prompt leaves no room for an answer, or max_tokens exceeds any context (what
 * only this prompt leaves no room for is cut); -EINVAL a bad value (the sentence names it); -ESHUTDOWN draining. */
int hs_request_submit(hs_engine *e, const hs_request_options *opt, hs_request **ret_request, struct hs_err *err);
/* Moves generated text (whole UTF-8 characters, stop strings held back) into buf: bytes written. A reader that lets
 * more than 64 KiB pile up pauses its own request, nobody else's. */
size_t hs_request_read(hs_request *r, char *buf, size_t cap);
void hs_request_get_status(hs_request *r, hs_request_status *ret_status);
/* Text may still be unread when DONE: read until 0 after seeing DONE or FAILED. Destroy cancels what still runs: a
 * queue place is free at once, slot and KV after the running layer of its prefill or the running token. notify is not
 * called after destroy has returned. */
void hs_request_destroy(hs_request **r);

/* No new requests from now on; returns at once. hs_engine_get_stats tells when active and queued are 0. */
void hs_engine_drain(hs_engine *e);

#endif
