/*
 * quant_avx2_int.h - the 8-bit product with AVX2, written once for all block formats; a format adds how its elements
 * get into a register. Include only where -mavx2 -mfma -mf16c are set.
 *
 * Few vectors: quant_rows_avx2_int.h. More of them: panels of eight rows with lanes along the rows, decoded
 * once for all vectors (quant_panel_avx2_int.h, panel_avx2.c). quant.c says the order of the sum, which both keep.
 *
 * Elements are multiplied unsigned: formats of few bits have a bias added, which the sums of the vector take back;
 * the others split into magnitude and sign. 255 * 127 * 2 would saturate, 128 * 127 * 2 does not.
 */
#ifndef HS_MATH_QUANT_AVX2_INT_H
#define HS_MATH_QUANT_AVX2_INT_H

#include "math/avx2_int.h"
#include "math/quant_int.h"

/* Scales and minimums of a block of 256: groups of even number in the low half, of odd number in the high half. */
typedef struct hs__scales {
    __m256i scale, min;
} hs__scales;

/* One format. All are constants, so that every call is inlined. */
typedef struct hs__format {
    uint32_t bytes; /* of a block */
    int is_signed;  /* group() sets *sign, and bias is 0 */
    int bias;       /* in the elements of group() */
    int has_min;    /* scales() sets min, and dmin is there */
    int wide;       /* scales are equal in all 32 elements of a group() */
    uint32_t steps; /* products that a 16-bit sum surely holds: 1, 2 or 4 */
    /* Blocks of 256 only. Without minimums min is not set. */
    void (*scales)(const uint8_t *p, hs__scales *s);
    /* Elements [32 j, 32 j + 32); of signed formats their magnitudes, and *sign something of their signs. */
    __m256i (*group)(const uint8_t *p, uint32_t j, __m256i *sign);
    uint32_t d_at;  /* offset of d; dmin follows it */
    float d_factor; /* d and dmin are stored divided by it */
    float min_factor;
    int d_is_e8m0;                /* instead: MXFP4's byte at d_at */
    float (*d)(const uint8_t *p); /* instead of all that, unless NULL */
    int d_apart;                  /* d_at counts from a byte of its own: MXFP4_PAIRS */
} hs__format;

/*
 * Eight rows by up to 256 columns, lanes along the rows. scale and low are pairs for 16-bit products: the scale of a
 * group (wide: of 32 elements) twice; -bias * scale or the minimums of two groups, in the order of the vector's sums.
 * Blocks of 32 have neither, but a d and a dmin each.
 */
typedef struct hs__panel {
    __m256i q[64]; /* elements 4 i to 4 i + 3 of each row, with their signs */
    __m256i scale[16], low[8];
    __m256 d[8], dmin[8];
} hs__panel;

/* Columns [k, k + 32 groups) of eight rows. */
typedef void hs__fill_fn(const hs_mat *w, uint32_t row, uint32_t k, uint32_t groups, hs__panel *p);
/* The elements of one block as floats; d: where d_at counts from. */
typedef void hs__values_fn(const uint8_t *p, const uint8_t *d, float *out);
typedef void hs__q8_fn(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                       float *const *y);

/* A format and its functions; rows is the product of few vectors. */
typedef struct hs__q8 {
    const hs__format *format;
    hs__fill_fn *fill;
    hs__values_fn *values;
    hs__q8_fn *rows;
} hs__q8;

/* clang-format off */
#define HS__FORMATS(X)                                                                                                 \
    X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q8_0, q8_0) X(IQ4_NL, iq4_nl)                            \
    X(MXFP4, mxfp4) X(MXFP4_PAIRS, mxfp4_pairs)                                                                        \
    X(Q2_K, q2_k) X(Q3_K, q3_k) X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(TQ1_0, tq1_0) X(TQ2_0, tq2_0)              \
    X(IQ1_S, iq1_s) X(IQ1_M, iq1_m) X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) X(IQ2_S, iq2_s)                              \
    X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s) X(IQ4_XS, iq4_xs)
/* clang-format on */
#define HS__DECLARE(type, name) extern const hs__q8 hs__q8_##name;
HS__FORMATS(HS__DECLARE)
#undef HS__DECLARE

/* Vectors from some column on that go through panels together, and where their results for the first row are. What is
 * missing of a multiple of four is there, and in vain. */
