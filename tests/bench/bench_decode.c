/* rooms: store */
/*
 * bench_decode.c - how fast one core checks and expands frames, per codec: raw bytes per second on BF16-like values,
 * and for exponent_8 on FP8-like ones. Prints one line of JSON. A drive is the bottleneck while what the cores decode
 * exceeds its bytes/s over the ratio.
 */
#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "../exponent.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/decode.h"

#define FRAMES 64u

/* Sums of uniform numbers: the exponents of trained weights are spread like these, the mantissas are noise. */
static void fill_bf16(uint8_t *out, uint32_t n)
{
    uint64_t s = 88172645463325252u;
    for (uint32_t i = 0; i < n; i++) {
        float v = 0;
        for (int k = 0; k < 4; k++) {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            v += (float)((int64_t)s >> 40) * 1e-9f;
        }
        uint32_t bits;
        memcpy(&bits, &v, 4);
        out[2 * i] = (uint8_t)(bits >> 16);
        out[2 * i + 1] = (uint8_t)(bits >> 24);
    }
}

/* The same values as e4m3 with the biggest exponents in use. */
static void fill_fp8(uint8_t *out, const uint8_t *bf16, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t x = (uint32_t)(bf16[2 * i] | bf16[2 * i + 1] << 8), e = x >> 7 & 255;
        e = e > 105 ? e - 105 : 0; /* 2^-7 is the biggest that fill_bf16 makes */
        out[i] = (uint8_t)(x >> 8 & 128) | (uint8_t)((e < 15 ? e : 15) << 3) | (x >> 4 & 7);
    }
}

static uint32_t encode(hs_codec codec, const uint8_t *raw, uint8_t *stored)
{
    static uint8_t planes[HS_FRAME_RAW];
    if (codec == HS_CODEC_RAW) {
        memcpy(stored, raw, HS_FRAME_RAW);
        return HS_FRAME_RAW;
    }
    if (codec == HS_CODEC_EXPONENT_8 || codec == HS_CODEC_EXPONENT_16) {
        uint32_t width = codec == HS_CODEC_EXPONENT_8 ? 1 : 2;
        return exponent_write(raw, width, HS_FRAME_RAW / width, NULL, stored);
    }
    for (uint32_t i = 0; i < HS_FRAME_RAW / 2; i++) {
        planes[i] = raw[2 * i + 1];
        planes[HS_FRAME_RAW / 2 + i] = raw[2 * i];
    }
    return (uint32_t)ZSTD_compress(stored, HS_FRAME_MAX_STORED, codec == HS_CODEC_ZSTD ? raw : planes, HS_FRAME_RAW, 1);
}

int main(void)
{
    static const char *const names[] = {"raw", "zstd", "zstd_planes", "exponent_8", "exponent_16"};
    uint8_t *raw = hs_malloc(FRAMES * HS_FRAME_RAW), *stored = hs_malloc(FRAMES * EXPONENT_MOST);
    uint8_t *out = hs_malloc(FRAMES * HS_FRAME_RAW), *fp8 = hs_malloc(FRAMES * HS_FRAME_RAW);
    uint32_t bytes[FRAMES], check[FRAMES];
    hs_decoder *d;
    if (!raw || !stored || !out || !fp8 || hs_decoder_create(&d, NULL) < 0)
        return 1;
    fill_bf16(raw, FRAMES * HS_FRAME_RAW / 2);
    fill_fp8(fp8, raw, FRAMES * HS_FRAME_RAW / 2);
    memcpy(fp8 + FRAMES * HS_FRAME_RAW / 2, fp8, FRAMES * HS_FRAME_RAW / 2);
    for (int c = HS_CODEC_RAW; c < HS_CODEC_END; c++) {
        const uint8_t *from = c == HS_CODEC_EXPONENT_8 ? fp8 : raw;
        uint64_t total = 0, best = UINT64_MAX;
        for (uint32_t f = 0; f < FRAMES; f++) {
            uint8_t *p = stored + f * EXPONENT_MOST;
            total += bytes[f] = encode((hs_codec)c, from + f * HS_FRAME_RAW, p);
            check[f] = (uint32_t)XXH3_64bits(p, bytes[f]);
        }
        for (int round = 0; round < 8; round++) {
            uint64_t begin = hs_now_ns();
            for (uint32_t f = 0; f < FRAMES; f++) {
                const uint8_t *p = stored + f * EXPONENT_MOST;
                if (hs__frame_decode(d, (hs_codec)c, check[f], p, bytes[f], out + f * HS_FRAME_RAW, HS_FRAME_RAW) < 0)
                    return 1;
            }
            uint64_t took = hs_now_ns() - begin;
            best = took < best ? took : best;
        }
        printf("%s\"%s_bytes_per_s\":%.0f,\"%s_ratio\":%.3f%s", c ? "," : "{", names[c],
               (double)FRAMES * HS_FRAME_RAW / ((double)best / 1e9), names[c],
               (double)total / (FRAMES * (double)HS_FRAME_RAW), c + 1 == HS_CODEC_END ? "}\n" : "");
    }
    hs_decoder_destroy(&d);
    hs_free(raw);
    hs_free(stored);
    hs_free(out);
    hs_free(fp8);
    return 0;
}
