/*
 * quant_rows_avx512_int.h - the 8-bit product of few vectors with AVX-512: four rows at a time, a quarter of the task
 * apart, as in quant_rows_avx2_int.h. 64 elements are in a register, put there as the format has them; the vector is
 * brought into their order once for four rows. Elements are unsigned, with a bias that the vector's sums take back.
 */
#ifndef HS_MATH_QUANT_ROWS_AVX512_INT_H
#define HS_MATH_QUANT_ROWS_AVX512_INT_H

#include "math/quant_rows_avx2_int.h"

/* hs__iq4_values + 128 */
static const uint8_t hs__iq4_unsigned[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

/* Sixteen bytes of each of four places. */
HS__INLINE __m512i hs__load16_of_four(const uint8_t *const *p, uint32_t at)
{
    __m512i v = _mm512_castsi128_si512(hs__load16(p[0] + at));
    v = _mm512_inserti32x4(v, hs__load16(p[1] + at), 1);
    v = _mm512_inserti32x4(v, hs__load16(p[2] + at), 2);
    return _mm512_inserti32x4(v, hs__load16(p[3] + at), 3);
}

HS__INLINE __m512i hs__load64(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* v, in a register: a compiler would load it again for each use, and unaligned loads are dear. */
HS__INLINE __m512i hs__once(__m512i v)
{
    __asm__("" : "+v"(v));
    return v;
}

HS__INLINE __m512i hs__two_of_32(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* In each 128 bits the sums of the four lanes that v[0] to v[3] have there. */
HS__INLINE __m512i hs__sum_quarters(const __m512i *v)
{
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* The sums of the lanes of four registers. */
HS__INLINE __m128i hs__sum_lanes512(const __m512i *v)
{
    __m512i s = hs__sum_quarters(v);
    __m256i t = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
}

/* A format of blocks of 256. All are constants, so that every call is inlined. */
typedef struct hs__wide_256 {
    const hs__format *format;
    int bias;            /* in the elements of quants() */
    int of_32;           /* elements too large for 16-bit sums; registers 0 and 1, 2 and 3 have the same scales */
    int is_in_lanes;     /* scales are bytes, all in each 128 bits, and unsigned; else 16-bit words in order */
    uint8_t place[4][4]; /* which scale each 128 bits of quants()'s registers have */
    /* x in the order of quants() */
    void (*order)(const int8_t *x, __m512i *out);
    void (*quants)(const uint8_t *p, __m512i *out);
    /* The scales of four rows; with minimums also those, row r in the 128 bits of number r, as words in order: the
     * first and the last eight, or, if they are of 32 elements, all of them. */
    void (*scales)(const uint8_t *const *row, __m512i *scale, __m512i *min);
    int min_of_32;
} hs__wide_256;

/* All of a vector that four rows need for one block. */
typedef struct hs__x256 {
    __m512i q[4];
    __m256i sums;      /* in order */
    __m512i of_min[2]; /* the sums in the order of the minimums, in each 128 bits */
} hs__x256;

HS__INLINE void hs__x_of_256(const hs__wide_256 *f, const int8_t *x, const int16_t *sums, hs__x256 *to)
{
    f->order(x, to->q);
    if (f->min_of_32) {
        __m128i both = _mm_add_epi16(hs__load16(sums), hs__load16(sums + 8));
        to->of_min[0] = _mm512_broadcast_i32x4(both);
    } else {
        const __m256i order = _mm256_setr_epi16(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
        to->sums = _mm256_permutexvar_epi16(order, hs__load32(sums));
        to->of_min[0] = _mm512_broadcast_i32x4(_mm256_castsi256_si128(to->sums));
        to->of_min[1] = _mm512_broadcast_i32x4(_mm256_extracti128_si256(to->sums, 1));
    }
}

/* The scales of register i in the places of its 16-bit sums. */
HS__INLINE __m512i hs__scale_512(const hs__wide_256 *f, __m512i scale, const uint32_t i)
{
    const uint64_t one = 0x0001000100010001u, zeros = f->is_in_lanes ? 0x8000800080008000u : 0;
    long long a = (long long)(zeros | one * f->place[i][0]), b = (long long)(zeros | one * f->place[i][1]);
    long long c = (long long)(zeros | one * f->place[i][2]), d = (long long)(zeros | one * f->place[i][3]);
    __m512i at = _mm512_setr_epi64(a, a, b, b, c, c, d, d);
    return f->is_in_lanes ? _mm512_shuffle_epi8(scale, at) : _mm512_permutexvar_epi16(at, scale);
}

/* The sums of the block at p with each vector, in lanes. */
HS__INLINE void hs__block_512(const hs__wide_256 *f, const uint8_t *p, __m512i scale, const hs__x256 *x,
                              const uint32_t vecs, __m512i *total)
{
    __m512i q[4], by[4];
    f->quants(p, q);
    HS__EACH (i, 4)
        by[i] = hs__scale_512(f, scale, i);
    HS__EACH (v, vecs) {
        __m512i acc = _mm512_setzero_si512();
        if (f->bias) {
            __m256i low = _mm512_castsi512_si256(scale);
            low = _mm256_mullo_epi16(low, _mm256_set1_epi16((short)-f->bias));
            acc = _mm512_zextsi256_si512(_mm256_madd_epi16(low, x[v].sums));
        }
        HS__EACH (h, 2) {
            if (f->of_32) {
                __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q[2 * h], x[v].q[2 * h]);
                sum = _mm512_dpbusd_epi32(sum, q[2 * h + 1], x[v].q[2 * h + 1]);
                acc = _mm512_add_epi32(acc, _mm512_mullo_epi32(sum, _mm512_srai_epi32(by[2 * h], 16)));
            } else {
                acc = _mm512_dpwssd_epi32(acc, _mm512_maddubs_epi16(q[2 * h], x[v].q[2 * h]), by[2 * h]);
                acc = _mm512_dpwssd_epi32(acc, _mm512_maddubs_epi16(q[2 * h + 1], x[v].q[2 * h + 1]), by[2 * h + 1]);
            }
        }
        total[4 * v] = acc;
    }
}

/* Minimums of four rows by the vector's sums. */
HS__INLINE __m128i hs__low_of_four(const hs__wide_256 *f, const __m512i *min, const hs__x256 *x)
{
    __m512i v = _mm512_madd_epi16(min[0], x->of_min[0]);
    if (!f->min_of_32)
        v = _mm512_dpwssd_epi32(v, min[1], x->of_min[1]);
    v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0x4e));
    v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0xb1));
    return _mm512_castsi512_si128(
        _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), v));
}

