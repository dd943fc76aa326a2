/*
 * source.c - opening a model folder, and bringing tensors into memory.
 * After open the tensor directory is sorted by name; places (of packed tensors) are permuted with it.
 */
#include "store/source.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/decode.h"
#include "store/store_int.h"

bool hs__name_is_plain(const char *name)
{
    size_t n = strlen(name);
    return n && n < 256 && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

int hs__file_open(hs_source *s, const char *name, hs__file *ret, hs_err *err)
{
    char *path = hs_asprintf("%s/%s", s->path, name);
    struct stat st;
    memset(ret, 0, sizeof *ret);
    ret->fd = -1;
    if (path)
        ret->path = hs__names_add(&s->names, path, strlen(path));
    ret->name = hs__names_add(&s->names, name, strlen(name));
    hs_free(path);
    if (!ret->path || !ret->name)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    int fd = open(ret->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int r = hs_err_set(err, -errno, "%s: %s", ret->path, hs_strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return hs_err_set(err, -EINVAL, "%s: not a regular file", ret->path);
    }
    ret->fd = fd;
    ret->bytes = (uint64_t)st.st_size;
    return 0;
}

/* A JSON object file of the folder; *ret stays NULL if it is absent and optional. */
static int load_object(hs_source *s, const char *name, bool required, json_t **ret, hs_err *err)
{
    char *path = hs_asprintf("%s/%s", s->path, name);
    if (!path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    int r = 0;
    if (required || access(path, F_OK) == 0)
        r = hs_json_load_file(path, 8u << 20, ret, err);
    if (r == 0 && *ret && !json_is_object(*ret))
        r = hs_err_set(err, -EINVAL, "%s: not a JSON object", path);
    hs_free(path);
    return r;
}

typedef struct keyed {
    hs_tensor t;
    hs__place p;
} keyed;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const keyed *)a)->t.name, ((const keyed *)b)->t.name);
}

/* Sorts tensors by name, places along with them. */
static int sort_directory(hs_source *s, hs_err *err)
{
    keyed *k = hs_calloc(s->n_tensors ? s->n_tensors : 1, sizeof *k);
    if (!k)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    for (uint32_t i = 0; i < s->n_tensors; i++)
        k[i] = (keyed){s->tensors[i], s->packed ? s->places[i] : (hs__place){0}};
    qsort(k, s->n_tensors, sizeof *k, by_name);
    int r = 0;
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        s->tensors[i] = k[i].t;
        if (s->packed)
            s->places[i] = k[i].p;
        s->checkpoint.total_bytes += k[i].t.nbytes;
        if (i && !strcmp(k[i].t.name, k[i - 1].t.name))
            r = hs_err_set(err, -EINVAL, "%s: tensor %s appears twice", s->path, k[i].t.name);
    }
    hs_free(k);
    return r;
}

/* Names, shapes and files' stamps of a safetensors folder. */
static void make_identity(hs_source *s)
{
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return;
    XXH3_128bits_reset(h);
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        const hs_tensor *t = &s->tensors[i];
        XXH3_128bits_update(h, t->name, strlen(t->name) + 1);
        XXH3_128bits_update(h, t->dims, sizeof t->dims);
        XXH3_128bits_update(h, &t->nbytes, sizeof t->nbytes);
    }
    for (uint32_t f = 0; f < s->n_files; f++) {
        struct stat st;
        if (fstat(s->files[f].fd, &st) == 0) {
            int64_t stamp[3] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
            XXH3_128bits_update(h, stamp, sizeof stamp);
        }
    }
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits_digest(h));
    memcpy(s->identity, c.digest, 16);
    XXH3_freeState(h);
}

