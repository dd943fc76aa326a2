/* rooms: cli, max_len: 4096 */
/*
 * fuzz_trace.c - a route trace of either format, plain or gzipped, read with and without its prefill rows. What is
 * accepted keeps what replays rely on, and is replayed by every policy; gzipped, a plain one is read, or refused,
 * alike.
 */
#include <string.h>

#include "base/mem.h"
#include "cache/replay.h"
#include "cli/gzip.h"
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

/* data[size] is read; 0 = *ret has it. */
static int read_trace(const char *data, size_t size, bool all, hs_trace *ret, hs_err *err)
{
    int r = hs_trace_parse(data, size, "trace", all, ret, err);
    FUZZ_CHECK(r == 0 || !strncmp(err->text, "trace:", 6));
    return r;
}

static void compare_gzipped(const char *text, size_t size, bool all, int r, const hs_trace *t, const hs_err *err)
{
    hs_gzip *z;
    hs_trace unpacked;
    hs_err other = {0};
    bool more;
    size_t left = size, room = size + 1000;
    const void *at = text;
    char *packed = hs_calloc(1, room + 1);
    FUZZ_CHECK(hs_gzip_create(&z) == 0);
    size_t n = hs_gzip_write(z, &at, &left, true, packed, room, &more);
    FUZZ_CHECK(!more && left == 0);
    hs_gzip_destroy(&z);
    FUZZ_CHECK(read_trace(packed, n, all, &unpacked, &other) == r);
    if (r == 0) {
        FUZZ_CHECK(unpacked.n == t->n && unpacked.n_tokens == t->n_tokens && unpacked.n_experts == t->n_experts);
        FUZZ_CHECK(!memcmp(unpacked.object, t->object, t->n * sizeof *t->object));
        hs_trace_deinit(&unpacked);
    } else {
        FUZZ_CHECK(!strcmp(other.text, err->text));
    }
    hs_free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = hs_calloc(1, size + 1);
    memcpy(text, data, size);
    for (int all = 0; all <= 1; all++) {
        hs_trace t;
        hs_err err = {0};
        int r = read_trace(text, size, all, &t, &err);
        if (!hs_is_gzip(text, size))
            compare_gzipped(text, size, all, r, &t, &err);
        if (r < 0)
            continue;
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
