/*
 * watch.h - what a daemon says of itself (/v1/models, /metrics, /slots) as one picture, and two pictures as figures per
 * second. Parsing and formatting are pure; the answers are a daemon's of any version: what one lacks is 0, what is
 * malformed is an error, and everything is bounded by the maxima below.
 */
#ifndef HS_CLI_WATCH_H
#define HS_CLI_WATCH_H

#include "base/json.h"
#include "cli/daemon.h"

#define HS_WATCH_MAX_MODELS   16
#define HS_WATCH_MAX_LAYERS   256
#define HS_WATCH_MAX_SLOTS    256
#define HS_WATCH_MAX_PROFILES 32

/* X(member, metric): of one model, from /metrics. */
#define HS_WATCH_METRICS(X)                                                                                            \
    X(queued, "hotset_queue_depth")                                                                                    \
    X(active, "hotset_slots_busy")                                                                                     \
    X(prompt_tokens, "hotset_prompt_tokens_total")                                                                     \
    X(generated_tokens, "hotset_generated_tokens_total")                                                               \
    X(done, "hotset_generations_done_total")                                                                           \
    X(failed, "hotset_generations_failed_total")                                                                       \
    X(cancelled, "hotset_generations_cancelled_total")                                                                 \
    X(kv_bytes, "hotset_kv_bytes")                                                                                     \
    X(hits, "hotset_expert_cache_hits_total")                                                                          \
    X(misses, "hotset_expert_cache_misses_total")                                                                      \
    X(resident, "hotset_expert_cache_resident")                                                                        \
    X(slots, "hotset_expert_cache_slots")                                                                              \
    X(slots_planned, "hotset_expert_cache_slots_planned")                                                              \
    X(cache_bytes, "hotset_expert_cache_bytes")                                                                        \
    X(shrinks, "hotset_expert_cache_shrinks_total")                                                                    \
    X(grows, "hotset_expert_cache_grows_total")                                                                        \
    X(pressure, "hotset_memory_pressure_ratio")                                                                        \
    X(read_bytes, "hotset_io_read_bytes_total")                                                                        \
    X(speculative_bytes, "hotset_io_speculative_bytes_total")                                                          \
    X(io_errors, "hotset_io_errors_total")                                                                             \
    X(io_busy_s, "hotset_io_busy_seconds_total")                                                                       \
    X(prefetch_issued, "hotset_prefetch_issued_total")                                                                 \
    X(prefetch_useful, "hotset_prefetch_useful_total")                                                                 \
    X(stall_s, "hotset_stall_seconds_total")                                                                           \
    X(expand_s, "hotset_expand_seconds_total")                                                                         \
    X(warm_hits, "hotset_experts_warm_hits_total")                                                                     \
    X(warm_bytes, "hotset_warm_tier_bytes")                                                                            \
    X(warm_ratio, "hotset_warm_tier_ratio")                                                                            \
    X(warm_gain, "hotset_warm_tier_gain_ratio")

typedef struct hs_watch_slot {
    uint32_t id;
    char state[12]; /* "prefill", "decode", "paused"; idle ones are only counted */
    uint64_t prompt_tokens, generated_tokens, max_tokens, client_pid; /* client_pid 0: over TCP */
} hs_watch_slot;

typedef struct hs_watch_profile {
    char name[48];
    double requests, hits, misses;
} hs_watch_profile;

typedef struct hs_watch_model {
    char name[128], arch[32], status[12];
    uint64_t experts, memory_bytes, context;
#define X(member, metric) double member;
    HS_WATCH_METRICS(X)
#undef X
    uint32_t n_slots, n_busy; /* sequences; busy ones are listed, as many as there is room for */
    hs_watch_slot busy[HS_WATCH_MAX_SLOTS];
    uint32_t n_profiles;
    hs_watch_profile profiles[HS_WATCH_MAX_PROFILES];
    uint32_t n_layers; /* 0: the daemon does not tell */
    struct {
        uint32_t number, resident;
    } layers[HS_WATCH_MAX_LAYERS];
} hs_watch_model;

typedef struct hs_watch {
    char version[32];
    bool ready;
    int64_t started_at;       /* seconds since the epoch */
    double connections, at_s; /* at_s: when it was taken, of a clock that only rises */
    uint32_t n_models;
    hs_watch_model models[HS_WATCH_MAX_MODELS];
} hs_watch;

/* Asks the daemon; w is the caller's and overwritten, also on failure. */
int hs_watch_take(const hs_daemon *d, hs_watch *w, hs_err *err) HS_MUST_CHECK;
/* The parts of it, in this order; pure. -EPROTO names what is malformed. */
int hs_watch_parse_models(const char *text, size_t len, hs_watch *w, hs_err *err) HS_MUST_CHECK;
int hs_watch_parse_metrics(const char *text, size_t len, hs_watch *w, hs_err *err) HS_MUST_CHECK;
int hs_watch_parse_slots(const char *text, size_t len, hs_watch *w, hs_err *err) HS_MUST_CHECK;

/* Of one model between two pictures of the same daemon. Shares are 0..1, or -1 where nothing happened. */
typedef struct hs_watch_rates {
    double seconds;
    double prompt_per_s, generated_per_s, misses_per_s, read_per_s, speculative_per_s, prefetch_per_s;
    double hit_rate, prefetch_useful, warm_share; /* warm_share: of hits, those that the warm tier served */
    double io_busy, stalled, expanding;           /* of the time */
} hs_watch_rates;
/* before may be NULL, of another start, or lack the model: then since the daemon's start, seconds 0. */
hs_watch_rates hs_watch_rate(const hs_watch *before, const hs_watch *now, uint32_t model);

/* "3h12min", at most 15 characters. */
void hs_watch_uptime(char buf[16], int64_t seconds);

/* The live view: at most rows lines of at most columns characters; now_epoch for the uptime. */
void hs_watch_format_top(const hs_watch *before, const hs_watch *now, const char *address, int64_t now_epoch,
                         unsigned columns, unsigned rows, hs_buf *out);
void hs_watch_format_ps(const hs_watch *w, int64_t now_epoch, hs_buf *out);
/* Everything; before may be NULL: no rates then. NULL = out of memory. */
json_t *hs_watch_json(const hs_watch *before, const hs_watch *now, const char *address, int64_t now_epoch);

#endif
