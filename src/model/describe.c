/*
 * describe.c - the tensors of a model of which there is only the config.json: a recipe run on it says their names and
 * shapes by what it asks for; the storage type says how each is stored and how they lie in their file.
 *
 * Types are what publishers and llama.cpp's quantiser write (llama_tensor_get_type of Q4_K_M). Matrices of routed
 * experts lie one expert after the other in safetensors, in GGUF and in gpt-oss's files in stacks of all experts.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/model_int.h"

#define MAX_TENSORS (1u << 22)
#define NAME_BYTES  320

typedef enum storage { PUBLISHED, PLAIN_BF16, WHOLE_Q8_0, MIX_Q4_K_M, EXPERTS_MXFP4, N_STORAGES } storage;

static const char *const storage_names[N_STORAGES] = {"published", "bf16", "q8_0", "q4_k_m", "mxfp4"};

struct hs__describe {
    storage storage;
    hs_checkpoint checkpoint; /* what the recipe sees: the tensors so far, in the order in which it takes them */
    hs_tensor *tensors;
    size_t cap_tensors, cap_used;
    uint32_t layer; /* of the tensor at hand */
};

const char *hs_storage_name(uint32_t i)
{
    return i < N_STORAGES ? storage_names[i] : NULL;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

/* llama.cpp: the first and last eighth of the layers, and every third between them. */
static bool use_more_bits(uint32_t layer, uint32_t n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

/* K-quants need rows of whole blocks of 256; otherwise llama.cpp takes these. */
static hs_dtype or_smaller_block(hs_dtype t, uint32_t cols)
{
    if (cols % 256 == 0)
        return t;
    if (cols % 32)
        return HS_DTYPE_F16;
    return t == HS_DTYPE_Q4_K ? HS_DTYPE_Q5_0 : t == HS_DTYPE_Q5_K ? HS_DTYPE_Q5_1 : HS_DTYPE_Q8_0;
}

static hs_dtype q4_k_m(const hs__build *b, const char *name, uint32_t cols)
{
    uint32_t n_layers = b->spec->n_layers, layer = b->describe->layer;
    bool tied = b->describe->checkpoint.config &&
                json_is_true(json_object_get(b->describe->checkpoint.config, "tie_word_embeddings"));
    bool eight = b->spec->n_experts == 8;
    hs_dtype t = HS_DTYPE_Q4_K;
    if (strstr(name, "lm_head") || (tied && strstr(name, "embed_tokens")))
        t = HS_DTYPE_Q6_K;
    else if (strstr(name, ".v_proj."))
        t = eight ? HS_DTYPE_Q8_0 : use_more_bits(layer, n_layers) ? HS_DTYPE_Q6_K : t;
    else if (strstr(name, ".k_proj.") && eight)
        t = HS_DTYPE_Q8_0;
    else if (strstr(name, ".o_proj.") && eight)
        t = HS_DTYPE_Q5_K;
    else if ((strstr(name, "down_proj") || strstr(name, ".w2.")) && use_more_bits(layer, n_layers))
        t = HS_DTYPE_Q6_K;
    return t == HS_DTYPE_Q8_0 && cols % 32 == 0 ? t : or_smaller_block(t, cols);
}

/* rows x cols; cols 0: a vector. */
static hs_dtype type_of(const hs__build *b, const char *name, uint32_t rows, uint32_t cols, bool expert)
{
    storage s = b->describe->storage;
    bool fp8 = s == PUBLISHED && b->arch->block_rows;
    if (expert && b->arch->expert_type == HS_DTYPE_MXFP4_PAIRS)
        return HS_DTYPE_U8; /* however the rest is stored */
    if (ends_with(name, "_scale_inv") || ends_with(name, "e_score_correction_bias"))
        return HS_DTYPE_F32;
    bool router = !expert && cols == b->spec->hidden && (rows == b->spec->n_experts || rows == 1);
    if (!cols || router || ends_with(name, "bias"))
        return s == PUBLISHED || s == PLAIN_BF16 ? HS_DTYPE_BF16 : HS_DTYPE_F32;
    if (s == MIX_Q4_K_M)
        return q4_k_m(b, name, cols);
    if (s == EXPERTS_MXFP4 && expert && cols % 32 == 0)
        return HS_DTYPE_MXFP4;
    if (s == WHOLE_Q8_0 || s == EXPERTS_MXFP4)
        return cols % 32 ? HS_DTYPE_F16 : HS_DTYPE_Q8_0;
    return fp8 && !strstr(name, "lm_head") && !strstr(name, "embed_tokens") ? HS_DTYPE_F8_E4M3 : HS_DTYPE_BF16;
}

static bool is_gguf(const struct hs__describe *d)
{
    return d->storage >= WHOLE_Q8_0;
}

bool hs__describe_has(const hs__build *b, const char *name)
{
    const json_t *config = b->describe->checkpoint.config;
    if (strstr(name, ".k_b_proj.")) /* GGUF has kv_b in two */
        return is_gguf(b->describe);
    if (strstr(name, ".q_norm."))
        return json_is_true(json_object_get(config, "use_qk_norm"));
    return strstr(name, "moe_statics.e_score_correction_bias") &&
           json_is_true(json_object_get(config, "moe_use_aux_free"));
}

uint32_t hs__describe_add(hs__build *b, const char *name, uint32_t rows, uint32_t cols, bool expert)
{
    struct hs__describe *d = b->describe;
    uint32_t i = d->checkpoint.n_tensors;
    unsigned layer;
    if (sscanf(name, "model.layers.%u.", &layer) == 1)
        d->layer = layer;
    int r = hs_grow(&d->tensors, sizeof *d->tensors, i + 1, &d->cap_tensors, MAX_TENSORS);
    if (r == 0)
        r = hs_grow(&b->used, 1, i + 1, &d->cap_used, MAX_TENSORS);
    char *copy = r == 0 ? hs_strdup(name) : NULL;
    if (!copy) {
        b->r = hs_err_set(b->err, r ? r : -ENOMEM, "%s: no memory for its tensors", b->c->path);
        return HS_NO_TENSOR;
    }
    hs_tensor t = {.name = copy, .dtype = type_of(b, name, rows, cols, expert), .record = HS_NO_RECORD};
    t.n_dims = cols ? 2 : 1;
    for (uint32_t k = 0; k < HS_MAX_DIMS; k++)
        t.dims[k] = k == 0 ? rows : k == 1 && cols ? cols : 1;
    t.nbytes = hs_dtype_bytes(t.dtype, cols ? cols : rows) * (cols ? rows : 1);
    d->tensors[i] = t;
    b->used[i] = 0;
    d->checkpoint.tensors = d->tensors;
    d->checkpoint.n_tensors = i + 1;
    return i;
}

static void place(hs_tensor *t, uint64_t *at, uint64_t align)
{
    t->offset = hs_align_up(*at, align);
    *at = t->offset + t->nbytes;
}

/* Offsets in the one file that they are thought to be in: dense tensors first, then the experts. */
static void lay_out(const hs__build *b)
{
    struct hs__describe *d = b->describe;
    const hs_model_spec *s = b->spec;
    bool stacks = is_gguf(d) || b->arch->gate_up != HS__APART;
    uint64_t align = is_gguf(d) ? 32 : 1, at = align * 4096;
    for (uint32_t i = 0; i < d->checkpoint.n_tensors; i++)
        if (b->used[i] != 2)
            place(&d->tensors[i], &at, align);
    for (uint32_t l = 0; l < s->n_moe_layers; l++)
        for (uint32_t k = 0; k < s->n_experts * HS_EXPERT_PARTS; k++) {
            uint32_t expert = stacks ? k % s->n_experts : k / HS_EXPERT_PARTS;
            uint32_t part = stacks ? k / s->n_experts : k % HS_EXPERT_PARTS;
            uint32_t t = b->expert_parts[((size_t)l * s->n_experts + expert) * HS_EXPERT_PARTS + part];
            if (t != HS_NO_TENSOR)
                place(&d->tensors[t], &at, stacks && expert ? 1 : align);
        }
}

void hs_described_deinit(hs_described *d)
{
    for (uint32_t i = 0; i < d->n_tensors; i++)
        hs_free((void *)(uintptr_t)d->tensors[i].name);
    hs_free(d->tensors);
    *d = (hs_described){0};
}

int hs_model_describe(const char *name, const struct json_t *config, const char *type, hs_described *ret, hs_err *err)
{
    struct hs__describe d = {.checkpoint = {.path = name, .config = (json_t *)(uintptr_t)config}};
    while (d.storage < N_STORAGES && strcasecmp(type, storage_names[d.storage]))
        d.storage++;
    if (d.storage == N_STORAGES)
        return hs_err_set(err, -EINVAL,
                          "'%s' is no way in which tensors are stored; published, bf16, q8_0, q4_k_m and "
                          "mxfp4 are",
                          type);
    hs__build b;
    int r = hs__spec_build(&d.checkpoint, &d, &b, err);
    if (r == 0)
        lay_out(&b);
    hs__spec_end(&b);
    hs_described all = {d.tensors, d.checkpoint.n_tensors, is_gguf(&d)};
    if (r < 0)
        hs_described_deinit(&all);
    else
        *ret = all;
    return r;
}
