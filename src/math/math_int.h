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

/* Where the scale of block (r, k) of an F8 matrix with scales lies; those of the same row follow. */
static inline const char *hs__scale_at(const hs_mat *w, uint32_t r, uint32_t k)
{
    uint32_t per_row = (w->cols - 1) / w->block_cols + 1;
    return (const char *)w->scale + ((size_t)(r / w->block_rows) * per_row + k / w->block_cols) * sizeof(float);
}

/* The scale of block (r, k) of an F8 matrix; 1 without scales. */
static inline float hs__block_scale(const hs_mat *w, uint32_t r, uint32_t k)
{
    return w->scale ? hs__load_f32(hs__scale_at(w, r, k)) : 1.0f;
}

static inline const char *hs__row(const hs_mat *w, uint32_t r)
{
    return (const char *)w->data + (size_t)r * w->cols * hs_dtype_size(w->dtype);
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

/* Both kernel sets use libm's expf, so that these have one set of bits. */
void hs__silu_mul(const float *gate, const float *up, uint32_t n, float *out);
void hs__softmax(float *x, uint32_t n);

#endif
