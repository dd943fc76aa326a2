/*
 * disk.c - see disk.h.
 * Threads: the caller submits and waits; on_done runs on the I/O thread and only queues the finished request under
 * lock.
 */
#include "cli/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/out.h"
#include "store/io.h"

#define MAX_REQUESTS 256u

typedef struct measurement measurement;

typedef struct reader {
    hs_io_req req;
    measurement *owner;
} reader;

struct measurement {
    const hs_disk_run *run;
    pthread_mutex_t lock;
    pthread_cond_t landed;
    reader readers[MAX_REQUESTS];
    reader *done[MAX_REQUESTS];
    uint32_t n_readers, n_done;
    int failed;
    uint64_t n_blocks, next_block, random;
    uint64_t submitted;
};

int hs_disk_pick(const char *path, char **ret_file, uint64_t *ret_bytes, hs_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
    char *best = NULL;
    uint64_t size = 0;
    if (S_ISREG(st.st_mode)) {
        best = hs_strdup(path);
        size = (uint64_t)st.st_size;
    } else {
        DIR *d = opendir(path);
        if (!d)
            return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
        for (struct dirent *e; (e = readdir(d));) {
            char *name = hs_asprintf("%s/%s", path, e->d_name);
            if (name && stat(name, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size > size) {
                size = (uint64_t)st.st_size;
                hs_free(best);
                best = name;
                name = NULL;
            }
            hs_free(name);
        }
        closedir(d);
    }
    if (!best || size < 1 << 20) {
        hs_free(best);
        return hs_err_set(err, -EINVAL, "%s: no file of at least 1 MiB to read", path);
    }
    *ret_file = best;
    *ret_bytes = size;
    return 0;
}

static void on_done(hs_io_req *req, int result)
{
    reader *rd = req->user;
    measurement *m = rd->owner;
    pthread_mutex_lock(&m->lock);
    m->failed = m->failed ? m->failed : result;
    m->done[m->n_done++] = rd;
    pthread_cond_signal(&m->landed);
    pthread_mutex_unlock(&m->lock);
}

static uint64_t pick_block(measurement *m)
{
    if (!m->run->random)
        return m->next_block++ % m->n_blocks;
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % m->n_blocks;
}

static void submit(measurement *m, hs_io *io, reader *rd)
{
    uint32_t len = m->run->request_bytes;
    hs_io_req *q = &rd->req;
    q->n_ranges = 1;
    q->ranges[0] = (hs_range){.file = 0, .offset = pick_block(m) * len, .len = len};
    q->cls = HS_IO_DEMAND;
    q->user = rd;
    q->on_done = on_done;
    m->submitted += len;
    hs_io_submit(io, q);
}

/* Keeps all requests in the air until the time or the bytes are used up, then lets them land. */
static void pump(measurement *m, hs_io *io)
{
    uint64_t end = hs_now_ns() + (uint64_t)(m->run->max_seconds * 1e9);
    uint32_t in_air = m->n_readers;
    for (uint32_t i = 0; i < m->n_readers; i++)
        submit(m, io, &m->readers[i]);
    while (in_air) {
        reader *landed[MAX_REQUESTS];
        pthread_mutex_lock(&m->lock);
        while (m->n_done == 0)
            pthread_cond_wait(&m->landed, &m->lock);
        uint32_t n = m->n_done;
        memcpy(landed, m->done, n * sizeof *landed);
        m->n_done = 0;
        bool go_on = m->failed == 0;
        pthread_mutex_unlock(&m->lock);
        go_on = go_on && !hs_stop_asked() && m->submitted < m->run->max_bytes && hs_now_ns() < end;
        for (uint32_t i = 0; i < n; i++) {
            if (go_on)
                submit(m, io, landed[i]);
            else
                in_air--;
        }
    }
}

static hs_io_engine_kind engine_kind(const char *name)
{
    return !name || !strcmp(name, "auto") ? HS_IO_AUTO : !strcmp(name, "pread") ? HS_IO_PREAD : HS_IO_URING;
}

static int open_for(const char *file, bool *ret_direct, uint64_t *ret_bytes, hs_err *err)
{
    struct stat st;
    int fd = *ret_direct ? open(file, O_RDONLY | O_CLOEXEC | O_DIRECT) : -1;
    if (fd < 0) {
        *ret_direct = false;
        fd = open(file, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        int code = -errno;
        if (fd >= 0)
            close(fd);
        return hs_err_set(err, code, "%s: %s", file, hs_strerror(code));
    }
    *ret_bytes = (uint64_t)st.st_size;
    return fd;
}

static void run_all(measurement *m, hs_io *io, char *arena)
{
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->landed, NULL);
    for (uint32_t i = 0; i < m->n_readers; i++) {
        m->readers[i].owner = m;
        m->readers[i].req.dst = arena + (size_t)i * m->run->request_bytes;
    }
    pump(m, io);
    pthread_cond_destroy(&m->landed);
    pthread_mutex_destroy(&m->lock);
}

int hs_disk_measure(const char *file, const hs_disk_run *run, hs_disk_result *ret, hs_err *err)
{
    uint64_t size = 0, want = run->in_flight / run->request_bytes;
    uint32_t n = (uint32_t)(want < 1 ? 1 : want > MAX_REQUESTS ? MAX_REQUESTS : want);
    bool direct = !run->buffered;
    int fd = open_for(file, &direct, &size, err);
    if (fd < 0)
        return fd;
    measurement *m = hs_calloc(1, sizeof *m);
    struct iovec arena = {.iov_len = (size_t)n * run->request_bytes};
    arena.iov_base = hs_map_alloc(arena.iov_len);
    hs_io_config ic = {.engine = engine_kind(run->engine),
                       .read_size = run->request_bytes,
                       .in_flight = run->in_flight,
                       .buffered = run->buffered,
                       .fds = &fd,
                       .n_fds = 1,
                       .buffers = &arena,
                       .n_buffers = 1};
    hs_io *io = NULL;
    int r = 0;
    if (!m || !arena.iov_base)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", file);
    else if (size < run->request_bytes)
        r = hs_err_set(err, -EINVAL, "%s: is smaller than one request of %u bytes", file, run->request_bytes);
    else
        r = hs_io_create(&ic, &io, err);
    if (r == 0) {
        m->run = run;
        m->n_readers = n;
        m->n_blocks = size / run->request_bytes;
        m->random = run->seed | 1;
        run_all(m, io, arena.iov_base);
        hs_io_stats s = hs_io_get_stats(io);
        *ret = (hs_disk_result){s.bytes, s.reads, (double)s.busy_ns * 1e-9, direct && hs_io_is_direct(io), ""};
        snprintf(ret->engine, sizeof ret->engine, "%s", hs_io_engine_name(io));
        if (m->failed)
            r = hs_err_set(err, m->failed, "%s: cannot read: %s", file, hs_strerror(m->failed));
        else if (hs_stop_asked())
            r = hs_err_set(err, -ECANCELED, "stopped as asked");
    }
    hs_io_destroy(&io);
    hs_map_free(arena.iov_base, arena.iov_len);
    hs_free(m);
    close(fd);
    return r;
}

double hs_disk_rate(const hs_disk_result *r)
{
    return r->busy_s > 0 ? (double)r->bytes / r->busy_s : 0;
}
