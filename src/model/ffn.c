/*
 * ffn.c - SwiGLU: down(silu(gate x) * up x).
 *
 * Decode: all FFNs of a job (routed experts, the shared one) are one job of the pool. Its first tasks compute rows of
 * gate and up, the later ones rows of down; a task of the second stage waits until its own FFN's first stage is done.
 * Tasks are taken in ascending order, so every task it waits for is already in some thread's hands.
 * Prefill: three products of a matrix with all its tokens.
 */
#include <sched.h>
#include <string.h>

#include "model/model_int.h"

#define SPIN_ROUNDS 2000

typedef struct decode_job {
    hs_model *m;
    hs__ffn_item *items;
    uint32_t n_items, stage2; /* first task of the second stage */
} decode_job;

/* Rows [row0, row0 + n) of the inner vector, into gate. */
static void activate(const hs_kernels *k, const hs__ffn_item *it, uint32_t row0, float *gate, float *up, uint32_t n)
{
    if (it->gate_bias) {
        hs_add(it->gate_bias + row0, gate, n);
        hs_add(it->up_bias + row0, up, n);
    }
    if (it->glu_limit > 0)
        hs_glu_limited(gate, up, n, it->glu_limit, it->glu_alpha, gate);
    else
        k->silu_mul(gate, up, n, gate);
}

/* Rows [row0, row1) of w for the item's vectors: 8-bit ones from list x8, or, where w takes floats, one by one. */
static void multiply(const decode_job *j, const hs__ffn_item *it, const hs_mat *w, uint32_t row0, uint32_t row1,
                     const void *const *x8, bool inner, float *const *y)
{
    if (hs__act(j->m, w) != HS_ACT_F32) {
        j->m->k->matvec_q8(w, row0, row1, x8, it->n_rows, y);
        return;
    }
    for (uint32_t i = 0; i < it->n_rows; i++) {
        const float *x = inner ? it->rows[i].gate : j->m->norm + (size_t)it->rows[i].token * j->m->spec->hidden;
        j->m->k->matvec(w, row0, row1, x, 0, 1, y[i], 0);
    }
}

/* The thread that finishes the first stage brings its result into the form that the second one reads. */
static void finish_inner(const decode_job *j, hs__ffn_item *it)
{
    hs_act a = hs__act(j->m, &it->down);
    size_t first = (size_t)(it->rows - j->m->rows);
    for (uint32_t i = 0; a != HS_ACT_F32 && i < it->n_rows; i++)
        j->m->k->quantise(a, it->rows[i].gate, it->down.cols, (void *)(uintptr_t)j->m->lists.inner[first + i]);
    atomic_store_explicit(&it->inner_ready, 1, memory_order_release);
}

static void gate_up(const decode_job *j, hs__ffn_item *it, uint32_t tile)
{
    const hs__ffn_lists *l = &j->m->lists;
    size_t first = (size_t)(it->rows - j->m->rows);
    uint32_t row0 = tile * it->tile, rows = it->gate.rows - row0 < it->tile ? it->gate.rows - row0 : it->tile;
    hs_act gate = hs__act(j->m, &it->gate), up = hs__act(j->m, &it->up);
    multiply(j, it, &it->gate, row0, row0 + rows, l->x[gate] + first, false, l->gate + first);
    multiply(j, it, &it->up, row0, row0 + rows, l->x[up] + first, false, l->up + first);
    for (uint32_t i = 0; i < it->n_rows; i++)
        activate(j->m->k, it, row0, it->rows[i].gate + row0, it->rows[i].up + row0, rows);
    if (atomic_fetch_add_explicit(&it->done, 1, memory_order_acq_rel) + 1 == it->n_tiles)
        finish_inner(j, it);
}

static void down(const decode_job *j, hs__ffn_item *it, uint32_t tile)
{
    const hs__ffn_lists *l = &j->m->lists;
    size_t first = (size_t)(it->rows - j->m->rows);
    uint32_t spins = 0;
    while (!atomic_load_explicit(&it->inner_ready, memory_order_acquire))
        if (++spins > SPIN_ROUNDS)
            sched_yield();
    uint32_t row0 = tile * it->down_tile;
    uint32_t row1 = it->down.rows - row0 < it->down_tile ? it->down.rows : row0 + it->down_tile;
    multiply(j, it, &it->down, row0, row1, l->inner + first, true, l->out + first);
    for (uint32_t i = 0; it->down_bias && i < it->n_rows; i++)
        hs_add(it->down_bias + row0, it->rows[i].out + row0, row1 - row0);
}

