/* labels: unit */
/*
 * Every kernel set against values computed in double, on shapes and values chosen to hurt; and the promise that an
 * element of a matrix-vector product is the same bits however the work is cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

static const hs_dtype types[] = {HS_DTYPE_F32, HS_DTYPE_F16, HS_DTYPE_BF16, HS_DTYPE_F8_E4M3};

typedef struct shape {
    uint32_t rows, cols, block_rows, block_cols;
} shape;

/* Odd columns, single rows, ragged blocks, blocks of odd size, more columns than a chunk of any kernel. */
static const shape shapes[] = {
    {1, 1, 128, 128},   {1, 7, 0, 0},     {3, 8, 128, 128},     {5, 31, 128, 128},   {4, 32, 128, 128},
    {7, 33, 0, 0},      {9, 127, 2, 128}, {130, 33, 128, 128},  {17, 255, 128, 128}, {9, 300, 128, 128},
    {131, 40, 128, 32}, {6, 100, 3, 24},  {5, 77, 1, 1},        {12, 200, 5, 96},    {2, 8191, 128, 128},
    {2, 8193, 2, 128},  {2, 8300, 4, 96}, {1, 16500, 128, 128}, {1, 20000, 0, 0},    {2, 600, 2, 50},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static float *vectors(rng *r, size_t n)
{
    float *x = test_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_float(r);
    return x;
}

static void close_to(double got, double want, double tolerance, const char *kernels, const hs_mat *w, uint32_t r)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s %s %ux%u blocks %ux%u row %u: %.9g, not %.9g +- %.3g", kernels, hs_dtype_name(w->dtype), w->rows,
                 w->cols, w->block_rows, w->block_cols, r, got, want, tolerance);
}

static void each_matrix(void (*check)(const hs_kernels *k, const hs_mat *w, rng *r))
{
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (size_t s = 0; s < n_sets; s++) {
        rng r = {1};
        for (size_t t = 0; t < 4; t++)
            for (size_t i = 0; i < N_SHAPES; i++)
                for (fill f = 0; f < FILL_COUNT; f++) {
                    test_mat m = test_mat_create(&r, types[t], shapes[i].rows, shapes[i].cols, shapes[i].block_rows,
                                                 shapes[i].block_cols, f, rng_below(&r, 4));
                    check(sets[s], &m.mat, &r);
                    test_mat_destroy(&m);
                }
    }
}

static void check_matvec(const hs_kernels *k, const hs_mat *w, rng *r)
{
    float *x = vectors(r, w->cols), *y = test_alloc(w->rows * sizeof *y);
    k->matvec(w, 0, w->rows, x, w->cols, 1, y, w->rows);
    for (uint32_t i = 0; i < w->rows; i++) {
        double tolerance, want = ref_dot(w, i, x, &tolerance);
        close_to(y[i], want, tolerance, k->name, w, i);
    }
    free(x);
    free(y);
}

static void matvec_is_right(void **state)
{
    (void)state;
    each_matrix(check_matvec);
}

static void check_matvec_t(const hs_kernels *k, const hs_mat *w, rng *r)
{
    uint32_t row0 = rng_below(r, w->rows), row1 = row0 + 1 + rng_below(r, w->rows - row0);
    uint32_t col0 = rng_below(r, w->cols), col1 = col0 + 1 + rng_below(r, w->cols - col0);
    float *x = vectors(r, row1 - row0), *y = test_alloc((col1 - col0) * sizeof *y);
    k->matvec_t(w, row0, row1, col0, col1, x, y);
    for (uint32_t c = col0; c < col1; c++) {
        double sum = 0, size = 0;
        for (uint32_t i = row0; i < row1; i++) {
            double t = ref_value(w, i, c) * (double)x[i - row0];
            sum += t;
            size += fabs(t);
        }
        close_to(y[c - col0], sum, (row1 - row0 + 8) * 6e-8 * size + 1e-37, k->name, w, c);
    }
    free(x);
    free(y);
}

