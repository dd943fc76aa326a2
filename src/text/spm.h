/*
 * spm.h - what SentencePiece-like tokenizers do around merging: blanks are characters of words ("▁"), a text may get
 * one in front, merging runs over whole stretches of text.
 *
 * Inside, "▁" is a blank, in tokens as in texts, so both are one character. Immutable once made.
 */
#ifndef HS_TEXT_SPM_H
#define HS_TEXT_SPM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"
#include "text/pretok.h"
#include "text/vocab.h"

typedef enum hs__prefix { HS__PREFIX_NEVER, HS__PREFIX_FIRST, HS__PREFIX_ALWAYS } hs__prefix;

typedef struct hs__spm {
    bool on;
    hs__prefix prefix; /* which stretches between added tokens get a blank in front: that at the text's begin, or all */
    bool is_metaspace; /* only those that have none, and after normalised added tokens are out */
    bool strips;       /* decoding leaves out a blank at the text's begin */
    bool cuts;         /* no token has a blank behind another character: what begins at blanks merges by itself */
} hs__spm;

/* The parts of a tokenizer.json (NULL: absent). -ENOTSUP names what is not implemented. */
int hs__spm_parse(hs__spm *s, const json_t *normalizer, const json_t *pre_tokenizer, const json_t *decoder,
                  const char *where, hs_err *err) HS_MUST_CHECK;
/* Looks whether v allows cuts; its tokens are all there. */
void hs__spm_look(hs__spm *s, const hs__vocab *v);

/* text with blanks for marks, and one in front if that is due; *ret_text is the caller's (hs_free). -ENOMEM. */
int hs__spm_prepare(const hs__spm *s, bool is_first, const char *text, size_t len, char **ret_text,
                    size_t *ret_len) HS_MUST_CHECK;
/* Calls emit for each stretch that merges by itself; a negative return ends it. */
int hs__spm_run(const hs__spm *s, const char *text, size_t len, hs__emit *emit, void *ctx) HS_MUST_CHECK;

/* Makes v's merges: two tokens that are a third one together merge, and the third one's score (scores[id], not NaN)
 * says which go first. -E2BIG: a token of more than HS__MAX_SCORED_LEN bytes. */
#define HS__MAX_SCORED_LEN 256
int hs__spm_merges(hs__vocab *v, const float *scores, const char *where, hs_err *err) HS_MUST_CHECK;

#endif
