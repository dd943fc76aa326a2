/*
 * shard.c - the packed folder: manifest, container headers, shard tables. Layout: hotset/shard_format.h.
 *
 * Everything that decode and the object index rely on is checked once: here, records inside their shard and in order,
 * parts inside their record's raw image, frames adding up to stored_bytes; in place.c, every tensor's parts.
 */
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/store_int.h"

static int bad_shard(const hs__file *f, const char *what, hs_err *err)
{
    return hs_err_set(err, -EBADMSG, "%s: %s", f->path, what);
}

/* 2n hex digits as n bytes. */
static int parse_bytes(const char *text, uint8_t *out, size_t n)
{
    if (!text || strlen(text) != 2 * n)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        uint64_t byte;
        if (!hs__parse_hex(text + 2 * i, 2, &byte))
            return -EINVAL;
        out[i] = (uint8_t)byte;
    }
    return 0;
}

static int read_header(const hs_source *s, hs__file *f, hs__shard *sh, hs_err *err)
{
    hs_shard_header *h = &sh->header;
    hs_shard_footer t;
    if (f->bytes < 2 * HS_SHARD_ALIGN || hs_pread_full(f->fd, h, sizeof *h, 0) < 0 ||
        hs_pread_full(f->fd, &t, sizeof t, (off_t)(f->bytes - HS_SHARD_ALIGN)) < 0)
        return bad_shard(f, "too short for a shard", err);
    if (memcmp(h->magic, HS_SHARD_MAGIC, 8))
        return bad_shard(f, "not a hotset shard", err);
    if (h->version != HS_SHARD_VERSION)
        return hs_err_set(err, -ENOTSUP, "%s: shard version %u; this build reads version %u", f->path, h->version,
                          HS_SHARD_VERSION);
    if (XXH3_64bits(h, offsetof(hs_shard_header, header_hash)) != h->header_hash)
        return bad_shard(f, "the header is damaged (checksum)", err);
    if (memcmp(t.magic, HS_SHARD_FOOTER_MAGIC, 8) || t.version != HS_SHARD_VERSION || t.header_hash != h->header_hash ||
        XXH3_64bits(&t, offsetof(hs_shard_footer, footer_hash)) != t.footer_hash)
        return bad_shard(f, "the footer is damaged or the file is cut", err);
    if (h->file_bytes != f->bytes || t.file_bytes != f->bytes)
        return hs_err_set(err, -EBADMSG, "%s: %llu bytes; its header says %llu", f->path, (unsigned long long)f->bytes,
                          (unsigned long long)h->file_bytes);
    if (memcmp(h->identity, s->identity, 16))
        return bad_shard(f, "belongs to another packed model", err);
    if (h->n_records > HS_SHARD_MAX_RECORDS || h->n_parts > HS_SHARD_MAX_PARTS || h->n_frames > HS_SHARD_MAX_FRAMES)
        return bad_shard(f, "more records, parts or frames than possible", err);
    uint64_t want = h->n_records * sizeof(hs_shard_record) + h->n_parts * sizeof(hs_shard_part) +
                    h->n_frames * sizeof(hs_shard_frame);
    if (h->table_bytes != want || h->table_offset % HS_SHARD_ALIGN || h->table_offset < HS_SHARD_ALIGN ||
        h->table_offset > f->bytes - HS_SHARD_ALIGN ||
        hs_align_up(h->table_offset + want, HS_SHARD_ALIGN) != f->bytes - HS_SHARD_ALIGN)
        return bad_shard(f, "the table does not fit the file", err);
    return 0;
}

static int check_parts(const hs__file *f, const hs__shard *sh, uint32_t r, hs_err *err)
{
    const hs_shard_record *rec = &sh->records[r];
    uint64_t raw = 0, stored = 0, frames = 0;
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        const hs_shard_part *p = &sh->parts[rec->first_part + i];
        if (p->codec >= HS_CODEC_END)
            return hs_err_set(err, -ENOTSUP, "%s: record %u, part %u: codec %u; this build knows those under %d",
                              f->path, r, i, p->codec, HS_CODEC_END);
        if (p->bytes > HS_RECORD_MAX_RAW || p->raw_offset != raw)
            return hs_err_set(err, -EBADMSG, "%s: record %u, part %u: bad size or place", f->path, r, i);
        uint32_t n = hs__part_frames(p);
        if (n > rec->n_frames - frames)
            return hs_err_set(err, -EBADMSG, "%s: record %u: too few frames", f->path, r);
        uint64_t left = hs__part_padded(p);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t bytes = sh->frames[rec->first_frame + frames + k].stored_bytes;
            uint32_t full = left < HS_FRAME_RAW ? (uint32_t)left : HS_FRAME_RAW;
            if (!bytes || bytes > HS_FRAME_MAX_STORED || (p->codec == HS_CODEC_RAW && bytes != full))
                return hs_err_set(err, -EBADMSG, "%s: record %u, part %u, frame %u: bad size", f->path, r, i, k);
            stored += bytes;
            left -= full;
        }
        frames += n;
        raw += hs__part_padded(p);
    }
    if (raw != rec->raw_bytes || stored != rec->stored_bytes || frames != rec->n_frames)
        return hs_err_set(err, -EBADMSG, "%s: record %u: parts and frames do not add up", f->path, r);
    return 0;
}

