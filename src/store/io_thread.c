/*
 * io_thread.c - the I/O thread: cuts requests into sub-reads, keeps the engine busy, settles what comes back.
 *
 * Owns the engine, the sub-reads and the callbacks. Invariants:
 *   1. flying <= max_flying on every drive, unless a single sub-read is all that is under way there, or one that has
 *      failed on another drive.
 *   2. A speculative sub-read is issued only while no demand request has anything left to cut and less than a quarter
 *      of max_flying is under way on its drive, so it never competes with demand reads that fill the drive, and one
 * that comes finds a short queue. Measured (bench_priority): amid endless guesses a 4 MiB demand read takes 1.3 times
 * as long as alone; it was 3.5 times when guesses could fill half of max_flying whatever demand was doing.
 *   3. on_done is called once, after the last sub-read of the request has ended, without the lock.
 *   4. A sub-read that ends early is continued where it stopped; it has failed when the file ends before `want` bytes.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/io_int.h"

#define MAX_TRIES 64             /* repetitions of one sub-read without a byte of progress */
#define WARN_NS   60000000000ull /* between warnings about one drive */

/* Length of the next sub-read of a range: what is left of it in equal pieces of at most read_size. */
static uint64_t next_len(const hs_io *io, const hs_io_req *req, uint32_t range)
{
    uint64_t left = req->ranges[range].len - req->cut[range], pieces = (left + io->read_size - 1) / io->read_size;
    return hs_align_up((left + pieces - 1) / pieces, HS__IO_ALIGN);
}

/* A range of req that a drive has room for, and from where it is read next: ranges on several drives are read at the
 * same time, however long the first one is. False: they must wait. */
static bool next_range(const hs_io *io, const hs_io_req *req, uint64_t now, uint32_t *ret_range, uint32_t *ret_fd)
{
    for (uint32_t g = req->cur_range; g < req->n_ranges; g++) {
        if (req->cut[g] == req->ranges[g].len)
            continue;
        int fd = hs__io_choose(io, req, req->ranges[g].file, next_len(io, req, g), 0, now);
        if (fd >= 0) {
            *ret_range = g;
            *ret_fd = (uint32_t)fd;
            return true;
        }
        if (io->n_drives == 1)
            return false; /* the next one finds the same */
    }
    return false;
}

/* The request whose turn it is, which of its ranges, and where to read its next sub-read. Of those that ask for a drive
 * in vain the first does not keep others from their own drives. *ret_blocked: there is one, but a read must end first.
 */
static hs_io_req *next_request(const hs_io *io, uint64_t now, uint32_t *ret_range, uint32_t *ret_fd, bool *ret_blocked)
{
    *ret_blocked = false;
    for (int cls = HS_IO_DEMAND; cls <= HS_IO_SPECULATIVE && !*ret_blocked; cls++) {
        *ret_blocked = io->queued[cls].head && (!io->unused || !hs__io_has_room(io));
        if (*ret_blocked)
            return NULL;
        for (hs_io_req *req = io->queued[cls].head; req; req = req->next) {
            if (next_range(io, req, now, ret_range, ret_fd))
                return req;
            *ret_blocked = true;
            if (io->n_drives == 1)
                return NULL;
        }
    }
    return NULL;
}

/* Where a sub-read is read from, and what of it the file there holds. */
static void aim(const hs_io *io, hs_io_read *rd, uint32_t fd)
{
    uint64_t size = io->file_bytes[fd], left = size > rd->start ? size - rd->start : 0;
    rd->file = fd;
    rd->offset = rd->start;
    rd->len = rd->full;
    rd->dst = (uint8_t *)rd->req->dst + rd->req->ranges[rd->range].dst_offset + rd->range_off;
    rd->want = (uint32_t)(left < rd->full ? left : rd->full);
    rd->got = rd->tries = 0;
}

static hs_io_read *cut(hs_io *io, hs_io_req *req, uint32_t range, uint32_t fd, uint64_t now)
{
    uint64_t len = next_len(io, req, range);
    hs_io_read *rd = io->unused;
    io->unused = rd->next;
    *rd = (hs_io_read){.req = req,
                       .start = req->ranges[range].offset + req->cut[range],
                       .range_off = req->cut[range],
                       .range = range,
                       .full = (uint32_t)len};
    aim(io, rd, fd);
    req->cut[range] += len;
    req->in_flight++;
    hs__io_depart(io, fd, len, now);
    if (!io->flying)
        io->busy_since = now;
    io->flying += len;
    while (req->cur_range < req->n_ranges && req->cut[req->cur_range] == req->ranges[req->cur_range].len)
        req->cur_range++;
    if (req->cur_range == req->n_ranges) {
        hs__io_unlink(&io->queued[req->cls], req);
        req->state = HS__IO_FLYING;
    }
    return rd;
}