static void matvec_t_is_right(void **state)
{
    (void)state;
    each_matrix(check_matvec_t);
}

/* A value is exact; with a scale it is rounded once. Every start column, so every alignment in a block. */
static void check_dequant(const hs_kernels *k, const hs_mat *w, rng *r)
{
    uint32_t row = rng_below(r, w->rows), col0 = rng_below(r, w->cols), col1 = col0 + 1 + rng_below(r, w->cols - col0);
    float *out = test_alloc((col1 - col0) * sizeof *out);
    k->dequant_span(w, row, col0, col1, out);
    for (uint32_t c = col0; c < col1; c++)
        if (out[c - col0] != (float)ref_value(w, row, c))
            fail_msg("%s %s column %u: %.9g, not %.9g", k->name, hs_dtype_name(w->dtype), c, (double)out[c - col0],
                     ref_value(w, row, c));
    free(out);
}

static void dequant_is_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        each_matrix(check_dequant);
}

/* Row by row and vector by vector, against all at once and against random cuts. */
static void check_same_bits(const hs_kernels *k, const hs_mat *w, rng *r)
{
    enum { VECS = 3 };
    size_t x_stride = w->cols + rng_below(r, 3), y_stride = w->rows + rng_below(r, 3);
    float *x = vectors(r, VECS * x_stride), *y = test_alloc(VECS * y_stride * sizeof *y);
    float *one = test_alloc(w->rows * sizeof *one);
    for (uint32_t n = 1; n <= VECS; n++) {
        for (uint32_t row = 0, end; row < w->rows; row = end) {
            end = n == VECS ? w->rows : row + 1 + rng_below(r, w->rows - row);
            k->matvec(w, row, end, x, x_stride, n, y, y_stride);
        }
        for (uint32_t v = 0; v < n; v++) {
            for (uint32_t i = 0; i < w->rows; i++)
                k->matvec(w, i, i + 1, x + v * x_stride, x_stride, 1, one, 0);
            if (memcmp(one, y + v * y_stride, w->rows * sizeof *one))
                fail_msg("%s %s %ux%u: vector %u of %u differs from itself alone", k->name, hs_dtype_name(w->dtype),
                         w->rows, w->cols, v, n);
        }
    }
    free(x);
    free(y);
    free(one);
}

static void bits_do_not_depend_on_batch_or_split(void **state)
{
    (void)state;
    each_matrix(check_same_bits);
}

/* A NaN code anywhere makes exactly what depends on it NaN. */
static void nan_codes_spread(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {3};
    for (size_t s = 0; s < n_sets; s++) {
        for (int i = 0; i < 100; i++) {
            const shape *sh = &shapes[rng_below(&r, N_SHAPES)];
            test_mat m = test_mat_create(&r, HS_DTYPE_F8_E4M3, sh->rows, sh->cols, sh->block_rows, sh->block_cols,
                                         FILL_NORMAL, rng_below(&r, 4));
            uint32_t row = rng_below(&r, sh->rows), col = rng_below(&r, sh->cols);
            ((unsigned char *)m.mat.data)[(size_t)row * sh->cols + col] = i & 1 ? 0xff : 0x7f;
            float *x = vectors(&r, 2 * (size_t)sh->cols + sh->rows);
            float *y = test_alloc((2 * sh->rows + sh->cols) * sizeof *y);
            sets[s]->matvec(&m.mat, 0, sh->rows, x, sh->cols, 2, y, sh->rows);
            for (uint32_t v = 0; v < 2; v++)
                for (uint32_t k = 0; k < sh->rows; k++)
                    assert_int_equal(isnan(y[v * sh->rows + k]) != 0, k == row);
            sets[s]->matvec_t(&m.mat, 0, sh->rows, 0, sh->cols, x, y);
            for (uint32_t k = 0; k < sh->cols; k++)
                assert_int_equal(isnan(y[k]) != 0, k == col);
            sets[s]->dequant_span(&m.mat, row, 0, sh->cols, y);
            for (uint32_t k = 0; k < sh->cols; k++)
                assert_int_equal(isnan(y[k]) != 0, k == col);
            free(x);
            free(y);
            test_mat_destroy(&m);
        }
    }
}

