/* labels: unit */
/* Order of counts, ties by recency, memory of absent objects, aging. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

static void use(caged *c, uint32_t object, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        c->policy->access(c->state, object, 1, 1, 1);
}

static void least_frequent_first(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 8, .n_slots = 4};
    caged c = caged_new(&hs_policy_lfu, &shape);
    use(&c, 0, 3);
    use(&c, 1, 2);
    use(&c, 2, 2);
    for (uint32_t o = 0; o < 3; o++)
        c.policy->insert(c.state, o, 1);
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 1);
    use(&c, 1, 1); /* 3 uses now, later than object 0 */
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 2);
    c.policy->evict(c.state, 2);
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 0);
    use(&c, 2, 2); /* while absent */
    c.policy->insert(c.state, 2, 1);
    assert_true(c.policy->score(c.state, 2, 1) == 4);
    assert_true(c.policy->admit(c.state, 2, 0, true, 1));
    assert_false(c.policy->admit(c.state, 7, 0, true, 1));
    assert_true(c.policy->admit(c.state, 7, 0, false, 1));
    caged_free(&c);
}

static void old_fame_fades(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 4, .n_slots = 2};
    caged c = caged_new(&hs_policy_lfu, &shape);
    use(&c, 0, 30);
    c.policy->insert(c.state, 0, 1);
    use(&c, 1, 1);
    c.policy->insert(c.state, 1, 1);
    assert_int_equal(c.policy->victim(c.state, 0, 1, NULL, NULL), 1);
    uint32_t n = 0;
    for (; c.policy->victim(c.state, 0, 1, NULL, NULL) == 1 && n < 1000; n++) {
        use(&c, 1, 1);
        use(&c, 2, 1);
    }
    print_message("forgotten after %u more uses\n", n);
    assert_true(n < 30);
    caged_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(least_frequent_first), cmocka_unit_test(old_fame_fades)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
