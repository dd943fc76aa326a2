/*
 * gguf.c - a GGUF file in the words of a published checkpoint, so that one recipe serves both containers.
 *
 * Recipes ask for config keys and tensors by their Hugging Face names. Of a GGUF file a key is looked up under its own
 * name (errors then say "qwen3moe.block_count"), or, where the file says it otherwise or not at all, in b->derived; a
 * tensor's name is translated piece by piece. What an architecture's converter does to the weights (permuted rows,
 * split matrices) is the recipe's business: b->c->gguf tells it.
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
    {"gate_proj", "ffn_gate_exps"}, {"up_proj", "ffn_up_exps"}, {"down_proj", "ffn_down_exps"},
    {"w1", "ffn_gate_exps"},        {"w3", "ffn_up_exps"},      {"w2", "ffn_down_exps"},
};

static const hs__pair ends[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};

#define GATING_SIGMOID 2
#define TOKEN_CONTROL  3

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
    if (!b->c->gguf || json_object_get(b->derived, *key))
        return b->c->gguf ? b->derived : b->c->config;
    const char *own = look_up(keys, COUNT(keys), *key, strlen(*key));
    if (!own)
        return b->derived;
    snprintf(b->key, sizeof b->key, "%s.%s", b->gguf_arch, own);
    *key = b->key;
    return b->c->config;
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

int hs__name_in_gguf(const char *hf, char *out, size_t cap)
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
    own = look_up(modules, COUNT(modules), name, (size_t)(tail - name));
    if (own)
        return snprintf(out, cap, "blk.%lu.%s%s", layer, own, tail) < (int)cap ? 0 : -ENOENT;
    const char *in = strstr(name, ".experts.");
    if (!in)
        return -ENOENT;
    unsigned long expert = strtoul(in + strlen(".experts."), &after, 10);
    name = after + 1;
    own = look_up(experts, COUNT(experts), name, (size_t)(tail - name));
    return own && snprintf(out, cap, "blk.%lu.%s%s.%lu", layer, own, tail, expert) < (int)cap ? 0 : -ENOENT;
}

/* ---- what the file says in other words ---- */

static void put(hs__build *b, const char *key, json_t *value)
{
    if (json_object_set_new(b->derived, key, value) < 0 && b->r == 0)
        b->r = hs_err_set(b->err, -ENOMEM, "%s: out of memory", b->where);
}

static const json_t *own_value(const hs__build *b, const char *key)
{
    char full[sizeof b->key];
    snprintf(full, sizeof full, "%s.%s", b->gguf_arch, key);
    return json_object_get(b->c->config, full);
}

static int64_t own_int(const hs__build *b, const char *key, int64_t def)
{
    const json_t *v = own_value(b, key);
    return json_is_integer(v) ? json_integer_value(v) : def;
}

/* One number for all layers, where the format allows one for each. */
static void put_uniform(hs__build *b, const char *hf, const char *key)
{
    const json_t *v = own_value(b, key);
    if (!json_is_array(v) || !json_array_size(v))
        return;
    for (size_t i = 1; i < json_array_size(v); i++)
        if (!json_equal(json_array_get(v, i), json_array_get(v, 0)))
            hs__refuse(b, "%s.%s differs from layer to layer, which is not supported", b->gguf_arch, key);
    put(b, hf, json_copy(json_array_get(v, 0)));
}

static void put_rope(hs__build *b)
{
    const json_t *type = own_value(b, "rope.scaling.type");
    if (!json_is_string(type) || !strcmp(json_string_value(type), "none"))
        return;
    json_t *s = json_pack("{s:O}", "type", type);
    static const hs__pair names[] = {{"factor", "rope.scaling.factor"},
                                     {"original_max_position_embeddings", "rope.scaling.original_context_length"},
                                     {"beta_fast", "rope.scaling.yarn_beta_fast"},
                                     {"beta_slow", "rope.scaling.yarn_beta_slow"},
                                     {"attention_factor", "rope.scaling.attn_factor"}};
    for (size_t i = 0; i < COUNT(names); i++) {
        const json_t *v = own_value(b, names[i].gguf);
        if (v && json_object_set(s, names[i].hf, (json_t *)(uintptr_t)v) < 0)
            put(b, "rope_scaling", NULL);
    }
    /* The converter writes 0.1 mscale_all_dim; mscale equals it in every published model. */
    const json_t *log = own_value(b, "rope.scaling.yarn_log_multiplier");
    if (json_is_number(log)) {
        json_object_set_new(s, "mscale", json_real(10 * json_number_value(log)));
        json_object_set_new(s, "mscale_all_dim", json_real(10 * json_number_value(log)));
    }
    put(b, "rope_scaling", s);
}

/* Ids that end an answer: the named ones, and tokens that are known to whatever their converter named. */
static void put_tokens(hs__build *b)
{
    static const char *const enders[] = {"<|im_end|>",      "<|eot_id|>",    "<|end|>",
                                         "<|return|>",      "<|call|>",      "<end_of_turn>",
                                         "<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>"};
    const hs_vocab_data *v = b->c->vocab;
    json_t *eos = json_array();
    int64_t named[] = {v ? v->eos : -1, v ? v->eot : -1, v ? v->eom : -1};
    for (size_t i = 0; i < COUNT(named); i++)
        if (named[i] >= 0)
            json_array_append_new(eos, json_integer(named[i]));
    for (uint32_t t = 0; v && t < v->n_tokens; t++)
        for (size_t i = 0; i < COUNT(enders); i++)
            if (v->token_type && v->token_type[t] == TOKEN_CONTROL && v->tokens[t].len == strlen(enders[i]) &&
                !memcmp(v->tokens[t].data, enders[i], v->tokens[t].len))
                json_array_append_new(eos, json_integer(t));
    put(b, "eos_token_id", eos);
    if (v && v->bos >= 0)
        put(b, "bos_token_id", json_integer(v->bos));
}

