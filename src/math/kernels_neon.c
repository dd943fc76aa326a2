/*
 * kernels_neon.c - 64-bit ARM, whose baseline has NEON: products, dot and axpy. What is not here is the generic kernel,
 * which compilers vectorise.
 *
 * Order: a float row's sum runs over 16 interleaved partial sums with FMA per piece of 256 columns; pieces are added up
 * in order. The GEMM's order is that of the columns. The 8-bit product has the bits of every set (quant.c).
 */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "math/quant_int.h"

#define PIECE  256u
#define TOKENS 4u

static float dot(const float *a, const float *b, uint32_t n)
{
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (uint32_t j = 0; j < 4; j++)
            s[j] = vfmaq_f32(s[j], vld1q_f32(a + i + 4 * j), vld1q_f32(b + i + 4 * j));
    for (; i + 4 <= n; i += 4)
        s[0] = vfmaq_f32(s[0], vld1q_f32(a + i), vld1q_f32(b + i));
    if (i < n) {
        float x[4] = {0}, y[4] = {0};
        memcpy(x, a + i, (n - i) * sizeof *x);
        memcpy(y, b + i, (n - i) * sizeof *y);
        s[1] = vfmaq_f32(s[1], vld1q_f32(x), vld1q_f32(y));
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
}

static void axpy(float a, const float *x, float *y, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), a));
    for (; i < n; i++)
        y[i] = vgetq_lane_f32(vfmaq_n_f32(vdupq_n_f32(y[i]), vdupq_n_f32(x[i]), a), 0);
}

static void matvec(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                   float *y, size_t y_stride)
{
    float piece[PIECE];
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t v = 0; v < n_vec; v++)
            y[v * y_stride + r] = 0;
        for (uint32_t k = 0; k < w->cols; k += PIECE) {
            uint32_t n = w->cols - k < PIECE ? w->cols - k : PIECE;
            hs__generic_dequant_span(w, r, k, k + n, piece);
            for (uint32_t v = 0; v < n_vec; v++)
                y[v * y_stride + r] += dot(piece, x + v * x_stride + k, n);
        }
    }
}

/* m (at most TOKENS) tokens through a panel. */
static inline void block(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride, float *y,
                         size_t y_stride, const uint32_t m)
{
    float32x4_t sum[TOKENS][4];
    for (uint32_t t = 0; t < m; t++)
        for (uint32_t j = 0; j < 4; j++)
            sum[t][j] = vdupq_n_f32(0);
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t j = 0; j < 4; j++) {
            float32x4_t w = vld1q_f32(panel + k * panel_stride + 4 * j);
            for (uint32_t t = 0; t < m; t++)
                sum[t][j] = vfmaq_n_f32(sum[t][j], w, x[t * x_stride + k]);
        }
    for (uint32_t t = 0; t < m; t++)
        for (uint32_t j = 0; j < 4; j++) {
            float *to = y + t * y_stride + 4 * j;
            vst1q_f32(to, vaddq_f32(vld1q_f32(to), sum[t][j]));
        }
}

static void gemm_panel(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride, uint32_t m,
                       float *y, size_t y_stride)
{
    for (; m >= TOKENS; m -= TOKENS, x += TOKENS * x_stride, y += TOKENS * y_stride)
        block(panel, panel_stride, n, x, x_stride, y, y_stride, TOKENS);
    for (; m; m--, x += x_stride, y += y_stride)
        block(panel, panel_stride, n, x, x_stride, y, y_stride, 1);
}

/* The integer of one block: two products of 8 bits fit 16. */
static inline int32_t block_sum(const hs__block *b, uint32_t n, const int8_t *x)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (uint32_t g = 0; g < n / HS__GROUP; g++) {
        int8x16_t q = vld1q_s8(b->q + HS__GROUP * g), v = vld1q_s8(x + HS__GROUP * g);
        int16x8_t pairs = vmull_s8(vget_low_s8(q), vget_low_s8(v));
        pairs = vmlal_s8(pairs, vget_high_s8(q), vget_high_s8(v));
        sum = vmlaq_n_s32(sum, vpaddlq_s16(pairs), b->scale[g]);
    }
    return vaddvq_s32(sum);
}

static inline int32_t block_min(const hs__block *b, uint32_t n, const int16_t *sums)
{
    int32_t min = 0;
    for (uint32_t g = 0; g < n / HS__GROUP; g++)
        min += b->min[g] * sums[hs__act_sum_at(g, n)];
    return min;
}

static void matvec_q8(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                      float *const *y)
{
    uint32_t size = hs_dtype_block(w->dtype), n = w->cols;
    hs__block b;
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t v = 0; v < n_vec; v++)
            y[v][r] = 0;
        for (uint32_t k = 0; k < n; k += size) {
            hs__unpack_at(w, r, k, &b);
            for (uint32_t v = 0; v < n_vec; v++) {
                float dx = hs__act_scales(x[v], n)[k / size];
                y[v][r] += (b.d * dx) * (float)block_sum(&b, size, (const int8_t *)x[v] + k);
                if (b.dmin != 0)
                    y[v][r] -= (b.dmin * dx) * (float)block_min(&b, size, hs__act_sums(x[v], n) + k / HS__GROUP);
            }
        }
    }
}

const hs_kernels hs__kernels_neon = {
    .name = "neon",
    .matvec = matvec,
    .matvec_t = hs__generic_matvec_t,
    .dequant_span = hs__generic_dequant_span,
    .quantise = hs__quantise,
    .matvec_q8 = matvec_q8,
    .to_panel = hs__generic_to_panel,
    .gemm_panel = gemm_panel,
    .dot = dot,
    .axpy = axpy,
    .dot_f16 = hs__generic_dot_f16,
    .axpy_f16 = hs__generic_axpy_f16,
    .to_f16 = hs__generic_to_f16,
    .from_f16 = hs__generic_from_f16,
    .rmsnorm = hs__generic_rmsnorm,
    .silu_mul = hs__silu_mul,
    .softmax = hs__softmax,
    .softmax_piece = hs__softmax_piece,
};
#else
typedef int hs__not_here; /* a translation unit is not empty */
#endif
