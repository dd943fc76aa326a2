/*
 * io_uring.c - sub-reads through io_uring. The I/O thread owns the ring; only wake, a write to an eventfd that the ring
 * itself reads, comes from other threads.
 *
 * Every advantage is optional: SINGLE_ISSUER|DEFER_TASKRUN (kernel 6.1) falls back to COOP_TASKRUN (5.19), then to no
 * flag; registered files and buffers are used if the kernel and memlock allow them, else each read names its own.
 * Invariant: the submission queue has room for depth reads and the eventfd's read, so taking an entry cannot fail.
 */
#include <assert.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/io_engine.h"

#define MAX_BUFFER     (1ull << 30) /* the kernel's limit for one registered buffer */
#define MAX_REGISTERED (2ull << 30)
#define MAX_BUFFERS    1024u

typedef struct uring {
    struct io_uring ring;
    const hs_io_engine_config *cfg;
    struct iovec *buffers; /* registered, by address; NULL if none are */
    uint32_t n_buffers;
    int wake_fd;
    uint64_t wake_count; /* where the ring reads the eventfd to */
    bool has_ring, fixed_files, wake_armed;
} uring;

static int open_ring(uring *u, hs_err *err)
{
    static const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN,
                                     0};
    int r = -EINVAL;
    for (size_t i = 0; r == -EINVAL && i < sizeof flags / sizeof *flags; i++)
        r = io_uring_queue_init(u->cfg->depth + 1, &u->ring, flags[i]);
    if (r < 0)
        return hs_err_set(err, r,
                          "io_uring is refused here (%s): containers and kernel.io_uring_disabled do so; "
                          "io.engine=pread reads without it",
                          hs_strerror(r));
    u->has_ring = true;
    struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
    bool reads = probe && io_uring_opcode_supported(probe, IORING_OP_READ);
    io_uring_free_probe(probe);
    return reads ? 0 : hs_err_set(err, -ENOTSUP, "this kernel's io_uring cannot read; io.engine=pread does without it");
}

static int by_address(const void *a, const void *b)
{
    const struct iovec *x = a, *y = b;
    return (x->iov_base > y->iov_base) - (x->iov_base < y->iov_base);
}

/*
 * Registers the buffers in pieces that the kernel takes. Being refused (memlock) only costs speed: some 2 us of
 * processor time per MiB. It touches and pins every page at once, so a buffer that does not fit MAX_REGISTERED, such as
 * a big arena, is left out rather than let the start wait for it; staging buffers, where packed experts land, are
 * small.
 */
static void register_buffers(uring *u)
{
    uint64_t left = MAX_REGISTERED;
    uint32_t n = 0;
    struct iovec *v = u->cfg->n_buffers ? hs_calloc(MAX_BUFFERS, sizeof *v) : NULL;
    for (uint32_t i = 0; v && i < u->cfg->n_buffers; i++) {
        const struct iovec *b = &u->cfg->buffers[i];
        uint64_t pieces = (b->iov_len + MAX_BUFFER - 1) / MAX_BUFFER;
        if (b->iov_len > left || pieces > MAX_BUFFERS - n)
            continue;
        left -= b->iov_len;
        for (uint64_t at = 0; at < b->iov_len; at += MAX_BUFFER)
            v[n++] = (struct iovec){(uint8_t *)b->iov_base + at,
                                    b->iov_len - at < MAX_BUFFER ? b->iov_len - at : MAX_BUFFER};
    }
    int r = -ENOMEM;
    if (n) {
        qsort(v, n, sizeof *v, by_address);
        r = io_uring_register_buffers(&u->ring, v, n);
        if (r < 0)
            hs_debug("io_uring: buffers are not registered: %s", hs_strerror(r));
    }
    if (r < 0) {
        hs_free(v);
        return;
    }
    u->buffers = v;
    u->n_buffers = n;
}

static void uring_destroy(void *engine);

