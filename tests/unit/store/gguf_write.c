/* gguf_write.c - see gguf_write.h. */
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gguf_put(gguf_out *o, const void *p, size_t n)
{
    if (o->len + n > o->cap) {
        o->cap = 2 * (o->len + n);
        o->data = realloc(o->data, o->cap);
        assert_non_null(o->data);
    }
    if (n)
        memcpy(o->data + o->len, p, n);
    o->len += n;
}

void gguf_put_u32(gguf_out *o, uint32_t v)
{
    gguf_put(o, &v, sizeof v);
}

void gguf_put_u64(gguf_out *o, uint64_t v)
{
    gguf_put(o, &v, sizeof v);
}

void gguf_put_string(gguf_out *o, const char *s)
{
    gguf_put_u64(o, strlen(s));
    gguf_put(o, s, strlen(s));
}

void gguf_begin(gguf_out *o, uint32_t version)
{
    *o = (gguf_out){0};
    gguf_put(o, "GGUF", 4);
    gguf_put_u32(o, version);
    gguf_put_u64(o, 0);
    gguf_put_u64(o, 0);
}

void gguf_key(gguf_out *o, const char *key, uint32_t type)
{
    gguf_put_string(o, key);
    gguf_put_u32(o, type);
    o->n_keys++;
}

void gguf_key_u32(gguf_out *o, const char *key, uint32_t v)
{
    gguf_key(o, key, G_U32);
    gguf_put_u32(o, v);
}

void gguf_key_u16(gguf_out *o, const char *key, uint16_t v)
{
    gguf_key(o, key, G_U16);
    gguf_put(o, &v, sizeof v);
}

void gguf_key_bool(gguf_out *o, const char *key, uint8_t v)
{
    gguf_key(o, key, G_BOOL);
    gguf_put(o, &v, 1);
}

void gguf_key_string(gguf_out *o, const char *key, const char *v)
{
    gguf_key(o, key, G_STRING);
    gguf_put_string(o, v);
}

void gguf_key_array(gguf_out *o, const char *key, uint32_t type, uint64_t n, const void *p, size_t size)
{
    gguf_key(o, key, G_ARRAY);
    gguf_put_u32(o, type);
    gguf_put_u64(o, n);
    gguf_put(o, p, n * size);
}

void gguf_tensor(gguf_out *o, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne, uint64_t offset)
{
    gguf_put_string(o, name);
    gguf_put_u32(o, n_dims);
    gguf_put(o, ne, n_dims * sizeof *ne);
    gguf_put_u32(o, type);
    gguf_put_u64(o, offset);
    o->n_tensors++;
}

uint8_t gguf_byte(uint64_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
}

void gguf_end(gguf_out *o, uint64_t alignment, uint64_t n)
{
    memcpy(o->data + 8, &o->n_tensors, 8);
    memcpy(o->data + 16, &o->n_keys, 8);
    while (o->len % alignment)
        gguf_put(o, "", 1);
    for (uint64_t i = 0; i < n; i++) {
        uint8_t b = gguf_byte(i);
        gguf_put(o, &b, 1);
    }
}

void gguf_save(gguf_out *o, const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(o->data, 1, o->len, f), o->len);
    assert_int_equal(fclose(f), 0);
    free(o->data);
    *o = (gguf_out){0};
}

static void small_keys(gguf_out *o)
{
    static const float scores[5] = {0, -1, -2, -3.5f, -4};
    static const int32_t types[5] = {3, 1, 1, 1, 6};
    gguf_key_string(o, "general.architecture", "qwen3moe");
    gguf_key_u32(o, "qwen3moe.block_count", 1);
    gguf_key_u32(o, "qwen3moe.expert_count", 4);
    gguf_key_string(o, "tokenizer.ggml.model", "gpt2");
    gguf_key_string(o, "tokenizer.ggml.pre", "qwen2");
    gguf_key_array(o, "tokenizer.ggml.tokens", G_STRING, 5, NULL, 0);
    for (int i = 0; i < 5; i++)
        gguf_put_string(o, (const char *[]){"<s>", "a", "b", "ab", "<0x41>"}[i]);
    gguf_key_array(o, "tokenizer.ggml.scores", G_F32, 5, scores, 4);
    gguf_key_array(o, "tokenizer.ggml.token_type", G_I32, 5, types, 4);
    gguf_key_array(o, "tokenizer.ggml.merges", G_STRING, 1, NULL, 0);
    gguf_put_string(o, "a b");
    gguf_key_u32(o, "tokenizer.ggml.bos_token_id", 0);
    gguf_key_u32(o, "tokenizer.ggml.padding_token_id", UINT32_MAX);
    gguf_key_bool(o, "tokenizer.ggml.add_bos_token", 1);
    gguf_key_string(o, "tokenizer.chat_template", "{{ messages }}");
    gguf_key_string(o, "tokenizer.huggingface.json", "{}");
}

/* Its tensors; a part holds those from begin on, before end. */
static const struct {
    const char *name;
    uint32_t type, n_dims;
    uint64_t ne[3], bytes;
} small[] = {
    {"token_embd.weight", G_TYPE_Q8_0, 2, {256, 5}, 5 * 272},
    {"blk.0.attn_norm.weight", G_TYPE_F32, 1, {256}, 1024},
    {"blk.0.ffn_gate_exps.weight", G_TYPE_Q4_K, 3, {256, 32, 4}, 4 * 32 * 144},
    {"blk.0.ffn_up_exps.weight", G_TYPE_Q4_K, 3, {256, 32, 4}, 4 * 32 * 144},
    {"blk.0.ffn_down_exps.weight", G_TYPE_Q6_K, 3, {256, 8, 4}, 4 * 8 * 210},
    {"blk.0.ffn_gate_up_exps.weight", G_TYPE_F32, 3, {9, 1, 4}, 4 * 36},
    {"blk.0.ffn_gate_inp.weight", G_TYPE_F32, 2, {256, 4}, 4096},
};

static void small_tensors(gguf_out *o, size_t begin, size_t end)
{
    uint64_t at = 0;
    for (size_t i = begin; i < end; i++) {
        gguf_tensor(o, small[i].name, small[i].type, small[i].n_dims, small[i].ne, at);
        at = (at + small[i].bytes + 31) / 32 * 32;
    }
    gguf_end(o, 32, at);
}

void gguf_small(const char *folder, const char *name, uint32_t parts)
{
    static const size_t borders[4] = {0, 0, 3, 7};
    char file[128];
    gguf_out o;
    for (uint32_t p = 0; p < parts; p++) {
        gguf_begin(&o, 3);
        if (p == 0)
            small_keys(&o);
        if (parts > 1) {
            gguf_key_u16(&o, "split.no", (uint16_t)p);
            gguf_key_u16(&o, "split.count", (uint16_t)parts);
            gguf_key(&o, "split.tensors.count", G_I32);
            gguf_put_u32(&o, 7);
        }
        small_tensors(&o, parts == 1 ? 0 : borders[p], parts == 1 ? 7 : borders[p + 1]);
        if (parts == 1)
            snprintf(file, sizeof file, "%s.gguf", name);
        else
            snprintf(file, sizeof file, "%s-%05u-of-%05u.gguf", name, p + 1, parts);
        gguf_save(&o, folder, file);
    }
}
