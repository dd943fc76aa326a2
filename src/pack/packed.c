/*
 * packed.c - a packed folder read without trust, for verify, unpack and for recognising what an interrupted pack has
 * finished. Independent of the reader that serves the model: it goes on after damage, and looks at bytes that one never
 * needs (slack, gaps, copied files).
 *
 * Invariant: a shard that is `usable` has records inside the file, in order and with known gaps, parts inside their raw
 * image and frames that add up, so that record.c may follow every number in its table.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "pack/pack_int.h"

/* ---- manifest ---- */

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static int size_of(const json_t *o, const char *where, const char *key, uint64_t *ret, hs_err *err)
{
    int64_t v;
    int r = hs_json_int(o, where, key, 0, INT64_MAX / 4, &v, err);
    if (r == 0)
        *ret = (uint64_t)v;
    return r;
}

static int malformed(const char *where, const char *list, size_t i, hs_err *err)
{
    return hs_err_set(err, -EINVAL, "%s: %s[%zu] is malformed", where, list, i);
}

static int read_source(const json_t *o, const char *where, size_t i, hs__pk_source *s, hs_err *err)
{
    uint64_t mode = 0644;
    s->name = text_of(o, "name");
    s->header = text_of(o, "header");
    int r = size_of(o, where, "bytes", &s->bytes, err);
    if (r == 0)
        r = size_of(o, where, "data_start", &s->data_start, err);
    if (r == 0 && json_object_get(o, "mode"))
        r = size_of(o, where, "mode", &mode, err);
    if (r < 0)
        return r;
    s->mode = (uint32_t)(mode & 07777);
    if (!hs__pk_name_is_plain(s->name) || !hs__pk_name_is_plain(s->header) || s->data_start < 8 ||
        s->data_start > HS__PK_MAX_HEADER || s->data_start > s->bytes || mode > 07777 ||
        !hs__pk_parse_hex64(text_of(o, "header_xxh3"), &s->header_hash))
        return malformed(where, "sources", i, err);
    return 0;
}

static int read_shard_entry(const json_t *o, const char *where, size_t i, const char *folder, hs__pk_shard *s,
                            hs_err *err)
{
    s->fd = -1;
    s->name = text_of(o, "name");
    int r = size_of(o, where, "bytes", &s->want_bytes, err);
    if (r == 0)
        r = size_of(o, where, "records", &s->want_records, err);
    if (r < 0)
        return r;
    const char *kind = text_of(o, "kind");
    s->raw = kind && !strcmp(kind, "raw");
    if (!hs__pk_name_is_plain(s->name) || !hs__pk_parse_hex64(text_of(o, "header_hash"), &s->want_hash))
        return malformed(where, "shards", i, err);
    s->path = hs__pk_path(folder, s->name, err);
    return s->path ? 0 : -ENOMEM;
}

static int read_copied(const json_t *o, const char *where, size_t i, hs__pk_copied *f, hs_err *err)
{
    uint64_t mode = 0;
    f->name = text_of(o, "name");
    f->stored_as = text_of(o, "stored_as");
    int r = size_of(o, where, "bytes", &f->bytes, err);
    if (r == 0)
        r = size_of(o, where, "mode", &mode, err);
    if (r < 0)
        return r;
    f->mode = (uint32_t)(mode & 07777);
    if (!hs__pk_name_is_plain(f->name) || !hs__pk_name_is_plain(f->stored_as) || mode > 07777 ||
        !hs__pk_parse_hex64(text_of(o, "xxh3"), &f->hash))
        return malformed(where, "files", i, err);
    return 0;
}

