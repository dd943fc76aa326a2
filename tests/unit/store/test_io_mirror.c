/* labels: unit fault */
/* test_io_mirror.c - files in several copies and on several drives: who is asked, and what happens when one fails. Time
 * is the test's: it stands still unless a test or its drives move it. */
#include "unit/store/io_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "unit/store/engines.h"

/* ---- time ---- */

static _Atomic uint64_t now_ns = 1ull << 60;

int clock_gettime(clockid_t which, struct timespec *t)
{
    if (which != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, which, t);
    uint64_t ns = atomic_load(&now_ns);
    *t = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return 0;
}

/* Time is up, or never will be. */
int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
    uint64_t ns = (uint64_t)until->tv_sec * 1000000000u + (uint64_t)until->tv_nsec;
    return ns <= atomic_load(&now_ns) ? ETIMEDOUT : pthread_cond_wait(c, m);
}

static void pass_ms(uint64_t ms)
{
    atomic_fetch_add(&now_ns, ms * 1000000);
}

/* ---- drives that are not there: each does its reads one after the other, at its own speed; time is theirs ---- */

#define DRIVES 2u

typedef struct drives {
    uint64_t bytes_per_s[DRIVES];
    const uint32_t *drive_of;
    const hs_io_engine_config *cfg;
    hs_io_read *head[DRIVES], *tail[DRIVES];
    double now, free_at[DRIVES], due[DRIVES][256]; /* seconds since begin_ns */
    uint64_t begin_ns;
    uint64_t flying[DRIVES], most[DRIVES]; /* bytes */
    uint32_t first[DRIVES], n[DRIVES];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken;
} drives;

static int drives_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    (void)err;
    drives *d = ctx;
    d->cfg = cfg;
    d->begin_ns = atomic_load(&now_ns);
    assert_true(cfg->depth <= 256);
    *ret_engine = d;
    return 0;
}

static void drives_destroy(void *engine)
{
    (void)engine;
}

static void drives_submit(void *engine, hs_io_read *rd)
{
    drives *d = engine;
    uint32_t k = d->drive_of[rd->file];
    d->free_at[k] = d->free_at[k] > d->now ? d->free_at[k] : d->now;
    d->free_at[k] += (double)rd->len / (double)d->bytes_per_s[k];
    d->due[k][(d->first[k] + d->n[k]++) % 256] = d->free_at[k];
    d->flying[k] += rd->len;
    d->most[k] = d->flying[k] > d->most[k] ? d->flying[k] : d->most[k];
    rd->next = NULL;
    if (d->head[k])
        d->tail[k]->next = rd;
    else
        d->head[k] = rd;
    d->tail[k] = rd;
}

/* The read that is over first, whichever drive has it; time goes on to that moment. */
static uint32_t drives_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    drives *d = engine;
    pthread_mutex_lock(&d->lock);
    while (!d->woken && !d->n[0] && !d->n[1])
        pthread_cond_wait(&d->changed, &d->lock);
    bool woken = d->woken;
    d->woken = false;
    pthread_mutex_unlock(&d->lock);
    if (woken || !max)
        return 0;
    uint32_t k = !d->n[0] || (d->n[1] && d->due[1][d->first[1]] < d->due[0][d->first[0]]);
    hs_io_read *rd = d->head[k];
    d->now = d->due[k][d->first[k]];
    atomic_store(&now_ns, d->begin_ns + (uint64_t)(d->now * 1e9));
    d->head[k] = rd->next;
    d->first[k] = (d->first[k] + 1) % 256;
    d->n[k]--;
    d->flying[k] -= rd->len;
    ssize_t got = pread(d->cfg->fds[rd->file], rd->dst, rd->len, (off_t)rd->offset);
    rd->result = got < 0 ? -errno : (int32_t)got;
    *ret_done = rd;
    return 1;
}

