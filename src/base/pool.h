/*
 * pool.h - the compute pool: one job at a time, cut into tasks that threads take by an atomic counter.
 *
 * The calling thread takes part; a pool of n threads has n-1 workers. Workers spin briefly after a job, then sleep,
 * because hotset shares the machine with other programs. Which thread runs a task never influences a result: a task
 * writes only what its index gives it.
 */
#ifndef HS_BASE_POOL_H
#define HS_BASE_POOL_H

#include <stdint.h>

#include "base/err.h"

typedef struct hs_pool hs_pool;

/* A task: ctx is the job's, index in [0, n_tasks), thread in [0, hs_pool_threads) for per-thread scratch. */
typedef void (*hs_task_fn)(void *ctx, uint32_t index, uint32_t thread);

/* n_threads >= 1, the caller included; destroy(T **) nulls. */
int hs_pool_create(uint32_t n_threads, hs_pool **ret_pool, hs_err *err) HS_MUST_CHECK;
void hs_pool_destroy(hs_pool **pool);
/* Between jobs, on the caller's thread: that many from now on, from 1 to as many as it was created with. After an
 * error there are as many as before. */
int hs_pool_resize(hs_pool *pool, uint32_t n_threads, hs_err *err) HS_MUST_CHECK;
uint32_t hs_pool_threads(const hs_pool *pool);

/* Runs fn for every index and returns when all have finished; writes of the tasks are visible to the caller. Indexes
 * are taken in ascending order, so a task may wait for what an earlier one does. One caller at a time; a task must not
 * call hs_pool_run. Does not allocate. */
void hs_pool_run(hs_pool *pool, uint32_t n_tasks, hs_task_fn fn, void *ctx);

/* Number of usable processors of this process (affinity and cgroup quota respected), at least 1. */
uint32_t hs_cpu_count(void);

#endif
