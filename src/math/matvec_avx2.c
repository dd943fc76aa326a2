/*
 * matvec_avx2.c - matrix times vectors.
 *
 * Order: a row's sum runs over eight interleaved partial sums with FMA; with E4M3, over eight per block of scales and
 * CHUNK columns. How many rows and vectors are worked on together never changes it.
 *
 * Speed: four rows at a time share the loads of x and hide the latency of FMA. They are a quarter of the task apart,
 * so that each is a long linear stream: memory prefetchers follow four such streams at the rate of one, but lose half
 * of it on four neighbouring rows, whose streams jump at each row's end (measured 15 against 25 GB/s, 33 being the
 * rate of plain reading).
 *
 * E4M3: sign, exponent and mantissa are moved to their places in a float, which is then the weight times 2^-120,
 * exactly (subnormal codes become subnormal floats). x is scaled by 2^60 beforehand so that products stay in range, and
 * put into the order in which shifting and masking yields the codes of 32 columns; sums are scaled back at the end.
 * Vectors beyond 2^66 overflow here. A NaN code makes its row's result NaN.
 */
#include <math.h>

#include "math/avx2_int.h"
#include "math/quant_int.h"

#define ROWS     4u
#define CHUNK    8192u /* columns of x kept prepared on the stack, for two vectors 64 KiB */
#define AHEAD    512   /* bytes of prefetch, within a stream */
#define X_SCALE  0x1p60f
#define UNSCALED 0x1p60f /* 2^120 of the weights, of which X_SCALE undid half */

/* Weights that serve one vector are read once: they need not push x out of the caches. */
HS__INLINE void prefetch(const char *p, uint32_t vecs)
{
    if (vecs == 1)
        _mm_prefetch(p + AHEAD, _MM_HINT_NTA);
    else
        _mm_prefetch(p + AHEAD, _MM_HINT_T0);
}

/* rows x vecs dot products of n columns into out. */
#define DEFINE_TILE(name, load, size)                                                                                  \
    HS__INLINE void name(const char *const *row, uint32_t rows, const float *x, size_t x_stride, uint32_t vecs,        \
                         uint32_t n, float(*out)[2])                                                                   \
    {                                                                                                                  \
        __m256 acc[ROWS][2];                                                                                           \
        HS__EACH (r, rows)                                                                                             \
            acc[r][0] = acc[r][1] = _mm256_setzero_ps();                                                               \
        uint32_t k = 0;                                                                                                \
        for (; k + 32 <= n; k += 32) {                                                                                 \
            HS__EACH (r, rows)                                                                                         \
                prefetch(row[r] + (size_t)k * (size), vecs);                                                           \
            HS__EACH (j, 4) {                                                                                          \
                HS__EACH (r, rows) {                                                                                   \
                    __m256 w = load(row[r] + (size_t)(k + 8 * j) * (size));                                            \
                    HS__EACH (v, vecs)                                                                                 \
                        acc[r][v] = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + v * x_stride + k + 8 * j), acc[r][v]);      \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (; k < n; k += 8) {                                                                                        \
            uint32_t m = n - k < 8 ? n - k : 8;                                                                        \
            HS__EACH (r, rows) {                                                                                       \
                char tail[32] = {0};                                                                                   \
                memcpy(tail, row[r] + (size_t)k * (size), (size_t)m * (size));                                         \
                __m256 w = load(tail);                                                                                 \
                HS__EACH (v, vecs)                                                                                     \
                    acc[r][v] = _mm256_fmadd_ps(w, hs__tail_f32(x + v * x_stride + k, m), acc[r][v]);                  \
            }                                                                                                          \
        }                                                                                                              \
        HS__EACH (r, rows)                                                                                             \
            HS__EACH (v, vecs)                                                                                         \
                out[r][v] = hs__reduce8(acc[r][v]);                                                                    \
    }

DEFINE_TILE(tile_f32, hs__load8_f32, 4)
DEFINE_TILE(tile_f16, hs__load8_f16, 2)
DEFINE_TILE(tile_bf16, hs__load8_bf16, 2)

/* A column chunk of an E4M3 matrix; the rows of a tile may lie in different blocks of scales. */
typedef struct f8_chunk {
    const hs_mat *w;
    uint32_t col0, cols;            /* col0 is a multiple of CHUNK */
    uint32_t block;                 /* columns that share a scale, a multiple of 32; UINT32_MAX without scales */
    _Alignas(64) float x[2][CHUNK]; /* prepared, zero-padded to a multiple of 32 */
} f8_chunk;

/* Four groups of eight: columns 4i, 4i+2, 4i+1, 4i+3 of each 32, times X_SCALE. */
static void prepare_32(const float *x, float *out)
{
    __m256 q[4], scale = _mm256_set1_ps(X_SCALE);
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_mul_ps(scale, _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x + 4 * i)),
                                                         _mm_loadu_ps(x + 4 * i + 16), 1));
    __m256 a = _mm256_unpacklo_ps(q[0], q[2]), b = _mm256_unpackhi_ps(q[0], q[2]);
    __m256 c = _mm256_unpacklo_ps(q[1], q[3]), d = _mm256_unpackhi_ps(q[1], q[3]);
    _mm256_storeu_ps(out, _mm256_unpacklo_ps(a, c));
    _mm256_storeu_ps(out + 8, _mm256_unpacklo_ps(b, d));
    _mm256_storeu_ps(out + 16, _mm256_unpackhi_ps(a, c));
    _mm256_storeu_ps(out + 24, _mm256_unpackhi_ps(b, d));
}