/* Rows [row0, row1) by vecs (1, 2 or 4) vectors. */
HS__INLINE void hs__rows512_256(const hs__wide_256 *f, const hs_mat *w, uint32_t row0, uint32_t row1,
                                const void *const *x, const uint32_t vecs, float *const *y)
{
    uint32_t apart = (row1 - row0 + 3) / 4, n = w->cols;
    for (uint32_t i = 0; i < apart; i++) {
        const uint8_t *row[4];
        __m128 sum[4];
        HS__EACH (r, 4)
            row[r] = (const uint8_t *)hs__row(w, hs__row_of_four(row0, row1, apart, i, r));
        HS__EACH (v, vecs)
            sum[v] = _mm_setzero_ps();
        for (uint32_t b = 0; b < n / 256; b++) {
            __m512i total[16], scale[4], min[2];
            hs__x256 of_x[4];
            __m128 d, dmin;
            HS__EACH (v, vecs)
                hs__x_of_256(f, (const int8_t *)x[v] + 256 * b, hs__act_sums(x[v], n) + 16 * b, &of_x[v]);
            f->scales(row, scale, min);
            HS__EACH (r, 4) {
                hs__prefetch(row[r] + 768, f->format->bytes);
                hs__block_512(f, row[r], scale[r], of_x, vecs, total + r);
            }
            hs__d_of_four(f->format, row, &d, &dmin);
            HS__EACH (v, vecs) {
                float dx = hs__act_scales(x[v], n)[b];
                sum[v] = hs__add_scaled4(sum[v], d, dx, hs__sum_lanes512(total + 4 * v));
                if (f->format->has_min)
                    sum[v] = hs__sub_scaled4(sum[v], dmin, dx, hs__low_of_four(f, min, &of_x[v]));
            }
            HS__EACH (r, 4)
                row[r] += f->format->bytes;
        }
        HS__EACH (v, vecs) {
            float out[4];
            _mm_storeu_ps(out, sum[v]);
            for (uint32_t r = 0; r < 4; r++)
                y[v][hs__row_of_four(row0, row1, apart, i, r)] = out[r];
        }
    }
}