/* Cuts as much as may be under way; the list is the engine's next work. Decides whether a new request must wake us:
 * only if it could be issued. */
static hs_io_read *cut_all(hs_io *io)
{
    hs_io_read *first = NULL, **at = &first;
    bool blocked;
    uint32_t range = 0, fd = 0;
    hs_mutex_lock(&io->lock);
    uint64_t now = hs_now_ns();
    for (hs_io_req *req; (req = next_request(io, now, &range, &fd, &blocked));) {
        *at = cut(io, req, range, fd, now);
        at = &(*at)->next;
    }
    *at = NULL;
    io->asleep = !blocked || (io->unused && hs__io_has_room(io));
    hs_mutex_unlock(&io->lock);
    return first;
}

/* Calls on_done of requests that end without a read; false if there was none. */
static bool deliver_over(hs_io *io)
{
    bool any = false;
    for (;;) {
        hs_mutex_lock(&io->lock);
        hs_io_req *req = io->over.head;
        if (req) {
            hs__io_unlink(&io->over, req);
            io->stats.errors += req->result != -ECANCELED;
            io->stats.speculative_bytes += req->cls == HS_IO_SPECULATIVE ? req->arrived : 0;
        }
        hs_mutex_unlock(&io->lock);
        if (!req)
            return any;
        any = true;
        req->on_done(req, req->result);
    }
}

/* A filesystem that opens with O_DIRECT but refuses to read so: the file goes on through the page cache. */
static void give_up_direct(hs_io *io, uint32_t file)
{
    int fd = io->engine_config.fds[file], flags = fcntl(fd, F_GETFL);
    if (flags < 0 || !(flags & O_DIRECT) || fcntl(fd, F_SETFL, flags & ~O_DIRECT) < 0)
        return;
    atomic_store(&io->direct, false);
    hs_debug("direct reading of file %u is refused; it goes through the page cache", file);
}

/* In the log, with the file's name, since nobody else hears of it. */
static void tell(const hs_io *io, uint32_t file, uint64_t offset, int result)
{
    char path[300];
    hs_file_name(io->engine_config.fds[file], path, sizeof path);
    hs_warn("%s, byte %llu: %s; the other copy is read", path, (unsigned long long)offset, hs_strerror(result));
}

/* The same, of a drive of a stripe. */
static void tell_behind(const hs_io *io, const hs__io_drive *d)
{
    char path[300];
    hs_file_name(io->engine_config.fds[d->stats.fd], path, sizeof path);
    hs_warn(
        "%s: the model's other drives wait for this one, which is busy more than twice as long as they are, at %.0f "
        "MB/s; 'hotset bench --disk' measures drives, 'hotset pack --stripe' cuts by what they read",
        path, d->lately * 1e-6);
}

/* 1 = ended well, 0 = handed back to the engine, negative errno = failed. */
static int carry_on(hs_io *io, hs_io_read *rd)
{
    int32_t n = rd->result;
    if (n >= 0) {
        uint32_t before = rd->got;
        rd->got += (uint32_t)n;
        if (rd->got >= rd->want)
            return 1;
        if (n == 0)
            return -ENODATA;
        rd->got &= ~(HS__IO_ALIGN - 1); /* O_DIRECT goes on only from a block's start */
        rd->tries = rd->got > before ? 0 : rd->tries + 1;
    } else if (n == -EINTR || n == -EAGAIN) {
        rd->tries++;
    } else if (n == -EINVAL && !rd->tries) {
        give_up_direct(io, rd->file); /* an earlier sub-read may have done so already: once more in any case */
        rd->tries++;
    } else {
        return n;
    }
    if (rd->tries > MAX_TRIES)
        return n < 0 ? n : -EIO;
    rd->offset = rd->start + rd->got;
    rd->dst = (uint8_t *)rd->req->dst + rd->req->ranges[rd->range].dst_offset + rd->range_off + rd->got;
    rd->len = rd->full - rd->got;
    io->ops->submit(io->engine, rd);
    return 0;
}

/* A failed sub-read goes to another copy; false: there is none. What has failed is told, but not once for every read of
 * a dead drive. */
static bool read_elsewhere(hs_io *io, hs_io_read *rd, int result)
{
    uint32_t was = rd->file;
    hs_io_req *req = rd->req;
    hs_mutex_lock(&io->lock);
    uint64_t now = hs_now_ns();
    rd->failed |= 1u << (was / io->n_files);
    bool wanted = !req->result; /* else it has failed, or been given up, already */
    int fd = wanted ? hs__io_choose(io, req, was % io->n_files, rd->full, rd->failed, now) : -1;
    bool warn = false;
    if (fd >= 0) {
        hs__io_drive *d = &io->drives[io->drive_of[was]];
        warn = !d->warned_ns || now - d->warned_ns > WARN_NS;
        d->warned_ns = warn ? now : d->warned_ns;
        hs__io_arrive(io, was, rd->full, false, now);
        hs__io_depart(io, (uint32_t)fd, rd->full, now);
        io->stats.errors++;
        aim(io, rd, (uint32_t)fd);
    }
    hs_mutex_unlock(&io->lock);
    if (fd < 0)
        return false;
    if (warn)
        tell(io, was, rd->start, result);
    io->ops->submit(io->engine, rd);
    return true;
}

