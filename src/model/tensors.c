/*
 * tensors.c - a recipe's claims on the checkpoint's tensors: present, of a type there are kernels for, of the shape
 * that the config implies. Everything taken is marked in b->used: 1 = dense, 2 = part of an expert; 3 = known, but not
 * needed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/model_int.h"

#define NAME_MAX_BYTES 256
enum { USED_DENSE = 1, USED_EXPERT = 2, NOT_USED = 3 };

static void fail(hs__build *b, int code, const char *fmt, ...) HS_PRINTF(3, 4);
static void fail(hs__build *b, int code, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (b->r == 0)
        b->r = hs_err_set(b->err, code, "%s: %s", b->c->path, text);
}

static void shape_text(const hs_tensor *t, char *out, size_t size)
{
    size_t at = 0;
    for (uint32_t d = 0; d < t->n_dims && d < HS_MAX_DIMS && at < size; d++)
        at += (size_t)snprintf(out + at, size - at, "%s%llu", d ? ", " : "", (unsigned long long)t->dims[d]);
    if (!t->n_dims)
        out[0] = 0;
}

/* Leading dimensions may be split ([heads][rows of a head][cols]), and a vector may be a matrix of one row. */
static bool has_shape(const hs_tensor *t, uint32_t rows, uint32_t cols)
{
    uint64_t leading = 1;
    for (uint32_t d = 0; d + 1 < t->n_dims; d++)
        if (hs_mul_u64(leading, t->dims[d], &leading) < 0)
            return false;
    uint64_t last = t->n_dims ? t->dims[t->n_dims - 1] : 0;
    return cols ? t->n_dims >= 2 && leading == rows && last == cols : t->n_dims && leading == 1 && last == rows;
}

/* The tensor's index; its own name in *ret_name (in buf, or name itself). */
static uint32_t find(const hs__build *b, const char *name, char buf[NAME_MAX_BYTES], const char **ret_name)
{
    *ret_name = name;
    buf[0] = 0;
    if (!b->c->gguf)
        return hs_checkpoint_find(b->c, name);
    uint32_t i = HS_NO_TENSOR;
    if (hs__name_in_gguf(name, true, buf, NAME_MAX_BYTES) == 0)
        i = hs_checkpoint_find(b->c, buf);
    if (i == HS_NO_TENSOR && hs__name_in_gguf(name, false, buf, NAME_MAX_BYTES) == 0)
        i = hs_checkpoint_find(b->c, buf);
    *ret_name = buf;
    return i;
}

/* Finds the tensor and checks it against rows x cols (cols 0: a vector) and its byte count. */
static uint32_t take(hs__build *b, const char *hf_name, uint32_t rows, uint32_t cols, uint8_t use)
{
    char buf[NAME_MAX_BYTES];
    const char *name;
    uint32_t i = HS_NO_TENSOR;
    if (b->describe) {
        name = hf_name;
        i = hs__describe_add(b, hf_name, rows, cols, use == USED_EXPERT);
    } else {
        i = find(b, hf_name, buf, &name);
    }
    if (i == HS_NO_TENSOR) {
        fail(b, -EINVAL, "tensor %s is missing", name);
        return HS_NO_TENSOR;
    }
    const hs_tensor *t = &b->c->tensors[i];
    if (!has_shape(t, rows, cols)) {
        char shape[100];
        shape_text(t, shape, sizeof shape);
        if (cols)
            fail(b, -EINVAL, "tensor %s has shape [%s]; %s implies [%u, %u]", name, shape,
                 b->c->gguf ? "the metadata" : "config.json", rows, cols);
        else
            fail(b, -EINVAL, "tensor %s has shape [%s]; %s implies [%u]", name, shape,
                 b->c->gguf ? "the metadata" : "config.json", rows);
        return HS_NO_TENSOR;
    }
    uint32_t row = cols ? cols : rows, block = hs_dtype_block(t->dtype);
    if (!block || row % block || t->nbytes != hs_dtype_bytes(t->dtype, row) * (cols ? rows : 1)) {
        fail(b, -EINVAL, "tensor %s has %llu bytes, which is not its shape times its type %s", name,
             (unsigned long long)t->nbytes, hs_dtype_name(t->dtype));
        return HS_NO_TENSOR;
    }
    b->used[i] = use;
    return i;
}

