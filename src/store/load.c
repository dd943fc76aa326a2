/*
 * load.c - tensors into memory at the drive's speed: direct reads into bounce buffers through hs_io, and from there to
 * their places by the pool, checked and decoded where the folder is packed. While the pool works on the buffers that
 * have landed, the others are being read.
 *
 * A piece is what one buffer takes: a run of a plain tensor's bytes, or whole frames of a packed one. Pieces are made
 * one by one, in order of place on disk, so memory does not grow with the model.
 * A buffer whose bytes do not come, or are damaged, is read again from each of the model's copies, if it has mirrors.
 * Threads: the caller and its pool; on_read runs on the I/O thread and only moves a buffer to `landed` under `lock`.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "store/decode.h"
#include "store/io.h"
#include "store/store_int.h"

#define BUFFERS      16u
#define BUFFER_BYTES (512u << 10)
#define MAX_FRAMES   32u /* of a piece: frames of zeros are tiny */
#define MAX_WORKERS  8u  /* decoders: 8 cores expand more than a drive delivers */
#define ALIGN        4096ull
#define SLICE        (128u << 10) /* plain bytes that one task copies */
#define LOOK_NS      100000000ull /* how often a wait for the drive looks up */

/* A tensor, or one of the records that it is cut over. */
typedef struct place {
    uint32_t file, load;    /* index into loads */
    uint64_t offset;        /* in the file */
    uint64_t at, bytes;     /* of the tensor */
    const hs__place *where; /* packed */
} place;

typedef struct piece {
    const place *of;
    uint64_t offset;          /* of its first byte in the file */
    uint64_t len;             /* bytes in the file */
    uint64_t at;              /* where they belong in what it is of */
    uint32_t frame, n_frames; /* packed: within the shard's frames; 0 = plain */
} piece;

typedef struct loader loader;
typedef struct buffer {
    hs_io_req req;
    loader *l;
    uint8_t *mem;
    piece p;
    uint32_t n_tasks;
    bool out;            /* being read */
    int result;          /* of the read */
    _Atomic int damaged; /* by a task */
    struct buffer *next;
} buffer;

typedef struct worker {
    hs_decoder *decoder;
    uint8_t *frame; /* [HS_FRAME_RAW]: the last frame of a tensor, with its padding */
} worker;

struct loader {
    const hs_source *s;
    const hs_load *loads;
    uint32_t n;
    place *order; /* [n_order], by place on disk */
    uint32_t n_order;
    /* The next piece: of order[next], `at` raw bytes of it are cut; packed: its next frame, and that one's offset. */
    uint32_t next, frame;
    uint64_t at, stored;

    int *fds;        /* [n_copies][n_fds] own descriptors, n_open of them so far */
    uint32_t *fd_of; /* [n_files]: index into fds */
    uint32_t n_fds, n_open, n_copies;
    hs_io *io;
    uint8_t *arena;
    buffer buffers[BUFFERS];
    buffer *idle;
    worker workers[MAX_WORKERS];
    uint32_t n_workers;

    /* The pool's job: tasks are taken by counting through the batch. */
    buffer *batch[BUFFERS];
    uint32_t n_batch, n_tasks;
    _Atomic uint32_t task;
    _Atomic uint64_t failed; /* -result << 32 | 1 + load; 0 = nothing has */

    hs_mutex lock;
    pthread_cond_t changed;
    buffer *landed;
};

static void on_read(hs_io_req *req, int result)
{
    buffer *b = req->user;
    loader *l = b->l;
    b->result = result;
    hs_mutex_lock(&l->lock);
    b->next = l->landed;
    l->landed = b;
    pthread_cond_signal(&l->changed);
    hs_mutex_unlock(&l->lock);
}

/* ---- pieces ---- */

static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Offset in its file of the first frame there. */
static uint64_t offset_of(const hs_source *s, const hs__place *p, uint32_t *ret_frame)
{
    const hs__shard *sh = &s->shards[p->shard];
    const hs_shard_record *rec = &sh->records[p->record];
    *ret_frame = hs__first_frame(sh, rec, p->part);
    uint64_t offset = rec->offset;
    for (uint32_t i = rec->first_frame; i < *ret_frame; i++)
        offset += sh->frames[i].stored_bytes;
    return offset;
}

/* Bytes of the tensor's file that one buffer takes from offset on. */
static uint64_t room_at(uint64_t offset)
{
    return BUFFER_BYTES - offset % ALIGN;
}

static void cut_plain(loader *l, piece *p)
{
    uint64_t left = p->of->bytes - l->at;
    p->offset = p->of->offset + l->at;
    p->len = left < room_at(p->offset) ? left : room_at(p->offset);
    l->at += p->len;
}

