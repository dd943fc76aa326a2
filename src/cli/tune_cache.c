/* tune_cache.c - which policy and scope find most of a recorded trace in memory. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/replay.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/tune.h"

#define MAX_WAYS 32
#define MIN_GAIN 0.005 /* of all uses: less is as likely the trace's chance */

typedef struct way {
    const hs_policy *policy;
    bool by_layer;
    double hits; /* share of uses */
} way;

static const char *scope_of(const way *w)
{
    return w->by_layer ? "layer" : "global";
}

/* What is configured comes first. */
static size_t list_ways(const hs_config *c, way ret[MAX_WAYS])
{
    const hs_policy *set = hs_policy_find(hs_config_str(c, "cache", "policy"));
    bool by_layer = !strcmp(hs_config_str(c, "cache", "scope"), "layer");
    size_t n = 0;
    ret[n++] = (way){.policy = set, .by_layer = by_layer};
    for (unsigned i = 0; hs_policy_at(i); i++)
        for (int layered = 0; layered < 2 && n < MAX_WAYS; layered++)
            if (hs_policy_at(i) != set || (bool)layered != by_layer)
                ret[n++] = (way){.policy = hs_policy_at(i), .by_layer = layered};
    return n;
}

static int replay(const hs_trace *t, uint32_t n_slots, way *w, hs_err *err)
{
    hs_replay_trace r = {.object = t->object,
                         .token = t->token,
                         .n = t->n,
                         .n_objects = t->n_moe_layers * t->n_experts,
                         .layer_objects = t->n_experts,
                         .first_counted = hs_trace_warmup(t),
                         .turn = t->turn,
                         .by_layer = w->by_layer};
    void *mem = hs_malloc(hs_replay_bytes(w->policy, &r, n_slots));
    if (!mem)
        return hs_err_set(err, -ENOMEM, "out of memory to replay the trace");
    hs_replay_result result = hs_replay(w->policy, &r, n_slots, true, mem);
    hs_free(mem);
    w->hits = (double)result.hits / (double)result.accesses;
    return 0;
}

static json_t *ways_json(const way *w, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++)
        if (json_array_append_new(a, json_pack("{s:s, s:s, s:f}", "policy", w[i].policy->name, "scope", scope_of(&w[i]),
                                               "hit_rate", w[i].hits)) < 0) {
            json_decref(a);
            return NULL;
        }
    return a;
}

int hs_tune_cache(hs_tune *t, const hs_trace *trace, uint32_t n_slots, double *ret_hits, hs_err *err)
{
    way ways[MAX_WAYS];
    size_t n = list_ways(t->config, ways), best = 0, next = 0; /* the best of all, the best of the others */
    uint32_t n_objects = trace->n_moe_layers * trace->n_experts;
    hs_progress progress;
    hs_progress_init(&progress, stderr);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        hs_progress_update(&progress, "policies", HS_PROGRESS_PERCENT, i, n, hs_now_ns());
        r = hs_stop_asked() ? hs_err_set(err, -ECANCELED, "stopped as asked") : replay(trace, n_slots, &ways[i], err);
        if (r == 0 && i && (!next || ways[i].hits > ways[next].hits))
            next = i;
    }
    hs_progress_clear(&progress);
    if (r == 0)
        r = hs_tune_figure(t, "policies", ways_json(ways, n), err);
    if (r == 0)
        r = hs_tune_figure(t, "slots", json_integer(n_slots), err);
    if (r == 0)
        r = hs_tune_figure(t, "experts", json_integer(n_objects), err);
    if (r < 0)
        return r;
    if (ways[next].hits >= ways[0].hits + MIN_GAIN)
        best = next;
    const way *other = best ? &ways[0] : &ways[next];
    hs_tune_add(
        t, "cache", "policy", ways[best].policy->name,
        "With room for %u of %u experts, %s (%s) finds %.1f %% of the trace's uses in memory; %s, %s (%s), %.1f "
        "%%.%s",
        n_slots, n_objects, ways[best].policy->name, scope_of(&ways[best]), 100 * ways[best].hits,
        best ? "what was configured" : "the best of the others", other->policy->name, scope_of(other),
        100 * other->hits, best ? "" : " Another is taken only for 0.5 points or more.");
    hs_tune_add(t, "cache", "scope", scope_of(&ways[best]), "Chosen together with the policy.");
    *ret_hits = ways[best].hits;
    return 0;
}
