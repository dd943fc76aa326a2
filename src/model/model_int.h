/*
 * model_int.h - shared inside src/model: what a recipe fills in (hs_arch), what create binds (hs_model), and the
 * blocks.
 *
 * A recipe describes a model entirely by data: sizes, rules and which tensor is which weight. The blocks (norm, rope,
 * attention, router, FFN, MoE) read that data; none of them knows an architecture's name.
 *
 * Shapes: N = tokens of a pass, E = experts, k = experts per token, H = heads. All buffers are row-major floats.
 */
#ifndef HS_MODEL_MODEL_INT_H
#define HS_MODEL_MODEL_INT_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "math/attend.h"
#include "math/ops.h"
#include "model/model.h"

/* Matrices of a layer. GATE, UP, DOWN: the dense FFN, or in a layer with experts the shared expert. */
typedef enum hs__w {
    HS__W_Q,    /* GQA, and MLA without q_lora */
    HS__W_Q_A,  /* MLA */
    HS__W_Q_B,  /* MLA */
    HS__W_K,    /* GQA */
    HS__W_V,    /* GQA */
    HS__W_KV_A, /* MLA */
    HS__W_KV_B, /* MLA: per head nope rows of K, then v rows of V */
    HS__W_K_B,  /* or split, as in GGUF: per head K transposed, kv_lora rows of nope */
    HS__W_V_B,  /* and v rows of V */
    HS__W_O,
    HS__W_ROUTER,
    HS__W_GATE,
    HS__W_UP,
    HS__W_DOWN,
    HS__W_SHARED_GATE, /* one row: the shared expert's output is multiplied by sigmoid of it */
    HS__W_COUNT
} hs__w;

/* Vectors of a layer, floats in memory whatever the file's type. */
typedef enum hs__v {
    HS__V_ATTN_NORM,
    HS__V_FFN_NORM,
    HS__V_Q_NORM,  /* GQA: per head or of all heads; MLA: of the query latent */
    HS__V_KV_NORM, /* GQA: of k, likewise; MLA: of the KV latent */
    HS__V_Q_BIAS,  /* GQA */
    HS__V_K_BIAS,
    HS__V_V_BIAS,
    HS__V_O_BIAS,
    HS__V_SINKS,      /* per head: joins the denominator of its softmax */
    HS__V_LOGIT_BIAS, /* of the router's logits */
    HS__V_GATE_BIAS,  /* [E][width] of the experts' matrices */
    HS__V_UP_BIAS,    /* [E][width] */
    HS__V_DOWN_BIAS,  /* [E][hidden] */
    HS__V_ROUTER_BIAS,
    HS__V_COUNT
} hs__v;

typedef struct hs__weight {
    uint32_t tensor, scale; /* indexes in the checkpoint, HS_NO_TENSOR = absent */
} hs__weight;

typedef struct hs__layer_spec {
    bool moe;
    uint32_t moe_index; /* among the layers with experts */
    uint32_t window;    /* keys that a token sees, itself included; 0 = all */
    uint32_t ffn_width; /* of GATE and UP; 0 = none (a layer with experts and no shared one) */
    hs__weight w[HS__W_COUNT];
    uint32_t v[HS__V_COUNT];
} hs__layer_spec;

typedef struct hs__rope {
    uint32_t dim; /* rotary width */
    bool neox;    /* pairs (i, i + dim/2) instead of (2i, 2i+1) */
    double theta;
    bool yarn, truncate;
    double factor, original, beta_fast, beta_slow;
    float amplitude; /* multiplies cos and sin */
} hs__rope;

typedef struct hs__router_rule {
    bool sigmoid; /* else softmax over all experts */
    uint32_t n_group, topk_group;
    bool group_max; /* a group's score is its best expert's, else the sum of its two best */
    bool normalise;
    float normalise_eps, scale;
} hs__router_rule;

/* How an expert's gate and up lie: each a part of its own; both in part GATE, one below the other; or row by row in
 * turn, which then goes for their biases too. */
typedef enum hs__gate_up { HS__APART, HS__STACKED, HS__INTERLEAVED } hs__gate_up;

typedef struct hs__attention hs__attention;

