/* cmd_sim.c - replays routing traces through the cache policies: what would have been found in memory? */
#include <stdio.h>
#include <string.h>

#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/trace_replay.h"
#include "cli/verbs.h"

#define MAX_POLICIES 8
#define MAX_CACHES   32
#define ALL_CACHES   "5%,10%,20%,30%,50%"

typedef struct plan {
    const hs_policy *policies[MAX_POLICIES + 1]; /* belady first */
    size_t n_policies;
    double percents[MAX_CACHES];
    size_t n_caches;
    bool all, json, sets, by_layer, overlapped, timed;
    hs_warm_tier warm;           /* compressed experts stay so in memory: AUTO: where that is faster */
    double compressed;           /* part of its size that an expert takes on the drive, and there */
    uint64_t expert_bytes;       /* 0 = as the trace tells */
    uint64_t bytes_per_s;        /* 0 = not told: no time where anything is read */
    double compute_s, experts_s; /* of a token: all, and of it what its experts take */
    double latency_s, expand_s;  /* of a read; of an expert that is decoded */
    int64_t warmup;              /* tokens; -1 = a quarter */
    json_t *results;
} plan;

/* The next word of a list; false behind the last. A word that is too long is cut, and so never a valid one. */
static bool next_word(const char **at, char ret[32])
{
    size_t n = strcspn(*at, ",");
    if (!**at)
        return false;
    snprintf(ret, 32, "%.*s", (int)(n < 31 ? n : 31), *at);
    *at += n + ((*at)[n] == ',');
    return true;
}

static int add_policy(plan *p, const hs_policy *policy)
{
    for (size_t i = 0; i < p->n_policies; i++)
        if (p->policies[i] == policy)
            return 0;
    if (p->n_policies > MAX_POLICIES)
        return -E2BIG;
    p->policies[p->n_policies++] = policy;
    return 0;
}

static int parse_policies(const hs_args *a, plan *p)
{
    const char *at = hs_args_text(a, "policy");
    char word[32];
    add_policy(p, &hs_policy_belady);
    for (unsigned i = 0; !at && hs_policy_at(i); i++)
        add_policy(p, hs_policy_at(i));
    while (at && next_word(&at, word)) {
        const hs_policy *policy = hs_policy_find(word);
        if (!policy || add_policy(p, policy) < 0)
            return hs_fail_usage(a->verb, "--policy: there is no policy '%s'", word);
    }
    return 0;
}

static int parse_caches(const hs_args *a, plan *p)
{
    const char *at = hs_args_text(a, "cache");
    char word[32];
    at = at ? at : ALL_CACHES;
    while (next_word(&at, word)) {
        hs_size_spec spec;
        if (hs_parse_size_spec(word, &spec) < 0 || spec.kind != HS_SIZE_PERCENT || spec.percent <= 0)
            return hs_fail_usage(a->verb, "--cache: '%s' is not a share of all experts, e.g. 10%%", word);
        if (p->n_caches == MAX_CACHES)
            return hs_fail_usage(a->verb, "--cache: more than %d shares", MAX_CACHES);
        p->percents[p->n_caches++] = spec.percent;
    }
    return p->n_caches ? 0 : hs_fail_usage(a->verb, "--cache: the list is empty");
}

static int parse_times(const hs_args *a, plan *p)
{
    static const char *const of_reads[] = {"disk-latency", "prefetch"};
    p->expert_bytes = hs_args_size(a, "expert-size", 0);
    p->bytes_per_s = hs_args_size(a, "disk-bw", 0);
    p->latency_s = hs_args_number(a, "disk-latency", 0) / 1000;
    p->compute_s = hs_args_number(a, "compute-ms", 0) / 1000;
    p->experts_s = hs_args_number(a, "experts-ms", 0) / 1000;
    p->expand_s = hs_args_number(a, "decode-ms", 0) / 1000;
    p->timed = p->bytes_per_s || p->compute_s > 0;
    for (size_t i = 0; i < sizeof of_reads / sizeof *of_reads; i++)
        if (!p->bytes_per_s && hs_args_has(a, of_reads[i]))
            return hs_fail_usage(a->verb, "--%s needs --disk-bw", of_reads[i]);
    if (p->experts_s > p->compute_s)
        return hs_fail_usage(a->verb, "--experts-ms is a part of --compute-ms");
    return 0;
}

