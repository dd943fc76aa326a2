/*
 * quant_avx2_int.h - the 8-bit product with AVX2, written once for all block formats; a format adds how its elements
 * get into a register. Include only where -mavx2 -mfma -mf16c are set.
 *
 * Few vectors: four rows at a time, a quarter of the task apart (see matvec_avx2.c), with lanes along the columns; the
 * integers of four rows are added up into one register, which keeps floats to one lane per row. From PANEL_VECS vectors
 * on: panels of eight rows with lanes along the rows, decoded once for all vectors. quant.c says the order of the sum,
 * which is the same for both.
 *
 * Elements are multiplied unsigned: formats of few bits have a bias added, which the sums of the vector take back;
 * the others split into magnitude and sign. 255 * 127 * 2 would saturate, 128 * 127 * 2 does not.
 */
#ifndef HS_MATH_QUANT_AVX2_INT_H
#define HS_MATH_QUANT_AVX2_INT_H

#include "math/avx2_int.h"
#include "math/quant_int.h"

/* Scales and minimums of a block of 256: groups of even number in the low half, of odd number in the high half. */
typedef struct hs__scales {
    __m256i scale, min;
} hs__scales;

/* One format. All are constants, so that every call is inlined. */
typedef struct hs__format {
    uint32_t bytes; /* of a block */
    int is_signed;  /* group() sets *sign, and bias is 0 */
    int bias;       /* in the elements of group() */
    int has_min;    /* scales() sets min, and dmin is there */
    int wide;       /* scales are equal in all 32 elements of a group() */
    uint32_t steps; /* products that a 16-bit sum surely holds: 1, 2 or 4 */
    /* Blocks of 256 only. Without minimums min is not set. */
    void (*scales)(const uint8_t *p, hs__scales *s);
    /* Elements [32 j, 32 j + 32); of signed formats their magnitudes, and *sign something of their signs. */
    __m256i (*group)(const uint8_t *p, uint32_t j, __m256i *sign);
    uint32_t d_at;  /* offset of d; dmin follows it */
    float d_factor; /* d and dmin are stored divided by it */
    float min_factor;
    float (*d)(const uint8_t *p); /* instead of both, unless NULL */
} hs__format;

/*
 * Eight rows by up to 256 columns, lanes along the rows. scale and low are pairs for 16-bit products: the scale of a
 * group (wide: of 32 elements) twice; -bias * scale or the minimums of two groups, in the order of the vector's sums.
 * Blocks of 32 have neither, but a d and a dmin each.
 */
typedef struct hs__panel {
    __m256i q[64]; /* elements 4 i to 4 i + 3 of each row, with their signs */
    __m256i scale[16], low[8];
    __m256 d[8], dmin[8];
} hs__panel;

/* Columns [k, k + 32 groups) of eight rows. */
typedef void hs__fill_fn(const hs_mat *w, uint32_t row, uint32_t k, uint32_t groups, hs__panel *p);
/* Rows [row0, row1), a multiple of eight. f needs no functions. */
void hs__by_panels(const hs__format *f, hs__fill_fn *fill, const hs_mat *w, uint32_t row0, uint32_t row1,
                   const void *const *x, uint32_t n_vec, float *const *y);
/* From so many vectors on panels are faster. */
#define HS__PANEL_VECS 8u

/* The elements of one block as floats. */
typedef void hs__values_fn(const uint8_t *p, float *out);

typedef void hs__q8_fn(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                       float *const *y);
/* The functions of each format: hs__NAME_avx2 multiplies, hs__values_NAME decodes. */
#define HS__FORMATS(X)                                                                                                 \
    X(Q4_0, q4_0)                                                                                                      \
    X(Q4_1, q4_1)                                                                                                      \
    X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q8_0, q8_0) X(IQ4_NL, iq4_nl) X(MXFP4, mxfp4) X(Q2_K, q2_k) X(Q3_K, q3_k)            \
        X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(TQ1_0, tq1_0) X(TQ2_0, tq2_0) X(IQ1_S, iq1_s) X(IQ1_M, iq1_m)      \
            X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) X(IQ2_S, iq2_s) X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s)                  \
                X(IQ4_XS, iq4_xs)
#define HS__DECLARE(type, name)                                                                                        \
    hs__q8_fn hs__##name##_avx2;                                                                                       \
    hs__values_fn hs__values_##name;
HS__FORMATS(HS__DECLARE)
#undef HS__DECLARE
hs__q8_fn hs__matvec_q8_avx2;
void hs__dequant_quant_avx2(const hs_mat *w, uint32_t row, uint32_t col0, uint32_t col1, float *out);
void hs__quantise_avx2(hs_act a, const float *x, uint32_t n, void *row);

HS__INLINE __m256i hs__load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

HS__INLINE __m128i hs__load16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

HS__INLINE __m128i hs__load_8(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

HS__INLINE float hs__half(const uint8_t *p)
{
    return _cvtsh_ss(hs__load_u16(p));
}

/* 16 bytes of nibbles: the low ones in the low half, the high ones in the high half. */
HS__INLINE __m256i hs__nibbles(const uint8_t *p)
{
    __m128i q = hs__load16(p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
}

/* All bits of byte i where bit i is set. */
HS__INLINE __m256i hs__spread_bits(uint32_t bits)
{
    const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

HS__INLINE __m256i hs__look_up(const int8_t *values, __m256i index)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(hs__load16(values)), index);
}

/* The sums of the lanes of four registers. */
HS__INLINE __m128i hs__sum_lanes(const __m256i *v)
{
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
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

/* What the bias adds to a sum, negative: the groups' sums of x times -bias (and their scales). */
HS__INLINE __m256i hs__unbias(const hs__format *f, __m256i scale)
{
    return _mm256_mullo_epi16(scale, _mm256_set1_epi16((short)-f->bias));
}

HS__INLINE void hs__prefetch_block(const uint8_t *p, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)p + 768 + i, _MM_HINT_T0);
}

