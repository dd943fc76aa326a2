/* labels: unit */
/* Operations on vectors, each kernel set against double, at every length around the vector widths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

static uint32_t length(uint32_t i)
{
    return i < 80 ? i : 80 + (i - 80) * 37;
}

#define N_LENGTHS 100u

static void dots(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {1};
    for (uint32_t i = 0; i < N_LENGTHS; i++) {
        uint32_t n = length(i);
        float *a = test_alloc(n * 4), *b = test_alloc(n * 4);
        uint16_t *h = test_alloc(n * 2);
        double want = 0, want_h = 0, size = 0;
        for (uint32_t k = 0; k < n; k++) {
            a[k] = rng_float(&r);
            b[k] = rng_float(&r);
        }
        sets[0]->to_f16(a, h, n);
        for (uint32_t k = 0; k < n; k++) {
            want += (double)a[k] * (double)b[k];
            want_h += ref_f16(h[k]) * (double)b[k];
            size += fabs((double)a[k] * (double)b[k]);
        }
        for (size_t s = 0; s < n_sets; s++) {
            assert_true(fabs((double)sets[s]->dot(a, b, n) - want) <= 1e-6 * size);
            assert_true(fabs((double)sets[s]->dot_f16(h, b, n) - want_h) <= 1e-6 * size);
        }
        free(a);
        free(b);
        free(h);
    }
}

static void axpys(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {2};
    for (size_t s = 0; s < n_sets; s++) {
        for (uint32_t i = 0; i < N_LENGTHS; i++) {
            uint32_t n = length(i);
            float *x = test_alloc(n * 4), *y = test_alloc(n * 4), *y0 = test_alloc(n * 4), a = rng_float(&r);
            uint16_t *h = test_alloc(n * 2);
            for (uint32_t k = 0; k < n; k++) {
                x[k] = rng_float(&r);
                y[k] = y0[k] = rng_float(&r);
            }
            sets[s]->to_f16(x, h, n);
            sets[s]->axpy(a, x, y, n);
            for (uint32_t k = 0; k < n; k++)
                assert_true(fabs((double)y[k] - ((double)a * (double)x[k] + (double)y0[k])) <= 3e-7);
            memcpy(y, y0, n * 4);
            sets[s]->axpy_f16(a, h, y, n);
            for (uint32_t k = 0; k < n; k++)
                assert_true(fabs((double)y[k] - ((double)a * ref_f16(h[k]) + (double)y0[k])) <= 3e-7);
            free(x);
            free(y);
            free(y0);
            free(h);
        }
    }
}

static void rmsnorms(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {3};
    for (size_t s = 0; s < n_sets; s++) {
        for (uint32_t i = 1; i < N_LENGTHS; i++) {
            uint32_t n = length(i);
            float *x = test_alloc(n * 4), *w = test_alloc(n * 4), *out = test_alloc(n * 4), *plain = test_alloc(n * 4);
            double sum = 0;
            for (uint32_t k = 0; k < n; k++) {
                x[k] = rng_float(&r) * 50;
                w[k] = rng_float(&r) + 1;
                sum += (double)x[k] * (double)x[k];
            }
            double scale = 1 / sqrt(sum / n + 1e-6);
            sets[s]->rmsnorm(x, NULL, n, 1e-6f, plain);
            sets[s]->rmsnorm(x, w, n, 1e-6f, out);
            for (uint32_t k = 0; k < n; k++) {
                double want = (double)x[k] * scale;
                assert_true(fabs((double)plain[k] - want) <= 1e-6 * fabs(want) + 1e-12);
                assert_true(fabs((double)out[k] - want * (double)w[k]) <= 1e-6 * fabs(want * (double)w[k]) + 1e-12);
            }
            sets[s]->rmsnorm(x, w, n, 1e-6f, x); /* in place */
            assert_memory_equal(x, out, n * 4);
            free(x);
            free(w);
            free(out);
            free(plain);
        }
        float zero[3] = {0, 0, 0};
        sets[s]->rmsnorm(zero, NULL, 3, 1e-6f, zero);
        assert_true(zero[0] == 0 && zero[1] == 0 && zero[2] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots),
        cmocka_unit_test(axpys),
        cmocka_unit_test(rmsnorms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
