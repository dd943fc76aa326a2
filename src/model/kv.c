/*
 * kv.c - the layout of a sequence's cache: layer after layer, each [capacity][kv_row] values of the cache's type and
 * 64-byte-aligned. GQA row: K of all kv heads, then V of all. MLA row: latent, then the shared rotary key.
 */
#include <string.h>

#include "model/model_int.h"

size_t hs__kv_value_bytes(hs_kv_type type)
{
    return type == HS_KV_F16 ? 2 : 4;
}

static uint64_t layer_bytes(const hs_arch *a, hs_kv_type type, uint32_t capacity)
{
    return hs_align_up((uint64_t)capacity * a->kv_row * hs__kv_value_bytes(type), 64);
}

uint64_t hs_model_kv_bytes(const hs_model_spec *spec, hs_kv_type type, uint32_t capacity)
{
    return spec->n_layers * layer_bytes(spec->detail, type, capacity);
}

char *hs__kv_layer(const hs_model *m, const hs_kv *kv, uint32_t layer)
{
    return (char *)kv->data + layer * layer_bytes(m->a, kv->type, kv->capacity);
}

void hs__kv_write(const hs_model *m, hs_kv *kv, uint32_t layer, uint32_t position, const float *row)
{
    uint32_t n = m->a->kv_row;
    char *to = hs__kv_layer(m, kv, layer) + (size_t)position * n * hs__kv_value_bytes(kv->type);
    if (kv->type == HS_KV_F16)
        m->k->to_f16(row, (uint16_t *)(void *)to, n);
    else
        memcpy(to, row, n * sizeof *row);
}

void hs__kv_read(const hs_model *m, hs_kv_type type, const char *from, uint32_t n, float *out)
{
    if (type == HS_KV_F16)
        m->k->from_f16((const uint16_t *)(const void *)from, out, n);
    else
        memcpy(out, from, n * sizeof *out);
}
