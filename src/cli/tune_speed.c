/*
 * tune_speed.c - prefetch and threads: one engine decodes in each way by turns.
 *
 * Every way differs from what is configured (the first) in one thing. What is decoded is what the model says by itself
 * at temperature 1, from random first tokens, conversation after conversation, so that experts repeat themselves as
 * in earnest; where one begins most is missed, and those tokens are not timed. First the cache fills. Then come rounds:
 * in each, every way decodes as many tokens, there and back, so that neighbours in time are compared. Many short rounds
 * rather than few long ones: how much is missed changes with the text, and medians pass over that. From coarse to fine:
 * a way that has shown itself slower gets no more turns, and the time is the others'; when all are decided it ends.
 * Looked at only after LOOK rounds and each time that they have doubled: who looks often enough sees anything.
 *
 * Memory: what the plan has room for outside of the engine (the daemon's own buffers there): logits, the sampler's
 * candidates and the routes.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/tune.h"
#include "engine/sampler.h"

#define MAX_WAYS     4
#define LOOK         8u
#define MOST_ROUNDS  HS_COMPARE_MAX
#define ROUNDS       100u /* that there shall be, if turns need not be shorter than */
#define LEAST_TOKENS 2u
#define MOST_TOKENS  8u
#define CONVERSATION 256u /* tokens */
#define LEAD         4u   /* of them not timed, at its beginning */
#define FILL_SHARE   3    /* of the time at most, to fill the cache: one in so many */
#define FILL_TOKENS  4u   /* at least */

typedef struct way {
    const char *section, *key; /* in which it differs; NULL = as configured */
    char value[16];
    uint32_t threads;
    bool prefetch, is_out;
    double speed[MOST_ROUNDS];
    hs_comparison than_now;
} way;

/* What tokens took. */
typedef struct spent {
    uint64_t ns, wait_ns, hits, misses;
} spent;

typedef struct trials {
    hs_tune *tune;
    hs_engine *engine;
    hs_session *session;
    hs_routes routes;
    float *logits;             /* [vocab] */
    hs__candidate *candidates; /* [vocab] */
    uint32_t vocab, token;
    uint64_t n_decoded;
    way ways[MAX_WAYS];
    size_t n_ways;
    uint32_t n_rounds, n_tokens; /* whole rounds; tokens of a turn */
    uint64_t start_ns, end_ns, round_ns;
    double token_s; /* as configured, before the first round */
    double filled;  /* share of the slots, then */
    spent now;      /* in the turns of the first way */
    hs_progress progress;
} trials;

static uint32_t random_token(uint64_t i, uint32_t vocab)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)((x ^ x >> 29) * 0xbf58476d1ce4e5b9ull >> 33) % vocab;
}

/* One token more. *s: what it took is added. */
static int decode_one(trials *x, bool begins, spent *s, hs_err *err)
{
    static const hs_sampling as_it_is = {.temperature = 1, .top_p = 1, .seed = 1};
    if (hs_stop_asked())
        return hs_err_set(err, -ECANCELED, "stopped as asked");
    hs_routes_begin(&x->routes, begins);
    hs_engine_stats a = hs_engine_get_stats(x->engine);
    uint64_t t0 = hs_now_ns();
    int r = hs_session_decode(&x->session, &x->token, 1, x->logits, err);
    if (r < 0)
        return r;
    s->ns += hs_now_ns() - t0;
    hs_engine_stats z = hs_engine_get_stats(x->engine);
    s->wait_ns += z.disk_wait_ns - a.disk_wait_ns;
    s->hits += z.expert_hits - a.expert_hits;
    s->misses += z.expert_misses - a.expert_misses;
    hs_routes_keep(&x->routes);
    x->token = hs__sample(&as_it_is, x->logits, x->vocab, x->n_decoded++, x->candidates);
    return 0;
}

/* The same; where a conversation begins, with tokens before that are not counted. */
static int decode(trials *x, spent *s, hs_err *err)
{
    uint32_t context = hs_engine_max_context(x->engine), most = context < CONVERSATION ? context : CONVERSATION;
    spent lead = {0};
    if (!x->n_decoded || hs_session_length(x->session) >= most) {
        hs_session_reset(x->session);
        x->token = random_token(x->n_decoded, x->vocab);
        for (uint32_t i = 0; i < LEAD && i + 1 < most; i++) {
            int r = decode_one(x, i == 0, &lead, err);
            if (r < 0)
                return r;
        }
    }
    return decode_one(x, false, s, err);
}

