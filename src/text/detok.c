/*
 * detok.c - generated tokens to text as they come.
 *
 * Byte-level tokens are parts of one stream of bytes. Tokens of a SentencePiece-like tokenizer are characters, those of
 * bytes excepted: a run of byte tokens is text if all of it is valid, else each of its bytes becomes U+FFFD.
 */
#include "text/detok.h"

#include <string.h>

#include "text/tokenizer_int.h"
#include "text/utf8.h"

void hs_detok_init(hs_detok *d, const hs_tokenizer *t)
{
    *d = (hs_detok){.tokenizer = t};
}

void hs_detok_deinit(hs_detok *d)
{
    *d = (hs_detok){0};
}

/* Whole characters of a SentencePiece-like tokenizer. */
static void append(hs_detok *d, const char *text, size_t len, hs_buf *out)
{
    if (!len)
        return;
    size_t skip = d->tokenizer->spm.strips && !d->begun && text[0] == ' ';
    d->begun = true;
    hs__utf8_push(d->held, &d->n_held, text + skip, len - skip, out);
    hs__utf8_flush(&d->n_held, out);
}

/* Length of the whole characters at the run's begin; *ret_broken: what follows is not the begin of one. */
static size_t whole_characters(const hs_detok *d, bool *ret_broken)
{
    size_t i = 0;
    int n = 1;
    while (i < d->n_run && (n = hs__utf8_decode(d->run + i, d->n_run - i, NULL)) > 0)
        i += (size_t)n;
    *ret_broken = n < 0;
    return i;
}

/* The run has ended, or is full and goes on. */
static void end_run(hs_detok *d, bool goes_on, hs_buf *out)
{
    bool broken;
    size_t whole = whole_characters(d, &broken);
    if (whole == d->n_run || (goes_on && !broken)) {
        append(d, d->run, whole, out);
        d->n_run = (uint16_t)(d->n_run - whole);
        memmove(d->run, d->run + whole, d->n_run);
        return;
    }
    for (size_t i = 0; i < d->n_run; i++)
        append(d, HS_UTF8_REPLACEMENT, 3, out);
    d->n_run = 0;
}

static bool is_shown(const hs_detok *d, uint32_t token)
{
    for (uint32_t i = 0; i < d->n_shown; i++)
        if (d->shown[i] == token)
            return true;
    return false;
}

void hs_detok_push(hs_detok *d, uint32_t token, hs_buf *out)
{
    const hs_tokenizer *t = d->tokenizer;
    size_t len;
    const char *bytes = hs_tokenizer_token_bytes(t, token, &len);
    if (bytes && is_shown(d, token)) {
        hs_detok_flush(d, out);
        hs_buf_append(out, (const char[]){HS_DETOK_SHOWN}, 1);
        hs_buf_append(out, bytes, len);
        return;
    }
    if (!bytes || (!d->keeps_special && hs_tokenizer_is_special(t, token)))
        return;
    if (!t->spm.on) {
        hs__utf8_push(d->held, &d->n_held, bytes, len, out);
    } else if (t->vocab.tokens[token].kind == HS__BYTE) {
        if (d->n_run == HS_DETOK_RUN)
            end_run(d, true, out);
        d->run[d->n_run++] = *bytes;
    } else {
        end_run(d, false, out);
        append(d, bytes, len, out);
    }
}

void hs_detok_flush(hs_detok *d, hs_buf *out)
{
    end_run(d, false, out);
    hs__utf8_flush(&d->n_held, out);
}
