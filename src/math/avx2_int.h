/* avx2_int.h - loads and reductions shared by the AVX2 files. Include only where -mavx2 -mfma -mf16c are set. */
#ifndef HS_MATH_AVX2_INT_H
#define HS_MATH_AVX2_INT_H

#include <immintrin.h>

#include "math/math_int.h"

#define HS__INLINE static inline __attribute__((always_inline))
/* A loop over a count that inlining makes constant: unrolled, so that arrays of vectors stay in registers. */
#define HS__EACH(i, n) _Pragma("GCC unroll 8") for (uint32_t i = 0; i < (n); i++)

/* Eight elements as float, from any address. */
HS__INLINE __m256 hs__load8_f32(const char *p)
{
    return _mm256_loadu_ps((const float *)(const void *)p);
}

HS__INLINE __m256 hs__load8_bf16(const char *p)
{
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

HS__INLINE __m256 hs__load8_f16(const char *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* The last n < 8 elements of a row or vector, zero-padded. */
HS__INLINE __m256 hs__tail_f32(const float *x, uint32_t n)
{
    float t[8] = {0};
    memcpy(t, x, n * sizeof *t);
    return _mm256_loadu_ps(t);
}

HS__INLINE void hs__store_n(float *out, __m256 v, uint32_t n)
{
    float t[8];
    if (n >= 8) {
        _mm256_storeu_ps(out, v);
        return;
    }
    _mm256_storeu_ps(t, v);
    memcpy(out, t, n * sizeof *t);
}

HS__INLINE float hs__reduce8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/* Is any of n E4M3 codes NaN? */
static inline int hs__any_nan_f8(const char *p, uint32_t n)
{
    int any = 0;
    for (uint32_t k = 0; k < n; k++)
        any |= ((unsigned char)p[k] | 0x80) == 0xff;
    return any;
}

void hs__matvec_avx2(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                     float *y, size_t y_stride);
void hs__matvec_t_avx2(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                       float *y);
void hs__to_panel_avx2(const float *rows, size_t stride, uint32_t n, float *panel);
void hs__gemm_panel_avx2(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride,
                         uint32_t m, float *y, size_t y_stride);
void hs__dequant_span_avx2(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float *out);
void hs__silu_mul_avx2(const float *gate, const float *up, uint32_t n, float *out);
float hs__softmax_piece_avx2(float *x, uint32_t n, float scale, float *max, float *sum);

#endif
