/* rooms: model math, max_len: 8192 */
/*
 * fuzz_config.c - config.json, or a GGUF file's metadata (if it has general.architecture), and a tensor directory as a
 * recipe reads them. Input: config.json; the directory (config_tensors.h); generation_config.json.
 *
 * A spec that is made is consistent; a small model that it describes runs over weights of any bits, NaN among them,
 * without leaving its memory, and gives the same bits whatever the prefill's pieces are.
 */
#include "base/json.h"
#include "config_tensors.h"
#include "model/model.h"
#include "parts.h"

#define MAX_WEIGHTS (2u << 20) /* bytes of a model that is run */
#define MAX_SCRATCH (64u << 20)
#define CONTEXT     16u
#define N_TOKENS    5u

static directory dir;
static uint8_t weights[MAX_WEIGHTS + 64];

/* ---- experts in memory ---- */

typedef struct experts {
    const hs_model_spec *spec;
    uint32_t layer, n, next;
    uint32_t ids[4096];
} experts;

static void on_step(void *self, hs_phase phase, uint32_t n_tokens)
{
    (void)self;
    (void)phase;
    FUZZ_CHECK(n_tokens > 0);
}

static int on_begin(void *self, uint32_t layer, const hs_expert_want *wants, uint32_t n, uint8_t *ret_resident,
                    hs_err *err)
{
    experts *x = self;
    (void)err;
    FUZZ_CHECK(layer < x->spec->n_moe_layers && n > 0 && n <= x->spec->n_experts && n <= 4096);
    x->layer = layer;
    x->n = n;
    x->next = 0;
    for (uint32_t i = 0; i < n; i++) {
        FUZZ_CHECK(wants[i].expert < x->spec->n_experts && wants[i].n_tokens > 0);
        x->ids[i] = wants[i].expert;
        for (uint32_t k = 0; k < i; k++)
            FUZZ_CHECK(x->ids[k] != x->ids[i]);
        if (ret_resident)
            ret_resident[i] = 1;
    }
    return 0;
}

static int on_wait(void *self, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts, uint32_t *ret_n, hs_err *err)
{
    experts *x = self;
    (void)err;
    FUZZ_CHECK(x->next < x->n && max > 0);
    size_t expert = (size_t)x->layer * x->spec->n_experts + x->ids[x->next];
    for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++)
        ret_experts->part[p] = x->spec->expert_parts[expert * HS_EXPERT_PARTS + p] == HS_NO_TENSOR ? NULL : weights;
    *ret_index = x->next++;
    *ret_n = 1;
    return 0;
}

static void on_release(void *self, uint32_t index)
{
    FUZZ_CHECK(index < ((experts *)self)->n);
}

static void on_end(void *self)
{
    (void)self;
}

/* ---- running ---- */

/* Pseudorandom bytes; of 8 blocks of 64 bytes, `tame` have no exponent that overflows or is NaN. */
static void fill_weights(uint32_t seed, bool tame)
{
    for (size_t i = 0; i < sizeof weights; i++) {
        seed = seed * 1664525u + 1013904223u;
        weights[i] = (uint8_t)(seed >> 24);
        if (tame && i % 2)
            weights[i] = (uint8_t)((weights[i] & 0x80) | 0x3c);
    }
}

/* Logits of N_TOKENS prompt tokens in pieces of `chunk`, and of one decoded token after them. */
static int run(const hs_model_spec *spec, hs_pool *pool, uint32_t seed, uint32_t chunk, float *logits, hs_err *err)
{
    static const hs_experts_ops ops = {
        .step = on_step, .begin = on_begin, .wait = on_wait, .release = on_release, .end = on_end};
    experts x = {.spec = spec};
    hs_model_config cfg = {.max_batch = 1,
                           .prefill_chunk = chunk,
                           .max_context = CONTEXT,
                           .kernels = hs_kernels_get(HS_KERNELS_GENERIC, err),
                           .q8 = seed % 2,
                           .pool = pool};
    hs_kv_type type = (hs_kv_type)(seed / 2 % 3);
    uint64_t kv_bytes = hs_model_kv_bytes(spec, type, CONTEXT);
    if (hs_model_scratch_bytes(spec, &cfg, 1) > MAX_SCRATCH || kv_bytes > MAX_SCRATCH)
        return -E2BIG;
    const void **dense = calloc(spec->n_dense_tensors + 1, sizeof *dense);
    FUZZ_CHECK(dense);
    for (uint32_t i = 0; i < spec->n_dense_tensors; i++)
        dense[i] = weights;
    hs_model *m = NULL;
    hs_kv kv = {.type = type, .capacity = CONTEXT, .data = hs_map_alloc(kv_bytes)}, *kvs = &kv;
    uint32_t tokens[N_TOKENS];
    for (uint32_t i = 0; i < N_TOKENS; i++)
        tokens[i] = i * 7 % spec->vocab;
    int r = hs_model_create(spec, &cfg, dense, (hs_experts){&ops, &x}, &m, err);
    if (r == 0)
        r = hs_model_prefill(m, &kv, tokens, N_TOKENS, logits, 1, NULL, NULL, err);
    if (r == 0)
        r = hs_model_decode(m, &kvs, tokens, 1, logits + spec->vocab, err);
    FUZZ_CHECK(r < 0 || kv.length == N_TOKENS + 1);
    hs_model_destroy(&m);
    hs_map_free(kv.data, kv_bytes);
    free(dense);
    return r;
}

