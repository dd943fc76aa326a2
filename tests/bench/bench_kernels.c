/* rooms: math */
/*
 * bench_kernels.c - how fast one core multiplies by weights in each format, beside what it can read at all.
 *
 * Prints one JSON object: "read_gb_per_s" (an AVX2 or plain loop over a buffer far bigger than the caches), "matvec"
 * (GB/s of weights, and that as a fraction of the read rate), "matvec_q8" (block formats by 8-bit vectors: one, four
 * and eight vectors of all rows in GB/s, 32 and 512 vectors of a 768 x 2048 expert in GFLOP/s), "matvec_t", "gemm"
 * (GFLOP/s, beside OpenBLAS's sgemm of the same shape on float32 weights, if it is installed) and "vector" (GB/s of dot
 * and axpy on keys and values). Best of several rounds: the machine may be busy with something else. Usage:
 * bench_kernels [MEGABYTES of weights, default 96] [PART, default all of them]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(HAVE_OPENBLAS)
#include <cblas.h>
#endif

#include "base/mem.h"
#include "math/mat.h"

#define ROUNDS    7
#define COLS      7168u
#define BLOCK     128u
#define TASK_ROWS 256u /* of a product */

/* CPU time of this thread, which does all the work: a busy machine costs only what it takes of caches and memory. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fill(void *p, size_t n, uint32_t seed)
{
    uint64_t s = seed;
    for (size_t i = 0; i + 4 <= n; i += 4) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        uint32_t v = (uint32_t)(s >> 33) & 0x37373737u; /* finite and moderate in every format */
        memcpy((char *)p + i, &v, 4);
    }
}

static void fill_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 2654435761u) % 2001u) / 1000.0f - 1.0f;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t read_all(const char *p, size_t n)
{
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t i = 0; i + 128 <= n; i += 128)
        for (int j = 0; j < 4; j++)
            s[j] = _mm256_xor_si256(s[j], _mm256_loadu_si256((const __m256i *)(const void *)(p + i + 32 * j)));
    __m256i t = _mm256_xor_si256(_mm256_xor_si256(s[0], s[1]), _mm256_xor_si256(s[2], s[3]));
    return (uint64_t)_mm256_extract_epi64(t, 0);
}
#else
static uint64_t read_all(const char *p, size_t n)
{
    uint64_t s = 0, v;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        memcpy(&v, p + i, 8);
        s ^= v;
    }
    return s;
}
#endif

static volatile uint64_t sink;

static double read_rate(const char *p, size_t n)
{
    uint64_t t0 = cpu_ns();
    sink = read_all(p, n);
    return (double)n / (double)(cpu_ns() - t0);
}

static hs_mat matrix(hs_dtype t, const void *data, const float *scale, uint32_t rows, uint32_t cols)
{
    return (hs_mat){.data = data,
                    .scale = t == HS_DTYPE_F8_E4M3 ? scale : NULL,
                    .dtype = t,
                    .rows = rows,
                    .cols = cols,
                    .block_rows = BLOCK,
                    .block_cols = BLOCK};
}

static const hs_dtype types[] = {HS_DTYPE_F32, HS_DTYPE_F16, HS_DTYPE_BF16, HS_DTYPE_F8_E4M3};

static void bench_matvec(const hs_kernels *k, const char *data, size_t bytes, const float *scale, const char **sep)
{
    static const uint32_t batch[] = {1, 2, 4, 8};
    float *x = hs_malloc(8 * COLS * sizeof *x), *y = hs_malloc(8 * (bytes / COLS) * sizeof *y);
    if (!x || !y)
        exit(1);
    fill_floats(x, 8 * COLS);
    for (size_t t = 0; t < 4; t++) {
        for (size_t b = 0; b < 4; b++) {
            size_t use = strcmp(k->name, "generic") ? bytes : bytes / 16;
            uint32_t rows = (uint32_t)(use / COLS / hs_dtype_size(types[t]));
            hs_mat w = matrix(types[t], data, scale, rows, COLS);
            double best = 0, read = 0;
            for (int i = 0; i < ROUNDS; i++) {
                double now = read_rate(data, bytes); /* beside each other: neighbours share the memory bus */
                read = now > read ? now : read;
                uint64_t t0 = cpu_ns();
                for (uint32_t r = 0; r < rows; r += TASK_ROWS)
                    k->matvec(&w, r, rows - r < TASK_ROWS ? rows : r + TASK_ROWS, x, COLS, batch[b], y, rows);
                double rate = (double)hs_mat_bytes(&w) / (double)(cpu_ns() - t0);
                best = rate > best ? rate : best;
            }
            printf("%s{\"kernels\":\"%s\",\"type\":\"%s\",\"n_vec\":%u,\"gb_per_s\":%.2f,\"of_read\":%.3f}", *sep,
                   k->name, hs_dtype_name(types[t]), batch[b], best, best / read);
            *sep = ",\n  ";
        }
    }
    hs_free(x);
    hs_free(y);
}

