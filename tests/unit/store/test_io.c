/* labels: unit fault */
/* test_io.c - reading: the bytes, the order, what cancel and promote do, and what happens when a read goes wrong. */
#include "unit/store/folder.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/io.h"
#include "unit/store/engines.h"

#define SUB   (16u << 10)
#define TAIL  1234u
#define BYTES ((1u << 20) + TAIL)
#define SPACE (1u << 20) /* of one request's memory */

typedef struct ticket {
    hs_io_req req; /* first: callbacks cast */
    uint8_t *mem;
    uint64_t progress;
    int result;
    bool done;
    uint32_t order; /* of on_done */
} ticket;

static char path[FOLDER_PATH];
static uint8_t *content;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint32_t n_done;

static uint32_t random_u32(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static int setup(void **state)
{
    (void)state;
    uint32_t seed = 7;
    folder_create(path);
    content = malloc(BYTES);
    for (uint32_t i = 0; i < BYTES; i++)
        content[i] = (uint8_t)random_u32(&seed);
    folder_write(path, "file", content, BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(content);
    folder_destroy(path);
    return 0;
}

static void on_progress(hs_io_req *req, uint32_t r, uint64_t off, uint64_t len)
{
    ticket *t = (ticket *)req;
    assert_true(r < req->n_ranges && off + len <= req->ranges[r].len);
    t->progress += len;
}

static void on_done(hs_io_req *req, int result)
{
    ticket *t = (ticket *)req;
    pthread_mutex_lock(&lock);
    assert_false(t->done);
    t->result = result;
    t->done = true;
    t->order = n_done++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static ticket *ticket_create(hs_io_class cls, uint64_t offset, uint64_t len)
{
    ticket *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->mem = hs_map_alloc(SPACE);
    assert_non_null(t->mem);
    t->req = (hs_io_req){.ranges = {{0, offset, len, 0}},
                         .n_ranges = 1,
                         .cls = cls,
                         .dst = t->mem,
                         .on_progress = on_progress,
                         .on_done = on_done};
    return t;
}

static void ticket_destroy(ticket *t)
{
    hs_map_free(t->mem, SPACE);
    free(t);
}

static int ticket_wait(ticket *t)
{
    pthread_mutex_lock(&lock);
    while (!t->done)
        pthread_cond_wait(&changed, &lock);
    int r = t->result;
    pthread_mutex_unlock(&lock);
    return r;
}

/* Compares what has arrived with the file, up to its end. */
static void ticket_check(const ticket *t)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->req.n_ranges; i++) {
        const hs_range *r = &t->req.ranges[i];
        uint64_t n = BYTES - r->offset < r->len ? BYTES - r->offset : r->len;
        assert_memory_equal(t->mem + r->dst_offset, content + r->offset, n);
        bytes += r->len;
    }
    assert_int_equal(t->progress, bytes);
}

static hs_io *io_create(const hs_io_config *cfg)
{
    hs_io *io = NULL;
    hs_err err = {0};
    n_done = 0;
    if (hs_io_create(cfg, &io, &err) < 0)
        fail_msg("%s", err.text);
    return io;
}

static bool has_uring(int fd)
{
    hs_io *io;
    hs_io_config cfg = {.engine = HS_IO_URING, .fds = &fd, .n_fds = 1};
    if (hs_io_create(&cfg, &io, NULL) < 0)
        return false;
    hs_io_destroy(&io);
    return true;
}

/* ---- the bytes ---- */

static void aim(ticket *t, uint32_t *seed)
{
    uint64_t at = 0;
    t->req.n_ranges = 1 + random_u32(seed) % 3;
    for (uint32_t i = 0; i < t->req.n_ranges; i++) {
        uint64_t pages = 1 + random_u32(seed) % 40, all = (BYTES + 4095) / 4096;
        t->req.ranges[i] = (hs_range){0, random_u32(seed) % (all - pages + 1) * 4096, pages * 4096, at};
        at += pages * 4096 + random_u32(seed) % 2 * 4096;
    }
    t->req.cls = random_u32(seed) % 2 ? HS_IO_DEMAND : HS_IO_SPECULATIVE;
}

static void read_at_random(hs_io_config *cfg)
{
    enum { N = 48 };
    ticket *t[N];
    hs_io_req *reqs[N];
    struct iovec iov[N];
    uint32_t seed = 3;
    uint64_t bytes = 0, speculative = 0;
    for (uint32_t i = 0; i < N; i++) {
        t[i] = ticket_create(HS_IO_DEMAND, 0, 0);
        aim(t[i], &seed);
        reqs[i] = &t[i]->req;
        iov[i] = (struct iovec){t[i]->mem, SPACE};
        for (uint32_t k = 0; k < t[i]->req.n_ranges; k++) {
            bytes += t[i]->req.ranges[k].len;
            speculative += t[i]->req.cls == HS_IO_SPECULATIVE ? t[i]->req.ranges[k].len : 0;
        }
    }
    cfg->buffers = iov;
    cfg->n_buffers = N / 2; /* the others land in memory that nobody announced */
    hs_io *io = io_create(cfg);
    for (uint32_t i = 0; i < N / 2; i++)
        hs_io_submit(io, reqs[i]);
    hs_io_submit_many(io, reqs + N / 2, N / 2);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(ticket_wait(t[i]), 0);
        ticket_check(t[i]);
    }
    hs_io_stats s = hs_io_get_stats(io);
    assert_int_equal(s.bytes, bytes);
    assert_int_equal(s.speculative_bytes, speculative);
    assert_int_equal(s.errors, 0);
    assert_true(s.busy_ns > 0);
    assert_true(s.reads >= bytes / SUB);
    hs_io_destroy(&io);
    assert_null(io);
    for (uint32_t i = 0; i < N; i++)
        ticket_destroy(t[i]);
}

