/*
 * record.c - stored records back to bytes: read in batches of frames, checked and decoded on the pool, handed on in
 * order. Memory: one batch, stored and raw, and a decoder per thread, whatever the size of the record.
 */
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "pack/pack_int.h"
#include "store/decode.h"

typedef struct slot {
    const hs_shard_part *part;
    uint32_t frame; /* of the part */
    uint32_t stored, raw, check;
    const uint8_t *data;
    int error;
} slot;

struct hs__pk_reader {
    hs__pk_work *w;
    uint32_t threads;
    hs_decoder **decoders;
    uint8_t *raw;    /* [HS__PK_BATCH][HS_FRAME_RAW] */
    uint8_t *stored; /* HS__PK_BATCH frames, back to back as on disk */
    slot slots[HS__PK_BATCH];
    XXH3_state_t *raw_hash, *stored_hash;
};

static void run_slot(void *ctx, uint32_t index, uint32_t thread)
{
    hs__pk_reader *r = ctx;
    slot *s = &r->slots[index];
    s->error = hs__frame_decode(r->decoders[thread], (hs_codec)s->part->codec, s->check, s->data, s->stored,
                                r->raw + (size_t)index * HS_FRAME_RAW, s->raw);
}

typedef struct cursor {
    uint32_t part, frame; /* of the record; frame of the part */
    uint32_t done;        /* frames of the record */
    uint64_t at;          /* in the shard */
} cursor;

/* Fills slots from the cursor on; returns how many and how many stored bytes they have. */
static uint32_t fill(hs__pk_reader *r, const hs__pk_shard *sh, const hs_shard_record *rec, cursor *c,
                     uint64_t *ret_bytes)
{
    uint32_t n = 0;
    uint64_t bytes = 0;
    while (n < HS__PK_BATCH && c->part < rec->n_parts) {
        const hs_shard_part *part = &sh->parts[rec->first_part + c->part];
        if (c->frame == hs__pk_n_frames(part->bytes)) {
            c->part++;
            c->frame = 0;
            continue;
        }
        const hs_shard_frame *f = &sh->frames[rec->first_frame + c->done++];
        r->slots[n++] = (slot){.part = part,
                               .frame = c->frame,
                               .stored = f->stored_bytes,
                               .raw = hs__pk_frame_raw(part->bytes, c->frame),
                               .check = f->check,
                               .data = r->stored + bytes};
        c->frame++;
        bytes += f->stored_bytes;
    }
    *ret_bytes = bytes;
    return n;
}

static bool padding_is_zero(const slot *s, const uint8_t *raw)
{
    for (uint32_t i = hs__pk_frame_bytes(s->part->bytes, s->frame); i < s->raw; i++)
        if (raw[i])
            return false;
    return true;
}

/* One batch: read, decode, hash, hand on. */
static int batch(hs__pk_reader *r, const hs__pk_shard *sh, uint32_t record, cursor *c, bool by_stored, hs__pk_sink sink,
                 void *ctx, hs_err *err)
{
    uint64_t bytes, told = 0;
    uint32_t first = c->done, n = fill(r, sh, &sh->records[record], c, &bytes);
    int e = hs_pread_full(sh->fd, r->stored, bytes, (off_t)c->at);
    if (e < 0)
        return hs_err_set(err, e == -ENODATA ? -EBADMSG : e, "%s, record %u: %s", sh->name, record,
                          e == -ENODATA ? "the file ends inside it" : hs_strerror(e));
    c->at += bytes;
    posix_fadvise(sh->fd, (off_t)c->at, 4 << 20, POSIX_FADV_WILLNEED);
    hs_pool_run(r->w->pool, n, run_slot, r);
    XXH3_64bits_update(r->stored_hash, r->stored, bytes);
    for (uint32_t i = 0; i < n; i++) {
        const slot *s = &r->slots[i];
        const uint8_t *raw = r->raw + (size_t)i * HS_FRAME_RAW;
        uint32_t k = hs__pk_frame_bytes(s->part->bytes, s->frame);
        if (s->error < 0)
            return hs_err_set(err, s->error, "%s, record %u, frame %u: damaged", sh->name, record, first + i);
        if (!padding_is_zero(s, raw))
            return hs_err_set(err, -EBADMSG, "%s, record %u, frame %u: the padding is not zero", sh->name, record,
                              first + i);
        XXH3_64bits_update(r->raw_hash, raw, s->raw);
        e = sink ? sink(ctx, s->part, (uint64_t)s->frame * HS_FRAME_RAW, raw, k, err) : 0;
        if (e < 0)
            return e;
        told += by_stored ? s->stored : k;
    }
    return hs__pk_advance(r->w, told, err);
}

