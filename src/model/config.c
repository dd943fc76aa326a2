/*
 * config.c - reading config.json for the recipes: bounded values, errors that name the field, and what all
 * architectures share. Once b->r is negative every function here returns its default and does nothing.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/model_int.h"

void hs__refuse(hs__build *b, const char *fmt, ...)
{
    if (b->r < 0)
        return;
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->r = hs_err_set(b->err, -ENOTSUP, "%s: %s", b->where, text);
}

const json_t *hs__cfg_get(hs__build *b, const char *key)
{
    const json_t *obj = hs__cfg_place(b, &key), *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

hs__cfg_text hs__cfg_name(hs__build *b, const char *key)
{
    hs__cfg_text t;
    hs__cfg_place(b, &key);
    snprintf(t.text, sizeof t.text, "%s", key);
    return t;
}

uint32_t hs__cfg_u32_or(hs__build *b, const char *key, uint32_t min, uint32_t max, uint32_t def)
{
    int64_t v = def;
    const json_t *obj = hs__cfg_place(b, &key);
    if (b->r == 0)
        b->r = hs_json_int_or(obj, b->where, key, min, max, def, &v, b->err);
    return b->r == 0 ? (uint32_t)v : def;
}

uint32_t hs__cfg_u32(hs__build *b, const char *key, uint32_t min, uint32_t max)
{
    int64_t v = min;
    const json_t *obj = hs__cfg_place(b, &key);
    if (b->r == 0)
        b->r = hs_json_int(obj, b->where, key, min, max, &v, b->err);
    return b->r == 0 ? (uint32_t)v : min;
}

static double number(hs__build *b, const json_t *obj, const char *key, double min, double max, double def)
{
    double v = def;
    if (b->r == 0)
        b->r = hs_json_num_or(obj, b->where, key, def, &v, b->err);
    if (b->r == 0 && !(v >= min && v <= max))
        b->r = hs_err_set(b->err, -ERANGE, "%s: %s is %g; %g to %g are possible", b->where, key, v, min, max);
    return b->r == 0 ? v : def;
}

double hs__cfg_num(hs__build *b, const char *key, double min, double max, double def)
{
    const json_t *obj = hs__cfg_place(b, &key);
    return number(b, obj, key, min, max, def);
}

bool hs__cfg_bool(hs__build *b, const char *key, bool def)
{
    bool v = def;
    const json_t *obj = hs__cfg_place(b, &key);
    if (b->r == 0)
        b->r = hs_json_bool_or(obj, b->where, key, def, &v, b->err);
    return b->r == 0 ? v : def;
}

const char *hs__cfg_str(hs__build *b, const char *key, const char *def)
{
    const char *v = def;
    const json_t *obj = hs__cfg_place(b, &key);
    if (b->r == 0)
        b->r = hs_json_str_or(obj, b->where, key, def, &v, b->err);
    return b->r == 0 ? v : def;
}

static void only(hs__build *b, const json_t *obj, const char *key, const char *value)
{
    const char *v = value;
    if (b->r == 0)
        b->r = hs_json_str_or(obj, b->where, key, value, &v, b->err);
    if (b->r == 0 && strcmp(v, value))
        hs__refuse(b, "%s '%.80s' is not supported; only %s is", key, v, value);
}

void hs__cfg_only(hs__build *b, const char *key, const char *value)
{
    const json_t *obj = hs__cfg_place(b, &key);
    only(b, obj, key, value);
}

/* The object, if its quant_method is the given one. */
static const json_t *quantization(hs__build *b, const char *method)
{
    const json_t *q = hs__cfg_get(b, "quantization_config");
    if (b->r < 0 || !q)
        return NULL;
    if (!json_is_object(q)) {
        hs__refuse(b, "quantization_config must be an object");
        return NULL;
    }
    if (!json_is_string(json_object_get(q, "quant_method")))
        hs__refuse(b, "quantization_config.quant_method is missing");
    only(b, q, "quant_method", method);
    return q;
}

