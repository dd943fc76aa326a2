/*
 * model.c - a model's memory: everything is carved from one mapping whose size follows from spec and config, by the
 * same function that hs_model_scratch_bytes uses. Nothing is allocated after create.
 */
#include <string.h>

#include "model/model_int.h"

#define PIECE 512u /* values at a time, even */

/* Hands out 64-byte-aligned pieces; with base NULL it only counts. */
typedef struct carver {
    char *base;
    uint64_t at;
} carver;

static void *carve(carver *c, uint64_t count, uint64_t size)
{
    void *p = c->base ? c->base + c->at : NULL;
    c->at += hs_align_up(count * size, 64);
    return p;
}

#define CARVE(c, field, count) ((field) = carve(c, count, sizeof *(field)))

static uint32_t values_of(const hs_tensor *t)
{
    uint64_t n = 1;
    for (uint32_t d = 0; d < t->n_dims; d++)
        n *= t->dims[d];
    return (uint32_t)n;
}

/* Vectors that are floats in the file are used where they lie; others are converted. */
static bool is_converted(const hs_model *m, uint32_t tensor)
{
    return tensor != HS_NO_TENSOR && m->a->checkpoint->tensors[tensor].dtype != HS_DTYPE_F32;
}

/* Whether vector v of a layer is every second value of its tensor. */
static bool is_interleaved(const hs_model *m, uint32_t v)
{
    return m->a->gate_up == HS__INTERLEAVED && (v == HS__V_GATE_BIAS || v == HS__V_UP_BIAS);
}

/* Room for vector v of a layer in scratch; 0: it is absent or used where it lies. */
static uint32_t room_of(const hs_model *m, uint32_t tensor, uint32_t v)
{
    if (tensor == HS_NO_TENSOR || (!is_converted(m, tensor) && !is_interleaved(m, v)))
        return 0;
    uint32_t n = values_of(&m->a->checkpoint->tensors[tensor]);
    return is_interleaved(m, v) ? n / 2 : n;
}

static void carve_norms(hs_model *m, carver *c)
{
    CARVE(c, m->layers, m->spec->n_layers);
    if (is_converted(m, m->a->final_norm))
        m->final_norm = carve(c, m->spec->hidden, sizeof(float));
    for (uint32_t l = 0; l < m->spec->n_layers; l++)
        for (uint32_t i = 0; i < HS__V_COUNT; i++) {
            uint32_t n = room_of(m, m->a->layers[l].v[i], i);
            float *v = n ? carve(c, n, sizeof(float)) : NULL;
            if (c->base)
                m->layers[l].v[i] = v;
        }
    CARVE(c, m->inv_freq, m->a->rope.dim / 2);
}

/* n: tokens at a time. */
static void carve_attention(hs_model *m, carver *c, uint64_t n, uint64_t batch, uint64_t threads)
{
    const hs_arch *a = m->a;
    CARVE(c, m->q, n * a->q_width);
    CARVE(c, m->latent, n * a->q_lora);
    CARVE(c, m->kv_new, n * a->kv_row);
    CARVE(c, m->att, n * a->out_width);
    CARVE(c, m->cos, (uint64_t)m->n_max * (a->rope.dim / 2));
    CARVE(c, m->sin, (uint64_t)m->n_max * (a->rope.dim / 2));
    CARVE(c, m->row_max, (uint64_t)a->heads * m->block);
    CARVE(c, m->row_sum, (uint64_t)a->heads * m->block);
    bool mla = a->kv_lora > 0;
    m->n_ranges = hs__decode_ranges(m->cfg.max_context);
    uint64_t slots = batch * m->n_ranges * a->heads;
    CARVE(c, m->absorbed, mla ? batch * a->heads * a->kv_row : 0);
    CARVE(c, m->v_out, mla ? batch * a->heads * (a->nope + a->v_dim) : 0);
    CARVE(c, m->range_acc, slots * (mla ? a->kv_lora : a->head_dim));
    CARVE(c, m->range_max, slots);
    CARVE(c, m->range_sum, slots);
    m->thread_bytes = hs_align_up(a->attention->thread_bytes(a), 64);
    m->thread_scratch = carve(c, threads, m->thread_bytes);
    m->gemm = carve(c, 1, hs_gemm_scratch_bytes((uint32_t)threads));
}

