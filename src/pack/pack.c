/*
 * pack.c - hs_pack: from a source to a complete packed folder, step by step, so that it can stop anywhere.
 *
 *   lock -> state file -> header files -> shards, one by one -> raw shards of what is compressed in them (keep_raw)
 *        -> copied files -> manifest -> state and lock removed
 *
 * Invariants: a folder without manifest is no model to any reader; every file but the .tmp ones is complete (written,
 * fsynced, renamed); the state file says with what the finished shards were made, and each carries the identity.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/option.h"
#include "pack/pack_int.h"

typedef enum dst_kind { DST_EMPTY, DST_UNFINISHED, DST_PACK, DST_OTHER } dst_kind;

typedef struct job {
    const hs_pack_options *opt;
    hs__pk_work work;
    hs__pk_plan *plan;
    hs__pk_encoder *encoder;
    hs__pk_recipe recipe;
    hs__pk_folders folders; /* where shards go */
    uint8_t identity[16];
    hs__pk_shard_info *info; /* [2 * plan->n_shards, raw ones included] */
    int lock;
} job;

static int look_at_dst(const char *dst, dst_kind *ret, hs_err *err)
{
    DIR *d = opendir(dst);
    if (!d) {
        if (errno == ENOENT) {
            *ret = DST_EMPTY;
            return 0;
        }
        return hs_err_set(err, -errno, "%s: %s", dst, hs_strerror(-errno));
    }
    bool state = false, manifest = false, other = false;
    for (struct dirent *e; (e = readdir(d));) {
        state |= !strcmp(e->d_name, HS__PK_STATE);
        manifest |= !strcmp(e->d_name, HS__PK_MANIFEST);
        /* A first run may have been stopped with nothing but these. */
        other |= strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, HS__PK_LOCK) &&
                 strcmp(e->d_name, HS__PK_TMP);
    }
    closedir(d);
    *ret = manifest ? DST_PACK : state ? DST_UNFINISHED : other ? DST_OTHER : DST_EMPTY;
    return 0;
}

static const uint32_t codecs_of[] = {[HS_PACK_ZSTD] = HS__PK_ZSTD,
                                     [HS_PACK_EXPONENT] = HS__PK_EXPONENT,
                                     [HS_PACK_ANY] = HS__PK_ZSTD | HS__PK_EXPONENT,
                                     [HS_PACK_RAW] = 0};

static bool same_stripe(const hs_pack_options *o, const hs__pk_stripe *s)
{
    bool same = !o->split_bytes || o->split_bytes == s->split_bytes;
    for (uint32_t i = 0; same && o->shares && i < s->n; i++)
        same = o->shares[i] == s->share[i];
    return same;
}

/* What options and, when going on, the state file, which is in j->recipe, say. */
static int choose_recipe(job *j, dst_kind kind, hs_err *err)
{
    const hs_pack_options *o = j->opt;
    hs__pk_recipe *r = &j->recipe;
    double speed = 0;
    bool decided = false;
    if (kind == DST_UNFINISHED) {
        if (memcmp(r->stamp, j->plan->stamp, sizeof r->stamp))
            return hs_err_set(
                err, -EEXIST,
                "%s holds an unfinished pack of another source (or %s was changed since): remove it first", o->dst,
                o->src);
        if ((o->codec != HS_PACK_AUTO && codecs_of[o->codec] != r->codecs) || (o->level && o->level != r->level) ||
            (o->shard_bytes && o->shard_bytes != r->shard_bytes) || (o->keep_raw && r->codecs && !r->keep_raw) ||
            (o->n_stripe && !same_stripe(o, &r->stripe)))
            return hs_err_set(err, -EEXIST,
                              "%s holds an unfinished pack with other options: give the same ones, or remove it first",
                              o->dst);
        decided = true;
    } else {
        memcpy(r->stamp, j->plan->stamp, sizeof r->stamp);
        r->level = o->level ? o->level : 1;
        r->shard_bytes = o->shard_bytes ? o->shard_bytes : HS_PACK_SHARD_BYTES;
        hs__pk_stripe_weigh(&j->work, &j->folders, o, j->plan->source_bytes, &r->stripe, &speed);
    }
    int e = hs__pk_encoder_create(&j->work, r->level, &j->encoder, err);
    if (e == 0 && !decided && o->codec == HS_PACK_AUTO)
        e = hs__pk_decide(&j->work, o, j->plan, speed, j->encoder, &r->codecs, err);
    else if (!decided)
        r->codecs = codecs_of[o->codec];
    if (!decided)
        r->keep_raw = o->keep_raw && r->codecs;
    hs__pk_identity(r, j->identity);
    return e;
}