/*
 * A format of blocks of 32: four blocks of a row at once, block b in the 128 bits of number b. They lie in two
 * registers, `a` with their first 64 bytes and `b` with 64 bytes from HS__SECOND on; tables of the places of 16-bit
 * words in both say what is where.
 */
typedef struct hs__wide_32 {
    uint32_t bytes; /* of a block */
    int bias;       /* in the elements of quants() */
    int has_min;
    const uint16_t *head;
    void (*order)(const int8_t *x, __m512i *out);
    void (*quants)(const uint8_t *p, __m512i a, __m512i b, __m512i *out);
    /* instead of head: d of four blocks of four rows, as in the result of hs__sum_quarters */
    __m512 (*d)(const uint8_t *const *row, const uint8_t *const *d_of, const __m512i *a);
    int d_apart;
} hs__wide_32;

#define HS__SECOND(bytes)   ((bytes) < 32 ? 4 * (bytes)-64 : 2 * (bytes))
#define HS__WORD(bytes, at) ((uint16_t)((at) < 63 ? (at) / 2 : 32 + ((at)-HS__SECOND(bytes)) / 2))

/* Bytes `at` on of four blocks, each eight words. */
#define HS__EIGHT(bytes, at)                                                                                           \
    HS__WORD(bytes, at), HS__WORD(bytes, (at) + 2), HS__WORD(bytes, (at) + 4), HS__WORD(bytes, (at) + 6),              \
        HS__WORD(bytes, (at) + 8), HS__WORD(bytes, (at) + 10), HS__WORD(bytes, (at) + 12), HS__WORD(bytes, (at) + 14)
#define HS__EIGHTS(bytes, at)                                                                                          \
    HS__EIGHT(bytes, at), HS__EIGHT(bytes, (bytes) + (at)), HS__EIGHT(bytes, 2 * (bytes) + (at)),                      \
        HS__EIGHT(bytes, 3 * (bytes) + (at))
/* The word `at` of four blocks, each four times. */
#define HS__FOUR(bytes, at) HS__WORD(bytes, at), HS__WORD(bytes, at), HS__WORD(bytes, at), HS__WORD(bytes, at)
#define HS__FOURS(bytes, at)                                                                                           \
    HS__FOUR(bytes, at), HS__FOUR(bytes, (bytes) + (at)), HS__FOUR(bytes, 2 * (bytes) + (at)),                         \
        HS__FOUR(bytes, 3 * (bytes) + (at))

HS__INLINE __m512i hs__pick(__m512i a, const uint16_t *words, __m512i b)
{
    return _mm512_permutex2var_epi16(a, hs__load64(words), b);
}

/* Word `table` says of four rows: a binary16 for each block and row. */
HS__INLINE __m512 hs__halves_of_four(const uint16_t *table, const __m512i *a, const __m512i *b)
{
    __m512i at = _mm512_castsi256_si512(hs__load32(table));
    __m512i v = _mm512_maskz_permutex2var_epi16(0x1111, a[0], at, b[0]);
    v = _mm512_or_si512(v, _mm512_maskz_permutex2var_epi16(0x2222, a[1], at, b[1]));
    v = _mm512_or_si512(v, _mm512_maskz_permutex2var_epi16(0x4444, a[2], at, b[2]));
    v = _mm512_or_si512(v, _mm512_maskz_permutex2var_epi16(0x8888, a[3], at, b[3]));
    return _mm512_cvtph_ps(_mm512_castsi512_si256(v));
}

