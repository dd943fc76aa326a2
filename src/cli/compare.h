/*
 * compare.h - is one way of working faster than another, or is it chance? Pure.
 *
 * Both are measured by turns, so that what changes slowly (a cache that fills, other programs) meets both of a pair
 * alike. What counts is the median of the pairs' ratios and an interval of their order statistics, which holds the true
 * median with 95 % confidence whatever the noise looks like, because it asks of a pair only which side it is on.
 */
#ifndef HS_CLI_COMPARE_H
#define HS_CLI_COMPARE_H

#include <stdint.h>

#define HS_COMPARE_MAX 256u /* pairs */

typedef enum hs_verdict {
    HS_VERDICT_OPEN,   /* not told apart */
    HS_VERDICT_SAME,   /* the difference is less than what counts */
    HS_VERDICT_BETTER, /* more than by chance, and enough to count */
    HS_VERDICT_WORSE   /* more than by chance */
} hs_verdict;

typedef struct hs_comparison {
    hs_verdict verdict;
    double gain;      /* median of with / now, less 1 */
    double low, high; /* the interval of that; of too few pairs the least and the most */
    uint32_t n;       /* pairs */
    uint32_t needs;   /* OPEN: pairs that it would take, as far as can be seen; else n */
} hs_comparison;

/* with[n], now[n]: speeds, or other things of which more is better; >= 0, n <= HS_COMPARE_MAX. least: the gain that
 * counts. rivals: how many ways are compared with the same `now`; the more there are, the surer each must be, so that
 * all together are 95 % sure. */
hs_comparison hs_compare(const double *with, const double *now, uint32_t n, double least, uint32_t rivals);
/* v[n] from the least to the most; few of them. */
void hs_sort_few(double *v, uint32_t n);

#endif
