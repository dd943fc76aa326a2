/*
 * forward.c - the way of a pass through the layers: x += attention(norm(x)); x += ffn(norm(x)); logits at the end.
 * Prefill goes layer by layer over chunks of the prompt, so that an expert is read once per chunk; within a layer,
 * attention and dense FFNs take a chunk block by block. Decode goes layer by layer over one token of each sequence.
 */
#include <string.h>

#include "model/model_int.h"

static void embed(hs_model *m, const uint32_t *tokens, uint32_t n)
{
    uint32_t hidden = m->spec->hidden;
    for (uint32_t i = 0; i < n; i++)
        m->k->dequant_span(&m->embed, tokens[i], 0, hidden, m->x + (size_t)i * hidden);
    if (m->a->embed_scale != 1)
        hs_scale(m->a->embed_scale, m->x, (size_t)n * hidden);
}

/* x += residual_scale y, the rows of a part. */
static void residual_add(hs_model *m, const hs__pass *p, const float *y)
{
    uint32_t hidden = m->spec->hidden;
    float *x = m->x + (size_t)p->first * hidden;
    for (size_t i = 0; i < p->n; i++) {
        if (m->a->residual_scale == 1)
            hs_add(y + i * hidden, x + i * hidden, hidden);
        else
            m->k->axpy(m->a->residual_scale, y + i * hidden, x + i * hidden, hidden);
    }
}

/* The part of a pass from token `first` on that fits a block; n = 0: there is nothing left. */
static hs__pass part_of(const hs_model *m, const hs__pass *p, uint32_t first)
{
    hs__pass part = *p;
    uint32_t most = p->phase == HS_PHASE_DECODE ? p->n : m->block;
    part.first = first;
    part.n = p->n - first < most ? p->n - first : most;
    return part;
}

/* n rows of the residual into m->norm. */
static void norm(hs_model *m, const float *x, const float *weight, uint32_t n)
{
    uint32_t hidden = m->spec->hidden;
    hs__rmsnorm_rows(m, x, hidden, weight, hidden, m->a->eps, n, m->norm, hidden);
    hs__norm_changed(m, n);
}

static void attention_part(hs_model *m, const hs__pass *p, uint32_t layer)
{
    uint32_t hidden = m->spec->hidden;
    const hs__layer *l = &m->layers[layer];
    norm(m, m->x + (size_t)p->first * hidden, l->v[HS__V_ATTN_NORM], p->n);
    m->a->attention->run(m, p, layer);
    hs__product o = {&l->w[HS__W_O], m->att, m->proj, m->a->out_width, hidden};
    hs__linear(m, p->phase, &o, 1, p->n);
    for (uint32_t i = 0; l->v[HS__V_O_BIAS] && i < p->n; i++)
        hs_add(l->v[HS__V_O_BIAS], m->proj + (size_t)i * hidden, hidden);
    residual_add(m, p, m->proj);
}

static void dense_part(hs_model *m, const hs__pass *p, uint32_t layer)
{
    uint32_t hidden = m->spec->hidden;
    norm(m, m->x + (size_t)p->first * hidden, m->layers[layer].v[HS__V_FFN_NORM], p->n);
    if (p->phase == HS_PHASE_DECODE) {
        hs__ffn_own(m, layer, p->n, m->proj, 0, &m->items[0]);
        hs__ffn_decode(m, m->items, 1);
    } else {
        hs__ffn_item own = hs__ffn_own_item(m, layer);
        hs__ffn_prompt(m, &own, NULL, p->n, hs__y_rows(m, 1, m->proj, hidden, p->n));
    }
    residual_add(m, p, m->proj);
}

static int layer_block(hs_model *m, const hs__pass *p, uint32_t layer, hs_err *err)
{
    uint64_t t0 = hs_now_ns();
    for (hs__pass part = part_of(m, p, 0); part.n; part = part_of(m, p, part.first + part.n))
        attention_part(m, &part, layer);
    m->times.attention_ns += hs_now_ns() - t0;
    if (m->a->layers[layer].moe) {
        norm(m, m->x, m->layers[layer].v[HS__V_FFN_NORM], p->n);
        return hs__moe_run(m, p, layer, err);
    }
    t0 = hs_now_ns();
    for (hs__pass part = part_of(m, p, 0); part.n; part = part_of(m, p, part.first + part.n))
        dense_part(m, &part, layer);
    m->times.dense_ffn_ns += hs_now_ns() - t0;
    if (p->phase == HS_PHASE_DECODE)
        hs__predict_next(m, layer, p->n, HS__ALL);
    else
        hs__predict_prompt(m, layer, p->n);
    return 0;
}

