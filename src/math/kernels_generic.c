/*
 * kernels_generic.c - every kernel in portable C: always built, always right. Others are optimisations of it.
 * Order: a row's sum runs over 8 interleaved partial sums, block of scales by block, so that compilers may vectorise
 * it.
 */
#include <math.h>

#include "math/math_int.h"

#define LANES 8

static float weight_at(const char *row, hs_dtype t, uint32_t k)
{
    switch (t) {
    case HS_DTYPE_F32:
        return hs__load_f32(row + 4 * (size_t)k);
    case HS_DTYPE_BF16:
        return hs__from_bf16(hs__load_u16(row + 2 * (size_t)k));
    case HS_DTYPE_F16:
        return hs__f16_to_f32(hs__load_u16(row + 2 * (size_t)k));
    default:
        return hs_f8_e4m3[(unsigned char)row[k]];
    }
}

static float reduce(const float *s)
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static float row_dot(const hs_mat *w, uint32_t r, const float *x)
{
    const char *row = hs__row(w, r);
    uint32_t block = hs__block_cols(w);
    float total[LANES] = {0};
    for (uint32_t k0 = 0; k0 < w->cols; k0 += block) {
        uint32_t end = w->cols - k0 < block ? w->cols : k0 + block;
        float sum[LANES] = {0};
        for (uint32_t k = k0; k < end; k++)
            sum[(k - k0) % LANES] += weight_at(row, w->dtype, k) * x[k];
        float scale = w->dtype == HS_DTYPE_F8_E4M3 ? hs__block_scale(w, r, k0) : 1.0f;
        for (uint32_t l = 0; l < LANES; l++)
            total[l] += sum[l] * scale;
    }
    return reduce(total);
}

static void matvec(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                   float *y, size_t y_stride)
{
    for (uint32_t r = row0; r < row1; r++)
        for (uint32_t v = 0; v < n_vec; v++)
            y[v * y_stride + r] = row_dot(w, r, x + v * x_stride);
}

static void dequant_span(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float *out)
{
    const char *row = hs__row(w, r);
    for (uint32_t k = col0; k < col1; k++) {
        float v = weight_at(row, w->dtype, k);
        out[k - col0] = w->dtype == HS_DTYPE_F8_E4M3 ? v * hs__block_scale(w, r, k) : v;
    }
}

static void matvec_t(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                     float *y)
{
    for (uint32_t k = col0; k < col1; k++)
        y[k - col0] = 0;
    for (uint32_t r = row0; r < row1; r++) {
        const char *row = hs__row(w, r);
        for (uint32_t k = col0; k < col1; k++) {
            float v = weight_at(row, w->dtype, k);
            y[k - col0] += (w->dtype == HS_DTYPE_F8_E4M3 ? v * hs__block_scale(w, r, k) : v) * x[r - row0];
        }
    }
}

static float dot(const float *a, const float *b, uint32_t n)
{
    float s[LANES] = {0};
    for (uint32_t i = 0; i < n; i++)
        s[i % LANES] += a[i] * b[i];
    return reduce(s);
}

static void axpy(float a, const float *x, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static float dot_f16(const uint16_t *a, const float *b, uint32_t n)
{
    float s[LANES] = {0};
    for (uint32_t i = 0; i < n; i++)
        s[i % LANES] += hs__f16_to_f32(a[i]) * b[i];
    return reduce(s);
}

static void axpy_f16(float a, const uint16_t *x, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += a * hs__f16_to_f32(x[i]);
}

static void to_f16(const float *x, uint16_t *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = hs__f32_to_f16(x[i]);
}

static void from_f16(const uint16_t *x, float *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = hs__f16_to_f32(x[i]);
}

static void rmsnorm(const float *x, const float *weight, uint32_t n, float eps, float *out)
{
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] * scale * (weight ? weight[i] : 1.0f);
}

const hs_kernels hs__kernels_generic = {
    .name = "generic",
    .matvec = matvec,
    .matvec_t = matvec_t,
    .dequant_span = dequant_span,
    .dot = dot,
    .axpy = axpy,
    .dot_f16 = dot_f16,
    .axpy_f16 = axpy_f16,
    .to_f16 = to_f16,
    .from_f16 = from_f16,
    .rmsnorm = rmsnorm,
    .silu_mul = hs__silu_mul,
    .softmax = hs__softmax,
};
