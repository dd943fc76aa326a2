/* test_shapes.c - the built-in shapes have the sizes that their publishers and llama.cpp's quantiser give them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/shapes.h"
#include "model/model.h"

static double total(const char *name, const char *type, double *ret_values)
{
    const hs_known_model *m = hs_known_model_find(name);
    assert_non_null(m);
    json_t *config = NULL;
    hs_err err = {0};
    hs_described d;
    assert_int_equal(hs_json_load(m->config, strlen(m->config), m->name, &config, &err), 0);
    int r = hs_model_describe(m->name, config, type, &d, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    double bytes = 0;
    *ret_values = 0;
    for (uint32_t i = 0; i < d.n_tensors; i++) {
        const hs_tensor *t = &d.tensors[i];
        bytes += (double)t->nbytes;
        *ret_values += strstr(t->name, "_scale_inv") ? 0 : (double)t->dims[0] * (double)t->dims[1];
    }
    hs_described_deinit(&d);
    json_decref(config);
    return bytes;
}

static void is_within(const char *name, double value, double wanted, double part)
{
    if (value < wanted * (1 - part) || value > wanted * (1 + part))
        fail_msg("%s: %.4g instead of %.4g", name, value, wanted);
}

/* Billions of parameters, without layers of multi-token prediction. */
static void test_parameters(void **state)
{
    static const struct {
        const char *name;
        double billions;
    } rows[] = {{"deepseek-v3", 671.03},
                {"deepseek-v2", 235.74},
                {"deepseek-v2-lite", 15.71},
                {"kimi-k2", 1026.4},
                {"qwen3-30b-a3b", 30.53},
                {"qwen3-235b-a22b", 235.09},
                {"qwen3-coder-480b-a35b", 480.15},
                {"glm-4.5-air", 106.85},
                {"glm-4.5", 352.8},
                {"mixtral-8x7b", 46.70},
                {"mixtral-8x22b", 140.63},
                {"olmoe-1b-7b", 6.92},
                {"minimax-m2", 228.7},
                {"glm-4.7-flash", 29.94},
                {"qwen2-57b-a14b", 57.41},
                {"qwen1.5-moe-a2.7b", 14.32},
                {"granite-3.1-3b-a800m", 3.30},
                {"granite-3.1-1b-a400m", 1.335},
                {"ernie-4.5-21b-a3b", 21.83},
                {"ernie-4.5-300b-a47b", 300.47}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double values;
        total(rows[i].name, "bf16", &values);
        is_within(rows[i].name, values, rows[i].billions * 1e9, 0.005);
    }
}

/* Bytes of files that are downloaded often; of mixes those made with importances. */
static void test_files(void **state)
{
    static const struct {
        const char *name, *type;
        double gigabytes;
    } rows[] = {
        {"qwen3-30b-a3b", "q4_k_m", 18.56},   {"qwen3-30b-a3b", "q8_0", 32.48},   {"qwen3-235b-a22b", "q4_k_m", 142.2},
        {"mixtral-8x7b", "q4_k_m", 28.45},    {"olmoe-1b-7b", "q4_k_m", 4.21},    {"deepseek-v2-lite", "q4_k_m", 10.36},
        {"deepseek-v3", "q4_k_m", 404.5},     {"gpt-oss-20b", "mxfp4", 12.1},     {"deepseek-v3", "q8_0", 713.4},
        {"deepseek-v3", "q6_k", 550.9},       {"deepseek-v3", "q5_k_m", 475.5},   {"deepseek-v3", "iq4_xs", 357.2},
        {"deepseek-v3", "q3_k_m", 319.3},     {"deepseek-v3", "iq3_xxs", 258.0},  {"deepseek-v3", "q2_k", 244.1},
        {"deepseek-v3", "iq2_xxs", 174.5},    {"deepseek-v2", "q8_0", 250.7},     {"deepseek-v2", "q6_k", 193.6},
        {"deepseek-v2", "q5_k_m", 167.3},     {"deepseek-v2", "q4_k_m", 142.6},   {"deepseek-v2", "q3_k_m", 112.8},
        {"deepseek-v2", "q2_k", 86.0},        {"deepseek-v2-lite", "q8_0", 16.7}, {"deepseek-v2-lite", "q6_k", 14.1},
        {"deepseek-v2-lite", "q3_k_m", 8.13}, {"deepseek-v2-lite", "q2_k", 6.43}, {"qwen3-30b-a3b", "bf16", 61.1},
        {"qwen3-30b-a3b", "q6_k", 25.1},      {"qwen3-30b-a3b", "q5_k_m", 21.74}, {"qwen3-30b-a3b", "iq4_xs", 16.5},
        {"mixtral-8x22b", "q5_k_m", 99.96},   {"mixtral-8x22b", "q4_k_m", 85.58}, {"mixtral-8x22b", "q3_k_m", 67.78},
        {"mixtral-8x22b", "q2_k", 52.1},      {"gpt-oss-120b", "mxfp4", 63.4},    {"gpt-oss-120b", "published", 65.2}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double values;
        is_within(rows[i].name, total(rows[i].name, rows[i].type, &values), rows[i].gigabytes * 1e9, 0.01);
    }
}

