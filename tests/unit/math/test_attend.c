/* labels: unit */
/* Attention over blocks of keys against double, and that a query's bits do not depend on the queries beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "math/attend.h"
#include "ref.h"

#define QK      200u /* more than one piece of a score's chain */
#define V       37u  /* not whole panels */
#define KEYS    150u
#define BLOCK   48u
#define QUERIES 70u /* more than a tile */
#define SCALE   0.2f

typedef struct data {
    float key[KEYS * QK], value[KEYS * V], q[QUERIES * QK];
} data;

static data *make(void)
{
    data *d = test_alloc(sizeof *d);
    rng r = {3};
    float *x = (float *)(void *)d;
    for (size_t i = 0; i < sizeof *d / sizeof *x; i++)
        x[i] = rng_float(&r);
    return d;
}

/* Queries [q0, q0 + m), of which query i sees keys [0, seen + i) if causal, else [0, seen); out [m][V]. */
static void run(const hs_kernels *k, const data *d, uint32_t q0, uint32_t m, uint32_t seen, bool causal, float *out)
{
    size_t bytes = (size_t)(BLOCK * QK + HS_ATTEND_TILE * HS_ATTEND_KEYS) * sizeof(float);
    float *panels = hs_map_alloc(bytes), *p = panels + BLOCK * QK, max[QUERIES], sum[QUERIES];
    assert_non_null(panels);
    memset(out, 0, m * V * sizeof *out);
    for (uint32_t i = 0; i < m; i++) {
        max[i] = -INFINITY;
        sum[i] = 0;
    }
    for (uint32_t t = 0; t < KEYS && t < seen + (causal ? m - 1 : 0); t += BLOCK) {
        uint32_t n = KEYS - t < BLOCK ? KEYS - t : BLOCK, from = t < seen ? 0 : t - seen + 1;
        hs_attend_panels(k, d->key + t * QK, QK, n, QK, panels);
        hs_attend_block b = {panels, d->value + t * V, V, n, QK, V};
        hs_attend_queries q = {.q = d->q + (q0 + from) * QK,
                               .acc = out + from * V,
                               .max = max + from,
                               .sum = sum + from,
                               .q_stride = QK,
                               .acc_stride = V,
                               .scale = SCALE,
                               .m = m - from,
                               .seen = seen + from - t,
                               .causal = causal};
        hs_attend(k, &b, &q, p);
    }
    for (uint32_t i = 0; i < m * V; i++)
        out[i] /= sum[i / V];
    hs_map_free(panels, bytes);
}

static void reference(const data *d, uint32_t q, uint32_t seen, double *out)
{
    double total = 0;
    memset(out, 0, V * sizeof *out);
    for (uint32_t j = 0; j < seen; j++) {
        double score = 0;
        for (uint32_t i = 0; i < QK; i++)
            score += (double)d->q[q * QK + i] * (double)d->key[j * QK + i];
        double weight = exp(score * (double)SCALE);
        total += weight;
        for (uint32_t i = 0; i < V; i++)
            out[i] += weight * (double)d->value[j * V + i];
    }
    for (uint32_t i = 0; i < V; i++)
        out[i] /= total;
}

static void is_right(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    data *d = make();
    float *out = test_alloc(QUERIES * V * sizeof *out);
    double want[V];
    for (size_t s = 0; s < n_sets; s++)
        for (int causal = 0; causal < 2; causal++) {
            uint32_t seen = causal ? 60 : KEYS;
            run(sets[s], d, 0, QUERIES, seen, causal, out);
            for (uint32_t q = 0; q < QUERIES; q++) {
                reference(d, q, causal ? seen + q : seen, want);
                for (uint32_t i = 0; i < V; i++)
                    assert_true(fabs((double)out[q * V + i] - want[i]) < 2e-6);
            }
        }
    free(d);
    free(out);
}

static void bits_do_not_depend_on_neighbours(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    data *d = make();
    float *all = test_alloc(QUERIES * V * sizeof *all), *some = test_alloc(QUERIES * V * sizeof *some);
    for (size_t s = 0; s < n_sets; s++)
        for (int causal = 0; causal < 2; causal++) {
            run(sets[s], d, 0, QUERIES, 60, causal, all);
            for (uint32_t m = 1, q0 = 0; q0 + m <= QUERIES; q0 += m, m++) {
                run(sets[s], d, q0, m, causal ? 60 + q0 : 60, causal, some);
                assert_memory_equal(some, all + q0 * V, m * V * sizeof *some);
            }
        }
    free(d);
    free(all);
    free(some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_right),
        cmocka_unit_test(bits_do_not_depend_on_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
