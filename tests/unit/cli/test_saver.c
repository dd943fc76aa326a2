/* labels: unit */
/* The saver: now and then, at the end, and with a save that stands still. Nothing here depends on who is faster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "base/log.h"
#include "cli/saver.h"

#define NEVER 3600000u

/* A drive: saves wait while it is held. */
typedef struct drive {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int saves, waiting, result;
    bool is_held;
} drive;

static void drive_init(drive *d, bool is_held)
{
    *d = (drive){.is_held = is_held};
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
}

static void drive_deinit(drive *d)
{
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
}

static int save(void *ctx, hs_err *err)
{
    drive *d = ctx;
    pthread_mutex_lock(&d->lock);
    d->waiting++;
    pthread_cond_broadcast(&d->changed);
    while (d->is_held)
        pthread_cond_wait(&d->changed, &d->lock);
    d->waiting--;
    d->saves++;
    pthread_cond_broadcast(&d->changed);
    int r = d->result;
    pthread_mutex_unlock(&d->lock);
    return r < 0 ? hs_err_set(err, r, "the drive is full") : 0;
}

static void wait_for(drive *d, const int *counter, int n)
{
    pthread_mutex_lock(&d->lock);
    while (*counter < n)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

static hs_saver *start(drive *d, uint64_t every_ms)
{
    hs_saver *s = NULL;
    hs_err err = {0};
    assert_int_equal(hs_saver_start(save, d, "something", every_ms, &s, &err), 0);
    return s;
}

static void test_saves_once_at_the_end(void **state)
{
    (void)state;
    drive d;
    drive_init(&d, false);
    hs_saver *s = start(&d, NEVER);
    assert_true(hs_saver_stop(&s, NEVER));
    assert_null(s);
    assert_int_equal(d.saves, 1);
    assert_true(hs_saver_stop(&s, NEVER)); /* there is none */
    drive_deinit(&d);
}

static void test_saves_now_and_then(void **state)
{
    (void)state;
    drive d;
    drive_init(&d, false);
    hs_saver *s = start(&d, 1);
    wait_for(&d, &d.saves, 3);
    assert_true(hs_saver_stop(&s, NEVER));
    assert_true(d.saves >= 4);
    drive_deinit(&d);
}

static void test_goes_on_after_a_failure(void **state)
{
    (void)state;
    drive d;
    drive_init(&d, false);
    d.result = -ENOSPC;
    hs_saver *s = start(&d, 1);
    wait_for(&d, &d.saves, 3);
    assert_true(hs_saver_stop(&s, NEVER));
    drive_deinit(&d);
}

static void test_stands_still(void **state)
{
    (void)state;
    drive d;
    drive_init(&d, true);
    hs_saver *s = start(&d, 1);
    wait_for(&d, &d.waiting, 1);
    assert_false(hs_saver_stop(&s, 10));
    assert_non_null(s);
    assert_int_equal(d.saves, 0);
    pthread_mutex_lock(&d.lock); /* it comes back, as it may at any time: what it uses is still there */
    d.is_held = false;
    pthread_cond_broadcast(&d.changed);
    pthread_mutex_unlock(&d.lock);
    assert_true(hs_saver_stop(&s, NEVER));
    assert_int_equal(d.saves, 2); /* the one that stood still, and the last */
    drive_deinit(&d);
}

int main(void)
{
    hs_log_setup(HS_LOG_ERROR, HS_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saves_once_at_the_end),
        cmocka_unit_test(test_saves_now_and_then),
        cmocka_unit_test(test_goes_on_after_a_failure),
        cmocka_unit_test(test_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
