/*
 * attention_gqa.c - grouped-query attention: query head h reads kv head h / (heads / kv_heads). Before the rope, where
 * the architecture has them: an RMS norm of each head of q and k or of all heads at once, biases, limits. A cache row
 * is [K of all kv heads | V of all kv heads].
 */
#include "model/model_int.h"

static void project(hs_model *m, const hs__pass *p, const hs__layer *l)
{
    const hs_arch *a = m->a;
    uint32_t hidden = m->spec->hidden, kv_width = a->kv_heads * a->head_dim;
    hs__product three[3] = {{&l->w[HS__W_Q], m->norm, m->q, hidden, a->q_width},
                            {&l->w[HS__W_K], m->norm, m->kv_new, hidden, a->kv_row},
                            {&l->w[HS__W_V], m->norm, m->kv_new + kv_width, hidden, a->kv_row}};
    hs__linear(m, p->phase, three, 3, p->n);
}

static void add_and_clip(const hs_model *m, float *x, const float *bias, uint32_t n)
{
    float most = m->a->clip_qkv;
    if (bias)
        hs_add(bias, x, n);
    for (uint32_t i = 0; most > 0 && i < n; i++)
        x[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
}

/* Norms of whole rows come before the limit, biases too. */
static void finish_projection(hs_model *m, const hs__layer *l, float *q, float *kv)
{
    const hs_arch *a = m->a;
    uint32_t kv_width = a->kv_heads * a->head_dim;
    if (a->norm_rows) {
        m->k->rmsnorm(q, l->v[HS__V_Q_NORM], a->q_width, a->inner_eps, q);
        m->k->rmsnorm(kv, l->v[HS__V_KV_NORM], kv_width, a->inner_eps, kv);
    }
    add_and_clip(m, q, l->v[HS__V_Q_BIAS], a->q_width);
    add_and_clip(m, kv, l->v[HS__V_K_BIAS], kv_width);
    add_and_clip(m, kv + kv_width, l->v[HS__V_V_BIAS], kv_width);
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
        float *row = m->kv_new + (size_t)i * a->kv_row, *q = m->q + (size_t)i * a->q_width;
        finish_projection(m, l, q, row);
        heads_norm_rope(m, q, a->heads, a->norm_rows ? NULL : l->v[HS__V_Q_NORM], p->first + i);
        heads_norm_rope(m, row, a->kv_heads, a->norm_rows ? NULL : l->v[HS__V_KV_NORM], p->first + i);
        hs__kv_write(m, hs__pass_kv(p, i), layer, hs__pass_position(p, i), row);
    }
}

static void end_head(const hs__decode *d, uint32_t seq, uint32_t head, float *scratch)
{
    (void)scratch;
    hs__decode_result(d, seq, head, d->m->att + (size_t)seq * d->m->a->out_width + (size_t)head * d->v_dim);
}

static void decode(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    hs__decode d = {.m = m,
                    .p = p,
                    .layer = layer,
                    .sinks = m->layers[layer].v[HS__V_SINKS],
                    .window = a->layers[layer].window,
                    .units = a->kv_heads,
                    .heads_per_unit = a->heads / a->kv_heads,
                    .qk_dim = a->head_dim,
                    .v_dim = a->head_dim,
                    .key_step = a->head_dim,
                    .value_at = a->kv_heads * a->head_dim,
                    .value_step = a->head_dim,
                    .q = m->q,
                    .end = end_head};
    hs__decode_run(&d, a->out_width * sizeof(float));
}

/* extra: a block's keys [KEY_BLOCK][head_dim] as floats. */
static void load(const hs__tiles *t, uint32_t kv_head, uint32_t key0, uint32_t n, float *extra, float *panels,
                 float *values)
{
    const hs_model *m = t->m;
    const hs_arch *a = m->a;
    uint32_t key = kv_head * a->head_dim, value = key + a->kv_heads * a->head_dim;
    for (uint32_t i = 0; i < n; i++) {
        hs__kv_read(m, t->kv, t->layer, key0 + i, key, a->head_dim, extra + (size_t)i * a->head_dim);
        hs__kv_read(m, t->kv, t->layer, key0 + i, value, a->head_dim, values + (size_t)i * a->head_dim);
    }
    hs_attend_panels(m->k, extra, a->head_dim, n, a->head_dim, panels);
}

static uint64_t thread_bytes(const hs_arch *a)
{
    uint64_t prefill = hs__tiles_bytes(a->head_dim, a->head_dim, (uint64_t)HS__KEY_BLOCK * a->head_dim);
    uint64_t for_decode = hs__decode_bytes(a->head_dim, a->head_dim);
    return prefill > for_decode ? prefill : for_decode;
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
                   .first = hs__pass_position(p, 0),
                   .sinks = m->layers[layer].v[HS__V_SINKS],
                   .window = a->layers[layer].window,
                   .units = a->kv_heads,
                   .heads_per_unit = a->heads / a->kv_heads,
                   .qk_dim = a->head_dim,
                   .v_dim = a->head_dim,
                   .v_width = a->head_dim,
                   .load = load};
    hs__tiles_run(&t);
}

const hs__attention hs__attention_gqa = {run, thread_bytes};
