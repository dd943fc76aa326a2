/*
 * encode.c - the frames of one record: read from the source, encoded, handed to the shard writer in order.
 *
 * Owns the batch: HS__PK_BATCH frames, raw and stored, and one zstd context and some scratch per thread; that is all
 * the memory a record of any size needs. Frames are independent: pool tasks read and encode them; hashes and writes are
 * done between two batches by the caller, while the kernel reads the next batch ahead.
 *
 * The codec of a part is chosen from a sample of its frames and checked against the whole: a part, or a record, that
 * did not get smaller than HS_PACK_RAW_RATIO is written again, raw. So codecs depend on the bytes alone, never on
 * threads.
 */
#include <fcntl.h>
#include <math.h>
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
#define PREFER_EXPONENT 0.97  /* of two codecs of about the same size the one that is decoded many times faster */
#define AHEAD           (512u << 10) /* bytes per readahead request: the kernel cuts longer ones off */

#define SCRATCH (2u * HS_FRAME_RAW) /* planes, or elements taken apart */

typedef struct slot {
    const hs__pk_container *from;
    uint64_t offset; /* in the container */
    uint32_t bytes;  /* of the tensor */
    uint32_t raw;    /* padded */
    uint32_t part;   /* of the record, from 0 */
    uint32_t element;
    hs_codec codec;
    bool sample;                  /* only sizes are wanted, of the part's candidates */
    uint32_t tried[HS_CODEC_END]; /* result of a sample; 0 = not tried */
    uint32_t stored;              /* result */
    uint32_t check;
    const uint8_t *data; /* stored bytes */
    int error;
} slot;

struct hs__pk_encoder {
    hs__pk_work *w;
    int level;
    uint32_t allowed; /* HS__PK_ZSTD, HS__PK_EXPONENT: what samples try */
    uint32_t threads;
    ZSTD_CCtx **zstd;
    uint8_t *scratch; /* [threads][SCRATCH] */
    uint8_t *raw;     /* [HS__PK_BATCH][HS_FRAME_RAW] */
    uint8_t *stored;  /* [HS__PK_BATCH][HS_FRAME_MAX_STORED] */
    slot slots[HS__PK_BATCH];
    XXH3_state_t *raw_hash, *stored_hash;
    uint8_t *codecs;                /* [cap_parts] of the record at work */
    uint64_t (*sums)[HS_CODEC_END]; /* [cap_parts] bytes of it: raw, and stored with each codec that was used */
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

/* A frame with a codec that is not RAW. */
static int encode(hs__pk_encoder *e, uint32_t thread, hs_codec codec, const uint8_t *raw, uint32_t n, uint8_t *out,
                  uint32_t *ret)
{
    uint8_t *scratch = e->scratch + (size_t)thread * SCRATCH;
    if (codec == HS_CODEC_EXPONENT_8 || codec == HS_CODEC_EXPONENT_16) {
        *ret = hs__pk_exponent_frame(codec, raw, n, scratch, out);
        return 0;
    }
    if (codec == HS_CODEC_ZSTD_PLANES) {
        split_planes(raw, scratch, n / 2);
        raw = scratch;
    }
    size_t k = ZSTD_compressCCtx(e->zstd[thread], out, HS_FRAME_MAX_STORED, raw, n, e->level);
    if (ZSTD_isError(k))
        return -ENOMEM; /* the only way it can fail with room for the worst case */
    *ret = (uint32_t)k;
    return 0;
}

/* Is the codec made for elements of this size? 1 also for what is no number at all. */
static bool fits(hs_codec codec, uint32_t element, uint32_t allowed)
{
    switch (codec) {
    case HS_CODEC_ZSTD:
        return allowed & HS__PK_ZSTD;
    case HS_CODEC_ZSTD_PLANES:
        return element == 2 && allowed & HS__PK_ZSTD;
    case HS_CODEC_EXPONENT_8:
        return element == 1 && allowed & HS__PK_EXPONENT;
    case HS_CODEC_EXPONENT_16:
        return element == 2 && allowed & HS__PK_EXPONENT;
    default:
        return false;
    }
}

static double weight(int codec, uint64_t bytes)
{
    return (double)bytes * (codec == HS_CODEC_EXPONENT_8 || codec == HS_CODEC_EXPONENT_16 ? PREFER_EXPONENT : 1);
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
    if (s->sample) {
        for (int c = 0; s->error == 0 && c < HS_CODEC_END; c++)
            if (fits((hs_codec)c, s->element, e->allowed))
                s->error = encode(e, thread, (hs_codec)c, raw, s->raw, stored, &s->tried[c]);
        return;
    }
    s->data = raw;
    s->stored = s->raw;
    if (s->codec != HS_CODEC_RAW) {
        s->error = encode(e, thread, s->codec, raw, s->raw, stored, &s->stored);
        s->data = stored;
    }
    if (s->error == 0)
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
                  .element = part->element,
                  .codec = codec};
}

/* ---- which codec ---- */

