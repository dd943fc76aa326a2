/*
 * verify.c - hs_verify: every byte of a packed folder is looked at once, and each is covered by a checksum or must be
 * zero: manifest (its own checksum), container headers and copied files (hash in the manifest), shards: header and
 * footer (checksum, and zeros after them), table (hash, zeros), records (hash of stored and of raw bytes, a check per
 * frame), gaps (zeros). Damage is told and the work goes on; only a failing machine (memory) ends it early.
 */
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "pack/pack_int.h"
#include "store/source.h"

/* Errors of the thing that is looked at are problems; asking to stop and lack of memory are not. */
static int as_problem(hs__pk_work *w, const char *file, int64_t record, int r, hs_err *e, hs_err *err)
{
    if (r == 0)
        return 0;
    if (r == -ECANCELED || r == -ENOMEM)
        return hs_err_set(err, r, "%s", e->text);
    hs__pk_problem(w, file, record, "%s", e->text);
    return 0;
}

static int verify_zero(hs__pk_work *w, const hs__pk_shard *sh, int64_t record, uint64_t from, uint64_t to, hs_err *err)
{
    hs_err e = {0};
    int r = from < to ? hs__pk_check_zero(sh, from, to, &e) : 0;
    return as_problem(w, sh->name, record, r, &e, err);
}

static int verify_shard(hs__pk_work *w, hs__pk_reader *reader, const hs__pk_shard *sh, hs_err *err)
{
    const hs_shard_header *h = &sh->header;
    uint64_t before = w->done;
    int r = 0;
    if (!sh->usable)
        return hs__pk_advance(w, sh->want_bytes, err); /* told when it was opened */
    /* What the disk gives counts, not what the page cache remembers. */
    posix_fadvise(sh->fd, 0, 0, POSIX_FADV_DONTNEED);
    r = verify_zero(w, sh, HS_PACK_ANY_RECORD, sizeof *h, HS_SHARD_ALIGN, err);
    for (uint32_t i = 0; r == 0 && i < h->n_records; i++) {
        const hs_shard_record *rec = &sh->records[i];
        uint64_t end = rec->offset + rec->stored_bytes;
        hs_err e = {0};
        int k = hs__pk_read_record(reader, sh, i, true, NULL, NULL, &e);
        r = as_problem(w, sh->name, i, k, &e, err);
        if (r == 0)
            r = verify_zero(w, sh, i, end, hs_align_up(end, HS_SHARD_ALIGN), err);
    }
    uint64_t end = h->table_offset + h->table_bytes, footer = sh->bytes - HS_SHARD_ALIGN;
    if (r == 0)
        r = verify_zero(w, sh, HS_PACK_ANY_RECORD, end, footer, err);
    if (r == 0)
        r = verify_zero(w, sh, HS_PACK_ANY_RECORD, footer + sizeof(hs_shard_footer), sh->bytes, err);
    posix_fadvise(sh->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (r < 0)
        return r;
    uint64_t now = w->done - before; /* tables, gaps and what damage cut short */
    return hs__pk_advance(w, sh->bytes > now ? sh->bytes - now : 0, err);
}

static int verify_file(hs__pk_work *w, const hs__pk_packed *p, const char *name, uint64_t bytes, uint64_t want,
                       hs_err *err)
{
    uint64_t hash;
    hs_err e = {0};
    char *path = hs__pk_path(p->path, name, err);
    if (!path)
        return -ENOMEM;
    int r = hs__pk_hash_file(w, path, bytes, &hash, &e);
    if (r == 0 && hash != want)
        r = hs_err_set(&e, -EBADMSG, "%s: damaged (checksum)", name);
    r = as_problem(w, name, HS_PACK_ANY_RECORD, r, &e, err);
    hs_free(path);
    return r;
}

int hs__pk_verify(hs__pk_work *w, hs__pk_packed *p, hs_err *err)
{
    hs__pk_phase(w, HS_PACK_PHASE_VERIFY, hs__pk_packed_bytes(p));

    hs__pk_reader *reader = NULL;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < p->n_sources; i++)
        r = verify_file(w, p, p->sources[i].header, p->sources[i].data_start, p->sources[i].header_hash, err);
    for (uint32_t i = 0; r == 0 && i < p->n_files; i++)
        r = verify_file(w, p, p->files[i].stored_as, p->files[i].bytes, p->files[i].hash, err);
    if (r == 0)
        r = hs__pk_packed_open_shards(w, p, err);
    if (r == 0)
        r = hs__pk_packed_coverage(w, p, err);
    if (r == 0)
        r = hs__pk_reader_create(w, &reader, err);
    for (uint32_t i = 0; r == 0 && i < p->n_shards; i++)
        r = verify_shard(w, reader, &p->shards[i], err);
    hs__pk_reader_destroy(&reader);
    return r;
}

