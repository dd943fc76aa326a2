/*
 * repair.c - hs_repair: what is damaged in a pack is taken from a copy of it, which is byte for byte the same where it
 * is sound, or made again from the source that it was packed from (remake.c).
 *
 * Invariants:
 *   1. Nothing is written before the bytes for it have passed the checksum that the pack has of them.
 *   2. In a shard only pages that differ are written, in place, and only of records (or ends) that are damaged; small
 *      files and shards of a wrong size are replaced as a whole, by renaming. Whenever it is interrupted, what was
 * sound is sound, and what was damaged is mended or still damaged.
 *   3. What has been written is synced, dropped from the page cache and checked again.
 * What is damaged in both is told as a problem, and the work goes on. A daemon may serve the pack meanwhile.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define CHUNK (1u << 20)

typedef struct repair {
    hs__pk_work *w, quiet;   /* quiet: hears of no problem, since those of the copy are not the pack's */
    hs__pk_packed *p, *copy; /* copy NULL: from the source */
    hs__pk_remaker *remaker;
    const char *from; /* for notes */
    hs__pk_reader *reader;
    uint8_t *mine, *theirs; /* [CHUNK] */
    uint64_t n;             /* mended */
} repair;

static void mended(repair *r, const char *what)
{
    r->n++;
    hs__pk_note(r->w, "%s: repaired from %s", what, r->from);
}

/* Errors of the thing that is mended are problems; the rest ends the work. */
static int as_problem(repair *r, const char *file, int64_t record, int e, const hs_err *why, hs_err *err)
{
    if (e == -ECANCELED || e == -ENOMEM)
        return hs_err_set(err, e, "%s", why->text);
    if (e < 0)
        hs__pk_problem(r->w, file, record, "%s", why->text);
    return 0;
}

/* ---- shards ---- */

static int write_differing_pages(const repair *r, int fd, uint64_t at, const uint8_t *pages, uint32_t n,
                                 const char *path, hs_err *err)
{
    bool readable = hs_pread_full(fd, r->mine, n, (off_t)at) == 0;
    for (uint32_t i = 0; i < n; i += HS_SHARD_ALIGN) {
        bool here = readable || hs_pread_full(fd, r->mine + i, HS_SHARD_ALIGN, (off_t)(at + i)) == 0;
        if (here && !memcmp(r->mine + i, pages + i, HS_SHARD_ALIGN))
            continue;
        int e = hs_pwrite_full(fd, pages + i, HS_SHARD_ALIGN, (off_t)(at + i));
        if (e < 0)
            return hs_err_set(err, e, "%s: %s", path, hs_strerror(e));
    }
    return 0;
}

/* Synced, and out of the page cache, so that the drive is asked for it again. */
static int close_mended(int fd, int e, const char *path, hs_err *err)
{
    if (e == 0 && fsync(fd) < 0)
        e = hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return e;
}

/* Makes [from, to), whole pages, what they are in the copy. */
static int mend(repair *r, const hs__pk_shard *sh, const hs__pk_shard *good, uint64_t from, uint64_t to, hs_err *err)
{
    int fd = open(sh->path, O_RDWR | O_CLOEXEC), e = fd < 0 ? -errno : 0;
    if (e < 0)
        return hs_err_set(err, e, "%s: %s", sh->path, hs_strerror(e));
    for (uint64_t at = from; e == 0 && at < to; at += CHUNK) {
        uint32_t n = to - at < CHUNK ? (uint32_t)(to - at) : CHUNK;
        e = hs_pread_full(good->fd, r->theirs, n, (off_t)at);
        if (e < 0)
            hs_err_set(err, e, "%s: %s", good->path, hs_strerror(e));
        else
            e = write_differing_pages(r, fd, at, r->theirs, n, sh->path, err);
    }
    return close_mended(fd, e, sh->path, err);
}
/* The same with what the source gives again. */
typedef struct rewrite {
    repair *r;
    const hs__pk_shard *sh;
    int fd;
} rewrite;

static int write_pages(void *ctx, uint64_t at, const uint8_t *pages, uint32_t n, hs_err *err)
{
    const rewrite *x = ctx;
    return write_differing_pages(x->r, x->fd, at, pages, n, x->sh->path, err);
}

static int remake(repair *r, const hs__pk_shard *sh, uint32_t record, hs_err *err)
{
    rewrite x = {.r = r, .sh = sh, .fd = open(sh->path, O_RDWR | O_CLOEXEC)};
    if (x.fd < 0)
        return hs_err_set(err, -errno, "%s: %s", sh->path, hs_strerror(-errno));
    int e = hs__pk_remake_record(r->remaker, sh, record, write_pages, &x, err);
    return close_mended(x.fd, e, sh->path, err);
}

