/* nearest.h - which name a misspelt word probably meant. */
#ifndef HS_BASE_NEAREST_H
#define HS_BASE_NEAREST_H

#include <stddef.h>

#define HS_NEAREST_MAX 64 /* words of this length and more are not compared */

/* Index of the one of n names (name(ctx, i)) nearest to word by edit distance; n if none is near enough to suggest. A
 * name need live only until the next call of `name`. */
size_t hs_nearest(const char *word, const char *(*name)(const void *ctx, size_t i), const void *ctx, size_t n);

#endif
