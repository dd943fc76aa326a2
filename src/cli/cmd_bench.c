/*
 * cmd_bench.c - how fast a model runs here, on random tokens (so that nothing is flattered by repetition), with the
 * seconds divided among compute, disk wait, decoding of compressed frames and the rest; and how fast a drive reads.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/bench_disk.h"
#include "cli/bench_replay.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/shapes.h"
#include "cli/verbs.h"

typedef struct bench {
    const hs_args *args;
    uint32_t n_prompt, n_gen, n_warm;
    uint64_t random;
    uint32_t vocab;
    hs_engine *engine;
    hs_session *session;
    uint32_t *tokens; /* [n_prompt or n_warm] */
    float *logits;    /* [vocab] */
    hs_progress progress;
    hs_engine_stats start, middle, end; /* before prefill, between, after decode */
    hs_engine_layer *layers;            /* [layers with experts] at `middle` */
    double prefill_s, decode_s, prefill_cpu_s, decode_cpu_s;
} bench;

/* Processor seconds of all threads so far. */
static double cpu_seconds(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t random_token(bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return (uint32_t)((b->random >> 16) % b->vocab);
}

static int on_prefill(void *ctx, uint64_t done, uint64_t total)
{
    bench *b = ctx;
    hs_progress_update(&b->progress, "prefill", HS_PROGRESS_PERCENT, done, total, hs_now_ns());
    return hs_stop_asked();
}

/* Brings into memory what the first n_warm of the tokens to be measured need, and forgets the tokens. */
static int warm_up(bench *b, hs_err *err)
{
    if (!b->n_warm)
        return 0;
    uint64_t random = b->random;
    for (uint32_t i = 0; i < b->n_warm; i++)
        b->tokens[i] = random_token(b);
    int r = hs_session_prefill(b->session, b->tokens, b->n_warm, b->logits, 1, on_prefill, b, err);
    if (r == 0)
        r = hs_session_decode(&b->session, b->tokens, 1, b->logits, err);
    hs_session_reset(b->session);
    b->random = random;
    return r;
}

static int measure(bench *b, hs_err *err)
{
    for (uint32_t i = 0; i < b->n_prompt; i++)
        b->tokens[i] = random_token(b);
    b->start = hs_engine_get_stats(b->engine);
    double cpu0 = cpu_seconds();
    uint64_t t0 = hs_now_ns();
    int r = b->n_prompt ? hs_session_prefill(b->session, b->tokens, b->n_prompt, b->logits, 1, on_prefill, b, err) : 0;
    if (r < 0)
        return r;
    uint64_t t1 = hs_now_ns();
    double cpu1 = cpu_seconds();
    b->middle = hs_engine_get_stats(b->engine);
    const uint32_t *numbers;
    for (uint32_t l = 0; l < hs_engine_moe_layers(b->engine, &numbers); l++)
        b->layers[l] = hs_engine_get_layer(b->engine, l);
    for (uint32_t i = 0; i < b->n_gen; i++) {
        if (hs_stop_asked())
            return hs_err_set(err, -ECANCELED, "stopped as asked");
        uint32_t token = random_token(b);
        hs_progress_update(&b->progress, "decode", HS_PROGRESS_PERCENT, i, b->n_gen, hs_now_ns());
        r = hs_session_decode(&b->session, &token, 1, b->logits, err);
        if (r < 0)
            return r;
    }
    b->decode_s = (double)(hs_now_ns() - t1) * 1e-9;
    b->prefill_s = (double)(t1 - t0) * 1e-9;
    b->decode_cpu_s = cpu_seconds() - cpu1;
    b->prefill_cpu_s = cpu1 - cpu0;
    b->end = hs_engine_get_stats(b->engine);
    return 0;
}

typedef struct phases {
    double compute, disk_wait, decode, other;
} phases;

static phases split(const hs_engine_stats *a, const hs_engine_stats *z, double wall)
{
    phases p = {.disk_wait = (double)(z->disk_wait_ns - a->disk_wait_ns) * 1e-9,
                .decode = (double)(z->expand_ns - a->expand_ns) * 1e-9};
    p.compute = (double)(z->attention_ns + z->dense_ffn_ns + z->expert_ns + z->router_ns + z->head_ns -
                         (a->attention_ns + a->dense_ffn_ns + a->expert_ns + a->router_ns + a->head_ns)) *
                1e-9;
    double rest = wall - p.compute - p.disk_wait - p.decode;
    p.other = rest > 0 ? rest : 0;
    return p;
}

static double hit_rate(const hs_engine_stats *a, const hs_engine_stats *z)
{
    uint64_t hits = z->expert_hits - a->expert_hits, all = hits + z->expert_misses - a->expert_misses;
    return all ? (double)hits / (double)all : 1;
}

/* NULL when nothing was read. */
static json_t *disk_rate(const hs_engine_stats *a, const hs_engine_stats *z)
{
    uint64_t busy = z->io_busy_ns - a->io_busy_ns;
    return busy ? json_real((double)(z->bytes_read - a->bytes_read) / ((double)busy * 1e-9)) : json_null();
}

static json_t *rate(double n, double seconds)
{
    return n > 0 && seconds > 0 ? json_real(n / seconds) : json_null();
}

static json_t *phases_json(const phases *p)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "compute", p->compute, "disk_wait", p->disk_wait, "decode", p->decode,
                     "other", p->other);
}

