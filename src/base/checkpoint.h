/*
 * checkpoint.h - what a model file says about itself, as plain structs: store fills them, model and text consume them
 * without knowing store. All memory belongs to the hs_checkpoint that the store returned.
 */
#ifndef HS_BASE_CHECKPOINT_H
#define HS_BASE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

#define HS_MAX_DIMS 4

/* A tensor that stacks a layer's experts ("blk.3.ffn_up_exps.weight", [E][rows][cols]) appears as E tensors, one of
 * each expert: "blk.3.ffn_up_exps.weight.17", [rows][cols]. */
typedef struct hs_tensor {
    const char *name; /* NUL-terminated */
    hs_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[HS_MAX_DIMS]; /* row-major, outermost first (GGUF's ne reversed); unused = 1 */
    uint64_t nbytes;            /* of the stored (raw) bytes; checked against dims x dtype when loaded */
    /* Where the bytes are. In a safetensors folder: file index and offset. In a packed folder: the dense file, or, for
     * a tensor of an object, record = its record number and offset = place inside the record's raw bytes. */
    uint32_t file;
    uint32_t record; /* HS_NO_RECORD outside records */
    uint64_t offset;
} hs_tensor;

/* Bytes that need not be text and may hold NUL. */
typedef struct hs_bytes {
    const char *data;
    uint32_t len;
} hs_bytes;

/* The vocabulary that a GGUF file carries (tokenizer.ggml.*), as it stands there: counts and lengths are bounded, what
 * the strings say is not checked. Arrays that the file lacks are NULL with count 0; ids that it lacks, or that no
 * token has, are -1. */
typedef struct hs_vocab_data {
    const char *model, *pre; /* "gpt2", "llama"; "qwen2", ...; NULL = absent */
    const hs_bytes *tokens;  /* [n_tokens] */
    const float *scores;     /* [n_tokens] or NULL */
    const int32_t
        *token_type;        /* [n_tokens] or NULL: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte */
    const hs_bytes *merges; /* [n_merges] "left right" */
    uint32_t n_tokens, n_merges;
    int64_t bos, eos, eot, eom, unknown, padding;
    int add_bos, add_eos, add_space_prefix, remove_extra_whitespaces; /* 0, 1; -1 = absent */
    const char *chat_template;                                        /* NULL = absent */
} hs_vocab_data;

#define HS_NO_RECORD UINT32_MAX
#define HS_NO_TENSOR UINT32_MAX

typedef struct hs_checkpoint {
    const char *path; /* as given by the user */
    /* An object (borrowed): config.json; of a GGUF file its metadata under their own names ("qwen3moe.block_count"),
     * without tokenizer.*. */
    struct json_t *config;
    bool gguf;                        /* what config and tensor names are */
    const hs_vocab_data *vocab;       /* of a GGUF file, else NULL */
    struct json_t *generation_config; /* or NULL */
    const hs_tensor *tensors;         /* sorted by name, strcmp order */
    uint32_t n_tensors;
    uint64_t total_bytes; /* raw bytes of all tensors */
} hs_checkpoint;

/* Whether a safetensors tensor of that name stacks matrices of a layer's experts in its first dimension. Biases stay
 * whole, as in GGUF: they are dense. */
bool hs_stacks_experts(const char *name, uint32_t n_dims);

/* Index of the tensor of that name, or HS_NO_TENSOR. O(log n). */
uint32_t hs_checkpoint_find(const hs_checkpoint *c, const char *name);

#endif
