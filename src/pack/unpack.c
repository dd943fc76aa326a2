/*
 * unpack.c - hs_unpack: the original files back from a pack, bit for bit.
 *
 * Records are read in order of the shards; each part goes to its place in its container's NAME.tmp. A container becomes
 * NAME only when all records of all shards have been read and their checksums were right; config.json, without which a
 * folder is no model, comes last, so that what an interruption leaves cannot be loaded without its tokenizer or end
 * tokens. A file that exists in dst is compared with what would be written, never replaced.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define MAX_OPEN 64u /* containers that are open at a time */
#define COMPARE  (64u << 10)
#define LAST     "config.json"

typedef struct target {
    char *path, *tmp;
    bool exists; /* compare with path instead of writing tmp */
    int fd;      /* -1: closed at the moment */
} target;

typedef struct job {
    const char *dst;
    hs__pk_work work;
    hs__pk_packed *packed;
    hs__pk_reader *reader;
    target *targets;                            /* [packed->n_sources] */
    uint32_t ring[MAX_OPEN], n_ring, next_ring; /* targets that are open, in order of opening */
    int lock;
} job;

static int differs(const char *path, hs_err *err)
{
    return hs_err_set(err, -EEXIST, "%s exists and is a different file: it is left as it is", path);
}

static int target_fd(job *j, uint32_t source, hs_err *err)
{
    target *t = &j->targets[source];
    if (t->fd >= 0)
        return t->fd;
    if (j->n_ring == MAX_OPEN) {
        target *old = &j->targets[j->ring[j->next_ring]];
        close(old->fd);
        old->fd = -1;
    } else {
        j->n_ring++;
    }
    const char *path = t->exists ? t->path : t->tmp;
    t->fd = open(path, (t->exists ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    j->ring[j->next_ring] = source;
    j->next_ring = (j->next_ring + 1) % MAX_OPEN;
    if (t->fd < 0) {
        int r = -errno;
        j->n_ring--; /* cannot happen twice: this ends the work */
        return hs_err_set(err, r, "%s: %s", path, hs_strerror(r));
    }
    return t->fd;
}

static int compare_at(int fd, const char *path, const uint8_t *data, uint64_t n, uint64_t at, hs_err *err)
{
    uint8_t buf[COMPARE];
    for (uint64_t done = 0; done < n;) {
        size_t k = n - done < sizeof buf ? (size_t)(n - done) : sizeof buf;
        int r = hs_pread_full(fd, buf, k, (off_t)(at + done));
        if (r < 0 && r != -ENODATA)
            return hs_err_set(err, r, "%s: %s", path, hs_strerror(r));
        if (r < 0 || memcmp(buf, data + done, k))
            return differs(path, err);
        done += k;
    }
    return 0;
}

static int put(job *j, uint32_t source, const uint8_t *data, uint64_t n, uint64_t at, hs_err *err)
{
    target *t = &j->targets[source];
    int fd = target_fd(j, source, err);
    if (fd < 0)
        return fd;
    if (t->exists)
        return compare_at(fd, t->path, data, n, at, err);
    int r = hs_pwrite_full(fd, data, n, (off_t)at);
    return r < 0 ? hs_err_set(err, r, "%s: %s", t->path, hs_strerror(r)) : 0;
}

static int sink(void *ctx, const hs_shard_part *part, uint64_t at, const uint8_t *data, uint32_t n, hs_err *err)
{
    return put(ctx, part->source, data, n, part->source_offset + at, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No two files of the manifest may be one in dst, or one of ours while we work. */
static int check_names(const job *j, hs_err *err)
{
    const hs__pk_packed *p = j->packed;
    uint32_t n = 0;
    const char **names = hs_calloc(2u * p->n_sources + p->n_files, sizeof *names);
    if (!names)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", j->dst);
    for (uint32_t i = 0; i < p->n_sources; i++) {
        names[n++] = p->sources[i].name;
        names[n++] = strrchr(j->targets[i].tmp, '/') + 1;
    }
    for (uint32_t i = 0; i < p->n_files; i++)
        names[n++] = p->files[i].name;
    qsort(names, n, sizeof *names, compare_names);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < n; i++)
        if (!strcmp(names[i], HS__PK_LOCK) || !strcmp(names[i], HS__PK_TMP) || (i && !strcmp(names[i], names[i - 1])))
            r = hs_err_set(err, -EINVAL, "%s: %s would be two files", p->path, names[i]);
    hs_free(names);
    return r;
}

/* Sizes of what is there, before anything is written. */
static int look_at_dst(job *j, hs_err *err)
{
    const hs__pk_packed *p = j->packed;
    j->targets = hs_calloc(p->n_sources, sizeof *j->targets);
    if (!j->targets)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", j->dst);
    for (uint32_t i = 0; i < p->n_sources; i++)
        j->targets[i].fd = -1;
    for (uint32_t i = 0; i < p->n_sources; i++) {
        struct stat st;
        target *t = &j->targets[i];
        t->path = hs__pk_path(j->dst, p->sources[i].name, err);
        t->tmp = t->path ? hs_asprintf("%s.tmp", t->path) : NULL;
        if (!t->tmp)
            return hs_err_set(err, -ENOMEM, "%s: out of memory", j->dst);
        t->exists = lstat(t->path, &st) == 0;
        if (t->exists && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != p->sources[i].bytes))
            return differs(t->path, err);
    }
    for (uint32_t i = 0; i < p->n_files; i++) {
        struct stat st;
        char *path = hs__pk_path(j->dst, p->files[i].name, err);
        if (!path)
            return -ENOMEM;
        int r = lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != p->files[i].bytes)
                    ? differs(path, err)
                    : 0;
        hs_free(path);
        if (r < 0)
            return r;
    }
    return 0;
}

/* NAME.tmp in full length, so that a full disk is known at once where the file system can tell. */
static int begin_container(job *j, uint32_t i, hs_err *err)
{
    const hs__pk_source *s = &j->packed->sources[i];
    const target *t = &j->targets[i];
    uint64_t hash;
    char *path = hs__pk_path(j->packed->path, s->header, err), *header = NULL;
    size_t len;
    int r = path ? hs_file_read(path, HS__PK_MAX_HEADER, &header, &len, err) : -ENOMEM;
    if (r == 0) {
        hash = XXH3_64bits(header, len);
        if (len != s->data_start || hash != s->header_hash)
            r = hs_err_set(err, -EBADMSG, "%s: damaged (checksum)", path);
    }
    if (r == 0 && !t->exists) {
        unlink(t->tmp);
        int fd = open(t->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)s->bytes) < 0)
            r = -errno;
        if (r == 0 && s->bytes && fallocate(fd, 0, 0, (off_t)s->bytes) < 0 && errno == ENOSPC)
            r = -errno;
        if (fd >= 0)
            close(fd);
        if (r < 0)
            hs_err_set(err, r, "%s: %s", t->tmp, hs_strerror(r));
    }
    if (r == 0)
        r = put(j, i, (const uint8_t *)header, len, 0, err);
    hs_free(header);
    hs_free(path);
    return r;
}