static double share(uint64_t part, uint64_t all)
{
    return all ? (double)part / (double)all : 0;
}

/* Reading ahead while tokens were generated, layer by layer. */
static json_t *layers_json(const bench *b)
{
    const uint32_t *numbers;
    json_t *list = json_array();
    for (uint32_t l = 0; list && l < hs_engine_moe_layers(b->engine, &numbers); l++) {
        hs_engine_layer z = hs_engine_get_layer(b->engine, l);
        const hs_engine_layer *a = &b->layers[l];
        uint64_t absent = z.absent - a->absent, useful = z.useful - a->useful, late = z.late - a->late;
        json_array_append_new(
            list, json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "layer", (int)numbers[l], "resident",
                            (json_int_t)z.resident, "absent", (json_int_t)absent, "issued",
                            (json_int_t)(z.issued - a->issued), "useful", (json_int_t)useful, "late", (json_int_t)late,
                            "wasted", (json_int_t)(z.wasted - a->wasted), "recall_of_misses",
                            share(useful + late, absent), "arrived_of_misses", share(useful, absent)));
    }
    return list;
}

static json_t *result_json(const bench *b)
{
    const hs_plan *p = hs_engine_plan(b->engine);
    const hs_engine_stats *m = &b->middle, *z = &b->end;
    phases decode = split(m, z, b->decode_s), prefill = split(&b->start, m, b->prefill_s);
    uint64_t correct = z->predict_correct - m->predict_correct;
    json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:o, s:o, s:f, s:f, s:o, s:I, s:o, s:f}", "model", b->args->operands[0],
                          "arch", p->arch, "prompt_tokens", (int)b->n_prompt, "generated_tokens", (int)b->n_gen,
                          "prefill_tokens_per_s", rate(b->n_prompt, b->prefill_s), "decode_tokens_per_s",
                          rate(b->n_gen, b->decode_s), "prefill_s", b->prefill_s, "decode_s", b->decode_s, "phases",
                          phases_json(&decode), "bytes_read", (json_int_t)(z->bytes_read - m->bytes_read),
                          "disk_bytes_per_s", disk_rate(m, z), "hit_rate", hit_rate(m, z));
    uint64_t prompt_experts = m->expert_hits + m->expert_misses - b->start.expert_hits - b->start.expert_misses;
    json_t *more = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:I, s:o, s:f, s:I}", "hits",
        (json_int_t)(z->expert_hits - m->expert_hits), "misses", (json_int_t)(z->expert_misses - m->expert_misses),
        "unpacked", (json_int_t)(z->unpacked - m->unpacked), "prefetch_issued",
        (json_int_t)(z->prefetch_issued - m->prefetch_issued), "prefetch_useful",
        (json_int_t)(z->prefetch_useful - m->prefetch_useful), "prefetch_late",
        (json_int_t)(z->prefetch_late - m->prefetch_late), "prefetch_wasted",
        (json_int_t)(z->prefetch_wasted - m->prefetch_wasted), "predict_recall",
        share(correct, z->predict_actual - m->predict_actual), "predict_precision",
        share(correct, z->predict_guessed - m->predict_guessed), "prefill_phases", phases_json(&prefill),
        "prefill_bytes_read", (json_int_t)(m->bytes_read - b->start.bytes_read), "prefill_disk_bytes_per_s",
        disk_rate(&b->start, m), "prefill_hit_rate", hit_rate(&b->start, m), "prefill_experts",
        (json_int_t)prompt_experts);
    json_t *machine = json_pack(
        "{s:i, s:i, s:i, s:s, s:s, s:I, s:f, s:f}", "slots", (int)p->n_slots, "experts", (int)p->n_experts, "threads",
        (int)p->threads, "io_engine", hs_engine_io_name(b->engine), "kernels", hs_engine_kernels_name(b->engine),
        "planned_bytes", (json_int_t)p->total, "prefill_cpu_s", b->prefill_cpu_s, "decode_cpu_s", b->decode_cpu_s);
    if (o && more && machine) {
        json_object_set_new(o, "prefetch_layers", layers_json(b));
        json_object_update(o, more);
        json_object_update(o, machine);
    }
    json_decref(more);
    json_decref(machine);
    return o;
}

