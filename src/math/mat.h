/*
 * mat.h - matrices in the file's format and the two ways to multiply by them.
 *
 * A weight matrix is row-major [rows = outputs][cols = inputs] and stays as it is in the file; kernels dequantise in
 * registers. No alignment of data or scale is assumed: both may begin at any byte.
 *
 * Same bits: an element y[v][r] depends on row r of the matrix and vector v alone. matvec (generated tokens) and
 * hs_gemm (prompt tokens) each have one summation order, whatever the batch, the split over threads or the place in a
 * tile; the two orders differ.
 *
 * ggml's block formats may instead be multiplied by vectors with 8-bit elements, for prompts and generated tokens
 * alike: hs_matvec_q8, which has the same bits in every kernel set. Who has several matrices for one vector quantises
 * it once:
 *
 *   hs_act a = hs_mat_act(w);                      HS_ACT_F32: this matrix takes floats only
 *   k->quantise(a, x, w->cols, row);               row: hs_act_bytes(a, w->cols)
 *   k->matvec_q8(w, row0, row1, rows, n, y);       or hs_matvec_q8 for all rows of the matrix
 */
#ifndef HS_MATH_MAT_H
#define HS_MATH_MAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "base/pool.h"

typedef struct hs_mat {
    const void *data;
    /* F8_E4M3: [ceil(rows/block_rows)][ceil(cols/block_cols)] of float32 or BF16, multiplied; NULL = 1.
     * MXFP4_PAIRS: [rows][cols / 32] bytes. */
    const void *scale;
    hs_dtype dtype; /* F32, F16, BF16, F8_E4M3, or a block format: then cols is a multiple of its block */
    uint32_t rows, cols;
    uint32_t block_rows, block_cols; /* of F8's scales; edge blocks are ragged */
    bool scale_bf16;                 /* of F8 */
    uint32_t skip; /* rows of another matrix between two of this one, in data and in MXFP4_PAIRS' scales */
} hs_mat;

typedef enum hs_kernel_set {
    HS_KERNELS_AUTO,
    HS_KERNELS_GENERIC,
    HS_KERNELS_AVX2,
    HS_KERNELS_AVX512,
    HS_KERNELS_NEON
} hs_kernel_set;

/*
 * What the elements of a vector are: floats, or 8 bits, of which 127 is the largest magnitude of their block of 32 or
 * 256 elements. A block with an infinity or NaN makes every product with it NaN.
 */
typedef enum hs_act { HS_ACT_F32, HS_ACT_Q8_32, HS_ACT_Q8_256, HS_ACT_COUNT } hs_act;

#define HS_PANEL_ROWS 16u /* rows of a weight panel in hs_gemm */

/* One instruction set's kernels; filled once, immutable. Strides are in floats. */
typedef struct hs_kernels {
    const char *name;
    /* y[v][r] = sum_k w[r][k] x[v][k] for r in [row0, row1), v in [0, n_vec). */
    void (*matvec)(const hs_mat *w, uint32_t row0, uint32_t row1, const float *x, size_t x_stride, uint32_t n_vec,
                   float *y, size_t y_stride);
    /* y[k - col0] = sum over r in [row0, row1) of w[r][k] x[r - row0], for k in [col0, col1). */
    void (*matvec_t)(const hs_mat *w, uint32_t row0, uint32_t row1, uint32_t col0, uint32_t col1, const float *x,
                     float *y);
    /* out[k - col0] = w[row][k] as float, k in [col0, col1). */
    void (*dequant_span)(const hs_mat *w, uint32_t row, uint32_t col0, uint32_t col1, float *out);
    /* x[0, n) with 8-bit elements; n a multiple of their block, row 4-byte-aligned with hs_act_bytes(a, n). */
    void (*quantise)(hs_act a, const float *x, uint32_t n, void *row);
    /* y[v][r] = sum_k w[r][k] x[v][k] for r in [row0, row1), v in [0, n_vec), n_vec from 1 to thousands; x[v]: rows of
     * hs_mat_act(w). */
    void (*matvec_q8)(const hs_mat *w, uint32_t row0, uint32_t row1, const void *const *x, uint32_t n_vec,
                      float *const *y);
    /* panel[k][r] = rows[r * stride + k] for r < HS_PANEL_ROWS, k < n; panel 64-byte-aligned. */
    void (*to_panel)(const float *rows, size_t stride, uint32_t n, float *panel);
    /* y[t][r] += sum over k in [0, n) of x[t][k] panel[k * panel_stride + r] for r < HS_PANEL_ROWS, t in [0, m): k
     * after k. */
    void (*gemm_panel)(const float *panel, size_t panel_stride, uint32_t n, const float *x, size_t x_stride, uint32_t m,
                       float *y, size_t y_stride);
    float (*dot)(const float *a, const float *b, uint32_t n);
    void (*axpy)(float a, const float *x, float *y, uint32_t n); /* y += a x */
    float (*dot_f16)(const uint16_t *a, const float *b, uint32_t n);
    void (*axpy_f16)(float a, const uint16_t *x, float *y, uint32_t n);
    void (*to_f16)(const float *x, uint16_t *out, uint32_t n); /* round to nearest, ties to even */
    void (*from_f16)(const uint16_t *x, float *out, uint32_t n);
    void (*rmsnorm)(const float *x, const float *weight, uint32_t n, float eps, float *out); /* weight NULL = 1 */
    void (*silu_mul)(const float *gate, const float *up, uint32_t n, float *out);            /* silu(gate) * up */
    void (*softmax)(float *x, uint32_t n);                                                   /* in place, n >= 1 */
    /* A softmax over pieces: x becomes exp(x scale - max) for the new maximum of all pieces so far, *sum its sum. Begin
     * with -INFINITY and 0. Returns what sums made with the older maximum are multiplied by. */
    float (*softmax_piece)(float *x, uint32_t n, float scale, float *max, float *sum);
} hs_kernels;

/* NULL with -ENOTSUP's sentence if this processor lacks the set. AUTO takes the best one. */
const hs_kernels *hs_kernels_get(hs_kernel_set set, hs_err *err);
/* "auto", "generic", "avx2", "avx512", "neon"; -EINVAL. */
int hs_kernel_set_parse(const char *text, hs_kernel_set *ret) HS_MUST_CHECK;

/* Bytes of matrix data (without scales); 0 if the type has no kernel. */
uint64_t hs_mat_bytes(const hs_mat *w);

/* The 8-bit vectors that w can be multiplied by; HS_ACT_F32 if none. */
hs_act hs_mat_act(const hs_mat *w);
/* Bytes of a vector of n elements, a multiple of 64 for 8-bit ones. */
uint64_t hs_act_bytes(hs_act a, uint32_t n);

/* All rows of the matrix by n_vec vectors of hs_mat_act(w), split over the pool at fixed borders; any n_vec. */
void hs_matvec_q8(const hs_kernels *k, hs_pool *pool, const hs_mat *w, const void *const *x, uint32_t n_vec,
                  float *const *y);

/*
 * Y[i][r] = sum_k X[i][k] W[r][k] for i in [0, m), on tiles dequantised once for all of them. scratch:
 * hs_gemm_scratch_bytes, 64-byte-aligned, shared by all threads of the pool.
 */
void hs_gemm(const hs_kernels *k, hs_pool *pool, const hs_mat *w, const float *x, size_t x_stride, uint32_t m, float *y,
             size_t y_stride, void *scratch);
uint64_t hs_gemm_scratch_bytes(uint32_t n_threads);

/* f32 = e4m3 code, exact; 0x7f and 0xff are NaN. */
extern const float hs_f8_e4m3[256];

#endif
