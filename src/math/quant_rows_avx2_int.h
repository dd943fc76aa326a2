/*
 * quant_rows_avx2_int.h - the 8-bit product of few vectors: four rows at a time, a quarter of the task apart (see
 * matvec_avx2.c), with lanes along the columns; the integers of four rows are added up into one register, which keeps
 * floats to one lane per row.
 */
#ifndef HS_MATH_QUANT_ROWS_AVX2_INT_H
#define HS_MATH_QUANT_ROWS_AVX2_INT_H

#include "math/quant_avx2_int.h"

/* The sums of the lanes of four registers. */
HS__INLINE __m128i hs__sum_lanes(const __m256i *v)
{
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* The same of 16-bit lanes, four of which can be added without overflow. */
HS__INLINE __m128i hs__sum_short_lanes(const __m256i *v)
{
    __m256i s = _mm256_hadd_epi16(_mm256_hadd_epi16(v[0], v[1]), _mm256_hadd_epi16(v[2], v[3]));
    s = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* sum + (d dx) n, each operation rounded. */
HS__INLINE __m128 hs__add_scaled4(__m128 sum, __m128 d, float dx, __m128i n)
{
    return _mm_add_ps(sum, _mm_mul_ps(_mm_mul_ps(d, _mm_set1_ps(dx)), _mm_cvtepi32_ps(n)));
}

HS__INLINE __m128 hs__sub_scaled4(__m128 sum, __m128 d, float dx, __m128i n)
{
    return _mm_sub_ps(sum, _mm_mul_ps(_mm_mul_ps(d, _mm_set1_ps(dx)), _mm_cvtepi32_ps(n)));
}

/* Products of elements q (with their signs) and eight-bit x, added in pairs. */
HS__INLINE __m256i hs__pairs(const hs__format *f, __m256i q, __m256i sign, __m256i x)
{
    return _mm256_maddubs_epi16(q, f->is_signed ? _mm256_sign_epi8(x, sign) : x);
}

HS__INLINE void hs__prefetch(const uint8_t *p, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

/* d and dmin of four blocks. */
HS__INLINE void hs__d_of_four(const hs__format *f, const uint8_t *const *row, __m128 *d, __m128 *dmin)
{
    *d = *dmin = _mm_setzero_ps();
    if (f->d) {
        *d = _mm_setr_ps(f->d(row[0]), f->d(row[1]), f->d(row[2]), f->d(row[3]));
    } else if (f->d_is_e8m0) {
        __m128i e = _mm_setr_epi32(row[0][f->d_at], row[1][f->d_at], row[2][f->d_at], row[3][f->d_at]);
        __m128i normal = _mm_slli_epi32(_mm_sub_epi32(e, _mm_set1_epi32(1)), 23);
        __m128i subnormal = _mm_sllv_epi32(_mm_set1_epi32(0x00200000), e);
        *d = _mm_castsi128_ps(_mm_blendv_epi8(subnormal, normal, _mm_cmpgt_epi32(e, _mm_set1_epi32(1))));
    } else if (f->has_min) {
        __m128i both = _mm_setr_epi32((int)hs__load_u32(row[0] + f->d_at), (int)hs__load_u32(row[1] + f->d_at),
                                      (int)hs__load_u32(row[2] + f->d_at), (int)hs__load_u32(row[3] + f->d_at));
        __m256 v = _mm256_cvtph_ps(both);
        __m128 low = _mm256_castps256_ps128(v), high = _mm256_extractf128_ps(v, 1);
        *d = _mm_shuffle_ps(low, high, 0x88);
        *dmin = _mm_mul_ps(_mm_shuffle_ps(low, high, 0xdd), _mm_set1_ps(f->min_factor));
    } else {
        __m128i halves =
            _mm_setr_epi16((short)hs__load_u16(row[0] + f->d_at), (short)hs__load_u16(row[1] + f->d_at),
                           (short)hs__load_u16(row[2] + f->d_at), (short)hs__load_u16(row[3] + f->d_at), 0, 0, 0, 0);
        *d = _mm_mul_ps(_mm_cvtph_ps(halves), _mm_set1_ps(f->d_factor));
    }
}

/* Row r of four that are worked on together. */
HS__INLINE uint32_t hs__row_of_four(uint32_t row0, uint32_t row1, uint32_t apart, uint32_t i, uint32_t r)
{
    uint32_t at = row0 + r * apart + i;
    return at < row1 ? at : row1 - 1; /* twice the last one, where rows run out */
}

/* acc[v] += the products of group j with vector v, times their scales. */
HS__INLINE void hs__add_group(const hs__format *f, const uint8_t *p, uint32_t j, __m256i scales, const int8_t *const *x,
                              const uint32_t vecs, __m256i *acc)
{
    __m256i sign = _mm256_setzero_si256(), q = f->group(p, j, &sign);
    __m256i scale = _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)(0x0100 + 0x0202 * j)));
    HS__EACH (v, vecs) {
        __m256i pairs = hs__pairs(f, q, sign, hs__load32(x[v] + 32 * j));
        acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(pairs, scale));
    }
}

