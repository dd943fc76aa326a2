/* labels: unit */
/* Each layer gives for its own newcomers; a layer with more than its share gives for one with less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

#define EXPERTS 8u

static caged c;

static void use(uint32_t object)
{
    c.policy->access(c.state, object, 1, 1, 1);
}

static void come(uint32_t object)
{
    use(object);
    c.policy->insert(c.state, object, 1);
}

static bool is_of_layer_1(void *ctx, uint32_t object)
{
    (void)ctx;
    return object / EXPERTS == 1;
}

static void shares(void **state)
{
    (void)state;
    const hs_policy_shape shape = {
        .n_objects = 3 * EXPERTS, .n_slots = 6, .layer_objects = EXPERTS, .inner = &hs_policy_lru};
    c = caged_new(&hs_policy_layered, &shape);
    /* Layer 0 fills the empty cache; the others take their share from it, least recent first, and no more. */
    for (uint32_t o = 0; o < 6; o++)
        come(o);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t newcomer = (1 + i % 2) * EXPERTS + i;
        use(newcomer);
        uint32_t victim = c.policy->victim(c.state, 0, 1, NULL, NULL);
        assert_int_equal(victim, i);
        assert_true(c.policy->admit(c.state, newcomer, victim, false, 1));
        assert_false(c.policy->admit(c.state, newcomer, victim, true, 1));
        c.policy->evict(c.state, victim);
        c.policy->insert(c.state, newcomer, 1);
    }
    use(2 * EXPERTS + 7);
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 2 * EXPERTS + 1);
    use(EXPERTS + 7);
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), EXPERTS);
    /* All of its own must stay: another layer gives, but not for a layer that has its share. */
    uint32_t other = c.policy->victim(c.state, 0, 1, is_of_layer_1, NULL);
    assert_true(other != HS_POLICY_NONE && other / EXPERTS != 1);
    assert_false(c.policy->admit(c.state, EXPERTS + 7, other, false, 1));
    caged_free(&c);
}

/* A cache that has shrunk is shared as before. */
static void fewer_slots(void **state)
{
    (void)state;
    const hs_policy_shape shape = {
        .n_objects = 2 * EXPERTS, .n_slots = 8, .layer_objects = EXPERTS, .inner = &hs_policy_lfu};
    c = caged_new(&hs_policy_layered, &shape);
    for (uint32_t o = 0; o < 4; o++) {
        come(o);
        come(EXPERTS + o);
    }
    for (uint32_t o = 0; o < 3; o++)
        c.policy->evict(c.state, EXPERTS + o);
    use(EXPERTS + 5); /* one of five: layer 0 holds most */
    assert_true(c.policy->victim(c.state, 0, 1, NULL, NULL) < EXPERTS);
    caged_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares), cmocka_unit_test(fewer_slots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