static int flush_samples(hs__pk_encoder *e, uint32_t *n, hs_err *err)
{
    int r = run_slots(e, *n, err);
    for (uint32_t i = 0; r == 0 && i < *n; i++) {
        const slot *s = &e->slots[i];
        e->sums[s->part][HS_CODEC_RAW] += s->raw;
        for (int c = HS_CODEC_RAW + 1; c < HS_CODEC_END; c++)
            e->sums[s->part][c] += s->tried[c];
    }
    *n = 0;
    return r;
}

/* From the sums of a part's sample. */
static hs_codec best_codec(const uint64_t sum[HS_CODEC_END])
{
    int best = HS_CODEC_RAW;
    for (int c = HS_CODEC_RAW + 1; c < HS_CODEC_END; c++)
        if (sum[c] && (best == HS_CODEC_RAW || weight(c, sum[c]) < weight(best, sum[best])))
            best = c;
    return (double)sum[best] > SAMPLE_HOPELESS * (double)sum[HS_CODEC_RAW] ? HS_CODEC_RAW : (hs_codec)best;
}

/* The codecs that a part may have: their number; the last one. */
static uint32_t candidates(const hs__pk_part *part, uint32_t allowed, hs_codec *ret_last)
{
    uint32_t n = 0;
    *ret_last = HS_CODEC_RAW;
    for (int c = 0; part->bytes >= SMALL_PART && c < HS_CODEC_END; c++)
        if (fits((hs_codec)c, part->element, allowed)) {
            *ret_last = (hs_codec)c;
            n++;
        }
    return n;
}

static int choose_codecs(hs__pk_encoder *e, const hs__pk_plan *p, const hs__pk_record *rec, uint32_t allowed,
                         hs_err *err)
{
    uint32_t n = 0;
    int r = 0;
    memset(e->sums, 0, rec->n_parts * sizeof *e->sums);
    e->allowed = allowed;
    for (uint32_t i = 0; r == 0 && i < rec->n_parts; i++) {
        const hs__pk_part *part = &p->parts[rec->first_part + i];
        uint32_t frames = hs__pk_n_frames(part->bytes), choice;
        hs_codec only;
        choice = candidates(part, allowed, &only);
        e->codecs[i] = (uint8_t)only;
        if (!choice || (choice == 1 && frames < SAMPLE_ONE_IN))
            continue; /* one codec and little work: trying it all is as good as a sample */
        uint32_t tries = frames / SAMPLE_ONE_IN;
        tries = tries < 1 ? 1 : tries > SAMPLE_MAX ? SAMPLE_MAX : tries;
        for (uint32_t k = 0; r == 0 && k < tries; k++) {
            uint32_t frame = (uint32_t)((uint64_t)frames * (2 * k + 1) / (2 * tries));
            e->slots[n] = slot_of(p, part, i, frame, HS_CODEC_RAW);
            e->slots[n].sample = true;
            if (++n == HS__PK_BATCH)
                r = flush_samples(e, &n, err);
        }
    }
    if (r == 0 && n)
        r = flush_samples(e, &n, err);
    for (uint32_t i = 0; r == 0 && i < rec->n_parts; i++)
        if (e->sums[i][HS_CODEC_RAW])
            e->codecs[i] = (uint8_t)best_codec(e->sums[i]);
    return r;
}

/* After a whole record: parts that did not get small enough become raw; so do all if the record did not. */
static bool correct_codecs(hs__pk_encoder *e, const hs__pk_record *rec)
{
    bool changed = false;
    uint64_t raw = 0, stored = 0;
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        const uint64_t *sum = e->sums[i];
        raw += sum[HS_CODEC_RAW];
        if ((double)sum[e->codecs[i]] > HS_PACK_RAW_RATIO * (double)sum[HS_CODEC_RAW]) {
            changed |= e->codecs[i] != HS_CODEC_RAW;
            e->codecs[i] = HS_CODEC_RAW;
        }
        stored += sum[e->codecs[i]];
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

/* One pass over a record with the codecs as they are, frames into sink. sink NULL: only the raw hash. */
static int pass(hs__pk_encoder *e, const hs__pk_plan *p, const hs__pk_record *rec, hs__pk_frame_sink sink, void *ctx,
                hs_err *err)
{
    cursor c = {0};
    int r = 0;
    XXH3_64bits_reset(e->raw_hash);
    XXH3_64bits_reset(e->stored_hash);
    if (sink)
        memset(e->sums, 0, rec->n_parts * sizeof *e->sums);
    for (uint32_t n; r == 0 && (n = fill(e, p, rec, &c, !sink)) > 0;) {
        read_ahead(p, rec, &c);
        r = run_slots(e, n, err);
        for (uint32_t i = 0; r == 0 && i < n; i++) {
            const slot *s = &e->slots[i];
            XXH3_64bits_update(e->raw_hash, e->raw + (size_t)i * HS_FRAME_RAW, s->raw);
            if (!sink)
                continue;
            XXH3_64bits_update(e->stored_hash, s->data, s->stored);
            e->sums[s->part][HS_CODEC_RAW] += s->raw;
            if (s->codec != HS_CODEC_RAW)
                e->sums[s->part][s->codec] += s->stored;
            r = sink(ctx, s->data, s->stored, s->check, err);
        }
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < n; i++)
            bytes += e->slots[i].bytes;
        if (r == 0)
            r = hs__pk_advance(e->w, bytes, err);
    }
    return r;
}