/* Tokens until the cache is full, or its share of the time is up. */
static int fill(trials *x, hs_err *err)
{
    uint64_t end_ns = x->start_ns + (x->end_ns - x->start_ns) / FILL_SHARE, now, sum = 0;
    spent last[FILL_TOKENS];
    hs_engine_stats s;
    uint32_t n = 0;
    do {
        spent *took = &last[n % FILL_TOKENS];
        *took = (spent){0};
        int r = decode(x, took, err);
        if (r < 0)
            return r;
        n++;
        s = hs_engine_get_stats(x->engine);
        now = hs_now_ns();
        hs_progress_update(&x->progress, "filling the cache", HS_PROGRESS_PERCENT, s.resident, s.slots, now);
    } while (n < FILL_TOKENS || (s.resident < s.slots && now < end_ns));
    for (uint32_t i = 0; i < FILL_TOKENS; i++)
        sum += last[i].ns;
    x->token_s = (double)sum * 1e-9 / FILL_TOKENS;
    x->filled = s.slots ? (double)s.resident / s.slots : 1;
    return 0;
}

static int take_turn(trials *x, size_t i, uint32_t round, hs_err *err)
{
    way *w = &x->ways[i];
    spent took = {0};
    uint64_t before_ns = x->now.ns;
    int r = hs_engine_set_threads(x->engine, w->threads, err);
    hs_engine_set_prefetch(x->engine, w->prefetch);
    for (uint32_t n = 0; r == 0 && n < x->n_tokens; n++)
        r = decode(x, i ? &took : &x->now, err);
    if (r < 0)
        return r;
    uint64_t ns = i ? took.ns : x->now.ns - before_ns;
    w->speed[round] = x->n_tokens / ((double)(ns ? ns : 1) * 1e-9);
    return 0;
}

/* *ret_decided: nothing is left to find out. */
static void look(trials *x, bool *ret_decided)
{
    *ret_decided = true;
    for (size_t i = 1; i < x->n_ways; i++) {
        way *w = &x->ways[i];
        if (w->is_out)
            continue;
        w->than_now = hs_compare(w->speed, x->ways[0].speed, x->n_rounds, HS_TUNE_LEAST, (uint32_t)x->n_ways - 1);
        w->is_out = w->than_now.verdict == HS_VERDICT_WORSE;
        *ret_decided = *ret_decided && w->than_now.verdict != HS_VERDICT_OPEN;
    }
}

/* A round that the time does not suffice for is not counted. */
static int take_round(trials *x, hs_err *err)
{
    uint64_t t0 = hs_now_ns();
    for (size_t k = 0; k < x->n_ways; k++) {
        size_t i = x->n_rounds % 2 ? x->n_ways - 1 - k : k;
        uint64_t now = hs_now_ns(), all = x->end_ns - x->start_ns;
        if (now >= x->end_ns)
            return -ETIME;
        hs_progress_update(&x->progress, "comparing ways to decode", HS_PROGRESS_PERCENT, now - x->start_ns, all, now);
        int r = x->ways[i].is_out ? 0 : take_turn(x, i, x->n_rounds, err);
        if (r < 0)
            return r;
    }
    x->round_ns = hs_now_ns() - t0;
    x->n_rounds++;
    return 0;
}

static int take_rounds(trials *x, hs_err *err)
{
    uint64_t now = hs_now_ns();
    double left_s = x->end_ns > now ? (double)(x->end_ns - now) * 1e-9 : 0;
    double n = left_s / (x->token_s * (double)x->n_ways * ROUNDS);
    bool is_decided = false;
    x->n_tokens = n >= MOST_TOKENS ? MOST_TOKENS : n > LEAST_TOKENS ? (uint32_t)n : LEAST_TOKENS;
    for (uint32_t next = LOOK; !is_decided && x->n_rounds < MOST_ROUNDS;) {
        int r = take_round(x, err);
        if (r < 0 && r != -ETIME)
            return r;
        if (x->n_rounds == next || r == -ETIME) {
            next *= 2;
            look(x, &is_decided);
        }
        if (r == -ETIME)
            break;
    }
    return 0;
}

