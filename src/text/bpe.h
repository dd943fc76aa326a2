/* bpe.h - one piece of text to ids by merging pairs. Scratch is reused from piece to piece; one per thread. */
#ifndef HS_TEXT_BPE_H
#define HS_TEXT_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "text/vocab.h"

/* A word of text has a few bytes; what has more than this is an attack, and costs memory. */
#define HS__MAX_PIECE (512u << 10)
#define HS__MAX_IDS   UINT32_MAX /* of a text */
/* Scratch per byte of the longest piece: a symbol, and up to two entries of a heap that grows by halves. */
#define HS__BPE_BYTES (16 + 2 * 8 * 3 / 2)

typedef struct hs__ids {
    uint32_t *p;
    size_t n, cap;
} hs__ids;

typedef struct hs__symbol hs__symbol;
typedef struct hs__bpe {
    const hs__vocab *vocab;
    uint32_t unk; /* for a byte or character without a token; HS_NO_TOKEN: it is left out */
    bool fuse_unk;
    bool by_character;  /* merging begins with characters; bytes stand in for those that have no token */
    bool ignore_merges; /* a piece that is a token is that token, whatever the merges say */
    hs__symbol *symbols;
    size_t cap_symbols;
    uint64_t *heap; /* rank << 32 | place */
    size_t n_heap, cap_heap;
} hs__bpe;

void hs__bpe_deinit(hs__bpe *b);
/* Appends the ids of piece. O(len log len); scratch is at most HS__BPE_BYTES per byte. -ENOMEM; -E2BIG: more than
 * HS__MAX_PIECE bytes. */
int hs__bpe_encode(hs__bpe *b, const char *piece, size_t len, hs__ids *out) HS_MUST_CHECK;
int hs__ids_append(hs__ids *ids, uint32_t id) HS_MUST_CHECK;

#endif
