/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/disk.h"
#include "store/io_engine.h"

#define BYTES (5u << 20)

static char dir[64], path[80];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hotset-disk-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/big", dir);
    FILE *f = fopen(path, "w");
    for (uint32_t i = 0; i < BYTES; i++)
        fputc((int)(i >> 12), f);
    return fclose(f);
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static bool never(void)
{
    return false;
}

static bool always(void)
{
    return true;
}

/* An engine that reads nothing, gives reads back in any order once as many are out as may be, and looks where they
 * would land. */
typedef struct watcher {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken, gone;
    hs_io_read *out[256];
    uint32_t n, seed;
    uint32_t hold, total;            /* so many are out before one ends, until there are no more */
    uint32_t reads, shared, outside; /* that came; that were given a place of one that was out; that lay elsewhere */
    const struct iovec *arena;
    const uint8_t *low, *high;
} watcher;

static int watch_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    (void)err;
    watcher *w = ctx;
    w->arena = cfg->buffers;
    *ret_engine = w;
    return 0;
}

static void watch_destroy(void *engine)
{
    watcher *w = engine;
    pthread_mutex_lock(&w->lock);
    w->gone = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void watch_submit(void *engine, hs_io_read *rd)
{
    watcher *w = engine;
    const uint8_t *at = rd->dst, *base = w->arena->iov_base;
    for (uint32_t i = 0; i < w->n; i++) {
        const uint8_t *other = w->out[i]->dst;
        w->shared += at < other + w->out[i]->len && other < at + rd->len;
    }
    w->outside += at < base || at + rd->len > base + w->arena->iov_len || w->n == 256;
    w->low = !w->low || at < w->low ? at : w->low;
    w->high = at + rd->len > w->high ? at + rd->len : w->high;
    w->reads++;
    w->n -= w->n == 256;
    w->out[w->n++] = rd;
}

static uint32_t watch_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    watcher *w = engine;
    pthread_mutex_lock(&w->lock);
    while (!w->woken && (!w->n || (w->n < w->hold && w->reads < w->total)))
        pthread_cond_wait(&w->changed, &w->lock);
    bool woken = w->woken;
    w->woken = false;
    pthread_mutex_unlock(&w->lock);
    if (woken || !max)
        return 0;
    w->seed = w->seed * 1664525u + 1013904223u;
    uint32_t k = (w->seed >> 16) % w->n;
    *ret_done = w->out[k];
    w->out[k] = w->out[--w->n];
    (*ret_done)->result = (int32_t)(*ret_done)->len;
    return 1;
}

static void watch_wake(void *engine)
{
    watcher *w = engine;
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static const hs_io_engine_ops watch_ops = {"watch", watch_create, watch_destroy, watch_submit, watch_wait, watch_wake};

/* No two reads that are out share a place, in whatever order they end; and places are spread over more memory than a
 * cache has, not over as much as is in flight. */
static void places_are_spread_and_never_shared(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {256 << 10, 512 << 10, 1 << 20};
    for (int i = 0; i < 12; i++) {
        watcher w = {.seed = (uint32_t)i};
        pthread_mutex_init(&w.lock, NULL);
        pthread_cond_init(&w.changed, NULL);
        hs_disk_run run = {.random = i % 2,
                           .bare = i / 2 % 2,
                           .request_bytes = sizes[i / 4],
                           .in_flight = i % 3 ? 16 << 20 : sizes[i / 4],
                           .max_bytes = 160 << 20,
                           .max_seconds = 1e6,
                           .custom = &watch_ops,
                           .custom_ctx = &w};
        w.hold = (uint32_t)(run.in_flight / run.request_bytes);
        w.total = (uint32_t)(run.max_bytes / run.request_bytes);
        hs_disk_result r;
        assert_int_equal(hs_disk_measure(path, &run, &r, NULL), 0);
        assert_string_equal(r.engine, "watch");
        assert_true(w.reads == w.total && w.reads == r.reads);
        assert_int_equal(w.shared, 0);
        assert_int_equal(w.outside, 0);
        assert_int_equal(w.high - w.low, 64 << 20);
        pthread_cond_destroy(&w.changed);
        pthread_mutex_destroy(&w.lock);
    }
}

/* A measurement ends although reads are out, and what they hold stays until these have ended. */
static void a_silent_drive_is_left_in_time(void **state)
{
    (void)state;
    watcher w = {.hold = UINT32_MAX, .total = UINT32_MAX};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    hs_disk_run run = {.request_bytes = 1 << 20,
                       .in_flight = 4 << 20,
                       .max_bytes = 160 << 20,
                       .max_seconds = 0.01,
                       .give_up_ns = hs_now_ns() + 50000000,
                       .custom = &watch_ops,
                       .custom_ctx = &w};
    hs_disk_result r;
    hs_err err = {0};
    assert_int_equal(hs_disk_measure(path, &run, &r, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, path));
    pthread_mutex_lock(&w.lock);
    assert_false(w.gone);
    w.hold = 0;
    w.total = 4;
    pthread_cond_broadcast(&w.changed);
    while (!w.gone)
        pthread_cond_wait(&w.changed, &w.lock);
    pthread_mutex_unlock(&w.lock);
    assert_true(w.reads <= 4);
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
}

/* Every way reads what it says, and no more than it was told to. */
static void measures(void **state)
{
    (void)state;
    static const char *const engines[] = {NULL, "auto", "pread"};
    for (int i = 0; i < 24; i++) {
        hs_disk_run run = {.engine = engines[i % 3],
                           .buffered = i / 3 % 2,
                           .random = i / 6 % 2,
                           .bare = i / 12 % 2,
                           .request_bytes = 256 << 10,
                           .in_flight = 1 << 20,
                           .max_bytes = 12 << 20,
                           .max_seconds = 60,
                           .seed = 3,
                           .stop = never};
        hs_disk_result r = {0};
        hs_err err = {0};
        assert_int_equal(hs_disk_measure(path, &run, &r, &err), 0);
        assert_true(r.bytes >= run.max_bytes && r.bytes < run.max_bytes + 2 * run.in_flight);
        assert_int_equal(r.reads * run.request_bytes, r.bytes);
        assert_true(hs_disk_rate(&r) > 0);
        assert_true(!run.buffered || !r.direct);
        assert_true(strcmp(engines[i % 3] ? engines[i % 3] : "", "pread") || !strcmp(r.engine, "pread"));
    }
}

/* What is skipped is read, but not counted. */
static void skips_the_start(void **state)
{
    (void)state;
    hs_disk_run run = {.request_bytes = 256 << 10, .in_flight = 1 << 20, .max_bytes = 1ull << 40, .max_seconds = 0.05};
    hs_disk_result all, r;
    hs_err err = {0};
    assert_int_equal(hs_disk_measure(path, &run, &all, &err), 0);
    run.skip_seconds = 1e-9; /* the first round */
    run.max_bytes = 1 << 20;
    for (int i = 0; !i || (i < 1000 && r.bytes >= run.max_bytes); i++) /* if all has come by then, all is counted */
        assert_int_equal(hs_disk_measure(path, &run, &r, &err), 0);
    assert_true(r.bytes < run.max_bytes && all.bytes > 0);
}

static void waves(void **state)
{
    (void)state;
    hs_disk_waves run = {
        .object_bytes = 1 << 20, .few = 1, .many = 4, .beside_s = 1e-4, .pause_s = 1e-4, .max_seconds = 0.02};
    hs_disk_wave_times t = {-1, -1};
    hs_err err = {0};
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), 0);
    assert_true(t.first_s >= 0 && t.each_s >= 0 && t.first_s + t.each_s > 0);
    run.many = run.few;
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), 0);
    assert_true(t.first_s == 0 && t.each_s > 0);
    run.object_bytes = 8 << 20;
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "smaller"));
    run.object_bytes = 1 << 20;
    run.stop = always;
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), -ECANCELED);
    assert_int_equal(hs_disk_measure_waves("/nowhere/at all", &run, &t, &err), -ENOENT);
}