/* ---- what there is to compare ---- */

static void list_ways(trials *x, const hs_engine_options *opt, const hs_plan *plan)
{
    uint32_t n = hs_cpu_count(), used = opt->threads ? opt->threads : n;
    const uint32_t threads[] = {n, n / 2, n * 3 / 4};
    x->ways[x->n_ways++] = (way){.threads = used, .prefetch = opt->prefetch};
    if (plan->n_slots < plan->n_experts) {
        way *w = &x->ways[x->n_ways++];
        *w = (way){.section = "prefetch", .key = "mode", .threads = used, .prefetch = !opt->prefetch};
        snprintf(w->value, sizeof w->value, "%s", opt->prefetch ? "off" : "auto");
    }
    for (size_t i = 0; i < 3 && x->n_ways < MAX_WAYS; i++) {
        bool known = !threads[i];
        for (size_t k = 0; k < x->n_ways; k++)
            known |= x->ways[k].threads == threads[i];
        if (known)
            continue;
        way *w = &x->ways[x->n_ways++];
        *w = (way){.section = "compute", .key = "threads", .threads = threads[i], .prefetch = opt->prefetch};
        snprintf(w->value, sizeof w->value, "%u", threads[i] == n ? 0 : threads[i]);
    }
}

static uint32_t most_threads(const trials *x)
{
    uint32_t most = 1;
    for (size_t i = 0; i < x->n_ways; i++)
        most = x->ways[i].threads > most ? x->ways[i].threads : most;
    return most;
}

static int prepare(trials *x, const hs_engine_options *given, hs_err *err)
{
    hs_engine_options opt = *given;
    opt.without_text = true;
    opt.threads = most_threads(x);
    opt.prefetch = true;
    int r = hs_load_engine(&opt, &x->engine, err);
    if (r == 0)
        r = hs_session_create(x->engine, &x->session, err);
    if (r == 0)
        r = hs_routes_init(&x->routes, x->engine, err);
    if (r < 0)
        return r;
    x->vocab = hs_engine_vocab(x->engine);
    x->logits = hs_calloc(x->vocab, sizeof *x->logits);
    x->candidates = hs_calloc(x->vocab, sizeof *x->candidates);
    hs_engine_on_route(x->engine, hs_routes_on_route, &x->routes);
    hs_engine_set_prefetch(x->engine, x->ways[0].prefetch);
    if (!x->logits || !x->candidates)
        return hs_err_set(err, -ENOMEM, "tune: out of memory");
    return hs_engine_set_threads(x->engine, x->ways[0].threads, err);
}

/* ---- what came of it ---- */

static const way *best_of(const trials *x, const char *section)
{
    const way *best = NULL;
    for (size_t i = 1; i < x->n_ways; i++)
        if (!strcmp(x->ways[i].section, section) && (!best || x->ways[i].than_now.gain > best->than_now.gain))
            best = &x->ways[i];
    return best;
}

static void decide(const trials *x, const char *section, const char *key, const char *nothing)
{
    hs_tune *t = x->tune;
    const way *w = best_of(x, section);
    const char *now = hs_config_str(t->config, section, key);
    char gain[64], more[128] = "";
    if (!w) {
        hs_tune_keep(t, section, key, "%s", nothing);
        return;
    }
    const hs_comparison *c = &w->than_now;
    hs_tune_percent(c->gain, c->low, c->high, gain, sizeof gain);
    double again_s = (double)c->needs * (double)x->round_ns * 1e-9 * FILL_SHARE / (FILL_SHARE - 1);
    if (c->verdict == HS_VERDICT_OPEN && x->round_ns && again_s < 3600)
        snprintf(more, sizeof more, "; --seconds %.0f might tell", again_s + 1);
    hs_tune_line *l;
    if (c->verdict == HS_VERDICT_BETTER)
        l = hs_tune_add(t, section, key, w->value, "Expected: %s tokens/s over %s, in %u rounds of %u tokens.", gain,
                        now, c->n, x->n_tokens);
    else if (c->n == 0)
        l = hs_tune_keep(t, section, key, "Kept, not compared with %s: there was no time for a round%s.", w->value,
                         more);
    else
        l = hs_tune_keep(t, section, key, "Kept: %s would bring %s tokens/s, in %u rounds of %u tokens: %s%s.",
                         w->value, gain, c->n, x->n_tokens,
                         c->verdict == HS_VERDICT_OPEN   ? "not told apart in the time given"
                         : c->verdict == HS_VERDICT_SAME ? "less than counts"
                                                         : "slower",
                         more);
    if (c->verdict != HS_VERDICT_BETTER)
        return;
    l->is_measured = true;
    l->gain = c->gain;
    l->low = c->low;
    l->high = c->high;
}

