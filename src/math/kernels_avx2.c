/*
 * kernels_avx2.c - AVX2, FMA and F16C.
 *
 * matvec: a row's sum runs over four vectors of eight partial sums, block of scales by block; two rows at a time share
 * the loads of x and hide the latency of FMA, each in its own order. E4M3 becomes binary16 by moving bits (the exponent
 * bias differs by 8, folded into the scale: exact, subnormals too) and VCVTPH2PS; a NaN code anywhere in a row makes
 * its result NaN, as arithmetic would.
 */
#include <immintrin.h>
#include <math.h>

#include "math/math_int.h"

#define F8_BIAS 256.0f /* 2^(15 - 7) */

static inline __m256 load8_f32(const char *p)
{
    return _mm256_loadu_ps((const float *)(const void *)p);
}

static inline __m256 load8_bf16(const char *p)
{
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static inline __m256 load8_f16(const char *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* Eight E4M3 codes, not yet multiplied by F8_BIAS; NaN codes come out as 480/256. */
static inline __m256 load8_f8(const char *p)
{
    __m128i b = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_cvtph_ps(_mm_and_si128(_mm_slli_epi16(b, 7), _mm_set1_epi16((short)0xbfff)));
}

static inline float reduce8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

static inline __m256 sum4(const __m256 *a)
{
    return _mm256_add_ps(_mm256_add_ps(a[0], a[1]), _mm256_add_ps(a[2], a[3]));
}

/* The last n < 8 elements of a row or vector, zero-padded. */
static inline __m256 tail_f32(const float *x, uint32_t n)
{
    float t[8] = {0};
    memcpy(t, x, n * sizeof *t);
    return _mm256_loadu_ps(t);
}

#define TAIL(load, size, p, n)                                                                                         \
    (memset(tail_bytes, 0, sizeof tail_bytes), memcpy(tail_bytes, p, (size_t)(n) * (size)), load(tail_bytes))

/* ROWS dot products over columns [k0, k1) into acc (four vectors per row), for one load function. */
#define DEFINE_SPAN(name, load, size)                                                                                  \
    static inline __attribute__((always_inline)) void name(const char *const *row, int rows, const float *x,           \
                                                           uint32_t k0, uint32_t k1, __m256(*acc)[4])                  \
    {                                                                                                                  \
        uint32_t k = k0;                                                                                               \
        for (; k + 32 <= k1; k += 32) {                                                                                \
            __m256 x0 = _mm256_loadu_ps(x + k), x1 = _mm256_loadu_ps(x + k + 8);                                       \
            __m256 x2 = _mm256_loadu_ps(x + k + 16), x3 = _mm256_loadu_ps(x + k + 24);                                 \
            for (int r = 0; r < rows; r++) {                                                                           \
                const char *p = row[r] + (size_t)k * (size);                                                           \
                _mm_prefetch(p + 1024, _MM_HINT_T0);                                                                   \
                acc[r][0] = _mm256_fmadd_ps(load(p), x0, acc[r][0]);                                                   \
                acc[r][1] = _mm256_fmadd_ps(load(p + 8 * (size)), x1, acc[r][1]);                                      \
                acc[r][2] = _mm256_fmadd_ps(load(p + 16 * (size)), x2, acc[r][2]);                                     \
                acc[r][3] = _mm256_fmadd_ps(load(p + 24 * (size)), x3, acc[r][3]);                                     \
            }                                                                                                          \
        }                                                                                                              \
        for (; k + 8 <= k1; k += 8)                                                                                    \
            for (int r = 0; r < rows; r++)                                                                             \
                acc[r][0] = _mm256_fmadd_ps(load(row[r] + (size_t)k * (size)), _mm256_loadu_ps(x + k), acc[r][0]);     \
        if (k < k1) {                                                                                                  \
            char tail_bytes[32];                                                                                       \
            __m256 xt = tail_f32(x + k, k1 - k);                                                                       \
            for (int r = 0; r < rows; r++)                                                                             \
                acc[r][1] = _mm256_fmadd_ps(TAIL(load, size, row[r] + (size_t)k * (size), k1 - k), xt, acc[r][1]);     \
        }                                                                                                              \
    }

DEFINE_SPAN(span_f32, load8_f32, 4)
DEFINE_SPAN(span_bf16, load8_bf16, 2)
DEFINE_SPAN(span_f16, load8_f16, 2)
DEFINE_SPAN(span_f8, load8_f8, 1)

/* Is any of n E4M3 codes NaN? */
static inline int any_nan_f8(const char *p, uint32_t n)
{
    const __m256i all = _mm256_set1_epi8(-1), sign = _mm256_set1_epi8((char)0x80);
    __m256i found = _mm256_setzero_si256();
    uint32_t k = 0;
    for (; k + 32 <= n; k += 32) {
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + k));
        found = _mm256_or_si256(found, _mm256_cmpeq_epi8(_mm256_or_si256(b, sign), all));
    }
    int any = !_mm256_testz_si256(found, found);
    for (; k < n; k++)
        any |= ((unsigned char)p[k] | 0x80) == 0xff;
    return any;
}

