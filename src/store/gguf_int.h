/*
 * gguf_int.h - the inside of the GGUF reader: one file's header, read front to back through a window.
 *
 * All counts and lengths are the file's word: each is compared with the limits below and with what is left of the file
 * before anything is allocated or skipped. Sentences name the file and the key or tensor that is being read.
 */
#ifndef HS_STORE_GGUF_INT_H
#define HS_STORE_GGUF_INT_H

#include "store/store_int.h"

#define HS__GGUF_MAX_KEYS        65536u
#define HS__GGUF_MAX_NAME        255u       /* bytes of a key or of a tensor's name */
#define HS__GGUF_MAX_DEPTH       4u         /* arrays in arrays */
#define HS__GGUF_MAX_VALUES      (1u << 18) /* in the config, array elements included */
#define HS__GGUF_MAX_TEXT        (8u << 20) /* bytes of all strings in the config */
#define HS__GGUF_MAX_TEMPLATE    (1u << 20) /* bytes of the chat template */
#define HS__GGUF_MAX_TOKENS      (1u << 21)
#define HS__GGUF_MAX_MERGES      (1u << 22)
#define HS__GGUF_MAX_TOKEN_BYTES (1u << 16)
#define HS__GGUF_MAX_VOCAB_TEXT  (64u << 20) /* bytes of all tokens and merges */
#define HS__GGUF_MAX_TENSORS     (1u << 20)  /* of all parts, experts counted one by one */
#define HS__GGUF_MAX_EXPERTS     4096u
#define HS__GGUF_MAX_ALIGNMENT   (1u << 20)

/* Types of metadata values, as the format numbers them. */
enum {
    HS__GGUF_U8,
    HS__GGUF_I8,
    HS__GGUF_U16,
    HS__GGUF_I16,
    HS__GGUF_U32,
    HS__GGUF_I32,
    HS__GGUF_F32,
    HS__GGUF_BOOL,
    HS__GGUF_STRING,
    HS__GGUF_ARRAY,
    HS__GGUF_U64,
    HS__GGUF_I64,
    HS__GGUF_F64,
    HS__GGUF_TYPES
};

#define HS__GGUF_WINDOW (128u << 10)

typedef struct hs__gguf {
    hs_source *s;
    const hs__file *file;
    hs_err *err;
    int failed;   /* code of the last sentence */
    bool is_main; /* the first part: its metadata count */

    uint64_t bytes; /* of the whole file; `file` may hold only its header */
    uint64_t at;    /* of the next byte to be read */
    uint8_t *window;
    uint64_t window_at;
    size_t window_len;
    char subject[HS__GGUF_MAX_NAME + 40]; /* what is being read, for sentences */

    uint64_t n_tensors;
    uint64_t alignment;
    int64_t split_no, split_count, split_tensors; /* -1 = the key is absent */
    uint32_t values;                              /* put into the config so far */
    uint64_t text, vocab_text;                    /* bytes of strings so far */
} hs__gguf;

/* ---- gguf_read.c ---- */
/* Sets "FILE: SUBJECT: sentence" and returns code. */
int hs__gguf_fail(hs__gguf *g, int code, const char *fmt, ...) HS_PRINTF(3, 4);
/* The next n bytes. */
int hs__gguf_read(hs__gguf *g, void *out, size_t n) HS_MUST_CHECK;
int hs__gguf_u32(hs__gguf *g, uint32_t *ret) HS_MUST_CHECK;
int hs__gguf_u64(hs__gguf *g, uint64_t *ret) HS_MUST_CHECK;
/* A count of things of at least `size` bytes each, of which at most max may follow; `what` is their name. */
int hs__gguf_count(hs__gguf *g, uint64_t max, uint64_t size, const char *what, uint64_t *ret) HS_MUST_CHECK;
/* A string that names something: 1 to HS__GGUF_MAX_NAME bytes, no control characters; buf has room for one more. */
int hs__gguf_name(hs__gguf *g, char *buf) HS_MUST_CHECK;
/* A string of at most max bytes that lives as long as the source. */
int hs__gguf_string(hs__gguf *g, uint64_t max, hs_bytes *ret) HS_MUST_CHECK;
/* A value of the type, whatever it says. */
int hs__gguf_skip(hs__gguf *g, uint32_t type, uint32_t depth) HS_MUST_CHECK;
/* Bytes of one value of a fixed-size type, 0 for strings, arrays and unknown types. */
uint32_t hs__gguf_value_size(uint32_t type);

/* ---- gguf_meta.c ---- */
/* All n key-value pairs. */
int hs__gguf_meta(hs__gguf *g, uint64_t n) HS_MUST_CHECK;
/* A scalar of an integer type in [min, max]. */
int hs__gguf_integer(hs__gguf *g, uint32_t type, int64_t min, int64_t max, int64_t *ret) HS_MUST_CHECK;
/* An array's type of elements and their number, at most max of at least the type's size. */
int hs__gguf_array(hs__gguf *g, uint64_t max, uint32_t *ret_type, uint64_t *ret_n) HS_MUST_CHECK;

/* ---- gguf_vocab.c ---- */
/* The value of a key that begins with "tokenizer.". */
int hs__gguf_vocab(hs__gguf *g, const char *key, uint32_t type) HS_MUST_CHECK;
/* All keys are read: what they say together. */
int hs__gguf_vocab_check(hs__gguf *g) HS_MUST_CHECK;

/* ---- gguf_tensor.c ---- */
/* All n_tensors descriptions; offsets are made the file's, and what must not overlap does not. *ret_data_start: where
 * the header and its padding end. */
int hs__gguf_tensors(hs__gguf *g, uint32_t file, uint64_t *ret_data_start) HS_MUST_CHECK;

#endif
