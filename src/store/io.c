/*
 * io.c - the public face of reading: create and destroy, and what other threads may ask of the I/O thread.
 *
 * A request is in exactly one place:
 *
 *   QUEUED -> FLYING -> OVER        QUEUED: in queued[cls], bytes left to cut; sub-reads may be under way already
 *      |                  ^         FLYING: everything is cut (or given up), sub-reads are under way
 *      +---- (dropped) ---+         OVER:   on_done is being called or has been
 *
 * Wake-ups: `asleep` is set by the I/O thread, under the lock, when it has found nothing more that it could issue;
 * whoever changes the queues under the same lock afterwards clears it and wakes the engine, whose wake is sticky. So no
 * change is ever slept over, and a burst of requests costs one wake.
 */
#include "store/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/io_int.h"

#define DEFAULT_READ   (1u << 20)
#define DEFAULT_FLYING (16ull << 20)
#define MAX_READ       (64u << 20)
#define MAX_FLYING     (1ull << 30)
#define MIN_DEPTH      64u /* small reads: more of them than in_flight / read_size */
#define MAX_DEPTH      4096u
#define PATIENCE_NS    30000000000ull /* as long as the kernel gives a drive before it fails a read itself */

/* Sizes for telling a file's end from a cut file; O_DIRECT as asked, quietly without where it is refused. */
static int prepare_files(hs_io *io, const hs_io_config *cfg, hs_err *err)
{
    bool direct = cfg->n_fds > 0;
    for (uint32_t f = 0; f < cfg->n_fds; f++) {
        struct stat st;
        int flags = fcntl(cfg->fds[f], F_GETFL);
        if (flags < 0 || fstat(cfg->fds[f], &st) < 0)
            return hs_err_set(err, -errno, "reading: file %u: %s", f, hs_strerror(errno));
        io->file_bytes[f] = (uint64_t)st.st_size;
        int want = cfg->buffered ? flags & ~O_DIRECT : flags | O_DIRECT;
        if (want != flags && fcntl(cfg->fds[f], F_SETFL, want) == 0)
            flags = want;
        direct = direct && flags & O_DIRECT;
    }
    atomic_store(&io->direct, direct);
    return 0;
}

/* Which drive each file is on: numbers in the order in which they come up. */
static void find_drives(hs_io *io, const hs_io_config *cfg)
{
    dev_t dev[HS_IO_MAX_DRIVES];
    for (uint32_t f = 0; f < cfg->n_fds; f++) {
        struct stat st;
        uint32_t d = 0;
        if (cfg->drives) {
            d = cfg->drives[f] % HS_IO_MAX_DRIVES;
            io->n_drives = d >= io->n_drives ? d + 1 : io->n_drives;
        } else if (fstat(cfg->fds[f], &st) == 0) {
            while (d < io->n_drives && dev[d] != st.st_dev)
                d++;
            if (d == HS_IO_MAX_DRIVES)
                d = (uint32_t)st.st_dev % HS_IO_MAX_DRIVES;
            else if (d == io->n_drives)
                dev[io->n_drives++] = st.st_dev;
        }
        io->drive_of[f] = (uint8_t)d;
    }
    io->n_drives = io->n_drives ? io->n_drives : 1;
    hs__io_drives_init(io);
    for (uint32_t f = cfg->n_fds; f-- > 0;)
        io->drives[io->drive_of[f]].stats.fd = f;
}

