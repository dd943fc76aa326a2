/*
 * vocab.h - the tokens and merges of a BPE: id -> bytes, bytes -> id, pair -> merge.
 *
 * Files spell tokens in one of two ways. Byte-level ones write a byte as a printable character (the "byte alphabet":
 * "Ġ" is a blank): a token whose text is made of that alphabet alone is plain and stands for those bytes, any other
 * stands for its own UTF-8. SentencePiece-like ones write a blank as "▁" (U+2581) and a byte as "<0x0A>": the latter is
 * of the kind byte, a token with a real blank is no plain one.
 * Invariants: tokens of different kinds never find each other, even if their bytes are equal; a merge's three ids
 * exist. Immutable once filled.
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

typedef enum hs__spelling { HS__BYTE_ALPHABET, HS__BLANK_MARK } hs__spelling;
typedef enum hs__kind { HS__OTHER, HS__PLAIN, HS__BYTE } hs__kind;

typedef struct hs__token {
    uint32_t offset; /* of its bytes, in hs__vocab.bytes */
    uint32_t len : 24;
    uint32_t exists : 1;
    uint32_t special : 1;
    uint32_t kind : 2; /* hs__kind */
} hs__token;

typedef struct hs__merge {
    uint32_t left, right; /* left HS_NO_TOKEN: empty slot */
    uint32_t rank;        /* the lowest goes first */
    uint32_t id;          /* what they become */
} hs__merge;

typedef struct hs__vocab {
    hs__spelling spelling;
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

/* Room for n tokens; and for n_merges merges, before the first is added or looked up. */
int hs__vocab_init(hs__vocab *v, hs__spelling spelling, size_t n, hs_err *err) HS_MUST_CHECK;
int hs__vocab_init_merges(hs__vocab *v, size_t n_merges, hs_err *err) HS_MUST_CHECK;
void hs__vocab_deinit(hs__vocab *v);
uint64_t hs__vocab_bytes(const hs__vocab *v);

/* A token's text, as the file spells it, to its bytes; out has room for len. */
hs__kind hs__vocab_decode(hs__spelling spelling, const char *text, size_t len, char *out, size_t *ret_len);

/* Text with a blank for each "▁"; out has room for len, and may be text itself. Returns its length. */
#define HS__BLANK "\xe2\x96\x81"
size_t hs__blank_marks(const char *text, size_t len, char *out);

/* A token of the model, text as in the file. -EEXIST: the id or the text is there already; -E2BIG, -ENOMEM. */
int hs__vocab_add(hs__vocab *v, const char *text, size_t len, uint32_t id) HS_MUST_CHECK;
/* An added token: overrides the id; not found by hs__vocab_find. */
int hs__vocab_override(hs__vocab *v, const char *text, size_t len, uint32_t id, bool special) HS_MUST_CHECK;
/* Gives back what growing left over, fills byte_id. */
void hs__vocab_finish(hs__vocab *v);
/* The model's token that has these bytes, or HS_NO_TOKEN. */
uint32_t hs__vocab_find(const hs__vocab *v, const char *bytes, size_t len, hs__kind kind);
/* The same for text as the file spells it; scratch has room for len. */
uint32_t hs__vocab_find_spelled(const hs__vocab *v, const char *text, size_t len, char *scratch);
/* A later merge of the same pair replaces the earlier one. */
void hs__vocab_add_merge(hs__vocab *v, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);
/* NULL: the pair does not merge. */
const hs__merge *hs__vocab_merge(const hs__vocab *v, uint32_t left, uint32_t right);

#endif
