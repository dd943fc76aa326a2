/*
 * quant_panel_avx2_int.h - whole blocks decoded into panels and into floats; and the macro that makes a format's
 * functions of its description.
 */
#ifndef HS_MATH_QUANT_PANEL_AVX2_INT_H
#define HS_MATH_QUANT_PANEL_AVX2_INT_H

#include "math/quant_rows_avx2_int.h"

/* out[i] = word i of each of in[0] to in[7]. */
HS__INLINE void hs__transpose8(const __m256i *in, __m256i *out)
{
    __m256i pair[8], quad[8];
    HS__EACH (i, 4) {
        pair[2 * i] = _mm256_unpacklo_epi32(in[2 * i], in[2 * i + 1]);
        pair[2 * i + 1] = _mm256_unpackhi_epi32(in[2 * i], in[2 * i + 1]);
    }
    HS__EACH (h, 2) {
        HS__EACH (i, 2) {
            quad[4 * h + 2 * i] = _mm256_unpacklo_epi64(pair[4 * h + i], pair[4 * h + i + 2]);
            quad[4 * h + 2 * i + 1] = _mm256_unpackhi_epi64(pair[4 * h + i], pair[4 * h + i + 2]);
        }
    }
    HS__EACH (i, 4) {
        out[i] = _mm256_permute2x128_si256(quad[i], quad[i + 4], 0x20);
        out[i + 4] = _mm256_permute2x128_si256(quad[i], quad[i + 4], 0x31);
    }
}

/* Group j of a block, with its signs. */
HS__INLINE __m256i hs__signed_group(const hs__format *f, const uint8_t *p, uint32_t j)
{
    __m256i sign = _mm256_setzero_si256(), q = f->group(p, j, &sign);
    return f->is_signed ? _mm256_sign_epi8(q, sign) : q;
}

HS__INLINE void hs__fill_256(const hs__format *f, const hs_mat *w, uint32_t row, uint32_t k, uint32_t groups,
                             hs__panel *p)
{
    __m256i q[8][8], scale[2][8], low[8], words[8];
    float d[8], dmin[8] = {0};
    (void)groups;
    _Pragma("GCC unroll 1") for (uint32_t r = 0; r < 8; r++)
    {
        const uint8_t *block = (const uint8_t *)hs__element(w, row + r, k);
        hs__scales s;
        f->scales(block, &s);
        __m256i lo = _mm256_unpacklo_epi16(s.scale, s.scale), hi = _mm256_unpackhi_epi16(s.scale, s.scale);
        scale[0][r] = f->wide ? _mm256_permute2x128_si256(lo, hi, 0x20) : lo;
        scale[1][r] = hi;
        low[r] = f->has_min ? s.min : hs__unbias(f, s.scale);
        d[r] = hs__d(f, block);
        if (f->has_min)
            dmin[r] = hs__dmin(f, block);
        HS__EACH (j, 8)
            q[j][r] = hs__signed_group(f, block, j);
    }
    for (uint32_t j = 0; j < 8; j++)
        hs__transpose8(q[j], p->q + 8 * j);
    if (f->wide) {
        hs__transpose8(scale[0], p->scale);
    } else {
        for (uint32_t h = 0; h < 2; h++) { /* groups 0, 2, 4, 6, 1, 3, 5, 7 of each half */
            hs__transpose8(scale[h], words);
            for (uint32_t i = 0; i < 8; i++)
                p->scale[8 * h + i % 4 * 2 + i / 4] = words[i];
        }
    }
    if (f->has_min || f->bias)
        hs__transpose8(low, p->low);
    p->d[0] = _mm256_loadu_ps(d);
    p->dmin[0] = _mm256_loadu_ps(dmin);
}

