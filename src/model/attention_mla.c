/*
 * attention_mla.c - multi-head latent attention (DeepSeek). A cache row is [latent kv_lora | rotary key rope_dim].
 *
 * Decode, absorbed: K_h^T q_nope turns the query into the latent space, attention runs over the latents themselves, and
 * V_h is applied to their weighted sum: per token only the cache is read, keys and values never exist.
 * Prefill, naive: a block's keys and values are expanded from its latents by GEMM, once per head and chunk.
 */
#include <string.h>

#include "model/model_int.h"

#define HEADS_PER_TASK 4u /* at most: they share the cache rows while those are in L2 */

static void project_queries(hs_model *m, const hs__pass *p, const hs__layer *l)
{
    const hs_arch *a = m->a;
    uint32_t hidden = m->spec->hidden;
    hs__product kv = {&l->w[HS__W_KV_A], m->norm, m->kv_new, hidden, a->kv_row};
    if (a->q_lora) {
        hs__product first[2] = {{&l->w[HS__W_Q_A], m->norm, m->latent, hidden, a->q_lora}, kv};
        hs__linear(m, p->phase, first, 2, p->n);
        hs__rmsnorm_rows(m, m->latent, a->q_lora, l->v[HS__V_Q_NORM], a->q_lora, a->inner_eps, p->n, m->latent,
                         a->q_lora);
        hs__product q = {&l->w[HS__W_Q_B], m->latent, m->q, a->q_lora, a->q_width};
        hs__linear(m, p->phase, &q, 1, p->n);
    } else {
        hs__product both[2] = {{&l->w[HS__W_Q], m->norm, m->q, hidden, a->q_width}, kv};
        hs__linear(m, p->phase, both, 2, p->n);
    }
}

/* Rotates, normalises and stores the new rows. */
static void store(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    for (uint32_t i = 0; i < p->n; i++) {
        float *row = m->kv_new + (size_t)i * a->kv_row;
        m->k->rmsnorm(row, m->layers[layer].v[HS__V_KV_NORM], a->kv_lora, a->inner_eps, row);
        hs__rope_apply(m, row + a->kv_lora, i);
        hs__kv_write(m, hs__pass_kv(p, i), layer, hs__pass_position(p, i), row);
        for (uint32_t h = 0; h < a->heads; h++)
            hs__rope_apply(m, m->q + (size_t)i * a->q_width + h * (a->nope + a->rope_dim) + a->nope, i);
    }
}

typedef struct decode_job {
    hs_model *m;
    const hs__pass *p;
    const hs_mat *kv_b;
    uint32_t layer, per_task, groups; /* heads of a task, tasks of a sequence */
} decode_job;

static void decode_task(void *ctx, uint32_t index, uint32_t thread)
{
    const decode_job *j = ctx;
    hs_model *m = j->m;
    const hs_arch *a = m->a;
    uint32_t seq = index / j->groups, head0 = index % j->groups * j->per_task;
    uint32_t n_heads = a->heads - head0 < j->per_task ? a->heads - head0 : j->per_task;
    uint32_t per_head = a->nope + a->v_dim, n_keys = j->p->kvs[seq]->length + 1;
    float *scratch = (float *)(void *)(m->thread_scratch + thread * m->thread_bytes);
    hs__attend at[HEADS_PER_TASK];
    for (uint32_t i = 0; i < n_heads; i++) {
        const float *q = m->q + (size_t)seq * a->q_width + (head0 + i) * (a->nope + a->rope_dim);
        float *mine = scratch + (size_t)i * (a->kv_row + a->kv_lora);
        uint32_t row = (head0 + i) * per_head;
        m->k->matvec_t(j->kv_b, row, row + a->nope, 0, a->kv_lora, q, mine);
        memcpy(mine + a->kv_lora, q + a->nope, a->rope_dim * sizeof *q);
        hs__attend_begin(&at[i], mine, mine + a->kv_row, a->kv_lora);
    }
    const hs_kv *kv = j->p->kvs[seq];
    size_t row_bytes = a->kv_row * hs__kv_value_bytes(kv->type);
    const char *rows = hs__kv_layer(m, kv, j->layer);
    for (uint32_t t = 0; t < n_keys; t += HS__DECODE_KEYS) {
        uint32_t n = n_keys - t < HS__DECODE_KEYS ? n_keys - t : HS__DECODE_KEYS;
        const char *block = rows + t * row_bytes;
        for (uint32_t i = 0; i < n_heads; i++)
            hs__attend_block(m, &at[i], kv->type, block, block, row_bytes, n, a->kv_row, a->kv_lora);
    }
    for (uint32_t i = 0; i < n_heads; i++) {
        uint32_t row = (head0 + i) * per_head;
        float *v = m->v_out + (size_t)seq * a->heads * per_head;
        hs__attend_end(&at[i], a->kv_lora);
        m->k->matvec(j->kv_b, row + a->nope, row + per_head, at[i].acc, 0, 1, v, 0);
        memcpy(m->att + (size_t)seq * a->out_width + (head0 + i) * a->v_dim, v + row + a->nope, a->v_dim * sizeof *v);
    }
}

