/* labels: unit */
/* Order of last use; a sweep is not admitted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

static bool is_three(void *ctx, uint32_t object)
{
    (void)ctx;
    return object == 3;
}

static void least_recent_first(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 8, .n_slots = 4};
    caged c = caged_new(&hs_policy_lru, &shape);
    for (uint32_t o = 0; o < 4; o++) {
        c.policy->access(c.state, o, 1, 1, 1);
        c.policy->insert(c.state, o, 1);
    }
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 0);
    c.policy->access(c.state, 0, 1, 1, 2);
    c.policy->access(c.state, 2, 1, 1, 2);
    c.policy->access(c.state, 7, 1, 1, 2); /* not resident: remembered for nothing */
    const uint32_t order[] = {1, 3, 0, 2};
    assert_int_equal(c.policy->victim(c.state, 0, 2, is_three, NULL), 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c.policy->victim(c.state, 0, 2, NULL, NULL), order[i]);
        c.policy->evict(c.state, order[i]);
        if (i == 0)
            assert_int_equal(c.policy->victim(c.state, 0, 2, is_three, NULL), 0);
    }
    caged_free(&c);
}

static void admission(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 8, .n_slots = 4};
    caged c = caged_new(&hs_policy_lru, &shape);
    assert_true(c.policy->admit(c.state, 1, 0, false, 1));
    assert_false(c.policy->admit(c.state, 1, 0, true, 1));
    caged_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(least_recent_first), cmocka_unit_test(admission)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
