/* rooms: store */
/*
 * bench_priority.c - what speculation costs a demand read: random reads of 4 MiB, one after the other, on an idle drive
 * and amid endless speculative ones. Prints one line of JSON: median and 90th percentile in microseconds, bytes/s.
 *
 * bench_priority FILE [engine]
 */
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/io.h"

#define SIZE    (4u << 20)
#define ROUNDS  200u
#define GUESSES 8u

typedef struct bench {
    hs_io *io;
    uint64_t places, random; /* random is the I/O thread's once guesses are out */
    sem_t demand_done, guess_over;
    atomic_bool stop;
} bench;

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void aim(hs_io_req *req, uint64_t place)
{
    req->ranges[0] = (hs_range){0, place * 4096, SIZE, 0};
}

static void on_demand(hs_io_req *req, int result)
{
    bench *b = req->user;
    (void)result;
    sem_post(&b->demand_done);
}

static void on_guess(hs_io_req *req, int result)
{
    bench *b = req->user;
    if (result < 0 || atomic_load(&b->stop)) {
        sem_post(&b->guess_over);
        return;
    }
    aim(req, next_random(&b->random) % b->places);
    hs_io_submit(b->io, req);
}

static int by_value(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, c = *(const uint64_t *)y;
    return (a > c) - (a < c);
}

/* One demand read at a time; microseconds, sorted. */
static void measure(bench *b, hs_io_req *req, uint64_t us[ROUNDS])
{
    uint64_t random = hs_now_ns() | 1;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        aim(req, next_random(&random) % b->places);
        uint64_t begin = hs_now_ns();
        hs_io_submit(b->io, req);
        sem_wait(&b->demand_done);
        us[i] = (hs_now_ns() - begin) / 1000;
    }
    qsort(us, ROUNDS, sizeof *us, by_value);
}

static int run(bench *b, const char *engine)
{
    static hs_io_req demand, guesses[GUESSES];
    uint64_t alone[ROUNDS], amid[ROUNDS];
    uint8_t *mem = hs_map_alloc((GUESSES + 1) * (uint64_t)SIZE);
    if (!mem)
        return 1;
    memset(mem, 1, (GUESSES + 1) * (uint64_t)SIZE);
    demand = (hs_io_req){.n_ranges = 1, .dst = mem, .user = b, .on_done = on_demand};
    measure(b, &demand, alone);
    for (uint32_t i = 0; i < GUESSES; i++) {
        guesses[i] = (hs_io_req){.n_ranges = 1,
                                 .cls = HS_IO_SPECULATIVE,
                                 .dst = mem + (i + 1) * (uint64_t)SIZE,
                                 .user = b,
                                 .on_done = on_guess};
        aim(&guesses[i], i * 7919 % b->places);
        hs_io_submit(b->io, &guesses[i]);
    }
    hs_io_stats before = hs_io_get_stats(b->io);
    measure(b, &demand, amid);
    hs_io_stats after = hs_io_get_stats(b->io);
    atomic_store(&b->stop, true);
    for (uint32_t i = 0; i < GUESSES; i++)
        sem_wait(&b->guess_over);
    printf("{\"engine\":\"%s\",\"alone_p50_us\":%llu,\"alone_p90_us\":%llu,\"amid_p50_us\":%llu,\"amid_p90_us\":%llu,"
           "\"bytes_per_s\":%.0f}\n",
           engine, (unsigned long long)alone[ROUNDS / 2], (unsigned long long)alone[ROUNDS * 9 / 10],
           (unsigned long long)amid[ROUNDS / 2], (unsigned long long)amid[ROUNDS * 9 / 10],
           (double)(after.bytes - before.bytes) / ((double)(after.busy_ns - before.busy_ns) / 1e9));
    hs_map_free(mem, (GUESSES + 1) * (uint64_t)SIZE);
    return 0;
}

int main(int argc, char **argv)
{
    bench b = {.random = 88172645463325252u};
    struct stat st;
    hs_err err = {0};
    int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < (off_t)(2 * SIZE)) {
        fprintf(stderr, "bench_priority: a FILE of at least 8 MiB is needed\n");
        return 2;
    }
    b.places = ((uint64_t)st.st_size - SIZE) / 4096;
    sem_init(&b.demand_done, 0, 0);
    sem_init(&b.guess_over, 0, 0);
    hs_io_config cfg = {
        .engine = argc > 2 && !strcmp(argv[2], "pread") ? HS_IO_PREAD : HS_IO_AUTO, .fds = &fd, .n_fds = 1};
    if (hs_io_create(&cfg, &b.io, &err) < 0) {
        fprintf(stderr, "bench_priority: %s\n", err.text);
        return 1;
    }
    int r = run(&b, hs_io_engine_name(b.io));
    hs_io_destroy(&b.io);
    close(fd);
    return r;
}
