/*
 * exponent.c - writes frames with ranked exponents (layout: hotset/shard_format.h). Sizes are known from a histogram
 * before anything is coded. Depends on the frame's bytes alone.
 */
#include <string.h>

#include "pack/pack_int.h"

#define GROUP   HS_EXPONENT_GROUP
#define SYMBOLS (3 * HS_EXPONENT_LEVELS)

/* Takes n elements apart: exponents, and the rest, a byte each. */
static void take_apart(const uint8_t *restrict raw, uint32_t width, uint32_t n, uint8_t *restrict exponents,
                       uint8_t *restrict rest)
{
    if (width == 1)
        for (uint32_t i = 0; i < n; i++) {
            exponents[i] = raw[i] >> 3 & 15;
            rest[i] = (uint8_t)((raw[i] >> 4 & 8) | (raw[i] & 7));
        }
    else
        for (uint32_t i = 0; i < n; i++) {
            exponents[i] = (uint8_t)(raw[2 * i] >> 7 | raw[2 * i + 1] << 1);
            rest[i] = (raw[2 * i + 1] & 128) | (raw[2 * i] & 127);
        }
}

static void count_exponents(const uint8_t *exponents, uint32_t n, uint32_t count[256])
{
    uint32_t other[256] = {0}; /* two counters: neighbours are often equal */
    uint32_t i = 0;
    for (; i + 1 < n; i += 2) {
        count[exponents[i]]++;
        other[exponents[i + 1]]++;
    }
    if (i < n)
        count[exponents[i]]++;
    for (uint32_t e = 0; e < 256; e++)
        count[e] += other[e];
}

/* The commonest exponents, ties by value; rank[e] for each exponent, SYMBOLS for those that have none. */
static void rank_exponents(const uint32_t count[256], hs_exponent_frame *h, uint8_t rank[256], uint32_t n)
{
    bool taken[256] = {false};
    memset(rank, SYMBOLS, 256);
    for (uint32_t k = 0; k < SYMBOLS; k++) {
        uint32_t best = 256;
        for (uint32_t e = 0; e < 256; e++)
            if (!taken[e] && count[e] && (best == 256 || count[e] > count[best]))
                best = e;
        if (best < 256) {
            taken[best] = true;
            rank[best] = (uint8_t)k;
            h->symbol[k / 3][k % 3] = (uint8_t)best;
            n -= count[best];
        }
        h->escapes[k / 3] = n;
    }
}

static uint32_t groups_of(uint32_t n)
{
    return (n + GROUP - 1) / GROUP;
}

/* The rest of n elements as it is stored: two in a byte where it is 4 bits. */
static void write_rest(const uint8_t *rest, uint32_t width, uint32_t n, uint8_t *out)
{
    if (width == 2) {
        memcpy(out, rest, n);
        return;
    }
    uint8_t last[GROUP / 2];
    for (uint32_t at = 0; at < n; at += GROUP / 2, out += GROUP / 4, rest += GROUP / 2) {
        const uint8_t *from = rest;
        if (n - at < GROUP / 2) {
            memset(last, 0, sizeof last);
            from = memcpy(last, rest, n - at);
        }
        for (uint32_t i = 0; i < 64; i++)
            out[i] = (uint8_t)(from[i] | from[i + 64] << 4);
    }
}

/* Codes of one level for n exponents; those of later levels are moved to the front of `exponents`. */
static void write_level(uint32_t level, uint8_t *exponents, uint32_t n, const uint8_t rank[256], uint8_t *out)
{
    uint8_t codes[256], c[GROUP];
    for (uint32_t e = 0; e < 256; e++)
        codes[e] = rank[e] < 3 * level + 3 ? (uint8_t)(rank[e] - 3 * level) : 3;
    uint32_t m = 0;
    for (uint32_t at = 0; at < n; at += GROUP, out += GROUP / 4) {
        uint32_t k = n - at < GROUP ? n - at : GROUP;
        if (k < GROUP)
            memset(c, 0, sizeof c);
        for (uint32_t i = 0; i < k; i++) {
            uint8_t e = exponents[at + i];
            c[i] = codes[e];
            exponents[m] = e;
            m += c[i] == 3;
        }
        for (uint32_t i = 0; i < 64; i++)
            out[i] = (uint8_t)(c[i] | c[i + 64] << 2 | c[i + 128] << 4 | c[i + 192] << 6);
    }
}

uint32_t hs__pk_exponent_frame(hs_codec codec, const uint8_t *raw, uint32_t raw_bytes, uint8_t *scratch, uint8_t *out)
{
    uint32_t width = codec == HS_CODEC_EXPONENT_8 ? 1 : 2, n = raw_bytes / width, count[256] = {0};
    uint8_t rank[256], *exponents = scratch, *apart = scratch + HS_FRAME_RAW;
    hs_exponent_frame h = {.elements = n};
    take_apart(raw, width, n, exponents, apart);
    count_exponents(exponents, n, count);
    rank_exponents(count, &h, rank, n);
    uint32_t rest = groups_of(n) * (width == 1 ? GROUP / 2 : GROUP),
             total = sizeof h + rest + groups_of(n) * (GROUP / 4);
    for (uint32_t k = 0; k + 1 < HS_EXPONENT_LEVELS; k++)
        total += groups_of(h.escapes[k]) * (GROUP / 4);
    total += h.escapes[HS_EXPONENT_LEVELS - 1];
    if (h.escapes[0] > n / 2 || total >= raw_bytes) {
        memcpy(out, raw, raw_bytes);
        return raw_bytes;
    }
    memset(out, 0, total);
    memcpy(out, &h, sizeof h);
    write_rest(apart, width, n, out + sizeof h);
    uint8_t *at = out + sizeof h + rest;
    for (uint32_t k = 0, left = n; k < HS_EXPONENT_LEVELS; left = h.escapes[k++]) {
        write_level(k, exponents, left, rank, at);
        at += groups_of(left) * (GROUP / 4);
    }
    memcpy(at, exponents, h.escapes[HS_EXPONENT_LEVELS - 1]);
    return total;
}