/* Is the record sound, the zeros behind it included? */
static int check_record(repair *r, const hs__pk_shard *sh, uint32_t record, hs_err *err)
{
    const hs_shard_record *rec = &sh->records[record];
    uint64_t end = rec->offset + rec->stored_bytes, next = hs_align_up(end, HS_SHARD_ALIGN);
    int e = hs__pk_read_record(r->reader, sh, record, true, NULL, NULL, err);
    return e == 0 && end < next ? hs__pk_check_zero(sh, end, next, err) : e;
}

/* good NULL: from the source. */
static int mend_record(repair *r, uint32_t shard, const hs__pk_shard *good, uint32_t record, hs_err *err)
{
    const hs__pk_shard *sh = &r->p->shards[shard];
    const hs_shard_record *rec = &sh->records[record];
    uint64_t from = rec->offset, to = hs_align_up(from + rec->stored_bytes, HS_SHARD_ALIGN);
    hs_err why = {0}, there = {0};
    int e = check_record(r, sh, record, &why);
    if (e == 0 || e == -ECANCELED || e == -ENOMEM)
        return e < 0 ? hs_err_set(err, e, "%s", why.text) : 0;
    e = !good ? 0 : good->usable ? check_record(r, good, record, &there) : -EBADMSG;
    if (e == -ECANCELED || e == -ENOMEM)
        return hs_err_set(err, e, "%s", there.text);
    if (e < 0) {
        hs__pk_problem(r->w, sh->name, record, "%.300s; in %.100s too", why.text, r->copy->path);
        return 0;
    }
    e = good ? mend(r, sh, good, from, to, &why) : remake(r, sh, record, &why);
    if (e == 0)
        e = check_record(r, sh, record, &why);
    if (e == 0) {
        char what[300];
        snprintf(what, sizeof what, "%s, record %u", sh->name, record);
        mended(r, what);
    }
    return as_problem(r, sh->name, record, e, &why, err);
}

/* Copies the copy's file to where the pack's is, or should be: a link, to a shard on another drive, stays one. */
static int copy_over(repair *r, const char *name, uint32_t mode, uint64_t *ret_hash, hs_err *err)
{
    char real[PATH_MAX], *path = hs__pk_path(r->p->path, name, err);
    if (!path)
        return -ENOMEM;
    struct stat st;
    bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && realpath(path, real);
    hs_free(path);
    if (!link)
        return hs__pk_copy(&r->quiet, r->copy->path, name, r->p->path, name, mode, ret_hash, err);
    char *base = strrchr(real, '/');
    *base++ = '\0';
    return hs__pk_copy(&r->quiet, r->copy->path, name, *real ? real : "/", base, mode, ret_hash, err);
}

/* The copy's file in place of the pack's, which has another size or cannot be opened. */
static int replace(repair *r, const char *name, uint64_t want, bool hashed, hs_err *err)
{
    struct stat st;
    uint64_t hash = 0;
    char *path = hs__pk_path(r->copy->path, name, err);
    if (!path)
        return -ENOMEM;
    int e = stat(path, &st) < 0 ? hs_err_set(err, -errno, "%s: %s", path, hs_strerror(errno)) : 0;
    if (e == 0 && hashed)
        e = hs__pk_hash_file(&r->quiet, path, (uint64_t)st.st_size, &hash, err);
    if (e == 0 && hashed && hash != want)
        e = hs_err_set(err, -EBADMSG, "%s: damaged (checksum), in %s too", name, r->copy->path);
    if (e == 0)
        e = copy_over(r, name, st.st_mode & 0777, &hash, err);
    if (e == 0 && hashed && hash != want)
        e = hs_err_set(err, -EBADMSG, "%s: changed while it was copied", path);
    hs_free(path);
    return e;
}

/* A shard whose header, table or footer is damaged. */
static int mend_ends(repair *r, hs__pk_shard *sh, const hs__pk_shard *good, hs_err *err)
{
    hs_err why = {0};
    struct stat st;
    int e = good->usable && good->header.header_hash == sh->want_hash
                ? 0
                : hs_err_set(&why, -EBADMSG, "%s: header or table are damaged, in %s too", sh->name, r->copy->path);
    if (e == 0 && stat(sh->path, &st) == 0 && (uint64_t)st.st_size == good->bytes) {
        e = mend(r, sh, good, 0, HS_SHARD_ALIGN, &why);
        if (e == 0)
            e = mend(r, sh, good, good->header.table_offset, good->bytes, &why);
    } else if (e == 0) {
        e = replace(r, sh->name, 0, false, &why);
    }
    if (e < 0)
        return as_problem(r, sh->name, HS_PACK_ANY_RECORD, e, &why, err);
    hs__pk_shard_close(sh);
    char *path = hs__pk_path(r->p->path, sh->name, err);
    if (!path)
        return -ENOMEM;
    *sh = (hs__pk_shard){.name = sh->name,
                         .path = path,
                         .fd = -1,
                         .want_bytes = sh->want_bytes,
                         .want_records = sh->want_records,
                         .want_hash = sh->want_hash};
    e = hs__pk_shard_open(r->w, sh, r->p->identity, err);
    if (e == 0 && sh->usable)
        mended(r, sh->name);
    return e;
}

