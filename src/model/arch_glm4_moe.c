/*
 * arch_glm4_moe.c - GLM-4.5 and 4.6: GQA with biases of q, k and v, in the large ones an RMS norm per head of q and k,
 * half-split rope on the first partial_rotary_factor of a head; DeepSeek-V3's router, leading dense layers and a shared
 * expert. Layers beyond num_hidden_layers (multi-token prediction) are not run.
 */
#include "model/model_int.h"

void hs__build_glm4_moe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_sizes(b, 1e-5);
    hs__cfg_fp8(b);
    if (!b->c->gguf && !hs__cfg_get(b, "partial_rotary_factor"))
        hs__refuse(b, "partial_rotary_factor is missing");
    hs__read_gqa(b, a->heads < 8 ? a->heads : 8, true, 10000);
    hs__read_sigmoid_router(b);
    uint32_t dense = hs__cfg_u32_or(b, "first_k_dense_replace", 0, HS__MAX_LAYERS, 1);
    uint32_t dense_width = hs__cfg_u32(b, "intermediate_size", 1, HS__MAX_WIDTH);
    a->moe_width = hs__cfg_u32(b, "moe_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t n_shared = hs__cfg_u32_or(b, "n_shared_experts", 0, 64, 1);
    unsigned with = hs__cfg_bool(b, "attention_bias", false) ? HS__QKV_BIAS : 0;
    with |= hs__has(b, "model.layers.0.self_attn.q_norm.weight") ? HS__HEAD_NORMS : 0;
    uint8_t moe[HS__MAX_LAYERS];
    for (uint32_t l = 0; l < s->n_layers; l++)
        moe[l] = l >= dense;
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__layer_spec *t = &a->layers[l];
        hs__take_norms(b, l);
        hs__take_gqa(b, l, with);
        if (!t->moe) {
            hs__take_ffn(b, l, dense_width, "mlp");
            continue;
        }
        hs__take_mat(b, &t->w[HS__W_ROUTER], s->n_experts, s->hidden, "model.layers.%u.mlp.gate", l);
        hs__take_vec(b, &t->v[HS__V_ROUTER_BIAS], s->n_experts, "model.layers.%u.mlp.gate.e_score_correction_bias", l);
        hs__take_ffn(b, l, n_shared * a->moe_width, "mlp.shared_experts");
    }
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}
