/* quant_iq_avx2.c - IQ1, IQ2, IQ3 and IQ4_XS with AVX2. Layouts: unpack_iq.c; codebooks: iq_grids.c. */
#include "math/quant_panel_avx2_int.h"

/* 2 v + 1 */
HS__INLINE __m256i odd(__m256i v)
{
    return _mm256_add_epi16(_mm256_add_epi16(v, v), _mm256_set1_epi16(1));
}

/* Eight scales, of 32 elements each, from the top four bits of eight words. */
HS__INLINE __m256i top_bits(__m256i words)
{
    __m256i v = _mm256_srli_epi32(words, 28);
    return odd(_mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x88));
}

/* Sixteen scales of 4 bits. */
HS__INLINE __m256i nibble_scales(const uint8_t *p)
{
    __m128i q = hs__load_8(p), low = _mm_set1_epi8(15);
    __m128i both = _mm_unpacklo_epi64(_mm_and_si128(q, low), _mm_and_si128(_mm_srli_epi16(q, 4), low));
    return odd(_mm256_cvtepu8_epi16(both));
}

/* Eight scales of 4 bits, each of 32 elements, as eight bytes in order. */
HS__INLINE __m128i eight_nibbles(const uint8_t *p)
{
    uint32_t q = hs__load_u32(p);
    return _mm_unpacklo_epi8(_mm_cvtsi32_si128((int)(q & 0x0f0f0f0f)), _mm_cvtsi32_si128((int)(q >> 4 & 0x0f0f0f0f)));
}

HS__INLINE __m256i four(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return _mm256_setr_epi64x((long long)a, (long long)b, (long long)c, (long long)d);
}

/* Four times eight signs by 7 bits each. */
HS__INLINE __m256i signs_7(uint32_t bits)
{
    return four(hs__iq_signs[bits & 127], hs__iq_signs[bits >> 7 & 127], hs__iq_signs[bits >> 14 & 127],
                hs__iq_signs[bits >> 21 & 127]);
}

/* 32 signs by a bit each. */
HS__INLINE __m256i signs_1(uint32_t bits)
{
    return _mm256_or_si256(hs__spread_bits(bits), _mm256_set1_epi8(1));
}

HS__INLINE void scales_iq2_xxs(const uint8_t *p, hs__scales *s)
{
    __m256 a = _mm256_castsi256_ps(hs__load32(p + 2)), b = _mm256_castsi256_ps(hs__load32(p + 34));
    __m256i words = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
    s->scale = top_bits(_mm256_permute4x64_epi64(words, 0xd8));
}

HS__INLINE __m256i group_iq2_xxs(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 2 + 8 * j;
    *sign = signs_7(hs__load_u32(q + 4));
    return four(hs__iq2xxs_grid[q[0]], hs__iq2xxs_grid[q[1]], hs__iq2xxs_grid[q[2]], hs__iq2xxs_grid[q[3]]);
}

HS__INLINE void scales_iq2_xs(const uint8_t *p, hs__scales *s)
{
    s->scale = nibble_scales(p + 66);
}

HS__INLINE __m256i group_iq2_xs(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 2 + 8 * j;
    uint64_t c;
    memcpy(&c, q, sizeof c);
    *sign = four(hs__iq_signs[c >> 9 & 127], hs__iq_signs[c >> 25 & 127], hs__iq_signs[c >> 41 & 127],
                 hs__iq_signs[c >> 57]);
    return four(hs__iq2xs_grid[c & 511], hs__iq2xs_grid[c >> 16 & 511], hs__iq2xs_grid[c >> 32 & 511],
                hs__iq2xs_grid[c >> 48 & 511]);
}

HS__INLINE void scales_iq2_s(const uint8_t *p, hs__scales *s)
{
    s->scale = nibble_scales(p + 74);
}

HS__INLINE __m256i group_iq2_s(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 2 + 4 * j;
    uint32_t high = (uint32_t)p[66 + j] << 8;
    *sign = signs_1(hs__load_u32(p + 34 + 4 * j));
    return four(hs__iq2s_grid[q[0] | (high & 0x300)], hs__iq2s_grid[q[1] | (high >> 2 & 0x300)],
                hs__iq2s_grid[q[2] | (high >> 4 & 0x300)], hs__iq2s_grid[q[3] | (high >> 6 & 0x300)]);
}

HS__INLINE void scales_iq3_xxs(const uint8_t *p, hs__scales *s)
{
    s->scale = top_bits(hs__load32(p + 66));
}

HS__INLINE __m256i group_iq3_xxs(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 2 + 8 * j;
    const uint32_t *g = hs__iq3xxs_grid;
    *sign = signs_7(hs__load_u32(p + 66 + 4 * j));
    return _mm256_setr_epi32((int)g[q[0]], (int)g[q[1]], (int)g[q[2]], (int)g[q[3]], (int)g[q[4]], (int)g[q[5]],
                             (int)g[q[6]], (int)g[q[7]]);
}

HS__INLINE void scales_iq3_s(const uint8_t *p, hs__scales *s)
{
    s->scale = odd(_mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(eight_nibbles(p + 106))));
}

HS__INLINE __m256i group_iq3_s(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 2 + 8 * j;
    const uint32_t *g = hs__iq3s_grid;
    uint32_t h = p[66 + j];
    *sign = signs_1(hs__load_u32(p + 74 + 4 * j));
    return _mm256_setr_epi32((int)g[q[0] | (h << 8 & 256)], (int)g[q[1] | (h << 7 & 256)],
                             (int)g[q[2] | (h << 6 & 256)], (int)g[q[3] | (h << 5 & 256)],
                             (int)g[q[4] | (h << 4 & 256)], (int)g[q[5] | (h << 3 & 256)],
                             (int)g[q[6] | (h << 2 & 256)], (int)g[q[7] | (h << 1 & 256)]);
}