static int uring_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    (void)ctx;
    uring *u = hs_calloc(1, sizeof *u);
    if (!u)
        return hs_err_set(err, -ENOMEM, "io_uring: out of memory");
    u->cfg = cfg;
    u->wake_fd = eventfd(0, EFD_CLOEXEC);
    int r =
        u->wake_fd < 0 ? hs_err_set(err, -errno, "io_uring: no eventfd: %s", hs_strerror(errno)) : open_ring(u, err);
    if (r < 0) {
        uring_destroy(u);
        return r;
    }
    u->fixed_files = cfg->n_fds && io_uring_register_files(&u->ring, cfg->fds, cfg->n_fds) == 0;
    register_buffers(u);
    *ret_engine = u;
    return 0;
}

/* The registered buffer that holds [p, p+len), or -1. */
static int find_buffer(const uring *u, const void *p, uint32_t len)
{
    const uint8_t *at = p;
    uint32_t lo = 0, hi = u->n_buffers;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const uint8_t *base = u->buffers[mid].iov_base;
        if (at < base)
            hi = mid;
        else if (at >= base + u->buffers[mid].iov_len)
            lo = mid + 1;
        else
            return (size_t)(base + u->buffers[mid].iov_len - at) >= len ? (int)mid : -1;
    }
    return -1;
}

static struct io_uring_sqe *next_entry(uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    assert(sqe);
    return sqe;
}

static void uring_submit(void *engine, hs_io_read *rd)
{
    uring *u = engine;
    struct io_uring_sqe *sqe = next_entry(u);
    int fd = u->fixed_files ? (int)rd->file : u->cfg->fds[rd->file];
    int buffer = find_buffer(u, rd->dst, rd->len);
    if (buffer >= 0)
        io_uring_prep_read_fixed(sqe, fd, rd->dst, rd->len, rd->offset, buffer);
    else
        io_uring_prep_read(sqe, fd, rd->dst, rd->len, rd->offset);
    if (u->fixed_files)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data(sqe, rd);
}

static void arm_wake(uring *u)
{
    struct io_uring_sqe *sqe = next_entry(u);
    io_uring_prep_read(sqe, u->wake_fd, &u->wake_count, sizeof u->wake_count, 0);
    io_uring_sqe_set_data(sqe, NULL);
    u->wake_armed = true;
}

static uint32_t uring_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    uring *u = engine;
    if (!u->wake_armed)
        arm_wake(u);
    for (;;) {
        int r = io_uring_submit_and_wait(&u->ring, 1);
        struct io_uring_cqe *cqe;
        uint32_t n = 0, seen = 0;
        while (n < max && io_uring_peek_cqe(&u->ring, &cqe) == 0) {
            hs_io_read *rd = io_uring_cqe_get_data(cqe);
            if (rd) {
                rd->result = cqe->res;
                ret_done[n++] = rd;
            } else {
                u->wake_armed = false;
            }
            io_uring_cqe_seen(&u->ring, cqe);
            seen++;
        }
        if (seen)
            return n;
        if (r < 0 && r != -EINTR)
            sched_yield(); /* the kernel is short of memory for a moment: what is under way will end */
    }
}

static void uring_wake(void *engine)
{
    uring *u = engine;
    uint64_t one = 1;
    while (write(u->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void uring_destroy(void *engine)
{
    uring *u = engine;
    if (u->has_ring && u->wake_armed) {
        hs_io_read *none;
        uring_wake(u); /* the ring must not read into wake_count after it is gone */
        while (u->wake_armed)
            uring_wait(u, &none, 1);
    }
    if (u->has_ring)
        io_uring_queue_exit(&u->ring);
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    hs_free(u->buffers);
    hs_free(u);
}

const hs_io_engine_ops hs_io_uring_ops = {
    .name = "io_uring",
    .create = uring_create,
    .destroy = uring_destroy,
    .submit = uring_submit,
    .wait = uring_wait,
    .wake = uring_wake,
};
