/* labels: unit */
/*
 * test_gguf.c - how recipes read GGUF files: names of keys and tensors, what files say in other words, and metadata
 * that is wrong. Files are made by hand: metadata as JSON, and a directory of tensors without bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "model/model.h"
#include "model/model_int.h"

#define MAX_TENSORS 200

typedef struct file {
    hs_checkpoint c;
    hs_vocab_data vocab;
    hs_tensor tensors[MAX_TENSORS];
    char names[MAX_TENSORS][64];
    json_t *meta;
} file;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hs_tensor *)a)->name, ((const hs_tensor *)b)->name);
}

static void sort(file *f)
{
    qsort(f->tensors, f->c.n_tensors, sizeof *f->tensors, by_name);
}

static void add(file *f, const char *name, uint32_t n_dims, uint64_t d0, uint64_t d1)
{
    uint32_t i = f->c.n_tensors++;
    assert_true(i < MAX_TENSORS);
    snprintf(f->names[i], sizeof f->names[i], "%s", name);
    f->tensors[i] = (hs_tensor){.name = f->names[i],
                                .dtype = HS_DTYPE_F32,
                                .n_dims = n_dims,
                                .dims = {d0, d1, 1, 1},
                                .nbytes = 4 * d0 * d1,
                                .record = HS_NO_RECORD};
}

static hs_tensor *tensor(file *f, const char *name)
{
    uint32_t i = hs_checkpoint_find(&f->c, name);
    assert_true(i != HS_NO_TENSOR);
    return &f->tensors[i];
}

static void drop(file *f, const char *name)
{
    uint32_t i = (uint32_t)(tensor(f, name) - f->tensors);
    memmove(f->tensors + i, f->tensors + i + 1, (--f->c.n_tensors - i) * sizeof *f->tensors);
}

/* blk.0.MODULE and blk.1.MODULE. */
static void add_both(file *f, const char *module, uint32_t n_dims, uint64_t d0, uint64_t d1)
{
    char name[64];
    for (int l = 0; l < 2; l++) {
        snprintf(name, sizeof name, "blk.%d.%s", l, module);
        add(f, name, n_dims, d0, d1);
    }
}

/* Four experts in each of the two layers, names as format(layer, expert). */
static void add_experts(file *f, const char *format, uint64_t d0, uint64_t d1)
{
    char name[64];
    for (int i = 0; i < 8; i++) {
        if (strstr(format, "_exps"))
            snprintf(name, sizeof name, "blk.%d.%s.weight.%d", i / 4, format, i % 4);
        else
            snprintf(name, sizeof name, "blk.%d.%s.%d.weight", i / 4, format, i % 4);
        add(f, name, 2, d0, d1);
    }
}

static void set(file *f, const char *key, const char *json)
{
    if (!json) {
        json_object_del(f->meta, key);
        return;
    }
    json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(v);
    json_object_set_new(f->meta, key, v);
}

/* ARCH.KEY */
static void own(file *f, const char *key, const char *json)
{
    char full[100];
    snprintf(full, sizeof full, "%s.%s", json_string_value(json_object_get(f->meta, "general.architecture")), key);
    set(f, full, json);
}

