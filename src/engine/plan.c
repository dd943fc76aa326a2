/*
 * plan.c - the memory plan: what each part takes, the floor, what is recommended, and how the budget is spent.
 *
 * Fixed parts first (dense, tables, text, runtime, outside); then KV and scratch, which shrink where the user left them
 * to us; the cache takes what is left, at most all experts. A prompt's chunk costs slots and saves sweeps over all
 * experts: of the sizes that fit, the one with the fewest reads to be expected is taken. Explicit wishes for cache and
 * context are never shrunk, they are refused with the figures. Pure but for reading what memory is free; any thread.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "engine/engine_int.h"
#include "engine/heat.h"
#include "engine/memory.h"
#include "math/mat.h"
#include "store/calibrate.h"

#define MIN_CONTEXT     512u
#define USABLE_CONTEXT  2048u /* the batch shrinks before contexts get shorter than that */
#define DEFAULT_CONTEXT 8192u
#define MAX_CHUNK       2048u
#define GOOD_CHUNK      256u /* contexts get shorter before chunks get smaller than that */
#define MIN_CHUNK       32u
/* What chunks are chosen for. */
#define USUAL_PROMPT 2048u
#define USUAL_ANSWER 256u
/* Program text, libc, libraries' own heaps, I/O buffers; thread stacks as touched. An eval of a model of a megabyte has
 * a peak of 11.5 MiB, 5 of them before loading; doubled, and a huge page for each stack. */
#define RUNTIME_BYTES      (16ull << 20)
#define RUNTIME_PER_THREAD (2ull << 20)

typedef struct shape {
    uint32_t context, parallel, chunk, staging, slots;
} shape;

void hs__model_config(const hs_plan *p, const hs__opened *o, bool predict, hs_model_config *ret)
{
    *ret = (hs_model_config){.max_batch = p->parallel,
                             .prefill_chunk = p->prefill_chunk,
                             .max_context = p->context,
                             .kernels = o->kernels,
                             .q8 = o->q8,
                             .predict = predict};
}

hs_kv_type hs__kv_type(const hs_engine_options *opt)
{
    const char *type = opt->kv_type ? opt->kv_type : "f16";
    return !strcmp(type, "f32") ? HS_KV_F32 : !strcmp(type, "q8") ? HS_KV_Q8 : HS_KV_F16;
}

/* Requests besides their KV: prompts of what waits and runs, text that waits to be read. */
static uint64_t request_bytes(const hs_engine_options *opt, const shape *s)
{
    uint64_t each = sizeof(hs_request) + (uint64_t)s->context * sizeof(uint32_t);
    return ((uint64_t)opt->max_queue + s->parallel) * each + s->parallel * HS__TEXT_MAX;
}

/* Loading is over before these parts are touched, and calibrating before the dense one, too: only what exceeds them
 * counts, as runtime. */
static uint64_t load_excess(const hs_plan *p)
{
    uint64_t load = HS_LOAD_SCRATCH_BYTES, later = p->kv + p->scratch + p->staging + p->cache;
    uint64_t drive = p->model_bytes < HS_CALIBRATE_MIN_BYTES ? 0 : HS_DISK_SPREAD_BYTES;
    if (drive > p->dense + load)
        load = drive - p->dense;
    return load > later ? load - later : 0;
}

/* Bytes that the cache may still grow by; the plan fits. */
static uint64_t spare_bytes(const hs_plan *p)
{
    return p->limit - p->total + load_excess(p);
}