static void cut_packed(loader *l, piece *p)
{
    const hs_shard_frame *frames = l->s->shards[p->of->file].frames;
    if (l->at == 0)
        l->stored = offset_of(l->s, p->of->where, &l->frame);
    p->offset = l->stored;
    p->frame = l->frame;
    while (l->at < p->of->bytes && p->n_frames < MAX_FRAMES &&
           p->len + frames[l->frame].stored_bytes <= room_at(p->offset)) {
        p->len += frames[l->frame++].stored_bytes;
        p->n_frames++;
        l->at += HS_FRAME_RAW;
    }
    l->stored += p->len;
}

/* The next piece; false when all have been cut. */
static bool next_piece(loader *l, piece *p)
{
    while (l->next < l->n_order && l->at >= l->order[l->next].bytes) {
        l->next++;
        l->at = 0;
    }
    if (l->next == l->n_order)
        return false;
    *p = (piece){.of = &l->order[l->next], .at = l->at};
    if (l->s->packed)
        cut_packed(l, p);
    else
        cut_plain(l, p);
    return true;
}

/* ---- from buffers to their places ---- */

static void fail(loader *l, uint32_t load, int result)
{
    uint64_t none = 0;
    atomic_compare_exchange_strong(&l->failed, &none, (uint64_t)(uint32_t)-result << 32 | (load + 1));
}

/* Task k of a landed buffer. */
static void place_bytes(loader *l, buffer *b, uint32_t k, worker *w)
{
    const piece *p = &b->p;
    const uint8_t *from = b->mem + p->offset % ALIGN;
    uint8_t *to = (uint8_t *)l->loads[p->of->load].dst + p->of->at + p->at;
    if (!p->n_frames) {
        uint64_t at = (uint64_t)k * SLICE;
        memcpy(to + at, from + at, p->len - at < SLICE ? p->len - at : SLICE);
        return;
    }
    const hs__shard *sh = &l->s->shards[p->of->file];
    const hs_shard_part *part = &sh->parts[p->of->where->part];
    for (uint32_t i = 0; i < k; i++)
        from += sh->frames[p->frame + i].stored_bytes;
    uint64_t at = p->at + (uint64_t)k * HS_FRAME_RAW, padded = hs__part_padded(part) - at, wanted = part->bytes - at;
    uint32_t raw = padded < HS_FRAME_RAW ? (uint32_t)padded : HS_FRAME_RAW;
    const hs_shard_frame *f = &sh->frames[p->frame + k];
    uint8_t *out = wanted < raw ? w->frame : to + (uint64_t)k * HS_FRAME_RAW;
    int r = hs__frame_decode(w->decoder, (hs_codec)part->codec, f->check, from, f->stored_bytes, out, raw);
    if (r < 0)
        atomic_store_explicit(&b->damaged, r, memory_order_relaxed);
    else if (wanted < raw)
        memcpy(to + (uint64_t)k * HS_FRAME_RAW, w->frame, wanted);
}

/* One of n_workers: takes tasks of the batch until none is left. */
static void work(void *ctx, uint32_t index, uint32_t thread)
{
    loader *l = ctx;
    (void)thread;
    for (;;) {
        uint32_t k = atomic_fetch_add_explicit(&l->task, 1, memory_order_relaxed), i = 0;
        if (k >= l->n_tasks)
            return;
        while (k >= l->batch[i]->n_tasks)
            k -= l->batch[i++]->n_tasks;
        place_bytes(l, l->batch[i], k, &l->workers[index]);
    }
}

/* ---- the loop ---- */

/* Gives every idle buffer a piece to read; returns how many. */
static uint32_t read_ahead(loader *l)
{
    hs_io_req *reqs[BUFFERS];
    uint32_t n = 0;
    buffer *b;
    while ((b = l->idle) && next_piece(l, &b->p)) {
        l->idle = b->next;
        uint64_t begin = b->p.offset & ~(ALIGN - 1), end = b->p.offset + b->p.len;
        b->req.ranges[0] = (hs_range){l->fd_of[b->p.of->file], begin, hs_align_up(end - begin, ALIGN), 0};
        b->n_tasks = b->p.n_frames ? b->p.n_frames : (uint32_t)((b->p.len + SLICE - 1) / SLICE);
        b->out = true;
        b->req.only = 0;
        reqs[n++] = &b->req;
    }
    if (n)
        hs_io_submit_many(l->io, reqs, n);
    return n;
}

