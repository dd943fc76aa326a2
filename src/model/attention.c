/*
 * attention.c - attention of a prompt's chunk, causal, over the cache that it has just been added to. Keys go by in
 * blocks at fixed places, with a running maximum and sum: a query's result depends on its own keys only, not on the
 * chunk it came in, its neighbours or the thread. No L x L matrix exists.
 */
#include <math.h>
#include <string.h>

#include "model/model_int.h"

/* Scratch of one thread. */
typedef struct tile_scratch {
    float *panels; /* [KEY_BLOCK][qk_dim] */
    float *values; /* [KEY_BLOCK][v_width] */
    float *p;      /* hs_attend's */
    float *extra;
} tile_scratch;

uint64_t hs__tiles_bytes(uint32_t qk_dim, uint32_t v_width, uint64_t extra_floats)
{
    return ((uint64_t)HS__KEY_BLOCK * (qk_dim + v_width) + HS_ATTEND_TILE * HS_ATTEND_KEYS + extra_floats) *
           sizeof(float);
}

static tile_scratch scratch_of(const hs__tiles *t, uint32_t thread)
{
    tile_scratch s;
    s.panels = (float *)(void *)(t->m->thread_scratch + thread * t->m->thread_bytes);
    s.values = s.panels + (size_t)HS__KEY_BLOCK * t->qk_dim;
    s.p = s.values + (size_t)HS__KEY_BLOCK * t->v_width;
    s.extra = s.p + HS_ATTEND_TILE * HS_ATTEND_KEYS;
    return s;
}

static void begin_rows(const hs__tiles *t, uint32_t head, uint32_t i0, uint32_t i1)
{
    for (uint32_t i = i0; i < i1; i++) {
        size_t row = (size_t)head * t->m->block + i;
        t->m->row_max[row] = -INFINITY;
        t->m->row_sum[row] = 0;
        memset(t->m->att + (size_t)i * t->m->a->out_width + head * t->v_dim, 0, t->v_dim * sizeof(float));
    }
}

static void end_rows(const hs__tiles *t, uint32_t head, uint32_t i0, uint32_t i1)
{
    for (uint32_t i = i0; i < i1; i++) {
        size_t row = (size_t)head * t->m->block + i;
        float sum = t->m->row_sum[row];
        if (t->sinks)
            sum += expf(t->sinks[head] - t->m->row_max[row]);
        float *to = t->m->att + (size_t)i * t->m->a->out_width + head * t->v_dim;
        for (uint32_t d = 0; d < t->v_dim; d++)
            to[d] /= sum;
    }
}

/* Queries [i0, i1) of one head against the loaded block of keys key0.., of which query i0 sees at least the first. */
static void attend(const hs__tiles *t, const hs_attend_block *b, uint32_t head, uint32_t i0, uint32_t i1, uint32_t key0,
                   float *p)
{
    hs_model *m = t->m;
    size_t row = (size_t)head * m->block + i0;
    hs_attend_queries q = {.q = m->q + (size_t)i0 * m->a->q_width + head * t->qk_dim,
                           .acc = m->att + (size_t)i0 * m->a->out_width + head * t->v_dim,
                           .max = m->row_max + row,
                           .sum = m->row_sum + row,
                           .q_stride = m->a->q_width,
                           .acc_stride = m->a->out_width,
                           .scale = m->a->softmax_scale,
                           .m = i1 - i0,
                           .seen = t->first + i0 - key0 + 1,
                           .causal = true,
                           .window = t->window};
    hs_attend(m->k, b, &q, p);
}

/* A task: one unit of heads, and a share of the chunk's queries in whole tiles. */
static void tiles_task(void *ctx, uint32_t index, uint32_t thread)
{
    const hs__tiles *t = ctx;
    tile_scratch s = scratch_of(t, thread);
    uint32_t unit = index % t->units, n_tiles = (t->n + HS_ATTEND_TILE - 1) / HS_ATTEND_TILE;
    uint32_t part = index / t->units, head0 = unit * t->heads_per_unit;
    uint32_t from = n_tiles * part / t->splits * HS_ATTEND_TILE, to = n_tiles * (part + 1) / t->splits * HS_ATTEND_TILE;
    to = to < t->n ? to : t->n;
    if (from >= to)
        return;
    for (uint32_t h = head0; h < head0 + t->heads_per_unit; h++)
        begin_rows(t, h, from, to);
    if (t->begin_unit)
        t->begin_unit(t, unit, s.extra);
    uint32_t n_keys = t->first + to, oldest = t->first + from + 1; /* keys that the first query could see */
    uint32_t skip = t->window && oldest > t->window ? (oldest - t->window) / HS__KEY_BLOCK * HS__KEY_BLOCK : 0;
    for (uint32_t key0 = skip; key0 < n_keys; key0 += HS__KEY_BLOCK) {
        hs_attend_block b = {.panels = s.panels, .values = s.values, .value_stride = t->v_width};
        b.n = n_keys - key0 < HS__KEY_BLOCK ? n_keys - key0 : HS__KEY_BLOCK;
        b.qk_dim = t->qk_dim;
        b.v_dim = t->v_dim;
        t->load(t, unit, key0, b.n, s.extra, s.panels, s.values);
        uint32_t i0 = key0 > t->first + from ? key0 - t->first : from;
        for (uint32_t h = head0; h < head0 + t->heads_per_unit; h++)
            attend(t, &b, h, i0, to, key0, s.p);
    }
    for (uint32_t h = head0; h < head0 + t->heads_per_unit; h++)
        end_rows(t, h, from, to);
}

void hs__tiles_run(hs__tiles *t)
{
    uint32_t n_tiles = (t->n + HS_ATTEND_TILE - 1) / HS_ATTEND_TILE, threads = hs_pool_threads(t->m->pool);
    /* Splitting queries repeats the loading of keys: only where there are fewer units than threads. */
    t->splits = (threads + t->units - 1) / t->units;
    t->splits = t->splits < n_tiles ? t->splits : n_tiles;
    hs_pool_run(t->m->pool, t->units * t->splits, tiles_task, t);
}
