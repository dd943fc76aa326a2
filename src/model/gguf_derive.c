/*
 * gguf_derive.c - what a GGUF file says in other words than a published config: b->derived has it by the config's
 * keys, each value in an object under the name that errors shall give it: {"qk_nope_head_dim":
 * {"deepseek2.attention.key_length": 128}}.
 *
 * Here too: which architectures are known, and refusing what a file may ask for that no block does. Values are
 * bounded where recipes read them; here only as far as arithmetic needs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_int.h"

enum { SOFTMAX = 1, SIGMOID = 2, SOFTMAX_OF_CHOSEN = 3 }; /* expert_gating_func */
#define TOKEN_CONTROL 3

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const char *own_key(hs__build *b, const char *key)
{
    snprintf(b->key, sizeof b->key, "%s.%s", b->gguf_arch, key);
    return b->key;
}

/* value as the config's key hf; errors call it what (copied). Takes the reference. */
static void put(hs__build *b, const char *hf, const char *what, json_t *value)
{
    json_t *said = json_object();
    if ((!said || json_object_set_new(said, what, value) < 0 || json_object_set(b->derived, hf, said) < 0) && b->r == 0)
        b->r = hs_err_set(b->err, -ENOMEM, "%s: out of memory", b->where);
    json_decref(said);
}

static const json_t *own_value(hs__build *b, const char *key)
{
    const json_t *v = json_object_get(b->c->config, own_key(b, key));
    return json_is_null(v) ? NULL : v;
}

static int64_t own_int(hs__build *b, const char *key, int64_t def)
{
    int64_t v = def;
    if (b->r == 0)
        b->r = hs_json_int_or(b->c->config, b->where, own_key(b, key), 0, 1 << 30, def, &v, b->err);
    return v;
}

/* A number for each layer is taken where all are the same. */
static void put_uniform(hs__build *b, const char *hf, const char *key)
{
    const json_t *v = own_value(b, key);
    if (!json_is_array(v) || !json_array_size(v))
        return;
    for (size_t i = 1; i < json_array_size(v); i++)
        if (!json_equal(json_array_get(v, i), json_array_get(v, 0)))
            hs__refuse(b, "%s differs from layer to layer, which is not supported", own_key(b, key));
    put(b, hf, own_key(b, key), json_copy(json_array_get(v, 0)));
}

static void put_rope(hs__build *b)
{
    static const char *const names[] = {"type", "factor", "original_max_position_embeddings", "beta_fast", "beta_slow"};
    const json_t *factor = own_value(b, "rope.scaling.attn_factor"), *type = own_value(b, "rope.scaling.type");
    if (factor && json_number_value(factor) != 1)
        hs__refuse(b, "%s other than 1 is not supported", own_key(b, "rope.scaling.attn_factor"));
    if (json_is_string(type) && !strcmp(json_string_value(type), "none"))
        return;
    json_t *s = json_object();
    for (size_t i = 0; type && i < COUNT(names); i++) {
        const char *own = hs__scaling_key(b, names[i]);
        json_t *v = json_object_get(b->c->config, own);
        if (v && json_object_set(s, own, v) < 0)
            b->r = b->r ? b->r : hs_err_set(b->err, -ENOMEM, "%s: out of memory", b->where);
    }
    /* The converter writes 0.1 mscale_all_dim; mscale equals it in every published model. */
    const json_t *log = own_value(b, "rope.scaling.yarn_log_multiplier");
    double mscale = 10 * json_number_value(log);
    if (log && !(json_is_number(log) && mscale >= 0 && mscale <= 100))
        hs__refuse(b, "%s must be a number from 0 to 10", own_key(b, "rope.scaling.yarn_log_multiplier"));
    if (type && log) {
        json_object_set_new(s, "mscale", json_real(mscale));
        json_object_set_new(s, "mscale_all_dim", json_real(mscale));
    }
    if (type)
        put(b, "rope_scaling", own_key(b, "rope.scaling"), json_incref(s));
    json_decref(s);
}

static bool is_control(const hs_vocab_data *v, uint32_t id, const char *text)
{
    return v->token_type && v->token_type[id] == TOKEN_CONTROL && v->tokens[id].len == strlen(text) &&
           !memcmp(v->tokens[id].data, text, v->tokens[id].len);
}

/* gpt-oss's <|end|> ends one message of several, <|return|> the answer. */
static uint32_t end_of_message(const hs_vocab_data *v)
{
    uint32_t end = UINT32_MAX;
    bool returns = false;
    for (uint32_t id = 0; v && id < v->n_tokens; id++) {
        returns = returns || is_control(v, id, "<|return|>");
        if (is_control(v, id, "<|end|>"))
            end = id;
    }
    return returns ? end : UINT32_MAX;
}

