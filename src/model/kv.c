/*
 * kv.c - the layout of a sequence's cache: layer after layer, each [capacity] rows of the cache's type and
 * 64-byte-aligned. GQA row: K of all kv heads, then V of all. MLA row: latent, then the shared rotary key.
 *
 * HS_KV_Q8 rows are ggml's Q8_0: blocks of 32 values, a binary16 scale and 32 integers of which 127 is the largest; the
 * last block is filled up with zeros. The kernels of that format read them, from any value on.
 */
#include <math.h>
#include <string.h>

#include "model/model_int.h"

#define BLOCK       32u
#define BLOCK_BYTES 34u

size_t hs__kv_row_bytes(const hs_arch *a, hs_kv_type type)
{
    if (type == HS_KV_Q8)
        return (size_t)(a->kv_row + BLOCK - 1) / BLOCK * BLOCK_BYTES;
    return a->kv_row * (type == HS_KV_F16 ? sizeof(uint16_t) : sizeof(float));
}

static uint64_t layer_bytes(const hs_arch *a, hs_kv_type type, uint32_t capacity)
{
    return hs_align_up((uint64_t)capacity * hs__kv_row_bytes(a, type), 64);
}

uint64_t hs_model_kv_bytes(const hs_model_spec *spec, hs_kv_type type, uint32_t capacity)
{
    return spec->n_layers * layer_bytes(spec->detail, type, capacity);
}

char *hs__kv_row(const hs_model *m, const hs_kv *kv, uint32_t layer, uint32_t position)
{
    return (char *)kv->data + layer * layer_bytes(m->a, kv->type, kv->capacity) +
           position * hs__kv_row_bytes(m->a, kv->type);
}

/* n <= BLOCK values; a block with an infinity or NaN becomes NaN. */
static void write_block(const hs_kernels *k, const float *x, uint32_t n, char *to)
{
    float max = 0;
    uint16_t half;
    int8_t q[BLOCK] = {0};
    for (uint32_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max || isnan(x[i]) ? fabsf(x[i]) : max;
    float scale = max / 127;
    k->to_f16(&scale, &half, 1);
    k->from_f16(&half, &scale, 1);
    float inverse = scale > 0 ? 1 / scale : 0; /* 0 for infinity, too, and NaN */
    for (uint32_t i = 0; inverse > 0 && i < n; i++) {
        float v = rintf(x[i] * inverse);
        q[i] = (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
    }
    memcpy(to, &half, sizeof half);
    memcpy(to + sizeof half, q, sizeof q);
}

void hs__kv_write(const hs_model *m, hs_kv *kv, uint32_t layer, uint32_t position, const float *row)
{
    uint32_t n = m->a->kv_row;
    char *to = hs__kv_row(m, kv, layer, position);
    if (kv->type == HS_KV_F16)
        m->k->to_f16(row, (uint16_t *)(void *)to, n);
    else if (kv->type == HS_KV_F32)
        memcpy(to, row, n * sizeof *row);
    else
        for (uint32_t i = 0; i < n; i += BLOCK, to += BLOCK_BYTES)
            write_block(m->k, row + i, n - i < BLOCK ? n - i : BLOCK, to);
}

void hs__kv_read(const hs_model *m, const hs_kv *kv, uint32_t layer, uint32_t position, uint32_t first, uint32_t n,
                 float *out)
{
    const char *row = hs__kv_row(m, kv, layer, position);
    if (kv->type == HS_KV_F16) {
        m->k->from_f16((const uint16_t *)(const void *)row + first, out, n);
    } else if (kv->type == HS_KV_F32) {
        memcpy(out, (const float *)(const void *)row + first, n * sizeof *out);
    } else {
        hs_mat w = {.data = row, .dtype = HS_DTYPE_Q8_0, .rows = 1, .cols = (m->a->kv_row + BLOCK - 1) / BLOCK * BLOCK};
        m->k->dequant_span(&w, 0, first, first + n, out);
    }
}
