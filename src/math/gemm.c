/*
 * gemm.c - prompt tokens: OpenBLAS on dequantised tiles of fixed shape.
 *
 * A task is ROW_TILE rows of the matrix. It walks K_TILE columns at a time: dequantises that piece once, and multiplies
 * it with all tokens, BIG tokens a call, then SMALL, the last tile padded with zeros to SMALL. Each output element is
 * so the sum over K tiles in order, each computed by one OpenBLAS micro-kernel; hs_math_setup checks on this processor
 * that BIG and SMALL calls and all places in them give the same bits, else only SMALL is used. K_TILE is below
 * OpenBLAS's own K blocking (256 to 384 on x86).
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

static _Atomic int big_is_exact;

static void multiply(uint32_t m, uint32_t rows, uint32_t k, const float *x, size_t x_stride, const float *w, float *y,
                     size_t y_stride)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)rows, (blasint)k, 1.0f, x,
                (blasint)x_stride, w, (blasint)K_TILE, 1.0f, y, (blasint)y_stride);
}

/* The same 64 tokens as one big call and as four small ones with the tokens in another order: equal bits? */
static int self_check(void)
{
    size_t n = BIG * K_TILE;
    float *x = hs_malloc(n * sizeof *x), *w = hs_malloc(n * sizeof *w);
    float *a = hs_calloc(BIG * ROW_TILE, sizeof *a), *b = hs_calloc(BIG * ROW_TILE, sizeof *b);
    float *xs = hs_malloc(SMALL * K_TILE * sizeof *xs);
    int same = x && w && a && b && xs;
    uint32_t seed = 12345;
    for (size_t i = 0; same && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed * 0x1p-31f;
        seed = seed * 1664525u + 1013904223u;
        w[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    if (same) {
        multiply(BIG, ROW_TILE, K_TILE, x, K_TILE, w, a, ROW_TILE);
        for (uint32_t t = 0; t < BIG; t += SMALL) {
            for (uint32_t i = 0; i < SMALL; i++)
                memcpy(xs + i * K_TILE, x + (t + (i * 7) % SMALL) * K_TILE, K_TILE * sizeof *x);
            multiply(SMALL, ROW_TILE, K_TILE, xs, K_TILE, w, b + t * ROW_TILE, ROW_TILE);
        }
        for (uint32_t t = 0; t < BIG; t++) {
            uint32_t from = t / SMALL * SMALL + (t % SMALL * 7) % SMALL;
            same &= !memcmp(b + t * ROW_TILE, a + from * ROW_TILE, ROW_TILE * sizeof *a);
        }
    }
    hs_free(x);
    hs_free(w);
    hs_free(a);
    hs_free(b);
    hs_free(xs);
    return same;
}

void hs_math_setup(void)
{
    openblas_set_num_threads(1);
    atomic_store(&big_is_exact, self_check());
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

static void dequant_piece(const job *j, uint32_t row0, uint32_t rows, uint32_t k0, uint32_t n, float *out)
{
    for (uint32_t r = 0; r < rows; r++)
        j->k->dequant_span(j->w, row0 + r, k0, k0 + n, out + r * K_TILE);
}

static void task(void *ctx, uint32_t index, uint32_t thread)
{
    const job *j = ctx;
    thread_scratch *s = (thread_scratch *)(void *)(j->scratch + thread * hs_align_up(sizeof(thread_scratch), 64));
    uint32_t row0 = index * ROW_TILE;
    uint32_t rows = j->w->rows - row0 < ROW_TILE ? j->w->rows - row0 : ROW_TILE;
    uint32_t whole = j->m / SMALL * SMALL, rest = j->m - whole;
    int big = atomic_load_explicit(&big_is_exact, memory_order_relaxed);
    for (uint32_t i = 0; i < whole; i++)
        memset(j->y + i * j->y_stride + row0, 0, rows * sizeof(float));
    memset(s->y, 0, sizeof s->y);
    memset(s->x, 0, sizeof s->x);
    for (uint32_t k0 = 0; k0 < j->w->cols; k0 += K_TILE) {
        uint32_t n = j->w->cols - k0 < K_TILE ? j->w->cols - k0 : K_TILE;
        dequant_piece(j, row0, rows, k0, n, s->w);
        uint32_t t = 0;
        for (; big && t + BIG <= whole; t += BIG)
            multiply(BIG, rows, n, j->x + t * j->x_stride + k0, j->x_stride, s->w, j->y + t * j->y_stride + row0,
                     j->y_stride);
        for (; t < whole; t += SMALL)
            multiply(SMALL, rows, n, j->x + t * j->x_stride + k0, j->x_stride, s->w, j->y + t * j->y_stride + row0,
                     j->y_stride);
        if (!rest)
            continue;
        for (uint32_t i = 0; i < rest; i++)
            memcpy(s->x + i * K_TILE, j->x + (whole + i) * j->x_stride + k0, n * sizeof(float));
        multiply(SMALL, rows, n, s->x, K_TILE, s->w, s->y, ROW_TILE);
    }
    for (uint32_t i = 0; i < rest; i++)
        memcpy(j->y + (whole + i) * j->y_stride + row0, s->y + i * ROW_TILE, rows * sizeof(float));
}

void hs_gemm(const hs_kernels *k, hs_pool *pool, const hs_mat *w, const float *x, size_t x_stride, uint32_t m, float *y,
             size_t y_stride, void *scratch)
{
    if (!m)
        return;
    job j = {k, w, x, y, x_stride, y_stride, m, scratch};
    hs_pool_run(pool, (w->rows + ROW_TILE - 1) / ROW_TILE, task, &j);
}
