/* compare.c - see compare.h. */
#include "cli/compare.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#define MOST_RATIO 1000.0 /* what is divided by nothing */
#define DOUBT      0.05

static double ratio(double with, double now)
{
    if (with <= 0 && now <= 0)
        return 1;
    double r = now > 0 ? with / now : MOST_RATIO;
    return r > MOST_RATIO ? MOST_RATIO : r;
}

void hs_sort_few(double *v, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        double x = v[i];
        uint32_t k = i;
        for (; k > 0 && v[k - 1] > x; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

/* How many of n values may lie beyond each end of the interval: the most for which a coin thrown n times shows so few
 * heads with a chance below `doubt`, less one. -1: even the extremes are not sure enough. */
static int beyond(uint32_t n, double doubt)
{
    double chance = pow(0.5, n), sum = chance;
    int k = -1;
    for (uint32_t heads = 0; heads < n && sum <= doubt; heads++) {
        k = (int)heads;
        chance *= (double)(n - heads) / (heads + 1);
        sum += chance;
    }
    return k;
}

/* The interval shrinks with the root of the number of pairs; it must clear 0, or fit between -least and least. */
static uint32_t pairs_needed(const hs_comparison *c, double least, uint32_t fewest)
{
    double half = (c->high - c->low) / 2, size = fabs(c->gain);
    double room = size > least - size ? size : least - size;
    double n = room > 0 ? c->n * (half / room) * (half / room) : 1e9;
    uint32_t needs = n < 1e9 ? (uint32_t)ceil(n) : 1000000000u;
    needs = needs > c->n ? needs : c->n + 1;
    return needs > fewest ? needs : fewest;
}

hs_comparison hs_compare(const double *with, const double *now, uint32_t n, double least, uint32_t rivals)
{
    double v[HS_COMPARE_MAX], doubt = DOUBT / 2 / (rivals ? rivals : 1);
    uint32_t fewest = 1;
    assert(n <= HS_COMPARE_MAX);
    while (beyond(fewest, doubt) < 0)
        fewest++;
    if (!n)
        return (hs_comparison){.verdict = HS_VERDICT_OPEN, .needs = fewest};
    for (uint32_t i = 0; i < n; i++)
        v[i] = ratio(with[i], now[i]);
    hs_sort_few(v, n);
    int k = beyond(n, doubt);
    uint32_t end = k < 0 ? 0 : (uint32_t)k;
    hs_comparison c = {
        .gain = (v[(n - 1) / 2] + v[n / 2]) / 2 - 1, .low = v[end] - 1, .high = v[n - 1 - end] - 1, .n = n, .needs = n};
    if (k >= 0 && c.low > 0 && c.gain >= least)
        c.verdict = HS_VERDICT_BETTER;
    else if (k >= 0 && c.high < 0)
        c.verdict = HS_VERDICT_WORSE;
    else if (k >= 0 && c.low > -least && c.high < least)
        c.verdict = HS_VERDICT_SAME;
    else
        c.needs = pairs_needed(&c, least, fewest);
    return c;
}
