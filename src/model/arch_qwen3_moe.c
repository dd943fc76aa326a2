/*
 * arch_qwen3_moe.c - Qwen3-MoE: GQA with an RMS norm per head of q and k, half-split rope, softmax router. A layer is
 * dense if it is listed in mlp_only_layers or is not the last of its decoder_sparse_step.
 */
#include "model/model_int.h"

void hs__build_qwen3_moe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-6);
    hs__read_gqa(b, a->heads, true, 10000);
    if (hs__cfg_bool(b, "use_sliding_window", false))
        hs__refuse(b, "use_sliding_window true is not supported");
    s->n_experts = hs__cfg_u32(b, "num_experts", 1, HS__MAX_EXPERTS);
    s->top_k = hs__cfg_top_k(b, 0);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1};
    a->router.normalise = hs__cfg_bool(b, "norm_topk_prob", false);
    a->moe_width = hs__cfg_u32(b, "moe_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t dense_width = hs__cfg_u32_or(b, "intermediate_size", 1, HS__MAX_WIDTH, 1);
    uint8_t moe[HS__MAX_LAYERS];
    hs__sparse_layers(b, moe);
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__take_norms(b, l);
        hs__take_gqa(b, l, HS__HEAD_NORMS);
        if (a->layers[l].moe)
            hs__take_mat(b, &a->layers[l].w[HS__W_ROUTER], s->n_experts, s->hidden, "model.layers.%u.mlp.gate", l);
        else
            hs__take_ffn(b, l, dense_width, "mlp");
    }
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}
