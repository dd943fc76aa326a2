/*
 * moe.c - a layer with experts: route, ask for the experts, compute them as they come, sum in router order.
 *
 * Order of a layer: all wants are announced first, so that misses are under way; then the shared expert and the experts
 * that are in memory are computed; then the guess for the next layer goes out; then the misses as they land. Each
 * expert's output is kept per (token, rank) and summed at the end by falling factor, so that the order of arrival
 * leaves no trace.
 */
#include <string.h>

#include "model/model_int.h"

static void route_all(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs__layer *l = &m->layers[layer];
    hs__router_logits(m, p->phase, l, m->norm, p->n, m->logits);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t chosen[HS__MAX_TOP_K];
        bool forced = m->choose && p->phase == HS_PHASE_DECODE;
        if (forced)
            m->choose(m->choose_ctx, i, m->a->layers[layer].moe_index, chosen);
        hs__route_token(m, l, i, forced ? chosen : NULL);
    }
    if (!l->w[HS__W_SHARED_GATE].data)
        return;
    hs__product s = {&l->w[HS__W_SHARED_GATE], m->norm, m->shared_gate, m->spec->hidden, 1};
    hs__linear(m, p->phase, &s, 1, p->n);
    for (uint32_t i = 0; i < p->n; i++)
        m->shared_gate[i] = hs_sigmoid(m->shared_gate[i]);
}

/* The distinct experts of all tokens in order of first use, and for each its (token, rank) pairs in token order. */
static uint32_t collect_wants(hs_model *m, uint32_t n)
{
    uint32_t n_pairs = n * m->spec->top_k, n_wants = 0, at = 0;
    uint32_t last = n > HS_LAST_TOKENS ? (n - HS_LAST_TOKENS) * m->spec->top_k : 0;
    memset(m->want_of, 0xff, m->spec->n_experts * sizeof *m->want_of);
    for (uint32_t i = 0; i < n_pairs; i++) {
        uint32_t e = m->ids[i];
        if (m->want_of[e] == UINT32_MAX) {
            m->want_of[e] = n_wants;
            m->wants[n_wants++] = (hs_expert_want){.expert = e};
        }
        m->wants[m->want_of[e]].n_tokens++;
        m->wants[m->want_of[e]].n_last += i >= last;
    }
    for (uint32_t w = 0; w < n_wants; w++) {
        m->want_first[w] = at;
        at += m->wants[w].n_tokens;
    }
    for (uint32_t i = 0; i < n_pairs; i++)
        m->pairs[m->want_first[m->want_of[m->ids[i]]]++] = i;
    for (uint32_t w = 0; w < n_wants; w++)
        m->want_first[w] -= m->wants[w].n_tokens;
    m->want_first[n_wants] = n_pairs;
    return n_wants;
}

static void observe(hs_model *m, const hs__pass *p, uint32_t layer)
{
    if (!m->on_route)
        return;
    uint32_t k = m->spec->top_k;
    for (uint32_t i = 0; i < p->n; i++) {
        size_t at = (size_t)i * k;
        for (uint32_t j = 0; j < k; j++)
            m->resident[at + j] = m->want_resident[m->want_of[m->ids[at + j]]];
        hs_route r = {.phase = p->phase,
                      .seq = p->phase == HS_PHASE_DECODE ? i : 0,
                      .position = hs__pass_position(p, i),
                      .layer = layer,
                      .top_k = k,
                      .experts = m->ids + at,
                      .weights = m->weight + at,
                      .normalised = m->normalised + at,
                      .resident = m->resident + at};
        m->on_route(m->route_ctx, &r);
    }
}

/* Part p (0 gate, 1 up, 2 down) of a delivered expert as a matrix. */
static hs_mat expert_mat(const hs_model *m, uint32_t moe_index, uint32_t expert, const hs_expert *x, uint32_t p)
{
    const hs_arch *a = m->a;
    bool shares = a->gate_up != HS__APART && p == 1;
    uint32_t part = 2 * (shares ? 0 : p);
    size_t at = ((size_t)moe_index * m->spec->n_experts + expert) * HS_EXPERT_PARTS + part;
    hs_mat w = {.data = x->part[part],
                .scale = x->part[part + 1],
                .dtype = a->expert_type ? a->expert_type : a->checkpoint->tensors[m->spec->expert_parts[at]].dtype,
                .rows = p == 2 ? m->spec->hidden : a->moe_width,
                .cols = p == 2 ? a->moe_width : m->spec->hidden,
                .block_rows = a->block_rows,
                .block_cols = a->block_cols,
                .scale_bf16 = a->scale_bf16,
                .skip = a->gate_up == HS__INTERLEAVED && p < 2};
    if (shares) {
        uint32_t rows = a->gate_up == HS__STACKED ? w.rows : 1; /* of gate before up's first */
        w.data = (const char *)w.data + rows * hs_dtype_bytes(w.dtype, w.cols);
        if (w.dtype == HS_DTYPE_MXFP4_PAIRS)
            w.scale = (const char *)w.scale + rows * (w.cols / 32);
    }
    return w;
}