static int finish_container(job *j, uint32_t i, hs_err *err)
{
    target *t = &j->targets[i];
    if (t->exists)
        return 0;
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    int fd = open(t->tmp, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, j->packed->sources[i].mode) < 0) {
        int r = hs_err_set(err, -errno, "%s: %s", t->tmp, hs_strerror(-errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    return hs__pk_commit(fd, t->tmp, t->path, err);
}

static int restore_file(job *j, const hs__pk_copied *f, hs_err *err)
{
    uint64_t hash;
    struct stat st;
    char *path = hs__pk_path(j->dst, f->name, err),
         *from = path ? hs__pk_path(j->packed->path, f->stored_as, err) : NULL;
    int r = from ? 0 : -ENOMEM;
    if (r == 0 && lstat(path, &st) == 0) {
        r = hs__pk_hash_file(&j->work, path, f->bytes, &hash, err);
        if (r == 0 && hash != f->hash)
            r = differs(path, err);
    } else if (r == 0) {
        /* Checked before it is copied: what is damaged shall not appear under its name. */
        r = hs__pk_hash_file(&j->work, from, f->bytes, &hash, err);
        if (r == 0 && hash != f->hash)
            r = hs_err_set(err, -EBADMSG, "%s: damaged (checksum)", from);
        if (r == 0)
            r = hs__pk_copy(&j->work, j->packed->path, f->stored_as, j->dst, f->name, f->mode, &hash, err);
    }
    hs_free(path);
    hs_free(from);
    return r;
}

static int restore(job *j, hs_err *err)
{
    const hs__pk_packed *p = j->packed;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < p->n_sources; i++)
        r = begin_container(j, i, err);
    for (uint32_t i = 0; r == 0 && i < p->n_shards; i++)
        for (uint32_t k = 0; r == 0 && k < p->shards[i].header.n_records; k++)
            r = hs__pk_read_record(j->reader, &p->shards[i], k, false, sink, j, err);
    for (uint32_t i = 0; r == 0 && i < p->n_files; i++)
        if (strcmp(p->files[i].name, LAST) != 0)
            r = restore_file(j, &p->files[i], err);
    for (uint32_t i = 0; r == 0 && i < p->n_sources; i++)
        r = finish_container(j, i, err);
    for (uint32_t i = 0; r == 0 && i < p->n_files; i++)
        if (!strcmp(p->files[i].name, LAST))
            r = restore_file(j, &p->files[i], err);
    return r;
}

static int open_pack(job *j, const char *src, hs_err *err)
{
    int r = hs__pk_packed_open(src, &j->packed, err);
    if (r == -ENOENT)
        return hs_err_set(err, r, "%s is not a packed model: it has no " HS__PK_MANIFEST, src);
    if (r == 0)
        hs__pk_packed_without_raw(j->packed);
    if (r == 0)
        r = hs__pk_packed_open_shards(&j->work, j->packed, err);
    if (r == 0)
        r = hs__pk_packed_coverage(&j->work, j->packed, err);
    return r < 0 ? r : hs__pk_verdict(&j->work, src, err);
}

static void clean_up(job *j)
{
    for (uint32_t i = 0; j->targets && i < j->packed->n_sources; i++) {
        target *t = &j->targets[i];
        if (t->fd >= 0)
            close(t->fd);
        if (j->lock >= 0 && t->tmp && !t->exists)
            unlink(t->tmp); /* gone already if it has its name */
        hs_free(t->path);
        hs_free(t->tmp);
    }
    hs_free(j->targets);
    hs__pk_unlock(j->dst, &j->lock);
    hs__pk_reader_destroy(&j->reader);
    hs__pk_packed_close(&j->packed);
    hs__pk_work_deinit(&j->work);
}

int hs_unpack(const char *src, const char *dst, hs_pool *pool, const hs_pack_monitor *monitor, hs_err *err)
{
    job j = {.dst = dst, .lock = -1};
    int r = hs__pk_work_init(&j.work, monitor, pool, 0, err);
    if (r == 0)
        r = open_pack(&j, src, err);
    if (r == 0)
        r = hs__pk_reader_create(&j.work, &j.reader, err);
    if (r == 0)
        r = hs__pk_prepare_dst(src, dst, true, err);
    if (r == 0)
        r = hs__pk_lock(dst, &j.lock, err);
    if (r == 0)
        r = look_at_dst(&j, err);
    if (r == 0)
        r = check_names(&j, err);
    if (r == 0) {
        uint64_t total = j.packed->raw_bytes;
        for (uint32_t i = 0; i < j.packed->n_files; i++)
            total += 2 * j.packed->files[i].bytes; /* checked, then copied */
        hs__pk_phase(&j.work, HS_PACK_PHASE_UNPACK, total);
        r = restore(&j, err);
    }
    clean_up(&j);
    return r;
}
