/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

static hs_mutex engine, request, another, pool;

static void in_order(void)
{
    hs_mutex_lock(&engine);
    hs_mutex_lock(&request);
    hs_mutex_lock(&another); /* requests of one batch */
    hs_mutex_lock(&pool);
    hs_mutex_unlock(&request);
    hs_mutex_unlock(&pool);
    hs_mutex_unlock(&another);
    hs_mutex_lock(&request); /* what has been given back does not count */
    hs_mutex_unlock(&request);
    hs_mutex_unlock(&engine);
}

static void upside_down(void)
{
    hs_mutex_lock(&request);
    hs_mutex_lock(&engine);
}

static void twice(void)
{
    hs_mutex_lock(&request);
    hs_mutex_lock(&request);
}

static void same_rank(void)
{
    hs_mutex other;
    hs_mutex_init(&other, HS_RANK_ENGINE);
    hs_mutex_lock(&engine);
    hs_mutex_lock(&other);
}

static void not_held(void)
{
    hs_mutex_unlock(&pool);
}

/* The signal that ends a process that does this, 0 = none. */
static int signal_of(void (*run)(void))
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        run();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_order(void **state)
{
    (void)state;
    hs_mutex_init(&engine, HS_RANK_ENGINE);
    hs_mutex_init(&request, HS_RANK_REQUEST);
    hs_mutex_init(&another, HS_RANK_REQUEST);
    hs_mutex_init(&pool, HS_RANK_POOL);
    in_order();
    assert_int_equal(signal_of(in_order), 0);
#ifdef HS_LOCK_CHECK
    assert_int_equal(signal_of(upside_down), SIGABRT);
    assert_int_equal(signal_of(twice), SIGABRT);
    assert_int_equal(signal_of(same_rank), SIGABRT);
    assert_int_equal(signal_of(not_held), SIGABRT);
#else
    print_message("SKIP of the wrong orders: they are found in Debug and sanitizer builds only\n");
    (void)upside_down, (void)twice, (void)same_rank, (void)not_held;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
