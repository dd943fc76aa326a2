/* gguf_pre.h - pre-tokenizers by the names that GGUF files use (tokenizer.ggml.pre). */
#ifndef HS_TEXT_GGUF_PRE_H
#define HS_TEXT_GGUF_PRE_H

#include <stdbool.h>

#include "base/buf.h"

typedef struct hs__gguf_pre {
    const char *name;
    const char *const *patterns; /* what each step isolates; the last is NULL */
    bool nfc;                    /* text is normalised first, which the file does not say */
    bool ignore_merges;          /* a piece that is a token is that token */
    bool bos;                    /* begin with BOS, if the file does not say */
} hs__gguf_pre;

/* NULL: not known. */
const hs__gguf_pre *hs__gguf_pre_find(const char *name);
/* All names, blanks between them; failure is sticky in out. */
void hs__gguf_pre_names(hs_buf *out);

#endif
