/*
 * stripe.c - experts over several drives: the folders, what share each gets, and the plan cut accordingly.
 *
 * The experts of every layer are dealt out, or the matrices of each if these are big, so that what a token misses comes
 * from all drives at once; each drive gets as much as it reads in the time of the others. dst is the first drive and
 * has a symbolic link to every shard elsewhere, made when that shard is complete: no reader needs to know of them. Owns
 * the folders' locks.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define PROBE_BYTES (256u << 20)
#define PROBE_CHUNK (4u << 20)
#define MEGA        1e6 /* a share is a drive's MB/s */

/* ---- folders ---- */

static int open_folder(hs__pk_folders *f, const char *src, const char *folder, bool make, hs_err *err)
{
    uint32_t i = f->n;
    char path[PATH_MAX];
    int r = i ? hs__pk_prepare_dst(src, folder, make, err) : 0;
    if (r < 0)
        return r;
    f->lock[i] = -1;
    if (!realpath(folder, path))
        return hs_err_set(err, -errno, "%s: %s", folder, hs_strerror(-errno));
    f->path[i] = hs_strdup(path);
    if (!f->path[i])
        return hs_err_set(err, -ENOMEM, "%s: out of memory", folder);
    f->n++;
    for (uint32_t k = 0; k < i; k++)
        if (!strcmp(f->path[k], f->path[i]))
            return hs_err_set(err, -EINVAL, "%s is given twice: experts go over different folders", folder);
    return i ? hs__pk_lock(f->path[i], &f->lock[i], err) : 0;
}

int hs__pk_folders_open(hs__pk_folders *f, const hs_pack_options *o, const hs__pk_folders *begun, hs_err *err)
{
    bool given = o->n_stripe > 0;
    uint32_t n = 1 + (given ? o->n_stripe : begun ? begun->n - 1 : 0);
    bool same = !begun || begun->n == n;
    int r = open_folder(f, o->src, o->dst, false, err);
    for (uint32_t i = 1; r == 0 && same && i < n; i++) {
        hs_err e = {0};
        r = open_folder(f, o->src, given ? o->stripe[i - 1] : begun->path[i], !begun, &e);
        if (r < 0)
            return hs_err_set(err, r, "%s%s", e.text,
                              r == -ENOENT && begun ? ": is the drive mounted that this pack was begun on?" : "");
        same = !begun || !strcmp(begun->path[i], f->path[i]);
    }
    if (r == 0 && !same)
        r = hs_err_set(err, -EEXIST, "%s holds an unfinished pack over other folders: give the same ones, or none",
                       o->dst);
    return r;
}

void hs__pk_folders_close(hs__pk_folders *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->path[i])
            hs__pk_unlock(f->path[i], &f->lock[i]);
        hs_free(f->path[i]);
    }
    f->n = 0;
}

int hs__pk_folders_check(const hs_pack_options *o, const hs__pk_packed *p, hs_err *err)
{
    char folder[HS_PACK_MAX_STRIPE + 1][PATH_MAX], path[PATH_MAX];
    for (uint32_t i = 0; i < o->n_stripe + 1; i++) {
        const char *name = i ? o->stripe[i - 1] : o->dst;
        if (!realpath(name, folder[i]))
            return hs_err_set(err, -errno, "%s: %s", name, hs_strerror(-errno));
    }
    for (uint32_t s = 0; o->n_stripe && s < p->n_shards; s++) {
        char *slash = realpath(p->shards[s].path, path) ? strrchr(path, '/') : NULL;
        bool there = !slash; /* what is missing is told by who opens it */
        for (uint32_t i = 0; !there && i < o->n_stripe + 1; i++)
            there = strlen(folder[i]) == (size_t)(slash - path) && !strncmp(folder[i], path, (size_t)(slash - path));
        if (!there)
            return hs_err_set(err, -EEXIST, "%s is a complete pack with shards elsewhere: %s", o->dst, path);
    }
    return 0;
}

/* ---- shares ---- */