/* Absorbed attention: 128 rows x 512 columns of one head, head after head. */
static void bench_matvec_t(const hs_kernels *k, const char *data, size_t bytes, const float *scale, const char **sep)
{
    float x[128], y[512];
    fill_floats(x, 128);
    for (size_t t = 0; t < 4; t++) {
        uint32_t rows = (uint32_t)(bytes / 4 / 512 / hs_dtype_size(types[t])) / 128 * 128;
        hs_mat w = matrix(types[t], data, scale, rows, 512);
        double best = 0, read = 0;
        for (int i = 0; i < ROUNDS; i++) {
            double now = read_rate(data, bytes);
            read = now > read ? now : read;
            uint64_t t0 = cpu_ns();
            for (uint32_t r = 0; r < rows; r += 128)
                k->matvec_t(&w, r, r + 128, 0, 512, x, y);
            double rate = (double)hs_mat_bytes(&w) / (double)(cpu_ns() - t0);
            best = rate > best ? rate : best;
        }
        printf("%s{\"kernels\":\"%s\",\"type\":\"%s\",\"gb_per_s\":%.2f,\"of_read\":%.3f}", *sep, k->name,
               hs_dtype_name(types[t]), best, best / read);
        *sep = ",\n  ";
    }
}

/* Block formats by 8-bit vectors: GB/s of weights with few vectors, and GFLOP/s with many of a prompt's experts. */
static double q8_rate(const hs_kernels *k, hs_pool *pool, const hs_mat *w, uint32_t n, double work)
{
    uint64_t bytes = hs_act_bytes(hs_mat_act(w), w->cols);
    char *rows = hs_map_alloc(n * bytes);
    float *x = hs_malloc(w->cols * sizeof *x), *y = hs_malloc((size_t)n * w->rows * sizeof *y), **ys;
    const void **xs = hs_malloc(n * sizeof *xs);
    ys = hs_malloc(n * sizeof *ys);
    if (!rows || !x || !y || !xs || !ys)
        exit(1);
    fill_floats(x, w->cols);
    for (uint32_t v = 0; v < n; v++) {
        k->quantise(hs_mat_act(w), x, w->cols, rows + v * bytes);
        xs[v] = rows + v * bytes;
        ys[v] = y + (size_t)v * w->rows;
    }
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t t0 = cpu_ns();
        hs_matvec_q8(k, pool, w, xs, n, ys);
        double rate = work / (double)(cpu_ns() - t0);
        best = rate > best ? rate : best;
    }
    hs_map_free(rows, n * bytes);
    hs_free(x);
    hs_free(y);
    hs_free(xs);
    hs_free(ys);
    return best;
}

