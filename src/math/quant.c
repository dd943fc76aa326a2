/*
 * quant.c - ggml's block formats in portable C: their values as floats, vectors with 8-bit elements, and the product of
 * the two.
 *
 * Order of the 8-bit product, in every kernel set and for any number of vectors: a block's sum of scale * q * x is an
 * integer, exactly; y += (d * dx) * sum, and for formats with minimums then y -= (dmin * dx) * (their sum), block after
 * block, each operation rounded. So the sets agree bit for bit.
 */
#include <math.h>

#include "math/quant_int.h"

static hs__unpack_fn unpack_of(hs_dtype t)
{
    static const hs__unpack_fn functions[HS_DTYPE_COUNT] = {
        [HS_DTYPE_Q4_0] = hs__unpack_q4_0,
        [HS_DTYPE_Q4_1] = hs__unpack_q4_1,
        [HS_DTYPE_Q5_0] = hs__unpack_q5_0,
        [HS_DTYPE_Q5_1] = hs__unpack_q5_1,
        [HS_DTYPE_Q8_0] = hs__unpack_q8_0,
        [HS_DTYPE_Q2_K] = hs__unpack_q2_k,
        [HS_DTYPE_Q3_K] = hs__unpack_q3_k,
        [HS_DTYPE_Q4_K] = hs__unpack_q4_k,
        [HS_DTYPE_Q5_K] = hs__unpack_q5_k,
        [HS_DTYPE_Q6_K] = hs__unpack_q6_k,
        [HS_DTYPE_IQ1_S] = hs__unpack_iq1_s,
        [HS_DTYPE_IQ1_M] = hs__unpack_iq1_m,
        [HS_DTYPE_IQ2_XXS] = hs__unpack_iq2_xxs,
        [HS_DTYPE_IQ2_XS] = hs__unpack_iq2_xs,
        [HS_DTYPE_IQ2_S] = hs__unpack_iq2_s,
        [HS_DTYPE_IQ3_XXS] = hs__unpack_iq3_xxs,
        [HS_DTYPE_IQ3_S] = hs__unpack_iq3_s,
        [HS_DTYPE_IQ4_NL] = hs__unpack_iq4_nl,
        [HS_DTYPE_IQ4_XS] = hs__unpack_iq4_xs,
        [HS_DTYPE_TQ1_0] = hs__unpack_tq1_0,
        [HS_DTYPE_TQ2_0] = hs__unpack_tq2_0,
        [HS_DTYPE_MXFP4] = hs__unpack_mxfp4,
        [HS_DTYPE_MXFP4_PAIRS] = hs__unpack_mxfp4_pairs,
    };
    return functions[t];
}

void hs__unpack_at(const hs_mat *w, uint32_t r, uint32_t k, hs__block *b)
{
    unpack_of(w->dtype)((const unsigned char *)hs__element(w, r, k), b);
    if (w->dtype == HS_DTYPE_MXFP4_PAIRS)
        b->d = hs__e8m0_half(*hs__e8m0_at(w, r, k));
}

void hs__dequant_span_quant(const hs_mat *w, uint32_t row, uint32_t col0, uint32_t col1, float *out)
{
    uint32_t size = hs_dtype_block(w->dtype);
    hs__block b;
    for (uint32_t k = col0; k < col1;) {
        uint32_t at = k % size, end = col1 - k < size - at ? at + (col1 - k) : size;
        hs__unpack_at(w, row, k - at, &b);
        for (; at < end; k++, at++) {
            uint32_t g = at / HS__GROUP;
            out[k - col0] = (b.d * (float)b.scale[g]) * (float)b.q[at] - b.dmin * (float)b.min[g];
        }
    }
}

hs_act hs_mat_act(const hs_mat *w)
{
    uint32_t block = hs_dtype_block(w->dtype);
    return block == 32 ? HS_ACT_Q8_32 : block == 256 ? HS_ACT_Q8_256 : HS_ACT_F32;
}

uint64_t hs_act_bytes(hs_act a, uint32_t n)
{
    if (a == HS_ACT_F32)
        return (uint64_t)n * sizeof(float);
    uint64_t bytes = n + (uint64_t)n / HS__GROUP * sizeof(int16_t) + (uint64_t)n / hs__act_block(a) * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

/* The bits of the largest magnitude; NaN has the largest bits of all. */
static uint32_t largest(const float *x, uint32_t n)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        max = bits > max ? bits : max;
    }
    return max;
}

static void quantise_block(const float *x, uint32_t n, int8_t *q, int16_t *sums, float *d)
{
    uint32_t bits = largest(x, n);
    float max;
    memcpy(&max, &bits, sizeof max);
    int finite = bits < 0x7f800000, some = finite && max >= HS__ACT_TINY;
    float inverse = some ? 127.0f / max : 0;
    *d = some ? max / 127.0f : finite ? 0 : NAN;
    for (uint32_t g = 0; g < n / HS__GROUP; g++) {
        int sum = 0;
        for (uint32_t i = g * HS__GROUP; i < (g + 1) * HS__GROUP; i++) {
            q[i] = some ? (int8_t)lrintf(x[i] * inverse) : 0;
            sum += q[i];
        }
        sums[hs__act_sum_at(g, n)] = (int16_t)sum;
    }
}

void hs__quantise(hs_act a, const float *x, uint32_t n, void *row)
{
    uint32_t block = hs__act_block(a);
    int16_t *sums = (int16_t *)(void *)((char *)row + n);
    float *d = (float *)(void *)(sums + n / HS__GROUP);
    for (uint32_t k = 0; k < n; k += block)
        quantise_block(x + k, block, (int8_t *)row + k, sums + k / HS__GROUP, d + k / block);
}

/* The integers of one block: sum of scale * q * x, and of min * (sum of x). */
static void block_sums(const hs__block *b, uint32_t n, const int8_t *x, const int16_t *sums, int *ret_sum, int *ret_min)
{
    int total = 0, min = 0;
    for (uint32_t g = 0; g < n / HS__GROUP; g++) {
        int sum = 0;
        for (uint32_t i = g * HS__GROUP; i < (g + 1) * HS__GROUP; i++)
            sum += b->q[i] * x[i];
        total += b->scale[g] * sum;
        min += b->min[g] * sums[hs__act_sum_at(g, n)];
    }
    *ret_sum = total;
    *ret_min = min;
}

void hs__matvec_q8(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec, float *const *y)
{
    uint32_t size = hs_dtype_block(w->dtype), n = w->cols;
    hs__block b;
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t v = 0; v < n_vec; v++)
            y[v][r] = 0;
        for (uint32_t k = 0; k < n; k += size) {
            hs__unpack_at(w, r, k, &b);
            for (uint32_t v = 0; v < n_vec; v++) {
                int sum, min;
                float dx = hs__act_scales(x[v], n)[k / size];
                block_sums(&b, size, (const int8_t *)x[v] + k, hs__act_sums(x[v], n) + k / HS__GROUP, &sum, &min);
                y[v][r] += (b.d * dx) * (float)sum;
                y[v][r] -= (b.dmin * dx) * (float)min;
            }
        }
    }
}
