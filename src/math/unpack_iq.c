/*
 * unpack_iq.c - blocks of 256 by codebook: IQ1, IQ2, IQ3 (iq_grids.c) and IQ4_XS.
 * Scales of the form 0.5 + n are kept as 2n + 1, and IQ1's steps of 1/8 as integers: d has the powers of two.
 */
#include "math/quant_int.h"

#define GROUPS (HS__BLOCK_MAX / HS__GROUP)

static void finish(hs__block *b, float d)
{
    memset(b->min, 0, sizeof b->min);
    b->dmin = 0;
    b->d = d;
}

/* Eight elements: magnitudes with the signs of a byte. */
static void put8(int8_t *q, uint64_t magnitudes, uint32_t signs)
{
    memcpy(q, &magnitudes, 8); /* little-endian, as every file format here */
    for (uint32_t i = 0; i < 8; i++)
        q[i] = (int8_t)(signs >> i & 1 ? -q[i] : q[i]);
}

static void put4(int8_t *q, uint32_t magnitudes, uint32_t signs)
{
    memcpy(q, &magnitudes, 4);
    for (uint32_t i = 0; i < 4; i++)
        q[i] = (int8_t)(signs >> i & 1 ? -q[i] : q[i]);
}

/* The eighth sign that makes their number even. */
static uint32_t with_parity(uint32_t signs)
{
    signs &= 127;
    return signs | (uint32_t)__builtin_parity(signs) << 7;
}

void hs__unpack_iq2_xxs(const unsigned char *p, hs__block *b)
{
    for (uint32_t s = 0; s < 8; s++) {
        const unsigned char *q = p + 2 + 8 * s;
        uint32_t bits = hs__load_u32(q + 4);
        for (uint32_t i = 0; i < 4; i++)
            put8(b->q + 32 * s + 8 * i, hs__iq2xxs_grid[q[i]], with_parity(bits >> 7 * i));
        b->scale[2 * s] = b->scale[2 * s + 1] = (int16_t)(2 * (bits >> 28) + 1);
    }
    finish(b, hs__load_half(p) * 0.125f);
}

/* Sixteen scales of 4 bits. */
static void nibble_scales(const unsigned char *p, hs__block *b)
{
    for (uint32_t g = 0; g < GROUPS; g++)
        b->scale[g] = (int16_t)(2 * (p[g / 2] >> (g & 1) * 4 & 15) + 1);
}

void hs__unpack_iq2_xs(const unsigned char *p, hs__block *b)
{
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t code = hs__load_u16(p + 2 + 2 * i);
        put8(b->q + 8 * i, hs__iq2xs_grid[code & 511], with_parity(code >> 9));
    }
    nibble_scales(p + 66, b);
    finish(b, hs__load_half(p) * 0.125f);
}

void hs__unpack_iq2_s(const unsigned char *p, hs__block *b)
{
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t high = p[66 + i / 4] >> i % 4 * 2 & 3;
        put8(b->q + 8 * i, hs__iq2s_grid[p[2 + i] | high << 8], p[34 + i]);
    }
    nibble_scales(p + 74, b);
    finish(b, hs__load_half(p) * 0.125f);
}

void hs__unpack_iq3_xxs(const unsigned char *p, hs__block *b)
{
    for (uint32_t s = 0; s < 8; s++) {
        uint32_t bits = hs__load_u32(p + 66 + 4 * s);
        for (uint32_t i = 0; i < 8; i++)
            put4(b->q + 32 * s + 4 * i, hs__iq3xxs_grid[p[2 + 8 * s + i]],
                 with_parity(bits >> i / 2 * 7) >> (i & 1) * 4);
        b->scale[2 * s] = b->scale[2 * s + 1] = (int16_t)(2 * (bits >> 28) + 1);
    }
    finish(b, hs__load_half(p) * 0.25f);
}

void hs__unpack_iq3_s(const unsigned char *p, hs__block *b)
{
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t high = p[66 + i / 8] >> i % 8 & 1;
        put4(b->q + 4 * i, hs__iq3s_grid[p[2 + i] | high << 8], (uint32_t)p[74 + i / 2] >> (i & 1) * 4);
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        b->scale[g] = (int16_t)(2 * (p[106 + g / 4] >> (g / 2 & 1) * 4 & 15) + 1);
    finish(b, hs__load_half(p));
}

/* Eight elements of IQ1, eight times -1, 0 or 1, plus or minus 1. */
static void put_ternary(int8_t *q, uint32_t code, int minus)
{
    memcpy(q, &hs__iq1_grid[code], 8);
    for (uint32_t i = 0; i < 8; i++)
        q[i] = (int8_t)(q[i] - 8 + (minus ? -1 : 1));
}

void hs__unpack_iq1_s(const unsigned char *p, hs__block *b)
{
    for (uint32_t s = 0; s < 8; s++) {
        uint32_t high = hs__load_u16(p + 34 + 2 * s);
        for (uint32_t i = 0; i < 4; i++)
            put_ternary(b->q + 32 * s + 8 * i, p[2 + 4 * s + i] | (high >> 3 * i & 7) << 8, high >> 15);
        b->scale[2 * s] = b->scale[2 * s + 1] = (int16_t)(2 * (high >> 12 & 7) + 1);
    }
    finish(b, hs__load_half(p) * 0.125f);
}

void hs__unpack_iq1_m(const unsigned char *p, hs__block *b)
{
    const unsigned char *high = p + 32, *scales = p + 48;
    uint16_t d = 0;
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t h = high[i / 2] >> (i & 1) * 4;
        put_ternary(b->q + 8 * i, p[i] | (h & 7) << 8, h >> 3 & 1);
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        b->scale[g] = (int16_t)(2 * (hs__load_u16(scales + g / 4 * 2) >> g % 4 * 3 & 7) + 1);
    for (uint32_t i = 0; i < 4; i++)
        d = (uint16_t)(d | (hs__load_u16(scales + 2 * i) >> 12) << 4 * i);
    finish(b, hs__f16_to_f32(d) * 0.125f);
}

void hs__unpack_iq4_xs(const unsigned char *p, hs__block *b)
{
    uint32_t high = hs__load_u16(p + 2);
    for (uint32_t s = 0; s < 8; s++) {
        const unsigned char *q = p + 8 + 16 * s;
        for (uint32_t j = 0; j < 16; j++) {
            b->q[32 * s + j] = hs__iq4_values[q[j] & 15];
            b->q[32 * s + 16 + j] = hs__iq4_values[q[j] >> 4];
        }
        int scale = (p[4 + s / 2] >> (s & 1) * 4 & 15) | (int)(high >> 2 * s & 3) << 4;
        b->scale[2 * s] = b->scale[2 * s + 1] = (int16_t)(scale - 32);
    }
    finish(b, hs__load_half(p));
}
