/*
 * trace_csv.h - writes route_trace v1 (hotset/trace_format.h) while a model runs.
 *
 * A prompt runs layer by layer, but the trace lists token by token: rows of one chunk of tokens are held and written in
 * order at the end of the chunk. Gzipped if the name ends in .gz. Memory: chunk_tokens x layers x top_k x 8 bytes and
 * what the file buffers, allocated at create. One thread.
 */
#ifndef HS_CLI_TRACE_CSV_H
#define HS_CLI_TRACE_CSV_H

#include <stdint.h>

#include "base/err.h"
#include "hotset/hotset.h"

typedef struct hs_trace_layer {
    uint32_t number; /* in the model */
    uint64_t expert_bytes, dense_bytes;
} hs_trace_layer;

typedef struct hs_trace_info {
    const char *model; /* name; blanks are written as '_' */
    const char *arch;
    uint32_t n_layers, n_experts, top_k;
    const hs_trace_layer *layers; /* that have experts; copied */
    uint32_t n_moe_layers;
    uint32_t chunk_tokens; /* most tokens between two calls of hs_trace_csv_end_chunk */
} hs_trace_info;

typedef struct hs_trace_csv hs_trace_csv;

uint64_t hs_trace_csv_bytes(const hs_trace_info *info);
int hs_trace_csv_create(const char *path, const hs_trace_info *info, hs_trace_csv **ret_trace,
                        hs_err *err) HS_MUST_CHECK;
/* A chunk of n <= chunk_tokens tokens from that position on begins. */
void hs_trace_csv_begin_chunk(hs_trace_csv *t, uint32_t first_position, uint32_t n, bool decode);
/* For hs_engine_on_route; ctx is the hs_trace_csv. Events outside the chunk are counted as a failure. */
void hs_trace_csv_on_route(void *ctx, const hs_route_event *ev);
void hs_trace_csv_end_chunk(hs_trace_csv *t);
/* -EINVAL if an event was missing or out of place; the file exists from here on. */
int hs_trace_csv_commit(hs_trace_csv *t, hs_err *err) HS_MUST_CHECK;
/* NULL-safe; without commit nothing is left behind. */
void hs_trace_csv_destroy(hs_trace_csv **t);

#endif
