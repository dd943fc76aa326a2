/*
 * synth_model - writes a safetensors folder in DeepSeek-V3's layout with random weights, for benches that need a model
 * much bigger than the cache. Shapes are options; FP8 codes (e4m3, 128x128 block scales) and BF16 values follow a
 * normal distribution, so that they compress like trained weights. The same options and seed give the same bytes.
 * --holes 1 leaves the weights out: files of the right size that take no room, for plans of models too big for a test.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TENSORS (1u << 20)
#define POOL        (16u << 20) /* values of each kind, repeated at random places */

typedef enum kind { FP8, SCALE, BF16, ONES, BIAS } kind;

typedef struct tensor {
    char name[112];
    kind kind;
    uint64_t rows, cols; /* rows 0: a vector of cols */
    double std;
} tensor;

typedef struct shape {
    const char *name;
    uint64_t value;
} shape;

static shape shapes[] = {{"layers", 5},         {"dense-layers", 1}, {"hidden", 2048}, {"inter", 768},
                         {"dense-inter", 4096}, {"experts", 128},    {"topk", 8},      {"groups", 8},
                         {"groups-used", 4},    {"heads", 16},       {"q-lora", 768},  {"kv-lora", 512},
                         {"nope", 128},         {"rope", 64},        {"v", 128},       {"vocab", 4096},
                         {"shard-mib", 4096},   {"seed", 1},         {"bf16", 0},      {"holes", 0}};

static tensor *tensors;
static uint32_t n_tensors;
static uint8_t *fp8_pool;
static uint16_t *bf16_pool;
static uint64_t rng_state;