/* Ids that end an answer: the named ones, and tokens that are known to whatever their converter named. */
static void put_tokens(hs__build *b)
{
    static const char *const enders[] = {"<|im_end|>",      "<|eot_id|>",    "<|end|>",
                                         "<|return|>",      "<|call|>",      "<end_of_turn>",
                                         "<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>"};
    const hs_vocab_data *v = b->c->vocab;
    const uint32_t not_end = end_of_message(v);
    json_t *eos = json_array();
    int64_t named[] = {v ? v->eos : -1, v ? v->eot : -1, v ? v->eom : -1};
    for (size_t i = 0; i < COUNT(named); i++)
        if (named[i] >= 0 && named[i] != not_end)
            json_array_append_new(eos, json_integer(named[i]));
    for (uint32_t t = 0; v && t < v->n_tokens; t++)
        for (size_t i = 0; i < COUNT(enders); i++)
            if (t != not_end && is_control(v, t, enders[i]))
                json_array_append_new(eos, json_integer(t));
    put(b, "eos_token_id", "tokenizer.ggml.eos_token_id", eos);
    if (v && v->bos >= 0)
        put(b, "bos_token_id", "tokenizer.ggml.bos_token_id", json_integer(v->bos));
}

static const hs_tensor *tensor_named(const hs__build *b, const char *name)
{
    uint32_t t = hs_checkpoint_find(b->c, name);
    return t == HS_NO_TENSOR ? NULL : &b->c->tensors[t];
}

static void put_common(hs__build *b)
{
    if (own_int(b, "expert_count", 0) == 0)
        hs__refuse(b, "%s is missing or 0: only models with experts are served", own_key(b, "expert_count"));
    const hs_tensor *embed = tensor_named(b, "token_embd.weight");
    if (!embed || embed->n_dims != 2)
        hs__refuse(b, "tensor token_embd.weight is missing or no matrix");
    else
        put(b, "vocab_size", "rows of token_embd.weight", json_integer((json_int_t)embed->dims[0]));
    put(b, "tie_word_embeddings", "output.weight", json_boolean(!tensor_named(b, "output.weight")));
    int64_t more = own_int(b, "nextn_predict_layers", 0); /* counted among the blocks, not run */
    if (more > 0)
        put(b, "num_hidden_layers", own_key(b, "block_count"), json_integer(own_int(b, "block_count", 0) - more));
    put_uniform(b, "num_key_value_heads", "attention.head_count_kv");
    put_uniform(b, "num_attention_heads", "attention.head_count");
    put_uniform(b, "intermediate_size", "feed_forward_length");
    put_uniform(b, "moe_intermediate_size", "expert_feed_forward_length");
    const json_t *width = hs__cfg_get(b, "intermediate_size");
    if (!own_value(b, "expert_feed_forward_length") && width)
        put(b, "moe_intermediate_size", own_key(b, "feed_forward_length"), json_copy((json_t *)(uintptr_t)width));
    put_rope(b);
    put_tokens(b);
    if (tensor_named(b, "rope_freqs.weight"))
        hs__refuse(b, "rope_freqs.weight: scaled rotary frequencies are not supported");
}

/* What grouped-query attention does not do. */
static void only_equal_heads(hs__build *b)
{
    int64_t key = own_int(b, "attention.key_length", 0);
    if (own_int(b, "attention.value_length", key) != key)
        hs__refuse(b, "%s must be that of keys, %lld", own_key(b, "attention.value_length"), (long long)key);
}

/* The experts' factors are multiplied by nothing. */
static void only_scale_1(hs__build *b)
{
    const json_t *v = own_value(b, "expert_weights_scale");
    if (v && json_number_value(v) != 0 && json_number_value(v) != 1)
        hs__refuse(b, "%s other than 1 is not supported", own_key(b, "expert_weights_scale"));
}

static void only_gating(hs__build *b, int64_t gating)
{
    int64_t v = own_int(b, "expert_gating_func", 0);
    if (v != 0 && v != gating)
        hs__refuse(b, "%s is %lld; %lld is supported", own_key(b, "expert_gating_func"), (long long)v,
                   (long long)gating);
}

static void usual(hs__build *b)
{
    only_gating(b, SOFTMAX);
    only_scale_1(b);
    only_equal_heads(b);
}

/* GLM-4.7-Flash is the one file with a sigmoid router that does not say so. */
static bool is_sigmoid(hs__build *b)
{
    int64_t gating = own_int(b, "expert_gating_func", 0), layers = own_int(b, "block_count", 0);
    const hs_tensor *embed = tensor_named(b, "token_embd.weight");
    if (gating == 0 && (layers == 47 || layers == 48))
        return embed && embed->dims[0] == 154880;
    if (gating > SIGMOID)
        hs__refuse(b, "%s is %lld; 1 (softmax) and 2 (sigmoid) are supported", own_key(b, "expert_gating_func"),
                   (long long)gating);
    return gating == SIGMOID;
}

