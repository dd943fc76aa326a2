/*
 * plan.c - what of a source goes where: containers, parts, records, shards, files to copy, and a stamp by
 * which the same source is known again. Immutable once made, but for raw shards; holds one descriptor per container.
 *
 * The plan depends on the source and on shard_bytes alone, so that an interrupted pack finds its place again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "pack/pack_int.h"
#include "store/source.h"

#define INDEX "model.safetensors.index.json"

/* ---- containers ---- */

static bool is_safetensors(const char *name)
{
    size_t n = strlen(name);
    return n > 12 && name[0] != '.' && !strcmp(name + n - 12, ".safetensors");
}

/* Marks in `used` the files of the folder that hold the model: those the index names, or all without an index. */
static int find_containers(const char *src, const hs__pk_list *all, bool *used, hs_err *err)
{
    if (!hs__pk_list_find(all, INDEX)) {
        for (uint32_t i = 0; i < all->n; i++)
            used[i] = is_safetensors(all->files[i].name);
        return 0;
    }
    char *path = hs__pk_path(src, INDEX, err);
    if (!path)
        return -ENOMEM;
    json_t *index = NULL, *v;
    const char *key;
    int r = hs_json_load_file(path, HS__PK_MAX_JSON, &index, err);
    if (r == 0) {
        json_object_foreach(json_object_get(index, "weight_map"), key, v)
        {
            const hs__pk_file *f = json_is_string(v) ? hs__pk_list_find(all, json_string_value(v)) : NULL;
            if (!f) {
                r = hs_err_set(err, -EINVAL, "%s: weight_map.%.100s names no file of this folder", path, key);
                break;
            }
            used[f - all->files] = true;
        }
    }
    json_decref(index);
    hs_free(path);
    return r;
}

int hs__pk_read_header(const hs__pk_container *c, uint8_t **ret, hs_err *err)
{
    uint8_t *p = hs_malloc(c->data_start);
    if (!p)
        return hs_err_set(err, -ENOMEM, "%s: out of memory for a header of %llu bytes", c->path,
                          (unsigned long long)c->data_start);
    int r = hs_pread_full(c->fd, p, c->data_start, 0);
    if (r < 0) {
        hs_free(p);
        return hs_err_set(err, r, "%s: header: %s", c->path, r == -ENODATA ? "the file shrank" : hs_strerror(r));
    }
    *ret = p;
    return 0;
}

/* Length of a safetensors header, with the length before it. */
static int safetensors_start(hs__pk_container *c, hs_err *err)
{
    uint8_t len[8];
    int r = hs_pread_full(c->fd, len, 8, 0);
    for (int i = 7; r == 0 && i >= 0; i--)
        c->data_start = c->data_start << 8 | len[i];
    if (r < 0 || c->data_start > HS__PK_MAX_HEADER - 8 || c->data_start + 8 > c->bytes)
        return hs_err_set(err, -EINVAL, "%s: not a safetensors file", c->path);
    c->data_start += 8;
    return 0;
}

