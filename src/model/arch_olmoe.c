/*
 * arch_olmoe.c - OLMoE: attention with an RMS norm over all heads of q and of k at once, then q, k and v limited to
 * +-clip_qkv where that is set; half-split rope; softmax router, not renormalised by default. The experts' width is
 * intermediate_size.
 */
#include "model/model_int.h"

void hs__build_olmoe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-5);
    hs__read_gqa(b, a->heads, true, 10000);
    a->clip_qkv = (float)hs__cfg_num(b, "clip_qkv", 0, 1e30, 0);
    s->n_experts = hs__cfg_u32_or(b, "num_experts", 1, HS__MAX_EXPERTS, 64);
    s->top_k = hs__cfg_top_k(b, 8);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1};
    a->router.normalise = hs__cfg_bool(b, "norm_topk_prob", false);
    a->moe_width = hs__cfg_expert_width(b);
    uint8_t moe[HS__MAX_LAYERS];
    hs__sparse_layers(b, moe);
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__take_norms(b, l);
        hs__take_gqa(b, l, HS__ROW_NORMS);
        hs__take_mat(b, &a->layers[l].w[HS__W_ROUTER], s->n_experts, s->hidden, "model.layers.%u.mlp.gate", l);
    }
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}