static void decode_task(void *ctx, uint32_t index, uint32_t thread)
{
    const decode_job *j = ctx;
    (void)thread;
    uint32_t i = 0;
    if (index < j->stage2) {
        while (i + 1 < j->n_items && index >= j->items[i + 1].first)
            i++;
        gate_up(j, &j->items[i], index - j->items[i].first);
        return;
    }
    while (i + 1 < j->n_items && index >= j->items[i + 1].first_down)
        i++;
    down(j, &j->items[i], index - j->items[i].first_down);
}

uint64_t hs__ffn_item_bytes(const hs__ffn_item *it)
{
    return hs_mat_bytes(&it->gate) + hs_mat_bytes(&it->up) + hs_mat_bytes(&it->down);
}

/* 8-bit forms of what the item reads, and the lists of its vectors. */
static void fill_lists(hs_model *m, const hs__ffn_item *it)
{
    hs_act kinds[2] = {hs__act(m, &it->gate), hs__act(m, &it->up)}, inner = hs__act(m, &it->down);
    size_t first = (size_t)(it->rows - m->rows);
    for (uint32_t n = 0; n < 2; n++) {
        hs_act a = kinds[n];
        if (a == HS_ACT_F32)
            continue;
        hs__make_q8(m, &m->q8_in[a], a, m->norm, m->spec->hidden, m->spec->hidden, m->n_norm);
        for (uint32_t i = 0; i < it->n_rows; i++)
            m->lists.x[a][first + i] = m->q8_in[a].rows[it->rows[i].token];
    }
    for (uint32_t i = 0; i < it->n_rows; i++) {
        if (inner != HS_ACT_F32)
            m->lists.inner[first + i] = m->q8_inner[inner].rows[first + i];
        m->lists.gate[first + i] = it->rows[i].gate;
        m->lists.up[first + i] = it->rows[i].up;
        m->lists.out[first + i] = it->rows[i].out;
    }
}

void hs__ffn_decode(hs_model *m, hs__ffn_item *items, uint32_t n_items)
{
    uint32_t task = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n_items; i++)
        bytes += hs__ffn_item_bytes(&items[i]) * items[i].n_rows;
    for (uint32_t i = 0; i < n_items; i++) {
        hs__ffn_item *it = &items[i];
        it->tile = hs__tile_rows(m, bytes, 2 * hs_mat_bytes(&it->gate) / it->gate.rows);
        it->n_tiles = (it->gate.rows + it->tile - 1) / it->tile;
        it->first = task;
        task += it->n_tiles;
        atomic_store_explicit(&it->done, 0, memory_order_relaxed);
        atomic_store_explicit(&it->inner_ready, 0, memory_order_relaxed);
        fill_lists(m, it);
    }
    decode_job j = {m, items, n_items, task};
    for (uint32_t i = 0; i < n_items; i++) {
        hs__ffn_item *it = &items[i];
        it->down_tile = hs__tile_rows(m, bytes, hs_mat_bytes(&it->down) / it->down.rows);
        it->n_down_tiles = (it->down.rows + it->down_tile - 1) / it->down_tile;
        it->first_down = task;
        task += it->n_down_tiles;
    }
    hs__run(m, bytes, task, decode_task, &j);
}

hs__ffn_item hs__ffn_own_item(const hs_model *m, uint32_t layer)
{
    const hs__layer *l = &m->layers[layer];
    return (hs__ffn_item){.gate = l->w[HS__W_GATE], .up = l->w[HS__W_UP], .down = l->w[HS__W_DOWN]};
}

void hs__ffn_own(hs_model *m, uint32_t layer, uint32_t n, float *out, uint32_t first_row, hs__ffn_item *it)
{
    uint32_t width = m->a->layers[layer].ffn_width, hidden = m->spec->hidden;
    for (uint32_t i = 0; i < n; i++)
        m->rows[first_row + i] =
            (hs__ffn_row){i, m->gate + (size_t)i * width, m->up + (size_t)i * width, out + (size_t)i * hidden};
    *it = hs__ffn_own_item(m, layer);
    it->rows = m->rows + first_row;
    it->n_rows = n;
}

typedef struct inner_job {
    const hs_model *m;
    const hs__ffn_item *it;
    uint32_t n, width;
} inner_job;

