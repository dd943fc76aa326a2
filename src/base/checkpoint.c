/* checkpoint.c - lookup in a tensor directory. */
#include "base/checkpoint.h"

#include <string.h>

uint32_t hs_checkpoint_find(const hs_checkpoint *c, const char *name)
{
    uint32_t lo = 0, hi = c->n_tensors;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int d = strcmp(c->tensors[mid].name, name);
        if (d == 0)
            return mid;
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return HS_NO_TENSOR;
}
