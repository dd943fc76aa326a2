/* detok.c - generated tokens to text as they come. */
#include "text/detok.h"

#include "text/utf8.h"

void hs_detok_init(hs_detok *d, const hs_tokenizer *t)
{
    *d = (hs_detok){.tokenizer = t};
}

void hs_detok_deinit(hs_detok *d)
{
    *d = (hs_detok){0};
}

void hs_detok_push(hs_detok *d, uint32_t token, hs_buf *out)
{
    size_t len;
    const char *bytes = hs_tokenizer_token_bytes(d->tokenizer, token, &len);
    if (bytes && !hs_tokenizer_is_special(d->tokenizer, token))
        hs__utf8_push(d->held, &d->n_held, bytes, len, out);
}

void hs_detok_flush(hs_detok *d, hs_buf *out)
{
    hs__utf8_flush(&d->n_held, out);
}