static void run_twice(const hs_model_spec *spec, uint32_t seed)
{
    hs_err err = {0};
    hs_pool *pool = NULL;
    size_t n = 2 * (size_t)spec->vocab;
    float *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
    FUZZ_CHECK(a && b && hs_pool_create(1, &pool, &err) == 0);
    fill_weights(seed, seed % 4 != 0);
    int r = run(spec, pool, seed, N_TOKENS, a, &err), again = run(spec, pool, seed, 2, b, &err);
    if (r == 0 && again == 0)
        FUZZ_CHECK(!memcmp(a, b, n * sizeof *a));
    hs_pool_destroy(&pool);
    free(a);
    free(b);
}

/* ---- the spec ---- */

static uint64_t biggest_tensor(const hs_checkpoint *c)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < c->n_tensors; i++)
        best = c->tensors[i].nbytes > best ? c->tensors[i].nbytes : best;
    return best;
}

static void check_spec(const hs_model_spec *s, const hs_checkpoint *c)
{
    uint64_t bytes = 0;
    FUZZ_CHECK(s->arch && s->n_layers && s->hidden && s->vocab && s->top_k && s->top_k <= s->n_experts);
    FUZZ_CHECK(s->n_moe_layers && s->n_moe_layers <= s->n_layers && s->n_eos <= 16 && s->kv_row_values);
    for (uint32_t i = 0; i < s->n_moe_layers; i++)
        FUZZ_CHECK(s->moe_layer_number[i] < s->n_layers && (!i || s->moe_layer_number[i] > s->moe_layer_number[i - 1]));
    for (uint32_t i = 0; i < s->n_dense_tensors; i++) {
        FUZZ_CHECK(s->dense_tensors[i] < c->n_tensors && (!i || s->dense_tensors[i] > s->dense_tensors[i - 1]));
        bytes += hs_align_up(c->tensors[s->dense_tensors[i]].nbytes, 64);
    }
    FUZZ_CHECK(bytes == s->dense_bytes);
    for (size_t i = 0; i < (size_t)s->n_moe_layers * s->n_experts * HS_EXPERT_PARTS; i++)
        FUZZ_CHECK(s->expert_parts[i] < c->n_tensors || s->expert_parts[i] == HS_NO_TENSOR);
    FUZZ_CHECK(hs_model_kv_bytes(s, HS_KV_F32, 1) >= 4ull * s->kv_row_values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *config, *lines, *generation;
    size_t n = take_part(&data, &size, &config), n_lines = take_part(&data, &size, &lines),
           n_generation = take_part(&data, &size, &generation);
    static const hs_vocab_data vocab = {.bos = 0, .eos = 1, .eot = 2, .eom = -1};
    hs_checkpoint c = {.path = "model"};
    hs_model_spec *spec = NULL;
    hs_err err = {0};
    if (hs_json_load(config, n, "config.json", &c.config, &err) < 0)
        return 0;
    if (!json_is_object(c.config)) {
        json_decref(c.config);
        return 0;
    }
    if (hs_json_load(generation, n_generation, "generation_config.json", &c.generation_config, &err) == 0 &&
        !json_is_object(c.generation_config)) {
        json_decref(c.generation_config);
        c.generation_config = NULL;
    }
    c.gguf = json_object_get(c.config, "general.architecture") != NULL;
    c.vocab = c.gguf ? &vocab : NULL;
    directory_read(&dir, lines, n_lines, &c);
    int r = hs_model_spec_create(&c, &spec, &err);
    FUZZ_CHECK(r == 0 ? spec != NULL : spec == NULL && r == err.code && *err.text);
    if (r == 0) {
        check_spec(spec, &c);
        if (biggest_tensor(&c) <= MAX_WEIGHTS && spec->vocab <= 4096)
            run_twice(spec, (uint32_t)n * 31 + (uint32_t)n_lines);
    }
    hs_model_spec_destroy(&spec);
    json_decref(c.config);
    json_decref(c.generation_config);
    return 0;
}
