/*
 * speed.c - what this machine computes of a model per second, before any weight is there: the model's own forward pass
 * over some of its layers, whose matrices all lie in one region of zeros and whose experts are always in memory.
 *
 * Layers up to the first one with experts are run, then WIDER more; the difference, times the layers that are left,
 * makes the whole model. Consecutive matrices take consecutive parts of the region, which is bigger than processors'
 * caches, so that memory is read as in earnest. With zeros all tokens choose the same experts: prompts of several
 * lengths tell what an expert costs by the number of its tokens, and the rest by that of all; two of the longer ones
 * tell what each token costs and what they share. Of prompts only the fewer layers are run: what their layers without
 * experts have more than others is known from the generated token. Of a packed model some experts are read and decoded.
 *
 * One thread and the pool.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_int.h"
#include "engine/memory.h"

#define REGION_BYTES (256ull << 20)
#define WIDER        6u /* of two the noise of one is multiplied by half of the model's layers: 34 to 46 ms for 35 */
#define MOST_CONTEXT 1024u
#define LAST         (HS_SPEED_POINTS - 1)
#define FEW          (LAST - 2u) /* kernels take no more at once from there on */
#define MANY         hs_speed_tokens[LAST]
#define ENOUGH_S     0.05 /* of a measurement */
#define SLOW_S       0.2  /* once is enough of a prompt */
#define TASKS        64u

typedef struct trial {
    hs__opened opened;
    hs_pool *pool;
    char *region;
    uint64_t region_bytes, at;
    double fresh_s;     /* that clearing it took */
    const void **dense; /* [n_dense_tensors] */
    /* The experts' side. */
    const hs_expert_want *wants;
    uint32_t moe_layer, n_wants, n_given;
    uint64_t expert_bytes; /* given out so far */
    /* Of the layers at hand. */
    hs_model_spec spec;
    hs_model *model;
    void *kv_memory;
    uint64_t kv_bytes;
    hs_kv kv;
    float *logits;
    uint32_t *tokens;
    uint32_t prompt_context; /* tokens before a prompt's: what the ones of a chunk have before them on average */
} trial;

/* The next n bytes of the region; it goes round. */
static const void *next_bytes(trial *t, uint64_t n)
{
    uint64_t room = hs_align_up(n, 64);
    if (t->at + room > t->region_bytes)
        t->at = 0;
    const void *p = t->region + t->at;
    t->at += room;
    return p;
}

static void on_step(void *self, hs_phase phase, uint32_t n)
{
    (void)self;
    (void)phase;
    (void)n;
}

static int on_begin(void *self, uint32_t moe_layer, const hs_expert_want *wants, uint32_t n, uint8_t *resident,
                    hs_err *err)
{
    trial *t = self;
    (void)err;
    t->wants = wants;
    t->moe_layer = moe_layer;
    t->n_wants = n;
    t->n_given = 0;
    if (resident)
        memset(resident, 1, n);
    return 0;
}

static int on_wait(void *self, uint32_t max, uint32_t *index, hs_expert *experts, uint32_t *ret_n, hs_err *err)
{
    trial *t = self;
    const hs_checkpoint *c = hs_source_checkpoint(t->opened.source);
    uint32_t n = 0;
    (void)err;
    for (; n < max && t->n_given < t->n_wants; n++, t->n_given++) {
        size_t object = (size_t)t->moe_layer * t->spec.n_experts + t->wants[t->n_given].expert;
        index[n] = t->n_given;
        for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++) {
            uint32_t tensor = t->spec.expert_parts[object * HS_EXPERT_PARTS + p];
            uint64_t bytes = tensor == HS_NO_TENSOR ? 0 : c->tensors[tensor].nbytes;
            experts[n].part[p] = bytes ? next_bytes(t, bytes) : NULL;
            t->expert_bytes += bytes;
        }
    }
    *ret_n = n;
    return 0;
}

static void on_release(void *self, uint32_t index)
{
    (void)self;
    (void)index;
}

static void on_end(void *self)
{
    (void)self;
}

static void on_hint(void *self, uint32_t moe_layer, const hs_expert_guess *guesses, uint32_t n)
{
    (void)self;
    (void)moe_layer;
    (void)guesses;
    (void)n;
}

static const hs_experts_ops ops = {
    .step = on_step, .begin = on_begin, .wait = on_wait, .release = on_release, .end = on_end, .hint = on_hint};

static void touch_part(void *ctx, uint32_t index, uint32_t thread)
{
    trial *t = ctx;
    uint64_t each = t->region_bytes / TASKS;
    (void)thread;
    memset(t->region + index * each, 0, each); /* else all pages are one page of zeros, which fits every cache */
}

