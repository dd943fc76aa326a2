/*
 * arch_qwen3_moe.c - Qwen3-MoE: GQA with an RMS norm per head of q and k, half-split rope, softmax router. A layer is
 * dense if it is listed in mlp_only_layers or is not the last of its decoder_sparse_step.
 */
#include "model/model_int.h"

static void read_attention(hs__build *b)
{
    hs_arch *a = b->arch;
    a->attention = &hs__attention_gqa;
    a->kv_heads = hs__cfg_u32_or(b, "num_key_value_heads", 1, a->heads, a->heads);
    uint32_t per_head = b->spec->hidden / a->heads;
    a->head_dim = hs__cfg_u32_or(b, "head_dim", 2, 8192, per_head ? per_head : 2);
    if (a->heads % a->kv_heads)
        hs__refuse(b, "num_attention_heads %u is not a multiple of num_key_value_heads %u", a->heads, a->kv_heads);
    if (hs__cfg_bool(b, "use_sliding_window", false))
        hs__refuse(b, "use_sliding_window true is not supported");
    a->q_width = a->out_width = a->heads * a->head_dim;
    a->kv_row = 2 * a->kv_heads * a->head_dim;
    a->inner_eps = a->eps;
    a->softmax_scale = 1.0f / __builtin_sqrtf((float)a->head_dim);
    hs__cfg_rope(b, a->head_dim, true, 10000);
}

static void which_layers(hs__build *b, uint8_t *moe)
{
    const json_t *dense = json_object_get(b->c->config, "mlp_only_layers");
    uint32_t step = hs__cfg_u32_or(b, "decoder_sparse_step", 1, HS__MAX_LAYERS, 1);
    for (uint32_t l = 0; l < b->spec->n_layers; l++)
        moe[l] = (l + 1) % step == 0;
    if (dense && !json_is_null(dense) && !json_is_array(dense))
        hs__refuse(b, "mlp_only_layers must be a list");
    for (size_t i = 0; i < json_array_size(dense); i++) {
        const json_t *l = json_array_get(dense, i);
        if (!json_is_integer(l) || json_integer_value(l) < 0 || json_integer_value(l) >= b->spec->n_layers)
            hs__refuse(b, "mlp_only_layers must list layers below num_hidden_layers");
        else
            moe[json_integer_value(l)] = 0;
    }
}

static void take_layer(hs__build *b, uint32_t l, uint32_t dense_width)
{
    const hs_arch *a = b->arch;
    hs__layer_spec *t = &b->arch->layers[l];
    uint32_t hidden = b->spec->hidden, kv_width = a->kv_heads * a->head_dim;
    hs__take_vec(b, &t->v[HS__V_ATTN_NORM], hidden, "model.layers.%u.input_layernorm.weight", l);
    hs__take_vec(b, &t->v[HS__V_FFN_NORM], hidden, "model.layers.%u.post_attention_layernorm.weight", l);
    hs__take_mat(b, &t->w[HS__W_Q], a->q_width, hidden, "model.layers.%u.self_attn.q_proj", l);
    hs__take_mat(b, &t->w[HS__W_K], kv_width, hidden, "model.layers.%u.self_attn.k_proj", l);
    hs__take_mat(b, &t->w[HS__W_V], kv_width, hidden, "model.layers.%u.self_attn.v_proj", l);
    hs__take_mat(b, &t->w[HS__W_O], hidden, a->out_width, "model.layers.%u.self_attn.o_proj", l);
    hs__take_vec(b, &t->v[HS__V_Q_NORM], a->head_dim, "model.layers.%u.self_attn.q_norm.weight", l);
    hs__take_vec(b, &t->v[HS__V_KV_NORM], a->head_dim, "model.layers.%u.self_attn.k_norm.weight", l);
    if (t->moe) {
        hs__take_mat(b, &t->w[HS__W_ROUTER], b->spec->n_experts, hidden, "model.layers.%u.mlp.gate", l);
        return;
    }
    t->ffn_width = dense_width;
    hs__take_mat(b, &t->w[HS__W_GATE], dense_width, hidden, "model.layers.%u.mlp.gate_proj", l);
    hs__take_mat(b, &t->w[HS__W_UP], dense_width, hidden, "model.layers.%u.mlp.up_proj", l);
    hs__take_mat(b, &t->w[HS__W_DOWN], hidden, dense_width, "model.layers.%u.mlp.down_proj", l);
}

void hs__build_qwen3_moe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-6);
    read_attention(b);
    s->n_experts = hs__cfg_u32(b, "num_experts", 1, HS__MAX_EXPERTS);
    s->top_k = hs__cfg_u32(b, "num_experts_per_tok", 1, s->n_experts < HS__MAX_TOP_K ? s->n_experts : HS__MAX_TOP_K);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1};
    a->router.normalise = hs__cfg_bool(b, "norm_topk_prob", false);
    a->moe_width = hs__cfg_u32(b, "moe_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t dense_width = hs__cfg_u32_or(b, "intermediate_size", 1, HS__MAX_WIDTH, 1);
    uint8_t moe[HS__MAX_LAYERS];
    which_layers(b, moe);
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++)
        take_layer(b, l, dense_width);
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}
