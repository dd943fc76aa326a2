/* ref.c - see ref.h. Nothing here uses a table or helper of src/math. */
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t rng_next(rng *r)
{
    r->s += 0x9e3779b97f4a7c15u;
    uint64_t z = r->s;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

uint32_t rng_below(rng *r, uint32_t n)
{
    return rng_next(r) % n;
}

float rng_float(rng *r)
{
    return (float)(int32_t)rng_next(r) * 0x1p-31f;
}

void *test_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        abort();
    return p;
}

double ref_e4m3(unsigned char code)
{
    int exp = code >> 3 & 15, man = code & 7;
    double v = exp == 15 && man == 7 ? NAN : exp ? ldexp(8 + man, exp - 10) : ldexp(man, -9);
    return code & 0x80 ? -v : v;
}

double ref_f16(uint16_t h)
{
    int exp = h >> 10 & 31, man = h & 0x3ff;
    double v = exp == 31 ? (man ? NAN : INFINITY) : exp ? ldexp(1024 + man, exp - 25) : ldexp(man, -24);
    return h & 0x8000 ? -v : v;
}

static uint32_t random_bits(rng *r, hs_dtype t, fill how)
{
    static const int exp_bits[HS_DTYPE_COUNT] = {
        [HS_DTYPE_F32] = 8, [HS_DTYPE_F16] = 5, [HS_DTYPE_BF16] = 8, [HS_DTYPE_F8_E4M3] = 4};
    static const int man_bits[HS_DTYPE_COUNT] = {
        [HS_DTYPE_F32] = 23, [HS_DTYPE_F16] = 10, [HS_DTYPE_BF16] = 7, [HS_DTYPE_F8_E4M3] = 3};
    int e = exp_bits[t], m = man_bits[t];
    uint32_t sign = rng_next(r) & 1, man = rng_next(r) & ((1u << m) - 1), bias = (1u << (e - 1)) - 1, exp;
    if (how == FILL_ZERO)
        exp = man = 0;
    else if (how == FILL_SUBNORMAL)
        exp = rng_below(r, 4) == 0;
    else if (how == FILL_NORMAL)
        exp = bias - rng_below(r, 5);
    else
        exp = t == HS_DTYPE_F8_E4M3 ? rng_below(r, 16) : bias - 6 + rng_below(r, 12);
    if (t == HS_DTYPE_F8_E4M3 && exp == 15 && man == 7)
        man = 6;
    return sign << (e + m) | exp << m | man;
}

test_mat test_mat_create(rng *r, hs_dtype t, uint32_t rows, uint32_t cols, uint32_t block_rows, uint32_t block_cols,
                         fill how, uint32_t offset)
{
    size_t n = (size_t)rows * cols, size = hs_dtype_size(t);
    test_mat m = {.data = test_alloc(n * size + offset)};
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = random_bits(r, t, how);
        memcpy(m.data + offset + i * size, &bits, size); /* little-endian */
    }
    m.mat = (hs_mat){.data = m.data + offset,
                     .dtype = t,
                     .rows = rows,
                     .cols = cols,
                     .block_rows = block_rows,
                     .block_cols = block_cols};
    if (t == HS_DTYPE_F8_E4M3 && block_rows) {
        size_t blocks = (size_t)((rows + block_rows - 1) / block_rows) * ((cols + block_cols - 1) / block_cols);
        m.scale = test_alloc(blocks * 4 + offset);
        for (size_t i = 0; i < blocks; i++) {
            float s = ldexpf(1.5f + rng_float(r) / 2, -(int)rng_below(r, 12));
            memcpy(m.scale + offset + 4 * i, &s, 4);
        }
        m.mat.scale = m.scale + offset;
    }
    return m;
}

