/*
 * detok.h - generated tokens to text, as they come: whole UTF-8 characters only, special tokens left out, stop strings
 * held back. Not thread-safe; bounded memory, no allocation per token except in the output buffer.
 */
#ifndef HS_TEXT_DETOK_H
#define HS_TEXT_DETOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "text/tokenizer.h"

#define HS_DETOK_RUN 256
/* Stands in front of a special token that is shown; no byte of UTF-8. */
#define HS_DETOK_SHOWN '\xff'

/* Incremental decode: the concatenation of all pushes and the flush equals hs_tokenizer_decode(skip_special) of all
 * ids. */
typedef struct hs_detok {
    const hs_tokenizer *tokenizer;
    bool keeps_special; /* special tokens become text, too */
    /* These do, with HS_DETOK_SHOWN in front, so that they are told from text that is spelled alike. Borrowed. */
    const uint32_t *shown;
    uint32_t n_shown;
    unsigned char held[4]; /* begin of an unfinished character */
    uint8_t n_held;
    /* Of a SentencePiece-like tokenizer: the bytes of byte tokens in a row, whose fate is one: the reference makes text
     * of all of them or of none. Past HS_DETOK_RUN what is there is judged by itself. */
    char run[HS_DETOK_RUN];
    uint16_t n_run;
    bool begun; /* the text has, whose first blank may have to go */
} hs_detok;

void hs_detok_init(hs_detok *d, const hs_tokenizer *t);
void hs_detok_deinit(hs_detok *d);
/* Appends the characters that are certain now. Failure to grow is sticky in out. */
void hs_detok_push(hs_detok *d, uint32_t token, hs_buf *out);
/* Appends what is held back, U+FFFD for what can no longer be completed. */
void hs_detok_flush(hs_detok *d, hs_buf *out);

/* Matches several stop strings over a stream of pieces; text that may be the beginning of one is held back. The match
 * that is complete first counts, of several that end at the same byte the longest: text before it is passed on, the
 * stop string itself and what follows never. How the stream is cut into pieces makes no difference. */
typedef struct hs_stop hs_stop;
/* Strings are copied; 1 to 1024 of them, each of 1 to 65,536 bytes. A byte pushed costs time for each of them. */
int hs_stop_create(const char *const *stop, size_t n, hs_stop **ret_stop, hs_err *err) HS_MUST_CHECK;
void hs_stop_destroy(hs_stop **stop);
/* true: a stop string is complete (from then on everything is swallowed). */
bool hs_stop_push(hs_stop *s, const char *text, size_t len, hs_buf *out);
bool hs_stop_is_hit(const hs_stop *s);
/* Appends what is held back, when the stream ends without a match. */
void hs_stop_flush(hs_stop *s, hs_buf *out);

#endif
