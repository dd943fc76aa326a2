/* quant_k_avx2.c - Q2_K to Q6_K, TQ1_0 and TQ2_0 with AVX2. Layouts: unpack_k.c. */
#include "math/quant_panel_avx2_int.h"

/* 16 bytes, one per group, put in order and widened. */
HS__INLINE __m256i in_order(__m128i scales, int is_signed)
{
    const __m128i even_odd = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    scales = _mm_shuffle_epi8(scales, even_odd);
    return is_signed ? _mm256_cvtepi8_epi16(scales) : _mm256_cvtepu8_epi16(scales);
}

/* v >> by, of each byte the bits of mask; by may be negative. */
HS__INLINE __m256i bits(__m256i v, int by, char mask)
{
    v = by >= 0 ? _mm256_srli_epi16(v, by) : _mm256_slli_epi16(v, -by);
    return _mm256_and_si256(v, _mm256_set1_epi8(mask));
}

/* Eight scales of 32 elements. */
HS__INLINE __m256i for_both(uint32_t low, uint32_t high)
{
    __m128i bytes = _mm_cvtsi64_si128((long long)((uint64_t)high << 32 | low));
    return _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(bytes));
}

HS__INLINE void scales_q4_k(const uint8_t *p, hs__scales *s)
{
    uint32_t a = hs__load_u32(p + 4), b = hs__load_u32(p + 8), c = hs__load_u32(p + 12);
    s->scale = for_both(a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030));
    s->min = for_both(b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030));
}

HS__INLINE __m256i group_q4_k(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)sign;
    return bits(hs__load32(p + 16 + j / 2 * 32), j % 2 * 4, 15);
}

HS__INLINE __m256i group_q5_k(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)sign;
    __m256i low = bits(hs__load32(p + 48 + j / 2 * 32), j % 2 * 4, 15);
    return _mm256_or_si256(low, bits(hs__load32(p + 16), (int)j - 4, 16));
}

HS__INLINE void scales_q6_k(const uint8_t *p, hs__scales *s)
{
    s->scale = in_order(hs__load16(p + 192), 1);
}

HS__INLINE __m256i group_q6_k(const uint8_t *p, uint32_t j, __m256i *sign)
{
    uint32_t h = j / 4, g = j % 4;
    (void)sign;
    __m256i low = bits(hs__load32(p + 64 * h + g % 2 * 32), g / 2 * 4, 15);
    return _mm256_or_si256(low, bits(hs__load32(p + 128 + 32 * h), (int)(2 * g) - 4, 0x30));
}

HS__INLINE void scales_q2_k(const uint8_t *p, hs__scales *s)
{
    const __m128i low = _mm_set1_epi8(15);
    __m128i both = hs__load16(p);
    s->scale = in_order(_mm_and_si128(both, low), 0);
    s->min = in_order(_mm_and_si128(_mm_srli_epi16(both, 4), low), 0);
}

HS__INLINE __m256i group_q2_k(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)sign;
    return bits(hs__load32(p + 16 + j / 4 * 32), j % 4 * 2, 3);
}

HS__INLINE void scales_q3_k(const uint8_t *p, hs__scales *s)
{
    uint32_t a = hs__load_u32(p + 96), b = hs__load_u32(p + 100), c = hs__load_u32(p + 104);
    const uint32_t low = 0x0f0f0f0f, high = 0x30303030;
    __m128i all = _mm_setr_epi32((int)((a & low) | (c << 4 & high)), (int)((b & low) | (c << 2 & high)),
                                 (int)((a >> 4 & low) | (c & high)), (int)((b >> 4 & low) | (c >> 2 & high)));
    s->scale = in_order(_mm_sub_epi8(all, _mm_set1_epi8(32)), 1);
}

HS__INLINE __m256i group_q3_k(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)sign;
    __m256i low = bits(hs__load32(p + 32 + j / 4 * 32), j % 4 * 2, 3);
    return _mm256_or_si256(low, bits(hs__load32(p), (int)j - 2, 4));
}

HS__INLINE void scales_one(const uint8_t *p, hs__scales *s)
{
    (void)p;
    s->scale = _mm256_set1_epi16(1);
}

