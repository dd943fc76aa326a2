/*
 * arch_ernie4_5_moe.c - ERNIE 4.5 (text): GQA without biases, rope over pairs of neighbours; softmax router whose bias,
 * where there is one, counts for selection only, renormalised; leading dense layers and shared experts.
 */
#include "model/model_int.h"

static void which_layers(hs__build *b, uint8_t *moe)
{
    uint32_t n = b->spec->n_layers, start = hs__cfg_u32_or(b, "moe_layer_start_index", 0, HS__MAX_LAYERS, 1);
    uint32_t step = hs__cfg_u32_or(b, "moe_layer_interval", 1, HS__MAX_LAYERS, 1), end = n - 1;
    const json_t *last = hs__cfg_get(b, "moe_layer_end_index"); /* -1: the last layer */
    if (!json_is_integer(last) || json_integer_value(last) != -1)
        end = hs__cfg_u32_or(b, "moe_layer_end_index", 0, HS__MAX_LAYERS, n - 1);
    for (uint32_t l = 0; l < n; l++)
        moe[l] = (l + 1) % step == 0 && l >= start && l <= end;
}

static void take_moe(hs__build *b, uint32_t l, uint32_t shared_width)
{
    static const char bias[] = "model.layers.%u.mlp.moe_statics.e_score_correction_bias";
    hs__layer_spec *t = &b->arch->layers[l];
    hs__take_mat(b, &t->w[HS__W_ROUTER], b->spec->n_experts, b->spec->hidden, "model.layers.%u.mlp.gate", l);
    if (hs__has(b, bias, l))
        hs__take_vec(b, &t->v[HS__V_ROUTER_BIAS], b->spec->n_experts, bias, l);
    hs__take_ffn(b, l, shared_width, "mlp.shared_experts");
}

void hs__build_ernie4_5_moe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-5);
    hs__cfg_switch(b, "use_bias", false);
    hs__cfg_only(b, "moe_gate", "topk");
    hs__read_gqa(b, a->heads, false, 500000);
    s->n_experts = hs__cfg_u32(b, "moe_num_experts", 1, HS__MAX_EXPERTS);
    s->top_k = hs__cfg_u32(b, "moe_k", 1, s->n_experts < HS__MAX_TOP_K ? s->n_experts : HS__MAX_TOP_K);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1, .normalise = true};
    uint32_t dense_width = hs__cfg_u32(b, "intermediate_size", 1, HS__MAX_WIDTH);
    a->moe_width = hs__cfg_u32(b, "moe_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t shared = hs__cfg_u32_or(b, "moe_num_shared_experts", 0, 64, 0) * a->moe_width;
    uint8_t moe[HS__MAX_LAYERS];
    which_layers(b, moe);
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__take_norms(b, l);
        hs__take_gqa(b, l, 0);
        if (a->layers[l].moe)
            take_moe(b, l, shared);
        else
            hs__take_ffn(b, l, dense_width, "mlp");
    }
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}