/* d of one block. */
HS__INLINE float hs__d(const hs__format *f, const uint8_t *p)
{
    return f->d ? f->d(p) : hs__half(p + f->d_at) * f->d_factor;
}

HS__INLINE float hs__dmin(const hs__format *f, const uint8_t *p)
{
    return hs__half(p + f->d_at + 2) * f->min_factor;
}

/* d and dmin of four blocks. */
HS__INLINE void hs__d_of_four(const hs__format *f, const uint8_t *const *row, __m128 *d, __m128 *dmin)
{
    *d = *dmin = _mm_setzero_ps();
    if (f->d) {
        *d = _mm_setr_ps(f->d(row[0]), f->d(row[1]), f->d(row[2]), f->d(row[3]));
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
                hs__prefetch_block(row[r], f->bytes);
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
        const uint8_t *row[4];
        __m128 sum[4];
        HS__EACH (r, 4)
            row[r] = (const uint8_t *)hs__row(w, hs__row_of_four(row0, row1, apart, i, r));
        HS__EACH (v, vecs)
            sum[v] = _mm_setzero_ps();
        for (uint32_t b = 0; b < n / 32; b++) {
            __m256i total[16];
            HS__EACH (r, 4) {
                __m256i sign = ones, q = f->group(row[r], 0, &sign);
                _mm_prefetch((const char *)row[r] + 512, _MM_HINT_T0);
                HS__EACH (v, vecs)
                    total[4 * v + r] =
                        _mm256_madd_epi16(hs__pairs(f, q, sign, hs__load32((const int8_t *)x[v] + 32 * b)), ones);
            }
            __m128 d, dmin;
            hs__d_of_four(f, row, &d, &dmin);
            HS__EACH (v, vecs) {
                float dx = hs__act_scales(x[v], n)[b];
                const int16_t *sums = hs__act_sums(x[v], n) + 2 * b;
                __m128i of_row = hs__sum_lanes(total + 4 * v);
                if (f->bias)
                    of_row = _mm_add_epi32(of_row, hs__sum_of_32(sums, -f->bias));
                sum[v] = hs__add_scaled4(sum[v], d, dx, of_row);
                if (f->has_min)
                    sum[v] = hs__sub_scaled4(sum[v], dmin, dx, hs__sum_of_32(sums, 1));
            }
            HS__EACH (r, 4)
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
    const uint8_t *at[8];
    for (uint32_t r = 0; r < 8; r++)
        at[r] = (const uint8_t *)hs__element(w, row + r, k);
    for (uint32_t b = 0; b < groups; b++) {
        __m256i q[8];
        float d[8], dmin[8] = {0};
        _Pragma("GCC unroll 1") for (uint32_t r = 0; r < 8; r++)
        {
            q[r] = hs__signed_group(f, at[r], 0);
            d[r] = hs__d(f, at[r]);
            if (f->has_min)
                dmin[r] = hs__dmin(f, at[r]);
            at[r] += f->bytes;
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

HS__INLINE void hs__values_of(const hs__format *f, const uint8_t *p, float *out)
{
    hs__scales s = {_mm256_set1_epi16(1), _mm256_set1_epi16(f->has_min != 0)};
    float scale[16], low[16];
    if (f->scales)
        f->scales(p, &s);
    hs__times_16(s.scale, hs__d(f, p), scale);
    hs__times_16(s.min, f->has_min ? hs__dmin(f, p) : 0, low);
    if (f->scales)
        HS__EACH (j, 8)
            hs__values_32(f, p, j, scale, low, out);
    else
        hs__values_32(f, p, 0, scale, low, out);
}

/* Defines the functions of a format: blocks is 32 or 256. */
#define HS__DEFINE_FORMAT(format, blocks)                                                                              \
    static void fill_##format(const hs_mat *w, uint32_t row, uint32_t k, uint32_t groups, hs__panel *p)                \
    {                                                                                                                  \
        hs__fill_##blocks(&(format), w, row, k, groups, p);                                                            \
    }                                                                                                                  \
    void hs__values_##format(const uint8_t *p, float *out)                                                             \
    {                                                                                                                  \
        hs__values_of(&(format), p, out);                                                                              \
    }                                                                                                                  \
    void hs__##format##_avx2(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,      \
                             float *const *y)                                                                          \
    {                                                                                                                  \
        if (n_vec >= HS__PANEL_VECS) {                                                                                 \
            uint32_t end = row0 + (row1 - row0) / 8 * 8;                                                               \
            hs__by_panels(&(format), fill_##format, w, row0, end, x, n_vec, y);                                        \
            row0 = end;                                                                                                \
        }                                                                                                              \
        if (row0 == row1)                                                                                              \
            return;                                                                                                    \
        for (; n_vec >= 4; n_vec -= 4, x += 4, y += 4)                                                                 \
            hs__rows_##blocks(&(format), w, row0, row1, x, 4, y);                                                      \
        if (n_vec & 2) {                                                                                               \
            hs__rows_##blocks(&(format), w, row0, row1, x, 2, y);                                                      \
            x += 2, y += 2;                                                                                            \
        }                                                                                                              \
        if (n_vec & 1)                                                                                                 \
            hs__rows_##blocks(&(format), w, row0, row1, x, 1, y);                                                      \
    }

#endif
