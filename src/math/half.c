/*
 * half.c - rounding to IEEE binary16 in software, bit for bit what F16C does (the other direction is in math_int.h);
 * and the operations built on libm that all kernel sets share.
 */
#include <math.h>

#include "math/math_int.h"

uint16_t hs__f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t mag = bits & 0x7fffffff;
    if (mag > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x3ff));
    if (mag >= 0x477ff000) /* rounds to 65520 or more: infinity */
        return sign | 0x7c00;
    if (mag < 0x38800000) { /* subnormal or zero: let the FPU round at 2^-24 */
        float m;
        memcpy(&m, &mag, sizeof m);
        return (uint16_t)(sign | (uint16_t)lrintf(m * 0x1p24f));
    }
    mag += 0xfff + (mag >> 13 & 1);
    return (uint16_t)(sign | (mag - 0x38000000) >> 13);
}

void hs__silu_mul(const float *gate, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void hs__softmax(float *x, uint32_t n)
{
    float top = x[0];
    for (uint32_t i = 1; i < n; i++)
        top = x[i] > top ? x[i] : top;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - top);
        sum += (double)x[i];
    }
    float inv = (float)(1.0 / sum);
    for (uint32_t i = 0; i < n; i++)
        x[i] *= inv;
}
