/* rooms: model */
/*
 * bench_attention.c - attention alone, on one layer with a narrow hidden state, so that projections cost next to
 * nothing.
 *
 * Prints one JSON object. "decode": per shape, cache type, threads and context the milliseconds of a layer, tokens/s of
 * all the model's layers together, and GFLOP/s over the cache (what the layer takes beyond that with one key, which is
 * applying kv_b). "prefill": the milliseconds of a layer for the whole prompt; "gflops" counts scores and weighted
 * values below the diagonal, "gflops_all" also the expansion of keys and values from latents, which each chunk repeats.
 * Best of several rounds: the machine may be busy with something else; with one thread of the processor's time, if that
 * is less. Usage: bench_attention [MAX_THREADS, default 2]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/model.h"

#define HIDDEN      64u
#define VOCAB       32u
#define CHUNK       512u
#define PROMPT      2048u
#define MAX_CONTEXT 16386u
#define MAX_TENSORS 20u

typedef struct shape {
    const char *name, *config;
    uint32_t layers; /* of the real model */
    uint32_t heads, qk, v, kv_heads, kv_lora, rope;
} shape;

#define COMMON                                                                                                         \
    "\"hidden_size\":64,\"vocab_size\":32,\"num_hidden_layers\":1,\"rms_norm_eps\":1e-6,\"hidden_act\":\"silu\","      \
    "\"intermediate_size\":16,\"moe_intermediate_size\":16,\"num_experts_per_tok\":1,\"rope_theta\":10000,"            \
    "\"max_position_embeddings\":32768,\"tie_word_embeddings\":false,"
#define MLA                                                                                                            \
    "\"model_type\":\"deepseek_v3\",\"q_lora_rank\":null,\"kv_lora_rank\":512,\"qk_nope_head_dim\":128,"               \
    "\"qk_rope_head_dim\":64,\"v_head_dim\":128,\"n_routed_experts\":1,"                                               \
    "\"scoring_func\":\"sigmoid\",\"topk_method\":\"noaux_tc\","

static const shape shapes[] = {
    {"mla-128", "{" COMMON MLA "\"num_attention_heads\":128}", 61, 128, 192, 128, 0, 512, 64},
    {"mla-16", "{" COMMON MLA "\"num_attention_heads\":16}", 27, 16, 192, 128, 0, 512, 64},
    {"gqa-32/4x128",
     "{" COMMON "\"model_type\":\"qwen3_moe\",\"num_attention_heads\":32,\"num_key_value_heads\":4,\"head_dim\":128,"
     "\"num_experts\":1}",
     48, 32, 128, 128, 4, 0, 0},
};

typedef struct bench {
    const shape *shape;
    hs_tensor tensors[MAX_TENSORS];
    const void *bytes[MAX_TENSORS], *dense[MAX_TENSORS];
    hs_checkpoint c;
    hs_model_spec *spec;
    hs_model *m;
    hs_pool *pool;
    hs_kv kv;
} bench;

static void fill_bf16(void *p, uint64_t n, uint32_t seed)
{
    uint64_t s = seed + 1;
    for (uint64_t i = 0; i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        float v = (float)((int64_t)s >> 40) * 0x1p-27f;
        uint32_t bits;
        memcpy(&bits, &v, 4);
        ((uint16_t *)p)[i] = (uint16_t)(bits >> 16);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hs_tensor *)a)->name, ((const hs_tensor *)b)->name);
}

static void add(bench *b, const char *name, uint32_t rows, uint32_t cols)
{
    b->tensors[b->c.n_tensors++] = (hs_tensor){.name = name,
                                               .dtype = HS_DTYPE_BF16,
                                               .n_dims = cols ? 2 : 1,
                                               .dims = {rows, cols ? cols : 1, 1, 1},
                                               .nbytes = 2ull * rows * (cols ? cols : 1),
                                               .record = HS_NO_RECORD};
}

#define LAYER "model.layers.0."

