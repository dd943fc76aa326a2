/*
 * attention_gqa.c - grouped-query attention: query head h reads kv head h / (heads / kv_heads). Optional RMS norm of
 * each head of q and k before the rope. A cache row is [K of all kv heads | V of all kv heads].
 */
#include <string.h>

#include "model/model_int.h"

#define HEADS_PER_TASK 8u

static void project(hs_model *m, const hs__pass *p, const hs__layer *l)
{
    const hs_arch *a = m->a;
    uint32_t hidden = m->spec->hidden, kv_width = a->kv_heads * a->head_dim;
    hs__product three[3] = {{&l->w[HS__W_Q], m->norm, m->q, hidden, a->q_width},
                            {&l->w[HS__W_K], m->norm, m->kv_new, hidden, a->kv_row},
                            {&l->w[HS__W_V], m->norm, m->kv_new + kv_width, hidden, a->kv_row}};
    hs__linear(m, p->phase, three, 3, p->n);
}

static void heads_norm_rope(hs_model *m, float *x, uint32_t n_heads, const float *norm, uint32_t token)
{
    for (uint32_t h = 0; h < n_heads; h++, x += m->a->head_dim) {
        if (norm)
            m->k->rmsnorm(x, norm, m->a->head_dim, m->a->inner_eps, x);
        hs__rope_apply(m, x, token);
    }
}

static void store(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    const hs__layer *l = &m->layers[layer];
    for (uint32_t i = 0; i < p->n; i++) {
        float *row = m->kv_new + (size_t)i * a->kv_row;
        heads_norm_rope(m, m->q + (size_t)i * a->q_width, a->heads, l->v[HS__V_Q_NORM], i);
        heads_norm_rope(m, row, a->kv_heads, l->v[HS__V_KV_NORM], i);
        hs__kv_write(m, hs__pass_kv(p, i), layer, hs__pass_position(p, i), row);
    }
}

typedef struct decode_job {
    hs_model *m;
    const hs__pass *p;
    uint32_t layer, per_kv, per_task, groups; /* query heads of a kv head, of a task; tasks of a kv head */
} decode_job;

static void decode_task(void *ctx, uint32_t index, uint32_t thread)
{
    const decode_job *j = ctx;
    hs_model *m = j->m;
    const hs_arch *a = m->a;
    (void)thread;
    uint32_t group = index % j->groups, kv_head = index / j->groups % a->kv_heads;
    uint32_t seq = index / j->groups / a->kv_heads, first = group * j->per_task;
    uint32_t n_heads = j->per_kv - first < j->per_task ? j->per_kv - first : j->per_task;
    uint32_t head0 = kv_head * j->per_kv + first;
    const hs_kv *kv = j->p->kvs[seq];
    size_t value_bytes = hs__kv_value_bytes(kv->type), row_bytes = a->kv_row * value_bytes;
    const char *key = hs__kv_layer(m, kv, j->layer) + kv_head * a->head_dim * value_bytes;
    const char *value = key + (size_t)a->kv_heads * a->head_dim * value_bytes;
    hs__attend at[HEADS_PER_TASK];
    for (uint32_t i = 0; i < n_heads; i++)
        hs__attend_begin(&at[i], m->q + (size_t)seq * a->q_width + (head0 + i) * a->head_dim,
                         m->att + (size_t)seq * a->out_width + (head0 + i) * a->head_dim, a->head_dim);
    uint32_t n_keys = kv->length + 1;
    for (uint32_t t = 0; t < n_keys; t += HS__DECODE_KEYS) {
        uint32_t n = n_keys - t < HS__DECODE_KEYS ? n_keys - t : HS__DECODE_KEYS;
        for (uint32_t i = 0; i < n_heads; i++)
            hs__attend_block(m, &at[i], kv->type, key + t * row_bytes, value + t * row_bytes, row_bytes, n, a->head_dim,
                             a->head_dim);
    }
    for (uint32_t i = 0; i < n_heads; i++)
        hs__attend_end(&at[i], a->head_dim);
}

static void decode(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    uint32_t per_kv = a->heads / a->kv_heads;
    uint32_t per_task = hs__heads_per_task(m, a->heads * p->n, HEADS_PER_TASK);
    decode_job j = {m, p, layer, per_kv, per_task, (per_kv + per_task - 1) / per_task};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->n; i++)
        bytes += (uint64_t)(p->kvs[i]->length + 1) * a->head_dim * a->heads * 2;
    hs__run(m, bytes, p->n * a->kv_heads * j.groups, decode_task, &j);
}

static void load(const hs__tiles *t, uint32_t kv_head, uint32_t key0, uint32_t n, float *extra, float *key,
                 float *value_t, void *gemm)
{
    const hs_model *m = t->m;
    const hs_arch *a = m->a;
    (void)gemm;
    size_t value_bytes = hs__kv_value_bytes(t->kv->type), row_bytes = a->kv_row * value_bytes;
    const char *from = hs__kv_layer(m, t->kv, t->layer) + key0 * row_bytes + kv_head * a->head_dim * value_bytes;
    for (uint32_t i = 0; i < HS__KEY_BLOCK; i++) {
        float *k = key + (size_t)i * a->head_dim;
        if (i < n) {
            hs__kv_read(m, t->kv->type, from + i * row_bytes, a->head_dim, k);
            hs__kv_read(m, t->kv->type, from + i * row_bytes + (size_t)a->kv_heads * a->head_dim * value_bytes,
                        a->head_dim, extra);
        } else {
            memset(k, 0, a->head_dim * sizeof *k);
            memset(extra, 0, a->head_dim * sizeof *extra);
        }
        for (uint32_t d = 0; d < a->head_dim; d++)
            value_t[(size_t)d * HS__KEY_BLOCK + i] = extra[d];
    }
}

static uint64_t thread_bytes(const hs_arch *a)
{
    return hs__tiles_bytes(a->head_dim, a->head_dim, a->head_dim);
}

static void run(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    project(m, p, &m->layers[layer]);
    store(m, p, layer);
    if (p->phase == HS_PHASE_DECODE) {
        decode(m, p, layer);
        return;
    }
    hs__tiles t = {.m = m,
                   .kv = p->kvs[0],
                   .layer = layer,
                   .n = p->n,
                   .first = p->kvs[0]->length,
                   .units = a->kv_heads,
                   .heads_per_unit = a->heads / a->kv_heads,
                   .qk_dim = a->head_dim,
                   .v_dim = a->head_dim,
                   .load = load};
    hs__tiles_run(&t);
}

const hs__attention hs__attention_gqa = {run, thread_bytes};
