/* policy.c - the list of policies. */
#include "cache/policy.h"

#include <string.h>

static const hs_policy *const online[] = {&hs_policy_ewma, &hs_policy_lru, &hs_policy_lfu, &hs_policy_s3fifo,
                                          &hs_policy_arc};

const hs_policy *hs_policy_at(unsigned i)
{
    return i < sizeof online / sizeof *online ? online[i] : NULL;
}

const hs_policy *hs_policy_find(const char *name)
{
    for (unsigned i = 0; i < sizeof online / sizeof *online; i++)
        if (!strcmp(online[i]->name, name))
            return online[i];
    return strcmp(name, hs_policy_belady.name) ? NULL : &hs_policy_belady;
}

size_t hs_policy_most_bytes(const hs_policy_shape *shape)
{
    size_t most = 0;
    for (unsigned i = 0; hs_policy_at(i); i++) {
        hs_policy_shape layered = *shape;
        layered.inner = hs_policy_at(i);
        size_t alone = layered.inner->bytes(shape), by_layers = hs_policy_layered.bytes(&layered);
        most = alone > most ? alone : most;
        most = by_layers > most ? by_layers : most;
    }
    return most;
}
