/*
 * stripe.c - experts over several drives: the folders, what share each gets, and the plan cut accordingly.
 *
 * Every expert is cut into as many pieces as there are drives, each as big as its drive is fast, so that what a token
 * misses comes from all drives at once, be it one expert; those that would give pieces under split_bytes are dealt out
 * whole, or to fewer drives, so that each has its share of every layer. dst is the first drive and has a symbolic link
 * to every shard elsewhere, made when that shard is complete: no reader needs to know of them. Owns the folders' locks.
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

/* What goes to one drive of an expert. */
typedef struct piece {
    hs__pk_record rec;
    uint64_t bytes;
    uint32_t drive;
} piece;

/* A striped plan while it is made. */
typedef struct deal {
    const hs__pk_stripe *s;
    double sum;                          /* of the shares */
    double total;                        /* raw bytes dealt out so far */
    double load[HS_PACK_MAX_STRIPE + 1]; /* of these, to each drive */
    hs__pk_part *parts;                  /* of experts, cut */
    uint32_t n_parts;
    piece *pieces;
    uint32_t n_pieces;
} deal;

/* How much of an expert of `raw` bytes each drive gets: what it lacks of its share so far, so that all have theirs
 * whatever an expert's size; at least split_bytes, or nothing. Whole pages; 0 for the last one: the rest. The number of
 * pieces. */
static uint32_t divide(const deal *d, uint64_t raw, uint32_t drive[HS_PACK_MAX_PIECES],
                       uint64_t bytes[HS_PACK_MAX_PIECES])
{
    const hs__pk_stripe *s = d->s;
    double owed[HS_PACK_MAX_STRIPE + 1], sum = 0;
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->n; k++)
        owed[k] = s->share[k] ? (d->total + (double)raw) * s->share[k] / d->sum - d->load[k] : 0;
    while (n < HS_PACK_MAX_PIECES) { /* who lacks most, first */
        uint32_t most = 0;
        for (uint32_t k = 1; k < s->n; k++)
            most = owed[k] > owed[most] ? k : most;
        if (n && (owed[most] <= 0 || owed[most] < (double)s->split_bytes))
            break;
        drive[n] = most;
        bytes[n++] = owed[most] > 0 ? (uint64_t)owed[most] : 0;
        sum += owed[most];
        owed[most] = 0;
    }
    while (n > 1 && (double)bytes[n - 1] * (double)raw < sum * (double)s->split_bytes)
        sum -= (double)bytes[--n];
    for (uint32_t i = 0; i < n; i++)
        bytes[i] = i + 1 < n ? hs_align_up((uint64_t)((double)raw * (double)bytes[i] / sum), HS_SHARD_ALIGN) : 0;
    return n;
}

/* Takes the next piece from an expert's parts, of which *part is the first and *at bytes of it are gone: until it has
 * `raw` bytes, or all that is left if that is 0. It ends between two parts, or inside one where its raw image is a
 * multiple of a page. */
static piece take(deal *d, const hs__pk_part *parts, uint32_t end, uint32_t *part, uint64_t *at, uint64_t raw)
{
    piece x = {.rec.first_part = d->n_parts};
    while (*part < end && (!raw || x.rec.raw_bytes < raw)) {
        hs__pk_part p = parts[*part];
        p.offset += *at;
        p.bytes -= *at;
        uint64_t room = raw ? raw - x.rec.raw_bytes : UINT64_MAX;
        bool cut = p.bytes > room;
        p.bytes = cut ? room : p.bytes;
        *at = cut ? *at + room : 0;
        *part += !cut;
        d->parts[d->n_parts++] = p;
        x.rec.n_parts++;
        x.rec.raw_bytes += hs__pk_padded(p.bytes);
        x.bytes += p.bytes;
    }
    return x;
}

/* Deals out one expert; the number of its pieces. */
static uint32_t deal_out(deal *d, const hs__pk_plan *p, const hs__pk_record *rec)
{
    uint32_t drive[HS_PACK_MAX_PIECES], part = rec->first_part, end = part + rec->n_parts, n = 0;
    uint64_t bytes[HS_PACK_MAX_PIECES], at = 0;
    uint32_t want = divide(d, rec->raw_bytes, drive, bytes);
    for (uint32_t i = 0; i < want && part < end; i++) {
        piece x = take(d, p->parts, end, &part, &at, bytes[i]);
        x.drive = drive[i];
        d->load[x.drive] += (double)x.rec.raw_bytes;
        d->pieces[d->n_pieces++] = x;
        n++;
    }
    d->total += (double)rec->raw_bytes;
    return n;
}

/* The pieces of drive d become shards. */
static int cut(hs__pk_plan *p, const deal *all, uint32_t d, uint64_t shard_bytes, uint32_t *number, hs_err *err)
{
    hs__pk_shard_plan *s = NULL;
    for (uint32_t i = 0; i < all->n_pieces; i++) {
        const piece *x = &all->pieces[i];
        if (x->drive != d)
            continue;
        if (!s || s->source_bytes + x->bytes > shard_bytes) {
            int r = hs__pk_plan_shard(p, false, (*number)++, p->n_records, err);
            if (r < 0)
                return r;
            s = &p->shards[p->n_shards - 1];
            s->drive = (uint8_t)d;
        }
        s->source_bytes += x->bytes;
        s->n_records++;
        p->records[p->n_records++] = x->rec;
    }
    return 0;
}

int hs__pk_plan_stripe(hs__pk_plan *p, const hs__pk_stripe *s, uint64_t shard_bytes, hs_err *err)
{
    uint32_t dense = 0, number = 0;
    while (dense < p->n_shards && p->shards[dense].dense)
        dense++;
    if (s->n < 2 || dense == p->n_shards)
        return 0;
    uint32_t first = p->shards[dense].first_record, n = p->n_records - first;
    size_t most = (size_t)n * HS_PACK_MAX_PIECES;
    deal d = {.s = s, .n_parts = p->records[first].first_part};
    for (uint32_t k = 0; k < s->n; k++)
        d.sum += s->share[k];
    d.parts = hs_calloc(p->n_parts + most, sizeof *d.parts);
    d.pieces = hs_calloc(most, sizeof *d.pieces);
    hs__pk_record *records = hs_calloc(first + most, sizeof *records);
    if (!d.parts || !d.pieces || !records) {
        hs_free(d.parts);
        hs_free(d.pieces);
        hs_free(records);
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    }
    memcpy(d.parts, p->parts, d.n_parts * sizeof *d.parts); /* dense ones */
    for (uint32_t i = first; i < p->n_records; i++)
        p->split |= deal_out(&d, p, &p->records[i]) > 1;
    memcpy(records, p->records, first * sizeof *records);
    hs_free(p->parts);
    hs_free(p->records);
    p->parts = d.parts;
    p->n_parts = d.n_parts;
    p->records = records;
    p->n_records = first;
    p->n_shards = dense;
    int r = 0;
    for (uint32_t k = 0; r == 0 && k < s->n; k++)
        r = cut(p, &d, k, shard_bytes, &number, err);
    hs_free(d.pieces);
    return r;
}