/* Two layers of 32, 2 heads of 16 on one of keys, four experts of width 8 of which 2 are used, 40 tokens. */
static void make(file *f, const char *arch)
{
    *f = (file){.meta = json_object()};
    f->vocab = (hs_vocab_data){.bos = -1, .eos = 3, .eot = -1, .eom = -1};
    f->c =
        (hs_checkpoint){.path = "m.gguf", .config = f->meta, .gguf = true, .vocab = &f->vocab, .tensors = f->tensors};
    json_object_set_new(f->meta, "general.architecture", json_string(arch));
    static const char *const keys[][2] = {
        {"block_count", "2"},          {"embedding_length", "32"},       {"context_length", "64"},
        {"attention.head_count", "2"}, {"attention.head_count_kv", "1"}, {"attention.layer_norm_rms_epsilon", "1e-5"},
        {"expert_count", "4"},         {"expert_used_count", "2"},       {"feed_forward_length", "8"},
        {"rope.freq_base", "10000"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        own(f, keys[i][0], keys[i][1]);
    add(f, "token_embd.weight", 2, 40, 32);
    add(f, "output.weight", 2, 40, 32);
    add(f, "output_norm.weight", 1, 32, 1);
    add_both(f, "attn_norm.weight", 1, 32, 1);
    add_both(f, "ffn_norm.weight", 1, 32, 1);
    add_both(f, "ffn_gate_inp.weight", 2, 4, 32);
    if (strcmp(arch, "deepseek2")) {
        add_both(f, "attn_q.weight", 2, 32, 32);
        add_both(f, "attn_k.weight", 2, 16, 32);
        add_both(f, "attn_v.weight", 2, 16, 32);
        add_both(f, "attn_output.weight", 2, 32, 32);
    }
    sort(f);
}

static void with_stacks(file *f)
{
    add_experts(f, "ffn_gate_exps", 8, 32);
    add_experts(f, "ffn_up_exps", 8, 32);
    add_experts(f, "ffn_down_exps", 32, 8);
    sort(f);
}

/* Heads have 6 + 4 dimensions, values 5; latent of 12. */
static void make_deepseek(file *f)
{
    make(f, "deepseek2");
    own(f, "attention.head_count_kv", "2");
    own(f, "attention.key_length", "10");
    own(f, "attention.value_length", "5");
    own(f, "attention.kv_lora_rank", "12");
    own(f, "rope.dimension_count", "4");
    own(f, "expert_feed_forward_length", "8");
    add_both(f, "attn_q.weight", 2, 20, 32);
    add_both(f, "attn_kv_a_mqa.weight", 2, 16, 32);
    add_both(f, "attn_kv_a_norm.weight", 1, 12, 1);
    add_both(f, "attn_kv_b.weight", 2, 2 * (6 + 5), 12);
    add_both(f, "attn_output.weight", 2, 32, 10);
    with_stacks(f);
}

static hs_model_spec *accept(file *f)
{
    hs_model_spec *s = NULL;
    hs_err err = {0};
    if (hs_model_spec_create(&f->c, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static void done(file *f, hs_model_spec *s)
{
    hs_model_spec_destroy(&s);
    json_decref(f->meta);
}

/* Refused with a sentence that has all the words, separated by |. */
static void refused(file *f, const char *words)
{
    hs_model_spec *s = NULL;
    hs_err err = {0};
    char text[300], *save = NULL;
    int r = hs_model_spec_create(&f->c, &s, &err);
    if (r >= 0)
        fail_msg("not refused: %s", words);
    assert_null(s);
    assert_int_equal(r, err.code);
    snprintf(text, sizeof text, "m.gguf|%s", words);
    for (char *w = strtok_r(text, "|", &save); w; w = strtok_r(NULL, "|", &save))
        if (!strstr(err.text, w))
            fail_msg("'%s' lacks '%s'", err.text, w);
    json_decref(f->meta);
}

/* ---- files that are served ---- */

static void names_of_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *hf, *gguf;
        bool single;
    } names[] = {
        {"model.embed_tokens.weight", "token_embd.weight", false},
        {"lm_head.weight", "output.weight", false},
        {"model.layers.12.self_attn.q_proj.bias", "blk.12.attn_q.bias", false},
        {"model.layers.3.mlp.gate.e_score_correction_bias", "blk.3.exp_probs_b.bias", false},
        {"model.layers.3.mlp.experts.7.up_proj.weight", "blk.3.ffn_up_exps.weight.7", false},
        {"model.layers.3.block_sparse_moe.experts.7.w2.weight", "blk.3.ffn_down_exps.weight.7", false},
        {"model.layers.3.block_sparse_moe.experts.7.w2.weight", "blk.3.ffn_down.7.weight", true},
        {"model.layers.3.mlp.experts.up_proj.bias", "blk.3.ffn_up_exps.bias", false},
        {"model.layers.3.self_attn.nothing.weight", NULL, false},
        {"model.layers.3.mlp.experts.7.nothing.weight", NULL, false},
        {"model.layers.3.self_attn.q_proj.weight", NULL, true},
        {"model.nothing.weight", NULL, false},
    };
    char out[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int r = hs__name_in_gguf(names[i].hf, names[i].single, out, sizeof out);
        assert_int_equal(r, names[i].gguf ? 0 : -ENOENT);
        if (names[i].gguf)
            assert_string_equal(out, names[i].gguf);
    }
    assert_int_equal(hs__name_in_gguf(names[0].hf, false, out, 17), -ENOENT);
    assert_int_equal(hs__name_in_gguf(names[0].hf, false, out, 18), 0);
}

static void expert_layouts(void **state)
{
    (void)state;
    file f;
    make(&f, "llama");
    with_stacks(&f);
    hs_model_spec *s = accept(&f);
    assert_string_equal(s->arch, "mixtral");
    assert_int_equal(s->n_experts, 4);
    assert_int_equal(s->vocab, 40);
    assert_int_equal(s->eos[0], 3);
    assert_int_equal(s->detail->gate_up, HS__APART);
    done(&f, s);

    make(&f, "llama"); /* 2023 */
    add_experts(&f, "ffn_gate", 8, 32);
    add_experts(&f, "ffn_up", 8, 32);
    add_experts(&f, "ffn_down", 32, 8);
    sort(&f);
    s = accept(&f);
    assert_string_equal(f.tensors[s->expert_parts[HS_EXPERT_PARTS + HS_PART_UP]].name, "blk.0.ffn_up.1.weight");
    done(&f, s);

    make(&f, "llama"); /* gate above up in one tensor */
    add_experts(&f, "ffn_gate_up_exps", 16, 32);
    add_experts(&f, "ffn_down_exps", 32, 8);
    sort(&f);
    s = accept(&f);
    assert_int_equal(s->detail->gate_up, HS__STACKED);
    assert_true(s->expert_parts[HS_PART_UP] == HS_NO_TENSOR);
    assert_string_equal(f.tensors[s->expert_parts[HS_PART_GATE]].name, "blk.0.ffn_gate_up_exps.weight.0");
    done(&f, s);

    make(&f, "llama");
    with_stacks(&f);
    drop(&f, "blk.1.ffn_up_exps.weight.2");
    refused(&f, "tensor blk.1.ffn_up_exps.weight.2 is missing");
}

static void make_qwen2(file *f)
{
    make(f, "qwen2moe");
    add_both(f, "attn_q.bias", 1, 32, 1);
    add_both(f, "attn_k.bias", 1, 16, 1);
    add_both(f, "attn_v.bias", 1, 16, 1);
    add_both(f, "ffn_gate_inp_shexp.weight", 1, 32, 1);
    add_both(f, "ffn_gate_shexp.weight", 2, 24, 32);
    add_both(f, "ffn_up_shexp.weight", 2, 24, 32);
    add_both(f, "ffn_down_shexp.weight", 2, 32, 24);
    for (uint32_t i = 0; i < f->c.n_tensors; i++)
        if (strstr(f->tensors[i].name, "gate_inp_shexp"))
            f->tensors[i] = (hs_tensor){f->tensors[i].name, HS_DTYPE_F32, 2, {1, 32, 1, 1}, 128, 0, HS_NO_RECORD, 0};
    with_stacks(f);
}

static void shared_width_follows_from_tensors(void **state)
{
    (void)state;
    file f;
    make_qwen2(&f);
    hs_model_spec *s = accept(&f);
    assert_int_equal(s->detail->layers[0].ffn_width, 24);
    done(&f, s);
    make_qwen2(&f);
    own(&f, "expert_shared_feed_forward_length", "16");
    refused(&f, "blk.0.ffn_gate_shexp.weight has shape [24, 32]|[16, 32]");
    make_qwen2(&f);
    drop(&f, "blk.0.ffn_gate_shexp.weight");
    refused(&f, "qwen2moe.expert_shared_feed_forward_length is missing");
}

static void deepseek_with_and_without_split(void **state)
{
    (void)state;
    file f;
    make_deepseek(&f);
    hs_model_spec *s = accept(&f);
    assert_string_equal(s->arch, "deepseek_v2");
    assert_int_equal(s->detail->nope, 6);
    assert_int_equal(s->detail->v_dim, 5);
    assert_true(s->detail->layers[1].w[HS__W_KV_B].tensor != HS_NO_TENSOR);
    done(&f, s);

    make_deepseek(&f); /* both forms: the split one is taken, the other not even loaded */
    add_both(&f, "attn_k_b.weight", 2, 2 * 12, 6);
    add_both(&f, "attn_v_b.weight", 2, 2 * 5, 12);
    sort(&f);
    s = accept(&f);
    assert_true(s->detail->layers[1].w[HS__W_K_B].tensor != HS_NO_TENSOR);
    for (uint32_t i = 0; i < s->n_dense_tensors; i++)
        assert_null(strstr(f.tensors[s->dense_tensors[i]].name, "attn_kv_b"));
    done(&f, s);

    make_deepseek(&f); /* keys of newer files */
    own(&f, "attention.key_length", "16");
    own(&f, "attention.value_length", "12");
    own(&f, "attention.key_length_mla", "10");
    own(&f, "attention.value_length_mla", "5");
    s = accept(&f);
    assert_int_equal(s->detail->nope, 6);
    done(&f, s);

    make_deepseek(&f);
    own(&f, "expert_gating_func", "2");
    refused(&f, "blk.0.exp_probs_b.bias is missing");
    make_deepseek(&f);
    own(&f, "expert_gating_func", "4");
    refused(&f, "deepseek2.expert_gating_func is 4");
    make_deepseek(&f);
    own(&f, "attention.key_length", "4");
    refused(&f, "deepseek2.attention.key_length is 4, not more than rope.dimension_count");
    make_deepseek(&f);
    own(&f, "attention.value_length_mla", "0");
    refused(&f, "deepseek2.attention.value_length_mla is 0");
    make_deepseek(&f);
    own(&f, "expert_group_count", "3");
    own(&f, "expert_group_used_count", "1");
    refused(&f, "deepseek2.expert_count|deepseek2.expert_group_count 3");
}

static void numbers_per_layer(void **state)
{
    (void)state;
    file f;
    make(&f, "llama");
    with_stacks(&f);
    own(&f, "attention.head_count_kv", "[1, 1]");
    own(&f, "feed_forward_length", "[8, 8]");
    hs_model_spec *s = accept(&f);
    assert_int_equal(s->detail->kv_heads, 1);
    assert_int_equal(s->detail->moe_width, 8);
    done(&f, s);
    make(&f, "llama");
    own(&f, "attention.head_count_kv", "[1, 2]");
    refused(&f, "llama.attention.head_count_kv differs from layer to layer");
    make(&f, "llama");
    own(&f, "attention.head_count", "[]");
    refused(&f, "llama.attention.head_count");
    make(&f, "llama");
    own(&f, "feed_forward_length", "[\"x\"]");
    refused(&f, "llama.feed_forward_length");
}

static void yarn(void **state)
{
    (void)state;
    file f;
    make(&f, "qwen3moe");
    add_both(&f, "attn_q_norm.weight", 1, 16, 1);
    add_both(&f, "attn_k_norm.weight", 1, 16, 1);
    with_stacks(&f);
    own(&f, "rope.scaling.type", "\"yarn\"");
    own(&f, "rope.scaling.factor", "4");
    own(&f, "rope.scaling.original_context_length", "16");
    own(&f, "rope.scaling.attn_factor", "1");
    hs_model_spec *s = accept(&f);
    assert_true(s->detail->rope.yarn && s->detail->rope.factor == 4 && s->detail->rope.original == 16);
    assert_true(s->detail->rope.amplitude > 1.138f && s->detail->rope.amplitude < 1.139f);
    assert_true(s->detail->router.normalise); /* always, and not written */
    done(&f, s);
    static const char *const wrong[][3] = {
        {"rope.scaling.factor", "\"4\"", "qwen3moe.rope.scaling.factor"},
        {"rope.scaling.factor", "-1", "qwen3moe.rope.scaling.factor is -1"},
        {"rope.scaling.type", "\"linear\"", "qwen3moe.rope.scaling.type 'linear'"},
        {"rope.scaling.type", "7", "qwen3moe.rope.scaling.type"},
        {"rope.scaling.attn_factor", "2", "qwen3moe.rope.scaling.attn_factor"},
        {"rope.scaling.yarn_log_multiplier", "1e300", "qwen3moe.rope.scaling.yarn_log_multiplier"},
        {"rope.scaling.yarn_beta_fast", "[]", "qwen3moe.rope.scaling.yarn_beta_fast"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make(&f, "qwen3moe");
        own(&f, "rope.scaling.type", "\"yarn\"");
        own(&f, wrong[i][0], wrong[i][1]);
        refused(&f, wrong[i][2]);
    }
}

/* ---- files that are not ---- */

static void architectures(void **state)
{
    (void)state;
    file f;
    make(&f, "mamba");
    refused(&f, "general.architecture 'mamba'|these are: qwen3moe, llama, olmoe, qwen2moe, granitemoe, gpt-oss, "
                "deepseek2, glm4moe, minimax-m2, ernie4_5-moe");
    make(&f, "llama");
    set(&f, "general.architecture", "7");
    refused(&f, "general.architecture is missing");
    make(&f, "llama");
    own(&f, "expert_count", NULL);
    refused(&f, "llama.expert_count is missing or 0: only models with experts");
    make(&f, "llama");
    own(&f, "expert_count", "0");
    refused(&f, "llama.expert_count is missing or 0");
}

static void wrong_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *key, *json, *words;
    } wrong[] = {
        {"llama", "block_count", "\"2\"", "llama.block_count"},
        {"llama", "block_count", "0", "llama.block_count is 0"},
        {"llama", "block_count", "4294967296", "llama.block_count"},
        {"llama", "block_count", "1024", "the metadata implies at least 8192"},
        {"llama", "embedding_length", "33", "token_embd.weight|[40, 32]"},
        {"llama", "embedding_length", "-1", "llama.embedding_length is -1"},
        {"llama", "context_length", NULL, "llama.context_length is missing"},
        {"llama", "attention.head_count", "1.5", "llama.attention.head_count"},
        {"llama", "attention.head_count", "3", "blk.0.attn_q.weight has shape [32, 32]|[30, 32]"},
        {"llama", "attention.head_count_kv", "9", "llama.attention.head_count_kv is 9"},
        {"llama", "attention.value_length", "8", "llama.attention.value_length"},
        {"llama", "attention.layer_norm_rms_epsilon", "\"x\"", "llama.attention.layer_norm_rms_epsilon"},
        {"llama", "expert_count", "-4", "llama.expert_count is -4"},
        {"llama", "expert_count", "5000", "llama.expert_count is 5000"},
        {"llama", "expert_used_count", "5", "llama.expert_used_count is 5"},
        {"llama", "expert_gating_func", "2", "llama.expert_gating_func is 2"},
        {"llama", "expert_weights_scale", "2.5", "llama.expert_weights_scale"},
        {"llama", "feed_forward_length", "0", "llama.feed_forward_length is 0"},
        {"llama", "nextn_predict_layers", "2", "llama.block_count is 0"},
        {"llama", "nextn_predict_layers", "\"a\"", "llama.nextn_predict_layers"},
        {"llama", "attention.sliding_window", "32", "llama.attention.sliding_window|llama.context_length"},
        {"minimax-m2", "expert_gating_func", "1", "minimax-m2.expert_gating_func is 1"},
        {"minimax-m2", "rope.dimension_count", "17", "minimax-m2.rope.dimension_count is 17"},
        {"minimax-m2", "rope.dimension_count", "3", "minimax-m2|rotary width 3 is odd"},
        {"minimax-m2", "attention.sliding_window", "8", "minimax-m2.attention.sliding_window is not supported"},
        {"glm4moe", "expert_gating_func", "1", "glm4moe.expert_gating_func is 1"},
        {"glm4moe", "expert_weights_scale", "\"x\"", "glm4moe.expert_weights_scale"},
        {"ernie4_5-moe", "leading_dense_block_count", "-1", "ernie4_5-moe.leading_dense_block_count is -1"},
        {"ernie4_5-moe", "interleave_moe_layer_step", "0", "ernie4_5-moe.interleave_moe_layer_step is 0"},
        {"granitemoe", "expert_shared_feed_forward_length", "8", "granitemoe.expert_shared_feed_forward_length"},
        {"granitemoe", "logit_scale", "0", "granitemoe.logit_scale is 0"},
        {"gpt-oss", "expert_gating_func", "1", "gpt-oss.expert_gating_func is 1"},
        {"gpt-oss", "attention.sliding_window", NULL, "gpt-oss.attention.sliding_window is missing"},
        {"gpt-oss", "attention.sliding_window_pattern", "3", "gpt-oss.attention.sliding_window_pattern"},
        {"gpt-oss", "attention.sliding_window_pattern", "[true, true]", "gpt-oss.attention.sliding_window_pattern"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        file f;
        make(&f, wrong[i].arch);
        with_stacks(&f);
        own(&f, wrong[i].key, wrong[i].json);
        refused(&f, wrong[i].words);
    }
}

static void wrong_tokens_and_tensors(void **state)
{
    (void)state;
    file f;
    make(&f, "llama");
    f.vocab.eos = 40;
    refused(&f, "tokenizer.ggml.eos_token_id must be ids in the vocabulary of 40");
    make(&f, "llama");
    f.vocab.bos = 1000;
    refused(&f, "tokenizer.ggml.bos_token_id is 1000");
    make(&f, "llama");
    drop(&f, "token_embd.weight");
    refused(&f, "tensor token_embd.weight is missing");
    make(&f, "llama");
    add(&f, "rope_freqs.weight", 1, 8, 1);
    sort(&f);
    refused(&f, "rope_freqs.weight");
    make(&f, "llama");
    with_stacks(&f);
    add_both(&f, "attn_q.bias", 1, 32, 1);
    sort(&f);
    refused(&f, "tensor blk.0.attn_q.bias has no place in the recipe for mixtral");
    make(&f, "llama");
    f.c.vocab = NULL; /* a file without vocabulary, for eval on ids */
    with_stacks(&f);
    drop(&f, "output.weight"); /* tied */
    hs_model_spec *s = accept(&f);
    assert_int_equal(s->n_eos, 0);
    assert_int_equal(s->detail->head.tensor, s->detail->embed.tensor);
    done(&f, s);
}

/* Control tokens that are known to end an answer do; of gpt-oss <|end|> ends one message of several. */
static void ends_of_answers(void **state)
{
    (void)state;
    static const int32_t types[] = {3, 3, 3, 3, 1};
    static const hs_bytes tokens[] = {
        {"<|return|>", 10}, {"<|call|>", 8}, {"<|end|>", 7}, {"x", 1}, {"<|im_end|>", 10}};
    file f;
    make(&f, "llama");
    with_stacks(&f);
    f.vocab.token_type = types;
    f.vocab.tokens = tokens;
    f.vocab.n_tokens = 5;
    f.vocab.eos = 0;
    f.vocab.eot = 2;
    hs_model_spec *s = accept(&f);
    assert_int_equal(s->n_eos, 2);
    assert_int_equal(s->eos[0], 0);
    assert_int_equal(s->eos[1], 1);
    done(&f, s);

    make(&f, "llama");
    with_stacks(&f);
    f.vocab.token_type = types + 1;
    f.vocab.tokens = tokens + 1;
    f.vocab.n_tokens = 3; /* call, end, x */
    f.vocab.eos = 2;
    s = accept(&f);
    assert_int_equal(s->n_eos, 3);
    done(&f, s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_answers),
        cmocka_unit_test(names_of_tensors),
        cmocka_unit_test(expert_layouts),
        cmocka_unit_test(shared_width_follows_from_tensors),
        cmocka_unit_test(deepseek_with_and_without_split),
        cmocka_unit_test(numbers_per_layer),
        cmocka_unit_test(yarn),
        cmocka_unit_test(architectures),
        cmocka_unit_test(wrong_metadata),
        cmocka_unit_test(wrong_tokens_and_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