/* The next container of p; gguf: the checkpoint if it is one, else NULL. */
static int open_container(hs__pk_plan *p, const char *name, const hs_checkpoint *gguf, hs_err *err)
{
    struct stat st;
    uint8_t *header;
    uint32_t index = p->n_containers++;
    hs__pk_container *c = &p->containers[index];
    c->fd = -1;
    c->name = hs_strdup(name);
    c->header_name = hs_asprintf("%s.header", name);
    c->path = hs__pk_path(p->folder, name, err);
    if (!c->name || !c->header_name || !c->path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    int r = c->fd = hs__pk_open(c->path, &st, err);
    if (r < 0)
        return r;
    c->bytes = (uint64_t)st.st_size;
    c->mtime[0] = st.st_mtim.tv_sec;
    c->mtime[1] = st.st_mtim.tv_nsec;
    c->mode = st.st_mode & 07777;
    p->shard_mode &= c->mode;
    if (gguf)
        c->data_start = hs__pk_gguf_data_start(gguf, index, c->bytes);
    else
        r = safetensors_start(c, err);
    if (r >= 0 && c->data_start > HS__PK_MAX_HEADER)
        r = hs_err_set(err, -EFBIG, "%s: a header of %llu bytes; at most %u are packed", c->path,
                       (unsigned long long)c->data_start, HS__PK_MAX_HEADER);
    if (r >= 0)
        r = hs__pk_read_header(c, &header, err);
    if (r < 0)
        return r;
    c->header_hash = XXH3_64bits(header, c->data_start);
    hs_free(header);
    posix_fadvise(c->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

/* The other files; those with a name of ours get another one in the pack. */
static int keep_files(hs__pk_plan *p, hs__pk_list *all, const bool *used, hs_err *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        hs__pk_file *f = &all->files[i];
        if (used[i]) {
            hs_free(f->name);
            continue;
        }
        f->stored_as = hs__pk_name_is_reserved(f->name) ? hs_asprintf("copied-%05u", i) : hs_strdup(f->name);
        p->file_bytes += f->bytes;
        all->files[n++] = *f;
        if (!f->stored_as) {
            for (i++; i < all->n; i++)
                hs_free(all->files[i].name);
            all->n = n;
            return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
        }
    }
    all->n = n;
    p->files = *all;
    *all = (hs__pk_list){0};
    return 0;
}

/* Names that hs_unpack uses while it works could not be given back. */
static int check_names(const hs__pk_plan *p, hs_err *err)
{
    for (uint32_t i = 0; i < p->files.n; i++) {
        const char *name = p->files.files[i].name;
        size_t n = strlen(name);
        if (!strcmp(name, HS__PK_LOCK) || !strcmp(name, HS__PK_STATE) || !strcmp(name, HS__PK_TMP))
            return hs_err_set(err, -EINVAL,
                              "%s/%s: hotset is writing to this folder, or was interrupted: finish that, or remove the "
                              "file",
                              p->src, name);
        for (uint32_t k = 0; n > 4 && !strcmp(name + n - 4, ".tmp") && k < p->n_containers; k++)
            if (strlen(p->containers[k].name) == n - 4 && !memcmp(p->containers[k].name, name, n - 4))
                return hs_err_set(err, -EINVAL,
                                  "%s/%s: an unfinished copy of %s? It could not be unpacked again: remove it", p->src,
                                  name, p->containers[k].name);
    }
    return 0;
}

/* The parts of a GGUF model; what else lies beside them is not of it. */
static int open_parts(hs__pk_plan *p, const hs_source *s, hs_err *err)
{
    uint32_t n = 0;
    int r = 0;
    while (hs_source_file(s, n))
        n++;
    p->containers = hs_calloc(n, sizeof *p->containers);
    if (!p->containers)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = open_container(p, hs_source_file(s, i), hs_source_checkpoint(s), err);
    return r;
}

static int open_containers(hs__pk_plan *p, const hs__pk_work *w, hs_err *err)
{
    hs__pk_list all = {0};
    int r = hs__pk_list_folder(p->src, w, &all, err);
    if (r < 0)
        return r;
    bool *used = hs_calloc(all.n + 1, sizeof *used);
    p->containers = hs_calloc(all.n + 1, sizeof *p->containers);
    r = used && p->containers ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    if (r == 0)
        r = find_containers(p->src, &all, used, err);
    for (uint32_t i = 0; r == 0 && i < all.n; i++)
        if (used[i])
            r = open_container(p, all.files[i].name, NULL, err);
    if (r == 0)
        r = keep_files(p, &all, used, err);
    if (r == 0)
        r = check_names(p, err);
    hs_free(used);
    hs__pk_list_free(&all);
    return r;
}

static int make_stamp(hs__pk_plan *p, hs_err *err)
{
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    XXH3_128bits_reset(h);
    for (uint32_t i = 0; i < p->n_containers; i++) {
        const hs__pk_container *c = &p->containers[i];
        uint64_t facts[4] = {c->bytes, (uint64_t)c->mtime[0], (uint64_t)c->mtime[1], c->header_hash};
        XXH3_128bits_update(h, c->name, strlen(c->name) + 1);
        XXH3_128bits_update(h, facts, sizeof facts);
    }
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits_digest(h));
    memcpy(p->stamp, c.digest, sizeof p->stamp);
    XXH3_freeState(h);
    return 0;
}

/* ---- records ---- */

typedef struct item {
    const hs_tensor *t;
    bool streamed;
    hs__pk_expert_name x;
} item;

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Dense tensors in source order; then experts by layer, prefix and number, their parts gate, up, down, weight first. */
static int by_place(const void *a, const void *b)
{
    const item *x = a, *y = b;
    int r = (int)x->streamed - (int)y->streamed;
    if (r)
        return r;
    if (!x->streamed) {
        r = compare_u64(x->t->file, y->t->file);
        r = r ? r : compare_u64(x->t->offset, y->t->offset);
        return r ? r : compare_u64(x->t->nbytes, y->t->nbytes);
    }
    r = compare_u64(x->x.layer, y->x.layer);
    if (!r && x->x.prefix == y->x.prefix)
        r = memcmp(x->t->name, y->t->name, x->x.prefix);
    else if (!r)
        r = compare_u64(x->x.prefix, y->x.prefix);
    r = r ? r : compare_u64(x->x.expert, y->x.expert);
    r = r ? r : compare_u64(x->x.matrix, y->x.matrix);
    r = r ? r : (int)x->x.is_scale - (int)y->x.is_scale;
    return r ? r : strcmp(x->t->name, y->t->name);
}

static bool same_object(const item *a, const item *b)
{
    return a->streamed && b->streamed && a->x.expert == b->x.expert && a->x.prefix == b->x.prefix &&
           !memcmp(a->t->name, b->t->name, a->x.prefix);
}

int hs__pk_plan_shard(hs__pk_plan *p, bool dense, uint32_t number, uint32_t record, hs_err *err)
{
    if (p->n_shards == HS__PK_MAX_FILES)
        return hs_err_set(err, -E2BIG, "%s: more than %u shards: raise the shard size", p->src, HS__PK_MAX_FILES);
    size_t cap = p->n_shards;
    if (hs_grow(&p->shards, sizeof *p->shards, p->n_shards + 1, &cap, p->n_shards + 1) < 0)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    hs__pk_shard_plan *s = &p->shards[p->n_shards++];
    *s = (hs__pk_shard_plan){.dense = dense, .first_record = record};
    snprintf(s->name, sizeof s->name, "%s-%05u.hss", dense ? "dense" : "experts", number);
    return 0;
}

static bool is_compressed(const hs__pk_shard *sh, uint32_t record)
{
    const hs_shard_record *rec = &sh->records[record];
    for (uint32_t i = 0; i < rec->n_parts; i++)
        if (sh->parts[rec->first_part + i].codec != HS_CODEC_RAW)
            return true;
    return false;
}

int hs__pk_plan_raw(hs__pk_plan *p, uint32_t shard, const hs__pk_shard *written, hs_err *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < written->header.n_records; i++)
        n += is_compressed(written, i);
    if (!n)
        return 0;
    int r = hs__pk_plan_shard(p, false, 0, 0, err);
    if (r < 0)
        return r;
    const hs__pk_shard_plan *of = &p->shards[shard];
    hs__pk_shard_plan *s = &p->shards[p->n_shards - 1];
    snprintf(s->name, sizeof s->name, "raw%s", strchr(of->name, '-'));
    s->raw = true;
    s->drive = of->drive;
    s->chosen = hs_calloc(n, sizeof *s->chosen);
    if (!s->chosen)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    for (uint32_t i = 0; i < written->header.n_records; i++) {
        if (!is_compressed(written, i))
            continue;
        const hs__pk_record *rec = &p->records[hs__pk_record_of(of, i)];
        s->chosen[s->n_records++] = hs__pk_record_of(of, i);
        for (uint32_t k = 0; k < rec->n_parts; k++)
            s->source_bytes += p->parts[rec->first_part + k].bytes;
    }
    return 0;
}