static int parse_warm_tier(const hs_args *a, plan *p)
{
    const char *word = hs_args_text(a, "warm-tier");
    p->warm = !word || !strcmp(word, "off") ? HS_WARM_OFF : !strcmp(word, "on") ? HS_WARM_ON : HS_WARM_AUTO;
    p->compressed = hs_args_number(a, "compressed", 1);
    if (p->warm != HS_WARM_OFF && !hs_args_has(a, "compressed"))
        return hs_fail_usage(a->verb, "--warm-tier needs --compressed: how small experts are then");
    if (p->warm == HS_WARM_AUTO && !(p->bytes_per_s && p->expand_s > 0))
        return hs_fail_usage(a->verb, "--warm-tier auto needs --disk-bw and --decode-ms, to tell what is faster");
    if (p->warm == HS_WARM_OFF && p->expand_s > 0 && !p->bytes_per_s)
        return hs_fail_usage(a->verb, "--decode-ms needs --disk-bw");
    return 0;
}

static bool is_timed(const plan *p, const hs_replay_result *r)
{
    return p->timed && r->seconds > 0 && (p->bytes_per_s || r->hits == r->accesses);
}

/* What a policy makes of a cache of that share. */
typedef struct outcome {
    hs_replay_result r;
    uint32_t slots;
    bool warm;
    double tokens_per_s; /* 0: not told */
} outcome;

static int add_result(plan *p, const char *path, const hs_policy *policy, double percent, const outcome *x)
{
    const hs_replay_result *r = &x->r;
    json_t *o = json_pack("{s:s, s:s, s:f, s:I, s:I, s:f, s:I, s:i, s:b, s:I}", "trace", path, "policy", policy->name,
                          "cache", percent / 100, "accesses", (json_int_t)r->accesses, "hits", (json_int_t)r->hits,
                          "hit_rate", (double)r->hits / (double)r->accesses, "bytes_read", (json_int_t)r->bytes_read,
                          "slots", (int)x->slots, "warm_tier", x->warm, "warm_hits", (json_int_t)r->warm_hits);
    if (o && x->tokens_per_s > 0 &&
        (json_object_set_new(o, "seconds", json_real(r->seconds)) < 0 ||
         json_object_set_new(o, "tokens_per_s", json_real(x->tokens_per_s)) < 0)) {
        json_decref(o);
        return -ENOMEM;
    }
    return o && json_array_append_new(p->results, o) == 0 ? 0 : -ENOMEM;
}

static uint32_t slots_of(const plan *p, const hs_replay_trace *t, double percent, bool warm)
{
    double n = (double)t->n_objects * percent / 100 / (warm ? p->compressed : 1);
    return n < t->n_objects ? (uint32_t)n : t->n_objects;
}

static int replay_way(const plan *p, const hs_policy *policy, const hs_replay_trace *t, double percent, bool warm,
                      outcome *ret, hs_err *err)
{
    hs_replay_trace uses = *t;
    double tokens = t->token[t->n - 1] + 1 - t->first_counted;
    uses.warm = ret->warm = warm;
    ret->slots = slots_of(p, t, percent, warm);
    int r = hs_trace_replay(policy, &uses, ret->slots, p->sets, &ret->r, err);
    ret->tokens_per_s = r == 0 && is_timed(p, &ret->r) ? tokens / ret->r.seconds : 0;
    return r;
}

static int replay_policy(const plan *p, const hs_policy *policy, const hs_replay_trace *t, double percent, outcome *ret,
                         hs_err *err)
{
    outcome on;
    int r = replay_way(p, policy, t, percent, p->warm == HS_WARM_ON, ret, err);
    if (r < 0 || p->warm != HS_WARM_AUTO)
        return r;
    r = replay_way(p, policy, t, percent, true, &on, err);
    if (r == 0 && on.tokens_per_s > HS_WARM_TIER_WINS * ret->tokens_per_s)
        *ret = on;
    return r;
}

/* Below the hit rates. */
static void print_more(const plan *p, const outcome *of)
{
    if (p->timed)
        printf("\n  %7s %8s", "", "tokens/s");
    for (size_t i = 0; p->timed && i < p->n_policies; i++) {
        if (of[i].tokens_per_s > 0)
            printf(" %8.2f", of[i].tokens_per_s);
        else
            printf(" %8s", "-");
    }
    if (p->warm == HS_WARM_AUTO)
        printf("\n  %16s", "warm tier");
    for (size_t i = 0; p->warm == HS_WARM_AUTO && i < p->n_policies; i++)
        printf(" %8s", of[i].warm ? "on" : "off");
    putchar('\n');
}

