/* half.c - rounding to IEEE binary16 in software, bit for bit what F16C does (the other direction is in math_int.h). */
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
