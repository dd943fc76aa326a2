/*
 * shard_mutator.h - mutations that know the shard format. Nearly all of them leave every checksum right, so that what
 * is behind the checks is reached; most also leave the table's sums right, so that records are decoded.
 */
#ifndef HS_TESTS_FUZZ_SHARD_MUTATOR_H
#define HS_TESTS_FUZZ_SHARD_MUTATOR_H

#include <xxhash.h>
#include <zstd.h>

#include "shard_input.h"
#include "store/decode.h"
#include "store/store_int.h"

typedef struct random_bits {
    uint64_t state;
} random_bits;

/* In [0, n). */
static uint32_t any(random_bits *r, uint32_t n)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((r->state >> 33) % n);
}

/* A number that is at the border of something. */
static uint64_t border(random_bits *r)
{
    static const uint64_t list[] = {0,
                                    1,
                                    2,
                                    63,
                                    64,
                                    4095,
                                    4096,
                                    4097,
                                    262143,
                                    262144,
                                    262145,
                                    1u << 24,
                                    (1u << 24) + 1,
                                    1u << 26,
                                    (1u << 26) + 1,
                                    1u << 28,
                                    (1u << 28) + 1,
                                    UINT32_MAX,
                                    1ull << 32,
                                    1ull << 40,
                                    (1ull << 40) + 64,
                                    UINT64_MAX / 2,
                                    UINT64_MAX - 4095,
                                    UINT64_MAX};
    return list[any(r, sizeof list / sizeof *list)];
}

static size_t shard_serialise(const shard_input *in, uint8_t *out, size_t max)
{
    size_t n = sizeof in->header + sizeof in->footer + 3 + in->n_text + in->n_table;
    for (uint32_t i = 0; i < in->n_chunks; i++)
        n += 6u + in->chunks[i].n_given;
    if (n > max)
        return 0;
    uint8_t *p = out;
#define PUT(from, len) (memcpy(p, (from), (len)), p += (len))
    PUT(&in->header, sizeof in->header);
    PUT(&in->footer, sizeof in->footer);
    PUT(&in->n_text, 2);
    PUT(in->text, in->n_text);
    PUT(&in->n_chunks, 1);
    for (uint32_t i = 0; i < in->n_chunks; i++) {
        PUT(&in->chunks[i].bytes, 4);
        PUT(&in->chunks[i].n_given, 2);
        PUT(in->chunks[i].given, in->chunks[i].n_given);
    }
    PUT(in->table, in->n_table);
#undef PUT
    return n;
}

/* ---- making things right ---- */

static void seal(shard_input *in)
{
    hs_shard_header *h = &in->header;
    hs_shard_footer *f = &in->footer;
    h->table_hash = XXH3_64bits(in->table, in->n_table);
    h->header_hash = XXH3_64bits(h, offsetof(hs_shard_header, header_hash));
    f->header_hash = h->header_hash;
    f->footer_hash = XXH3_64bits(f, offsetof(hs_shard_footer, footer_hash));
}

/* Sizes of header and footer as the image will have them. */
static void measure(shard_input *in)
{
    hs_shard_header *h = &in->header;
    memcpy(h->magic, HS_SHARD_MAGIC, 8);
    memcpy(in->footer.magic, HS_SHARD_FOOTER_MAGIC, 8);
    h->version = in->footer.version = HS_SHARD_VERSION;
    in->footer.reserved = 0;
    h->file_bytes = in->footer.file_bytes = shard_layout(in, &h->table_offset);
    h->table_bytes = in->n_table;
}

typedef struct table {
    hs_shard_record *records;
    hs_shard_part *parts;
    hs_shard_frame *frames;
} table;

/* False if the counts of the header do not fit the table. */
static bool table_of(shard_input *in, table *t)
{
    const hs_shard_header *h = &in->header;
    if (h->n_records > 64 || h->n_parts > 256 || h->n_frames > 1024 ||
        h->n_records * sizeof *t->records + h->n_parts * sizeof *t->parts + h->n_frames * sizeof *t->frames !=
            in->n_table)
        return false;
    t->records = (hs_shard_record *)(void *)in->table;
    t->parts = (hs_shard_part *)(void *)(t->records + h->n_records);
    t->frames = (hs_shard_frame *)(void *)(t->parts + h->n_parts);
    return true;
}

