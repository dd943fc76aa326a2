/*
 * arc.c - adaptive replacement (Megiddo and Modha, FAST 2003): how much room recency gets is learnt from what was
 * missed.
 *
 *   once   used once since it came, by recency          gone_once   the last that left it
 *   often  used again since, by recency                 gone_often  the last that left it
 *   a miss in gone_once:  target += max(1, |gone_often| / |gone_once|);   in gone_often: the other way round
 *   victim: the end of once while it holds more than target, else the end of often
 *
 * A part of its own for each class of sizes. c = what is resident of it; |once| + |gone_once| <= c, all four <= 2c.
 * O(1) per use and victim. It admits everything, except what a prefill sweep brings.
 */
#include "cache/list.h"

enum { ONCE, OFTEN, GONE_ONCE, GONE_OFTEN, N_LISTS };

typedef struct part {
    uint32_t first; /* the anchor of its first list */
    uint32_t n[N_LISTS];
    double target;      /* residents of once */
    uint32_t last_miss; /* the object that was used last without being resident */
} part;

typedef struct arc {
    hs__layer_classes classes;
    part part[HS_CLASSES_MAX]; /* of each class */
    hs__lists list;
    uint8_t *in; /* [n_objects] which list; valid while it is in one */
} arc;

static size_t arc_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(arc)) + hs__lists_bytes(s->n_objects, hs__n_classes(s) * N_LISTS) + hs__pad(s->n_objects);
}

static void arc_init(void *state, const hs_policy_shape *s)
{
    arc *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    *p = (arc){.classes = hs__layer_classes_of(s)};
    for (uint32_t c = 0; c < p->classes.n; c++)
        p->part[c] = (part){.first = s->n_objects + c * N_LISTS, .last_miss = HS_POLICY_NONE};
    hs__lists_init(&p->list, at, s->n_objects, p->classes.n * N_LISTS);
    p->in = at + hs__lists_bytes(s->n_objects, p->classes.n * N_LISTS);
}

static part *part_of(arc *p, uint32_t object)
{
    return &p->part[hs__class_in(&p->classes, object)];
}

static void leave(arc *p, part *c, uint32_t object)
{
    hs__list_remove(&p->list, object);
    c->n[p->in[object]]--;
}

static void join(arc *p, part *c, uint32_t object, int list)
{
    hs__list_push(&p->list, c->first + (uint32_t)list, object);
    p->in[object] = (uint8_t)list;
    c->n[list]++;
}

static uint32_t residents(const part *c)
{
    return c->n[ONCE] + c->n[OFTEN];
}

static bool is_in(const arc *p, uint32_t object, int list)
{
    return hs__list_has(&p->list, object) && p->in[object] == list;
}

static void learn(part *c, int gone)
{
    int other = gone == GONE_ONCE ? GONE_OFTEN : GONE_ONCE;
    double step = c->n[other] > c->n[gone] ? (double)c->n[other] / c->n[gone] : 1, most = residents(c);
    c->target += gone == GONE_ONCE ? step : -step;
    c->target = c->target < 0 ? 0 : c->target > most ? most : c->target;
}

static void arc_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    arc *p = state;
    part *c = part_of(p, object);
    (void)uses, (void)span, (void)now;
    if (is_in(p, object, ONCE) || is_in(p, object, OFTEN)) {
        leave(p, c, object);
        join(p, c, object, OFTEN);
        return;
    }
    c->last_miss = object;
    if (hs__list_has(&p->list, object))
        learn(c, p->in[object]);
}

static void forget(arc *p, part *c, int list)
{
    leave(p, c, p->list.prev[c->first + (uint32_t)list]);
}

static void arc_insert(void *state, uint32_t object, uint64_t now)
{
    arc *p = state;
    part *c = part_of(p, object);
    bool was_here = hs__list_has(&p->list, object);
    (void)now;
    if (was_here)
        leave(p, c, object);
    join(p, c, object, was_here ? OFTEN : ONCE);
    uint32_t n = residents(c);
    while (c->n[GONE_ONCE] && c->n[ONCE] + c->n[GONE_ONCE] > n)
        forget(p, c, GONE_ONCE);
    while (c->n[GONE_OFTEN] && c->n[GONE_ONCE] + c->n[GONE_OFTEN] > n)
        forget(p, c, GONE_OFTEN);
}

static void arc_evict(void *state, uint32_t object)
{
    arc *p = state;
    part *c = part_of(p, object);
    int list = p->in[object];
    leave(p, c, object);
    join(p, c, object, list == ONCE ? GONE_ONCE : GONE_OFTEN);
}

static uint32_t arc_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    arc *p = state;
    const part *c = &p->part[class];
    (void)now;
    bool again = c->last_miss != HS_POLICY_NONE && is_in(p, c->last_miss, GONE_OFTEN);
    bool once_first = c->n[ONCE] > c->target || (again && c->n[ONCE] && c->n[ONCE] >= c->target);
    uint32_t found = hs__list_last(&p->list, c->first + (once_first ? ONCE : OFTEN), keep, ctx);
    if (found == HS_POLICY_NONE)
        found = hs__list_last(&p->list, c->first + (once_first ? OFTEN : ONCE), keep, ctx);
    return found;
}

static bool arc_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    (void)state, (void)object, (void)victim, (void)now;
    return !sweep;
}

static double arc_score(const void *state, uint32_t object, uint64_t now)
{
    const arc *p = state;
    (void)now;
    if (!hs__list_has(&p->list, object))
        return 0;
    return p->in[object] == OFTEN ? 3 : p->in[object] == ONCE ? 2 : 1;
}

const hs_policy hs_policy_arc = {
    .name = "arc",
    .bytes = arc_bytes,
    .init = arc_init,
    .access = arc_access,
    .insert = arc_insert,
    .evict = arc_evict,
    .victim = arc_victim,
    .admit = arc_admit,
    .score = arc_score,
};