/* One line of the table: a cache of that share under every policy. */
static int replay_cache(plan *p, const char *path, const hs_replay_trace *t, double percent, hs_err *err)
{
    uint32_t slots = slots_of(p, t, percent, p->warm == HS_WARM_ON);
    if (!slots)
        return hs_err_set(err, -EINVAL, "%s: %g%% of %u experts is not even one", path, percent, t->n_objects);
    outcome of[MAX_POLICIES + 1];
    if (!p->json)
        printf("  %6g%% %8u", percent, slots);
    for (size_t i = 0; i < p->n_policies; i++) {
        if (replay_policy(p, p->policies[i], t, percent, &of[i], err) < 0) {
            hs_err_prefix(err, "%s", path);
            return -ENOMEM;
        }
        if (p->json && add_result(p, path, p->policies[i], percent, &of[i]) < 0)
            return hs_err_set(err, -ENOMEM, "out of memory for the results");
        if (!p->json)
            printf(" %8.1f", 100 * (double)of[i].r.hits / (double)of[i].r.accesses);
    }
    if (!p->json)
        print_more(p, of);
    return 0;
}

static void print_heading(const plan *p, const char *path, const hs_trace *t, uint32_t warmup)
{
    printf("%s: %s, %u layers of %u experts, %u used; %u tokens, the first %u of them uncounted\n", path,
           *t->model ? t->model : "a model without name", t->n_moe_layers, t->n_experts, t->top_k, t->n_tokens, warmup);
    printf("  %7s %8s", "cache", "experts");
    for (size_t i = 0; i < p->n_policies; i++)
        printf(" %8s", p->policies[i]->name);
    printf("   (hit rate, %%)\n");
}

static int replay_trace(plan *p, const char *path, hs_err *err)
{
    hs_trace t;
    int r = hs_trace_read(path, p->all, &t, err);
    if (r < 0)
        return r;
    uint32_t warmup = p->warmup >= 0 ? (uint32_t)p->warmup : hs_trace_warmup(&t);
    bool sized = p->expert_bytes > 0;
    for (uint32_t l = 0; l < t.n_moe_layers; l++) {
        t.expert_bytes[l] = p->expert_bytes ? p->expert_bytes : t.expert_bytes[l];
        sized |= t.expert_bytes[l] > 0;
        t.expert_bytes[l] = (uint64_t)((double)t.expert_bytes[l] * p->compressed);
    }
    hs_replay_trace uses = hs_trace_uses(&t);
    uses.first_counted = warmup;
    uses.by_layer = p->by_layer;
    uses.layer_s = (p->compute_s - p->experts_s) / t.n_moe_layers;
    uses.expert_s = p->experts_s / t.n_moe_layers / t.top_k;
    uses.expand_s = p->expand_s;
    uses.latency_s = p->latency_s;
    uses.bytes_per_s = (double)p->bytes_per_s;
    uses.overlapped = p->overlapped;
    if (p->bytes_per_s && !sized)
        r = hs_err_set(err, -EINVAL, "%s: it does not tell the experts' sizes: --disk-bw needs --expert-size", path);
    else if (warmup >= t.n_tokens)
        r = hs_err_set(err, -EINVAL, "%s: --warmup %u leaves none of its %u tokens", path, warmup, t.n_tokens);
    else if (!p->json)
        print_heading(p, path, &t, warmup);
    for (size_t i = 0; r == 0 && i < p->n_caches; i++)
        r = replay_cache(p, path, &uses, p->percents[i], err);
    hs_trace_deinit(&t);
    return r;
}

