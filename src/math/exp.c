/*
 * exp.c - what is built on the exponential, in portable C: SwiGLU, softmax whole and in pieces. Bits are the same in
 * every kernel set: hs__exp is made of separate multiplications and additions, and sums run over 8 lanes.
 */
#include <math.h>

#include "math/math_int.h"

void hs__silu_mul(const float *gate, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + hs__exp(-gate[i])) * up[i];
}

void hs__softmax(float *x, uint32_t n)
{
    float top = x[0];
    for (uint32_t i = 1; i < n; i++)
        top = x[i] > top ? x[i] : top;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        x[i] = hs__exp(x[i] - top);
        sum += (double)x[i];
    }
    float inv = (float)(1.0 / sum);
    for (uint32_t i = 0; i < n; i++)
        x[i] *= inv;
}

float hs__softmax_piece(float *x, uint32_t n, float scale, float *max, float *sum)
{
    float top = *max, s[8] = {0};
    for (uint32_t i = 0; i < n; i++) {
        x[i] *= scale;
        top = x[i] > top ? x[i] : top;
    }
    for (uint32_t i = 0; i < n; i++) {
        x[i] = hs__exp(x[i] - top);
        s[i & 7] += x[i];
    }
    float shrink = top > *max ? hs__exp(*max - top) : 1.0f;
    *max = top;
    *sum = *sum * shrink + (((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])));
    return shrink;
}
