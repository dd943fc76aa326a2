/* rows_iq_avx512.c - few vectors by IQ4_XS, with AVX-512. Layout: unpack_iq.c. */
#include "math/quant_rows_avx512_int.h"

static const hs__format iq4_xs_d = {.bytes = 136, .d_factor = 1};

/* Groups of 16: 0, 2, 4, 6, then 1, 3, 5, 7; then eight more. */
HS__INLINE void order_halves(const int8_t *x, __m512i *out)
{
    HS__EACH (h, 2) {
        __m512i a = hs__load64(x + 128 * h), b = hs__load64(x + 128 * h + 64);
        out[2 * h] = _mm512_shuffle_i64x2(a, b, 0x88);
        out[2 * h + 1] = _mm512_shuffle_i64x2(a, b, 0xdd);
    }
}

HS__INLINE void scales_iq4_xs(const uint8_t *const *row, __m512i *scale, __m512i *min)
{
    const __m256i low_at = _mm256_setr_epi16(0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4);
    const __m256i high_at = _mm256_setr_epi16(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
    const __m256i bytes = _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1, 2, -1, 2, -1, 2, -1,
                                           2, -1, 3, -1, 3, -1, 3, -1, 3, -1);
    (void)min;
    HS__EACH (r, 4) {
        __m256i low = _mm256_shuffle_epi8(_mm256_set1_epi32((int)hs__load_u32(row[r] + 4)), bytes);
        __m256i high = _mm256_srlv_epi16(_mm256_set1_epi16((short)hs__load_u16(row[r] + 2)), high_at);
        low = _mm256_and_si256(_mm256_srlv_epi16(low, low_at), _mm256_set1_epi16(15));
        high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi16(3)), 4);
        high = _mm256_sub_epi16(_mm256_or_si256(low, high), _mm256_set1_epi16(32));
        scale[r] = _mm512_castsi256_si512(high);
    }
}

HS__INLINE void quants_iq4_xs(const uint8_t *p, __m512i *out)
{
    const __m512i low = _mm512_set1_epi8(15), table = _mm512_broadcast_i32x4(hs__load16(hs__iq4_unsigned));
    HS__EACH (h, 2) {
        __m512i q = hs__once(hs__load64(p + 8 + 64 * h));
        out[2 * h] = _mm512_shuffle_epi8(table, _mm512_and_si512(q, low));
        out[2 * h + 1] = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(q, 4), low));
    }
}

static const hs__wide_256 iq4_xs = {.format = &iq4_xs_d,
                                    .bias = 128,
                                    .of_32 = 1,
                                    .place = {{0, 2, 4, 6}, {0, 2, 4, 6}, {8, 10, 12, 14}, {8, 10, 12, 14}},
                                    .order = order_halves,
                                    .quants = quants_iq4_xs,
                                    .scales = scales_iq4_xs};
HS__DEFINE_ROWS512(iq4_xs, 256)
