/* labels: unit */
/* What every policy owes its caller: it stays in its memory, names only residents, respects keep, and repeats itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

#define OBJECTS 60u
#define SLOTS   20u
#define LAYER   13u /* the last layer is smaller */
#define STEPS   20000

static const uint8_t layer_class[] = {0, 1, 0, 2, 1}; /* of sizes, where there are several */

static void names(void **state)
{
    (void)state;
    assert_ptr_equal(hs_policy_find("ewma"), &hs_policy_ewma);
    assert_ptr_equal(hs_policy_find("lru"), &hs_policy_lru);
    assert_ptr_equal(hs_policy_find("lfu"), &hs_policy_lfu);
    assert_ptr_equal(hs_policy_find("s3fifo"), &hs_policy_s3fifo);
    assert_ptr_equal(hs_policy_find("arc"), &hs_policy_arc);
    assert_ptr_equal(hs_policy_find("belady"), &hs_policy_belady);
    assert_null(hs_policy_find("layered"));
    assert_null(hs_policy_find("LRU"));
    assert_null(hs_policy_find(""));
    assert_ptr_equal(hs_policy_at(0), &hs_policy_ewma);
    for (unsigned i = 0; i < 5; i++)
        assert_true(hs_policy_at(i) != &hs_policy_belady);
    assert_null(hs_policy_at(5));
}

static bool is_odd(void *ctx, uint32_t object)
{
    (void)ctx;
    return object % 2;
}

static bool is_of_another(void *ctx, uint32_t object)
{
    return layer_class[object / LAYER] != *(const uint32_t *)ctx;
}

static bool always(void *ctx, uint32_t object)
{
    (void)ctx, (void)object;
    return true;
}

static uint32_t class_of(uint32_t object, uint32_t n_classes)
{
    return n_classes > 1 ? layer_class[object / LAYER] : 0;
}

/* Random uses, insertions and evictions; returns a digest of all victims. */
static uint64_t random_life(const hs_policy *policy, const hs_policy *inner, uint32_t n_classes, uint32_t seed)
{
    static uint32_t future[STEPS];
    uint32_t rng = seed, n[HS_CLASSES_MAX] = {0};
    for (uint32_t i = 0; i < STEPS; i++)
        future[i] = roll(&rng, 1 + roll(&rng, OBJECTS));
    hs_policy_shape shape = {.n_objects = OBJECTS,
                             .n_slots = SLOTS,
                             .layer_objects = LAYER,
                             .n_classes = n_classes,
                             .layer_class = n_classes > 1 ? layer_class : NULL,
                             .future = future,
                             .n_future = STEPS,
                             .inner = inner};
    caged c = caged_new(policy, &shape);
    assert_true(policy == &hs_policy_belady || c.bytes <= hs_policy_most_bytes(&shape));
    bool resident[OBJECTS] = {false};
    uint64_t digest = 0;
    for (uint32_t k = 0; k < n_classes; k++)
        assert_int_equal(policy->victim(c.state, k, 0, NULL, NULL), HS_POLICY_NONE);
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t o = future[i], now = 1 + i / 8, k = class_of(o, n_classes);
        policy->access(c.state, o, 1, 1, now);
        if (roll(&rng, 500) == 0 && policy->session)
            policy->session(c.state, now);
        assert_true(policy->score(c.state, o, now) == policy->score(c.state, o, now));
        if (roll(&rng, 50) == 0 && resident[o]) { /* evictions that are not the victim's */
            policy->evict(c.state, o);
            resident[o] = false;
            n[k]--;
        }
        if (resident[o])
            continue;
        if (n[k] == SLOTS / n_classes) {
            assert_int_equal(policy->victim(c.state, k, now, always, NULL), HS_POLICY_NONE);
            uint32_t even = policy->victim(c.state, k, now, is_odd, NULL);
            assert_true(even == HS_POLICY_NONE || (resident[even] && even % 2 == 0));
            uint32_t victim = policy->victim(c.state, k, now, NULL, NULL);
            assert_true(victim < OBJECTS && resident[victim] && class_of(victim, n_classes) == k);
            assert_int_equal(policy->victim(c.state, k, now, NULL, NULL), victim); /* asking changes nothing */
            digest = digest * 31 + victim;
            policy->admit(c.state, o, victim, false, now);
            policy->evict(c.state, victim);
            resident[victim] = false;
            n[k]--;
        }
        policy->insert(c.state, o, now);
        resident[o] = true;
        n[k]++;
    }
    caged_free(&c);
    return digest;
}

