/*
 * pool.c - the compute pool.
 * Owns: its worker threads. State of a job: `ticket` holds (job number << 32 | next index), so that a worker which
 * wakes late can never take an index of a newer job with an older job's function.
 *
 * Invariants:
 *   1. A worker touches fn/ctx only between taking an index of that job and adding to `finished`.
 *   2. hs_pool_run returns when finished == n_tasks: nobody is inside the job then.
 *   3. Between jobs, workers 1 to n_threads - 1 run; one that finds n_threads at or below its index leaves.
 */
#include "base/lock.h"
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* About 20 us: longer than the gap between two matrices of a token, far shorter than a read. */
#define SPIN_ROUNDS 4000

typedef struct worker {
    hs_pool *pool;
    pthread_t thread;
    uint32_t index;
} worker;

struct hs_pool {
    uint32_t n_room; /* the most threads that it can have */
    worker *workers; /* [n_room], the caller's place first */
    _Atomic uint32_t n_threads;

    hs_task_fn fn;
    void *ctx;
    uint32_t n_tasks;
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint32_t finished;
    _Alignas(64) _Atomic uint32_t sleepers;

    hs_mutex lock; /* leaf lock: only around sleeping and waking */
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Takes tasks of the current job until none is left. The job cannot change while an index of it is out. */
static void work(hs_pool *p, uint32_t thread)
{
    for (;;) {
        uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
        uint32_t index = (uint32_t)t;
        if (index == 0)
            return;
        /* Indices count down, so 0 means "no task": n_tasks need not be read before the index is ours. */
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &t, t - 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        p->fn(p->ctx, p->n_tasks - index, thread);
        atomic_fetch_add_explicit(&p->finished, 1, memory_order_acq_rel);
    }
}

static bool is_wanted(const worker *w)
{
    return w->index < atomic_load_explicit(&w->pool->n_threads, memory_order_relaxed);
}

static void sleep_until_job(const worker *w, uint64_t seen)
{
    hs_pool *p = w->pool;
    hs_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (is_wanted(w) && (atomic_load(&p->ticket) >> 32) == seen)
        hs_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    hs_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    hs_pool *p = w->pool;
    char name[16];
    snprintf(name, sizeof name, "hs-compute-%u", w->index % 1000);
    pthread_setname_np(pthread_self(), name);
    uint64_t seen = 0;
    while (is_wanted(w)) {
        uint32_t spins = 0;
        while ((atomic_load_explicit(&p->ticket, memory_order_acquire) >> 32) == seen) {
            if (++spins < SPIN_ROUNDS) {
                relax();
                continue;
            }
            sleep_until_job(w, seen);
            if (!is_wanted(w))
                return NULL;
        }
        seen = atomic_load_explicit(&p->ticket, memory_order_acquire) >> 32;
        work(p, w->index);
    }
    return NULL;
}

/* Ends the workers from n_threads on. */
static void dismiss(hs_pool *p, uint32_t n_threads)
{
    uint32_t before = atomic_load(&p->n_threads);
    hs_mutex_lock(&p->lock);
    atomic_store(&p->n_threads, n_threads);
    pthread_cond_broadcast(&p->wake);
    hs_mutex_unlock(&p->lock);
    /* A spinning worker leaves through the sleep path, which sees it. */
    for (uint32_t i = n_threads; i < before; i++)
        pthread_join(p->workers[i].thread, NULL);
}

int hs_pool_resize(hs_pool *p, uint32_t n_threads, hs_err *err)
{
    uint32_t before = atomic_load(&p->n_threads);
    if (n_threads < 1 || n_threads > p->n_room)
        return hs_err_set(err, -EINVAL, "compute pool: %u threads; 1 to %u are possible", n_threads, p->n_room);
    if (n_threads < before)
        dismiss(p, n_threads);
    for (uint32_t i = before; i < n_threads; i++) {
        atomic_store(&p->n_threads, i + 1);
        int r = -pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
        if (r < 0) {
            atomic_store(&p->n_threads, i);
            dismiss(p, before);
            return hs_err_set(err, r, "compute pool: cannot start thread %u: %s", i, hs_strerror(r));
        }
    }
    return 0;
}

int hs_pool_create(uint32_t n_threads, hs_pool **ret_pool, hs_err *err)
{
    if (n_threads < 1 || n_threads > 1024)
        return hs_err_set(err, -EINVAL, "compute pool: %u threads; 1 to 1024 are possible", n_threads);
    hs_pool *p = hs_map_alloc(sizeof *p); /* the counters want cache lines of their own */
    if (!p)
        return hs_err_set(err, -ENOMEM, "compute pool: out of memory");
    p->n_room = n_threads;
    atomic_store(&p->n_threads, 1);
    hs_mutex_init(&p->lock, HS_RANK_POOL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = hs_calloc(n_threads, sizeof *p->workers);
    int r = p->workers ? 0 : hs_err_set(err, -ENOMEM, "compute pool: out of memory");
    for (uint32_t i = 0; r == 0 && i < n_threads; i++)
        p->workers[i] = (worker){.pool = p, .index = i};
    if (r == 0)
        r = hs_pool_resize(p, n_threads, err);
    if (r < 0)
        hs_pool_destroy(&p);
    else
        *ret_pool = p;
    return r;
}

void hs_pool_destroy(hs_pool **pool)
{
    hs_pool *p = *pool;
    if (!p)
        return;
    *pool = NULL;
    dismiss(p, 1);
    pthread_cond_destroy(&p->wake);
    hs_mutex_destroy(&p->lock);
    hs_free(p->workers);
    hs_map_free(p, sizeof *p);
}

uint32_t hs_pool_threads(const hs_pool *pool)
{
    return atomic_load_explicit(&pool->n_threads, memory_order_relaxed);
}

void hs_pool_run(hs_pool *p, uint32_t n_tasks, hs_task_fn fn, void *ctx)
{
    if (hs_pool_threads(p) == 1 || n_tasks <= 1) {
        for (uint32_t i = 0; i < n_tasks; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n_tasks = n_tasks;
    atomic_store_explicit(&p->finished, 0, memory_order_relaxed);
    uint64_t job = (atomic_load_explicit(&p->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store(&p->ticket, (job << 32) | n_tasks);
    if (atomic_load(&p->sleepers)) {
        hs_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        hs_mutex_unlock(&p->lock);
    }
    work(p, 0);
    uint32_t spins = 0;
    while (atomic_load_explicit(&p->finished, memory_order_acquire) != n_tasks) {
        if (++spins < SPIN_ROUNDS)
            relax();
        else
            sched_yield(); /* fewer cores than threads: let the worker finish */
    }
}

uint32_t hs_cpu_count(void)
{
    cpu_set_t set;
    uint32_t n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        n = (uint32_t)CPU_COUNT(&set);
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        long long quota, period;
        if (fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
            uint32_t q = (uint32_t)((quota + period - 1) / period);
            if (q >= 1 && q < n)
                n = q;
        }
        fclose(f);
    }
    return n;
}
