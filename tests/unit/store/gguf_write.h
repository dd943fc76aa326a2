/* gguf_write.h - GGUF files for tests, good ones and bad ones, written by the format's description alone. */
#ifndef TESTS_STORE_GGUF_WRITE_H
#define TESTS_STORE_GGUF_WRITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { G_U8, G_I8, G_U16, G_I16, G_U32, G_I32, G_F32, G_BOOL, G_STRING, G_ARRAY, G_U64, G_I64, G_F64 };
enum { G_TYPE_F32 = 0, G_TYPE_Q8_0 = 8, G_TYPE_Q4_K = 12, G_TYPE_Q6_K = 14, G_TYPE_I8 = 24, G_TYPE_BF16 = 30 };

typedef struct gguf_out {
    uint8_t *data;
    size_t len, cap;
    uint64_t n_keys, n_tensors;
} gguf_out;

/* Keys come first, then tensors, then the end. */
void gguf_begin(gguf_out *o, uint32_t version);
void gguf_put(gguf_out *o, const void *p, size_t n);
void gguf_put_u32(gguf_out *o, uint32_t v);
void gguf_put_u64(gguf_out *o, uint64_t v);
void gguf_put_string(gguf_out *o, const char *s);
/* A key and its type; the value is put after it. */
void gguf_key(gguf_out *o, const char *key, uint32_t type);
void gguf_key_u32(gguf_out *o, const char *key, uint32_t v);
void gguf_key_u16(gguf_out *o, const char *key, uint16_t v);
void gguf_key_bool(gguf_out *o, const char *key, uint8_t v);
void gguf_key_string(gguf_out *o, const char *key, const char *v);
/* An array of n elements of n * size bytes; of strings: put by the caller. */
void gguf_key_array(gguf_out *o, const char *key, uint32_t type, uint64_t n, const void *p, size_t size);
void gguf_tensor(gguf_out *o, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne, uint64_t offset);
/* Pads to the alignment and appends n bytes of data: byte i is that of gguf_byte(i). */
void gguf_end(gguf_out *o, uint64_t alignment, uint64_t n);
uint8_t gguf_byte(uint64_t i);
/* Writes the file and frees o. */
void gguf_save(gguf_out *o, const char *folder, const char *name);

/* A small model of one layer with 4 experts (gate and up Q4_K, down Q6_K, a fourth part F32), of `parts` files
 * NAME.gguf, or NAME-00001-of-0000P.gguf: 1 or 3. The first of 3 has no tensors. */
void gguf_small(const char *folder, const char *name, uint32_t parts);

#endif
