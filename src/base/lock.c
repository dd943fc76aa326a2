/*
 * lock.c - the order of locks, checked at every lock in builds with HS_LOCK_CHECK; see lock.h.
 * Threads: each has its own list of held locks.
 */
#include "base/lock.h"

#ifdef HS_LOCK_CHECK

#include <signal.h>

#include "base/log.h"

#define MAX_HELD 300 /* a step holds the text locks of its whole batch */

static _Thread_local const hs_mutex *held[MAX_HELD];
static _Thread_local unsigned n_held;

static const char *name_of(const hs_mutex *m)
{
    static const char *const names[HS_RANK_POOL + 1] = {
        [HS_RANK_ENGINE] = "engine", [HS_RANK_REQUEST] = "request", [HS_RANK_SAVER] = "saver",
        [HS_RANK_HEAT] = "heat",     [HS_RANK_SERVER] = "server",   [HS_RANK_RESIDENCY] = "residency",
        [HS_RANK_LOAD] = "load",     [HS_RANK_IO] = "I/O",          [HS_RANK_PREAD] = "pread",
        [HS_RANK_POOL] = "pool"};
    return m->rank <= HS_RANK_POOL && names[m->rank] ? names[m->rank] : "?";
}

static void broken(const char *what, const hs_mutex *m, const hs_mutex *other)
{
    hs_error("lock order: %s lock %s while holding %s", what, name_of(m), other ? name_of(other) : "none");
    raise(SIGABRT);
}

void hs__lock_taking(const hs_mutex *m)
{
    for (unsigned i = 0; i < n_held; i++)
        if (held[i] == m || held[i]->rank > m->rank || (held[i]->rank == m->rank && m->rank != HS_RANK_REQUEST))
            broken("taking", m, held[i]);
    if (n_held == MAX_HELD)
        broken("taking one too many", m, held[n_held - 1]);
    held[n_held++] = m;
}

void hs__lock_giving(const hs_mutex *m)
{
    for (unsigned i = n_held; i-- > 0;) {
        if (held[i] != m)
            continue;
        held[i] = held[--n_held];
        return;
    }
    broken("giving back", m, n_held ? held[n_held - 1] : NULL);
}

#else
typedef int hs__lock_is_plain; /* ISO C wants a declaration in every file */
#endif