static int read_lists(hs__pk_packed *p, const char *where, hs_err *err)
{
    const json_t *sources = json_object_get(p->manifest, "sources"), *shards = json_object_get(p->manifest, "shards"),
                 *files = json_object_get(p->manifest, "files");
    size_t n[3] = {json_array_size(sources), json_array_size(shards), json_array_size(files)};
    if (!n[0] || !n[1] || n[0] > HS__PK_MAX_FILES || n[1] > HS__PK_MAX_FILES || n[2] > HS__PK_MAX_FILES)
        return hs_err_set(err, -EINVAL, "%s: sources, shards or files is missing or too long", where);
    p->sources = hs_calloc(n[0], sizeof *p->sources);
    p->shards = hs_calloc(n[1], sizeof *p->shards);
    p->files = hs_calloc(n[2] + 1, sizeof *p->files);
    if (!p->sources || !p->shards || !p->files)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n[0]; i++, p->n_sources++)
        r = read_source(json_array_get(sources, i), where, i, &p->sources[i], err);
    for (size_t i = 0; r == 0 && i < n[1]; i++) {
        p->n_shards++; /* before reading: its path is freed even if the rest is malformed */
        r = read_shard_entry(json_array_get(shards, i), where, i, p->path, &p->shards[i], err);
        if (r == 0 && p->n_raw && !p->shards[i].raw)
            r = malformed(where, "shards", i, err); /* raw ones come last */
        p->n_raw += p->shards[i].raw;
    }
    if (r == 0 && p->n_raw == p->n_shards)
        r = malformed(where, "shards", 0, err);
    for (size_t i = 0; r == 0 && i < n[2]; i++, p->n_files++)
        r = read_copied(json_array_get(files, i), where, i, &p->files[i], err);
    return r;
}

static int read_manifest(hs__pk_packed *p, const char *where, hs_err *err)
{
    char *text;
    size_t len;
    int64_t version;
    int r = hs_file_read(where, HS__PK_MAX_JSON, &text, &len, err);
    if (r < 0)
        return r;
    r = hs_json_load(text, len, where, &p->manifest, err);
    bool whole = hs__pk_manifest_is_whole(text, len);
    hs_free(text);
    const char *format = r == 0 ? text_of(p->manifest, "format") : NULL;
    if (r == 0 && (!format || strcmp(format, HS_PACK_FORMAT)))
        return hs_err_set(err, -EINVAL, "%s: not the manifest of a packed model", where);
    if (r < 0)
        return r;
    if (!whole)
        return hs_err_set(err, -EBADMSG, "%s: damaged (checksum), or of a version that this build does not know",
                          where);
    r = hs_json_int(p->manifest, where, "version", 1, 1000, &version, err);
    if (r == 0 && version > HS_PACK_VERSION)
        return hs_err_set(err, -ENOTSUP, "%s: version %lld; this build reads versions up to %d", where,
                          (long long)version, HS_PACK_VERSION);
    if (r == 0)
        r = size_of(p->manifest, where, "raw_bytes", &p->raw_bytes, err);
    if (r < 0)
        return r;
    if (!hs__pk_parse_hex(text_of(p->manifest, "identity"), p->identity, 16) ||
        !hs__pk_parse_hex(text_of(p->manifest, "source_stamp"), p->stamp, 16))
        return hs_err_set(err, -EINVAL, "%s: identity or source_stamp is not 32 hexadecimal digits", where);
    return read_lists(p, where, err);
}

int hs__pk_packed_open(const char *path, hs__pk_packed **ret, hs_err *err)
{
    hs__pk_packed *p = hs_calloc(1, sizeof *p);
    char *where = p ? hs__pk_path(path, HS__PK_MANIFEST, err) : NULL;
    int r = -ENOMEM;
    if (where && (p->path = hs_strdup(path)))
        r = read_manifest(p, where, err);
    else
        hs_err_set(err, r, "%s: out of memory", path);
    hs_free(where);
    if (r == -ERANGE) { /* of a number: malformed like anything else */
        r = -EINVAL;
        if (err)
            err->code = r;
    }
    if (r == 0)
        *ret = p;
    else
        hs__pk_packed_close(&p);
    return r;
}

void hs__pk_shard_close(hs__pk_shard *sh)
{
    if (sh->fd >= 0)
        close(sh->fd);
    sh->fd = -1;
    hs_free(sh->table);
    hs_free(sh->path);
    sh->table = NULL;
    sh->path = NULL;
}

void hs__pk_packed_close(hs__pk_packed **packed)
{
    hs__pk_packed *p = *packed;
    if (!p)
        return;
    *packed = NULL;
    for (uint32_t i = 0; i < p->n_shards; i++)
        hs__pk_shard_close(&p->shards[i]);
    json_decref(p->manifest);
    hs_free(p->sources);
    hs_free(p->shards);
    hs_free(p->files);
    hs_free(p->path);
    hs_free(p);
}

