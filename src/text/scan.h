/*
 * scan.h - a pull parser for JSON in memory, for the big parts of tokenizer.json that are not worth a DOM.
 * The text must be valid UTF-8 (checked by the caller once). Errors name file and line. Not thread-safe per hs__scan.
 */
#ifndef HS_TEXT_SCAN_H
#define HS_TEXT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS__SCAN_DEPTH 64

typedef struct hs__scan {
    const char *where; /* name for sentences */
    const char *text, *p, *end;
    hs_err *err;
} hs__scan;

/* A JSON value where it stands in the text; p NULL: absent. */
typedef struct hs__slice {
    const char *p;
    size_t len;
    size_t n; /* elements of an array, members of an object; 0 otherwise */
} hs__slice;

int hs__scan_fail(const hs__scan *s, const char *what);
/* Consumes c after white space, if it is there. */
bool hs__scan_is(hs__scan *s, char c);
/* Appends the decoded string to out. */
int hs__scan_string(hs__scan *s, hs_buf *out);
/* An integer in [0, max]. */
int hs__scan_uint(hs__scan *s, uint32_t max, uint32_t *ret);
/* Steps over any value. Brackets are matched; numbers and words inside are not looked at closely. */
int hs__scan_skip(hs__scan *s, hs__slice *ret_slice);
/* After '{' or '[': 1 = another member or element follows (a member's key has been replaced in key), 0 = the end was
 * consumed. first: true before the first call. */
int hs__scan_member(hs__scan *s, bool *first, hs_buf *key);
int hs__scan_element(hs__scan *s, bool *first);
/* An object's members by name: slices[i] belongs to names[i]; other members are stepped over; one twice is an error. */
int hs__scan_fields(hs__scan *s, const char *const *names, size_t n, hs__slice *slices);

#endif
