/*
 * replay.c - drives a policy from a trace.
 *
 * By single uses, what is not admitted takes no room: the textbook cache. In sets it is the daemon: what is not
 * admitted still needs a slot while it is used, stays in it as `loose`, and loose slots are the first to be taken,
 * oldest first. Where objects have several sizes, each size has slots of its own.
 */
#include "cache/replay.h"

#include <string.h>

#include "cache/heap.h"
#include "cache/layer_time.h"

enum { ABSENT, RESIDENT, LOOSE };

typedef struct replay {
    const hs_policy *policy;
    const hs_replay_trace *trace;
    void *state;
    uint8_t *where;        /* [n_objects] */
    uint8_t *hit;          /* [n_objects] of the set under way: was it there when the set began */
    uint32_t *asked_for;   /* [n_objects] number of the set that last asked for it */
    uint32_t *next, *prev; /* [n_objects + classes] the loose ones that are not asked for; behind: the anchors */
    uint32_t set;
    hs__layer_classes classes;
    uint32_t n_used[HS_CLASSES_MAX], n_slots[HS_CLASSES_MAX];
    hs_layer_clock clock;
} replay;

static uint32_t layers_of(const hs_replay_trace *t)
{
    return t->layer_objects ? (t->n_objects + t->layer_objects - 1) / t->layer_objects : 1;
}

static void classify(const hs_replay_trace *t, hs_classes *ret)
{
    bool told = t->layer_bytes && t->n_objects % t->layer_objects == 0;
    for (uint32_t l = 0; told && l < layers_of(t); l++)
        told = t->layer_bytes[l] > 0;
    uint32_t objects = told ? t->layer_objects : t->n_objects;
    hs_classes_make(ret, told ? t->layer_bytes : NULL, told ? layers_of(t) : 1, objects, t->layer_least);
}

/* What runs, and for what: the policy, or one of it for each layer. layer_class: NULL to learn what it takes. */
static const hs_policy *prepare(const hs_policy *policy, const hs_replay_trace *t, uint32_t n_slots,
                                const hs_classes *classes, const uint8_t *layer_class, hs_policy_shape *ret_shape)
{
    *ret_shape = (hs_policy_shape){.n_objects = t->n_objects,
                                   .n_slots = n_slots,
                                   .layer_objects = t->layer_objects,
                                   .n_classes = classes->n,
                                   .layer_class = layer_class,
                                   .future = t->object,
                                   .n_future = t->n,
                                   .inner = policy};
    return t->by_layer && policy != &hs_policy_belady ? &hs_policy_layered : policy;
}

size_t hs_replay_bytes(const hs_policy *policy, const hs_replay_trace *t, uint32_t n_slots)
{
    hs_policy_shape shape;
    hs_classes classes;
    classify(t, &classes);
    policy = prepare(policy, t, n_slots, &classes, NULL, &shape);
    return hs__pad(layers_of(t)) + hs__pad(policy->bytes(&shape)) + 2 * hs__pad(t->n_objects) +
           hs__pad(t->n_objects * sizeof(uint32_t)) + 2 * hs__pad((t->n_objects + classes.n) * sizeof(uint32_t));
}

static void init(replay *r, const hs_policy *policy, const hs_replay_trace *t, uint32_t n_slots, void *mem)
{
    uint8_t *at = mem, *layer_class = at;
    hs_classes c;
    hs_policy_shape shape;
    classify(t, &c);
    hs_classes_split(&c, n_slots, r->n_slots);
    for (uint32_t l = 0; l < layers_of(t); l++)
        layer_class[l] = (uint8_t)(c.n > 1 ? hs_classes_find(&c, t->layer_bytes[l]) : 0);
    r->policy = prepare(policy, t, n_slots, &c, layer_class, &shape);
    r->classes = hs__layer_classes_of(&shape);
    size_t links = (t->n_objects + c.n) * sizeof(uint32_t);
    r->state = at += hs__pad(layers_of(t));
    r->where = at += hs__pad(r->policy->bytes(&shape));
    r->hit = at += hs__pad(t->n_objects);
    r->asked_for = (uint32_t *)(at += hs__pad(t->n_objects));
    r->next = (uint32_t *)(at += hs__pad(t->n_objects * sizeof(uint32_t)));
    r->prev = (uint32_t *)(at + hs__pad(links));
    memset(r->where, ABSENT, t->n_objects);
    memset(r->asked_for, 0, t->n_objects * sizeof *r->asked_for);
    for (uint32_t a = t->n_objects; a < t->n_objects + c.n; a++)
        r->next[a] = r->prev[a] = a;
    r->policy->init(r->state, &shape);
}

