/*
 * rows_iq_avx512vbmi.c - few vectors by IQ2_XXS, IQ2_XS and IQ3, with AVX-512, its VBMI and BITALG: codebooks of 16-bit
 * codes, each of 64 indices at once, and codes of 2 or 3 bits taken apart in a register. Elements have 64 added.
 * Layouts: unpack_iq.c.
 */
#include "math/quant_rows_avx512_int.h"

static const hs__format iq2_xxs_d = {.bytes = 66, .d_factor = 0.125f};
static const hs__format iq2_xs_d = {.bytes = 74, .d_factor = 0.125f};
static const hs__format iq3_xxs_d = {.bytes = 98, .d_factor = 0.25f};
static const hs__format iq3_s_d = {.bytes = 110, .d_factor = 1};

#define BIAS 64

HS__INLINE void order_natural(const int8_t *x, __m512i *out)
{
    HS__EACH (i, 4)
        out[i] = hs__load64(x + 64 * i);
}

HS__INLINE __m512i look_up_64(const uint16_t *codes, __m512i index)
{
    return _mm512_permutex2var_epi16(hs__load64(codes), index, hs__load64(codes + 32));
}

HS__INLINE __m512i look_up_256(const uint16_t *codes, __m512i index)
{
    __mmask32 odd = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
    __mmask32 high = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
    __m512i a = _mm512_mask_mov_epi16(look_up_64(codes, index), odd, look_up_64(codes + 64, index));
    __m512i b = _mm512_mask_mov_epi16(look_up_64(codes + 128, index), odd, look_up_64(codes + 192, index));
    return _mm512_mask_mov_epi16(a, high, b);
}

HS__INLINE __m512i look_up_512(const uint16_t *codes, __m512i index)
{
    __mmask32 high = _mm512_test_epi16_mask(index, _mm512_set1_epi16(256));
    return _mm512_mask_mov_epi16(look_up_256(codes, index), high, look_up_256(codes + 256, index));
}

/* v, negative where signs has a bit: both with BIAS. */
HS__INLINE __m512i with_signs(__m512i v, __mmask64 signs)
{
    return _mm512_mask_sub_epi8(v, signs, _mm512_set1_epi8((char)(2 * BIAS)), v);
}

/* 32 codes, each of eight elements, and 256 signs. */
HS__INLINE void eights(__m512i codes, const uint64_t *signs, __m512i *out)
{
    const __m512i shift = _mm512_set1_epi64(0x0e0c0a0806040200);
    const __m512i values = _mm512_set1_epi32((BIAS + 8) | (BIAS + 25) << 8 | (BIAS + 43) << 16);
    HS__EACH (i, 4) {
        const __m512i at =
            _mm512_setr_epi64(8 * i, 8 * i + 1, 8 * i + 2, 8 * i + 3, 8 * i + 4, 8 * i + 5, 8 * i + 6, 8 * i + 7);
        __m512i q = _mm512_multishift_epi64_epi8(shift, _mm512_permutexvar_epi16(at, codes));
        out[i] = with_signs(_mm512_permutexvar_epi8(q, values), signs[i]);
    }
}

/* 32 codes, each of four elements, and 128 signs; values: of a code, eight times. */
HS__INLINE void fours(__m512i codes, const uint64_t *signs, __m512i values, __m512i *out)
{
    const __m512i shift = _mm512_set1_epi64(0x1916131009060300);
    __m512i low = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(codes));
    __m512i high = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(codes, 1));
    low = _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(shift, low), values);
    high = _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(shift, high), values);
    out[0] = with_signs(low, signs[0]);
    out[1] = with_signs(high, signs[1]);
}

/* 32 bytes, of which 7 bits are signs; the eighth makes their number even. */
HS__INLINE void signs_of_7(__m256i v, uint64_t *out)
{
    v = _mm256_and_si256(v, _mm256_set1_epi8(127));
    __m256i parity = _mm256_and_si256(_mm256_slli_epi16(_mm256_popcnt_epi8(v), 7), _mm256_set1_epi8((char)128));
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_or_si256(v, parity));
}

/* Eight words of four times 7 bits. */
HS__INLINE __m256i bytes_of_7(__m256i words)
{
    return _mm256_multishift_epi64_epi8(_mm256_set1_epi64x(0x352e2720150e0700), words);
}

/* Of eight words with four bits on top sixteen scales 2 v + 1. */
HS__INLINE __m512i top_scales(__m256i words)
{
    __m256i v = _mm256_srli_epi32(words, 28);
    v = _mm256_add_epi32(_mm256_slli_epi32(v, 1), _mm256_set1_epi32(1));
    return _mm512_castsi256_si512(_mm256_or_si256(v, _mm256_slli_epi32(v, 16)));
}