static int write_frame(void *ctx, const void *stored, uint32_t n, uint32_t check, hs_err *err)
{
    return hs__pk_writer_frame(ctx, stored, n, check, err);
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

int hs__pk_encode_record(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, uint32_t allowed, hs__pk_writer *out,
                         hs_err *err)
{
    const hs__pk_record *rec = &p->records[record];
    int r = need_parts(e, rec->n_parts, err);
    if (r == 0)
        r = choose_codecs(e, p, rec, allowed, err);
    uint64_t done = e->w->done;
    for (bool again = true; r == 0 && again;) {
        e->w->done = done;
        hs__pk_writer_begin(out, p, record, e->codecs);
        r = pass(e, p, rec, write_frame, out, err);
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
    int r = pass(e, p, &p->records[record], NULL, NULL, err);
    if (r == 0)
        *ret = XXH3_64bits_digest(e->raw_hash);
    return r;
}

int hs__pk_encode_again(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, const hs_shard_part *parts,
                        hs__pk_frame_sink sink, void *ctx, uint64_t *ret_stored, uint64_t *ret_raw, hs_err *err)
{
    const hs__pk_record *rec = &p->records[record];
    int r = need_parts(e, rec->n_parts, err);
    for (uint32_t i = 0; r == 0 && i < rec->n_parts; i++)
        e->codecs[i] = (uint8_t)parts[i].codec;
    if (r == 0)
        r = pass(e, p, rec, sink, ctx, err);
    if (r == 0) {
        *ret_stored = XXH3_64bits_digest(e->stored_hash);
        *ret_raw = XXH3_64bits_digest(e->raw_hash);
    }
    return r;
}

/* Decodes the frames in slots again and again: raw bytes per second of processor time, the best of some rounds. What
 * else the machine does at this moment must not choose the recipe. */
static int decode_speed(hs__pk_encoder *e, uint32_t n, hs_codec codec, hs_decoder *d, double *ret)
{
    int r = 0;
    *ret = 0;
    for (uint32_t round = 0; r == 0 && round < 5; round++) {
        uint64_t bytes = 0, begin = hs_thread_ns();
        for (uint32_t i = 0; r == 0 && i < n; i++) {
            const slot *s = &e->slots[i];
            r = hs__frame_decode(d, codec, s->check, s->data, s->stored, e->raw, s->raw);
            bytes += s->raw;
        }
        double speed = (double)bytes * 1e9 / (double)(hs_thread_ns() - begin + 1);
        *ret = speed > *ret ? speed : *ret;
    }
    return r;
}

int hs__pk_try(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t part, uint32_t allowed, hs__pk_trial *ret, hs_err *err)
{
    const hs__pk_part *x = &p->parts[part];
    uint32_t frames = hs__pk_n_frames(x->bytes), n = frames < 16 ? frames : 16;
    hs_decoder *d;
    int r = hs_decoder_create(&d, err);
    *ret = (hs__pk_trial){.ratio = 1};
    double best = HUGE_VAL;
    for (int c = 0; r == 0 && n && c < HS_CODEC_END; c++) {
        if (!fits((hs_codec)c, x->element, allowed))
            continue;
        uint64_t raw = 0, stored = 0;
        double speed;
        for (uint32_t i = 0; i < n; i++)
            e->slots[i] = slot_of(p, x, 0, i, (hs_codec)c);
        r = run_slots(e, n, err);
        if (r < 0)
            break;
        for (uint32_t i = 0; i < n; i++) {
            raw += e->slots[i].raw;
            stored += e->slots[i].stored;
        }
        r = decode_speed(e, n, (hs_codec)c, d, &speed);
        if (r < 0)
            hs_err_set(err, r, "%s: a frame cannot be decoded again", p->containers[x->source].path);
        else if (stored < raw && weight(c, stored) < best) {
            best = weight(c, stored);
            *ret = (hs__pk_trial){.ratio = (double)stored / (double)raw, .bytes_per_s = speed};
        }
    }
    hs_decoder_destroy(&d);
    return r;
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
    e->scratch = hs_malloc((size_t)e->threads * SCRATCH);
    e->raw = hs_malloc((size_t)HS__PK_BATCH * HS_FRAME_RAW);
    e->stored = hs_malloc((size_t)HS__PK_BATCH * HS_FRAME_MAX_STORED);
    e->raw_hash = XXH3_createState();
    e->stored_hash = XXH3_createState();
    bool ok = e->zstd && e->scratch && e->raw && e->stored && e->raw_hash && e->stored_hash;
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
    hs_free(e->scratch);
    hs_free(e->raw);
    hs_free(e->stored);
    hs_free(e->codecs);
    hs_free(e->sums);
    XXH3_freeState(e->raw_hash);
    XXH3_freeState(e->stored_hash);
    hs_free(e);
}