/* Where a block has its binary16 scales; 0xff = none, IQ1_M and MXFP4 are special. */
static void set_scales(hs_dtype t, unsigned char *block, rng *r)
{
    static const unsigned char at[HS_DTYPE_COUNT][2] = {
        [HS_DTYPE_Q4_0] = {0, 0},     [HS_DTYPE_Q4_1] = {0, 2},    [HS_DTYPE_Q5_0] = {0, 0},
        [HS_DTYPE_Q5_1] = {0, 2},     [HS_DTYPE_Q8_0] = {0, 0},    [HS_DTYPE_Q2_K] = {80, 82},
        [HS_DTYPE_Q3_K] = {108, 108}, [HS_DTYPE_Q4_K] = {0, 2},    [HS_DTYPE_Q5_K] = {0, 2},
        [HS_DTYPE_Q6_K] = {208, 208}, [HS_DTYPE_TQ1_0] = {52, 52}, [HS_DTYPE_TQ2_0] = {64, 64},
    };
    uint32_t half[2];
    for (int i = 0; i < 2; i++)
        half[i] = (rng_next(r) & 0x83ff) | (8 + rng_below(r, 8)) << 10;
    if (t == HS_DTYPE_MXFP4)
        block[0] = (unsigned char)(115 + rng_below(r, 12));
    else if (t == HS_DTYPE_IQ1_M)
        for (int i = 0; i < 4; i++)
            block[49 + 2 * i] = (unsigned char)((block[49 + 2 * i] & 15) | (half[0] >> 4 * i & 15) << 4);
    else
        for (int i = 0; i < 2; i++)
            memcpy(block + at[t][i], &half[i], 2);
}

test_mat test_quant_create(rng *r, hs_dtype t, uint32_t rows, uint32_t cols, int wild, uint32_t offset)
{
    size_t bytes = rows * hs_dtype_bytes(t, cols), size = hs_dtype_size(t);
    test_mat m = {.data = test_alloc(bytes + offset)};
    for (size_t i = 0; i < bytes + offset; i++)
        m.data[i] = (char)rng_next(r);
    for (size_t i = 0; !wild && i < bytes; i += size)
        set_scales(t, (unsigned char *)m.data + offset + i, r);
    m.mat = (hs_mat){.data = m.data + offset, .dtype = t, .rows = rows, .cols = cols};
    return m;
}

void test_mat_destroy(test_mat *m)
{
    free(m->data);
    free(m->scale);
}

double ref_value(const hs_mat *w, uint32_t r, uint32_t k)
{
    const unsigned char *p = (const unsigned char *)w->data + ((size_t)r * w->cols + k) * hs_dtype_size(w->dtype);
    uint32_t u = 0;
    float f;
    memcpy(&u, p, hs_dtype_size(w->dtype));
    switch (w->dtype) {
    case HS_DTYPE_F16:
        return ref_f16((uint16_t)u);
    case HS_DTYPE_BF16:
        u <<= 16;
        break;
    case HS_DTYPE_F8_E4M3:
        if (!w->scale)
            return ref_e4m3((unsigned char)u);
        memcpy(
            &f,
            (const char *)w->scale +
                4 * ((size_t)(r / w->block_rows) * ((w->cols + w->block_cols - 1) / w->block_cols) + k / w->block_cols),
            4);
        return ref_e4m3((unsigned char)u) * (double)f;
    default:
        break;
    }
    memcpy(&f, &u, 4);
    return (double)f;
}

double ref_dot(const hs_mat *w, uint32_t r, const float *x, double *ret_tolerance)
{
    double sum = 0, size = 0;
    for (uint32_t k = 0; k < w->cols; k++) {
        double t = ref_value(w, r, k) * (double)x[k];
        sum += t;
        size += fabs(t);
    }
    *ret_tolerance = (w->cols / 8.0 + 40) * 6e-8 * size + 1e-37;
    return sum;
}

const hs_kernels *const *all_kernels(size_t *ret_n)
{
    static const hs_kernels *sets[HS_KERNELS_NEON];
    *ret_n = 0;
    for (hs_kernel_set set = HS_KERNELS_GENERIC; set <= HS_KERNELS_NEON; set++) {
        const hs_kernels *k = hs_kernels_get(set, NULL);
        if (k)
            sets[(*ret_n)++] = k;
    }
    return sets;
}