static uint32_t class_of(const replay *r, uint32_t object)
{
    return hs__class_in(&r->classes, object);
}

static void loose_append(replay *r, uint32_t object)
{
    uint32_t anchor = r->trace->n_objects + class_of(r, object), last = r->prev[anchor];
    r->next[object] = anchor;
    r->prev[object] = last;
    r->next[last] = r->prev[anchor] = object;
}

static void loose_remove(replay *r, uint32_t object)
{
    r->next[r->prev[object]] = r->next[object];
    r->prev[r->next[object]] = r->prev[object];
}

static void make_resident(replay *r, uint32_t object, uint64_t now)
{
    r->policy->insert(r->state, object, now);
    r->where[object] = RESIDENT;
}

static void evict(replay *r, uint32_t victim)
{
    r->policy->evict(r->state, victim);
    r->where[victim] = ABSENT;
    r->n_used[class_of(r, victim)]--;
}

static void count_miss(const replay *r, uint32_t object, hs_replay_result *count)
{
    if (r->trace->layer_bytes)
        count->bytes_read += r->trace->layer_bytes[object / r->trace->layer_objects];
}

static void use_one(replay *r, uint32_t object, uint64_t now, hs_replay_result *count)
{
    uint32_t class = class_of(r, object);
    r->policy->access(r->state, object, 1, 1, now);
    count->accesses++;
    if (r->where[object] == RESIDENT) {
        count->hits++;
        return;
    }
    count_miss(r, object, count);
    if (r->n_used[class] == r->n_slots[class]) {
        uint32_t victim = r->policy->victim(r->state, class, now, NULL, NULL);
        if (victim == HS_POLICY_NONE || !r->policy->admit(r->state, object, victim, false, now)) {
            count->bypasses++;
            return;
        }
        evict(r, victim);
    }
    make_resident(r, object, now);
    r->n_used[class]++;
}

static bool is_asked_for(void *ctx, uint32_t object)
{
    const replay *r = ctx;
    return r->asked_for[object] == r->set;
}

/* Whether the object, just used, should stay; *ret_victim is the resident that would leave for it. */
static bool deserves(replay *r, uint32_t object, uint64_t now, uint32_t *ret_victim)
{
    *ret_victim = r->policy->victim(r->state, class_of(r, object), now, is_asked_for, r);
    return *ret_victim != HS_POLICY_NONE && r->policy->admit(r->state, object, *ret_victim, false, now);
}

static void meet(replay *r, uint32_t object, uint64_t now)
{
    uint32_t victim, class = class_of(r, object);
    if (r->where[object] != LOOSE)
        return;
    loose_remove(r, object);
    if (r->n_used[class] < r->n_slots[class] || deserves(r, object, now, &victim))
        make_resident(r, object, now);
}

/* When everything is in use by the set itself, the object is used without ever being kept. */
static void bring_in(replay *r, uint32_t object, uint64_t now, hs_replay_result *count)
{
    bool stays = true;
    uint32_t class = class_of(r, object);
    if (r->n_used[class] == r->n_slots[class]) {
        uint32_t victim, anchor = r->trace->n_objects + class, loose = r->next[anchor];
        stays = deserves(r, object, now, &victim);
        count->bypasses += !stays;
        if (loose != anchor) {
            loose_remove(r, loose);
            r->where[loose] = ABSENT;
            r->n_used[class]--;
        } else if (victim != HS_POLICY_NONE) {
            evict(r, victim);
        } else {
            return;
        }
    }
    r->n_used[class]++;
    if (stays)
        make_resident(r, object, now);
    else
        r->where[object] = LOOSE;
}