/* As the engine has memory cleared for what it reads for the first time. */
static void clear_part(void *ctx, uint32_t index, uint32_t thread)
{
    trial *t = ctx;
    uint64_t each = t->region_bytes / TASKS;
    (void)thread;
    hs_map_touch(t->region + index * each, each);
}

/* The region has `most` bytes at most, or what the biggest tensor takes. */
static int map_region(trial *t, uint64_t most, hs_err *err)
{
    const hs_model_spec *s = t->opened.spec;
    const hs_checkpoint *c = hs_source_checkpoint(t->opened.source);
    t->region_bytes = most < REGION_BYTES ? most : REGION_BYTES;
    for (uint32_t i = 0; i < s->n_dense_tensors; i++) {
        uint64_t n = hs_align_up(c->tensors[s->dense_tensors[i]].nbytes, 64);
        t->region_bytes = n > t->region_bytes ? n : t->region_bytes;
    }
    t->region_bytes = hs_align_up(t->region_bytes, TASKS * 4096);
    if (t->region_bytes < hs__memory_available() / 2)
        t->region = hs_map_alloc(t->region_bytes);
    t->dense = hs_calloc(s->n_dense_tensors, sizeof *t->dense);
    t->logits = hs_calloc(s->vocab, sizeof *t->logits);
    t->tokens = hs_calloc(MANY, sizeof *t->tokens);
    if (!t->region || !t->dense || !t->logits || !t->tokens)
        return hs_err_set(err, -ENOMEM, "measuring what this machine computes needs %llu MiB of free memory",
                          (unsigned long long)(t->region_bytes >> 20));
    uint64_t t0 = hs_now_ns();
    hs_pool_run(t->pool, TASKS, clear_part, t);
    t->fresh_s = (double)(hs_now_ns() - t0) * 1e-9;
    hs_pool_run(t->pool, TASKS, touch_part, t);
    for (uint32_t i = 0; i < s->n_dense_tensors; i++)
        t->dense[i] = next_bytes(t, c->tensors[s->dense_tensors[i]].nbytes);
    return 0;
}

static void end_layers(trial *t)
{
    hs_model_destroy(&t->model);
    if (t->kv_memory)
        hs_map_free(t->kv_memory, t->kv_bytes);
    t->kv_memory = NULL;
}

/* The first n_layers of the model, ready to run. */
static int begin_layers(trial *t, uint32_t n_layers, bool predict, hs_err *err)
{
    t->spec = *t->opened.spec;
    t->spec.n_layers = n_layers;
    while (t->spec.n_moe_layers && t->spec.moe_layer_number[t->spec.n_moe_layers - 1] >= n_layers)
        t->spec.n_moe_layers--;
    uint32_t before = t->prompt_context > HS_SPEED_CONTEXT ? t->prompt_context : HS_SPEED_CONTEXT,
             context = before + MANY;
    t->kv_bytes = hs_model_kv_bytes(&t->spec, HS_KV_F16, context);
    t->kv_memory = hs_map_alloc(t->kv_bytes);
    if (!t->kv_memory)
        return hs_err_set(err, -ENOMEM, "no memory for a measurement");
    t->kv = (hs_kv){.data = t->kv_memory, .type = HS_KV_F16, .capacity = context};
    hs_model_config mc = {.max_batch = 1,
                          .prefill_chunk = MANY,
                          .max_context = context,
                          .kernels = t->opened.kernels,
                          .pool = t->pool,
                          .q8 = t->opened.q8,
                          .predict = predict};
    return hs_model_create(&t->spec, &mc, t->dense, (hs_experts){&ops, t}, &t->model, err);
}

typedef struct cost {
    double wall_s, experts_s, dense_ffn_s, head_s;
} cost;

/* n prompt tokens, or one generated token (n 0): the fastest of several runs. */
static int run(trial *t, uint32_t n, cost *ret, hs_err *err)
{
    uint64_t begin = hs_now_ns();
    cost best = {.wall_s = 1e9};
    hs_kv *kv = &t->kv;
    for (uint32_t i = 0; i < 1 || (i < 2 && (!n || best.wall_s < SLOW_S)) ||
                         (i < 100 && (double)(hs_now_ns() - begin) * 1e-9 < ENOUGH_S);
         i++) {
        hs_model_times a = hs_model_get_times(t->model);
        uint64_t t0 = hs_now_ns();
        t->kv.length = n ? t->prompt_context : HS_SPEED_CONTEXT;
        t->expert_bytes = 0;
        int r = n ? hs_model_prefill(t->model, kv, t->tokens, n, t->logits, 1, NULL, NULL, err)
                  : hs_model_decode(t->model, &kv, t->tokens, 1, t->logits, err);
        if (r < 0)
            return r;
        hs_model_times z = hs_model_get_times(t->model);
        double wall = (double)(hs_now_ns() - t0) * 1e-9;
        if (wall < best.wall_s)
            best = (cost){wall, (double)(z.expert_ns - a.expert_ns) * 1e-9,
                          (double)(z.dense_ffn_ns - a.dense_ffn_ns) * 1e-9, (double)(z.head_ns - a.head_ns) * 1e-9};
    }
    *ret = best;
    return 0;
}

