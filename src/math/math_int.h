/* math_int.h - shared inside src/math. */
#ifndef HS_MATH_MATH_INT_H
#define HS_MATH_MATH_INT_H

#include <string.h>

#include "math/mat.h"

extern const hs_kernels hs__kernels_generic;
#if defined(__x86_64__)
extern const hs_kernels hs__kernels_avx2;
#endif

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

/* The scale of block (r, k) of an F8 matrix; 1 without scales. */
static inline float hs__block_scale(const hs_mat *w, uint32_t r, uint32_t k)
{
    if (!w->scale)
        return 1.0f;
    uint32_t per_row = (w->cols + w->block_cols - 1) / w->block_cols;
    size_t at = (size_t)(r / w->block_rows) * per_row + k / w->block_cols;
    return hs__load_f32((const char *)w->scale + at * sizeof(float));
}

/* Columns that share a scale; the whole row where there are none. */
static inline uint32_t hs__block_cols(const hs_mat *w)
{
    return w->dtype == HS_DTYPE_F8_E4M3 && w->scale ? w->block_cols : w->cols;
}

static inline const char *hs__row(const hs_mat *w, uint32_t r)
{
    return (const char *)w->data + (size_t)r * w->cols * hs_dtype_size(w->dtype);
}

float hs__f16_to_f32(uint16_t h);
uint16_t hs__f32_to_f16(float f);

/* Both kernel sets use libm's expf, so that these have one set of bits. */
void hs__silu_mul(const float *gate, const float *up, uint32_t n, float *out);
void hs__softmax(float *x, uint32_t n);

#endif
