/*
 * arch_qwen2_moe.c - Qwen1.5-MoE and Qwen2-MoE: GQA with biases of q, k and v, half-split rope, softmax router that is
 * not renormalised by default, and a shared expert whose output is multiplied by sigmoid(shared_expert_gate x).
 */
#include "model/model_int.h"

static void take_moe(hs__build *b, uint32_t l, uint32_t shared_width)
{
    hs__layer_spec *t = &b->arch->layers[l];
    hs__take_mat(b, &t->w[HS__W_ROUTER], b->spec->n_experts, b->spec->hidden, "model.layers.%u.mlp.gate", l);
    hs__take_mat(b, &t->w[HS__W_SHARED_GATE], 1, b->spec->hidden, "model.layers.%u.mlp.shared_expert_gate", l);
    hs__take_ffn(b, l, shared_width, "mlp.shared_expert");
}

void hs__build_qwen2_moe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-6);
    hs__read_gqa(b, a->heads < 16 ? a->heads : 16, true, 10000);
    if (hs__cfg_bool(b, "use_sliding_window", false))
        hs__refuse(b, "use_sliding_window true is not supported");
    if (!hs__cfg_bool(b, "qkv_bias", true))
        hs__refuse(b, "qkv_bias false is not supported");
    s->n_experts = hs__cfg_u32_or(b, "num_experts", 1, HS__MAX_EXPERTS, 60);
    s->top_k = hs__cfg_top_k(b, 4);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1};
    a->router.normalise = hs__cfg_bool(b, "norm_topk_prob", false);
    a->moe_width = hs__cfg_u32(b, "moe_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t shared_width = hs__cfg_u32(b, "shared_expert_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t dense_width = hs__cfg_u32_or(b, "intermediate_size", 1, HS__MAX_WIDTH, 1);
    uint8_t moe[HS__MAX_LAYERS];
    hs__sparse_layers(b, moe);
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__take_norms(b, l);
        hs__take_gqa(b, l, HS__QKV_BIAS);
        if (a->layers[l].moe)
            take_moe(b, l, shared_width);
        else
            hs__take_ffn(b, l, dense_width, "mlp");
    }
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}
