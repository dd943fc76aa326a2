/*
 * vocab.h - the tokens and merges of a byte-level BPE: id -> bytes, bytes -> id, pair -> merge.
 *
 * tokenizer.json writes a byte as a printable character (the "byte alphabet": "Ġ" is a blank). A token whose text is
 * made of that alphabet alone is `plain` and stands for those bytes; any other token stands for its own UTF-8.
 * Invariants: plain and other tokens never find each other, even if their bytes are equal; a merge's three ids exist.
 * Immutable once filled.
 */
#ifndef HS_TEXT_VOCAB_H
#define HS_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/tokenizer.h"

#define HS__MAX_ID        ((1u << 22) - 1)
#define HS__MAX_TOKEN_LEN (1u << 16)
#define HS__MAX_MERGES    (1u << 22)

typedef struct hs__token {
    uint32_t offset; /* of its bytes, in hs__vocab.bytes */
    uint32_t len : 24;
    uint32_t exists : 1;
    uint32_t special : 1;
    uint32_t plain : 1;
} hs__token;

typedef struct hs__merge {
    uint32_t left, right; /* left HS_NO_TOKEN: empty slot */
    uint32_t rank;        /* the lowest goes first */
    uint32_t id;          /* what they become */
} hs__merge;

typedef struct hs__vocab {
    char *bytes;
    size_t n_bytes, cap_bytes;
    hs__token *tokens; /* [n_tokens] */
    uint32_t n_tokens;
    size_t cap_tokens;
    uint32_t *slots; /* open addressing: ids of the model's tokens by their bytes */
    uint32_t n_slots;
    hs__merge *merges; /* open addressing */
    uint32_t n_merges;
    uint32_t byte_id[256]; /* the token of a single byte, or HS_NO_TOKEN */
    uint64_t seed;         /* of both hash tables, so that no file can aim at their worst case */
} hs__vocab;

/* Room for n tokens and n_merges merges. */
int hs__vocab_init(hs__vocab *v, size_t n, size_t n_merges, hs_err *err) HS_MUST_CHECK;
void hs__vocab_deinit(hs__vocab *v);
uint64_t hs__vocab_bytes(const hs__vocab *v);

/* Text in the byte alphabet to bytes; out has room for len. Returns whether it was plain; if not, out is text itself.
 */
bool hs__vocab_decode(const char *text, size_t len, char *out, size_t *ret_len);

/* A token of the model, text as in the file. -EEXIST: the id or the text is there already; -E2BIG, -ENOMEM. */
int hs__vocab_add(hs__vocab *v, const char *text, size_t len, uint32_t id) HS_MUST_CHECK;
/* An added token: overrides the id; not found by hs__vocab_find. */
int hs__vocab_override(hs__vocab *v, const char *text, size_t len, uint32_t id, bool special) HS_MUST_CHECK;
/* Gives back what growing left over, fills byte_id. */
void hs__vocab_finish(hs__vocab *v);
/* The model's token that has these bytes, or HS_NO_TOKEN. */
uint32_t hs__vocab_find(const hs__vocab *v, const char *bytes, size_t len, bool plain);
/* A later merge of the same pair replaces the earlier one. */
void hs__vocab_add_merge(hs__vocab *v, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);
/* NULL: the pair does not merge. */
const hs__merge *hs__vocab_merge(const hs__vocab *v, uint32_t left, uint32_t right);

#endif