/* Accounts for an ended sub-read; true if it was the request's last. */
static bool account(hs_io *io, hs_io_read *rd, int result)
{
    hs_io_req *req = rd->req;
    hs_mutex_lock(&io->lock);
    uint64_t now = hs_now_ns();
    io->asleep = false;
    hs__io_arrive(io, rd->file, rd->full, result > 0, now);
    io->flying -= rd->full;
    if (!io->flying)
        io->stats.busy_ns += now - io->busy_since;
    req->in_flight--;
    if (result > 0) {
        io->stats.bytes += rd->full;
        io->stats.reads++;
        io->stats.mirror_reads += rd->failed || (req->only > 1);
        req->arrived += rd->full;
        req->used |= 1u << (rd->file / io->n_files);
    } else if (req->state == HS__IO_QUEUED) {
        hs__io_unlink(&io->queued[req->cls], req);
        req->state = HS__IO_FLYING;
    }
    if (result < 0 && (!req->result || req->result == -ECANCELED)) {
        req->result = result;
        req->bad_range = rd->range;
    }
    bool last = !req->in_flight && req->state == HS__IO_FLYING;
    if (last) {
        req->state = HS__IO_OVER;
        io->stats.errors += req->result < 0 && req->result != -ECANCELED;
        io->stats.speculative_bytes += req->cls == HS_IO_SPECULATIVE ? req->arrived : 0;
    }
    int behind = hs__io_compare(io);
    hs_mutex_unlock(&io->lock);
    if (behind >= 0)
        tell_behind(io, &io->drives[behind]);
    return last;
}

static void settle(hs_io *io, hs_io_read *rd)
{
    int r = carry_on(io, rd);
    if (r == 0 || (r < 0 && io->n_copies > 1 && read_elsewhere(io, rd, r)))
        return;
    hs_io_req *req = rd->req;
    if (r > 0 && req->on_progress)
        req->on_progress(req, rd->range, rd->range_off, rd->full);
    bool last = account(io, rd, r);
    rd->next = io->unused;
    io->unused = rd;
    if (last)
        req->on_done(req, req->result);
}

/* Creates the engine on this thread, which is to be the ring's only user. */
static int start(hs_io *io)
{
    if (io->ops)
        return io->ops->create(io->ops_ctx, &io->engine_config, &io->engine, io->start_err);
    if (io->kind != HS_IO_PREAD) {
        hs_err why = {0};
        io->ops = &hs_io_uring_ops;
        int r = io->ops->create(NULL, &io->engine_config, &io->engine, &why);
        if (r < 0 && io->kind == HS_IO_URING)
            return hs_err_set(io->start_err, r, "%s", why.text);
        if (r == 0)
            return 0;
        hs_debug("%s; a pool of reading threads takes its place", why.text);
    }
    io->ops = &hs_io_pread_ops;
    return io->ops->create(NULL, &io->engine_config, &io->engine, io->start_err);
}

static bool finished(hs_io *io)
{
    hs_mutex_lock(&io->lock);
    bool yes = io->stop && !io->flying && !io->over.head && !io->queued[0].head && !io->queued[1].head;
    if (yes)
        io->asleep = false; /* nobody wakes an engine that is about to go */
    hs_mutex_unlock(&io->lock);
    return yes;
}

void *hs__io_main(void *arg)
{
    hs_io *io = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "hs-io");
    hs__io_thread_goes_first();
    int r = start(io);
    hs_mutex_lock(&io->lock);
    io->start_result = r;
    io->start_err = NULL;
    pthread_cond_signal(&io->changed);
    hs_mutex_unlock(&io->lock);
    if (r < 0)
        return NULL;
    while (!finished(io)) {
        for (hs_io_read *rd = cut_all(io), *next; rd; rd = next) {
            next = rd->next;
            io->ops->submit(io->engine, rd);
        }
        if (deliver_over(io))
            continue;
        uint32_t n = io->ops->wait(io->engine, io->done, io->engine_config.depth);
        for (uint32_t i = 0; i < n; i++)
            settle(io, io->done[i]);
    }
    io->ops->destroy(io->engine);
    hs_mutex_lock(&io->lock);
    io->ended = true;
    pthread_cond_signal(&io->changed);
    hs_mutex_unlock(&io->lock);
    return NULL;
}
