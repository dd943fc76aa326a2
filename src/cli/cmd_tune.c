/*
 * cmd_tune.c - measures this machine with a model, or policies with a recorded trace, and writes the configuration that
 * follows from it. Changes nothing but the kept calibration of the drive.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/tune.h"
#include "cli/verbs.h"
#include "hotset/trace_format.h"
#include "server/server.h"

#define DEFAULT_SECONDS 20
#define DEFAULT_SHARE   25.0 /* %, of a trace alone */

static bool is_trace(const char *path)
{
    char line[sizeof HS_TRACE_MAGIC] = "";
    struct stat st;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "re") : NULL;
    if (!f)
        return false;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    return n == sizeof line - 1 && !memcmp(line, HS_TRACE_MAGIC, n);
}

/* Slots of a trace's cache by cache.size alone. */
static int trace_slots(const hs_config *c, const char *path, const hs_trace *trace, uint32_t *ret, hs_err *err)
{
    hs_size_spec size = hs_config_size_spec(c, "cache", "size");
    uint32_t n = trace->n_moe_layers * trace->n_experts;
    uint64_t slot = 0, slots;
    for (uint32_t i = 0; i < trace->n_moe_layers; i++)
        slot = trace->expert_bytes[i] > slot ? trace->expert_bytes[i] : slot;
    if (size.kind == HS_SIZE_BYTES && !slot)
        return hs_err_set(err, -EINVAL, "%s: it does not tell the experts' sizes: give cache.size as a share", path);
    slots = size.kind == HS_SIZE_BYTES
                ? size.bytes / slot
                : (uint64_t)(n * (size.kind == HS_SIZE_PERCENT ? size.percent : DEFAULT_SHARE) / 100);
    if (!slots)
        return hs_err_set(err, -EINVAL, "%s: cache.size = %s has no room for one of its %u experts", path,
                          hs_config_str(c, "cache", "size"), n);
    *ret = slots < n ? (uint32_t)slots : n;
    return 0;
}

static int tune_trace(hs_tune *t, const char *path, hs_err *err)
{
    hs_trace trace;
    uint32_t n_slots = 0;
    double hits = 0;
    int r = hs_trace_read(path, false, &trace, err);
    if (r < 0)
        return r;
    r = trace_slots(t->config, path, &trace, &n_slots, err);
    if (r == 0)
        r = hs_tune_cache(t, &trace, n_slots, &hits, err);
    hs_trace_deinit(&trace);
    return r;
}

static int check_shape(const char *model, const char *path, const hs_trace *t, hs_err *err)
{
    hs_facts f;
    int r = hs_facts_read(model, &f, err);
    if (r < 0)
        return r;
    if (f.n_moe_layers != t->n_moe_layers || f.n_experts != t->n_experts || f.top_k != t->top_k)
        r = hs_err_set(err, -EINVAL, "%s: %u layers of %u experts, %u used, but %s has %u of %u, %u used", path,
                       t->n_moe_layers, t->n_experts, t->top_k, model, f.n_moe_layers, f.n_experts, f.top_k);
    hs_facts_deinit(&f);
    return r;
}

/* cache.policy and cache.scope of a model. *ret_hits stays as it is without a trace. */
static int tune_policy(hs_tune *t, const char *model, const char *path, const hs_plan *plan, double *ret_hits,
                       hs_err *err)
{
    if (!path) {
        hs_tune_keep(
            t, "cache", "policy",
            "Kept: policies are compared on recorded routes, and no trace was given (--trace FILE; hotset eval "
            "--routes FILE writes one).");
        hs_tune_keep(t, "cache", "scope", "Kept, likewise.");
        return 0;
    }
    hs_trace trace;
    int r = hs_trace_read(path, false, &trace, err);
    if (r < 0)
        return r;
    r = check_shape(model, path, &trace, err);
    if (r == 0)
        r = hs_tune_cache(t, &trace, plan->n_slots, ret_hits, err);
    hs_trace_deinit(&trace);
    return r;
}