static void bench_q8(const hs_kernels *k, char *data, size_t bytes, const char **sep)
{
    static const uint32_t batch[] = {1, 4, 8, 32, 512};
    const hs_kernels *generic = hs_kernels_get(HS_KERNELS_GENERIC, NULL);
    uint32_t cols = 2048;
    hs_pool *pool;
    if (hs_pool_create(1, &pool, NULL) < 0)
        exit(1);
    size_t n_scales = bytes / hs_dtype_bytes(HS_DTYPE_MXFP4_PAIRS, 32);
    char *scales = hs_malloc(n_scales);
    if (!scales)
        exit(1);
    memset(scales, 120, n_scales);
    for (hs_dtype t = HS_DTYPE_Q4_0; t <= HS_DTYPE_MXFP4_PAIRS; t++) {
        double read = 0, rate[5];
        hs_mat w = matrix(t, data, NULL, (uint32_t)(bytes / hs_dtype_bytes(t, cols)), cols), part = w;
        for (size_t i = 0; t == HS_DTYPE_MXFP4 && i < hs_mat_bytes(&w); i += hs_dtype_size(t))
            data[i] = 120; /* no subnormal scales; no type that minds comes later */
        if (t == HS_DTYPE_MXFP4_PAIRS)
            w.scale = part.scale = scales;
        part.rows = 768;
        for (int i = 0; i < ROUNDS; i++) {
            double now = read_rate(data, bytes);
            read = now > read ? now : read;
        }
        for (int b = 0; b < 5; b++)
            rate[b] = b < 3 ? q8_rate(k, pool, &w, batch[b], (double)hs_mat_bytes(&w))
                            : q8_rate(k, pool, &part, batch[b], 2.0 * batch[b] * part.rows * cols);
        printf("%s{\"kernels\":\"%s\",\"type\":\"%s\",\"gb_per_s\":%.2f,\"of_read\":%.3f,\"gb_per_s_4\":%.2f,\"gb_per_"
               "s_8\":%.2f,"
               "\"gflop_per_s_32\":%.1f,\"gflop_per_s_512\":%.1f,\"generic_gb_per_s\":%.2f}",
               *sep, k->name, hs_dtype_name(t), rate[0], rate[0] / read, rate[1], rate[2], rate[3], rate[4],
               q8_rate(generic, pool, &part, 1, (double)hs_mat_bytes(&part)));
        *sep = ",\n  ";
    }
    hs_free(scales);
    hs_pool_destroy(&pool);
}

/* Nanoseconds of OpenBLAS on float32 weights; endless without it. */
static double plain_sgemm(uint32_t m, uint32_t rows, uint32_t cols, const float *x, const char *w, float *y)
{
#if defined(HAVE_OPENBLAS)
    uint64_t t0 = cpu_ns();
    openblas_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)rows, (blasint)cols, 1.0f, x,
                (blasint)cols, (const float *)(const void *)w, (blasint)cols, 0.0f, y, (blasint)rows);
    return (double)(cpu_ns() - t0);
#else
    (void)m, (void)rows, (void)cols, (void)x, (void)w, (void)y;
    return 1e300;
#endif
}

static void bench_gemm(const hs_kernels *k, const char *data, const float *scale, const char **sep)
{
    static const uint32_t shape[][3] = {{16, 2048, 7168}, {64, 2048, 7168}, {512, 2048, 7168}, {100, 768, 2048}};
    size_t max_x = 512 * 7168, max_y = 512 * 2048;
    float *x = hs_malloc(max_x * sizeof *x), *y = hs_malloc(max_y * sizeof *y);
    hs_pool *pool;
    void *scratch = hs_map_alloc(hs_gemm_scratch_bytes(1));
    if (!x || !y || !scratch || hs_pool_create(1, &pool, NULL) < 0)
        exit(1);
    fill_floats(x, max_x);
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        uint32_t m = shape[s][0], rows = shape[s][1], cols = shape[s][2];
        double flop = 2.0 * m * rows * cols, plain = 0;
        for (int i = 0; i < ROUNDS; i++) {
            double rate = flop / plain_sgemm(m, rows, cols, x, data, y);
            plain = rate > plain ? rate : plain;
        }
        for (size_t t = 0; t < 4; t++) {
            hs_mat w = matrix(types[t], data, scale, rows, cols);
            double best = 0;
            for (int i = 0; i < ROUNDS; i++) {
                uint64_t t0 = cpu_ns();
                hs_gemm(k, pool, &w, x, cols, m, y, rows, scratch);
                double rate = flop / (double)(cpu_ns() - t0);
                best = rate > best ? rate : best;
            }
            printf("%s{\"kernels\":\"%s\",\"type\":\"%s\",\"m\":%u,\"rows\":%u,\"cols\":%u,\"gflop_per_s\":%.1f,"
                   "\"plain_sgemm\":%.1f,\"of_plain\":%.3f}",
                   *sep, k->name, hs_dtype_name(types[t]), m, rows, cols, best, plain, best / plain);
            *sep = ",\n  ";
        }
    }
    hs_pool_destroy(&pool);
    hs_map_free(scratch, hs_gemm_scratch_bytes(1));
    hs_free(x);
    hs_free(y);
}