static void add_tensors(bench *b)
{
    const shape *s = b->shape;
    add(b, "model.embed_tokens.weight", VOCAB, HIDDEN);
    add(b, "lm_head.weight", VOCAB, HIDDEN);
    add(b, "model.norm.weight", HIDDEN, 0);
    add(b, LAYER "input_layernorm.weight", HIDDEN, 0);
    add(b, LAYER "post_attention_layernorm.weight", HIDDEN, 0);
    add(b, LAYER "self_attn.q_proj.weight", s->heads * s->qk, HIDDEN);
    add(b, LAYER "self_attn.o_proj.weight", HIDDEN, s->heads * s->v);
    if (s->kv_lora) {
        add(b, LAYER "self_attn.kv_a_proj_with_mqa.weight", s->kv_lora + s->rope, HIDDEN);
        add(b, LAYER "self_attn.kv_a_layernorm.weight", s->kv_lora, 0);
        add(b, LAYER "self_attn.kv_b_proj.weight", s->heads * (s->qk - s->rope + s->v), s->kv_lora);
    } else {
        add(b, LAYER "self_attn.k_proj.weight", s->kv_heads * s->qk, HIDDEN);
        add(b, LAYER "self_attn.v_proj.weight", s->kv_heads * s->v, HIDDEN);
        add(b, LAYER "self_attn.q_norm.weight", s->qk, 0);
        add(b, LAYER "self_attn.k_norm.weight", s->qk, 0);
    }
    add(b, LAYER "mlp.gate.weight", 1, HIDDEN);
    if (s->kv_lora)
        add(b, LAYER "mlp.gate.e_score_correction_bias", 1, 0);
    add(b, LAYER "mlp.experts.0.gate_proj.weight", 16, HIDDEN);
    add(b, LAYER "mlp.experts.0.up_proj.weight", 16, HIDDEN);
    add(b, LAYER "mlp.experts.0.down_proj.weight", HIDDEN, 16);
    qsort(b->tensors, b->c.n_tensors, sizeof *b->tensors, by_name);
    for (uint32_t i = 0; i < b->c.n_tensors; i++) {
        void *p = hs_malloc(b->tensors[i].nbytes);
        if (!p)
            exit(1);
        fill_bf16(p, b->tensors[i].nbytes / 2, i);
        b->bytes[i] = p;
    }
}

/* The one expert, in memory; self is the bench. */
static void x_step(void *self, hs_phase phase, uint32_t n_tokens)
{
    (void)self;
    (void)phase;
    (void)n_tokens;
}

static int x_begin(void *self, uint32_t moe_layer, const hs_expert_want *wants, uint32_t n, uint8_t *ret_resident,
                   hs_err *err)
{
    (void)self;
    (void)moe_layer;
    (void)wants;
    (void)err;
    if (ret_resident)
        memset(ret_resident, 1, n);
    return 0;
}

static int x_wait(void *self, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts, uint32_t *ret_n, hs_err *err)
{
    const bench *b = self;
    (void)max;
    (void)err;
    *ret_index = 0;
    *ret_n = 1;
    for (int i = 0; i < HS_EXPERT_PARTS; i++) {
        uint32_t t = b->spec->expert_parts[i];
        ret_experts->part[i] = t == HS_NO_TENSOR ? NULL : b->bytes[t];
    }
    return 0;
}

static void x_release(void *self, uint32_t index)
{
    (void)self;
    (void)index;
}

static void x_end(void *self)
{
    (void)self;
}

static const hs_experts_ops one_expert = {
    .step = x_step, .begin = x_begin, .wait = x_wait, .release = x_release, .end = x_end};

static void check(int r, const hs_err *err)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static void begin(bench *b, const shape *s, hs_kv_type type, uint32_t threads)
{
    hs_err err;
    json_t *config;
    *b = (bench){.shape = s};
    check(hs_json_load(s->config, strlen(s->config), s->name, &config, &err), &err);
    b->c = (hs_checkpoint){.path = s->name, .config = config, .tensors = b->tensors};
    add_tensors(b);
    check(hs_model_spec_create(&b->c, &b->spec, &err), &err);
    for (uint32_t i = 0; i < b->spec->n_dense_tensors; i++)
        b->dense[i] = b->bytes[b->spec->dense_tensors[i]];
    check(hs_pool_create(threads, &b->pool, &err), &err);
    hs_model_config cfg = {.max_batch = 1,
                           .prefill_chunk = CHUNK,
                           .max_context = MAX_CONTEXT,
                           .kernels = hs_kernels_get(HS_KERNELS_AUTO, NULL),
                           .pool = b->pool};
    check(hs_model_create(b->spec, &cfg, b->dense, (hs_experts){&one_expert, b}, &b->m, &err), &err);
    uint64_t bytes = hs_model_kv_bytes(b->spec, type, MAX_CONTEXT), values = bytes / (type == HS_KV_F16 ? 2 : 4);
    b->kv = (hs_kv){.data = hs_map_alloc(bytes), .type = type, .capacity = MAX_CONTEXT};
    if (!b->kv.data)
        exit(1);
    if (type == HS_KV_Q8)
        memset(b->kv.data, 0x1c, bytes); /* scales of 0.004, elements of 28 */
    for (uint64_t i = 0; type != HS_KV_Q8 && i < values; i++) {
        float v = (float)(i * 2654435761u % 2001u) / 1000.0f - 1.0f;
        if (type == HS_KV_F16)
            cfg.kernels->to_f16(&v, (uint16_t *)b->kv.data + i, 1);
        else
            ((float *)b->kv.data)[i] = v;
    }
}

