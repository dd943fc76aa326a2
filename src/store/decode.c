/*
 * decode.c - frames back to bytes. A decoder is one thread's scratch: a zstd context, and a frame of planes or the
 * levels of exponents. The output size is fixed by the table, not by the frame, so hostile frames cannot write past it.
 */
#include "store/decode.h"

#include <string.h>
#include <zstd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "store/exponent_int.h"

#define ZSTD_CONTEXT_BYTES (192u << 10) /* at most, as libzstd 1.4 to 1.5 report it (95 to 160 KB) */

struct hs_decoder {
    ZSTD_DCtx *zstd;
    uint8_t scratch[HS__EXPONENT_SCRATCH];
};
static_assert(HS__EXPONENT_SCRATCH >= HS_FRAME_RAW, "planes fit");

int hs_decoder_create(hs_decoder **ret, hs_err *err)
{
    hs_decoder *d = hs_calloc(1, sizeof *d);
    if (d)
        d->zstd = ZSTD_createDCtx();
    if (!d || !d->zstd) {
        hs_decoder_destroy(&d);
        return hs_err_set(err, -ENOMEM, "decoder: out of memory");
    }
    *ret = d;
    return 0;
}

void hs_decoder_destroy(hs_decoder **d)
{
    if (*d)
        ZSTD_freeDCtx((*d)->zstd);
    hs_free(*d);
    *d = NULL;
}

uint64_t hs_decoder_bytes(void)
{
    return sizeof(hs_decoder) + ZSTD_CONTEXT_BYTES;
}

static int inflate(hs_decoder *d, const void *stored, uint32_t stored_bytes, void *raw, uint32_t raw_bytes)
{
    size_t n = ZSTD_decompressDCtx(d->zstd, raw, raw_bytes, stored, stored_bytes);
    return ZSTD_isError(n) || n != raw_bytes ? -EBADMSG : 0;
}

/* planes: n high bytes, then n low bytes -> little-endian 2-byte elements. */
static void join_planes(const uint8_t *planes, uint8_t *raw, uint32_t n)
{
    const uint8_t *hi = planes, *lo = planes + n;
    for (uint32_t i = 0; i < n; i++) {
        raw[2 * i] = lo[i];
        raw[2 * i + 1] = hi[i];
    }
}

int hs__frame_decode(hs_decoder *d, hs_codec codec, uint32_t check, const void *stored, uint32_t stored_bytes,
                     void *raw, uint32_t raw_bytes)
{
    if ((uint32_t)XXH3_64bits(stored, stored_bytes) != check)
        return -EBADMSG;
    int r;
    switch (codec) {
    case HS_CODEC_RAW:
        if (stored_bytes != raw_bytes)
            return -EBADMSG;
        if (raw != stored)
            memcpy(raw, stored, raw_bytes);
        return 0;
    case HS_CODEC_ZSTD:
        return inflate(d, stored, stored_bytes, raw, raw_bytes);
    case HS_CODEC_ZSTD_PLANES:
        if (raw_bytes % 2 || raw_bytes > HS_FRAME_RAW)
            return -EBADMSG;
        r = inflate(d, stored, stored_bytes, d->scratch, raw_bytes);
        if (r == 0)
            join_planes(d->scratch, raw, raw_bytes / 2);
        return r;
    case HS_CODEC_EXPONENT_8:
    case HS_CODEC_EXPONENT_16:
        if (stored_bytes != raw_bytes)
            return hs__exponent_decode(NULL, codec, stored, stored_bytes, d->scratch, raw, raw_bytes);
        memcpy(raw, stored, raw_bytes); /* the frame would not get smaller */
        return 0;
    case HS_CODEC_END:
        break;
    }
    return -EBADMSG;
}
