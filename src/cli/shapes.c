/*
 * shapes.c - the table of published models: their config.json, without what has no influence on size or speed. One more
 * model of an architecture that hotset serves is one more row; its sizes are checked by tests/unit/cli/test_shapes.c.
 */
#include "cli/shapes.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/nearest.h"

#define FP8                                                                                                            \
    "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"activation_scheme\":\"dynamic\","            \
    "\"weight_block_size\":[128,128]}"
#define YARN(factor, original)                                                                                         \
    "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":" factor ",\"original_max_position_embeddings\":" original "}"

/* layers, hidden, dense width, expert width, experts, top_k, vocab, context */
#define SIZES(l, h, d, w, v, c)                                                                                        \
    "\"num_hidden_layers\":" #l ",\"hidden_size\":" #h ",\"intermediate_size\":" #d ",\"moe_intermediate_size\":" #w   \
    ",\"vocab_size\":" #v ",\"max_position_embeddings\":" #c
#define HEADS(q, kv, d) "\"num_attention_heads\":" #q ",\"num_key_value_heads\":" #kv ",\"head_dim\":" #d
#define MLA(heads, q, kv, nope, rope, v)                                                                               \
    "\"num_attention_heads\":" #heads ",\"num_key_value_heads\":" #heads ",\"q_lora_rank\":" #q                        \
    ",\"kv_lora_rank\":" #kv ",\"qk_nope_head_dim\":" #nope ",\"qk_rope_head_dim\":" #rope ",\"v_head_dim\":" #v
#define ROUTED(e, k, shared, dense)                                                                                    \
    "\"n_routed_experts\":" #e ",\"num_experts_per_tok\":" #k ",\"n_shared_experts\":" #shared                         \
    ",\"first_k_dense_replace\":" #dense

#define DEEPSEEK_V3                                                                                                    \
    "{\"model_type\":\"deepseek_v3\"," SIZES(61, 7168, 18432, 2048, 129280, 163840) "," MLA(                           \
        128, 1536, 512, 128, 64, 128) "," ROUTED(256, 8, 1,                                                            \
                                                 3) ",\"n_group\":8,\"topk_group\":4,"                                 \
                                                    "\"routed_scaling_factor\":2.5," YARN("40", "4096") "," FP8 "}"
#define KIMI_K2(context)                                                                                               \
    "{\"model_type\":\"kimi_k2\"," SIZES(61, 7168, 18432, 2048, 163840, context) "," MLA(                              \
        64, 1536, 512, 128, 64, 128) "," ROUTED(384, 8, 1,                                                             \
                                                1) ",\"routed_scaling_factor\":2.827," YARN("32", "4096") "," FP8 "}"
#define QWEN3(sizes, heads, experts)                                                                                   \
    "{\"model_type\":\"qwen3_moe\"," sizes "," heads ",\"num_experts\":" #experts                                      \
    ",\"num_experts_per_tok\":8,\"norm_topk_prob\":true,\"rope_theta\":1000000}"
#define QWEN2(sizes, heads, experts, k, shared)                                                                        \
    "{\"model_type\":\"qwen2_moe\"," sizes "," heads ",\"num_experts\":" #experts ",\"num_experts_per_tok\":" #k       \
    ",\"shared_expert_intermediate_size\":" #shared "}"
#define GRANITE(layers, hidden, heads, experts)                                                                        \
    "{\"model_type\":\"granitemoe\",\"num_hidden_layers\":" #layers ",\"hidden_size\":" #hidden                        \
    ",\"intermediate_size\":512,\"vocab_size\":49155,\"max_position_embeddings\":131072,\"num_local_"                  \
    "experts\":" #experts ",\"num_experts_per_tok\":8,\"tie_word_embeddings\":true,\"embedding_multiplier\":12,"       \
    "\"attention_multiplier\":0.015625,\"residual_multiplier\":0.22,\"logits_scaling\":6," HEADS(heads, 8, 64) "}"
#define ERNIE(sizes, heads, k, shared, first, tied)                                                                    \
    "{\"model_type\":\"ernie4_5_moe\"," sizes "," heads ",\"moe_num_experts\":64,\"moe_k\":" #k                        \
    ",\"moe_num_shared_experts\":" #shared ",\"moe_layer_start_index\":" #first                                        \
    ",\"moe_use_aux_free\":true,\"use_bias\":false,\"tie_word_embeddings\":" #tied "}"