static const float *expert_bias(const hs_model *m, uint32_t layer, hs__v which, uint32_t expert, uint32_t n)
{
    const float *all = m->layers[layer].v[which];
    return all ? all + (size_t)expert * n : NULL;
}

static hs__ffn_item expert_item(const hs_model *m, uint32_t layer, uint32_t expert, const hs_expert *x)
{
    uint32_t index = m->a->layers[layer].moe_index, width = m->a->moe_width;
    return (hs__ffn_item){.gate = expert_mat(m, index, expert, x, 0),
                          .up = expert_mat(m, index, expert, x, 1),
                          .down = expert_mat(m, index, expert, x, 2),
                          .gate_bias = expert_bias(m, layer, HS__V_GATE_BIAS, expert, width),
                          .up_bias = expert_bias(m, layer, HS__V_UP_BIAS, expert, width),
                          .down_bias = expert_bias(m, layer, HS__V_DOWN_BIAS, expert, m->spec->hidden),
                          .glu_limit = m->a->glu_limit,
                          .glu_alpha = m->a->glu_alpha};
}

static void charge(hs_model *m, uint64_t since, const hs__ffn_item *items, uint32_t n, bool first_is_own)
{
    uint64_t ns = hs_now_ns() - since, all = 0, own = 0;
    for (uint32_t i = 0; i < n; i++)
        all += hs__ffn_item_bytes(&items[i]) * items[i].n_rows;
    if (first_is_own && all)
        own = (uint64_t)((double)ns * (double)(hs__ffn_item_bytes(&items[0]) * items[0].n_rows) / (double)all);
    m->times.dense_ffn_ns += own;
    m->times.expert_ns += ns - own;
}

/* Delivered experts m->expert[0..n) as items after the first n_items; rows from first_row on. */
static uint32_t add_items(hs_model *m, uint32_t layer, uint32_t n, uint32_t n_items, uint32_t first_row)
{
    uint32_t k = m->spec->top_k, hidden = m->spec->hidden, width = m->a->moe_width;
    /* Inner rows of experts lie behind those of the shared expert, which may be in the same job. */
    float *gate = m->gate + (size_t)m->cfg.max_batch * m->a->ffn_width_max;
    float *up = m->up + (size_t)m->cfg.max_batch * m->a->ffn_width_max;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t w = m->delivered[i], from = m->want_first[w], count = m->want_first[w + 1] - from;
        hs__ffn_item *it = &m->items[n_items + i];
        *it = expert_item(m, layer, m->wants[w].expert, &m->expert[i]);
        it->rows = m->rows + first_row;
        it->n_rows = count;
        for (uint32_t j = 0; j < count; j++, first_row++) {
            uint32_t pair = m->pairs[from + j];
            m->rows[first_row] = (hs__ffn_row){pair / k, gate + (size_t)pair * width, up + (size_t)pair * width,
                                               m->part + (size_t)pair * hidden};
            m->known[pair] = 1;
        }
    }
    return n_items + n;
}

/* Decode: what is ready is computed together with the shared expert, what lands later as it lands. */
static int compute_decode(hs_model *m, const hs__pass *p, uint32_t layer, uint32_t n_wants, hs_err *err)
{
    const hs__layer_spec *s = &m->a->layers[layer];
    const hs_experts *x = &m->experts;
    uint32_t n_ready = 0, got = 0;
    bool own = s->ffn_width > 0;
    for (uint32_t w = 0; w < n_wants; w++)
        n_ready += m->want_resident[w];
    /* Without a miss the drive is idle from now on; else the guess waits for what the hits tell. */
    bool all_there = n_ready == n_wants, hinted = all_there;
    if (all_there)
        hs__predict_next(m, layer, p->n, HS__BEFORE_EXPERTS);
    memset(m->known, 0, (size_t)p->n * m->spec->top_k);
    do {
        uint32_t n = 0, n_items = 0, rows = 0;
        if (n_ready || got || !own) {
            int r = x->ops->wait(x->self, n_wants - got, m->delivered, m->expert, &n, err);
            if (r < 0)
                return r;
        }
        uint64_t t0 = hs_now_ns();
        bool with_own = own;
        if (own) {
            hs__ffn_own(m, layer, p->n, m->shared, 0, &m->items[0]);
            n_items = 1;
            rows = p->n;
            own = false;
        }
        n_items = add_items(m, layer, n, n_items, rows);
        hs__ffn_decode(m, m->items, n_items);
        charge(m, t0, m->items, n_items, with_own);
        for (uint32_t i = 0; i < n; i++)
            x->ops->release(x->self, m->delivered[i]);
        got += n;
        n_ready = n_ready > n ? n_ready - n : 0;
        if (!hinted && !n_ready) {
            if (!m->choose)
                hs__predict_next(m, layer, p->n, HS__SOME);
            hinted = true;
        }
    } while (got < n_wants);
    hs__predict_next(m, layer, p->n, HS__ALL);
    return 0;
}