/* Checksums of records and frames over what the chunks hold. */
static void check_chunks(shard_input *in)
{
    static uint8_t stored[MAX_CHUNK_BYTES], raw[HS_FRAME_RAW];
    table t;
    hs_decoder *d = NULL;
    uint64_t part = 0, frame = 0;
    if (!table_of(in, &t) || hs_decoder_create(&d, NULL) < 0)
        return;
    XXH3_state_t *hash = XXH3_createState();
    for (uint32_t r = 0; hash && r < in->header.n_records && r < in->n_chunks; r++) {
        hs_shard_record *rec = &t.records[r];
        uint64_t at = 0;
        chunk_expand(&in->chunks[r], stored);
        rec->stored_hash = XXH3_64bits(stored, in->chunks[r].bytes);
        XXH3_64bits_reset(hash);
        for (uint32_t i = 0; i < rec->n_parts && part < in->header.n_parts; i++, part++) {
            uint64_t left = hs__part_padded(&t.parts[part]);
            for (; left && frame < in->header.n_frames; frame++) {
                uint32_t n = t.frames[frame].stored_bytes, full = left < HS_FRAME_RAW ? (uint32_t)left : HS_FRAME_RAW;
                if (n > in->chunks[r].bytes - at)
                    break;
                t.frames[frame].check = (uint32_t)XXH3_64bits(stored + at, n);
                if (hs__frame_decode(d, (hs_codec)t.parts[part].codec, t.frames[frame].check, stored + at, n, raw,
                                     full) == 0)
                    XXH3_64bits_update(hash, raw, full);
                at += n;
                left -= full;
            }
        }
        rec->raw_hash = XXH3_64bits_digest(hash);
    }
    XXH3_freeState(hash);
    hs_decoder_destroy(&d);
}

/* ---- a whole new shard ---- */

/* A frame of n raw bytes, zeros with some noise, behind what the chunk holds. False: it would get too big. */
static bool add_frame(random_bits *r, chunk *c, hs_codec codec, uint32_t n, uint32_t *ret_stored)
{
    static uint8_t raw[HS_FRAME_RAW], stored[HS_FRAME_MAX_STORED];
    memset(raw, 0, n);
    for (uint32_t i = any(r, 40); i > 0; i--)
        raw[any(r, n)] = (uint8_t)any(r, 256);
    size_t len = codec == HS_CODEC_RAW ? n : ZSTD_compress(stored, sizeof stored, raw, n, 1);
    if (len > MAX_CHUNK_BYTES - c->bytes)
        return false;
    if (codec == HS_CODEC_RAW && c->bytes + len > sizeof c->given) {
        c->bytes += (uint32_t)len; /* zeros */
    } else if (c->bytes + len > sizeof c->given) {
        return false;
    } else {
        memset(c->given + c->n_given, 0, c->bytes - c->n_given);
        memcpy(c->given + c->bytes, codec == HS_CODEC_RAW ? raw : stored, len);
        c->bytes += (uint32_t)len;
        c->n_given = (uint16_t)c->bytes;
        while (c->n_given && !c->given[c->n_given - 1])
            c->n_given--;
    }
    *ret_stored = (uint32_t)len;
    return true;
}

typedef struct builder {
    hs_shard_record records[MAX_CHUNKS];
    hs_shard_part parts[64];
    hs_shard_frame frames[256];
    uint32_t n_records, n_parts, n_frames;
} builder;

static bool add_part(random_bits *r, builder *b, chunk *c, const hs_tensor *t)
{
    hs_shard_record *rec = &b->records[b->n_records - 1];
    hs_shard_part *p = &b->parts[b->n_parts];
    if (b->n_parts == 64)
        return false;
    *p = (hs_shard_part){
        .codec = any(r, 3), .source_offset = t->offset, .bytes = t->nbytes, .raw_offset = rec->raw_bytes};
    for (uint64_t left = hs__part_padded(p); left;) {
        uint32_t n = left < HS_FRAME_RAW ? (uint32_t)left : HS_FRAME_RAW, stored = 0;
        if (b->n_frames == 256 || !add_frame(r, c, (hs_codec)p->codec, n, &stored))
            return false;
        b->frames[b->n_frames++].stored_bytes = stored;
        rec->n_frames++;
        left -= n;
    }
    rec->raw_bytes += hs__part_padded(p);
    rec->stored_bytes = c->bytes;
    rec->n_parts++;
    b->n_parts++;
    return true;
}