static inline __attribute__((always_inline)) void rows_f8(const hs_mat *w, uint32_t r0, int rows,
                                                          const char *const *row, const float *x, float *out)
{
    uint32_t block = hs__block_cols(w);
    __m256 total[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (uint32_t k0 = 0; k0 < w->cols; k0 += block) {
        uint32_t k1 = w->cols - k0 < block ? w->cols : k0 + block;
        __m256 acc[2][4];
        for (int r = 0; r < rows; r++)
            acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = _mm256_setzero_ps();
        span_f8(row, rows, x, k0, k1, acc);
        for (int r = 0; r < rows; r++) {
            __m256 scale = _mm256_set1_ps(hs__block_scale(w, r0 + (uint32_t)r, k0) * F8_BIAS);
            total[r] = _mm256_fmadd_ps(sum4(acc[r]), scale, total[r]);
        }
    }
    for (int r = 0; r < rows; r++)
        out[r] = any_nan_f8(row[r], w->cols) ? NAN : reduce8(total[r]);
}

static inline __attribute__((always_inline)) void rows_dot(const hs_mat *w, uint32_t r0, int rows, const float *x,
                                                           float *out)
{
    const char *row[2] = {hs__row(w, r0), hs__row(w, rows > 1 ? r0 + 1 : r0)};
    if (w->dtype == HS_DTYPE_F8_E4M3) {
        rows_f8(w, r0, rows, row, x, out);
        return;
    }
    __m256 acc[2][4];
    for (int r = 0; r < rows; r++)
        acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = _mm256_setzero_ps();
    if (w->dtype == HS_DTYPE_BF16)
        span_bf16(row, rows, x, 0, w->cols, acc);
    else if (w->dtype == HS_DTYPE_F16)
        span_f16(row, rows, x, 0, w->cols, acc);
    else
        span_f32(row, rows, x, 0, w->cols, acc);
    for (int r = 0; r < rows; r++)
        out[r] = reduce8(sum4(acc[r]));
}

static void matvec(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                   float *y, size_t y_stride)
{
    uint32_t r = row0;
    for (; r + 2 <= row1; r += 2) {
        for (uint32_t v = 0; v < n_vec; v++) {
            float out[2];
            rows_dot(w, r, 2, x + v * x_stride, out);
            y[v * y_stride + r] = out[0];
            y[v * y_stride + r + 1] = out[1];
        }
    }
    for (; r < row1; r++)
        for (uint32_t v = 0; v < n_vec; v++)
            rows_dot(w, r, 1, x + v * x_stride, &y[v * y_stride + r]);
}

/* Eight weights of columns k.., scaled; n < 8 at the row's end is zero-padded. */
static inline __m256 weights8(const hs_mat *w, const char *row, uint32_t r, uint32_t k, uint32_t n)
{
    char tail_bytes[32];
    uint32_t size = hs_dtype_size(w->dtype);
    const char *p = row + (size_t)k * size;
    if (n < 8) {
        memset(tail_bytes, 0, sizeof tail_bytes);
        memcpy(tail_bytes, p, (size_t)n * size);
        p = tail_bytes;
    }
    if (w->dtype == HS_DTYPE_BF16)
        return load8_bf16(p);
    if (w->dtype == HS_DTYPE_F32)
        return load8_f32(p);
    if (w->dtype == HS_DTYPE_F16)
        return load8_f16(p);
    float v[8];
    _mm256_storeu_ps(v, _mm256_mul_ps(load8_f8(p), _mm256_set1_ps(F8_BIAS)));
    if (any_nan_f8(p, n)) {
        for (uint32_t i = 0; i < n; i++)
            v[i] = hs_f8_e4m3[(unsigned char)p[i]];
    }
    uint32_t block = hs__block_cols(w);
    if (k / block == (k + n - 1) / block)
        return _mm256_mul_ps(_mm256_loadu_ps(v), _mm256_set1_ps(hs__block_scale(w, r, k)));
    for (uint32_t i = 0; i < n; i++)
        v[i] *= hs__block_scale(w, r, k + i);
    return _mm256_loadu_ps(v);
}

static inline void store_n(float *out, __m256 v, uint32_t n)
{
    if (n >= 8) {
        _mm256_storeu_ps(out, v);
        return;
    }
    float t[8];
    _mm256_storeu_ps(t, v);
    memcpy(out, t, n * sizeof *t);
}

static void dequant_span(const hs_mat *w, uint32_t r, uint32_t k0, uint32_t k1, float *out)
{
    const char *row = hs__row(w, r);
    for (uint32_t k = k0; k < k1; k += 8) {
        uint32_t n = k1 - k < 8 ? k1 - k : 8;
        store_n(out + (k - k0), weights8(w, row, r, k, n), n);
    }
}

static void matvec_t(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                     float *y)
{
    for (uint32_t k = col0; k < col1; k++)
        y[k - col0] = 0;
    for (uint32_t r = row0; r < row1; r++) {
        const char *row = hs__row(w, r);
        __m256 xr = _mm256_set1_ps(x[r - row0]);
        for (uint32_t k = col0; k < col1; k += 8) {
            uint32_t n = col1 - k < 8 ? col1 - k : 8;
            float *at = y + (k - col0);
            __m256 old = n < 8 ? tail_f32(at, n) : _mm256_loadu_ps(at);
            store_n(at, _mm256_fmadd_ps(weights8(w, row, r, k, n), xr, old), n);
        }
    }
}

#define DEFINE_DOT(name, type, load)                                                                                   \
    static float name(const type *a, const float *b, uint32_t n)                                                       \
    {                                                                                                                  \
        __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};            \
        uint32_t i = 0;                                                                                                \
        for (; i + 32 <= n; i += 32)                                                                                   \
            for (uint32_t j = 0; j < 4; j++)                                                                           \
                s[j] = _mm256_fmadd_ps(load((const char *)(a + i + 8 * j)), _mm256_loadu_ps(b + i + 8 * j), s[j]);     \
        for (; i + 8 <= n; i += 8)                                                                                     \
            s[0] = _mm256_fmadd_ps(load((const char *)(a + i)), _mm256_loadu_ps(b + i), s[0]);                         \
        if (i < n) {                                                                                                   \
            char tail_bytes[32];                                                                                       \
            s[1] = _mm256_fmadd_ps(TAIL(load, sizeof(type), a + i, n - i), tail_f32(b + i, n - i), s[1]);              \
        }                                                                                                              \
        return reduce8(sum4(s));                                                                                       \
    }