static int set_up(hs_io *io, const hs_io_config *cfg, hs_err *err)
{
    io->n_copies = cfg->n_copies ? cfg->n_copies : 1;
    if (io->n_copies > HS_IO_MAX_COPIES || cfg->n_fds % io->n_copies)
        return hs_err_set(err, -EINVAL, "reading: %u files in %u copies", cfg->n_fds, io->n_copies);
    io->n_files = cfg->n_fds / io->n_copies;
    io->max_flying = cfg->in_flight ? cfg->in_flight : DEFAULT_FLYING;
    io->read_size = cfg->read_size ? cfg->read_size : DEFAULT_READ;
    if (io->max_flying > MAX_FLYING || io->max_flying < HS__IO_ALIGN)
        return hs_err_set(err, -EINVAL, "io.in_flight: %llu bytes; 4096 to %llu are possible",
                          (unsigned long long)io->max_flying, MAX_FLYING);
    if (io->read_size > MAX_READ || io->read_size < HS__IO_ALIGN || io->read_size % HS__IO_ALIGN)
        return hs_err_set(err, -EINVAL, "io.read_size: %u bytes; a multiple of 4096 up to %u is needed", io->read_size,
                          MAX_READ);
    if (io->read_size > io->max_flying)
        io->read_size = (uint32_t)(io->max_flying & ~(uint64_t)(HS__IO_ALIGN - 1));
    io->max_speculative = io->max_flying / 4;
    io->patience_ns = cfg->patience_ns ? cfg->patience_ns : PATIENCE_NS;
    io->file_bytes = hs_calloc(cfg->n_fds, sizeof *io->file_bytes);
    io->drive_of = hs_calloc(cfg->n_fds, sizeof *io->drive_of);
    if (!io->file_bytes || !io->drive_of)
        return hs_err_set(err, -ENOMEM, "reading: out of memory");
    find_drives(io, cfg);
    uint64_t depth = io->max_flying / io->read_size;
    depth = (depth < MIN_DEPTH ? MIN_DEPTH : depth) * io->n_drives;
    depth = depth > MAX_DEPTH ? MAX_DEPTH : depth;
    io->kind = cfg->engine;
    io->ops = cfg->custom;
    io->ops_ctx = cfg->custom_ctx;
    io->engine_config =
        (hs_io_engine_config){cfg->fds, cfg->n_fds, cfg->buffers, cfg->n_buffers, (uint32_t)depth, io->n_drives};
    io->reads = hs_calloc(depth, sizeof *io->reads);
    io->done = hs_calloc(depth, sizeof *io->done);
    if (!io->reads || !io->done)
        return hs_err_set(err, -ENOMEM, "reading: out of memory");
    for (uint32_t i = 0; i < depth; i++) {
        io->reads[i].next = io->unused;
        io->unused = &io->reads[i];
    }
    return prepare_files(io, cfg, err);
}

static void tear_down(hs_io *io)
{
    pthread_cond_destroy(&io->changed);
    hs_mutex_destroy(&io->lock);
    hs_free(io->file_bytes);
    hs_free(io->drive_of);
    hs_free(io->reads);
    hs_free(io->done);
    hs_free(io);
}

int hs_io_create(const hs_io_config *cfg, hs_io **ret_io, hs_err *err)
{
    hs_io *io = hs_calloc(1, sizeof *io);
    if (!io)
        return hs_err_set(err, -ENOMEM, "reading: out of memory");
    hs_mutex_init(&io->lock, HS_RANK_IO);
    hs_cond_init(&io->changed);
    int r = set_up(io, cfg, err);
    if (r == 0) {
        io->start_result = 1;
        io->start_err = err;
        r = -pthread_create(&io->thread, NULL, hs__io_main, io);
        if (r < 0)
            hs_err_set(err, r, "reading: cannot start the I/O thread: %s", hs_strerror(r));
    }
    if (r == 0) {
        hs_mutex_lock(&io->lock);
        while (io->start_result > 0)
            hs_cond_wait(&io->changed, &io->lock);
        r = io->start_result;
        hs_mutex_unlock(&io->lock);
        if (r < 0)
            pthread_join(io->thread, NULL);
    }
    if (r < 0)
        tear_down(io);
    else
        *ret_io = io;
    return r;
}

/* Lock held. */
static void begin_stop(hs_io *io)
{
    if (io->stop)
        return;
    io->stop = true;
    for (int c = 0; c < 2; c++)
        while (io->queued[c].head)
            hs__io_drop(io, io->queued[c].head, -ECANCELED);
    io->ops->wake(io->engine); /* under the lock: the thread ends, and its engine with it, once it has seen stop */
}

/* Since when there is nothing to wait for but drives that are silent. Lock held. */
static uint64_t silent_since(const hs_io *io)
{
    uint64_t since = 0;
    for (uint32_t d = 0; d < io->n_drives; d++)
        if (io->drives[d].flying && io->drives[d].heard_ns > since)
            since = io->drives[d].heard_ns;
    return since ? since : hs_now_ns();
}

int hs_io_stop(hs_io *io)
{
    uint64_t most = io->patience_ns < HS_IO_STOP_NS ? io->patience_ns : HS_IO_STOP_NS;
    int r = 0;
    hs_mutex_lock(&io->lock);
    begin_stop(io);
    struct timespec until = hs_timespec(silent_since(io) + most);
    while (!io->ended && r == 0)
        r = -hs_cond_timedwait(&io->changed, &io->lock, &until);
    bool ended = io->ended;
    hs_mutex_unlock(&io->lock);
    if (!ended)
        return -ETIMEDOUT;
    if (!io->joined)
        pthread_join(io->thread, NULL);
    io->joined = true;
    return 0;
}

void hs_io_abandon(hs_io *io)
{
    pthread_detach(io->thread);
}