static void says_why_not(void **state)
{
    (void)state;
    hs_disk_run run = {.request_bytes = 1 << 20, .in_flight = 1 << 20, .max_bytes = 1 << 20, .max_seconds = 1};
    hs_disk_result r;
    hs_err err = {0};
    assert_int_equal(hs_disk_measure("/nowhere/at all", &run, &r, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at all"));
    run.stop = always;
    assert_int_equal(hs_disk_measure(path, &run, &r, &err), -ECANCELED);
    run.request_bytes = run.in_flight = 8 << 20;
    assert_int_equal(hs_disk_measure(path, &run, &r, &err), -EINVAL);
}

static void picks_the_biggest(void **state)
{
    (void)state;
    char small[80], *file = NULL;
    uint64_t bytes = 0;
    hs_err err = {0};
    snprintf(small, sizeof small, "%s/small", dir);
    FILE *f = fopen(small, "w");
    fputs("x", f);
    fclose(f);
    assert_int_equal(hs_disk_pick(dir, &file, &bytes, &err), 0);
    assert_string_equal(file, path);
    assert_int_equal(bytes, BYTES);
    hs_free(file);
    assert_int_equal(hs_disk_pick(small, &file, &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1 MiB"));
    assert_int_equal(hs_disk_pick("/nowhere/at all", &file, &bytes, &err), -ENOENT);
    unlink(small);
}

/* One file of each drive, the biggest, also where a link leads to it. */
static void picks_from_each_drive(void **state)
{
    (void)state;
    char other[] = "/dev/shm/hotset-disk-XXXXXX", link[80], more[80];
    struct stat here, there;
    hs_disk_file on[4];
    hs_err err = {0};
    int fd = mkstemp(other);
    if (fd < 0 || fstat(fd, &there) < 0 || stat(dir, &here) < 0 || here.st_dev == there.st_dev) {
        if (fd >= 0)
            unlink(other);
        skip();
    }
    snprintf(link, sizeof link, "%s/link", dir);
    snprintf(more, sizeof more, "%s/more", dir);
    assert_int_equal(ftruncate(fd, 9 << 20), 0);
    close(fd);
    assert_int_equal(symlink(other, link), 0);
    fd = open(more, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, 2 << 20), 0);
    close(fd);
    int n = hs_disk_pick_each(dir, on, 4, &err);
    assert_int_equal(n, 2);
    int at = on[1].bytes == 9 << 20;
    assert_string_equal(on[at].file, link);
    assert_int_equal(on[at].dev, there.st_dev);
    assert_string_equal(on[!at].file, path);
    assert_int_equal(on[!at].bytes, BYTES);
    hs_free(on[0].file);
    hs_free(on[1].file);
    assert_int_equal(hs_disk_pick_each(dir, on, 1, &err), 1);
    hs_free(on[0].file);
    char *file = NULL;
    uint64_t bytes = 0;
    assert_int_equal(hs_disk_pick(dir, &file, &bytes, &err), 0);
    assert_string_equal(file, link);
    hs_free(file);
    unlink(other);
    unlink(link);
    unlink(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measures),
                                       cmocka_unit_test(a_silent_drive_is_left_in_time),
                                       cmocka_unit_test(skips_the_start),
                                       cmocka_unit_test(places_are_spread_and_never_shared),
                                       cmocka_unit_test(waves),
                                       cmocka_unit_test(says_why_not),
                                       cmocka_unit_test(picks_the_biggest),
                                       cmocka_unit_test(picks_from_each_drive)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
