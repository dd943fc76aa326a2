/*
 * attend.c - scores, softmax and weighted values as two products with panels: keys are the panels of the first, values
 * as they lie are those of the second.
 *
 * Order: a score is the sum of pieces of SCORE_DIMS columns, each one chain of products. A block's weighted values are
 * one chain over its keys, and are then added to those of the blocks before.
 */
#include "math/attend.h"

#include "math/math_int.h"

#define SCORE_DIMS 192u /* a panel's piece and the queries beside it stay in L1 */

void hs_attend_panels(const hs_kernels *k, const float *rows, size_t stride, uint32_t n, uint32_t dim, float *panels)
{
    for (; n >= HS_PANEL_ROWS; n -= HS_PANEL_ROWS, rows += HS_PANEL_ROWS * stride, panels += HS_PANEL_ROWS * dim)
        k->to_panel(rows, stride, dim, panels);
    if (!n)
        return;
    memset(panels, 0, (size_t)dim * HS_PANEL_ROWS * sizeof *panels);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < dim; i++)
            panels[i * HS_PANEL_ROWS + r] = rows[r * stride + i];
}

/* Scores of m queries over the first n keys, in whole panels. */
static void scores(const hs_kernels *k, const hs_attend_block *b, const float *q, size_t q_stride, uint32_t m,
                   uint32_t n, float *p)
{
    for (uint32_t i = 0; i < m; i++)
        memset(p + i * HS_ATTEND_KEYS, 0, HS_ATTEND_KEYS * sizeof *p);
    for (uint32_t r = 0; r < n; r += HS_PANEL_ROWS)
        for (uint32_t d = 0; d < b->qk_dim; d += SCORE_DIMS)
            k->gemm_panel(b->panels + (size_t)r * b->qk_dim + d * HS_PANEL_ROWS, HS_PANEL_ROWS,
                          b->qk_dim - d < SCORE_DIMS ? b->qk_dim - d : SCORE_DIMS, q + d, q_stride, m, p + r,
                          HS_ATTEND_KEYS);
}

/* acc += p values over n keys; columns beyond whole panels one by one. */
static void add_values(const hs_kernels *k, const hs_attend_block *b, const float *p, uint32_t m, uint32_t n,
                       float *acc, size_t acc_stride)
{
    uint32_t d = 0;
    for (; d + HS_PANEL_ROWS <= b->v_dim; d += HS_PANEL_ROWS)
        k->gemm_panel(b->values + d, b->value_stride, n, p, HS_ATTEND_KEYS, m, acc + d, acc_stride);
    for (; d < b->v_dim; d++)
        for (uint32_t i = 0; i < m; i++) {
            float sum = 0;
            for (uint32_t j = 0; j < n; j++)
                sum += p[i * HS_ATTEND_KEYS + j] * b->values[j * b->value_stride + d];
            acc[i * acc_stride + d] += sum;
        }
}

static uint32_t seen_by(const hs_attend_block *b, const hs_attend_queries *q, uint32_t i)
{
    uint32_t seen = q->causal ? q->seen + i : q->seen;
    return seen < b->n ? seen : b->n;
}

/* The first key of the block that query i sees; not below seen_by if it sees none. */
static uint32_t first_of(const hs_attend_queries *q, uint32_t i)
{
    uint32_t seen = q->causal ? q->seen + i : q->seen;
    return q->window && seen > q->window ? seen - q->window : 0;
}

/* Queries [i0, i0 + m). */
static void tile(const hs_kernels *k, const hs_attend_block *b, const hs_attend_queries *q, uint32_t i0, uint32_t m,
                 float *p)
{
    uint32_t most = seen_by(b, q, i0 + m - 1);
    scores(k, b, q->q + i0 * q->q_stride, q->q_stride, m, most, p);
    for (uint32_t i = 0; i < m; i++) {
        float *row = p + (size_t)i * HS_ATTEND_KEYS, *acc = q->acc + (i0 + i) * q->acc_stride;
        uint32_t seen = seen_by(b, q, i0 + i), first = first_of(q, i0 + i);
        if (first >= seen) {
            memset(row, 0, most * sizeof *row);
            continue;
        }
        float shrink = k->softmax_piece(row + first, seen - first, q->scale, &q->max[i0 + i], &q->sum[i0 + i]);
        memset(row, 0, first * sizeof *row);
        memset(row + seen, 0, (most - seen) * sizeof *row);
        if (shrink != 1.0f)
            for (uint32_t d = 0; d < b->v_dim; d++)
                acc[d] *= shrink;
    }
    add_values(k, b, p, m, most, q->acc + i0 * q->acc_stride, q->acc_stride);
}

void hs_attend(const hs_kernels *k, const hs_attend_block *b, const hs_attend_queries *q, float *p)
{
    for (uint32_t i = 0; i < q->m; i += HS_ATTEND_TILE)
        tile(k, b, q, i, q->m - i < HS_ATTEND_TILE ? q->m - i : HS_ATTEND_TILE, p);
}
