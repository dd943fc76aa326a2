/*
 * cmd_tune.c - measures this machine with a model, or policies with a recorded trace, and writes the configuration that
 * follows from it. Changes nothing but the kept calibration of the drive and the file that it is told to write.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/classes.h"
#include "cli/atomic_file.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/shapes.h"
#include "cli/tune.h"
#include "cli/verbs.h"
#include "server/server.h"

#define DEFAULT_SECONDS 60
#define DRIVE_SHARE     4    /* one part in so many of the time, at most, for each of the drive's measurements */
#define DEFAULT_SHARE   25.0 /* %, of a trace alone */
#define MAX_TEXT        (1u << 20)

/* ---- a trace alone ---- */

/* Slots of a trace's cache by cache.size alone. */
static int trace_slots(const hs_config *c, const char *path, const hs_trace *trace, uint32_t *ret, hs_err *err)
{
    hs_size_spec size = hs_config_size_spec(c, "cache", "size");
    uint32_t n = trace->n_moe_layers * trace->n_experts;
    uint64_t slots;
    hs_classes sizes;
    hs_classes_make(&sizes, trace->expert_bytes, trace->n_moe_layers, trace->n_experts, trace->top_k);
    if (size.kind == HS_SIZE_BYTES && !sizes.of[0].size)
        return hs_err_set(err, -EINVAL, "%s: it does not tell the experts' sizes: give cache.size as a share", path);
    slots = size.kind == HS_SIZE_BYTES
                ? hs_classes_fit(&sizes, size.bytes)
                : (uint64_t)(n * (size.kind == HS_SIZE_PERCENT ? size.percent : DEFAULT_SHARE) / 100);
    if (!slots)
        return hs_err_set(err, -EINVAL, "%s: cache.size = %s has no room for one of its %u experts", path,
                          hs_config_str(c, "cache", "size"), n);
    *ret = slots < n ? (uint32_t)slots : n;
    return 0;
}

static int tune_trace(hs_tune *t, const hs_args *a, const char *path, hs_err *err)
{
    hs_trace trace;
    double hits;
    char source[64];
    hs_tune_replay how = {.source = source,
                          .bytes_per_s = (double)hs_args_size(a, "disk-bw", 0),
                          .compute_s = hs_args_number(a, "compute-ms", 0) * 1e-3};
    int r = hs_trace_read(path, false, &trace, err);
    if (r < 0)
        return r;
    r = trace_slots(t->config, path, &trace, &how.n_slots, err);
    if (r == 0 && how.bytes_per_s > 0 && !trace.expert_bytes[0])
        r = hs_err_set(err, -EINVAL, "%s: it does not tell the experts' sizes, so --disk-bw says nothing", path);
    if (r == 0) {
        uint32_t n = trace.n_moe_layers * trace.n_experts;
        snprintf(source, sizeof source, "of %u tokens of the trace", trace.n_tokens - hs_trace_warmup(&trace));
        snprintf(
            t->about, sizeof t->about,
            "Routes of %s: %u tokens, %u layers of %u experts, %u used. Room for %u of %u experts (cache.size = %s).",
            *trace.model ? trace.model : "a model without name", trace.n_tokens, trace.n_moe_layers, trace.n_experts,
            trace.top_k, how.n_slots, n, hs_config_str(t->config, "cache", "size"));
        r = hs_tune_cache(t, &trace, &how, &hits, err);
    }
    if (r == 0)
        hs_tune_keep(t, "cache", "size", "As configured. What sizes would bring, with this policy and scope%s:",
                     how.bytes_per_s > 0 ? " (tokens/s if reads come after computing, and if all go on beside it)"
                                         : "");
    hs_trace_deinit(&trace);
    return r;
}

/* ---- a model ---- */

/* Is the trace one of this model? One that the model has made itself (path NULL) is told the experts' sizes. */
static int check_shape(const char *model, const char *path, hs_trace *t, hs_err *err)
{
    hs_facts f;
    int r = hs_facts_read(model, &f, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; !path && i < t->n_moe_layers; i++)
        t->expert_bytes[i] = f.layers[i].expert_bytes;
    if (path && (f.n_moe_layers != t->n_moe_layers || f.n_experts != t->n_experts || f.top_k != t->top_k))
        r = hs_err_set(err, -EINVAL, "%s: %u layers of %u experts, %u used, but %s has %u of %u, %u used", path,
                       t->n_moe_layers, t->n_experts, t->top_k, model, f.n_moe_layers, f.n_experts, f.top_k);
    hs_facts_deinit(&f);
    return r;
}