/* Records for all tensors of the text, codecs at random. False if that is not possible. */
static bool rebuild(random_bits *r, shard_input *in, uint64_t data)
{
    static builder b;
    hs_source s = {.path = "x"};
    memset(&b, 0, sizeof b);
    uint64_t start = 8u + in->n_text, at = HS_SHARD_ALIGN;
    bool good = hs__safetensors_parse(&s, "x", 0, in->text, in->n_text, start, data, NULL) == 0 && s.n_tensors;
    for (uint32_t i = 0; good && i < s.n_tensors; i++) {
        if (!b.n_records || any(r, 3) == 0) {
            if (b.n_records == MAX_CHUNKS)
                break;
            if (b.n_records)
                at += hs_align_up(in->chunks[b.n_records - 1].bytes, HS_SHARD_ALIGN);
            b.records[b.n_records] =
                (hs_shard_record){.offset = at, .first_part = b.n_parts, .first_frame = b.n_frames};
            in->chunks[b.n_records++].bytes = 0;
            in->chunks[b.n_records - 1].n_given = 0;
        }
        good = add_part(r, &b, &in->chunks[b.n_records - 1], &s.tensors[i]);
    }
    hs_free(s.tensors);
    hs__names_free(&s.names);
    size_t n[3] = {b.n_records * sizeof *b.records, b.n_parts * sizeof *b.parts, b.n_frames * sizeof *b.frames};
    if (!good || n[0] + n[1] + n[2] > MAX_TABLE)
        return false;
    in->n_chunks = (uint8_t)b.n_records;
    in->header.n_records = b.n_records;
    in->header.n_parts = b.n_parts;
    in->header.n_frames = b.n_frames;
    in->n_table = (uint32_t)(n[0] + n[1] + n[2]);
    memcpy(in->table, b.records, n[0]);
    memcpy(in->table + n[0], b.parts, n[1]);
    memcpy(in->table + n[0] + n[1], b.frames, n[2]);
    return true;
}

static void begin_anew(random_bits *r, shard_input *in)
{
    static const char text[] =
        "{\"a\":{\"dtype\":\"BF16\",\"shape\":[96],\"data_offsets\":[0,192]},\"b\":{\"dtype\":"
        "\"U8\",\"shape\":[300000],\"data_offsets\":[192,300192]},\"c\":{\"dtype\":\"U8\","
        "\"shape\":[0],\"data_offsets\":[300192,300192]},\"d\":{\"dtype\":\"F32\",\"shape\":[2,7],"
        "\"data_offsets\":[300192,300248]}}";
    memset(&in->header, (int)any(r, 256), sizeof in->header);
    memset(&in->footer, 0, sizeof in->footer);
    memcpy(in->text, text, in->n_text = sizeof text - 1);
    (void)rebuild(r, in, 300248);
    measure(in);
    check_chunks(in);
    seal(in);
}

/* ---- mutations ---- */

static void mutate_table(random_bits *r, shard_input *in)
{
    if (!in->n_table)
        return;
    uint32_t at = any(r, in->n_table) & ~3u, width = any(r, 2) ? 4 : 8;
    uint64_t v = 0;
    width = in->n_table - at < width ? in->n_table - at : width;
    memcpy(&v, in->table + at, width);
    static const int64_t steps[] = {1, -1, 64, -64, 4096, -4096};
    v = any(r, 3) ? v + (uint64_t)steps[any(r, 6)] : border(r);
    memcpy(in->table + at, &v, width);
}

static void mutate_header(random_bits *r, shard_input *in)
{
    uint64_t v = border(r);
    if (any(r, 4))
        memcpy((uint8_t *)&in->header + 4u * any(r, sizeof in->header / 4), &v, 4);
    else
        memcpy((uint8_t *)&in->footer + 4u * any(r, sizeof in->footer / 4), &v, 4);
}

static void mutate_chunk(random_bits *r, shard_input *in)
{
    if (!in->n_chunks)
        return;
    chunk *c = &in->chunks[any(r, in->n_chunks)];
    uint32_t max = c->bytes < sizeof c->given ? c->bytes : sizeof c->given;
    if (c->n_given && any(r, 4))
        c->n_given = (uint16_t)LLVMFuzzerMutate(c->given, c->n_given, max);
    else
        c->bytes = c->n_given + any(r, 3 * HS_SHARD_ALIGN);
}

static void mutate_once(random_bits *r, shard_input *in, uint64_t data)
{
    switch (any(r, 8)) {
    case 0:
        if (in->n_text && any(r, 4) == 0)
            in->n_text = (uint16_t)LLVMFuzzerMutate((uint8_t *)in->text, in->n_text, MAX_TEXT);
        if (!rebuild(r, in, data) && any(r, 2))
            begin_anew(r, in);
        break;
    case 1:
        mutate_header(r, in);
        break;
    case 2:
    case 3:
    case 4:
        mutate_chunk(r, in);
        break;
    default:
        mutate_table(r, in);
    }
}

#endif
