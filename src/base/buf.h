/*
 * buf.h - a growing byte buffer that has a maximum.
 * Invariant: len <= max; data[len] is 0 whenever data is not NULL, so data may be read as a C string. Not thread-safe.
 */
#ifndef HS_BASE_BUF_H
#define HS_BASE_BUF_H

#include <stddef.h>

#include "base/err.h"

typedef struct hs_buf {
    char *data;
    size_t len, cap, max;
    int failed; /* sticky: -ENOMEM or -E2BIG of the first append that did not fit (-EINVAL: a bad printf) */
} hs_buf;

void hs_buf_init(hs_buf *b, size_t max);
void hs_buf_deinit(hs_buf *b);
void hs_buf_clear(hs_buf *b); /* empties, keeps the memory, clears failed */
/* Appends; 0, -ENOMEM, or -E2BIG past max (nothing is appended then). After a failure further appends return it too. */
int hs_buf_append(hs_buf *b, const void *p, size_t n);
int hs_buf_puts(hs_buf *b, const char *s);
int hs_buf_printf(hs_buf *b, const char *fmt, ...) HS_PRINTF(2, 3);
void hs_buf_consume(hs_buf *b, size_t n); /* drops the first n bytes, n <= len */
char *hs_buf_take(hs_buf *b);             /* the string (hs_free it), or NULL if failed; b becomes empty */

#endif
