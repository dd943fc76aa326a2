/*
 * regex.h - Oniguruma patterns, as tokenizer.json has them, run by PCRE2's interpreter (no JIT: it needs writable and
 * executable memory, which the daemon's unit forbids).
 *
 * What the two dialects read differently is translated, or refused by name. A search is bounded: a pattern that
 * backtracks without end is an error, not a stall. hs__regex is immutable; hs__regex_scratch belongs to one thread.
 */
#ifndef HS_TEXT_REGEX_H
#define HS_TEXT_REGEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HS__MAX_PATTERN        32768
#define HS__REGEX_MAX_HEAP_KIB 4096u /* what one search may take for backtracking */

typedef struct hs__regex hs__regex;
typedef struct hs__regex_scratch hs__regex_scratch;

/* where names the field for sentences. -EINVAL: a syntax error; -ENOTSUP: a construct that cannot be honoured. */
int hs__regex_create(const char *pattern, size_t len, const char *where, hs__regex **ret, hs_err *err) HS_MUST_CHECK;
void hs__regex_destroy(hs__regex **re);
uint64_t hs__regex_bytes(const hs__regex *re);

/* text_len: of the whole text that will be searched piece by piece; what the searches may cost grows with it. */
int hs__regex_scratch_create(size_t text_len, hs__regex_scratch **ret, hs_err *err) HS_MUST_CHECK;
void hs__regex_scratch_destroy(hs__regex_scratch **s);

/* The first match in text[from, len), which is valid UTF-8: 1 and [*ret_begin, *ret_end), 0 if there is none. -E2BIG:
 * too many steps or too much memory; -ETIMEDOUT. */
int hs__regex_find(const hs__regex *re, hs__regex_scratch *s, const char *text, size_t len, size_t from,
                   size_t *ret_begin, size_t *ret_end, hs_err *err) HS_MUST_CHECK;

#endif