static int check_records(const hs__file *f, const hs__shard *sh, hs_err *err)
{
    const hs_shard_header *h = &sh->header;
    uint64_t at = HS_SHARD_ALIGN, part = 0, frame = 0;
    for (uint32_t r = 0; r < h->n_records; r++) {
        const hs_shard_record *rec = &sh->records[r];
        if (rec->offset != at || rec->stored_bytes > h->table_offset - at || rec->raw_bytes > HS_RECORD_MAX_RAW)
            return hs_err_set(err, -EBADMSG, "%s: record %u lies outside its place", f->path, r);
        if (rec->first_part != part || rec->n_parts > h->n_parts - part || rec->first_frame != frame ||
            rec->n_frames > h->n_frames - frame)
            return hs_err_set(err, -EBADMSG, "%s: record %u: parts or frames are out of order", f->path, r);
        int e = check_parts(f, sh, r, err);
        if (e < 0)
            return e;
        part += rec->n_parts;
        frame += rec->n_frames;
        at = hs_align_up(at + rec->stored_bytes, HS_SHARD_ALIGN);
    }
    if (at != h->table_offset || part != h->n_parts || frame != h->n_frames)
        return bad_shard(f, "the table has parts that belong to no record", err);
    return 0;
}

static int read_shard(const hs_source *s, hs__file *f, hs__shard *sh, hs_err *err)
{
    int r = read_header(s, f, sh, err);
    if (r < 0)
        return r;
    const hs_shard_header *h = &sh->header;
    sh->table = hs_malloc(h->table_bytes);
    if (!sh->table)
        return hs_err_set(err, -ENOMEM, "%s: out of memory for a table of %llu bytes", f->path,
                          (unsigned long long)h->table_bytes);
    r = hs_pread_full(f->fd, sh->table, h->table_bytes, (off_t)h->table_offset);
    if (r < 0)
        return hs_err_set(err, r, "%s: table: %s", f->path, hs_strerror(r));
    if (XXH3_64bits(sh->table, h->table_bytes) != h->table_hash)
        return bad_shard(f, "the table is damaged (checksum)", err);
    sh->records = (const hs_shard_record *)(void *)sh->table;
    sh->parts = (const hs_shard_part *)(const void *)(sh->records + h->n_records);
    sh->frames = (const hs_shard_frame *)(const void *)(sh->parts + h->n_parts);
    return check_records(f, sh, err);
}

/* What a container's header says, its checksum being right: text of len bytes, which are f. */
static int parse_header(hs_source *s, const hs__file *f, const char *text, uint64_t bytes, uint32_t index,
                        hs__gguf_set *set, hs_err *err)
{
    uint64_t len = 0, data_start = f->bytes;
    bool gguf = !memcmp(text, "GGUF", 4);
    if (index && gguf != s->gguf)
        return hs_err_set(err, -EBADMSG, "%s: is of another kind than the first container", f->path);
    if (gguf)
        return hs__gguf_parse(s, f, bytes, index, set, &data_start, err);
    for (int i = 7; i >= 0; i--)
        len = len << 8 | (uint8_t)text[i];
    if (len != f->bytes - 8)
        return hs_err_set(err, -EBADMSG, "%s: damaged (length)", f->path);
    return hs__safetensors_parse(s, f->path, index, text + 8, f->bytes - 8, data_start, bytes - data_start, err);
}