void hs__pk_packed_without_raw(hs__pk_packed *p)
{
    for (; p->n_raw; p->n_raw--)
        hs__pk_shard_close(&p->shards[--p->n_shards]);
}

/* ---- shards ---- */

/* What is wrong with header and footer, or NULL. */
static const char *ends_fault(const hs__pk_shard *sh, const hs_shard_footer *f, const uint8_t identity[16])
{
    const hs_shard_header *h = &sh->header;
    if (memcmp(h->magic, HS_SHARD_MAGIC, 8))
        return "the header is damaged (it does not begin with " HS_SHARD_MAGIC ")";
    if (XXH3_64bits(h, offsetof(hs_shard_header, header_hash)) != h->header_hash)
        return "the header is damaged (checksum)";
    if (h->version != HS_SHARD_VERSION)
        return "the header has another version than this build reads";
    if (h->file_bytes != sh->bytes)
        return "the file does not have the size that its header gives: it was cut or has grown";
    if (memcmp(f->magic, HS_SHARD_FOOTER_MAGIC, 8) || f->version != HS_SHARD_VERSION || f->reserved ||
        XXH3_64bits(f, offsetof(hs_shard_footer, footer_hash)) != f->footer_hash)
        return "the footer is damaged";
    if (f->file_bytes != h->file_bytes || f->header_hash != h->header_hash)
        return "header and footer do not belong together";
    if (memcmp(h->identity, identity, 16))
        return "it belongs to another packed model";
    if (sh->want_bytes &&
        (sh->want_bytes != sh->bytes || sh->want_records != h->n_records || sh->want_hash != h->header_hash))
        return "it is not the shard that the manifest names";
    if (h->n_records > HS_SHARD_MAX_RECORDS || h->n_parts > HS_SHARD_MAX_PARTS || h->n_frames > HS_SHARD_MAX_FRAMES)
        return "the header gives more records, parts or frames than possible";
    uint64_t want = h->n_records * sizeof(hs_shard_record) + h->n_parts * sizeof(hs_shard_part) +
                    h->n_frames * sizeof(hs_shard_frame);
    if (h->table_bytes != want || h->table_offset % HS_SHARD_ALIGN || h->table_offset < HS_SHARD_ALIGN ||
        h->table_offset > sh->bytes || want > sh->bytes - h->table_offset ||
        hs_align_up(h->table_offset + want, HS_SHARD_ALIGN) + HS_SHARD_ALIGN != sh->bytes)
        return "the table does not fit the file";
    return NULL;
}

/* What is wrong with a record's parts and frames, or NULL. */
static const char *parts_fault(const hs__pk_shard *sh, const hs_shard_record *rec)
{
    uint64_t raw = 0, stored = 0, frames = 0;
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        const hs_shard_part *p = &sh->parts[rec->first_part + i];
        if (p->codec >= HS_CODEC_END || p->bytes > HS_RECORD_MAX_RAW || p->raw_offset != raw)
            return "a part has a bad codec, size or place";
        uint32_t n = hs__pk_n_frames(p->bytes);
        if (n > rec->n_frames - frames)
            return "it has too few frames";
        for (uint32_t k = 0; k < n; k++) {
            uint32_t bytes = sh->frames[rec->first_frame + frames + k].stored_bytes;
            if (!bytes || bytes > HS_FRAME_MAX_STORED ||
                (p->codec == HS_CODEC_RAW && bytes != hs__pk_frame_raw(p->bytes, k)))
                return "a frame has a bad size";
            stored += bytes;
        }
        frames += n;
        raw += hs__pk_padded(p->bytes);
    }
    if (raw != rec->raw_bytes || stored != rec->stored_bytes || frames != rec->n_frames)
        return "parts and frames do not add up";
    return NULL;
}

