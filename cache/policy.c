/* policy.c - the list of policies. */
#include "cache/policy.h"

#include <string.h>

static const hs_policy *const online[] = {&hs_policy_ewma, &hs_policy_lru, &hs_policy_lfu};

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
