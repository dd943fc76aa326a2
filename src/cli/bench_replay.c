/* bench_replay.c - see bench_replay.h. */
#include "cli/bench_replay.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/replay_fit.h"
#include "cli/trace_replay.h"

#define FIT_STEPS 16

typedef struct replay {
    const char *path;
    hs_trace trace;
    uint32_t warmup;
    const uint32_t *at; /* first use of the token under way */
    hs_engine *engine;
    hs_session *session;
    uint32_t vocab;
    float *logits; /* [vocab] */
    hs_engine_stats start, end;
    uint64_t ns;
    uint32_t lacking; /* layers of the token under way */
    hs_replay_fit fit;
} replay;

static void choose(void *ctx, uint32_t seq, uint32_t moe_layer, uint32_t *ret_experts)
{
    const replay *r = ctx;
    uint32_t k = r->trace.top_k;
    (void)seq;
    for (uint32_t i = 0; i < k; i++)
        ret_experts[i] = r->at[moe_layer * k + i] % r->trace.n_experts;
}

static void on_route(void *ctx, const hs_route_event *ev)
{
    replay *r = ctx;
    bool lacks = false;
    for (uint32_t i = 0; i < ev->top_k; i++)
        lacks |= ev->resident && !ev->resident[i];
    r->lacking += lacks;
}

static uint64_t computing(const hs_engine_stats *s)
{
    return s->attention_ns + s->dense_ffn_ns + s->expert_ns + s->router_ns + s->head_ns;
}

/* A token is through that has begun with stats a and taken so long. */
static void account(replay *r, const hs_engine_stats *a, uint64_t ns)
{
    hs_engine_stats z = hs_engine_get_stats(r->engine);
    uint64_t expert = z.expert_ns - a->expert_ns, expand = z.expand_ns - a->expand_ns;
    uint64_t apart = expert + expand + z.disk_wait_ns - a->disk_wait_ns;
    hs_replay_token t = {.misses = (uint32_t)(z.expert_misses - a->expert_misses),
                         .layers = r->lacking,
                         .warm_hits = (uint32_t)(z.warm_hits - a->warm_hits),
                         .busy_s = (double)(z.io_busy_ns - a->io_busy_ns) * 1e-9,
                         .expert_s = (double)expert * 1e-9,
                         .expand_s = (double)expand * 1e-9,
                         .rest_s = ns > apart ? (double)(ns - apart) * 1e-9 : 0};
    hs_replay_fit_add(&r->fit, &t);
}

/* Every token names top_k different experts of each layer. */
static int check_whole(const replay *r, hs_err *err)
{
    const hs_trace *t = &r->trace;
    uint64_t cycle = (uint64_t)t->n_moe_layers * t->top_k;
    for (uint64_t i = 0; i < t->n; i++) {
        bool whole = t->token[i] == i / cycle && t->object[i] / t->n_experts == i % cycle / t->top_k;
        for (uint64_t j = i - i % t->top_k; whole && j < i; j++)
            whole = t->object[j] != t->object[i];
        if (!whole)
            return hs_err_set(err, -EINVAL, "%s: token %llu does not use %u different experts of every layer", r->path,
                              (unsigned long long)(i / cycle), t->top_k);
    }
    if (t->n != cycle * t->n_tokens)
        return hs_err_set(err, -EINVAL, "%s: the last token does not use experts of every layer", r->path);
    return 0;
}

static bool begins_turn(const hs_trace *t, uint32_t token)
{
    uint64_t cycle = (uint64_t)t->n_moe_layers * t->top_k;
    return token > 0 && t->turn[token * cycle] != t->turn[(token - 1) * cycle];
}

/* Tokens of the longest turn. */
static uint32_t longest_turn(const hs_trace *t)
{
    uint32_t most = 0, n = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        n = begins_turn(t, i) ? 1 : n + 1;
        most = n > most ? n : most;
    }
    return most;
}

static int check_model(const replay *r, const char *model, hs_err *err)
{
    const uint32_t *numbers;
    uint32_t layers = hs_engine_moe_layers(r->engine, &numbers);
    uint32_t experts = hs_engine_experts_per_layer(r->engine), k = hs_engine_experts_per_token(r->engine);
    bool is_fit = r->trace.is_counted ? experts == r->trace.n_experts : experts >= r->trace.n_experts;
    if (layers == r->trace.n_moe_layers && is_fit && k == r->trace.top_k)
        return 0;
    return hs_err_set(err, -EINVAL, "%s: %u layers of %u experts, %u used, but %s has %u of %u, %u used", r->path,
                      r->trace.n_moe_layers, r->trace.n_experts, r->trace.top_k, model, layers, experts, k);
}

