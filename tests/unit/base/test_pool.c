/* labels: unit */
/* The compute pool: every task once, results visible, jobs back to back, threads that sleep and wake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/pool.h"

typedef struct job {
    uint32_t n, threads;
    uint32_t *hits; /* not atomic: one task, one writer */
    uint64_t add;
    uint64_t *out;
    _Atomic uint32_t bad;
} job;

static void task(void *ctx, uint32_t index, uint32_t thread)
{
    job *j = ctx;
    if (index >= j->n || thread >= j->threads)
        atomic_fetch_add(&j->bad, 1);
    j->hits[index]++;
    j->out[index] = index * 3u + j->add;
}

static void run(hs_pool *p, uint32_t n, uint64_t add)
{
    job j = {.n = n, .threads = hs_pool_threads(p), .add = add};
    j.hits = calloc(n + 1, sizeof *j.hits);
    j.out = calloc(n + 1, sizeof *j.out);
    assert_non_null(j.hits);
    assert_non_null(j.out);
    hs_pool_run(p, n, task, &j);
    for (uint32_t i = 0; i < n; i++)
        assert_true(j.hits[i] == 1 && j.out[i] == i * 3u + add);
    assert_int_equal(j.hits[n], 0);
    assert_int_equal(j.bad, 0);
    free(j.hits);
    free(j.out);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 2, 3, 7, 64, 1000};
    for (uint32_t threads = 1; threads <= 8; threads++) {
        hs_pool *p = NULL;
        assert_int_equal(hs_pool_create(threads, &p, NULL), 0);
        assert_int_equal(hs_pool_threads(p), threads);
        for (uint32_t round = 0; round < 30; round++)
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                run(p, sizes[i], round);
        hs_pool_destroy(&p);
        assert_null(p);
    }
}

/* Small jobs without a pause, of different functions and contexts that die at once: a late worker must not use them. */
static void other_task(void *ctx, uint32_t index, uint32_t thread)
{
    (void)thread;
    ((unsigned char *)ctx)[index] ^= 0xff;
}

static void jobs_back_to_back(void **state)
{
    (void)state;
    hs_pool *p = NULL;
    assert_int_equal(hs_pool_create(4, &p, NULL), 0);
    for (uint32_t i = 0; i < 3000; i++) {
        if (i % 2) {
            run(p, 2 + i % 5, i);
        } else {
            unsigned char c[6] = {0};
            uint32_t n = 2 + i % 4;
            hs_pool_run(p, n, other_task, c);
            for (uint32_t k = 0; k < 6; k++)
                assert_int_equal(c[k], k < n ? 0xff : 0);
            memset(c, 0x55, sizeof c);
        }
    }
    hs_pool_destroy(&p);
}

static void sleepers_wake(void **state)
{
    (void)state;
    hs_pool *p = NULL;
    assert_int_equal(hs_pool_create(3, &p, NULL), 0);
    for (uint32_t i = 0; i < 20; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        run(p, 50, i);
    }
    hs_pool_destroy(&p);
}

/* With more threads than cores and tasks of very different length. */
static void slow_task(void *ctx, uint32_t index, uint32_t thread)
{
    (void)thread;
    if (index % 7 == 0)
        nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

static void uneven_tasks(void **state)
{
    (void)state;
    hs_pool *p = NULL;
    assert_int_equal(hs_pool_create(6, &p, NULL), 0);
    for (int i = 0; i < 20; i++) {
        atomic_uint n = 0;
        hs_pool_run(p, 40, slow_task, &n);
        assert_int_equal(atomic_load(&n), 40);
    }
    hs_pool_destroy(&p);
}

static void create_and_destroy(void **state)
{
    (void)state;
    hs_pool *p = NULL;
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(hs_pool_create(1 + i % 5, &p, NULL), 0);
        if (i % 2)
            run(p, 5, i);
        hs_pool_destroy(&p);
    }
    hs_pool_destroy(&p); /* NULL is fine */
}

static void resize(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 4, 2, 2, 3, 1, 4, 3};
    hs_pool *p = NULL;
    assert_int_equal(hs_pool_create(4, &p, NULL), 0);
    for (uint32_t i = 0; i < 80; i++) {
        uint32_t n = sizes[i % (sizeof sizes / sizeof *sizes)];
        assert_int_equal(hs_pool_resize(p, n, NULL), 0);
        assert_int_equal(hs_pool_threads(p), n);
        if (i % 3 == 0) /* asleep */
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        run(p, 40, i); /* no task sees a thread that is not there */
    }
    hs_err err = {0};
    assert_int_equal(hs_pool_resize(p, 0, &err), -EINVAL);
    assert_int_equal(hs_pool_resize(p, 5, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1 to 4"));
    assert_int_equal(hs_pool_threads(p), 3);
    run(p, 40, 0);
    hs_pool_destroy(&p);
}

static void refusals(void **state)
{
    (void)state;
    hs_pool *p = NULL;
    hs_err err = {0};
    assert_int_equal(hs_pool_create(0, &p, &err), -EINVAL);
    assert_int_equal(hs_pool_create(1025, &p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1025"));
    for (int n = 0; n < 2; n++) {
        hs_mem_fail_after(n);
        assert_int_equal(hs_pool_create(2, &p, &err), -ENOMEM);
        hs_mem_fail_after(-1);
    }
    assert_null(p);
    assert_true(hs_cpu_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(jobs_back_to_back),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(uneven_tasks),
        cmocka_unit_test(create_and_destroy),
        cmocka_unit_test(resize),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