static void use_set(replay *r, const uint32_t *object, uint64_t n, uint64_t now, hs_replay_result *count)
{
    r->set++;
    for (uint64_t i = 0; i < n; i++)
        r->asked_for[object[i]] = r->set;
    for (uint64_t i = 0; i < n; i++) {
        r->policy->access(r->state, object[i], 1, 1, now);
        r->hit[object[i]] = r->where[object[i]] != ABSENT;
        if (r->hit[object[i]])
            count->hits++;
        else
            count_miss(r, object[i], count);
        meet(r, object[i], now);
    }
    count->accesses += n;
    for (uint64_t i = 0; i < n; i++)
        if (!r->hit[object[i]] && r->where[object[i]] == ABSENT)
            bring_in(r, object[i], now, count);
    for (int hit = 1; hit >= 0; hit--)
        for (uint64_t i = 0; i < n; i++)
            if (r->where[object[i]] == LOOSE && r->hit[object[i]] == hit)
                loose_append(r, object[i]);
}

/* A layer of a token, of whose uses so many missed and read so many bytes, has been gone through. */
static void pass_layer(replay *r, uint64_t uses, uint64_t misses, uint64_t bytes)
{
    const hs_replay_trace *t = r->trace;
    hs_layer_costs c = {.before_s = t->layer_s,
                        .expert_s = t->expert_s + (t->warm ? t->expand_s : 0),
                        .expand_s = t->warm ? 0 : t->expand_s};
    c.first_s = t->latency_s;
    c.each_s = misses && t->bytes_per_s > 0 ? (double)bytes / (double)misses / t->bytes_per_s : 0;
    hs_layer_pass(&r->clock, &c, (uint32_t)(uses - misses), (uint32_t)misses, t->overlapped);
}

static bool same_layer(const hs_replay_trace *t, uint64_t i, uint64_t k)
{
    return t->token[i] == t->token[k] && t->object[i] / t->layer_objects == t->object[k] / t->layer_objects;
}

hs_replay_result hs_replay(const hs_policy *policy, const hs_replay_trace *t, uint32_t n_slots, bool in_sets, void *mem)
{
    replay r = {.trace = t};
    init(&r, policy, t, n_slots, mem);
    hs_replay_result counted = {0}, warming = {0};
    hs_replay_result before = {0}; /* count when the layer of this token began */
    uint64_t tokens = 0;
    for (uint64_t i = 0; i < t->n;) {
        hs_replay_result *count = t->token[i] >= t->first_counted ? &counted : &warming;
        uint64_t end = i + 1;
        while (in_sets && end < t->n && same_layer(t, i, end))
            end++;
        if (t->turn && (!i || t->turn[i] != t->turn[i - 1]) && r.policy->session)
            r.policy->session(r.state, tokens);
        tokens += i == 0 || t->token[i] != t->token[i - 1];
        uint64_t missed = count->accesses - count->hits;
        if (in_sets)
            use_set(&r, t->object + i, end - i, tokens, count);
        else
            use_one(&r, t->object[i], tokens, count);
        if (t->token_misses)
            t->token_misses[t->token[i]] += (uint32_t)(count->accesses - count->hits - missed);
        if (end == t->n || !same_layer(t, i, end)) {
            double begun = r.clock.now_s;
            uint64_t uses = count->accesses - before.accesses, hits = count->hits - before.hits;
            pass_layer(&r, uses, uses - hits, count->bytes_read - before.bytes_read);
            count->seconds += r.clock.now_s - begun;
            before = end < t->n && t->token[end] >= t->first_counted ? counted : *count;
        }
        i = end;
    }
    counted.warm_hits = t->warm ? counted.hits : 0;
    return counted;
}
