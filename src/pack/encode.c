/*
 * encode.c - the frames of one record: read from the source, encoded, handed to the shard writer in order.
 *
 * Owns the batch: HS__PK_BATCH frames, raw and stored, and one zstd context and plane buffer per thread; that is all
 * the memory a record of any size needs. Frames are independent: pool tasks read and encode them; hashes and writes are
 * done between two batches by the caller, while the kernel reads the next batch ahead.
 *
 * The codec of a part is chosen from a sample of its frames and checked against the whole: a part, or a record, that
 * did not get smaller than HS_PACK_RAW_RATIO is written again, raw. So codecs depend on the bytes alone, never on
 * threads.
 */
#include <fcntl.h>
#include <string.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/file.h"
#include "pack/pack_int.h"
#include "store/decode.h"

#define SAMPLE_MAX      4u    /* frames of a part that are tried */
#define SAMPLE_ONE_IN   16u   /* frames per tried one */
#define SAMPLE_HOPELESS 0.95  /* a sample this bad is not worth trying the whole */
#define SMALL_PART      4096u /* bytes: a part this small stays raw, a frame to decode costs more than it saves */
#define AHEAD           (512u << 10) /* bytes per readahead request: the kernel cuts longer ones off */

typedef struct slot {
    const hs__pk_container *from;
    uint64_t offset; /* in the container */
    uint32_t bytes;  /* of the tensor */
    uint32_t raw;    /* padded */
    uint32_t part;   /* of the record, from 0 */
    hs_codec codec;
    bool sample;     /* only sizes are wanted */
    uint32_t stored; /* result */
    uint32_t planes; /* result of a sample: stored with planes; 0 = not tried */
    uint32_t check;
    const uint8_t *data; /* stored bytes */
    int error;
} slot;

struct hs__pk_encoder {
    hs__pk_work *w;
    int level;
    uint32_t threads;
    ZSTD_CCtx **zstd;
    uint8_t *planes; /* [threads][HS_FRAME_RAW] */
    uint8_t *raw;    /* [HS__PK_BATCH][HS_FRAME_RAW] */
    uint8_t *stored; /* [HS__PK_BATCH][HS_FRAME_MAX_STORED] */
    slot slots[HS__PK_BATCH];
    XXH3_state_t *raw_hash, *stored_hash;
    uint8_t *codecs; /* [cap_parts] of the record at work, then per part sample sums */
    uint64_t (*sums)[3];
    uint32_t cap_parts;
};

static void split_planes(const uint8_t *raw, uint8_t *planes, uint32_t n)
{
    uint8_t *hi = planes, *lo = planes + n;
    for (uint32_t i = 0; i < n; i++) {
        lo[i] = raw[2 * i];
        hi[i] = raw[2 * i + 1];
    }
}

static int deflate(hs__pk_encoder *e, uint32_t thread, hs_codec codec, const uint8_t *raw, uint32_t n, uint8_t *out,
                   uint32_t *ret)
{
    if (codec == HS_CODEC_ZSTD_PLANES) {
        uint8_t *planes = e->planes + (size_t)thread * HS_FRAME_RAW;
        split_planes(raw, planes, n / 2);
        raw = planes;
    }
    size_t k = ZSTD_compressCCtx(e->zstd[thread], out, HS_FRAME_MAX_STORED, raw, n, e->level);
    if (ZSTD_isError(k))
        return -ENOMEM; /* the only way it can fail with room for the worst case */
    *ret = (uint32_t)k;
    return 0;
}

static void run_slot(void *ctx, uint32_t index, uint32_t thread)
{
    hs__pk_encoder *e = ctx;
    slot *s = &e->slots[index];
    uint8_t *raw = e->raw + (size_t)index * HS_FRAME_RAW, *stored = e->stored + (size_t)index * HS_FRAME_MAX_STORED;
    s->error = hs_pread_full(s->from->fd, raw, s->bytes, (off_t)s->offset);
    if (s->error < 0)
        return;
    memset(raw + s->bytes, 0, s->raw - s->bytes);
    s->data = raw;
    s->stored = s->raw;
    if (s->sample && s->codec == HS_CODEC_ZSTD_PLANES)
        s->error = deflate(e, thread, HS_CODEC_ZSTD_PLANES, raw, s->raw, stored, &s->planes);
    if (s->error == 0 && s->codec != HS_CODEC_RAW) {
        s->error = deflate(e, thread, s->sample ? HS_CODEC_ZSTD : s->codec, raw, s->raw, stored, &s->stored);
        s->data = stored;
    }
    if (s->error == 0 && !s->sample)
        s->check = (uint32_t)XXH3_64bits(s->data, s->stored);
}

