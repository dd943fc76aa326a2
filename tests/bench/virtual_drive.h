/*
 * virtual_drive.h - a drive and a clock that exist only in the program: reads take the time that the drive's speed
 * gives them, computing takes the time that the bench says, and nothing depends on the machine or on its load.
 *
 * It defines the hs_io_* functions that the residency calls, and with them clock_gettime and pthread_cond_timedwait, so
 * that the program's clock is the drive's: whoever waits sees the next read end. One thread only. Include it in one
 * file per program.
 *
 * As in store/io_thread.c: demand before speculation, at most in_flight bytes under way, nothing speculative beyond a
 * quarter of that; sub-reads end one after the other, each latency_ns after its turn.
 */
#ifndef VIRTUAL_DRIVE_H
#define VIRTUAL_DRIVE_H

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "store/io.h"

#define VD_OUT 1024u /* sub-reads under way at most */

static struct virtual_drive {
    double bytes_per_s;
    uint64_t latency_ns, in_flight, read_size;
    uint64_t wake_ns; /* from a read's end until who waited for it goes on */
    const int *fds;
    uint64_t now, free_at;
    hs_io_req *first[2], *last[2]; /* queues by class; of a request's fields only store's private ones are used */
    struct {
        hs_io_req *req;
        uint64_t len, due;
    } out[VD_OUT]; /* a ring in order of due times */
    uint32_t head, n_out;
    uint64_t out_bytes;
    uint64_t bytes, busy_ns; /* as hs_io_stats */
} vd;

enum { VD_QUEUED = 1, VD_CANCELLED, VD_ISSUED };

static void vd_unlink(hs_io_req *q)
{
    int c = q->cls;
    *(q->prev ? &q->prev->next : &vd.first[c]) = q->next;
    *(q->next ? &q->next->prev : &vd.last[c]) = q->prev;
}

static void vd_link(hs_io_req *q)
{
    int c = q->cls;
    q->next = NULL;
    q->prev = vd.last[c];
    *(vd.last[c] ? &vd.last[c]->next : &vd.first[c]) = q;
    vd.last[c] = q;
}

static void vd_issue(void)
{
    for (;;) {
        hs_io_req *q = vd.first[HS_IO_DEMAND];
        uint64_t most = vd.in_flight;
        if (!q) {
            q = vd.first[HS_IO_SPECULATIVE];
            most /= 4;
        }
        if (!q || vd.n_out == VD_OUT)
            return;
        uint64_t left = q->ranges[q->cur_range].len - q->cut[0], len = left < vd.read_size ? left : vd.read_size;
        if (vd.out_bytes && vd.out_bytes + len > most)
            return;
        uint64_t begin = vd.free_at > vd.now ? vd.free_at : vd.now;
        vd.free_at = begin + (uint64_t)((double)len / vd.bytes_per_s * 1e9);
        vd.busy_ns += vd.free_at - begin;
        uint32_t at = (vd.head + vd.n_out++) % VD_OUT;
        vd.out[at].req = q;
        vd.out[at].len = len;
        vd.out[at].due = vd.free_at + vd.latency_ns;
        vd.out_bytes += len;
        q->in_flight++;
        q->cut[0] += len; /* of the range being cut: they are cut in order here */
        if (q->cut[0] < q->ranges[q->cur_range].len)
            continue;
        q->cut[0] = 0;
        if (++q->cur_range == q->n_ranges) {
            vd_unlink(q);
            q->state = VD_ISSUED;
        }
    }
}

static int vd_read(const hs_io_req *q)
{
    for (uint32_t i = 0; i < q->n_ranges; i++) {
        const hs_range *g = &q->ranges[i];
        if (pread(vd.fds[g->file], (char *)q->dst + g->dst_offset, g->len, (off_t)g->offset) < 0)
            return -errno;
    }
    return 0;
}

/* The next sub-read ends. */
static void vd_complete(void)
{
    hs_io_req *q = vd.out[vd.head].req;
    uint64_t len = vd.out[vd.head].len;
    if (vd.out[vd.head].due > vd.now)
        vd.now = vd.out[vd.head].due;
    vd.head = (vd.head + 1) % VD_OUT;
    vd.n_out--;
    vd.out_bytes -= len;
    vd.bytes += len;
    q->in_flight--;
    q->on_progress(q, 0, q->arrived, len); /* records of safetensors have no frames: only the number counts */
    q->arrived += len;
    if (!q->in_flight && q->state != VD_QUEUED)
        q->on_done(q, q->state == VD_CANCELLED ? -ECANCELED : vd_read(q));
    vd_issue();
}

/* Computing: the clock goes on, and the drive with it. */
static void vd_spend(double ns)
{
    uint64_t until = vd.now + (uint64_t)ns;
    while (vd.n_out && vd.out[vd.head].due <= until)
        vd_complete();
    vd.now = until;
}

/* ---- what the residency calls ---- */

void hs_io_submit_many(hs_io *io, hs_io_req **reqs, uint32_t n)
{
    (void)io;
    for (uint32_t i = 0; i < n; i++) {
        hs_io_req *q = reqs[i];
        q->cur_range = q->in_flight = 0;
        q->cut[0] = q->arrived = 0;
        q->state = VD_QUEUED;
        vd_link(q);
    }
    vd_issue();
}

void hs_io_promote(hs_io *io, hs_io_req *q)
{
    (void)io;
    if (q->state != VD_QUEUED || q->cls == HS_IO_DEMAND)
        return;
    vd_unlink(q);
    q->cls = HS_IO_DEMAND;
    vd_link(q);
    vd_issue();
}

void hs_io_cancel(hs_io *io, hs_io_req *q)
{
    (void)io;
    if (q->state != VD_QUEUED)
        return;
    vd_unlink(q);
    q->state = VD_CANCELLED;
    if (!q->in_flight)
        q->on_done(q, -ECANCELED);
}

uint64_t hs_io_max_speculative(const hs_io *io)
{
    (void)io;
    return vd.in_flight / 4;
}

uint64_t hs_io_patience_ns(const hs_io *io)
{
    (void)io;
    return UINT64_MAX;
}

hs_io_stats hs_io_get_stats(hs_io *io)
{
    (void)io;
    return (hs_io_stats){.bytes = vd.bytes, .busy_ns = vd.busy_ns};
}

/* ---- the clock ---- */

int clock_gettime(clockid_t which, struct timespec *t)
{
    (void)which;
    *t = (struct timespec){(time_t)(vd.now / 1000000000u), (long)(vd.now % 1000000000u)};
    return 0;
}

int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
    hs_mutex *lock = (hs_mutex *)((char *)m - offsetof(hs_mutex, m)); /* of hs_cond_timedwait */
    (void)c, (void)until;
    if (!vd.n_out) {
        fprintf(stderr, "virtual drive: somebody waits, and nothing is being read\n");
        abort();
    }
    hs_mutex_unlock(lock);
    vd_complete();
    vd_spend((double)vd.wake_ns);
    hs_mutex_lock(lock);
    return 0;
}

#endif
