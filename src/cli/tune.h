/*
 * tune.h - what `tune` finds out, part by part, as lines of a configuration with the reason for each, and the figures
 * behind them. A part that could not be measured keeps what is configured and says why.
 */
#ifndef HS_CLI_TUNE_H
#define HS_CLI_TUNE_H

#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "cli/trace_read.h"
#include "hotset/hotset.h"

#define HS_TUNE_MAX_LINES 16

typedef struct hs_tune_line {
    const char *section, *key; /* literals */
    char value[64];
    char why[400];
} hs_tune_line;

typedef struct hs_tune {
    const hs_config *config; /* what holds so far; borrowed */
    uint64_t end_ns;         /* nothing that takes long begins after it */
    hs_tune_line line[HS_TUNE_MAX_LINES];
    size_t n;
    json_t *figures; /* object; owned */
} hs_tune;

/* One more line; neighbours of one section share its heading. The reason is cut to what fits, control characters
 * become blanks: it will be a comment. */
void hs_tune_add(hs_tune *t, const char *section, const char *key, const char *value, const char *why, ...)
    HS_PRINTF(5, 6);
/* As hs_tune_add, with the value that is configured. */
#define hs_tune_keep(t, section, key, ...)                                                                             \
    hs_tune_add((t), (section), (key), hs_config_str((t)->config, (section), (key)), __VA_ARGS__)
/* Takes over value; NULL: out of memory. */
int hs_tune_figure(hs_tune *t, const char *name, json_t *value, hs_err *err) HS_MUST_CHECK;

/* A configuration file. */
void hs_tune_format(const hs_tune *t, hs_buf *out);
/* {"choices": {section: {key: value}}, "figures": {...}}, a new reference; NULL: out of memory. */
json_t *hs_tune_json(const hs_tune *t);

/* The parts. -ECANCELED: the user has asked to stop. */

/* cache.policy, cache.scope: replays the trace with n_slots under every policy and scope. *ret_hits: the hit rate of
 * the choice. */
int hs_tune_cache(hs_tune *t, const hs_trace *trace, uint32_t n_slots, double *ret_hits, hs_err *err) HS_MUST_CHECK;
/* [io]: the calibration of path's drive, kept or made now in a quarter of the time that is left. *ret_bytes_per_s: what
 * the drive gives, 0 = not known. */
int hs_tune_io(hs_tune *t, const char *path, double *ret_bytes_per_s, hs_err *err) HS_MUST_CHECK;
/* prefetch.mode, compute.threads: decodes the same random tokens in each way, by turns, a new engine each time. */
int hs_tune_speed(hs_tune *t, const hs_engine_options *opt, const hs_plan *plan, hs_err *err) HS_MUST_CHECK;

#endif