#define INNER_ROWS 16u /* tokens of a task */

static void inner_task(void *ctx, uint32_t index, uint32_t thread)
{
    const inner_job *j = ctx;
    (void)thread;
    uint32_t from = index * INNER_ROWS, to = j->n - from < INNER_ROWS ? j->n : from + INNER_ROWS;
    for (size_t i = from; i < to; i++)
        activate(j->m->k, j->it, 0, j->m->gate + i * j->width, j->m->up + i * j->width, j->width);
}

/* Prompt vectors: floats [n][w->cols], or where w takes 8-bit ones, those. */
static void by_matrix(hs_model *m, const hs_mat *w, const float *x, const void *const *x8, uint32_t n, float *y,
                      size_t y_stride, float *const *y8)
{
    if (hs__act(m, w) == HS_ACT_F32)
        hs_gemm(m->k, m->pool, w, x, w->cols, n, y, y_stride, m->gemm);
    else
        hs_matvec_q8(m->k, m->pool, w, x8, n, y8);
}

/* The 8-bit vectors of w's kind of the tokens (NULL: from `first` on), from m->norm; NULL: it takes floats. */
static const void **prompt_q8(hs_model *m, const hs_mat *w, const uint32_t *tokens, uint32_t first, uint32_t n,
                              uint32_t list)
{
    hs_act a = hs__act(m, w);
    if (a == HS_ACT_F32)
        return NULL;
    hs__make_q8(m, &m->q8_in[a], a, m->norm, m->spec->hidden, m->spec->hidden, m->n_norm);
    if (!tokens)
        return m->q8_in[a].rows + first;
    const void **rows = m->x_rows + (size_t)list * m->n_max;
    for (uint32_t i = 0; i < n; i++)
        rows[i] = m->q8_in[a].rows[tokens[i]];
    return rows;
}

static const float *prompt_floats(hs_model *m, const hs__ffn_item *it, const uint32_t *tokens, uint32_t first,
                                  uint32_t n)
{
    uint32_t hidden = m->spec->hidden;
    bool floats = hs__act(m, &it->gate) == HS_ACT_F32 || hs__act(m, &it->up) == HS_ACT_F32;
    if (!tokens || !floats)
        return m->norm + (size_t)first * hidden;
    for (uint32_t i = 0; i < n; i++)
        memcpy(m->gather + (size_t)i * hidden, m->norm + (size_t)tokens[i] * hidden, hidden * sizeof(float));
    return m->gather;
}

static void ffn_block(hs_model *m, const hs__ffn_item *it, const uint32_t *tokens, uint32_t first, uint32_t n,
                      float *const *out)
{
    uint32_t width = it->gate.rows, hidden = m->spec->hidden;
    const float *x = prompt_floats(m, it, tokens, first, n);
    const void **gate8 = prompt_q8(m, &it->gate, tokens, first, n, 0);
    const void **up8 = prompt_q8(m, &it->up, tokens, first, n, 1);
    by_matrix(m, &it->gate, x, gate8, n, m->gate, width, hs__y_rows(m, 0, m->gate, width, n));
    by_matrix(m, &it->up, x, up8, n, m->up, width, hs__y_rows(m, 0, m->up, width, n));
    inner_job j = {m, it, n, width};
    hs__run(m, (uint64_t)n * width * 4, (n + INNER_ROWS - 1) / INNER_ROWS, inner_task, &j);
    hs_act a = hs__act(m, &it->down);
    if (a != HS_ACT_F32) {
        hs__make_q8(m, &m->q8_inner[a], a, m->gate, width, width, n);
        hs_matvec_q8(m->k, m->pool, &it->down, m->q8_inner[a].rows, n, out);
    } else {
        hs_gemm(m->k, m->pool, &it->down, m->gate, width, n, m->out, hidden, m->gemm);
        for (uint32_t i = 0; i < n; i++)
            memcpy(out[i], m->out + (size_t)i * hidden, hidden * sizeof(float));
    }
    for (uint32_t i = 0; it->down_bias && i < n; i++)
        hs_add(it->down_bias, out[i], hidden);
}

void hs__ffn_prompt(hs_model *m, const hs__ffn_item *it, const uint32_t *tokens, uint32_t n, float *const *out)
{
    for (uint32_t first = 0; first < n; first += m->block)
        ffn_block(m, it, tokens ? tokens + first : NULL, first, n - first < m->block ? n - first : m->block,
                  out + first);
}
