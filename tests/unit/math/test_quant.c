/* labels: unit golden */
/*
 * ggml's block formats: values bit for bit those of gguf-py, products with float and 8-bit vectors in every kernel set,
 * and that arbitrary bytes do no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ref.h"

static float *vectors(rng *r, size_t n)
{
    float *x = test_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_float(r);
    return x;
}

/* A multiple of the type's block: some blocks of 32, or one to three of 256. */
static uint32_t some_cols(rng *r, hs_dtype t)
{
    return hs_dtype_block(t) == 32 ? 32 * (1 + rng_below(r, 21)) : 256 * (1 + rng_below(r, 3));
}

static size_t from_base64(const char *text, unsigned char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    uint32_t bits = 0, have = 0;
    for (; *text && *text != '='; text++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, *text) - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (unsigned char)(bits >> have);
        }
    }
    return n;
}

static void check_golden(hs_dtype t, const json_t *entry)
{
    enum { N = 512 };
    unsigned char raw[1024], values[N * 4];
    uint32_t cols = 256;
    size_t n_sets, n = from_base64(json_string_value(json_object_get(entry, "raw")), raw);
    assert_int_equal(n, hs_dtype_bytes(t, N));
    assert_int_equal(from_base64(json_string_value(json_object_get(entry, "values")), values), sizeof values);
    char *exact = test_alloc(n + 1);
    memcpy(exact + 1, raw, n);
    hs_mat w = {.data = exact + 1, .dtype = t, .rows = 2, .cols = cols};
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {5};
    for (size_t s = 0; s < n_sets; s++) {
        for (int i = 0; i < 200; i++) {
            uint32_t row = (uint32_t)i & 1, col0 = i < 2 ? 0 : rng_below(&r, cols);
            uint32_t count = i < 2 ? cols : 1 + rng_below(&r, cols - col0);
            float *out = test_alloc(count * sizeof *out);
            sets[s]->dequant_span(&w, row, col0, col0 + count, out);
            if (memcmp(out, values + (row * cols + col0) * sizeof(float), count * sizeof *out))
                fail_msg("%s %s: row %u, columns from %u, %u of them", sets[s]->name, hs_dtype_name(t), row, col0,
                         count);
            free(out);
        }
    }
    free(exact);
}

static void values_are_those_of_gguf_py(void **state)
{
    (void)state;
    json_t *rows = json_load_file(TESTS_DIR "/data/quant/rows.json", 0, NULL);
    assert_non_null(rows);
    for (hs_dtype t = FIRST_QUANT; t <= LAST_QUANT; t++) {
        json_t *entry = json_object_get(rows, hs_dtype_name(t));
        if (!entry)
            fail_msg("no rows of %s", hs_dtype_name(t));
        check_golden(t, entry);
    }
    json_decref(rows);
}

static void each_type(void (*check)(const hs_kernels *k, const hs_mat *w, rng *r))
{
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    for (size_t s = 0; s < n_sets; s++) {
        rng r = {1};
        for (hs_dtype t = FIRST_QUANT; t <= LAST_QUANT; t++) {
            for (uint32_t i = 0; i < 6; i++) {
                test_mat m = test_quant_create(&r, t, 1 + rng_below(&r, 40), some_cols(&r, t), 0, i % 4);
                check(sets[s], &m.mat, &r);
                test_mat_destroy(&m);
            }
        }
    }
}

/* Both are what double makes of the generic kernel's values, which are checked above. */
static float *values_of(const hs_mat *w)
{
    float *out = test_alloc((size_t)w->rows * w->cols * sizeof *out);
    for (uint32_t r = 0; r < w->rows; r++)
        hs_kernels_get(HS_KERNELS_GENERIC, NULL)->dequant_span(w, r, 0, w->cols, out + (size_t)r * w->cols);
    return out;
}

/* sum of a[i * stride] b[i] in double, and of the magnitudes. */
static double dot(const float *a, size_t stride, const float *b, uint32_t n, double *ret_size)
{
    double sum = 0;
    *ret_size = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)a[i * stride] * (double)b[i];
        *ret_size += fabs((double)a[i * stride] * (double)b[i]);
    }
    return sum;
}