/* The container headers: they give the tensor directory as the reader of the container would. */
static int read_container(hs_source *s, const json_t *item, uint32_t index, hs__gguf_set *set, const char *where,
                          hs_err *err)
{
    int64_t bytes, data_start;
    const char *header = json_string_value(json_object_get(item, "header"));
    uint8_t want[8], got[8];
    int r = hs_json_int(item, where, "bytes", 8, INT64_MAX / 2, &bytes, err);
    if (r == 0)
        r = hs_json_int(item, where, "data_start", 8, (int64_t)HS__MAX_HEADER + 8, &data_start, err);
    if (r < 0)
        return r;
    if (!header || !hs__name_is_plain(header) || data_start > bytes ||
        parse_bytes(json_string_value(json_object_get(item, "header_xxh3")), want, 8) < 0)
        return hs_err_set(err, -EINVAL, "%s: sources[%u] is malformed", where, index);
    hs__file f;
    r = hs__file_open(s, header, &f, err);
    if (r < 0)
        return r;
    char *text = f.bytes == (uint64_t)data_start ? hs_malloc(f.bytes) : NULL;
    if (f.bytes != (uint64_t)data_start)
        r = hs_err_set(err, -EBADMSG, "%s: %llu bytes instead of %lld", f.path, (unsigned long long)f.bytes,
                       (long long)data_start);
    else if (!text)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", f.path);
    else
        r = hs_pread_full(f.fd, text, f.bytes, 0);
    if (r == 0) {
        XXH64_canonical_t c;
        XXH64_canonicalFromHash(&c, XXH3_64bits(text, f.bytes));
        memcpy(got, c.digest, 8);
        r = memcmp(got, want, 8) ? hs_err_set(err, -EBADMSG, "%s: damaged (checksum)", f.path)
                                 : parse_header(s, &f, text, (uint64_t)bytes, index, set, err);
    }
    hs_free(text);
    close(f.fd);
    return r;
}

static int open_shards(hs_source *s, const json_t *list, const char *where, hs_err *err)
{
    size_t n = json_array_size(list);
    if (!n || n > HS__MAX_FILES)
        return hs_err_set(err, -EINVAL, "%s: shards is missing or too long", where);
    s->files = hs_calloc(n, sizeof *s->files);
    s->shards = hs_calloc(n, sizeof *s->shards);
    if (!s->files || !s->shards)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *kind = json_string_value(json_object_get(item, "kind"));
        int64_t bytes = 0;
        bool raw = kind && !strcmp(kind, "raw");
        if (!name || !hs__name_is_plain(name))
            return hs_err_set(err, -EINVAL, "%s: shards[%zu].name is not a plain file name", where, i);
        if (!raw && s->raw_bytes)
            return hs_err_set(err, -EINVAL, "%s: shards[%zu] is behind those of kind raw", where, i);
        int r = raw ? hs_json_int(item, where, "bytes", 1, INT64_MAX / 4096, &bytes, err) : 0;
        s->raw_bytes += (uint64_t)bytes;
        if (r < 0)
            return r;
        if (raw && !s->prefers_raw)
            continue;
        r = hs__file_open(s, name, &s->files[i], err);
        if (r < 0)
            return r;
        s->n_files++;
        s->shards[i].raw = raw;
        r = read_shard(s, &s->files[i], &s->shards[i], err);
        if (r < 0)
            return r;
    }
    return s->n_files ? 0 : hs_err_set(err, -EINVAL, "%s: shards has only those of kind raw", where);
}

/* Files that decide what is computed, and what is said: others than those that were packed would give other results
 * without a word. */
static const struct beside {
    const char *name;
    bool optional; /* who brings token ids needs no text files */
    bool implied;  /* there even if the manifest does not list it */
} beside[] = {{"config.json", false, true},
              {"generation_config.json", false, false},
              {"tokenizer.json", true, false},
              {"tokenizer_config.json", true, false},
              {"chat_template.jinja", true, false}};

static const json_t *find_listed(const json_t *files, const char *name)
{
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *item = json_array_get(files, i);
        const char *n = json_string_value(json_object_get(item, "name"));
        if (n && !strcmp(n, name))
            return item;
    }
    return NULL;
}

static int check_listed(const char *path, const json_t *item, hs_err *err)
{
    uint8_t want[8];
    char *text = NULL;
    size_t len = 0;
    if (parse_bytes(json_string_value(json_object_get(item, "xxh3")), want, 8) < 0)
        return hs_err_set(err, -EINVAL, "%s: the manifest gives no checksum for it", path);
    int r = hs_file_read(path, HS__MAX_JSON, &text, &len, err);
    if (r < 0)
        return r;
    XXH64_canonical_t c;
    XXH64_canonicalFromHash(&c, XXH3_64bits(text, len));
    hs_free(text);
    if (memcmp(c.digest, want, 8))
        return hs_err_set(err, -EBADMSG, "%s: is not the file that was packed (checksum)", path);
    return 0;
}

