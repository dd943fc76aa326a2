/*
 * gguf.c - what is particular about a GGUF source: its containers are the parts of one model, whatever else lies beside
 * them; a header ends where the first tensor begins; and the bytes between tensors (padding, mostly) are kept as well.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pack/pack_int.h"
#include "store/source.h"

static int by_place(const void *a, const void *b)
{
    const hs__pk_part *x = a, *y = b;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

uint64_t hs__pk_gguf_data_start(const hs_checkpoint *c, uint32_t file, uint64_t bytes)
{
    uint64_t first = bytes;
    for (uint32_t i = 0; i < c->n_tensors; i++)
        if (c->tensors[i].file == file && c->tensors[i].offset < first)
            first = c->tensors[i].offset;
    return first;
}

int hs__pk_gguf_gaps(const hs__pk_plan *p, const hs_checkpoint *c, hs__pk_part **ret, uint32_t *ret_n, hs_err *err)
{
    /* In front of each tensor, and at the end of each container. */
    uint32_t n = 0, k = 0;
    hs__pk_part *all = hs_calloc(c->n_tensors + 1u, sizeof *all);
    hs__pk_part *gaps = hs_calloc((size_t)c->n_tensors + p->n_containers + 1u, sizeof *gaps);
    if (!all || !gaps) {
        hs_free(all);
        hs_free(gaps);
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    }
    for (uint32_t i = 0; i < c->n_tensors; i++)
        all[i] =
            (hs__pk_part){.source = c->tensors[i].file, .offset = c->tensors[i].offset, .bytes = c->tensors[i].nbytes};
    qsort(all, c->n_tensors, sizeof *all, by_place);
    for (uint32_t f = 0; f < p->n_containers; f++) {
        uint64_t at = p->containers[f].data_start;
        for (; k < c->n_tensors && all[k].source == f; k++) {
            if (all[k].offset > at)
                gaps[n++] = (hs__pk_part){f, 1, at, all[k].offset - at};
            at = all[k].offset + all[k].bytes;
        }
        if (p->containers[f].bytes > at)
            gaps[n++] = (hs__pk_part){f, 1, at, p->containers[f].bytes - at};
    }
    hs_free(all);
    *ret = gaps;
    *ret_n = n;
    return 0;
}

char *hs__pk_folder_of(const char *path, hs_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    char *folder = hs_strndup(slash ? path : ".", slash ? (n ? n : 1) : 1);
    if (!folder)
        hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    return folder;
}

/* Reads a part from beginning to end. */
static int read_part(hs__pk_work *w, const char *folder, const char *name, hs_err *err)
{
    struct stat st;
    hs_err e = {0};
    uint64_t hash;
    char *path = hs__pk_path(folder, name, err);
    if (!path)
        return -ENOMEM;
    int fd = hs__pk_open(path, &st, &e), r = fd;
    if (fd >= 0) {
        /* What the disk gives counts, not what the page cache remembers. */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
        r = hs__pk_hash_file(w, path, (uint64_t)st.st_size, &hash, &e);
    }
    hs_free(path);
    if (r == -ECANCELED || r == -ENOMEM)
        return hs_err_set(err, r, "%s", e.text);
    if (r < 0)
        hs__pk_problem(w, name, HS_PACK_ANY_RECORD, "%s", e.text);
    return 0;
}

/* Bytes of all parts, as far as they are there. */
static uint64_t size_of(const hs_source *s, const char *folder)
{
    uint64_t total = 0;
    for (uint32_t i = 0; hs_source_file(s, i); i++) {
        struct stat st;
        char *path = hs__pk_path(folder, hs_source_file(s, i), NULL);
        if (path && stat(path, &st) == 0)
            total += (uint64_t)st.st_size;
        hs_free(path);
    }
    return total;
}

static int read_parts(hs__pk_work *w, const hs_source *s, const char *path, hs_err *err)
{
    const char *name;
    uint32_t n = 0;
    int r = 0;
    char *folder = hs__pk_folder_of(path, err);
    if (!folder)
        return -ENOMEM;
    hs__pk_phase(w, HS_PACK_PHASE_VERIFY, size_of(s, folder));
    while (r == 0 && (name = hs_source_file(s, n)) != NULL) {
        r = read_part(w, folder, name, err);
        n++;
    }
    hs_free(folder);
    if (r == 0)
        hs__pk_note(
            w,
            "%s: %u tensors in %u files; the structure is sound and every byte can be read, but the GGUF format "
            "has no checksums: `hotset pack` makes a copy that has them",
            path, hs_source_checkpoint(s)->n_tensors, n);
    return r;
}

int hs__pk_gguf_verify(hs__pk_work *w, const char *path, hs_err *err)
{
    hs_source *s = NULL;
    hs_err e = {0};
    int r = hs_source_open(path, &s, &e);
    if (r == -ENOENT || r == -EACCES || r == -ENOMEM)
        return hs_err_set(err, r, "%s", e.text);
    if (r < 0) {
        hs__pk_problem(w, path, HS_PACK_ANY_RECORD, "%s", e.text);
        return 0;
    }
    r = read_parts(w, s, path, err);
    hs_source_close(&s);
    return r;
}
