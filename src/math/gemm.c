/*
 * gemm.c - prompt tokens: OpenBLAS on dequantised tiles of fixed shape.
 *
 * A task is ROW_TILE rows of the matrix. It walks K_TILE columns at a time: dequantises that piece once, and multiplies
 * it with all tokens, BIG tokens a call, then SMALL. Whatever does not fill a tile (last tokens, rows or columns) is
 * padded with zeros to SMALL x ROW_TILE x K_TILE, so OpenBLAS only ever sees two shapes. Each output element is so the
 * sum over K tiles in order, each computed by one OpenBLAS micro-kernel: hs_math_setup checks on this processor that
 * both shapes and all places in them give the same bits. If only SMALL passes (AVX-512 kernels), only that is used; if
 * neither does (Haswell and Zen kernels of OpenBLAS 0.3.21 round differently at some places of a tile), or before
 * hs_math_setup, the kernel set's own matvec takes OpenBLAS's place. K_TILE is not above OpenBLAS's own K blocking.
 */
#include <cblas.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "math/math_int.h"

#define ROW_TILE 64u
#define K_TILE   256u
#define BIG      64u
#define SMALL    16u

typedef struct thread_scratch {
    float w[ROW_TILE * K_TILE];
    float x[SMALL * K_TILE];
    float y[SMALL * ROW_TILE];
} thread_scratch;

typedef enum gemm_mode { MODE_OWN, MODE_SMALL, MODE_BIG } gemm_mode;

static _Atomic int mode; /* a gemm_mode, set by hs_math_setup */

/* Y[m][ROW_TILE] += X[m][K_TILE] W[ROW_TILE][K_TILE]^T */
static void multiply(uint32_t m, const float *x, size_t x_stride, const float *w, float *y, size_t y_stride)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, ROW_TILE, K_TILE, 1.0f, x, (blasint)x_stride, w,
                K_TILE, 1.0f, y, (blasint)y_stride);
}

typedef struct check_buffers {
    float x[BIG * K_TILE], shuffled[BIG * K_TILE], w[ROW_TILE * K_TILE];
    float big[BIG * ROW_TILE], small[BIG * ROW_TILE], moved[BIG * ROW_TILE];
} check_buffers;

/* Where token t of the shuffled batch stands in the unshuffled one: another place in its tile, and another tile. */
static uint32_t shuffled_from(uint32_t t)
{
    return (t * 23 + 5) % BIG;
}

