/*
 * pretok.h - cuts text into the pieces inside which BPE merges: the "pre_tokenizer" of tokenizer.json.
 * Immutable once made. The last step must be ByteLevel: pieces are bytes.
 */
#ifndef HS_TEXT_PRETOK_H
#define HS_TEXT_PRETOK_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "text/regex.h"

#define HS__MAX_STEPS 16

/* What happens to the text that a Split pattern matches. */
typedef enum hs__behavior {
    HS__ISOLATED,
    HS__REMOVED,
    HS__MERGED_WITH_PREVIOUS,
    HS__MERGED_WITH_NEXT,
    HS__CONTIGUOUS
} hs__behavior;

typedef struct hs__step {
    hs__regex *regex; /* NULL: put a blank in front unless there is one */
    hs__behavior behavior;
    bool invert; /* matched and unmatched text change roles */
} hs__step;

typedef struct hs__pretok {
    hs__step steps[HS__MAX_STEPS];
    size_t n;
    bool is_byte_level;
} hs__pretok;

int hs__pretok_parse(hs__pretok *p, const json_t *json, const char *where, hs_err *err) HS_MUST_CHECK;
/* Steps that isolate what these patterns match, one after the other, then ByteLevel; the last pattern is NULL. */
int hs__pretok_make(hs__pretok *p, const char *const *patterns, const char *where, hs_err *err) HS_MUST_CHECK;
void hs__pretok_deinit(hs__pretok *p);
uint64_t hs__pretok_bytes(const hs__pretok *p);

typedef int hs__emit(void *ctx, const char *piece, size_t len);
/* Calls emit for each piece of text (valid UTF-8), none of them empty; a negative return ends it. */
int hs__pretok_run(const hs__pretok *p, hs__regex_scratch *scratch, const char *text, size_t len, hs__emit *emit,
                   void *ctx, hs_err *err) HS_MUST_CHECK;

#endif