#define MINIMAX_M2                                                                                                     \
    "{\"model_type\":\"minimax_m2\",\"num_hidden_layers\":62,\"hidden_size\":3072,\"intermediate_size\":1536,"         \
    "\"vocab_size\":200064,\"max_position_embeddings\":196608,\"num_local_experts\":256,\"num_experts_per_tok\":8,"    \
    "\"rotary_dim\":64,\"use_qk_norm\":true," HEADS(48, 8, 128) "," FP8 "}"
#define DEEPSEEK_V2                                                                                                    \
    "{\"model_type\":\"deepseek_v2\"," SIZES(60, 5120, 12288, 1536, 102400, 163840) "," MLA(                           \
        128, 1536, 512, 128, 64, 128) "," ROUTED(160, 6, 2,                                                            \
                                                 1) ",\"topk_method\":\"group_limited_greedy\",\"n_group\":8,"         \
                                                    "\"topk_group\":3," YARN("40", "4096") "}"
#define DEEPSEEK_V2_LITE                                                                                               \
    "{\"model_type\":\"deepseek_v2\"," SIZES(27, 2048, 10944, 1408, 102400, 163840) "," MLA(                           \
        16, null, 512, 128, 64, 128) "," ROUTED(64, 6, 2, 1) "," YARN("40", "4096") "}"
#define GPT_OSS(layers, experts)                                                                                       \
    "{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":" #layers ",\"hidden_size\":2880,\"intermediate_size\":2880,"   \
    "\"vocab_size\":201088,\"max_position_embeddings\":131072,\"num_local_experts\":" #experts                         \
    ",\"num_experts_per_tok\":4,\"sliding_window\":128,\"rope_theta\":150000," HEADS(64, 8, 64) "," YARN(              \
        "32", "4096") ",\"quantization_config\":{\"quant_method\":\"mxfp4\"}}"
#define GLM4(sizes, routed, norm)                                                                                      \
    "{\"model_type\":\"glm4_moe\"," sizes "," HEADS(96, 8, 128) "," routed                                             \
                                                                ",\"attention_bias\":true,\"partial_rotary_factor\":"  \
                                                                "0.5,\"use_qk_norm\":" norm "}"
#define GLM_355B(context) GLM4(SIZES(92, 5120, 12288, 1536, 151552, context), ROUTED(160, 8, 1, 3), "true")