typedef struct reading {
    const char *region;
    uint64_t each;
    uint64_t sums[TASKS];
} reading;

static void read_part(void *ctx, uint32_t index, uint32_t thread)
{
    reading *rd = ctx;
    const uint64_t *p = (const void *)(rd->region + index * rd->each);
    uint64_t sum[8] = {0};
    (void)thread;
    for (uint64_t i = 0; i + 8 <= rd->each / sizeof *p; i += 8)
        for (uint32_t k = 0; k < 8; k++)
            sum[k] += p[i + k];
    rd->sums[index] = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static double memory_rate(trial *t)
{
    reading rd = {.region = t->region, .each = t->region_bytes / TASKS};
    double best = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t t0 = hs_now_ns();
        hs_pool_run(t->pool, TASKS, read_part, &rd);
        double rate = (double)t->region_bytes / ((double)(hs_now_ns() - t0) * 1e-9);
        best = rate > best ? rate : best;
    }
    return best;
}

/* Of the embedding a token reads one row, unless it is the head, too. */
static uint64_t dense_bytes_read(const trial *t)
{
    const hs_checkpoint *c = hs_source_checkpoint(t->opened.source);
    uint32_t embed = hs_checkpoint_find(c, c->gguf ? "token_embd.weight" : "model.embed_tokens.weight");
    uint32_t head = hs_checkpoint_find(c, c->gguf ? "output.weight" : "lm_head.weight");
    bool tied = embed == HS_NO_TENSOR || head == HS_NO_TENSOR;
    return t->opened.spec->dense_bytes - (tied ? 0 : c->tensors[embed].nbytes);
}

/* Layers up to the first one with experts: a token, and prompts. */
typedef struct narrow {
    cost token, prompt[HS_SPEED_POINTS];
} narrow;

static int measure_narrow(trial *t, uint32_t n_layers, bool predict, narrow *ret, hs_err *err)
{
    int r = begin_layers(t, n_layers, predict, err);
    if (r == 0)
        r = run(t, 0, &ret->token, err);
    for (uint32_t i = 0; r == 0 && i < HS_SPEED_POINTS; i++)
        r = run(t, hs_speed_tokens[i], &ret->prompt[i], err);
    end_layers(t);
    return r;
}

/* And WIDER more: a token. */
static int measure_wide(trial *t, uint32_t n_layers, bool predict, cost *ret, hs_err *err)
{
    int r = begin_layers(t, n_layers, predict, err);
    if (r == 0)
        r = run(t, 0, ret, err);
    return r;
}

/* What a layer with experts costs more than the ones before it, of n more layers. */
static double each(double few, double all, uint32_t n)
{
    return n && all > few ? (all - few) / n : 0;
}

/* Weights of the experts that every token uses. */
static uint64_t shared_bytes(const trial *t)
{
    const hs_checkpoint *c = hs_source_checkpoint(t->opened.source);
    const hs_model_spec *s = t->opened.spec;
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->n_dense_tensors; i++) {
        const hs_tensor *w = &c->tensors[s->dense_tensors[i]];
        n += strstr(w->name, c->gguf ? "_shexp." : ".shared_expert") ? w->nbytes : 0;
    }
    return n;
}

/* What a prompt of all layers takes besides its routed experts and its end. shared_part: of the layers' FFNs that were
 * run, by which each further layer has more. */
static double dense_seconds(const trial *t, const cost *c, uint32_t n_layers, double shared_part)
{
    double all = t->opened.spec->n_layers, rest = (c->wall_s - c->experts_s - c->head_s - c->dense_ffn_s) / n_layers;
    return fmax(rest, 0) * all + c->dense_ffn_s * (1 + shared_part * (all - n_layers));
}

