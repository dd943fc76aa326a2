/* sampler.c - sampling. Pure functions; memory is the caller's. */
#include "engine/sampler.h"

#include <math.h>

int hs__sampling_check(const hs_sampling *s, hs_err *err)
{
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return hs_err_set(err, -EINVAL, "temperature must be between 0 and 100");
    if (!(s->top_p > 0 && s->top_p <= 1))
        return hs_err_set(err, -EINVAL, "top_p must be above 0 and at most 1");
    if (!(s->min_p >= 0 && s->min_p < 1))
        return hs_err_set(err, -EINVAL, "min_p must be at least 0 and below 1");
    return 0;
}

uint32_t hs__argmax(const float *logits, uint32_t vocab)
{
    uint32_t best = 0;
    float top = -INFINITY;
    for (uint32_t i = 0; i < vocab; i++) {
        if (logits[i] > top) {
            top = logits[i];
            best = i;
        }
    }
    return best;
}

/* SplitMix64's finaliser (Steele, Lea, Flood 2014) over seed and step, as a double in [0, 1). */
static double uniform(uint64_t seed, uint64_t step)
{
    uint64_t z = seed + (step + 1) * 0x9e3779b97f4a7c15u;
    for (int round = 0; round < 2; round++) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        z += seed;
    }
    return (double)(z >> 11) * 0x1p-53;
}

static int before(const hs__candidate *a, const hs__candidate *b)
{
    return a->p > b->p || (a->p == b->p && a->id < b->id);
}

static void sift(hs__candidate *h, uint32_t n, uint32_t i)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(&h[child + 1], &h[child]))
            child++;
        if (!before(&h[child], &h[i]))
            return;
        hs__candidate t = h[i];
        h[i] = h[child];
        h[child] = t;
        i = child;
    }
}

/*
 * Takes candidates by falling probability until a filter says stop: a heap gives them in order without sorting the
 * vocabulary. Popped ones end up at the array's tail. Returns how many were kept and their summed weight.
 */
static uint32_t filter(const hs_sampling *s, hs__candidate *c, uint32_t n, double total, double *ret_kept)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sift(c, n, i);
    uint32_t limit = s->top_k && s->top_k < n ? s->top_k : n;
    double kept = 0, top_k_total = total;
    if (limit < n && s->top_p < 1) {
        /* top_p is a share of what top_k leaves: sum that first, then put the heap back. */
        top_k_total = 0;
        for (uint32_t k = 0; k < limit; k++) {
            hs__candidate t = c[0];
            top_k_total += (double)t.p;
            c[0] = c[n - 1 - k];
            c[n - 1 - k] = t;
            sift(c, n - 1 - k, 0);
        }
        for (uint32_t i = n / 2; i-- > 0;)
            sift(c, n, i);
    }
    float floor_p = 0;
    uint32_t taken = 0;
    while (taken < limit) {
        hs__candidate t = c[0];
        if (taken == 0)
            floor_p = t.p * s->min_p;
        else if (t.p < floor_p)
            break;
        uint32_t last = n - 1 - taken;
        c[0] = c[last];
        c[last] = t;
        sift(c, last, 0);
        taken++;
        kept += (double)t.p;
        if (s->top_p < 1 && kept >= (double)s->top_p * top_k_total)
            break;
    }
    *ret_kept = kept;
    return taken;
}

uint32_t hs__sample(const hs_sampling *s, const float *logits, uint32_t vocab, uint64_t step, hs__candidate *c)
{
    uint32_t best = hs__argmax(logits, vocab);
    if (s->temperature <= 0 || s->top_k == 1)
        return best;
    float top = logits[best];
    if (!isfinite(top))
        return best;
    double total = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        float p = expf((logits[i] - top) / s->temperature);
        if (!(p > 0))
            continue;
        c[n++] = (hs__candidate){p, i};
        total += (double)p;
    }
    double u = uniform(s->seed, step);
    if ((!s->top_k || s->top_k >= n) && s->top_p >= 1 && s->min_p <= 0) {
        double target = u * total, sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            sum += (double)c[i].p;
            if (target < sum)
                return c[i].id;
        }
        return best;
    }
    double kept, sum = 0;
    uint32_t taken = filter(s, c, n, total, &kept);
    for (uint32_t k = 0; k < taken; k++) {
        sum += (double)c[n - 1 - k].p;
        if (u * kept < sum)
            return c[n - 1 - k].id;
    }
    return best;
}
