/* rooms: residency model */
/*
 * bench_prefetch.c - what reading ahead is worth: a model decodes text of its own over a virtual drive and clock, with
 * and without. Routers, guesses, cache and residency are real; only time is not, so that a figure can be repeated to
 * the last digit on a machine under any load.
 *
 * bench_prefetch [--tokens N] [--batch N] [--drive GB/s] [--cache PERCENT] [MODEL]
 *
 * Every byte of MODEL (default: the demo model) stands for `scale` bytes, so that its experts are as big as those of a
 * model of 30 billion parameters, and budgets mean what they mean there. Computing reads weights at MEMORY bytes/s.
 * Prints one line of JSON for each drive and cache size: microseconds and experts per token; of the uses of experts
 * that were not there, or would not have been, recall: the share whose read was under way or done when their layer
 * began, arrived: the share that was there in full; waste: guesses read for nothing, for each that was used.
 */
#include <fcntl.h>
#include <math.h>

#include "virtual_drive.h"

#include "base/mem.h"
#include "base/pool.h"
#include "math/mat.h"
#include "model/model.h"
#include "residency/residency.h"
#include "store/source.h"

#define EXPERT_BYTES 2.65e6 /* of Qwen3-30B-A3B in Q4_K_M */
#define MEMORY       20e9   /* bytes/s of weights that the processor gets through */
#define LATENCY_NS   80000u
#define GUESS_NS     30000u /* a router of 128 x 2048 floats */
#define MAX_BATCH    8u

typedef struct bench {
    const char *path;
    hs_source *source;
    hs_model_spec *spec;
    hs_objects *objects;
    void *dense_memory;
    const void **dense;
    double scale;
    uint64_t expert_bytes;
    uint32_t tokens, batch;
} bench;

/* The residency behind a meter: what the model computes between its calls costs time. */
typedef struct metered {
    hs_experts inner;
    double attention_ns, expert_ns; /* of a layer */
    bool own_due;                   /* the shared expert of this layer has not been paid */
} metered;

static void m_step(void *self, hs_phase phase, uint32_t n)
{
    metered *m = self;
    m->inner.ops->step(m->inner.self, phase, n);
}

static int m_begin(void *self, uint32_t layer, const hs_expert_want *wants, uint32_t n, uint8_t *ret_resident,
                   hs_err *err)
{
    metered *m = self;
    vd_spend(m->attention_ns);
    m->own_due = true;
    return m->inner.ops->begin(m->inner.self, layer, wants, n, ret_resident, err);
}

static void pay_own(metered *m)
{
    if (m->own_due)
        vd_spend(m->expert_ns);
    m->own_due = false;
}

static int m_wait(void *self, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts, uint32_t *ret_n, hs_err *err)
{
    metered *m = self;
    return m->inner.ops->wait(m->inner.self, max, ret_index, ret_experts, ret_n, err);
}

static void m_release(void *self, uint32_t index)
{
    metered *m = self;
    pay_own(m);
    vd_spend(m->expert_ns);
    m->inner.ops->release(m->inner.self, index);
}

static void m_end(void *self)
{
    metered *m = self;
    pay_own(m);
    m->inner.ops->end(m->inner.self);
}

static void m_hint(void *self, uint32_t layer, const hs_expert_guess *guesses, uint32_t n)
{
    metered *m = self;
    m->inner.ops->hint(m->inner.self, layer, guesses, n);
}

static bool m_asks(void *self, uint32_t layer, bool whole)
{
    metered *m = self;
    bool asks = m->inner.ops->asks(m->inner.self, layer, whole);
    if (asks)
        vd_spend(GUESS_NS);
    return asks;
}

static const hs_experts_ops metered_ops = {.step = m_step,
                                           .begin = m_begin,
                                           .wait = m_wait,
                                           .release = m_release,
                                           .end = m_end,
                                           .hint = m_hint,
                                           .asks = m_asks};

static void die(const char *what)
{
    fprintf(stderr, "bench_prefetch: %s\n", what);
    exit(1);
}