/* IQ1: 0, 8, 16 plus 0 or 2, so 9 more than eight times the ternary element plus or minus 1. */
HS__INLINE void scales_iq1_s(const uint8_t *p, hs__scales *s)
{
    __m128i v = _mm_and_si128(_mm_srli_epi16(hs__load16(p + 34), 12), _mm_set1_epi16(7));
    s->scale = odd(_mm256_broadcastsi128_si256(v));
}

HS__INLINE __m256i group_iq1_s(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 2 + 4 * j;
    const uint64_t *g = hs__iq1_grid;
    uint32_t h = hs__load_u16(p + 34 + 2 * j);
    (void)sign;
    __m256i v = four(g[q[0] | (h << 8 & 0x700)], g[q[1] | (h << 5 & 0x700)], g[q[2] | (h << 2 & 0x700)],
                     g[q[3] | (h >> 1 & 0x700)]);
    return _mm256_add_epi8(v, _mm256_set1_epi8((char)(~h >> 14 & 2)));
}

HS__INLINE void scales_iq1_m(const uint8_t *p, hs__scales *s)
{
    __m128i v = hs__load_8(p + 48);
    v = _mm_unpacklo_epi16(v, v);
    __m256i to_top = _mm256_set_m128i(_mm_set1_epi32(1 << 20 | 1 << 10), _mm_set1_epi32(1 << 23 | 1 << 13));
    s->scale = odd(_mm256_srli_epi16(_mm256_mullo_epi16(_mm256_broadcastsi128_si256(v), to_top), 13));
}

HS__INLINE uint64_t ternary(uint32_t low, uint32_t high)
{
    return hs__iq1_grid[low | (high & 7) << 8] + (high & 8 ? 0 : 0x0202020202020202u);
}

HS__INLINE __m256i group_iq1_m(const uint8_t *p, uint32_t j, __m256i *sign)
{
    const uint8_t *q = p + 4 * j;
    uint32_t h = hs__load_u16(p + 32 + 2 * j);
    (void)sign;
    return four(ternary(q[0], h), ternary(q[1], h >> 4), ternary(q[2], h >> 8), ternary(q[3], h >> 12));
}

HS__INLINE float d_iq1_m(const uint8_t *p)
{
    uint32_t d = p[49] >> 4 | (p[51] & 0xf0u) | (p[53] & 0xf0u) << 4 | (p[55] & 0xf0u) << 8;
    return _cvtsh_ss((unsigned short)d) * 0.125f;
}

HS__INLINE void scales_iq4_xs(const uint8_t *p, hs__scales *s)
{
    const __m128i to_top = _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1);
    __m128i high = _mm_mullo_epi16(_mm_set1_epi16((short)hs__load_u16(p + 2)), to_top);
    high = _mm_and_si128(_mm_srli_epi16(high, 10), _mm_set1_epi16(0x30));
    __m128i v = _mm_or_si128(high, _mm_cvtepu8_epi16(eight_nibbles(p + 4)));
    s->scale = _mm256_broadcastsi128_si256(_mm_sub_epi16(v, _mm_set1_epi16(32)));
}

HS__INLINE __m256i group_iq4_xs(const uint8_t *p, uint32_t j, __m256i *sign)
{
    *sign = hs__look_up(hs__iq4_values, hs__nibbles(p + 8 + 16 * j));
    return _mm256_abs_epi8(*sign);
}

static const hs__format iq1_s = {
    .bytes = 50, .bias = 9, .wide = 1, .steps = 4, .scales = scales_iq1_s, .group = group_iq1_s, .d_factor = 0.125f};
static const hs__format iq1_m = {
    .bytes = 56, .bias = 9, .steps = 4, .scales = scales_iq1_m, .group = group_iq1_m, .d = d_iq1_m};
static const hs__format iq2_xxs = {.bytes = 66,
                                   .is_signed = 1,
                                   .steps = 2,
                                   .wide = 1,
                                   .scales = scales_iq2_xxs,
                                   .group = group_iq2_xxs,
                                   .d_factor = 0.125f};
static const hs__format iq2_xs = {
    .bytes = 74, .is_signed = 1, .steps = 2, .scales = scales_iq2_xs, .group = group_iq2_xs, .d_factor = 0.125f};
static const hs__format iq2_s = {
    .bytes = 82, .is_signed = 1, .steps = 2, .scales = scales_iq2_s, .group = group_iq2_s, .d_factor = 0.125f};
static const hs__format iq3_xxs = {.bytes = 98,
                                   .is_signed = 1,
                                   .steps = 2,
                                   .wide = 1,
                                   .scales = scales_iq3_xxs,
                                   .group = group_iq3_xxs,
                                   .d_factor = 0.25f};
static const hs__format iq3_s = {
    .bytes = 110, .is_signed = 1, .steps = 2, .wide = 1, .scales = scales_iq3_s, .group = group_iq3_s, .d_factor = 1};
static const hs__format iq4_xs = {
    .bytes = 136, .is_signed = 1, .steps = 1, .wide = 1, .scales = scales_iq4_xs, .group = group_iq4_xs, .d_factor = 1};

HS__DEFINE_FORMAT(iq1_s, 256)
HS__DEFINE_FORMAT(iq1_m, 256)
HS__DEFINE_FORMAT(iq2_xxs, 256)
HS__DEFINE_FORMAT(iq2_xs, 256)
HS__DEFINE_FORMAT(iq2_s, 256)
HS__DEFINE_FORMAT(iq3_xxs, 256)
HS__DEFINE_FORMAT(iq3_s, 256)
HS__DEFINE_FORMAT(iq4_xs, 256)