/* cache.size stays; what to expect of it. hits < 0: by the curve of recorded routes. */
static int tune_size(hs_tune *t, const hs_engine_options *opt, const hs_plan *p, double hits, double bytes_per_s,
                     hs_err *err)
{
    hs_speed speed = {0};
    hs_err why = {0};
    char cache[32], rate[64] = "";
    bool is_traced = hits >= 0, is_computed = hs_speed_measure(opt, p, 0, &speed, &why) == 0;
    if (!is_computed)
        hs_say("what this machine computes is left out: %s", why.text);
    if (!is_traced)
        hits = hs_forecast_hit_rate((double)p->n_slots / p->n_experts, (double)p->token_cycle / p->n_experts,
                                    HS_ROUTING_REAL);
    hs_forecast f = hs_forecast_make(p, &speed, bytes_per_s, hits, 0);
    bool is_known = is_computed && (bytes_per_s > 0 || f.miss_bytes == 0);
    if (is_known)
        snprintf(rate, sizeof rate, ", %.2f generated tokens/s", f.decode_tokens_per_s);
    hs_tune_keep(t, "cache", "size", "As configured: room for %u of %u experts (%s). Expected: hit rate %.2f (%s)%s%s.",
                 p->n_slots, p->n_experts, hs_format_size(p->cache, cache, sizeof cache), hits,
                 is_traced ? "of the trace" : "as recorded routes repeat themselves", rate,
                 is_known ? "" : "; how fast is not known, because drive or processors were not measured");
    return hs_tune_figure(t, "expected",
                          json_pack("{s:i, s:i, s:f, s:s, s:f, s:o}", "slots", (int)p->n_slots, "experts",
                                    (int)p->n_experts, "hit_rate", hits, "routing", is_traced ? "trace" : "real",
                                    "miss_bytes_per_token", f.miss_bytes, "decode_tokens_per_s",
                                    is_known ? json_real(f.decode_tokens_per_s) : json_null()),
                          err);
}

static int tune_model(hs_tune *t, const char *path, const char *trace, hs_err *err)
{
    hs_engine_options opt;
    hs_server_options server;
    hs_plan plan = {0};
    double hits = -1, bytes_per_s = 0;
    hs_tune io = {
        .config = t->config, .end_ns = t->end_ns, .figures = t->figures}; /* measured first, told after cache */
    hs_engine_options_from_config(t->config, &opt);
    opt.path = path;
    int r = hs_server_options_from_config(t->config, &server, err);
    if (r < 0)
        return r;
    opt.parallel = server.parallel;
    opt.memory_outside = hs_server_memory_bytes(&server);
    r = hs_plan_make(&opt, &plan, err);
    if (r == 0)
        r = tune_policy(t, path, trace, &plan, &hits, err);
    if (r == 0)
        r = hs_tune_io(&io, path, &bytes_per_s, err);
    if (r == 0)
        r = tune_size(t, &opt, &plan, hits, bytes_per_s, err);
    for (size_t i = 0; r == 0 && i < io.n; i++)
        hs_tune_add(t, io.line[i].section, io.line[i].key, io.line[i].value, "%s", io.line[i].why);
    return r < 0 ? r : hs_tune_speed(t, &opt, &plan, err);
}

static int print(const hs_tune *t, bool as_json)
{
    if (as_json)
        return hs_print_json(hs_tune_json(t));
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_tune_format(t, &b);
    hs_err err = {.text = "out of memory for the result"};
    int status = b.failed ? hs_fail(&err) : 0;
    if (!b.failed)
        fputs(b.data, stdout);
    hs_buf_deinit(&b);
    return status;
}

static int run_tune(const hs_args *a)
{
    const char *path = a->operands[0], *trace = hs_args_text(a, "trace");
    bool alone = is_trace(path);
    if (alone && (trace || hs_args_has(a, "seconds")))
        return hs_fail_usage(a->verb, "%s is a trace: --trace and --seconds go with a MODEL", path);
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    hs_signals_setup();
    hs_err err = {0};
    double seconds = hs_args_number(a, "seconds", DEFAULT_SECONDS);
    hs_tune t = {.config = config, .end_ns = hs_now_ns() + (uint64_t)(seconds * 1e9), .figures = json_object()};
    int r = !t.figures ? hs_err_set(&err, -ENOMEM, "out of memory for the figures")
            : alone    ? tune_trace(&t, path, &err)
                       : tune_model(&t, path, trace, &err);
    status = r < 0 ? hs_fail(&err) : print(&t, hs_args_has(a, "json"));
    json_decref(t.figures);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"trace", HS_FLAG_TEXT, "FILE", 0, 0, "with MODEL: compare the cache policies on this route trace of it"},
    {"seconds", HS_FLAG_NUMBER, "S", 1, 3600, "time for the measurements of a MODEL in all; default 20"},
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_tune = {
    .name = "tune",
    .synopsis = "MODEL|TRACE",
    .summary = "Measure this machine and write the configuration that suits it.",
    .details =
        "stdout is a configuration file, each line with what it is expected to bring; hotset serve --config takes it. "
        "What is configured stays unless something measured better: policies by half a point of hit rate, the drive, "
        "threads and prefetch by 5 %. The calibration of the drive is kept for hotset serve.\n\n"
        "A TRACE (hotset eval --routes) alone tells policy and scope, for a cache of cache.size, or 25 % of all "
        "experts where that is auto.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_tune};