/* dst/NAME is a link to the shard, which lies on another drive. */
static int link_shard(const job *j, const hs__pk_shard_plan *s, const char *path, hs_err *err)
{
    char is[PATH_MAX], *link = hs__pk_path(j->opt->dst, s->name, err);
    if (!link)
        return -ENOMEM;
    ssize_t n = readlink(link, is, sizeof is);
    bool there = n > 0 && (size_t)n == strlen(path) && !memcmp(is, path, (size_t)n);
    hs_free(link);
    return there ? 0 : hs__pk_link(j->opt->dst, s->name, path, err);
}

/* Is it what this run would write? Then *ret is filled. */
static bool is_planned_shard(const job *j, const hs__pk_shard_plan *s, const hs__pk_shard *sh, hs__pk_shard_info *ret)
{
    hs__pk_shard_info info = {
        .bytes = sh->bytes, .records = sh->header.n_records, .header_hash = sh->header.header_hash};
    bool same = sh->usable && sh->header.n_records == s->n_records;
    for (uint32_t i = 0; same && i < s->n_records; i++) {
        const hs_shard_record *got = &sh->records[i];
        same = hs__pk_is_planned(j->plan, &j->plan->records[hs__pk_record_of(s, i)], got, &sh->parts[got->first_part]);
        info.raw_bytes += got->raw_bytes;
        info.stored_bytes += got->stored_bytes;
    }
    if (same)
        *ret = info;
    return same;
}

/* A shard that an earlier run finished, and that is what this one would write. What else has its name beside dst is not
 * ours. */
static int find_shard(job *j, uint32_t shard, bool *ret_found, hs_err *err)
{
    static const hs_pack_monitor deaf;
    const hs__pk_shard_plan *s = &j->plan->shards[shard];
    hs__pk_work quiet = {.monitor = &deaf};
    hs__pk_shard sh = {.name = s->name, .fd = -1, .path = hs__pk_path(j->folders.path[s->drive], s->name, err)};
    if (!sh.path)
        return -ENOMEM;
    struct stat st;
    int r = 0;
    bool there = lstat(sh.path, &st) == 0, same = false;
    if (there && !(s->drive && S_ISLNK(st.st_mode)) && (r = hs__pk_shard_open(&quiet, &sh, j->identity, err)) == 0)
        same = is_planned_shard(j, s, &sh, &j->info[shard]);
    if (r == 0 && s->drive && there && !same)
        r = hs_err_set(err, -EEXIST, "%s is not of this pack: choose another folder, or remove it", sh.path);
    if (r == 0 && s->drive && same)
        r = link_shard(j, s, sh.path, err);
    if (same)
        hs__pk_writer_forget(sh.path);
    hs__pk_shard_close(&sh);
    *ret_found = same;
    return r;
}

/* Of a shard's first n records. */
static uint64_t bytes_of(const hs__pk_plan *p, const hs__pk_shard_plan *s, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        const hs__pk_record *rec = &p->records[hs__pk_record_of(s, i)];
        for (uint32_t k = 0; k < rec->n_parts; k++)
            bytes += p->parts[rec->first_part + k].bytes;
    }
    return bytes;
}