static void expert_prompt(hs_model *m, uint32_t layer, uint32_t w, const hs_expert *x)
{
    uint32_t from = m->want_first[w], n = m->want_first[w + 1] - from;
    hs__ffn_item it = expert_item(m, layer, m->wants[w].expert, x);
    float **out = m->y_rows + m->n_max;
    for (uint32_t j = 0; j < n; j++) {
        m->tokens[j] = m->pairs[from + j] / m->spec->top_k;
        out[j] = m->part + (size_t)m->pairs[from + j] * m->spec->hidden;
    }
    hs__ffn_prompt(m, &it, m->tokens, n, out);
}

/* Prefill: each expert once for all tokens of the chunk, released as soon as it is computed. */
static int compute_prefill(hs_model *m, const hs__pass *p, uint32_t layer, uint32_t n_wants, hs_err *err)
{
    const hs__layer_spec *s = &m->a->layers[layer];
    const hs_experts *x = &m->experts;
    uint64_t t0 = hs_now_ns();
    if (s->ffn_width) {
        hs__ffn_item own = hs__ffn_own_item(m, layer);
        hs__ffn_prompt(m, &own, NULL, p->n, hs__y_rows(m, 1, m->shared, m->spec->hidden, p->n));
    }
    m->times.dense_ffn_ns += hs_now_ns() - t0;
    hs__predict_prompt(m, layer, p->n);
    for (uint32_t got = 0; got < n_wants;) {
        uint32_t n = 0;
        int r = x->ops->wait(x->self, 1, m->delivered, m->expert, &n, err);
        if (r < 0)
            return r;
        t0 = hs_now_ns();
        for (uint32_t i = 0; i < n; i++) {
            expert_prompt(m, layer, m->delivered[i], &m->expert[i]);
            x->ops->release(x->self, m->delivered[i]);
        }
        got += n;
        m->times.expert_ns += hs_now_ns() - t0;
    }
    return 0;
}

#define SUM_PIECE 2048u /* values of one task */

typedef struct sum_job {
    hs_model *m;
    bool shared, gated;
    uint32_t pieces; /* of a token */
} sum_job;

static void sum_task(void *ctx, uint32_t index, uint32_t thread)
{
    const sum_job *j = ctx;
    hs_model *m = j->m;
    (void)thread;
    uint32_t k = m->spec->top_k, hidden = m->spec->hidden;
    uint32_t token = index / j->pieces, from = index % j->pieces * SUM_PIECE;
    uint32_t n = hidden - from < SUM_PIECE ? hidden - from : SUM_PIECE;
    float y[SUM_PIECE] = {0};
    for (uint32_t r = 0; r < k; r++) {
        size_t pair = (size_t)token * k + r;
        m->k->axpy(m->weight[pair], m->part + pair * hidden + from, y, n);
    }
    if (j->gated)
        m->k->axpy(m->shared_gate[token], m->shared + (size_t)token * hidden + from, y, n);
    else if (j->shared)
        hs_add(m->shared + (size_t)token * hidden + from, y, n);
    if (m->a->residual_scale == 1)
        hs_add(y, m->x + (size_t)token * hidden + from, n);
    else
        m->k->axpy(m->a->residual_scale, y, m->x + (size_t)token * hidden + from, n);
}

int hs__moe_run(hs_model *m, const hs__pass *p, uint32_t layer, hs_err *err)
{
    const hs__layer_spec *s = &m->a->layers[layer];
    const hs_experts *x = &m->experts;
    uint64_t t0 = hs_now_ns();
    route_all(m, p, layer);
    uint32_t n_wants = collect_wants(m, p->n);
    m->times.router_ns += hs_now_ns() - t0;
    int r = x->ops->begin(x->self, s->moe_index, m->wants, n_wants, m->want_resident, err);
    if (r == 0) {
        observe(m, p, layer);
        hs__predict_check(m, s->moe_index, n_wants);
        r = p->phase == HS_PHASE_DECODE ? compute_decode(m, p, layer, n_wants, err)
                                        : compute_prefill(m, p, layer, n_wants, err);
    }
    x->ops->end(x->self);
    if (r < 0)
        return r;
    t0 = hs_now_ns();
    bool gated = m->layers[layer].w[HS__W_SHARED_GATE].data != NULL;
    sum_job j = {m, s->ffn_width > 0, gated, (m->spec->hidden + SUM_PIECE - 1) / SUM_PIECE};
    hs__run(m, (uint64_t)p->n * m->spec->top_k * m->spec->hidden * sizeof(float), p->n * j.pieces, sum_task, &j);
    m->times.expert_ns += hs_now_ns() - t0;
    return 0;
}
