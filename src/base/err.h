/*
 * err.h - the one error idiom: a negative errno as return value, and in an optional hs_err the sentence for a person.
 *
 * Every fallible function returns 0 or a negative errno and leaves its ret_* parameters untouched on failure. The
 * sentence names the object (file, field, line, record) and, where it helps, what to do next.
 */
#ifndef HS_BASE_ERR_H
#define HS_BASE_ERR_H

#include <errno.h>
#include <stdarg.h>

#define HS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define HS_MUST_CHECK        __attribute__((warn_unused_result))

typedef struct hs_err {
    int code; /* negative errno, 0 = nothing set */
    char text[500];
} hs_err;

/* Sets code and sentence (err may be NULL) and returns code, so that failing is one statement. code < 0. */
int hs_err_set(hs_err *err, int code, const char *fmt, ...) HS_PRINTF(3, 4);

/* Puts "what: " before an existing sentence, for callers who know more about the place. Returns err's code (-EIO if
 * unset). */
int hs_err_prefix(hs_err *err, const char *fmt, ...) HS_PRINTF(2, 3);

/* Sentences quote names from files that nobody vouches for: each control character, which could move a terminal's
 * cursor or begin a line of its own in a log, becomes a question mark. hs_err_set and hs_err_prefix do it. */
void hs_make_printable(char *text);

/* The text of a negative errno, from a static table: safe in every thread. */
const char *hs_strerror(int code);

#endif
