/* ops.c - rope, top-k and other small operations. Pure functions. */
#include "math/math_int.h"
#include "math/ops.h"

#include <math.h>

void hs_rope_norm(float *x, const float *cos, const float *sin, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cos[i] - b * sin[i];
        x[2 * i + 1] = b * cos[i] + a * sin[i];
    }
}

void hs_rope_neox(float *x, const float *cos, const float *sin, uint32_t n)
{
    uint32_t h = n / 2;
    for (uint32_t i = 0; i < h; i++) {
        float a = x[i], b = x[i + h];
        x[i] = a * cos[i] - b * sin[i];
        x[i + h] = b * cos[i] + a * sin[i];
    }
}

/* Insertion into a sorted list of k: k is small, and most scores fail the first comparison. */
void hs_topk(const float *score, uint32_t n, uint32_t k, uint32_t *ret_index)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < n && k; i++) {
        if (have == k && !(score[i] > score[ret_index[k - 1]]))
            continue;
        uint32_t at = have < k ? have++ : k - 1;
        while (at > 0 && score[i] > score[ret_index[at - 1]]) {
            ret_index[at] = ret_index[at - 1];
            at--;
        }
        ret_index[at] = i;
    }
}

float hs_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

void hs_add(const float *x, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += x[i];
}

void hs_scale(float a, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= a;
}

void hs_glu_limited(const float *gate, const float *up, uint32_t n, float limit, float alpha, float *out)
{
    for (uint32_t i = 0; i < n; i++) {
        float g = gate[i] > limit ? limit : gate[i], u = up[i] > limit ? limit : up[i];
        u = u < -limit ? -limit : u;
        out[i] = (u + 1.0f) * g / (1.0f + hs__exp(-alpha * g));
    }
}