int hs__pk_read_record(hs__pk_reader *r, const hs__pk_shard *sh, uint32_t record, bool by_stored, hs__pk_sink sink,
                       void *ctx, hs_err *err)
{
    const hs_shard_record *rec = &sh->records[record];
    cursor c = {.at = rec->offset};
    int e = 0;
    XXH3_64bits_reset(r->raw_hash);
    XXH3_64bits_reset(r->stored_hash);
    while (e == 0 && c.done < rec->n_frames)
        e = batch(r, sh, record, &c, by_stored, sink, ctx, err);
    if (e == 0 && XXH3_64bits_digest(r->stored_hash) != rec->stored_hash)
        e = hs_err_set(err, -EBADMSG, "%s, record %u: the checksum of the stored bytes is wrong", sh->name, record);
    if (e == 0 && XXH3_64bits_digest(r->raw_hash) != rec->raw_hash)
        e = hs_err_set(err, -EBADMSG, "%s, record %u: the checksum of the decoded bytes is wrong", sh->name, record);
    return e;
}

int hs__pk_check_zero(const hs__pk_shard *sh, uint64_t from, uint64_t to, hs_err *err)
{
    uint8_t page[HS_SHARD_ALIGN];
    int r = hs_pread_full(sh->fd, page, (size_t)(to - from), (off_t)from);
    if (r < 0)
        return hs_err_set(err, r == -ENODATA ? -EBADMSG : r, "%s, byte %llu: %s", sh->name, (unsigned long long)from,
                          r == -ENODATA ? "the file ends here" : hs_strerror(r));
    for (uint64_t i = 0; i < to - from; i++)
        if (page[i])
            return hs_err_set(err, -EBADMSG, "%s, byte %llu: not zero, but nothing belongs there", sh->name,
                              (unsigned long long)(from + i));
    return 0;
}

int hs__pk_reader_create(hs__pk_work *w, hs__pk_reader **ret, hs_err *err)
{
    hs__pk_reader *r = hs_calloc(1, sizeof *r);
    if (!r)
        return hs_err_set(err, -ENOMEM, "reading a pack: out of memory");
    r->w = w;
    r->threads = hs_pool_threads(w->pool);
    r->decoders = hs_calloc(r->threads, sizeof *r->decoders);
    r->raw = hs_malloc((size_t)HS__PK_BATCH * HS_FRAME_RAW);
    r->stored = hs_malloc((size_t)HS__PK_BATCH * HS_FRAME_MAX_STORED);
    r->raw_hash = XXH3_createState();
    r->stored_hash = XXH3_createState();
    int e = r->decoders && r->raw && r->stored && r->raw_hash && r->stored_hash
                ? 0
                : hs_err_set(err, -ENOMEM, "reading a pack: out of memory");
    for (uint32_t i = 0; e == 0 && i < r->threads; i++)
        e = hs_decoder_create(&r->decoders[i], err);
    if (e == 0)
        *ret = r;
    else
        hs__pk_reader_destroy(&r);
    return e;
}

void hs__pk_reader_destroy(hs__pk_reader **reader)
{
    hs__pk_reader *r = *reader;
    if (!r)
        return;
    *reader = NULL;
    for (uint32_t i = 0; r->decoders && i < r->threads; i++)
        hs_decoder_destroy(&r->decoders[i]);
    hs_free(r->decoders);
    hs_free(r->raw);
    hs_free(r->stored);
    XXH3_freeState(r->raw_hash);
    XXH3_freeState(r->stored_hash);
    hs_free(r);
}
