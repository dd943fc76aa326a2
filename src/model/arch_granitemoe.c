/*
 * arch_granitemoe.c - Granite-MoE: Mixtral's graph with four factors: embeddings times embedding_multiplier, scores
 * times attention_multiplier (instead of head_dim^-1/2), both branches of a layer times residual_multiplier, logits
 * divided by logits_scaling. Softmax over the chosen experts. Published experts are stacked, gate above up
 * (input_linear); GGUF has them apart and the rows of q and k permuted for pairs of neighbours.
 */
#include "model/model_int.h"

void hs__build_granitemoe(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-6);
    hs__read_gqa(b, a->heads, !b->c->gguf, 10000);
    a->embed_scale = (float)hs__cfg_num(b, "embedding_multiplier", 1e-6, 1e6, 1);
    a->softmax_scale = (float)hs__cfg_num(b, "attention_multiplier", 1e-6, 1e6, 1);
    a->residual_scale = (float)hs__cfg_num(b, "residual_multiplier", 1e-6, 1e6, 1);
    a->logit_scale = 1.0f / (float)hs__cfg_num(b, "logits_scaling", 1e-6, 1e6, 1);
    s->n_experts = hs__cfg_u32_or(b, "num_local_experts", 1, HS__MAX_EXPERTS, 8);
    s->top_k = hs__cfg_top_k(b, s->n_experts < 2 ? 1 : 2);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1, .normalise = true};
    a->moe_width = hs__cfg_expert_width(b);
    hs__set_moe_layers(b, NULL);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__take_norms(b, l);
        hs__take_gqa(b, l, 0);
        hs__take_mat(b, &a->layers[l].w[HS__W_ROUTER], s->n_experts, s->hidden,
                     "model.layers.%u.block_sparse_moe.router.layer", l);
    }
    if (b->c->gguf)
        hs__take_experts(b, "mlp.experts", "gate_proj", "up_proj", "down_proj");
    else
        hs__take_stacked_experts(b, "block_sparse_moe.input_linear", "block_sparse_moe.output_linear");
}