static json_t *ways_json(const trials *x)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < x->n_ways; i++) {
        const way *w = &x->ways[i];
        json_t *speeds = json_array();
        for (uint32_t k = 0; k < (i ? w->than_now.n : x->n_rounds); k++)
            json_array_append_new(speeds, json_real(w->speed[k]));
        json_array_append_new(a, json_pack("{s:i, s:s, s:i, s:o, s:o}", "threads", (int)w->threads, "prefetch",
                                           w->prefetch ? "auto" : "off", "tokens", (int)x->n_tokens, "tokens_per_s",
                                           speeds, "against_configured",
                                           i ? hs_comparison_json(&w->than_now) : json_null()));
    }
    return a;
}

static void pace(const trials *x, hs_tune_pace *ret)
{
    double v[MOST_ROUNDS];
    uint32_t n = x->n_rounds;
    uint64_t uses = x->now.hits + x->now.misses;
    *ret = (hs_tune_pace){.tokens_per_s = 1 / x->token_s, .rounds = n, .tokens = x->n_tokens};
    ret->low = ret->high = ret->tokens_per_s;
    if (!n)
        return;
    memcpy(v, x->ways[0].speed, n * sizeof *v);
    hs_sort_few(v, n);
    ret->tokens_per_s = v[n / 2];
    ret->low = v[n / 4];
    ret->high = v[n - 1 - n / 4];
    ret->wait_share = x->now.ns ? (double)x->now.wait_ns / (double)x->now.ns : 0;
    ret->wait_share = ret->wait_share > 1 ? 1 : ret->wait_share;
    ret->hit_rate = uses ? (double)x->now.hits / (double)uses : 1;
}

static int run(trials *x, double seconds, hs_err *err)
{
    hs_progress_init(&x->progress, stderr);
    x->start_ns = hs_now_ns();
    x->end_ns = x->start_ns + (uint64_t)(seconds * 1e9);
    hs_say("decoding in %zu ways by turns, for %.0f s at most", x->n_ways, seconds);
    int r = fill(x, err);
    if (r == 0)
        r = take_rounds(x, err);
    hs_progress_clear(&x->progress);
    return r;
}

int hs_tune_speed(hs_tune *t, const hs_engine_options *opt, const hs_plan *plan, double seconds, hs_tune_pace *ret_pace,
                  hs_trace *ret_routes, hs_err *err)
{
    trials *x = hs_calloc(1, sizeof *x);
    if (!x)
        return hs_err_set(err, -ENOMEM, "tune: out of memory");
    x->tune = t;
    list_ways(x, opt, plan);
    int r = prepare(x, opt, err);
    if (r == 0)
        r = run(x, seconds, err);
    if (r == 0)
        r = hs_tune_figure(t, "runs", ways_json(x), err);
    if (r == 0) {
        pace(x, ret_pace);
        decide(x, "prefetch", "mode", "Kept: every expert fits in memory, nothing is read ahead.");
        decide(x, "compute", "threads", "Kept: there is one processor.");
        *ret_routes = x->routes.trace;
        x->routes.trace = (hs_trace){0};
    }
    hs_session_destroy(&x->session);
    hs_engine_destroy(&x->engine);
    hs_routes_deinit(&x->routes);
    hs_free(x->logits);
    hs_free(x->candidates);
    hs_free(x);
    return r;
}
