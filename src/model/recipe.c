/*
 * recipe.c - what several recipes read and take in the same way: grouped-query attention, a layer's two norms, a dense
 * or shared FFN, which layers have experts.
 */
#include "model/model_int.h"

void hs__read_gqa(hs__build *b, uint32_t default_kv_heads, bool neox, double default_theta)
{
    hs_arch *a = b->arch;
    a->attention = &hs__attention_gqa;
    a->kv_heads = hs__cfg_u32_or(b, "num_key_value_heads", 1, a->heads, default_kv_heads);
    uint32_t per_head = b->spec->hidden / a->heads;
    a->head_dim = hs__cfg_u32_or(b, "head_dim", 2, 8192, per_head > 1 ? per_head : 2);
    if (a->heads % a->kv_heads)
        hs__refuse(b, "%s %u is not a multiple of %s %u", hs__cfg_name(b, "num_attention_heads").text, a->heads,
                   hs__cfg_name(b, "num_key_value_heads").text, a->kv_heads);
    a->q_width = a->out_width = a->heads * a->head_dim;
    a->kv_row = 2 * a->kv_heads * a->head_dim;
    a->inner_eps = a->eps;
    a->softmax_scale = 1.0f / __builtin_sqrtf((float)a->head_dim);
    double part = hs__cfg_num(b, "partial_rotary_factor", 0, 1, 1) * a->head_dim;
    uint32_t rotary = hs__cfg_u32_or(b, "rotary_dim", 2, a->head_dim, part < 2 ? 2 : (uint32_t)part);
    hs__cfg_rope(b, rotary, neox, default_theta);
}

void hs__take_gqa(hs__build *b, uint32_t l, unsigned with)
{
    const hs_arch *a = b->arch;
    hs__layer_spec *t = &b->arch->layers[l];
    uint32_t hidden = b->spec->hidden, kv_width = a->kv_heads * a->head_dim;
    bool rows = (with & HS__ROW_NORMS) != 0;
    b->arch->norm_rows = rows;
    hs__take_mat(b, &t->w[HS__W_Q], a->q_width, hidden, "model.layers.%u.self_attn.q_proj", l);
    hs__take_mat(b, &t->w[HS__W_K], kv_width, hidden, "model.layers.%u.self_attn.k_proj", l);
    hs__take_mat(b, &t->w[HS__W_V], kv_width, hidden, "model.layers.%u.self_attn.v_proj", l);
    hs__take_mat(b, &t->w[HS__W_O], hidden, a->out_width, "model.layers.%u.self_attn.o_proj", l);
    if (with & (HS__HEAD_NORMS | HS__ROW_NORMS)) {
        uint32_t q = rows ? a->q_width : a->head_dim, k = rows ? kv_width : a->head_dim;
        hs__take_vec(b, &t->v[HS__V_Q_NORM], q, "model.layers.%u.self_attn.q_norm.weight", l);
        hs__take_vec(b, &t->v[HS__V_KV_NORM], k, "model.layers.%u.self_attn.k_norm.weight", l);
    }
    if (with & HS__O_BIAS)
        hs__take_vec(b, &t->v[HS__V_O_BIAS], hidden, "model.layers.%u.self_attn.o_proj.bias", l);
    if (with & HS__QKV_BIAS) {
        hs__take_vec(b, &t->v[HS__V_Q_BIAS], a->q_width, "model.layers.%u.self_attn.q_proj.bias", l);
        hs__take_vec(b, &t->v[HS__V_K_BIAS], kv_width, "model.layers.%u.self_attn.k_proj.bias", l);
        hs__take_vec(b, &t->v[HS__V_V_BIAS], kv_width, "model.layers.%u.self_attn.v_proj.bias", l);
    }
}

void hs__take_norms(hs__build *b, uint32_t l)
{
    hs__layer_spec *t = &b->arch->layers[l];
    hs__take_vec(b, &t->v[HS__V_ATTN_NORM], b->spec->hidden, "model.layers.%u.input_layernorm.weight", l);
    /* GGUF calls it ffn_norm, of some architectures post_attention_norm. */
    const char *name = hs__has(b, "model.layers.%u.post_attention_layernorm.weight", l) ? "post_attention_layernorm"
                                                                                        : "post_attention_norm";
    hs__take_vec(b, &t->v[HS__V_FFN_NORM], b->spec->hidden, "model.layers.%u.%s.weight", l, name);
}

void hs__take_ffn(hs__build *b, uint32_t l, uint32_t width, const char *name)
{
    hs__layer_spec *t = &b->arch->layers[l];
    t->ffn_width = width;
    if (!width)
        return;
    hs__take_mat(b, &t->w[HS__W_GATE], width, b->spec->hidden, "model.layers.%u.%s.gate_proj", l, name);
    hs__take_mat(b, &t->w[HS__W_UP], width, b->spec->hidden, "model.layers.%u.%s.up_proj", l, name);
    hs__take_mat(b, &t->w[HS__W_DOWN], b->spec->hidden, width, "model.layers.%u.%s.down_proj", l, name);
}

uint32_t hs__cfg_expert_width(hs__build *b)
{
    return hs__cfg_u32(b, b->c->gguf ? "moe_intermediate_size" : "intermediate_size", 1, HS__MAX_WIDTH);
}

uint32_t hs__cfg_top_k(hs__build *b, uint32_t def)
{
    uint32_t most = b->spec->n_experts < HS__MAX_TOP_K ? b->spec->n_experts : HS__MAX_TOP_K;
    return def ? hs__cfg_u32_or(b, "num_experts_per_tok", 1, most, def)
               : hs__cfg_u32(b, "num_experts_per_tok", 1, most);
}

void hs__sparse_layers(hs__build *b, uint8_t *moe)
{
    const json_t *dense = hs__cfg_get(b, "mlp_only_layers");
    uint32_t step = hs__cfg_u32_or(b, "decoder_sparse_step", 1, HS__MAX_LAYERS, 1);
    for (uint32_t l = 0; l < b->spec->n_layers; l++)
        moe[l] = (l + 1) % step == 0;
    if (dense && !json_is_array(dense))
        hs__refuse(b, "mlp_only_layers must be a list");
    for (size_t i = 0; i < json_array_size(dense); i++) {
        const json_t *l = json_array_get(dense, i);
        if (!json_is_integer(l) || json_integer_value(l) < 0 || json_integer_value(l) >= b->spec->n_layers)
            hs__refuse(b, "mlp_only_layers must list layers below num_hidden_layers");
        else
            moe[json_integer_value(l)] = 0;
    }
}
