/* labels: unit */
/* test_spec.c - configs and tensor directories that are wrong: refused with a sentence that names the place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fixture.h"

static void open_arch(fixture *f, const char *arch)
{
    char dir[600];
    snprintf(dir, sizeof dir, "%s/data/goldens/%s", TESTS_DIR, arch);
    fixture_open(f, dir);
}

/* The spec must fail with code and a sentence in which all of the words occur (separated by '|'). */
static void expect_refused(fixture *f, int code, const char *words)
{
    hs_err err = {0};
    char all[200];
    int r = fixture_spec(f, &err);
    if (r == 0)
        fail_msg("not refused; expected: %s", words);
    if (r != code)
        fail_msg("code %d instead of %d: %s", r, code, err.text);
    snprintf(all, sizeof all, "%s", words);
    for (char *at, *w = strtok_r(all, "|", &at); w; w = strtok_r(NULL, "|", &at))
        if (!strstr(err.text, w))
            fail_msg("'%s' is not in: %s", w, err.text);
    assert_null(f->spec);
    fixture_close(f);
}

/* One field of the config set to a JSON value (NULL text = deleted). */
static void refused_config(const char *arch, const char *key, const char *json, int code, const char *words)
{
    fixture f;
    open_arch(&f, arch);
    if (json)
        json_object_set_new(f.config, key, json_loads(json, JSON_DECODE_ANY, NULL));
    else
        json_object_del(f.config, key);
    expect_refused(&f, code, words);
}

static void test_unknown_architecture(void **state)
{
    (void)state;
    refused_config("mixtral", "model_type", "\"gpt_oss_x\"", -ENOTSUP, "config.json|gpt_oss_x|not supported");
    refused_config("mixtral", "model_type", "\"\"", -ENOTSUP, "not supported");
    fixture f;
    open_arch(&f, "mixtral");
    json_object_del(f.config, "model_type");
    json_object_del(f.config, "architectures");
    expect_refused(&f, -ENOTSUP, "model_type");
}

static void test_architectures_without_model_type(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "qwen3_moe");
    json_object_del(f.config, "model_type");
    assert_int_equal(fixture_spec(&f, &err), 0);
    assert_string_equal(f.spec->arch, "qwen3_moe");
    fixture_close(&f);
}

static void test_values_that_are_not_implemented(void **state)
{
    (void)state;
    const char *d = "deepseek_v3";
    refused_config(d, "hidden_act", "\"gelu\"", -ENOTSUP, "hidden_act|gelu|silu");
    refused_config(d, "attention_bias", "true", -ENOTSUP, "attention_bias");
    refused_config(d, "scoring_func", "\"softmax\"", -ENOTSUP, "scoring_func|softmax");
    refused_config(d, "topk_method", "\"greedy\"", -ENOTSUP, "topk_method|greedy");
    refused_config(d, "rope_scaling", "{\"type\":\"longrope\"}", -ENOTSUP, "rope_scaling|longrope");
    refused_config(d, "rope_scaling", "[]", -ENOTSUP, "rope_scaling");
    refused_config("qwen3_moe", "use_sliding_window", "true", -ENOTSUP, "use_sliding_window");
    refused_config("mixtral", "sliding_window", "128", -ENOTSUP, "sliding_window");
    refused_config("minimax_m2", "attn_type_list", "[1, 0, 1, 1]", -ENOTSUP, "attn_type_list");
    refused_config("minimax_m2", "qk_norm_type", "\"per_head\"", -ENOTSUP, "qk_norm_type|per_head");
    refused_config("glm4_moe", "partial_rotary_factor", NULL, -ENOTSUP, "partial_rotary_factor is missing");
    refused_config("glm4_moe", "attention_bias", "false", -ENOTSUP, "self_attn.k_proj.bias");
    refused_config("ernie4_5_moe", "use_bias", "true", -ENOTSUP, "use_bias true");
    refused_config("ernie4_5_moe", "moe_layer_end_index", "1", -EINVAL,
                   "model.layers.2.mlp.gate_proj.weight is missing");
    const char *q = "quantization_config";
    refused_config(d, q, "{\"quant_method\":\"gptq\"}", -ENOTSUP, "quant_method|gptq|fp8");
    refused_config(d, q, "{\"quant_method\":\"fp8\"}", -ENOTSUP, "weight_block_size");
    refused_config(d, q, "{\"quant_method\":\"fp8\",\"weight_block_size\":[32,32]}", -ENOTSUP, "weight_block_size");
    refused_config(d, q, "{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\",\"weight_block_size\":[128,128]}", -ENOTSUP,
                   "fmt|e5m2");
    refused_config(d, q, "7", -ENOTSUP, q);
    refused_config("deepseek_v3_fp8", q, "null", -EINVAL, "F8_E4M3|quantization_config");
}