static int prepare(replay *r, const hs_args *a, const hs_engine_options *given, hs_engine_load load, hs_err *err)
{
    const char *phase = hs_args_text(a, "phase");
    int e = hs_trace_read(r->path, phase && !strcmp(phase, "all"), &r->trace, err);
    if (e < 0)
        return e;
    int64_t warmup = hs_args_int(a, "warm", -1);
    r->warmup = warmup >= 0 ? (uint32_t)warmup : hs_trace_warmup(&r->trace);
    if (r->warmup >= r->trace.n_tokens)
        return hs_err_set(err, -EINVAL, "%s: --warm %u leaves none of its %u tokens", r->path, r->warmup,
                          r->trace.n_tokens);
    e = check_whole(r, err);
    if (e < 0)
        return e;
    hs_engine_options opt = *given;
    uint32_t longest = longest_turn(&r->trace);
    if (opt.context && opt.context < longest)
        return hs_err_set(err, -E2BIG, "%s: a turn of %u tokens does not fit in kv.context = %u", r->path, longest,
                          opt.context);
    opt.context = longest;
    e = load(&opt, &r->engine, err);
    if (e == 0)
        e = check_model(r, opt.path, err);
    if (e == 0)
        e = hs_session_create(r->engine, &r->session, err);
    if (e < 0)
        return e;
    r->vocab = hs_engine_vocab(r->engine);
    r->logits = hs_calloc(r->vocab, sizeof *r->logits);
    return r->logits ? 0 : hs_err_set(err, -ENOMEM, "bench: out of memory");
}

static int run(replay *r, hs_progress *progress, hs_err *err)
{
    uint64_t cycle = (uint64_t)r->trace.n_moe_layers * r->trace.top_k, t0 = 0;
    hs_engine_choose_routes(r->engine, choose, r);
    hs_engine_on_route(r->engine, on_route, r);
    for (uint32_t i = 0; i < r->trace.n_tokens; i++) {
        if (hs_stop_asked())
            return hs_err_set(err, -ECANCELED, "stopped as asked");
        hs_engine_stats before = hs_engine_get_stats(r->engine);
        uint64_t began = hs_now_ns();
        if (i == r->warmup) {
            r->start = before;
            t0 = began;
        }
        if (begins_turn(&r->trace, i))
            hs_session_reset(r->session);
        uint32_t token = i % r->vocab;
        r->at = r->trace.object + i * cycle;
        r->lacking = 0;
        hs_progress_update(progress, "replay", HS_PROGRESS_PERCENT, i, r->trace.n_tokens, began);
        int e = hs_session_decode(&r->session, &token, 1, r->logits, err);
        if (e < 0)
            return e;
        if (i >= r->warmup)
            account(r, &before, hs_now_ns() - began);
    }
    r->ns = hs_now_ns() - t0;
    r->end = hs_engine_get_stats(r->engine);
    return 0;
}

/* Mean size of an expert as the trace tells it, or else as the model does. */
static double expert_bytes(const replay *r, bool *ret_told)
{
    double sum = 0;
    for (uint32_t l = 0; l < r->trace.n_moe_layers; l++)
        sum += (double)r->trace.expert_bytes[l];
    *ret_told = sum > 0;
    const hs_plan *p = hs_engine_plan(r->engine);
    return sum > 0 ? sum / r->trace.n_moe_layers : (double)p->bytes_per_token_cold / p->token_cycle;
}

/* What hotset sim makes of these figures; 0 without memory. */
static double simulate(const replay *r, const hs_engine_options *opt, const hs_replay_costs *c, double latency_s)
{
    const hs_trace *t = &r->trace;
    const hs_policy *policy = hs_policy_find(opt->policy ? opt->policy : "ewma");
    bool told;
    hs_replay_trace uses = hs_trace_uses(t);
    uses.first_counted = r->warmup;
    uses.by_layer = opt->cache_by_layer;
    uses.layer_s = c->dense_s / t->n_moe_layers;
    uses.expert_s = c->experts_s / t->n_moe_layers / t->top_k;
    uses.expand_s = c->expand_s;
    uses.warm = hs_engine_plan(r->engine)->warm;
    uses.latency_s = latency_s;
    uses.bytes_per_s = expert_bytes(r, &told) / c->each_s;
    hs_replay_result result;
    hs_err ignored;
    int e = hs_trace_replay(policy, &uses, hs_engine_plan(r->engine)->n_slots, true, &result, &ignored);
    return e == 0 ? result.seconds : 0;
}

/* How late a layer's first expert must come for the simulation to take as long as the replay did: the drive's latency,
 * what threads take to wake up, and that some reads take longer than others. */
static double fit_latency(const replay *r, const hs_engine_options *opt, const hs_replay_costs *c)
{
    double least = 0, most = c->each_s * r->trace.top_k;
    for (uint32_t i = 0; i < FIT_STEPS; i++) {
        double mid = (least + most) / 2;
        if (simulate(r, opt, c, mid) < (double)r->ns * 1e-9)
            least = mid;
        else
            most = mid;
    }
    return least;
}

