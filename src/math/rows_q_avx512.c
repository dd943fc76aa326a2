/* rows_q_avx512.c - few vectors by blocks of 32, with AVX-512: Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4 (both). */
#include "math/quant_rows_avx512_int.h"

/* Elements [0, 16) and [16, 32) of four blocks. */
HS__INLINE void order_halves(const int8_t *x, __m512i *out)
{
    __m512i a = hs__load64(x), b = hs__load64(x + 64);
    out[0] = _mm512_shuffle_i64x2(a, b, 0x88);
    out[1] = _mm512_shuffle_i64x2(a, b, 0xdd);
}

/* Elements of even and of odd number of four blocks. */
HS__INLINE void order_pairs(const int8_t *x, __m512i *out)
{
    const __m512i parted = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    __m512i a = _mm512_shuffle_epi8(hs__load64(x), parted), b = _mm512_shuffle_epi8(hs__load64(x + 64), parted);
    out[0] = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b);
    out[1] = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b);
}

HS__INLINE void nibbles(__m512i q, __m512i *out)
{
    const __m512i low = _mm512_set1_epi8(15);
    out[0] = _mm512_and_si512(q, low);
    out[1] = _mm512_and_si512(_mm512_srli_epi16(q, 4), low);
}

HS__INLINE void look_up(const uint8_t *values, __m512i *q)
{
    const __m512i table = _mm512_broadcast_i32x4(hs__load16(values));
    q[0] = _mm512_shuffle_epi8(table, q[0]);
    q[1] = _mm512_shuffle_epi8(table, q[1]);
}

/* 16 more where fifth, 32 bits at the beginning of each 128, has a bit. */
HS__INLINE void fifth_bits(__m512i fifth, __m512i *q)
{
    const __m512i bit = _mm512_set1_epi64((long long)0x8040201008040201u), one = _mm512_set1_epi8(16);
    const __m512i low = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0101010101010101, 0));
    const __m512i high = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0303030303030303, 0x0202020202020202));
    q[0] = _mm512_mask_add_epi8(q[0], _mm512_test_epi8_mask(_mm512_shuffle_epi8(fifth, low), bit), q[0], one);
    q[1] = _mm512_mask_add_epi8(q[1], _mm512_test_epi8_mask(_mm512_shuffle_epi8(fifth, high), bit), q[1], one);
}

static const uint16_t quants_18[32] = {HS__EIGHTS(18, 2)}, head_18[32] = {HS__FOURS(18, 0)};
static const uint16_t quants_20[32] = {HS__EIGHTS(20, 4)}, head_20[32] = {HS__FOURS(20, 0), HS__FOURS(20, 2)};
static const uint16_t quants_22[32] = {HS__EIGHTS(22, 6)}, head_22[32] = {HS__FOURS(22, 0)};
static const uint16_t quants_24[32] = {HS__EIGHTS(24, 8)}, head_24[32] = {HS__FOURS(24, 0), HS__FOURS(24, 2)};
/* With the fifth bits in the first two words of each eight. */
static const uint16_t fifth_22[32] = {HS__EIGHTS(22, 2)}, fifth_24[32] = {HS__EIGHTS(24, 4)};

HS__INLINE void quants_q4_0(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    (void)p;
    nibbles(hs__pick(a, quants_18, b), out);
}

HS__INLINE void quants_q4_1(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    (void)p;
    nibbles(hs__pick(a, quants_20, b), out);
}

HS__INLINE void quants_q5_0(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    (void)p;
    nibbles(hs__pick(a, quants_22, b), out);
    fifth_bits(hs__pick(a, fifth_22, b), out);
}

HS__INLINE void quants_q5_1(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    (void)p;
    nibbles(hs__pick(a, quants_24, b), out);
    fifth_bits(hs__pick(a, fifth_24, b), out);
}

HS__INLINE void quants_iq4_nl(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    (void)p;
    nibbles(hs__pick(a, quants_18, b), out);
    look_up(hs__iq4_unsigned, out);
}

