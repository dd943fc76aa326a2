/* unpack_k.c - blocks of 256 with scales of their own inside: Q2_K to Q6_K; and the ternary TQ1_0 and TQ2_0. */
#include "math/quant_int.h"

#define GROUPS (HS__BLOCK_MAX / HS__GROUP)

static void no_min(hs__block *b)
{
    memset(b->min, 0, sizeof b->min);
    b->dmin = 0;
}

/* 64 bytes as 2 x 4 x 32 codes of 2 bits. */
static void pairs_of_bits(const unsigned char *q, int bias, int8_t *out)
{
    for (uint32_t i = 0; i < HS__BLOCK_MAX; i++)
        out[i] = (int8_t)((q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3) - bias);
}

void hs__unpack_q2_k(const unsigned char *p, hs__block *b)
{
    pairs_of_bits(p + 16, 0, b->q);
    for (uint32_t s = 0; s < GROUPS; s++) {
        b->scale[s] = p[s] & 15;
        b->min[s] = p[s] >> 4;
    }
    b->d = hs__load_half(p + 80);
    b->dmin = hs__load_half(p + 82);
}

void hs__unpack_q3_k(const unsigned char *p, hs__block *b)
{
    const unsigned char *s = p + 96;
    pairs_of_bits(p + 32, 4, b->q);
    for (uint32_t i = 0; i < HS__BLOCK_MAX; i++)
        b->q[i] = (int8_t)(b->q[i] + (p[i % 32] >> i / 32 & 1) * 4);
    for (uint32_t g = 0; g < GROUPS; g++) {
        int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
        b->scale[g] = (int16_t)((low | (s[8 + g % 4] >> g / 4 * 2 & 3) << 4) - 32);
    }
    b->d = hs__load_half(p + 108);
    no_min(b);
}

/* Scales, minimums and low nibbles, which Q4_K and Q5_K share. */
static void four_bits(const unsigned char *p, const unsigned char *q, hs__block *b)
{
    uint8_t scale[8], min[8];
    hs__k_scales(p + 4, scale, min);
    for (uint32_t g = 0; g < GROUPS; g++) {
        b->scale[g] = scale[g / 2];
        b->min[g] = min[g / 2];
    }
    for (uint32_t i = 0; i < HS__BLOCK_MAX; i++)
        b->q[i] = (int8_t)(q[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15);
    b->d = hs__load_half(p);
    b->dmin = hs__load_half(p + 2);
}

void hs__unpack_q4_k(const unsigned char *p, hs__block *b)
{
    four_bits(p, p + 16, b);
}

void hs__unpack_q5_k(const unsigned char *p, hs__block *b)
{
    four_bits(p, p + 48, b);
    for (uint32_t i = 0; i < HS__BLOCK_MAX; i++)
        b->q[i] = (int8_t)(b->q[i] | (p[16 + i % 32] >> i / 32 & 1) << 4);
}

void hs__unpack_q6_k(const unsigned char *p, hs__block *b)
{
    const unsigned char *high = p + 128;
    for (uint32_t i = 0; i < HS__BLOCK_MAX; i++) {
        uint32_t h = i / 128, g = i % 128 / 32, j = i % 32;
        int low = p[64 * h + 32 * (g & 1) + j] >> g / 2 * 4 & 15;
        b->q[i] = (int8_t)((low | (high[32 * h + j] >> 2 * g & 3) << 4) - 32);
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        b->scale[g] = (int16_t)((p[192 + g] ^ 0x80) - 0x80); /* sign extension */
    b->d = hs__load_half(p + 208);
    no_min(b);
}

static void one_scale(hs__block *b, float d)
{
    for (uint32_t g = 0; g < GROUPS; g++)
        b->scale[g] = 1;
    b->d = d;
    no_min(b);
}

/* Digit i of a byte that holds five, as the fraction byte / 256 in base 3. */
static int8_t trit(unsigned char byte, uint32_t i)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (int8_t)(((uint8_t)(byte * power[i]) * 3 >> 8) - 1);
}

void hs__unpack_tq1_0(const unsigned char *p, hs__block *b)
{
    for (uint32_t i = 0; i < 160; i++)
        b->q[i] = trit(p[i % 32], i / 32);
    for (uint32_t i = 0; i < 80; i++)
        b->q[160 + i] = trit(p[32 + i % 16], i / 16);
    for (uint32_t i = 0; i < 16; i++)
        b->q[240 + i] = trit(p[48 + i % 4], i / 4);
    one_scale(b, hs__load_half(p + 52));
}

void hs__unpack_tq2_0(const unsigned char *p, hs__block *b)
{
    pairs_of_bits(p, 1, b->q);
    one_scale(b, hs__load_half(p + 64));
}
