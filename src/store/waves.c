/*
 * waves.c - how a file reads at the pace of a model: see hs_disk_waves.
 * Threads: the caller submits and waits; on_done runs on the I/O thread and only counts under lock.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "store/disk.h"
#include "store/store_int.h"

#define STRIDE    2654435761u /* a prime beyond any number of blocks */
#define MIN_WAVES 3u          /* of each kind, however long they take */

typedef struct waves {
    const hs_disk_waves *run;
    int fd;
    uint64_t n_blocks, next_block;
    struct iovec arena; /* one object: what is read is not looked at */
    hs_mutex lock;
    pthread_cond_t landed;
    uint32_t in_air;
    int failed;
    hs_io_req reqs[HS_DISK_WAVE_MAX];
} waves;

static void on_done(hs_io_req *req, int result)
{
    waves *w = req->user;
    hs_mutex_lock(&w->lock);
    w->failed = w->failed ? w->failed : result;
    if (--w->in_air == 0)
        pthread_cond_signal(&w->landed);
    hs_mutex_unlock(&w->lock);
}

static void sleep_until(uint64_t ns)
{
    struct timespec t = hs_timespec(ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
        ;
}

/* Reads n objects at once; seconds until the last has landed. */
static double read_wave(waves *w, hs_io *io, uint32_t n)
{
    hs_io_req *list[HS_DISK_WAVE_MAX];
    uint64_t begin = hs_now_ns();
    w->in_air = n;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t block = (w->next_block++ * STRIDE + w->run->seed) % w->n_blocks;
        list[i] = &w->reqs[i];
        *list[i] = (hs_io_req){.n_ranges = 1,
                               .ranges[0] = {.offset = block * w->arena.iov_len, .len = w->arena.iov_len},
                               .dst = w->arena.iov_base,
                               .cls = HS_IO_DEMAND,
                               .user = w,
                               .on_done = on_done};
    }
    hs_io_submit_many(io, list, n);
    hs_mutex_lock(&w->lock);
    while (w->in_air)
        hs_cond_wait(&w->landed, &w->lock);
    hs_mutex_unlock(&w->lock);
    return (double)(hs_now_ns() - begin) * 1e-9;
}

void hs__wave_add(hs__wave_times *t, double s, double beside_s)
{
    t->took += s;
    t->waited += s > beside_s ? s - beside_s : 0;
    t->slowest = s > t->slowest ? s : t->slowest;
    t->n++;
}

/* Seconds of a wave on average, without the slowest one: what it takes, or if it takes longer than what goes on beside
 * it, if only now and then, that and how long it is waited for. */
static double mean(const hs__wave_times *t, double beside_s)
{
    double waited = t->waited - (t->slowest > beside_s ? t->slowest - beside_s : 0);
    uint32_t n = t->n - 1;
    return waited > 0 ? beside_s + waited / n : (t->took - t->slowest) / n;
}

void hs__wave_fit(const hs_disk_waves *run, const hs__wave_times *few, const hs__wave_times *many,
                  hs_disk_wave_times *ret)
{
    double few_s = mean(few, run->beside_s), many_s = mean(many, run->beside_s);
    ret->each_s = run->many > run->few ? (many_s - few_s) / (run->many - run->few) : few_s / run->few;
    ret->first_s = few_s - run->few * ret->each_s;
    if (ret->each_s < 0)
        *ret = (hs_disk_wave_times){.first_s = (few_s + many_s) / 2};
    else if (ret->first_s < 0)
        *ret = (hs_disk_wave_times){.each_s = (few_s + many_s) / (run->few + run->many)};
}

static void measure(waves *w, hs_io *io, hs_disk_wave_times *ret)
{
    const hs_disk_waves *run = w->run;
    hs__wave_times t[2] = {0}; /* few, many */
    uint64_t end = hs_now_ns() + (uint64_t)(run->max_seconds * 1e9);
    uint32_t n = 0;
    read_wave(w, io, run->many); /* wakes drive and clocks */
    while (!w->failed && !(run->stop && run->stop()) && (n < 2 * MIN_WAVES || n % 2 || hs_now_ns() < end)) {
        bool is_many = n++ % 2;
        uint64_t begin = hs_now_ns();
        double s = read_wave(w, io, is_many ? run->many : run->few);
        hs__wave_add(&t[is_many], s, run->beside_s);
        double busy = (s > run->beside_s ? s : run->beside_s) + run->pause_s;
        sleep_until(begin + (uint64_t)(busy * 1e9));
    }
    if (t[1].n > 1)
        hs__wave_fit(run, &t[0], &t[1], ret);
}

static int run_waves(waves *w, const char *file, hs_disk_wave_times *ret, hs_err *err)
{
    const hs_disk_waves *run = w->run;
    hs_io_config ic = {.engine = hs__disk_engine(run->engine),
                       .read_size = run->read_size,
                       .in_flight = run->in_flight,
                       .buffered = run->buffered,
                       .fds = &w->fd,
                       .n_fds = 1,
                       .buffers = &w->arena,
                       .n_buffers = 1};
    hs_io *io = NULL;
    int r = hs_io_create(&ic, &io, err);
    if (r < 0)
        return r;
    measure(w, io, ret);
    hs_io_destroy(&io);
    if (w->failed)
        return hs_err_set(err, w->failed, "%s: cannot read: %s", file, hs_strerror(w->failed));
    return run->stop && run->stop() ? hs_err_set(err, -ECANCELED, "stopped as asked") : 0;
}

int hs_disk_measure_waves(const char *file, const hs_disk_waves *run, hs_disk_wave_times *ret, hs_err *err)
{
    uint64_t size = 0;
    waves *w = hs_calloc(1, sizeof *w);
    if (!w)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", file);
    hs_mutex_init(&w->lock, HS_RANK_LOAD);
    pthread_cond_init(&w->landed, NULL);
    w->run = run;
    w->arena.iov_len = run->object_bytes;
    w->fd = hs__disk_open(file, run->buffered, &size, err);
    int r = w->fd < 0 ? w->fd : 0;
    w->n_blocks = size / run->object_bytes;
    if (r == 0 && !w->n_blocks)
        r = hs_err_set(err, -EINVAL, "%s: is smaller than one expert of %llu bytes", file,
                       (unsigned long long)run->object_bytes);
    uint64_t room = hs_align_up(w->arena.iov_len, 2u << 20); /* whole huge pages, as in the engine's arena */
    if (r == 0 && !(w->arena.iov_base = hs_map_alloc(room)))
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", file);
    if (r == 0)
        r = run_waves(w, file, ret, err);
    hs_map_free(w->arena.iov_base, room);
    if (w->fd >= 0)
        close(w->fd);
    pthread_cond_destroy(&w->landed);
    hs_mutex_destroy(&w->lock);
    hs_free(w);
    return r;
}