void hs__cfg_mxfp4(hs__build *b)
{
    if (!quantization(b, "mxfp4"))
        hs__refuse(b, "quantization_config is missing; experts in MXFP4, as published, are supported");
    b->arch->expert_type = HS_DTYPE_MXFP4_PAIRS;
    b->arch->gate_up = HS__INTERLEAVED;
}

void hs__cfg_fp8(hs__build *b)
{
    const json_t *q = quantization(b, "fp8");
    if (!q)
        return;
    const char *fmt = json_string_value(json_object_get(q, "fmt"));
    if (!fmt || strcmp(fmt, "float8_e4m3fn")) /* the same by another name */
        only(b, q, "fmt", "e4m3");
    only(b, q, "activation_scheme", "dynamic");
    const json_t *block = json_object_get(q, "weight_block_size");
    if (b->r == 0 && (json_array_size(block) != 2 || json_integer_value(json_array_get(block, 0)) != 128 ||
                      json_integer_value(json_array_get(block, 1)) != 128))
        hs__refuse(b, "quantization_config.weight_block_size must be [128, 128]");
    b->arch->block_rows = b->arch->block_cols = 128;
}

static void add_eos(hs__build *b, const char *where, const char *key, const json_t *id)
{
    if (b->r < 0)
        return;
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= b->spec->vocab) {
        b->r = hs_err_set(b->err, -ERANGE, "%s: %s must be ids in the vocabulary of %u", where, key, b->spec->vocab);
        return;
    }
    uint32_t v = (uint32_t)json_integer_value(id), most = sizeof b->spec->eos / sizeof *b->spec->eos;
    for (uint32_t i = 0; i < b->spec->n_eos; i++)
        if (b->spec->eos[i] == v)
            return;
    if (b->spec->n_eos == most) {
        b->r = hs_err_set(b->err, -ERANGE, "%s: %s lists more than %u ids", where, key, most);
        return;
    }
    b->spec->eos[b->spec->n_eos++] = v;
}

/* key: eos_token_id, or what config calls it. */
static void read_eos(hs__build *b, const char *where, const json_t *config, const char *key)
{
    const json_t *id = json_object_get(config, key);
    if (!id || json_is_null(id))
        return;
    if (!json_is_array(id)) {
        add_eos(b, where, key, id);
        return;
    }
    for (size_t i = 0; i < json_array_size(id); i++)
        add_eos(b, where, key, json_array_get(id, i));
}

static void read_tokens(hs__build *b)
{
    int64_t bos = -1;
    const char *key = "bos_token_id";
    const json_t *obj = hs__cfg_place(b, &key);
    if (b->r == 0)
        b->r = hs_json_int_or(obj, b->where, key, -1, (int64_t)b->spec->vocab - 1, -1, &bos, b->err);
    b->spec->bos_token = bos;
    key = "eos_token_id";
    obj = hs__cfg_place(b, &key);
    read_eos(b, b->where, obj, key);
    read_eos(b, "generation_config.json", b->c->generation_config, "eos_token_id");
}

void hs__cfg_sizes(hs__build *b, double default_eps)
{
    hs_model_spec *s = b->spec;
    if (b->r == 0 && !json_is_object(b->c->config))
        hs__refuse(b, "must be a JSON object");
    s->n_layers = hs__cfg_u32(b, "num_hidden_layers", 1, HS__MAX_LAYERS);
    s->hidden = hs__cfg_u32(b, "hidden_size", 2, HS__MAX_WIDTH);
    s->vocab = hs__cfg_u32(b, "vocab_size", 1, 1u << 24);
    s->max_context = hs__cfg_u32(b, "max_position_embeddings", 1, 1u << 30);
    b->arch->heads = hs__cfg_u32(b, "num_attention_heads", 1, HS__MAX_HEADS);
    b->arch->embed_scale = b->arch->residual_scale = b->arch->logit_scale = 1;
    b->arch->eps = (float)hs__cfg_num(b, "rms_norm_eps", 0, 1, default_eps);
    hs__cfg_only(b, "hidden_act", "silu");
    read_tokens(b);
    if (b->r < 0)
        return;
    b->arch->layers = hs_calloc(s->n_layers, sizeof *b->arch->layers);
    if (!b->arch->layers) {
        b->r = hs_err_set(b->err, -ENOMEM, "%s: out of memory", b->where);
        return;
    }
    for (uint32_t l = 0; l < s->n_layers; l++) {
        for (uint32_t i = 0; i < HS__W_COUNT; i++)
            b->arch->layers[l].w[i] = (hs__weight){HS_NO_TENSOR, HS_NO_TENSOR};
        for (uint32_t i = 0; i < HS__V_COUNT; i++)
            b->arch->layers[l].v[i] = HS_NO_TENSOR;
    }
}