static int write_shard(job *j, uint32_t shard, hs_err *err)
{
    const hs__pk_shard_plan *s = &j->plan->shards[shard];
    const char *folder = j->folders.path[s->drive];
    hs__pk_writer *w = NULL;
    char *path = hs__pk_path(folder, s->name, err);
    uint32_t done = 0;
    int r = path ? hs__pk_writer_create(j->plan, shard, folder, j->identity, &w, &done, err) : -ENOMEM;
    if (r == 0 && done) {
        hs__pk_note(&j->work, "%s: goes on behind record %u of %u", path, done, s->n_records);
        r = hs__pk_advance(&j->work, bytes_of(j->plan, s, done), err);
    }
    for (uint32_t i = done; r == 0 && i < s->n_records; i++)
        r = hs__pk_encode_record(j->encoder, j->plan, hs__pk_record_of(s, i), s->raw ? 0 : j->recipe.codecs, w, err);
    if (r == 0)
        r = hs__pk_plan_unchanged(j->plan, err);
    if (r == 0)
        r = hs__pk_writer_finish(w, &j->info[shard], err);
    if (r == 0 && s->drive)
        r = link_shard(j, s, path, err);
    hs__pk_writer_destroy(&w, r != -ESTALE);
    hs_free(path);
    return r;
}

/* From `first` on. */
static int write_shards(job *j, uint32_t first, hs_err *err)
{
    int r = 0;
    for (uint32_t i = first; r == 0 && i < j->plan->n_shards; i++) {
        bool found;
        r = find_shard(j, i, &found, err);
        if (r == 0 && found)
            r = hs__pk_advance(&j->work, j->plan->shards[i].source_bytes, err);
        else if (r == 0)
            r = write_shard(j, i, err);
    }
    return r;
}

/* What is compressed in the shards that are there, once more. */
static int write_raw(job *j, hs_err *err)
{
    static const hs_pack_monitor deaf;
    uint32_t n = j->plan->n_shards;
    uint64_t bytes = 0;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        if (j->plan->shards[i].dense)
            continue;
        const char *name = j->plan->shards[i].name;
        hs__pk_work quiet = {.monitor = &deaf};
        hs__pk_shard sh = {.name = name, .fd = -1, .path = hs__pk_path(j->opt->dst, name, err)};
        r = sh.path ? hs__pk_shard_open(&quiet, &sh, j->identity, err) : -ENOMEM;
        if (r == 0 && !sh.usable)
            r = hs_err_set(err, -EBADMSG, "%s/%s: damaged since it was written", j->opt->dst, name);
        if (r == 0)
            r = hs__pk_plan_raw(j->plan, i, &sh, err);
        hs__pk_shard_close(&sh);
        bytes += j->plan->shards[i].source_bytes;
    }
    for (uint32_t i = n; i < j->plan->n_shards; i++)
        bytes -= j->plan->shards[i].source_bytes;
    if (r == 0)
        r = hs__pk_advance(&j->work, bytes, err); /* what is raw already */
    return r < 0 ? r : write_shards(j, n, err);
}

static uint64_t streamed_bytes(const hs__pk_plan *p)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->n_shards; i++)
        bytes += p->shards[i].dense ? 0 : p->shards[i].source_bytes;
    return bytes;
}

static int write_headers(job *j, hs_err *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < j->plan->n_containers; i++) {
        const hs__pk_container *c = &j->plan->containers[i];
        uint8_t *header;
        r = hs__pk_read_header(c, &header, err);
        if (r < 0)
            break;
        if (XXH3_64bits(header, c->data_start) != c->header_hash)
            r = hs_err_set(err, -ESTALE, "%s was changed while it was being packed", c->path);
        else
            r = hs__pk_write(j->opt->dst, c->header_name, header, c->data_start, j->plan->shard_mode & 0644, err);
        hs_free(header);
    }
    return r;
}

/* Copies every other file; the copy of an earlier run is no proof that the file is still the same. */
static int copy_files(job *j, hs_err *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < j->plan->files.n; i++) {
        hs__pk_file *f = &j->plan->files.files[i];
        r = hs__pk_copy(&j->work, j->plan->src, f->name, j->opt->dst, f->stored_as, (f->mode & 0644) | 0400, &f->hash,
                        err);
        struct stat st;
        char *copy = r == 0 ? hs__pk_path(j->opt->dst, f->stored_as, err) : NULL;
        if (r == 0 && (!copy || stat(copy, &st) < 0 || (uint64_t)st.st_size != f->bytes))
            r = hs_err_set(err, -ESTALE, "%s/%s was changed while it was being packed", j->plan->src, f->name);
        hs_free(copy);
    }
    return r;
}