static void load_dense(bench *b)
{
    const hs_checkpoint *c = hs_source_checkpoint(b->source);
    uint64_t at = 0;
    b->dense_memory = hs_map_alloc(b->spec->dense_bytes);
    b->dense = hs_calloc(b->spec->n_dense_tensors, sizeof *b->dense);
    if (!b->dense_memory || !b->dense)
        die("out of memory");
    for (uint32_t i = 0; i < b->spec->n_dense_tensors; i++) {
        const hs_tensor *t = &c->tensors[b->spec->dense_tensors[i]];
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", b->path, hs_source_file(b->source, t->file));
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        b->dense[i] = (char *)b->dense_memory + at;
        if (fd < 0 || pread(fd, (char *)b->dense_memory + at, t->nbytes, (off_t)t->offset) != (ssize_t)t->nbytes)
            die("MODEL: a folder of safetensors is needed");
        close(fd);
        at += hs_align_up(t->nbytes, 64);
    }
}

static void open_model(bench *b)
{
    hs_err err = {0};
    if (hs_source_open(b->path, &b->source, &err) < 0 ||
        hs_model_spec_create(hs_source_checkpoint(b->source), &b->spec, &err) < 0 ||
        hs_objects_create(b->source, b->spec->expert_parts, b->spec->n_moe_layers * b->spec->n_experts, HS_EXPERT_PARTS,
                          &b->objects, &err) < 0)
        die(err.text);
    load_dense(b);
    uint32_t n;
    vd.fds = hs_objects_fds(b->objects, &n);
    b->expert_bytes = hs_object_raw_bytes(b->objects, 0);
    b->scale = EXPERT_BYTES / (double)b->expert_bytes;
}

/* Text of the model's own: a token by its probability, always with the same dice. */
static uint32_t sample(const float *logits, uint32_t n, uint64_t *dice)
{
    float most = logits[0];
    double sum = 0;
    for (uint32_t i = 1; i < n; i++)
        most = logits[i] > most ? logits[i] : most;
    for (uint32_t i = 0; i < n; i++)
        sum += exp(logits[i] - most);
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    double left = (double)(*dice >> 11) / 9007199254740992.0 * sum;
    for (uint32_t i = 0; i < n; i++)
        if ((left -= exp(logits[i] - most)) < 0)
            return i;
    return n - 1;
}

typedef struct result {
    double ns; /* per token, of the measured half */
    hs_residency_stats s;
} result;

static hs_residency_stats minus(hs_residency_stats a, hs_residency_stats b)
{
    uint64_t *x = (uint64_t *)&a, *y = (uint64_t *)&b;
    for (size_t i = 0; i < sizeof a / sizeof *x; i++)
        x[i] -= y[i];
    return a;
}

/* The first half of the tokens warms cache and learning. */
static result decode(bench *b, double drive, double cache, bool on)
{
    hs_err err = {0};
    hs_pool *pool;
    hs_residency *r;
    hs_model *model;
    uint32_t n_objects = b->spec->n_moe_layers * b->spec->n_experts;
    uint64_t kv_bytes = hs_model_kv_bytes(b->spec, HS_KV_F32, b->tokens + 8);
    vd = (struct virtual_drive){.bytes_per_s = drive / b->scale,
                                .latency_ns = LATENCY_NS,
                                .in_flight = (uint64_t)((16u << 20) / b->scale),
                                .read_size = (uint64_t)((1u << 20) / b->scale),
                                .fds = vd.fds};
    if (hs_pool_create(1, &pool, &err) < 0)
        die(err.text);
    hs_residency_config rc = {.objects = b->objects,
                              .pool = pool,
                              .n_layers = b->spec->n_moe_layers,
                              .n_experts = b->spec->n_experts,
                              .top_k = b->spec->top_k,
                              .n_slots = (uint32_t)(n_objects * cache),
                              .policy = "ewma",
                              .prefetch = on,
                              .prefetch_budget = (uint64_t)((16u << 20) / b->scale)};
    if (hs_residency_create(&rc, &r, &err) < 0)
        die(err.text);
    metered meter = {.inner = hs_residency_experts(r)};
    meter.expert_ns = EXPERT_BYTES / MEMORY * 1e9;
    meter.attention_ns = 4 * meter.expert_ns;
    hs_model_config mc = {.max_batch = b->batch,
                          .prefill_chunk = 16,
                          .max_context = b->tokens + 8,
                          .kernels = hs_kernels_get(HS_KERNELS_AUTO, &err),
                          .pool = pool,
                          .predict = on};
    hs_experts x = {.ops = &metered_ops, .self = &meter};
    if (hs_model_create(b->spec, &mc, b->dense, x, &model, &err) < 0)
        die(err.text);
    hs_kv kv[MAX_BATCH], *kvs[MAX_BATCH];
    uint32_t ids[MAX_BATCH];
    uint64_t dice = 88172645463325252u, begun = 0;
    float *logits = hs_calloc((size_t)b->batch * b->spec->vocab, sizeof *logits);
    for (uint32_t i = 0; i < b->batch; i++) {
        kv[i] = (hs_kv){.data = hs_map_alloc(kv_bytes), .type = HS_KV_F32, .capacity = b->tokens + 8};
        kvs[i] = &kv[i];
        ids[i] = 300 + 17 * i;
    }
    hs_residency_stats before = {0};
    for (uint32_t t = 0; t < b->tokens; t++) {
        if (t == b->tokens / 2) {
            before = hs_residency_get_stats(r);
            begun = vd.now;
        }
        if (hs_model_decode(model, kvs, ids, b->batch, logits, &err) < 0)
            die(err.text);
        for (uint32_t i = 0; i < b->batch; i++)
            ids[i] = sample(logits + (size_t)i * b->spec->vocab, b->spec->vocab, &dice);
    }
    result out = {(double)(vd.now - begun) / (b->tokens - b->tokens / 2), minus(hs_residency_get_stats(r), before)};
    hs_model_destroy(&model);
    while (vd.n_out) /* the residency waits for its reads */
        vd_complete();
    hs_residency_destroy(&r);
    hs_pool_destroy(&pool);
    for (uint32_t i = 0; i < b->batch; i++)
        hs_map_free(kv[i].data, kv_bytes);
    hs_free(logits);
    return out;
}