typedef struct hs_arch {
    const hs_checkpoint *checkpoint;
    const hs__attention *attention;
    uint32_t heads, kv_heads, head_dim;              /* GQA; MLA has only heads */
    uint32_t q_lora, kv_lora, nope, rope_dim, v_dim; /* MLA; q_lora 0 = none */
    uint32_t q_width, out_width;                     /* of all heads: columns of q, inputs of o_proj */
    uint32_t kv_row;                                 /* values per token and layer */
    float eps, inner_eps, softmax_scale;             /* inner: q and kv norms inside the attention */
    bool norm_rows;                                  /* q and k are normed over all heads at once, not per head */
    float clip_qkv;                                  /* q, k and v are limited to +-this; 0 = not */
    float embed_scale, residual_scale, logit_scale;  /* factors of embeddings, of a layer's branches, of logits */
    hs__rope rope;
    hs__router_rule router;
    uint32_t moe_width, ffn_width_max; /* of an expert; of the widest dense or shared FFN */
    float glu_limit, glu_alpha;        /* of experts with hs_glu_limited; limit 0 = SiLU */
    bool kinds[HS_ACT_COUNT];          /* 8-bit vectors that its matrices take */
    hs__gate_up gate_up;
    hs_dtype expert_type;            /* of experts' matrices, whose tensors are U8; NONE: their tensors' own */
    uint32_t block_rows, block_cols; /* FP8 scales; 0 = the checkpoint has none */
    bool scale_bf16;                 /* of FP8 */
    hs__weight embed, head;
    uint32_t final_norm;
    hs__layer_spec *layers; /* [n_layers] */
} hs_arch;

/* ---- building a spec: a recipe's calls do nothing once one of them has failed, so that it needs no checks ---- */

typedef struct hs__build {
    const hs_checkpoint *c;
    hs_model_spec *spec;
    hs_arch *arch;
    uint8_t *used; /* [n_tensors] taken by the recipe */
    uint32_t *expert_parts;
    hs_dtype scale_type; /* of the FP8 scales so far, NONE = none yet */
    const char *where;   /* config.json's or the GGUF file's name in error sentences */
    /* Of a GGUF file: its architecture, what it says in other words (gguf_derive.c), and the last key looked up. */
    const char *gguf_arch;
    json_t *derived;
    char key[128];
    struct hs__describe *describe; /* not NULL: there are no tensors yet, taking one adds it */
    hs_err *err;
    int r;
} hs__build;

#define HS__MAX_LAYERS  1024
#define HS__MAX_WIDTH   (1 << 20)
#define HS__MAX_HEADS   1024
#define HS__MAX_EXPERTS 4096
#define HS__MAX_TOP_K   64

/* Keys are those of config.json; those of a GGUF file are found by them. NULL = absent. */
const json_t *hs__cfg_get(hs__build *b, const char *key);
/* What errors call a key. */
typedef struct hs__cfg_text {
    char text[128];
} hs__cfg_text;
hs__cfg_text hs__cfg_name(hs__build *b, const char *key);
uint32_t hs__cfg_u32(hs__build *b, const char *key, uint32_t min, uint32_t max);
uint32_t hs__cfg_u32_or(hs__build *b, const char *key, uint32_t min, uint32_t max, uint32_t def);
double hs__cfg_num(hs__build *b, const char *key, double min, double max, double def);
bool hs__cfg_bool(hs__build *b, const char *key, bool def);
const char *hs__cfg_str(hs__build *b, const char *key, const char *def);
/* The string must be value (absent = fine). */
void hs__cfg_only(hs__build *b, const char *key, const char *value);
void hs__refuse(hs__build *b, const char *fmt, ...) HS_PRINTF(2, 3);
/* What every architecture has: sizes, eps, hidden_act, tokens; allocates arch->layers. */
void hs__cfg_sizes(hs__build *b, double default_eps);
/* The same of those without biases of all four projections, in FP8 or not quantised. */
void hs__cfg_common(hs__build *b, double default_eps);
/* The switch must have the value (absent = fine). */
void hs__cfg_switch(hs__build *b, const char *key, bool value);
/* quantization_config is absent or says FP8 in blocks of 128. */
void hs__cfg_fp8(hs__build *b);
/* quantization_config must be there and say that experts are MXFP4. */
void hs__cfg_mxfp4(hs__build *b);
/* rope_theta with rope_scaling or rope_parameters. */
void hs__cfg_rope(hs__build *b, uint32_t dim, bool neox, double default_theta);