static bool has_shared_expert(const hs_model *m)
{
    for (uint32_t l = 0; l < m->spec->n_layers; l++)
        if (m->a->layers[l].moe && m->a->layers[l].ffn_width)
            return true;
    return false;
}

static void carve_moe(hs_model *m, carver *c, uint64_t n, uint64_t batch)
{
    uint64_t e = m->spec->n_experts, k = m->spec->top_k, hidden = m->spec->hidden;
    CARVE(c, m->shared, has_shared_expert(m) ? n * hidden : 0);
    CARVE(c, m->shared_gate, n);
    CARVE(c, m->part, n * k * hidden);
    CARVE(c, m->gather, m->block * hidden);
    CARVE(c, m->out, m->block * hidden);
    CARVE(c, m->logits, n * e);
    CARVE(c, m->score, e);
    CARVE(c, m->pick, e);
    CARVE(c, m->group, e);
    CARVE(c, m->ids, n * k);
    CARVE(c, m->weight, n * k);
    CARVE(c, m->normalised, n * k);
    CARVE(c, m->resident, n * k);
    CARVE(c, m->wants, e);
    CARVE(c, m->want_resident, e);
    CARVE(c, m->want_of, e);
    CARVE(c, m->want_first, e + 1);
    CARVE(c, m->tokens, n);
    CARVE(c, m->pairs, n * k);
    CARVE(c, m->delivered, e);
    CARVE(c, m->known, batch * k);
    CARVE(c, m->expert, e);
    CARVE(c, m->items, e + 1);
    CARVE(c, m->rows, batch * (k + 1));
    CARVE(c, m->predict.x, batch * hidden);
    CARVE(c, m->predict.logits, batch * e);
    CARVE(c, m->predict.best, e);
    CARVE(c, m->predict.guesses, e);
    CARVE(c, m->predict.guessed, e);
}

static void carve_q8(hs__q8 *q, carver *c, uint64_t rows, uint64_t row_bytes)
{
    q->row_bytes = row_bytes;
    CARVE(c, q->data, rows * row_bytes);
    CARVE(c, q->rows, rows);
    for (uint64_t i = 0; c->base && i < rows; i++)
        q->rows[i] = q->data + i * row_bytes;
}

/* Lists of vectors, and those with 8-bit elements of the kinds that the model's matrices take. */
static void carve_vectors(hs_model *m, carver *c, uint64_t n, uint64_t block, uint64_t batch)
{
    const hs_arch *a = m->a;
    uint64_t pairs = batch * (m->spec->top_k + 1), hidden = m->spec->hidden, other = hidden, inner = a->ffn_width_max;
    other = a->out_width > other ? a->out_width : other;
    other = a->q_lora > other ? a->q_lora : other;
    inner = a->moe_width > inner ? a->moe_width : inner;
    CARVE(c, m->y_rows, 3 * n);
    CARVE(c, m->x_rows, 2 * n);
    CARVE(c, m->lists.inner, pairs);
    CARVE(c, m->lists.gate, pairs);
    CARVE(c, m->lists.up, pairs);
    CARVE(c, m->lists.out, pairs);
    for (uint32_t kind = 0; kind < HS_ACT_COUNT; kind++) {
        CARVE(c, m->lists.x[kind], pairs);
        if (!m->cfg.q8 || !a->kinds[kind])
            continue;
        carve_q8(&m->q8_in[kind], c, n, hs_act_bytes((hs_act)kind, (uint32_t)hidden));
        carve_q8(&m->q8_other[kind], c, block, hs_act_bytes((hs_act)kind, (uint32_t)other));
        carve_q8(&m->q8_inner[kind], c, pairs > block ? pairs : block, hs_act_bytes((hs_act)kind, (uint32_t)inner));
    }
}