/* Logits of the pass's last n tokens. */
static void head(hs_model *m, const hs__pass *p, uint32_t n, float *logits)
{
    if (!n)
        return;
    uint64_t t0 = hs_now_ns();
    uint32_t hidden = m->spec->hidden;
    norm(m, m->x + (size_t)(p->n - n) * hidden, m->final_norm, n);
    hs__product h = {&m->head, m->norm, logits, hidden, m->spec->vocab};
    hs__linear(m, p->phase, &h, 1, n);
    if (m->a->logit_scale != 1)
        hs_scale(m->a->logit_scale, logits, (size_t)n * m->spec->vocab);
    m->times.head_ns += hs_now_ns() - t0;
}

static int check_tokens(const hs_model *m, const uint32_t *tokens, uint32_t n, hs_err *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] >= m->spec->vocab)
            return hs_err_set(err, -EINVAL, "token %u: id %u is outside the vocabulary of %u", i, tokens[i],
                              m->spec->vocab);
    return 0;
}

static int check_room(const hs_model *m, const hs_kv *kv, uint32_t n, hs_err *err)
{
    uint32_t most = kv->capacity < m->cfg.max_context ? kv->capacity : m->cfg.max_context;
    if (kv->length > most || n > most - kv->length)
        return hs_err_set(err, -E2BIG, "%u tokens after %u exceed the context of %u", n, kv->length, most);
    return 0;
}

int hs_model_prefill(hs_model *m, hs_kv *kv, const uint32_t *tokens, uint32_t n, float *logits, uint32_t n_logits,
                     hs_model_progress progress, void *ctx, hs_err *err)
{
    int r = check_tokens(m, tokens, n, err);
    if (r == 0)
        r = check_room(m, kv, n, err);
    uint32_t start = kv->length;
    uint64_t total = (uint64_t)n * m->spec->n_layers;
    n_logits = logits ? n_logits : 0;
    if (r == 0 && !start && m->experts.ops->session)
        m->experts.ops->session(m->experts.self);
    for (uint32_t done = 0; r == 0 && done < n;) {
        uint32_t count = n - done < m->cfg.prefill_chunk ? n - done : m->cfg.prefill_chunk;
        hs__pass p = {.phase = HS_PHASE_PREFILL, .n = count, .kvs = &kv};
        m->experts.ops->step(m->experts.self, HS_PHASE_PREFILL, count);
        m->predict.layer = UINT32_MAX;
        embed(m, tokens + done, count);
        hs__rope_angles(m, &p);
        for (uint32_t l = 0; r == 0 && l < m->spec->n_layers; l++) {
            if (progress && progress(ctx, (uint64_t)done * m->spec->n_layers + (uint64_t)l * count, total))
                r = hs_err_set(err, -ECANCELED, "cancelled");
            else
                r = layer_block(m, &p, l, err);
        }
        if (r < 0)
            break;
        done += count;
        uint32_t after = n - done; /* tokens of the prompt still to come */
        if (n_logits > after) {
            uint32_t here = n_logits - after < count ? n_logits - after : count;
            head(m, &p, here, logits + (size_t)(n_logits - after - here) * m->spec->vocab);
        }
        kv->length += count;
    }
    if (r < 0)
        kv->length = start;
    return r;
}

int hs_model_decode(hs_model *m, hs_kv *const *kvs, const uint32_t *tokens, uint32_t n, float *logits, hs_err *err)
{
    if (n < 1 || n > m->cfg.max_batch)
        return hs_err_set(err, -EINVAL, "%u sequences at once; this model was made for up to %u", n, m->cfg.max_batch);
    int r = check_tokens(m, tokens, n, err);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = check_room(m, kvs[i], 1, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < n && m->experts.ops->session; i++)
        if (!kvs[i]->length)
            m->experts.ops->session(m->experts.self);
    hs__pass p = {.phase = HS_PHASE_DECODE, .n = n, .kvs = kvs};
    m->experts.ops->step(m->experts.self, HS_PHASE_DECODE, n);
    m->predict.layer = UINT32_MAX;
    embed(m, tokens, n);
    hs__rope_angles(m, &p);
    for (uint32_t l = 0; r == 0 && l < m->spec->n_layers; l++) {
        hs__predict_first(m, l, n);
        r = layer_block(m, &p, l, err);
    }
    if (r < 0)
        return r;
    head(m, &p, n, logits);
    for (uint32_t i = 0; i < n; i++)
        kvs[i]->length++;
    return 0;
}
