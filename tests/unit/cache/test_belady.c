/* labels: unit */
/* On short traces no other choice of victims misses less: compared with all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cache/replay.h"
#include "canary.h"

#define N       14u
#define OBJECTS 5u

/* Fewest misses from use i on, with these residents; everything is admitted. */
static uint32_t best(const uint32_t *trace, uint32_t i, uint32_t residents, uint32_t n_slots)
{
    if (i == N)
        return 0;
    uint32_t o = 1u << trace[i];
    if (residents & o)
        return best(trace, i + 1, residents, n_slots);
    if ((uint32_t)__builtin_popcount(residents) < n_slots)
        return 1 + best(trace, i + 1, residents | o, n_slots);
    uint32_t least = N;
    for (uint32_t v = 0; v < OBJECTS; v++) {
        if (!(residents >> v & 1))
            continue;
        uint32_t m = 1 + best(trace, i + 1, (residents & ~(1u << v)) | o, n_slots);
        least = m < least ? m : least;
    }
    return least;
}

static void nobody_does_better(void **state)
{
    (void)state;
    uint32_t object[N], token[N], rng = 5;
    for (int round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < N; i++) {
            object[i] = roll(&rng, OBJECTS);
            token[i] = i;
        }
        const hs_replay_trace t = {
            .object = object, .token = token, .n = N, .n_objects = OBJECTS, .layer_objects = OBJECTS};
        uint32_t n_slots = 1 + roll(&rng, 3);
        void *mem = malloc(hs_replay_bytes(&hs_policy_belady, &t, n_slots));
        hs_replay_result r = hs_replay(&hs_policy_belady, &t, n_slots, false, mem);
        assert_int_equal(r.accesses - r.hits, best(object, 0, 0, n_slots));
        free(mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_does_better)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