static bool is_float(hs_dtype t)
{
    return t == HS_DTYPE_F32 || t == HS_DTYPE_F16 || t == HS_DTYPE_BF16;
}

/* FP8 scales are all F32 or all BF16. */
static void check_scale(hs__build *b, const char *name, hs_dtype type)
{
    if (type != HS_DTYPE_F32 && type != HS_DTYPE_BF16)
        fail(b, -ENOTSUP, "tensor %s is %s; scales must be F32 or BF16", name, hs_dtype_name(type));
    else if (b->scale_type && b->scale_type != type)
        fail(b, -ENOTSUP, "tensor %s is %s, other scales are %s", name, hs_dtype_name(type),
             hs_dtype_name(b->scale_type));
    b->scale_type = type;
    b->arch->scale_bf16 = type == HS_DTYPE_BF16;
}

/* name: with its ".weight", and behind it an expert's number where experts are stacked. */
static void take_full(hs__build *b, hs__weight *ret, uint32_t rows, uint32_t cols, uint8_t use, const char *full)
{
    *ret = (hs__weight){take(b, full, rows, cols, use), HS_NO_TENSOR};
    if (b->r < 0)
        return;
    hs_dtype type = b->c->tensors[ret->tensor].dtype;
    if (is_float(type) || hs_dtype_block(type) > 1)
        return;
    if (type != HS_DTYPE_F8_E4M3) {
        fail(b, -ENOTSUP, "tensor %s is %s; F32, F16, BF16, F8_E4M3 and ggml's block types are supported", full,
             hs_dtype_name(type));
        return;
    }
    if (!b->arch->block_rows) {
        fail(b, -EINVAL, "tensor %s is F8_E4M3, but config.json has no quantization_config", full);
        return;
    }
    char scale[NAME_MAX_BYTES + 64];
    snprintf(scale, sizeof scale, "%s_scale_inv", full);
    ret->scale = take(b, scale, (rows + b->arch->block_rows - 1) / b->arch->block_rows,
                      (cols + b->arch->block_cols - 1) / b->arch->block_cols, use);
    if (b->r == 0)
        check_scale(b, scale, b->c->tensors[ret->scale].dtype);
}

static void take_mat(hs__build *b, hs__weight *ret, uint32_t rows, uint32_t cols, uint8_t use, const char *name)
{
    char full[NAME_MAX_BYTES + 32];
    snprintf(full, sizeof full, "%s.weight", name);
    take_full(b, ret, rows, cols, use, full);
}

static void refuse_no_float(hs__build *b, uint32_t tensor)
{
    if (b->r == 0 && !is_float(b->c->tensors[tensor].dtype))
        fail(b, -ENOTSUP, "tensor %s is %s; F32, F16 and BF16 are supported here", b->c->tensors[tensor].name,
             hs_dtype_name(b->c->tensors[tensor].dtype));
}

#define FORMAT_NAME(name, fmt)                                                                                         \
    do {                                                                                                               \
        va_list ap;                                                                                                    \
        va_start(ap, fmt);                                                                                             \
        vsnprintf(name, sizeof name, fmt, ap);                                                                         \
        va_end(ap);                                                                                                    \
    } while (0)

bool hs__has(const hs__build *b, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES], buf[NAME_MAX_BYTES];
    const char *own;
    FORMAT_NAME(name, fmt);
    return b->describe ? hs__describe_has(b, name) : find(b, name, buf, &own) != HS_NO_TENSOR;
}

void hs__pass_over_mat(hs__build *b, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES], full[NAME_MAX_BYTES + 32], buf[NAME_MAX_BYTES];
    const char *own;
    FORMAT_NAME(name, fmt);
    snprintf(full, sizeof full, "%s.weight", name);
    uint32_t i = find(b, full, buf, &own);
    if (i != HS_NO_TENSOR)
        b->used[i] = NOT_USED;
}