/* Waits a while for landed buffers; NULL if none came. */
static buffer *await_landed(loader *l)
{
    struct timespec until = hs_timespec(hs_now_ns() + LOOK_NS);
    hs_mutex_lock(&l->lock);
    for (int r = 0; !l->landed && r == 0;)
        r = hs_cond_timedwait(&l->changed, &l->lock, &until);
    buffer *b = l->landed;
    l->landed = NULL;
    hs_mutex_unlock(&l->lock);
    return b;
}

/* The drive does not answer: the first piece that is out is the one that failed. */
static void fail_stalled(loader *l)
{
    for (uint32_t i = 0; i < BUFFERS; i++)
        if (l->buffers[i].out)
            fail(l, l->buffers[i].p.of->load, -ETIMEDOUT);
}

/* A buffer without its bytes: once more from the next copy, if there are mirrors. False: it has failed. */
static bool read_again(loader *l, buffer *b, int result)
{
    if (l->n_copies == 1 || b->req.only == l->n_copies) {
        fail(l, b->p.of->load, result);
        return false;
    }
    b->req.only++;
    b->out = true;
    hs_io_submit(l->io, &b->req);
    return true;
}

/* Makes the landed buffers the batch, but for those whose read has failed. */
static void take(loader *l, buffer *b)
{
    l->n_batch = l->n_tasks = 0;
    for (buffer *next; b; b = next) {
        next = b->next; /* a buffer that is read again may be back, and in the list, at once */
        b->out = false;
        b->damaged = 0;
        if (b->result < 0) {
            read_again(l, b, b->result);
            continue;
        }
        l->batch[l->n_batch++] = b;
        l->n_tasks += b->n_tasks;
    }
}

/* Takes out of the batch what is damaged and read again. */
static void drop_damaged(loader *l)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n_batch; i++) {
        buffer *b = l->batch[i];
        if (!b->damaged || !read_again(l, b, b->damaged))
            l->batch[n++] = b;
    }
    l->n_batch = n;
}

/* The sentence for what has failed. */
static int explain(const loader *l, hs_err *err)
{
    uint64_t failed = atomic_load(&l->failed);
    int r = -(int)(failed >> 32);
    uint32_t tensor = l->loads[(uint32_t)failed - 1].tensor;
    const hs_tensor *t = &l->s->tensors[tensor];
    const char *what = r == -EBADMSG     ? "damaged (checksum)"
                       : r == -ENODATA   ? "the file has been cut since it was opened"
                       : r == -ETIMEDOUT ? "the drive does not answer"
                                         : hs_strerror(r);
    if (l->s->packed)
        return hs_err_set(err, r, "%s: record %u (%s): %s", l->s->files[t->file].path, l->s->places[tensor].record,
                          t->name, what);
    return hs_err_set(err, r, "%s: tensor %s: %s", l->s->files[t->file].path, t->name, what);
}

static int run(loader *l, hs_pool *pool, uint64_t total, hs_load_progress progress, void *ctx, hs_err *err)
{
    uint64_t done = 0, last = hs_now_ns();
    uint32_t out = 0;
    while ((out += read_ahead(l)) > 0) {
        buffer *landed = await_landed(l);
        uint64_t now = hs_now_ns();
        if (!landed && now - last > hs_io_patience_ns(l->io))
            fail_stalled(l);
        take(l, landed);
        last = landed ? now : last;
        atomic_store(&l->task, 0);
        if (l->n_tasks && !atomic_load(&l->failed))
            hs_pool_run(pool, l->n_workers, work, l);
        drop_damaged(l);
        if (atomic_load(&l->failed))
            return explain(l, err);
        out -= l->n_batch;
        for (uint32_t i = 0; i < l->n_batch; i++) {
            buffer *b = l->batch[i];
            uint64_t left = b->p.of->bytes - b->p.at;
            uint64_t raw = b->p.n_frames ? (uint64_t)b->p.n_frames * HS_FRAME_RAW : b->p.len;
            done += raw < left ? raw : left;
            b->next = l->idle;
            l->idle = b;
        }
        if (progress && progress(ctx, done, total))
            return hs_err_set(err, -ECANCELED, "loading was cancelled");
    }
    return 0;
}

/* ---- set-up ---- */

static int sort_loads(loader *l, hs_err *err)
{
    const hs_source *s = l->s;
    l->order = hs_calloc((size_t)l->n * (s->n_more ? HS_PACK_MAX_PIECES : 1u), sizeof *l->order);
    if (!l->order)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    for (uint32_t i = 0; i < l->n; i++) {
        const hs_tensor *t = &s->tensors[l->loads[i].tensor];
        if (!s->packed)
            l->order[l->n_order++] = (place){t->file, i, t->offset, 0, t->nbytes, NULL};
        uint64_t at = 0;
        for (const hs__place *p = s->packed ? &s->places[t - s->tensors] : NULL; p; p = hs__place_next(s, p)) {
            uint32_t frame;
            uint64_t bytes = s->shards[p->shard].parts[p->part].bytes;
            l->order[l->n_order++] = (place){p->shard, i, offset_of(s, p, &frame), at, bytes, p};
            at += bytes;
        }
    }
    qsort(l->order, l->n_order, sizeof *l->order, by_place);
    return 0;
}

