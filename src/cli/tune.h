/*
 * tune.h - what `tune` finds out, as lines of a configuration with the reason for each, and the figures behind them.
 *
 * Parts, in the order in which they are measured: the drive, one engine in several ways by turns (which also records
 * the routes that its tokens take), policies by replaying routes. What could not be told apart stays as it is
 * configured, and the reason says so.
 */
#ifndef HS_CLI_TUNE_H
#define HS_CLI_TUNE_H

#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "cli/compare.h"
#include "cli/trace_read.h"
#include "hotset/hotset.h"
#include "store/calibrate.h"

#define HS_TUNE_MAX_LINES 16
#define HS_TUNE_LEAST     0.03 /* of tokens/s or of the drive's bytes/s: less is not worth a line */

typedef struct hs_tune_line {
    const char *section, *key; /* literals */
    char value[64];
    char why[600];
    bool is_measured;       /* the rest is there */
    double gain, low, high; /* expected of tokens/s over what is configured, 0.1 = 10 % more, and its spread */
} hs_tune_line;

typedef struct hs_tune {
    const hs_config *config; /* what holds so far; borrowed */
    hs_tune_line line[HS_TUNE_MAX_LINES];
    size_t n;
    char about[400]; /* sentences for the head of the file */
    hs_buf table;    /* what sizes of the cache bring, as text; "" = not known */
    json_t *figures; /* object; owned */
} hs_tune;

/* One more line; neighbours of one section share its heading. The reason is cut to what fits, control characters
 * become blanks: it will be a comment. */
hs_tune_line *hs_tune_add(hs_tune *t, const char *section, const char *key, const char *value, const char *why, ...)
    HS_PRINTF(5, 6);
/* As hs_tune_add, with the value that is configured. */
#define hs_tune_keep(t, section, key, ...)                                                                             \
    hs_tune_add((t), (section), (key), hs_config_str((t)->config, (section), (key)), __VA_ARGS__)
/* Takes over value; NULL: out of memory. */
int hs_tune_figure(hs_tune *t, const char *name, json_t *value, hs_err *err) HS_MUST_CHECK;
/* "+3.1 % (1.2 to 4.8 %)" */
const char *hs_tune_percent(double gain, double low, double high, char *buf, size_t cap);
json_t *hs_comparison_json(const hs_comparison *c);

/* A configuration file. Lines that change nothing, because they say what is configured and what is the default, are
 * comments. */
void hs_tune_format(const hs_tune *t, hs_buf *out);
/* {"choices": {section: {key: {"value", "changes", "why", "gain", "low", "high"}}}, "figures": {...}}, a new
 * reference; NULL: out of memory. */
json_t *hs_tune_json(const hs_tune *t);

/* ---- the parts: -ECANCELED if the user has asked to stop ---- */

/* The drive. */
typedef struct hs_tune_drive {
    bool is_known; /* else `why` says why not */
    char why[500];
    bool was_kept; /* the calibration was there already */
    bool is_other; /* it is not what is configured, and was compared with that */
    hs_io_choice choice;
    hs_comparison against; /* bytes/s of the choice and of what is configured */
} hs_tune_drive;
/* Calibrates path's drive where that has not been done, in `seconds` at most, and keeps the result for serve; if that
 * is not what is configured, both are measured by turns, in as long again. */
int hs_tune_drive_measure(const hs_config *c, const char *path, double seconds, hs_tune_drive *ret,
                          hs_err *err) HS_MUST_CHECK;
/* [io]. wait_share: of a token's time, for which it waits for the drive. */
void hs_tune_drive_lines(hs_tune *t, const hs_tune_drive *d, double wait_share);

/* What decoding was like as configured. */
typedef struct hs_tune_pace {
    double tokens_per_s, low, high; /* median and quartiles of the rounds */
    double wait_share;              /* of the time */
    double hit_rate;
    uint32_t rounds, tokens; /* of a round */
} hs_tune_pace;
/* prefetch.mode, compute.threads: one engine, whose tokens are the model's own at temperature 1, decodes in each way by
 * turns for `seconds`. opt: what the daemon would load, with the size of its cache in bytes. *ret_routes: of all
 * tokens, to be ended by hs_trace_deinit. The lines are added to t. */
int hs_tune_speed(hs_tune *t, const hs_engine_options *opt, const hs_plan *plan, double seconds, hs_tune_pace *ret_pace,
                  hs_trace *ret_routes, hs_err *err) HS_MUST_CHECK;

/* What a trace is replayed for. */
typedef struct hs_tune_replay {
    const char *source; /* where the routes are from, for sentences: "of the trace" */
    uint32_t n_slots;
    double wait_share, tokens_per_s; /* of a live model as configured; 0 = not known */
    double bytes_per_s, compute_s;   /* of a trace alone: drive, and what a token computes; 0 = not told */
} hs_tune_replay;
/* cache.policy, cache.scope, and the table of sizes: replays the trace under every policy and scope. *ret_hits: of the
 * choice. */
int hs_tune_cache(hs_tune *t, const hs_trace *trace, const hs_tune_replay *how, double *ret_hits,
                  hs_err *err) HS_MUST_CHECK;

/* ---- routes ---- */

/* Records the routes of generated tokens while an engine runs: bounded, one thread. */
typedef struct hs_routes {
    hs_trace trace;
    const uint32_t *layers; /* [n_moe_layers] their numbers; borrowed */
    uint32_t cap_tokens, n_now;
    uint16_t turn;
    bool is_whole; /* of the token under way */
} hs_routes;
uint64_t hs_routes_bytes(uint64_t token_cycle);
int hs_routes_init(hs_routes *r, hs_engine *e, hs_err *err) HS_MUST_CHECK;
void hs_routes_deinit(hs_routes *r);
void hs_routes_begin(hs_routes *r, bool new_turn);
/* The token under way is kept, if it is whole and there is room. */
void hs_routes_keep(hs_routes *r);
/* For hs_engine_on_route. */
void hs_routes_on_route(void *routes, const hs_route_event *ev);

/* What changes if of a token's time the share `wait` becomes `times` of it: 0.1 = 10 % more tokens/s. Pure. */
double hs_tune_gain(double wait, double times);

#endif