static void every_engine_reads_what_was_asked(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    bool uring = has_uring(fd);
    for (int i = 0; i < 4; i++) {
        hs_io_config cfg = {.engine = i / 2 ? HS_IO_PREAD : HS_IO_URING,
                            .buffered = i % 2,
                            .read_size = SUB,
                            .in_flight = 8 * SUB,
                            .fds = &fd,
                            .n_fds = 1};
        if (cfg.engine == HS_IO_URING && !uring)
            continue;
        read_at_random(&cfg);
        assert_true(!cfg.buffered || !(fcntl(fd, F_GETFL) & O_DIRECT));
    }
    close(fd);
}

static void auto_finds_an_engine_and_names_it(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    hs_io_config cfg = {.fds = &fd, .n_fds = 1};
    hs_io *io = io_create(&cfg);
    assert_string_equal(hs_io_engine_name(io), has_uring(fd) ? "io_uring" : "pread");
    assert_true(hs_io_is_direct(io) == !!(fcntl(fd, F_GETFL) & O_DIRECT));
    hs_io_destroy(&io);
    hs_io_destroy(&io);
    cfg.buffered = true;
    cfg.engine = HS_IO_PREAD;
    io = io_create(&cfg);
    assert_string_equal(hs_io_engine_name(io), "pread");
    assert_false(hs_io_is_direct(io));
    hs_io_destroy(&io);
    close(fd);
}

