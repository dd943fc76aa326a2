/* exp_avx2.c - exp.c's operations, eight at a time and with the same bits: no FMA here. */
#include <math.h>

#include "math/avx2_int.h"

/* hs__exp in each lane. */
HS__INLINE __m256 exp8(__m256 x)
{
    const __m256 round = _mm256_set1_ps(HS__EXP_ROUND);
    x = _mm256_max_ps(_mm256_set1_ps(HS__EXP_LOW), x); /* the second operand where x is NaN */
    x = _mm256_min_ps(_mm256_set1_ps(HS__EXP_HIGH), x);
    __m256 shifted = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(HS__EXP_LOG2E)), round);
    __m256 n = _mm256_sub_ps(shifted, round);
    __m256 r = _mm256_sub_ps(x, _mm256_mul_ps(n, _mm256_set1_ps(HS__EXP_LN2_HI)));
    r = _mm256_sub_ps(r, _mm256_mul_ps(n, _mm256_set1_ps(HS__EXP_LN2_LO)));
    __m256 p = _mm256_set1_ps(HS__EXP_C5);
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(HS__EXP_C4));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(HS__EXP_C3));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(HS__EXP_C2));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(HS__EXP_C1));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(HS__EXP_C0));
    p = _mm256_add_ps(_mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(r, r), p), r), _mm256_set1_ps(1.0f));
    __m256i e = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(round));
    __m256i half = _mm256_srai_epi32(e, 1), bias = _mm256_set1_epi32(127);
    __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(e, half), bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}

HS__INLINE __m256 silu8(__m256 g, __m256 u)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 e = exp8(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
    return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(one, e)), u);
}

void hs__silu_mul_avx2(const float *gate, const float *up, uint32_t n, float *out)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, silu8(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i < n)
        hs__store_n(out + i, silu8(hs__tail_f32(gate + i, n - i), hs__tail_f32(up + i, n - i)), n - i);
}

/* The biggest of top and x * scale; a NaN in x is passed over. Leaves the products in x. */
static float scale_and_max(float *x, uint32_t n, float scale, float top)
{
    __m256 s = _mm256_set1_ps(scale), most = _mm256_set1_ps(top);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), s);
        _mm256_storeu_ps(x + i, v);
        most = _mm256_max_ps(v, most);
    }
    float lanes[8];
    _mm256_storeu_ps(lanes, most);
    for (uint32_t j = 0; j < 8; j++)
        top = lanes[j] > top ? lanes[j] : top;
    for (; i < n; i++) {
        x[i] *= scale;
        top = x[i] > top ? x[i] : top;
    }
    return top;
}

float hs__softmax_piece_avx2(float *x, uint32_t n, float scale, float *max, float *sum)
{
    float top = scale_and_max(x, n, scale, *max);
    __m256 t = _mm256_set1_ps(top), lanes = _mm256_setzero_ps();
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), t));
        _mm256_storeu_ps(x + i, v);
        lanes = _mm256_add_ps(lanes, v);
    }
    if (i < n) {
        hs__store_n(x + i, exp8(_mm256_sub_ps(hs__tail_f32(x + i, n - i), t)), n - i);
        lanes = _mm256_add_ps(lanes, hs__tail_f32(x + i, n - i));
    }
    float shrink = top > *max ? hs__exp(*max - top) : 1.0f;
    *max = top;
    *sum = *sum * shrink + hs__reduce8(lanes);
    return shrink;
}
