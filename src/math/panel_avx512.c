/*
 * panel_avx512.c - many 8-bit vectors by two panels of eight rows at once, with AVX-512 and its VNNI. What is fewer
 * goes the way of AVX2. VNNI multiplies unsigned by signed without saturation, so formats with signs need no
 * magnitudes: there x becomes unsigned by adding 128, which 128 times the sum of the weights takes back.
 */
#include "math/quant_avx2_int.h"

#define VECS HS__PANEL_VECS

HS__INLINE __m512i word(const void *p)
{
    return _mm512_set1_epi32((int)hs__load_u32(p));
}

HS__INLINE __m512i both(const __m256i *a, const __m256i *b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(*a), *b, 1);
}

HS__INLINE __m512 both_ps(const __m256 *a, const __m256 *b)
{
    __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(*a));
    return _mm512_castpd_ps(_mm512_insertf64x4(low, _mm256_castps_pd(*b), 1));
}

/* part[v] = the products of 4 * run elements from step on. */
HS__INLINE void run_of(const hs__panel *p, uint32_t step, const uint32_t run, const int is_signed, const hs__vectors *x,
                       __m512i *part)
{
    const __m512i offset = _mm512_set1_epi8((char)0x80);
    __m512i w[8], of_offset = _mm512_setzero_si512();
    HS__EACH (i, run) {
        w[i] = both(p[0].q + step + i, p[1].q + step + i);
        if (is_signed)
            of_offset = _mm512_dpbusd_epi32(of_offset, offset, w[i]);
    }
    HS__EACH (v, VECS) {
        part[v] = _mm512_sub_epi32(_mm512_setzero_si512(), of_offset);
        HS__EACH (i, run) {
            __m512i xv = word(x->q[v] + 4 * (step + i));
            part[v] = is_signed ? _mm512_dpbusd_epi32(part[v], _mm512_xor_si512(xv, offset), w[i])
                                : _mm512_dpbusd_epi32(part[v], w[i], xv);
        }
    }
}

HS__INLINE __m512 scaled(__m512 d, float dx, __m512i n)
{
    return _mm512_mul_ps(_mm512_mul_ps(d, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(n));
}

/* The low half of each pair of scales, widened. */
HS__INLINE __m512i scale_of(const hs__panel *p, uint32_t g)
{
    return _mm512_srai_epi32(_mm512_slli_epi32(both(p[0].scale + g, p[1].scale + g), 16), 16);
}

HS__INLINE void times_256(const hs__format *f, const hs__panel *p, const hs__vectors *x, const uint32_t run,
                          const int is_signed)
{
    __m512i acc[VECS], low[VECS], part[VECS];
    HS__EACH (v, VECS)
        acc[v] = low[v] = _mm512_setzero_si512();
    if (f->bias || f->has_min)
        for (uint32_t i = 0; i < 8; i++) {
            __m512i by = both(p[0].low + i, p[1].low + i);
            HS__EACH (v, VECS)
                low[v] = _mm512_dpwssd_epi32(low[v], by, word(x->sums[v] + 2 * i));
        }
    for (uint32_t g = 0; g < 64 / run; g++) {
        __m512i scale = scale_of(p, g);
        run_of(p, run * g, run, is_signed, x, part);
        HS__EACH (v, VECS)
            acc[v] = _mm512_add_epi32(acc[v], _mm512_mullo_epi32(part[v], scale));
    }
    __m512 d = both_ps(p[0].d, p[1].d), dmin = both_ps(p[0].dmin, p[1].dmin);
    HS__EACH (v, VECS) {
        __m512i sum = f->bias ? _mm512_add_epi32(acc[v], low[v]) : acc[v];
        __m512 y = _mm512_add_ps(_mm512_loadu_ps(x->y[v]), scaled(d, *x->d[v], sum));
        if (f->has_min)
            y = _mm512_sub_ps(y, scaled(dmin, *x->d[v], low[v]));
        _mm512_storeu_ps(x->y[v], y);
    }
}

HS__INLINE void times_32(const hs__format *f, const hs__panel *p, const hs__vectors *x, uint32_t groups,
                         const int is_signed)
{
    const __m512i ones = _mm512_set1_epi16(1), unbias = _mm512_set1_epi16((short)-f->bias);
    __m512 y[VECS];
    HS__EACH (v, VECS)
        y[v] = _mm512_loadu_ps(x->y[v]);
    for (uint32_t b = 0; b < groups; b++) {
        __m512i part[VECS];
        __m512 d = both_ps(p[0].d + b, p[1].d + b), dmin = both_ps(p[0].dmin + b, p[1].dmin + b);
        run_of(p, 8 * b, 8, is_signed, x, part);
        HS__EACH (v, VECS) {
            __m512i sums = word(x->sums[v] + 2 * b);
            y[v] = _mm512_add_ps(y[v], scaled(d, x->d[v][b], _mm512_dpwssd_epi32(part[v], unbias, sums)));
            if (f->has_min)
                y[v] = _mm512_sub_ps(y[v], scaled(dmin, x->d[v][b], _mm512_madd_epi16(ones, sums)));
        }
    }
    HS__EACH (v, VECS)
        _mm512_storeu_ps(x->y[v], y[v]);
}

void hs__times_avx512(const hs__format *f, const hs__panel *p, uint32_t n_panels, uint32_t groups, const hs__vectors *x)
{
    hs__vectors at = *x;
    for (; n_panels >= 2 && at.n > VECS / 2; n_panels -= 2, p += 2) {
        if (!f->scales && f->is_signed)
            times_32(f, p, &at, groups, 1);
        else if (!f->scales)
            times_32(f, p, &at, groups, 0);
        else if (f->is_signed && f->wide)
            times_256(f, p, &at, 8, 1);
        else if (f->is_signed)
            times_256(f, p, &at, 4, 1);
        else if (f->wide)
            times_256(f, p, &at, 8, 0);
        else
            times_256(f, p, &at, 4, 0);
        for (uint32_t v = 0; v < VECS; v++)
            at.y[v] += 16;
    }
    if (n_panels)
        hs__times_avx2(f, p, n_panels, groups, &at);
}
