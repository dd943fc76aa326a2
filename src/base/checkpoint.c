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

bool hs_stacks_experts(const char *name, uint32_t n_dims)
{
    static const char bias[] = "_bias";
    static const char *const parts[] = {".mlp.experts.gate_up_proj", ".mlp.experts.down_proj",
                                        ".block_sparse_moe.input_linear.", ".block_sparse_moe.output_linear."};
    size_t len = strlen(name), tail = sizeof bias - 1;
    if (n_dims < 2 || (len >= tail && !strcmp(name + len - tail, bias)))
        return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}