void hs__cfg_switch(hs__build *b, const char *key, bool value)
{
    if (hs__cfg_bool(b, key, value) != value)
        hs__refuse(b, "%s %s is not supported", key, value ? "false" : "true");
}

void hs__cfg_common(hs__build *b, double default_eps)
{
    hs__cfg_sizes(b, default_eps);
    hs__cfg_switch(b, "attention_bias", false);
    hs__cfg_fp8(b);
}

static void read_yarn(hs__build *b, const json_t *s)
{
    hs__rope *r = &b->arch->rope;
    r->yarn = true;
    const char *original = hs__scaling_key(b, "original_max_position_embeddings");
    r->original = number(b, s, original, 1, 1 << 30, b->spec->max_context);
    r->factor = number(b, s, hs__scaling_key(b, "factor"), 1e-3, 1e6, b->spec->max_context / r->original);
    r->beta_fast = number(b, s, hs__scaling_key(b, "beta_fast"), 1e-3, 1e6, 32);
    r->beta_slow = number(b, s, hs__scaling_key(b, "beta_slow"), 1e-3, 1e6, 1);
    if (b->r == 0)
        b->r = hs_json_bool_or(s, b->where, "truncate", true, &r->truncate, b->err);
    double mscale = number(b, s, "mscale", 0, 100, 0), all = number(b, s, "mscale_all_dim", 0, 100, 0);
    double a = mscale != 0 && all != 0 ? hs__yarn_mscale(r->factor, mscale) / hs__yarn_mscale(r->factor, all)
                                       : hs__yarn_mscale(r->factor, 1);
    r->amplitude = (float)number(b, s, "attention_factor", 1e-3, 1e3, a);
}

void hs__cfg_rope(hs__build *b, uint32_t dim, bool neox, double default_theta)
{
    hs__rope *r = &b->arch->rope;
    const json_t *p = hs__cfg_get(b, "rope_parameters"), *s = hs__cfg_get(b, "rope_scaling");
    s = s ? s : p;
    *r = (hs__rope){.dim = dim, .neox = neox, .amplitude = 1};
    r->theta = hs__cfg_num(b, "rope_theta", 1.0001, 1e15, number(b, p, "rope_theta", 1.0001, 1e15, default_theta));
    if (dim % 2)
        hs__refuse(b, "%s%sthe rotary width %u is odd", b->c->gguf ? hs__cfg_name(b, "rotary_dim").text : "",
                   b->c->gguf ? ": " : "", dim);
    if (b->r < 0 || !s)
        return;
    if (!json_is_object(s)) {
        hs__refuse(b, "rope_scaling must be an object");
        return;
    }
    const char *type = "default", *key = hs__scaling_key(b, "type");
    b->r = hs_json_str_or(s, b->where, key, type, &type, b->err);
    if (b->r == 0)
        b->r = hs_json_str_or(s, b->where, "rope_type", type, &type, b->err);
    if (b->r == 0 && !strcmp(type, "yarn"))
        read_yarn(b, s);
    else if (b->r == 0 && strcmp(type, "default"))
        hs__refuse(b, "%s '%.80s' is not supported; yarn is", b->c->gguf ? key : "rope_scaling type", type);
}