static const char *table_fault(const hs__pk_shard *sh, uint32_t *ret_record)
{
    const hs_shard_header *h = &sh->header;
    uint64_t at = HS_SHARD_ALIGN, part = 0, frame = 0;
    for (uint32_t r = 0; r < h->n_records; r++) {
        const hs_shard_record *rec = &sh->records[r];
        *ret_record = r;
        if (rec->offset != at || rec->stored_bytes > h->table_offset - at || rec->raw_bytes > HS_RECORD_MAX_RAW)
            return "it lies outside its place";
        if (rec->first_part != part || rec->n_parts > h->n_parts - part || rec->first_frame != frame ||
            rec->n_frames > h->n_frames - frame)
            return "its parts or frames are out of order";
        const char *fault = parts_fault(sh, rec);
        if (fault)
            return fault;
        part += rec->n_parts;
        frame += rec->n_frames;
        at = hs_align_up(at + rec->stored_bytes, HS_SHARD_ALIGN);
        if (at > h->table_offset)
            return "it runs into the table";
    }
    return at == h->table_offset && part == h->n_parts && frame == h->n_frames ? NULL : "something follows it";
}

static int read_table(hs__pk_work *w, hs__pk_shard *sh, hs_err *err)
{
    const hs_shard_header *h = &sh->header;
    uint32_t record = 0;
    sh->table = hs_malloc(h->table_bytes + 1);
    if (!sh->table)
        return hs_err_set(err, -ENOMEM, "%s: out of memory for a table of %llu bytes", sh->path,
                          (unsigned long long)h->table_bytes);
    int r = hs_pread_full(sh->fd, sh->table, h->table_bytes, (off_t)h->table_offset);
    if (r < 0) {
        hs__pk_problem(w, sh->name, HS_PACK_ANY_RECORD, "%s: table: %s", sh->name, hs_strerror(r));
        return 0;
    }
    if (XXH3_64bits(sh->table, h->table_bytes) != h->table_hash) {
        hs__pk_problem(w, sh->name, HS_PACK_ANY_RECORD, "%s: the table is damaged (checksum)", sh->name);
        return 0;
    }
    sh->records = (const hs_shard_record *)(const void *)sh->table;
    sh->parts = (const hs_shard_part *)(const void *)(sh->records + h->n_records);
    sh->frames = (const hs_shard_frame *)(const void *)(sh->parts + h->n_parts);
    const char *fault = table_fault(sh, &record);
    if (fault)
        hs__pk_problem(w, sh->name, record, "%s, record %u: the table is not possible: %s", sh->name, record, fault);
    sh->usable = !fault;
    return 0;
}

int hs__pk_shard_open(hs__pk_work *w, hs__pk_shard *sh, const uint8_t identity[16], hs_err *err)
{
    struct stat st;
    hs_shard_footer footer;
    hs_err e = {0};
    sh->fd = hs__pk_open(sh->path, &st, &e);
    if (sh->fd < 0) {
        sh->fd = -1;
        if (lstat(sh->path, &st) == 0 && S_ISLNK(st.st_mode))
            hs__pk_problem(w, sh->name, HS_PACK_ANY_RECORD, "%s", e.text);
        else
            hs__pk_problem(w, sh->name, HS_PACK_ANY_RECORD, "%s: %s", sh->name,
                           e.code == -ENOENT ? "missing" : hs_strerror(e.code));
        return 0;
    }
    sh->bytes = (uint64_t)st.st_size;
    posix_fadvise(sh->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    int r = sh->bytes < 3 * HS_SHARD_ALIGN ? -ENODATA : hs_pread_full(sh->fd, &sh->header, sizeof sh->header, 0);
    if (r == 0)
        r = hs_pread_full(sh->fd, &footer, sizeof footer, (off_t)(sh->bytes - HS_SHARD_ALIGN));
    if (r < 0) {
        hs__pk_problem(w, sh->name, HS_PACK_ANY_RECORD, "%s: %s", sh->name,
                       r == -ENODATA ? "too short for a shard" : hs_strerror(r));
        return 0;
    }
    const char *fault = ends_fault(sh, &footer, identity);
    if (fault) {
        hs__pk_problem(w, sh->name, HS_PACK_ANY_RECORD, "%s: %s", sh->name, fault);
        return 0;
    }
    return read_table(w, sh, err);
}

int hs__pk_packed_open_shards(hs__pk_work *w, hs__pk_packed *p, hs_err *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < p->n_shards; i++)
        r = hs__pk_shard_open(w, &p->shards[i], p->identity, err);
    return r;
}

/* ---- coverage ---- */