/* Zeros between a header and the first record, behind the table, and behind the footer. */
static int mend_gaps(repair *r, const hs__pk_shard *sh, const hs__pk_shard *good, hs_err *err)
{
    const hs_shard_header *h = &sh->header;
    uint64_t footer = sh->bytes - HS_SHARD_ALIGN, end = h->table_offset + h->table_bytes;
    const uint64_t gaps[3][2] = {
        {sizeof *h, HS_SHARD_ALIGN}, {end, footer}, {footer + sizeof(hs_shard_footer), sh->bytes}};
    for (int i = 0; i < 3; i++) {
        uint64_t from = gaps[i][0], to = gaps[i][1];
        hs_err why = {0};
        if (from >= to || hs__pk_check_zero(sh, from, to, &why) == 0)
            continue;
        int e = good && good->usable ? hs__pk_check_zero(good, from, to, &why) : -EBADMSG;
        if (e == 0)
            e = mend(r, sh, good, from & ~(uint64_t)(HS_SHARD_ALIGN - 1), hs_align_up(to, HS_SHARD_ALIGN), &why);
        if (e == 0)
            e = hs__pk_check_zero(sh, from, to, &why);
        if (e == 0)
            mended(r, sh->name);
        e = as_problem(r, sh->name, HS_PACK_ANY_RECORD, e, &why, err);
        if (e < 0)
            return e;
    }
    return 0;
}

static int repair_shard(repair *r, uint32_t i, hs_err *err)
{
    hs__pk_shard *sh = &r->p->shards[i], *good = r->copy ? &r->copy->shards[i] : NULL;
    int e = good ? hs__pk_shard_open(&r->quiet, good, r->copy->identity, err) : 0;
    if (e == 0) /* without a copy a damaged table is a problem for good */
        e = hs__pk_shard_open(good ? &r->quiet : r->w, sh, r->p->identity, err);
    if (e == 0 && !sh->usable && good)
        e = mend_ends(r, sh, good, err);
    if (e < 0 || !sh->usable)
        return e < 0 ? e : hs__pk_advance(r->w, sh->want_bytes, err);
    posix_fadvise(sh->fd, 0, 0, POSIX_FADV_DONTNEED);
    e = mend_gaps(r, sh, good, err);
    for (uint32_t k = 0; e == 0 && k < sh->header.n_records; k++) {
        e = mend_record(r, i, good, k, err);
        if (e == 0)
            e = hs__pk_advance(r->w, sh->records[k].stored_bytes, err);
    }
    return e;
}

/* ---- the files around them ---- */

/* Number `index` among the sources' headers, or among the copied files. */
static int repair_file(repair *r, const char *name, bool is_header, uint32_t index, uint64_t bytes, uint64_t want,
                       hs_err *err)
{
    uint64_t hash = 0;
    hs_err why = {0};
    char *path = hs__pk_path(r->p->path, name, err);
    if (!path)
        return -ENOMEM;
    int e = hs__pk_hash_file(r->w, path, bytes, &hash, &why);
    hs_free(path);
    if (e == -ECANCELED || e == -ENOMEM || (e == 0 && hash == want))
        return e < 0 ? hs_err_set(err, e, "%s", why.text) : 0;
    if (r->copy)
        e = replace(r, name, want, true, &why);
    else
        e = is_header ? hs__pk_remake_header(r->remaker, index, &why) : hs__pk_remake_file(r->remaker, index, &why);
    if (e == 0)
        mended(r, name);
    return as_problem(r, name, HS_PACK_ANY_RECORD, e, &why, err);
}

static int repair_all(repair *r, hs_err *err)
{
    hs__pk_packed *p = r->p;
    hs__pk_phase(r->w, HS_PACK_PHASE_VERIFY, hs__pk_packed_bytes(p));
    int e = 0;
    for (uint32_t i = 0; e == 0 && i < p->n_sources; i++)
        e = repair_file(r, p->sources[i].header, true, i, p->sources[i].data_start, p->sources[i].header_hash, err);
    for (uint32_t i = 0; e == 0 && i < p->n_files; i++)
        e = repair_file(r, p->files[i].stored_as, false, i, p->files[i].bytes, p->files[i].hash, err);
    for (uint32_t i = 0; e == 0 && i < p->n_shards; i++)
        e = repair_shard(r, i, err);
    return e;
}