/* The last n parts are a record; name: of the first. */
static int end_record(hs__pk_plan *p, uint32_t n, bool dense, const char *name, uint64_t shard_bytes, hs_err *err)
{
    uint64_t bytes = 0, raw = 0;
    uint32_t first = p->n_parts - n;
    for (uint32_t i = first; i < p->n_parts; i++) {
        bytes += p->parts[i].bytes;
        raw += hs__pk_padded(p->parts[i].bytes);
    }
    if (raw > HS_RECORD_MAX_RAW)
        return hs_err_set(err, -EFBIG, "%s: tensor %s is too big for a record", p->src, name);
    hs__pk_shard_plan *s = p->n_shards ? &p->shards[p->n_shards - 1] : NULL;
    bool fits = s && s->dense == dense && (dense || s->source_bytes + bytes <= shard_bytes);
    if (!fits) {
        uint32_t number = s && s->dense == dense ? (uint32_t)strtoul(strchr(s->name, '-') + 1, NULL, 10) + 1 : 0;
        int r = hs__pk_plan_shard(p, dense, number, p->n_records, err);
        if (r < 0)
            return r;
        s = &p->shards[p->n_shards - 1];
    }
    s->source_bytes += bytes;
    s->n_records++;
    p->source_bytes += bytes;
    p->records[p->n_records++] = (hs__pk_record){first, n, raw};
    return 0;
}

