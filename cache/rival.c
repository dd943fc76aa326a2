/* rival.c - see rival.h. */
#include "cache/rival.h"

#define CREDIT     3  /* tokens whose uses the policy may be ahead */
#define NOISE      32 /* uses that one may be ahead by chance, where a token has few */
#define FIRST      64 /* tokens of LRU's first while, and of its longest */
#define LONGEST    1024
#define LONG_TRIES 8 /* a try of so many whiles was worth it: the next while is the first again */

enum { HELD = 1, RESIDENT = 2 };

size_t hs__rival_bytes(const hs_policy_shape *s)
{
    return hs__lists_bytes(s->n_objects, 2 * hs__n_classes(s)) + hs__pad(s->n_objects);
}

void hs__rival_init(hs__rival *r, void *mem, const hs_policy_shape *s)
{
    *r = (hs__rival){.classes = hs__layer_classes_of(s), .n_objects = s->n_objects, .period = FIRST};
    hs__lists_init(&r->lists, mem, s->n_objects, 2 * r->classes.n);
    r->is = (uint8_t *)mem + hs__lists_bytes(s->n_objects, 2 * r->classes.n);
    memset(r->is, 0, s->n_objects);
}

static uint32_t held_of(const hs__rival *r, uint32_t class)
{
    return r->n_objects + 2 * class;
}

/* To the list where it belongs now, as the most recent one there. */
static void put(hs__rival *r, uint32_t object)
{
    uint32_t held = held_of(r, hs__class_in(&r->classes, object));
    if (hs__list_has(&r->lists, object))
        hs__list_remove(&r->lists, object);
    if (r->is[object])
        hs__list_push(&r->lists, r->is[object] & HELD ? held : held + 1, object);
}

/* LRU has no more slots than the policy. */
static void shorten(hs__rival *r, uint32_t class)
{
    while (r->n_held[class] > r->n_resident[class]) {
        uint32_t last = r->lists.prev[held_of(r, class)];
        r->is[last] &= (uint8_t)~HELD;
        r->n_held[class]--;
        put(r, last);
    }
}

/* One of the two hit what the other did not, or both did alike. */
static void compare(hs__rival *r, bool held, bool resident)
{
    int64_t limit = NOISE + r->token_uses;
    if (r->leads) {
        if (r->now < r->until)
            return;
        r->leads = false;
        r->behind = 0;
        r->since = r->now;
    }
    r->behind += held - resident;
    if (r->behind < -CREDIT * limit)
        r->behind = -CREDIT * limit;
    if (r->behind <= limit)
        return;
    r->period = r->now - r->since > LONG_TRIES * r->period ? FIRST : r->period * 2;
    r->period = r->period < LONGEST ? r->period : LONGEST;
    r->leads = true;
    r->until = r->now + r->period;
}

void hs__rival_use(hs__rival *r, uint32_t object, uint64_t now)
{
    uint32_t class = hs__class_in(&r->classes, object);
    bool held = r->is[object] & HELD, resident = r->is[object] & RESIDENT;
    if (now > r->now) {
        r->now = now;
        r->token_uses = r->uses;
        r->uses = 0;
    }
    r->uses++;
    r->is[object] |= HELD;
    r->n_held[class] += !held;
    put(r, object);
    if (!r->full[class])
        return;
    shorten(r, class);
    compare(r, held, resident);
}

void hs__rival_insert(hs__rival *r, uint32_t object)
{
    r->n_resident[hs__class_in(&r->classes, object)]++;
    r->is[object] |= RESIDENT;
    if (!(r->is[object] & HELD))
        put(r, object);
}

void hs__rival_evict(hs__rival *r, uint32_t object)
{
    r->n_resident[hs__class_in(&r->classes, object)]--;
    r->is[object] &= (uint8_t)~RESIDENT;
    if (!r->is[object])
        put(r, object);
}

uint32_t hs__rival_victim(hs__rival *r, uint32_t class, hs_policy_keep_fn keep, void *ctx)
{
    r->full[class] = true;
    shorten(r, class);
    return r->leads ? hs__list_last(&r->lists, held_of(r, class) + 1, keep, ctx) : HS_POLICY_NONE;
}
