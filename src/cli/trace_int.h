/*
 * trace_int.h - what the readers of traces share: lines of a text that may be gzipped, and the rows that they make of
 * it.
 */
#ifndef HS_CLI_TRACE_INT_H
#define HS_CLI_TRACE_INT_H

#include "cli/gzip.h"
#include "cli/trace_read.h"

#define HS__TRACE_MAX_TURN UINT16_MAX
#define HS__TRACE_MAX_STEP ((1u << 24) - 1)
#define HS__TRACE_MAX_SLOT 255
#define HS__TRACE_ABSENT   UINT16_MAX
#define HS__TRACE_WINDOW   (64u << 10)
#define HS__TRACE_MAX_LINE 4096

typedef struct hs__trace_row {
    uint64_t key; /* hs__trace_key */
    uint32_t expert;
} hs__trace_row;

typedef struct hs__trace_reader {
    const char *where;
    hs_err *err;
    const char *at, *end; /* of what is at hand, what is not read yet; *end is 0 */
    hs_gunzip *gunzip;    /* where more comes from, into window; NULL = all is at hand */
    char *window;
    size_t n_unpacked;
    size_t line; /* number of the one being read */
    bool all;
    hs_trace t;
    size_t cap_layers;
    uint16_t index[HS_TRACE_MAX_LAYERS]; /* of a layer's number among those with experts, or HS__TRACE_ABSENT */
    hs__trace_row *rows;
    size_t n_rows, cap_rows;
} hs__trace_reader;

/* What uses are ordered by: turn (16 bits), phase (1), step (24), layer (12, as numbered in the model), slot (8). */
static inline uint64_t hs__trace_key(uint64_t turn, uint64_t phase, uint64_t step, uint64_t layer, uint64_t slot)
{
    return ((turn << 1 | phase) << 24 | step) << 20 | layer << 8 | slot;
}

/* -EINVAL, naming the line. */
int hs__trace_bad(const hs__trace_reader *r, const char *what);
/* Moves what is not read to the window's front and fills it; without gunzip nothing can come any more. */
int hs__trace_fill(hs__trace_reader *r) HS_MUST_CHECK;
/* The next line, without its end: 1, or 0 behind the last, or an error. It is good until the next call. */
int hs__trace_line(hs__trace_reader *r, const char **ret_line, size_t *ret_n) HS_MUST_CHECK;
/* Digits, at most max; *at moves behind them. */
bool hs__trace_number(const char **at, const char *end, uint64_t max, uint64_t *ret);
/* A finite number; *at moves behind it. The line's end must not be a digit, as a line's never is. */
bool hs__trace_weight(const char **at, const char *end);
/* The layer is in t.n_moe_layers from now on; index[] is set by whoever knows the order. */
int hs__trace_add_layer(hs__trace_reader *r, uint64_t expert_bytes) HS_MUST_CHECK;
int hs__trace_add_row(hs__trace_reader *r, uint64_t key, uint32_t expert) HS_MUST_CHECK;
/* Refuses more than HS_TRACE_MAX_OBJECTS. */
int hs__trace_check_objects(const hs__trace_reader *r) HS_MUST_CHECK;

/* Everything from the first line on, each in its format; they leave rows, t's shape, and index[] of every row's layer.
 */
int hs__trace_read_csv(hs__trace_reader *r) HS_MUST_CHECK;
int hs__trace_read_calls(hs__trace_reader *r) HS_MUST_CHECK;
/* Does a text begin as a list of calls does? text[n] is 0. */
bool hs__trace_is_calls(const char *text, size_t n);

#endif
