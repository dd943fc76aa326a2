/* rooms: base cache */
/*
 * bench_cache.c - what a policy costs: nanoseconds per use of a resident object, and per miss with its victim.
 * 6144 objects, 1536 slots, 288 uses per token, as in a 48-layer model of 128 experts with a quarter resident.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cache/policy.h"

#define OBJECTS 6144u
#define SLOTS   1536u
#define LAYER   128u
#define CYCLE   288u
#define TOKENS  2000u

static uint32_t roll(uint32_t *rng, uint32_t below)
{
    *rng = *rng * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*rng * below) >> 32);
}

static void measure(const hs_policy *p, const char *comma)
{
    const hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = SLOTS, .layer_objects = LAYER};
    void *s = aligned_alloc(64, (p->bytes(&shape) + 63) & ~(size_t)63);
    if (!s)
        exit(1);
    uint32_t rng = 1, resident[SLOTS], now = 1;
    p->init(s, &shape);
    for (uint32_t i = 0; i < SLOTS; i++) {
        p->access(s, i, 1, 1, now);
        p->insert(s, i, now);
        resident[i] = i;
    }
    uint64_t t0 = hs_now_ns();
    for (uint32_t i = 0; i < TOKENS; i++, now++)
        for (uint32_t k = 0; k < CYCLE; k++)
            p->access(s, resident[roll(&rng, SLOTS)], 1, 1, now);
    uint64_t t1 = hs_now_ns();
    uint32_t fresh = SLOTS;
    for (uint32_t i = 0; i < TOKENS; i++, now++) {
        for (uint32_t k = 0; k < CYCLE / 4; k++) { /* a quarter of the uses miss */
            uint32_t victim = p->victim(s, 0, now, NULL, NULL);
            p->evict(s, victim);
            p->access(s, fresh, 1, 1, now);
            p->insert(s, fresh, now);
            fresh = victim;
        }
    }
    uint64_t t2 = hs_now_ns();
    printf("\"%s\": {\"hit_ns\": %.1f, \"miss_ns\": %.1f}%s", p->name, (double)(t1 - t0) / (TOKENS * CYCLE),
           (double)(t2 - t1) / (TOKENS * (CYCLE / 4)), comma);
    free(s);
}

int main(void)
{
    printf("{");
    for (unsigned i = 0; hs_policy_at(i); i++)
        measure(hs_policy_at(i), hs_policy_at(i + 1) ? ", " : "}\n");
    return 0;
}