/* Scales that BF16 holds exactly give the same bits as floats. */
static void scales_may_be_bf16(void **state)
{
    (void)state;
    rng r = {31};
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (size_t s = 0; s < n_sets; s++) {
        enum { ROWS = 37, COLS = 300, BLOCKS = 3 * 5 };
        test_mat m = test_mat_create(&r, HS_DTYPE_F8_E4M3, ROWS, COLS, 16, 64, FILL_NORMAL, 1);
        char *half = test_alloc(2 * BLOCKS + 1);
        for (size_t i = 0; i < BLOCKS; i++) {
            memset(m.scale + 1 + 4 * i, 0, 2);
            memcpy(half + 1 + 2 * i, m.scale + 1 + 4 * i + 2, 2);
        }
        hs_mat w = m.mat;
        w.scale = half + 1;
        w.scale_bf16 = true;
        float x[COLS], a[2 * ROWS], b[2 * ROWS], row_a[COLS], row_b[COLS];
        for (size_t i = 0; i < COLS; i++)
            x[i] = rng_float(&r);
        sets[s]->matvec(&m.mat, 0, ROWS, x, 0, 2, a, ROWS);
        sets[s]->matvec(&w, 0, ROWS, x, 0, 2, b, ROWS);
        assert_memory_equal(a, b, sizeof a);
        sets[s]->matvec_t(&m.mat, 0, ROWS, 5, COLS, x, row_a);
        sets[s]->matvec_t(&w, 0, ROWS, 5, COLS, x, row_b);
        assert_memory_equal(row_a, row_b, (COLS - 5) * sizeof *row_a);
        for (uint32_t i = 0; i < ROWS; i++) {
            sets[s]->dequant_span(&m.mat, i, 0, COLS, row_a);
            sets[s]->dequant_span(&w, i, 0, COLS, row_b);
            assert_memory_equal(row_a, row_b, sizeof row_a);
        }
        free(half);
        test_mat_destroy(&m);
    }
}

static void sets_are_found_by_name(void **state)
{
    (void)state;
    hs_kernel_set set = HS_KERNELS_AUTO;
    assert_int_equal(hs_kernel_set_parse("generic", &set), 0);
    assert_int_equal(set, HS_KERNELS_GENERIC);
    assert_int_equal(hs_kernel_set_parse("avx2", &set), 0);
    assert_int_equal(set, HS_KERNELS_AVX2);
    assert_int_equal(hs_kernel_set_parse("avx512", &set), 0);
    assert_int_equal(set, HS_KERNELS_AVX512);
    assert_int_equal(hs_kernel_set_parse("AVX2", &set), -EINVAL);
    assert_int_equal(set, HS_KERNELS_AVX512);
    assert_string_equal(hs_kernels_get(HS_KERNELS_GENERIC, NULL)->name, "generic");
    assert_non_null(hs_kernels_get(HS_KERNELS_AUTO, NULL));
}

static void matrix_bytes(void **state)
{
    (void)state;
    hs_mat w = {.dtype = HS_DTYPE_BF16, .rows = UINT32_MAX, .cols = UINT32_MAX};
    assert_true(hs_mat_bytes(&w) == 2 * (uint64_t)UINT32_MAX * UINT32_MAX);
    w.dtype = HS_DTYPE_OTHER;
    assert_int_equal(hs_mat_bytes(&w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matvec_is_right),        cmocka_unit_test(matvec_t_is_right),
        cmocka_unit_test(dequant_is_exact),       cmocka_unit_test(bits_do_not_depend_on_batch_or_split),
        cmocka_unit_test(nan_codes_spread),       cmocka_unit_test(scales_may_be_bf16),
        cmocka_unit_test(sets_are_found_by_name), cmocka_unit_test(matrix_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