static void the_file_ends_where_it_ends(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .read_size = SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_create(&cfg);
        static const struct {
            uint64_t offset, len;
            uint32_t file;
            int result;
        } cases[] = {
            {BYTES - TAIL, 4096, 0, 0},
            {BYTES - TAIL - 65536, 65536 + 4096, 0, 0},
            {BYTES - TAIL, 8192, 0, -ENODATA},
            {BYTES - TAIL + 4096, 4096, 0, -ENODATA},
            {1ull << 40, 4096, 0, -ENODATA},
            {UINT64_MAX - 4095, 4096, 0, -EINVAL},
            {512, 4096, 0, -EINVAL},
            {0, 512, 0, -EINVAL},
            {0, 0, 0, -EINVAL},
            {0, 4096, 1, -EINVAL},
            {4096, UINT64_MAX - 8191, 0, -ENODATA},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ticket *t = ticket_create(HS_IO_DEMAND, cases[i].offset, cases[i].len);
            t->req.ranges[0].file = cases[i].file;
            hs_io_submit(io, &t->req);
            assert_int_equal(ticket_wait(t), cases[i].result);
            if (!cases[i].result)
                ticket_check(t);
            ticket_destroy(t);
        }
        ticket *t = ticket_create(HS_IO_DEMAND, 0, 4096);
        t->req.n_ranges = 0;
        hs_io_submit(io, &t->req);
        assert_int_equal(ticket_wait(t), -EINVAL);
        ticket_destroy(t);
        hs_io_destroy(&io);
    }
    close(fd);
}

static void a_file_cut_meanwhile_fails_that_request_only(void **state)
{
    (void)state;
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        folder_write(path, "cut", content, BYTES);
        int fd = folder_open(path, "cut", O_RDWR);
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .read_size = SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_create(&cfg);
        assert_int_equal(ftruncate(fd, 100000), 0);
        ticket *ok = ticket_create(HS_IO_DEMAND, 0, 65536), *bad = ticket_create(HS_IO_DEMAND, 65536, 65536);
        hs_io_submit(io, &bad->req);
        hs_io_submit(io, &ok->req);
        assert_int_equal(ticket_wait(bad), -ENODATA);
        assert_int_equal(ticket_wait(ok), 0);
        ticket_check(ok);
        assert_int_equal(hs_io_get_stats(io).errors, 1);
        hs_io_destroy(&io);
        ticket_destroy(ok);
        ticket_destroy(bad);
        close(fd);
    }
}

/* ---- faults ---- */

static hs_io *faulty(fault_engine *e, int *fd, uint32_t read_size, uint32_t in_flight)
{
    *fd = folder_open(path, "file", O_RDONLY);
    hs_io_config cfg = {.custom = &fault_engine_ops,
                        .custom_ctx = e,
                        .buffered = true,
                        .read_size = read_size,
                        .in_flight = in_flight,
                        .fds = fd,
                        .n_fds = 1};
    return io_create(&cfg);
}

/* Three requests of four sub-reads each while the nth sub-read meets `kind`; returns how many requests failed. */
static int three_requests(fault_kind kind, int error, uint32_t short_bytes, uint64_t nth, uint64_t times,
                          int *ret_result)
{
    fault_engine e;
    int fd, failed = 0;
    fault_engine_init(&e);
    e.kind = kind;
    e.error = error;
    e.short_bytes = short_bytes;
    e.first = nth;
    e.times = times;
    hs_io *io = faulty(&e, &fd, SUB, 4 * SUB);
    ticket *t[3];
    for (uint32_t i = 0; i < 3; i++) {
        t[i] = ticket_create(HS_IO_DEMAND, i * 4 * SUB, 4 * SUB);
        hs_io_submit(io, &t[i]->req);
    }
    for (uint32_t i = 0; i < 3; i++) {
        int r = ticket_wait(t[i]);
        failed += r < 0;
        if (r < 0)
            *ret_result = r;
        else if (kind != FAULT_CORRUPT)
            ticket_check(t[i]);
    }
    assert_int_equal(hs_io_get_stats(io).errors, failed);
    hs_io_destroy(&io);
    close(fd);
    for (uint32_t i = 0; i < 3; i++)
        ticket_destroy(t[i]);
    fault_engine_deinit(&e);
    return failed;
}

static void the_nth_read_failing_fails_one_request(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 12; n++) {
        int r = 0;
        assert_int_equal(three_requests(FAULT_ERRNO, EIO, 0, n, 1, &r), 1);
        assert_int_equal(r, -EIO);
    }
}