/* Older files have no *_mla keys: there key_length and value_length are a head's. */
static const char *derive_deepseek(hs__build *b)
{
    int64_t rope = own_int(b, "rope.dimension_count", 0);
    const char *key = own_value(b, "attention.key_length_mla") ? "attention.key_length_mla" : "attention.key_length";
    const char *value =
        own_value(b, "attention.value_length_mla") ? "attention.value_length_mla" : "attention.value_length";
    int64_t length = own_int(b, key, 0), v_length = own_int(b, value, 0);
    if (length <= rope)
        hs__refuse(b, "%s is %lld, not more than rope.dimension_count", own_key(b, key), (long long)length);
    put(b, "qk_nope_head_dim", own_key(b, key), json_integer(length - rope));
    put(b, "v_head_dim", own_key(b, value), json_integer(v_length));
    if (is_sigmoid(b)) {
        put(b, "topk_method", "topk_method", json_string("noaux_tc"));
        return "deepseek_v3";
    }
    if (json_is_true(own_value(b, "expert_weights_norm")))
        hs__refuse(b, "deepseek2.expert_weights_norm true with a softmax router is not supported");
    bool groups = own_int(b, "expert_group_count", 1) > 1;
    put(b, "topk_method", "topk_method", json_string(groups ? "group_limited_greedy" : "greedy"));
    return "deepseek_v2";
}

/* Always renormalised, and the key is not written. */
static const char *derive_qwen3_moe(hs__build *b)
{
    usual(b);
    if (!own_value(b, "expert_weights_norm"))
        put(b, "norm_topk_prob", own_key(b, "expert_weights_norm"), json_true());
    return "qwen3_moe";
}

static const char *derive_mixtral(hs__build *b)
{
    usual(b);
    return "mixtral";
}

static const char *derive_olmoe(hs__build *b)
{
    usual(b);
    return "olmoe";
}

/* Older files leave the shared expert's width to its tensors. */
static const char *derive_qwen2_moe(hs__build *b)
{
    usual(b);
    const hs_tensor *gate = tensor_named(b, "blk.0.ffn_gate_shexp.weight");
    if (!own_value(b, "expert_shared_feed_forward_length") && gate && gate->n_dims == 2)
        put(b, "shared_expert_intermediate_size", "rows of blk.0.ffn_gate_shexp.weight",
            json_integer((json_int_t)gate->dims[0]));
    return "qwen2_moe";
}

static const char *derive_granite(hs__build *b)
{
    usual(b);
    if (own_int(b, "expert_shared_feed_forward_length", 0) > 0)
        hs__refuse(b, "%s: a shared expert is not supported", own_key(b, "expert_shared_feed_forward_length"));
    return "granitemoe";
}

static const char *derive_glm4_moe(hs__build *b)
{
    only_gating(b, SIGMOID);
    only_equal_heads(b);
    put(b, "attention_bias", "blk.0.attn_q.bias", json_boolean(tensor_named(b, "blk.0.attn_q.bias")));
    return "glm4_moe";
}

static const char *derive_minimax_m2(hs__build *b)
{
    only_gating(b, SIGMOID);
    only_scale_1(b);
    only_equal_heads(b);
    return "minimax_m2";
}

static const char *derive_ernie(hs__build *b)
{
    usual(b);
    return "ernie4_5_moe";
}

/* A file does not say whether YaRN's correction range is rounded: llama.cpp does so always, the published configs say
 * no. Those are known by the context they were made for; others are taken as llama.cpp takes them. Every second layer
 * has a window. */
static const char *derive_gpt_oss(hs__build *b)
{
    only_gating(b, SOFTMAX_OF_CHOSEN);
    only_scale_1(b);
    only_equal_heads(b);
    const json_t *pattern = own_value(b, "attention.sliding_window_pattern");
    for (size_t i = 0; i < json_array_size(pattern); i++)
        if (json_is_true(json_array_get(pattern, i)) != (i % 2 == 0))
            hs__refuse(b, "%s is not every second layer", own_key(b, "attention.sliding_window_pattern"));
    if (json_is_integer(pattern) && json_integer_value(pattern) != 2)
        hs__refuse(b, "%s other than 2 is not supported", own_key(b, "attention.sliding_window_pattern"));
    json_t *said = json_object_get(b->derived, "rope_scaling"), *s = NULL;
    bool published = own_int(b, "rope.scaling.original_context_length", 0) == 4096;
    if (said)
        s = json_object_iter_value(json_object_iter(said));
    if (s && json_object_set_new(s, "truncate", json_boolean(!published)) < 0 && b->r == 0)
        b->r = hs_err_set(b->err, -ENOMEM, "%s: out of memory", b->where);
    return "gpt_oss";
}

static const struct {
    const char *arch;
    const char *(*derive)(hs__build *b);
} archs[] = {{"qwen3moe", derive_qwen3_moe}, {"llama", derive_mixtral},      {"olmoe", derive_olmoe},
             {"qwen2moe", derive_qwen2_moe}, {"granitemoe", derive_granite}, {"gpt-oss", derive_gpt_oss},
             {"deepseek2", derive_deepseek}, {"glm4moe", derive_glm4_moe},   {"minimax-m2", derive_minimax_m2},
             {"ernie4_5-moe", derive_ernie}};

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
    hs__refuse(b, "general.architecture '%.80s' is not supported; these are: %s", b->gguf_arch, known);
    return NULL;
}
