/*
 * io.h - reading: one I/O thread, two priorities, several sub-reads in flight, one engine behind a vtable.
 *
 * Requests are the caller's memory (intrusive, nothing is allocated per read) and belong to the I/O thread from submit
 * until on_done. Ranges are cut into equal sub-reads of at most read_size; demand sub-reads are always issued before
 * speculative ones; at most in_flight bytes are under way on a drive, and nothing speculative is added to more than a
 * quarter of that, so that a demand read never finds the drive's queue full of guesses.
 *
 * Files may have copies, and lie on several drives, which st_dev tells apart. Each sub-read goes to the copy whose
 * drive will be done with it first: by the bytes that wait there, the speed that it has shown, and how long it has been
 * silent. One that fails is repeated on another copy, and its drive is left alone for a second. Engines: io_uring
 * (single issuer, deferred task run, registered files and buffers where allowed) and a pool of pread threads; `auto`
 * takes io_uring if the kernel lets us, else pread.
 */
#ifndef HS_STORE_IO_H
#define HS_STORE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "store/objects.h"

#define HS_IO_MAX_COPIES 4u
#define HS_IO_MAX_DRIVES 16u /* more of them share a queue */

typedef struct hs_io hs_io;
typedef struct hs_io_req hs_io_req;

typedef enum hs_io_class { HS_IO_DEMAND, HS_IO_SPECULATIVE } hs_io_class;
typedef enum hs_io_engine_kind { HS_IO_AUTO, HS_IO_URING, HS_IO_PREAD } hs_io_engine_kind;

struct hs_io_req {
    /* Set by the caller before submit. */
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    uint32_t n_ranges;
    hs_io_class cls;
    void *dst; /* base: range i goes to dst + ranges[i].dst_offset; 4096-aligned. len bytes of each range may be written
                */
    void *user;
    /* I/O thread: bytes [off, off+len) of range r have arrived. Must be quick. May be NULL. */
    void (*on_progress)(hs_io_req *req, uint32_t r, uint64_t off, uint64_t len);
    /* I/O thread: all of it has arrived (0), or failed (negative errno; -ECANCELED after hs_io_cancel; -ENODATA: the
     * file is shorter than it was; -EINVAL: a range is misaligned or names no file). The request is the caller's again
     * and may be submitted anew, from here too. */
    void (*on_done)(hs_io_req *req, int result);
    uint32_t only; /* 0: whatever copy is best; n: copy n - 1 and no other */
    /* For the caller, once it is done. */
    uint32_t used;      /* bit c: some of its bytes come from copy c */
    uint32_t bad_range; /* of a result that is an error and not -ECANCELED: which range could not be read */
    /* Private to store; set by submit. */
    hs_io_req *next, *prev;
    uint32_t cur_range, in_flight;      /* the first range that is not all cut; sub-reads under way */
    uint64_t cut[HS_OBJECT_MAX_RANGES]; /* bytes of each range that are cut already */
    uint64_t arrived;                   /* bytes of the request that have arrived */
    int result;
    uint8_t state;
};

struct hs_io_engine_ops; /* store/io_engine.h; tests bring throttling and failing engines */

typedef struct hs_io_config {
    hs_io_engine_kind engine;
    const struct hs_io_engine_ops *custom; /* overrides engine when not NULL */
    void *custom_ctx;
    uint32_t read_size; /* bytes of a sub-read, multiple of 4096; 0 = default 1 MiB */
    uint64_t in_flight; /* bytes under way at most, of each drive; 0 = default 16 MiB */
    bool buffered;      /* do not use O_DIRECT even where possible (reads go through the page cache) */
    /* [n_copies][n_fds / n_copies]: a range's file, and behind them all files once more for each further copy of the
     * same bytes. Borrowed; must stay open; O_DIRECT is switched on or off on them as `buffered` says. */
    const int *fds;
    uint32_t n_fds;
    uint32_t n_copies;      /* 0 = 1; at most HS_IO_MAX_COPIES */
    const uint32_t *drives; /* [n_fds] which drive (below HS_IO_MAX_DRIVES) each is on; NULL: as st_dev tells */
    /* Memory that reads land in; may be NULL. It may be pinned: it must stay mapped, and none of it may be given back
     * with madvise, for as long as the hs_io lives. */
    const struct iovec *buffers;
    uint32_t n_buffers;
    uint64_t patience_ns; /* see hs_io_patience_ns; 0 = default 30 s */
} hs_io_config;