static void short_late_and_interrupted_reads_are_carried_on(void **state)
{
    (void)state;
    int r = 0;
    for (uint64_t n = 1; n <= 12; n++) {
        assert_int_equal(three_requests(FAULT_SHORT, 0, 4096, n, 1, &r), 0);
        assert_int_equal(three_requests(FAULT_SHORT, 0, 5000, n, 3, &r), 0);
        assert_int_equal(three_requests(FAULT_SHORT, 0, 100, n, 5, &r), 0); /* no whole block: once more */
        assert_int_equal(three_requests(FAULT_ERRNO, EINTR, 0, n, 3, &r), 0);
        assert_int_equal(three_requests(FAULT_ERRNO, EAGAIN, 0, n, 20, &r), 0);
        assert_int_equal(three_requests(FAULT_LATE, 0, 0, n, 1, &r), 0);
        assert_int_equal(three_requests(FAULT_CORRUPT, 0, 0, n, 1, &r), 0); /* io has no checksums */
    }
}

static void what_never_gets_better_fails_in_the_end(void **state)
{
    (void)state;
    int r = 0;
    assert_int_equal(three_requests(FAULT_ERRNO, EAGAIN, 0, 1, UINT64_MAX, &r), 3);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(three_requests(FAULT_SHORT, 0, 100, 1, UINT64_MAX, &r), 3);
    assert_int_equal(r, -EIO);
    assert_int_equal(three_requests(FAULT_SHORT, 0, 0, 1, UINT64_MAX, &r), 3);
    assert_int_equal(r, -ENODATA);
    assert_int_equal(three_requests(FAULT_ERRNO, EINVAL, 0, 1, UINT64_MAX, &r), 3);
    assert_int_equal(r, -EINVAL);
}

static void a_refused_direct_read_goes_through_the_page_cache(void **state)
{
    (void)state;
    fault_engine e;
    fault_engine_init(&e);
    e.kind = FAULT_ERRNO;
    e.error = EINVAL;
    e.first = 1;
    e.times = 4; /* all four that are issued at once */
    int fd = folder_open(path, "file", O_RDONLY);
    hs_io_config cfg = {
        .custom = &fault_engine_ops, .custom_ctx = &e, .read_size = SUB, .in_flight = 4 * SUB, .fds = &fd, .n_fds = 1};
    hs_io *io = io_create(&cfg);
    bool was_direct = hs_io_is_direct(io);
    ticket *t = ticket_create(HS_IO_DEMAND, 0, 8 * SUB);
    hs_io_submit(io, &t->req);
    assert_int_equal(ticket_wait(t), 0);
    ticket_check(t);
    assert_true(!was_direct || !(fcntl(fd, F_GETFL) & O_DIRECT));
    assert_false(hs_io_is_direct(io));
    hs_io_destroy(&io);
    ticket_destroy(t);
    fault_engine_deinit(&e);
    close(fd);
}

/* ---- order ---- */

/* Sub-read k of the log belongs to the request that began at offset. */
static void issued(fault_engine *e, uint32_t k, uint64_t offset)
{
    pthread_mutex_lock(&e->lock);
    assert_true(k < e->n_log);
    uint64_t at = e->log[k].offset;
    pthread_mutex_unlock(&e->lock);
    assert_int_equal(at, offset);
}

static uint32_t count_issued(fault_engine *e)
{
    pthread_mutex_lock(&e->lock);
    uint32_t n = e->n_log;
    pthread_mutex_unlock(&e->lock);
    return n;
}

#define A 0u
#define B (32u * SUB)
#define C (48u * SUB)