static void check_fill(check_buffers *b)
{
    uint32_t seed = 12345;
    for (size_t i = 0; i < BIG * K_TILE; i++) {
        seed = seed * 1664525u + 1013904223u;
        b->x[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    for (size_t i = 0; i < ROW_TILE * K_TILE; i++) {
        seed = seed * 1664525u + 1013904223u;
        b->w[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    for (uint32_t t = 0; t < BIG; t++)
        memcpy(b->shuffled + t * K_TILE, b->x + shuffled_from(t) * K_TILE, K_TILE * sizeof *b->x);
}

/* The same tokens as one big call, as small ones, and as small ones in another order: equal bits? */
static gemm_mode self_check(void)
{
    check_buffers *b = hs_calloc(1, sizeof *b);
    if (!b)
        return MODE_OWN;
    check_fill(b);
    multiply(BIG, b->x, K_TILE, b->w, b->big, ROW_TILE);
    for (uint32_t t = 0; t < BIG; t += SMALL) {
        multiply(SMALL, b->x + t * K_TILE, K_TILE, b->w, b->small + t * ROW_TILE, ROW_TILE);
        multiply(SMALL, b->shuffled + t * K_TILE, K_TILE, b->w, b->moved + t * ROW_TILE, ROW_TILE);
    }
    int same = 1;
    for (uint32_t t = 0; t < BIG; t++)
        same &= !memcmp(b->moved + t * ROW_TILE, b->small + shuffled_from(t) * ROW_TILE, ROW_TILE * sizeof *b->moved);
    gemm_mode m = !same ? MODE_OWN : memcmp(b->big, b->small, sizeof b->big) ? MODE_SMALL : MODE_BIG;
    hs_free(b);
    return m;
}

void hs_math_setup(void)
{
    openblas_set_num_threads(1);
    atomic_store(&mode, (int)self_check());
}

uint64_t hs_gemm_scratch_bytes(uint32_t n_threads)
{
    return (uint64_t)n_threads * hs_align_up(sizeof(thread_scratch), 64);
}

typedef struct job {
    const hs_kernels *k;
    const hs_mat *w;
    const float *x;
    float *y;
    size_t x_stride, y_stride;
    uint32_t m;
    char *scratch;
} job;

/* One piece of the matrix: rows [row0, row0 + rows) and columns [k0, k0 + n), dequantised into s->w. */
typedef struct piece {
    uint32_t row0, rows, k0, n;
} piece;

/* Rows end up `stride` floats apart; what is beyond the piece is zero. */
static void dequant_piece(const job *j, piece p, uint32_t stride, float *out)
{
    for (uint32_t r = 0; r < p.rows; r++) {
        j->k->dequant_span(j->w, p.row0 + r, p.k0, p.k0 + p.n, out + r * stride);
        memset(out + r * stride + p.n, 0, (stride - p.n) * sizeof *out);
    }
    memset(out + p.rows * stride, 0, (size_t)(ROW_TILE - p.rows) * stride * sizeof *out);
}

/* Tokens [t, t + m), m <= SMALL, through zero-padded copies. */
static void multiply_padded(const job *j, thread_scratch *s, piece p, uint32_t t, uint32_t m)
{
    memset(s->x, 0, sizeof s->x);
    memset(s->y, 0, sizeof s->y);
    for (uint32_t i = 0; i < m; i++) {
        memcpy(s->x + i * K_TILE, j->x + (t + i) * j->x_stride + p.k0, p.n * sizeof(float));
        memcpy(s->y + i * ROW_TILE, j->y + (t + i) * j->y_stride + p.row0, p.rows * sizeof(float));
    }
    multiply(SMALL, s->x, K_TILE, s->w, s->y, ROW_TILE);
    for (uint32_t i = 0; i < m; i++)
        memcpy(j->y + (t + i) * j->y_stride + p.row0, s->y + i * ROW_TILE, p.rows * sizeof(float));
}

static void multiply_piece(const job *j, thread_scratch *s, piece p, gemm_mode how)
{
    uint32_t t = 0;
    if (p.rows == ROW_TILE && p.n == K_TILE) {
        for (uint32_t m = how == MODE_BIG ? BIG : SMALL; m >= SMALL; m = m > SMALL ? SMALL : 0)
            for (; t + m <= j->m; t += m)
                multiply(m, j->x + t * j->x_stride + p.k0, j->x_stride, s->w, j->y + t * j->y_stride + p.row0,
                         j->y_stride);
    }
    for (; t < j->m; t += SMALL)
        multiply_padded(j, s, p, t, j->m - t < SMALL ? j->m - t : SMALL);
}

/* Without OpenBLAS; s->w has rows p.n apart. */
static void multiply_own(const job *j, thread_scratch *s, piece p)
{
    hs_mat tile = {.data = s->w, .dtype = HS_DTYPE_F32, .rows = p.rows, .cols = p.n};
    for (uint32_t t = 0; t < j->m; t += SMALL) {
        uint32_t m = j->m - t < SMALL ? j->m - t : SMALL;
        j->k->matvec(&tile, 0, p.rows, j->x + t * j->x_stride + p.k0, j->x_stride, m, s->y, ROW_TILE);
        for (uint32_t i = 0; i < m; i++)
            for (uint32_t r = 0; r < p.rows; r++)
                j->y[(t + i) * j->y_stride + p.row0 + r] += s->y[i * ROW_TILE + r];
    }
}

static void task(void *ctx, uint32_t index, uint32_t thread)
{
    const job *j = ctx;
    thread_scratch *s = (thread_scratch *)(void *)(j->scratch + thread * hs_align_up(sizeof(thread_scratch), 64));
    piece p = {.row0 = index * ROW_TILE};
    p.rows = j->w->rows - p.row0 < ROW_TILE ? j->w->rows - p.row0 : ROW_TILE;
    gemm_mode how = (gemm_mode)atomic_load_explicit(&mode, memory_order_relaxed);
    for (uint32_t t = 0; t < j->m; t++)
        memset(j->y + t * j->y_stride + p.row0, 0, p.rows * sizeof(float));
    for (; p.k0 < j->w->cols; p.k0 += p.n) {
        p.n = j->w->cols - p.k0 < K_TILE ? j->w->cols - p.k0 : K_TILE;
        dequant_piece(j, p, how == MODE_OWN ? p.n : K_TILE, s->w);
        if (how == MODE_OWN)
            multiply_own(j, s, p);
        else
            multiply_piece(j, s, p, how);
    }
}

void hs_gemm(const hs_kernels *k, hs_pool *pool, const hs_mat *w, const float *x, size_t x_stride, uint32_t m, float *y,
             size_t y_stride, void *scratch)
{
    if (!m)
        return;
    job j = {k, w, x, y, x_stride, y_stride, m, scratch};
    hs_pool_run(pool, w->rows / ROW_TILE + (w->rows % ROW_TILE != 0), task, &j);
}