static void drives_wake(void *engine)
{
    drives *d = engine;
    pthread_mutex_lock(&d->lock);
    d->woken = true;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

static const hs_io_engine_ops drives_ops = {"drives",      drives_create, drives_destroy,
                                            drives_submit, drives_wait,   drives_wake};

/* ---- the bed: two descriptors of the file, as if on two drives ---- */

typedef struct bed {
    drives slow;
    fault_engine *fault;
    int fds[2];
    uint32_t drive_of[2];
    hs_io *io;
} bed;

/* Its drives' speeds or faults are set between this and bed_open. */
static void bed_init(bed *b, bool gated)
{
    memset(b, 0, sizeof *b);
    b->fault = fault_engine_create(gated);
}

static void bed_open(bed *b, const hs_io_engine_ops *ops, uint32_t n_copies, uint32_t read_size, uint64_t in_flight)
{
    pthread_mutex_init(&b->slow.lock, NULL);
    pthread_cond_init(&b->slow.changed, NULL);
    b->drive_of[1] = 1;
    b->slow.drive_of = b->drive_of;
    for (int i = 0; i < 2; i++)
        b->fds[i] = folder_open(io_path, "file", O_RDONLY);
    hs_io_config cfg = {.custom = ops,
                        .custom_ctx = ops == &drives_ops ? (void *)&b->slow : b->fault,
                        .buffered = true,
                        .read_size = read_size,
                        .in_flight = in_flight,
                        .fds = b->fds,
                        .n_fds = 2,
                        .n_copies = n_copies,
                        .drives = b->drive_of};
    b->io = io_open(&cfg);
}

static void bed_close(bed *b)
{
    hs_io_destroy(&b->io);
    close(b->fds[0]);
    close(b->fds[1]);
    fault_engine_destroy(&b->fault);
}

static ticket *read_from(bed *b, uint32_t file, hs_io_class cls, uint64_t offset, uint64_t len)
{
    ticket *t = ticket_create(cls, offset, len);
    t->req.ranges[0].file = file;
    hs_io_submit(b->io, &t->req);
    return t;
}

static void arrived(ticket *t, int result)
{
    assert_int_equal(ticket_wait(t), result);
    if (result == 0)
        ticket_check(t);
    ticket_destroy(t);
}

/* ---- who is asked ---- */

/* Reads are divided as the drives are fast, and together they are faster than the faster one. */
static void drives_share_by_speed(void **state)
{
    (void)state;
    static bed b;
    enum { N = 48 };
    ticket *t[N];
    hs_io_req *all_of[N];
    bed_init(&b, false);
    b.slow.bytes_per_s[0] = 120000000;
    b.slow.bytes_per_s[1] = 40000000;
    bed_open(&b, &drives_ops, 2, SUB, 16 * SUB);
    for (int i = 0; i < N; i++) {
        t[i] = ticket_create(HS_IO_DEMAND, (uint64_t)(i % 4) * 16 * SUB, 16 * SUB);
        all_of[i] = &t[i]->req;
    }
    hs_io_submit_many(b.io, all_of, N);
    for (int i = 0; i < N; i++)
        arrived(t[i], 0);
    hs_io_drive_stats s[HS_IO_MAX_DRIVES];
    assert_int_equal(hs_io_get_drive_stats(b.io, s), 2);
    uint64_t all = s[0].bytes + s[1].bytes;
    assert_int_equal(all, N * 16 * SUB);
    print_message("%.0f and %.0f %% of the bytes from drives of 3 and 1 parts of the speed\n",
                  100.0 * (double)s[0].bytes / (double)all, 100.0 * (double)s[1].bytes / (double)all);
    assert_true(s[1].bytes > all * 23 / 100 && s[1].bytes < all * 27 / 100);
    hs_io_stats whole = hs_io_get_stats(b.io);
    assert_int_equal(whole.mirror_reads, 0);
    /* The drives work at the same time, and neither has more under way than it may. */
    assert_true(whole.busy_ns < (s[0].busy_ns + s[1].busy_ns) * 3 / 4);
    assert_true(b.slow.most[0] <= 16 * SUB && b.slow.most[1] <= 16 * SUB);
    bed_close(&b);
}

/* No copies, but two drives: each has its own queue, and a full one holds nobody up at the other. */
static void a_full_drive_holds_up_no_other(void **state)
{
    (void)state;
    static bed b;
    ticket *t[5];
    hs_io_req *all[5];
    bed_init(&b, false);
    b.slow.bytes_per_s[0] = 2000000;
    b.slow.bytes_per_s[1] = 100000000;
    bed_open(&b, &drives_ops, 1, SUB, 4 * SUB);
    for (uint64_t i = 0; i < 5; i++) {
        t[i] = ticket_create(HS_IO_DEMAND, i * 4 * SUB, 4 * SUB);
        t[i]->req.ranges[0].file = i == 4;
        all[i] = &t[i]->req;
    }
    hs_io_submit_many(b.io, all, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(ticket_wait(t[i]), 0);
    assert_int_equal(t[4]->order, 0);
    for (int i = 0; i < 5; i++)
        arrived(t[i], 0);
    bed_close(&b);
}

/* A striped model: of every expert three quarters are on a drive three times as fast as the other, which has the rest.
 * Layer by layer, `missing` experts at a time. The share of both drives' bandwidth that comes of it, in their own time.
 */
static double striped(uint32_t missing, uint64_t in_flight)
{
    static bed b;
    enum { LAYERS = 20, MOST = 8 };
    ticket *t[MOST];
    hs_io_req *all[MOST];
    bed_init(&b, false);
    b.slow.bytes_per_s[0] = 120000000;
    b.slow.bytes_per_s[1] = 40000000;
    bed_open(&b, &drives_ops, 1, SUB, in_flight);
    for (uint32_t l = 0; l < LAYERS; l++) {
        for (uint32_t i = 0; i < missing; i++) {
            uint32_t slow = i % 2; /* which range is the slow drive's: they take turns */
            t[i] = ticket_create(HS_IO_DEMAND, (l + i) % 8 * 4 * SUB, (slow ? 12 : 4) * SUB);
            t[i]->req.ranges[0].file = !slow;
            t[i]->req.ranges[1] = (hs_range){slow, l % 8 * 4 * SUB, (slow ? 4 : 12) * SUB, (slow ? 12 : 4) * SUB};
            t[i]->req.n_ranges = 2;
            all[i] = &t[i]->req;
        }
        hs_io_submit_many(b.io, all, missing);
        for (uint32_t i = 0; i < missing; i++)
            arrived(t[i], 0);
    }
    bed_close(&b);
    assert_true(b.slow.most[0] <= in_flight && b.slow.most[1] <= in_flight);
    return LAYERS * missing * 16.0 * SUB / 160000000 / b.slow.now;
}

static void a_striped_model_comes_from_all_drives_at_once(void **state)
{
    (void)state;
    for (uint32_t missing = 1; missing <= 8; missing *= 2) {
        double wide = striped(missing, 32 * SUB), narrow = striped(missing, 8 * SUB);
        print_message("%u experts at once: %.2f of the drives' bandwidth; with a queue of half an expert %.2f\n",
                      missing, wide, narrow);
        assert_true(wide > 0.95);
        assert_true(narrow > 0.95); /* a long range for one drive keeps none from the other */
    }
}

static void a_silent_drive_is_left_alone(void **state)
{
    (void)state;
    static bed b;
    bed_init(&b, false);
    fault_engine_arm(b.fault, &(fault_order){.kind = FAULT_NEVER, .first = 1}); /* the first read, on the first drive */
    bed_open(&b, &fault_engine_ops, 2, SUB, 64 * SUB);
    ticket *held = read_from(&b, 0, HS_IO_DEMAND, 0, SUB);
    fault_engine_await(b.fault, 1);
    pass_ms(20);
    for (int i = 0; i < 20; i++)
        arrived(read_from(&b, 0, HS_IO_DEMAND, (uint64_t)(i % 8) * 8 * SUB, 8 * SUB), 0);
    assert_int_equal(fault_engine_read(b.fault, 0).file, 0);
    for (uint32_t i = 1; i < fault_engine_issued(b.fault); i++)
        assert_int_equal(fault_engine_read(b.fault, i).file, 1);
    assert_false(ticket_is_done(held));
    fault_engine_release(b.fault);
    arrived(held, 0);
    /* It has answered: it is asked again, by whoever has enough to read. */
    fault_engine_arm(b.fault, &(fault_order){0});
    arrived(read_from(&b, 0, HS_IO_DEMAND, 0, 64 * SUB), 0);
    uint32_t again = 0;
    for (uint32_t i = 0; i < fault_engine_issued(b.fault); i++)
        again += fault_engine_read(b.fault, i).file == 0;
    assert_true(again > 0);
    bed_close(&b);
}

/* Who stops does not wait for a drive that has been silent for long enough; it may still answer. (Otherwise this would
 * wait for as long as time stands still.) */
static void a_drive_that_was_silent_is_not_waited_for(void **state)
{
    (void)state;
    static bed b;
    bed_init(&b, false);
    fault_engine_arm(b.fault, &(fault_order){.kind = FAULT_NEVER, .first = 1});
    bed_open(&b, &fault_engine_ops, 1, SUB, 64 * SUB);
    ticket *held = read_from(&b, 0, HS_IO_DEMAND, 0, SUB);
    fault_engine_await(b.fault, 1);
    pass_ms(HS_IO_STOP_NS / 1000000);
    assert_int_equal(hs_io_stop(b.io), -ETIMEDOUT);
    assert_false(ticket_is_done(held));
    fault_engine_release(b.fault);
    arrived(held, 0);
    assert_int_equal(hs_io_stop(b.io), 0);
    bed_close(&b);
}

/* Those whose name begins so. */
static uint32_t count_threads(const char *name)
{
    uint32_t n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d));) {
        char path[300], comm[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fgets(comm, sizeof comm, f))
            n += !strncmp(comm, name, strlen(name));
        if (f)
            fclose(f);
    }
    closedir(d);
    return n;
}

