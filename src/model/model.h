/*
 * model.h - an architecture's forward pass over weights that somebody else brought into memory.
 *
 * Two steps: hs_model_spec_create reads config and tensor directory (no weights) and tells what has to be loaded and
 * how much memory a run takes; hs_model_create binds loaded dense weights and a source of experts. One thread (the
 * engine's) calls prefill and decode; matrices are computed on the pool.
 *
 * Same bits: prompt tokens take the GEMM path and generated tokens the matrix-vector path by rule; nothing depends on
 * chunking, batching, threads or the order in which experts arrive.
 */
#ifndef HS_MODEL_MODEL_H
#define HS_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/checkpoint.h"
#include "base/err.h"
#include "base/pool.h"
#include "math/mat.h"
#include "base/experts.h"

typedef struct hs_model_spec {
    const char *arch; /* "deepseek_v3", … */
    uint32_t n_layers, hidden, vocab;
    uint32_t max_context;                    /* max_position_embeddings */
    uint32_t n_moe_layers, n_experts, top_k; /* top_k of the MoE layers */
    const uint32_t *moe_layer_number;        /* [n_moe_layers] layer number in the model */
    const uint32_t *dense_tensors;           /* tensor indexes that must be loaded, ascending */
    uint32_t n_dense_tensors;
    uint64_t dense_bytes; /* their sum, each rounded up to 64 */
    const uint32_t
        *expert_parts;      /* [n_moe_layers * n_experts][HS_EXPERT_PARTS] tensor indexes, HS_NO_TENSOR = absent */
    uint32_t kv_row_values; /* values per token, all layers together */
    bool expands_kv;        /* MLA: each block of a prompt expands keys and values of all tokens before it */
    int64_t bos_token;      /* -1 if none */
    uint32_t n_eos;         /* ids that end an answer: config and generation_config merged */
    uint32_t eos[16];
    struct hs_arch *detail; /* private to src/model */
} hs_model_spec;

/* Chooses the recipe by config's model_type / architectures, checks every tensor's presence, type and shape. Unknown
 * architectures, and config values the recipe does not implement, are refused by name. The checkpoint must outlive the
 * spec. */
int hs_model_spec_create(const hs_checkpoint *c, hs_model_spec **ret_spec, hs_err *err) HS_MUST_CHECK;
void hs_model_spec_destroy(hs_model_spec **spec);

/* The tensors of a model of which there is only the config.json, as if they were in one file. */
typedef struct hs_described {
    hs_tensor *tensors; /* names are owned */
    uint32_t n_tensors;
    bool gguf; /* stored as in a GGUF file; names are those of safetensors all the same */
} hs_described;

/* type: "published" (FP8 or MXFP4 where config says so, else BF16), "bf16", "q8_0", "mxfp4" (experts; the rest Q8_0),
 * or one of llama.cpp's mixes, as hs_storage_name has them. Experts of gpt-oss are MXFP4 always. A checkpoint of config
 * and these tensors has a spec. Errors as hs_model_spec_create; name is for sentences. */
int hs_model_describe(const char *name, const struct json_t *config, const char *type, hs_described *ret,
                      hs_err *err) HS_MUST_CHECK;
void hs_described_deinit(hs_described *d);
/* The i-th type that hs_model_describe knows, NULL behind the last. */
const char *hs_storage_name(uint32_t i);

/* Q8: 8 bits and a binary16 scale for each 32 values. */
typedef enum hs_kv_type { HS_KV_F32, HS_KV_F16, HS_KV_Q8 } hs_kv_type;

/* A sequence's keys and values. The memory is the caller's (hs_model_kv_bytes of it, 64-byte-aligned); layout is
 * private. */
typedef struct hs_kv {
    void *data;
    hs_kv_type type;
    uint32_t capacity; /* tokens */
    uint32_t length;   /* tokens stored; set to 0 to start anew, or to a smaller value to rewind */
} hs_kv;
uint64_t hs_model_kv_bytes(const hs_model_spec *spec, hs_kv_type type, uint32_t capacity);

