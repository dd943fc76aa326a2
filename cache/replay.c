/* replay.c - drives a policy from a trace. State: the policy's, and for each object whether it is resident. */
#include "cache/replay.h"

#include <string.h>

#include "cache/heap.h"

typedef struct replay {
    const hs_policy *policy;
    void *state;
    uint8_t *resident;   /* [n_objects] */
    uint8_t *hit;        /* [n_objects] of the set under way: was it resident when the set began */
    uint32_t *asked_for; /* [n_objects] number of the set that last asked for it */
    uint32_t set;
    uint32_t n_resident, n_slots;
} replay;

static hs_policy_shape shape_of(const hs_replay_trace *t, uint32_t n_slots)
{
    return (hs_policy_shape){.n_objects = t->n_objects, .n_slots = n_slots, .future = t->object, .n_future = t->n};
}

size_t hs_replay_bytes(const hs_policy *policy, const hs_replay_trace *t, uint32_t n_slots)
{
    hs_policy_shape shape = shape_of(t, n_slots);
    return hs__pad(policy->bytes(&shape)) + 2 * hs__pad(t->n_objects) + hs__pad(t->n_objects * sizeof(uint32_t));
}

static bool is_asked_for(void *ctx, uint32_t object)
{
    const replay *r = ctx;
    return r->asked_for[object] == r->set;
}

/* A miss: true if it was not admitted. */
static bool bring_in(replay *r, uint32_t object, uint64_t now, bool in_sets)
{
    if (r->n_resident == r->n_slots) {
        uint32_t victim = r->policy->victim(r->state, now, in_sets ? is_asked_for : NULL, r);
        if (victim == HS_POLICY_NONE || !r->policy->admit(r->state, object, victim, false, now))
            return true;
        r->policy->evict(r->state, victim);
        r->resident[victim] = 0;
        r->n_resident--;
    }
    r->policy->insert(r->state, object, now);
    r->resident[object] = 1;
    r->n_resident++;
    return false;
}

static void use_set(replay *r, const uint32_t *object, uint64_t n, uint64_t now, bool in_sets, hs_replay_result *count)
{
    r->set++;
    for (uint64_t i = 0; i < n; i++)
        r->asked_for[object[i]] = r->set;
    for (uint64_t i = 0; i < n; i++) {
        r->policy->access(r->state, object[i], 1, 1, now);
        r->hit[object[i]] = r->resident[object[i]];
        count->hits += r->hit[object[i]];
    }
    count->accesses += n;
    for (uint64_t i = 0; i < n; i++)
        if (!r->hit[object[i]] && !r->resident[object[i]])
            count->bypasses += bring_in(r, object[i], now, in_sets);
}

hs_replay_result hs_replay(const hs_policy *policy, const hs_replay_trace *t, uint32_t n_slots, bool in_sets, void *mem)
{
    hs_policy_shape shape = shape_of(t, n_slots);
    uint8_t *at = mem;
    replay r = {.policy = policy, .state = at, .n_slots = n_slots};
    at += hs__pad(policy->bytes(&shape));
    r.resident = at;
    r.hit = at + hs__pad(t->n_objects);
    r.asked_for = (uint32_t *)(at + 2 * hs__pad(t->n_objects));
    memset(r.resident, 0, t->n_objects);
    memset(r.asked_for, 0, t->n_objects * sizeof *r.asked_for);
    policy->init(r.state, &shape);
    hs_replay_result counted = {0}, warming = {0};
    uint64_t tokens = 0;
    for (uint64_t i = 0; i < t->n;) {
        uint64_t end = i + 1;
        while (in_sets && end < t->n && t->token[end] == t->token[i] &&
               t->object[end] / t->layer_objects == t->object[i] / t->layer_objects)
            end++;
        tokens += i == 0 || t->token[i] != t->token[i - 1];
        use_set(&r, t->object + i, end - i, tokens, in_sets, t->token[i] >= t->first_counted ? &counted : &warming);
        i = end;
    }
    return counted;
}