static int run_slots(hs__pk_encoder *e, uint32_t n, hs_err *err)
{
    hs_pool_run(e->w->pool, n, run_slot, e);
    for (uint32_t i = 0; i < n; i++) {
        const slot *s = &e->slots[i];
        if (s->error < 0)
            return hs_err_set(err, s->error, "%s: %s", s->from->path,
                              s->error == -ENODATA ? "the file ends inside a tensor" : hs_strerror(s->error));
    }
    return 0;
}

static slot slot_of(const hs__pk_plan *p, const hs__pk_part *part, uint32_t number, uint32_t frame, hs_codec codec)
{
    return (slot){.from = &p->containers[part->source],
                  .offset = part->offset + (uint64_t)frame * HS_FRAME_RAW,
                  .bytes = hs__pk_frame_bytes(part->bytes, frame),
                  .raw = hs__pk_frame_raw(part->bytes, frame),
                  .part = number,
                  .codec = codec};
}

/* ---- which codec ---- */

static int flush_samples(hs__pk_encoder *e, uint32_t *n, hs_err *err)
{
    int r = run_slots(e, *n, err);
    for (uint32_t i = 0; r == 0 && i < *n; i++) {
        const slot *s = &e->slots[i];
        e->sums[s->part][0] += s->raw;
        e->sums[s->part][1] += s->stored;
        e->sums[s->part][2] += s->planes;
    }
    *n = 0;
    return r;
}

/* Codecs worth trying: planes only where elements have two bytes. */
static int choose_codecs(hs__pk_encoder *e, const hs__pk_plan *p, const hs__pk_record *rec, hs_err *err)
{
    uint32_t n = 0;
    int r = 0;
    memset(e->sums, 0, rec->n_parts * sizeof *e->sums);
    for (uint32_t i = 0; r == 0 && i < rec->n_parts; i++) {
        const hs__pk_part *part = &p->parts[rec->first_part + i];
        uint32_t frames = hs__pk_n_frames(part->bytes);
        bool two = part->element == 2;
        e->codecs[i] = part->bytes < SMALL_PART ? HS_CODEC_RAW : two ? HS_CODEC_ZSTD_PLANES : HS_CODEC_ZSTD;
        if (e->codecs[i] == HS_CODEC_RAW || (!two && frames < SAMPLE_ONE_IN))
            continue; /* one codec and little work: trying it all is as good as a sample */
        uint32_t tries = frames / SAMPLE_ONE_IN;
        tries = tries < 1 ? 1 : tries > SAMPLE_MAX ? SAMPLE_MAX : tries;
        for (uint32_t k = 0; r == 0 && k < tries; k++) {
            uint32_t frame = (uint32_t)((uint64_t)frames * (2 * k + 1) / (2 * tries));
            e->slots[n] = slot_of(p, part, i, frame, (hs_codec)e->codecs[i]);
            e->slots[n].sample = true;
            if (++n == HS__PK_BATCH)
                r = flush_samples(e, &n, err);
        }
    }
    if (r == 0 && n)
        r = flush_samples(e, &n, err);
    for (uint32_t i = 0; r == 0 && i < rec->n_parts; i++) {
        const uint64_t *sum = e->sums[i];
        if (!sum[0])
            continue;
        uint64_t best = sum[1];
        if (e->codecs[i] == HS_CODEC_ZSTD_PLANES && sum[2] < sum[1])
            best = sum[2];
        else
            e->codecs[i] = HS_CODEC_ZSTD;
        if ((double)best > SAMPLE_HOPELESS * (double)sum[0])
            e->codecs[i] = HS_CODEC_RAW;
    }
    return r;
}

/* After a whole record: parts that did not get small enough become raw; so do all if the record did not. */
static bool correct_codecs(hs__pk_encoder *e, const hs__pk_record *rec)
{
    bool changed = false;
    uint64_t raw = 0, stored = 0;
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        raw += e->sums[i][0];
        if (e->codecs[i] != HS_CODEC_RAW && (double)e->sums[i][1] > HS_PACK_RAW_RATIO * (double)e->sums[i][0]) {
            e->codecs[i] = HS_CODEC_RAW;
            changed = true;
        }
        stored += e->codecs[i] == HS_CODEC_RAW ? e->sums[i][0] : e->sums[i][1];
    }
    if ((double)stored > HS_PACK_RAW_RATIO * (double)raw) {
        for (uint32_t i = 0; i < rec->n_parts; i++) {
            changed |= e->codecs[i] != HS_CODEC_RAW;
            e->codecs[i] = HS_CODEC_RAW;
        }
    }
    return changed;
}