static void demand_goes_first_and_guesses_fill_a_quarter(void **state)
{
    (void)state;
    fault_engine e;
    int fd;
    fault_engine_init(&e);
    e.gated = true;
    hs_io *io = faulty(&e, &fd, SUB, 8 * SUB);
    ticket *a = ticket_create(HS_IO_SPECULATIVE, A, 8 * SUB), *b = ticket_create(HS_IO_DEMAND, B, 8 * SUB);
    hs_io_submit(io, &a->req);
    fault_engine_await(&e, 2); /* a quarter of what may be under way */
    hs_io_submit(io, &b->req);
    fault_engine_await(&e, 8);
    for (uint32_t k = 2; k < 8; k++)
        issued(&e, k, B + (k - 2) * SUB);
    for (uint32_t k = 8; k < 10; k++) {
        fault_engine_let(&e, 1);
        fault_engine_await(&e, k + 1);
        issued(&e, k, B + (k - 2) * SUB); /* the rest of B before the rest of A */
    }
    fault_engine_let(&e, 6); /* two reads of B are left: still a quarter, so A must wait */
    while (hs_io_get_stats(io).reads < 8)
        sched_yield();
    ticket *c = ticket_create(HS_IO_DEMAND, C, SUB);
    hs_io_submit(io, &c->req);
    fault_engine_await(&e, 11);
    issued(&e, 10, C);
    fault_engine_let(&e, 2);
    fault_engine_await(&e, 12);
    issued(&e, 11, A + 2 * SUB);
    fault_engine_let(&e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), 0);
    assert_int_equal(ticket_wait(b), 0);
    assert_int_equal(ticket_wait(c), 0);
    assert_true(b->order < a->order);
    ticket_check(a);
    ticket_check(b);
    assert_int_equal(hs_io_get_stats(io).speculative_bytes, 8 * SUB);
    hs_io_destroy(&io);
    ticket_destroy(c);
    ticket_destroy(a);
    ticket_destroy(b);
    fault_engine_deinit(&e);
    close(fd);
}

static void a_promoted_guess_is_a_demand(void **state)
{
    (void)state;
    fault_engine e;
    int fd;
    fault_engine_init(&e);
    e.gated = true;
    hs_io *io = faulty(&e, &fd, SUB, 8 * SUB);
    ticket *a = ticket_create(HS_IO_SPECULATIVE, A, 4 * SUB), *b = ticket_create(HS_IO_SPECULATIVE, B, 3 * SUB);
    hs_io_submit(io, &a->req);
    hs_io_submit(io, &b->req);
    fault_engine_await(&e, 2);
    issued(&e, 1, A + SUB);
    hs_io_promote(io, &b->req);
    fault_engine_await(&e, 5); /* the other three quarters are open to it */
    for (uint32_t k = 2; k < 5; k++)
        issued(&e, k, B + (k - 2) * SUB);
    hs_io_promote(io, &a->req);
    fault_engine_await(&e, 7);
    issued(&e, 5, A + 2 * SUB);
    fault_engine_let(&e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), 0);
    assert_int_equal(ticket_wait(b), 0);
    hs_io_promote(io, &a->req); /* no effect after on_done */
    hs_io_cancel(io, &a->req);
    ticket_check(a);
    ticket_check(b);
    assert_int_equal(hs_io_get_stats(io).speculative_bytes, 0);
    hs_io_destroy(&io);
    ticket_destroy(a);
    ticket_destroy(b);
    fault_engine_deinit(&e);
    close(fd);
}

