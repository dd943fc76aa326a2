/* labels: unit */
/*
 * MXFP4 as gpt-oss is published (MXFP4_PAIRS), with rows of a second matrix between its own: the bits of the same
 * values in ggml's MXFP4, in every kernel set and every product.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

#define ROWS   45u
#define BLOCKS 11u
#define COLS   (32 * BLOCKS)
#define VECS   9u

/* Row `row` of blocks with elements j, j + 16 in byte j -> 2 j, 2 j + 1, and scales apart. */
static void to_pairs(const unsigned char *from, unsigned char *data, unsigned char *scale)
{
    for (uint32_t b = 0; b < BLOCKS; b++, from += 17, data += 16) {
        unsigned char q[32];
        for (uint32_t j = 0; j < 16; j++) {
            q[j] = from[1 + j] & 15;
            q[j + 16] = from[1 + j] >> 4;
        }
        for (uint32_t j = 0; j < 16; j++)
            data[j] = (unsigned char)(q[2 * j] | q[2 * j + 1] << 4);
        scale[b] = from[0];
    }
}

typedef struct twin {
    test_mat ggml;
    unsigned char *data, *scale;
    hs_mat pairs;
} twin;

/* `which` of two matrices whose rows take turns; the other's bytes are anything. */
static twin twin_create(rng *r, uint32_t which, int wild)
{
    twin t = {.ggml = test_quant_create(r, HS_DTYPE_MXFP4, ROWS, COLS, wild, 1)};
    size_t n = 2 * ROWS * BLOCKS;
    t.data = test_alloc(16 * n);
    t.scale = test_alloc(n);
    for (size_t i = 0; i < 16 * n; i++)
        t.data[i] = (unsigned char)rng_next(r);
    memset(t.scale, 0xff, n);
    for (size_t i = 0; i < ROWS; i++)
        to_pairs((const unsigned char *)t.ggml.mat.data + i * BLOCKS * 17, t.data + (2 * i + which) * BLOCKS * 16,
                 t.scale + (2 * i + which) * BLOCKS);
    t.pairs = (hs_mat){.data = t.data + which * BLOCKS * 16,
                       .scale = t.scale + which * BLOCKS,
                       .dtype = HS_DTYPE_MXFP4_PAIRS,
                       .rows = ROWS,
                       .cols = COLS,
                       .skip = 1};
    return t;
}

static void twin_destroy(twin *t)
{
    test_mat_destroy(&t->ggml);
    free(t->data);
    free(t->scale);
}

static void check_values(const hs_kernels *k, const twin *t, rng *r)
{
    float a[COLS], b[COLS];
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t from = rng_below(r, COLS), to = from + 1 + rng_below(r, COLS - from);
        k->dequant_span(&t->ggml.mat, i, from, to, a);
        k->dequant_span(&t->pairs, i, from, to, b);
        assert_memory_equal(a, b, (to - from) * sizeof *a);
    }
}

static void check_products(const hs_kernels *k, const twin *t, rng *r)
{
    float x[VECS * COLS], a[VECS * ROWS], b[VECS * ROWS], *to_a[VECS], *to_b[VECS];
    char *rows = test_alloc(VECS * hs_act_bytes(HS_ACT_Q8_32, COLS));
    const void *row[VECS];
    assert_int_equal(hs_mat_act(&t->pairs), HS_ACT_Q8_32);
    for (uint32_t v = 0; v < VECS; v++) {
        char *q = rows + v * hs_act_bytes(HS_ACT_Q8_32, COLS);
        for (uint32_t i = 0; i < COLS; i++)
            x[v * COLS + i] = rng_float(r);
        k->quantise(HS_ACT_Q8_32, x + (size_t)v * COLS, COLS, q);
        row[v] = q;
        to_a[v] = a + (size_t)v * ROWS;
        to_b[v] = b + (size_t)v * ROWS;
    }
    for (uint32_t n = 1; n <= VECS; n++) {
        k->matvec(&t->ggml.mat, 0, ROWS, x, COLS, n, a, ROWS);
        k->matvec(&t->pairs, 0, ROWS, x, COLS, n, b, ROWS);
        assert_memory_equal(a, b, n * ROWS * sizeof *a);
        k->matvec_q8(&t->ggml.mat, 0, ROWS, row, n, to_a);
        k->matvec_q8(&t->pairs, 0, ROWS, row, n, to_b);
        assert_memory_equal(a, b, n * ROWS * sizeof *a);
    }
    k->matvec_t(&t->ggml.mat, 0, ROWS, 3, COLS, x, a);
    k->matvec_t(&t->pairs, 0, ROWS, 3, COLS, x, b);
    assert_memory_equal(a, b, (COLS - 3) * sizeof *a);
    free(rows);
}

static void pairs_are_ggmls(void **state)
{
    (void)state;
    rng r = {77};
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (uint32_t i = 0; i < 6; i++) {
        twin t = twin_create(&r, i % 2, 0);
        for (size_t s = 0; s < n_sets; s++) {
            check_values(sets[s], &t, &r);
            check_products(sets[s], &t, &r);
        }
        twin_destroy(&t);
    }
}

/* Scale bytes of any kind, 0 and 255 among them. */
static void any_scale(void **state)
{
    (void)state;
    rng r = {78};
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (uint32_t i = 0; i < 4; i++) {
        twin t = twin_create(&r, i % 2, 1);
        for (size_t s = 0; s < n_sets; s++)
            check_values(sets[s], &t, &r);
        twin_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pairs_are_ggmls), cmocka_unit_test(any_scale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