HS__INLINE void hs__fill_32(const hs__format *f, const hs_mat *w, uint32_t row, uint32_t k, uint32_t groups,
                            hs__panel *p)
{
    const uint8_t *at[8], *d_of[8];
    for (uint32_t r = 0; r < 8; r++) {
        at[r] = (const uint8_t *)hs__element(w, row + r, k);
        d_of[r] = hs__d_of(f, w, row + r, k, at[r]);
    }
    for (uint32_t b = 0; b < groups; b++) {
        __m256i q[8];
        float d[8], dmin[8] = {0};
        _Pragma("GCC unroll 1") for (uint32_t r = 0; r < 8; r++)
        {
            q[r] = hs__signed_group(f, at[r], 0);
            d[r] = hs__d(f, d_of[r]);
            if (f->has_min)
                dmin[r] = hs__dmin(f, at[r]);
            at[r] += f->bytes;
            d_of[r] += hs__d_step(f);
        }
        hs__transpose8(q, p->q + 8 * b);
        p->d[b] = _mm256_loadu_ps(d);
        p->dmin[b] = _mm256_loadu_ps(dmin);
    }
}

/* Sixteen elements: 8 bits widened, times d, less low. */
HS__INLINE void hs__values_16(__m128i q, float d, float low, float *out)
{
    __m256 scale = _mm256_set1_ps(d), less = _mm256_set1_ps(low);
    __m256 a = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
    __m256 b = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)));
    _mm256_storeu_ps(out, _mm256_sub_ps(_mm256_mul_ps(a, scale), less));
    _mm256_storeu_ps(out + 8, _mm256_sub_ps(_mm256_mul_ps(b, scale), less));
}

/* Group j of a block whose scales, even groups before odd, are there. */
HS__INLINE void hs__values_32(const hs__format *f, const uint8_t *p, uint32_t j, const float *scale, const float *low,
                              float *out)
{
    __m256i q = _mm256_sub_epi8(hs__signed_group(f, p, j), _mm256_set1_epi8((char)f->bias));
    hs__values_16(_mm256_castsi256_si128(q), scale[j], low[j], out + 32 * j);
    hs__values_16(_mm256_extracti128_si256(q, 1), scale[j + 8], low[j + 8], out + 32 * j + 16);
}

/* d times sixteen integers. */
HS__INLINE void hs__times_16(__m256i v, float d, float *out)
{
    __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(v));
    __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(v, 1));
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(low)));
    _mm256_storeu_ps(out + 8, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(high)));
}

HS__INLINE void hs__values_of(const hs__format *f, const uint8_t *p, const uint8_t *d, float *out)
{
    hs__scales s = {_mm256_set1_epi16(1), _mm256_set1_epi16(f->has_min != 0)};
    float scale[16], low[16];
    if (f->scales)
        f->scales(p, &s);
    hs__times_16(s.scale, hs__d(f, d), scale);
    hs__times_16(s.min, f->has_min ? hs__dmin(f, p) : 0, low);
    if (f->scales)
        HS__EACH (j, 8)
            hs__values_32(f, p, j, scale, low, out);
    else
        hs__values_32(f, p, 0, scale, low, out);
}

/* Defines the functions of a format: blocks is 32 or 256. */
#define HS__DEFINE_FORMAT(name, blocks)                                                                                \
    static void fill_##name(const hs_mat *w, uint32_t row, uint32_t k, uint32_t groups, hs__panel *p)                  \
    {                                                                                                                  \
        hs__fill_##blocks(&(name), w, row, k, groups, p);                                                              \
    }                                                                                                                  \
    static void values_##name(const uint8_t *p, const uint8_t *d, float *out)                                          \
    {                                                                                                                  \
        hs__values_of(&(name), p, d, out);                                                                             \
    }                                                                                                                  \
    static void rows_##name(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,       \
                            float *const *y)                                                                           \
    {                                                                                                                  \
        for (; n_vec >= 4; n_vec -= 4, x += 4, y += 4)                                                                 \
            hs__rows_##blocks(&(name), w, row0, row1, x, 4, y);                                                        \
        if (n_vec & 2) {                                                                                               \
            hs__rows_##blocks(&(name), w, row0, row1, x, 2, y);                                                        \
            x += 2, y += 2;                                                                                            \
        }                                                                                                              \
        if (n_vec & 1)                                                                                                 \
            hs__rows_##blocks(&(name), w, row0, row1, x, 1, y);                                                        \
    }                                                                                                                  \
    const hs__q8 hs__q8_##name = {&(name), fill_##name, values_##name, rows_##name};

#endif
