/*
 * tune_speed.c - prefetch and threads: the same random tokens decoded in each way, by turns.
 *
 * Every way differs from what is configured (the first) in one thing. A turn makes an engine, decodes some tokens that
 * fill its cache and then others, which are timed; how many the first turn had time for, all others decode too. A way
 * takes the place of what is configured only after TURNS turns each of MIN_TOKENS or more, with a median that is
 * THRESHOLD times as fast and its slowest turn faster than the fastest of what is configured: a busy machine shall not
 * choose.
 * One engine at a time: memory is what the plan says.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/tune.h"

#define TURNS      3
#define THRESHOLD  1.05
#define MAX_WAYS   4
#define MIN_TOKENS 8u
#define MAX_TOKENS 32u

typedef struct way {
    uint32_t threads; /* as compute.threads */
    bool prefetch;
    double tokens_per_s[TURNS], hits[TURNS];
    uint64_t turn_ns; /* its last turn */
} way;

typedef struct trials {
    const hs_engine_options *opt;
    way ways[MAX_WAYS];
    size_t n_ways;
    uint32_t n_turns;  /* that every way has had */
    uint32_t n_tokens; /* of a turn, to fill and to time; 0 = the first turn finds out */
    uint64_t slice_ns; /* for the first turn */
    uint64_t end_ns;
    double need_s; /* that TURNS turns of MIN_TOKENS would take, as the first turn went */
} trials;

/* Decodes n_tokens. In the first turn as many as there is time for until slice_end_ns, but MIN_TOKENS if all the time
 * that is left has room for them; one at least. Returns how many, or an error. */
static int decode(const trials *t, hs_session *s, uint32_t vocab, uint32_t first, uint64_t slice_end_ns, float *logits,
                  hs_err *err)
{
    uint32_t most = t->n_tokens ? t->n_tokens : MAX_TOKENS, n = 0;
    while (n < most && (t->n_tokens || !n || hs_now_ns() < (n < MIN_TOKENS ? t->end_ns : slice_end_ns))) {
        uint64_t x = (first + n + 1) * 0x9e3779b97f4a7c15ull;
        uint32_t token = (uint32_t)((x ^ x >> 29) * 0xbf58476d1ce4e5b9ull >> 33) % vocab;
        int r = hs_stop_asked() ? hs_err_set(err, -ECANCELED, "stopped as asked")
                                : hs_session_decode(&s, &token, 1, logits, err);
        if (r < 0)
            return r;
        n++;
    }
    return (int)n;
}

static int time_tokens(trials *t, hs_engine *e, way *w, uint32_t turn, uint64_t start_ns, hs_err *err)
{
    uint32_t vocab = hs_engine_vocab(e), context = hs_engine_max_context(e);
    uint64_t loaded_ns = hs_now_ns(), end_ns = start_ns + t->slice_ns;
    uint64_t half_ns = end_ns > loaded_ns ? (end_ns - loaded_ns) / 2 : 0;
    hs_session *s = NULL;
    float *logits = hs_calloc(vocab, sizeof *logits);
    int r = logits ? hs_session_create(e, &s, err) : hs_err_set(err, -ENOMEM, "tune: out of memory");
    if (r == 0 && context < MAX_TOKENS && !t->n_tokens)
        t->n_tokens = context;
    if (r == 0)
        r = decode(t, s, vocab, MAX_TOKENS, loaded_ns + half_ns, logits, err);
    if (r > 0) {
        hs_session_reset(s);
        t->n_tokens = (uint32_t)r;
        hs_engine_stats a = hs_engine_get_stats(e);
        uint64_t t0 = hs_now_ns();
        r = decode(t, s, vocab, 0, 0, logits, err);
        uint64_t ns = hs_now_ns() - t0;
        hs_engine_stats z = hs_engine_get_stats(e);
        uint64_t hits = z.expert_hits - a.expert_hits, all = hits + z.expert_misses - a.expert_misses;
        w->tokens_per_s[turn] = r > 0 ? r / ((double)(ns ? ns : 1) * 1e-9) : 0;
        if (t->need_s == 0 && r > 0)
            t->need_s =
                TURNS * (double)t->n_ways * 1e-9 * ((double)(loaded_ns - start_ns) + 2.0 * MIN_TOKENS * (double)ns / r);
        w->hits[turn] = all ? (double)hits / (double)all : 1;
    }
    hs_session_destroy(&s);
    hs_free(logits);
    return r < 0 ? r : 0;
}

static int take_turn(trials *t, way *w, uint32_t turn, hs_err *err)
{
    hs_engine_options opt = *t->opt;
    hs_engine *e = NULL;
    uint64_t start_ns = hs_now_ns();
    opt.without_text = true;
    opt.threads = w->threads;
    opt.prefetch = w->prefetch;
    int r = hs_load_engine(&opt, &e, err);
    if (r == 0)
        r = time_tokens(t, e, w, turn, start_ns, err);
    hs_engine_destroy(&e);
    return r;
}

static int take_turns(trials *t, uint64_t end_ns, hs_err *err)
{
    uint64_t start_ns = hs_now_ns();
    t->end_ns = end_ns;
    /* A third is left for ways that are slower than the first. */
    t->slice_ns = end_ns > start_ns ? (end_ns - start_ns) * 2 / (3 * TURNS * t->n_ways) : 0;
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < t->n_ways; i++) {
            way *w = &t->ways[i];
            uint64_t t0 = hs_now_ns();
            if (t0 + w->turn_ns > end_ns)
                return 0;
            int r = take_turn(t, w, turn, err);
            if (r < 0)
                return r;
            w->turn_ns = hs_now_ns() - t0;
        }
        t->n_turns = turn + 1;
    }
    return 0;
}