/* What the daemon would load, as a plan and as options that make the same. */
static int plan_daemon(const hs_config *c, const char *path, const char *mirror, hs_engine_options *ret_opt,
                       hs_plan *ret_plan, hs_err *err)
{
    hs_engine_options opt;
    hs_server_options server;
    hs_engine_options_from_config(c, &opt);
    opt.path = path;
    opt.mirror = mirror;
    opt.governed = strcmp(hs_config_str(c, "memory", "governor"), "off") != 0;
    int r = hs_server_options_from_config(c, &server, err);
    if (r < 0)
        return r;
    opt.parallel = server.parallel;
    opt.memory_outside = hs_server_memory_bytes(&server);
    r = hs_plan_make(&opt, ret_plan, err);
    if (r < 0)
        return r;
    uint64_t own = hs_routes_bytes(ret_plan->token_cycle);
    opt.memory_outside = own > opt.memory_outside ? own : opt.memory_outside;
    opt.cache_kind = HS_CACHE_BYTES;
    opt.cache_bytes = ret_plan->cache;
    opt.context = ret_plan->context;
    *ret_opt = opt;
    return 0;
}

static uint32_t count_used(const hs_trace *t)
{
    uint32_t n = t->n_moe_layers * t->n_experts, used = 0;
    uint8_t *seen = hs_calloc(n, 1);
    for (size_t i = 0; seen && i < t->n; i++) {
        used += !seen[t->object[i]];
        seen[t->object[i]] = 1;
    }
    hs_free(seen);
    return used;
}

/* [cache], by the routes of a trace or those that were recorded. */
static int tune_cache(hs_tune *t, const hs_plan *plan, const hs_tune_pace *pace, const hs_trace *given,
                      const hs_trace *recorded, hs_err *err)
{
    const hs_trace *trace = given ? given : recorded;
    char source[160];
    double hits;
    hs_tune_replay how = {
        .source = source, .n_slots = plan->n_slots, .wait_share = pace->wait_share, .tokens_per_s = pace->tokens_per_s};
    snprintf(source, sizeof source, "of %u tokens %s, which use %u of %u experts",
             trace->n_tokens - hs_trace_warmup(trace), given ? "of the trace" : "that the model said by itself",
             count_used(trace), plan->n_experts);
    int r = hs_tune_cache(t, trace, &how, &hits, err);
    if (r == 0)
        hs_tune_keep(t, "cache", "size",
                     "As configured: room for %u of %u experts. What other sizes would bring here:", plan->n_slots,
                     plan->n_experts);
    return r;
}

static int tune_model(hs_tune *t, const hs_args *a, const char *path, hs_err *err)
{
    const char *trace_path = hs_args_text(a, "trace");
    double seconds = hs_args_number(a, "seconds", DEFAULT_SECONDS);
    hs_engine_options opt;
    hs_plan plan = {0};
    hs_tune_drive drive;
    hs_tune_pace pace = {0};
    hs_trace given = {0}, recorded = {0};
    hs_tune ways = {.config = t->config, .figures = t->figures}; /* measured before what is told before */
    char size[32];
    int r = plan_daemon(t->config, path, hs_args_text(a, "mirror"), &opt, &plan, err);
    if (r == 0 && trace_path)
        r = hs_trace_read(trace_path, false, &given, err);
    if (r == 0 && trace_path)
        r = check_shape(path, trace_path, &given, err);
    uint64_t start_ns = hs_now_ns();
    if (r == 0)
        r = hs_tune_drive_measure(t->config, path, seconds / DRIVE_SHARE, &drive, err);
    if (r == 0)
        r = hs_tune_speed(&ways, &opt, &plan, seconds - (double)(hs_now_ns() - start_ns) * 1e-9, &pace, &recorded, err);
    if (r == 0) {
        snprintf(
            t->about, sizeof t->about,
            "%s: %.2f tokens/s as configured (half of %u rounds of %u tokens between %.2f and %.2f), hit rate %.1f "
            "%%, %.0f %% of the time waiting for the drive; %s of experts in memory.",
            path, pace.tokens_per_s, pace.rounds, pace.tokens, pace.low, pace.high, 100 * pace.hit_rate,
            100 * pace.wait_share, hs_format_size(plan.cache, size, sizeof size));
        r = hs_tune_figure(t, "configured",
                           json_pack("{s:f, s:f, s:f, s:f, s:f, s:i, s:i}", "tokens_per_s", pace.tokens_per_s, "low",
                                     pace.low, "high", pace.high, "wait_share", pace.wait_share, "hit_rate",
                                     pace.hit_rate, "rounds", (int)pace.rounds, "tokens", (int)pace.tokens),
                           err);
    }
    if (r == 0)
        r = check_shape(path, NULL, &recorded, err);
    if (r == 0)
        r = tune_cache(t, &plan, &pace, trace_path ? &given : NULL, &recorded, err);
    if (r == 0)
        hs_tune_drive_lines(t, &drive, pace.wait_share);
    for (size_t i = 0; r == 0 && i < ways.n; i++)
        t->line[t->n++] = ways.line[i];
    hs_trace_deinit(&given);
    hs_trace_deinit(&recorded);
    return r;
}

/* ---- the verb ---- */