static void remove_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path)
        unlink(path);
}

static bool is_planned(const hs__pk_plan *p, const char *name)
{
    bool ours = !strcmp(name, HS__PK_LOCK) || !strcmp(name, HS__PK_STATE) || !strcmp(name, HS__PK_TMP);
    for (uint32_t i = 0; !ours && i < p->n_containers; i++)
        ours = !strcmp(name, p->containers[i].header_name);
    for (uint32_t i = 0; !ours && i < p->n_shards; i++)
        ours = !strcmp(name, p->shards[i].name);
    for (uint32_t i = 0; !ours && i < p->files.n; i++)
        ours = !strcmp(name, p->files.files[i].stored_as);
    return ours;
}

/* A file that an earlier run copied and that src has no more would be taken for a part of the model. */
static int check_nothing_else(const job *j, hs_err *err)
{
    hs__pk_list all;
    int r = hs__pk_list_folder(j->opt->dst, NULL, &all, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; r == 0 && i < all.n; i++)
        if (!is_planned(j->plan, all.files[i].name))
            r = hs_err_set(err, -EEXIST, "%s/%s is not of %s (or no more): remove it, then go on", j->opt->dst,
                           all.files[i].name, j->opt->src);
    hs__pk_list_free(&all);
    return r;
}

/* Said before hours of work, not refused: how far it shrinks is not known yet, and another file may go meanwhile. */
static void tell_of_room(const job *j)
{
    struct statvfs fs;
    char a[32], b[32];
    uint64_t most = j->plan->source_bytes + j->plan->file_bytes + (j->recipe.keep_raw ? streamed_bytes(j->plan) : 0);
    if (j->opt->n_stripe || statvfs(j->opt->dst, &fs) < 0 || (uint64_t)fs.f_bavail * fs.f_frsize >= most)
        return;
    hs__pk_note(&j->work, "%s has room for %s, the pack may take %s", j->opt->dst,
                hs_format_size((uint64_t)fs.f_bavail * fs.f_frsize, a, sizeof a), hs_format_size(most, b, sizeof b));
}

/* After lock: everything that is written. */
static int fill_dst(job *j, dst_kind kind, hs_err *err)
{
    hs__pk_folders begun = {0};
    int r = kind == DST_UNFINISHED ? hs__pk_state_read(j->opt->dst, &j->recipe, &begun, err) : 0;
    if (r == 0)
        r = hs__pk_folders_open(&j->folders, j->opt, begun.n ? &begun : NULL, err);
    hs__pk_folders_close(&begun);
    if (r == 0)
        r = choose_recipe(j, kind, err);
    if (r == 0)
        r = hs__pk_plan_stripe(j->plan, &j->recipe.stripe, j->recipe.shard_bytes, err);
    if (r < 0)
        return r;
    j->info = hs_calloc(2u * j->plan->n_shards + 1u, sizeof *j->info);
    if (!j->info)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", j->opt->dst);
    if (kind == DST_EMPTY) {
        tell_of_room(j);
        r = hs__pk_state_write(j->opt->dst, &j->recipe, &j->folders, err);
    }
    if (r < 0)
        return r;
    hs__pk_phase(&j->work, HS_PACK_PHASE_PACK,
                 j->plan->source_bytes + j->plan->file_bytes + (j->recipe.keep_raw ? streamed_bytes(j->plan) : 0));
    r = write_headers(j, err);
    if (r == 0)
        r = write_shards(j, 0, err);
    if (r == 0 && j->recipe.keep_raw)
        r = write_raw(j, err);
    if (r == 0)
        r = copy_files(j, err);
    if (r == 0)
        r = hs__pk_plan_unchanged(j->plan, err);
    if (r == 0)
        r = check_nothing_else(j, err);
    if (r == 0)
        r = hs__pk_manifest_write(j->opt->dst, j->plan, &j->recipe, j->info, err);
    if (r == 0) {
        remove_file(j->opt->dst, HS__PK_STATE);
        remove_file(j->opt->dst, HS__PK_TMP);
    }
    return r;
}

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