static double real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* Of the layers that tokens missed experts in: how much of it reading ahead has caught, least and most. */
static void print_layers(const json_t *layers)
{
    const json_t *least = NULL, *most = NULL, *l;
    size_t i;
    json_array_foreach(layers, i, l)
    {
        if (real(l, "absent") <= 0)
            continue;
        least = !least || real(l, "recall_of_misses") < real(least, "recall_of_misses") ? l : least;
        most = !most || real(l, "recall_of_misses") > real(most, "recall_of_misses") ? l : most;
    }
    if (least)
        printf("  by layer  of what was missing, %.2f read ahead in layer %.0f, the least, to %.2f in layer %.0f\n",
               real(least, "recall_of_misses"), real(least, "layer"), real(most, "recall_of_misses"),
               real(most, "layer"));
}

static void print_text(const json_t *o)
{
    const json_t *p = json_object_get(o, "phases");
    char a[32], c[32];
    printf("%s: %lld of %lld experts resident, %lld threads, %s, %s\n", json_string_value(json_object_get(o, "model")),
           (long long)real(o, "slots"), (long long)real(o, "experts"), (long long)real(o, "threads"),
           json_string_value(json_object_get(o, "io_engine")), json_string_value(json_object_get(o, "kernels")));
    printf("  prefill   %8.1f tokens/s   %lld tokens in %.2f s\n", real(o, "prefill_tokens_per_s"),
           (long long)real(o, "prompt_tokens"), real(o, "prefill_s"));
    printf("  decode    %8.1f tokens/s   %lld tokens in %.2f s\n", real(o, "decode_tokens_per_s"),
           (long long)real(o, "generated_tokens"), real(o, "decode_s"));
    printf("  decode's seconds: compute %.2f, disk wait %.2f, decoding frames %.2f, other %.2f\n", real(p, "compute"),
           real(p, "disk_wait"), real(p, "decode"), real(p, "other"));
    printf("  hit rate  %8.3f            read %s at %s/s\n", real(o, "hit_rate"),
           hs_format_size((uint64_t)real(o, "bytes_read"), a, sizeof a),
           hs_format_size((uint64_t)real(o, "disk_bytes_per_s"), c, sizeof c));
    printf(
        "  prefetch  %8.0f experts, %.0f of them there in time, %.0f under way, %.0f wasted; predictions: recall %.2f, "
        "precision %.2f\n",
        real(o, "prefetch_issued"), real(o, "prefetch_useful"), real(o, "prefetch_late"), real(o, "prefetch_wasted"),
        real(o, "predict_recall"), real(o, "predict_precision"));
    print_layers(json_object_get(o, "prefetch_layers"));
    if (real(o, "unpacked") > 0)
        printf("  packed    %8.0f experts read raw, the others from packed records\n", real(o, "unpacked"));
}

static int prepare(bench *b, const hs_config *config, hs_err *err)
{
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = b->args->operands[0];
    opt.mirror = hs_args_text(b->args, "mirror");
    opt.without_text = true;
    uint32_t run = b->n_prompt + b->n_gen, warm = b->n_warm + 1;
    if (!opt.context)
        opt.context = run > warm ? run : warm;
    int r = hs_load_engine(&opt, &b->engine, err);
    if (r == 0)
        r = hs_session_create(b->engine, &b->session, err);
    if (r < 0)
        return r;
    b->vocab = hs_engine_vocab(b->engine);
    b->tokens = hs_calloc((size_t)(b->n_prompt > b->n_warm ? b->n_prompt : b->n_warm) + 1, sizeof *b->tokens);
    b->logits = hs_calloc(b->vocab, sizeof *b->logits);
    const uint32_t *numbers;
    b->layers = hs_calloc((size_t)hs_engine_moe_layers(b->engine, &numbers) + 1, sizeof *b->layers);
    return b->tokens && b->logits && b->layers ? 0 : hs_err_set(err, -ENOMEM, "bench: out of memory");
}