static void test_all(void **state)
{
    double values;
    (void)state;
    for (const hs_known_model *m = hs_known_models; m->name; m++) {
        const char *type;
        double published = total(m->name, "published", &values);
        for (uint32_t i = 0; (type = hs_storage_name(i)); i++)
            total(m->name, type, &values);
        assert_true(published > total(m->name, "q4_k_m", &values) || strstr(m->name, "gpt-oss"));
    }
}

static size_t first_near(const char *name, const char *wanted)
{
    const char *near[HS_MODELS_NEAR_MAX] = {NULL};
    size_t n = hs_known_models_near(name, near);
    if (wanted)
        assert_string_equal(near[0], wanted);
    return n;
}

static void test_names(void **state)
{
    (void)state;
    assert_ptr_equal(hs_known_model_find("DeepSeek-V3"), hs_known_model_find("deepseek-v3"));
    assert_null(hs_known_model_find("deepseek-v9"));
    assert_non_null(strstr(hs_unserved_model_why("Llama-4-Scout"), "llama4"));
    assert_null(hs_unserved_model_why("mixtral-8x7b"));
    for (const hs_unserved_model *m = hs_unserved_models; m->name; m++)
        assert_null(hs_known_model_find(m->name));
    first_near("mixtral-8x7", "mixtral-8x7b");
    first_near("Llama4", "llama-4-scout");
    first_near("qwen3-next-80b", "qwen3-next-80b-a3b");
    first_near("deepseek", "deepseek-v3");
    first_near("DeepSeek-R1-Distill", "deepseek-r1");
    assert_int_equal(first_near("mixtral", "mixtral-8x7b"), 2);
    assert_int_equal(first_near("deepseek", "deepseek-v3"), HS_MODELS_NEAR_MAX);
    assert_int_equal(first_near("something else", NULL), 0);
    assert_int_equal(first_near("b", NULL), 0);
}

/* Who needs files is told so of a name that only plan takes; of every other path who opens it says what is wrong. */
static void test_named(void **state)
{
    hs_err err = {0};
    char folder[] = "/tmp/hotset-shapes-XXXXXX", *path;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(hs_files_check("DeepSeek-V3", "the folder", &err), -ENOENT);
    assert_non_null(strstr(err.text, "'hotset plan DeepSeek-V3'"));
    assert_non_null(strstr(err.text, "here give the folder"));
    assert_int_equal(hs_files_check("deepseek-ai/DeepSeek-V3", "the folder", &err), -ENOENT);
    assert_int_equal(hs_files_check("llama-4-scout", "the folder", &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "llama4"));
    assert_int_equal(hs_files_check("./deepseek-v3", "the folder", &err), 0);
    assert_int_equal(hs_files_check("/models/deepseek-v3", "the folder", &err), 0);
    assert_int_equal(hs_files_check("nothing", "the folder", &err), 0);
    assert_int_equal(mkdir("deepseek-v3", 0700), 0);
    assert_int_equal(hs_files_check("deepseek-v3", "the folder", &err), 0);
    path = hs_asprintf("%s/deepseek-v3", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
    hs_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parameters), cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_all), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