/* ---- both packs ---- */

/* The manifest is damaged, but a shard says that the pack is the copy's. */
static int mend_manifest(repair *r, const char *path, hs_err *err)
{
    bool ours = false;
    for (uint32_t i = 0; !ours && i < r->copy->n_shards; i++) {
        hs__pk_shard sh = {
            .name = r->copy->shards[i].name, .fd = -1, .path = hs__pk_path(path, r->copy->shards[i].name, err)};
        if (!sh.path)
            return -ENOMEM;
        if (access(sh.path, F_OK) == 0 && hs__pk_shard_open(&r->quiet, &sh, r->copy->identity, NULL) == 0)
            ours = sh.usable;
        hs__pk_shard_close(&sh);
    }
    if (!ours)
        return hs_err_set(err, -ESTALE, "%s: the manifest is damaged, and no shard says that it is a copy of %s", path,
                          r->copy->path);
    uint64_t hash;
    int e = hs__pk_copy(&r->quiet, r->copy->path, HS__PK_MANIFEST, path, HS__PK_MANIFEST, 0644, &hash, err);
    return e < 0 ? e : hs__pk_packed_open(path, &r->p, err);
}

static int open_both(repair *r, const char *path, const char *mirror, hs_err *err)
{
    int e = hs__pk_packed_open(mirror, &r->copy, err);
    if (e < 0)
        return hs_err_prefix(err, "mirror");
    r->from = r->copy->path;
    e = hs__pk_packed_open(path, &r->p, err);
    if (e == -EBADMSG || e == -EINVAL || e == -ENOTSUP) { /* whatever the damage makes of it */
        e = mend_manifest(r, path, err);
        if (e == 0)
            mended(r, HS__PK_MANIFEST);
    }
    if (e < 0)
        return e;
    bool same = !memcmp(r->p->identity, r->copy->identity, sizeof r->p->identity) &&
                r->p->n_shards == r->copy->n_shards && r->p->n_files == r->copy->n_files &&
                r->p->n_sources == r->copy->n_sources;
    for (uint32_t i = 0; same && i < r->p->n_shards; i++)
        same = !strcmp(r->p->shards[i].name, r->copy->shards[i].name) &&
               r->p->shards[i].want_hash == r->copy->shards[i].want_hash;
    return same ? 0
                : hs_err_set(err, -ESTALE, "%s is not a copy of %s: packed from another source, or otherwise", mirror,
                             path);
}

static int open_source(repair *r, const char *path, hs_err *err)
{
    int e = hs__pk_packed_open(path, &r->p, err);
    if (e == 0)
        e = hs__pk_remaker_create(&r->quiet, r->p, &r->remaker, err);
    if (e == 0)
        r->from = hs__pk_remaker_source(r->remaker);
    return e;
}

int hs_repair(const char *path, const char *mirror, hs_pool *pool, const hs_pack_monitor *monitor, uint64_t *ret_mended,
              uint64_t *ret_problems, hs_err *err)
{
    hs__pk_work w;
    hs_pack_monitor deaf = {.cancel = monitor ? monitor->cancel : NULL};
    int lock = -1, e = hs__pk_work_init(&w, monitor, pool, 0, err);
    repair r = {.w = &w, .quiet = {.monitor = &deaf, .pool = w.pool}};
    if (e == 0)
        e = hs__pk_lock(path, &lock, err);
    if (e == 0)
        e = mirror ? open_both(&r, path, mirror, err) : open_source(&r, path, err);
    r.mine = hs_malloc(CHUNK);
    r.theirs = hs_malloc(CHUNK);
    if (e == 0 && (!r.mine || !r.theirs))
        e = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    if (e == 0)
        e = hs__pk_reader_create(&r.quiet, &r.reader, err);
    if (e == 0)
        e = repair_all(&r, err);
    if (e == 0) {
        *ret_mended = r.n;
        *ret_problems = w.problems;
        e = hs__pk_verdict(&w, path, err);
    }
    hs__pk_reader_destroy(&r.reader);
    hs__pk_remaker_destroy(&r.remaker);
    hs__pk_packed_close(&r.p);
    hs__pk_packed_close(&r.copy);
    hs__pk_unlock(path, &lock);
    hs_free(r.mine);
    hs_free(r.theirs);
    hs__pk_work_deinit(&w);
    return e;
}