typedef struct extent {
    uint32_t source, shard, record;
    uint64_t offset, bytes;
} extent;

static int by_source(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void check_extents(hs__pk_work *w, const hs__pk_packed *p, const extent *list, uint64_t n, bool complete)
{
    uint64_t k = 0;
    for (uint32_t s = 0; s < p->n_sources; s++) {
        uint64_t at = p->sources[s].data_start;
        for (; k < n && list[k].source == s; k++) {
            const extent *x = &list[k];
            const char *shard = p->shards[x->shard].name;
            if (x->offset < at || x->offset > p->sources[s].bytes || x->bytes > p->sources[s].bytes - x->offset)
                hs__pk_problem(w, shard, x->record,
                               "%s, record %u: overlaps another record's place in %s, or lies "
                               "outside it",
                               shard, x->record, p->sources[s].name);
            else if (x->offset > at && complete)
                hs__pk_problem(w, shard, x->record, "%s, record %u: %s has %llu bytes before it that no record holds",
                               shard, x->record, p->sources[s].name, (unsigned long long)(x->offset - at));
            if (x->offset <= p->sources[s].bytes && x->bytes <= p->sources[s].bytes - x->offset)
                at = x->offset + x->bytes > at ? x->offset + x->bytes : at;
        }
        if (complete && at != p->sources[s].bytes)
            hs__pk_problem(w, HS__PK_MANIFEST, HS_PACK_ANY_RECORD, "%s: its last %llu bytes are in no record",
                           p->sources[s].name, (unsigned long long)(p->sources[s].bytes - at));
    }
    for (; k < n; k++)
        hs__pk_problem(w, p->shards[list[k].shard].name, list[k].record, "%s, record %u: of an unknown source",
                       p->shards[list[k].shard].name, list[k].record);
}

/* Every record of a raw shard is one of another shard again. */
static void check_raw(hs__pk_work *w, const hs__pk_packed *p, uint32_t shard, const extent *list, uint64_t n)
{
    const hs__pk_shard *sh = &p->shards[shard];
    for (uint32_t r = 0; sh->usable && r < sh->header.n_records; r++) {
        bool good = true;
        for (uint32_t j = 0; good && j < sh->records[r].n_parts; j++) {
            const hs_shard_part *part = &sh->parts[sh->records[r].first_part + j];
            extent x = {part->source, 0, 0, part->source_offset, part->bytes};
            good = part->codec == HS_CODEC_RAW && bsearch(&x, list, n, sizeof x, by_source);
        }
        if (!good)
            hs__pk_problem(w, sh->name, r, "%s, record %u: not a raw copy of another record", sh->name, r);
    }
}

uint64_t hs__pk_packed_bytes(const hs__pk_packed *p)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < p->n_sources; i++)
        total += p->sources[i].data_start;
    for (uint32_t i = 0; i < p->n_files; i++)
        total += p->files[i].bytes;
    for (uint32_t i = 0; i < p->n_shards; i++)
        total += p->shards[i].want_bytes;
    return total;
}

int hs__pk_packed_coverage(hs__pk_work *w, const hs__pk_packed *p, hs_err *err)
{
    uint64_t n = 0, k = 0;
    bool complete = true;
    uint32_t n_shards = p->n_shards - p->n_raw;
    for (uint32_t i = 0; i < n_shards; i++) {
        complete &= p->shards[i].usable;
        n += p->shards[i].usable ? p->shards[i].header.n_parts : 0;
    }
    extent *list = hs_calloc(n + 1, sizeof *list);
    if (!list)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->path);
    for (uint32_t i = 0; i < n_shards; i++) {
        const hs__pk_shard *sh = &p->shards[i];
        for (uint32_t r = 0; sh->usable && r < sh->header.n_records; r++)
            for (uint32_t j = 0; j < sh->records[r].n_parts; j++) {
                const hs_shard_part *part = &sh->parts[sh->records[r].first_part + j];
                list[k++] = (extent){part->source, i, r, part->source_offset, part->bytes};
            }
    }
    qsort(list, n, sizeof *list, by_source);
    check_extents(w, p, list, n, complete);
    for (uint32_t i = n_shards; complete && i < p->n_shards; i++)
        check_raw(w, p, i, list, n);
    hs_free(list);
    return 0;
}
