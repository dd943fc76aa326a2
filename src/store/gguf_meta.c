/*
 * gguf_meta.c - the metadata of a GGUF file: keys under their own names into the source's config, those of the
 * tokenizer to gguf_vocab.c. The first part's count; of the others only split.* and general.alignment are read.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/gguf_int.h"

typedef union number {
    uint64_t u;
    int64_t i;
    double f;
} number;

/* A value of a fixed-size type other than bool; floats in f, signed integers in i, others in u. */
static int read_number(hs__gguf *g, uint32_t type, number *ret)
{
    uint8_t raw[8] = {0};
    float f32;
    int16_t i16;
    int32_t i32;
    int r = hs__gguf_read(g, raw, hs__gguf_value_size(type));
    if (r < 0)
        return r;
    memcpy(ret, raw, 8);
    switch (type) {
    case HS__GGUF_I8:
        ret->i = (raw[0] ^ 128) - 128;
        break;
    case HS__GGUF_I16:
        memcpy(&i16, raw, sizeof i16);
        ret->i = i16;
        break;
    case HS__GGUF_I32:
        memcpy(&i32, raw, sizeof i32);
        ret->i = i32;
        break;
    case HS__GGUF_F32:
        memcpy(&f32, raw, sizeof f32);
        ret->f = (double)f32;
        break;
    default:
        break;
    }
    return 0;
}

int hs__gguf_integer(hs__gguf *g, uint32_t type, int64_t min, int64_t max, int64_t *ret)
{
    number v;
    bool is_signed = type == HS__GGUF_I8 || type == HS__GGUF_I16 || type == HS__GGUF_I32 || type == HS__GGUF_I64;
    bool is_integer = type <= HS__GGUF_I32 || type == HS__GGUF_U64 || type == HS__GGUF_I64;
    if (!is_integer)
        return hs__gguf_fail(g, -EINVAL, "an integer is expected");
    int r = read_number(g, type, &v);
    if (r < 0)
        return r;
    if ((!is_signed && v.u > INT64_MAX) || v.i < min || v.i > max)
        return hs__gguf_fail(g, -EINVAL, "a value outside [%lld, %lld]", (long long)min, (long long)max);
    *ret = v.i;
    return 0;
}

int hs__gguf_array(hs__gguf *g, uint64_t max, uint32_t *ret_type, uint64_t *ret_n)
{
    uint32_t type = 0;
    int r = hs__gguf_u32(g, &type);
    if (r < 0)
        return r;
    if (type >= HS__GGUF_TYPES)
        return hs__gguf_fail(g, -EINVAL, "type %u is no type of a value", type);
    uint64_t size = hs__gguf_value_size(type);
    if (!size)
        size = type == HS__GGUF_STRING ? 8 : 12; /* a length, or type and count */
    r = hs__gguf_count(g, max, size, "array elements", ret_n);
    if (r == 0)
        *ret_type = type;
    return r;
}

/* A string of the config. */
static json_t *read_text(hs__gguf *g)
{
    uint64_t n;
    if (hs__gguf_count(g, HS__GGUF_MAX_TEXT - g->text, 1, "bytes of text", &n) < 0)
        return NULL;
    char *text = hs_malloc(n + 1);
    json_t *v = NULL;
    if (!text)
        hs__gguf_fail(g, -ENOMEM, "out of memory");
    else if (hs__gguf_read(g, text, n) == 0 && !(v = json_stringn(text, n)))
        hs__gguf_fail(g, -EINVAL, "not UTF-8");
    g->text += n;
    hs_free(text);
    return v;
}

static json_t *read_scalar(hs__gguf *g, uint32_t type)
{
    number v;
    if (read_number(g, type, &v) < 0)
        return NULL;
    bool is_float = type == HS__GGUF_F32 || type == HS__GGUF_F64;
    if (is_float && !isfinite(v.f)) {
        hs__gguf_fail(g, -EINVAL, "not a finite number");
        return NULL;
    }
    if (type == HS__GGUF_BOOL && v.u > 1) {
        hs__gguf_fail(g, -EINVAL, "a truth value of %u", (unsigned)v.u);
        return NULL;
    }
    json_t *j = is_float                                  ? json_real(v.f)
                : type == HS__GGUF_BOOL                   ? json_boolean(v.u)
                : type == HS__GGUF_U64 && v.u > INT64_MAX ? json_real((double)v.u)
                                                          : json_integer(v.i);
    if (!j)
        hs__gguf_fail(g, -ENOMEM, "out of memory");
    return j;
}