static void check_float_products(const hs_kernels *k, const hs_mat *w, rng *r)
{
    float *x = vectors(r, 2 * (size_t)w->cols + w->rows), *y = test_alloc((2 * w->rows + w->cols) * sizeof *y);
    float *values = values_of(w);
    double size, want;
    void *scratch = hs_map_alloc(hs_gemm_scratch_bytes(1));
    hs_pool *pool = NULL;
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    assert_non_null(scratch);
    k->matvec(w, 0, w->rows, x, w->cols, 2, y, w->rows);
    for (int gemm = 0; gemm < 2; gemm++) {
        for (uint32_t i = 0; i < 2 * w->rows; i++) {
            want = dot(values + i % w->rows * w->cols, 1, x + i / w->rows * w->cols, w->cols, &size);
            if (!(fabs((double)y[i] - want) <= (w->cols / 8.0 + 40) * 6e-8 * size))
                fail_msg("%s %s %u: %.9g, not %.9g", k->name, hs_dtype_name(w->dtype), i, (double)y[i], want);
        }
        hs_gemm(k, pool, w, x, w->cols, 2, y, w->rows, scratch);
    }
    uint32_t col0 = rng_below(r, w->cols), col1 = col0 + 1 + rng_below(r, w->cols - col0);
    k->matvec_t(w, 0, w->rows, col0, col1, x, y);
    for (uint32_t c = col0; c < col1; c++) {
        want = dot(values + c, w->cols, x, w->rows, &size);
        assert_true(fabs((double)y[c - col0] - want) <= (w->rows + 8) * 6e-8 * size + 1e-37);
    }
    hs_pool_destroy(&pool);
    hs_map_free(scratch, hs_gemm_scratch_bytes(1));
    free(values);
    free(x);
    free(y);
}

static void products_with_floats(void **state)
{
    (void)state;
    each_type(check_float_products);
}

/* n vectors of w's 8-bit form, each an allocation of its own, and their results. */
typedef struct quantised {
    float *floats, *y[40];
    void *row[40];
    uint32_t n;
} quantised;

static quantised quantised_create(const hs_kernels *k, const hs_mat *w, uint32_t n, rng *r)
{
    quantised q = {.floats = vectors(r, (size_t)n * w->cols), .n = n};
    for (uint32_t v = 0; v < n; v++) {
        q.row[v] = test_alloc(hs_act_bytes(hs_mat_act(w), w->cols));
        q.y[v] = test_alloc(w->rows * sizeof(float));
        k->quantise(hs_mat_act(w), q.floats + (size_t)v * w->cols, w->cols, q.row[v]);
    }
    return q;
}

static void quantised_destroy(quantised *q)
{
    for (uint32_t v = 0; v < q->n; v++) {
        free(q->row[v]);
        free(q->y[v]);
    }
    free(q->floats);
}

/* A quantised row as floats: its elements come first, its scales after 9/8 of as many bytes. */
static float *elements(const void *row, const hs_mat *w)
{
    uint32_t block = hs_dtype_block(w->dtype);
    float *out = test_alloc(w->cols * sizeof *out), d;
    for (uint32_t i = 0; i < w->cols; i++) {
        memcpy(&d, (const char *)row + w->cols + w->cols / 8 + i / block * 4, 4);
        out[i] = (float)((const signed char *)row)[i] * d;
    }
    return out;
}

static void check_q8(const hs_kernels *k, const hs_mat *w, rng *r)
{
    quantised q = quantised_create(k, w, 1, r);
    float *values = values_of(w), *x = elements(q.row[0], w), *ones = test_alloc(w->cols * sizeof *ones);
    for (uint32_t i = 0; i < w->cols; i++)
        ones[i] = 1;
    k->matvec_q8(w, 0, w->rows, (const void *const *)q.row, 1, q.y);
    for (uint32_t i = 0; i < w->rows; i++) {
        double size, unused, want = dot(values + (size_t)i * w->cols, 1, x, w->cols, &unused);
        dot(values + (size_t)i * w->cols, 1, ones, w->cols, &size);
        if (!(fabs((double)q.y[0][i] - want) <= size * 4e-6 + 1e-30))
            fail_msg("%s %s row %u of %ux%u: %.9g, not %.9g", k->name, hs_dtype_name(w->dtype), i, w->rows, w->cols,
                     (double)q.y[0][i], want);
    }
    free(values);
    free(x);
    free(ones);
    quantised_destroy(&q);
}

static void products_with_8_bits(void **state)
{
    (void)state;
    each_type(check_q8);
}

/* Equal, or both NaN, of whatever sign. */
static int same(const float *a, const float *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        if (x != y && !(isnan(a[i]) && isnan(b[i])))
            return 0;
    }
    return 1;
}