/* Of a run that was stopped in its very last steps. Whoever works there now removes them itself. */
static void remove_leftovers(job *j)
{
    const char *dst = j->opt->dst;
    if (j->lock < 0 && (exists(dst, HS__PK_STATE) || exists(dst, HS__PK_LOCK)) && hs__pk_lock(dst, &j->lock, NULL) < 0)
        return;
    if (j->lock >= 0) {
        remove_file(dst, HS__PK_STATE);
        remove_file(dst, HS__PK_TMP);
    }
}

/* Is a complete pack striped as it is asked for? */
static int check_place(const job *j, const hs__pk_packed *packed, hs_err *err)
{
    const hs_pack_options *o = j->opt;
    const char *source;
    hs__pk_recipe recipe;
    int r = o->n_stripe ? hs__pk_manifest_recipe(packed->manifest, packed->path, &recipe, &source, err) : 0;
    if (r == 0 && o->n_stripe && (recipe.stripe.n != o->n_stripe + 1 || !same_stripe(o, &recipe.stripe)))
        r = hs_err_set(err, -EEXIST, "%s is a complete pack over %u drive%s%s: remove it first, or leave it as it is",
                       o->dst, recipe.stripe.n, recipe.stripe.n == 1 ? "" : "s",
                       o->shares || o->split_bytes ? " in other shares or sizes" : "");
    return r == 0 ? hs__pk_folders_check(o, packed, err) : r;
}

/* dst has a manifest: fine if it is a pack of this very source. */
static int meet_pack(job *j, hs_err *err)
{
    hs__pk_packed *packed = NULL;
    hs_err e = {0};
    bool same = false;
    int r = hs__pk_packed_open(j->opt->dst, &packed, &e);
    if (r < 0)
        return hs_err_set(err, r == -EINVAL ? -EEXIST : r, "%s holds something else already: %.400s", j->opt->dst,
                          e.text);
    r = hs__pk_packed_open_shards(&j->work, packed, err);
    if (r == 0 && j->opt->keep_raw && !packed->n_raw)
        r = hs_err_set(err, -EEXIST, "%s is a complete pack without raw records: remove it first, or leave it as it is",
                       j->opt->dst);
    if (r == 0 && j->work.problems)
        r = hs_err_set(err, -EBADMSG, "%s is packed already, but damaged: %.380s", j->opt->dst, j->work.first);
    if (r == 0)
        r = check_place(j, packed, err);
    if (r == 0)
        r = hs__pk_compare_outside(&j->work, packed, j->plan, &same, err);
    if (r == 0 && !j->work.problems && !same)
        /* Copied elsewhere, or touched: the bytes decide. */
        r = hs__pk_compare(&j->work, packed, j->plan, err);
    if (r == 0 && j->work.problems)
        r = hs_err_set(err, -EEXIST, "%s holds a pack of another source, or %s was changed since: %.300s", j->opt->dst,
                       j->opt->src, j->work.first);
    if (r == 0) {
        remove_leftovers(j);
        hs__pk_note(&j->work, "%s is a complete pack of %s already", j->opt->dst, j->opt->src);
    }
    hs__pk_packed_close(&packed);
    return r;
}

static int check(job *j, hs_err *err)
{
    hs__pk_packed *packed = NULL;
    bool same;
    int r = hs__pk_packed_open(j->opt->dst, &packed, err);
    if (r == 0)
        r = check_place(j, packed, err);
    if (r == 0)
        r = hs__pk_verify(&j->work, packed, err);
    if (r == 0)
        r = hs__pk_compare_outside(&j->work, packed, j->plan, &same, err);
    if (r == 0)
        r = hs__pk_compare(&j->work, packed, j->plan, err);
    hs__pk_packed_close(&packed);
    return r < 0 ? r : hs__pk_verdict(&j->work, j->opt->dst, err);
}