/* Reading threads: those that a silent drive holds are not those of another. They have the I/O thread's name until they
 * name themselves, so that all of them are there once it is up. */
static void every_drive_has_reading_threads(void **state)
{
    (void)state;
    for (uint32_t n_drives = 1; n_drives <= 2; n_drives++) {
        int fds[2] = {folder_open(io_path, "file", O_RDONLY), folder_open(io_path, "file", O_RDONLY)};
        const uint32_t drive_of[] = {0, n_drives - 1};
        while (count_threads("hs-")) /* a thread that has been joined is listed until the kernel is done with it */
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        hs_io_config cfg = {
            .engine = HS_IO_PREAD, .buffered = true, .fds = fds, .n_fds = 2, .n_copies = 2, .drives = drive_of};
        hs_io *io = io_open(&cfg);
        ticket *t = ticket_create(HS_IO_DEMAND, 0, 8 * SUB);
        hs_io_submit(io, &t->req);
        arrived(t, 0);
        assert_int_equal(count_threads("hs-"), 1 + 16 * n_drives);
        hs_io_destroy(&io);
        close(fds[0]);
        close(fds[1]);
    }
}

/* ---- what fails ---- */

static void a_failed_read_is_repeated_on_the_copy(void **state)
{
    (void)state;
    static const fault_kind kinds[] = {FAULT_ERRNO, FAULT_SHORT};
    for (uint32_t i = 0; i < 4; i++) {
        static bed b;
        uint32_t bad = i / 2;
        bed_init(&b, false);
        bed_open(&b, &fault_engine_ops, 2, SUB, 16 * SUB);
        fault_engine_arm(b.fault, &(fault_order){.kind = kinds[i % 2], .file = bad, .to = UINT64_MAX, .error = EIO});
        for (int k = 0; k < 10; k++)
            arrived(read_from(&b, 0, k % 2 ? HS_IO_SPECULATIVE : HS_IO_DEMAND, (uint64_t)k * 4 * SUB, 8 * SUB), 0);
        hs_io_stats s = hs_io_get_stats(b.io);
        assert_int_equal(s.mirror_reads, s.errors);
        assert_int_equal(s.mirror_reads, fault_engine_hits(b.fault, 0));
        /* What the first request asked it for; then it is left alone for a second. */
        assert_true(s.mirror_reads > 0 && s.mirror_reads < 8);
        assert_int_equal(s.bytes, 10 * 8 * SUB);
        pass_ms(1001);
        arrived(read_from(&b, 0, HS_IO_DEMAND, 0, 8 * SUB), 0);
        assert_true(hs_io_get_stats(b.io).mirror_reads > s.mirror_reads);
        bed_close(&b);
    }
}