static void show(bench *b, double drive, double cache)
{
    result off = decode(b, drive, cache, false), on = decode(b, drive, cache, true);
    double used = (double)(on.s.prefetch_useful + on.s.prefetch_late);
    double absent = (double)(on.s.misses + on.s.prefetch_useful);
    printf(
        "{\"drive\":%.1f,\"cache\":%.2f,\"off_us\":%.0f,\"on_us\":%.0f,\"faster\":%.3f,\"stall_off_us\":%.0f,\"stall_"
        "on_us\":%.0f,\"misses_off\":%.3f,\"absent\":%.3f,\"issued\":%.3f,\"useful\":%.3f,\"late\":%.3f,\"wasted\":"
        "%.3f,\"recall\":%.3f,\"arrived\":%.3f,\"waste\":%.3f,\"bytes\":%.3f}\n",
        drive / 1e9, cache, off.ns / 1e3, on.ns / 1e3, off.ns / on.ns, (double)off.s.wait_ns / b->tokens * 2e-3,
        (double)on.s.wait_ns / b->tokens * 2e-3, (double)off.s.misses / b->tokens * 2, absent / b->tokens * 2,
        (double)on.s.prefetch_issued / b->tokens * 2, (double)on.s.prefetch_useful / b->tokens * 2,
        (double)on.s.prefetch_late / b->tokens * 2, (double)on.s.prefetch_wasted / b->tokens * 2,
        absent > 0 ? used / absent : 0, absent > 0 ? (double)on.s.prefetch_useful / absent : 0,
        used > 0 ? (double)on.s.prefetch_wasted / used : 0,
        off.s.bytes_read ? (double)on.s.bytes_read / (double)off.s.bytes_read : 1);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const double drives[] = {0.3e9, 1e9, 3e9, 7e9, 12e9}, caches[] = {0.10, 0.25, 0.50, 0.75, 0.90};
    bench b = {.path = "tests/models/tale-moe-fp8", .tokens = 512, .batch = 1};
    double drive = 0, cache = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--tokens") && i + 1 < argc)
            b.tokens = (uint32_t)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--batch") && i + 1 < argc)
            b.batch = (uint32_t)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--drive") && i + 1 < argc)
            drive = atof(argv[++i]) * 1e9;
        else if (!strcmp(argv[i], "--cache") && i + 1 < argc)
            cache = atof(argv[++i]) / 100;
        else
            b.path = argv[i];
    }
    if (b.batch < 1 || b.batch > MAX_BATCH || b.tokens < 2)
        die("--batch: 1 to 8; --tokens: at least 2");
    open_model(&b);
    for (size_t d = 0; d < sizeof drives / sizeof *drives; d++)
        for (size_t c = 0; c < sizeof caches / sizeof *caches; c++)
            if ((!drive || drive == drives[d]) && (!cache || fabs(cache - caches[c]) < 1e-6))
                show(&b, drives[d], caches[c]);
    hs_map_free(b.dense_memory, b.spec->dense_bytes);
    hs_free(b.dense);
    hs_objects_destroy(&b.objects);
    hs_model_spec_destroy(&b.spec);
    hs_source_close(&b.source);
    return 0;
}