static void die(const char *what, const char *name)
{
    fprintf(stderr, "synth_model: %s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

static uint64_t get(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (!strcmp(shapes[i].name, name))
            return shapes[i].value;
    abort();
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(void)
{
    uint64_t z = rng_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double next_unit(void)
{
    return ((double)(next_random() >> 11) + 0.5) * 0x1p-53;
}

static double next_normal(void)
{
    return sqrt(-2 * log(next_unit())) * cos(6.283185307179586 * next_unit());
}

static double e4m3_value(uint32_t code)
{
    uint32_t exponent = code >> 3, mantissa = code & 7;
    return exponent ? ldexp(8 + mantissa, (int)exponent - 10) : ldexp(mantissa, -9);
}

static uint8_t to_e4m3(double x)
{
    double a = fabs(x) > 448 ? 448 : fabs(x);
    uint32_t lo = 0, hi = 126;
    while (lo < hi) {
        uint32_t mid = (lo + hi + 1) / 2;
        if (e4m3_value(mid) <= a)
            lo = mid;
        else
            hi = mid - 1;
    }
    if (lo < 126 && e4m3_value(lo + 1) - a < a - e4m3_value(lo))
        lo++;
    return (uint8_t)(lo | (x < 0 ? 0x80 : 0));
}

static uint16_t to_bf16(double x)
{
    float f = (float)x;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static void make_pools(void)
{
    fp8_pool = malloc(POOL);
    bf16_pool = malloc(POOL * sizeof *bf16_pool);
    if (!fp8_pool || !bf16_pool)
        die("cannot allocate", "pools");
    for (uint32_t i = 0; i < POOL; i++) {
        double x = next_normal();
        fp8_pool[i] = to_e4m3(x * 105);
        bf16_pool[i] = to_bf16(x / 64); /* a power of two: other deviations only shift the exponent */
    }
}

static void add(kind k, uint64_t rows, uint64_t cols, double std, const char *prefix, const char *name)
{
    if (n_tensors == MAX_TENSORS) {
        fprintf(stderr, "synth_model: more than %u tensors\n", MAX_TENSORS);
        exit(1);
    }
    tensor *t = &tensors[n_tensors++];
    snprintf(t->name, sizeof t->name, "%s%s", prefix, name);
    t->kind = k;
    t->rows = rows;
    t->cols = cols;
    t->std = std;
}

static void linear(const char *prefix, const char *name, uint64_t rows, uint64_t cols)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    double std = 1 / sqrt((double)cols);
    add(get("bf16") ? BF16 : FP8, rows, cols, std, prefix, full);
    if (get("bf16"))
        return;
    snprintf(full, sizeof full, "%s.weight_scale_inv", name);
    add(SCALE, (rows + 127) / 128, (cols + 127) / 128, std / 105, prefix, full);
}

static void mlp(const char *prefix, uint64_t inter)
{
    linear(prefix, "gate_proj", inter, get("hidden"));
    linear(prefix, "up_proj", inter, get("hidden"));
    linear(prefix, "down_proj", get("hidden"), inter);
}

static void attention(const char *p)
{
    uint64_t h = get("hidden"), heads = get("heads"), q = get("q-lora"), kv = get("kv-lora");
    add(ONES, 0, h, 0, p, "input_layernorm.weight");
    add(ONES, 0, h, 0, p, "post_attention_layernorm.weight");
    linear(p, "self_attn.q_a_proj", q, h);
    add(ONES, 0, q, 0, p, "self_attn.q_a_layernorm.weight");
    linear(p, "self_attn.q_b_proj", heads * (get("nope") + get("rope")), q);
    linear(p, "self_attn.kv_a_proj_with_mqa", kv + get("rope"), h);
    add(ONES, 0, kv, 0, p, "self_attn.kv_a_layernorm.weight");
    linear(p, "self_attn.kv_b_proj", heads * (get("nope") + get("v")), kv);
    linear(p, "self_attn.o_proj", h, heads * get("v"));
}

static void list_tensors(void)
{
    uint64_t h = get("hidden");
    add(BF16, get("vocab"), h, 1, "", "model.embed_tokens.weight");
    for (uint64_t i = 0; i < get("layers"); i++) {
        char p[40], x[80];
        snprintf(p, sizeof p, "model.layers.%" PRIu64 ".", i);
        attention(p);
        if (i < get("dense-layers")) {
            snprintf(x, sizeof x, "%smlp.", p);
            mlp(x, get("dense-inter"));
            continue;
        }
        add(BF16, get("experts"), h, 1 / sqrt((double)h), p, "mlp.gate.weight");
        add(BIAS, 0, get("experts"), 0.02, p, "mlp.gate.e_score_correction_bias");
        snprintf(x, sizeof x, "%smlp.shared_experts.", p);
        mlp(x, get("inter"));
        for (uint64_t e = 0; e < get("experts"); e++) {
            snprintf(x, sizeof x, "%smlp.experts.%" PRIu64 ".", p, e);
            mlp(x, get("inter"));
        }
    }
    add(ONES, 0, h, 0, "", "model.norm.weight");
    add(BF16, get("vocab"), h, 1 / sqrt((double)h), "", "lm_head.weight");
}

static uint64_t bytes_of(const tensor *t)
{
    static const uint64_t size[] = {[FP8] = 1, [SCALE] = 4, [BF16] = 2, [ONES] = 2, [BIAS] = 4};
    return (t->rows ? t->rows : 1) * t->cols * size[t->kind];
}

/* The i-th value's bytes from a place of its own, written in pieces of the pool. */
static void write_tensor(const tensor *t, FILE *f)
{
    uint64_t n = (t->rows ? t->rows : 1) * t->cols;
    if (get("holes")) {
        fseeko(f, (off_t)bytes_of(t), SEEK_CUR);
        return;
    }
    uint64_t at = next_random() % POOL;
    int shift = (int)lround(log2(t->std > 0 ? t->std * 64 : 1));
    for (uint64_t i = 0; i < n;) {
        if (t->kind == FP8) {
            uint64_t m = n - i < POOL - at ? n - i : POOL - at;
            fwrite(fp8_pool + at, 1, m, f);
            i += m;
            at = 0;
            continue;
        }
        uint16_t half = t->kind == ONES ? 0x3f80 : bf16_pool[at++ % POOL];
        if (t->kind == BF16 && (half & 0x7f80) >> 7 > 40)
            half = (uint16_t)(half + shift * 128);
        float single = (float)(t->kind == SCALE ? t->std * (0.8 + 0.4 * next_unit()) : t->std * next_normal());
        if (t->kind == BF16 || t->kind == ONES)
            fwrite(&half, sizeof half, 1, f);
        else
            fwrite(&single, sizeof single, 1, f);
        i++;
    }
}

static FILE *create(const char *dir, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        die("cannot create", path);
    return f;
}

static void close_file(FILE *f, const char *name)
{
    if (ferror(f) || fclose(f))
        die("cannot write", name);
}

static void write_header(const tensor *first, uint32_t n, FILE *f)
{
    static const char *const dtype[] = {
        [FP8] = "F8_E4M3", [SCALE] = "F32", [BF16] = "BF16", [ONES] = "BF16", [BIAS] = "F32"};
    char *text = NULL;
    size_t len;
    FILE *m = open_memstream(&text, &len);
    uint64_t at = 0;
    fprintf(m, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (uint32_t i = 0; i < n; i++) {
        const tensor *t = &first[i];
        char rows[32] = "";
        if (t->rows)
            snprintf(rows, sizeof rows, "%" PRIu64 ",", t->rows);
        fprintf(m, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s%" PRIu64 "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                t->name, dtype[t->kind], rows, t->cols, at, at + bytes_of(t));
        at += bytes_of(t);
    }
    fputc('}', m);
    fflush(m);
    while (ftell(m) % 8)
        fputc(' ', m);
    fclose(m);
    uint64_t size = len;
    fwrite(&size, sizeof size, 1, f);
    fwrite(text, 1, len, f);
    free(text);
}

static void write_weights(const char *dir)
{
    FILE *index = create(dir, "model.safetensors.index.json");
    fprintf(index, "{\"metadata\":{},\"weight_map\":{");
    uint32_t file = 0;
    for (uint32_t first = 0, end; first < n_tensors; first = end) {
        uint64_t used = 0;
        for (end = first; end < n_tensors && (end == first || used + bytes_of(&tensors[end]) <= get("shard-mib") << 20);
             end++)
            used += bytes_of(&tensors[end]);
        char name[64];
        snprintf(name, sizeof name, "model-%05u.safetensors", ++file);
        FILE *f = create(dir, name);
        write_header(&tensors[first], end - first, f);
        for (uint32_t i = first; i < end; i++) {
            write_tensor(&tensors[i], f);
            fprintf(index, "%s\"%s\":\"%s\"", i ? "," : "", tensors[i].name, name);
        }
        fflush(f);
        if (ftruncate(fileno(f), ftello(f)) < 0)
            die("cannot write", name);
        close_file(f, name);
    }
    fprintf(index, "}}\n");
    close_file(index, "index");
}

static void write_config(const char *dir)
{
    static const char *const keys[][2] = {{"hidden_size", "hidden"},
                                          {"num_hidden_layers", "layers"},
                                          {"first_k_dense_replace", "dense-layers"},
                                          {"intermediate_size", "dense-inter"},
                                          {"moe_intermediate_size", "inter"},
                                          {"n_routed_experts", "experts"},
                                          {"num_experts_per_tok", "topk"},
                                          {"n_group", "groups"},
                                          {"topk_group", "groups-used"},
                                          {"num_attention_heads", "heads"},
                                          {"num_key_value_heads", "heads"},
                                          {"q_lora_rank", "q-lora"},
                                          {"kv_lora_rank", "kv-lora"},
                                          {"qk_nope_head_dim", "nope"},
                                          {"qk_rope_head_dim", "rope"},
                                          {"v_head_dim", "v"},
                                          {"vocab_size", "vocab"}};
    FILE *f = create(dir, "config.json");
    fprintf(
        f,
        "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"model_type\":\"deepseek_v3\",\"hidden_act\":\"silu\",\n"
        "\"n_shared_experts\":1,\"norm_topk_prob\":true,\"routed_scaling_factor\":2.5,\"scoring_func\":\"sigmoid\",\n"
        "\"topk_method\":\"noaux_tc\",\"moe_layer_freq\":1,\"max_position_embeddings\":163840,\"rms_norm_eps\":1e-6,\n"
        "\"rope_theta\":10000,\"attention_bias\":false,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\n"
        "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":1.0,\n"
        " \"mscale_all_dim\":1.0,\"original_max_position_embeddings\":4096},\n");
    if (!get("bf16"))
        fprintf(
            f, "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"activation_scheme\":\"dynamic\",\n"
               " \"weight_block_size\":[128,128]},\n");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        fprintf(f, "\"%s\":%" PRIu64 ",\n", keys[i][0], get(keys[i][1]));
    fprintf(f, "\"bos_token_id\":0,\"eos_token_id\":1}\n");
    close_file(f, "config.json");
}

static int usage(void)
{
    fprintf(stderr, "usage: synth_model OUT_DIR [--NAME N]...\n");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        fprintf(stderr, "  --%s %" PRIu64 "\n", shapes[i].name, shapes[i].value);
    return 2;
}

static bool set_shape(const char *flag, const char *value)
{
    char *end;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strncmp(flag, "--", 2) || strcmp(flag + 2, shapes[i].name))
            continue;
        shapes[i].value = strtoull(value, &end, 10);
        return *value && !*end && shapes[i].value < 1u << 30;
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc % 2 || argv[1][0] == '-')
        return usage();
    for (int i = 2; i < argc; i += 2)
        if (!set_shape(argv[i], argv[i + 1]))
            return usage();
    if (mkdir(argv[1], 0777) < 0 && errno != EEXIST)
        die("cannot create", argv[1]);
    rng_state = get("seed");
    tensors = calloc(MAX_TENSORS, sizeof *tensors);
    if (!tensors)
        die("cannot allocate", "tensors");
    if (!get("holes"))
        make_pools();
    list_tensors();
    write_weights(argv[1]);
    write_config(argv[1]);
    return 0;
}
