/* io_fixture.c - see io_fixture.h. */
#include "unit/store/io_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

char io_path[FOLDER_PATH];
uint8_t *io_content;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint32_t n_done;

uint32_t io_random(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

int io_setup(void **state)
{
    (void)state;
    uint32_t seed = 7;
    folder_create(io_path);
    io_content = malloc(BYTES);
    for (uint32_t i = 0; i < BYTES; i++)
        io_content[i] = (uint8_t)io_random(&seed);
    folder_write(io_path, "file", io_content, BYTES);
    return 0;
}

int io_teardown(void **state)
{
    (void)state;
    free(io_content);
    folder_destroy(io_path);
    return 0;
}

static void on_progress(hs_io_req *req, uint32_t r, uint64_t off, uint64_t len)
{
    ticket *t = (ticket *)req;
    assert_true(r < req->n_ranges && off + len <= req->ranges[r].len);
    t->progress += len;
}

void ticket_done(hs_io_req *req, int result)
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

ticket *ticket_create(hs_io_class cls, uint64_t offset, uint64_t len)
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
                         .on_done = ticket_done};
    return t;
}

void ticket_destroy(ticket *t)
{
    hs_map_free(t->mem, SPACE);
    free(t);
}

int ticket_wait(ticket *t)
{
    pthread_mutex_lock(&lock);
    while (!t->done)
        pthread_cond_wait(&changed, &lock);
    int r = t->result;
    pthread_mutex_unlock(&lock);
    return r;
}

bool ticket_is_done(const ticket *t)
{
    pthread_mutex_lock(&lock);
    bool done = t->done;
    pthread_mutex_unlock(&lock);
    return done;
}

/* Compares what has arrived with the file, up to its end. */
void ticket_check(const ticket *t)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->req.n_ranges; i++) {
        const hs_range *r = &t->req.ranges[i];
        uint64_t n = BYTES - r->offset < r->len ? BYTES - r->offset : r->len;
        assert_memory_equal(t->mem + r->dst_offset, io_content + r->offset, n);
        bytes += r->len;
    }
    assert_int_equal(t->progress, bytes);
}

hs_io *io_open(const hs_io_config *cfg)
{
    hs_io *io = NULL;
    hs_err err = {0};
    n_done = 0;
    if (hs_io_create(cfg, &io, &err) < 0)
        fail_msg("%s", err.text);
    return io;
}

bool io_has_uring(int fd)
{
    hs_io *io;
    hs_io_config cfg = {.engine = HS_IO_URING, .fds = &fd, .n_fds = 1};
    if (hs_io_create(&cfg, &io, NULL) < 0)
        return false;
    hs_io_destroy(&io);
    return true;
}

void ticket_aim(ticket *t, uint32_t *seed)
{
    uint64_t at = 0;
    t->req.n_ranges = 1 + io_random(seed) % 3;
    for (uint32_t i = 0; i < t->req.n_ranges; i++) {
        uint64_t pages = 1 + io_random(seed) % 40, all = (BYTES + 4095) / 4096;
        t->req.ranges[i] = (hs_range){0, io_random(seed) % (all - pages + 1) * 4096, pages * 4096, at};
        at += pages * 4096 + io_random(seed) % 2 * 4096;
    }
    t->req.cls = io_random(seed) % 2 ? HS_IO_DEMAND : HS_IO_SPECULATIVE;
}