/* Four values, each in its 128 bits. */
HS__INLINE __m512i hs__each_of_four(const void *p)
{
    const __m512i at = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_epi32(at, _mm512_castsi128_si512(hs__load16(p)));
}

/* The sums of four blocks' elements of x, each in its 128 bits. */
HS__INLINE __m512i hs__sums_of_four(const int16_t *sums)
{
    return _mm512_madd_epi16(hs__each_of_four(sums), _mm512_set1_epi16(1));
}

/* What four rows' next blocks become: the addends of their sums, block b in the 128 bits of number b. */
HS__INLINE void hs__four_blocks(const hs__wide_32 *f, const uint8_t *const *row, const uint8_t *const *d_of,
                                const int8_t *const *x, const int16_t *const *sums, const float *const *dx,
                                const uint32_t vecs, __m512 *add, __m512 *sub)
{
    __m512i a[4], b[4], part[4][4];
    HS__EACH (r, 4) {
        __m512i q[2];
        a[r] = hs__once(hs__load64(row[r]));
        b[r] = f->head ? hs__once(hs__load64(row[r] + HS__SECOND(f->bytes))) : a[r];
        f->quants(row[r], a[r], b[r], q);
        HS__EACH (v, vecs) {
            __m512i of_x[2];
            f->order(x[v], of_x);
            __m512i first = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q[0], of_x[0]);
            part[v][r] = _mm512_dpbusd_epi32(first, q[1], of_x[1]);
        }
    }
    __m512 d = f->d ? f->d(row, d_of, a) : hs__halves_of_four(f->head, a, b);
    HS__EACH (v, vecs) {
        __m512i n = hs__sum_quarters(part[v]);
        __m512 of_dx = _mm512_castsi512_ps(hs__each_of_four(dx[v]));
        if (f->bias) {
            __m512i bias = _mm512_set1_epi16((short)-f->bias);
            n = _mm512_add_epi32(n, _mm512_madd_epi16(hs__each_of_four(sums[v]), bias));
        }
        add[v] = _mm512_mul_ps(_mm512_mul_ps(d, of_dx), _mm512_cvtepi32_ps(n));
        if (f->has_min) {
            __m512 m = hs__halves_of_four(f->head + 16, a, b);
            __m512 low = _mm512_cvtepi32_ps(hs__sums_of_four(sums[v]));
            m = _mm512_mul_ps(m, _mm512_set1_ps(-1));
            sub[v] = _mm512_mul_ps(_mm512_mul_ps(m, of_dx), low);
        }
    }
}

/* sum + the first n of the four parts of add, one after the other, each followed by - that of sub. */
HS__INLINE __m128 hs__add_blocks(const hs__wide_32 *f, __m128 sum, __m512 add, __m512 sub, uint32_t n)
{
    sum = _mm_add_ps(sum, _mm512_castps512_ps128(add));
    if (f->has_min)
        sum = _mm_sub_ps(sum, _mm512_castps512_ps128(sub));
#define ONE_MORE(i)                                                                                                    \
    if (n > (i)) {                                                                                                     \
        sum = _mm_add_ps(sum, _mm512_extractf32x4_ps(add, i));                                                         \
        if (f->has_min)                                                                                                \
            sum = _mm_sub_ps(sum, _mm512_extractf32x4_ps(sub, i));                                                     \
    }
    ONE_MORE(1)
    ONE_MORE(2)
    ONE_MORE(3)
#undef ONE_MORE
    return sum;
}

/* The last n < 4 blocks of rows and vectors, with something behind them that may be read. */
typedef struct hs__tail32 {
    uint8_t row[4][192], d_of[4][4];
    int8_t x[4][128];
    int16_t sums[4][8];
    float dx[4][4];
} hs__tail32;

