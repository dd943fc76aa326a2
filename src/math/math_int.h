/* math_int.h - shared inside src/math. */
#ifndef HS_MATH_MATH_INT_H
#define HS_MATH_MATH_INT_H

#include <string.h>

#include "math/mat.h"

extern const hs_kernels hs__kernels_generic;
#if defined(__x86_64__)
extern const hs_kernels hs__kernels_avx2, hs__kernels_avx512, hs__kernels_avx512vbmi;
#endif

#if defined(__aarch64__)
extern const hs_kernels hs__kernels_neon;
#endif

/* Generic kernels that other sets have as well. */
void hs__generic_matvec_t(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                          float *y);
void hs__generic_dequant_span(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float *out);
void hs__generic_to_panel(const float *rows, size_t stride, uint32_t n, float *panel);
float hs__generic_dot_f16(const uint16_t *a, const float *b, uint32_t n);
void hs__generic_axpy_f16(float a, const uint16_t *x, float *y, uint32_t n);
void hs__generic_to_f16(const float *x, uint16_t *out, uint32_t n);
void hs__generic_from_f16(const uint16_t *x, float *out, uint32_t n);
void hs__generic_rmsnorm(const float *x, const float *weight, uint32_t n, float eps, float *out);

static inline float hs__load_f32(const void *p)
{
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

static inline uint16_t hs__load_u16(const void *p)
{
    uint16_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

static inline float hs__from_bf16(uint16_t u)
{
    uint32_t bits = (uint32_t)u << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline size_t hs__scale_bytes(const hs_mat *w)
{
    return w->scale_bf16 ? sizeof(uint16_t) : sizeof(float);
}

static inline float hs__load_scale(const hs_mat *w, const char *p)
{
    return w->scale_bf16 ? hs__from_bf16(hs__load_u16(p)) : hs__load_f32(p);
}

/* Where the scale of block (r, k) of an F8 matrix with scales lies; those of the same row follow. */
static inline const char *hs__scale_at(const hs_mat *w, uint32_t r, uint32_t k)
{
    uint32_t per_row = (w->cols - 1) / w->block_cols + 1;
    return (const char *)w->scale + ((size_t)(r / w->block_rows) * per_row + k / w->block_cols) * hs__scale_bytes(w);
}

/* The scale of block (r, k) of an F8 matrix; 1 without scales. */
static inline float hs__block_scale(const hs_mat *w, uint32_t r, uint32_t k)
{
    return w->scale ? hs__load_scale(w, hs__scale_at(w, r, k)) : 1.0f;
}

static inline const char *hs__row(const hs_mat *w, uint32_t r)
{
    return (const char *)w->data + (size_t)r * (1 + w->skip) * hs_dtype_bytes(w->dtype, w->cols);
}

/* Element (r, k), k a multiple of the type's block. */
static inline const char *hs__element(const hs_mat *w, uint32_t r, uint32_t k)
{
    return hs__row(w, r) + hs_dtype_bytes(w->dtype, k);
}

/* Without branches, so that loops over it vectorise; subnormals are normalised by the multiplication. */
static inline float hs__f16_to_f32(uint16_t h)
{
    uint32_t mag = (uint32_t)(h & 0x7fff) << 13, bits;
    uint32_t special = mag >= 0x0f800000 ? 0x70000000 : 0; /* infinity and NaN: raise the exponent to 255 */
    uint32_t quiet = mag > 0x0f800000 ? 0x400000 : 0;      /* as hardware does */
    float f;
    memcpy(&f, &mag, sizeof f);
    f *= 0x1p112f;
    memcpy(&bits, &f, sizeof bits);
    bits = (special ? mag | special | quiet : bits) | (uint32_t)(h & 0x8000) << 16;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t hs__f32_to_f16(float f);

/*
 * e^x = 2^n e^r with n the integer nearest to x / ln 2, r = x - n ln 2 in two steps (n LN2_HI is exact), and
 * e^r = 1 + r + r^2 (C0 + C1 r + ... + C5 r^5), a least-maximum fit on [-0.3475, 0.3475] (5e-11 before rounding). 2^n
 * is applied in two halves, so that subnormal results are rounded once. At most 1 ulp from e^x; NaN stays NaN; below
 * LOW 0, above HIGH infinity. Multiplications and additions only, one by one, so that every kernel set has these bits.
 */
#define HS__EXP_LOW    (-104.0f)
#define HS__EXP_HIGH   89.0f
#define HS__EXP_LOG2E  0x1.715476p+0f
#define HS__EXP_ROUND  0x1.8p+23f
#define HS__EXP_LN2_HI 0x1.63p-1f
#define HS__EXP_LN2_LO (-0x1.bd0106p-13f)
#define HS__EXP_C0     0.5f
#define HS__EXP_C1     0x1.555554p-3f
#define HS__EXP_C2     0x1.55548cp-5f
#define HS__EXP_C3     0x1.111274p-7f
#define HS__EXP_C4     0x1.6d8eeep-10f
#define HS__EXP_C5     0x1.9f0716p-13f

static inline float hs__exp(float x)
{
    x = x < HS__EXP_LOW ? HS__EXP_LOW : x;
    x = x > HS__EXP_HIGH ? HS__EXP_HIGH : x;
    float shifted = x * HS__EXP_LOG2E + HS__EXP_ROUND, round = HS__EXP_ROUND, a, b;
    float n = shifted - HS__EXP_ROUND, r = (x - n * HS__EXP_LN2_HI) - n * HS__EXP_LN2_LO;
    float p = HS__EXP_C5 * r + HS__EXP_C4;
    p = ((((p * r + HS__EXP_C3) * r + HS__EXP_C2) * r + HS__EXP_C1) * r + HS__EXP_C0);
    p = (r * r * p + r) + 1.0f;
    uint32_t bits, base, half;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&base, &round, sizeof base);
    bits -= base;
    half = bits >> 1 | (bits & 0x80000000u);
    uint32_t bits_a = (half + 127) << 23, bits_b = (bits - half + 127) << 23;
    memcpy(&a, &bits_a, sizeof a);
    memcpy(&b, &bits_b, sizeof b);
    return p * a * b;
}

void hs__silu_mul(const float *gate, const float *up, uint32_t n, float *out);
void hs__softmax(float *x, uint32_t n);
float hs__softmax_piece(float *x, uint32_t n, float scale, float *max, float *sum);

#endif
