/* folder_packed.c - the packed side of the tests' models, written by hotset/shard_format.h. */
#include "exponent.h"
#include "unit/store/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "unit/store/tiny_int.h"

#define MAX_FRAMES 256

typedef struct writer {
    uint8_t *bytes;
    size_t n, cap;
    hs_shard_record records[TINY_MAX_TENSORS];
    hs_shard_part parts[TINY_MAX_TENSORS];
    hs_shard_frame frames[MAX_FRAMES];
    uint32_t n_records, n_parts, n_frames;
} writer;

static void put(writer *w, const void *p, size_t n)
{
    if (!n)
        return;
    while (w->n + n > w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1u << 20;
        w->bytes = realloc(w->bytes, w->cap);
        assert_non_null(w->bytes);
    }
    if (p)
        memcpy(w->bytes + w->n, p, n);
    else
        memset(w->bytes + w->n, 0, n);
    w->n += n;
}

static void pad(writer *w)
{
    if (w->n % HS_SHARD_ALIGN)
        put(w, NULL, HS_SHARD_ALIGN - w->n % HS_SHARD_ALIGN);
}

static void put_frame(writer *w, hs_codec codec, const uint8_t *raw, uint32_t n)
{
    static uint8_t planes[HS_FRAME_RAW], stored[EXPONENT_MOST];
    const uint8_t *from = raw;
    size_t len = n;
    if (codec == HS_CODEC_ZSTD_PLANES) {
        for (uint32_t i = 0; i < n / 2; i++) {
            planes[i] = raw[2 * i + 1];
            planes[n / 2 + i] = raw[2 * i];
        }
        from = planes;
    }
    if (codec == HS_CODEC_EXPONENT_8 || codec == HS_CODEC_EXPONENT_16) {
        uint32_t width = codec == HS_CODEC_EXPONENT_8 ? 1 : 2;
        len = exponent_write(raw, width, n / width, NULL, stored);
        from = len < n ? stored : raw;
        len = len < n ? len : n;
    } else if (codec != HS_CODEC_RAW) {
        len = ZSTD_compress(stored, sizeof stored, from, n, 1);
        assert_false(ZSTD_isError(len));
        from = stored;
    }
    assert_true(w->n_frames < MAX_FRAMES);
    w->frames[w->n_frames++] = (hs_shard_frame){(uint32_t)len, (uint32_t)XXH3_64bits(from, len)};
    put(w, from, len);
}

/* Appends bytes [from, to) of t to the record at work; image: its raw image so far. */
static void put_part(writer *w, const tiny_tensor *t, uint64_t source_offset, uint64_t from, uint64_t to, writer *image)
{
    hs_shard_record *rec = &w->records[w->n_records];
    hs_shard_part *p = &w->parts[w->n_parts++];
    *p = (hs_shard_part){.source = (uint32_t)t->container,
                         .codec = (uint32_t)t->codec,
                         .source_offset = source_offset + from,
                         .bytes = to - from,
                         .raw_offset = image->n};
    size_t padded = (p->bytes + HS_PART_ALIGN - 1) / HS_PART_ALIGN * HS_PART_ALIGN;
    rec->n_parts++;
    if (!padded)
        return;
    uint8_t *all = malloc(tiny_nbytes(t));
    assert_non_null(all);
    tiny_bytes(t, all);
    put(image, all + from, p->bytes);
    put(image, NULL, padded - p->bytes);
    free(all);
    uint8_t *raw = image->bytes + p->raw_offset;
    for (size_t at = 0; at < padded; at += HS_FRAME_RAW)
        put_frame(w, t->codec, raw + at, (uint32_t)(padded - at < HS_FRAME_RAW ? padded - at : HS_FRAME_RAW));
}

static void begin_record(writer *w)
{
    w->records[w->n_records] = (hs_shard_record){.offset = w->n, .first_part = w->n_parts, .first_frame = w->n_frames};
}

static void end_record(writer *w, writer *image)
{
    hs_shard_record *rec = &w->records[w->n_records++];
    rec->n_frames = w->n_frames - rec->first_frame;
    rec->stored_bytes = w->n - rec->offset;
    rec->raw_bytes = image->n;
    rec->stored_hash = XXH3_64bits(w->bytes + rec->offset, rec->stored_bytes);
    rec->raw_hash = XXH3_64bits(image->bytes, image->n);
    pad(w);
    free(image->bytes);
    *image = (writer){0};
}

/* A tensor of which only so many bytes are in the record of those before it. */
typedef struct cut {
    const tiny_tensor *tensor;
    uint64_t at;
} cut;

static void put_record(writer *w, const tiny_model *m, const tiny__image *containers, int record, uint32_t dense, cut c)
{
    writer image = {0};
    begin_record(w);
    for (uint32_t i = 0; i < m->n; i++) {
        const tiny_tensor *t = &m->tensors[i];
        uint64_t offset = containers[t->container].offset[i], from = 0;
        if (record == TINY_DENSE ? i != dense : t->record != record)
            continue;
        if (t == c.tensor) {
            put_part(w, t, offset, 0, c.at, &image);
            end_record(w, &image);
            begin_record(w);
            from = c.at;
        }
        put_part(w, t, offset, from, tiny_nbytes(t), &image);
    }
    end_record(w, &image);
}