/* ---- a record ---- */

/* A place in a record: frame `frame` of part `part`. */
typedef struct cursor {
    uint32_t part, frame;
} cursor;

/* Fills slots from the cursor on; returns how many. */
static uint32_t fill(hs__pk_encoder *e, const hs__pk_plan *p, const hs__pk_record *rec, cursor *c, bool raw)
{
    uint32_t n = 0;
    while (n < HS__PK_BATCH && c->part < rec->n_parts) {
        const hs__pk_part *part = &p->parts[rec->first_part + c->part];
        if (c->frame == hs__pk_n_frames(part->bytes)) {
            *c = (cursor){c->part + 1, 0};
            continue;
        }
        e->slots[n++] = slot_of(p, part, c->part, c->frame++, raw ? HS_CODEC_RAW : (hs_codec)e->codecs[c->part]);
    }
    return n;
}

static void ahead(const hs__pk_container *c, uint64_t from, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += AHEAD)
        posix_fadvise(c->fd, (off_t)(from + at), (off_t)(bytes - at < AHEAD ? bytes - at : AHEAD), POSIX_FADV_WILLNEED);
}

/* Asks the kernel for what comes after the batch: the rest of this part, else the parts that follow in the plan. */
static void read_ahead(const hs__pk_plan *p, const hs__pk_record *rec, const cursor *c)
{
    uint64_t budget = (uint64_t)HS__PK_BATCH * HS_FRAME_RAW / 2, skip = (uint64_t)c->frame * HS_FRAME_RAW;
    for (uint32_t i = rec->first_part + c->part; i < p->n_parts && budget; i++, skip = 0) {
        const hs__pk_part *part = &p->parts[i];
        if (part->bytes <= skip)
            continue;
        uint64_t n = part->bytes - skip < budget ? part->bytes - skip : budget;
        ahead(&p->containers[part->source], part->offset + skip, n);
        budget -= n;
    }
}

/* One pass over a record with the codecs as they are. out NULL: only the raw hash. */
static int pass(hs__pk_encoder *e, const hs__pk_plan *p, const hs__pk_record *rec, hs__pk_writer *out, hs_err *err)
{
    cursor c = {0};
    int r = 0;
    XXH3_64bits_reset(e->raw_hash);
    XXH3_64bits_reset(e->stored_hash);
    if (out)
        memset(e->sums, 0, rec->n_parts * sizeof *e->sums);
    for (uint32_t n; r == 0 && (n = fill(e, p, rec, &c, !out)) > 0;) {
        read_ahead(p, rec, &c);
        r = run_slots(e, n, err);
        for (uint32_t i = 0; r == 0 && i < n; i++) {
            const slot *s = &e->slots[i];
            XXH3_64bits_update(e->raw_hash, e->raw + (size_t)i * HS_FRAME_RAW, s->raw);
            if (!out)
                continue;
            XXH3_64bits_update(e->stored_hash, s->data, s->stored);
            e->sums[s->part][0] += s->raw;
            e->sums[s->part][1] += s->stored;
            r = hs__pk_writer_frame(out, s->data, s->stored, s->check, err);
        }
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < n; i++)
            bytes += e->slots[i].bytes;
        if (r == 0)
            r = hs__pk_advance(e->w, bytes, err);
    }
    return r;
}

static int need_parts(hs__pk_encoder *e, uint32_t n, hs_err *err)
{
    if (n <= e->cap_parts)
        return 0;
    size_t codecs = e->cap_parts, sums = e->cap_parts;
    if (hs_grow(&e->codecs, sizeof *e->codecs, n, &codecs, n) < 0 ||
        hs_grow(&e->sums, sizeof *e->sums, n, &sums, n) < 0)
        return hs_err_set(err, -ENOMEM, "packing: out of memory for a record of %u tensors", n);
    e->cap_parts = n;
    return 0;
}

