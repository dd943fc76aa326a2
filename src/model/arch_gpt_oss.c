/*
 * arch_gpt_oss.c - gpt-oss: GQA with biases on all four projections, attention sinks, every second layer with a sliding
 * window, half-split rope with YaRN; softmax over the chosen experts, whose matrices have biases and whose activation
 * is a limited SwiGLU. Published files hold experts in MXFP4 with gate and up row by row in turn; GGUF has them apart.
 */
#include <string.h>

#include "model/model_int.h"

#define GLU_LIMIT 7.0f
#define GLU_ALPHA 1.702f

static void which_windows(hs__build *b)
{
    hs_model_spec *s = b->spec;
    uint32_t window = hs__cfg_u32(b, "sliding_window", 1, 1u << 30);
    const json_t *types = hs__cfg_get(b, "layer_types");
    if (b->r < 0)
        return;
    if (types && json_array_size(types) != s->n_layers) {
        hs__refuse(b, "layer_types must name each of the %u layers", s->n_layers);
        return;
    }
    for (uint32_t l = 0; l < s->n_layers; l++) {
        const char *type =
            types ? json_string_value(json_array_get(types, l)) : (l % 2 ? "full_attention" : "sliding_attention");
        bool slides = type && !strcmp(type, "sliding_attention");
        if (!slides && (!type || strcmp(type, "full_attention")))
            hs__refuse(b, "layer_types[%u] must be sliding_attention or full_attention", l);
        b->arch->layers[l].window = slides ? window : 0;
    }
}

static void take_layer(hs__build *b, uint32_t l)
{
    const hs_model_spec *s = b->spec;
    const hs_arch *a = b->arch;
    hs__layer_spec *t = &b->arch->layers[l];
    uint32_t e = s->n_experts, width = a->moe_width, hidden = s->hidden;
    hs__take_norms(b, l);
    hs__take_gqa(b, l, HS__QKV_BIAS | HS__O_BIAS);
    hs__take_vec(b, &t->v[HS__V_SINKS], a->heads, "model.layers.%u.self_attn.sinks%s", l, b->c->gguf ? ".weight" : "");
    hs__take_mat(b, &t->w[HS__W_ROUTER], e, hidden, "model.layers.%u.mlp.router", l);
    hs__take_vec(b, &t->v[HS__V_LOGIT_BIAS], e, "model.layers.%u.mlp.router.bias", l);
    if (!b->c->gguf) {
        hs__take_table(b, &t->v[HS__V_GATE_BIAS], e, 2 * width, "model.layers.%u.mlp.experts.gate_up_proj_bias", l);
        t->v[HS__V_UP_BIAS] = t->v[HS__V_GATE_BIAS];
        hs__take_table(b, &t->v[HS__V_DOWN_BIAS], e, hidden, "model.layers.%u.mlp.experts.down_proj_bias", l);
        return;
    }
    hs__take_table(b, &t->v[HS__V_GATE_BIAS], e, width, "model.layers.%u.mlp.experts.gate_proj.bias", l);
    hs__take_table(b, &t->v[HS__V_UP_BIAS], e, width, "model.layers.%u.mlp.experts.up_proj.bias", l);
    hs__take_table(b, &t->v[HS__V_DOWN_BIAS], e, hidden, "model.layers.%u.mlp.experts.down_proj.bias", l);
}

void hs__build_gpt_oss(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_sizes(b, 1e-5);
    hs__cfg_switch(b, "attention_bias", true);
    if (!b->c->gguf)
        hs__cfg_mxfp4(b);
    hs__read_gqa(b, a->heads < 8 ? a->heads : 8, true, 150000);
    which_windows(b);
    s->n_experts = hs__cfg_u32(b, "num_local_experts", 1, HS__MAX_EXPERTS);
    s->top_k = hs__cfg_top_k(b, 4);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1, .normalise = true};
    a->moe_width = hs__cfg_expert_width(b);
    a->glu_limit = (float)hs__cfg_num(b, "swiglu_limit", 1e-3, 1e6, GLU_LIMIT);
    a->glu_alpha = GLU_ALPHA;
    hs__set_moe_layers(b, NULL);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++)
        take_layer(b, l);
    if (b->c->gguf)
        hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
    else
        hs__take_mxfp4_experts(b, "mlp.experts.gate_up_proj", "mlp.experts.down_proj");
}