typedef struct hs_io_stats {
    uint64_t bytes;             /* completed */
    uint64_t speculative_bytes; /* of these, submitted as speculative and never promoted */
    uint64_t reads;             /* sub-reads completed */
    uint64_t busy_ns;           /* time during which at least one sub-read was in flight */
    uint64_t errors;            /* requests that failed, and sub-reads that a copy then brought */
    uint64_t mirror_reads;      /* sub-reads that another copy brought after one had failed, or was told to (only) */
} hs_io_stats;

/* What one drive has done: bytes completed, and time during which something was in flight there. */
typedef struct hs_io_drive_stats {
    uint64_t bytes, busy_ns;
    uint32_t fd;    /* index of the first file on it */
    bool is_behind; /* without copies: lately busy at least twice as long as any other that was read from: they wait */
} hs_io_drive_stats;

/* Starts the I/O thread. HS_IO_URING where the kernel denies it is an error; HS_IO_AUTO then takes pread. */
int hs_io_create(const hs_io_config *cfg, hs_io **ret_io, hs_err *err) HS_MUST_CHECK;
/* Queued requests get -ECANCELED; what is in flight is waited for until the drives that have it are silent for
 * HS_IO_STOP_NS or the patience; if they are already, not at all. 0: no request is out any more, and none may be
 * submitted. -ETIMEDOUT: the drive holds on to reads; the hs_io, its files, its
 * requests and the memory that they read into must stay until the process ends. */
#define HS_IO_STOP_NS 5000000000ull
int hs_io_stop(hs_io *io) HS_MUST_CHECK;
/* After -ETIMEDOUT, instead of destroying: the thread ends by itself once the drive has let go. Not to be used again.
 */
void hs_io_abandon(hs_io *io);
/* Waits for what is in flight, however long; queued requests get -ECANCELED. */
void hs_io_destroy(hs_io **io);
/* How long somebody who waits for reads should stand it that not a single byte arrives. */
uint64_t hs_io_patience_ns(const hs_io *io);
/* Bytes under way on a drive from which on nothing speculative is added. */
uint64_t hs_io_max_speculative(const hs_io *io);
const char *hs_io_engine_name(const hs_io *io); /* "io_uring" or "pread" (or the custom one's) */
/* Do all files bypass the page cache? False also after a filesystem has refused an O_DIRECT read. */
bool hs_io_is_direct(const hs_io *io);

/* Any thread. Never blocks on the drive. */
void hs_io_submit(hs_io *io, hs_io_req *req);
/* Several at once, waking the I/O thread once. */
void hs_io_submit_many(hs_io *io, hs_io_req **reqs, uint32_t n);
/* A speculative request has become a demand: moves its remaining sub-reads to the demand queue. No effect after
 * on_done. The caller guarantees that req has been submitted and that its memory stays valid. */
void hs_io_promote(hs_io *io, hs_io_req *req);
/* Asks to drop what has not been issued yet; on_done still comes (0 if everything had already been read). */
void hs_io_cancel(hs_io *io, hs_io_req *req);

hs_io_stats hs_io_get_stats(hs_io *io);
/* Of every drive, at most HS_IO_MAX_DRIVES; their number. */
uint32_t hs_io_get_drive_stats(hs_io *io, hs_io_drive_stats ret[HS_IO_MAX_DRIVES]);

#endif