static void put_common(hs__build *b)
{
    uint32_t embed = hs_checkpoint_find(b->c, "token_embd.weight");
    if (embed != HS_NO_TENSOR && b->c->tensors[embed].n_dims == 2)
        put(b, "vocab_size", json_integer((json_int_t)b->c->tensors[embed].dims[0]));
    put(b, "tie_word_embeddings", json_boolean(hs_checkpoint_find(b->c, "output.weight") == HS_NO_TENSOR));
    int64_t more = own_int(b, "nextn_predict_layers", 0); /* counted among the blocks, not run */
    if (more > 0)
        put(b, "num_hidden_layers", json_integer(own_int(b, "block_count", 0) - more));
    put_uniform(b, "num_key_value_heads", "attention.head_count_kv");
    put_uniform(b, "num_attention_heads", "attention.head_count");
    put_uniform(b, "intermediate_size", "feed_forward_length");
    const json_t *width = own_value(b, "feed_forward_length");
    if (!own_value(b, "expert_feed_forward_length") && json_is_integer(width))
        put(b, "moe_intermediate_size", json_copy((json_t *)(uintptr_t)width));
    put_rope(b);
    put_tokens(b);
    if (hs_checkpoint_find(b->c, "rope_freqs.weight") != HS_NO_TENSOR)
        hs__refuse(b, "rope_freqs.weight: scaled rotary frequencies are not supported");
}

/* GLM-4.7-Flash is the one file with a sigmoid router that does not say so. */
static bool is_sigmoid(const hs__build *b)
{
    int64_t gating = own_int(b, "expert_gating_func", 0), layers = own_int(b, "block_count", 0);
    uint32_t embed = hs_checkpoint_find(b->c, "token_embd.weight");
    if (gating == 0 && (layers == 47 || layers == 48) && embed != HS_NO_TENSOR)
        return b->c->tensors[embed].dims[0] == 154880;
    return gating == GATING_SIGMOID;
}

/* Older files have no *_mla keys: there key_length and value_length are a head's. */
static const char *derive_deepseek(hs__build *b)
{
    int64_t rope = own_int(b, "rope.dimension_count", 0), key = own_int(b, "attention.key_length", 0);
    int64_t value = own_int(b, "attention.value_length", 0);
    put(b, "qk_nope_head_dim", json_integer(own_int(b, "attention.key_length_mla", key) - rope));
    put(b, "v_head_dim", json_integer(own_int(b, "attention.value_length_mla", value)));
    if (is_sigmoid(b)) {
        put(b, "topk_method", json_string("noaux_tc"));
        return "deepseek_v3";
    }
    if (json_is_true(own_value(b, "expert_weights_norm")))
        hs__refuse(b, "deepseek2.expert_weights_norm true with a softmax router is not supported");
    put(b, "topk_method", json_string(own_int(b, "expert_group_count", 1) > 1 ? "group_limited_greedy" : "greedy"));
    return "deepseek_v2";
}

/* Always renormalised, and the key is not written. */
static const char *derive_qwen3_moe(hs__build *b)
{
    if (!own_value(b, "expert_weights_norm"))
        put(b, "norm_topk_prob", json_true());
    return "qwen3_moe";
}

static const char *derive_mixtral(hs__build *b)
{
    put(b, "intermediate_size", json_copy((json_t *)(uintptr_t)hs__cfg_get(b, "moe_intermediate_size")));
    return "mixtral";
}

static const char *derive_olmoe(hs__build *b)
{
    (void)b;
    return "olmoe";
}

static const char *derive_qwen2_moe(hs__build *b)
{
    (void)b;
    return "qwen2_moe";
}

static const char *derive_granite(hs__build *b)
{
    (void)b;
    return "granitemoe";
}

/* A file does not say whether YaRN's correction range is rounded: llama.cpp does so always, the published configs say
 * no. Those are known by the context they were made for; others are taken as llama.cpp takes them. */
static const char *derive_gpt_oss(hs__build *b)
{
    json_t *s = json_object_get(b->derived, "rope_scaling");
    bool published = own_int(b, "rope.scaling.original_context_length", 0) == 4096;
    if (s && json_object_set_new(s, "truncate", json_boolean(!published)) < 0)
        put(b, "rope_scaling", NULL);
    return "gpt_oss";
}

static const struct {
    const char *arch;
    const char *(*derive)(hs__build *b);
} archs[] = {{"qwen3moe", derive_qwen3_moe}, {"llama", derive_mixtral},      {"olmoe", derive_olmoe},
             {"qwen2moe", derive_qwen2_moe}, {"granitemoe", derive_granite}, {"gpt-oss", derive_gpt_oss},
             {"deepseek2", derive_deepseek}};

const char *hs__gguf_model_type(hs__build *b)
{
    b->gguf_arch = json_string_value(json_object_get(b->c->config, "general.architecture"));
    b->derived = json_object();
    if (!b->gguf_arch || !b->derived) {
        hs__refuse(b, "general.architecture is missing");
        return NULL;
    }
    char known[200] = "";
    for (size_t i = 0, at = 0; i < COUNT(archs); i++) {
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", archs[i].arch);
        if (strcmp(archs[i].arch, b->gguf_arch))
            continue;
        put_common(b);
        return archs[i].derive(b);
    }
    hs__refuse(b, "the architecture '%.80s' is not supported; these are: %s", b->gguf_arch, known);
    return NULL;
}