/* gguf.c. The object that holds the value of a key, and in *key what it is called there (NULL-safe: the object may lack
 * it). */
const json_t *hs__cfg_place(hs__build *b, const char **key);
/* What rope_scaling's key is called in errors, and in what hs__cfg_get gives for it; valid until the next look-up. */
const char *hs__scaling_key(hs__build *b, const char *key);
/* A tensor's name in a GGUF file; single: an expert's, in a file that does not stack them. -ENOENT if it has none. */
int hs__name_in_gguf(const char *hf, bool single, char *out, size_t cap) HS_MUST_CHECK;
/* gguf_derive.c. Reads the architecture and fills b->derived; the model_type of the recipe, NULL after an error. */
const char *hs__gguf_model_type(hs__build *b);

bool hs__has(const hs__build *b, const char *fmt, ...) HS_PRINTF(2, 3);
/* Tensor NAME.weight may be there, and is not needed. */
void hs__pass_over_mat(hs__build *b, const char *fmt, ...) HS_PRINTF(2, 3);
/* Takes tensor NAME.weight (and NAME.weight_scale_inv) as a matrix of rows x cols. */
void hs__take_mat(hs__build *b, hs__weight *ret, uint32_t rows, uint32_t cols, const char *fmt, ...) HS_PRINTF(5, 6);
/* Takes tensor NAME as a float vector of n. */
void hs__take_vec(hs__build *b, uint32_t *ret, uint32_t n, const char *fmt, ...) HS_PRINTF(4, 5);
/* Takes tensor NAME as floats of rows x cols. */
void hs__take_table(hs__build *b, uint32_t *ret, uint32_t rows, uint32_t cols, const char *fmt, ...) HS_PRINTF(5, 6);
/* Embedding, final norm, head (or tied). */
void hs__take_ends(hs__build *b);
/* Marks layers with experts (moe[l] != 0; NULL: all) and allocates their parts; sizes come from spec and arch. */
void hs__set_moe_layers(hs__build *b, const uint8_t *moe);
/* Takes all experts: PREFIX.E.gate, .up and .down of each; of a GGUF file also where gate and up are one tensor. */
void hs__take_experts(hs__build *b, const char *prefix, const char *gate, const char *up, const char *down);

/* Takes experts whose gate and up are one tensor, name.weight.E of [2 width][hidden], and down.weight.E. */
void hs__take_stacked_experts(hs__build *b, const char *gate_up, const char *down);
/* Takes experts in MXFP4 as gpt-oss is published: gate_up_blocks.E, [2 width][hidden / 32][16] with the rows of gate
 * and up in turn, gate_up_scales.E, [2 width][hidden / 32], and down likewise. */
void hs__take_mxfp4_experts(hs__build *b, const char *gate_up, const char *down);

/* arch_deepseek.c: sizes and rule of DeepSeek-V3's router, which others have, too. */
void hs__read_sigmoid_router(hs__build *b);
/* recipe.c: what several recipes have in common. */
void hs__read_gqa(hs__build *b, uint32_t default_kv_heads, bool neox, double default_theta);
enum { HS__HEAD_NORMS = 1, HS__ROW_NORMS = 2, HS__QKV_BIAS = 4, HS__O_BIAS = 8 };
void hs__take_gqa(hs__build *b, uint32_t l, unsigned with);
void hs__take_norms(hs__build *b, uint32_t l);
/* name.{gate,up,down}_proj as the layer's own FFN; width 0: it has none. */
void hs__take_ffn(hs__build *b, uint32_t l, uint32_t width, const char *name);
/* Where configs have one width, of experts: GGUF names it so, or feed_forward_length. */
uint32_t hs__cfg_expert_width(hs__build *b);
/* num_experts_per_tok; def 0: it must be there. */
uint32_t hs__cfg_top_k(hs__build *b, uint32_t def);
/* moe[l] by mlp_only_layers and decoder_sparse_step. */
void hs__sparse_layers(hs__build *b, uint8_t *moe);