static void random_lives(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 5; seed++) {
        print_message("seed %u\n", seed);
        for (uint32_t k = 1; k <= 3; k += 2) {
            assert_true(random_life(&hs_policy_belady, NULL, k, seed) == random_life(&hs_policy_belady, NULL, k, seed));
            for (unsigned p = 0; hs_policy_at(p); p++) {
                const hs_policy *one = hs_policy_at(p), *layered = &hs_policy_layered;
                print_message("%s, %u classes\n", one->name, k);
                assert_true(random_life(one, NULL, k, seed) == random_life(one, NULL, k, seed));
                assert_true(random_life(layered, one, k, seed) == random_life(layered, one, k, seed));
            }
        }
    }
}

/* Where one order holds for all objects, a class's victim is the first of all, passing over the other classes. */
static void a_victim_of_a_class(void **state)
{
    (void)state;
    static const hs_policy *const ordered[] = {&hs_policy_ewma, &hs_policy_lru, &hs_policy_lfu};
    for (uint32_t p = 0; p < 3; p++) {
        hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = SLOTS, .layer_objects = LAYER};
        caged whole = caged_new(ordered[p], &shape);
        shape.n_classes = 3;
        shape.layer_class = layer_class;
        caged cut = caged_new(ordered[p], &shape);
        bool resident[OBJECTS] = {false};
        uint32_t rng = 7;
        for (uint32_t i = 0; i < STEPS; i++) {
            uint32_t o = roll(&rng, 1 + roll(&rng, OBJECTS)), k = roll(&rng, 3), now = 1 + i / 8;
            whole.policy->access(whole.state, o, 1, 1, now);
            cut.policy->access(cut.state, o, 1, 1, now);
            uint32_t victim = cut.policy->victim(cut.state, k, now, NULL, NULL);
            uint32_t first = whole.policy->victim(whole.state, 0, now, is_of_another, &k);
            assert_true((victim == HS_POLICY_NONE) == (first == HS_POLICY_NONE));
            if (victim != HS_POLICY_NONE) /* equals may change places */
                assert_true(cut.policy->score(cut.state, victim, now) == whole.policy->score(whole.state, first, now));
            if (!resident[o]) {
                whole.policy->insert(whole.state, o, now);
                cut.policy->insert(cut.state, o, now);
                resident[o] = true;
            } else if (victim != HS_POLICY_NONE && roll(&rng, 2)) {
                whole.policy->evict(whole.state, victim);
                cut.policy->evict(cut.state, victim);
                resident[victim] = false;
            }
        }
        caged_free(&whole);
        caged_free(&cut);
    }
}

static void one_slot_one_object(void **state)
{
    (void)state;
    for (unsigned p = 0; hs_policy_at(p); p++) {
        const hs_policy_shape shape = {.n_objects = 1, .n_slots = 1};
        caged c = caged_new(hs_policy_at(p), &shape);
        c.policy->access(c.state, 0, 1, 1, 1);
        c.policy->insert(c.state, 0, 1);
        assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 0);
        c.policy->evict(c.state, 0);
        assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), HS_POLICY_NONE);
        caged_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(random_lives),
                                       cmocka_unit_test(a_victim_of_a_class), cmocka_unit_test(one_slot_one_object)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