static void cancel_drops_what_was_not_issued(void **state)
{
    (void)state;
    fault_engine e;
    int fd;
    fault_engine_init(&e);
    e.gated = true;
    hs_io *io = faulty(&e, &fd, SUB, 8 * SUB);
    ticket *a = ticket_create(HS_IO_SPECULATIVE, A, 8 * SUB), *b = ticket_create(HS_IO_SPECULATIVE, B, 8 * SUB);
    hs_io_submit(io, &a->req);
    hs_io_submit(io, &b->req);
    fault_engine_await(&e, 2);
    hs_io_cancel(io, &b->req); /* nothing of it is under way: it ends without any read ending */
    assert_int_equal(ticket_wait(b), -ECANCELED);
    hs_io_cancel(io, &a->req); /* two sub-reads are */
    fault_engine_let(&e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), -ECANCELED);
    assert_int_equal(a->progress, 2 * SUB);
    assert_int_equal(count_issued(&e), 2);
    ticket *c = ticket_create(HS_IO_DEMAND, C, 2 * SUB);
    hs_io_submit(io, &c->req);
    assert_int_equal(ticket_wait(c), 0);
    ticket_check(c);
    hs_io_stats s = hs_io_get_stats(io);
    assert_int_equal(s.errors, 0);
    assert_int_equal(s.bytes, 4 * SUB);
    assert_int_equal(s.speculative_bytes, 2 * SUB);
    hs_io_destroy(&io);
    ticket_destroy(a);
    ticket_destroy(b);
    ticket_destroy(c);
    fault_engine_deinit(&e);
    close(fd);
}

static void cancel_comes_too_late_for_what_is_all_issued(void **state)
{
    (void)state;
    fault_engine e;
    int fd;
    fault_engine_init(&e);
    e.gated = true;
    hs_io *io = faulty(&e, &fd, SUB, 4 * SUB);
    ticket *a = ticket_create(HS_IO_DEMAND, A, 4 * SUB);
    hs_io_submit(io, &a->req);
    fault_engine_await(&e, 4);
    hs_io_cancel(io, &a->req);
    fault_engine_let(&e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), 0);
    ticket_check(a);
    hs_io_destroy(&io);
    ticket_destroy(a);
    fault_engine_deinit(&e);
    close(fd);
}

static void destroy_waits_for_reads_and_cancels_the_rest(void **state)
{
    (void)state;
    fault_engine e;
    int fd;
    fault_engine_init(&e);
    e.gated = true;
    hs_io *io = faulty(&e, &fd, SUB, 4 * SUB);
    ticket *t[4];
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = ticket_create(i % 2 ? HS_IO_SPECULATIVE : HS_IO_DEMAND, i * 4 * SUB, 3 * SUB);
        hs_io_submit(io, &t[i]->req);
    }
    fault_engine_await(&e, 4);
    fault_engine_let(&e, UINT64_MAX);
    hs_io_destroy(&io);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(t[i]->done);
        assert_true(t[i]->result == 0 || t[i]->result == -ECANCELED);
        if (t[i]->result == 0)
            ticket_check(t[i]);
        ticket_destroy(t[i]);
    }
    fault_engine_deinit(&e);
    close(fd);
}

/* ---- many threads ---- */

typedef struct user {
    hs_io *io;
    uint32_t seed, rounds;
} user;

static void *submit_promote_cancel(void *arg)
{
    enum { N = 8 };
    user *u = arg;
    ticket *t[N];
    for (uint32_t i = 0; i < N; i++)
        t[i] = ticket_create(HS_IO_DEMAND, 0, 0);
    for (uint32_t k = 0; k < u->rounds; k++) {
        for (uint32_t i = 0; i < N; i++) {
            t[i]->progress = 0;
            t[i]->done = false;
            aim(t[i], &u->seed);
            hs_io_submit(u->io, &t[i]->req);
        }
        for (uint32_t i = 0; i < N; i++) {
            uint32_t what = random_u32(&u->seed) % 4;
            if (what == 0)
                hs_io_cancel(u->io, &t[i]->req);
            else if (what == 1)
                hs_io_promote(u->io, &t[i]->req);
        }
        for (uint32_t i = 0; i < N; i++)
            if (ticket_wait(t[i]) == 0)
                ticket_check(t[i]);
            else
                assert_int_equal(t[i]->result, -ECANCELED);
    }
    for (uint32_t i = 0; i < N; i++)
        ticket_destroy(t[i]);
    return NULL;
}

