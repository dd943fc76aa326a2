/*
 * attention_mla.c - multi-head latent attention (DeepSeek). A cache row is [latent kv_lora | rotary key rope_dim].
 *
 * Decode, absorbed: K_h^T q_nope turns the query into the latent space, attention runs over the latents themselves, and
 * V_h is applied to their weighted sum: per token only the cache is read, keys and values never exist.
 * Prefill, naive: a block's keys and values are expanded from its latents, once per head and chunk.
 * K_h and V_h are rows of kv_b, or (GGUF) of k_b, there transposed, and v_b.
 */
#include <string.h>

#include "model/model_int.h"

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
        hs__rope_apply(m, row + a->kv_lora, p->first + i);
        hs__kv_write(m, hs__pass_kv(p, i), layer, hs__pass_position(p, i), row);
        for (uint32_t h = 0; h < a->heads; h++)
            hs__rope_apply(m, m->q + (size_t)i * a->q_width + h * (a->nope + a->rope_dim) + a->nope, p->first + i);
    }
}

static bool is_split(const hs__layer *l)
{
    return l->w[HS__W_K_B].data != NULL;
}

/* Rows [row0, row0 + n) of a matrix without scales as a matrix. */
static hs_mat rows_of(const hs_mat *w, uint32_t row0, uint32_t n)
{
    hs_mat part = *w;
    part.data = (const char *)w->data + row0 * hs_dtype_bytes(w->dtype, w->cols);
    part.rows = n;
    return part;
}

/* K_h^T q_nope, then the rotary part as it is. */
static void begin_head(const hs__decode *d, uint32_t seq, uint32_t head)
{
    hs_model *m = d->m;
    const hs_arch *a = m->a;
    const float *q = m->q + (size_t)seq * a->q_width + (size_t)head * (a->nope + a->rope_dim);
    float *to = m->absorbed + ((size_t)seq * a->heads + head) * a->kv_row;
    const hs__layer *l = &m->layers[d->layer];
    if (is_split(l)) {
        hs_mat k = rows_of(&l->w[HS__W_K_B], head * a->kv_lora, a->kv_lora);
        m->k->matvec(&k, 0, a->kv_lora, q, 0, 1, to, 0);
    } else {
        uint32_t row = head * (a->nope + a->v_dim);
        m->k->matvec_t(&l->w[HS__W_KV_B], row, row + a->nope, 0, a->kv_lora, q, to);
    }
    memcpy(to + a->kv_lora, q + a->nope, a->rope_dim * sizeof *q);
}

/* V_h times the weighted mean of latents. */
static void end_head(const hs__decode *d, uint32_t seq, uint32_t head, float *scratch)
{
    hs_model *m = d->m;
    const hs_arch *a = m->a;
    const hs__layer *l = &m->layers[d->layer];
    float *out = m->att + (size_t)seq * a->out_width + (size_t)head * a->v_dim;
    hs__decode_result(d, seq, head, scratch);
    if (is_split(l)) {
        hs_mat v = rows_of(&l->w[HS__W_V_B], head * a->v_dim, a->v_dim);
        m->k->matvec(&v, 0, a->v_dim, scratch, 0, 1, out, 0);
        return;
    }
    uint32_t per_head = a->nope + a->v_dim, row = head * per_head + a->nope;
    float *v = m->v_out + (size_t)seq * a->heads * per_head;
    m->k->matvec(&l->w[HS__W_KV_B], row, row + a->v_dim, scratch, 0, 1, v, 0);
    memcpy(out, v + row, a->v_dim * sizeof *v);
}

static void decode(hs_model *m, const hs__pass *p, uint32_t layer)
{
    const hs_arch *a = m->a;
    hs__decode d = {.m = m,
                    .p = p,
                    .layer = layer,
                    .units = 1,
                    .heads_per_unit = a->heads,
                    .qk_dim = a->kv_row,
                    .v_dim = a->kv_lora,
                    .q = m->absorbed,
                    .begin = begin_head,
                    .end = end_head};
    const hs__layer *l = &m->layers[layer];
    hs__decode_run(&d, is_split(l) ? hs_mat_bytes(&l->w[HS__W_K_B]) + hs_mat_bytes(&l->w[HS__W_V_B])
                                   : hs_mat_bytes(&l->w[HS__W_KV_B]));
}

/* What prefill keeps of a head and of a block of keys. */
typedef struct expansion {
    float *v_panels;     /* [v_width / 16][kv_lora][16] V_h */
    float *latent_panel; /* [kv_row][16] of sixteen cache rows */
    float *rows;         /* [KEY_BLOCK][kv_row] cache rows; in begin_unit sixteen rows of V_h */
    float *k;            /* [nope][kv_lora] K_h */
    float *column;       /* [nope] of K_h */
} expansion;

static uint32_t v_width(const hs_arch *a)
{
    return (uint32_t)hs_align_up(a->v_dim, HS_PANEL_ROWS);
}

static expansion expansion_of(const hs_arch *a, float *extra)
{
    expansion e = {.v_panels = extra};
    e.latent_panel = e.v_panels + (size_t)v_width(a) * a->kv_lora;
    e.rows = e.latent_panel + (size_t)HS_PANEL_ROWS * a->kv_row;
    e.k = e.rows + (size_t)HS__KEY_BLOCK * a->kv_row;
    e.column = e.k + (size_t)a->nope * a->kv_lora;
    return e;
}