static int measure_all(trial *t, const hs_engine_options *opt, hs_speed *ret, hs_err *err)
{
    const hs_model_spec *s = t->opened.spec;
    uint32_t n1 = s->moe_layer_number[0] + 1, n2 = n1 + WIDER < s->n_layers ? n1 + WIDER : s->n_layers;
    narrow a;
    cost z;
    int r = measure_narrow(t, n1, opt->prefetch, &a, err);
    if (r == 0)
        r = measure_wide(t, n2, opt->prefetch, &z, err);
    double expand = 0;
    if (r == 0)
        r = hs__measure_expanding(t->opened.objects, t->pool, &expand, err);
    if (r < 0)
        return r;
    double k = s->top_k, moe = s->n_moe_layers, more = s->n_layers - n1, n_moe = t->spec.n_moe_layers;
    double experts = z.experts_s / n_moe, routed = (double)t->expert_bytes / n_moe * moe;
    double shared = routed > 0 ? experts * (double)shared_bytes(t) / routed : 0; /* of a layer */
    double shared_part = a.token.dense_ffn_s > 0 ? fmin(shared / a.token.dense_ffn_s, 1) : 0;
    double few = dense_seconds(t, &a.prompt[FEW], n1, shared_part),
           many = dense_seconds(t, &a.prompt[LAST], n1, shared_part);
    double slope = fmin(fmax(many - few, 0) / (MANY - hs_speed_tokens[FEW]), many / MANY);
    *ret = (hs_speed){.decode_s = a.token.wall_s + more * each(a.token.wall_s, z.wall_s, n2 - n1),
                      .decode_experts_s = experts * moe,
                      .decode_shared_s = shared * moe,
                      .prompt_token_s = slope,
                      .prompt_block_s = many - slope * MANY,
                      .prompt_end_s = a.prompt[LAST].head_s,
                      .expand_s = expand,
                      .fresh_bytes_per_s = t->fresh_s > 0 ? (double)t->region_bytes / t->fresh_s : 0,
                      .memory_bytes_per_s = memory_rate(t)};
    for (uint32_t i = 0; i < HS_SPEED_POINTS; i++) /* a longer prompt costs no less, but on a busy machine */
        ret->prompt_expert_s[i] = fmax(a.prompt[i].experts_s / k, i ? ret->prompt_expert_s[i - 1] : 0);
    ret->decode_s =
        fmax(ret->decode_s, ret->decode_experts_s + ret->decode_shared_s); /* a busy machine's differences */
    ret->decode_bytes = dense_bytes_read(t) + (uint64_t)routed;
    return 0;
}

/* What a plan has for what comes after measuring: an engine measures within its own plan, where half of it is for keys,
 * values and activations. A small model's weights lie as near to the processors then as in earnest. */
static uint64_t later_bytes(const hs_plan *p)
{
    return p->dense + p->cache + p->kv + p->scratch + p->staging;
}

int hs_speed_measure(const hs_engine_options *opt, const hs_plan *plan, uint32_t n_prompt, hs_speed *ret_speed,
                     hs_err *err)
{
    uint32_t n = n_prompt && n_prompt < plan->prefill_chunk ? n_prompt : plan->prefill_chunk;
    trial *t = hs_calloc(1, sizeof *t);
    if (!t)
        return hs_err_set(err, -ENOMEM, "no memory for a measurement");
    t->prompt_context = n / 2 < MOST_CONTEXT ? n / 2 : MOST_CONTEXT;
    int r = hs__open(opt, &t->opened, err);
    /* A block expands what lies before it, and each of its tokens looks at half of the block besides. */
    if (r == 0 && t->opened.spec->expands_kv)
        t->prompt_context -= (n < HS_SPEED_BLOCK ? n : HS_SPEED_BLOCK) / 4;
    if (r == 0)
        r = hs_pool_create(plan->threads, &t->pool, err);
    if (r == 0)
        r = map_region(t, later_bytes(plan) / 2, err);
    if (r == 0)
        r = measure_all(t, opt, ret_speed, err);
    end_layers(t);
    hs_pool_destroy(&t->pool);
    if (t->region)
        hs_map_free(t->region, t->region_bytes);
    hs_free(t->dense);
    hs_free(t->logits);
    hs_free(t->tokens);
    hs__close(&t->opened);
    hs_free(t);
    return r;
}

void hs_speed_scale(hs_speed *s, uint32_t n_cores, uint32_t measured, double memory_bytes_per_s)
{
    double by = (double)measured / n_cores, decode_s = s->decode_s * by;
    s->memory_bytes_per_s = memory_bytes_per_s > 0 ? memory_bytes_per_s : s->memory_bytes_per_s / by;
    if (memory_bytes_per_s > 0)
        decode_s = fmax(decode_s, (double)s->decode_bytes / memory_bytes_per_s);
    double decode_by = s->decode_s > 0 ? decode_s / s->decode_s : by;
    s->decode_s = decode_s;
    s->decode_experts_s *= decode_by;
    s->decode_shared_s *= decode_by;
    s->prompt_token_s *= by;
    s->prompt_block_s *= by;
    s->prompt_end_s *= by;
    for (uint32_t i = 0; i < HS_SPEED_POINTS; i++)
        s->prompt_expert_s[i] *= by;
    s->expand_s *= by;
    s->fresh_bytes_per_s /= by;
}
