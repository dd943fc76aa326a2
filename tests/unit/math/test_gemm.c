/* labels: unit */
/*
 * The GEMM against values computed in double, and the promise that a token's result is the same bits whatever the
 * batch, its place in it, or the number of threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ref.h"

static const hs_dtype types[] = {HS_DTYPE_F32, HS_DTYPE_F16, HS_DTYPE_BF16, HS_DTYPE_F8_E4M3};

typedef struct bench {
    hs_pool *pool;
    void *scratch;
    uint32_t threads;
} bench;

static bench bench_create(uint32_t threads)
{
    bench b = {.threads = threads, .scratch = hs_map_alloc(hs_gemm_scratch_bytes(threads))};
    assert_non_null(b.scratch);
    assert_int_equal(hs_pool_create(threads, &b.pool, NULL), 0);
    return b;
}

static void bench_destroy(bench *b)
{
    hs_pool_destroy(&b->pool);
    hs_map_free(b->scratch, hs_gemm_scratch_bytes(b->threads));
}

static float *vectors(rng *r, size_t n)
{
    float *x = test_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_float(r);
    return x;
}

static void check_values(bench *b)
{
    static const uint32_t shapes[][3] = {{1, 1, 1},     {3, 5, 7},     {16, 64, 256}, {17, 65, 257},
                                         {64, 64, 512}, {81, 65, 300}, {33, 128, 255}};
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {1};
    for (size_t s = 0; s < n_sets; s++) {
        for (size_t i = 0; i < 4 * sizeof shapes / sizeof *shapes; i++) {
            uint32_t m = shapes[i / 4][0], rows = shapes[i / 4][1], cols = shapes[i / 4][2];
            test_mat w = test_mat_create(&r, types[i % 4], rows, cols, 128, 128, FILL_NORMAL, i & 3);
            float *x = vectors(&r, (size_t)m * cols), *y = test_alloc((size_t)m * rows * sizeof *y);
            hs_gemm(sets[s], b->pool, &w.mat, x, cols, m, y, rows, b->scratch);
            for (uint32_t t = 0; t < m; t++)
                for (uint32_t k = 0; k < rows; k++) {
                    double tolerance, want = ref_dot(&w.mat, k, x + (size_t)t * cols, &tolerance);
                    if (!(fabs((double)y[t * rows + k] - want) <= tolerance))
                        fail_msg("%s %s %ux%ux%u: %.9g, not %.9g", sets[s]->name, hs_dtype_name(types[i % 4]), m, rows,
                                 cols, (double)y[t * rows + k], want);
                }
            free(x);
            free(y);
            test_mat_destroy(&w);
        }
    }
}

static void is_right(void **state)
{
    (void)state;
    bench b = bench_create(2);
    check_values(&b);
    bench_destroy(&b);
}

/* Each token alone, against batches of all sizes in which it stands at random places among others. */
static void check_batches(const hs_kernels *k)
{
    enum { TOKENS = 90 };
    static const uint32_t batches[] = {1, 2, 5, 15, 16, 17, 31, 33, 63, 64, 65, 90};
    static const uint32_t shapes[][2] = {{64, 256}, {65, 513}, {63, 255}, {1, 300}, {128, 7}};
    bench b = bench_create(2);
    rng r = {2};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        uint32_t rows = shapes[s][0], cols = shapes[s][1];
        test_mat w = test_mat_create(&r, types[s % 4], rows, cols, 128, 128, FILL_NORMAL, 1);
        float *x = vectors(&r, (size_t)TOKENS * cols), *alone = test_alloc((size_t)TOKENS * rows * 4);
        for (uint32_t t = 0; t < TOKENS; t++)
            hs_gemm(k, b.pool, &w.mat, x + (size_t)t * cols, cols, 1, alone + (size_t)t * rows, rows, b.scratch);
        for (size_t n = 0; n < sizeof batches / sizeof *batches; n++) {
            uint32_t m = batches[n];
            size_t x_stride = cols + rng_below(&r, 5), y_stride = rows + rng_below(&r, 5);
            float *xs = vectors(&r, m * x_stride), *y = vectors(&r, m * y_stride);
            uint32_t *token = test_alloc(m * sizeof *token);
            for (uint32_t i = 0; i < m; i++) {
                token[i] = rng_below(&r, TOKENS);
                memcpy(xs + i * x_stride, x + (size_t)token[i] * cols, cols * sizeof *xs);
            }
            hs_gemm(k, b.pool, &w.mat, xs, x_stride, m, y, y_stride, b.scratch);
            for (uint32_t i = 0; i < m; i++)
                if (memcmp(y + i * y_stride, alone + (size_t)token[i] * rows, rows * sizeof *y))
                    fail_msg("%ux%u: place %u of %u differs from the token alone", rows, cols, i, m);
            free(xs);
            free(y);
            free(token);
        }
        free(x);
        free(alone);
        test_mat_destroy(&w);
    }
    bench_destroy(&b);
}

static void bits_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (size_t i = 0; i < n_sets; i++)
        check_batches(sets[i]);
}

static void bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    rng r = {3};
    const hs_kernels *k = hs_kernels_get(HS_KERNELS_AUTO, NULL);
    test_mat w = test_mat_create(&r, HS_DTYPE_F8_E4M3, 300, 600, 128, 128, FILL_NORMAL, 3);
    float *x = vectors(&r, 100 * 600), *want = test_alloc(100 * 300 * 4), *got = test_alloc(100 * 300 * 4);
    for (uint32_t threads = 1; threads <= 4; threads++) {
        bench b = bench_create(threads);
        hs_gemm(k, b.pool, &w.mat, x, 600, 100, threads == 1 ? want : got, 300, b.scratch);
        if (threads > 1)
            assert_memory_equal(got, want, 100 * 300 * 4);
        bench_destroy(&b);
    }
    free(x);
    free(want);
    free(got);
    test_mat_destroy(&w);
}

/* One token's infinities and NaNs stay its own: padding and neighbours are not touched by them. */
static void bad_values_stay_in_their_row(void **state)
{
    (void)state;
    rng r = {4};
    bench b = bench_create(1);
    const hs_kernels *k = hs_kernels_get(HS_KERNELS_AUTO, NULL);
    test_mat w = test_mat_create(&r, HS_DTYPE_BF16, 70, 300, 0, 0, FILL_NORMAL, 0);
    float *x = vectors(&r, 20 * 300), *y = test_alloc(20 * 70 * 4);
    x[7 * 300 + 299] = NAN;
    x[18 * 300 + 1] = INFINITY;
    hs_gemm(k, b.pool, &w.mat, x, 300, 20, y, 70, b.scratch);
    for (uint32_t t = 0; t < 20; t++)
        for (uint32_t i = 0; i < 70; i++)
            assert_int_equal(isfinite(y[t * 70 + i]) != 0, t != 7 && t != 18);
    free(x);
    free(y);
    test_mat_destroy(&w);
    bench_destroy(&b);
}

static void no_tokens_is_no_work(void **state)
{
    (void)state;
    hs_gemm(NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_right),
        cmocka_unit_test(bits_do_not_depend_on_the_batch),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(bad_values_stay_in_their_row),
        cmocka_unit_test(no_tokens_is_no_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