static double median(const double v[TURNS])
{
    double low = v[0] < v[1] ? v[0] : v[1], high = v[0] < v[1] ? v[1] : v[0];
    return v[2] < low ? low : v[2] > high ? high : v[2];
}

/* Is `with` faster than `now`, and not by chance? */
static bool is_better(const way *with, const way *now)
{
    double slowest = with->tokens_per_s[0], fastest = now->tokens_per_s[0];
    for (int i = 1; i < TURNS; i++) {
        slowest = with->tokens_per_s[i] < slowest ? with->tokens_per_s[i] : slowest;
        fastest = now->tokens_per_s[i] > fastest ? now->tokens_per_s[i] : fastest;
    }
    return slowest > fastest && median(with->tokens_per_s) >= THRESHOLD * median(now->tokens_per_s);
}

/* What is configured first, then other numbers of threads, then the other way of prefetch if anything is read. */
static void list_ways(trials *t, const hs_plan *plan)
{
    uint32_t n = hs_cpu_count(), used = t->opt->threads ? t->opt->threads : n;
    const uint32_t threads[] = {n, n / 2, n * 3 / 4};
    t->ways[t->n_ways++] = (way){.threads = t->opt->threads, .prefetch = t->opt->prefetch};
    for (size_t i = 0; i < 3 && t->n_ways < MAX_WAYS - 1; i++) {
        bool known = !threads[i] || threads[i] == used;
        for (size_t k = 1; k < t->n_ways; k++)
            known |= t->ways[k].threads == threads[i];
        if (!known)
            t->ways[t->n_ways++] = (way){.threads = threads[i], .prefetch = t->opt->prefetch};
    }
    if (plan->n_slots < plan->n_experts)
        t->ways[t->n_ways++] = (way){.threads = t->opt->threads, .prefetch = !t->opt->prefetch};
}

static json_t *ways_json(const trials *t)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < t->n_ways; i++) {
        const way *w = &t->ways[i];
        json_t *speeds = json_array(), *hits = json_array();
        for (uint32_t k = 0; k < t->n_turns; k++) {
            json_array_append_new(speeds, json_real(w->tokens_per_s[k]));
            json_array_append_new(hits, json_real(w->hits[k]));
        }
        json_array_append_new(a, json_pack("{s:i, s:s, s:i, s:o, s:o}", "threads", (int)w->threads, "prefetch",
                                           w->prefetch ? "auto" : "off", "tokens", (int)t->n_tokens, "tokens_per_s",
                                           speeds, "hit_rate", hits));
    }
    return a;
}

/* The way that is fastest of those that differ from the first in threads, or in prefetch; 0 = there is none. */
static size_t fastest(const trials *t, bool by_threads)
{
    size_t best = 0;
    for (size_t i = 1; i < t->n_ways; i++)
        if ((t->ways[i].prefetch == t->ways[0].prefetch) == by_threads &&
            (!best || median(t->ways[i].tokens_per_s) > median(t->ways[best].tokens_per_s)))
            best = i;
    return best;
}

static void decide(hs_tune *t, const trials *x, bool by_threads, const char *nothing)
{
    const char *section = by_threads ? "compute" : "prefetch", *key = by_threads ? "threads" : "mode";
    size_t other = fastest(x, by_threads);
    if (!other) {
        hs_tune_keep(t, section, key, "%s", nothing);
        return;
    }
    if (x->n_turns < TURNS || x->n_tokens < MIN_TOKENS) {
        hs_tune_keep(t, section, key,
                     "Kept, not compared: %d turns of %u tokens each would take some %.0f s beside the other "
                     "measurements; give --seconds more.",
                     TURNS, MIN_TOKENS, 1.5 * x->need_s + 1);
        return;
    }
    char value[16];
    double now = median(x->ways[0].tokens_per_s), with = median(x->ways[other].tokens_per_s);
    if (by_threads)
        snprintf(value, sizeof value, "%u", x->ways[other].threads);
    else
        snprintf(value, sizeof value, "%s", x->ways[other].prefetch ? "auto" : "off");
    bool better = is_better(&x->ways[other], &x->ways[0]);
    hs_tune_add(t, section, key, better ? value : hs_config_str(t->config, section, key),
                "%s: %.2f tokens/s with %s, %.2f with what was configured (%s); medians of %d turns of %u random "
                "tokens%s.",
                better ? "Faster" : "Kept", with, value, now, hs_config_str(t->config, section, key), TURNS,
                x->n_tokens, better ? "" : "; another is taken only if 5 % faster in the median, and in every turn");
}

int hs_tune_speed(hs_tune *t, const hs_engine_options *opt, const hs_plan *plan, hs_err *err)
{
    trials x = {.opt = opt};
    list_ways(&x, plan);
    hs_say("decoding in %zu ways by turns", x.n_ways);
    int r = take_turns(&x, t->end_ns, err);
    if (r == 0)
        r = hs_tune_figure(t, "runs", ways_json(&x), err);
    if (r < 0)
        return r;
    decide(t, &x, false, "Kept: every expert fits in memory, nothing is read ahead.");
    decide(t, &x, true, "Kept: there is one processor.");
    return 0;
}