/* Inner rows of FFNs: in prefill one FFN at a time over a block; in decode the shared one and all experts' pairs. */
static uint64_t inner_floats(const hs_model *m, uint64_t batch)
{
    uint64_t own = m->a->ffn_width_max, expert = m->a->moe_width;
    uint64_t prefill = m->block * (own > expert ? own : expert);
    uint64_t decode = batch * own + batch * m->spec->top_k * expert;
    return prefill > decode ? prefill : decode;
}

/* Sets every pointer of m (or, with c->base NULL, only counts). */
static void lay_out(hs_model *m, carver *c, uint64_t threads)
{
    uint64_t batch = m->cfg.max_batch;
    uint64_t n = batch > m->cfg.prefill_chunk ? batch : m->cfg.prefill_chunk, hidden = m->spec->hidden;
    m->n_max = (uint32_t)n;
    m->block = m->cfg.prefill_chunk < HS__BLOCK ? m->cfg.prefill_chunk : HS__BLOCK;
    uint64_t block = batch > m->block ? batch : m->block;
    carve_norms(m, c);
    CARVE(c, m->x, n * hidden);
    CARVE(c, m->norm, n * hidden);
    CARVE(c, m->proj, block * hidden);
    carve_attention(m, c, block, batch, threads);
    CARVE(c, m->gate, inner_floats(m, batch));
    CARVE(c, m->up, inner_floats(m, batch));
    carve_moe(m, c, n, batch);
    carve_vectors(m, c, n, block, batch);
}

uint64_t hs_model_scratch_bytes(const hs_model_spec *spec, const hs_model_config *cfg, uint32_t n_threads)
{
    hs_model m = {.spec = spec, .a = spec->detail, .cfg = *cfg};
    carver c = {0};
    lay_out(&m, &c, n_threads);
    return hs_align_up(c.at, 4096) + sizeof m + 4096;
}

/* The loaded bytes of a tensor. */
static const void *bytes_of(const hs_model_spec *s, const void *const *dense, uint32_t tensor)
{
    uint32_t lo = 0, hi = s->n_dense_tensors;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->dense_tensors[mid] <= tensor)
            lo = mid;
        else
            hi = mid;
    }
    return dense[lo];
}

static hs_mat bind_mat(const hs_model *m, const void *const *dense, hs__weight w)
{
    if (w.tensor == HS_NO_TENSOR)
        return (hs_mat){0};
    const hs_tensor *t = &m->a->checkpoint->tensors[w.tensor];
    uint64_t rows = 1;
    for (uint32_t d = 0; d + 1 < t->n_dims; d++)
        rows *= t->dims[d];
    return (hs_mat){.data = bytes_of(m->spec, dense, w.tensor),
                    .scale = w.scale == HS_NO_TENSOR ? NULL : bytes_of(m->spec, dense, w.scale),
                    .dtype = t->dtype,
                    .rows = (uint32_t)rows,
                    .cols = (uint32_t)t->dims[t->n_dims - 1],
                    .block_rows = m->a->block_rows,
                    .block_cols = m->a->block_cols,
                    .scale_bf16 = m->a->scale_bf16};
}

static void bind_vec(const hs_model *m, const void *const *dense, uint32_t tensor, const float **v)
{
    if (tensor == HS_NO_TENSOR)
        return;
    const hs_tensor *t = &m->a->checkpoint->tensors[tensor];
    hs_mat row = {.data = bytes_of(m->spec, dense, tensor), .dtype = t->dtype, .rows = 1, .cols = values_of(t)};
    if (is_converted(m, tensor))
        m->k->dequant_span(&row, 0, 0, row.cols, (float *)(uintptr_t)*v);
    else
        *v = row.data;
}

