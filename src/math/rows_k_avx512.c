/* rows_k_avx512.c - few vectors by Q2_K to Q6_K, with AVX-512. Layouts: unpack_k.c. */
#include "math/quant_rows_avx512_int.h"

/* Only what hs__d_of_four wants. */
static const hs__format q2_k_d = {.bytes = 84, .has_min = 1, .d_at = 80, .d_factor = 1, .min_factor = 1};
static const hs__format q3_k_d = {.bytes = 110, .d_at = 108, .d_factor = 1};
static const hs__format q4_k_d = {.bytes = 144, .has_min = 1, .d_factor = 1, .min_factor = 1};
static const hs__format q5_k_d = {.bytes = 176, .has_min = 1, .d_factor = 1, .min_factor = 1};
static const hs__format q6_k_d = {.bytes = 210, .d_at = 208, .d_factor = 1};

HS__INLINE __m512i bits(__m512i v, uint32_t by, char mask)
{
    return _mm512_and_si512(_mm512_srli_epi16(v, by), _mm512_set1_epi8(mask));
}

/* 32 bytes twice. */
HS__INLINE __m512i twice(const uint8_t *p)
{
    return hs__once(_mm512_broadcast_i64x4(hs__load32(p)));
}

/* v + value where the byte of flags has a bit, low or high of the two halves. */
HS__INLINE __m512i with_bit(__m512i v, __m512i flags, uint32_t low, uint32_t high, char value)
{
    __m512i test = hs__two_of_32(_mm256_set1_epi8((char)low), _mm256_set1_epi8((char)high));
    return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(flags, test), v, _mm512_set1_epi8(value));
}

/* Groups of 32: j and j + 2 for j = 0, 1, 4, 5. */
HS__INLINE void order_4(const int8_t *x, __m512i *out)
{
    HS__EACH (h, 2) {
        __m512i a = hs__load64(x + 128 * h), b = hs__load64(x + 128 * h + 64);
        out[2 * h] = _mm512_shuffle_i64x2(a, b, 0x44);
        out[2 * h + 1] = _mm512_shuffle_i64x2(a, b, 0xee);
    }
}

/* Groups of 32: j and j + 4. */
HS__INLINE void order_2(const int8_t *x, __m512i *out)
{
    HS__EACH (h, 2) {
        __m512i a = hs__load64(x + 64 * h), b = hs__load64(x + 128 + 64 * h);
        out[2 * h] = _mm512_shuffle_i64x2(a, b, 0x44);
        out[2 * h + 1] = _mm512_shuffle_i64x2(a, b, 0xee);
    }
}

HS__INLINE void order_6(const int8_t *x, __m512i *out)
{
    HS__EACH (i, 4)
        out[i] = hs__load64(x + 64 * i);
}

/* The 128 bits of number r, in out[r] four times. */
HS__INLINE void each_everywhere(__m512i v, __m512i *out)
{
    out[0] = _mm512_shuffle_i64x2(v, v, 0x00);
    out[1] = _mm512_shuffle_i64x2(v, v, 0x55);
    out[2] = _mm512_shuffle_i64x2(v, v, 0xaa);
    out[3] = _mm512_shuffle_i64x2(v, v, 0xff);
}

/* In each 128 bits S_0 to S_7 and M_0 to M_7: see hs__k_scales. */
HS__INLINE void scales_q4_k(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    const __m512i shift = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 0, 4));
    const __m512i low = _mm512_broadcast_i32x4(_mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
    const __m512i high = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x30303030, 0, 0x30303030));
    __m512i head = hs__load16_of_four(row, 0);
    __m512i v = _mm512_and_si512(_mm512_srlv_epi32(_mm512_shuffle_epi32(head, 0xed), shift), low);
    v = _mm512_or_si512(v, _mm512_and_si512(_mm512_srli_epi32(_mm512_shuffle_epi32(head, 0x84), 2), high));
    each_everywhere(v, scale);
    min[0] = _mm512_unpackhi_epi8(v, _mm512_setzero_si512());
}

HS__INLINE void quants_q4_k(const uint8_t *p, __m512i *out)
{
    HS__EACH (h, 2) {
        __m512i q = hs__once(hs__load64(p + 16 + 64 * h));
        out[2 * h] = bits(q, 0, 15);
        out[2 * h + 1] = bits(q, 4, 15);
    }
}

HS__INLINE void quants_q5_k(const uint8_t *p, __m512i *out)
{
    __m512i fifth = twice(p + 16);
    HS__EACH (h, 2) {
        __m512i q = hs__once(hs__load64(p + 48 + 64 * h));
        out[2 * h] = with_bit(bits(q, 0, 15), fifth, 1u << 4 * h, 4u << 4 * h, 16);
        out[2 * h + 1] = with_bit(bits(q, 4, 15), fifth, 2u << 4 * h, 8u << 4 * h, 16);
    }
}

HS__INLINE void scales_q6_k(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    (void)min;
    HS__EACH (r, 4)
        scale[r] = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(hs__load16(row[r] + 192)));
}

