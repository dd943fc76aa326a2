/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

static caged c;

static int setup(void **state)
{
    static const hs_policy_shape shape = {.n_objects = 40, .n_slots = 10};
    (void)state;
    c = caged_new(&hs_policy_s3fifo, &shape);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    caged_free(&c);
    return 0;
}

static void come(uint32_t object)
{
    c.policy->access(c.state, object, 1, 1, 1);
    c.policy->insert(c.state, object, 1);
}

static void use(uint32_t object, int times)
{
    for (int i = 0; i < times; i++)
        c.policy->access(c.state, object, 1, 1, 1);
}

static uint32_t victim(void)
{
    return c.policy->victim(c.state, 0, 1, NULL, NULL);
}

static bool is_second(void *ctx, uint32_t object)
{
    (void)ctx;
    return object == 1;
}

static bool always(void *ctx, uint32_t object)
{
    (void)ctx, (void)object;
    return true;
}

/* In order of arrival, but what has been used twice since goes on to main. */
static void small_queue(void **state)
{
    (void)state;
    for (uint32_t o = 0; o < 10; o++)
        come(o);
    use(0, 2);
    use(1, 1);
    assert_int_equal(c.policy->victim(c.state, 0, 1, always, NULL), HS_POLICY_NONE);
    assert_int_equal(victim(), 1);
    assert_int_equal(c.policy->victim(c.state, 0, 1, is_second, NULL), 2);
    c.policy->evict(c.state, 1);
    for (uint32_t o = 2; o < 9; o++) {
        assert_int_equal(victim(), o);
        c.policy->evict(c.state, o);
    }
    /* One in small, one in main: more than a tenth is small. */
    assert_int_equal(victim(), 9);
    c.policy->evict(c.state, 9);
    assert_int_equal(victim(), 0);
}

static void replace_with(uint32_t object)
{
    c.policy->evict(c.state, victim());
    come(object);
}

/* A ghost that comes back goes to main, where a use is a second chance. */
static void ghosts_and_main(void **state)
{
    (void)state;
    for (uint32_t o = 0; o < 10; o++)
        come(o);
    for (uint32_t o = 10; o < 19; o++)
        replace_with(o);
    for (uint32_t o = 0; o < 9; o++) { /* as many ghosts as are remembered */
        assert_true(c.policy->score(c.state, o, 1) == -1);
        replace_with(o);
        assert_true(c.policy->score(c.state, o, 1) == 4);
    }
    /* One of ten is in small, so main gives: the first that came back, unless it has been used. */
    assert_int_equal(victim(), 0);
    use(0, 1);
    assert_int_equal(victim(), 1);
    c.policy->evict(c.state, 1);
    assert_true(c.policy->score(c.state, 1, 1) == -2); /* main leaves no ghosts */
    come(20);
    come(21);
    assert_int_equal(victim(), 18); /* small has more than its tenth again */
}

static void admission(void **state)
{
    (void)state;
    assert_true(c.policy->admit(c.state, 1, 0, false, 1));
    assert_false(c.policy->admit(c.state, 1, 0, true, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(small_queue, setup, teardown),
                                       cmocka_unit_test_setup_teardown(ghosts_and_main, setup, teardown),
                                       cmocka_unit_test_setup_teardown(admission, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