static const uint8_t mxfp4_biased[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

HS__INLINE void quants_mxfp4(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    const uint8_t *const blocks[4] = {p, p + 17, p + 34, p + 51};
    (void)a, (void)b;
    nibbles(hs__load16_of_four(blocks, 1), out);
    look_up(mxfp4_biased, out);
}

HS__INLINE void quants_mxfp4_pairs(const uint8_t *p, __m512i a, __m512i b, __m512i *out)
{
    (void)p, (void)b;
    nibbles(a, out);
    look_up(mxfp4_biased, out);
}

/* 2^(e - 128), as hs__e8m0_half. */
HS__INLINE __m512 e8m0_halves(__m512i e)
{
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    __mmask16 is_normal = _mm512_cmpgt_epu32_mask(e, _mm512_set1_epi32(1));
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(subnormal, is_normal, normal));
}

/* The scale of block b is byte b of the 128 bits of number b of its row. */
HS__INLINE __m512 d_mxfp4(const uint8_t *const *row, const uint8_t *const *d_of, const __m512i *a)
{
    const __m512i which = _mm512_set_epi32((int)0x80808003, (int)0x80808003, (int)0x80808003, (int)0x80808003,
                                           (int)0x80808002, (int)0x80808002, (int)0x80808002, (int)0x80808002,
                                           (int)0x80808001, (int)0x80808001, (int)0x80808001, (int)0x80808001,
                                           (int)0x80808000, (int)0x80808000, (int)0x80808000, (int)0x80808000);
    (void)row, (void)d_of;
    __m512i e = _mm512_shuffle_epi8(a[0], which);
    e = _mm512_mask_shuffle_epi8(e, 0x00f000f000f000f0, a[1], which);
    e = _mm512_mask_shuffle_epi8(e, 0x0f000f000f000f00, a[2], which);
    return e8m0_halves(_mm512_mask_shuffle_epi8(e, (__mmask64)0xf000f000f000f000u, a[3], which));
}

HS__INLINE __m512 d_mxfp4_pairs(const uint8_t *const *row, const uint8_t *const *d_of, const __m512i *a)
{
    const __m128i transposed = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    (void)row, (void)a;
    __m128i e = _mm_setr_epi32((int)hs__load_u32(d_of[0]), (int)hs__load_u32(d_of[1]), (int)hs__load_u32(d_of[2]),
                               (int)hs__load_u32(d_of[3]));
    return e8m0_halves(_mm512_cvtepu8_epi32(_mm_shuffle_epi8(e, transposed)));
}

static const hs__wide_32 q4_0 = {.bytes = 18, .bias = 8, .head = head_18, .order = order_halves, .quants = quants_q4_0};
static const hs__wide_32 q4_1 = {
    .bytes = 20, .has_min = 1, .head = head_20, .order = order_halves, .quants = quants_q4_1};
static const hs__wide_32 q5_0 = {
    .bytes = 22, .bias = 16, .head = head_22, .order = order_halves, .quants = quants_q5_0};
static const hs__wide_32 q5_1 = {
    .bytes = 24, .has_min = 1, .head = head_24, .order = order_halves, .quants = quants_q5_1};
static const hs__wide_32 iq4_nl = {
    .bytes = 18, .bias = 128, .head = head_18, .order = order_halves, .quants = quants_iq4_nl};
static const hs__wide_32 mxfp4 = {.bytes = 17, .bias = 12, .order = order_halves, .quants = quants_mxfp4, .d = d_mxfp4};
static const hs__wide_32 mxfp4_pairs = {
    .bytes = 16, .bias = 12, .order = order_pairs, .quants = quants_mxfp4_pairs, .d = d_mxfp4_pairs, .d_apart = 1};

HS__DEFINE_ROWS512(q4_0, 32)
HS__DEFINE_ROWS512(q4_1, 32)
HS__DEFINE_ROWS512(q5_0, 32)
HS__DEFINE_ROWS512(q5_1, 32)
HS__DEFINE_ROWS512(iq4_nl, 32)
HS__DEFINE_ROWS512(mxfp4, 32)
HS__DEFINE_ROWS512(mxfp4_pairs, 32)