/* The integers of one block of 256 with vecs vectors: total[4 v], and low[4 v] those of the minimums. */
HS__INLINE void hs__block_256(const hs__format *f, const uint8_t *p, const int8_t *const *x, const int16_t *const *sums,
                              const uint32_t vecs, __m256i *total, __m256i *low)
{
    hs__scales s;
    __m256i acc[4];
    f->scales(p, &s);
    HS__EACH (v, vecs) {
        __m256i of_x = hs__load32(sums[v]);
        acc[v] = f->bias ? _mm256_madd_epi16(hs__unbias(f, s.scale), of_x) : _mm256_setzero_si256();
        if (f->has_min)
            low[4 * v] = _mm256_madd_epi16(s.min, of_x);
    }
    HS__EACH (j, 8)
        hs__add_group(f, p, j, s.scale, x, vecs, acc);
    HS__EACH (v, vecs)
        total[4 * v] = acc[v];
}

/* Rows [row0, row1) by vecs (1, 2 or 4) vectors. */
HS__INLINE void hs__rows_256(const hs__format *f, const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x,
                             const uint32_t vecs, float *const *y)
{
    uint32_t apart = (row1 - row0 + 3) / 4, n = w->cols;
    for (uint32_t i = 0; i < apart; i++) {
        const uint8_t *row[4];
        const int8_t *xq[4];
        const int16_t *sums[4];
        __m128 sum[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = (const uint8_t *)hs__row(w, hs__row_of_four(row0, row1, apart, i, r));
        HS__EACH (v, vecs) {
            sum[v] = _mm_setzero_ps();
            xq[v] = x[v];
            sums[v] = hs__act_sums(x[v], n);
        }
        for (uint32_t b = 0; b < n / 256; b++) {
            __m256i total[16], low[16];
            _Pragma("GCC unroll 1") for (uint32_t r = 0; r < 4; r++)
            {
                hs__prefetch(row[r] + 768, f->bytes);
                hs__block_256(f, row[r], xq, sums, vecs, total + r, low + r);
            }
            __m128 d, dmin;
            hs__d_of_four(f, row, &d, &dmin);
            HS__EACH (v, vecs) {
                float dx = hs__act_scales(x[v], n)[b];
                sum[v] = hs__add_scaled4(sum[v], d, dx, hs__sum_lanes(total + 4 * v));
                if (f->has_min)
                    sum[v] = hs__sub_scaled4(sum[v], dmin, dx, hs__sum_lanes(low + 4 * v));
                xq[v] += 256;
                sums[v] += 16;
            }
            for (uint32_t r = 0; r < 4; r++)
                row[r] += f->bytes;
        }
        HS__EACH (v, vecs) {
            float out[4];
            _mm_storeu_ps(out, sum[v]);
            for (uint32_t r = 0; r < 4; r++)
                y[v][hs__row_of_four(row0, row1, apart, i, r)] = out[r];
        }
    }
}

/* The sum of the 32 elements of x, times factor, in every lane; sums: of two groups. */
HS__INLINE __m128i hs__sum_of_32(const int16_t *sums, int factor)
{
    return _mm_madd_epi16(_mm_set1_epi32((int)hs__load_u32(sums)), _mm_set1_epi16((short)factor));
}

HS__INLINE void hs__rows_32(const hs__format *f, const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x,
                            const uint32_t vecs, float *const *y)
{
    const __m256i ones = _mm256_set1_epi16(1);
    uint32_t apart = (row1 - row0 + 3) / 4, n = w->cols;
    for (uint32_t i = 0; i < apart; i++) {
        const uint8_t *row[4], *d_of[4];
        __m128 sum[4];
        HS__EACH (r, 4) {
            uint32_t at = hs__row_of_four(row0, row1, apart, i, r);
            row[r] = (const uint8_t *)hs__row(w, at);
            d_of[r] = hs__d_of(f, w, at, 0, row[r]);
        }
        HS__EACH (v, vecs)
            sum[v] = _mm_setzero_ps();
        for (uint32_t b = 0; b < n / 32; b++) {
            __m256i total[16];
            HS__EACH (r, 4) {
                __m256i sign = ones, q = f->group(row[r], 0, &sign);
                _mm_prefetch((const char *)row[r] + 512, _MM_HINT_T0);
                HS__EACH (v, vecs) {
                    __m256i pairs = hs__pairs(f, q, sign, hs__load32((const int8_t *)x[v] + 32 * b));
                    total[4 * v + r] = f->steps == 4 ? pairs : _mm256_madd_epi16(pairs, ones);
                }
            }
            __m128 d, dmin;
            hs__d_of_four(f, d_of, &d, &dmin);
            HS__EACH (v, vecs) {
                float dx = hs__act_scales(x[v], n)[b];
                const int16_t *sums = hs__act_sums(x[v], n) + 2 * b;
                __m128i of_row = f->steps == 4 ? hs__sum_short_lanes(total + 4 * v) : hs__sum_lanes(total + 4 * v);
                if (f->bias)
                    of_row = _mm_add_epi32(of_row, hs__sum_of_32(sums, -f->bias));
                sum[v] = hs__add_scaled4(sum[v], d, dx, of_row);
                if (f->has_min)
                    sum[v] = hs__sub_scaled4(sum[v], dmin, dx, hs__sum_of_32(sums, 1));
            }
            HS__EACH (r, 4) {
                row[r] += f->bytes;
                d_of[r] += hs__d_step(f);
            }
        }
        HS__EACH (v, vecs) {
            float out[4];
            _mm_storeu_ps(out, sum[v]);
            for (uint32_t r = 0; r < 4; r++)
                y[v][hs__row_of_four(row0, row1, apart, i, r)] = out[r];
        }
    }
}

#endif
