/* utf8.h - UTF-8 by the byte: validation, and the lossy conversion in which each maximal broken prefix becomes one
 * U+FFFD. Stateless; any thread. */
#ifndef HS_TEXT_UTF8_H
#define HS_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define HS_UTF8_REPLACEMENT "\xef\xbf\xbd"

/* Looks at the character that begins at p, len >= 1. > 0: its length, and *ret_cp (may be NULL). 0: len bytes are the
 * begin of a character whose end is missing. < 0: minus the length of the broken prefix. */
int hs__utf8_decode(const char *p, size_t len, uint32_t *ret_cp);
/* Length in bytes of the character at p, which is known to be valid. */
static inline size_t hs__utf8_len(const char *p)
{
    unsigned char c = (unsigned char)*p;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}
/* Writes cp, a scalar value: 1 to 4 bytes. */
size_t hs__utf8_encode(uint32_t cp, char out[4]);
bool hs__utf8_is_valid(const char *p, size_t len);

/* Appends the bytes made valid, as far as their characters are complete. held, *n_held: the unfinished begin of a
 * character, from call to call. Failure to grow is sticky in out. */
void hs__utf8_push(unsigned char held[4], uint8_t *n_held, const char *p, size_t len, hs_buf *out);
/* The text has ended: what is held becomes one U+FFFD. */
void hs__utf8_flush(uint8_t *n_held, hs_buf *out);

#endif