int hs_source_open(const char *path, hs_source **ret_source, hs_err *err)
{
    hs_source *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    struct stat st;
    int r = 0;
    s->path = hs__names_add(&s->names, path, strlen(path));
    if (!s->path)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    else if (stat(path, &st) < 0)
        r = hs_err_set(err, -errno, "%s: %s", path, hs_strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        r = hs_err_set(err, -ENOTDIR, "%s: not a folder; this build serves packed and safetensors folders", path);
    if (r == 0) {
        char *manifest = hs_asprintf("%s/manifest.json", path);
        bool packed = manifest && access(manifest, F_OK) == 0;
        hs_free(manifest);
        r = packed ? hs__packed_open(s, err) : hs__safetensors_open(s, err);
    }
    if (r == 0)
        r = load_object(s, "config.json", true, &s->config, err);
    if (r == 0)
        r = load_object(s, "generation_config.json", false, &s->generation, err);
    if (r == 0)
        r = sort_directory(s, err);
    if (r < 0) {
        hs_source_close(&s);
        return r;
    }
    if (!s->packed)
        make_identity(s);
    s->checkpoint.path = s->path;
    s->checkpoint.config = s->config;
    s->checkpoint.generation_config = s->generation;
    s->checkpoint.tensors = s->tensors;
    s->checkpoint.n_tensors = s->n_tensors;
    *ret_source = s;
    return 0;
}

void hs_source_close(hs_source **source)
{
    hs_source *s = *source;
    if (!s)
        return;
    for (uint32_t f = 0; f < s->n_files; f++) {
        if (s->files[f].fd >= 0)
            close(s->files[f].fd);
        if (s->shards)
            hs_free(s->shards[f].table);
    }
    json_decref(s->config);
    json_decref(s->generation);
    hs_free(s->files);
    hs_free(s->shards);
    hs_free(s->places);
    hs_free(s->tensors);
    hs__names_free(&s->names);
    hs_free(s);
    *source = NULL;
}

const hs_checkpoint *hs_source_checkpoint(const hs_source *s)
{
    return &s->checkpoint;
}

bool hs_source_is_packed(const hs_source *s)
{
    return s->packed;
}

uint64_t hs_source_bytes(const hs_source *s)
{
    uint64_t n = sizeof *s + s->names.bytes + s->cap_tensors * sizeof *s->tensors + s->n_files * sizeof *s->files;
    if (s->packed) {
        n += s->n_tensors * sizeof *s->places + s->n_files * sizeof *s->shards;
        for (uint32_t f = 0; f < s->n_files; f++)
            n += s->shards[f].header.table_bytes;
    }
    return n;
}

const uint8_t *hs_source_identity(const hs_source *s)
{
    return s->identity;
}

/* First frame of a part within its shard's frames. */
static uint32_t first_frame_of(const hs__shard *sh, const hs_shard_record *rec, uint32_t part)
{
    uint32_t frame = rec->first_frame;
    for (uint32_t i = rec->first_part; i < part; i++)
        frame += hs__part_frames(&sh->parts[i]);
    return frame;
}

uint64_t hs_source_stored_bytes(const hs_source *s, uint32_t tensor)
{
    if (!s->packed)
        return s->tensors[tensor].nbytes;
    const hs__place *p = &s->places[tensor];
    const hs__shard *sh = &s->shards[p->shard];
    uint32_t frame = first_frame_of(sh, &sh->records[p->record], p->part), n = hs__part_frames(&sh->parts[p->part]);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += sh->frames[frame + i].stored_bytes;
    return bytes;
}

/* ---- loading ---- */

#define CHUNK (1u << 20) /* of a plain file, per task */

typedef struct piece {
    uint32_t tensor;
    uint64_t offset; /* in the file */
    uint64_t len;    /* stored */
    uint8_t *dst;
    uint64_t raw;      /* bytes that belong into dst; the frame's padding is dropped */
    uint32_t raw_full; /* of the frame, padding included; 0 = plain bytes */
    uint32_t check;
    hs_codec codec;
} piece;

typedef struct load_job {
    const hs_source *s;
    const piece *pieces;
    uint8_t *scratch; /* per thread: stored frame, raw frame */
    hs_decoder **decoders;
    _Atomic int failed;
    _Atomic uint32_t failed_piece;
    uint64_t done;
} load_job;

#define SCRATCH_PER_THREAD (HS_FRAME_MAX_STORED + 64 + HS_FRAME_RAW)

static void load_piece(void *ctx, uint32_t index, uint32_t thread)
{
    load_job *j = ctx;
    const piece *p = &j->pieces[index];
    const hs_source *s = j->s;
    int fd = s->files[s->tensors[p->tensor].file].fd;
    if (atomic_load_explicit(&j->failed, memory_order_relaxed))
        return;
    int r;
    if (!p->raw_full) {
        r = hs_pread_full(fd, p->dst, p->len, (off_t)p->offset);
    } else {
        uint8_t *stored = j->scratch + (size_t)thread * hs_align_up(SCRATCH_PER_THREAD, 64);
        uint8_t *raw = stored + hs_align_up(HS_FRAME_MAX_STORED, 64);
        r = hs_pread_full(fd, stored, p->len, (off_t)p->offset);
        if (r == 0)
            r = hs__frame_decode(j->decoders[thread], p->codec, p->check, stored, (uint32_t)p->len, raw, p->raw_full);
        if (r == 0)
            memcpy(p->dst, raw, p->raw);
    }
    int none = 0;
    if (r < 0 && atomic_compare_exchange_strong(&j->failed, &none, r))
        atomic_store(&j->failed_piece, index);
}

/* Adds the pieces of one tensor; returns how many (out may be NULL to count). */
static uint64_t cut_tensor(const hs_source *s, const hs_load *l, piece *out)
{
    const hs_tensor *t = &s->tensors[l->tensor];
    uint64_t n = 0;
    if (!s->packed) {
        for (uint64_t at = 0; at < t->nbytes; at += CHUNK, n++) {
            uint64_t len = t->nbytes - at < CHUNK ? t->nbytes - at : CHUNK;
            if (out)
                out[n] = (piece){.tensor = l->tensor,
                                 .offset = t->offset + at,
                                 .len = len,
                                 .dst = (uint8_t *)l->dst + at,
                                 .raw = len};
        }
        return n;
    }
    const hs__place *p = &s->places[l->tensor];
    const hs__shard *sh = &s->shards[p->shard];
    const hs_shard_record *rec = &sh->records[p->record];
    const hs_shard_part *part = &sh->parts[p->part];
    uint32_t frame = first_frame_of(sh, rec, p->part);
    uint64_t stored = rec->offset, padded = hs__part_padded(part);
    for (uint32_t i = rec->first_frame; i < frame; i++)
        stored += sh->frames[i].stored_bytes;
    for (uint64_t at = 0; at < padded; at += HS_FRAME_RAW, n++) {
        const hs_shard_frame *f = &sh->frames[frame + n];
        uint64_t full = padded - at < HS_FRAME_RAW ? padded - at : HS_FRAME_RAW;
        uint64_t raw = t->nbytes > at ? t->nbytes - at : 0;
        if (out)
            out[n] = (piece){.tensor = l->tensor,
                             .offset = stored,
                             .len = f->stored_bytes,
                             .dst = (uint8_t *)l->dst + at,
                             .raw = raw < full ? raw : full,
                             .raw_full = (uint32_t)full,
                             .check = f->check,
                             .codec = (hs_codec)part->codec};
        stored += f->stored_bytes;
    }
    return n;
}

#define BATCH 256u /* pieces per pool job: between two, progress is told and cancelling is possible */

static int run_pieces(load_job *j, const hs_load *loads, uint32_t n, hs_pool *pool, piece *batch, uint64_t total,
                      hs_load_progress progress, void *ctx, hs_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const hs_tensor *t = &j->s->tensors[loads[i].tensor];
        uint64_t pieces = cut_tensor(j->s, &loads[i], NULL);
        piece *all = pieces <= BATCH ? batch : hs_calloc(pieces, sizeof *all);
        if (!all)
            return hs_err_set(err, -ENOMEM, "%s: out of memory", t->name);
        cut_tensor(j->s, &loads[i], all);
        int r = 0;
        for (uint64_t at = 0; r == 0 && at < pieces; at += BATCH) {
            j->pieces = all + at;
            hs_pool_run(pool, pieces - at < BATCH ? (uint32_t)(pieces - at) : BATCH, load_piece, j);
            r = atomic_load(&j->failed);
            if (r < 0)
                hs_err_set(err, r, "%s: tensor %s: %s", j->s->files[t->file].path, t->name,
                           r == -EBADMSG   ? "damaged (checksum)"
                           : r == -ENODATA ? "the file ends inside it"
                                           : hs_strerror(r));
            for (uint64_t k = 0; r == 0 && k < BATCH && at + k < pieces; k++)
                j->done += all[at + k].raw;
            if (r == 0 && progress && progress(ctx, j->done, total))
                r = hs_err_set(err, -ECANCELED, "loading was cancelled");
        }
        if (all != batch)
            hs_free(all);
        posix_fadvise(j->s->files[t->file].fd, 0, 0, POSIX_FADV_DONTNEED);
        if (r < 0)
            return r;
    }
    return 0;
}

int hs_source_load(const hs_source *s, const hs_load *loads, uint32_t n, hs_pool *pool, hs_load_progress progress,
                   void *ctx, hs_err *err)
{
    uint32_t threads = hs_pool_threads(pool);
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += s->tensors[loads[i].tensor].nbytes;
    load_job j = {.s = s};
    j.scratch = hs_malloc(threads * hs_align_up(SCRATCH_PER_THREAD, 64));
    j.decoders = hs_calloc(threads, sizeof *j.decoders);
    piece *batch = hs_calloc(BATCH, sizeof *batch);
    int r = j.scratch && j.decoders && batch ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    for (uint32_t t = 0; r == 0 && t < threads; t++)
        r = hs_decoder_create(&j.decoders[t], err);
    if (r == 0)
        r = run_pieces(&j, loads, n, pool, batch, total, progress, ctx, err);
    for (uint32_t t = 0; j.decoders && t < threads; t++)
        hs_decoder_destroy(&j.decoders[t]);
    hs_free(j.scratch);
    hs_free(j.decoders);
    hs_free(batch);
    return r;
}
