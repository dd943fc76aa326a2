/*
 * arch_minimax_m2.c - MiniMax-M2: GQA with an RMS norm over all heads of q and of k at once, half-split rope on the
 * first rotary_dim of a head; sigmoid router whose bias counts for selection only, renormalised; no shared expert.
 * Experts are named as Mixtral's. Layers beyond num_hidden_layers (multi-token prediction) are not run.
 */
#include "model/model_int.h"

static void refuse_other_attention(hs__build *b)
{
    const json_t *types = hs__cfg_get(b, "attn_type_list");
    for (size_t i = 0; i < json_array_size(types); i++)
        if (json_integer_value(json_array_get(types, i)) != 1)
            hs__refuse(b, "attn_type_list has a layer other than 1 (softmax attention), which is not supported");
    if (hs__cfg_get(b, "sliding_window"))
        hs__refuse(b, "%s is not supported", hs__cfg_name(b, "sliding_window").text);
    hs__cfg_switch(b, "use_qk_norm", true);
    hs__cfg_only(b, "qk_norm_type", "per_layer");
    hs__cfg_only(b, "scoring_func", "sigmoid");
    if (hs__cfg_u32_or(b, "shared_intermediate_size", 0, HS__MAX_WIDTH, 0))
        hs__refuse(b, "shared_intermediate_size other than 0 is not supported");
}

void hs__build_minimax_m2(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-6);
    hs__read_gqa(b, a->heads < 8 ? a->heads : 8, true, 5000000);
    refuse_other_attention(b);
    s->n_experts = hs__cfg_u32(b, "num_local_experts", 1, HS__MAX_EXPERTS);
    s->top_k = hs__cfg_top_k(b, 0);
    a->router = (hs__router_rule){.sigmoid = true, .n_group = 1, .topk_group = 1, .scale = 1, .normalise = true};
    a->moe_width = hs__cfg_expert_width(b);
    hs__set_moe_layers(b, NULL);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__layer_spec *t = &a->layers[l];
        hs__take_norms(b, l);
        hs__take_gqa(b, l, HS__ROW_NORMS);
        hs__take_mat(b, &t->w[HS__W_ROUTER], s->n_experts, s->hidden, "model.layers.%u.block_sparse_moe.gate", l);
        hs__take_vec(b, &t->v[HS__V_ROUTER_BIAS], s->n_experts,
                     "model.layers.%u.block_sparse_moe.e_score_correction_bias", l);
    }
    hs__take_experts(b, "block_sparse_moe.experts", "w1", "w3", "w2");
}