#define HS__PANEL_VECS 8u
typedef struct hs__vectors {
    const int8_t *q[HS__PANEL_VECS];
    const int16_t *sums[HS__PANEL_VECS];
    const float *d[HS__PANEL_VECS];
    float *y[HS__PANEL_VECS];
    uint32_t n;
} hs__vectors;

/* Adds the products of x with panels, of which each has the eight rows after those of the one before. */
typedef void hs__times_fn(const hs__format *f, const hs__panel *p, uint32_t n_panels, uint32_t groups,
                          const hs__vectors *x);
hs__times_fn hs__times_avx2, hs__times_avx512;
/* Up to so many vectors are faster by rows. */
#define HS__FEW_VECS     4u
#define HS__FEW_VECS_512 6u /* rows with AVX-512 */
/* Rows [row0, row1), a multiple of eight. */
void hs__by_panels(const hs__q8 *q8, hs__times_fn *times, const hs_mat *w, uint32_t row0, uint32_t row1,
                   const void *const *x, uint32_t n_vec, float *const *y);

/* Few vectors with AVX-512; the other formats go the way of AVX2, which from memory is the faster one for Q8_0. */
/* clang-format off */
#define HS__FORMATS_512(X)                                                                                             \
    X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(IQ4_NL, iq4_nl)                                            \
    X(MXFP4, mxfp4) X(MXFP4_PAIRS, mxfp4_pairs)                                                                        \
    X(Q2_K, q2_k) X(Q3_K, q3_k) X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(IQ4_XS, iq4_xs)
/* Those that want its VBMI and BITALG as well. */
#define HS__FORMATS_VBMI(X)                                                                                            \
    X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s)
/* clang-format on */
#define HS__DECLARE(type, name) hs__q8_fn hs__rows512_##name;
HS__FORMATS_512(HS__DECLARE)
HS__FORMATS_VBMI(HS__DECLARE)
#undef HS__DECLARE

hs__q8_fn hs__matvec_q8_avx2, hs__matvec_q8_avx512, hs__matvec_q8_avx512vbmi;
void hs__dequant_quant_avx2(const hs_mat *w, uint32_t row, uint32_t col0, uint32_t col1, float *out);
void hs__quantise_avx2(hs_act a, const float *x, uint32_t n, void *row);

HS__INLINE __m256i hs__load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

HS__INLINE __m128i hs__load16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

HS__INLINE __m128i hs__load_8(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

HS__INLINE float hs__half(const uint8_t *p)
{
    return _cvtsh_ss(hs__load_u16(p));
}

/* 16 bytes of nibbles: the low ones in the low half, the high ones in the high half. */
HS__INLINE __m256i hs__nibbles(const uint8_t *p)
{
    __m128i q = hs__load16(p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
}

/* All bits of byte i where bit i is set. */
HS__INLINE __m256i hs__spread_bits(uint32_t bits)
{
    const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

HS__INLINE __m256i hs__look_up(const int8_t *values, __m256i index)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(hs__load16(values)), index);
}

/* What the bias adds to a sum, negative: the groups' sums of x times -bias (and their scales). */
HS__INLINE __m256i hs__unbias(const hs__format *f, __m256i scale)
{
    return _mm256_mullo_epi16(scale, _mm256_set1_epi16((short)-f->bias));
}

/* What d_at counts from in block (r, k) at p, and how far it is to the next one. */
HS__INLINE const uint8_t *hs__d_of(const hs__format *f, const hs_mat *w, uint32_t r, uint32_t k, const uint8_t *p)
{
    return f->d_apart ? hs__e8m0_at(w, r, k) : p;
}

HS__INLINE uint32_t hs__d_step(const hs__format *f)
{
    return f->d_apart ? 1 : f->bytes;
}

/* d of one block. */
HS__INLINE float hs__d(const hs__format *f, const uint8_t *p)
{
    if (f->d)
        return f->d(p);
    return f->d_is_e8m0 ? hs__e8m0_half(p[f->d_at]) : hs__half(p + f->d_at) * f->d_factor;
}

HS__INLINE float hs__dmin(const hs__format *f, const uint8_t *p)
{
    return hs__half(p + f->d_at + 2) * f->min_factor;
}

#endif