DEFINE_DOT(dot, float, load8_f32)
DEFINE_DOT(dot_f16, uint16_t, load8_f16)

#define DEFINE_AXPY(name, type, load)                                                                                  \
    static void name(float a, const type *x, float *y, uint32_t n)                                                     \
    {                                                                                                                  \
        __m256 va = _mm256_set1_ps(a);                                                                                 \
        uint32_t i = 0;                                                                                                \
        for (; i + 8 <= n; i += 8)                                                                                     \
            _mm256_storeu_ps(y + i, _mm256_fmadd_ps(va, load((const char *)(x + i)), _mm256_loadu_ps(y + i)));         \
        if (i < n) {                                                                                                   \
            char tail_bytes[32];                                                                                       \
            store_n(y + i, _mm256_fmadd_ps(va, TAIL(load, sizeof(type), x + i, n - i), tail_f32(y + i, n - i)),        \
                    n - i);                                                                                            \
        }                                                                                                              \
    }

DEFINE_AXPY(axpy, float, load8_f32)
DEFINE_AXPY(axpy_f16, uint16_t, load8_f16)

static void to_f16(const float *x, uint16_t *out, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        out[i] = hs__f32_to_f16(x[i]);
}

static void from_f16(const uint16_t *x, float *out, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, load8_f16((const char *)(x + i)));
    for (; i < n; i++)
        out[i] = hs__f16_to_f32(x[i]);
}

static void rmsnorm(const float *x, const float *weight, uint32_t n, float eps, float *out)
{
    __m256 scale = _mm256_set1_ps(1.0f / sqrtf(dot(x, x, n) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 8) {
        uint32_t m = n - i < 8 ? n - i : 8;
        __m256 v = _mm256_mul_ps(m < 8 ? tail_f32(x + i, m) : _mm256_loadu_ps(x + i), scale);
        if (weight)
            v = _mm256_mul_ps(v, m < 8 ? tail_f32(weight + i, m) : _mm256_loadu_ps(weight + i));
        store_n(out + i, v, m);
    }
}

const hs_kernels hs__kernels_avx2 = {
    .name = "avx2",
    .matvec = matvec,
    .matvec_t = matvec_t,
    .dequant_span = dequant_span,
    .dot = dot,
    .axpy = axpy,
    .dot_f16 = dot_f16,
    .axpy_f16 = axpy_f16,
    .to_f16 = to_f16,
    .from_f16 = from_f16,
    .rmsnorm = rmsnorm,
    .silu_mul = hs__silu_mul,
    .softmax = hs__softmax,
};
