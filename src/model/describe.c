/*
 * describe.c - the tensors of a model of which there is only the config.json: a recipe run on it says their names and
 * shapes by what it asks for; the storage type says how each is stored and how they lie in their file.
 *
 * Types are what publishers and llama.cpp's quantiser write (llama_tensor_get_type, with importances). Matrices of
 * routed experts lie one expert after the other in safetensors, in GGUF and in gpt-oss's files in stacks of all
 * experts.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/model_int.h"

#define MAX_TENSORS (1u << 22)
#define NAME_BYTES  320

typedef enum storage { PUBLISHED, PLAIN_BF16, WHOLE_Q8_0, EXPERTS_MXFP4, MIX, N_STORAGES = MIX + 8 } storage;

/* What llama.cpp's mixes have of each kind. `more`: also of down and v in some layers, see use_more_bits. */
static const struct mix {
    const char *name;
    hs_dtype all, head, embed, v, down, o, more;
} mixes[N_STORAGES - MIX] = {
#define T(t) HS_DTYPE_##t
    {"q6_k", T(Q6_K), T(Q6_K), T(Q6_K), T(Q6_K), T(Q6_K), T(Q6_K), T(Q6_K)},
    {"q5_k_m", T(Q5_K), T(Q6_K), T(Q5_K), T(Q5_K), T(Q5_K), T(Q5_K), T(Q6_K)},
    {"q4_k_m", T(Q4_K), T(Q6_K), T(Q4_K), T(Q4_K), T(Q4_K), T(Q4_K), T(Q6_K)},
    {"iq4_xs", T(IQ4_XS), T(Q6_K), T(IQ4_XS), T(Q5_K), T(IQ4_XS), T(IQ4_XS), T(NONE)},
    {"q3_k_m", T(Q3_K), T(Q6_K), T(Q3_K), T(Q4_K), T(Q4_K), T(Q4_K), T(NONE)},
    {"iq3_xxs", T(IQ3_XXS), T(Q5_K), T(IQ3_S), T(Q4_K), T(IQ3_XXS), T(IQ3_S), T(NONE)},
    {"q2_k", T(Q2_K), T(Q6_K), T(Q2_K), T(Q4_K), T(Q3_K), T(Q3_K), T(NONE)},
    {"iq2_xxs", T(IQ2_XXS), T(Q5_K), T(Q2_K), T(Q4_K), T(IQ2_XXS), T(IQ2_XXS), T(NONE)},
#undef T
};

static const char *const storage_names[MIX] = {"published", "bf16", "q8_0", "mxfp4"};

struct hs__describe {
    storage storage;
    hs_checkpoint checkpoint; /* what the recipe sees: the tensors so far, in the order in which it takes them */
    hs_tensor *tensors;
    size_t cap_tensors, cap_used;
    uint32_t layer; /* of the tensor at hand */
};

const char *hs_storage_name(uint32_t i)
{
    return i < MIX ? storage_names[i] : i < N_STORAGES ? mixes[i - MIX].name : NULL;
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

/* Types of blocks of 256 need rows of whole blocks; otherwise llama.cpp takes these. */
static hs_dtype or_smaller_block(hs_dtype t, uint32_t cols)
{
    if (cols % hs_dtype_block(t) == 0)
        return t;
    if (cols % 32)
        return HS_DTYPE_F16;
    return t == HS_DTYPE_Q4_K   ? HS_DTYPE_Q5_0
           : t == HS_DTYPE_Q5_K ? HS_DTYPE_Q5_1
           : t == HS_DTYPE_Q6_K ? HS_DTYPE_Q8_0
                                : HS_DTYPE_IQ4_NL;
}

/* Of a model of eight experts llama.cpp takes more bits for attention. */
static hs_dtype of_eight(const struct mix *m, const char *name)
{
    if (strstr(name, ".o_proj."))
        return m->all == HS_DTYPE_Q6_K || m->all == HS_DTYPE_Q5_K ? m->all : HS_DTYPE_Q5_K;
    return m->all == HS_DTYPE_IQ2_XXS ? HS_DTYPE_Q4_K : HS_DTYPE_Q8_0;
}

static hs_dtype mixed(const hs__build *b, const struct mix *m, const char *name)
{
    uint32_t n_layers = b->spec->n_layers, layer = b->describe->layer;
    bool tied = b->describe->checkpoint.config &&
                json_is_true(json_object_get(b->describe->checkpoint.config, "tie_word_embeddings"));
    bool v = strstr(name, ".v_proj."), down = strstr(name, "down_proj") || strstr(name, ".w2.");
    bool embed = strstr(name, "embed_tokens");
    if (strstr(name, "lm_head") || (tied && embed))
        return m->head;
    if (embed)
        return m->embed;
    if (b->spec->n_experts == 8 && (v || strstr(name, ".k_proj.") || strstr(name, ".o_proj.")))
        return of_eight(m, name);
    if ((v || down) && m->more && use_more_bits(layer, n_layers))
        return m->more;
    if (v && m->all == HS_DTYPE_Q3_K)
        return layer < 2 ? HS_DTYPE_Q5_K : m->v;
    if (v && b->arch->heads < 4 * b->arch->kv_heads) /* nothing is shared by as many heads that it is worth more */
        return m->all == HS_DTYPE_Q2_K ? HS_DTYPE_Q3_K : m->all == HS_DTYPE_IQ2_XXS ? m->v : m->all;
    if (v)
        return m->v;
    if (down && m->all == HS_DTYPE_Q3_K && layer < n_layers / 16)
        return HS_DTYPE_Q5_K;
    if (down && m->all == HS_DTYPE_IQ2_XXS && layer < n_layers / 8)
        return HS_DTYPE_Q2_K;
    if (m->all == HS_DTYPE_IQ3_XXS && (strstr(name, ".q_proj.") || strstr(name, ".k_proj.")))
        return HS_DTYPE_IQ2_S;
    return down ? m->down : strstr(name, ".o_proj.") ? m->o : m->all;
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
    if (s >= MIX)
        return or_smaller_block(mixed(b, &mixes[s - MIX], name), cols);
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
    while (d.storage < N_STORAGES && strcasecmp(type, hs_storage_name(d.storage)))
        d.storage++;
    if (d.storage == N_STORAGES)
        return hs_err_set(err, -EINVAL, "'%s' is no way in which tensors are stored that is known", type);
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
