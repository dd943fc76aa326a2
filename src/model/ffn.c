/*
 * ffn.c - SwiGLU: down(silu(gate x) * up x).
 *
 * Decode: all FFNs of a job (routed experts, the shared one) are one job of the pool. Its first tasks compute rows of
 * gate and up, the later ones rows of down; a task of the second stage waits until its own FFN's first stage is done.
 * Tasks are taken in ascending order, so every task it waits for is already in some thread's hands.
 * Prefill: three GEMMs.
 */
#include <sched.h>

#include "model/model_int.h"

#define SPIN_ROUNDS 2000

typedef struct decode_job {
    const hs_kernels *k;
    hs__ffn_item *items;
    uint32_t n_items, stage2; /* first task of the second stage */
} decode_job;

static void gate_up(const decode_job *j, hs__ffn_item *it, uint32_t tile)
{
    uint32_t row0 = tile * it->tile, rows = it->gate.rows - row0 < it->tile ? it->gate.rows - row0 : it->tile;
    for (uint32_t i = 0; i < it->n_rows; i++) {
        const hs__ffn_row *r = &it->rows[i];
        j->k->matvec(&it->gate, row0, row0 + rows, r->x, 0, 1, r->gate, 0);
        j->k->matvec(&it->up, row0, row0 + rows, r->x, 0, 1, r->up, 0);
        j->k->silu_mul(r->gate + row0, r->up + row0, rows, r->gate + row0);
    }
    atomic_fetch_add_explicit(&it->done, 1, memory_order_release);
}

static void down(const decode_job *j, hs__ffn_item *it, uint32_t tile)
{
    uint32_t spins = 0;
    while (atomic_load_explicit(&it->done, memory_order_acquire) != it->n_tiles)
        if (++spins > SPIN_ROUNDS)
            sched_yield();
    uint32_t row0 = tile * it->down_tile;
    uint32_t row1 = it->down.rows - row0 < it->down_tile ? it->down.rows : row0 + it->down_tile;
    for (uint32_t i = 0; i < it->n_rows; i++)
        j->k->matvec(&it->down, row0, row1, it->rows[i].gate, 0, 1, it->rows[i].out, 0);
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
    }
    decode_job j = {m->k, items, n_items, task};
    for (uint32_t i = 0; i < n_items; i++) {
        hs__ffn_item *it = &items[i];
        it->down_tile = hs__tile_rows(m, bytes, hs_mat_bytes(&it->down) / it->down.rows);
        it->n_down_tiles = (it->down.rows + it->down_tile - 1) / it->down_tile;
        it->first_down = task;
        task += it->n_down_tiles;
    }
    hs__run(m, bytes, task, decode_task, &j);
}

void hs__ffn_own(hs_model *m, uint32_t layer, uint32_t n, float *out, uint32_t first_row, hs__ffn_item *it)
{
    const hs__layer *l = &m->layers[layer];
    uint32_t width = m->a->layers[layer].ffn_width, hidden = m->spec->hidden;
    for (uint32_t i = 0; i < n; i++)
        m->rows[first_row + i] = (hs__ffn_row){m->norm + (size_t)i * hidden, m->gate + (size_t)i * width,
                                               m->up + (size_t)i * width, out + (size_t)i * hidden};
    it->gate = l->w[HS__W_GATE];
    it->up = l->w[HS__W_UP];
    it->down = l->w[HS__W_DOWN];
    it->rows = m->rows + first_row;
    it->n_rows = n;
}

typedef struct silu_job {
    const hs_model *m;
    uint32_t n, width;
} silu_job;

#define SILU_ROWS 16u

static void silu_task(void *ctx, uint32_t index, uint32_t thread)
{
    const silu_job *j = ctx;
    (void)thread;
    uint32_t from = index * SILU_ROWS, to = j->n - from < SILU_ROWS ? j->n : from + SILU_ROWS;
    size_t at = (size_t)from * j->width;
    j->m->k->silu_mul(j->m->gate + at, j->m->up + at, (to - from) * j->width, j->m->gate + at);
}

void hs__ffn_gemm(hs_model *m, const hs_mat *gate, const hs_mat *up, const hs_mat *down_w, const float *x, uint32_t n,
                  float *out)
{
    uint32_t width = gate->rows, hidden = m->spec->hidden;
    hs_gemm(m->k, m->pool, gate, x, hidden, n, m->gate, width, m->gemm);
    hs_gemm(m->k, m->pool, up, x, hidden, n, m->up, width, m->gemm);
    silu_job j = {m, n, width};
    hs__run(m, (uint64_t)n * width * 4, (n + SILU_ROWS - 1) / SILU_ROWS, silu_task, &j);
    hs_gemm(m->k, m->pool, down_w, m->gate, width, n, out, hidden, m->gemm);
}
