/* quant_q_avx2.c - blocks of 32 with AVX2: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4 (both). */
#include "math/quant_panel_avx2_int.h"

HS__INLINE __m256i group_q4_0(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j, (void)sign;
    return hs__nibbles(p + 2);
}

HS__INLINE __m256i group_q4_1(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j, (void)sign;
    return hs__nibbles(p + 4);
}

HS__INLINE __m256i fifth_bits(const uint8_t *p)
{
    return _mm256_and_si256(hs__spread_bits(hs__load_u32(p)), _mm256_set1_epi8(16));
}

HS__INLINE __m256i group_q5_0(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j, (void)sign;
    return _mm256_or_si256(hs__nibbles(p + 6), fifth_bits(p + 2));
}

HS__INLINE __m256i group_q5_1(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j, (void)sign;
    return _mm256_or_si256(hs__nibbles(p + 8), fifth_bits(p + 4));
}

HS__INLINE __m256i group_q8_0(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j;
    *sign = hs__load32(p + 2);
    return _mm256_abs_epi8(*sign);
}

HS__INLINE __m256i group_iq4_nl(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j;
    *sign = hs__look_up(hs__iq4_values, hs__nibbles(p + 2));
    return _mm256_abs_epi8(*sign);
}

static const int8_t mxfp4_biased[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

HS__INLINE __m256i group_mxfp4(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j, (void)sign;
    return hs__look_up(mxfp4_biased, hs__nibbles(p + 1));
}

HS__INLINE __m256i group_mxfp4_pairs(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)j, (void)sign;
    __m256i q = hs__nibbles(p);
    __m128i even = _mm256_castsi256_si128(q), odd = _mm256_extracti128_si256(q, 1);
    q = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
    return hs__look_up(mxfp4_biased, q);
}

static const hs__format q4_0 = {.bytes = 18, .bias = 8, .steps = 4, .group = group_q4_0, .d_factor = 1};
static const hs__format q4_1 = {
    .bytes = 20, .has_min = 1, .steps = 4, .group = group_q4_1, .d_factor = 1, .min_factor = -1};
static const hs__format q5_0 = {.bytes = 22, .bias = 16, .steps = 4, .group = group_q5_0, .d_factor = 1};
static const hs__format q5_1 = {
    .bytes = 24, .has_min = 1, .steps = 4, .group = group_q5_1, .d_factor = 1, .min_factor = -1};
static const hs__format q8_0 = {.bytes = 34, .is_signed = 1, .steps = 1, .group = group_q8_0, .d_factor = 1};
static const hs__format iq4_nl = {.bytes = 18, .is_signed = 1, .steps = 1, .group = group_iq4_nl, .d_factor = 1};
static const hs__format mxfp4 = {.bytes = 17, .bias = 12, .steps = 4, .group = group_mxfp4, .d_is_e8m0 = 1};
static const hs__format mxfp4_pairs = {
    .bytes = 16, .bias = 12, .steps = 4, .group = group_mxfp4_pairs, .d_is_e8m0 = 1, .d_apart = 1};

HS__DEFINE_FORMAT(q4_0, 32)
HS__DEFINE_FORMAT(q4_1, 32)
HS__DEFINE_FORMAT(q5_0, 32)
HS__DEFINE_FORMAT(q5_1, 32)
HS__DEFINE_FORMAT(q8_0, 32)
HS__DEFINE_FORMAT(iq4_nl, 32)
HS__DEFINE_FORMAT(mxfp4, 32)
HS__DEFINE_FORMAT(mxfp4_pairs, 32)