void hs__take_mat(hs__build *b, hs__weight *ret, uint32_t rows, uint32_t cols, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    if (b->r < 0)
        return;
    FORMAT_NAME(name, fmt);
    take_mat(b, ret, rows, cols, USED_DENSE, name);
}

void hs__take_vec(hs__build *b, uint32_t *ret, uint32_t n, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    if (b->r < 0)
        return;
    FORMAT_NAME(name, fmt);
    *ret = take(b, name, n, 0, USED_DENSE);
    refuse_no_float(b, *ret);
}

void hs__take_table(hs__build *b, uint32_t *ret, uint32_t rows, uint32_t cols, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    if (b->r < 0)
        return;
    FORMAT_NAME(name, fmt);
    if ((uint64_t)rows * cols > UINT32_MAX)
        fail(b, -ERANGE, "tensor %s would have %u x %u values, which are too many", name, rows, cols);
    *ret = take(b, name, rows, cols, USED_DENSE);
    refuse_no_float(b, *ret);
}

void hs__take_ends(hs__build *b)
{
    hs_arch *a = b->arch;
    bool tied = hs__cfg_bool(b, "tie_word_embeddings", false);
    hs__take_mat(b, &a->embed, b->spec->vocab, b->spec->hidden, "model.embed_tokens");
    hs__take_vec(b, &a->final_norm, b->spec->hidden, "model.norm.weight");
    if (tied)
        a->head = a->embed;
    else
        hs__take_mat(b, &a->head, b->spec->vocab, b->spec->hidden, "lm_head");
}

void hs__set_moe_layers(hs__build *b, const uint8_t *moe)
{
    if (b->r < 0)
        return;
    hs_model_spec *s = b->spec;
    for (uint32_t l = 0; l < s->n_layers; l++) {
        b->arch->layers[l].moe = !moe || moe[l];
        b->arch->layers[l].moe_index = s->n_moe_layers;
        s->n_moe_layers += b->arch->layers[l].moe;
    }
    uint64_t n = (uint64_t)s->n_moe_layers * s->n_experts;
    if (!n) {
        hs__refuse(b, "no layer has experts");
        return;
    }
    if (!b->describe && 2 * n > b->c->n_tensors) {
        fail(b, -EINVAL, "%s implies at least %llu experts' tensors, the files have %u tensors",
             b->c->gguf ? "the metadata" : "config.json", (unsigned long long)(2 * n), b->c->n_tensors);
        return;
    }
    uint32_t *numbers = hs_calloc(s->n_moe_layers, sizeof *numbers);
    b->expert_parts = hs_calloc((size_t)n * HS_EXPERT_PARTS, sizeof *b->expert_parts);
    s->moe_layer_number = numbers;
    s->expert_parts = b->expert_parts;
    if (!numbers || !b->expert_parts) {
        fail(b, -ENOMEM, "out of memory for the table of experts");
        return;
    }
    for (uint32_t l = 0; l < s->n_layers; l++)
        if (b->arch->layers[l].moe)
            numbers[b->arch->layers[l].moe_index] = l;
}

void hs__take_experts(hs__build *b, const char *prefix, const char *gate, const char *up, const char *down)
{
    const hs_model_spec *s = b->spec;
    uint32_t width = b->arch->moe_width;
    bool both =
        b->r == 0 && b->c->gguf && hs__has(b, "model.layers.%u.%s.0.gate_up_proj.weight", *s->moe_layer_number, prefix);
    const char *const names[3] = {both ? "gate_up_proj" : gate, up, down};
    if (both)
        b->arch->gate_up = HS__STACKED;
    for (uint32_t i = 0; b->r == 0 && i < s->n_moe_layers * s->n_experts; i++) {
        uint32_t *parts = b->expert_parts + (size_t)i * HS_EXPERT_PARTS;
        for (uint32_t p = 0; b->r == 0 && p < 3; p++) {
            char name[NAME_MAX_BYTES];
            hs__weight w = {HS_NO_TENSOR, HS_NO_TENSOR};
            snprintf(name, sizeof name, "model.layers.%u.%s.%u.%s", s->moe_layer_number[i / s->n_experts], prefix,
                     i % s->n_experts, names[p]);
            if (!both || p != 1)
                take_mat(b, &w,
                         p == 2 ? s->hidden
                         : both ? 2 * width
                                : width,
                         p == 2 ? width : s->hidden, USED_EXPERT, name);
            parts[2 * p] = w.tensor;
            parts[2 * p + 1] = w.scale;
        }
    }
}

