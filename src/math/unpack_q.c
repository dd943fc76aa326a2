/* unpack_q.c - blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4. Byte j of the nibbles is elements j, j + 16;
 * of MXFP4_PAIRS, 2 j and 2 j + 1. */
#include "math/quant_int.h"

const int8_t hs__iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t hs__mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void finish(hs__block *b, float d, float dmin)
{
    b->scale[0] = b->scale[1] = 1;
    b->min[0] = b->min[1] = 1;
    b->d = d;
    b->dmin = dmin;
}

/* 4 bits from q and, unless high is 0, a fifth from it, less bias. */
static void nibbles(const unsigned char *q, uint32_t high, int bias, hs__block *b)
{
    for (uint32_t j = 0; j < 16; j++) {
        b->q[j] = (int8_t)((int)((q[j] & 15u) | (high >> j & 1) << 4) - bias);
        b->q[j + 16] = (int8_t)((int)(q[j] >> 4 | (high >> (j + 16) & 1) << 4) - bias);
    }
}

static void look_up(const unsigned char *q, const int8_t *values, hs__block *b)
{
    for (uint32_t j = 0; j < 16; j++) {
        b->q[j] = values[q[j] & 15];
        b->q[j + 16] = values[q[j] >> 4];
    }
}

void hs__unpack_q4_0(const unsigned char *p, hs__block *b)
{
    nibbles(p + 2, 0, 8, b);
    finish(b, hs__load_half(p), 0);
}

void hs__unpack_q4_1(const unsigned char *p, hs__block *b)
{
    nibbles(p + 4, 0, 0, b);
    finish(b, hs__load_half(p), -hs__load_half(p + 2));
}

void hs__unpack_q5_0(const unsigned char *p, hs__block *b)
{
    nibbles(p + 6, hs__load_u32(p + 2), 16, b);
    finish(b, hs__load_half(p), 0);
}

void hs__unpack_q5_1(const unsigned char *p, hs__block *b)
{
    nibbles(p + 8, hs__load_u32(p + 4), 0, b);
    finish(b, hs__load_half(p), -hs__load_half(p + 2));
}

void hs__unpack_q8_0(const unsigned char *p, hs__block *b)
{
    memcpy(b->q, p + 2, 32);
    finish(b, hs__load_half(p), 0);
}

void hs__unpack_iq4_nl(const unsigned char *p, hs__block *b)
{
    look_up(p + 2, hs__iq4_values, b);
    finish(b, hs__load_half(p), 0);
}

void hs__unpack_mxfp4(const unsigned char *p, hs__block *b)
{
    look_up(p + 1, hs__mxfp4_values, b);
    finish(b, hs__e8m0_half(p[0]), 0);
}

void hs__unpack_mxfp4_pairs(const unsigned char *p, hs__block *b)
{
    for (uint32_t j = 0; j < 16; j++) {
        b->q[2 * j] = hs__mxfp4_values[p[j] & 15];
        b->q[2 * j + 1] = hs__mxfp4_values[p[j] >> 4];
    }
    finish(b, 0, 0);
}