static int check_files(const char *folder, const json_t *files, hs_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof beside / sizeof *beside; i++) {
        const json_t *item = find_listed(files, beside[i].name);
        char *path = hs_asprintf("%s/%s", folder, beside[i].name);
        if (!path)
            return hs_err_set(err, -ENOMEM, "%s: out of memory", folder);
        bool there = hs_file_exists(path);
        if (item && (there || !beside[i].optional))
            r = check_listed(path, item, err);
        else if (!item && there && !beside[i].implied)
            r = hs_err_set(err, -EBADMSG, "%s: is no part of the packed model: remove it, or pack again with it", path);
        hs_free(path);
    }
    return r;
}

static bool is_sealed(const char *text, size_t len)
{
    const size_t begin = strlen(HS_PACK_SEAL_BEGIN), end = strlen(HS_PACK_SEAL_END), n = begin + 16 + end;
    uint64_t want;
    if (len < n || memcmp(text + len - n, HS_PACK_SEAL_BEGIN, begin) || memcmp(text + len - end, HS_PACK_SEAL_END, end))
        return false;
    return hs__parse_hex(text + len - end - 16, 16, &want) && XXH3_64bits(text, len - n) == want;
}

int hs__manifest_read(const char *path, json_t **ret, hs_err *err)
{
    char *text = NULL;
    json_t *m = NULL;
    size_t len = 0;
    int64_t version = 0;
    int r = hs_file_read(path, HS__MAX_JSON, &text, &len, err);
    if (r == 0)
        r = hs_json_load(text, len, path, &m, err);
    const char *format = r == 0 ? json_string_value(json_object_get(m, "format")) : NULL;
    if (r == 0 && (!format || strcmp(format, HS_PACK_FORMAT)))
        r = hs_err_set(err, -EINVAL, "%s: format is not " HS_PACK_FORMAT, path);
    if (r == 0)
        r = hs_json_int(m, path, "version", 1, 1000, &version, err);
    if (r == 0 && version > HS_PACK_VERSION)
        r = hs_err_set(err, -ENOTSUP, "%s: version %lld; this build reads versions up to %d", path, (long long)version,
                       HS_PACK_VERSION);
    if (r == 0 && !is_sealed(text, len))
        r = hs_err_set(err, -EBADMSG, "%s: damaged (checksum)", path);
    hs_free(text);
    if (r == 0)
        *ret = m;
    else
        json_decref(m);
    return r;
}

static int open_manifest(hs_source *s, const json_t *m, const char *where, hs_err *err)
{
    if (parse_bytes(json_string_value(json_object_get(m, "identity")), s->identity, 16) < 0)
        return hs_err_set(err, -EINVAL, "%s: identity is not 32 hexadecimal digits", where);
    int r = check_files(s->path, json_object_get(m, "files"), err);
    if (r < 0)
        return r;
    const json_t *sources = json_object_get(m, "sources");
    size_t n = json_array_size(sources);
    if (!n || n > HS__MAX_FILES)
        return hs_err_set(err, -EINVAL, "%s: sources is missing or too long", where);
    uint32_t *first = hs_calloc(n + 1, sizeof *first);
    if (!first)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    hs__gguf_set set = {.n_parts = (uint32_t)n};
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = read_container(s, json_array_get(sources, i), (uint32_t)i, &set, where, err);
        first[i + 1] = s->n_tensors;
    }
    if (r == 0)
        r = open_shards(s, json_object_get(m, "shards"), where, err);
    if (r == 0)
        r = hs__place_tensors(s, first, (uint32_t)n, err);
    hs_free(first);
    return r;
}

int hs_source_check_files(const char *path, hs_err *err)
{
    json_t *m = NULL;
    char *manifest = hs_asprintf("%s/manifest.json", path);
    int r = manifest ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    if (r == 0 && hs__is_packed(path))
        r = hs__manifest_read(manifest, &m, err);
    if (r == 0 && m)
        r = check_files(path, json_object_get(m, "files"), err);
    json_decref(m);
    hs_free(manifest);
    return r;
}

int hs__packed_open(hs_source *s, hs_err *err)
{
    char *path = hs_asprintf("%s/manifest.json", s->path);
    if (!path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    json_t *m = NULL;
    int r = hs__manifest_read(path, &m, err);
    if (r == 0) {
        s->packed = true;
        r = open_manifest(s, m, path, err);
    }
    json_decref(m);
    hs_free(path);
    return r;
}