int hs__pk_encode_record(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, bool compress, hs__pk_writer *out,
                         hs_err *err)
{
    const hs__pk_record *rec = &p->records[record];
    int r = need_parts(e, rec->n_parts, err);
    if (r == 0 && compress)
        r = choose_codecs(e, p, rec, err);
    else if (r == 0)
        memset(e->codecs, HS_CODEC_RAW, rec->n_parts);
    uint64_t done = e->w->done;
    for (bool again = true; r == 0 && again;) {
        e->w->done = done;
        hs__pk_writer_begin(out, p, record, e->codecs);
        r = pass(e, p, rec, out, err);
        again = r == 0 && correct_codecs(e, rec);
    }
    if (r == 0)
        r = hs__pk_writer_end(out, XXH3_64bits_digest(e->stored_hash), XXH3_64bits_digest(e->raw_hash), err);
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        const hs__pk_part *part = &p->parts[rec->first_part + i];
        posix_fadvise(p->containers[part->source].fd, (off_t)part->offset, (off_t)part->bytes, POSIX_FADV_DONTNEED);
    }
    return r;
}

int hs__pk_hash_record(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, uint64_t *ret, hs_err *err)
{
    int r = pass(e, p, &p->records[record], NULL, err);
    if (r == 0)
        *ret = XXH3_64bits_digest(e->raw_hash);
    return r;
}

int hs__pk_decode_speed(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t part, double *ret, hs_err *err)
{
    const hs__pk_part *x = &p->parts[part];
    hs_codec codec = x->element == 2 ? HS_CODEC_ZSTD_PLANES : HS_CODEC_ZSTD;
    uint32_t frames = hs__pk_n_frames(x->bytes), n = frames < 16 ? frames : 16;
    hs_decoder *d;
    *ret = 0;
    if (!n)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        e->slots[i] = slot_of(p, x, 0, i, codec);
    int r = run_slots(e, n, err);
    if (r == 0)
        r = hs_decoder_create(&d, err);
    if (r < 0)
        return r;
    for (uint32_t round = 0; r == 0 && round < 5; round++) {
        uint64_t bytes = 0, begin = hs_now_ns();
        for (uint32_t i = 0; r == 0 && i < n; i++) {
            const slot *s = &e->slots[i];
            r = hs__frame_decode(d, codec, s->check, s->data, s->stored, e->raw, s->raw);
            bytes += s->raw;
        }
        double speed = (double)bytes * 1e9 / (double)(hs_now_ns() - begin + 1);
        *ret = speed > *ret ? speed : *ret;
    }
    hs_decoder_destroy(&d);
    return r < 0 ? hs_err_set(err, r, "%s: a frame cannot be decoded again", p->containers[x->source].path) : 0;
}

int hs__pk_encoder_create(hs__pk_work *w, int level, hs__pk_encoder **ret, hs_err *err)
{
    hs__pk_encoder *e = hs_calloc(1, sizeof *e);
    if (!e)
        return hs_err_set(err, -ENOMEM, "packing: out of memory");
    e->w = w;
    e->level = level;
    e->threads = hs_pool_threads(w->pool);
    e->zstd = hs_calloc(e->threads, sizeof(ZSTD_CCtx *));
    e->planes = hs_malloc((size_t)e->threads * HS_FRAME_RAW);
    e->raw = hs_malloc((size_t)HS__PK_BATCH * HS_FRAME_RAW);
    e->stored = hs_malloc((size_t)HS__PK_BATCH * HS_FRAME_MAX_STORED);
    e->raw_hash = XXH3_createState();
    e->stored_hash = XXH3_createState();
    bool ok = e->zstd && e->planes && e->raw && e->stored && e->raw_hash && e->stored_hash;
    for (uint32_t i = 0; ok && i < e->threads; i++)
        ok = (e->zstd[i] = ZSTD_createCCtx()) != NULL;
    if (!ok) {
        hs__pk_encoder_destroy(&e);
        return hs_err_set(err, -ENOMEM, "packing: out of memory");
    }
    *ret = e;
    return 0;
}

void hs__pk_encoder_destroy(hs__pk_encoder **encoder)
{
    hs__pk_encoder *e = *encoder;
    if (!e)
        return;
    *encoder = NULL;
    for (uint32_t i = 0; e->zstd && i < e->threads; i++)
        ZSTD_freeCCtx(e->zstd[i]);
    hs_free(e->zstd);
    hs_free(e->planes);
    hs_free(e->raw);
    hs_free(e->stored);
    hs_free(e->codecs);
    hs_free(e->sums);
    XXH3_freeState(e->raw_hash);
    XXH3_freeState(e->stored_hash);
    hs_free(e);
}