static void many_threads_may_ask_at_once(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        hs_io_config cfg = {
            .engine = (hs_io_engine_kind)engine, .read_size = SUB, .in_flight = 6 * SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_create(&cfg);
        user u[3];
        pthread_t threads[3];
        for (uint32_t i = 0; i < 3; i++) {
            u[i] = (user){io, i + 1, 40};
            assert_int_equal(pthread_create(&threads[i], NULL, submit_promote_cancel, &u[i]), 0);
        }
        for (uint32_t i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(hs_io_get_stats(io).errors, 0);
        hs_io_destroy(&io);
    }
    close(fd);
}

typedef struct chain {
    ticket *t;
    hs_io *io;
    uint32_t left;
} chain;

static void again(hs_io_req *req, int result)
{
    chain *c = req->user;
    assert_int_equal(result, 0);
    if (c->left-- > 1) {
        req->ranges[0].offset = (req->ranges[0].offset + 5 * SUB) % (16 * SUB);
        c->t->progress = 0;
        hs_io_submit(c->io, req);
    } else {
        on_done(req, result);
    }
}

static void a_request_may_be_submitted_again_from_on_done(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    hs_io_config cfg = {.read_size = SUB, .fds = &fd, .n_fds = 1};
    hs_io *io = io_create(&cfg);
    chain c = {ticket_create(HS_IO_DEMAND, 0, 3 * SUB), io, 100};
    c.t->req.user = &c;
    c.t->req.on_done = again;
    hs_io_submit(io, &c.t->req);
    assert_int_equal(ticket_wait(c.t), 0);
    ticket_check(c.t);
    hs_io_destroy(&io);
    ticket_destroy(c.t);
    close(fd);
}

/* ---- set-up ---- */

static void a_throttled_drive_is_no_faster_than_said(void **state)
{
    (void)state;
    throttle_engine speed = {.bytes_per_s = 50000000, .latency_ns = 1000000};
    int fd = folder_open(path, "file", O_RDONLY);
    hs_io_config cfg = {.custom = &throttle_engine_ops,
                        .custom_ctx = &speed,
                        .read_size = SUB,
                        .in_flight = 4 * SUB,
                        .fds = &fd,
                        .n_fds = 1};
    hs_io *io = io_create(&cfg);
    assert_string_equal(hs_io_engine_name(io), "throttle");
    ticket *t = ticket_create(HS_IO_DEMAND, 0, 32 * SUB);
    hs_io_submit(io, &t->req);
    assert_int_equal(ticket_wait(t), 0);
    ticket_check(t);
    hs_io_stats s = hs_io_get_stats(io);
    assert_true((double)s.bytes / (double)s.busy_ns * 1e9 <= 50000000.0);
    hs_io_destroy(&io);
    ticket_destroy(t);
    close(fd);
}

static void refused(const hs_io_config *cfg, int result, const char *part)
{
    hs_io *io = NULL;
    hs_err err = {0};
    assert_int_equal(hs_io_create(cfg, &io, &err), result);
    assert_null(io);
    if (!strstr(err.text, part))
        fail_msg("'%s' is not in: %s", part, err.text);
}

static void bad_settings_are_refused_by_name(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY), closed = 100000;
    hs_io_config cfg = {.fds = &fd, .n_fds = 1, .read_size = 5000};
    refused(&cfg, -EINVAL, "io.read_size");
    cfg.read_size = 128u << 20;
    refused(&cfg, -EINVAL, "io.read_size");
    cfg.read_size = 0;
    cfg.in_flight = 100;
    refused(&cfg, -EINVAL, "io.in_flight");
    cfg.in_flight = UINT64_MAX;
    refused(&cfg, -EINVAL, "io.in_flight");
    cfg.in_flight = 0;
    cfg.fds = &closed;
    refused(&cfg, -EBADF, "file 0");
    cfg.fds = &fd;
    fault_engine e;
    fault_engine_init(&e);
    e.kind = FAULT_ERRNO;
    e.error = EPERM;
    cfg.custom = &fault_engine_ops;
    cfg.custom_ctx = &e;
    refused(&cfg, -EPERM, "as ordered");
    fault_engine_deinit(&e);
    close(fd);
}

