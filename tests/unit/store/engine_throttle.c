/* engine_throttle.c - a drive of a given speed. Due times are given at submit; only wake comes from other threads. */
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "unit/store/engines.h"

typedef struct drive {
    const throttle_engine *speed;
    const hs_io_engine_config *cfg;
    hs_io_read *head, *tail; /* in order of issue, which is the order of due times */
    uint64_t *due;           /* [depth]: a ring beside the list */
    uint32_t first, n;
    uint64_t free_at; /* when the drive has done all it was given */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool woken;
} drive;

static int drive_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    drive *d = hs_calloc(1, sizeof *d);
    if (d)
        d->due = hs_calloc(cfg->depth, sizeof *d->due);
    if (!d || !d->due) {
        hs_free(d);
        return hs_err_set(err, -ENOMEM, "throttled drive: out of memory");
    }
    d->speed = ctx;
    d->cfg = cfg;
    pthread_mutex_init(&d->lock, NULL);
    hs_cond_init(&d->wake);
    *ret_engine = d;
    return 0;
}

static void drive_destroy(void *engine)
{
    drive *d = engine;
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    hs_free(d->due);
    hs_free(d);
}

static void drive_submit(void *engine, hs_io_read *rd)
{
    drive *d = engine;
    uint64_t now = hs_now_ns();
    if (d->free_at < now)
        d->free_at = now;
    d->free_at += (uint64_t)((double)rd->len / (double)d->speed->bytes_per_s * 1e9);
    d->due[(d->first + d->n++) % d->cfg->depth] = d->free_at + d->speed->latency_ns;
    rd->next = NULL;
    if (d->n > 1)
        d->tail->next = rd;
    else
        d->head = rd;
    d->tail = rd;
}

static uint32_t drive_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    drive *d = engine;
    uint32_t n = 0;
    pthread_mutex_lock(&d->lock);
    while (!d->woken && !(d->n && d->due[d->first] <= hs_now_ns())) {
        if (!d->n) {
            pthread_cond_wait(&d->wake, &d->lock);
            continue;
        }
        uint64_t due = d->due[d->first];
        struct timespec t = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        pthread_cond_timedwait(&d->wake, &d->lock, &t);
    }
    d->woken = false;
    pthread_mutex_unlock(&d->lock);
    while (n < max && d->n && d->due[d->first] <= hs_now_ns()) {
        hs_io_read *rd = d->head;
        d->head = rd->next;
        d->first = (d->first + 1) % d->cfg->depth;
        d->n--;
        ssize_t k = pread(d->cfg->fds[rd->file], rd->dst, rd->len, (off_t)rd->offset);
        rd->result = k < 0 ? -errno : (int32_t)k;
        ret_done[n++] = rd;
    }
    return n;
}

static void drive_wake(void *engine)
{
    drive *d = engine;
    pthread_mutex_lock(&d->lock);
    d->woken = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

const hs_io_engine_ops throttle_engine_ops = {
    .name = "throttle",
    .create = drive_create,
    .destroy = drive_destroy,
    .submit = drive_submit,
    .wait = drive_wait,
    .wake = drive_wake,
};
