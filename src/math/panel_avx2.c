/*
 * panel_avx2.c - many 8-bit vectors by panels of eight rows: four vectors at a time, with lanes along the rows.
 * The integers of a block are exact in any order, so a result has the bits of the other kernels (quant.c).
 */
#include "math/quant_avx2_int.h"

#define PANELS 4u /* their columns of x stay in L1 */
#define VECS   4u

HS__INLINE __m256i word(const void *p)
{
    return _mm256_set1_epi32((int)hs__load_u32(p));
}

/* acc += a scale times the products of 4 * run elements from step on, `steps` of which fit a 16-bit sum. */
HS__INLINE void add_run(const hs__panel *p, uint32_t step, const uint32_t run, const uint32_t steps,
                        const int is_signed, __m256i scale, const hs__vectors *x, const uint32_t v0, __m256i *acc)
{
    __m256i part[VECS];
    HS__EACH (i, run) {
        __m256i w = p->q[step + i], magnitude = is_signed ? _mm256_abs_epi8(w) : w;
        HS__EACH (v, VECS) {
            __m256i xv = word(x->q[v0 + v] + 4 * (step + i));
            __m256i pairs = _mm256_maddubs_epi16(magnitude, is_signed ? _mm256_sign_epi8(xv, w) : xv);
            part[v] = i % steps ? _mm256_add_epi16(part[v], pairs) : pairs;
            if (i % steps == steps - 1)
                acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(part[v], scale));
        }
    }
}

HS__INLINE __m256 scaled(__m256 d, float dx, __m256i n)
{
    return _mm256_mul_ps(_mm256_mul_ps(d, _mm256_set1_ps(dx)), _mm256_cvtepi32_ps(n));
}

/* Sums of the vector's groups by p->low. */
HS__INLINE __m256i by_low(const hs__panel *p, const int16_t *sums)
{
    __m256i s = _mm256_setzero_si256();
    HS__EACH (i, 8)
        s = _mm256_add_epi32(s, _mm256_madd_epi16(p->low[i], word(sums + 2 * i)));
    return s;
}

HS__INLINE void times_256(const hs__panel *p, const hs__vectors *x, const uint32_t v0, const hs__format *f,
                          const uint32_t run, const uint32_t steps, const int is_signed)
{
    __m256i acc[VECS];
    HS__EACH (v, VECS)
        acc[v] = f->bias ? by_low(p, x->sums[v0 + v]) : _mm256_setzero_si256();
    for (uint32_t g = 0; g < 64 / run; g++)
        add_run(p, run * g, run, steps, is_signed, p->scale[g], x, v0, acc);
    HS__EACH (v, VECS) {
        __m256 y = _mm256_add_ps(_mm256_loadu_ps(x->y[v0 + v]), scaled(p->d[0], *x->d[v0 + v], acc[v]));
        if (f->has_min)
            y = _mm256_sub_ps(y, scaled(p->dmin[0], *x->d[v0 + v], by_low(p, x->sums[v0 + v])));
        _mm256_storeu_ps(x->y[v0 + v], y);
    }
}

HS__INLINE void times_32(const hs__panel *p, const hs__vectors *x, const uint32_t v0, const hs__format *f,
                         uint32_t groups, const uint32_t steps, const int is_signed)
{
    const __m256i ones = _mm256_set1_epi16(1), unbias = _mm256_set1_epi16((short)-f->bias);
    __m256 y[VECS];
    HS__EACH (v, VECS)
        y[v] = _mm256_loadu_ps(x->y[v0 + v]);
    for (uint32_t b = 0; b < groups; b++) {
        __m256i acc[VECS];
        HS__EACH (v, VECS)
            acc[v] = _mm256_madd_epi16(unbias, word(x->sums[v0 + v] + 2 * b));
        add_run(p, 8 * b, 8, steps, is_signed, ones, x, v0, acc);
        HS__EACH (v, VECS) {
            y[v] = _mm256_add_ps(y[v], scaled(p->d[b], x->d[v0 + v][b], acc[v]));
            if (f->has_min)
                y[v] = _mm256_sub_ps(
                    y[v], scaled(p->dmin[b], x->d[v0 + v][b], _mm256_madd_epi16(ones, word(x->sums[v0 + v] + 2 * b))));
        }
    }
    HS__EACH (v, VECS)
        _mm256_storeu_ps(x->y[v0 + v], y[v]);
}

