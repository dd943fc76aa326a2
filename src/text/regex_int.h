/* regex_int.h - from Oniguruma's syntax to PCRE2's; between regex.c and regex_translate.c. */
#ifndef HS_TEXT_REGEX_INT_H
#define HS_TEXT_REGEX_INT_H

#include "base/buf.h"

/* Appends the translated pattern to out. -ENOTSUP names a construct that PCRE2 would read differently. */
int hs__regex_translate(const char *pattern, size_t len, const char *where, hs_buf *out, hs_err *err) HS_MUST_CHECK;

#endif