static void end(bench *b)
{
    hs_map_free(b->kv.data, hs_model_kv_bytes(b->spec, b->kv.type, MAX_CONTEXT));
    hs_model_destroy(&b->m);
    hs_model_spec_destroy(&b->spec);
    hs_pool_destroy(&b->pool);
    for (uint32_t i = 0; i < b->c.n_tensors; i++)
        hs_free((void *)(uintptr_t)b->bytes[i]);
    json_decref(b->c.config);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A span of attention: by the clock, or with one thread by the time that the processor gave to the whole pass. */
typedef struct span {
    uint64_t wall, cpu;
} span;

static span now(const bench *b)
{
    return (span){hs_model_get_times(b->m).attention_ns, cpu_ns()};
}

static uint64_t since(const bench *b, span from)
{
    span to = now(b);
    uint64_t wall = to.wall - from.wall, cpu = to.cpu - from.cpu;
    return hs_pool_threads(b->pool) == 1 && cpu < wall ? cpu : wall;
}

/* Best milliseconds of attention for a token after `context` others. */
static double decode_ms(bench *b, uint32_t context, int rounds)
{
    float logits[VOCAB];
    uint32_t token = 1;
    uint64_t best = UINT64_MAX;
    hs_kv *kv = &b->kv;
    hs_err err;
    for (int i = 0; i < rounds; i++) {
        kv->length = context;
        span from = now(b);
        check(hs_model_decode(b->m, &kv, &token, 1, logits, &err), &err);
        uint64_t took = since(b, from);
        best = took < best ? took : best;
    }
    return (double)best / 1e6;
}

static void decode(const shape *s, hs_kv_type type, uint32_t threads, bool first)
{
    static const uint32_t contexts[] = {512, 4096, 16384};
    bench b;
    begin(&b, s, type, threads);
    double one = decode_ms(&b, 0, 15),
           per_key = 2.0 * s->heads * (s->kv_lora ? 2 * s->kv_lora + s->rope : s->qk + s->v);
    printf("%s{\"shape\":\"%s\",\"kv\":\"%s\",\"threads\":%u,\"ms_one_key\":%.3f", first ? "" : ",\n", s->name,
           type == HS_KV_Q8    ? "q8"
           : type == HS_KV_F16 ? "f16"
                               : "f32",
           threads, one);
    for (uint32_t i = 0; i < 3; i++) {
        double ms = decode_ms(&b, contexts[i], 7);
        printf(",\"%u\":{\"layer_ms\":%.3f,\"tokens_per_s\":%.2f,\"gflops\":%.1f}", contexts[i], ms,
               1e3 / (ms * s->layers), per_key * contexts[i] / (ms - one) / 1e6);
        fflush(stdout);
    }
    printf("}");
    end(&b);
}

static void prefill(const shape *s, uint32_t threads, bool first)
{
    static uint32_t tokens[PROMPT];
    bench b;
    hs_err err;
    begin(&b, s, HS_KV_F16, threads);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < PROMPT; i++)
        tokens[i] = i % VOCAB;
    for (int i = 0; i < 4; i++) {
        b.kv.length = 0;
        span from = now(&b);
        check(hs_model_prefill(b.m, &b.kv, tokens, PROMPT, NULL, 0, NULL, NULL, &err), &err);
        uint64_t took = since(&b, from);
        best = took < best ? took : best;
    }
    double pairs = s->heads * (PROMPT * (PROMPT + 1.0) / 2) * 2 * (s->qk + s->v), expand = 0;
    for (uint32_t n = CHUNK; s->kv_lora && n <= PROMPT; n += CHUNK)
        expand += 2.0 * s->heads * n * s->kv_lora * (s->qk - s->rope + s->v);
    printf("%s{\"shape\":\"%s\",\"threads\":%u,\"tokens\":%u,\"layer_ms\":%.1f,\"gflops\":%.1f,\"gflops_all\":%.1f}",
           first ? "" : ",\n", s->name, threads, PROMPT, (double)best / 1e6, pairs / (double)best,
           (pairs + expand) / (double)best);
    fflush(stdout);
    end(&b);
}

int main(int argc, char **argv)
{
    uint32_t most = argc > 1 ? (uint32_t)atoi(argv[1]) : 2;
    bool first = true;
    printf("{\"decode\":[\n");
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t threads = 1; threads <= most; threads++)
            for (int type = HS_KV_Q8; type >= HS_KV_F32; type--, first = false)
                decode(&shapes[i], (hs_kv_type)type, threads, first);
    printf("],\n\"prefill\":[\n");
    for (uint32_t i = 1; i < 3; i++)
        for (uint32_t threads = 1; threads <= most; threads++)
            prefill(&shapes[i], threads, i == 1 && threads == 1);
    printf("]}\n");
    return 0;
}
