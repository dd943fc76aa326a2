/*
 * gemm.c - prompt tokens: the matrix, dequantised piece by piece, times all tokens at once.
 *
 * A task is ROW_TILE rows of the matrix. It walks K_TILE columns at a time: dequantises them, turns them into panels of
 * 16 rows in which a column's 16 weights are neighbours, and lets the kernel set's gemm_panel add the panel's products
 * to every token. An element is so the sum of its K tiles, each one chain of products in the order of the columns,
 * whatever else is in the batch: equal bits need no padding and no checks. OpenBLAS, which did this first, rounds
 * differently at some places of a tile (0.3.21, Haswell and Zen kernels) and was slower below some hundred tokens.
 */
#include "math/math_int.h"

#include "base/mem.h"

#define ROW_TILE    64u
#define K_TILE      256u
#define TOKEN_BLOCK 48u /* their x stays in L1 and L2 while all panels of the tile go by */

typedef struct thread_scratch {
    float rows[HS_PANEL_ROWS * K_TILE];
    float panel[ROW_TILE * K_TILE];
    float y[TOKEN_BLOCK * HS_PANEL_ROWS]; /* of a panel that is cut short */
} thread_scratch;

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

/* Rows [row0, row0 + rows), columns [k0, k0 + n) as panels; rows beyond the matrix are zero. */
static void make_panels(const job *j, thread_scratch *s, uint32_t row0, uint32_t rows, uint32_t k0, uint32_t n)
{
    for (uint32_t p = 0; p < rows; p += HS_PANEL_ROWS) {
        uint32_t count = rows - p < HS_PANEL_ROWS ? rows - p : HS_PANEL_ROWS;
        for (uint32_t r = 0; r < count; r++)
            j->k->dequant_span(j->w, row0 + p + r, k0, k0 + n, s->rows + r * K_TILE);
        memset(s->rows + count * K_TILE, 0, (HS_PANEL_ROWS - count) * K_TILE * sizeof *s->rows);
        j->k->to_panel(s->rows, K_TILE, n, s->panel + (size_t)p * K_TILE);
    }
}

/* Tokens [t, t + m) through a panel of fewer than HS_PANEL_ROWS rows, by way of a copy of their results. */
static void multiply_short(const job *j, thread_scratch *s, const float *panel, uint32_t n, const float *x, uint32_t m,
                           float *y, uint32_t rows)
{
    memset(s->y, 0, sizeof s->y);
    for (uint32_t i = 0; i < m; i++)
        memcpy(s->y + i * HS_PANEL_ROWS, y + i * j->y_stride, rows * sizeof *y);
    j->k->gemm_panel(panel, HS_PANEL_ROWS, n, x, j->x_stride, m, s->y, HS_PANEL_ROWS);
    for (uint32_t i = 0; i < m; i++)
        memcpy(y + i * j->y_stride, s->y + i * HS_PANEL_ROWS, rows * sizeof *y);
}

static void multiply(const job *j, thread_scratch *s, uint32_t row0, uint32_t rows, uint32_t k0, uint32_t n)
{
    for (uint32_t t = 0; t < j->m; t += TOKEN_BLOCK) {
        uint32_t m = j->m - t < TOKEN_BLOCK ? j->m - t : TOKEN_BLOCK;
        const float *x = j->x + t * j->x_stride + k0;
        for (uint32_t p = 0; p < rows; p += HS_PANEL_ROWS) {
            float *y = j->y + t * j->y_stride + row0 + p;
            const float *panel = s->panel + (size_t)p * K_TILE;
            if (rows - p < HS_PANEL_ROWS)
                multiply_short(j, s, panel, n, x, m, y, rows - p);
            else
                j->k->gemm_panel(panel, HS_PANEL_ROWS, n, x, j->x_stride, m, y, j->y_stride);
        }
    }
}

static void task(void *ctx, uint32_t index, uint32_t thread)
{
    const job *j = ctx;
    thread_scratch *s = (thread_scratch *)(void *)(j->scratch + thread * hs_align_up(sizeof(thread_scratch), 64));
    uint32_t row0 = index * ROW_TILE;
    uint32_t rows = j->w->rows - row0 < ROW_TILE ? j->w->rows - row0 : ROW_TILE;
    for (uint32_t t = 0; t < j->m; t++)
        memset(j->y + t * j->y_stride + row0, 0, rows * sizeof(float));
    for (uint32_t k0 = 0; k0 < j->w->cols; k0 += K_TILE) {
        uint32_t n = j->w->cols - k0 < K_TILE ? j->w->cols - k0 : K_TILE;
        make_panels(j, s, row0, rows, k0, n);
        multiply(j, s, row0, rows, k0, n);
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
