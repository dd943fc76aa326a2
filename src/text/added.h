/*
 * added.h - added tokens ("<|im_end|>"): texts that are recognised as one token before anything else looks at them.
 * Those with `normalized` false are looked for in the text as given, the others afterwards in the normalised rest.
 * Immutable once made.
 */
#ifndef HS_TEXT_ADDED_H
#define HS_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "text/nfc.h"
#include "text/vocab.h"

#define HS__MAX_ADDED     65536u
#define HS__MAX_ADDED_LEN 1024u

typedef struct hs__added {
    char *text; /* as written; not NUL-free */
    char *key;  /* what is looked for: text, or text normalised; may be text itself */
    size_t text_len, key_len;
    uint32_t id;
    bool special, normalized;
    bool lstrip, rstrip; /* takes the white space on that side along */
    bool single_word;    /* only where no word character touches it */
    bool is_blank;       /* white space: ordinary text, not a mark */
} hs__added;

typedef struct hs__added_list {
    hs__added *all; /* sorted: raw ones first, then by key */
    uint32_t n, n_raw;
    uint8_t first[2][32]; /* raw, normalised: bitmap of the keys' first bytes */
    uint64_t bytes;
} hs__added_list;

/* json: "added_tokens", an array, or NULL. Puts each token into vocab, too. */
int hs__added_parse(hs__added_list *l, const json_t *json, const hs__normalizer *n, hs__vocab *vocab, const char *where,
                    hs_err *err) HS_MUST_CHECK;
/* The same one by one: room for n, each put with its id and flags set and the rest empty, then finish. */
int hs__added_init(hs__added_list *l, size_t n, const char *where, hs_err *err) HS_MUST_CHECK;
int hs__added_put(hs__added_list *l, hs__added a, const char *text, size_t len, const hs__normalizer *n,
                  hs__vocab *vocab, const char *where, hs_err *err) HS_MUST_CHECK;
void hs__added_finish(hs__added_list *l);
void hs__added_deinit(hs__added_list *l);
const hs__added *hs__added_find(const hs__added_list *l, const char *text);

/* The next added token at or after *pos: true and the stretch that it takes, stripping included. *pos: where to look,
 * and afterwards where to go on; 0 at first. floor: where the stretch may begin at the earliest. is_input (NULL: none
 * is): bytes that others wrote; no token that holds one of them counts, unless it is white space. */
bool hs__added_next(const hs__added_list *l, bool normalized, const char *text, const uint8_t *is_input, size_t len,
                    size_t *pos, size_t floor, size_t *ret_begin, size_t *ret_end, uint32_t *ret_id);

#endif
