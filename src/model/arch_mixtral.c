/*
 * arch_mixtral.c - Mixtral: GQA without norms, half-split rope, softmax over all experts renormalised over the chosen;
 * experts are named w1 (gate), w3 (up), w2 (down), and their width is intermediate_size. GGUF's converter has permuted
 * the rows of q and k for pairs of neighbours.
 */
#include "model/model_int.h"

void hs__build_mixtral(hs__build *b)
{
    hs_arch *a = b->arch;
    hs_model_spec *s = b->spec;
    hs__cfg_common(b, 1e-5);
    hs__read_gqa(b, a->heads < 8 ? a->heads : 8, !b->c->gguf, 1000000);
    if (hs__cfg_u32_or(b, "sliding_window", 1, 1u << 30, 1u << 30) < s->max_context)
        hs__refuse(b, "a %s shorter than %s is not supported", hs__cfg_name(b, "sliding_window").text,
                   hs__cfg_name(b, "max_position_embeddings").text);
    s->n_experts = hs__cfg_u32_or(b, "num_local_experts", 1, HS__MAX_EXPERTS, 8);
    s->top_k = hs__cfg_top_k(b, s->n_experts < 2 ? 1 : 2);
    a->router = (hs__router_rule){.n_group = 1, .topk_group = 1, .scale = 1, .normalise = true};
    a->moe_width = hs__cfg_expert_width(b);
    hs__set_moe_layers(b, NULL);
    hs__take_ends(b);
    for (uint32_t l = 0; b->r == 0 && l < s->n_layers; l++) {
        hs__take_norms(b, l);
        hs__take_gqa(b, l, 0);
        hs__take_mat(b, &a->layers[l].w[HS__W_ROUTER], s->n_experts, s->hidden, "model.layers.%u.block_sparse_moe.gate",
                     l);
    }
    hs__take_experts(b, "block_sparse_moe.experts", "w1", "w3", "w2");
}