typedef struct hs_model_config {
    uint32_t max_batch;     /* sequences decoded side by side, >= 1 */
    uint32_t prefill_chunk; /* prompt tokens per layer-major pass, >= 1 */
    uint32_t max_context;   /* longest sequence */
    const hs_kernels *kernels;
    hs_pool *pool;
    bool predict; /* call experts.hint with next-layer guesses in decode */
    bool q8;      /* ggml's block formats are multiplied by vectors with 8-bit elements, else by floats */
} hs_model_config;

/* Everything a model allocates (activations, tiles, rope tables, partial outputs) on a pool of n_threads: allocated in
 * create, never later. cfg->pool is not looked at. */
uint64_t hs_model_scratch_bytes(const hs_model_spec *spec, const hs_model_config *cfg, uint32_t n_threads);

typedef struct hs_model hs_model;

/* dense[i] = bytes of tensor spec->dense_tensors[i], 4-byte-aligned; borrowed, as is spec. */
int hs_model_create(const hs_model_spec *spec, const hs_model_config *cfg, const void *const *dense, hs_experts experts,
                    hs_model **ret_model, hs_err *err) HS_MUST_CHECK;
void hs_model_destroy(hs_model **model);

/* Observer of routing, for traces and tests: called once per token and MoE layer, on the calling thread, in token
 * order. experts: top_k ids by falling weight; weights: the factors (after normalisation and scaling), raw_sum_to_one:
 * the same normalised to sum 1 before scaling; resident: 1 = was in memory when named. seq: index in the batch (0 in
 * prefill). */
typedef struct hs_route {
    hs_phase phase;
    uint32_t seq, position, layer, top_k; /* layer: number in the model */
    const uint32_t *experts;
    const float *weights;
    const float *normalised;
    const uint8_t *resident;
} hs_route;
typedef void (*hs_route_fn)(void *ctx, const hs_route *route);
void hs_model_on_route(hs_model *m, hs_route_fn fn, void *ctx);

/* Experts of generated tokens that are not the router's choice, for replaying a trace: called once per token and MoE
 * layer on the calling thread, fills ret_experts[top_k] with distinct numbers under n_experts. Their factors are those
 * that the router's scores give them; they are summed in the order given. NULL: the router chooses. */
typedef void (*hs_choose_fn)(void *ctx, uint32_t seq, uint32_t moe_layer, uint32_t *ret_experts);
void hs_model_choose(hs_model *m, hs_choose_fn fn, void *ctx);

/* Called between layers of a long pass; returning nonzero abandons it with -ECANCELED (kv->length is then as before the
 * call). done/total count layer-tokens of this call. */
typedef int (*hs_model_progress)(void *ctx, uint64_t done, uint64_t total);

/* Runs n prompt tokens at positions kv->length.. (GEMM path). logits: NULL, or [n_logits][vocab] for the last n_logits
 * tokens (0 <= n_logits <= n). On success kv->length grows by n; on error it is unchanged. */
int hs_model_prefill(hs_model *m, hs_kv *kv, const uint32_t *tokens, uint32_t n, float *logits, uint32_t n_logits,
                     hs_model_progress progress, void *ctx, hs_err *err) HS_MUST_CHECK;

/* One generated token for each of n <= max_batch sequences, layer by layer over the union of their experts
 * (matrix-vector path). logits: [n][vocab]. On error no kv->length has changed. Each sequence's logits are the same
 * bits as if decoded alone. */
int hs_model_decode(hs_model *m, hs_kv *const *kvs, const uint32_t *tokens, uint32_t n, float *logits,
                    hs_err *err) HS_MUST_CHECK;

/* Prediction quality so far: of the experts that were then used, how many had been guessed. */
typedef struct hs_predict_stats {
    uint64_t guessed, correct, actual; /* guesses made, guesses that came true, experts used in layers with a guess */
} hs_predict_stats;
hs_predict_stats hs_model_predict_stats(const hs_model *m);

/* Nanoseconds spent in the compute of each kind since creation, for the phase split. */
typedef struct hs_model_times {
    uint64_t attention_ns, dense_ffn_ns, expert_ns, router_ns, head_ns;
} hs_model_times;
hs_model_times hs_model_get_times(const hs_model *m);

#endif