/* A value of the config; NULL after an error. */
static json_t *read_value(hs__gguf *g, uint32_t type, uint32_t depth)
{
    if (++g->values > HS__GGUF_MAX_VALUES) {
        hs__gguf_fail(g, -E2BIG, "more than %u values in the metadata", HS__GGUF_MAX_VALUES);
        return NULL;
    }
    if (type == HS__GGUF_STRING)
        return read_text(g);
    if (hs__gguf_value_size(type))
        return read_scalar(g, type);
    if (type != HS__GGUF_ARRAY || depth == HS__GGUF_MAX_DEPTH) {
        hs__gguf_fail(g, -EINVAL, type == HS__GGUF_ARRAY ? "arrays in arrays, too deep" : "no type of a value");
        return NULL;
    }
    uint64_t n;
    if (hs__gguf_array(g, HS__GGUF_MAX_VALUES, &type, &n) < 0)
        return NULL;
    json_t *list = json_array();
    if (!list)
        hs__gguf_fail(g, -ENOMEM, "out of memory");
    for (uint64_t i = 0; list && i < n; i++) {
        json_t *v = read_value(g, type, depth + 1);
        if (!v || json_array_append_new(list, v) < 0) {
            if (v)
                hs__gguf_fail(g, -ENOMEM, "out of memory");
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* Keys that the reader itself needs; *ret_known tells whether it was one. Their values are read and consumed. */
static int read_own(hs__gguf *g, const char *key, uint32_t type, json_t **ret_value, bool *ret_known)
{
    int64_t v = 0;
    int r;
    *ret_known = true;
    if (!strcmp(key, "general.alignment")) {
        r = hs__gguf_integer(g, type, 1, HS__GGUF_MAX_ALIGNMENT, &v);
        if (r == 0 && (v & (v - 1)))
            r = hs__gguf_fail(g, -EINVAL, "%lld is no power of two", (long long)v);
        g->alignment = r == 0 ? (uint64_t)v : g->alignment;
    } else if (!strcmp(key, "split.no")) {
        r = hs__gguf_integer(g, type, 0, HS__MAX_FILES - 1, &v);
        g->split_no = v;
    } else if (!strcmp(key, "split.count")) {
        r = hs__gguf_integer(g, type, 0, HS__MAX_FILES, &v);
        g->split_count = v;
    } else if (!strcmp(key, "split.tensors.count")) {
        r = hs__gguf_integer(g, type, 0, HS__GGUF_MAX_TENSORS, &v);
        g->split_tensors = v;
    } else {
        *ret_known = false;
        return 0;
    }
    *ret_value = r == 0 ? json_integer(v) : NULL;
    return r < 0 ? r : *ret_value ? 0 : hs__gguf_fail(g, -ENOMEM, "out of memory");
}

/* A pair whose key is read. */
static int read_pair(hs__gguf *g, const char *key, json_t *seen)
{
    uint32_t type = 0;
    json_t *v = NULL;
    bool own;
    int r = hs__gguf_u32(g, &type);
    if (r < 0)
        return r;
    if (json_object_get(seen, key))
        return hs__gguf_fail(g, -EINVAL, "appears twice");
    if (json_object_set_new(seen, key, json_true()) < 0)
        return hs__gguf_fail(g, -EINVAL, "the key is not UTF-8");
    r = read_own(g, key, type, &v, &own);
    if (r < 0)
        return r;
    if (!own && !g->is_main)
        return hs__gguf_skip(g, type, 0);
    if (!own && !strncmp(key, "tokenizer.", 10))
        return hs__gguf_vocab(g, key, type);
    if (!own && !(v = read_value(g, type, 0)))
        return g->failed;
    if (!g->is_main)
        json_decref(v);
    else if (json_object_set_new(g->s->config, key, v) < 0)
        return hs__gguf_fail(g, -ENOMEM, "out of memory");
    g->text += strlen(key);
    return 0;
}

int hs__gguf_meta(hs__gguf *g, uint64_t n)
{
    char key[HS__GGUF_MAX_NAME + 1];
    json_t *seen = json_object();
    if (g->is_main)
        g->s->config = json_object();
    int r = seen && (!g->is_main || g->s->config) ? 0 : hs__gguf_fail(g, -ENOMEM, "out of memory");
    for (uint64_t i = 0; r == 0 && i < n; i++) {
        snprintf(g->subject, sizeof g->subject, "key %llu of %llu", (unsigned long long)i + 1, (unsigned long long)n);
        r = hs__gguf_name(g, key);
        if (r == 0) {
            snprintf(g->subject, sizeof g->subject, "key %s", key);
            r = read_pair(g, key, seen);
        }
    }
    json_decref(seen);
    return r < 0 || !g->is_main ? r : hs__gguf_vocab_check(g);
}