/* The options with which hotset sim counts and times what has been replayed; hs_free it. */
static char *sim_options(const replay *r, const hs_engine_options *opt, const hs_args *a)
{
    hs_replay_costs c = hs_replay_fit_solve(&r->fit);
    const hs_plan *p = hs_engine_plan(r->engine);
    const char *phase = hs_args_text(a, "phase");
    bool told;
    double bytes = expert_bytes(r, &told);
    double stored = (double)p->bytes_per_token_cold / p->token_cycle, part = 1;
    char size[48] = "", warm[64] = "", reads[96] = "";
    if (!told)
        snprintf(size, sizeof size, " --expert-size %.0f", bytes);
    if (p->warm) { /* of what a trace tells */
        part = fmin(stored / bytes, 1);
        snprintf(warm, sizeof warm, " --warm-tier on --compressed %.6f", part);
    }
    if (c.each_s > 0)
        snprintf(reads, sizeof reads, " --disk-bw %.0f --disk-latency %.4g", part * bytes / c.each_s,
                 fit_latency(r, opt, &c) * 1e3);
    return hs_asprintf("--sets --phase %s --warmup %u --cache %.6f%% --policy %s --scope %s --compute-ms %.5g "
                       "--experts-ms %.5g --decode-ms %.4g%s%s%s",
                       phase ? phase : "decode", r->warmup, fmin(100 * part * (p->n_slots + 0.5) / p->n_experts, 100),
                       opt->policy ? opt->policy : "ewma", opt->cache_by_layer ? "layer" : "global",
                       (c.dense_s + c.experts_s) * 1e3, c.experts_s * 1e3, c.expand_s * 1e3, size, warm, reads);
}

static json_t *figures(const replay *r, const char *model, const char *sim)
{
    const hs_engine_stats *a = &r->start, *z = &r->end;
    uint64_t hits = z->expert_hits - a->expert_hits, all = hits + z->expert_misses - a->expert_misses;
    uint64_t busy = z->io_busy_ns - a->io_busy_ns, bytes = z->bytes_read - a->bytes_read;
    uint64_t compute = computing(z) - computing(a);
    uint32_t tokens = r->trace.n_tokens - r->warmup;
    const hs_plan *p = hs_engine_plan(r->engine);
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:f, s:I, s:f, s:f, s:f, s:f, s:o, s:b, s:I, s:s}", "model",
                     model, "trace", r->path, "slots", (int)p->n_slots, "experts", (int)p->n_experts, "tokens",
                     (int)tokens, "accesses", (json_int_t)all, "hits", (json_int_t)hits, "hit_rate",
                     (double)hits / (double)all, "bytes_read", (json_int_t)bytes, "seconds", (double)r->ns * 1e-9,
                     "tokens_per_s", (double)tokens / ((double)r->ns * 1e-9), "compute_ms_per_token",
                     (double)compute * 1e-6 / tokens, "disk_wait_s", (double)(z->disk_wait_ns - a->disk_wait_ns) * 1e-9,
                     "disk_bytes_per_s", busy ? json_real((double)bytes / ((double)busy * 1e-9)) : json_null(),
                     "warm_tier", p->warm, "warm_hits", (json_int_t)(z->warm_hits - a->warm_hits), "sim", sim);
}

int hs_bench_replay(const hs_args *a, const hs_engine_options *opt, hs_engine_load load, json_t **ret, hs_err *err)
{
    replay r = {.path = hs_args_text(a, "replay")};
    hs_progress progress;
    hs_progress_init(&progress, stderr);
    int e = prepare(&r, a, opt, load, err);
    if (e == 0)
        e = run(&r, &progress, err);
    hs_progress_clear(&progress);
    if (e == 0) {
        char *sim = sim_options(&r, opt, a);
        json_t *o = sim ? figures(&r, opt->path, sim) : NULL;
        hs_free(sim);
        e = o ? 0 : hs_err_set(err, -ENOMEM, "bench: out of memory");
        if (o)
            *ret = o;
    }
    hs_session_destroy(&r.session);
    hs_engine_destroy(&r.engine);
    hs_free(r.logits);
    hs_trace_deinit(&r.trace);
    return e;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

void hs_bench_replay_print(const json_t *o)
{
    char a[32], b[32];
    printf("%s as in %s: %.0f of %.0f experts resident\n", json_string_value(json_object_get(o, "model")),
           json_string_value(json_object_get(o, "trace")), number(o, "slots"), number(o, "experts"));
    printf("  decode    %8.1f tokens/s   %.0f tokens in %.2f s; compute %.2f ms a token, disk wait %.2f s\n",
           number(o, "tokens_per_s"), number(o, "tokens"), number(o, "seconds"), number(o, "compute_ms_per_token"),
           number(o, "disk_wait_s"));
    printf("  hit rate  %8.3f            %.0f of %.0f; read %s at %s/s\n", number(o, "hit_rate"), number(o, "hits"),
           number(o, "accesses"), hs_format_size((uint64_t)number(o, "bytes_read"), a, sizeof a),
           hs_format_size((uint64_t)number(o, "disk_bytes_per_s"), b, sizeof b));
    if (json_is_true(json_object_get(o, "warm_tier")))
        printf("  warm tier %8.0f            hits that were decoded from memory\n", number(o, "warm_hits"));
    printf("  the same   hotset sim %s %s\n", json_string_value(json_object_get(o, "trace")),
           json_string_value(json_object_get(o, "sim")));
}