static int write_file(const char *path, const hs_buf *b, bool replace, hs_err *err)
{
    hs_atomic_file *f = NULL;
    struct stat st;
    if (!replace && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
        return hs_err_set(err, -EEXIST, "%s is there already: --replace writes over it", path);
    int r = hs_atomic_file_open(path, &f, err);
    if (r == 0) {
        hs_atomic_file_write(f, b->data, b->len);
        r = hs_atomic_file_commit(f, err);
    }
    hs_atomic_file_close(&f);
    return r;
}

static int print(const hs_tune *t, const hs_args *a)
{
    const char *path = hs_args_text(a, "out");
    hs_err err = {0};
    hs_buf b;
    hs_buf_init(&b, MAX_TEXT);
    hs_tune_format(t, &b);
    int r = b.failed ? hs_err_set(&err, -ENOMEM, "out of memory for the result") : 0;
    if (r == 0 && path)
        r = write_file(path, &b, hs_args_has(a, "replace"), &err);
    if (r == 0 && path)
        hs_say("written: %s", path);
    if (r == 0 && !path && !hs_args_has(a, "json"))
        fputs(b.data, stdout);
    hs_buf_deinit(&b);
    int status = r < 0 ? hs_fail(&err) : 0;
    return status == 0 && hs_args_has(a, "json") ? hs_print_json(hs_tune_json(t)) : status;
}

/* What the command line says wrong about MODEL or TRACE. */
static int check_usage(const hs_args *a, bool alone)
{
    static const char *const of_model[] = {"trace", "seconds", "mirror"}, *const of_trace[] = {"disk-bw", "compute-ms"};
    for (size_t i = 0; alone && i < sizeof of_model / sizeof *of_model; i++)
        if (hs_args_has(a, of_model[i]))
            return hs_fail_usage(a->verb, "%s is a trace: --%s goes with a MODEL", a->operands[0], of_model[i]);
    for (size_t i = 0; !alone && i < sizeof of_trace / sizeof *of_trace; i++)
        if (hs_args_has(a, of_trace[i]))
            return hs_fail_usage(a->verb, "--%s goes with a TRACE alone: of a MODEL it is measured", of_trace[i]);
    if (hs_args_has(a, "compute-ms") && !hs_args_has(a, "disk-bw"))
        return hs_fail_usage(a->verb, "--compute-ms tells nothing without --disk-bw");
    if (hs_args_has(a, "replace") && !hs_args_has(a, "out"))
        return hs_fail_usage(a->verb, "--replace goes with --out");
    return 0;
}

static int run_tune(const hs_args *a)
{
    const char *path = a->operands[0], *out = hs_args_text(a, "out");
    bool alone = hs_is_trace(path);
    struct stat st;
    hs_err err = {0};
    hs_config *config = NULL;
    int status = check_usage(a, alone);
    if (!status)
        status = hs_load_config(a, &config);
    if (!status && out && !hs_args_has(a, "replace") && lstat(out, &st) == 0 && S_ISREG(st.st_mode)) {
        hs_err_set(&err, -EEXIST, "%s is there already: --replace writes over it", out);
        status = hs_fail(&err);
    }
    if (status) {
        hs_config_destroy(&config);
        return status;
    }
    hs_signals_setup();
    hs_tune t = {.config = config, .figures = json_object()};
    hs_buf_init(&t.table, MAX_TEXT);
    int r = !t.figures ? hs_err_set(&err, -ENOMEM, "out of memory for the figures")
            : alone    ? tune_trace(&t, a, path, &err)
                       : tune_model(&t, a, path, &err);
    status = r < 0 ? hs_fail(&err) : print(&t, a);
    hs_buf_deinit(&t.table);
    json_decref(t.figures);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"trace", HS_FLAG_TEXT, "FILE", 0, 0,
     "with MODEL: compare cache policies on this route trace instead of what the model says by itself"},
    {"seconds", HS_FLAG_NUMBER, "S", 1, 86400,
     "with MODEL: time for measuring, loading it not counted; default 60. More tells more apart"},
    {"disk-bw", HS_FLAG_SIZE, "SIZE", 1, 0, "with TRACE: bytes per second of the drive; tells tokens/s too"},
    {"compute-ms", HS_FLAG_NUMBER, "X", 0, 1e6, "with TRACE: what a token computes; 0 by default"},
    {"out", HS_FLAG_TEXT, "FILE", 0, 0, "write the configuration there; a file that exists is left alone"},
    {"replace", HS_FLAG_SWITCH, NULL, 0, 0, "write over it"},
    HS_FLAG_MIRROR,
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_tune = {
    .name = "tune",
    .synopsis = "MODEL|TRACE",
    .summary = "Measure this machine and write the configuration that suits it.",
    .details =
        "stdout is a configuration, each line with what it is expected to bring: hotset serve --config takes it, or "
        "hotset.conf.d/ does. What is configured stays unless something measured faster: more than by chance, with 95 "
        "% confidence, and by 3 % or more; what could not be told apart in the time given is said to be so. Nothing "
        "changes results.\n\n"
        "With a MODEL the drive is measured (and its calibration kept for hotset serve), then one engine with the "
        "daemon's memory decodes in several ways by turns; the routes that its tokens take are replayed under every "
        "cache policy. A TRACE (hotset eval --routes) alone tells [cache] only, for a cache of cache.size, or 25 % of "
        "all experts where that is auto.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 1,
    .first = HS_NEEDED_MODEL,
    .run = run_tune};
