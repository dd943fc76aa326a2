/*
 * origin.c - the model that a packed one was packed from, if it is still where the manifest says and unchanged: its
 * records need no decoding. Names, sizes, times and headers are compared, and every tensor's name, type and size;
 * weights are not read.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/store_int.h"

static const hs__file *find_file(const hs_source *s, const char *name)
{
    for (uint32_t i = 0; name && i < s->n_files; i++)
        if (!strcmp(s->files[i].name, name))
            return &s->files[i];
    return NULL;
}

static int hash_header(const hs__file *f, uint64_t bytes, uint64_t *ret, hs_err *err)
{
    char *text = bytes && bytes <= f->bytes && bytes <= HS__MAX_HEADER + 8u ? hs_malloc(bytes) : NULL;
    int r = text ? hs_pread_full(f->fd, text, bytes, 0) : -ENOMEM;
    if (r == 0)
        *ret = XXH3_64bits(text, bytes);
    hs_free(text);
    return r < 0 ? hs_err_set(err, r, "%s: header: %s", f->path, hs_strerror(r)) : 0;
}

/* One of the manifest's sources, against the file that has its name now. */
static int check_file(const hs_source *s, const hs_source *origin, const json_t *item, const char *where, hs_err *err)
{
    int64_t bytes, data_start, mtime;
    uint64_t want = 0, got = 0;
    struct stat now, pack;
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *hash = json_string_value(json_object_get(item, "header_xxh3"));
    int r = hs_json_int(item, where, "bytes", 0, INT64_MAX, &bytes, err);
    if (r == 0)
        r = hs_json_int(item, where, "data_start", 0, INT64_MAX, &data_start, err);
    if (r == 0)
        r = hs_json_int(item, where, "mtime_ns", INT64_MIN, INT64_MAX, &mtime, err);
    const hs__file *f = find_file(origin, name);
    if (r < 0 || !f || !hash || strlen(hash) != 16 || !hs__parse_hex(hash, 16, &want))
        return r < 0 ? r : hs_err_set(err, -ESTALE, "%s: %s is not there", origin->path, name ? name : "a file");
    if (fstat(f->fd, &now) < 0 || fstat(s->files[0].fd, &pack) < 0)
        return hs_err_set(err, -errno, "%s: %s", f->path, hs_strerror(-errno));
    if ((uint64_t)bytes != f->bytes || now.st_mtim.tv_sec * 1000000000ll + now.st_mtim.tv_nsec != mtime)
        return hs_err_set(err, -ESTALE, "%s: was changed since it was packed", f->path);
    if (now.st_dev != pack.st_dev)
        return hs_err_set(err, -EXDEV, "%s: lies on another drive", f->path);
    r = hash_header(f, (uint64_t)data_start, &got, err);
    return r == 0 && got != want ? hs_err_set(err, -ESTALE, "%s: its header was changed", f->path) : r;
}

static int check_tensors(const hs_source *s, const hs_source *origin, hs_err *err)
{
    bool same = s->n_tensors == origin->n_tensors;
    for (uint32_t i = 0; same && i < s->n_tensors; i++) {
        const hs_tensor *a = &s->tensors[i], *b = &origin->tensors[i];
        same = !strcmp(a->name, b->name) && a->nbytes == b->nbytes && a->dtype == b->dtype;
    }
    return same ? 0 : hs_err_set(err, -ESTALE, "%s: other tensors than in %s", origin->path, s->path);
}

int hs__origin_open(const hs_source *s, hs_source **ret, hs_err *err)
{
    char *where = hs_asprintf("%s/manifest.json", s->path);
    json_t *m = NULL;
    hs_source *o = NULL;
    int r = where ? hs__manifest_read(where, &m, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    const char *path = json_string_value(json_object_get(m, "source"));
    const json_t *sources = json_object_get(m, "sources");
    if (r == 0 && !path)
        r = hs_err_set(err, -ENOENT, "%s: does not say where it was packed from", where);
    if (r == 0)
        r = hs_source_open(path, &o, err);
    if (r == 0 && (o->packed || o->n_files != json_array_size(sources)))
        r = hs_err_set(err, -ESTALE, "%s: is not what was packed", path);
    for (uint32_t i = 0; r == 0 && i < o->n_files; i++)
        r = check_file(s, o, json_array_get(sources, i), where, err);
    if (r == 0)
        r = check_tensors(s, o, err);
    json_decref(m);
    hs_free(where);
    if (r == 0)
        *ret = o;
    else
        hs_source_close(&o);
    return r;
}
