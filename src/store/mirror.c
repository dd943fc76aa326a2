/*
 * mirror.c - further copies of a model's files. Whatever is opened as a copy must be one: with safetensors and GGUF,
 * which have no checksums, nobody would notice later that some experts come from another model.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/store_int.h"

#define SAMPLES      32u /* of each file */
#define SAMPLE_BYTES 4096u

static int differs(const hs_source *m, const char *file, const char *what, hs_err *err)
{
    return hs_err_set(err, -ESTALE, "mirror %s: is not a copy: %s differs in %s", m->path, file, what);
}

static int compare_files(const hs_source *s, const hs_source *m, hs_err *err)
{
    if (s->packed != m->packed || s->gguf != m->gguf || s->n_files != m->n_files)
        return hs_err_set(err, -ESTALE,
                          "mirror %s: is not a copy: it is of another kind, or has %u files instead of %u", m->path,
                          m->n_files, s->n_files);
    for (uint32_t f = 0; f < s->n_files; f++) {
        struct stat a, b;
        if (s->files[f].bytes != m->files[f].bytes)
            return differs(m, m->files[f].name, "size", err);
        if (s->packed && s->shards[f].header.header_hash != m->shards[f].header.header_hash)
            return differs(m, m->files[f].name, "its table", err); /* which has a checksum of every record */
        if (fstat(s->files[f].fd, &a) == 0 && fstat(m->files[f].fd, &b) == 0 && a.st_dev == b.st_dev &&
            a.st_ino == b.st_ino)
            return hs_err_set(err, -EINVAL, "mirror %s: %s is the model's own file, not a copy of it", m->path,
                              m->files[f].name);
    }
    return 0;
}

static int compare_tensors(const hs_source *s, const hs_source *m, hs_err *err)
{
    bool same = s->n_tensors == m->n_tensors;
    for (uint32_t i = 0; same && i < s->n_tensors; i++) {
        const hs_tensor *a = &s->tensors[i], *b = &m->tensors[i];
        same = !strcmp(a->name, b->name) && a->dtype == b->dtype && a->n_dims == b->n_dims &&
               !memcmp(a->dims, b->dims, sizeof a->dims) && a->file == b->file && a->offset == b->offset &&
               a->nbytes == b->nbytes && a->record == b->record;
    }
    return same ? 0 : hs_err_set(err, -ESTALE, "mirror %s: is not a copy: its tensors are others", m->path);
}

/* Pages from all over a file. */
static int compare_sample(const hs_source *s, const hs_source *m, uint32_t f, hs_err *err)
{
    uint8_t a[SAMPLE_BYTES], b[SAMPLE_BYTES];
    uint64_t bytes = s->files[f].bytes, step = bytes / SAMPLES;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint64_t at = i * step, n = bytes - at < SAMPLE_BYTES ? bytes - at : SAMPLE_BYTES;
        int r = hs_pread_full(s->files[f].fd, a, n, (off_t)at);
        if (r < 0) /* what the mirror is for */
            continue;
        r = hs_pread_full(m->files[f].fd, b, n, (off_t)at);
        if (r < 0)
            return hs_err_set(err, r, "mirror %s: %s, byte %llu: %s", m->path, m->files[f].name, (unsigned long long)at,
                              hs_strerror(r));
        if (memcmp(a, b, n))
            return differs(m, m->files[f].name, "its weights", err);
    }
    return 0;
}

/* The files of m become a mirror of s; m is left without. */
static int take_files(hs_source *s, hs_source *m, hs_err *err)
{
    hs__file *files = hs_calloc(s->n_files, sizeof *files);
    const char *path = hs__names_add(&s->names, m->path, strlen(m->path));
    bool whole = files && path;
    for (uint32_t f = 0; whole && f < s->n_files; f++) {
        files[f] = m->files[f];
        files[f].name = s->files[f].name;
        files[f].path = hs__names_add(&s->names, m->files[f].path, strlen(m->files[f].path));
        whole = files[f].path;
    }
    if (!whole) {
        hs_free(files);
        return hs_err_set(err, -ENOMEM, "mirror %s: out of memory", m->path);
    }
    for (uint32_t f = 0; f < s->n_files; f++)
        m->files[f].fd = -1;
    s->mirrors[s->n_mirrors].path = path;
    s->mirrors[s->n_mirrors++].files = files;
    return 0;
}

int hs_source_add_mirror(hs_source *s, const char *path, hs_err *err)
{
    if (s->n_mirrors == HS_MAX_MIRRORS)
        return hs_err_set(err, -E2BIG, "mirror %s: one too many; %u are possible", path, HS_MAX_MIRRORS);
    hs_source *m = NULL;
    int r = hs_source_open(path, &m, err);
    if (r < 0)
        return hs_err_prefix(err, "mirror");
    r = compare_files(s, m, err);
    if (r == 0)
        r = compare_tensors(s, m, err);
    for (uint32_t f = 0; r == 0 && !s->packed && f < s->n_files; f++)
        r = compare_sample(s, m, f, err);
    if (r == 0)
        r = take_files(s, m, err);
    hs_source_close(&m);
    return r;
}