static int add_record(hs__pk_plan *p, const item *items, uint32_t n, uint64_t shard_bytes, hs_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const hs_tensor *t = items[i].t;
        p->parts[p->n_parts++] = (hs__pk_part){t->file, hs_dtype_size(t->dtype), t->offset, t->nbytes};
    }
    return end_record(p, n, !items->streamed, items->t->name, shard_bytes, err);
}

/* What lies between tensors: one record, the last of the dense ones. */
static int add_gaps(hs__pk_plan *p, const hs__pk_part *gaps, uint32_t n, uint64_t shard_bytes, hs_err *err)
{
    if (!n)
        return 0;
    memcpy(p->parts + p->n_parts, gaps, n * sizeof *gaps);
    p->n_parts += n;
    return end_record(p, n, true, "(none: padding)", shard_bytes, err);
}

static int make_records(hs__pk_plan *p, const hs_checkpoint *c, const hs__pk_part *gaps, uint32_t n_gaps,
                        uint64_t shard_bytes, hs_err *err)
{
    item *items = hs_calloc(c->n_tensors + 1u, sizeof *items);
    p->parts = hs_calloc((size_t)c->n_tensors + n_gaps + 1u, sizeof *p->parts);
    p->records = hs_calloc(c->n_tensors + 2u, sizeof *p->records);
    int r = items && p->parts && p->records ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    for (uint32_t i = 0; r == 0 && i < c->n_tensors; i++) {
        items[i].t = &c->tensors[i];
        items[i].streamed = hs__pk_parse_expert(c->tensors[i].name, &items[i].x);
    }
    if (r == 0)
        qsort(items, c->n_tensors, sizeof *items, by_place);
    uint32_t n_dense = 0;
    while (r == 0 && n_dense < c->n_tensors && !items[n_dense].streamed)
        r = add_record(p, items + n_dense++, 1, shard_bytes, err);
    if (r == 0)
        r = add_gaps(p, gaps, n_gaps, shard_bytes, err);
    for (uint32_t i = n_dense, n; r == 0 && i < c->n_tensors; i += n) {
        for (n = 1; i + n < c->n_tensors && same_object(&items[i], &items[i + n]);)
            n++;
        r = add_record(p, items + i, n, shard_bytes, err);
    }
    hs_free(items);
    return r;
}

