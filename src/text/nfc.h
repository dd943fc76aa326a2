/* nfc.h - Unicode normalisation as tokenizer.json's "normalizer" asks for it. Immutable once made. */
#ifndef HS_TEXT_NFC_H
#define HS_TEXT_NFC_H

#include "base/err.h"
#include "base/json.h"

#define HS__MAX_NORMALIZERS 8

typedef enum hs__form { HS__NFC, HS__NFD, HS__NFKC, HS__NFKD } hs__form;

typedef struct hs__normalizer {
    hs__form forms[HS__MAX_NORMALIZERS]; /* applied in order */
    size_t n;
} hs__normalizer;

/* json: the "normalizer" value, or NULL. -ENOTSUP names what is not implemented. */
int hs__normalizer_parse(hs__normalizer *n, const json_t *json, const char *where, hs_err *err) HS_MUST_CHECK;
/* text is valid UTF-8. *ret_text is text itself if nothing changed, else *ret_owned, which the caller frees (NULL
 * otherwise). O(len). -ENOMEM. */
int hs__normalize(const hs__normalizer *n, const char *text, size_t len, const char **ret_text, size_t *ret_len,
                  char **ret_owned) HS_MUST_CHECK;

#endif
