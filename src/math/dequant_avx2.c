/*
 * dequant_avx2.c - pieces of rows as floats, and the transposed product of absorbed attention.
 *
 * E4M3 becomes binary16 by moving bits (the exponent bias differs by 8, folded into the scale: exact, subnormals too)
 * and then float. NaN codes, which come out as 480 on that way, are looked for in whole spans and put right after.
 *
 * Order of matvec_t: an output element is summed row by row with FMA.
 */
#include <math.h>

#include "math/quant_avx2_int.h"

#define F8_BIAS 256.0f /* 2^(15 - 7) */

typedef struct pair {
    __m256 lo, hi;
} pair;

/* Sixteen E4M3 codes divided by F8_BIAS; notes NaN codes in *top (2 x code, so 0xfe). */
HS__INLINE pair load16_f8(const char *p, __m128i *top)
{
    __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)p);
    *top = _mm_max_epu8(*top, _mm_add_epi8(codes, codes));
    __m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7);
    h = _mm256_and_si256(h, _mm256_set1_epi16((short)0xbfff));
    return (pair){_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
}

/* The same of n < 16 codes, zero-padded. */
static inline pair tail_f8(const char *p, uint32_t n, __m128i *top)
{
    char t[16] = {0};
    memcpy(t, p, n);
    return load16_f8(t, top);
}

static inline int has_nan(__m128i top)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(top, _mm_set1_epi8((char)0xfe)));
}

/* The first column of the next block of scales after k, at most end. */
static inline uint32_t block_end(const hs_mat *w, uint32_t k, uint32_t end)
{
    if (!w->scale)
        return end;
    uint32_t left = w->block_cols - k % w->block_cols;
    return end - k < left ? end : k + left;
}

static void mark_nans(const char *p, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++)
        if (((unsigned char)p[i] | 0x80) == 0xff)
            out[i] = NAN;
}

static void dequant_f8(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float *out)
{
    const char *row = hs__row(w, r);
    __m128i top = _mm_setzero_si128();
    for (uint32_t k0 = col0, end; k0 < col1; k0 = end) {
        end = block_end(w, k0, col1);
        __m256 s = _mm256_set1_ps(F8_BIAS), scale = _mm256_set1_ps(hs__block_scale(w, r, k0));
        uint32_t k = k0;
        for (; k + 16 <= end; k += 16) {
            pair v = load16_f8(row + k, &top);
            _mm256_storeu_ps(out + (k - col0), _mm256_mul_ps(_mm256_mul_ps(v.lo, s), scale));
            _mm256_storeu_ps(out + (k - col0) + 8, _mm256_mul_ps(_mm256_mul_ps(v.hi, s), scale));
        }
        if (k < end) {
            pair v = tail_f8(row + k, end - k, &top);
            float *at = out + (k - col0);
            hs__store_n(at, _mm256_mul_ps(_mm256_mul_ps(v.lo, s), scale), end - k);
            if (end - k > 8)
                hs__store_n(at + 8, _mm256_mul_ps(_mm256_mul_ps(v.hi, s), scale), end - k - 8);
        }
    }
    if (has_nan(top))
        mark_nans(row + col0, col1 - col0, out);
}

#define DEFINE_DEQUANT(name, load, size)                                                                               \
    static void name(const char *p, uint32_t n, float *out)                                                            \
    {                                                                                                                  \
        uint32_t k = 0;                                                                                                \
        for (; k + 8 <= n; k += 8)                                                                                     \
            _mm256_storeu_ps(out + k, load(p + (size_t)k * (size)));                                                   \
        if (k < n) {                                                                                                   \
            char tail[32] = {0};                                                                                       \
            memcpy(tail, p + (size_t)k * (size), (size_t)(n - k) * (size));                                            \
            hs__store_n(out + k, load(tail), n - k);                                                                   \
        }                                                                                                              \
    }

DEFINE_DEQUANT(dequant_bf16, hs__load8_bf16, 2)
DEFINE_DEQUANT(dequant_f16, hs__load8_f16, 2)

