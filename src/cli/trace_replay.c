/* trace_replay.c - see trace_replay.h. */
#include "cli/trace_replay.h"

#include "base/mem.h"

hs_replay_trace hs_trace_uses(const hs_trace *t)
{
    return (hs_replay_trace){.object = t->object,
                             .token = t->token,
                             .n = t->n,
                             .n_objects = t->n_moe_layers * t->n_experts,
                             .layer_objects = t->n_experts,
                             .first_counted = hs_trace_warmup(t),
                             .layer_bytes = t->expert_bytes,
                             .layer_least = t->top_k,
                             .turn = t->turn};
}

int hs_trace_replay(const hs_policy *policy, const hs_replay_trace *uses, uint32_t n_slots, bool in_sets,
                    hs_replay_result *ret, hs_err *err)
{
    void *mem = hs_malloc(hs_replay_bytes(policy, uses, n_slots));
    if (!mem)
        return hs_err_set(err, -ENOMEM, "out of memory to replay the trace");
    *ret = hs_replay(policy, uses, n_slots, in_sets, mem);
    hs_free(mem);
    return 0;
}