static void what_fails_everywhere_fails_once(void **state)
{
    (void)state;
    static bed b;
    bed_init(&b, false);
    fault_engine_arm(b.fault, &(fault_order){.kind = FAULT_ERRNO, .first = 1, .times = UINT64_MAX, .error = EIO});
    bed_open(&b, &fault_engine_ops, 2, SUB, 4 * SUB);
    arrived(read_from(&b, 0, HS_IO_DEMAND, 0, 16 * SUB), -EIO);
    fault_engine_release(b.fault);
    arrived(read_from(&b, 0, HS_IO_DEMAND, 0, 16 * SUB), 0);
    bed_close(&b);
}

/* A request for one copy reads that copy, and fails with it. */
static void only_means_only(void **state)
{
    (void)state;
    static bed b;
    bed_init(&b, false);
    bed_open(&b, &fault_engine_ops, 2, SUB, 8 * SUB);
    fault_engine_arm(b.fault,
                     &(fault_order){.kind = FAULT_ERRNO, .file = 1, .from = 4 * SUB, .to = 5 * SUB, .error = EIO});
    for (uint32_t only = 1; only <= 3; only++) {
        for (uint64_t at = 0; at < 2; at++) {
            ticket *t = ticket_create(HS_IO_DEMAND, at * 2 * SUB, 4 * SUB);
            uint32_t from = fault_engine_issued(b.fault);
            t->req.only = only;
            hs_io_submit(b.io, &t->req);
            int r = ticket_wait(t);
            assert_int_equal(r, only == 3 ? -EINVAL : only == 2 && at ? -EIO : 0);
            for (uint32_t i = from; i < fault_engine_issued(b.fault); i++)
                assert_int_equal(fault_engine_read(b.fault, i).file, only - 1);
            if (r == 0)
                assert_int_equal(t->req.used, 1u << (only - 1));
            ticket_destroy(t);
        }
    }
    bed_close(&b);
}