static inline void hs__tail_of_32(const hs__wide_32 *f, const uint8_t **row, const uint8_t **d_of, const int8_t **x,
                                  const int16_t **sums, const float **dx, uint32_t vecs, uint32_t n, hs__tail32 *t)
{
    memset(t, 0, sizeof *t);
    for (uint32_t r = 0; r < 4; r++) {
        row[r] = memcpy(t->row[r], row[r], n * f->bytes);
        if (f->d_apart)
            d_of[r] = memcpy(t->d_of[r], d_of[r], n);
    }
    for (uint32_t v = 0; v < vecs; v++) {
        x[v] = memcpy(t->x[v], x[v], 32 * n);
        sums[v] = memcpy(t->sums[v], sums[v], 2 * n * sizeof *sums[v]);
        dx[v] = memcpy(t->dx[v], dx[v], n * sizeof *dx[v]);
    }
}

HS__INLINE void hs__rows512_32(const hs__wide_32 *f, const hs_mat *w, uint32_t row0, uint32_t row1,
                               const void *const *x, const uint32_t vecs, float *const *y)
{
    uint32_t apart = (row1 - row0 + 3) / 4, n = w->cols / 32;
    for (uint32_t i = 0; i < apart; i++) {
        const uint8_t *row[4], *d_of[4];
        const int8_t *of_x[4];
        const int16_t *sums[4];
        const float *dx[4];
        __m128 sum[4];
        HS__EACH (r, 4) {
            uint32_t at = hs__row_of_four(row0, row1, apart, i, r);
            row[r] = (const uint8_t *)hs__row(w, at);
            d_of[r] = f->d_apart ? hs__e8m0_at(w, at, 0) : row[r];
        }
        HS__EACH (v, vecs) {
            sum[v] = _mm_setzero_ps();
            of_x[v] = x[v];
            sums[v] = hs__act_sums(x[v], w->cols);
            dx[v] = hs__act_scales(x[v], w->cols);
        }
        for (uint32_t b = 0; b < n; b += 4) {
            __m512 add[4], sub[4];
            hs__tail32 tail;
            if (n - b < 4)
                hs__tail_of_32(f, row, d_of, of_x, sums, dx, vecs, n - b, &tail);
            else
                HS__EACH (r, 4)
                    hs__prefetch(row[r] + 768, 4 * f->bytes);
            hs__four_blocks(f, row, d_of, of_x, sums, dx, vecs, add, sub);
            HS__EACH (v, vecs) {
                sum[v] = hs__add_blocks(f, sum[v], add[v], sub[v], n - b);
                of_x[v] += 128;
                sums[v] += 8;
                dx[v] += 4;
            }
            HS__EACH (r, 4) {
                row[r] += 4 * f->bytes;
                d_of[r] += 4;
            }
        }
        HS__EACH (v, vecs) {
            float out[4];
            _mm_storeu_ps(out, sum[v]);
            for (uint32_t r = 0; r < 4; r++)
                y[v][hs__row_of_four(row0, row1, apart, i, r)] = out[r];
        }
    }
}

/* Defines hs__rows512_NAME: shape is 32 or 256. */
#define HS__DEFINE_ROWS512(name, shape)                                                                                \
    void hs__rows512_##name(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,       \
                            float *const *y)                                                                           \
    {                                                                                                                  \
        for (; n_vec >= 4; n_vec -= 4, x += 4, y += 4)                                                                 \
            hs__rows512_##shape(&(name), w, row0, row1, x, 4, y);                                                      \
        if (n_vec & 2) {                                                                                               \
            hs__rows512_##shape(&(name), w, row0, row1, x, 2, y);                                                      \
            x += 2, y += 2;                                                                                            \
        }                                                                                                              \
        if (n_vec & 1)                                                                                                 \
            hs__rows512_##shape(&(name), w, row0, row1, x, 1, y);                                                      \
    }

#endif