static void times(const hs__format *f, const hs__panel *p, uint32_t groups, const hs__vectors *x, uint32_t v0)
{
    int of_32 = !f->scales;
    if (of_32 && f->is_signed)
        times_32(p, x, v0, f, groups, 1, 1);
    else if (of_32)
        times_32(p, x, v0, f, groups, 4, 0);
    else if (f->is_signed && f->steps == 1)
        times_256(p, x, v0, f, 8, 1, 1);
    else if (f->is_signed && f->wide)
        times_256(p, x, v0, f, 8, 2, 1);
    else if (f->is_signed)
        times_256(p, x, v0, f, 4, 2, 1);
    else if (f->wide)
        times_256(p, x, v0, f, 8, 4, 0);
    else if (f->steps == 4)
        times_256(p, x, v0, f, 4, 4, 0);
    else
        times_256(p, x, v0, f, 4, 2, 0);
}

void hs__times_avx2(const hs__format *f, const hs__panel *p, uint32_t n_panels, uint32_t groups, const hs__vectors *x)
{
    hs__vectors at = *x;
    for (uint32_t i = 0; i < n_panels; i++) {
        for (uint32_t v = 0; v < at.n; v += VECS)
            times(f, p + i, groups, &at, v);
        for (uint32_t v = 0; v < HS__PANEL_VECS; v++)
            at.y[v] += 8;
    }
}

/* From column k on; nowhere is for the results of vectors that are not there. */
static hs__vectors vectors_at(const hs__format *f, uint32_t n, uint32_t k, const void *const *x, float *const *y,
                              uint32_t have, uint32_t row, float *nowhere)
{
    hs__vectors at = {.n = have};
    for (uint32_t v = 0; v < HS__PANEL_VECS; v++) {
        const void *from = x[v < have ? v : 0];
        at.q[v] = (const int8_t *)from + k;
        at.sums[v] = hs__act_sums(from, n) + k / HS__GROUP;
        at.d[v] = hs__act_scales(from, n) + (f->scales ? k / 256 : k / 32);
        at.y[v] = v < have ? y[v] + row : nowhere;
    }
    return at;
}

/* Rows [row, row + rows), part by part: a tile comes into L2 while the one before it is multiplied, since panels read
 * short pieces of many rows, which memory prefetchers do not follow. */
static void prefetch_part(const hs_mat *w, uint32_t row, uint32_t rows, uint32_t part, uint32_t parts)
{
    size_t bytes = (size_t)rows * (1 + w->skip) * hs_dtype_bytes(w->dtype, w->cols);
    const char *p = hs__row(w, row);
    for (size_t i = bytes * part / parts; i < bytes * (part + 1) / parts; i += 64)
        _mm_prefetch(p + i, _MM_HINT_T1);
}

static void multiply_tile(const hs__q8 *q8, hs__times_fn *times_panels, const hs_mat *w, uint32_t row, uint32_t rows,
                          uint32_t next_rows, const void *const *x, uint32_t n_vec, float *const *y)
{
    hs__panel panel[PANELS];
    float nowhere[PANELS * 8] = {0};
    uint32_t n = w->cols;
    for (uint32_t v = 0; v < n_vec; v++)
        memset(y[v] + row, 0, rows * sizeof **y);
    for (uint32_t k = 0; k < n; k += 256) {
        uint32_t groups = n - k < 256 ? (n - k) / 32 : 8;
        prefetch_part(w, row + rows, next_rows, k / 256, (n + 255) / 256);
        for (uint32_t i = 0; i < rows / 8; i++)
            q8->fill(w, row + 8 * i, k, groups, panel + i);
        for (uint32_t v = 0; v < n_vec; v += HS__PANEL_VECS) {
            uint32_t have = n_vec - v < HS__PANEL_VECS ? n_vec - v : HS__PANEL_VECS;
            hs__vectors at = vectors_at(q8->format, n, k, x + v, y + v, have, row, nowhere);
            times_panels(q8->format, panel, rows / 8, groups, &at);
        }
    }
}

void hs__by_panels(const hs__q8 *q8, hs__times_fn *times_panels, const hs_mat *w, uint32_t row0, uint32_t row1,
                   const void *const *x, uint32_t n_vec, float *const *y)
{
    uint32_t rows = row1 - row0 < PANELS * 8 ? row1 - row0 : PANELS * 8;
    prefetch_part(w, row0, rows, 0, 1);
    for (uint32_t row = row0, next; row < row1; row += rows, rows = next) {
        next = row1 - row - rows < PANELS * 8 ? row1 - row - rows : PANELS * 8;
        multiply_tile(q8, times_panels, w, row, rows, next, x, n_vec, y);
    }
}