static void test_absurd_numbers(void **state)
{
    (void)state;
    const char *d = "deepseek_v3";
    refused_config(d, "num_hidden_layers", "0", -ERANGE, "num_hidden_layers");
    refused_config(d, "num_hidden_layers", "1000000000", -ERANGE, "num_hidden_layers");
    refused_config(d, "num_hidden_layers", "1024", -EINVAL, "tensor");
    refused_config(d, "num_hidden_layers", NULL, -EINVAL, "num_hidden_layers is missing");
    refused_config(d, "hidden_size", "-64", -ERANGE, "hidden_size");
    refused_config(d, "hidden_size", "9007199254740993", -ERANGE, "hidden_size");
    refused_config(d, "hidden_size", "64.5", -EINVAL, "hidden_size");
    refused_config(d, "hidden_size", "\"64\"", -EINVAL, "hidden_size");
    refused_config(d, "vocab_size", "4294967296", -ERANGE, "vocab_size");
    refused_config(d, "n_routed_experts", "4000", -EINVAL, "24000 experts' tensors");
    refused_config(d, "n_group", "5", -ENOTSUP, "n_routed_experts|n_group");
    refused_config(d, "n_group", "32", -ENOTSUP, "n_group");
    refused_config(d, "topk_group", "9", -ERANGE, "topk_group");
    refused_config(d, "topk_group", "1", -ENOTSUP, "num_experts_per_tok");
    refused_config(d, "num_experts_per_tok", "33", -ENOTSUP, "num_experts_per_tok");
    refused_config(d, "num_experts_per_tok", "0", -ERANGE, "num_experts_per_tok");
    refused_config(d, "first_k_dense_replace", "4", -ENOTSUP, "no layer has experts");
    refused_config(d, "moe_layer_freq", "0", -ERANGE, "moe_layer_freq");
    refused_config(d, "qk_rope_head_dim", "15", -ENOTSUP, "odd");
    refused_config(d, "rms_norm_eps", "-1", -ERANGE, "rms_norm_eps");
    refused_config(d, "rms_norm_eps", "\"NaN\"", -EINVAL, "rms_norm_eps");
    refused_config(d, "rope_theta", "0", -ERANGE, "rope_theta");
    refused_config(d, "rope_scaling", "{\"type\":\"yarn\",\"factor\":0}", -ERANGE, "factor");
    refused_config(d, "rope_scaling", "{\"type\":\"yarn\",\"factor\":true}", -EINVAL, "factor");
    refused_config(d, "eos_token_id", "512", -ERANGE, "eos_token_id");
    refused_config(d, "eos_token_id", "[1,\"x\"]", -ERANGE, "eos_token_id");
    refused_config(d, "eos_token_id", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", -ERANGE, "eos_token_id");
    refused_config("qwen3_moe", "num_key_value_heads", "3", -ENOTSUP, "num_key_value_heads");
    refused_config("qwen3_moe", "mlp_only_layers", "[9]", -ENOTSUP, "mlp_only_layers");
    refused_config("qwen3_moe", "mlp_only_layers", "7", -ENOTSUP, "mlp_only_layers");
    refused_config("qwen3_moe", "decoder_sparse_step", "5", -ENOTSUP, "no layer has experts");
    refused_config("qwen3_moe", "num_experts_per_tok", "25", -ERANGE, "num_experts_per_tok");
}

static void test_nan_never_reaches_the_config(void **state)
{
    (void)state;
    fixture f;
    open_arch(&f, "deepseek_v3");
    /* jansson can hold what JSON text cannot. */
    json_t *nan = json_real(0);
    if (json_real_set(nan, __builtin_nan("")) == 0) {
        json_object_set_new(f.config, "rms_norm_eps", nan);
        expect_refused(&f, -ERANGE, "rms_norm_eps");
        return;
    }
    json_decref(nan);
    fixture_close(&f);
}

static void test_missing_tensors(void **state)
{
    (void)state;
    static const char *const names[] = {"model.layers.2.self_attn.kv_b_proj.weight", "model.norm.weight",
                                        "lm_head.weight", "model.layers.3.mlp.experts.31.down_proj.weight",
                                        "model.layers.1.mlp.gate.e_score_correction_bias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fixture f;
        char words[200];
        open_arch(&f, "deepseek_v3");
        hs_tensor *t = fixture_tensor(&f, names[i]);
        uint32_t at = (uint32_t)(t - f.tensors);
        free((void *)(uintptr_t)t->name);
        memmove(t, t + 1, (f.c.n_tensors - at - 1) * sizeof *t);
        f.c.n_tensors--;
        snprintf(words, sizeof words, "%s is missing", names[i]);
        expect_refused(&f, -EINVAL, words);
    }
    fixture f;
    open_arch(&f, "deepseek_v3_fp8");
    hs_tensor *t = fixture_tensor(&f, "model.layers.1.mlp.experts.3.up_proj.weight_scale_inv");
    ((char *)(uintptr_t)t->name)[strlen(t->name) - 1] = 'w';
    expect_refused(&f, -EINVAL, "model.layers.1.mlp.experts.3.up_proj.weight_scale_inv is missing");
}

static void test_wrong_tensors(void **state)
{
    (void)state;
    fixture f;
    open_arch(&f, "deepseek_v3");
    fixture_tensor(&f, "model.layers.0.self_attn.o_proj.weight")->dims[1]++;
    expect_refused(&f, -EINVAL, "model.layers.0.self_attn.o_proj.weight|[64, 65]|[64, 64]");
    open_arch(&f, "deepseek_v3");
    fixture_tensor(&f, "model.layers.0.self_attn.o_proj.weight")->n_dims = 1;
    expect_refused(&f, -EINVAL, "model.layers.0.self_attn.o_proj.weight|shape");
    open_arch(&f, "deepseek_v3");
    fixture_tensor(&f, "model.layers.1.mlp.experts.7.up_proj.weight")->dims[0] = UINT64_MAX;
    expect_refused(&f, -EINVAL, "experts.7.up_proj.weight|shape");
    open_arch(&f, "deepseek_v3");
    fixture_tensor(&f, "model.layers.1.mlp.experts.7.up_proj.weight")->dtype = HS_DTYPE_I8;
    expect_refused(&f, -EINVAL, "experts.7.up_proj.weight|bytes");
    open_arch(&f, "deepseek_v3");
    hs_tensor *t = fixture_tensor(&f, "model.layers.1.mlp.experts.7.up_proj.weight");
    t->dtype = HS_DTYPE_I8;
    t->nbytes /= 2;
    expect_refused(&f, -ENOTSUP, "experts.7.up_proj.weight|I8");
    open_arch(&f, "deepseek_v3");
    fixture_tensor(&f, "model.norm.weight")->nbytes = 2;
    expect_refused(&f, -EINVAL, "model.norm.weight|bytes");
    open_arch(&f, "deepseek_v3_fp8");
    fixture_tensor(&f, "model.layers.0.mlp.up_proj.weight_scale_inv")->dims[0] = 2;
    expect_refused(&f, -EINVAL, "model.layers.0.mlp.up_proj.weight_scale_inv|[2, 2]|[3, 2]");
    open_arch(&f, "deepseek_v3_fp8");
    t = fixture_tensor(&f, "model.layers.0.mlp.up_proj.weight_scale_inv");
    t->dtype = HS_DTYPE_BF16;
    t->nbytes /= 2;
    expect_refused(&f, -ENOTSUP, "model.layers.0.mlp.up_proj.weight_scale_inv is BF16, other scales are F32");
    open_arch(&f, "deepseek_v3_fp8");
    t = fixture_tensor(&f, "model.layers.0.mlp.up_proj.weight_scale_inv");
    t->dtype = HS_DTYPE_F16;
    t->nbytes /= 2;
    expect_refused(&f, -ENOTSUP, "model.layers.0.mlp.up_proj.weight_scale_inv is F16; scales must be F32 or BF16");
}

/* gpt-oss as published: blocks and scales of each expert, biases of all. */
static void test_mxfp4_tensors(void **state)
{
    (void)state;
    static const char g[] = "gpt_oss_mxfp4";
    fixture f;
    open_arch(&f, g);
    fixture_tensor(&f, "model.layers.2.mlp.experts.gate_up_proj_blocks.3")->dims[2] = 17;
    expect_refused(&f, -EINVAL, "gate_up_proj_blocks.3 has shape [128, 2, 17]");
    open_arch(&f, g);
    fixture_tensor(&f, "model.layers.2.mlp.experts.down_proj_scales.15")->dims[1] = 1;
    expect_refused(&f, -EINVAL, "down_proj_scales.15 has shape [64, 1]|[64, 2]");
    open_arch(&f, g);
    fixture_tensor(&f, "model.layers.0.mlp.experts.down_proj_blocks.0")->dtype = HS_DTYPE_I8;
    expect_refused(&f, -ENOTSUP, "down_proj_blocks.0 is I8; U8 is supported");
    open_arch(&f, g);
    fixture_tensor(&f, "model.layers.1.mlp.experts.gate_up_proj_bias")->dims[1] = 64;
    expect_refused(&f, -EINVAL, "gate_up_proj_bias has shape [16, 64]|[16, 128]");
    refused_config(g, "attention_bias", "false", -ENOTSUP, "attention_bias false");
    refused_config(g, "quantization_config", "null", -ENOTSUP, "quantization_config is missing|MXFP4");
    refused_config(g, "quantization_config", "{\"quant_method\":\"fp8\"}", -ENOTSUP, "quant_method|fp8|mxfp4");
    refused_config(g, "intermediate_size", "48", -EINVAL, "gate_up_proj_bias");
    refused_config("qwen3_moe", "quantization_config", "{\"quant_method\":\"mxfp4\"}", -ENOTSUP, "mxfp4");
}

/* A tensor inside the layers that nobody would compute with is not silently ignored. */
static void test_leftover_tensor(void **state)
{
    (void)state;
    fixture f;
    open_arch(&f, "mixtral");
    json_object_set_new(f.config, "num_local_experts", json_integer(7));
    expect_refused(&f, -EINVAL, "block_sparse_moe.gate");
    open_arch(&f, "qwen3_moe");
    json_object_set_new(f.config, "num_hidden_layers", json_integer(3));
    hs_err err = {0};
    assert_int_equal(fixture_spec(&f, &err), 0); /* layers beyond are allowed */
    fixture_close(&f);
    open_arch(&f, "deepseek_v3");
    json_object_set_new(f.config, "n_shared_experts", json_integer(0));
    expect_refused(&f, -ENOTSUP, "shared_experts|no place");
}

static void test_spec_contents(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "deepseek_v3");
    f.c.generation_config = json_pack("{s:[i,i]}", "eos_token_id", 1, 7);
    assert_int_equal(fixture_spec(&f, &err), 0);
    const hs_model_spec *s = f.spec;
    assert_int_equal(s->n_layers, 4);
    assert_int_equal(s->n_moe_layers, 3);
    assert_int_equal(s->moe_layer_number[0], 1);
    assert_int_equal(s->kv_row_values, 4 * (32 + 16));
    assert_int_equal(s->bos_token, 0);
    assert_int_equal(s->n_eos, 2);
    assert_int_equal(s->eos[1], 7);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->n_dense_tensors; i++) {
        const hs_tensor *t = &f.c.tensors[s->dense_tensors[i]];
        assert_true(i == 0 || s->dense_tensors[i] > s->dense_tensors[i - 1]);
        assert_null(strstr(t->name, ".experts."));
        assert_null(strstr(t->name, "model.layers.4."));
        bytes += hs_align_up(t->nbytes, 64);
    }
    assert_int_equal(bytes, s->dense_bytes);
    assert_int_equal(hs_model_kv_bytes(s, HS_KV_F16, 64), 4 * 64 * 48 * 2);
    json_decref(f.c.generation_config);
    fixture_close(&f);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        fixture f;
        hs_err err = {0};
        open_arch(&f, "mixtral");
        hs_mem_fail_after(n);
        int r = hs_model_spec_create(&f.c, &f.spec, &err);
        hs_mem_fail_after(-1);
        if (r == 0) {
            assert_true(n > 0);
            fixture_close(&f);
            return;
        }
        assert_int_equal(r, -ENOMEM);
        assert_null(f.spec);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_architecture),
        cmocka_unit_test(test_architectures_without_model_type),
        cmocka_unit_test(test_values_that_are_not_implemented),
        cmocka_unit_test(test_absurd_numbers),
        cmocka_unit_test(test_nan_never_reaches_the_config),
        cmocka_unit_test(test_missing_tensors),
        cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_mxfp4_tensors),
        cmocka_unit_test(test_leftover_tensor),
        cmocka_unit_test(test_spec_contents),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