typedef struct hs__recipe {
    const char *model_type;   /* config.json's */
    const char *architecture; /* architectures[0], where model_type is missing */
    const char *arch;         /* the name hotset reports */
    void (*build)(hs__build *b);
} hs__recipe;

/* spec.c. Runs the recipe that the checkpoint's config asks for; hs__spec_end ends b, also after an error. */
int hs__spec_build(const hs_checkpoint *c, struct hs__describe *describe, hs__build *b, hs_err *err) HS_MUST_CHECK;
void hs__spec_end(hs__build *b);
/* describe.c. The index of the tensor, which is new; HS_NO_TENSOR with b->r set. */
uint32_t hs__describe_add(hs__build *b, const char *name, uint32_t rows, uint32_t cols, bool expert);
/* Whether a model of that config has a tensor that only some have. */
bool hs__describe_has(const hs__build *b, const char *name);

void hs__build_deepseek_v2(hs__build *b);
void hs__build_deepseek_v3(hs__build *b);
void hs__build_qwen3_moe(hs__build *b);
void hs__build_mixtral(hs__build *b);
void hs__build_qwen2_moe(hs__build *b);
void hs__build_olmoe(hs__build *b);
void hs__build_granitemoe(hs__build *b);
void hs__build_gpt_oss(hs__build *b);
void hs__build_glm4_moe(hs__build *b);
void hs__build_minimax_m2(hs__build *b);
void hs__build_ernie4_5_moe(hs__build *b);

/* ---- a model at work ---- */

typedef struct hs__layer {
    hs_mat w[HS__W_COUNT];
    const float *v[HS__V_COUNT]; /* NULL = absent */
} hs__layer;

/* Vectors with 8-bit elements of one kind, for the matrices that take them. */
typedef struct hs__q8 {
    char *data;
    uint64_t row_bytes;
    const void **rows; /* [rows that fit] where each vector is */
} hs__q8;

/* A vector's way through an FFN: x, [hidden], is row `token` of m->norm. */
typedef struct hs__ffn_row {
    uint32_t token;
    float *gate, *up, *out; /* [width], [width], [hidden] */
} hs__ffn_row;

/* The same vectors as lists, as matrices want them that multiply several at once; entry i belongs to m->rows[i]. */
typedef struct hs__ffn_lists {
    const void **x[HS_ACT_COUNT]; /* 8-bit, by kind; [HS_ACT_F32] is not used */
    const void **inner;           /* 8-bit */
    float **gate, **up, **out;
} hs__ffn_lists;

/* One FFN of a decode job and the vectors that go through it. */
typedef struct hs__ffn_item {
    hs_mat gate, up, down;
    const float *gate_bias, *up_bias, *down_bias; /* NULL = none */
    float glu_limit, glu_alpha;                   /* limit 0: SiLU */
    const hs__ffn_row *rows;
    uint32_t n_rows;
    uint32_t tile, n_tiles, down_tile, n_down_tiles; /* rows of a task, tasks */
    uint32_t first, first_down;                      /* task numbers */
    _Atomic uint32_t done;                           /* finished tasks of the first stage */
    _Atomic uint32_t inner_ready;                    /* the second stage may begin */
} hs__ffn_item;

typedef struct hs__predict {
    float *x;                 /* [max_batch][hidden] residual as known */
    float *logits;            /* [max_batch][E] */
    float *best;              /* [E] best margin of an expert over the batch */
    hs_expert_guess *guesses; /* [E] */
    uint8_t *guessed;         /* [E] of the layer below */
    uint32_t n_guesses;
    uint32_t layer; /* moe layer the guesses are for; UINT32_MAX = none */
    hs_predict_stats stats;
} hs__predict;

struct hs_model {
    const hs_model_spec *spec;
    const hs_arch *a;
    hs_model_config cfg;
    const hs_kernels *k;
    hs_pool *pool;
    hs_pool *inline_pool; /* of one thread: jobs too small to wake the others */
    hs_experts experts;
    hs_route_fn on_route;
    void *route_ctx;
    hs_choose_fn choose;
    void *choose_ctx;
    hs_model_times times;
    void *memory;
    uint64_t memory_bytes;

