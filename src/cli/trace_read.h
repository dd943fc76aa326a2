/*
 * trace_read.h - reads a route trace as what a replay takes: which expert each token used. Told by its first bytes, it
 * is route_trace v1 (hotset/trace_format.h) or colibri's ROUTE_TRACE (trace_read_calls.c), either of them plain or
 * gzipped.
 *
 * Rows may come in any order, as in traces of prompts, which run layer by layer; here they are put token by token,
 * layer by layer, slot by slot. Untrusted input: every number is bounded (HS_TRACE_*) and a bad line is an error that
 * names it. Memory: 32 bytes per row at most, beside the file; what is gzipped is never unpacked as a whole.
 */
#ifndef HS_CLI_TRACE_READ_H
#define HS_CLI_TRACE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HS_TRACE_MAX_BYTES   (1u << 30) /* of the file, and of its text */
#define HS_TRACE_MAX_OBJECTS (1u << 20) /* layers with experts x experts of a layer */
#define HS_TRACE_MAX_LAYERS  4096

typedef struct hs_trace {
    char model[128], arch[32]; /* "" = not told */
    uint32_t n_experts, top_k; /* of one layer; experts used per token and layer */
    bool is_counted;           /* the file tells n_experts; else it is the highest that is used, and one */
    uint32_t n_moe_layers;     /* with experts */
    uint64_t *expert_bytes;    /* [n_moe_layers] 0 = not told */
    uint32_t n_tokens;         /* of the phases that were asked for */
    size_t n;                  /* uses */
    uint32_t *object;          /* [n] layer with experts, counted from 0, x n_experts + expert */
    uint32_t *token;           /* [n] from 0, rising */
    uint16_t *turn;            /* [n] the conversation's number */
} hs_trace;

/* data[len] must be 0; where: name for sentences; all: prefill rows too, else decode rows only. The caller ends *ret
 * with hs_trace_deinit. -EINVAL names the line; a trace without a row of that phase is refused. */
int hs_trace_parse(const char *data, size_t len, const char *where, bool all, hs_trace *ret, hs_err *err) HS_MUST_CHECK;
/* The same from a file, a pipe or - (stdin). */
int hs_trace_read(const char *path, bool all, hs_trace *ret, hs_err *err) HS_MUST_CHECK;
/* Does a regular file begin as a trace does? */
bool hs_is_trace(const char *path);
void hs_trace_deinit(hs_trace *t);
/* Tokens that fill the cache uncounted unless the user says otherwise: a quarter, at most HS_TRACE_MAX_WARMUP. */
#define HS_TRACE_MAX_WARMUP 2000u
uint32_t hs_trace_warmup(const hs_trace *t);

#endif
