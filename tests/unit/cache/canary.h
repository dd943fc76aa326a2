/* canary.h - a policy in exactly the memory it asked for, with guard bytes behind it. */
#ifndef CANARY_H
#define CANARY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/policy.h"

#define CANARY 64

typedef struct caged {
    const hs_policy *policy;
    uint8_t *state;
    size_t bytes;
} caged;

static inline caged caged_new(const hs_policy *policy, const hs_policy_shape *shape)
{
    caged c = {policy, NULL, policy->bytes(shape)};
    c.state = aligned_alloc(HS_POLICY_ALIGN, (c.bytes + CANARY + 15) & ~(size_t)15);
    memset(c.state, 0xa5, c.bytes + CANARY);
    policy->init(c.state, shape);
    return c;
}

static inline void caged_free(caged *c)
{
    for (int i = 0; i < CANARY; i++)
        assert_int_equal(c->state[c->bytes + i], 0xa5);
    free(c->state);
}

static inline uint32_t roll(uint32_t *rng, uint32_t below)
{
    *rng = *rng * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*rng * below) >> 32);
}

#endif
