/*
 * kernels_generic.c - every kernel in portable C: always built, always right. Others are optimisations of it.
 *
 * Order: a row's sum runs over 8 interleaved partial sums per piece of at most PIECE columns, which also ends with each
 * block of scales, or per block of a block format; pieces are added up in order. Written so that compilers may
 * vectorise it without reordering.
 */
#include <math.h>

#include "math/quant_int.h"

#define LANES 8u
#define PIECE 128u

static void load_plain(const char *p, hs_dtype t, uint32_t n, float *out)
{
    switch (t) {
    case HS_DTYPE_F32:
        memcpy(out, p, n * sizeof *out);
        break;
    case HS_DTYPE_BF16:
        for (uint32_t i = 0; i < n; i++)
            out[i] = hs__from_bf16(hs__load_u16(p + 2 * (size_t)i));
        break;
    case HS_DTYPE_F16:
        for (uint32_t i = 0; i < n; i++)
            out[i] = hs__f16_to_f32(hs__load_u16(p + 2 * (size_t)i));
        break;
    default:
        for (uint32_t i = 0; i < n; i++)
            out[i] = hs_f8_e4m3[(unsigned char)p[i]];
        break;
    }
}

/* Row r's columns [k, end), without E4M3's scale. */
static void load_piece(const hs_mat *w, uint32_t r, uint32_t k, uint32_t end, float *out)
{
    if (hs__is_quant(w->dtype))
        hs__dequant_span_quant(w, r, k, end, out);
    else
        load_plain(hs__element(w, r, k), w->dtype, end - k, out);
}

static float reduce(const float *s)
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* The end of the piece that begins at column k: PIECE columns, or the end of its block of scales or elements, or end.
 */
static uint32_t piece_end(const hs_mat *w, uint32_t k, uint32_t end)
{
    uint32_t n = PIECE, block = hs_dtype_block(w->dtype);
    if (w->dtype == HS_DTYPE_F8_E4M3 && w->scale && w->block_cols - k % w->block_cols < n)
        n = w->block_cols - k % w->block_cols;
    else if (block > 1)
        n = block - k % block;
    return end - k < n ? end : k + n;
}

static float scale_of(const hs_mat *w, uint32_t r, uint32_t k)
{
    return w->dtype == HS_DTYPE_F8_E4M3 ? hs__block_scale(w, r, k) : 1.0f;
}

static float dot(const float *a, const float *b, uint32_t n);

static void matvec(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                   float *y, size_t y_stride)
{
    float piece[HS__BLOCK_MAX];
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t v = 0; v < n_vec; v++)
            y[v * y_stride + r] = 0;
        for (uint32_t k = 0, end; k < w->cols; k = end) {
            end = piece_end(w, k, w->cols);
            load_piece(w, r, k, end, piece);
            float scale = scale_of(w, r, k);
            for (uint32_t v = 0; v < n_vec; v++)
                y[v * y_stride + r] += dot(piece, x + v * x_stride + k, end - k) * scale;
        }
    }
}

void hs__generic_dequant_span(const hs_mat *w, uint32_t r, uint32_t col0, uint32_t col1, float *out)
{
    for (uint32_t k = col0, end; k < col1; k = end) {
        end = piece_end(w, k, col1);
        float *at = out + (k - col0), scale = scale_of(w, r, k);
        load_piece(w, r, k, end, at);
        for (uint32_t i = 0; i < end - k; i++)
            at[i] *= scale;
    }
}

void hs__generic_matvec_t(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                          float *y)
{
    float piece[HS__BLOCK_MAX];
    for (uint32_t k = col0; k < col1; k++)
        y[k - col0] = 0;
    for (uint32_t r = row0; r < row1; r++) {
        for (uint32_t k = col0, end; k < col1; k = end) {
            end = piece_end(w, k, col1);
            float *at = y + (k - col0), s = scale_of(w, r, k) * x[r - row0];
            load_piece(w, r, k, end, piece);
            for (uint32_t i = 0; i < end - k; i++)
                at[i] += piece[i] * s;
        }
    }
}

void hs__generic_to_panel(const float *rows, size_t stride, uint32_t n, float *panel)
{
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t r = 0; r < HS_PANEL_ROWS; r++)
            panel[k * HS_PANEL_ROWS + r] = rows[r * stride + k];
}

static void gemm_panel(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride, uint32_t m,
                       float *y, size_t y_stride)
{
    for (uint32_t t = 0; t < m; t++) {
        float sum[HS_PANEL_ROWS] = {0};
        for (uint32_t k = 0; k < n; k++)
            for (uint32_t r = 0; r < HS_PANEL_ROWS; r++)
                sum[r] += x[t * x_stride + k] * panel[k * panel_stride + r];
        for (uint32_t r = 0; r < HS_PANEL_ROWS; r++)
            y[t * y_stride + r] += sum[r];
    }
}

static float dot(const float *a, const float *b, uint32_t n)
{
    float s[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (uint32_t l = 0; l < LANES; l++)
            s[l] += a[i + l] * b[i + l];
    for (uint32_t l = 0; i < n; i++, l++)
        s[l] += a[i] * b[i];
    return reduce(s);
}

static void axpy(float a, const float *x, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

float hs__generic_dot_f16(const uint16_t *a, const float *b, uint32_t n)
{
    float piece[PIECE], sum = 0;
    for (uint32_t i = 0, m; i < n; i += m) {
        m = n - i < PIECE ? n - i : PIECE;
        load_plain((const char *)(a + i), HS_DTYPE_F16, m, piece);
        sum += dot(piece, b + i, m);
    }
    return sum;
}

void hs__generic_axpy_f16(float a, const uint16_t *x, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += a * hs__f16_to_f32(x[i]);
}

void hs__generic_to_f16(const float *x, uint16_t *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = hs__f32_to_f16(x[i]);
}

void hs__generic_from_f16(const uint16_t *x, float *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = hs__f16_to_f32(x[i]);
}

void hs__generic_rmsnorm(const float *x, const float *weight, uint32_t n, float eps, float *out)
{
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] * scale * (weight ? weight[i] : 1.0f);
}

const hs_kernels hs__kernels_generic = {
    .name = "generic",
    .matvec = matvec,
    .matvec_t = hs__generic_matvec_t,
    .dequant_span = hs__generic_dequant_span,
    .quantise = hs__quantise,
    .matvec_q8 = hs__matvec_q8,
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
