/*
 * source.c - opening a model: a folder, or a GGUF file. Bringing tensors into memory: load.c.
 * After open the tensor directory is sorted by name; places (of packed tensors) are permuted with it.
 */
#include "store/source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/store_int.h"

#define MAX_OBJECT (1u << 20) /* of config.json; it stays in memory */

bool hs__name_is_plain(const char *name)
{
    size_t n = strlen(name);
    return n && n < 256 && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

bool hs__parse_hex(const char *text, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        v = v << 4 | (uint64_t)digit;
    }
    *ret = v;
    return true;
}

int hs__file_open(hs_source *s, const char *name, hs__file *ret, hs_err *err)
{
    char *path = hs_asprintf("%s%s", s->folder, name);
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
        int r = hs_file_unopened(ret->path, -errno, err);
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

const char *hs__file_instead(const hs__file *f)
{
    static const char pointer[] = "version https://git-lfs";
    char head[sizeof pointer - 1];
    if (!f->bytes)
        return " (it is empty)";
    if (f->bytes >= sizeof head && hs_pread_full(f->fd, head, sizeof head, 0) == 0 &&
        !memcmp(head, pointer, sizeof head))
        return " (it only points to the file: `git lfs pull` brings it)";
    return "";
}

int hs__file_reopen(const hs__file *f, int *ret_fd, hs_err *err)
{
    struct stat was, is;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &is) < 0 || fstat(f->fd, &was) < 0) {
        int r = hs_err_set(err, -errno, "%s: %s", f->path, hs_strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    if (is.st_dev != was.st_dev || is.st_ino != was.st_ino || (uint64_t)is.st_size != f->bytes) {
        close(fd);
        return hs_err_set(err, -ESTALE, "%s: replaced or resized since it was opened", f->path);
    }
    *ret_fd = fd;
    return 0;
}

/* A JSON object file of the folder; *ret stays NULL if it is absent and optional. */
static int load_object(hs_source *s, const char *name, bool required, json_t **ret, hs_err *err)
{
    char *path = hs_asprintf("%s/%s", s->path, name);
    if (!path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    int r = 0;
    if (required || hs_file_exists(path))
        r = hs_json_load_file(path, MAX_OBJECT, ret, err);
    if (r == 0 && *ret && !json_is_object(*ret))
        r = hs_err_set(err, -EINVAL, "%s: not a JSON object", path);
    hs_free(path);
    return r;
}

hs_tensor *hs__tensor_append(hs_source *s)
{
    if (hs_grow(&s->tensors, sizeof *s->tensors, s->n_tensors + 1, &s->cap_tensors, HS__MAX_TENSORS) < 0)
        return NULL;
    hs_tensor *t = &s->tensors[s->n_tensors];
    memset(t, 0, sizeof *t);
    return t;
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

/* Names, shapes and files' stamps of what is not packed. */
static int make_identity(hs_source *s, hs_err *err)
{
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
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
    return 0;
}

bool hs__is_packed(const char *path)
{
    json_t *m = NULL;
    char *manifest = hs_asprintf("%s/manifest.json", path);
    bool packed = manifest && hs_file_exists(manifest);
    if (packed && hs_json_load_file(manifest, HS__MAX_JSON, &m, NULL) == 0) {
        const char *format = json_string_value(json_object_get(m, "format"));
        packed = format && !strcmp(format, HS_PACK_FORMAT);
    }
    json_decref(m);
    hs_free(manifest);
    return packed;
}

/* Fills s by what `path` is: a folder, or a file. */
static int open_any(hs_source *s, hs_err *err)
{
    struct stat st;
    const char *slash = strrchr(s->path, '/');
    if (stat(s->path, &st) < 0)
        return hs_err_set(err, -errno, "%s: %s", s->path, hs_strerror(errno));
    char *folder = S_ISDIR(st.st_mode) ? hs_asprintf("%s/", s->path)
                                       : hs_strndup(s->path, slash ? (size_t)(slash - s->path) + 1 : 0);
    s->folder = folder ? hs__names_add(&s->names, folder, strlen(folder)) : NULL;
    hs_free(folder);
    if (!s->folder)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    if (!S_ISDIR(st.st_mode))
        return hs__gguf_open(s, err);
    int r = hs__is_packed(s->path) ? hs__packed_open(s, err) : hs__safetensors_open(s, err);
    if (r == 0 && !s->gguf)
        r = load_object(s, "config.json", true, &s->config, err);
    if (r == 0 && !s->gguf)
        r = load_object(s, "generation_config.json", false, &s->generation, err);
    return r;
}

static void set_checkpoint(hs_source *s)
{
    s->checkpoint.path = s->path;
    s->checkpoint.config = s->config;
    s->checkpoint.gguf = s->gguf;
    s->checkpoint.vocab = s->gguf ? &s->vocab.data : NULL;
    s->checkpoint.generation_config = s->generation;
    s->checkpoint.tensors = s->tensors;
    s->checkpoint.n_tensors = s->n_tensors;
}

static int open_source(const char *path, bool prefers_raw, hs_source **ret_source, hs_err *err)
{
    hs_source *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    s->prefers_raw = prefers_raw;
    s->path = hs__names_add(&s->names, path, strlen(path));
    int r = s->path ? open_any(s, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    if (r == 0)
        r = sort_directory(s, err);
    if (r == 0 && !s->packed)
        r = make_identity(s, err);
    if (r < 0) {
        hs_source_close(&s);
        return r;
    }
    set_checkpoint(s);
    *ret_source = s;
    return 0;
}

int hs_source_open(const char *path, hs_source **ret_source, hs_err *err)
{
    return open_source(path, false, ret_source, err);
}

int hs__kept_open(const hs_source *s, hs_source **ret, hs_err *err)
{
    if (!s->raw_bytes)
        return hs_err_set(err, -ENOENT, "%s: keeps no raw records", s->path);
    return open_source(s->path, true, ret, err);
}

uint64_t hs_source_raw_bytes(const hs_source *s)
{
    return s->raw_bytes;
}

int hs_source_describe(const char *name, json_t *config, const hs_tensor *tensors, uint32_t n, hs_source **ret_source,
                       hs_err *err)
{
    hs_source *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", name);
    s->config = json_incref(config);
    s->path = s->folder = hs__names_add(&s->names, name, strlen(name));
    int r = s->path ? 0 : -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        hs_tensor *t = hs__tensor_append(s);
        const char *copy = t ? hs__names_add(&s->names, tensors[i].name, strlen(tensors[i].name)) : NULL;
        if (!copy) {
            r = -ENOMEM;
            break;
        }
        *t = tensors[i];
        t->name = copy;
        s->n_tensors++;
    }
    r = r < 0 ? hs_err_set(err, r, "%s: out of memory", name) : sort_directory(s, err);
    if (r < 0) {
        hs_source_close(&s);
        return r;
    }
    set_checkpoint(s);
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
    for (uint32_t k = 0; k < s->n_mirrors; k++) {
        for (uint32_t f = 0; f < s->n_files; f++)
            close(s->mirrors[k].files[f].fd);
        hs_free(s->mirrors[k].files);
    }
    json_decref(s->config);
    json_decref(s->generation);
    hs_free(s->files);
    hs_free(s->shards);
    hs_free(s->places);
    hs_free(s->more);
    hs_free(s->tensors);
    hs__gguf_free(s);
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

const char *hs_source_file(const hs_source *s, uint32_t i)
{
    return i < s->n_files ? s->files[i].name : NULL;
}

uint64_t hs_source_bytes(const hs_source *s)
{
    uint64_t n = sizeof *s + s->names.bytes + s->cap_tensors * sizeof *s->tensors +
                 (1 + s->n_mirrors) * s->n_files * sizeof *s->files + s->vocab.bytes + s->config_bytes;
    if (s->packed) {
        n += (s->n_tensors + s->n_more) * sizeof *s->places + s->n_files * sizeof *s->shards;
        for (uint32_t f = 0; f < s->n_files; f++)
            n += s->shards[f].header.table_bytes;
    }
    return n;
}

const uint8_t *hs_source_identity(const hs_source *s)
{
    return s->identity;
}

uint32_t hs__first_frame(const hs__shard *sh, const hs_shard_record *rec, uint32_t part)
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
    uint64_t bytes = 0;
    for (const hs__place *p = &s->places[tensor]; p; p = hs__place_next(s, p)) {
        const hs__shard *sh = &s->shards[p->shard];
        uint32_t frame = hs__first_frame(sh, &sh->records[p->record], p->part);
        for (uint32_t n = hs__part_frames(&sh->parts[p->part]); n; n--)
            bytes += sh->frames[frame++].stored_bytes;
    }
    return bytes;
}