/* Part p of an expert and its scales: name_blocks.E and name_scales.E. */
static void take_mxfp4(hs__build *b, uint32_t *parts, uint32_t rows, uint32_t cols, const char *name, uint32_t expert)
{
    char full[NAME_MAX_BYTES + 32];
    static const char *const tails[2] = {"blocks", "scales"};
    if (cols % 32 || (uint64_t)rows * (cols / 32) > UINT32_MAX)
        fail(b, -EINVAL, "%s: rows of %u elements are no blocks of 32, or too many", name, cols);
    for (uint32_t i = 0; b->r == 0 && i < 2; i++) {
        snprintf(full, sizeof full, "%s_%s.%u", name, tails[i], expert);
        parts[i] = i ? take(b, full, rows, cols / 32, USED_EXPERT) : take(b, full, rows * (cols / 32), 16, USED_EXPERT);
        if (b->r == 0 && b->c->tensors[parts[i]].dtype != HS_DTYPE_U8)
            fail(b, -ENOTSUP, "tensor %s is %s; U8 is supported", full, hs_dtype_name(b->c->tensors[parts[i]].dtype));
    }
}

void hs__take_mxfp4_experts(hs__build *b, const char *gate_up, const char *down)
{
    const hs_model_spec *s = b->spec;
    uint32_t width = b->arch->moe_width;
    for (uint32_t i = 0; b->r == 0 && i < s->n_moe_layers * s->n_experts; i++) {
        uint32_t *parts = b->expert_parts + (size_t)i * HS_EXPERT_PARTS;
        uint32_t layer = s->moe_layer_number[i / s->n_experts], expert = i % s->n_experts;
        char name[NAME_MAX_BYTES];
        parts[HS_PART_UP] = parts[HS_PART_UP_SCALE] = HS_NO_TENSOR;
        snprintf(name, sizeof name, "model.layers.%u.%s", layer, gate_up);
        take_mxfp4(b, parts + HS_PART_GATE, 2 * width, s->hidden, name, expert);
        snprintf(name, sizeof name, "model.layers.%u.%s", layer, down);
        take_mxfp4(b, parts + HS_PART_DOWN, s->hidden, width, name, expert);
    }
}

void hs__take_stacked_experts(hs__build *b, const char *gate_up, const char *down)
{
    const hs_model_spec *s = b->spec;
    uint32_t width = b->arch->moe_width;
    b->arch->gate_up = HS__STACKED;
    for (uint32_t i = 0; b->r == 0 && i < s->n_moe_layers * s->n_experts; i++) {
        uint32_t *parts = b->expert_parts + (size_t)i * HS_EXPERT_PARTS;
        uint32_t layer = s->moe_layer_number[i / s->n_experts], expert = i % s->n_experts;
        char name[NAME_MAX_BYTES];
        hs__weight both, last;
        for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++)
            parts[p] = HS_NO_TENSOR;
        snprintf(name, sizeof name, "model.layers.%u.%s.weight.%u", layer, gate_up, expert);
        take_full(b, &both, 2 * width, s->hidden, USED_EXPERT, name);
        snprintf(name, sizeof name, "model.layers.%u.%s.weight.%u", layer, down, expert);
        take_full(b, &last, s->hidden, width, USED_EXPERT, name);
        parts[HS_PART_GATE] = both.tensor;
        parts[HS_PART_DOWN] = last.tensor;
    }
}
