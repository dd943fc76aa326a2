/*
 * io_drive.c - which copy a sub-read is read from: the one whose drive will be done with it first.
 *
 * A drive's speed is what it has completed over the time in which it had something to do; both are halved now and then,
 * so that it follows. Until a drive has shown what it can do it counts as one of 1 GB/s. A drive that is silent is
 * taken to stay silent as long again. One that has failed is shunned for a second, so that a broken one, which fails
 * fast, does not draw all reads to it. Where there are no copies the drives of a stripe are compared now and then: one
 * that takes far longer for its share than the others holds these up. Threads: under the hs_io's lock.
 */
#include "base/clock.h"
#include "store/io_int.h"

#define PRIOR_BYTES  (2.0 * (1 << 20))
#define PRIOR_NS     PRIOR_BYTES /* 1 GB/s */
#define MEMORY_BYTES (256.0 * (1 << 20))
#define SHUN_NS      1000000000ull

void hs__io_drives_init(hs_io *io)
{
    for (uint32_t d = 0; d < io->n_drives; d++)
        io->drives[d] = (hs__io_drive){.bytes = PRIOR_BYTES, .ns = PRIOR_NS};
}

/* When the drive would be done with len more bytes, from now. */
static double time_for(const hs__io_drive *d, uint64_t len, uint64_t now)
{
    double ns = (double)(d->flying + len) * d->ns / d->bytes;
    double silent = d->flying && now > d->heard_ns ? (double)(now - d->heard_ns) : 0;
    return ns > silent ? ns : silent;
}

int hs__io_choose(const hs_io *io, const hs_io_req *req, uint32_t file, uint64_t len, uint32_t failed, uint64_t now)
{
    int best = -1;
    double best_ns = 0;
    bool best_shunned = true;
    for (uint32_t c = 0; c < io->n_copies; c++) {
        uint32_t fd = c * io->n_files + file;
        const hs__io_drive *d = &io->drives[io->drive_of[fd]];
        if (failed >> c & 1 || (req->only && c != req->only - 1))
            continue;
        bool shunned = d->shun_until > now;
        double ns = io->n_copies > 1 ? time_for(d, len, now) : 0;
        if (best < 0 || (shunned == best_shunned ? ns < best_ns : best_shunned)) {
            best = (int)fd;
            best_ns = ns;
            best_shunned = shunned;
        }
    }
    if (best < 0 || failed)
        return best; /* one that is repeated has its place already */
    const hs__io_drive *d = &io->drives[io->drive_of[best]];
    bool full = req->cls == HS_IO_SPECULATIVE ? d->flying >= io->max_speculative : false;
    return full || (d->flying && d->flying + len > io->max_flying) ? -2 : best;
}

bool hs__io_has_room(const hs_io *io)
{
    for (uint32_t d = 0; d < io->n_drives; d++)
        if (!io->drives[d].flying || io->drives[d].flying + io->read_size <= io->max_flying)
            return true;
    return false;
}

/* Counts busy time up to now. */
static void look(hs__io_drive *d, uint64_t now)
{
    if (d->flying && now > d->looked_ns) {
        d->ns += (double)(now - d->looked_ns);
        d->stats.busy_ns += now - d->looked_ns;
    }
    d->looked_ns = now;
}

void hs__io_depart(hs_io *io, uint32_t fd, uint64_t len, uint64_t now)
{
    hs__io_drive *d = &io->drives[io->drive_of[fd]];
    look(d, now);
    if (!d->flying)
        d->heard_ns = now;
    d->flying += len;
}

void hs__io_arrive(hs_io *io, uint32_t fd, uint64_t len, bool well, uint64_t now)
{
    hs__io_drive *d = &io->drives[io->drive_of[fd]];
    look(d, now);
    d->flying -= len;
    d->heard_ns = now;
    if (!well) {
        d->shun_until = now + SHUN_NS;
        return;
    }
    d->stats.bytes += len;
    d->bytes += (double)len;
    if (d->bytes > MEMORY_BYTES) {
        d->bytes /= 2;
        d->ns /= 2;
    }
}

static uint64_t busy_since(const hs__io_drive *d)
{
    return d->stats.busy_ns - d->then.busy_ns;
}

int hs__io_compare(hs_io *io)
{
    hs__io_drive *most = &io->drives[0];
    uint64_t next = 0;
    if (io->n_drives == 1 || io->n_copies > 1) /* mirrors are read as fast as they are */
        return -1;
    for (uint32_t d = 1; d < io->n_drives; d++)
        most = busy_since(&io->drives[d]) > busy_since(most) ? &io->drives[d] : most;
    if (busy_since(most) < HS__IO_COMPARE_NS)
        return -1;
    for (hs__io_drive *d = io->drives; d < io->drives + io->n_drives; d++)
        if (d != most && busy_since(d) > next)
            next = busy_since(d);
    bool was = most->stats.is_behind, is = next && busy_since(most) / 2 >= next;
    for (hs__io_drive *d = io->drives; d < io->drives + io->n_drives; d++) {
        d->stats.is_behind = is && d == most;
        d->lately = busy_since(d) ? (double)(d->stats.bytes - d->then.bytes) * 1e9 / (double)busy_since(d) : 0;
        d->then = d->stats;
    }
    return is && !was ? (int)(most - io->drives) : -1;
}
