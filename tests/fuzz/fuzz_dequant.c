/* rooms: math, max_len: 8192 */
/*
 * fuzz_dequant.c - the block formats with any bytes as weights: 4 bytes choose format, vectors, width and values of the
 * vectors, the rest is the matrix; MXFP4 in both of its layouts. Every kernel set gives the same values and products
 * (where both are not NaN), however many vectors there are, and reads nothing else.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "math/mat.h"

#define MAX_VECS 12

static int same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        if (x != y && !(isnan(a[i]) && isnan(b[i])))
            return 0;
    }
    return 1;
}

static void *buffer(size_t n)
{
    void *p = hs_malloc(n);
    FUZZ_CHECK(p);
    return p;
}

/* Values, whole rows and pieces of them. */
static void check_values(const hs_kernels *a, const hs_kernels *b, const hs_mat *w)
{
    float *x = buffer(w->cols * sizeof *x), *y = buffer(w->cols * sizeof *y);
    for (uint32_t r = 0; r < w->rows; r++) {
        uint32_t from = r * 37 % w->cols;
        a->dequant_span(w, r, 0, w->cols, x);
        b->dequant_span(w, r, 0, w->cols, y);
        FUZZ_CHECK(same(x, y, w->cols));
        b->dequant_span(w, r, from, w->cols, y);
        FUZZ_CHECK(same(x + from, y, w->cols - from));
    }
    hs_free(x);
    hs_free(y);
}

/* All vectors at once against one by one. */
static void check_products(const hs_kernels *a, const hs_kernels *b, const hs_mat *w, uint32_t n_vec, uint8_t seed)
{
    float *x = buffer(w->cols * sizeof *x), *y = buffer(2 * MAX_VECS * w->rows * sizeof *y), *to[MAX_VECS];
    uint64_t bytes = hs_act_bytes(hs_mat_act(w), w->cols);
    char *rows = buffer(n_vec * bytes);
    const void *row[MAX_VECS];
    for (uint32_t v = 0; v < n_vec; v++) {
        for (uint32_t k = 0; k < w->cols; k++)
            x[k] = (float)((k * 2654435761u >> 7) % 255u) - (float)(seed ^ v);
        row[v] = rows + v * bytes;
        to[v] = y + v * w->rows;
        a->quantise(hs_mat_act(w), x, w->cols, rows + v * bytes);
    }
    b->matvec_q8(w, 0, w->rows, row, n_vec, to);
    for (uint32_t v = 0; v < n_vec; v++) {
        float *alone = y + MAX_VECS * w->rows;
        a->matvec_q8(w, 0, w->rows, row + v, 1, &alone);
        FUZZ_CHECK(same(alone, to[v], w->rows));
    }
    hs_free(x);
    hs_free(y);
    hs_free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    hs_dtype t = HS_DTYPE_Q4_0 + data[0] % (HS_DTYPE_MXFP4 - HS_DTYPE_Q4_0 + 1);
    uint32_t cols = hs_dtype_block(t) * (1 + data[2] % 9), n_vec = 1 + data[1] % MAX_VECS;
    uint64_t row_bytes = hs_dtype_bytes(t, cols), scale_bytes = 0;
    uint32_t n_rows = (uint32_t)((size - 4) / row_bytes);
    if (!n_rows)
        return 0;
    if (t == HS_DTYPE_MXFP4 && data[3] & 1) {
        t = HS_DTYPE_MXFP4_PAIRS;
        scale_bytes = cols / 32;
        row_bytes -= scale_bytes;
    }
    char *weights = buffer(n_rows * row_bytes), *scales = buffer(n_rows * scale_bytes + 1);
    memcpy(weights, data + 4, n_rows * row_bytes);
    memcpy(scales, data + 4 + n_rows * row_bytes, n_rows * scale_bytes);
    hs_mat w = {.data = weights, .scale = scales, .dtype = t, .rows = n_rows, .cols = cols};
    const hs_kernels *generic = hs_kernels_get(HS_KERNELS_GENERIC, NULL);
    static const hs_kernel_set sets[] = {HS_KERNELS_AUTO, HS_KERNELS_AVX2};
    for (uint32_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const hs_kernels *k = hs_kernels_get(sets[i], NULL);
        if (!k)
            continue;
        check_values(generic, k, &w);
        check_products(generic, k, &w, n_vec, data[3]);
    }
    hs_free(weights);
    hs_free(scales);
    return 0;
}