/* A plain folder: the reader that serves it checks the container's rules. */
static int verify_plain(hs__pk_work *w, const char *path, hs_err *err)
{
    hs_source *s = NULL;
    hs_err e = {0};
    int r = hs_source_open(path, &s, &e);
    if (r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -ENOMEM)
        return hs_err_set(err, r, "%s", e.text);
    if (r < 0) {
        hs__pk_problem(w, path, HS_PACK_ANY_RECORD, "%s", e.text);
    } else {
        hs__pk_note(w,
                    "%s: %u tensors; structure checked only, since the safetensors format has no checksums: "
                    "`hotset pack` makes a copy that has them",
                    path, hs_source_checkpoint(s)->n_tensors);
        hs_source_close(&s);
    }
    return 0;
}

/* A safetensors folder whose manifest.json is another tool's. */
static bool is_plain(const char *path)
{
    hs_source *s = NULL;
    bool plain = hs_source_open(path, &s, NULL) == 0 && !hs_source_is_packed(s);
    hs_source_close(&s);
    return plain;
}

int hs_verify(const char *path, hs_pool *pool, const hs_pack_monitor *monitor, uint64_t *ret_problems, hs_err *err)
{
    hs__pk_work w;
    hs__pk_packed *p = NULL;
    struct stat st;
    int r = hs__pk_work_init(&w, monitor, pool, 0, err);
    bool is_file = r == 0 && stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
    char *manifest = r == 0 ? hs__pk_path(path, HS__PK_MANIFEST, err) : NULL;
    if (r == 0 && !manifest)
        r = -ENOMEM;
    if (r == 0 && is_file) {
        r = hs__pk_gguf_verify(&w, path, err);
    } else if (r == 0 && stat(manifest, &st) < 0) {
        char *state = hs__pk_path(path, HS__PK_STATE, err);
        if (state && stat(state, &st) == 0)
            r = hs_err_set(err, -ENODATA, "%s is an unfinished pack: run `hotset pack` again to finish it", path);
        else
            r = verify_plain(&w, path, err);
        hs_free(state);
    } else if (r == 0) {
        hs_err e = {0};
        r = hs__pk_packed_open(path, &p, &e);
        if (r == -EINVAL && is_plain(path)) {
            r = verify_plain(&w, path, err);
        } else if (r == -EBADMSG || r == -EINVAL) { /* without its manifest nothing else of a pack can be judged */
            hs__pk_problem(&w, HS__PK_MANIFEST, HS_PACK_ANY_RECORD, "%s", e.text);
            r = 0;
        } else if (r < 0) {
            hs_err_set(err, r, "%s", e.text);
        }
        if (r == 0 && p)
            r = hs__pk_verify(&w, p, err);
    }
    hs_free(manifest);
    hs__pk_packed_close(&p);
    if (r == 0) {
        if (ret_problems)
            *ret_problems = w.problems;
        r = hs__pk_verdict(&w, path, err);
    }
    hs__pk_work_deinit(&w);
    return r;
}
