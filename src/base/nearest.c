/* nearest.c - see nearest.h. Pure functions. */
#include "base/nearest.h"

#include <string.h>

/* Levenshtein distance; both words shorter than HS_NEAREST_MAX. */
static size_t distance(const char *a, const char *b)
{
    size_t row[HS_NEAREST_MAX];
    size_t na = strlen(a), nb = strlen(b);
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t best = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[nb];
}

size_t hs_nearest(const char *word, const char *(*name)(const void *ctx, size_t i), const void *ctx, size_t n)
{
    size_t len = strlen(word), best = n;
    if (len >= HS_NEAREST_MAX)
        return n;
    size_t least = len / 3 + 2;                        /* a third of the letters and one more may be wrong, */
    least = least < len / 2 + 1 ? least : len / 2 + 1; /* but no more than half of them */
    for (size_t i = 0; i < n; i++) {
        const char *candidate = name(ctx, i);
        size_t size = strlen(candidate);
        if (size >= HS_NEAREST_MAX)
            continue;
        size_t d = distance(word, candidate);
        if (d < least && d < size) {
            least = d;
            best = i;
        }
    }
    return best;
}