/* Descriptors of the files that are needed, and of their copies. */
static int open_files(loader *l, hs_err *err)
{
    const hs_source *s = l->s;
    l->n_copies = 1 + s->n_mirrors;
    l->fds = hs_calloc((size_t)s->n_files * l->n_copies, sizeof *l->fds);
    l->fd_of = hs_calloc(s->n_files, sizeof *l->fd_of);
    if (!l->fds || !l->fd_of)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    for (uint32_t c = 0; c < l->n_copies; c++) {
        for (uint32_t i = 0; i < l->n_order; i++) {
            uint32_t f = l->order[i].file;
            if (i && l->order[i - 1].file == f)
                continue;
            int r = hs__file_reopen(hs__copy_file(s, c, f), &l->fds[l->n_open], err);
            if (r < 0)
                return r;
            if (c == 0)
                l->fd_of[f] = l->n_fds++;
            l->n_open++;
        }
    }
    return 0;
}

static int set_up(loader *l, hs_pool *pool, const hs_io_config *how, hs_err *err)
{
    int r = sort_loads(l, err);
    if (r == 0)
        r = open_files(l, err);
    if (r < 0)
        return r;
    l->arena = hs_map_alloc(BUFFERS * BUFFER_BYTES);
    l->n_workers = hs_pool_threads(pool) < MAX_WORKERS ? hs_pool_threads(pool) : MAX_WORKERS;
    for (uint32_t i = 0; l->s->packed && i < l->n_workers; i++) {
        l->workers[i].frame = hs_malloc(HS_FRAME_RAW);
        r = l->workers[i].frame ? hs_decoder_create(&l->workers[i].decoder, err) : -ENOMEM;
        if (r < 0)
            return hs_err_set(err, r, "%s: out of memory", l->s->path);
    }
    if (!l->arena)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", l->s->path);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        buffer *b = &l->buffers[i];
        *b = (buffer){.l = l, .mem = l->arena + (size_t)i * BUFFER_BYTES, .next = l->idle};
        b->req = (hs_io_req){.n_ranges = 1, .dst = b->mem, .user = b, .on_done = on_read};
        l->idle = b;
    }
    struct iovec whole = {l->arena, BUFFERS * BUFFER_BYTES};
    hs_io_config cfg = how ? *how : (hs_io_config){0};
    cfg.read_size = BUFFER_BYTES;
    cfg.in_flight = 0;
    cfg.fds = l->fds;
    cfg.n_fds = l->n_open;
    cfg.n_copies = l->n_copies;
    cfg.drives = NULL; /* which are for other files */
    cfg.buffers = &whole;
    cfg.n_buffers = 1;
    return hs_io_create(&cfg, &l->io, err);
}

static void tear_down(loader *l)
{
    if (l->io && hs_io_stop(l->io) < 0) {
        hs_io_abandon(l->io);
        return; /* the drive may still write into all of this */
    }
    hs_io_destroy(&l->io);
    for (uint32_t i = 0; i < l->n_open; i++)
        close(l->fds[i]);
    for (uint32_t i = 0; i < MAX_WORKERS; i++) {
        hs_decoder_destroy(&l->workers[i].decoder);
        hs_free(l->workers[i].frame);
    }
    hs_map_free(l->arena, BUFFERS * BUFFER_BYTES);
    hs_free(l->fds);
    hs_free(l->fd_of);
    hs_free(l->order);
    pthread_cond_destroy(&l->changed);
    hs_mutex_destroy(&l->lock);
    hs_free(l);
}

int hs_source_load(const hs_source *s, const hs_load *loads, uint32_t n, hs_pool *pool, const hs_io_config *how,
                   hs_load_progress progress, void *ctx, hs_err *err)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += s->tensors[loads[i].tensor].nbytes;
    if (!total)
        return 0;
    loader *l = hs_calloc(1, sizeof *l);
    if (!l)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    l->s = s;
    l->loads = loads;
    l->n = n;
    hs_mutex_init(&l->lock, HS_RANK_LOAD);
    hs_cond_init(&l->changed);
    int r = set_up(l, pool, how, err);
    if (r == 0)
        r = run(l, pool, total, progress, ctx, err);
    tear_down(l);
    return r;
}
