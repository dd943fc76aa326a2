/*
 * kernels_avx2.c - AVX2, FMA and F16C: operations on vectors, and the tables of the sets: AVX-512 differs in
 * the 8-bit products only. matvec_avx2.c,
 * dequant_avx2.c and gemm_avx2.c have the operations on matrices, exp_avx2.c those with an exponential.
 *
 * Order: dot sums over 32 interleaved partial sums. Results of axpy, rmsnorm and conversions are elementwise.
 */
#include <math.h>

#include "math/quant_avx2_int.h"

static inline __m256 sum4(const __m256 *a)
{
    return _mm256_add_ps(_mm256_add_ps(a[0], a[1]), _mm256_add_ps(a[2], a[3]));
}

#define TAIL(load, size, p, n)                                                                                         \
    (memset(tail_bytes, 0, sizeof tail_bytes), memcpy(tail_bytes, p, (size_t)(n) * (size)), load(tail_bytes))

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
            s[1] = _mm256_fmadd_ps(TAIL(load, sizeof(type), a + i, n - i), hs__tail_f32(b + i, n - i), s[1]);          \
        }                                                                                                              \
        return hs__reduce8(sum4(s));                                                                                   \
    }

DEFINE_DOT(dot, float, hs__load8_f32)
DEFINE_DOT(dot_f16, uint16_t, hs__load8_f16)

#define DEFINE_AXPY(name, type, load)                                                                                  \
    static void name(float a, const type *x, float *y, uint32_t n)                                                     \
    {                                                                                                                  \
        __m256 va = _mm256_set1_ps(a);                                                                                 \
        uint32_t i = 0;                                                                                                \
        for (; i + 8 <= n; i += 8)                                                                                     \
            _mm256_storeu_ps(y + i, _mm256_fmadd_ps(va, load((const char *)(x + i)), _mm256_loadu_ps(y + i)));         \
        if (i < n) {                                                                                                   \
            char tail_bytes[32];                                                                                       \
            hs__store_n(y + i,                                                                                         \
                        _mm256_fmadd_ps(va, TAIL(load, sizeof(type), x + i, n - i), hs__tail_f32(y + i, n - i)),       \
                        n - i);                                                                                        \
        }                                                                                                              \
    }

DEFINE_AXPY(axpy, float, hs__load8_f32)
DEFINE_AXPY(axpy_f16, uint16_t, hs__load8_f16)

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
        _mm256_storeu_ps(out + i, hs__load8_f16((const char *)(x + i)));
    for (; i < n; i++)
        out[i] = hs__f16_to_f32(x[i]);
}

static void rmsnorm(const float *x, const float *weight, uint32_t n, float eps, float *out)
{
    __m256 scale = _mm256_set1_ps(1.0f / sqrtf(dot(x, x, n) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 8) {
        uint32_t m = n - i < 8 ? n - i : 8;
        __m256 v = _mm256_mul_ps(m < 8 ? hs__tail_f32(x + i, m) : _mm256_loadu_ps(x + i), scale);
        if (weight)
            v = _mm256_mul_ps(v, m < 8 ? hs__tail_f32(weight + i, m) : _mm256_loadu_ps(weight + i));
        hs__store_n(out + i, v, m);
    }
}

#define KERNELS(set, q8)                                                                                               \
    {                                                                                                                  \
        .name = set, .matvec = hs__matvec_avx2, .matvec_t = hs__matvec_t_avx2, .dequant_span = hs__dequant_span_avx2,  \
        .quantise = hs__quantise_avx2, .matvec_q8 = q8, .to_panel = hs__to_panel_avx2,                                 \
        .gemm_panel = hs__gemm_panel_avx2, .dot = dot, .axpy = axpy, .dot_f16 = dot_f16, .axpy_f16 = axpy_f16,         \
        .to_f16 = to_f16, .from_f16 = from_f16, .rmsnorm = rmsnorm, .silu_mul = hs__silu_mul_avx2,                     \
        .softmax = hs__softmax, .softmax_piece = hs__softmax_piece_avx2,                                               \
    }

const hs_kernels hs__kernels_avx2 = KERNELS("avx2", hs__matvec_q8_avx2);
const hs_kernels hs__kernels_avx512 = KERNELS("avx512", hs__matvec_q8_avx512);
const hs_kernels hs__kernels_avx512vbmi = KERNELS("avx512", hs__matvec_q8_avx512vbmi);