/* Values first, first + 2, ... */
static void bind_interleaved(const hs_model *m, const void *const *dense, uint32_t tensor, uint32_t first, float *v)
{
    const hs_tensor *t = &m->a->checkpoint->tensors[tensor];
    hs_mat row = {.data = bytes_of(m->spec, dense, tensor), .dtype = t->dtype, .rows = 1, .cols = values_of(t)};
    for (uint32_t k = 0; k < row.cols; k += PIECE) {
        float piece[PIECE];
        uint32_t n = row.cols - k < PIECE ? row.cols - k : PIECE;
        m->k->dequant_span(&row, 0, k, k + n, piece);
        for (uint32_t i = first; i < n; i += 2)
            v[(k + i) / 2] = piece[i];
    }
}

static void bind_layer_vec(const hs_model *m, const void *const *dense, uint32_t tensor, uint32_t v, const float **ret)
{
    if (tensor != HS_NO_TENSOR && is_interleaved(m, v))
        bind_interleaved(m, dense, tensor, v == HS__V_UP_BIAS, (float *)(uintptr_t)*ret);
    else
        bind_vec(m, dense, tensor, ret);
}

static void bind(hs_model *m, const void *const *dense)
{
    const hs_arch *a = m->a;
    m->embed = bind_mat(m, dense, a->embed);
    m->head = bind_mat(m, dense, a->head);
    bind_vec(m, dense, a->final_norm, &m->final_norm);
    for (uint32_t l = 0; l < m->spec->n_layers; l++) {
        for (uint32_t i = 0; i < HS__W_COUNT; i++)
            m->layers[l].w[i] = bind_mat(m, dense, a->layers[l].w[i]);
        for (uint32_t i = 0; i < HS__V_COUNT; i++)
            bind_layer_vec(m, dense, a->layers[l].v[i], i, &m->layers[l].v[i]);
    }
    hs__rope_frequencies(&a->rope, m->inv_freq);
}

int hs_model_create(const hs_model_spec *spec, const hs_model_config *cfg, const void *const *dense, hs_experts experts,
                    hs_model **ret_model, hs_err *err)
{
    if (cfg->max_batch < 1 || cfg->prefill_chunk < 1 || cfg->max_context < 1)
        return hs_err_set(err, -EINVAL, "model: batch, chunk and context must be at least 1");
    hs_model *m = hs_calloc(1, sizeof *m);
    if (!m)
        return hs_err_set(err, -ENOMEM, "model: out of memory");
    *m = (hs_model){
        .spec = spec, .a = spec->detail, .cfg = *cfg, .k = cfg->kernels, .pool = cfg->pool, .experts = experts};
    m->predict.layer = UINT32_MAX;
    carver c = {0};
    lay_out(m, &c, hs_pool_threads(cfg->pool));
    uint64_t bytes = c.at;
    int r = hs_pool_create(1, &m->inline_pool, err);
    if (r == 0 && !(m->memory = hs_map_alloc(bytes)))
        r = hs_err_set(err, -ENOMEM, "model: no memory for %llu bytes of activations", (unsigned long long)bytes);
    if (r < 0) {
        hs_model_destroy(&m);
        return r;
    }
    m->memory_bytes = bytes;
    c = (carver){.base = m->memory};
    lay_out(m, &c, hs_pool_threads(cfg->pool));
    bind(m, dense);
    *ret_model = m;
    return 0;
}

void hs_model_destroy(hs_model **model)
{
    hs_model *m = *model;
    if (!m)
        return;
    *model = NULL;
    hs_pool_destroy(&m->inline_pool);
    if (m->memory)
        hs_map_free(m->memory, m->memory_bytes);
    hs_free(m);
}

void hs_model_choose(hs_model *m, hs_choose_fn fn, void *ctx)
{
    m->choose = fn;
    m->choose_ctx = ctx;
}

void hs_model_on_route(hs_model *m, hs_route_fn fn, void *ctx)
{
    m->on_route = fn;
    m->route_ctx = ctx;
}

hs_model_times hs_model_get_times(const hs_model *m)
{
    return m->times;
}
