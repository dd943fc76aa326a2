/*
 * attention.c - softmax over keys in blocks at fixed places, kept as a running maximum and sum. A query's result
 * depends on its own keys only: not on the chunk it came in, its neighbours or the thread. No L x L matrix exists.
 *
 * Decode: one query, blocks of DECODE_KEYS, straight from the cache.
 * Prefill: tiles of QUERY_TILE queries against KEY_BLOCK keys through GEMM. Every GEMM has whole blocks, padded with
 * zero rows, so that its shape does not depend on how many keys there are; masked probabilities are exact zeros.
 */
#include <math.h>
#include <string.h>

#include "model/model_int.h"

void hs__attend_begin(hs__attend *s, const float *q, float *acc, uint32_t v_dim)
{
    *s = (hs__attend){.q = q, .acc = acc, .max = -INFINITY};
    memset(acc, 0, v_dim * sizeof *acc);
}

/* Turns scores into weights relative to the new running maximum; *ret_shrink is what older sums are multiplied by. */
static void running_softmax(float *p, uint32_t n, float *max, float *sum, float *ret_shrink)
{
    float top = *max;
    for (uint32_t i = 0; i < n; i++)
        top = p[i] > top ? p[i] : top;
    float shrink = top > *max ? expf(*max - top) : 1.0f, add = 0;
    for (uint32_t i = 0; i < n; i++) {
        p[i] = expf(p[i] - top);
        add += p[i];
    }
    *max = top;
    *sum = *sum * shrink + add;
    *ret_shrink = shrink;
}

void hs__attend_block(const hs_model *m, hs__attend *s, hs_kv_type type, const char *key, const char *value,
                      size_t row_bytes, uint32_t n, uint32_t qk_dim, uint32_t v_dim)
{
    float p[HS__DECODE_KEYS], shrink;
    for (uint32_t i = 0; i < n; i++) {
        const void *row = key + i * row_bytes;
        p[i] =
            m->a->softmax_scale * (type == HS_KV_F16 ? m->k->dot_f16(row, s->q, qk_dim) : m->k->dot(row, s->q, qk_dim));
    }
    running_softmax(p, n, &s->max, &s->sum, &shrink);
    if (shrink != 1.0f)
        for (uint32_t d = 0; d < v_dim; d++)
            s->acc[d] *= shrink;
    for (uint32_t i = 0; i < n; i++) {
        const void *row = value + i * row_bytes;
        if (type == HS_KV_F16)
            m->k->axpy_f16(p[i], row, s->acc, v_dim);
        else
            m->k->axpy(p[i], row, s->acc, v_dim);
    }
}

uint32_t hs__heads_per_task(const hs_model *m, uint32_t heads, uint32_t most)
{
    uint32_t n = heads / (2 * hs_pool_threads(m->pool));
    return n < 1 ? 1 : n > most ? most : n;
}

void hs__attend_end(hs__attend *s, uint32_t v_dim)
{
    for (uint32_t d = 0; d < v_dim; d++)
        s->acc[d] /= s->sum;
}

/* Scratch of one thread in prefill. */
typedef struct tile_scratch {
    float *key;     /* [KEY_BLOCK][qk_dim] */
    float *value_t; /* [v_dim][KEY_BLOCK] */
    float *p;       /* [QUERY_TILE][KEY_BLOCK] */
    float *out;     /* [QUERY_TILE][v_dim] */
    float *extra;
} tile_scratch;

uint64_t hs__tiles_bytes(uint32_t qk_dim, uint32_t v_dim, uint64_t extra_floats)
{
    uint64_t n = (uint64_t)HS__KEY_BLOCK * qk_dim + (uint64_t)v_dim * HS__KEY_BLOCK + HS__QUERY_TILE * HS__KEY_BLOCK +
                 (uint64_t)HS__QUERY_TILE * v_dim + extra_floats;
    return n * sizeof(float);
}

static tile_scratch scratch_of(const hs__tiles *t, uint32_t thread)
{
    tile_scratch s;
    s.key = (float *)(void *)(t->m->thread_scratch + thread * t->m->thread_bytes);
    s.value_t = s.key + (size_t)HS__KEY_BLOCK * t->qk_dim;
    s.p = s.value_t + (size_t)t->v_dim * HS__KEY_BLOCK;
    s.out = s.p + HS__QUERY_TILE * HS__KEY_BLOCK;
    s.extra = s.out + (size_t)HS__QUERY_TILE * t->v_dim;
    return s;
}

