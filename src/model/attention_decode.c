/*
 * attention_decode.c - one query of each sequence over its cache, straight from the stored rows.
 *
 * Owns how that work is cut. Heads that share cache rows go through a block together, so that the block is converted
 * and turned into panels once for all of them. A longer cache is cut into ranges; each range's heads gather by
 * themselves, and the ranges are put together in ascending order. Blocks and ranges depend on the number of keys alone,
 * and a head's result on its query and the cache alone: how many heads a task takes follows from the number of threads.
 */
#include <math.h>
#include <string.h>

#include "model/model_int.h"

#define BLOCK      64u  /* keys; divides every range */
#define MIN_RANGE  256u /* keys */
#define MAX_RANGES 8u
#define MAX_HEADS  64u /* of a task */
#define MIN_HEADS  4u  /* fewer do not keep the multipliers busy */

static uint32_t range_keys(uint32_t n_keys)
{
    uint32_t n = (n_keys + MAX_RANGES * BLOCK - 1) / (MAX_RANGES * BLOCK) * BLOCK;
    return n < MIN_RANGE ? MIN_RANGE : n;
}

static uint32_t n_ranges(uint32_t n_keys)
{
    return (n_keys + range_keys(n_keys) - 1) / range_keys(n_keys);
}

uint32_t hs__decode_ranges(uint32_t max_context)
{
    uint32_t n = (max_context + MIN_RANGE - 1) / MIN_RANGE;
    return n < MAX_RANGES ? n : MAX_RANGES;
}

uint64_t hs__decode_bytes(uint32_t qk_dim, uint32_t v_dim)
{
    return ((uint64_t)BLOCK * (2 * qk_dim + v_dim) + HS_ATTEND_TILE * HS_ATTEND_KEYS) * sizeof(float);
}

/* The token sees its cache's last keys, its own included. */
static uint32_t keys_seen(const hs__decode *d, uint32_t seq)
{
    uint32_t n_keys = d->p->kvs[seq]->length + 1;
    return d->window && n_keys > d->window ? d->window : n_keys;
}

/* Where range r of a sequence gathers, for head 0. */
static size_t slot_of(const hs__decode *d, uint32_t seq, uint32_t r)
{
    return ((size_t)seq * d->m->n_ranges + r) * d->m->a->heads;
}

/* Values [first, first + n) of n_rows rows as floats: where they lie, or converted to `to`. */
static const float *as_floats(const hs__decode *d, const hs_kv *kv, uint32_t position, uint32_t n_rows, uint32_t first,
                              uint32_t n, float *to, size_t *ret_stride)
{
    if (kv->type == HS_KV_F32) {
        *ret_stride = d->m->a->kv_row;
        return (const float *)(const void *)hs__kv_row(d->m, kv, d->layer, position) + first;
    }
    for (uint32_t i = 0; i < n_rows; i++)
        hs__kv_read(d->m, kv, d->layer, position + i, first, n, to + (size_t)i * n);
    *ret_stride = n;
    return to;
}

/* Heads [head0, head0 + n_heads) of one unit over keys [from, to). */
static void attend(const hs__decode *d, uint32_t seq, uint32_t head0, uint32_t n_heads, uint32_t from, uint32_t to,
                   uint32_t range, float *scratch)
{
    hs_model *m = d->m;
    const hs_kv *kv = d->p->kvs[seq];
    size_t slot = slot_of(d, seq, range) + head0;
    uint32_t unit = head0 / d->heads_per_unit;
    float *panels = scratch, *keys = panels + BLOCK * d->qk_dim, *values = keys + BLOCK * d->qk_dim;
    float *p = values + BLOCK * d->v_dim;
    hs_attend_queries q = {.q = d->q + ((size_t)seq * m->a->heads + head0) * d->qk_dim,
                           .acc = m->range_acc + slot * d->v_dim,
                           .max = m->range_max + slot,
                           .sum = m->range_sum + slot,
                           .q_stride = d->qk_dim,
                           .acc_stride = d->v_dim,
                           .scale = m->a->softmax_scale,
                           .m = n_heads,
                           .seen = BLOCK};
    memset(q.acc, 0, (size_t)n_heads * d->v_dim * sizeof *q.acc);
    for (uint32_t i = 0; i < n_heads; i++) {
        q.max[i] = -INFINITY;
        q.sum[i] = 0;
    }
    for (uint32_t t = from; t < to; t += BLOCK) {
        hs_attend_block b = {.panels = panels, .n = to - t < BLOCK ? to - t : BLOCK};
        b.qk_dim = d->qk_dim;
        b.v_dim = d->v_dim;
        size_t stride;
        const float *k = as_floats(d, kv, t, b.n, unit * d->key_step, d->qk_dim, keys, &stride);
        hs_attend_panels(m->k, k, stride, b.n, d->qk_dim, panels);
        b.values = k;
        b.value_stride = stride;
        if (d->value_at)
            b.values = as_floats(d, kv, t, b.n, d->value_at + unit * d->value_step, d->v_dim, values, &b.value_stride);
        hs_attend(m->k, &b, &q, p);
    }
}

