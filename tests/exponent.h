/* exponent.h - frames with ranked exponents, written element by element as hotset/shard_format.h says; slow, and
 * independent of the packer. For tests, benches and fuzzing. */
#ifndef HS_TESTS_EXPONENT_H
#define HS_TESTS_EXPONENT_H

#include <string.h>

#include "hotset/shard_format.h"

#define EXPONENT_MOST (2u * HS_FRAME_RAW + 4096u) /* of what exponent_write writes */

/* raw: n elements of `width` bytes. symbol: the ranking; NULL = by frequency, ties by value. Returns the stored bytes,
 * at most EXPONENT_MOST, whether it got smaller or not. */
static inline uint32_t exponent_write(const uint8_t *raw, uint32_t width, uint32_t n, uint8_t (*symbol)[3],
                                      uint8_t *out)
{
    static uint8_t exponent[HS_FRAME_RAW];
    hs_exponent_frame h = {.elements = n};
    uint32_t count[256] = {0}, groups = (n + 255) / 256, at = sizeof h + groups * (width == 1 ? 128 : 256), left = n;
    memset(out, 0, at);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t x = width == 1 ? raw[i] : (uint32_t)(raw[2 * i] | raw[2 * i + 1] << 8);
        exponent[i] = (uint8_t)(width == 1 ? x >> 3 & 15 : x >> 7 & 255);
        count[exponent[i]]++;
        if (width == 2)
            out[sizeof h + i] = (uint8_t)(x >> 8 & 128) | (x & 127);
        else
            out[sizeof h + i / 128 * 64 + i % 64] |= (uint8_t)(((x >> 4 & 8) | (x & 7)) << (i / 64 % 2 * 4));
    }
    for (uint32_t k = 0; k < 12; k++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < 256; e++)
            best = count[e] > count[best] ? e : best;
        h.symbol[k / 3][k % 3] = symbol ? symbol[k / 3][k % 3] : count[best] ? (uint8_t)best : 0;
        count[best] = 0;
    }
    for (uint32_t k = 0; k < HS_EXPONENT_LEVELS; k++) {
        uint32_t m = 0, bytes = (left + 255) / 256 * 64;
        memset(out + at, 0, bytes);
        for (uint32_t i = 0; i < left; i++) {
            uint32_t c = 0;
            while (c < 3 && h.symbol[k][c] != exponent[i])
                c++;
            out[at + i / 256 * 64 + i % 64] |= (uint8_t)(c << (i % 256 / 64 * 2));
            if (c == 3)
                exponent[m++] = exponent[i];
        }
        at += bytes;
        left = h.escapes[k] = m;
    }
    memcpy(out + at, exponent, left);
    memcpy(out, &h, sizeof h);
    return at + left;
}

#endif
