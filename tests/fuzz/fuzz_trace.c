/* rooms: cli, max_len: 4096 */
/*
 * fuzz_trace.c - a route trace, read with and without its prefill rows. What is accepted keeps what replays rely on,
 * and is replayed by every policy.
 */
#include <string.h>

#include "base/mem.h"
#include "cache/replay.h"
#include "cli/trace_read.h"
#include "fuzz.h"

#define MAX_REPLAYED 65536 /* objects: a policy's memory is for all of them */

static void check(const hs_trace *t)
{
    FUZZ_CHECK(t->n > 0 && t->n_tokens > 0 && t->n_tokens <= t->n);
    FUZZ_CHECK((uint64_t)t->n_moe_layers * t->n_experts <= HS_TRACE_MAX_OBJECTS);
    FUZZ_CHECK(t->token[0] == 0 && t->token[t->n - 1] == t->n_tokens - 1);
    for (size_t i = 0; i < t->n; i++) {
        FUZZ_CHECK(t->object[i] < t->n_moe_layers * t->n_experts);
        FUZZ_CHECK(i == 0 || t->token[i] - t->token[i - 1] <= 1);
        FUZZ_CHECK(i == 0 || t->token[i] != t->token[i - 1] ||
                   t->object[i] / t->n_experts >= t->object[i - 1] / t->n_experts);
    }
}

static void replay(const hs_trace *t, const hs_policy *policy)
{
    hs_replay_trace r = {.object = t->object,
                         .token = t->token,
                         .n = t->n,
                         .n_objects = t->n_moe_layers * t->n_experts,
                         .layer_objects = t->n_experts,
                         .first_counted = t->n_tokens / 4,
                         .layer_bytes = t->expert_bytes};
    uint32_t slots = 1 + (uint32_t)t->n % r.n_objects;
    void *mem = hs_malloc(hs_replay_bytes(policy, &r, slots));
    hs_replay_result result = hs_replay(policy, &r, slots, false, mem);
    FUZZ_CHECK(result.accesses > 0 && result.accesses <= t->n);
    FUZZ_CHECK(result.hits + result.bypasses <= result.accesses);
    FUZZ_CHECK(result.hits < result.accesses || !result.bytes_read);
    hs_free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = hs_strndup((const char *)data, size);
    size_t len = strlen(text);
    for (int all = 0; all <= 1; all++) {
        hs_trace t;
        hs_err err = {0};
        if (hs_trace_parse(text, len, "trace", all, &t, &err) < 0) {
            FUZZ_CHECK(!strncmp(err.text, "trace:", 6));
            continue;
        }
        check(&t);
        if (t.n_moe_layers * t.n_experts <= MAX_REPLAYED) {
            replay(&t, &hs_policy_belady);
            for (unsigned i = 0; hs_policy_at(i); i++)
                replay(&t, hs_policy_at(i));
        }
        hs_trace_deinit(&t);
    }
    hs_free(text);
    return 0;
}
