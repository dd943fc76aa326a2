/* labels: unit */
/* Binary16 both ways, every code and every rounding border; softmax and SwiGLU against double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

static void every_half_is_exact(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    uint16_t *h = test_alloc(65536 * sizeof *h), *back = test_alloc(65536 * sizeof *back);
    float *f = test_alloc(65536 * sizeof *f);
    for (uint32_t i = 0; i < 65536; i++)
        h[i] = (uint16_t)i;
    for (size_t s = 0; s < n_sets; s++) {
        sets[s]->from_f16(h, f, 65536);
        sets[s]->to_f16(f, back, 65536);
        for (uint32_t i = 0; i < 65536; i++) {
            double want = ref_f16(h[i]);
            if (isnan(want)) {
                assert_true(isnan(f[i]));
                assert_int_equal(back[i], h[i] | 0x200);
            } else {
                assert_true(want == (double)f[i] && !signbit(want) == !signbit(f[i]));
                assert_int_equal(back[i], h[i]);
            }
        }
    }
    free(h);
    free(back);
    free(f);
}

/* Each border between neighbours: just below, at (ties to even) and just above; and both sets alike on random bits. */
static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (size_t s = 0; s < n_sets; s++) {
        for (uint32_t i = 0; i < 0x7c00; i++) {
            double lo = ref_f16((uint16_t)i), hi = i == 0x7bff ? 65536 : ref_f16((uint16_t)(i + 1));
            float mid = (float)((lo + hi) / 2), x[9];
            uint16_t out[9];
            for (int k = 0; k < 9; k++)
                x[k] = k % 3 == 0 ? nextafterf(mid, -INFINITY) : k % 3 == 1 ? mid : nextafterf(mid, INFINITY);
            sets[s]->to_f16(x, out, 9);
            for (int k = 0; k < 9; k++) {
                uint32_t want = k % 3 == 0 ? i : k % 3 == 2 ? i + 1 : i + (i & 1);
                assert_int_equal(out[k], want);
            }
        }
    }
    rng r = {1};
    for (int i = 0; n_sets == 2 && i < 20000; i++) {
        uint32_t bits[16];
        float x[16];
        uint16_t a[16], b[16];
        for (int k = 0; k < 16; k++)
            bits[k] = rng_next(&r);
        memcpy(x, bits, sizeof x);
        sets[0]->to_f16(x, a, 16);
        sets[1]->to_f16(x, b, 16);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void softmax_is_right(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {2};
    for (size_t s = 0; s < n_sets; s++) {
        for (uint32_t n = 1; n < 70; n++) {
            float x[70];
            double e[70], sum = 0;
            float spread = n % 3 ? 10.0f : 1000.0f;
            for (uint32_t i = 0; i < n; i++)
                x[i] = rng_float(&r) * spread;
            for (uint32_t i = 0; i < n; i++)
                sum += e[i] = exp((double)x[i] - (double)x[0]);
            if (!isfinite(sum))
                continue;
            sets[s]->softmax(x, n);
            for (uint32_t i = 0; i < n; i++)
                assert_true(fabs((double)x[i] - e[i] / sum) < 1e-6);
        }
        float one[1] = {-INFINITY}, masked[3] = {-INFINITY, 2, -INFINITY}, big[2] = {3e38f, -3e38f};
        one[0] = -700;
        sets[s]->softmax(one, 1);
        assert_true(one[0] == 1.0f);
        sets[s]->softmax(masked, 3);
        assert_true(masked[0] == 0 && masked[1] == 1 && masked[2] == 0);
        sets[s]->softmax(big, 2);
        assert_true(big[0] == 1 && big[1] == 0);
    }
}

static void silu_is_right(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    float gate[101], up[101], out[101];
    for (int i = 0; i < 101; i++) {
        gate[i] = (float)(i - 50) * 3;
        up[i] = 1.0f + (float)i / 7;
    }
    for (size_t s = 0; s < n_sets; s++) {
        sets[s]->silu_mul(gate, up, 101, out);
        for (int i = 0; i < 101; i++) {
            double want = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
            assert_true(fabs((double)out[i] - want) <= 1e-6 * fabs(want) + 1e-30);
        }
        sets[s]->silu_mul(gate, up, 101, gate + 0); /* in place */
        assert_memory_equal(gate, out, sizeof out);
        for (int i = 0; i < 101; i++)
            gate[i] = (float)(i - 50) * 3;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(softmax_is_right),
        cmocka_unit_test(silu_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