HS__INLINE __m256i group_tq2_0(const uint8_t *p, uint32_t j, __m256i *sign)
{
    (void)sign;
    return bits(hs__load32(p + j / 4 * 32), j % 4 * 2, 3);
}

/* The first digit in base 3 of byte / 256: how many of 1/3 and 2/3 it reaches. */
HS__INLINE __m256i first_digit(__m256i v)
{
    __m256i one = _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8(86)), v);
    __m256i two = _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8((char)171)), v);
    return _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two));
}

/* Bytes times a power of 3, each modulo 256; v's bytes 2 i and 2 i + 1 times those of power. */
HS__INLINE __m256i times(__m256i v, __m256i power)
{
    const __m256i low = _mm256_set1_epi16(0xff);
    __m256i even = _mm256_mullo_epi16(v, _mm256_and_si256(power, low));
    __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(v, 8), _mm256_srli_epi16(power, 8));
    return _mm256_or_si256(_mm256_and_si256(even, low), _mm256_slli_epi16(odd, 8));
}

/* Elements 160 to 239 are five digits of 16 bytes, the last 16 four digits of 4 bytes. */
HS__INLINE __m256i group_tq1_0(const uint8_t *p, uint32_t j, __m256i *sign)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    (void)sign;
    if (j < 5)
        return first_digit(times(hs__load32(p), _mm256_set1_epi8((char)power[j])));
    __m128i q = hs__load16(p + 32), low = _mm_set1_epi8((char)power[2 * j - 10]);
    if (j < 7) {
        __m256i both = _mm256_set_m128i(_mm_set1_epi8((char)power[2 * j - 9]), low);
        return first_digit(times(_mm256_broadcastsi128_si256(q), both));
    }
    __m128i last = _mm_set1_epi32((int)hs__load_u32(p + 48));
    __m128i of_last = _mm_setr_epi32(0x01010101, 0x03030303, 0x09090909, 0x1b1b1b1b);
    return first_digit(times(_mm256_set_m128i(last, q), _mm256_set_m128i(of_last, low)));
}

static const hs__format q2_k = {.bytes = 84,
                                .has_min = 1,
                                .steps = 4,
                                .scales = scales_q2_k,
                                .group = group_q2_k,
                                .d_at = 80,
                                .d_factor = 1,
                                .min_factor = 1};
static const hs__format q3_k = {
    .bytes = 110, .bias = 4, .steps = 4, .scales = scales_q3_k, .group = group_q3_k, .d_at = 108, .d_factor = 1};
static const hs__format q4_k = {.bytes = 144,
                                .has_min = 1,
                                .wide = 1,
                                .steps = 4,
                                .scales = scales_q4_k,
                                .group = group_q4_k,
                                .d_factor = 1,
                                .min_factor = 1};
static const hs__format q5_k = {.bytes = 176,
                                .has_min = 1,
                                .wide = 1,
                                .steps = 4,
                                .scales = scales_q4_k,
                                .group = group_q5_k,
                                .d_factor = 1,
                                .min_factor = 1};
static const hs__format q6_k = {
    .bytes = 210, .bias = 32, .steps = 2, .scales = scales_q6_k, .group = group_q6_k, .d_at = 208, .d_factor = 1};
static const hs__format tq1_0 = {.bytes = 54,
                                 .bias = 1,
                                 .wide = 1,
                                 .steps = 4,
                                 .scales = scales_one,
                                 .group = group_tq1_0,
                                 .d_at = 52,
                                 .d_factor = 1};
static const hs__format tq2_0 = {.bytes = 66,
                                 .bias = 1,
                                 .wide = 1,
                                 .steps = 4,
                                 .scales = scales_one,
                                 .group = group_tq2_0,
                                 .d_at = 64,
                                 .d_factor = 1};

HS__DEFINE_FORMAT(q2_k, 256)
HS__DEFINE_FORMAT(q3_k, 256)
HS__DEFINE_FORMAT(q4_k, 256)
HS__DEFINE_FORMAT(q5_k, 256)
HS__DEFINE_FORMAT(q6_k, 256)
HS__DEFINE_FORMAT(tq1_0, 256)
HS__DEFINE_FORMAT(tq2_0, 256)