void hs__dequant_span_avx2(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float *out)
{
    if (hs__is_quant(w->dtype)) {
        hs__dequant_quant_avx2(w, r, col0, col1, out);
        return;
    }
    const char *p = hs__element(w, r, col0);
    if (w->dtype == HS_DTYPE_F8_E4M3)
        dequant_f8(w, r, col0, col1, out);
    else if (w->dtype == HS_DTYPE_BF16)
        dequant_bf16(p, col1 - col0, out);
    else if (w->dtype == HS_DTYPE_F16)
        dequant_f16(p, col1 - col0, out);
    else
        memcpy(out, p, (col1 - col0) * sizeof *out);
}

/* y[0, n) += row[0, n) s. */
#define DEFINE_ADD_ROW(name, load, size)                                                                               \
    static void name(const char *row, float s, uint32_t n, float *y)                                                   \
    {                                                                                                                  \
        __m256 f = _mm256_set1_ps(s);                                                                                  \
        uint32_t k = 0;                                                                                                \
        for (; k + 8 <= n; k += 8)                                                                                     \
            _mm256_storeu_ps(y + k, _mm256_fmadd_ps(load(row + (size_t)k * (size)), f, _mm256_loadu_ps(y + k)));       \
        if (k < n) {                                                                                                   \
            char tail[32] = {0};                                                                                       \
            memcpy(tail, row + (size_t)k * (size), (size_t)(n - k) * (size));                                          \
            hs__store_n(y + k, _mm256_fmadd_ps(load(tail), f, hs__tail_f32(y + k, n - k)), n - k);                     \
        }                                                                                                              \
    }

DEFINE_ADD_ROW(add_row_f32, hs__load8_f32, 4)
DEFINE_ADD_ROW(add_row_f16, hs__load8_f16, 2)
DEFINE_ADD_ROW(add_row_bf16, hs__load8_bf16, 2)

static inline void add_16(pair v, __m256 f, float *y)
{
    _mm256_storeu_ps(y, _mm256_fmadd_ps(v.lo, f, _mm256_loadu_ps(y)));
    _mm256_storeu_ps(y + 8, _mm256_fmadd_ps(v.hi, f, _mm256_loadu_ps(y + 8)));
}

/* Row r's columns [col0, col1), block of scales by block. */
static void add_row_f8(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float s, float *y)
{
    const char *row = hs__row(w, r);
    __m128i top = _mm_setzero_si128();
    for (uint32_t k = col0, end; k < col1; k = end) {
        end = block_end(w, k, col1);
        __m256 f = _mm256_set1_ps(s * hs__block_scale(w, r, k) * F8_BIAS);
        for (; k + 16 <= end; k += 16)
            add_16(load16_f8(row + k, &top), f, y + (k - col0));
        if (k < end) {
            float t[16] = {0};
            memcpy(t, y + (k - col0), (end - k) * sizeof *t);
            add_16(tail_f8(row + k, end - k, &top), f, t);
            memcpy(y + (k - col0), t, (end - k) * sizeof *t);
        }
    }
    if (has_nan(top))
        mark_nans(row + col0, col1 - col0, y);
}

/* Row r's columns [col0, col1) of a block format. */
static void add_row_quant(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float s, float *y)
{
    float piece[HS__BLOCK_MAX];
    for (uint32_t k = col0, end; k < col1; k = end) {
        end = k - k % HS__BLOCK_MAX + HS__BLOCK_MAX;
        end = end < col1 ? end : col1;
        hs__dequant_quant_avx2(w, r, k, end, piece);
        add_row_f32((const char *)piece, s, end - k, y + (k - col0));
    }
}

void hs__matvec_t_avx2(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                       float *y)
{
    for (uint32_t k = col0; k < col1; k++)
        y[k - col0] = 0;
    for (uint32_t r = row0; r < row1; r++) {
        float s = x[r - row0];
        if (hs__is_quant(w->dtype)) {
            add_row_quant(w, r, col0, col1, s, y);
            continue;
        }
        const char *p = hs__element(w, r, col0);
        if (w->dtype == HS_DTYPE_F8_E4M3)
            add_row_f8(w, r, col0, col1, s, y);
        else if (w->dtype == HS_DTYPE_BF16)
            add_row_bf16(p, s, col1 - col0, y);
        else if (w->dtype == HS_DTYPE_F16)
            add_row_f16(p, s, col1 - col0, y);
        else
            add_row_f32(p, s, col1 - col0, y);
    }
}
