/*
 * arch_deepseek.c - the family with latent attention (MLA), leading dense layers and a shared expert: DeepSeek-V3, R1,
 * V3.1, Kimi-K2 and GLM-4.7-Flash (sigmoid router with a bias for selection only, groups), DeepSeek-V2 (softmax router,
 * not renormalised). Layers beyond num_hidden_layers (multi-token prediction) are not run.
 *
 * The norms of the two latents always use eps 1e-6, whatever rms_norm_eps says. With YaRN the softmax scale is
 * multiplied by the square of mscale(factor, mscale_all_dim); cos and sin by the quotient of the two mscales.
 */
#include <string.h>

#include "model/model_int.h"

#define LATENT_EPS 1e-6f

static void read_attention(hs__build *b)
{
    hs_arch *a = b->arch;
    a->attention = &hs__attention_mla;
    a->q_lora = hs__cfg_u32_or(b, "q_lora_rank", 1, HS__MAX_WIDTH, 0);
    a->kv_lora = hs__cfg_u32(b, "kv_lora_rank", 1, HS__MAX_WIDTH);
    a->nope = hs__cfg_u32(b, "qk_nope_head_dim", 1, 8192);
    a->rope_dim = hs__cfg_u32(b, "qk_rope_head_dim", 2, 8192);
    a->v_dim = hs__cfg_u32(b, "v_head_dim", 1, 8192);
    a->kv_heads = a->heads;
    a->q_width = a->heads * (a->nope + a->rope_dim);
    a->out_width = a->heads * a->v_dim;
    a->kv_row = a->kv_lora + a->rope_dim;
    a->inner_eps = LATENT_EPS;
    hs__cfg_rope(b, a->rope_dim, !hs__cfg_bool(b, "rope_interleave", true), 10000);
    a->softmax_scale = 1.0f / __builtin_sqrtf((float)(a->nope + a->rope_dim));
    if (!a->rope.yarn)
        return;
    const json_t *s = hs__cfg_get(b, "rope_scaling");
    if (!json_is_object(s))
        s = hs__cfg_get(b, "rope_parameters");
    double all = 0;
    if (b->r == 0)
        b->r = hs_json_num_or(s, b->where, "mscale_all_dim", 0, &all, b->err);
    if (all != 0) {
        double m = hs__yarn_mscale(a->rope.factor, all);
        a->softmax_scale = (float)(m * m / __builtin_sqrt((double)(a->nope + a->rope_dim)));
    }
}

static void read_router_v3(hs__build *b)
{
    hs_arch *a = b->arch;
    hs__cfg_only(b, "scoring_func", "sigmoid");
    hs__cfg_only(b, "topk_method", "noaux_tc");
    a->router = (hs__router_rule){.sigmoid = true, .normalise_eps = 1e-20f};
    a->router.n_group = hs__cfg_u32_or(b, "n_group", 1, b->spec->n_experts, 1);
    a->router.topk_group = hs__cfg_u32_or(b, "topk_group", 1, a->router.n_group, 1);
    a->router.normalise = hs__cfg_bool(b, "norm_topk_prob", true);
}

/* norm_topk_prob has no effect in the reference; a group's score is its best expert's. */
static void read_router_v2(hs__build *b)
{
    hs_arch *a = b->arch;
    hs__cfg_only(b, "scoring_func", "softmax");
    const char *method = hs__cfg_str(b, "topk_method", "greedy");
    a->router = (hs__router_rule){.group_max = true, .n_group = 1, .topk_group = 1};
    if (!strcmp(method, "group_limited_greedy")) {
        a->router.n_group = hs__cfg_u32(b, "n_group", 1, b->spec->n_experts);
        a->router.topk_group = hs__cfg_u32(b, "topk_group", 1, a->router.n_group);
    } else if (strcmp(method, "greedy")) {
        hs__refuse(b, "topk_method '%.80s' is not supported; greedy and group_limited_greedy are", method);
    }
}

static void read_any_router(hs__build *b, bool v2)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    s->n_experts = hs__cfg_u32(b, "n_routed_experts", 1, HS__MAX_EXPERTS);
    s->top_k = hs__cfg_u32(b, "num_experts_per_tok", 1, HS__MAX_TOP_K);
    if (v2)
        read_router_v2(b);
    else
        read_router_v3(b);
    a->router.scale = (float)hs__cfg_num(b, "routed_scaling_factor", -1e6, 1e6, 1);
    uint32_t per_group = s->n_experts / a->router.n_group;
    if (s->n_experts % a->router.n_group || (a->router.n_group > 1 && per_group < 2))
        hs__refuse(b, "%s %u do not divide into %s %u", hs__cfg_name(b, "n_routed_experts").text, s->n_experts,
                   hs__cfg_name(b, "n_group").text, a->router.n_group);
    if (s->top_k > a->router.topk_group * per_group)
        hs__refuse(b, "%s %u exceeds the experts of %s %u", hs__cfg_name(b, "num_experts_per_tok").text, s->top_k,
                   hs__cfg_name(b, "topk_group").text, a->router.topk_group);
}