static int pack_into(job *j, hs_err *err)
{
    const char *dst = j->opt->dst;
    dst_kind kind;
    int r = look_at_dst(dst, &kind, err);
    if (r < 0)
        return r;
    if (kind == DST_PACK)
        return meet_pack(j, err);
    if (kind != DST_OTHER) {
        r = hs__pk_prepare_dst(j->opt->src, dst, true, err);
        if (r == 0)
            r = hs__pk_lock(dst, &j->lock, err);
        if (r == 0)
            r = look_at_dst(dst, &kind, err); /* who held the lock may have changed it */
        if (r < 0)
            return r;
    }
    if (kind == DST_OTHER)
        return hs_err_set(err, -EEXIST, "%s holds something else already: choose a new or empty folder", dst);
    return kind == DST_PACK ? meet_pack(j, err) : fill_dst(j, kind, err);
}

static int check_options(const hs_pack_options *o, hs_err *err)
{
    if (!o->src || !o->dst || !*o->src || !*o->dst)
        return hs_err_set(err, -EINVAL, "pack: source and destination are needed");
    if (o->level < 0 || o->level > HS_PACK_LEVEL_MAX)
        return hs_err_set(err, -EINVAL, "pack: level %d; 1 to %d are possible", o->level, HS_PACK_LEVEL_MAX);
    if (o->shard_bytes && o->shard_bytes < 1u << 20)
        return hs_err_set(err, -EINVAL, "pack: shards of %llu bytes; at least 1 MiB is needed",
                          (unsigned long long)o->shard_bytes);
    if (o->n_stripe > HS_PACK_MAX_STRIPE)
        return hs_err_set(err, -EINVAL, "pack: %u folders to stripe over; at most %u are possible", o->n_stripe,
                          HS_PACK_MAX_STRIPE);
    uint64_t shares = 0;
    for (uint32_t i = 0; o->shares && i < o->n_stripe + 1; i++) {
        shares += o->shares[i];
        if (o->shares[i] > HS_PACK_MAX_SHARE)
            return hs_err_set(err, -EINVAL, "pack: a share of %u; at most %u is possible", o->shares[i],
                              HS_PACK_MAX_SHARE);
    }
    if (o->shares && (!o->n_stripe || !shares))
        return hs_err_set(err, -EINVAL, "pack: shares are for the folders of stripe, and one must be more than 0");
    if (o->split_bytes && !o->n_stripe)
        return hs_err_set(err, -EINVAL, "pack: split_bytes is for the folders of stripe");
    if (o->keep_raw && o->codec == HS_PACK_RAW)
        return hs_err_set(err, -EINVAL, "pack: with codec raw every record is raw: keep_raw would add nothing");
    if (o->threads > HS_PACK_THREADS_MAX)
        return hs_err_set(err, -EINVAL, "pack: %u threads; at most %u are possible", o->threads, HS_PACK_THREADS_MAX);
    return 0;
}

int hs_pack(const hs_pack_options *opt, hs_err *err)
{
    int r = check_options(opt, err);
    if (r < 0)
        return r;
    job j = {.opt = opt, .lock = -1};
    r = hs__pk_work_init(&j.work, &opt->monitor, opt->pool, opt->threads, err);
    /* What is given for going on decides how the plan is cut. */
    uint64_t shard_bytes = opt->shard_bytes ? opt->shard_bytes : HS_PACK_SHARD_BYTES;
    hs__pk_recipe begun;
    if (r == 0 && !opt->shard_bytes && hs__pk_state_read(opt->dst, &begun, NULL, NULL) == 0)
        shard_bytes = begun.shard_bytes;
    if (r == 0)
        r = hs__pk_plan_create(opt->src, shard_bytes, &j.work, &j.plan, err);
    if (r == 0) {
        /* Before anything is made in dst. */
        hs_err e = {0};
        r = hs__pk_prepare_dst(opt->src, opt->dst, false, &e);
        if (r == -ENOENT && !opt->check)
            r = 0;
        else if (r < 0)
            hs_err_set(err, r, "%s", e.text);
    }
    if (r == 0)
        r = opt->check ? check(&j, err) : pack_into(&j, err);
    hs__pk_folders_close(&j.folders);
    hs__pk_unlock(opt->dst, &j.lock);
    hs__pk_encoder_destroy(&j.encoder);
    hs__pk_plan_destroy(&j.plan);
    hs_free(j.info);
    hs__pk_work_deinit(&j.work);
    return r;
}
