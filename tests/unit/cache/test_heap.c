/* labels: unit */
/* The heap against a plain array: pushes, removals, announced and unannounced keys, objects that must stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cache/heap.h"
#include "canary.h"

#define OBJECTS 64u
#define SLOTS   32u

typedef struct keys {
    uint64_t of[OBJECTS];
    bool in[OBJECTS], kept[OBJECTS];
} keys;

static uint64_t key_of(const void *state, uint32_t object)
{
    return ((const keys *)state)->of[object];
}

static bool is_kept(void *ctx, uint32_t object)
{
    return ((const keys *)ctx)->kept[object];
}

static void against_an_array(void **state)
{
    (void)state;
    static _Alignas(16) uint8_t mem[SLOTS * 16 + OBJECTS * 8];
    assert_true(hs__heap_bytes(OBJECTS) <= sizeof mem);
    hs__heap h;
    keys k = {.of = {0}};
    uint32_t rng = 11;
    hs__heap_init(&h, mem, OBJECTS);
    for (int i = 0; i < 50000; i++) {
        uint32_t o = roll(&rng, OBJECTS);
        assert_int_equal(hs__heap_has(&h, o), k.in[o]);
        if (!k.in[o] && h.n < SLOTS) {
            k.of[o] = roll(&rng, 1000);
            hs__heap_push(&h, o, k.of[o]);
            k.in[o] = true;
        } else if (k.in[o] && roll(&rng, 4) == 0) {
            hs__heap_remove(&h, o);
            k.in[o] = false;
        } else if (k.in[o] && roll(&rng, 2)) {
            k.of[o] += roll(&rng, 300); /* not announced */
        } else if (k.in[o]) {
            k.of[o] = roll(&rng, 1000);
            hs__heap_update(&h, o, k.of[o]);
        }
        if (roll(&rng, 500) == 0)
            hs__heap_rebuild(&h, key_of, &k);
        uint64_t least = UINT64_MAX;
        for (uint32_t j = 0; j < OBJECTS; j++) {
            k.kept[j] = roll(&rng, 3) == 0;
            if (k.in[j] && !k.kept[j] && k.of[j] < least)
                least = k.of[j];
        }
        uint32_t n = h.n, found = hs__heap_least(&h, key_of, &k, is_kept, &k);
        assert_int_equal(h.n, n);
        if (least == UINT64_MAX)
            assert_int_equal(found, HS_POLICY_NONE);
        else
            assert_true(k.in[found] && !k.kept[found] && k.of[found] == least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_an_array)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
