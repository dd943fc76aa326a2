/* quant_int.h - shared by the files on ggml's block formats: a block of any of them in one form, and its codebooks. */
#ifndef HS_MATH_QUANT_INT_H
#define HS_MATH_QUANT_INT_H

#include "math/math_int.h"

#define HS__BLOCK_MAX 256u /* elements */
#define HS__GROUP     16u  /* elements that share a scale at least */

/*
 * w[i] = (d * scale[i / 16]) * q[i] - dmin * min[i / 16], rounded once, at the subtraction: the products are exact.
 * Only Q2_K, Q4_K, Q5_K, Q4_1 and Q5_1 have a dmin other than 0.
 */
typedef struct hs__block {
    int8_t q[HS__BLOCK_MAX];
    int16_t scale[HS__BLOCK_MAX / HS__GROUP], min[HS__BLOCK_MAX / HS__GROUP];
    float d, dmin;
} hs__block;

static inline int hs__is_quant(hs_dtype t)
{
    return hs_dtype_block(t) > 1;
}

static inline float hs__load_half(const void *p)
{
    return hs__f16_to_f32(hs__load_u16(p));
}

static inline uint32_t hs__load_u32(const void *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* 2^(e - 128) of MXFP4's scale byte e; a subnormal for 0 and 1. */
static inline float hs__e8m0_half(uint32_t e)
{
    uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The scale byte of MXFP4_PAIRS' block (r, k); those of the same row follow. */
static inline const unsigned char *hs__e8m0_at(const hs_mat *w, uint32_t r, uint32_t k)
{
    return (const unsigned char *)w->scale + (size_t)r * (1 + w->skip) * (w->cols / 32) + k / 32;
}

/* S_s and M_s, eight of each, from the 12 bytes of Q4_K and Q5_K; 6 bits each. */
static inline void hs__k_scales(const unsigned char *p, uint8_t *scale, uint8_t *min)
{
    for (uint32_t s = 0; s < 4; s++) {
        scale[s] = p[s] & 63;
        min[s] = p[s + 4] & 63;
        scale[s + 4] = (uint8_t)((p[s + 8] & 15) | (p[s] >> 6) << 4);
        min[s + 4] = (uint8_t)(p[s + 8] >> 4 | (p[s + 4] >> 6) << 4);
    }
}

/* Decodes one block, any bytes; fills what hs_dtype_block elements need, of MXFP4_PAIRS without d. */
typedef void (*hs__unpack_fn)(const unsigned char *p, hs__block *b);
void hs__unpack_q4_0(const unsigned char *p, hs__block *b);
void hs__unpack_q4_1(const unsigned char *p, hs__block *b);
void hs__unpack_q5_0(const unsigned char *p, hs__block *b);
void hs__unpack_q5_1(const unsigned char *p, hs__block *b);
void hs__unpack_q8_0(const unsigned char *p, hs__block *b);
void hs__unpack_iq4_nl(const unsigned char *p, hs__block *b);
void hs__unpack_mxfp4(const unsigned char *p, hs__block *b);
void hs__unpack_mxfp4_pairs(const unsigned char *p, hs__block *b);
void hs__unpack_q2_k(const unsigned char *p, hs__block *b);
void hs__unpack_q3_k(const unsigned char *p, hs__block *b);
void hs__unpack_q4_k(const unsigned char *p, hs__block *b);
void hs__unpack_q5_k(const unsigned char *p, hs__block *b);
void hs__unpack_q6_k(const unsigned char *p, hs__block *b);
void hs__unpack_tq1_0(const unsigned char *p, hs__block *b);
void hs__unpack_tq2_0(const unsigned char *p, hs__block *b);
void hs__unpack_iq1_s(const unsigned char *p, hs__block *b);
void hs__unpack_iq1_m(const unsigned char *p, hs__block *b);
void hs__unpack_iq2_xxs(const unsigned char *p, hs__block *b);
void hs__unpack_iq2_xs(const unsigned char *p, hs__block *b);
void hs__unpack_iq2_s(const unsigned char *p, hs__block *b);
void hs__unpack_iq3_xxs(const unsigned char *p, hs__block *b);
void hs__unpack_iq3_s(const unsigned char *p, hs__block *b);
void hs__unpack_iq4_xs(const unsigned char *p, hs__block *b);

/* Block (r, k) of a matrix, k a multiple of its size. */
void hs__unpack_at(const hs_mat *w, uint32_t r, uint32_t k, hs__block *b);

/* out[k - col0] = w[row][k] for k in [col0, col1), any columns. */
void hs__dequant_span_quant(const hs_mat *w, uint32_t row, uint32_t col0, uint32_t col1, float *out);

/*
 * A row of n 8-bit activations: n elements; the int16 sums of each 16 of them, in each block those of even number
 * before those of odd number (as AVX2 wants them); a float32 for each block, the value of 1.
 */
static inline uint32_t hs__act_block(hs_act a)
{
    return a == HS_ACT_Q8_32 ? 32 : 256;
}

static inline const int16_t *hs__act_sums(const void *row, uint32_t n)
{
    return (const int16_t *)(const void *)((const char *)row + n);
}

static inline const float *hs__act_scales(const void *row, uint32_t n)
{
    return (const float *)(const void *)((const char *)row + n + n / HS__GROUP * sizeof(int16_t));
}

/* Where the sum of group g of a block of n elements is. */
static inline uint32_t hs__act_sum_at(uint32_t g, uint32_t n)
{
    return (g & 1) * (n / HS__GROUP / 2) + g / 2;
}

/* Largest magnitude that is not taken for 0 (127 / x must be finite). */
#define HS__ACT_TINY 1e-35f

void hs__quantise(hs_act a, const float *x, uint32_t n, void *row);
void hs__matvec_q8(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                   float *const *y);

/* Values of the 4-bit codes. */
extern const int8_t hs__iq4_values[16], hs__mxfp4_values[16];

/* iq_grids.c: magnitudes as bytes, in IQ1 eight times -1, 0 or 1, plus 8; signs as 1 and -1. */
extern const uint64_t hs__iq1_grid[2048], hs__iq2xxs_grid[256], hs__iq2xs_grid[512], hs__iq2s_grid[1024];
extern const uint32_t hs__iq3xxs_grid[256], hs__iq3s_grid[512];
extern const uint64_t hs__iq_signs[128];
/* Some of the codebooks with 2 bits for each magnitude, IQ3 3 bits; 64-byte-aligned. */
extern const uint16_t hs__iq2xxs_codes[256], hs__iq2xs_codes[512];
extern const uint16_t hs__iq3xxs_codes[256], hs__iq3s_codes[512];

#endif