static int run_sim(const hs_args *a)
{
    const char *phase = hs_args_text(a, "phase");
    plan p = {.all = phase && !strcmp(phase, "all"),
              .json = hs_args_has(a, "json"),
              .sets = hs_args_has(a, "sets"),
              .warmup = hs_args_int(a, "warmup", -1),
              .results = json_array()};
    const char *scope = hs_args_text(a, "scope"), *prefetch = hs_args_text(a, "prefetch");
    p.by_layer = scope && !strcmp(scope, "layer");
    p.overlapped = prefetch && !strcmp(prefetch, "auto");
    hs_err err = {0};
    int status = parse_policies(a, &p);
    if (!status)
        status = parse_times(a, &p);
    if (!status)
        status = parse_warm_tier(a, &p);
    if (!status)
        status = parse_caches(a, &p);
    if (!status && !p.results)
        status = hs_print_json(NULL);
    int r = 0;
    for (size_t i = 0; !status && r == 0 && i < a->n_operands; i++)
        r = replay_trace(&p, a->operands[i], &err);
    if (r < 0)
        status = hs_fail(&err);
    if (!status && p.json)
        return hs_print_json(json_pack("{s:o}", "results", p.results));
    json_decref(p.results);
    return status;
}

static const hs_flag flags[] = {
    {"policy", HS_FLAG_TEXT, "P,...", 0, 0, "policies to compare; all by default. belady always stands beside them"},
    {"cache", HS_FLAG_TEXT, "N%,...", 0, 0, "shares of all experts in memory; " ALL_CACHES " by default"},
    {"phase", HS_FLAG_CHOICE, "decode|all", 0, 0, "rows to replay; decode by default"},
    {"warmup", HS_FLAG_INT, "N", 0, 16777216,
     "tokens that fill the cache uncounted; a quarter by default, at most 2000"},
    {"sets", HS_FLAG_SWITCH, NULL, 0, 0,
     "as the daemon works: a layer's experts are looked up together, and what is not admitted takes a slot while it is "
     "used; the counts are those of hotset bench --replay"},
    {"scope", HS_FLAG_CHOICE, "global|layer", 0, 0, "who competes for the cache, as cache.scope; belady stays global"},
    {"expert-size", HS_FLAG_SIZE, "SIZE", 1, 0, "of each expert; by default as the trace tells"},
    {"disk-bw", HS_FLAG_SIZE, "SIZE", 1, 0, "bytes per second of the drive: tells tokens/s too"},
    {"disk-latency", HS_FLAG_NUMBER, "MS", 0, 1e4,
     "how much later the first read of a layer arrives, threads' waking included; 0 by default"},
    {"compute-ms", HS_FLAG_NUMBER, "MS", 0, 1e6, "what a token computes when nothing is read; 0 by default"},
    {"experts-ms", HS_FLAG_NUMBER, "MS", 0, 1e6,
     "of that, what its experts take: those in memory are computed while the others are read; 0 by default"},
    {"decode-ms", HS_FLAG_NUMBER, "MS", 0, 1e4,
     "what decoding takes, of each expert that is read; with a warm tier of each that is used; 0 by default"},
    {"compressed", HS_FLAG_NUMBER, "PART", 0.01, 1,
     "of its size, what an expert takes on the drive and in the warm tier; 1 by default"},
    {"warm-tier", HS_FLAG_CHOICE, "off|on|auto", 0, 0,
     "as cache.warm_tier: the memory of --cache holds experts compressed, and so more of them, and each use decodes "
     "its expert; auto: where that is faster clearly enough; off by default"},
    {"prefetch", HS_FLAG_CHOICE, "off|auto", 0, 0,
     "off (default): a layer's reads begin when its experts are known; auto: when those of the layer before are, as if "
     "every guess came true, the bound for reading ahead"},
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_sim = {
    .name = "sim",
    .synopsis = "TRACE...",
    .summary = "Replay routing traces: what each cache policy would have found in memory.",
    .details =
        "A trace is what hotset eval --routes writes, or colibri with ROUTE_TRACE, plain or gzipped; the latter tells "
        "no sizes, and its layers have as many experts as it names. Each use is looked up by itself, in order; belady, "
        "which knows the future, is the bound for all others. The policies are the daemon's own code; the daemon asks "
        "for a layer's experts together (--sets).\n\n"
        "With --disk-bw it tells tokens/s, as the daemon works: a layer computes what comes before its experts, asks "
        "for them together, computes those in memory while the others are read, and each of these when it has "
        "arrived. hotset bench MODEL --replay TRACE measures the figures for that on this machine, and prints them as "
        "options.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = HS_ARGS_MAX_OPERANDS,
    .first = "a trace of its routes, which hotset eval MODEL --routes FILE writes",
    .run = run_sim};
