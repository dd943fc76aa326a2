/* io_int.h - the inside of hs_io, shared by its public face (io.c) and its thread (io_thread.c). */
#ifndef HS_STORE_IO_INT_H
#define HS_STORE_IO_INT_H

#include <pthread.h>

#include "base/lock.h"
#include <stdatomic.h>

#include "store/io_engine.h"

#define HS__IO_ALIGN 4096u

/* hs_io_req.state */
enum { HS__IO_QUEUED = 1, HS__IO_FLYING, HS__IO_OVER };

typedef struct hs__io_queue {
    hs_io_req *head, *tail;
} hs__io_queue;

/* A drive, as far as its reads tell. Under the lock. */
typedef struct hs__io_drive {
    uint64_t flying;     /* bytes under way */
    uint64_t looked_ns;  /* until when busy time has been counted */
    uint64_t heard_ns;   /* when it last brought something, or began to be asked */
    uint64_t shun_until; /* it has failed: not asked before that, if there is another copy */
    uint64_t warned_ns;
    double bytes, ns;        /* completed lately, and the time that it took: its speed */
    hs_io_drive_stats stats; /* since the start */
    hs_io_drive_stats then;  /* when drives were compared last */
    double lately;           /* bytes/s while it was busy, in the time before that */
} hs__io_drive;

struct hs_io {
    /* Constant after create. */
    hs_io_engine_config engine_config;
    hs_io_engine_kind kind;
    const hs_io_engine_ops *ops;
    void *ops_ctx;
    void *engine;
    uint32_t n_copies, n_files; /* n_copies * n_files == n_fds */
    uint64_t *file_bytes;       /* [n_fds], when the I/O was created */
    uint8_t *drive_of;          /* [n_fds] */
    uint32_t n_drives;
    uint32_t read_size;
    uint64_t max_flying;      /* bytes under way at most, of a drive */
    uint64_t max_speculative; /* bytes under way from which on nothing speculative is issued, of a drive */
    uint64_t patience_ns;
    pthread_t thread;
    _Atomic bool direct;

    /* The I/O thread's. */
    hs_io_read *reads;        /* [depth] */
    hs_io_read *unused;       /* of reads */
    hs_io_read **done;        /* [depth]: what wait handed out */
    struct hs_err *start_err; /* of hs_io_create, while it waits */

    /* Under lock: a leaf lock, never held around a system call or a callback. */
    hs_mutex lock;
    pthread_cond_t changed; /* start_result or ended */
    int start_result;       /* 1 = not yet */
    bool ended, joined;     /* the thread has nothing left to do; has been joined */
    hs__io_queue queued[2]; /* by class: requests that have something left to cut */
    hs__io_queue over;      /* requests whose on_done is due without another read ending */
    hs__io_drive drives[HS_IO_MAX_DRIVES];
    uint64_t flying;     /* bytes under way on all of them */
    uint64_t busy_since; /* ns; valid while flying > 0 */
    hs_io_stats stats;
    bool asleep; /* the I/O thread waits, and a new request should wake it */
    bool stop;
};

static inline void hs__io_push(hs__io_queue *q, hs_io_req *req)
{
    req->next = NULL;
    req->prev = q->tail;
    if (q->tail)
        q->tail->next = req;
    else
        q->head = req;
    q->tail = req;
}

static inline void hs__io_unlink(hs__io_queue *q, hs_io_req *req)
{
    if (req->prev)
        req->prev->next = req->next;
    else
        q->head = req->next;
    if (req->next)
        req->next->prev = req->prev;
    else
        q->tail = req->prev;
}

/* A queued request is given up with `result`: what is under way lands, the rest is dropped. Lock held. */
void hs__io_drop(hs_io *io, hs_io_req *req, int result);
/* ---- io_drive.c: which copy a sub-read is read from; lock held ---- */
void hs__io_drives_init(hs_io *io);
/* The copy, as an index into fds, from which len bytes of `file` for a request will be there first; `failed`: bits of
 * the copies that cannot. -1: there is none; -2: its drive has no room now. */
int hs__io_choose(const hs_io *io, const hs_io_req *req, uint32_t file, uint64_t len, uint32_t failed, uint64_t now);
/* Has any drive room for another sub-read? */
bool hs__io_has_room(const hs_io *io);
void hs__io_depart(hs_io *io, uint32_t fd, uint64_t len, uint64_t now);
/* Every few seconds of reading from a striped model: which drive is behind. The one that has become so, -1: none. */
#define HS__IO_COMPARE_NS 5000000000ull
int hs__io_compare(hs_io *io);
/* The sub-read is over; well: it has brought its bytes. */
void hs__io_arrive(hs_io *io, uint32_t fd, uint64_t len, bool well, uint64_t now);

/* The calling thread is given a core before compute threads are, as far as the system allows. Threads that it starts
 * inherit it. */
void hs__io_thread_goes_first(void);
/* The thread's main function; arg is the hs_io. */
void *hs__io_main(void *arg);

#endif