static void decode(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    uint32_t per_task = hs__heads_per_task(m, a->heads * p->n, HEADS_PER_TASK);
    decode_job j = {m, p, &m->layers[layer].w[HS__W_KV_B], layer, per_task, (a->heads + per_task - 1) / per_task};
    uint64_t bytes = hs_mat_bytes(j.kv_b) * p->n;
    for (uint32_t i = 0; i < p->n; i++)
        bytes += (uint64_t)(p->kvs[i]->length + 1) * a->kv_row * a->heads;
    hs__run(m, bytes, p->n * j.groups, decode_task, &j);
}

/* extra: [v_dim + nope][kv_lora] V_h, then K_h, as floats; then a block's latents [KEY_BLOCK][kv_lora], then one row.
 */
static void begin_unit(const hs__tiles *t, uint32_t head, float *extra)
{
    const hs_arch *a = t->m->a;
    const hs_mat *w = &t->m->layers[t->layer].w[HS__W_KV_B];
    uint32_t row0 = head * (a->nope + a->v_dim);
    for (uint32_t r = 0; r < a->nope + a->v_dim; r++) {
        uint32_t to = r < a->nope ? a->v_dim + r : r - a->nope;
        t->m->k->dequant_span(w, row0 + r, 0, a->kv_lora, extra + (size_t)to * a->kv_lora);
    }
}

static void load(const hs__tiles *t, uint32_t head, uint32_t key0, uint32_t n, float *extra, float *key, float *value_t,
                 void *gemm)
{
    const hs_model *m = t->m;
    const hs_arch *a = m->a;
    (void)head;
    const float *v_h = extra, *k_h = extra + (size_t)a->v_dim * a->kv_lora;
    float *latent = extra + (size_t)(a->v_dim + a->nope) * a->kv_lora, *row = latent + HS__KEY_BLOCK * a->kv_lora;
    size_t row_bytes = a->kv_row * hs__kv_value_bytes(t->kv->type);
    const char *from = hs__kv_layer(m, t->kv, t->layer) + key0 * row_bytes;
    for (uint32_t i = 0; i < HS__KEY_BLOCK; i++) {
        if (i < n)
            hs__kv_read(m, t->kv->type, from + i * row_bytes, a->kv_row, row);
        else
            memset(row, 0, a->kv_row * sizeof *row);
        memcpy(latent + (size_t)i * a->kv_lora, row, a->kv_lora * sizeof *row);
        memcpy(key + (size_t)i * t->qk_dim + a->nope, row + a->kv_lora, a->rope_dim * sizeof *row);
    }
    hs__gemm_inline(m, k_h, a->nope, a->kv_lora, latent, a->kv_lora, HS__KEY_BLOCK, key, t->qk_dim, gemm);
    hs__gemm_inline(m, latent, HS__KEY_BLOCK, a->kv_lora, v_h, a->kv_lora, a->v_dim, value_t, HS__KEY_BLOCK, gemm);
}

static uint64_t thread_bytes(const hs_arch *a)
{
    uint64_t decode_floats = (uint64_t)HEADS_PER_TASK * (a->kv_row + a->kv_lora);
    uint64_t extra = (uint64_t)(a->v_dim + a->nope + HS__KEY_BLOCK) * a->kv_lora + a->kv_row;
    uint64_t prefill = hs__tiles_bytes(a->nope + a->rope_dim, a->v_dim, extra);
    return prefill > decode_floats * sizeof(float) ? prefill : decode_floats * sizeof(float);
}

static void run(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    project_queries(m, p, &m->layers[layer]);
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
                   .units = a->heads,
                   .heads_per_unit = 1,
                   .qk_dim = a->nope + a->rope_dim,
                   .v_dim = a->v_dim,
                   .begin_unit = begin_unit,
                   .load = load};
    hs__tiles_run(&t);
}

const hs__attention hs__attention_mla = {run, thread_bytes};