/* Of sixteen nibbles. */
HS__INLINE __m512i nibble_scales(const uint8_t *p)
{
    __m128i q = hs__load_8(p), low = _mm_set1_epi8(15);
    q = _mm_unpacklo_epi8(_mm_and_si128(q, low), _mm_and_si128(_mm_srli_epi16(q, 4), low));
    __m256i v = _mm256_cvtepu8_epi16(q);
    return _mm512_castsi256_si512(_mm256_add_epi16(_mm256_slli_epi16(v, 1), _mm256_set1_epi16(1)));
}

/* The second words of eight pairs. */
HS__INLINE __m256i second_words(const uint8_t *p)
{
    return _mm512_cvtepi64_epi32(_mm512_srli_epi64(hs__load64(p), 32));
}

HS__INLINE void scales_iq2_xxs(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    (void)min;
    HS__EACH (r, 4)
        scale[r] = top_scales(second_words(row[r] + 2));
}

HS__INLINE void quants_iq2_xxs(const uint8_t *p, __m512i *out)
{
    uint64_t signs[4];
    signs_of_7(bytes_of_7(second_words(p + 2)), signs);
    __m512i index = _mm512_cvtepu8_epi16(_mm512_cvtepi64_epi32(hs__load64(p + 2)));
    eights(look_up_256(hs__iq2xxs_codes, index), signs, out);
}

HS__INLINE void scales_iq2_xs(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    (void)min;
    HS__EACH (r, 4)
        scale[r] = nibble_scales(row[r] + 66);
}

HS__INLINE void quants_iq2_xs(const uint8_t *p, __m512i *out)
{
    uint64_t signs[4];
    __m512i index = hs__once(hs__load64(p + 2));
    signs_of_7(_mm512_cvtepi16_epi8(_mm512_srli_epi16(index, 9)), signs);
    eights(look_up_512(hs__iq2xs_codes, index), signs, out);
}

HS__INLINE __m512i values_of_8(uint64_t values)
{
    return _mm512_set1_epi64((long long)(values + BIAS * 0x0101010101010101u));
}

HS__INLINE void scales_iq3_xxs(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    (void)min;
    HS__EACH (r, 4)
        scale[r] = top_scales(hs__load32(row[r] + 66));
}

HS__INLINE void quants_iq3_xxs(const uint8_t *p, __m512i *out)
{
    uint64_t signs[4];
    signs_of_7(bytes_of_7(hs__load32(p + 66)), signs);
    HS__EACH (h, 2) {
        __m512i index = _mm512_cvtepu8_epi16(hs__load32(p + 2 + 32 * h));
        fours(look_up_256(hs__iq3xxs_codes, index), signs + 2 * h, values_of_8(0x3e342c241c140c04), out + 2 * h);
    }
}

HS__INLINE void scales_iq3_s(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    (void)min;
    HS__EACH (r, 4) {
        uint32_t q = hs__load_u32(row[r] + 106);
        __m128i v =
            _mm_unpacklo_epi8(_mm_cvtsi32_si128((int)(q & 0x0f0f0f0f)), _mm_cvtsi32_si128((int)(q >> 4 & 0x0f0f0f0f)));
        v = _mm_add_epi8(_mm_add_epi8(v, v), _mm_set1_epi8(1));
        scale[r] = _mm512_castsi256_si512(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(v, v)));
    }
}

HS__INLINE void quants_iq3_s(const uint8_t *p, __m512i *out)
{
    uint64_t signs[4];
    memcpy(signs, p + 74, sizeof signs);
    HS__EACH (h, 2) {
        __m512i index = _mm512_cvtepu8_epi16(hs__load32(p + 2 + 32 * h));
        index = _mm512_mask_add_epi16(index, hs__load_u32(p + 66 + 4 * h), index, _mm512_set1_epi16(256));
        fours(look_up_512(hs__iq3s_codes, index), signs + 2 * h, values_of_8(0x0f0d0b0907050301), out + 2 * h);
    }
}

#define SHARED(name)                                                                                                   \
    .format = &name##_d, .bias = BIAS, .order = order_natural, .quants = quants_##name, .scales = scales_##name,       \
    .place = {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}, {12, 13, 14, 15}}
static const hs__wide_256 iq2_xxs = {SHARED(iq2_xxs)}, iq2_xs = {SHARED(iq2_xs)};
static const hs__wide_256 iq3_xxs = {SHARED(iq3_xxs)}, iq3_s = {SHARED(iq3_s)};

HS__DEFINE_ROWS512(iq2_xxs, 256)
HS__DEFINE_ROWS512(iq2_xs, 256)
HS__DEFINE_ROWS512(iq3_xxs, 256)
HS__DEFINE_ROWS512(iq3_s, 256)
