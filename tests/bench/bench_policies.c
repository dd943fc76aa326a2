/* rooms: cache */
/*
 * bench_policies.c - policies on routes drawn by lot (made_routes.h), beside Belady and what one who knew the chances
 * would hit: one line of JSON for each kind of routes and cache size. policies.py makes tables of them.
 *
 * bench_policies [--held-out | --developed-on] [--seed N] [--sets] [--knowing] [--all] [NAME]
 *
 * --sets: as the daemon asks, a layer's experts together. --knowing: also what hits who knows how likely each use is,
 * the better one of looking some 3 and some 20 tokens ahead: where that is little more than LRU hits, nothing that
 * learns from uses can be much better. --all: every policy, not ewma and lru alone. NAME: kinds whose name begins so.
 * Rates are of the tokens behind the first quarter. 20 seconds for all kinds, three times that with --knowing.
 */
#include <stdio.h>

#include "cache/replay.h"
#include "made_routes.h"

typedef struct bench {
    const made_kind *kind;
    made_routes routes;
    bool sets, knowing, all;
} bench;

/* Knows of each object how likely it is to be used, and keeps the likeliest. */
static struct knowing {
    const float *chance; /* [tokens][objects] */
    uint32_t objects, experts;
    uint32_t layer; /* under way */
    bool *resident; /* [objects] */
} knowing;

static size_t know_bytes(const hs_policy_shape *s)
{
    return s->n_objects;
}

static void know_init(void *state, const hs_policy_shape *s)
{
    knowing.resident = state;
    knowing.objects = s->n_objects;
    knowing.experts = s->layer_objects;
    memset(state, 0, s->n_objects);
}

/* Of a layer to come, all that is known was known after the token before. */
static float know(uint32_t object, uint64_t now)
{
    uint64_t known = object / knowing.experts <= knowing.layer || now < 2 ? now - 1 : now - 2;
    return knowing.chance[known * knowing.objects + object];
}

static void know_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    (void)state, (void)uses, (void)span, (void)now;
    knowing.layer = object / knowing.experts;
}

static void know_insert(void *state, uint32_t object, uint64_t now)
{
    (void)state, (void)now;
    knowing.resident[object] = true;
}

static void know_evict(void *state, uint32_t object)
{
    (void)state;
    knowing.resident[object] = false;
}

static uint32_t know_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    uint32_t found = HS_POLICY_NONE;
    float least = 0;
    (void)state, (void)class;
    for (uint32_t o = 0; o < knowing.objects; o++) {
        if (!knowing.resident[o] || (keep && keep(ctx, o)))
            continue;
        float is = know(o, now);
        if (found == HS_POLICY_NONE || is < least) {
            found = o;
            least = is;
        }
    }
    return found;
}

static bool know_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    (void)state, (void)sweep;
    return know(object, now) > know(victim, now);
}

static const hs_policy know_policy = {.name = "knowing",
                                      .bytes = know_bytes,
                                      .init = know_init,
                                      .access = know_access,
                                      .insert = know_insert,
                                      .evict = know_evict,
                                      .victim = know_victim,
                                      .admit = know_admit};

static double rate(const bench *b, const hs_policy *p, uint32_t slots)
{
    const made_kind *k = b->kind;
    const hs_replay_trace t = {.object = b->routes.object,
                               .token = b->routes.token,
                               .n = b->routes.n,
                               .n_objects = k->layers * k->experts,
                               .layer_objects = k->experts,
                               .first_counted = k->tokens / 4,
                               .turn = b->routes.turn};
    void *mem = malloc(hs_replay_bytes(p, &t, slots));
    if (!mem)
        exit(1);
    hs_replay_result r = hs_replay(p, &t, slots, b->sets && p != &hs_policy_belady, mem);
    free(mem);
    return 100 * (double)r.hits / (double)r.accesses;
}

static double best_known(const bench *b, uint32_t slots)
{
    knowing.chance = b->routes.soon;
    double soon = rate(b, &know_policy, slots);
    knowing.chance = b->routes.later;
    double later = rate(b, &know_policy, slots);
    return soon > later ? soon : later;
}

static void show(const bench *b, bool held_out)
{
    static const uint32_t percents[] = {3, 5, 8, 10, 12, 15, 20, 30, 40, 50, 60};
    const made_kind *k = b->kind;
    for (uint32_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        uint32_t slots = k->layers * k->experts * percents[i] / 100;
        printf("{\"routes\":\"%s\",\"held_out\":%s,\"cache\":%u,\"cycle\":%.2f,\"belady\":%.2f", k->name,
               held_out ? "true" : "false", percents[i], (double)slots / (k->layers * k->top_k),
               rate(b, &hs_policy_belady, slots));
        if (b->knowing)
            printf(",\"knowing\":%.2f", best_known(b, slots));
        for (unsigned p = 0; hs_policy_at(p); p++)
            if (b->all || hs_policy_at(p) == &hs_policy_ewma || hs_policy_at(p) == &hs_policy_lru)
                printf(",\"%s\":%.2f", hs_policy_at(p)->name, rate(b, hs_policy_at(p), slots));
        printf("}\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    bench b = {0};
    uint32_t from = 0, end = MADE_KINDS;
    uint64_t seed = 1;
    const char *name = "";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--held-out"))
            from = MADE_HELD_OUT;
        else if (!strcmp(argv[i], "--developed-on"))
            end = MADE_HELD_OUT;
        else if (!strcmp(argv[i], "--sets"))
            b.sets = true;
        else if (!strcmp(argv[i], "--knowing"))
            b.knowing = true;
        else if (!strcmp(argv[i], "--all"))
            b.all = true;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            name = argv[i];
    }
    for (uint32_t i = from; i < end; i++) {
        if (strncmp(made_kinds[i].name, name, strlen(name)) != 0)
            continue;
        b.kind = &made_kinds[i];
        b.routes = made_routes_of(b.kind, seed, b.knowing);
        show(&b, i >= MADE_HELD_OUT);
        made_routes_free(&b.routes);
    }
    return 0;
}
