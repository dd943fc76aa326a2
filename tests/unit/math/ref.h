/* ref.h - what the tests of math share: a seeded generator, matrices at odd addresses, and exact values in double. */
#ifndef TESTS_MATH_REF_H
#define TESTS_MATH_REF_H

#include <stddef.h>
#include <stdint.h>

#include "math/mat.h"

typedef struct rng {
    uint64_t s;
} rng;
uint32_t rng_next(rng *r);
uint32_t rng_below(rng *r, uint32_t n); /* [0, n) */
float rng_float(rng *r);                /* [-1, 1) */

/* What the elements are like. */
typedef enum fill { FILL_NORMAL, FILL_ZERO, FILL_SUBNORMAL, FILL_ANY_FINITE, FILL_COUNT } fill;

typedef struct test_mat {
    hs_mat mat;
    char *data, *scale; /* exact allocations, so that a sanitizer sees every overrun */
} test_mat;

/* Matrix data begins `offset` bytes (0 to 3) after an aligned address. Scales for F8 unless block_rows is 0. */
test_mat test_mat_create(rng *r, hs_dtype t, uint32_t rows, uint32_t cols, uint32_t block_rows, uint32_t block_cols,
                         fill how, uint32_t offset);
/* A matrix of a block format with random bytes; unless wild, with scales of moderate size. cols: a multiple of 256. */
test_mat test_quant_create(rng *r, hs_dtype t, uint32_t rows, uint32_t cols, int wild, uint32_t offset);
void test_mat_destroy(test_mat *m);

#define FIRST_QUANT HS_DTYPE_Q4_0
#define LAST_QUANT  HS_DTYPE_MXFP4

/* Decoded independently of src/math, scale included; not for block formats. */
double ref_value(const hs_mat *w, uint32_t r, uint32_t k);
double ref_e4m3(unsigned char code);
double ref_f16(uint16_t h);

/* sum_k w[r][k] x[k], and how far a float sum in any sensible order may be from it. */
double ref_dot(const hs_mat *w, uint32_t r, const float *x, double *ret_tolerance);

/* The kernel sets that this processor has, at least the generic one, which is first. */
#define MAX_SETS 8 /* at most that many */
const hs_kernels *const *all_kernels(size_t *ret_n);

void *test_alloc(size_t n); /* exact size, aborts when out of memory; free() */

#endif
