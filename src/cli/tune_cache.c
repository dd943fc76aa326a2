/*
 * tune_cache.c - which policy and scope find most of the routes in memory, and what other sizes of the cache would.
 *
 * All are replayed by the daemon's own code, asked as the daemon asks (in sets). What is compared is what is read: the
 * misses of parts of the counted tokens, pair by pair; so the noise of the text counts, and a short recording decides
 * nothing.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/trace_replay.h"
#include "cli/tune.h"

#define MAX_WAYS 32
#define PARTS    32u
#define LEAST    0.02 /* of what is read */

typedef struct way {
    const hs_policy *policy;
    bool by_layer;
    hs_replay_result result;
    double missed[PARTS]; /* misses in each part of the counted tokens */
    hs_comparison less;   /* read than as configured */
} way;

typedef struct study {
    hs_tune *tune;
    const hs_trace *trace;
    const hs_tune_replay *how;
    uint32_t n_objects, n_counted, n_parts;
    uint32_t *token_misses; /* [n_tokens] */
    way ways[MAX_WAYS];
    size_t n_ways, best, next; /* what is taken; the best of the others */
} study;

static const char *scope_of(const way *w)
{
    return w->by_layer ? "layer" : "global";
}

/* What is configured comes first. */
static void list_ways(study *s)
{
    const hs_config *c = s->tune->config;
    const hs_policy *set = hs_policy_find(hs_config_str(c, "cache", "policy"));
    bool by_layer = !strcmp(hs_config_str(c, "cache", "scope"), "layer");
    s->ways[s->n_ways++] = (way){.policy = set, .by_layer = by_layer};
    for (unsigned i = 0; hs_policy_at(i); i++)
        for (int layered = 0; layered < 2 && s->n_ways < MAX_WAYS; layered++)
            if (hs_policy_at(i) != set || (bool)layered != by_layer)
                s->ways[s->n_ways++] = (way){.policy = hs_policy_at(i), .by_layer = layered};
}

/* overlapped: reads go on beside computing. */
static int replay(const study *s, const way *w, uint32_t n_slots, bool overlapped, hs_replay_result *ret, hs_err *err)
{
    const hs_trace *t = s->trace;
    hs_replay_trace uses = hs_trace_uses(t);
    uses.by_layer = w->by_layer;
    uses.layer_s = s->how->compute_s / t->n_moe_layers;
    uses.bytes_per_s = s->how->bytes_per_s;
    uses.overlapped = overlapped;
    uses.token_misses = s->token_misses;
    memset(s->token_misses, 0, t->n_tokens * sizeof *s->token_misses);
    int r = hs_trace_replay(w->policy, &uses, n_slots, true, ret, err);
    return r == 0 && hs_stop_asked() ? hs_err_set(err, -ECANCELED, "stopped as asked") : r;
}

static double hit_rate(const hs_replay_result *r)
{
    return r->accesses ? (double)r->hits / (double)r->accesses : 0;
}

static void add_up(const study *s, way *w)
{
    for (uint32_t i = 0; i < s->n_counted; i++)
        w->missed[(uint64_t)i * s->n_parts / s->n_counted] += s->token_misses[s->trace->n_tokens - s->n_counted + i];
}

/* The best, if it is better than what is configured; but the default, if that is, too, and not clearly worse than the
 * best. */
static void choose(study *s)
{
    const way *best = &s->ways[s->next];
    for (size_t i = 1; i < s->n_ways; i++) {
        const way *w = &s->ways[i];
        if (w->policy != hs_policy_at(0) || w->by_layer || w->less.verdict != HS_VERDICT_BETTER)
            continue;
        hs_comparison more = hs_compare(w->missed, best->missed, s->n_parts, LEAST, (uint32_t)s->n_ways - 1);
        s->next = more.verdict == HS_VERDICT_BETTER ? s->next : i;
    }
    if (s->ways[s->next].less.verdict == HS_VERDICT_BETTER)
        s->best = s->next;
}