/* All vectors at once and rows cut at random, against vector by vector and row by row of the generic set. */
static void check_same_bits(const hs_mat *w, uint32_t n, rng *r)
{
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    quantised q = quantised_create(sets[0], w, n, r);
    float *want = test_alloc((size_t)n * w->rows * sizeof *want);
    for (uint32_t v = 0; v < n; v++) {
        float *y = want + (size_t)v * w->rows;
        for (uint32_t i = 0; i < w->rows; i++)
            sets[0]->matvec_q8(w, i, i + 1, (const void *const *)(q.row + v), 1, &y);
    }
    for (size_t s = 0; s < n_sets; s++) {
        for (uint32_t row = 0, end; row < w->rows; row = end) {
            end = rng_below(r, 2) ? w->rows : row + 1 + rng_below(r, w->rows - row);
            sets[s]->matvec_q8(w, row, end, (const void *const *)q.row, n, q.y);
        }
        for (uint32_t v = 0; v < n; v++)
            if (!same(q.y[v], want + (size_t)v * w->rows, w->rows))
                fail_msg("%s %s %ux%u: vector %u of %u is not as generic has it alone", sets[s]->name,
                         hs_dtype_name(w->dtype), w->rows, w->cols, v, n);
    }
    free(want);
    quantised_destroy(&q);
}

static void bits_do_not_depend_on_set_batch_or_split(void **state)
{
    (void)state;
    static const uint32_t batches[] = {1, 2, 3, 4, 5, 7, 8, 11, 16, 33, 40};
    rng r = {2};
    for (hs_dtype t = FIRST_QUANT; t <= LAST_QUANT; t++) {
        for (uint32_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            test_mat m = test_quant_create(&r, t, 1 + rng_below(&r, 70), some_cols(&r, t), 0, i % 4);
            check_same_bits(&m.mat, batches[i], &r);
            test_mat_destroy(&m);
        }
    }
}

/* Scales of infinity, NaN and any size, codes of all kinds: nothing is read outside (sanitizers), and sets agree. */
static void any_bytes(void **state)
{
    (void)state;
    size_t n_sets;
    const hs_kernels *const *sets = all_kernels(&n_sets);
    rng r = {3};
    for (hs_dtype t = FIRST_QUANT; t <= LAST_QUANT; t++) {
        for (uint32_t i = 0; i < 8; i++) {
            test_mat m = test_quant_create(&r, t, 1 + rng_below(&r, 20), some_cols(&r, t), 1, i % 4);
            float *a = test_alloc(m.mat.cols * sizeof *a), *b = test_alloc(m.mat.cols * sizeof *b);
            check_same_bits(&m.mat, 1 + rng_below(&r, 20), &r);
            sets[0]->dequant_span(&m.mat, 0, 0, m.mat.cols, a);
            for (size_t s = 0; s < n_sets; s++) {
                sets[s]->dequant_span(&m.mat, 0, 0, m.mat.cols, b);
                assert_true(same(a, b, m.mat.cols));
            }
            free(a);
            free(b);
            test_mat_destroy(&m);
        }
    }
}

/* All codes and scales at their extremes, with activations of full size: integers must not saturate. */
static void extremes(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0x00, 0x7f, 0x80, 0xff, 0x77, 0x88, 0x0f, 0xf0};
    rng r = {4};
    for (hs_dtype t = FIRST_QUANT; t <= LAST_QUANT; t++) {
        for (uint32_t i = 0; i < sizeof bytes; i++) {
            test_mat m = test_quant_create(&r, t, 9, 512, 0, 0);
            size_t n_sets, size = hs_dtype_size(t);
            memset(m.data, bytes[i], 9 * hs_dtype_bytes(t, 512));
            const hs_kernels *const *sets = all_kernels(&n_sets);
            float x[512], out[3][9][9], *y[3][9];
            void *row[9];
            for (uint32_t c = 0; c < 512; c++)
                x[c] = c / 64 & 1 ? 1.0f : -1.0f;
            for (uint32_t v = 0; v < 9; v++) {
                row[v] = test_alloc(hs_act_bytes(hs_mat_act(&m.mat), 512));
                for (size_t s = 0; s < 3; s++)
                    y[s][v] = out[s][v];
            }
            for (uint32_t s = 0; s < n_sets; s++) {
                for (uint32_t v = 0; v < 9; v++)
                    sets[s]->quantise(hs_mat_act(&m.mat), x, 512, row[v]);
                sets[s]->matvec_q8(&m.mat, 0, 9, (const void *const *)row, 9, y[s]);
                if (!same(out[0][0], out[s][0], 81))
                    fail_msg("%s %s bytes 0x%02x (block of %zu)", sets[s]->name, hs_dtype_name(t), bytes[i], size);
            }
            for (uint32_t v = 0; v < 9; v++)
                free(row[v]);
            test_mat_destroy(&m);
        }
    }
}