/* Queries [i0, i0 + n) of one head against the loaded block of keys key0... */
static void tile(const hs__tiles *t, const tile_scratch *s, uint32_t head, uint32_t i0, uint32_t n, uint32_t key0,
                 void *gemm)
{
    hs_model *m = t->m;
    hs__gemm_inline(m, s->key, HS__KEY_BLOCK, t->qk_dim, m->q + (size_t)i0 * m->a->q_width + head * t->qk_dim,
                    m->a->q_width, n, s->p, HS__KEY_BLOCK, gemm);
    float shrink[HS__QUERY_TILE];
    for (uint32_t i = 0; i < n; i++) {
        float *p = s->p + (size_t)i * HS__KEY_BLOCK;
        uint32_t last = t->first + i0 + i;
        uint32_t seen = last < key0 ? 0 : last - key0 >= HS__KEY_BLOCK ? HS__KEY_BLOCK : last - key0 + 1;
        size_t row = (size_t)head * m->cfg.prefill_chunk + i0 + i;
        shrink[i] = 1;
        for (uint32_t j = 0; j < seen; j++)
            p[j] *= m->a->softmax_scale;
        if (seen)
            running_softmax(p, seen, &m->row_max[row], &m->row_sum[row], &shrink[i]);
        memset(p + seen, 0, (HS__KEY_BLOCK - seen) * sizeof *p);
    }
    hs__gemm_inline(m, s->value_t, t->v_dim, HS__KEY_BLOCK, s->p, HS__KEY_BLOCK, n, s->out, t->v_dim, gemm);
    for (uint32_t i = 0; i < n; i++) {
        float *to = m->att + (size_t)(i0 + i) * m->a->out_width + head * t->v_dim;
        const float *add = s->out + (size_t)i * t->v_dim;
        for (uint32_t d = 0; d < t->v_dim; d++)
            to[d] = to[d] * shrink[i] + add[d];
    }
}

static void begin_rows(const hs__tiles *t, uint32_t head, uint32_t i0, uint32_t i1)
{
    for (uint32_t i = i0; i < i1; i++) {
        size_t row = (size_t)head * t->m->cfg.prefill_chunk + i;
        t->m->row_max[row] = -INFINITY;
        t->m->row_sum[row] = 0;
        memset(t->m->att + (size_t)i * t->m->a->out_width + head * t->v_dim, 0, t->v_dim * sizeof(float));
    }
}

static void end_rows(const hs__tiles *t, uint32_t head, uint32_t i0, uint32_t i1)
{
    for (uint32_t i = i0; i < i1; i++) {
        float sum = t->m->row_sum[(size_t)head * t->m->cfg.prefill_chunk + i];
        float *to = t->m->att + (size_t)i * t->m->a->out_width + head * t->v_dim;
        for (uint32_t d = 0; d < t->v_dim; d++)
            to[d] /= sum;
    }
}

/* A task: one unit of heads, and a share of the chunk's queries in whole tiles. */
static void tiles_task(void *ctx, uint32_t index, uint32_t thread)
{
    const hs__tiles *t = ctx;
    tile_scratch s = scratch_of(t, thread);
    void *gemm = t->m->gemm + thread * t->m->gemm_bytes;
    uint32_t unit = index % t->units, n_tiles = (t->n + HS__QUERY_TILE - 1) / HS__QUERY_TILE;
    uint32_t part = index / t->units, head0 = unit * t->heads_per_unit;
    uint32_t from = n_tiles * part / t->splits * HS__QUERY_TILE, to = n_tiles * (part + 1) / t->splits * HS__QUERY_TILE;
    to = to < t->n ? to : t->n;
    if (from >= to)
        return;
    for (uint32_t h = head0; h < head0 + t->heads_per_unit; h++)
        begin_rows(t, h, from, to);
    if (t->begin_unit)
        t->begin_unit(t, unit, s.extra);
    uint32_t n_keys = t->first + to;
    for (uint32_t key0 = 0; key0 < n_keys; key0 += HS__KEY_BLOCK) {
        uint32_t n = n_keys - key0 < HS__KEY_BLOCK ? n_keys - key0 : HS__KEY_BLOCK;
        t->load(t, unit, key0, n, s.extra, s.key, s.value_t, gemm);
        for (uint32_t h = head0; h < head0 + t->heads_per_unit; h++)
            for (uint32_t i = from; i < to; i += HS__QUERY_TILE)
                if (t->first + i + HS__QUERY_TILE > key0)
                    tile(t, &s, h, i, to - i < HS__QUERY_TILE ? to - i : HS__QUERY_TILE, key0, gemm);
    }
    for (uint32_t h = head0; h < head0 + t->heads_per_unit; h++)
        end_rows(t, h, from, to);
}

void hs__tiles_run(hs__tiles *t)
{
    uint32_t n_tiles = (t->n + HS__QUERY_TILE - 1) / HS__QUERY_TILE, threads = hs_pool_threads(t->m->pool);
    /* Splitting queries repeats the loading of keys: only where there are fewer units than threads. */
    t->splits = (threads + t->units - 1) / t->units;
    t->splits = t->splits < n_tiles ? t->splits : n_tiles;
    hs_pool_run(t->m->pool, t->units * t->splits, tiles_task, t);
}
