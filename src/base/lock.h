/*
 * lock.h - mutexes that know their place. A thread may take a lock only if its rank is above the ranks of all locks
 * that it holds, so that no two threads can wait for each other. Builds with HS_LOCK_CHECK (Debug, sanitizers) abort
 * with both names where that is broken, whether or not anybody waited; others compile to plain pthread calls.
 *
 * All ranks of the program stand here, since an order is one order.
 */
#ifndef HS_BASE_LOCK_H
#define HS_BASE_LOCK_H

#include <pthread.h>
#include <time.h>

typedef enum hs_rank {
    HS_RANK_ENGINE = 1, /* queue, lists, published stats */
    HS_RANK_REQUEST,    /* a request's text and status; a step takes those of its batch: many */
    HS_RANK_SAVER,      /* sleeping and ending of the thread that saves */
    HS_RANK_HEAT,       /* adding a profile of expert uses */
    HS_RANK_SERVER,     /* what other threads leave for the loop */
    HS_RANK_RESIDENCY,  /* slots and reads under way */
    HS_RANK_LOAD,       /* dense weights being read */
    HS_RANK_IO,         /* the I/O thread's start */
    HS_RANK_PREAD,      /* the reading threads' queue */
    HS_RANK_POOL,       /* sleeping and waking of the compute pool */
} hs_rank;

typedef struct hs_mutex {
    pthread_mutex_t m;
#ifdef HS_LOCK_CHECK
    hs_rank rank;
#endif
} hs_mutex;

#ifdef HS_LOCK_CHECK
/* This thread takes, or gives back, the lock; abort if it may not. */
void hs__lock_taking(const hs_mutex *m);
void hs__lock_giving(const hs_mutex *m);
#else
static inline void hs__lock_taking(const hs_mutex *m)
{
    (void)m;
}
static inline void hs__lock_giving(const hs_mutex *m)
{
    (void)m;
}
#endif

static inline void hs_mutex_init(hs_mutex *m, hs_rank rank)
{
    pthread_mutex_init(&m->m, NULL);
#ifdef HS_LOCK_CHECK
    m->rank = rank;
#else
    (void)rank;
#endif
}

static inline void hs_mutex_destroy(hs_mutex *m)
{
    pthread_mutex_destroy(&m->m);
}

static inline void hs_mutex_lock(hs_mutex *m)
{
    hs__lock_taking(m);
    pthread_mutex_lock(&m->m);
}

static inline void hs_mutex_unlock(hs_mutex *m)
{
    hs__lock_giving(m);
    pthread_mutex_unlock(&m->m);
}

/* For waits until a time as of hs_now_ns, whatever becomes of the date. */
static inline void hs_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

/* The lock counts as held meanwhile: a thread that sleeps takes no other. */
static inline void hs_cond_wait(pthread_cond_t *c, hs_mutex *m)
{
    pthread_cond_wait(c, &m->m);
}

static inline int hs_cond_timedwait(pthread_cond_t *c, hs_mutex *m, const struct timespec *until)
{
    return pthread_cond_timedwait(c, &m->m, until);
}

#endif