static void prepare(const float *x, uint32_t n, float *out)
{
    uint32_t k = 0;
    for (; k + 32 <= n; k += 32)
        prepare_32(x + k, out + k);
    if (k < n) {
        float t[32] = {0};
        memcpy(t, x + k, (n - k) * sizeof *t);
        prepare_32(t, out + k);
    }
}

/* acc += 32 codes times prepared x, for each vector; notes NaN codes in *top (2 x code, so 0xfe). */
HS__INLINE void add_32(__m256i codes, const float *x, uint32_t vecs, __m256 *acc, __m256i *top)
{
    const __m256i bits = _mm256_set1_epi16((short)0x87f0), high = _mm256_set1_epi32((int)0xffff0000);
    *top = _mm256_max_epu8(*top, _mm256_add_epi8(codes, codes));
    __m256i even = _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 4), bits);
    __m256i odd = _mm256_and_si256(_mm256_srai_epi16(codes, 4), bits);
    __m256i w[4] = {_mm256_slli_epi32(even, 16), _mm256_and_si256(even, high), _mm256_slli_epi32(odd, 16),
                    _mm256_and_si256(odd, high)};
    HS__EACH (j, 4) {
        HS__EACH (v, vecs)
            acc[v] = _mm256_fmadd_ps(_mm256_castsi256_ps(w[j]), _mm256_loadu_ps(x + v * CHUNK + 8 * j), acc[v]);
    }
}

/* Columns [k, end) of the chunk, all in one block of scales. */
HS__INLINE void add_block(const char *const *row, uint32_t rows, const float *x, uint32_t vecs, uint32_t k,
                          uint32_t end, __m256 (*acc)[2], __m256i *top)
{
    for (; k + 32 <= end; k += 32) {
        HS__EACH (r, rows) {
            prefetch(row[r] + k, vecs);
            add_32(_mm256_loadu_si256((const __m256i *)(const void *)(row[r] + k)), x + k, vecs, acc[r], top);
        }
    }
    if (k == end)
        return;
    HS__EACH (r, rows) {
        char tail[32] = {0};
        memcpy(tail, row[r] + k, end - k);
        add_32(_mm256_loadu_si256((const __m256i *)(const void *)tail), x + k, vecs, acc[r], top);
    }
}

HS__INLINE void tile_f8(const f8_chunk *c, const uint32_t *at, uint32_t rows, uint32_t vecs, float (*out)[2])
{
    const char *row[ROWS], *scale[ROWS];
    __m256 total[ROWS][2];
    __m256i top = _mm256_setzero_si256();
    HS__EACH (r, rows) {
        row[r] = hs__row(c->w, at[r]) + c->col0;
        scale[r] = c->w->scale ? hs__scale_at(c->w, at[r], c->col0) : NULL;
        total[r][0] = total[r][1] = _mm256_setzero_ps();
    }
    for (uint32_t k = 0, end; k < c->cols; k = end) {
        uint32_t left = c->block - (c->col0 + k) % c->block;
        end = c->cols - k < left ? c->cols : k + left;
        __m256 acc[ROWS][2];
        HS__EACH (r, rows)
            acc[r][0] = acc[r][1] = _mm256_setzero_ps();
        add_block(row, rows, c->x[0], vecs, k, end, acc, &top);
        HS__EACH (r, rows) {
            __m256 s = _mm256_set1_ps(scale[r] ? hs__load_scale(c->w, scale[r]) : 1.0f);
            HS__EACH (v, vecs)
                total[r][v] = _mm256_fmadd_ps(acc[r][v], s, total[r][v]);
            if (scale[r])
                scale[r] += hs__scale_bytes(c->w);
        }
    }
    int nan = _mm256_movemask_epi8(_mm256_cmpeq_epi8(top, _mm256_set1_epi8((char)0xfe)));
    HS__EACH (r, rows)
        HS__EACH (v, vecs)
            out[r][v] = nan && hs__any_nan_f8(row[r], c->cols) ? NAN : hs__reduce8(total[r][v]) * UNSCALED;
}

