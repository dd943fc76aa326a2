/*
 * arch_mixtral.c - Mixtral: GQA without norms, half-split rope, softmax over all experts renormalised over the chosen;
 * experts are named w1 (gate), w3 (up), w2 (down), and their width is intermediate_size.
 */
#include "model/model_int.h"

static void read_attention(hs__build *b)
{
    hs_arch *a = b->arch;
    a->attention = &hs__attention_gqa;
    a->kv_heads = hs__cfg_u32_or(b, "num_key_value_heads", 1, a->heads, a->heads < 8 ? a->heads : 8);
    uint32_t per_head = b->spec->hidden / a->heads;
    a->head_dim = hs__cfg_u32_or(b, "head_dim", 2, 8192, per_head ? per_head : 2);
    if (a->heads % a->kv_heads)
        hs__refuse(b, "num_attention_heads %u is not a multiple of num_key_value_heads %u", a->heads, a->kv_heads);
    if (hs__cfg_u32_or(b, "sliding_window", 1, 1u << 30, 1u << 30) < b->spec->max_context)
        hs__refuse(b, "a sliding_window shorter than max_position_embeddings is not supported");
    a->q_width = a->out_width = a->heads * a->head_dim;
    a->kv_row = 2 * a->kv_heads * a->head_dim;
    a->softmax_scale = 1.0f / __builtin_sqrtf((float)a->head_dim);
    hs__cfg_rope(b, a->head_dim, true, 1000000);
}

static void take_layer(hs__build *b, uint32_t l)
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
    hs__take_mat(b, &t->w[HS__W_ROUTER], b->spec->n_experts, hidden, "model.layers.%u.block_sparse_moe.gate", l);
}

void hs__build_mixtral(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-5);
    read_attention(b);
    s->n_experts = hs__cfg_u32_or(b, "num_local_experts", 1, HS__MAX_EXPERTS, 8);
    s->top_k =
        hs__cfg_u32_or(b, "num_experts_per_tok", 1, s->n_experts < HS__MAX_TOP_K ? s->n_experts : HS__MAX_TOP_K, 2);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1, .normalise = true};
    a->moe_width = hs__cfg_u32(b, "intermediate_size", 1, HS__MAX_WIDTH);
    uint8_t moe[HS__MAX_LAYERS];
    for (uint32_t l = 0; l < s->n_layers; l++)
        moe[l] = 1;
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++)
        take_layer(b, l);
    hs__take_experts(b, "block_sparse_moe.experts", "w1", "w3", "w2");
}