/* Attention over 4096 positions of 512 latent values, f32 and f16: bytes of keys a second. */
static void bench_vector(const hs_kernels *k, const char *data, const char **sep)
{
    enum { N = 512, POSITIONS = 4096 };
    float q[N], out[N];
    fill_floats(q, N);
    double best[4] = {0};
    const uint16_t *h = (const uint16_t *)(const void *)data;
    const float *f = (const float *)(const void *)data;
    for (int i = 0; i < ROUNDS; i++) {
        float s = 0;
        uint64_t t[5];
        memset(out, 0, sizeof out);
        t[0] = cpu_ns();
        for (uint32_t p = 0; p < POSITIONS; p++)
            s += k->dot(f + (size_t)p * N, q, N);
        t[1] = cpu_ns();
        for (uint32_t p = 0; p < POSITIONS; p++)
            s += k->dot_f16(h + (size_t)p * N, q, N);
        t[2] = cpu_ns();
        for (uint32_t p = 0; p < POSITIONS; p++)
            k->axpy(1e-3f, f + (size_t)p * N, out, N);
        t[3] = cpu_ns();
        for (uint32_t p = 0; p < POSITIONS; p++)
            k->axpy_f16(1e-3f, h + (size_t)p * N, out, N);
        t[4] = cpu_ns();
        sink = (uint64_t)(s + out[0]);
        for (int b = 0; b < 4; b++) {
            double rate = (double)N * POSITIONS * (b & 1 ? 2 : 4) / (double)(t[b + 1] - t[b]);
            best[b] = rate > best[b] ? rate : best[b];
        }
    }
    printf("%s{\"kernels\":\"%s\",\"dot_f32\":%.2f,\"dot_f16\":%.2f,\"axpy_f32\":%.2f,\"axpy_f16\":%.2f}", *sep,
           k->name, best[0], best[1], best[2], best[3]);
    *sep = ",\n  ";
}

/* Opens the part's list, if it is wanted. */
static int begin(const char *name, const char *part, const char **sep)
{
    *sep = "";
    if (part && strcmp(part, name))
        return 0;
    printf(",\n \"%s\":[\n  ", name);
    return 1;
}

int main(int argc, char **argv)
{
    long mb = argc > 1 ? strtol(argv[1], NULL, 10) : 96;
    if (mb < 64 || mb > 4096) {
        fprintf(stderr, "usage: bench_kernels [MEGABYTES, 64 to 4096] [PART]\n");
        return 2;
    }
    size_t bytes = (size_t)mb << 20;
    char *data = hs_map_alloc(bytes);
    size_t n_scales = (bytes / COLS / BLOCK + 1) * (COLS / BLOCK) + bytes / 512 / BLOCK * 4;
    float *scale = hs_malloc(n_scales * sizeof *scale);
    if (!data || !scale)
        return 1;
    fill(data, bytes, 1);
    for (size_t i = 0; i < n_scales; i++)
        scale[i] = 0.01f + (float)(i % 97) * 1e-4f;
    double read = 0;
    for (int i = 0; i < 2 * ROUNDS; i++) {
        double now = read_rate(data, bytes);
        read = now > read ? now : read;
    }
    const hs_kernels *best = hs_kernels_get(HS_KERNELS_AUTO, NULL), *generic = hs_kernels_get(HS_KERNELS_GENERIC, NULL);
    const char *sep = "", *part = argc > 2 ? argv[2] : NULL;
    printf("{\"megabytes\":%ld,\"read_gb_per_s\":%.2f", mb, read);
    if (begin("matvec", part, &sep)) {
        bench_matvec(best, data, bytes, scale, &sep);
        bench_matvec(generic, data, bytes, scale, &sep);
        printf("]");
    }
    if (begin("matvec_q8", part, &sep)) {
        bench_q8(best, data, bytes, &sep);
        printf("]");
    }
    if (begin("matvec_t", part, &sep)) {
        bench_matvec_t(best, data, bytes, scale, &sep);
        bench_matvec_t(generic, data, bytes, scale, &sep);
        printf("]");
    }
    if (begin("gemm", part, &sep)) {
        bench_gemm(best, data, scale, &sep);
        printf("]");
    }
    if (begin("vector", part, &sep)) {
        bench_vector(best, data, &sep);
        bench_vector(generic, data, &sep);
        printf("]");
    }
    printf("}\n");
    hs_free(scale);
    hs_map_free(data, bytes);
    return 0;
}
