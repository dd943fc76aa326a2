/* quant_avx2.c - AVX2: which functions decode a block format and multiply it by 8-bit vectors, and making those. */
#include <math.h>

#include "math/quant_avx2_int.h"

static const hs__q8 *functions_of(hs_dtype t)
{
#define ENTRY(type, name) [HS_DTYPE_##type] = &hs__q8_##name,
    static const hs__q8 *const functions[HS_DTYPE_COUNT] = {HS__FORMATS(ENTRY)};
    return functions[t];
}

/* Products of few vectors with AVX-512; what has none has AVX2's. */
static hs__q8_fn *rows512_of(hs_dtype t, int has_vbmi)
{
#define ENTRY512(type, name) [HS_DTYPE_##type] = hs__rows512_##name,
    static hs__q8_fn *const functions[HS_DTYPE_COUNT] = {HS__FORMATS_512(ENTRY512)};
    static hs__q8_fn *const with_vbmi[HS_DTYPE_COUNT] = {HS__FORMATS_VBMI(ENTRY512)};
    hs__q8_fn *rows = functions[t] ? functions[t] : has_vbmi ? with_vbmi[t] : NULL;
    return rows ? rows : functions_of(t)->rows;
}

static void multiply(const hs__q8 *q8, hs__q8_fn *by_rows, uint32_t few, hs__times_fn *times, const hs_mat *w,
                     uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec, float *const *y)
{
    if (n_vec > few) {
        uint32_t end = row0 + (row1 - row0) / 8 * 8;
        hs__by_panels(q8, times, w, row0, end, x, n_vec, y);
        row0 = end;
    }
    if (row0 < row1)
        by_rows(w, row0, row1, x, n_vec, y);
}

void hs__matvec_q8_avx2(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                        float *const *y)
{
    const hs__q8 *q8 = functions_of(w->dtype);
    multiply(q8, q8->rows, HS__FEW_VECS, hs__times_avx2, w, row0, row1, x, n_vec, y);
}

static void by_avx512(hs__q8_fn *rows, const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x,
                      uint32_t n_vec, float *const *y)
{
    const hs__q8 *q8 = functions_of(w->dtype);
    uint32_t few = rows == q8->rows ? HS__FEW_VECS : HS__FEW_VECS_512;
    multiply(q8, rows, few, hs__times_avx512, w, row0, row1, x, n_vec, y);
}

void hs__matvec_q8_avx512(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                          float *const *y)
{
    by_avx512(rows512_of(w->dtype, 0), w, row0, row1, x, n_vec, y);
}

void hs__matvec_q8_avx512vbmi(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                              float *const *y)
{
    by_avx512(rows512_of(w->dtype, 1), w, row0, row1, x, n_vec, y);
}

void hs__dequant_quant_avx2(const hs_mat *w, uint32_t row, uint32_t col0, uint32_t col1, float *out)
{
    const hs__q8 *q8 = functions_of(w->dtype);
    uint32_t size = hs_dtype_block(w->dtype), first = col0 - col0 % size;
    const uint8_t *p = (const uint8_t *)hs__element(w, row, first), *d = hs__d_of(q8->format, w, row, first, p);
    float part[HS__BLOCK_MAX];
    for (uint32_t k = col0; k < col1; p += q8->format->bytes, d += hs__d_step(q8->format)) {
        uint32_t at = k % size, n = col1 - k < size - at ? col1 - k : size - at;
        if (n == size) {
            q8->values(p, d, out + (k - col0));
        } else {
            q8->values(p, d, part);
            memcpy(out + (k - col0), part + at, n * sizeof *out);
        }
        k += n;
    }
}

/* The largest magnitude as bits, of n floats, a multiple of 8. */
HS__INLINE uint32_t largest(const float *x, uint32_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n; i += 8)
        max = _mm256_max_epi32(max, _mm256_and_si256(hs__load32(x + i), magnitude));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* Thirty-two elements, and the sums of their two halves. */
HS__INLINE void quantise_32(const float *x, __m256 inverse, int8_t *q, int16_t *sum0, int16_t *sum1)
{
    __m256i v[4];
    HS__EACH (i, 4)
        v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)q, bytes);
    __m256i four = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
    __m128i two = _mm_hadd_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    two = _mm_hadd_epi32(two, two);
    *sum0 = (int16_t)_mm_cvtsi128_si32(two);
    *sum1 = (int16_t)_mm_extract_epi32(two, 1);
}

void hs__quantise_avx2(hs_act a, const float *x, uint32_t n, void *row)
{
    uint32_t block = hs__act_block(a), half = block / HS__GROUP / 2;
    int16_t *sums = (int16_t *)(void *)((char *)row + n);
    float *d = (float *)(void *)(sums + n / HS__GROUP);
    for (uint32_t k = 0; k < n; k += block, sums += 2 * half, d++) {
        uint32_t bits = largest(x + k, block);
        float max;
        memcpy(&max, &bits, sizeof max);
        int finite = bits < 0x7f800000, some = finite && max >= HS__ACT_TINY;
        *d = some ? max / 127.0f : finite ? 0 : NAN;
        if (some) {
            __m256 inverse = _mm256_set1_ps(127.0f / max);
            for (uint32_t g = 0; g < half; g++)
                quantise_32(x + k + 32 * g, inverse, (int8_t *)row + k + 32 * g, sums + g, sums + half + g);
        } else {
            memset((int8_t *)row + k, 0, block);
            memset(sums, 0, 2 * half * sizeof *sums);
        }
    }
}