static int bench_model(const hs_args *a)
{
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    bench b = {.args = a,
               .n_prompt = (uint32_t)hs_args_int(a, "prompt", 128),
               .n_gen = (uint32_t)hs_args_int(a, "gen", 64),
               .n_warm = (uint32_t)hs_args_int(a, "warm", 0),
               .random = (uint64_t)hs_args_int(a, "seed", 1) * 0x9e3779b97f4a7c15ull | 1};
    hs_progress_init(&b.progress, stderr);
    hs_err err = {0};
    int r = prepare(&b, config, &err);
    if (r == 0)
        r = warm_up(&b, &err);
    if (r == 0)
        r = measure(&b, &err);
    hs_progress_clear(&b.progress);
    json_t *o = r == 0 ? result_json(&b) : NULL;
    if (r < 0) {
        status = hs_fail(&err);
    } else if (hs_args_has(a, "json") || !o) {
        status = hs_print_json(o);
    } else {
        print_text(o);
        json_decref(o);
    }
    hs_session_destroy(&b.session);
    hs_engine_destroy(&b.engine);
    hs_free(b.tokens);
    hs_free(b.logits);
    hs_free(b.layers);
    hs_config_destroy(&config);
    return status;
}

static const char *const not_replayed[] = {"prompt", "gen", "seed", "disk", "seconds"};

static int bench_replay(const hs_args *a)
{
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = a->operands[0];
    opt.mirror = hs_args_text(a, "mirror");
    opt.without_text = true;
    json_t *o = NULL;
    hs_err err = {0};
    if (hs_bench_replay(a, &opt, hs_load_engine, &o, &err) < 0) {
        status = hs_fail(&err);
    } else if (hs_args_has(a, "json")) {
        status = hs_print_json(o);
    } else {
        hs_bench_replay_print(o);
        json_decref(o);
    }
    hs_config_destroy(&config);
    return status;
}

static int run_bench(const hs_args *a)
{
    bool disk = hs_args_has(a, "disk");
    if (disk == (a->n_operands > 0))
        return hs_fail_usage(a->verb, "bench needs either a MODEL or --disk PATH");
    if (!hs_args_has(a, "replay") && hs_args_has(a, "phase"))
        return hs_fail_usage(a->verb, "--phase goes with --replay");
    if (hs_args_has(a, "replay")) {
        for (size_t i = 0; i < sizeof not_replayed / sizeof *not_replayed; i++)
            if (hs_args_has(a, not_replayed[i]))
                return hs_fail_usage(a->verb, "--%s does not go with --replay", not_replayed[i]);
        hs_signals_setup();
        return bench_replay(a);
    }
    if (!disk && hs_args_int(a, "prompt", 128) + hs_args_int(a, "gen", 64) == 0)
        return hs_fail_usage(a->verb, "bench needs a prompt or something to generate");
    hs_signals_setup();
    return disk ? hs_bench_disk(a) : bench_model(a);
}

static const hs_flag flags[] = {
    {"prompt", HS_FLAG_INT, "N", 0, 16777216, "prompt tokens; default 128"},
    {"gen", HS_FLAG_INT, "N", 0, 16777216, "generated tokens; default 64"},
    {"warm", HS_FLAG_INT, "N", 0, 16777216,
     "run the first N of the tokens once before, uncounted and forgotten; default 0. With --replay: the trace's first "
     "N tokens fill the cache uncounted; default a quarter of them, at most 2000"},
    {"seed", HS_FLAG_INT, "N", 0, 4294967295.0, "other random tokens; default 1"},
    {"replay", HS_FLAG_TEXT, "TRACE", 0, 0,
     "generated tokens use the experts of this route trace (as hotset eval --routes writes it), not the router's; "
     "counts what hotset sim --sets counts"},
    {"phase", HS_FLAG_CHOICE, "decode|all", 0, 0, "with --replay: rows to replay; decode by default"},
    {"disk", HS_FLAG_TEXT, "PATH", 0, 0,
     "measure reading instead: the biggest file at PATH, sequential and random, in several sizes and depths; then "
     "calibrate, and keep the result for this drive (unless io.calibrate is off)"},
    {"seconds", HS_FLAG_NUMBER, "S", 0.05, 60, "with --disk: time for each of the 18 measurements; default 1"},
    HS_FLAG_MIRROR,
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_bench = {
    .name = "bench",
    .synopsis = "MODEL | --disk PATH",
    .summary = "Speed of a model on random tokens with the phase split, or of a drive.",
    .details =
        "Figures are those of decoding unless their name says prefill. disk_bytes_per_s counts bytes completed per "
        "second in which a read was in flight.",
    .flags = flags,
    .max_operands = 1,
    .first = HS_NEEDED_MODEL,
    .run = run_bench};