    hs_mat embed, head;
    const float *final_norm;
    hs__layer *layers;
    float *inv_freq; /* [rope/2] */

    uint32_t n_max;               /* N: most tokens in a pass */
    uint32_t block;               /* most tokens of a prompt in a block */
    float *x;                     /* [N][hidden] residual */
    float *norm;                  /* [N][hidden] */
    float *q;                     /* [B][q_width]; B = block or max_batch, whichever is more */
    float *latent;                /* [B][q_lora] */
    float *kv_new;                /* [B][kv_row] keys and values of the block's tokens */
    float *att;                   /* [B][out_width] */
    float *proj;                  /* [B][hidden] */
    float *cos, *sin;             /* [N][rope/2] */
    float *row_max, *row_sum;     /* [H][block] online softmax of prefill */
    float *absorbed;              /* [max_batch][H][kv_row] queries of MLA decode */
    float *v_out;                 /* [max_batch][kv_b rows] MLA decode */
    uint32_t n_ranges;            /* of a sequence's keys in decode */
    float *range_acc;             /* [max_batch][n_ranges][H][value width] */
    float *range_max, *range_sum; /* [max_batch][n_ranges][H] */
    char *thread_scratch;         /* [threads] at thread_bytes: attention */
    uint64_t thread_bytes;
    char *gemm; /* hs_gemm's */

    float *gate, *up;            /* FFN inner rows, see model.c */
    float *shared;               /* [N][hidden], where there is a shared expert */
    float *shared_gate;          /* [N] its factor */
    float *part;                 /* [N][k][hidden] */
    float *gather, *out;         /* [block][hidden] prefill experts */
    float *logits;               /* [N][E] of the router */
    float *score, *pick, *group; /* [E] each: scratch of a routing decision */
    uint32_t *ids;               /* [N][k] by falling weight */
    float *weight, *normalised;  /* [N][k] */
    uint8_t *resident;           /* [N][k] */
    hs_expert_want *wants;       /* [E] */
    uint8_t *want_resident;      /* [E] */
    uint32_t *want_of;           /* [E] expert -> place in wants, UINT32_MAX */
    uint32_t *want_first;        /* [E + 1] place in pairs */
    uint32_t *tokens;            /* [N] of an expert in prefill */
    uint32_t *pairs;             /* [N * k] token * k + rank, grouped by want */
    uint32_t *delivered;         /* [E] */
    uint8_t *known;              /* [max_batch * k] partial output is there */
    hs_expert *expert;           /* [E] */
    hs__ffn_item *items;         /* [E + 1] */
    hs__ffn_row *rows;           /* [max_batch * (k + 1)] */
    hs__ffn_lists lists;
    hs__q8 q8_in[HS_ACT_COUNT];    /* [N] m->norm, of kinds that the model has */
    hs__q8 q8_other[HS_ACT_COUNT]; /* [B] what else matrices read */
    hs__q8 q8_inner[HS_ACT_COUNT]; /* [B, or max_batch * (k + 1)] what down matrices read */
    uint32_t n_norm;               /* rows of m->norm */
    bool q8_norm[HS_ACT_COUNT];    /* q8_in holds m->norm as it is now */
    float **y_rows;                /* [3][N] where products go */
    const void **x_rows;           /* [2][N] an expert's prompt tokens */
    hs__predict predict;
};

/* ---- blocks ---- */

/* Prompt tokens that go through attention, or through one FFN, at a time: more would need more scratch and not compute
 * faster. */
#define HS__BLOCK 512u

/* A pass: n tokens; in prefill of one sequence, in decode one of each sequence. */
typedef struct hs__pass {
    hs_phase phase;
    uint32_t n;
    hs_kv *const *kvs; /* prefill: [1]; decode: [n] */
    uint32_t first;    /* of a part of a prefill's chunk: tokens of the chunk before it */
} hs__pass;