/* What store parsed must be what we opened: the same files in the same order, each filled by its tensors and gaps. */
static int check_places(const hs__pk_plan *p, const hs_checkpoint *c, const hs__pk_part *gaps, uint32_t n_gaps,
                        hs_err *err)
{
    uint64_t *sum = hs_calloc(p->n_containers + 1u, sizeof *sum);
    int r = sum ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    for (uint32_t i = 0; r == 0 && i < c->n_tensors; i++) {
        const hs_tensor *t = &c->tensors[i];
        const hs__pk_container *f = t->file < p->n_containers ? &p->containers[t->file] : NULL;
        if (!f || t->offset < f->data_start || t->offset > f->bytes || t->nbytes > f->bytes - t->offset)
            r = hs_err_set(err, -ESTALE, "%s: tensor %s is not where it was a moment ago: is the folder being written?",
                           p->src, t->name);
        else
            sum[t->file] += t->nbytes;
    }
    for (uint32_t i = 0; r == 0 && i < n_gaps; i++)
        sum[gaps[i].source] += gaps[i].bytes;
    for (uint32_t i = 0; r == 0 && i < p->n_containers; i++)
        if (sum[i] != p->containers[i].bytes - p->containers[i].data_start)
            r = hs_err_set(err, -ESTALE, "%s: its tensors do not fill it: is the folder being written?",
                           p->containers[i].path);
    hs_free(sum);
    return r;
}

/* Fills p from the opened source. */
static int make_plan(hs__pk_plan *p, const hs_source *s, uint64_t shard_bytes, const hs__pk_work *w, hs_err *err)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    hs__pk_part *gaps = NULL;
    uint32_t n_gaps = 0;
    p->folder = c->gguf ? hs__pk_folder_of(p->src, err) : hs_strdup(p->src);
    if (!p->folder)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->src);
    p->shard_mode = 0666;
    int r = c->gguf ? open_parts(p, s, err) : open_containers(p, w, err);
    p->shard_mode |= 0600;
    if (r == 0 && c->gguf)
        r = hs__pk_gguf_gaps(p, c, &gaps, &n_gaps, err);
    if (r == 0)
        r = check_places(p, c, gaps, n_gaps, err);
    if (r == 0)
        r = make_stamp(p, err);
    if (r == 0)
        r = make_records(p, c, gaps, n_gaps, shard_bytes, err);
    hs_free(gaps);
    return r;
}

int hs__pk_plan_create(const char *src, uint64_t shard_bytes, const hs__pk_work *w, hs__pk_plan **ret, hs_err *err)
{
    hs_source *s = NULL;
    hs__pk_plan *p = hs_calloc(1, sizeof *p);
    if (!p || !(p->src = hs_strdup(src))) {
        hs_free(p);
        return hs_err_set(err, -ENOMEM, "%s: out of memory", src);
    }
    int r = hs_source_open(src, &s, err);
    if (r == 0 && hs_source_is_packed(s))
        r = hs_err_set(err, -EINVAL, "%s is packed already: `hotset unpack` gives the original back", src);
    if (r == 0)
        r = make_plan(p, s, shard_bytes, w, err);
    hs_source_close(&s);
    if (r == 0)
        *ret = p;
    else
        hs__pk_plan_destroy(&p);
    return r;
}

void hs__pk_plan_destroy(hs__pk_plan **plan)
{
    hs__pk_plan *p = *plan;
    if (!p)
        return;
    *plan = NULL;
    for (uint32_t i = 0; i < p->n_containers; i++) {
        hs__pk_container *c = &p->containers[i];
        if (c->fd >= 0)
            close(c->fd);
        hs_free(c->name);
        hs_free(c->path);
        hs_free(c->header_name);
    }
    hs_free(p->containers);
    hs__pk_list_free(&p->files);
    hs_free(p->parts);
    hs_free(p->records);
    for (uint32_t i = 0; i < p->n_shards; i++)
        hs_free(p->shards[i].chosen);
    hs_free(p->shards);
    hs_free(p->src);
    hs_free(p->folder);
    hs_free(p);
}

int hs__pk_plan_unchanged(const hs__pk_plan *p, hs_err *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < p->n_containers; i++) {
        const hs__pk_container *c = &p->containers[i];
        r = hs__pk_unchanged(c->fd, c->path, c->bytes, c->mtime, err);
    }
    return r;
}
