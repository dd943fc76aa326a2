/*
 * rope.c - rotary positions, plain and YaRN. Angles are single-precision products of position and frequency, as in the
 * reference; a pass computes them once for all layers.
 */
#include <math.h>

#include "model/model_int.h"

double hs__yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

/* The (fractional) pair of dimensions that turns n times within the original context. */
static double correction(const hs__rope *r, double n)
{
    return r->dim * log(r->original / (n * 2 * M_PI)) / (2 * log(r->theta));
}

void hs__rope_frequencies(const hs__rope *r, float *inv_freq)
{
    double low = 0, high = 0;
    if (r->yarn) {
        low = correction(r, r->beta_fast);
        high = correction(r, r->beta_slow);
        if (r->truncate) {
            low = floor(low);
            high = ceil(high);
        }
        low = fmax(low, 0);
        high = fmin(high, r->dim - 1.0);
        if (low == high)
            high += 0.001;
    }
    for (uint32_t i = 0; i < r->dim / 2; i++) {
        double f = pow(r->theta, -2.0 * i / r->dim);
        if (r->yarn) {
            double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
            f = f / r->factor * ramp + f * (1 - ramp);
        }
        inv_freq[i] = (float)f;
    }
}

void hs__rope_angles(hs_model *m, const hs__pass *p)
{
    const hs__rope *r = &m->a->rope;
    uint32_t half = r->dim / 2;
    for (uint32_t t = 0; t < p->n; t++) {
        float position = (float)hs__pass_position(p, t);
        for (uint32_t i = 0; i < half; i++) {
            double angle = position * m->inv_freq[i];
            m->cos[(size_t)t * half + i] = (float)cos(angle) * r->amplitude;
            m->sin[(size_t)t * half + i] = (float)sin(angle) * r->amplitude;
        }
    }
}

void hs__rope_apply(const hs_model *m, float *x, uint32_t token)
{
    const hs__rope *r = &m->a->rope;
    size_t at = (size_t)token * (r->dim / 2);
    if (r->neox)
        hs_rope_neox(x, m->cos + at, m->sin + at, r->dim);
    else
        hs_rope_norm(x, m->cos + at, m->sin + at, r->dim);
}
