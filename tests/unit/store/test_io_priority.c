/* labels: unit */
/* The I/O thread asks for its core alone, and asks for no less than it had. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/io_int.h"

typedef struct attributes { /* of sched_getattr(2) */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes;

static attributes look(void)
{
    attributes a = {0};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0)
        skip();
    return a;
}

typedef struct change {
    int policy; /* asked for before */
    bool refused;
    attributes before, after;
} change;

static void *on_thread(void *arg)
{
    change *c = arg;
    const struct sched_param p = {.sched_priority = c->policy == SCHED_OTHER ? 0 : 3};
    c->refused = sched_setscheduler(0, c->policy, &p) < 0;
    c->before = look();
    hs__io_thread_goes_first();
    c->after = look();
    return NULL;
}

static change run(int policy)
{
    change c = {.policy = policy};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, on_thread, &c), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
    return c;
}

static void test_fair(void **state)
{
    (void)state;
    const attributes mine = look();
    const change c = run(SCHED_OTHER);
    if (c.refused)
        skip();
    assert_int_equal(c.after.policy, c.before.policy);
    assert_true(c.after.nice <= c.before.nice);
    if (c.before.runtime) /* Linux 6.12 tells the slice */
        assert_int_equal(c.after.runtime, 100000);
    const attributes now = look();
    assert_int_equal(now.nice, mine.nice);
    assert_int_equal(now.runtime, mine.runtime);
}

static void test_real_time(void **state)
{
    (void)state;
    const change c = run(SCHED_FIFO);
    if (c.refused)
        skip();
    assert_int_equal(c.after.policy, SCHED_FIFO);
    assert_int_equal(c.after.priority, c.before.priority + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fair), cmocka_unit_test(test_real_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