void hs_io_destroy(hs_io **io_ptr)
{
    hs_io *io = *io_ptr;
    if (!io)
        return;
    *io_ptr = NULL;
    hs_mutex_lock(&io->lock);
    begin_stop(io);
    while (!io->ended)
        hs_cond_wait(&io->changed, &io->lock);
    hs_mutex_unlock(&io->lock);
    if (!io->joined)
        pthread_join(io->thread, NULL);
    tear_down(io);
}

uint64_t hs_io_max_speculative(const hs_io *io)
{
    return io->max_speculative;
}

uint64_t hs_io_patience_ns(const hs_io *io)
{
    return io->patience_ns;
}

const char *hs_io_engine_name(const hs_io *io)
{
    return io->ops->name;
}

bool hs_io_is_direct(const hs_io *io)
{
    return atomic_load_explicit(&io->direct, memory_order_relaxed);
}

/* 0, or what is wrong with a range: the kernel's answer would be less clear, and a wild file index would be worse. */
static int check_ranges(const hs_io *io, hs_io_req *req)
{
    if (req->only > io->n_copies || !req->n_ranges || req->n_ranges > HS_OBJECT_MAX_RANGES ||
        (uintptr_t)req->dst % HS__IO_ALIGN)
        return -EINVAL;
    for (uint32_t i = 0; i < req->n_ranges; i++) {
        const hs_range *r = &req->ranges[i];
        uint64_t end;
        req->bad_range = i;
        if (r->file >= io->n_files || !r->len || (r->offset | r->len | r->dst_offset) % HS__IO_ALIGN ||
            hs_add_u64(r->offset, r->len, &end) < 0)
            return -EINVAL;
        if (end > hs_align_up(io->file_bytes[r->file], HS__IO_ALIGN))
            return -ENODATA;
    }
    return 0;
}

void hs__io_drop(hs_io *io, hs_io_req *req, int result)
{
    hs__io_unlink(&io->queued[req->cls], req);
    if (!req->result)
        req->result = result;
    req->state = HS__IO_FLYING;
    if (!req->in_flight) {
        req->state = HS__IO_OVER;
        hs__io_push(&io->over, req);
    }
}

/* Ends a critical section that may have given the I/O thread something to do. */
static void unlock_and_wake(hs_io *io)
{
    bool wake = io->asleep;
    io->asleep = false;
    hs_mutex_unlock(&io->lock);
    if (wake)
        io->ops->wake(io->engine);
}

void hs_io_submit_many(hs_io *io, hs_io_req **reqs, uint32_t n)
{
    hs_mutex_lock(&io->lock);
    for (uint32_t i = 0; i < n; i++) {
        hs_io_req *q = reqs[i];
        q->cur_range = q->in_flight = q->used = q->bad_range = 0;
        q->arrived = 0;
        memset(q->cut, 0, q->n_ranges <= HS_OBJECT_MAX_RANGES ? q->n_ranges * sizeof *q->cut : 0);
        q->result = io->stop ? -ECANCELED : check_ranges(io, q);
        q->state = q->result < 0 ? HS__IO_OVER : HS__IO_QUEUED;
        hs__io_push(q->result < 0 ? &io->over : &io->queued[q->cls], q);
    }
    unlock_and_wake(io);
}

void hs_io_submit(hs_io *io, hs_io_req *req)
{
    hs_io_submit_many(io, &req, 1);
}

void hs_io_promote(hs_io *io, hs_io_req *req)
{
    hs_mutex_lock(&io->lock);
    if (req->state != HS__IO_OVER && req->cls == HS_IO_SPECULATIVE) {
        if (req->state == HS__IO_QUEUED) {
            hs__io_unlink(&io->queued[HS_IO_SPECULATIVE], req);
            hs__io_push(&io->queued[HS_IO_DEMAND], req);
        }
        req->cls = HS_IO_DEMAND;
    }
    unlock_and_wake(io);
}

void hs_io_cancel(hs_io *io, hs_io_req *req)
{
    hs_mutex_lock(&io->lock);
    if (req->state == HS__IO_QUEUED)
        hs__io_drop(io, req, -ECANCELED);
    unlock_and_wake(io);
}

uint32_t hs_io_get_drive_stats(hs_io *io, hs_io_drive_stats ret[HS_IO_MAX_DRIVES])
{
    hs_mutex_lock(&io->lock);
    for (uint32_t d = 0; d < io->n_drives; d++)
        ret[d] = io->drives[d].stats;
    hs_mutex_unlock(&io->lock);
    return io->n_drives;
}

hs_io_stats hs_io_get_stats(hs_io *io)
{
    hs_mutex_lock(&io->lock);
    hs_io_stats s = io->stats;
    if (io->flying)
        s.busy_ns += hs_now_ns() - io->busy_since;
    hs_mutex_unlock(&io->lock);
    return s;
}