static inline hs_kv *hs__pass_kv(const hs__pass *p, uint32_t i)
{
    return p->kvs[p->phase == HS_PHASE_PREFILL ? 0 : i];
}
static inline uint32_t hs__pass_position(const hs__pass *p, uint32_t i)
{
    return p->phase == HS_PHASE_PREFILL ? p->kvs[0]->length + p->first + i : p->kvs[i]->length;
}

/* Attention: reads m->norm, appends keys and values to the caches, leaves the heads' outputs in m->att. */
struct hs__attention {
    void (*run)(hs_model *m, const hs__pass *p, uint32_t layer);
    uint64_t (*thread_bytes)(const hs_arch *a);
};
extern const hs__attention hs__attention_mla, hs__attention_gqa;

/* kv.c: rows of kv_row values, in the cache's type; those of a layer lie together. */
size_t hs__kv_row_bytes(const hs_arch *a, hs_kv_type type);
char *hs__kv_row(const hs_model *m, const hs_kv *kv, uint32_t layer, uint32_t position);
void hs__kv_write(const hs_model *m, hs_kv *kv, uint32_t layer, uint32_t position, const float *row);
/* Values [first, first + n) of a row. */
void hs__kv_read(const hs_model *m, const hs_kv *kv, uint32_t layer, uint32_t position, uint32_t first, uint32_t n,
                 float *out);

/* attention_decode.c: one query of each sequence. */
typedef struct hs__decode {
    hs_model *m;
    const hs__pass *p;
    uint32_t layer;
    const float *sinks;                      /* [heads] or NULL */
    uint32_t window;                         /* keys that the token sees; 0 = all */
    uint32_t units, heads_per_unit;          /* heads of a unit share their keys */
    uint32_t qk_dim, v_dim;                  /* of a head */
    uint32_t key_step, value_at, value_step; /* values of a cache row: unit u's key begins at u key_step, its value at
                                                value_at + u value_step; value_at 0: the key's first v_dim */
    const float *q;                          /* [seq][heads][qk_dim] */
    /* Makes a head's query (NULL: it is there); makes its output from hs__decode_result; scratch: hs__decode_bytes. */
    void (*begin)(const struct hs__decode *d, uint32_t seq, uint32_t head);
    void (*end)(const struct hs__decode *d, uint32_t seq, uint32_t head, float *scratch);
} hs__decode;
/* head_bytes: what begin and end read for one token, all heads together. */
void hs__decode_run(const hs__decode *d, uint64_t head_bytes);
/* The weighted mean of the values that a head has seen, out [v_dim]. */
void hs__decode_result(const hs__decode *d, uint32_t seq, uint32_t head, float *out);
uint64_t hs__decode_bytes(uint32_t qk_dim, uint32_t v_dim);
/* Most ranges that a cache is cut into. */
uint32_t hs__decode_ranges(uint32_t max_context);

/* attention.c: prefill, units (heads that share keys) as tasks. load fills a block's key panels and values
 * [n][v_width]; begin_unit may prepare extra. */
#define HS__KEY_BLOCK HS_ATTEND_KEYS
typedef struct hs__tiles {
    hs_model *m;
    const hs_kv *kv;
    uint32_t layer, n, first; /* tokens, position of the first */
    const float *sinks;       /* [heads] or NULL */
    uint32_t window;          /* keys that a token sees; 0 = all */
    uint32_t units, heads_per_unit, qk_dim, v_dim, v_width, splits;
    void (*begin_unit)(const struct hs__tiles *t, uint32_t unit, float *extra);
    void (*load)(const struct hs__tiles *t, uint32_t unit, uint32_t key0, uint32_t n, float *extra, float *panels,
                 float *values);
} hs__tiles;
uint64_t hs__tiles_bytes(uint32_t qk_dim, uint32_t v_width, uint64_t extra_floats);
void hs__tiles_run(hs__tiles *t);