void hs__decode_result(const hs__decode *d, uint32_t seq, uint32_t head, float *out)
{
    const hs_model *m = d->m;
    uint32_t n = n_ranges(keys_seen(d, seq));
    size_t slot = slot_of(d, seq, 0) + head;
    float top = d->sinks ? d->sinks[head] : -INFINITY, sum = 0;
    for (uint32_t r = 0; r < n; r++)
        top = m->range_max[slot + r * m->a->heads] > top ? m->range_max[slot + r * m->a->heads] : top;
    memset(out, 0, d->v_dim * sizeof *out);
    for (uint32_t r = 0; r < n; r++, slot += m->a->heads) {
        float weight = expf(m->range_max[slot] - top);
        const float *acc = m->range_acc + slot * d->v_dim;
        sum += m->range_sum[slot] * weight;
        for (uint32_t i = 0; i < d->v_dim; i++)
            out[i] += acc[i] * weight;
    }
    if (d->sinks)
        sum += expf(d->sinks[head] - top);
    for (uint32_t i = 0; i < d->v_dim; i++)
        out[i] /= sum;
}

/* Tasks of a stage: [sequence][range][unit][group of the unit's heads]. */
typedef struct stage {
    const hs__decode *d;
    uint32_t ranges, groups, per_task;
    bool begin, attend, end;
} stage;

static void stage_task(void *ctx, uint32_t index, uint32_t thread)
{
    const stage *s = ctx;
    const hs__decode *d = s->d;
    float *scratch = (float *)(void *)(d->m->thread_scratch + thread * d->m->thread_bytes);
    uint32_t group = index % s->groups, unit = index / s->groups % d->units;
    uint32_t range = index / s->groups / d->units % s->ranges, seq = index / s->groups / d->units / s->ranges;
    uint32_t first = group * s->per_task, head0 = unit * d->heads_per_unit + first;
    uint32_t n_heads = d->heads_per_unit - first < s->per_task ? d->heads_per_unit - first : s->per_task;
    uint32_t n_keys = keys_seen(d, seq), keys = range_keys(n_keys), from = range * keys;
    uint32_t hidden_keys = d->p->kvs[seq]->length + 1 - n_keys; /* before the window */
    for (uint32_t h = head0; s->begin && d->begin && h < head0 + n_heads; h++)
        d->begin(d, seq, h);
    if (s->attend && from < n_keys)
        attend(d, seq, head0, n_heads, hidden_keys + from, hidden_keys + (n_keys - from < keys ? n_keys : from + keys),
               range, scratch);
    for (uint32_t h = head0; s->end && h < head0 + n_heads; h++)
        d->end(d, seq, h, scratch);
}

static void run_stage(const hs__decode *d, stage s, uint32_t at_least, uint64_t bytes)
{
    uint32_t tasks = d->p->n * s.ranges * d->units, wanted = 4 * hs_pool_threads(d->m->pool);
    uint32_t most = (d->heads_per_unit + at_least - 1) / at_least, least = (d->heads_per_unit - 1) / MAX_HEADS + 1;
    uint32_t groups = (wanted + tasks - 1) / tasks;
    groups = groups > most ? most : groups < least ? least : groups;
    s.per_task = (d->heads_per_unit + groups - 1) / groups;
    s.groups = (d->heads_per_unit + s.per_task - 1) / s.per_task;
    hs__run(d->m, bytes, tasks * s.groups, stage_task, &s);
}

void hs__decode_run(const hs__decode *d, uint64_t head_bytes)
{
    uint32_t ranges = 1;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < d->p->n; i++) {
        uint32_t n_keys = keys_seen(d, i);
        ranges = n_ranges(n_keys) > ranges ? n_ranges(n_keys) : ranges;
        bytes += (uint64_t)n_keys * d->qk_dim * d->m->a->heads;
    }
    head_bytes *= d->p->n;
    if (ranges == 1) {
        run_stage(d, (stage){.d = d, .ranges = 1, .begin = true, .attend = true, .end = true}, MIN_HEADS,
                  bytes + head_bytes);
        return;
    }
    if (d->begin)
        run_stage(d, (stage){.d = d, .ranges = 1, .begin = true}, 1, head_bytes);
    run_stage(d, (stage){.d = d, .ranges = ranges, .attend = true}, MIN_HEADS, bytes);
    run_stage(d, (stage){.d = d, .ranges = 1, .end = true}, 1, head_bytes);
}
