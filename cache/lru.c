/*
 * lru.c - least recently used leaves first.
 *
 * A list of the resident objects of each class, most recent first: O(1) per use; a victim is the first from its end
 * that may go. It admits everything, except what a prefill sweep brings: that would flush the list.
 */
#include "cache/list.h"

typedef struct lru {
    uint32_t n_objects;
    hs__layer_classes classes;
    uint64_t clock;
    hs__lists list;
    uint64_t *used; /* [n_objects] clock of the last use, for reports */
} lru;

static size_t lru_bytes(const hs_policy_shape *s)
{
    return hs__pad(sizeof(lru)) + hs__lists_bytes(s->n_objects, hs__n_classes(s)) +
           hs__pad(s->n_objects * sizeof(uint64_t));
}

static void lru_init(void *state, const hs_policy_shape *s)
{
    lru *p = state;
    uint8_t *at = (uint8_t *)state + hs__pad(sizeof *p);
    *p = (lru){.n_objects = s->n_objects, .classes = hs__layer_classes_of(s)};
    hs__lists_init(&p->list, at, s->n_objects, p->classes.n);
    p->used = (uint64_t *)(at + hs__lists_bytes(s->n_objects, p->classes.n));
    memset(p->used, 0, s->n_objects * sizeof *p->used);
}

static uint32_t anchor_of(const lru *p, uint32_t object)
{
    return p->n_objects + hs__class_in(&p->classes, object);
}

static void lru_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    lru *p = state;
    (void)uses, (void)span, (void)now;
    p->used[object] = ++p->clock;
    if (!hs__list_has(&p->list, object))
        return;
    hs__list_remove(&p->list, object);
    hs__list_push(&p->list, anchor_of(p, object), object);
}

static void lru_insert(void *state, uint32_t object, uint64_t now)
{
    lru *p = state;
    (void)now;
    hs__list_push(&p->list, anchor_of(p, object), object);
}

static void lru_evict(void *state, uint32_t object)
{
    hs__list_remove(&((lru *)state)->list, object);
}

static uint32_t lru_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    lru *p = state;
    (void)now;
    return hs__list_last(&p->list, p->n_objects + class, keep, ctx);
}

static bool lru_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    (void)state, (void)object, (void)victim, (void)now;
    return !sweep;
}

static double lru_score(const void *state, uint32_t object, uint64_t now)
{
    (void)now;
    return (double)((const lru *)state)->used[object];
}

const hs_policy hs_policy_lru = {
    .name = "lru",
    .bytes = lru_bytes,
    .init = lru_init,
    .access = lru_access,
    .insert = lru_insert,
    .evict = lru_evict,
    .victim = lru_victim,
    .admit = lru_admit,
    .score = lru_score,
};