/* linear.c: the two ways through a matrix. */
typedef struct hs__product {
    const hs_mat *w;
    const float *x;
    float *y;
    size_t x_stride, y_stride;
} hs__product;
/* Several products for the same n tokens as one job; by the pass's path (matrix-vector or GEMM). */
void hs__linear(hs_model *m, hs_phase phase, const hs__product *p, uint32_t n_products, uint32_t n);
/* What a matrix is multiplied by. */
hs_act hs__act(const hs_model *m, const hs_mat *w);
/* n vectors of cols elements at x as 8-bit vectors. x == m->norm is done once until hs__norm_changed. */
void hs__make_q8(hs_model *m, hs__q8 *to, hs_act a, const float *x, size_t x_stride, uint32_t cols, uint32_t n);
void hs__norm_changed(hs_model *m, uint32_t n);
/* y rows i at y + i * stride. */
float **hs__y_rows(hs_model *m, uint32_t list, float *y, size_t stride, uint32_t n);
void hs__rmsnorm_rows(const hs_model *m, const float *x, size_t x_stride, const float *w, uint32_t width, float eps,
                      uint32_t n, float *out, size_t out_stride);
/* Work on this many bytes or fewer stays on the calling thread: waking the pool would cost more. */
#define HS__INLINE_BYTES (16u << 10)
/* Rows of a task in a job over job_bytes of weights; a multiple of 8. Tasks do not influence bits. */
uint32_t hs__tile_rows(const hs_model *m, uint64_t job_bytes, uint64_t row_bytes);
void hs__run(hs_model *m, uint64_t work_bytes, uint32_t n_tasks, hs_task_fn fn, void *ctx);

/* rope.c */
void hs__rope_frequencies(const hs__rope *r, float *inv_freq);
double hs__yarn_mscale(double factor, double mscale);
/* Fills m->cos, m->sin for the pass's positions. */
void hs__rope_angles(hs_model *m, const hs__pass *p);
void hs__rope_apply(const hs_model *m, float *x, uint32_t token);

/* router.c: logits [E] -> score (unbiased) and pick (what selection compares; -INFINITY outside chosen groups). */
void hs__route_scores(const hs_model *m, const float *logits, const float *bias, float *score, float *pick);
/* The router's logits of n tokens x, [n][E]. */
void hs__router_logits(hs_model *m, hs_phase phase, const hs__layer *l, const float *x, uint32_t n, float *logits);
/* The k experts of token i of the pass, into m->ids, weight, normalised: the router's choice by falling weight, or
 * chosen[k] in that order unless it is NULL. */
void hs__route_token(hs_model *m, const hs__layer *l, uint32_t i, const uint32_t *chosen);

/* ffn.c */
void hs__ffn_decode(hs_model *m, hs__ffn_item *items, uint32_t n_items);
uint64_t hs__ffn_item_bytes(const hs__ffn_item *it);
/* Prompt tokens through the matrices, biases and activation of it: rows tokens[i] of m->norm (NULL: row i), results to
 * out[i]. The item's rows are not looked at. */
void hs__ffn_prompt(hs_model *m, const hs__ffn_item *it, const uint32_t *tokens, uint32_t n, float *const *out);
/* The layer's own FFN (dense or shared), without rows. */
hs__ffn_item hs__ffn_own_item(const hs_model *m, uint32_t layer);
/* The same as an item over n rows starting at m->rows[first_row]. */
void hs__ffn_own(hs_model *m, uint32_t layer, uint32_t n, float *out, uint32_t first_row, hs__ffn_item *it);

/* moe.c: m->norm -> adds the layer's output to m->x. */
int hs__moe_run(hs_model *m, const hs__pass *p, uint32_t layer, hs_err *err) HS_MUST_CHECK;

/* predict.c: guesses a layer's experts and hints them. What is known of a layer's result: */
typedef enum hs__known { HS__BEFORE_EXPERTS, HS__SOME, HS__ALL } hs__known;
/* Before a layer of generated tokens: if it is the last dense one, or there is none before it, those of the first layer
 * with experts, from what is there. */
void hs__predict_first(hs_model *m, uint32_t layer, uint32_t n);
/* Those of the next layer. */
void hs__predict_next(hs_model *m, uint32_t layer, uint32_t n, hs__known known);
void hs__predict_prompt(hs_model *m, uint32_t layer, uint32_t n);
/* Compares the wants of a layer with its guess. */
void hs__predict_check(hs_model *m, uint32_t moe_layer, uint32_t n_wants);

#endif