HS__INLINE void quants_q6_k(const uint8_t *p, __m512i *out)
{
    const __m512i left = hs__two_of_32(_mm256_set1_epi16(4), _mm256_set1_epi16(2));
    const __m512i right = hs__two_of_32(_mm256_setzero_si256(), _mm256_set1_epi16(2));
    const __m512i top = _mm512_set1_epi8(0x30);
    HS__EACH (h, 2) {
        __m512i q = hs__once(hs__load64(p + 64 * h)), high = twice(p + 128 + 32 * h);
        out[2 * h] = _mm512_or_si512(bits(q, 0, 15), _mm512_and_si512(_mm512_sllv_epi16(high, left), top));
        out[2 * h + 1] = _mm512_or_si512(bits(q, 4, 15), _mm512_and_si512(_mm512_srlv_epi16(high, right), top));
    }
}

HS__INLINE void scales_q2_k(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    __m512i v = hs__load16_of_four(row, 0), high = bits(v, 4, 15);
    each_everywhere(bits(v, 0, 15), scale);
    min[0] = _mm512_unpacklo_epi8(high, _mm512_setzero_si512());
    min[1] = _mm512_unpackhi_epi8(high, _mm512_setzero_si512());
}

HS__INLINE void quants_q2_k(const uint8_t *p, __m512i *out)
{
    __m512i q = hs__once(hs__load64(p + 16));
    HS__EACH (i, 4)
        out[i] = bits(q, 2 * i, 3);
}

HS__INLINE void scales_q3_k(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    const __m512i right = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 4));
    const __m512i left = _mm512_broadcast_i32x4(_mm_setr_epi32(4, 2, 0, 30)); /* rotated: 30 is 2 to the right */
    (void)min;
    __m512i v = _mm512_bsrli_epi128(hs__load16_of_four(row, 94), 2);
    __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi32(v, 0x44), right);
    __m512i high = _mm512_rolv_epi32(_mm512_shuffle_epi32(v, 0xaa), left);
    v = _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)), _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
    v = _mm512_sub_epi8(v, _mm512_set1_epi8(32));
    scale[0] = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(_mm512_castsi512_si128(v)));
    scale[1] = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(_mm512_extracti32x4_epi32(v, 1)));
    scale[2] = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(_mm512_extracti32x4_epi32(v, 2)));
    scale[3] = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(_mm512_extracti32x4_epi32(v, 3)));
}

HS__INLINE void quants_q3_k(const uint8_t *p, __m512i *out)
{
    __m512i q = hs__once(hs__load64(p + 32)), third = twice(p);
    HS__EACH (i, 4)
        out[i] = with_bit(bits(q, 2 * i, 3), third, 1u << i, 16u << i, 4);
}

#define PLACES_2                                                                                                       \
    {                                                                                                                  \
        {0, 1, 8, 9}, {2, 3, 10, 11}, {4, 5, 12, 13},                                                                  \
        {                                                                                                              \
            6, 7, 14, 15                                                                                               \
        }                                                                                                              \
    }
#define PLACES_4                                                                                                       \
    {                                                                                                                  \
        {0, 0, 2, 2}, {1, 1, 3, 3}, {4, 4, 6, 6},                                                                      \
        {                                                                                                              \
            5, 5, 7, 7                                                                                                 \
        }                                                                                                              \
    }
#define PLACES_6                                                                                                       \
    {                                                                                                                  \
        {0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11},                                                                    \
        {                                                                                                              \
            12, 13, 14, 15                                                                                             \
        }                                                                                                              \
    }
static const hs__wide_256 q2_k = {.format = &q2_k_d,
                                  .is_in_lanes = 1,
                                  .place = PLACES_2,
                                  .order = order_2,
                                  .quants = quants_q2_k,
                                  .scales = scales_q2_k};
static const hs__wide_256 q3_k = {
    .format = &q3_k_d, .bias = 4, .place = PLACES_2, .order = order_2, .quants = quants_q3_k, .scales = scales_q3_k};
static const hs__wide_256 q4_k = {.format = &q4_k_d,
                                  .is_in_lanes = 1,
                                  .place = PLACES_4,
                                  .order = order_4,
                                  .quants = quants_q4_k,
                                  .scales = scales_q4_k,
                                  .min_of_32 = 1};
static const hs__wide_256 q5_k = {.format = &q5_k_d,
                                  .is_in_lanes = 1,
                                  .place = PLACES_4,
                                  .order = order_4,
                                  .quants = quants_q5_k,
                                  .scales = scales_q4_k,
                                  .min_of_32 = 1};
static const hs__wide_256 q6_k = {
    .format = &q6_k_d, .bias = 32, .place = PLACES_6, .order = order_6, .quants = quants_q6_k, .scales = scales_q6_k};

HS__DEFINE_ROWS512(q2_k, 256)
HS__DEFINE_ROWS512(q3_k, 256)
HS__DEFINE_ROWS512(q4_k, 256)
HS__DEFINE_ROWS512(q5_k, 256)
HS__DEFINE_ROWS512(q6_k, 256)
