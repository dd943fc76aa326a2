/* tokenizer_int.h - the parts of a tokenizer; between tokenizer.c, tokenizer_load.c, tokenizer_gguf.c. */
#ifndef HS_TEXT_TOKENIZER_INT_H
#define HS_TEXT_TOKENIZER_INT_H

#include "text/added.h"
#include "text/nfc.h"
#include "text/pretok.h"
#include "text/spm.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct hs_tokenizer {
    hs__vocab vocab;
    hs__added_list added;
    hs__normalizer normalizer;
    hs__pretok pretok; /* unless spm.on */
    hs__spm spm;
    uint32_t unk, bos; /* HS_NO_TOKEN: none */
    bool fuse_unk, ignore_merges;
};

/* An empty one; NULL when out of memory. */
hs_tokenizer *hs__tokenizer_new(void);
/* Fills t (new) from the text of a tokenizer.json. On failure t is destroyed by the caller all the same. */
int hs__tokenizer_parse(hs_tokenizer *t, const char *text, size_t len, const char *where, hs_err *err) HS_MUST_CHECK;

#endif
