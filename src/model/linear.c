/*
 * linear.c - products with weight matrices by the path that the phase prescribes, and row-wise norms.
 * Decode: several matrices that read the same vectors are one job of the pool. How rows are cut into tasks, and whether
 * the pool is woken at all, does not influence a single bit (math/mat.h).
 */
#include <string.h>

#include "model/model_int.h"

#define MAX_PRODUCTS 3

void hs__run(hs_model *m, uint64_t work_bytes, uint32_t n_tasks, hs_task_fn fn, void *ctx)
{
    hs_pool_run(work_bytes <= HS__INLINE_BYTES ? m->inline_pool : m->pool, n_tasks, fn, ctx);
}

/* Eight tasks for each thread balance the work; smaller ones than 4 KiB would cost more than they compute. */
uint32_t hs__tile_rows(const hs_model *m, uint64_t job_bytes, uint64_t row_bytes)
{
    uint64_t task = job_bytes / (8 * hs_pool_threads(m->pool));
    task = task < (4u << 10) ? 4u << 10 : task > (512u << 10) ? 512u << 10 : task;
    uint32_t rows = (uint32_t)(task / row_bytes) / 8 * 8;
    return rows ? rows : 8;
}

hs_act hs__act(const hs_model *m, const hs_mat *w)
{
    return m->cfg.q8 ? hs_mat_act(w) : HS_ACT_F32;
}

void hs__norm_changed(hs_model *m, uint32_t n)
{
    m->n_norm = n;
    memset(m->q8_norm, 0, sizeof m->q8_norm);
}

float **hs__y_rows(hs_model *m, uint32_t list, float *y, size_t stride, uint32_t n)
{
    float **rows = m->y_rows + (size_t)list * m->n_max;
    for (uint32_t i = 0; i < n; i++)
        rows[i] = y + i * stride;
    return rows;
}

typedef struct quantise_job {
    const hs_kernels *k;
    hs__q8 *to;
    hs_act a;
    const float *x;
    size_t x_stride;
    uint32_t cols, n;
} quantise_job;

#define QUANTISE_ROWS 8u /* vectors of a task */

static void quantise_task(void *ctx, uint32_t index, uint32_t thread)
{
    const quantise_job *j = ctx;
    (void)thread;
    uint32_t from = index * QUANTISE_ROWS, to = j->n - from < QUANTISE_ROWS ? j->n : from + QUANTISE_ROWS;
    for (uint32_t i = from; i < to; i++)
        j->k->quantise(j->a, j->x + i * j->x_stride, j->cols, (void *)(uintptr_t)j->to->rows[i]);
}

void hs__make_q8(hs_model *m, hs__q8 *to, hs_act a, const float *x, size_t x_stride, uint32_t cols, uint32_t n)
{
    bool is_norm = to == &m->q8_in[a];
    if (is_norm && m->q8_norm[a])
        return;
    quantise_job j = {m->k, to, a, x, x_stride, cols, n};
    hs__run(m, (uint64_t)n * cols, (n + QUANTISE_ROWS - 1) / QUANTISE_ROWS, quantise_task, &j);
    if (is_norm)
        m->q8_norm[a] = true;
}

/* A product's n vectors as 8-bit ones; NULL: its matrix takes floats. */
static const void **product_q8(hs_model *m, const hs__product *p, uint32_t n)
{
    hs_act a = hs__act(m, p->w);
    if (a == HS_ACT_F32)
        return NULL;
    hs__q8 *to = p->x == m->norm ? &m->q8_in[a] : &m->q8_other[a];
    hs__make_q8(m, to, a, p->x, p->x_stride, p->w->cols, n);
    return to->rows;
}

typedef struct vec_job {
    const hs_kernels *k;
    const hs__product *p;
    uint32_t n_products, n;
    uint32_t first[MAX_PRODUCTS + 1], rows[MAX_PRODUCTS]; /* task numbers; rows of a task */
    const void **x8[MAX_PRODUCTS];                        /* NULL: floats */
    float **y8[MAX_PRODUCTS];
} vec_job;

static void vec_task(void *ctx, uint32_t index, uint32_t thread)
{
    const vec_job *j = ctx;
    (void)thread;
    uint32_t i = 0;
    while (index >= j->first[i + 1])
        i++;
    const hs__product *p = &j->p[i];
    uint32_t row0 = (index - j->first[i]) * j->rows[i];
    uint32_t row1 = p->w->rows - row0 < j->rows[i] ? p->w->rows : row0 + j->rows[i];
    if (j->x8[i])
        j->k->matvec_q8(p->w, row0, row1, j->x8[i], j->n, j->y8[i]);
    else
        j->k->matvec(p->w, row0, row1, p->x, p->x_stride, j->n, p->y, p->y_stride);
}

/* Products of one job read one vector each, or all m->norm: 8-bit forms of one kind do not get into each other's way.
 */
static void by_vectors(hs_model *m, const hs__product *p, uint32_t n_products, uint32_t n)
{
    vec_job j = {.k = m->k, .p = p, .n_products = n_products, .n = n};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n_products; i++)
        bytes += hs_mat_bytes(p[i].w);
    for (uint32_t i = 0; i < n_products; i++) {
        j.rows[i] = hs__tile_rows(m, bytes, hs_mat_bytes(p[i].w) / p[i].w->rows);
        j.first[i + 1] = j.first[i] + (p[i].w->rows + j.rows[i] - 1) / j.rows[i];
        j.x8[i] = product_q8(m, &p[i], n);
        if (j.x8[i])
            j.y8[i] = hs__y_rows(m, i, p[i].y, p[i].y_stride, n);
    }
    hs__run(m, bytes * n, j.first[n_products], vec_task, &j);
}

void hs__linear(hs_model *m, hs_phase phase, const hs__product *p, uint32_t n_products, uint32_t n)
{
    if (phase == HS_PHASE_DECODE) {
        by_vectors(m, p, n_products, n);
        return;
    }
    for (uint32_t i = 0; i < n_products; i++) {
        const void **x8 = product_q8(m, &p[i], n);
        if (x8)
            hs_matvec_q8(m->k, m->pool, p[i].w, x8, n, hs__y_rows(m, 0, p[i].y, p[i].y_stride, n));
        else
            hs_gemm(m->k, m->pool, p[i].w, p[i].x, p[i].x_stride, n, p[i].y, p[i].y_stride, m->gemm);
    }
}

void hs__rmsnorm_rows(const hs_model *m, const float *x, size_t x_stride, const float *w, uint32_t width, float eps,
                      uint32_t n, float *out, size_t out_stride)
{
    for (uint32_t i = 0; i < n; i++)
        m->k->rmsnorm(x + i * x_stride, w, width, eps, out + i * out_stride);
}