static int fill(int fd)
{
    uint64_t *chunk = hs_malloc(PROBE_CHUNK), x = 88172645463325252u;
    int r = chunk ? 0 : -ENOMEM;
    for (uint64_t at = 0; r == 0 && at < PROBE_BYTES; at += PROBE_CHUNK) {
        for (size_t i = 0; i < PROBE_CHUNK / sizeof x; i++) { /* nothing that a file system makes smaller */
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            chunk[i] = x;
        }
        r = hs_pwrite_full(fd, chunk, PROBE_CHUNK, (off_t)at);
    }
    hs_free(chunk);
    return r == 0 && fsync(fd) < 0 ? -errno : r;
}

/* Bytes per second of a file without a name in the folder; 0 = cannot be told. */
static double speed_of(hs__pk_work *w, const char *folder)
{
    char path[40];
    double speed = 0;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 && fill(fd) == 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        speed = hs__pk_read_speed(w, path, PROBE_BYTES);
    }
    if (fd >= 0)
        close(fd);
    return speed;
}

static void tell_same_drives(const hs__pk_work *w, const hs__pk_folders *f)
{
    struct stat a, b;
    for (uint32_t i = 1; i < f->n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (stat(f->path[i], &a) == 0 && stat(f->path[k], &b) == 0 && a.st_dev == b.st_dev)
                hs__pk_note(w, "%s and %s lie on the same drive, which is not read faster so", f->path[k], f->path[i]);
}

void hs__pk_stripe_weigh(hs__pk_work *w, const hs__pk_folders *f, const hs_pack_options *o, uint64_t bytes,
                         hs__pk_stripe *ret, double *ret_speed)
{
    double speed[HS_PACK_MAX_STRIPE + 1], sum = 0;
    bool known = o->measure && !o->shares && f->n > 1 && bytes >= PROBE_BYTES;
    if (known)
        hs__pk_phase(w, HS_PACK_PHASE_MEASURE, 0);
    for (uint32_t i = 0; known && i < f->n; i++) {
        speed[i] = speed_of(w, f->path[i]);
        known = speed[i] >= MEGA;
        sum += speed[i];
    }
    *ret = (hs__pk_stripe){.n = f->n, .split_bytes = o->split_bytes ? o->split_bytes : HS_PACK_SPLIT_BYTES};
    *ret_speed = known ? sum : 0;
    for (uint32_t i = 0; i < f->n; i++) {
        double share = known ? speed[i] / MEGA + 0.5 : 1;
        ret->share[i] = o->shares && o->n_stripe            ? o->shares[i]
                        : share < (double)HS_PACK_MAX_SHARE ? (uint32_t)share
                                                            : HS_PACK_MAX_SHARE;
        if (known)
            hs__pk_note(w, "%s reads %.2f GB/s and gets experts in proportion", f->path[i], speed[i] / 1e9);
    }
    if (f->n > 1 && !known && !o->shares)
        hs__pk_note(w, "every folder gets the same share of the experts: the drives were not measured, the model being "
                       "under 256 MiB or direct reads refused; --shares tells it");
    tell_same_drives(w, f);
}

/* ---- plan ---- */

/* What goes to one drive of an expert: all of it, or neighbouring matrices. */
typedef struct piece {
    hs__pk_record rec;
    uint64_t bytes;
    uint32_t drive;
} piece;

static void add_part(piece *x, const hs__pk_part *part)
{
    x->rec.n_parts++;
    x->rec.raw_bytes += hs__pk_padded(part->bytes);
    x->bytes += part->bytes;
}

/* The expert's matrices; the whole of it if one is too small, or their names are not known. Their number. */
static uint32_t take_apart(const hs__pk_plan *p, const hs__pk_record *rec, uint64_t split_bytes, piece *ret)
{
    uint32_t n = 0;
    bool big = true;
    piece all = {.rec.first_part = rec->first_part};
    for (uint32_t i = rec->first_part; i < rec->first_part + rec->n_parts; i++) {
        if (i == rec->first_part || p->parts[i].matrix != p->parts[i - 1].matrix)
            ret[n++] = (piece){.rec.first_part = i};
        add_part(&ret[n - 1], &p->parts[i]);
        add_part(&all, &p->parts[i]);
        big &= p->parts[i].matrix < 3;
    }
    for (uint32_t i = 0; i < n; i++)
        big &= ret[i].bytes >= split_bytes;
    if (big)
        return n;
    ret[0] = all;
    return 1;
}

/* The drive that would be done first with so much more and all that it has. */
static uint32_t choose(const hs__pk_stripe *s, const double *load, uint64_t bytes)
{
    uint32_t best = s->n;
    double best_time = 0;
    for (uint32_t d = 0; d < s->n; d++) {
        double time = s->share[d] ? (load[d] + (double)bytes) / s->share[d] : 0;
        if (s->share[d] && (best == s->n || time < best_time)) {
            best = d;
            best_time = time;
        }
    }
    return best;
}

/* Gives n pieces of an expert their drives. Those of one drive are made neighbours, and one record; turned: the last
 * drive first, so that of two experts not both begin on the same. The number of records. */
static uint32_t place(const hs__pk_stripe *s, piece *x, uint32_t n, bool turned, double *load)
{
    double would[HS_PACK_MAX_STRIPE + 1];
    uint32_t count[HS_PACK_MAX_STRIPE + 1] = {0}, at = 0, records = 0;
    memcpy(would, load, sizeof would);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = choose(s, would, x[i].bytes);
        would[d] += (double)x[i].bytes;
        count[d]++;
    }
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t d = turned ? s->n - 1 - k : k;
        if (!count[d])
            continue;
        piece whole = {.rec.first_part = x[at].rec.first_part, .drive = d};
        for (uint32_t end = at + count[d]; at < end; at++) {
            whole.rec.n_parts += x[at].rec.n_parts;
            whole.rec.raw_bytes += x[at].rec.raw_bytes;
            whole.bytes += x[at].bytes;
        }
        load[d] += (double)whole.bytes;
        x[records++] = whole;
    }
    return records;
}

