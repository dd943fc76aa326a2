/*
 * s3fifo.c - three first-in-first-out queues (Yang et al., SOSP 2023): what is used once passes through a small one.
 *
 *   newcomer    ->  small, or main if small has let it go not long ago (ghost)
 *   small ends  ->  used more than once since it came: main; else it leaves, and is remembered as a ghost
 *   main ends   ->  used since: back to its front with one use less; else it leaves
 *
 * small ends while it holds more than a tenth of what is resident; there are nine tenths as many ghosts. A use counts
 * up to 3. Each class of sizes has queues of its own. O(1) per use and, amortised, per victim. It admits everything,
 * except what a prefill sweep brings.
 */
#include "cache/list.h"

enum { SMALL, MAIN, GHOST, N_QUEUES };

typedef struct part {
    uint32_t first; /* the anchor of its first list */
    uint32_t n[N_QUEUES];
    uint32_t named; /* by victim, until something happens: its search has moved others */
} part;

typedef struct s3fifo {
    hs__layer_classes classes;
    part part[HS_CLASSES_MAX]; /* of each class */
    hs__lists list;
    uint8_t *queue; /* [n_objects] valid while it is in a list */
    uint8_t *uses;  /* [n_objects] since it came or was let pass, 0..3 */
} s3fifo;

static size_t s3fifo_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(s3fifo)) + hs__lists_bytes(s->n_objects, hs__n_classes(s) * N_QUEUES) +
           2 * hs__pad(s->n_objects);
}

static void s3fifo_init(void *state, const hs_policy_shape *s)
{
    s3fifo *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    *p = (s3fifo){.classes = hs__layer_classes_of(s)};
    for (uint32_t c = 0; c < p->classes.n; c++)
        p->part[c] = (part){.first = s->n_objects + c * N_QUEUES, .named = HS_POLICY_NONE};
    hs__lists_init(&p->list, at, s->n_objects, p->classes.n * N_QUEUES);
    p->queue = at += hs__lists_bytes(s->n_objects, p->classes.n * N_QUEUES);
    p->uses = at + hs__pad(s->n_objects);
    memset(p->uses, 0, s->n_objects);
}

static part *part_of(s3fifo *p, uint32_t object)
{
    return &p->part[hs__class_in(&p->classes, object)];
}

static void leave(s3fifo *p, part *c, uint32_t object)
{
    hs__list_remove(&p->list, object);
    c->n[p->queue[object]]--;
}

static void join(s3fifo *p, part *c, uint32_t object, int queue)
{
    hs__list_push(&p->list, c->first + (uint32_t)queue, object);
    p->queue[object] = (uint8_t)queue;
    c->n[queue]++;
}

static void s3fifo_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    s3fifo *p = state;
    (void)uses, (void)span, (void)now;
    part_of(p, object)->named = HS_POLICY_NONE;
    if (hs__list_has(&p->list, object) && p->queue[object] != GHOST && p->uses[object] < 3)
        p->uses[object]++;
}

static void s3fifo_insert(void *state, uint32_t object, uint64_t now)
{
    s3fifo *p = state;
    part *c = part_of(p, object);
    bool is_ghost = hs__list_has(&p->list, object);
    (void)now;
    if (is_ghost)
        leave(p, c, object);
    c->named = HS_POLICY_NONE;
    p->uses[object] = 0;
    join(p, c, object, is_ghost ? MAIN : SMALL);
    while (c->n[GHOST] > (c->n[SMALL] + c->n[MAIN]) * 9 / 10)
        leave(p, c, p->list.prev[c->first + GHOST]);
}

static void s3fifo_evict(void *state, uint32_t object)
{
    s3fifo *p = state;
    part *c = part_of(p, object);
    c->named = HS_POLICY_NONE;
    leave(p, c, object);
    if (p->queue[object] == SMALL)
        join(p, c, object, GHOST);
}

/* The first from the end of a queue that is unused and may go; what is used goes on to the front of main, once for each
 * use, so that this ends. */
static uint32_t end_of(s3fifo *p, part *c, int queue, hs_policy_keep_fn keep, void *ctx)
{
    uint32_t anchor = c->first + (uint32_t)queue;
    for (uint32_t o = p->list.prev[anchor], before; o != anchor; o = before) {
        before = p->list.prev[o];
        if (keep && keep(ctx, o))
            continue;
        if (p->uses[o] <= (queue == SMALL))
            return o;
        p->uses[o] = queue == SMALL ? 0 : p->uses[o] - 1;
        leave(p, c, o);
        join(p, c, o, MAIN);
        if (before == anchor)
            before = p->list.prev[anchor]; /* main: what has been put in front of it is looked at again */
    }
    return HS_POLICY_NONE;
}

static uint32_t s3fifo_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    s3fifo *p = state;
    part *c = &p->part[class];
    bool small_first = c->n[SMALL] * 10 > c->n[SMALL] + c->n[MAIN] || !c->n[MAIN];
    (void)now;
    if (c->named != HS_POLICY_NONE && (!keep || !keep(ctx, c->named)))
        return c->named;
    c->named = end_of(p, c, small_first ? SMALL : MAIN, keep, ctx);
    if (c->named == HS_POLICY_NONE)
        c->named = end_of(p, c, small_first ? MAIN : SMALL, keep, ctx);
    return c->named;
}

static bool s3fifo_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    (void)state, (void)object, (void)victim, (void)now;
    return !sweep;
}

static double s3fifo_score(const void *state, uint32_t object, uint64_t now)
{
    const s3fifo *p = state;
    (void)now;
    if (!hs__list_has(&p->list, object))
        return -2;
    return p->queue[object] == GHOST ? -1 : p->uses[object] + 4 * (p->queue[object] == MAIN);
}

const hs_policy hs_policy_s3fifo = {
    .name = "s3fifo",
    .bytes = s3fifo_bytes,
    .init = s3fifo_init,
    .access = s3fifo_access,
    .insert = s3fifo_insert,
    .evict = s3fifo_evict,
    .victim = s3fifo_victim,
    .admit = s3fifo_admit,
    .score = s3fifo_score,
};
