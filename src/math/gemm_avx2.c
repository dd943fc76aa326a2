/* gemm_avx2.c - panels of 16 rows: turning rows into one, and six tokens at a time through it. */
#include "math/avx2_int.h"

#define TOKENS 6u /* twelve sums, two of the panel, one of x: fifteen of sixteen registers */

/* Rows 0..7 of s, columns 0..7 -> out[column * HS_PANEL_ROWS + row]. */
static void transpose8(const float *s, size_t stride, float *out)
{
    __m256 pair[8], quad[8];
    HS__EACH (i, 4) {
        __m256 a = _mm256_loadu_ps(s + 2 * i * stride), b = _mm256_loadu_ps(s + (2 * i + 1) * stride);
        pair[2 * i] = _mm256_unpacklo_ps(a, b);
        pair[2 * i + 1] = _mm256_unpackhi_ps(a, b);
    }
    HS__EACH (h, 2) {
        HS__EACH (i, 2) {
            __m256 a = pair[4 * h + i], b = pair[4 * h + i + 2];
            quad[4 * h + 2 * i] = _mm256_shuffle_ps(a, b, 0x44);
            quad[4 * h + 2 * i + 1] = _mm256_shuffle_ps(a, b, 0xee);
        }
    }
    HS__EACH (i, 4) {
        _mm256_store_ps(out + i * HS_PANEL_ROWS, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20));
        _mm256_store_ps(out + (i + 4) * HS_PANEL_ROWS, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31));
    }
}

void hs__to_panel_avx2(const float *rows, size_t stride, uint32_t n, float *panel)
{
    uint32_t k = 0;
    for (; k + 8 <= n; k += 8) {
        transpose8(rows + k, stride, panel + k * HS_PANEL_ROWS);
        transpose8(rows + 8 * stride + k, stride, panel + k * HS_PANEL_ROWS + 8);
    }
    for (; k < n; k++)
        for (uint32_t r = 0; r < HS_PANEL_ROWS; r++)
            panel[k * HS_PANEL_ROWS + r] = rows[r * stride + k];
}

HS__INLINE void block(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride, float *y,
                      size_t y_stride, const uint32_t tokens)
{
    __m256 sum[TOKENS][2];
    HS__EACH (t, tokens)
        sum[t][0] = sum[t][1] = _mm256_setzero_ps();
    for (uint32_t k = 0; k < n; k++) {
        __m256 w0 = _mm256_loadu_ps(panel + k * panel_stride), w1 = _mm256_loadu_ps(panel + k * panel_stride + 8);
        HS__EACH (t, tokens) {
            __m256 v = _mm256_broadcast_ss(x + t * x_stride + k);
            sum[t][0] = _mm256_fmadd_ps(v, w0, sum[t][0]);
            sum[t][1] = _mm256_fmadd_ps(v, w1, sum[t][1]);
        }
    }
    HS__EACH (t, tokens) {
        float *to = y + t * y_stride;
        _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sum[t][0]));
        _mm256_storeu_ps(to + 8, _mm256_add_ps(_mm256_loadu_ps(to + 8), sum[t][1]));
    }
}

HS__INLINE void blocks(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride, uint32_t m,
                       float *y, size_t y_stride)
{
    /* Seven to nine left are halved: fewer than four tokens do not keep the multipliers busy. */
    for (uint32_t count; m; m -= count, x += count * x_stride, y += count * y_stride) {
        count = m <= TOKENS ? m : m < TOKENS + 4 ? (m + 1) / 2 : TOKENS;
        switch (count) {
        case 6:
            block(panel, panel_stride, n, x, x_stride, y, y_stride, 6);
            break;
        case 5:
            block(panel, panel_stride, n, x, x_stride, y, y_stride, 5);
            break;
        case 4:
            block(panel, panel_stride, n, x, x_stride, y, y_stride, 4);
            break;
        case 3:
            block(panel, panel_stride, n, x, x_stride, y, y_stride, 3);
            break;
        case 2:
            block(panel, panel_stride, n, x, x_stride, y, y_stride, 2);
            break;
        default:
            block(panel, panel_stride, n, x, x_stride, y, y_stride, 1);
            break;
        }
    }
}

void hs__gemm_panel_avx2(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride,
                         uint32_t m, float *y, size_t y_stride)
{
    if (panel_stride == HS_PANEL_ROWS)
        blocks(panel, HS_PANEL_ROWS, n, x, x_stride, m, y, y_stride);
    else
        blocks(panel, panel_stride, n, x, x_stride, m, y, y_stride);
}