/* The next n records, which are pieces of drive d, become shards. */
static int cut(hs__pk_plan *p, const piece *x, uint32_t n, uint32_t d, uint64_t shard_bytes, uint32_t *number,
               hs_err *err)
{
    hs__pk_shard_plan *s = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i].drive != d)
            continue;
        if (!s || s->source_bytes + x[i].bytes > shard_bytes) {
            int r = hs__pk_plan_shard(p, false, (*number)++, p->n_records, err);
            if (r < 0)
                return r;
            s = &p->shards[p->n_shards - 1];
            s->drive = (uint8_t)d;
        }
        s->source_bytes += x[i].bytes;
        s->n_records++;
        p->records[p->n_records++] = x[i].rec;
    }
    return 0;
}

int hs__pk_plan_stripe(hs__pk_plan *p, const hs__pk_stripe *s, uint64_t shard_bytes, hs_err *err)
{
    uint32_t dense = 0, number = 0, n = 0;
    double load[HS_PACK_MAX_STRIPE + 1] = {0};
    while (dense < p->n_shards && p->shards[dense].dense)
        dense++;
    if (s->n < 2 || dense == p->n_shards)
        return 0;
    uint32_t first = p->shards[dense].first_record;
    piece *x = hs_calloc(p->n_parts + 1u, sizeof *x);
    hs__pk_record *records = hs_calloc(first + (size_t)p->n_parts + 1u, sizeof *records);
    if (!x || !records) {
        hs_free(x);
        hs_free(records);
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    }
    for (uint32_t i = first; i < p->n_records; i++) {
        uint32_t k = place(s, x + n, take_apart(p, &p->records[i], s->split_bytes, x + n), (i - first) % 2, load);
        p->split |= k > 1;
        n += k;
    }
    memcpy(records, p->records, first * sizeof *records);
    hs_free(p->records);
    p->records = records;
    p->n_records = first;
    p->n_shards = dense;
    int r = 0;
    for (uint32_t d = 0; r == 0 && d < s->n; d++)
        r = cut(p, x, n, d, shard_bytes, &number, err);
    hs_free(x);
    return r;
}
