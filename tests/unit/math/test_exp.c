/* labels: unit */
/* The exponential against libm's in double, and SwiGLU and softmax pieces: the same bits in every kernel set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "math/math_int.h"
#include "ref.h"

static void is_within_two_ulp(void **state)
{
    (void)state;
    for (uint64_t u = 0; u < 0x100000000u; u += 4099) {
        uint32_t bits = (uint32_t)u;
        float x;
        memcpy(&x, &bits, sizeof x);
        if (isnan(x)) {
            assert_true(isnan(hs__exp(x)));
            continue;
        }
        double want = exp((double)x);
        if ((double)(float)want > 3.4028234e38) {
            assert_true((double)hs__exp(x) >= 3.402823e38);
            continue;
        }
        int e;
        frexp(want, &e);
        double ulp = ldexp(1, e - 24 < -149 ? -149 : e - 24);
        if (!(fabs((double)hs__exp(x) - want) <= 2 * ulp))
            fail_msg("exp(%a) is %a, not %a", (double)x, (double)hs__exp(x), want);
    }
}

static void ends_are_exact(void **state)
{
    (void)state;
    assert_true(hs__exp(0.0f) == 1.0f && hs__exp(-0.0f) == 1.0f);
    assert_true(hs__exp(-INFINITY) == 0.0f && hs__exp(-1e30f) == 0.0f);
    assert_true(isinf(hs__exp(INFINITY)) && isinf(hs__exp(1e30f)));
}

static void sets_agree(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {7};
    for (uint32_t n = 1; n <= 67; n++) {
        float x[67], up[67], silu[MAX_SETS][67], piece[MAX_SETS][67], max[MAX_SETS], sum[MAX_SETS], shrink[MAX_SETS];
        for (uint32_t i = 0; i < n; i++) {
            x[i] = 100 * rng_float(&r);
            up[i] = rng_float(&r);
        }
        for (size_t s = 0; s < n_sets; s++) {
            sets[s]->silu_mul(x, up, n, silu[s]);
            memcpy(piece[s], x, sizeof x);
            max[s] = 1.5f;
            sum[s] = 3;
            shrink[s] = sets[s]->softmax_piece(piece[s], n, 0.3f, &max[s], &sum[s]);
        }
        for (size_t s = 1; s < n_sets; s++) {
            assert_memory_equal(silu[s], silu[0], n * sizeof(float));
            assert_memory_equal(piece[s], piece[0], n * sizeof(float));
            assert_true(max[s] == max[0] && sum[s] == sum[0] && shrink[s] == shrink[0]);
        }
    }
}

/* Pieces put together are the softmax of the whole. */
static void pieces_make_a_softmax(void **state)
{
    (void)state;
    enum { N = 100 };
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {8};
    float x[N];
    double total = 0;
    for (uint32_t i = 0; i < N; i++) {
        x[i] = 20 * rng_float(&r);
        total += exp(0.5 * (double)x[i]);
    }
    for (size_t s = 0; s < n_sets; s++) {
        float p[N], max = -INFINITY, sum = 0;
        memcpy(p, x, sizeof x);
        for (uint32_t i = 0, n; i < N; i += n) {
            n = N - i < 23 ? N - i : 23;
            float shrink = sets[s]->softmax_piece(p + i, n, 0.5f, &max, &sum);
            for (uint32_t j = 0; j < i; j++)
                p[j] *= shrink;
        }
        for (uint32_t i = 0; i < N; i++)
            assert_true(fabs((double)(p[i] / sum) - exp(0.5 * (double)x[i]) / total) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_within_two_ulp),
        cmocka_unit_test(ends_are_exact),
        cmocka_unit_test(sets_agree),
        cmocka_unit_test(pieces_make_a_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
