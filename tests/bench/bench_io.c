/* rooms: store */
/*
 * bench_io.c - what hs_io gets out of a drive: random ranges of expert size, as a decode that always misses would read
 * them. Prints one line of JSON. Compare --size 1048576 --requests 64 with
 *   GLIBC_TUNABLES=glibc.malloc.hugetlb=1 fio --name=x --filename=FILE --ioengine=io_uring --direct=1 --bs=1M
 *     --iodepth=16 --rw=randread --readonly --mem=malloc --iomem_align=2M
 * (huge pages for both; with small ones a piece may be more segments than the drive takes in one request).
 *
 * bench_io FILE [--engine auto|io_uring|pread] [--size BYTES] [--read-size BYTES] [--in-flight BYTES]
 *               [--requests N] [--seconds N] [--buffered] [--unregistered]
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/io.h"

typedef struct options {
    const char *file, *engine;
    uint64_t size, read_size, in_flight, requests;
    double seconds;
    bool buffered, unregistered;
} options;

typedef struct shared {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    hs_io_req *ended; /* linked by next */
    int error;
} shared;

static void on_done(hs_io_req *req, int result)
{
    shared *s = req->user;
    pthread_mutex_lock(&s->lock);
    req->next = s->ended;
    s->ended = req;
    if (result < 0)
        s->error = result;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static int usage(const char *what)
{
    fprintf(stderr, "bench_io: %s\n", what);
    return 2;
}

static int parse(int argc, char **argv, options *o)
{
    *o = (options){.engine = "auto", .size = 16u << 20, .requests = 16, .seconds = 5};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(a, "--buffered"))
            o->buffered = true;
        else if (!strcmp(a, "--unregistered"))
            o->unregistered = true;
        else if (a[0] != '-')
            o->file = a;
        else if (!v)
            return usage("an option lacks its value");
        else if (i++, !strcmp(a, "--engine"))
            o->engine = v;
        else if (!strcmp(a, "--size"))
            o->size = hs_align_up(strtoull(v, NULL, 10), 4096);
        else if (!strcmp(a, "--read-size"))
            o->read_size = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--in-flight"))
            o->in_flight = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--requests"))
            o->requests = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--seconds"))
            o->seconds = atof(v);
        else
            return usage("unknown option");
    }
    if (!o->file || !o->size || !o->requests || o->requests > 4096)
        return usage("a FILE is needed, and 1 to 4096 requests");
    return 0;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void aim(hs_io_req *req, const options *o, uint64_t file_bytes, uint64_t *random)
{
    uint64_t places = (file_bytes - o->size) / 4096 + 1;
    req->ranges[0] = (hs_range){0, next_random(random) % places * 4096, o->size, 0};
    req->n_ranges = 1;
}

static int run(const options *o, hs_io *io, hs_io_req *reqs, shared *s, uint64_t file_bytes)
{
    uint64_t random = hs_now_ns() | 1, begin = hs_now_ns(), bytes = 0;
    double cpu = cpu_seconds();
    for (uint64_t i = 0; i < o->requests; i++) {
        aim(&reqs[i], o, file_bytes, &random);
        hs_io_submit(io, &reqs[i]);
    }
    uint64_t out = o->requests;
    while (out) {
        pthread_mutex_lock(&s->lock);
        while (!s->ended)
            pthread_cond_wait(&s->changed, &s->lock);
        hs_io_req *req = s->ended;
        s->ended = NULL;
        int error = s->error;
        pthread_mutex_unlock(&s->lock);
        if (error < 0) {
            fprintf(stderr, "bench_io: %s\n", hs_strerror(error));
            return 1;
        }
        bool over = (double)(hs_now_ns() - begin) / 1e9 >= o->seconds;
        for (hs_io_req *next; req; req = next) {
            next = req->next;
            bytes += o->size;
            out--;
            if (over)
                continue;
            aim(req, o, file_bytes, &random);
            hs_io_submit(io, req);
            out++;
        }
    }
    double wall = (double)(hs_now_ns() - begin) / 1e9;
    hs_io_stats st = hs_io_get_stats(io);
    printf("{\"engine\":\"%s\",\"direct\":%s,\"bytes\":%llu,\"bytes_per_s\":%.0f,\"wall_bytes_per_s\":%.0f,"
           "\"reads\":%llu,\"seconds\":%.3f,\"cpu_seconds\":%.3f}\n",
           hs_io_engine_name(io), hs_io_is_direct(io) ? "true" : "false", (unsigned long long)bytes,
           (double)st.bytes / ((double)st.busy_ns / 1e9), (double)bytes / wall, (unsigned long long)st.reads, wall,
           cpu_seconds() - cpu);
    return 0;
}

int main(int argc, char **argv)
{
    options o;
    int r = parse(argc, argv, &o);
    if (r)
        return r;
    int fd = open(o.file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size < o.size)
        return usage("FILE cannot be read or is smaller than one request");
    struct iovec arena = {hs_map_alloc(o.size * o.requests), o.size * o.requests};
    hs_io_req *reqs = hs_calloc(o.requests, sizeof *reqs);
    if (!arena.iov_base || !reqs)
        return usage("out of memory");
    memset(arena.iov_base, 1, arena.iov_len);
    shared s = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0};
    for (uint64_t i = 0; i < o.requests; i++)
        reqs[i] = (hs_io_req){.dst = (uint8_t *)arena.iov_base + i * o.size, .user = &s, .on_done = on_done};
    hs_io_config cfg = {.engine = !strcmp(o.engine, "io_uring") ? HS_IO_URING
                                  : !strcmp(o.engine, "pread")  ? HS_IO_PREAD
                                                                : HS_IO_AUTO,
                        .read_size = (uint32_t)o.read_size,
                        .in_flight = o.in_flight,
                        .buffered = o.buffered,
                        .fds = &fd,
                        .n_fds = 1,
                        .buffers = &arena,
                        .n_buffers = !o.unregistered};
    hs_err err = {0};
    hs_io *io;
    if (hs_io_create(&cfg, &io, &err) < 0) {
        fprintf(stderr, "bench_io: %s\n", err.text);
        return 1;
    }
    r = run(&o, io, reqs, &s, (uint64_t)st.st_size);
    hs_io_destroy(&io);
    hs_free(reqs);
    hs_map_free(arena.iov_base, arena.iov_len);
    close(fd);
    return r;
}