static void finish(writer *w, const char *path, const char *name)
{
    hs_shard_header h = {.version = HS_SHARD_VERSION,
                         .n_records = w->n_records,
                         .n_parts = w->n_parts,
                         .n_frames = w->n_frames,
                         .table_offset = w->n};
    memcpy(h.magic, HS_SHARD_MAGIC, 8);
    memset(h.identity, 0xa5, sizeof h.identity);
    put(w, w->records, w->n_records * sizeof *w->records);
    put(w, w->parts, w->n_parts * sizeof *w->parts);
    put(w, w->frames, w->n_frames * sizeof *w->frames);
    h.table_bytes = w->n - h.table_offset;
    h.table_hash = XXH3_64bits(w->bytes + h.table_offset, h.table_bytes);
    pad(w);
    h.file_bytes = w->n + HS_SHARD_ALIGN;
    h.header_hash = XXH3_64bits(&h, offsetof(hs_shard_header, header_hash));
    hs_shard_footer f = {.version = HS_SHARD_VERSION, .file_bytes = h.file_bytes, .header_hash = h.header_hash};
    memcpy(f.magic, HS_SHARD_FOOTER_MAGIC, 8);
    f.footer_hash = XXH3_64bits(&f, offsetof(hs_shard_footer, footer_hash));
    put(w, &f, sizeof f);
    pad(w);
    memcpy(w->bytes, &h, sizeof h);
    folder_write(path, name, w->bytes, w->n);
    free(w->bytes);
}

void tiny_write_manifest(const char *path, const char *text, size_t n)
{
    char all[10000];
    const char *end = n ? memrchr(text, '}', n) : NULL;
    assert_non_null(end);
    int len = snprintf(all, sizeof all, "%.*s" HS_PACK_SEAL_BEGIN "%016llx" HS_PACK_SEAL_END, (int)(end - text), text,
                       (unsigned long long)XXH3_64bits(text, (size_t)(end - text)));
    assert_true(len < (int)sizeof all);
    folder_write(path, "manifest.json", all, (size_t)len);
}

static void write_manifest(const char *path, const tiny__image *containers)
{
    char text[4096];
    size_t at = (size_t)snprintf(text, sizeof text, "{\"format\":\"hotset-pack\",\"version\":1,\"identity\":\"");
    for (int i = 0; i < 16; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "a5");
    at += (size_t)snprintf(text + at, sizeof text - at, "\",\"sources\":[");
    for (int c = 0; c < 2; c++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "%s{\"name\":\"model-%d.safetensors\",\"bytes\":%zu,\"data_start\":%zu,\"mode\":420,"
                               "\"header\":\"model-%d.safetensors.header\",\"header_xxh3\":\"%016llx\"}",
                               c ? "," : "", c, containers[c].n, containers[c].data_start, c,
                               (unsigned long long)XXH3_64bits(containers[c].bytes, containers[c].data_start));
    at += (size_t)snprintf(text + at, sizeof text - at,
                           "],\"shards\":[{\"name\":\"dense-00000.hss\",\"kind\":\"dense\"},"
                           "{\"name\":\"experts-00000.hss\",\"kind\":\"experts\"}],\"files\":[]}");
    assert_true(at < sizeof text);
    tiny_write_manifest(path, text, at);
}

static void write_packed(const tiny_model *m, const char *path, cut at)
{
    tiny__image containers[2] = {0};
    char name[64];
    for (int c = 0; c < 2; c++) {
        tiny__container(m, c, &containers[c]);
        snprintf(name, sizeof name, "model-%d.safetensors.header", c);
        folder_write(path, name, containers[c].bytes, containers[c].data_start);
    }
    folder_write(path, "config.json", "{\"model_type\":\"tiny\"}", 21);
    writer *w = calloc(2, sizeof *w);
    assert_non_null(w);
    put(&w[0], NULL, HS_SHARD_ALIGN);
    put(&w[1], NULL, HS_SHARD_ALIGN);
    for (uint32_t i = 0; i < m->n; i++)
        if (m->tensors[i].record == TINY_DENSE)
            put_record(&w[0], m, containers, TINY_DENSE, i, at);
    for (uint32_t r = 0; r < m->n_records; r++)
        put_record(&w[1], m, containers, (int)r, 0, at);
    finish(&w[0], path, "dense-00000.hss");
    finish(&w[1], path, "experts-00000.hss");
    write_manifest(path, containers);
    free(w);
    free(containers[0].bytes);
    free(containers[1].bytes);
}

void tiny_write_packed(const tiny_model *m, const char *path)
{
    write_packed(m, path, (cut){0});
}

void tiny_write_cut(const tiny_model *m, const char *path, const char *tensor, uint64_t at)
{
    write_packed(m, path, (cut){tiny_find(m, tensor), at});
}

tiny_area tiny_area_of(const uint8_t *shard, size_t n, size_t at, uint32_t *ret_record)
{
    hs_shard_header h;
    memcpy(&h, shard, sizeof h);
    if (at < sizeof h)
        return TINY_HEADER;
    if (at >= n - HS_SHARD_ALIGN)
        return at < n - HS_SHARD_ALIGN + sizeof(hs_shard_footer) ? TINY_FOOTER : TINY_PADDING;
    if (at >= h.table_offset)
        return at < h.table_offset + h.table_bytes ? TINY_TABLE : TINY_PADDING;
    for (uint32_t r = 0; r < h.n_records; r++) {
        hs_shard_record rec;
        memcpy(&rec, shard + h.table_offset + r * sizeof rec, sizeof rec);
        if (at >= rec.offset && at < rec.offset + rec.stored_bytes) {
            *ret_record = r;
            return TINY_RECORD;
        }
    }
    return TINY_PADDING;
}
