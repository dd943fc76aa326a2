/*
 * gzip.h - gzip data, read and written piece by piece. Sizes of pieces do not matter to the result, nor does the day:
 * the same bytes give the same file. zlib's memory comes from base: at most HS_GZIP_BYTES while one is open. One
 * thread.
 */
#ifndef HS_CLI_GZIP_H
#define HS_CLI_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define HS_GZIP_BYTES (288u << 10)

typedef struct hs_gunzip hs_gunzip;
typedef struct hs_gzip hs_gzip;

/* By its first bytes. */
bool hs_is_gzip(const void *data, size_t n);
/* Does the name end in .gz? */
bool hs_is_gzip_name(const char *path);

/* data[n] is borrowed; members that follow one another are read as one text. */
int hs_gunzip_create(const void *data, size_t n, hs_gunzip **ret) HS_MUST_CHECK;
/* The next bytes of the text, at most cap; 0 bytes = its end. -EBADMSG: damaged or cut; the sentence begins with where
 * and names the byte of the data at which that was seen. */
int hs_gunzip_read(hs_gunzip *z, const char *where, void *to, size_t cap, size_t *ret_n, hs_err *err) HS_MUST_CHECK;
void hs_gunzip_destroy(hs_gunzip **z);

int hs_gzip_create(hs_gzip **ret) HS_MUST_CHECK;
/* Takes from *data, moving it and *n along, until all is taken or to[cap] is full; returns the bytes at `to`. is_last:
 * no more will come; then *ret_more says whether to call again with new room. */
size_t hs_gzip_write(hs_gzip *z, const void **data, size_t *n, bool is_last, void *to, size_t cap, bool *ret_more);
void hs_gzip_destroy(hs_gzip **z);

#endif