const hs_known_model hs_known_models[] = {
    {"deepseek-v3", "FP8", DEEPSEEK_V3},
    {"deepseek-r1", "FP8", DEEPSEEK_V3},
    {"deepseek-v3.1", "FP8", DEEPSEEK_V3},
    {"deepseek-v3-0324", "FP8", DEEPSEEK_V3},
    {"deepseek-r1-0528", "FP8", DEEPSEEK_V3},
    {"deepseek-v2", "BF16", DEEPSEEK_V2},
    {"deepseek-v2.5", "BF16", DEEPSEEK_V2},
    {"deepseek-coder-v2", "BF16", DEEPSEEK_V2},
    {"deepseek-v2-lite", "BF16", DEEPSEEK_V2_LITE},
    {"deepseek-coder-v2-lite", "BF16", DEEPSEEK_V2_LITE},
    {"kimi-k2", "FP8", KIMI_K2(131072)},
    {"kimi-k2-0905", "FP8", KIMI_K2(262144)},
    {"qwen3-30b-a3b", "BF16", QWEN3(SIZES(48, 2048, 6144, 768, 151936, 40960), HEADS(32, 4, 128), 128)},
    {"qwen3-30b-a3b-2507", "BF16", QWEN3(SIZES(48, 2048, 6144, 768, 151936, 262144), HEADS(32, 4, 128), 128)},
    {"qwen3-coder-30b-a3b", "BF16", QWEN3(SIZES(48, 2048, 6144, 768, 151936, 262144), HEADS(32, 4, 128), 128)},
    {"qwen3-235b-a22b", "BF16", QWEN3(SIZES(94, 4096, 12288, 1536, 151936, 40960), HEADS(64, 4, 128), 128)},
    {"qwen3-235b-a22b-2507", "BF16", QWEN3(SIZES(94, 4096, 12288, 1536, 151936, 262144), HEADS(64, 4, 128), 128)},
    {"qwen3-coder-480b-a35b", "BF16", QWEN3(SIZES(62, 6144, 8192, 2560, 151936, 262144), HEADS(96, 8, 128), 160)},
    {"gpt-oss-20b", "MXFP4", GPT_OSS(24, 32)},
    {"gpt-oss-120b", "MXFP4", GPT_OSS(36, 128)},
    {"glm-4.5-air", "BF16", GLM4(SIZES(46, 4096, 10944, 1408, 151552, 131072), ROUTED(128, 8, 1, 1), "false")},
    {"glm-4.5", "BF16", GLM_355B(131072)},
    {"glm-4.6", "BF16", GLM_355B(202752)},
    {"glm-4.7", "BF16", GLM_355B(202752)},
    {"glm-4.7-flash", "BF16",
     "{\"model_type\":\"glm4_moe_lite\"," SIZES(47, 2048, 10240, 1536, 154880, 202752) "," MLA(
         20, 768, 512, 192, 64, 256) "," ROUTED(64, 4, 1, 1) ",\"routed_scaling_factor\":1.8,\"rope_theta\":1000000}"},
    {"mixtral-8x7b", "BF16",
     "{\"model_type\":\"mixtral\",\"num_hidden_layers\":32,\"hidden_size\":4096,\"intermediate_size\":14336,"
     "\"vocab_size\":32000,\"max_position_embeddings\":32768,\"num_local_experts\":8,\"num_experts_per_tok\":2," HEADS(
         32, 8, 128) "}"},
    {"mixtral-8x22b", "BF16",
     "{\"model_type\":\"mixtral\",\"num_hidden_layers\":56,\"hidden_size\":6144,\"intermediate_size\":16384,"
     "\"vocab_size\":32768,\"max_position_embeddings\":65536,\"num_local_experts\":8,\"num_experts_per_tok\":2," HEADS(
         48, 8, 128) "}"},
    {"olmoe-1b-7b", "BF16",
     "{\"model_type\":\"olmoe\",\"num_hidden_layers\":16,\"hidden_size\":2048,\"intermediate_size\":1024,"
     "\"vocab_size\":50304,\"max_position_embeddings\":4096,\"num_experts\":64,\"num_experts_per_tok\":8," HEADS(
         16, 16, 128) "}"},
    {"minimax-m2", "FP8", MINIMAX_M2},
    {"minimax-m2.1", "FP8", MINIMAX_M2},
    {"minimax-m2.5", "FP8", MINIMAX_M2},
    {"minimax-m2.7", "FP8", MINIMAX_M2},
    {"qwen2-57b-a14b", "BF16", QWEN2(SIZES(28, 3584, 18944, 2560, 151936, 32768), HEADS(28, 4, 128), 64, 8, 20480)},
    {"qwen1.5-moe-a2.7b", "BF16", QWEN2(SIZES(24, 2048, 5632, 1408, 151936, 8192), HEADS(16, 16, 128), 60, 4, 5632)},
    {"granite-3.1-3b-a800m", "BF16", GRANITE(32, 1536, 24, 40)},
    {"granite-3.1-1b-a400m", "BF16", GRANITE(24, 1024, 16, 32)},
    {"ernie-4.5-21b-a3b", "BF16",
     ERNIE(SIZES(28, 2560, 12288, 1536, 103424, 131072), HEADS(20, 4, 128), 6, 2, 1, true)},
    {"ernie-4.5-300b-a47b", "BF16",
     ERNIE(SIZES(54, 8192, 28672, 3584, 103424, 131072), HEADS(64, 8, 128), 8, 0, 3, false)},
    {0}};