void hs__read_sigmoid_router(hs__build *b)
{
    read_any_router(b, false);
}

static void take_attention(hs__build *b, uint32_t l)
{
    const hs_arch *a = b->arch;
    hs__layer_spec *t = &b->arch->layers[l];
    uint32_t hidden = b->spec->hidden;
    if (a->q_lora) {
        hs__take_mat(b, &t->w[HS__W_Q_A], a->q_lora, hidden, "model.layers.%u.self_attn.q_a_proj", l);
        hs__take_vec(b, &t->v[HS__V_Q_NORM], a->q_lora, "model.layers.%u.self_attn.q_a_layernorm.weight", l);
        hs__take_mat(b, &t->w[HS__W_Q_B], a->q_width, a->q_lora, "model.layers.%u.self_attn.q_b_proj", l);
    } else {
        hs__take_mat(b, &t->w[HS__W_Q], a->q_width, hidden, "model.layers.%u.self_attn.q_proj", l);
    }
    hs__take_mat(b, &t->w[HS__W_KV_A], a->kv_row, hidden, "model.layers.%u.self_attn.kv_a_proj_with_mqa", l);
    hs__take_vec(b, &t->v[HS__V_KV_NORM], a->kv_lora, "model.layers.%u.self_attn.kv_a_layernorm.weight", l);
    if (hs__has(b, "model.layers.%u.self_attn.k_b_proj.weight", l)) {
        hs__take_mat(b, &t->w[HS__W_K_B], a->heads * a->kv_lora, a->nope, "model.layers.%u.self_attn.k_b_proj", l);
        hs__take_mat(b, &t->w[HS__W_V_B], a->heads * a->v_dim, a->kv_lora, "model.layers.%u.self_attn.v_b_proj", l);
        hs__pass_over_mat(b, "model.layers.%u.self_attn.kv_b_proj", l); /* GGUF files of 2025 have both */
    } else {
        hs__take_mat(b, &t->w[HS__W_KV_B], a->heads * (a->nope + a->v_dim), a->kv_lora,
                     "model.layers.%u.self_attn.kv_b_proj", l);
    }
    hs__take_mat(b, &t->w[HS__W_O], hidden, a->out_width, "model.layers.%u.self_attn.o_proj", l);
}

static void build(hs__build *b, bool v2)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-6);
    read_attention(b);
    read_any_router(b, v2);
    uint32_t dense = hs__cfg_u32_or(b, "first_k_dense_replace", 0, HS__MAX_LAYERS, 0);
    uint32_t freq = hs__cfg_u32_or(b, "moe_layer_freq", 1, HS__MAX_LAYERS, 1);
    uint32_t dense_width = hs__cfg_u32(b, "intermediate_size", 1, HS__MAX_WIDTH);
    a->moe_width = hs__cfg_u32(b, "moe_intermediate_size", 1, HS__MAX_WIDTH);
    uint32_t n_shared = hs__cfg_u32_or(b, "n_shared_experts", 0, 64, 0);
    uint8_t moe[HS__MAX_LAYERS];
    for (uint32_t l = 0; l < s->n_layers; l++)
        moe[l] = l >= dense && l % freq == 0;
    hs__set_moe_layers(b, moe);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__layer_spec *t = &a->layers[l];
        hs__take_norms(b, l);
        take_attention(b, l);
        if (!t->moe) {
            hs__take_ffn(b, l, dense_width, "mlp");
            continue;
        }
        hs__take_mat(b, &t->w[HS__W_ROUTER], s->n_experts, s->hidden, "model.layers.%u.mlp.gate", l);
        if (!v2)
            hs__take_vec(b, &t->v[HS__V_ROUTER_BIAS], s->n_experts, "model.layers.%u.mlp.gate.e_score_correction_bias",
                         l);
        hs__take_ffn(b, l, n_shared * a->moe_width, "mlp.shared_experts");
    }
    hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
}

void hs__build_deepseek_v3(hs__build *b)
{
    build(b, false);
}

void hs__build_deepseek_v2(hs__build *b)
{
    build(b, true);
}
