/*
 * source.h - an opened model: a folder of safetensors as published, a GGUF file (the first part of a split one), or a
 * folder packed by `hotset pack`.
 *
 * Immutable after open, so every thread may read. Untrusted input: every count, offset and length is checked at open,
 * so that later code may rely on: each tensor's bytes lie inside its file or record; no two tensors of a file overlap;
 * a record's frames add up to stored_bytes and raw_bytes.
 */
#ifndef HS_STORE_SOURCE_H
#define HS_STORE_SOURCE_H

#include <stdbool.h>

#include "base/checkpoint.h"
#include "base/err.h"
#include "base/pool.h"

typedef struct hs_source hs_source;

/* Opens folder `path` (of safetensors: config.json required) or file `path` (GGUF) and reads all headers and tables, no
 * weights. */
int hs_source_open(const char *path, hs_source **ret_source, hs_err *err) HS_MUST_CHECK;
/* A source without files, for planning: config (borrowed reference is taken) and tensors (copied) are what a model
 * would have. Nothing can be loaded from it. */
int hs_source_describe(const char *name, struct json_t *config, const hs_tensor *tensors, uint32_t n,
                       hs_source **ret_source, hs_err *err) HS_MUST_CHECK;
void hs_source_close(hs_source **source);

/* For who reads the files beside the weights (tokenizer, template) without opening the source: if folder `path` is
 * packed, are they what was packed? hs_source_open looks itself. */
int hs_source_check_files(const char *path, hs_err *err) HS_MUST_CHECK;

/* Another copy of the same model at `path`, on another drive: from now on objects and loads read from either. Before
 * anything else uses the source. -ESTALE with the difference if it is not the same: of a pack all tables are compared,
 * of the others names, sizes and the whole directory, and of the weights a sample from all over each file. */
#define HS_MAX_MIRRORS 3u
int hs_source_add_mirror(hs_source *s, const char *path, hs_err *err) HS_MUST_CHECK;

const hs_checkpoint *hs_source_checkpoint(const hs_source *s);
bool hs_source_is_packed(const hs_source *s);
/* Of a packed model: bytes of the shards that keep raw what is compressed in others; 0 = none. */
uint64_t hs_source_raw_bytes(const hs_source *s);
/* Name of the i-th file with weights, within its folder; NULL behind the last. */
const char *hs_source_file(const hs_source *s, uint32_t i);
/* Bytes held by directory, tables and, of a GGUF model, config and vocabulary (for the memory plan). */
uint64_t hs_source_bytes(const hs_source *s);
/* 16 bytes that identify the weights: hash of all tensor names, shapes, sizes and of the files' sizes and mtimes
 * (safetensors, GGUF), or the pack's identity. For naming state files, not for integrity. */
const uint8_t *hs_source_identity(const hs_source *s);
/* Bytes on disk of tensor i's share (stored size; for a tensor in a record with compressed parts, of its frames). */
uint64_t hs_source_stored_bytes(const hs_source *s, uint32_t tensor);

/* One tensor to bring into memory: dst has room for its nbytes. */
typedef struct hs_load {
    uint32_t tensor;
    void *dst;
} hs_load;

/* Loads n tensors (blocking; reads and decodes in parallel on pool; checksums verified where the format has them).
 * how (may be NULL): engine, buffered and patience of the hs_io that is used; the rest of it is not looked at.
 * progress (may be NULL) is called from the calling thread with bytes done so far, while it waits too; returning
 * nonzero cancels (-ECANCELED). Temporary memory stays under HS_LOAD_SCRATCH_BYTES. Errors name file and tensor or
 * record; -ETIMEDOUT: the drive does not answer, and what its reads write into stays until the process ends. */
#define HS_LOAD_SCRATCH_BYTES (16ull << 20)
struct hs_io_config;
typedef int (*hs_load_progress)(void *ctx, uint64_t done, uint64_t total);
int hs_source_load(const hs_source *s, const hs_load *loads, uint32_t n, hs_pool *pool, const struct hs_io_config *how,
                   hs_load_progress progress, void *ctx, hs_err *err) HS_MUST_CHECK;

#endif