/* ---- guesses ---- */

/* What is cancelled makes room: the quarter that guesses may have is free again once what was under way has landed. */
static void a_cancelled_guess_frees_its_share(void **state)
{
    (void)state;
    static bed b;
    bed_init(&b, true);
    bed_open(&b, &fault_engine_ops, 1, SUB, 16 * SUB);
    ticket *first = read_from(&b, 0, HS_IO_SPECULATIVE, 0, 32 * SUB), *second;
    fault_engine_await(b.fault, 4);
    hs_io_cancel(b.io, &first->req);
    second = read_from(&b, 0, HS_IO_SPECULATIVE, 32 * SUB, 8 * SUB);
    fault_engine_let(b.fault, UINT64_MAX);
    arrived(second, 0);
    arrived(first, -ECANCELED);
    assert_int_equal(fault_engine_issued(b.fault), 4 + 8); /* nothing of the first but what was under way */
    bed_close(&b);
}

/* Each drive has a share of its own. */
static void guesses_fill_a_quarter_of_each_drive(void **state)
{
    (void)state;
    static bed b;
    bed_init(&b, true);
    bed_open(&b, &fault_engine_ops, 1, SUB, 16 * SUB);
    ticket *guess = read_from(&b, 0, HS_IO_SPECULATIVE, 0, 32 * SUB);
    fault_engine_await(b.fault, 4);
    ticket *other = read_from(&b, 1, HS_IO_SPECULATIVE, 0, 8 * SUB);
    fault_engine_await(b.fault, 8);
    ticket *wanted = read_from(&b, 0, HS_IO_DEMAND, 0, 12 * SUB);
    fault_engine_await(b.fault, 20); /* at once: three quarters were kept for it */
    fault_engine_let(b.fault, UINT64_MAX);
    arrived(wanted, 0);
    arrived(other, 0);
    arrived(guess, 0);
    bed_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drives_share_by_speed),
        cmocka_unit_test(a_full_drive_holds_up_no_other),
        cmocka_unit_test(a_striped_model_comes_from_all_drives_at_once),
        cmocka_unit_test(a_silent_drive_is_left_alone),
        cmocka_unit_test(a_drive_that_was_silent_is_not_waited_for),
        cmocka_unit_test(every_drive_has_reading_threads),
        cmocka_unit_test(a_failed_read_is_repeated_on_the_copy),
        cmocka_unit_test(what_fails_everywhere_fails_once),
        cmocka_unit_test(only_means_only),
        cmocka_unit_test(a_cancelled_guess_frees_its_share),
        cmocka_unit_test(guesses_fill_a_quarter_of_each_drive),
    };
    return cmocka_run_group_tests(tests, io_setup, io_teardown);
}