/* In a process that may not use io_uring, as in many containers: 0, or the number of the check that failed. */
static int read_where_uring_is_denied(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
        return 77;
    hs_io *io = NULL;
    hs_err err = {0};
    hs_io_config cfg = {.engine = HS_IO_URING, .fds = &fd, .n_fds = 1};
    if (hs_io_create(&cfg, &io, &err) != -EPERM || io || !strstr(err.text, "io_uring is refused here"))
        return 1;
    cfg.engine = HS_IO_AUTO;
    if (hs_io_create(&cfg, &io, NULL) < 0 || strcmp(hs_io_engine_name(io), "pread"))
        return 2;
    ticket *t = ticket_create(HS_IO_DEMAND, 0, 8 * SUB);
    hs_io_submit(io, &t->req);
    int r = ticket_wait(t) < 0 || memcmp(t->mem, content, 8 * SUB) ? 3 : 0;
    hs_io_destroy(&io);
    ticket_destroy(t);
    return r;
}

static void where_uring_is_denied_auto_takes_pread(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY), status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(read_where_uring_is_denied(fd));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        print_message("no seccomp filters here: not tried\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    close(fd);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine++) {
        if (engine == HS_IO_URING && !has_uring(fd))
            continue;
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .fds = &fd, .n_fds = 1};
        int r = -1;
        for (int64_t n = 0; r < 0; n++) {
            hs_io *io = NULL;
            hs_err err = {0};
            hs_mem_fail_after(n);
            r = hs_io_create(&cfg, &io, &err);
            hs_mem_fail_after(-1);
            assert_true(r == 0 || err.text[0]);
            hs_io_destroy(&io);
            assert_true(n < 100);
        }
    }
    close(fd);
}

static void reading_does_not_allocate(void **state)
{
    (void)state;
    int fd = folder_open(path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .read_size = SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_create(&cfg);
        ticket *t = ticket_create(HS_IO_DEMAND, 0, 32 * SUB);
        hs_mem_fail_after(0);
        hs_io_submit(io, &t->req);
        assert_int_equal(ticket_wait(t), 0);
        assert_int_equal(hs_mem_count(), 0);
        hs_mem_fail_after(-1);
        hs_io_destroy(&io);
        ticket_destroy(t);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_engine_reads_what_was_asked),
        cmocka_unit_test(auto_finds_an_engine_and_names_it),
        cmocka_unit_test(the_file_ends_where_it_ends),
        cmocka_unit_test(a_file_cut_meanwhile_fails_that_request_only),
        cmocka_unit_test(the_nth_read_failing_fails_one_request),
        cmocka_unit_test(short_late_and_interrupted_reads_are_carried_on),
        cmocka_unit_test(what_never_gets_better_fails_in_the_end),
        cmocka_unit_test(a_refused_direct_read_goes_through_the_page_cache),
        cmocka_unit_test(demand_goes_first_and_guesses_fill_a_quarter),
        cmocka_unit_test(a_promoted_guess_is_a_demand),
        cmocka_unit_test(cancel_drops_what_was_not_issued),
        cmocka_unit_test(cancel_comes_too_late_for_what_is_all_issued),
        cmocka_unit_test(destroy_waits_for_reads_and_cancels_the_rest),
        cmocka_unit_test(many_threads_may_ask_at_once),
        cmocka_unit_test(a_request_may_be_submitted_again_from_on_done),
        cmocka_unit_test(a_throttled_drive_is_no_faster_than_said),
        cmocka_unit_test(bad_settings_are_refused_by_name),
        cmocka_unit_test(where_uring_is_denied_auto_takes_pread),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(reading_does_not_allocate),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