/* One tile of a matrix of any type with a tile of its own. */
HS__INLINE void tile(const hs_mat *w, const f8_chunk *c, const uint32_t *at, uint32_t rows, const float *x,
                     size_t x_stride, uint32_t vecs, float (*out)[2])
{
    if (c) {
        tile_f8(c, at, rows, vecs, out);
        return;
    }
    const char *row[ROWS];
    HS__EACH (r, rows)
        row[r] = hs__row(w, at[r]);
    if (w->dtype == HS_DTYPE_BF16)
        tile_bf16(row, rows, x, x_stride, vecs, w->cols, out);
    else if (w->dtype == HS_DTYPE_F16)
        tile_f16(row, rows, x, x_stride, vecs, w->cols, out);
    else
        tile_f32(row, rows, x, x_stride, vecs, w->cols, out);
}

/* vecs (1 or 2) vectors; c is the chunk of an E4M3 matrix, else NULL. Chunks after the first are added to y. */
HS__INLINE void walk(const hs_mat *w, const f8_chunk *c, uint32_t row0, uint32_t row1, const float *x, size_t x_stride,
                     uint32_t vecs, float *y, size_t y_stride)
{
    uint32_t apart = (row1 - row0) / ROWS, at[ROWS];
    int add = c && c->col0 > 0;
    float out[ROWS][2];
    for (uint32_t i = 0; i < apart; i++) {
        HS__EACH (r, ROWS)
            at[r] = row0 + r * apart + i;
        tile(w, c, at, ROWS, x, x_stride, vecs, out);
        HS__EACH (r, ROWS)
            HS__EACH (v, vecs)
                y[v * y_stride + at[r]] = add ? y[v * y_stride + at[r]] + out[r][v] : out[r][v];
    }
    for (at[0] = row0 + ROWS * apart; at[0] < row1; at[0]++) {
        tile(w, c, at, 1, x, x_stride, vecs, out);
        HS__EACH (v, vecs)
            y[v * y_stride + at[0]] = add ? y[v * y_stride + at[0]] + out[0][v] : out[0][v];
    }
}

static void walk_f8(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t vecs,
                    float *y, size_t y_stride)
{
    f8_chunk c;
    c.w = w;
    c.block = w->scale ? w->block_cols : UINT32_MAX;
    for (c.col0 = 0; c.col0 < w->cols; c.col0 += c.cols) {
        c.cols = w->cols - c.col0 < CHUNK ? w->cols - c.col0 : CHUNK;
        HS__EACH (v, vecs)
            prepare(x + v * x_stride + c.col0, c.cols, c.x[v]);
        if (vecs == 2)
            walk(w, &c, row0, row1, NULL, 0, 2, y, y_stride);
        else
            walk(w, &c, row0, row1, NULL, 0, 1, y, y_stride);
    }
}

/* Block formats, and E4M3 with scale blocks that are no multiple of 32 columns wide: through dequantised pieces. */
static void walk_pieces(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                        float *y, size_t y_stride)
{
    float piece[256];
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t v = 0; v < n_vec; v++)
            y[v * y_stride + r] = 0;
        for (uint32_t k = 0; k < w->cols; k += 256) {
            uint32_t n = w->cols - k < 256 ? w->cols - k : 256;
            hs__dequant_span_avx2(w, r, k, k + n, piece);
            for (uint32_t v = 0; v < n_vec; v++)
                y[v * y_stride + r] += hs__kernels_avx2.dot(piece, x + v * x_stride + k, n);
        }
    }
}

void hs__matvec_avx2(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                     float *y, size_t y_stride)
{
    int f8 = w->dtype == HS_DTYPE_F8_E4M3;
    if (hs__is_quant(w->dtype) || (f8 && w->scale && w->block_cols % 32)) {
        walk_pieces(w, row0, row1, x, x_stride, n_vec, y, y_stride);
        return;
    }
    for (uint32_t v = 0; v < n_vec; v += 2) {
        uint32_t vecs = n_vec - v < 2 ? 1 : 2;
        const float *xv = x + v * x_stride;
        float *yv = y + v * y_stride;
        if (f8)
            walk_f8(w, row0, row1, xv, x_stride, vecs, yv, y_stride);
        else if (vecs == 2)
            walk(w, NULL, row0, row1, xv, x_stride, 2, yv, y_stride);
        else
            walk(w, NULL, row0, row1, xv, x_stride, 1, yv, y_stride);
    }
}