/* Fills p's parts for a shape; cache = what the slots take. Needs p->threads. */
static void price(const hs_engine_options *opt, const hs__opened *o, const shape *s, hs_plan *p)
{
    const hs_model_spec *spec = o->spec;
    p->context = s->context;
    p->parallel = s->parallel;
    p->prefill_chunk = s->chunk;
    p->n_staging = s->staging;
    p->n_slots = s->slots;
    p->max_slots = opt->governed && opt->cache_kind == HS_CACHE_AUTO ? p->n_experts : s->slots;
    hs_model_config mc;
    hs__model_config(p, o, opt->prefetch, &mc);
    uint64_t logits =
        (uint64_t)s->parallel * spec->vocab * sizeof(float) + (uint64_t)spec->vocab * sizeof(hs__candidate);
    p->dense = hs_align_up(spec->dense_bytes, 4096);
    p->kv_per_token = hs_model_kv_bytes(spec, hs__kv_type(opt), 1024) / 1024;
    p->kv = s->parallel * hs_align_up(hs_model_kv_bytes(spec, hs__kv_type(opt), s->context), 4096);
    p->scratch = hs_model_scratch_bytes(spec, &mc, p->threads) + logits + request_bytes(opt, s);
    p->staging = s->staging * hs_residency_staging_bytes(o->objects, o->warm);
    p->tables = hs_source_bytes(o->source) + hs_objects_table_bytes(o->objects) +
                (uint64_t)spec->n_moe_layers * spec->n_experts * HS_EXPERT_PARTS * sizeof(uint32_t) +
                hs_residency_overhead_bytes(o->objects, spec->n_experts, p->max_slots, s->staging, p->threads);
    p->tables += opt->profile ? hs__heat_bytes(spec->n_moe_layers, spec->n_experts) : 0;
    p->text = o->text_bytes;
    p->cache = hs_classes_bytes(&o->classes, s->slots);
    p->runtime = RUNTIME_BYTES + p->threads * RUNTIME_PER_THREAD + load_excess(p);
    p->outside = opt->memory_outside;
    p->total = p->dense + p->kv + p->scratch + p->staging + p->tables + p->text + p->runtime + p->outside + p->cache;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* -ENOMEM with the figures. */
static int refuse(const hs_plan *p, const char *what, uint64_t have, uint64_t need, hs_err *err)
{
    char a[32], b[32], c[32], d[32], e[32], advice[160] = "lower cache.size, kv.context or limits.parallel";
    if (have < p->dense) /* no wish is to blame */
        snprintf(advice, sizeof advice, "take the model in a smaller format: what every token needs is %s by itself",
                 hs_format_size(p->dense, e, sizeof e));
    return hs_err_set(
        err, -ENOMEM,
        "%s of %s is under what this needs, %s (floor of the model: %s; recommended: %s). Raise memory.limit, or %s.",
        what, hs_format_size(have, a, sizeof a), hs_format_size(need, b, sizeof b),
        hs_format_size(p->floor, c, sizeof c), hs_format_size(p->recommended, d, sizeof d), advice);
}

/* A share of the experts is the memory that it takes decoded, whatever is held in it. */
static uint64_t slots_of_share(const hs_engine_options *opt, const hs__opened *o, const hs_plan *p)
{
    uint64_t n = (uint64_t)((double)p->n_experts * opt->cache_percent / 100);
    return o->warm ? hs_classes_fit(&o->classes, hs_classes_bytes(&o->decoded, (uint32_t)n)) : n;
}

/* The number of slots an explicit cache size asks for; 0 with *ret_auto for auto. */
static int asked_slots(const hs_engine_options *opt, const hs__opened *o, hs_plan *p, uint32_t *ret_slots,
                       bool *ret_auto, hs_err *err)
{
    const hs_classes *sizes = &o->classes;
    uint64_t slots = 0;
    *ret_auto = opt->cache_kind == HS_CACHE_AUTO;
    if (opt->cache_kind == HS_CACHE_PERCENT && !(opt->cache_percent >= 0 && opt->cache_percent <= 100))
        return hs_err_set(err, -EINVAL, "cache.size: %g%% is not a share between 0%% and 100%%", opt->cache_percent);
    if (opt->cache_kind == HS_CACHE_BYTES && opt->cache_bytes > p->limit) {
        char a[32], b[32], c[32];
        return hs_err_set(err, -ENOMEM,
                          "cache.size of %s exceeds %s, %s; all %u experts take %s. Lower cache.size, or let auto "
                          "choose it.",
                          hs_format_size(opt->cache_bytes, a, sizeof a),
                          opt->memory_limit ? "memory.limit" : "the memory that is free",
                          hs_format_size(p->limit, b, sizeof b), p->n_experts,
                          hs_format_size(p->expert_bytes_all, c, sizeof c));
    }
    if (opt->cache_kind == HS_CACHE_BYTES)
        slots = hs_classes_fit(sizes, opt->cache_bytes);
    else if (opt->cache_kind == HS_CACHE_PERCENT)
        slots = slots_of_share(opt, o, p);
    slots = slots > p->n_experts ? p->n_experts : slots;
    if (!*ret_auto && slots < p->min_slots) {
        char a[32], b[32], c[32];
        return hs_err_set(err, -ENOMEM,
                          "a cache of %llu experts (%s) is under the floor of %u experts (%s); all %u experts take %s. "
                          "Raise cache.size.",
                          (unsigned long long)slots,
                          hs_format_size(hs_classes_bytes(sizes, (uint32_t)slots), a, sizeof a), p->min_slots,
                          hs_format_size(hs_classes_bytes(sizes, p->min_slots), b, sizeof b), p->n_experts,
                          hs_format_size(p->expert_bytes_all, c, sizeof c));
    }
    *ret_slots = (uint32_t)slots;
    return 0;
}

static bool halve(uint32_t *v, uint32_t least)
{
    if (*v <= least)
        return false;
    *v = *v / 2 > least ? *v / 2 : least;
    return true;
}

/* One step down with what the user left to us; the end of the steps is the shape of the floor, but for the slots. */
static bool shrink(const hs_engine_options *opt, const shape *least, shape *s)
{
    if (halve(&s->chunk, GOOD_CHUNK))
        return true;
    if (s->staging > least->staging) {
        s->staging = least->staging;
        return true;
    }
    if (!opt->context && halve(&s->context, USABLE_CONTEXT))
        return true;
    if (halve(&s->chunk, MIN_CHUNK))
        return true;
    if (s->parallel > 1) {
        s->parallel--;
        return true;
    }
    return !opt->context && halve(&s->context, least->context);
}

/* Staging beyond the least lets reads run ahead of decoding. */
static uint32_t wanted_staging(const hs__opened *o, uint32_t top_k)
{
    uint32_t least = hs_residency_min_staging(o->objects, top_k, o->warm);
    uint64_t bytes = hs_residency_staging_bytes(o->objects, o->warm);
    if (!least || !bytes)
        return 0;
    uint32_t n = 2 * top_k;
    while (n > least && (uint64_t)n * bytes > (256ull << 20))
        n--;
    return n > least ? n : least;
}

/* Experts that a usual prompt and its answer read. A sweep reads what its tokens use and is not there; of an answer's
 * experts the share (1 - f)^2 is missed with a cache for the share f, which is within five points of what
 * DeepSeek-V2-Lite does with 5 to 50 %. */
static double expected_reads(const hs__opened *o, const hs_plan *p, uint32_t chunk, uint32_t slots)
{
    const hs_model_spec *spec = o->spec;
    double missing = 1 - (double)slots / p->n_experts, prompt = min_u32(USUAL_PROMPT, p->context);
    double of_chunk = 1 - pow(1 - (double)spec->top_k / spec->n_experts, fmin(chunk, prompt));
    return ceil(prompt / chunk) * of_chunk * p->n_experts * missing + USUAL_ANSWER * p->token_cycle * missing * missing;
}

/* Gives the cache what is left; s fits. */
static void fill(const hs_engine_options *opt, const hs__opened *o, shape *s, hs_plan *p)
{
    s->slots = hs_classes_fit(&o->classes, p->cache + spare_bytes(p));
    price(opt, o, s, p);
    while (p->total > p->limit && s->slots > p->min_slots) {
        s->slots--; /* the tables grow with the slots */
        price(opt, o, s, p);
    }
}

/* Divides what is left between chunk and slots; s fits, and so may bigger chunks with a shorter context. */
static void choose_chunk(const hs_engine_options *opt, const hs__opened *o, uint32_t most, shape *s, hs_plan *p)
{
    shape best = *s;
    double least = INFINITY;
    uint32_t last = min_u32(s->chunk, GOOD_CHUNK);
    s->chunk = most;
    do {
        shape t = *s;
        price(opt, o, &t, p);
        if (p->total > p->limit)
            continue;
        fill(opt, o, &t, p);
        double reads = expected_reads(o, p, t.chunk, t.slots);
        if (reads < least) {
            least = reads;
            best = t;
        }
    } while (halve(&s->chunk, last));
    *s = best;
    price(opt, o, s, p);
}

/* The biggest shape on the way from the wished one down to the least that the limit holds. */
static int fit(const hs_engine_options *opt, const hs__opened *o, const shape *least, hs_plan *p, hs_err *err)
{
    const hs_model_spec *spec = o->spec;
    uint32_t slots = 0;
    bool is_auto;
    int r = asked_slots(opt, o, p, &slots, &is_auto, err);
    if (r < 0)
        return r;
    shape s = {.context = opt->context ? opt->context : min_u32(spec->max_context, DEFAULT_CONTEXT),
               .parallel = opt->parallel ? opt->parallel : 1,
               .chunk = min_u32(MAX_CHUNK, opt->context ? opt->context : spec->max_context),
               .staging = wanted_staging(o, spec->top_k),
               .slots = is_auto ? p->min_slots : slots};
    if (s.chunk < MIN_CHUNK)
        s.chunk = MIN_CHUNK;
    uint32_t most = s.chunk;
    for (;;) {
        price(opt, o, &s, p);
        if (p->total <= p->limit)
            break;
        if (!shrink(opt, least, &s))
            return refuse(p, opt->memory_limit ? "memory.limit" : "the memory that is free", p->limit, p->total, err);
    }
    if (!is_auto)
        return 0;
    choose_chunk(opt, o, most, &s, p);
    return 0;
}

/* What follows from the model alone. */
static void count_experts(const hs__opened *o, hs_plan *p)
{
    const hs_model_spec *spec = o->spec;
    p->slot_bytes = p->least_slot_bytes = o->classes.of[0].bytes;
    for (uint32_t k = 1; k < o->classes.n; k++) {
        uint64_t bytes = o->classes.of[k].bytes;
        p->slot_bytes = bytes > p->slot_bytes ? bytes : p->slot_bytes;
        p->least_slot_bytes = bytes < p->least_slot_bytes ? bytes : p->least_slot_bytes;
    }
    p->n_experts = spec->n_moe_layers * spec->n_experts;
    p->token_cycle = spec->n_moe_layers * spec->top_k;
    p->min_slots = hs_classes_floor(&o->classes);
    p->expert_bytes_all = hs_classes_bytes(&o->classes, p->n_experts);
    p->token_cycle_bytes = p->expert_bytes_all / spec->n_experts * spec->top_k;
    p->moe_layers = spec->n_moe_layers;
    p->model_bytes = hs_source_checkpoint(o->source)->total_bytes;
    uint64_t read = 0; /* experts differ: recipes give some layers more bits */
    for (uint32_t i = 0; i < p->n_experts; i++)
        read += hs_object_read_bytes(o->objects, i);
    p->bytes_per_token_cold = (uint64_t)((double)read * spec->top_k / spec->n_experts);
}

int hs__plan(const hs_engine_options *opt, const hs__opened *o, hs_plan *p, hs_err *err)
{
    const hs_model_spec *spec = o->spec;
    memset(p, 0, sizeof *p);
    snprintf(p->arch, sizeof p->arch, "%s", spec->arch);
    p->packed = hs_source_is_packed(o->source);
    p->warm = o->warm;
    p->gguf = hs_source_checkpoint(o->source)->gguf;
    p->is_shape = opt->shape != NULL;
    p->threads = opt->threads ? opt->threads : hs_cpu_count();
    if (opt->context > spec->max_context)
        return hs_err_set(err, -EINVAL, "a context of %u tokens exceeds the %u that the model was made for",
                          opt->context, spec->max_context);
    count_experts(o, p);
    shape least = {.context = opt->context ? opt->context : min_u32(MIN_CONTEXT, spec->max_context),
                   .parallel = 1,
                   .chunk = MIN_CHUNK,
                   .staging = hs_residency_min_staging(o->objects, spec->top_k, o->warm),
                   .slots = p->min_slots};
    shape good = {.context = opt->context ? opt->context : min_u32(DEFAULT_CONTEXT, spec->max_context),
                  .parallel = opt->parallel ? opt->parallel : 1,
                  .chunk = MAX_CHUNK,
                  .staging = wanted_staging(o, spec->top_k),
                  .slots = min_u32(p->n_experts, 2 * p->token_cycle)};
    price(opt, o, &good, p);
    p->recommended = p->total;
    price(opt, o, &least, p);
    p->floor = p->total;
    p->recommended = p->recommended > p->floor ? p->recommended : p->floor;
    p->limit = opt->memory_limit ? opt->memory_limit : hs__memory_auto_limit(hs__memory_available());
    if (p->limit < p->floor)
        return refuse(p, opt->memory_limit ? "memory.limit" : "the memory that is free", p->limit, p->floor, err);
    return fit(opt, o, &least, p, err);
}

int hs_plan_make(const hs_engine_options *opt, hs_plan *ret_plan, hs_err *err)
{
    hs__opened o = {0};
    int r = hs__open(opt, &o, err);
    if (r == 0)
        r = hs__plan(opt, &o, ret_plan, err);
    hs__close(&o);
    return r;
}