static void load_k(const hs_model *m, const hs__layer *l, uint32_t head, const expansion *e)
{
    const hs_arch *a = m->a;
    if (!is_split(l)) {
        uint32_t row = head * (a->nope + a->v_dim);
        for (uint32_t r = 0; r < a->nope; r++)
            m->k->dequant_span(&l->w[HS__W_KV_B], row + r, 0, a->kv_lora, e->k + (size_t)r * a->kv_lora);
        return;
    }
    for (uint32_t c = 0; c < a->kv_lora; c++) {
        m->k->dequant_span(&l->w[HS__W_K_B], head * a->kv_lora + c, 0, a->nope, e->column);
        for (uint32_t r = 0; r < a->nope; r++)
            e->k[(size_t)r * a->kv_lora + c] = e->column[r];
    }
}

static void begin_unit(const hs__tiles *t, uint32_t head, float *extra)
{
    const hs_arch *a = t->m->a;
    const hs_kernels *k = t->m->k;
    const hs__layer *l = &t->m->layers[t->layer];
    expansion e = expansion_of(a, extra);
    load_k(t->m, l, head, &e);
    const hs_mat *w = is_split(l) ? &l->w[HS__W_V_B] : &l->w[HS__W_KV_B];
    uint32_t row = is_split(l) ? head * a->v_dim : head * (a->nope + a->v_dim) + a->nope;
    for (uint32_t r = 0; r < a->v_dim; r += HS_PANEL_ROWS) {
        uint32_t n = a->v_dim - r < HS_PANEL_ROWS ? a->v_dim - r : HS_PANEL_ROWS;
        for (uint32_t i = 0; i < n; i++)
            k->dequant_span(w, row + r + i, 0, a->kv_lora, e.rows + (size_t)i * a->kv_lora);
        hs_attend_panels(k, e.rows, a->kv_lora, n, a->kv_lora, e.v_panels + (size_t)r * a->kv_lora);
    }
}

#define EXPAND_DIMS 256u /* latents: a panel's piece stays in L1 */

/* Sixteen keys: K_h times their latents comes out as the panel that scores need; their rotary parts follow. */
static void expand_keys(const hs__tiles *t, const expansion *e, const float *rows, uint32_t n, float *panel)
{
    const hs_arch *a = t->m->a;
    hs_attend_panels(t->m->k, rows, a->kv_row, n, a->kv_row, e->latent_panel);
    memset(panel, 0, (size_t)a->nope * HS_PANEL_ROWS * sizeof *panel);
    for (uint32_t c = 0; c < a->kv_lora; c += EXPAND_DIMS)
        t->m->k->gemm_panel(e->latent_panel + (size_t)c * HS_PANEL_ROWS, HS_PANEL_ROWS,
                            a->kv_lora - c < EXPAND_DIMS ? a->kv_lora - c : EXPAND_DIMS, e->k + c, a->kv_lora, a->nope,
                            panel, HS_PANEL_ROWS);
    memcpy(panel + (size_t)a->nope * HS_PANEL_ROWS, e->latent_panel + (size_t)a->kv_lora * HS_PANEL_ROWS,
           (size_t)a->rope_dim * HS_PANEL_ROWS * sizeof *panel);
}

static void load(const hs__tiles *t, uint32_t head, uint32_t key0, uint32_t n, float *extra, float *panels,
                 float *values)
{
    const hs_model *m = t->m;
    const hs_arch *a = m->a;
    (void)head;
    expansion e = expansion_of(a, extra);
    for (uint32_t i = 0; i < n; i++)
        hs__kv_read(m, t->kv, t->layer, key0 + i, 0, a->kv_row, e.rows + (size_t)i * a->kv_row);
    for (uint32_t i = 0; i < n; i += HS_PANEL_ROWS)
        expand_keys(t, &e, e.rows + (size_t)i * a->kv_row, n - i < HS_PANEL_ROWS ? n - i : HS_PANEL_ROWS,
                    panels + (size_t)i * t->qk_dim);
    memset(values, 0, (size_t)n * t->v_width * sizeof *values);
    for (uint32_t c = 0; c < a->kv_lora; c += EXPAND_DIMS)
        for (uint32_t r = 0; r < a->v_dim; r += HS_PANEL_ROWS)
            m->k->gemm_panel(e.v_panels + (size_t)r * a->kv_lora + (size_t)c * HS_PANEL_ROWS, HS_PANEL_ROWS,
                             a->kv_lora - c < EXPAND_DIMS ? a->kv_lora - c : EXPAND_DIMS, e.rows + c, a->kv_row, n,
                             values + r, t->v_width);
}

static uint64_t thread_bytes(const hs_arch *a)
{
    uint64_t extra =
        (uint64_t)(v_width(a) + a->nope) * a->kv_lora + (uint64_t)(HS_PANEL_ROWS + HS__KEY_BLOCK) * a->kv_row + a->nope;
    uint64_t prefill = hs__tiles_bytes(a->nope + a->rope_dim, v_width(a), extra);
    uint64_t for_decode = hs__decode_bytes(a->kv_row, a->kv_lora);
    return prefill > for_decode ? prefill : for_decode;
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
                   .first = hs__pass_position(p, 0),
                   .units = a->heads,
                   .heads_per_unit = 1,
                   .qk_dim = a->nope + a->rope_dim,
                   .v_dim = a->v_dim,
                   .v_width = v_width(a),
                   .begin_unit = begin_unit,
                   .load = load};
    hs__tiles_run(&t);
}

const hs__attention hs__attention_mla = {run, thread_bytes};
