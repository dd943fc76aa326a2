/*
 * gguf.c - a GGUF file in the words of a published checkpoint, so that one recipe serves both containers.
 *
 * Recipes ask for config keys and tensors by their Hugging Face names. Of a GGUF file a key is looked up under its own
 * name (errors then say "qwen3moe.block_count"), or, where the file says it otherwise or not at all, in b->derived
 * (gguf_derive.c); a tensor's name is translated piece by piece. What an architecture's converter does to the weights
 * (permuted rows, split matrices) is the recipe's business: b->c->gguf tells it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_int.h"

typedef struct hs__pair {
    const char *hf, *gguf;
} hs__pair;

/* Keys of all architectures; the architecture's name and a dot come before them. */
static const hs__pair keys[] = {
    {"num_hidden_layers", "block_count"},
    {"hidden_size", "embedding_length"},
    {"max_position_embeddings", "context_length"},
    {"num_attention_heads", "attention.head_count"},
    {"num_key_value_heads", "attention.head_count_kv"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
    {"rope_theta", "rope.freq_base"},
    {"n_routed_experts", "expert_count"},
    {"num_experts", "expert_count"},
    {"num_local_experts", "expert_count"},
    {"moe_num_experts", "expert_count"},
    {"moe_k", "expert_used_count"},
    {"moe_num_shared_experts", "expert_shared_count"},
    {"moe_layer_start_index", "leading_dense_block_count"},
    {"moe_layer_interval", "interleave_moe_layer_step"},
    {"num_experts_per_tok", "expert_used_count"},
    {"moe_intermediate_size", "expert_feed_forward_length"},
    {"intermediate_size", "feed_forward_length"},
    {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"},
    {"first_k_dense_replace", "leading_dense_block_count"},
    {"n_shared_experts", "expert_shared_count"},
    {"routed_scaling_factor", "expert_weights_scale"},
    {"norm_topk_prob", "expert_weights_norm"},
    {"n_group", "expert_group_count"},
    {"topk_group", "expert_group_used_count"},
    {"head_dim", "attention.key_length"},
    {"q_lora_rank", "attention.q_lora_rank"},
    {"kv_lora_rank", "attention.kv_lora_rank"},
    {"qk_rope_head_dim", "rope.dimension_count"},
    {"rotary_dim", "rope.dimension_count"},
    {"sliding_window", "attention.sliding_window"},
    {"clip_qkv", "attention.clamp_kqv"},
    {"embedding_multiplier", "embedding_scale"},
    {"attention_multiplier", "attention.scale"},
    {"residual_multiplier", "residual_scale"},
    {"logits_scaling", "logit_scale"},
};

/* Modules of a layer. An expert's number is in the Hugging Face name of its matrix and behind the GGUF one. */
static const hs__pair modules[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"post_attention_norm", "post_attention_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.sinks", "attn_sinks"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"self_attn.k_b_proj", "attn_k_b"}, /* in no published checkpoint: kv_b, split by the converter */
    {"self_attn.v_b_proj", "attn_v_b"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.router", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"block_sparse_moe.router.layer", "ffn_gate_inp"},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.moe_statics.e_score_correction_bias", "exp_probs_b.bias"},
    {"block_sparse_moe.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.experts.gate_proj", "ffn_gate_exps"}, /* biases of all experts */
    {"mlp.experts.up_proj", "ffn_up_exps"},
    {"mlp.experts.down_proj", "ffn_down_exps"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};

static const hs__pair experts[] = {
    {"gate_proj", "ffn_gate"}, {"up_proj", "ffn_up"}, {"down_proj", "ffn_down"},       {"w1", "ffn_gate"},
    {"w3", "ffn_up"},          {"w2", "ffn_down"},    {"gate_up_proj", "ffn_gate_up"},
};

/* Of rope_scaling. */
static const hs__pair scalings[] = {{"type", "rope.scaling.type"},
                                    {"factor", "rope.scaling.factor"},
                                    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
                                    {"beta_fast", "rope.scaling.yarn_beta_fast"},
                                    {"beta_slow", "rope.scaling.yarn_beta_slow"}};

static const hs__pair ends[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const char *look_up(const hs__pair *table, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(table[i].hf) == len && !memcmp(table[i].hf, name, len))
            return table[i].gguf;
    return NULL;
}

const json_t *hs__cfg_place(hs__build *b, const char **key)
{
    if (!b->c->gguf)
        return b->c->config;
    json_t *said = json_object_get(b->derived, *key);
    if (said) {
        *key = json_object_iter_key(json_object_iter(said));
        return said;
    }
    const char *own = look_up(keys, COUNT(keys), *key, strlen(*key));
    if (!own)
        return b->derived;
    snprintf(b->key, sizeof b->key, "%s.%s", b->gguf_arch, own);
    *key = b->key;
    return b->c->config;
}

const char *hs__scaling_key(hs__build *b, const char *key)
{
    const char *own = b->c->gguf ? look_up(scalings, COUNT(scalings), key, strlen(key)) : NULL;
    if (!own)
        return key;
    snprintf(b->key, sizeof b->key, "%s.%s", b->gguf_arch, own);
    return b->key;
}

/* ".weight" and ".bias" stay as they are: the length of the module's name before them. */
static size_t module_len(const char *name)
{
    static const char *const tails[] = {".weight", ".bias"};
    size_t len = strlen(name);
    for (size_t i = 0; i < COUNT(tails); i++)
        if (len > strlen(tails[i]) && !strcmp(name + len - strlen(tails[i]), tails[i]))
            return len - strlen(tails[i]);
    return len;
}

int hs__name_in_gguf(const char *hf, bool single, char *out, size_t cap)
{
    static const char prefix[] = "model.layers.";
    const char *name = hf, *own, *tail = hf + module_len(hf);
    if (strncmp(hf, prefix, sizeof prefix - 1)) {
        own = look_up(ends, COUNT(ends), name, (size_t)(tail - name));
        return own && snprintf(out, cap, "%s%s", own, tail) < (int)cap ? 0 : -ENOENT;
    }
    char *after;
    unsigned long layer = strtoul(hf + sizeof prefix - 1, &after, 10);
    name = after + 1;
    own = single ? NULL : look_up(modules, COUNT(modules), name, (size_t)(tail - name));
    if (own)
        return snprintf(out, cap, "blk.%lu.%s%s", layer, own, tail) < (int)cap ? 0 : -ENOENT;
    const char *in = strstr(name, ".experts.");
    if (!in)
        return -ENOENT;
    unsigned long expert = strtoul(in + strlen(".experts."), &after, 10);
    name = after + 1;
    own = look_up(experts, COUNT(experts), name, (size_t)(tail - name));
    int n = 0;
    if (own && single)
        n = snprintf(out, cap, "blk.%lu.%s.%lu%s", layer, own, expert, tail);
    else if (own)
        n = snprintf(out, cap, "blk.%lu.%s_exps%s.%lu", layer, own, tail, expert);
    return n > 0 && n < (int)cap ? 0 : -ENOENT;
}