static void bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    rng r = {6};
    const hs_kernels *k = hs_kernels_get(HS_KERNELS_AUTO, NULL);
    test_mat m = test_quant_create(&r, HS_DTYPE_Q4_K, 300, 512, 0, 1);
    quantised q = quantised_create(k, &m.mat, 12, &r);
    float *want[12];
    for (uint32_t v = 0; v < 12; v++)
        want[v] = test_alloc(300 * sizeof(float));
    k->matvec_q8(&m.mat, 0, 300, (const void *const *)q.row, 12, want);
    for (uint32_t threads = 1; threads <= 4; threads++) {
        hs_pool *pool = NULL;
        assert_int_equal(hs_pool_create(threads, &pool, NULL), 0);
        hs_matvec_q8(k, pool, &m.mat, (const void *const *)q.row, 12, q.y);
        for (uint32_t v = 0; v < 12; v++)
            assert_memory_equal(q.y[v], want[v], 300 * sizeof(float));
        hs_pool_destroy(&pool);
    }
    for (uint32_t v = 0; v < 12; v++)
        free(want[v]);
    quantised_destroy(&q);
    test_mat_destroy(&m);
}

/* Every set quantises alike: half a step of error at most, bad values mark their block, and nothing else does. */
static void check_quantise(const float *x, uint32_t n, hs_act a, uint32_t block)
{
    size_t n_sets, bytes = hs_act_bytes(a, n);
    const hs_kernels *const *sets = all_kernels(&n_sets);
    char *row[3] = {test_alloc(bytes), test_alloc(bytes), test_alloc(bytes)};
    size_t used = n + n / 8 + n / block * 4;
    for (size_t s = 0; s < n_sets; s++) {
        sets[s]->quantise(a, x, n, row[s]);
        assert_memory_equal(row[s], row[0], used);
    }
    for (uint32_t i = 0; i < n; i++) {
        float d, max = 0;
        memcpy(&d, row[0] + n + n / 8 + i / block * 4, 4);
        int bad = 0;
        for (uint32_t j = i / block * block; j < i / block * block + block; j++) {
            bad |= !isfinite(x[j]);
            max = fabsf(x[j]) > max ? fabsf(x[j]) : max;
        }
        assert_int_equal(isnan(d) != 0, bad);
        if (!bad)
            assert_true(fabs((double)row[0][i] * (double)d - (double)x[i]) <= (double)max / 253.9 + 1e-35);
    }
    for (size_t s = 0; s < 3; s++)
        free(row[s]);
}

static void vectors_are_quantised(void **state)
{
    (void)state;
    rng r = {7};
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t n = 256 * (1 + rng_below(&r, 4));
        float *x = vectors(&r, n);
        float size = ldexpf(1, (int)rng_below(&r, 250) - 130);
        for (uint32_t k = 0; k < n; k++)
            x[k] *= rng_below(&r, 8) ? size : rng_below(&r, 2) ? 0 : size * 0.5f;
        if (i % 4 == 1)
            x[rng_below(&r, n)] = i % 8 == 1 ? NAN : -INFINITY;
        if (i % 4 == 2)
            memset(x, 0, 256 * sizeof *x);
        check_quantise(x, n, HS_ACT_Q8_32, 32);
        check_quantise(x, n, HS_ACT_Q8_256, 256);
        free(x);
    }
}

static void forms_of_vectors(void **state)
{
    (void)state;
    hs_mat w = {.dtype = HS_DTYPE_BF16};
    assert_int_equal(hs_mat_act(&w), HS_ACT_F32);
    w.dtype = HS_DTYPE_MXFP4;
    assert_int_equal(hs_mat_act(&w), HS_ACT_Q8_32);
    w.dtype = HS_DTYPE_Q6_K;
    assert_int_equal(hs_mat_act(&w), HS_ACT_Q8_256);
    assert_int_equal(hs_act_bytes(HS_ACT_F32, 7), 28);
    assert_int_equal(hs_act_bytes(HS_ACT_Q8_32, 2048), 2048 + 256 + 256);
    assert_int_equal(hs_act_bytes(HS_ACT_Q8_256, 2048), 2048 + 256 + 64); /* 8 scales, rounded up */
    w = (hs_mat){.dtype = HS_DTYPE_Q6_K, .rows = 3, .cols = 512};
    assert_int_equal(hs_mat_bytes(&w), 3 * 420);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_gguf_py),
        cmocka_unit_test(products_with_floats),
        cmocka_unit_test(products_with_8_bits),
        cmocka_unit_test(bits_do_not_depend_on_set_batch_or_split),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(extremes),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(vectors_are_quantised),
        cmocka_unit_test(forms_of_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
