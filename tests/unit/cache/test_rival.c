/* labels: unit */
/* The rival holds what LRU would; it leads as soon as that hits more, makes the cache LRU's, and lets go again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cache/rival.h"
#include "canary.h"

#define OBJECTS 40u
#define SLOTS   10u
#define USES    4u /* of a token */

static hs__rival rival;
static void *mem;
static bool resident[OBJECTS];
static uint32_t n_resident;
static uint64_t used[OBJECTS], n_used;

static int setup(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = SLOTS};
    size_t bytes = hs__rival_bytes(&shape);
    mem = malloc(bytes + CANARY);
    memset(mem, 0xa5, bytes + CANARY);
    hs__rival_init(&rival, mem, &shape);
    memset(resident, 0, sizeof resident);
    memset(used, 0, sizeof used);
    n_resident = n_used = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem);
    return 0;
}

/* One of the n used last. */
static bool lru_holds(uint32_t o, uint32_t n)
{
    uint32_t later = 0;
    for (uint32_t i = 0; i < OBJECTS; i++)
        later += used[i] > used[o];
    return used[o] && later < n;
}

static void come(uint32_t o)
{
    hs__rival_insert(&rival, o);
    resident[o] = true;
    n_resident++;
}

static void leave(uint32_t o)
{
    hs__rival_evict(&rival, o);
    resident[o] = false;
    n_resident--;
}

/* A use under a policy that evicts by lot, unless the rival leads. Returns what the rival's lead decided. */
static bool use(uint32_t o, uint64_t now, uint32_t *rng)
{
    hs__rival_use(&rival, o, now);
    used[o] = ++n_used;
    if (resident[o])
        return false;
    bool decided = false;
    if (n_resident == SLOTS) {
        uint32_t victim = hs__rival_victim(&rival, 0, NULL, NULL);
        decided = victim != HS_POLICY_NONE;
        if (decided) {
            assert_true(rival.leads && resident[victim] && !lru_holds(victim, SLOTS));
        } else {
            assert_false(rival.leads);
            do
                victim = roll(rng, OBJECTS);
            while (!resident[victim]);
        }
        leave(victim);
    }
    come(o);
    return decided;
}

static void leads_and_lets_go(void **state)
{
    (void)state;
    uint32_t rng = 1, decided = 0, led = 0, tries = 0;
    bool alike = true;
    for (uint64_t now = 1; now < 4000; now++) {
        bool before = rival.leads;
        for (uint32_t i = 0; i < USES; i++) /* a window that moves on: LRU hits whatever can be hit */
            decided += use((uint32_t)(now / 3 + roll(&rng, SLOTS - 2)) % OBJECTS, now, &rng);
        led += rival.leads;
        tries += before && !rival.leads;
        for (uint32_t o = 0; before && now > rival.until - rival.period / 2 && o < OBJECTS; o++)
            alike &= !rival.leads || resident[o] == lru_holds(o, SLOTS);
    }
    assert_true(decided > 100);
    assert_true(alike);
    assert_true(tries > 1 && led > 3000); /* each while twice as long */
}

/* Whoever is ahead is left alone. */
static void stays_behind(void **state)
{
    (void)state;
    uint32_t rng = 1;
    for (uint64_t now = 1; now < 1000; now++) {
        for (uint32_t o = 0; o < SLOTS + 2; o++) { /* LRU hits nothing, the lots something */
            use(o, now, &rng);
            assert_false(rival.leads);
        }
    }
    assert_true(rival.behind < 0);
}

/* What comes and goes by itself: it holds the last used ones, as many as are resident; canary stays. */
static void holds_the_last_used(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = SLOTS};
    uint32_t rng = 3;
    for (uint64_t now = 1; now < 3000; now++) {
        uint32_t o = roll(&rng, OBJECTS), other = roll(&rng, OBJECTS);
        hs__rival_use(&rival, o, now);
        used[o] = ++n_used;
        if (!resident[other])
            come(other);
        else if (roll(&rng, 2))
            leave(other);
        hs__rival_victim(&rival, 0, NULL, NULL);
        assert_true(rival.n_held[0] <= n_resident);
        for (uint32_t i = 0, n = rival.n_held[0]; i < OBJECTS; i++)
            assert_int_equal((rival.is[i] & 1) != 0, lru_holds(i, n));
    }
    for (int i = 0; i < CANARY; i++)
        assert_int_equal(((uint8_t *)mem)[hs__rival_bytes(&shape) + (size_t)i], 0xa5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(leads_and_lets_go, setup, teardown),
                                       cmocka_unit_test_setup_teardown(stays_behind, setup, teardown),
                                       cmocka_unit_test_setup_teardown(holds_the_last_used, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