static int replay_ways(study *s, hs_err *err)
{
    hs_progress progress;
    hs_progress_init(&progress, stderr);
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_ways; i++) {
        way *w = &s->ways[i];
        hs_progress_update(&progress, "replaying policies", HS_PROGRESS_PERCENT, i, s->n_ways, hs_now_ns());
        r = replay(s, w, s->how->n_slots, false, &w->result, err);
        add_up(s, w);
        w->less = hs_compare(s->ways[0].missed, w->missed, s->n_parts, LEAST, (uint32_t)s->n_ways - 1);
        if (i && (!s->next || w->result.hits > s->ways[s->next].result.hits))
            s->next = i;
    }
    hs_progress_clear(&progress);
    if (r == 0)
        choose(s);
    return r;
}

static json_t *ways_json(const study *s)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < s->n_ways; i++) {
        const way *w = &s->ways[i];
        if (json_array_append_new(a, json_pack("{s:s, s:s, s:f, s:o}", "policy", w->policy->name, "scope", scope_of(w),
                                               "hit_rate", hit_rate(&w->result), "less_read",
                                               i ? hs_comparison_json(&w->less) : json_null())) < 0) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* Of tokens/s, if so much less is read: of a live model by the share of its time that it waits, of a trace alone by
 * drive and computing. */
static double speed_gain(const study *s, double less)
{
    double times = 1 / (1 + less), reads = 0;
    if (s->how->wait_share > 0)
        return hs_tune_gain(s->how->wait_share, times);
    if (s->how->bytes_per_s > 0)
        reads = (double)s->ways[0].result.bytes_read / s->how->bytes_per_s;
    return reads > 0 ? hs_tune_gain(reads / (reads + s->how->compute_s * s->n_counted), times) : 0;
}

static bool is_speed_known(const study *s)
{
    return s->how->tokens_per_s > 0 || s->how->bytes_per_s > 0;
}

static void say_policy(study *s)
{
    const way *now = &s->ways[0], *w = &s->ways[s->next];
    const hs_comparison *c = &w->less;
    char less[64], speed[64] = "", part[96] = "";
    double gain = speed_gain(s, c->gain), low = speed_gain(s, c->low), high = speed_gain(s, c->high);
    hs_tune_line *l;
    /* Of reads, less is better: the far end of one is the near end of the other. */
    snprintf(less, sizeof less, "%.1f %% (%.1f to %.1f %%)", 100 * (1 - 1 / (1 + c->gain)),
             100 * (1 - 1 / (1 + c->low)), 100 * (1 - 1 / (1 + c->high)));
    if (is_speed_known(s))
        snprintf(part, sizeof part, "%s tokens/s, ", hs_tune_percent(gain, low, high, speed, sizeof speed));
    if (s->best) {
        l = hs_tune_add(s->tune, "cache", "policy", w->policy->name,
                        "Expected: %s%s less read, hit rate %.1f %% instead of %.1f %% (%s, %s), %s.", part, less,
                        100 * hit_rate(&w->result), 100 * hit_rate(&now->result), now->policy->name, scope_of(now),
                        s->how->source);
        l->is_measured = is_speed_known(s);
        l->gain = gain;
        l->low = low;
        l->high = high;
    } else {
        hs_tune_keep(
            s->tune, "cache", "policy",
            "Kept, with scope: hit rate %.1f %%, %s. The best of the others (%s, %s) has %.1f %%: %s less read, "
            "%s.",
            100 * hit_rate(&now->result), s->how->source, w->policy->name, scope_of(w), 100 * hit_rate(&w->result),
            less, c->verdict == HS_VERDICT_OPEN ? "not told apart by so few tokens" : "not enough to count");
    }
    hs_tune_add(s->tune, "cache", "scope", scope_of(&s->ways[s->best]), "Compared together with the policy.");
}

/* ---- sizes ---- */

/* 0 = not known. */
static double tokens_per_s(const study *s, const hs_replay_result *r)
{
    const hs_replay_result *now = &s->ways[0].result;
    uint64_t missed = r->accesses - r->hits, missed_now = now->accesses - now->hits;
    if (s->how->tokens_per_s > 0)
        return s->how->tokens_per_s *
               (1 + hs_tune_gain(s->how->wait_share, missed_now ? (double)missed / (double)missed_now : 1));
    return r->seconds > 0 ? s->n_counted / r->seconds : 0;
}

static int size_line(study *s, const way *w, uint32_t slots, json_t *figures, hs_err *err)
{
    const hs_trace *t = s->trace;
    hs_replay_result after, beside;
    char bytes[32] = "-", speed[64] = "";
    int r = replay(s, w, slots, false, &after, err);
    if (r == 0 && s->how->bytes_per_s > 0)
        r = replay(s, w, slots, true, &beside, err);
    if (r < 0)
        return r;
    uint64_t each = 0;
    for (uint32_t i = 0; i < t->n_moe_layers; i++)
        each += t->expert_bytes[i];
    if (each)
        hs_format_size(each / t->n_moe_layers * slots, bytes, sizeof bytes);
    double slow = tokens_per_s(s, &after), fast = s->how->bytes_per_s > 0 ? tokens_per_s(s, &beside) : slow;
    if (fast > slow)
        snprintf(speed, sizeof speed, " %8.2f to %.2f", slow, fast);
    else if (slow > 0)
        snprintf(speed, sizeof speed, " %8.2f", slow);
    hs_buf_printf(&s->tune->table, "#   %8u %10s %9.1f %%%s%s\n", slots, bytes, 100 * hit_rate(&after), speed,
                  slots == s->how->n_slots ? "  <" : "");
    json_t *o = json_pack("{s:i, s:f, s:f, s:o, s:o}", "slots", (int)slots, "share", (double)slots / s->n_objects,
                          "hit_rate", hit_rate(&after), "tokens_per_s", slow > 0 ? json_real(slow) : json_null(),
                          "tokens_per_s_overlapped", fast > slow ? json_real(fast) : json_null());
    return json_array_append_new(figures, o) < 0 ? hs_err_set(err, -ENOMEM, "out of memory for the figures") : 0;
}

/* The table of sizes under what is taken. */
static int sizes(study *s, hs_err *err)
{
    static const double shares[] = {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1};
    const size_t n = sizeof shares / sizeof *shares;
    const way *w = &s->ways[s->best];
    json_t *figures = json_array();
    hs_progress progress;
    hs_progress_init(&progress, stderr);
    hs_buf_printf(&s->tune->table, "#   %8s %10s %11s%s\n", "experts", "memory", "hit rate",
                  is_speed_known(s) ? " tokens/s" : "");
    int r = figures ? 0 : hs_err_set(err, -ENOMEM, "out of memory for the figures");
    uint32_t before = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        uint32_t slots = (uint32_t)(s->n_objects * shares[i]), own = s->how->n_slots;
        hs_progress_update(&progress, "replaying sizes of the cache", HS_PROGRESS_PERCENT, i, n, hs_now_ns());
        if (own > before && own < slots)
            r = size_line(s, w, own, figures, err);
        if (r == 0 && slots > before)
            r = size_line(s, w, slots, figures, err);
        before = slots > before ? slots : before;
    }
    hs_progress_clear(&progress);
    return r == 0 ? hs_tune_figure(s->tune, "sizes", figures, err) : (json_decref(figures), r);
}

int hs_tune_cache(hs_tune *t, const hs_trace *trace, const hs_tune_replay *how, double *ret_hits, hs_err *err)
{
    study *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "tune: out of memory");
    *s = (study){.tune = t, .trace = trace, .how = how, .n_objects = trace->n_moe_layers * trace->n_experts};
    s->n_counted = trace->n_tokens - hs_trace_warmup(trace);
    s->n_parts = s->n_counted < PARTS ? s->n_counted : PARTS;
    s->token_misses = hs_calloc(trace->n_tokens, sizeof *s->token_misses);
    list_ways(s);
    int r = s->token_misses ? replay_ways(s, err) : hs_err_set(err, -ENOMEM, "tune: out of memory");
    if (r == 0) {
        say_policy(s);
        r = sizes(s, err);
    }
    if (r == 0)
        r = hs_tune_figure(t, "policies", ways_json(s), err);
    if (r == 0)
        r = hs_tune_figure(t, "slots", json_integer(how->n_slots), err);
    if (r == 0)
        r = hs_tune_figure(t, "experts", json_integer(s->n_objects), err);
    if (r == 0)
        *ret_hits = hit_rate(&s->ways[s->best].result);
    hs_free(s->token_misses);
    hs_free(s);
    return r;
}
