/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "math/ops.h"
#include "ref.h"

static void ropes_rotate_pairs(void **state)
{
    (void)state;
    rng r = {1};
    enum { N = 64 };
    float x[N], norm[N], neox[N], c[N / 2], s[N / 2];
    for (int i = 0; i < N; i++)
        x[i] = norm[i] = neox[i] = rng_float(&r);
    for (int i = 0; i < N / 2; i++) {
        double angle = 3.0 * (double)rng_float(&r);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
    hs_rope_norm(norm, c, s, N);
    hs_rope_neox(neox, c, s, N);
    for (int i = 0; i < N / 2; i++) {
        double a = (double)x[2 * i], b = (double)x[2 * i + 1], cd = (double)c[i], sd = (double)s[i];
        assert_true(fabs((double)norm[2 * i] - (a * cd - b * sd)) < 1e-6);
        assert_true(fabs((double)norm[2 * i + 1] - (a * sd + b * cd)) < 1e-6);
        a = (double)x[i];
        b = (double)x[i + N / 2];
        assert_true(fabs((double)neox[i] - (a * cd - b * sd)) < 1e-6);
        assert_true(fabs((double)neox[i + N / 2] - (a * sd + b * cd)) < 1e-6);
    }
}

/* Against picking the best k times; few distinct scores, so that ties are many. */
static void topk_is_sorted_and_ties_go_low(void **state)
{
    (void)state;
    rng r = {2};
    for (int round = 0; round < 2000; round++) {
        uint32_t n = 1 + rng_below(&r, 40), k = rng_below(&r, n + 1), got[40], used[40] = {0};
        float score[40];
        for (uint32_t i = 0; i < n; i++)
            score[i] = rng_below(&r, 6) ? (float)rng_below(&r, 5) - 2 : -INFINITY;
        memset(got, 0xff, sizeof got);
        hs_topk(score, n, k, got);
        for (uint32_t j = 0; j < k; j++) {
            uint32_t best = UINT32_MAX;
            for (uint32_t i = 0; i < n; i++)
                if (!used[i] && (best == UINT32_MAX || score[i] > score[best]))
                    best = i;
            assert_int_equal(got[j], best);
            used[best] = 1;
        }
        for (uint32_t j = k; j < 40; j++)
            assert_int_equal(got[j], UINT32_MAX);
    }
}

/* A broken model's scores: the answer may be anything, but distinct and in range. */
static void topk_survives_nan(void **state)
{
    (void)state;
    rng r = {3};
    for (int round = 0; round < 2000; round++) {
        uint32_t n = 1 + rng_below(&r, 20), k = 1 + rng_below(&r, n), got[20], seen[20] = {0};
        float score[20];
        for (uint32_t i = 0; i < n; i++)
            score[i] = rng_below(&r, 2) ? NAN : rng_float(&r);
        hs_topk(score, n, k, got);
        for (uint32_t j = 0; j < k; j++) {
            assert_true(got[j] < n && !seen[got[j]]);
            seen[got[j]] = 1;
        }
    }
}

static void sigmoid_and_add(void **state)
{
    (void)state;
    assert_true(hs_sigmoid(0) == 0.5f && hs_sigmoid(1000) == 1.0f && hs_sigmoid(-1000) == 0.0f);
    for (int i = -20; i <= 20; i++)
        assert_true(fabs((double)hs_sigmoid((float)i) - 1 / (1 + exp(-(double)i))) < 1e-7);
    float x[5] = {1, 2, 3, 4, 5}, y[5] = {10, 20, 30, 40, 50};
    hs_add(x, y, 4);
    assert_true(y[0] == 11 && y[3] == 44 && y[4] == 50);
}

/* gpt-oss: gate bounded above, up on both sides; (up + 1) gate sigmoid(alpha gate). */
static void glu_has_limits(void **state)
{
    (void)state;
    const float limit = 7, alpha = 1.702f;
    const float gate[] = {1, 20, -20, 2, 2, 7}, up[] = {0.5f, 1, 1, 30, -30, -7};
    float out[6];
    hs_glu_limited(gate, up, 6, limit, alpha, out);
    for (int i = 0; i < 6; i++) {
        double g = fmin((double)gate[i], 7), u = fmax(fmin((double)up[i], 7), -7);
        double want = (u + 1) * g / (1 + exp(-(double)alpha * g));
        assert_true(fabs((double)out[i] - want) <= 1e-5 * fmax(1, fabs(want)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ropes_rotate_pairs), cmocka_unit_test(topk_is_sorted_and_ties_go_low),
        cmocka_unit_test(topk_survives_nan),  cmocka_unit_test(sigmoid_and_add),
        cmocka_unit_test(glu_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