const hs_unserved_model hs_unserved_models[] = {
    {"qwen3-next-80b-a3b", "gated delta networks (qwen3_next)"},
    {"qwen3-coder-next", "gated delta networks (qwen3_next)"},
    {"qwen3.5-35b-a3b", "gated delta networks (qwen3_5_moe)"},
    {"qwen3.5-122b-a10b", "gated delta networks (qwen3_5_moe)"},
    {"qwen3.5-397b-a17b", "gated delta networks (qwen3_5_moe)"},
    {"qwen3.6-35b-a3b", "gated delta networks (qwen3_5_moe)"},
    {"llama-4-scout", "chunked attention (llama4)"},
    {"llama-4-maverick", "chunked attention (llama4)"},
    {"deepseek-v3.2", "sparse attention (deepseek_v32)"},
    {"deepseek-v4-flash", "compressed attention (deepseek_v4)"},
    {"glm-5", "sparse attention (glm_moe_dsa)"},
    {"kimi-k2-thinking", "experts in INT4; converted to GGUF it is as kimi-k2-0905 --type q4_k_m"},
    {"kimi-k2.5", "experts in INT4; converted to GGUF it is as kimi-k2-0905 --type q4_k_m"},
    {"kimi-k3", "delta attention (kimi_k3)"},
    {"minimax-m3", "sparse attention (minimax_m3)"},
    {"gemma-4-26b-a4b", "a dense path beside the experts (gemma4)"},
    {"nemotron-3-nano-30b-a3b", "state space layers (nemotron_h)"},
    {"lfm2-8b-a1b", "short convolutions (lfm2_moe)"},
    {"hunyuan-a13b", "its own recipe (hunyuan_v1_moe)"},
    {"dbrx", "its own recipe (dbrx)"},
    {"grok-1", "its own recipe (grok)"},
    {0}};

#define N_KNOWN    (sizeof hs_known_models / sizeof *hs_known_models - 1)
#define N_UNSERVED (sizeof hs_unserved_models / sizeof *hs_unserved_models - 1)

static const char *name_at(const void *ctx, size_t i)
{
    (void)ctx;
    return i < N_KNOWN ? hs_known_models[i].name : hs_unserved_models[i - N_KNOWN].name;
}

const hs_known_model *hs_known_model_find(const char *name)
{
    for (const hs_known_model *m = hs_known_models; m->name; m++)
        if (!strcasecmp(m->name, name))
            return m;
    return NULL;
}

const char *hs_unserved_model_why(const char *name)
{
    for (const hs_unserved_model *m = hs_unserved_models; m->name; m++)
        if (!strcasecmp(m->name, name))
            return m->needs;
    return NULL;
}

const char *hs_model_plain_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash > name && *name != '.' && !strchr(slash + 1, '/') ? slash + 1 : name;
}

int hs_files_check(const char *path, const char *needed, hs_err *err)
{
    const char *name = hs_model_plain_name(path), *why = hs_unserved_model_why(name);
    struct stat st;
    if (stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return 0;
    if (why)
        return hs_err_set(err, -ENOTSUP, "%s: nothing is there, and the model of this name is not served: it needs %s",
                          path, why);
    if (!hs_known_model_find(name))
        return 0;
    return hs_err_set(
        err, -ENOENT,
        "%s: nothing is there. It is the name of a published model, of which 'hotset plan %s' tells how it "
        "would run; here give %s",
        path, path, needed);
}

/* Letters and digits of a name, in lower case: people write llama4 and Qwen3_30B. */
static void plain(const char *name, char ret[HS_NEAREST_MAX])
{
    size_t n = 0;
    for (; *name && n + 1 < HS_NEAREST_MAX; name++)
        if (isalnum((unsigned char)*name))
            ret[n++] = (char)tolower((unsigned char)*name);
    ret[n] = '\0';
}

size_t hs_known_models_near(const char *name, const char *ret[HS_MODELS_NEAR_MAX])
{
    char word[HS_NEAREST_MAX], one[HS_NEAREST_MAX];
    size_t all = N_KNOWN + N_UNSERVED, near = hs_nearest(name, name_at, NULL, all), n = 0;
    plain(name, word);
    if (near < all)
        ret[n++] = name_at(NULL, near);
    for (size_t i = 0; i < all && n < HS_MODELS_NEAR_MAX && strlen(word) > 2; i++) {
        plain(name_at(NULL, i), one);
        if (i != near && (strstr(one, word) || strstr(word, one)))
            ret[n++] = name_at(NULL, i);
    }
    return n;
}
