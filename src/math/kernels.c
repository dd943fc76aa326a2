/* kernels.c - which instruction set runs, and the split of a matrix-vector product over the pool. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "math/math_int.h"

/* Rows of one task: long streams of memory in big matrices, several tasks a thread in small ones. */
#define MIN_TASK_ROWS    16u
#define MAX_TASK_ROWS    256u
#define TASKS_PER_THREAD 4u

int hs_kernel_set_parse(const char *text, hs_kernel_set *ret)
{
    static const char *const names[] = {"auto", "generic", "avx2", "avx512", "neon"};
    for (int i = 0; i < 5; i++) {
        if (!strcmp(text, names[i])) {
            *ret = (hs_kernel_set)i;
            return 0;
        }
    }
    return -EINVAL;
}

const hs_kernels *hs_kernels_get(hs_kernel_set set, hs_err *err)
{
#if defined(__x86_64__)
    /* libgcc checks CPUID and XGETBV; clang 14 does not know f16c by name. */
    unsigned a, b, c = 0, d;
    int has_f16c = __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
    int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c;
    int has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512vnni");
    int has_vbmi = __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bitalg");
    if ((set == HS_KERNELS_AUTO || set == HS_KERNELS_AVX512) && has_avx512)
        return has_vbmi ? &hs__kernels_avx512vbmi : &hs__kernels_avx512;
    if ((set == HS_KERNELS_AUTO || set == HS_KERNELS_AVX2) && has_avx2)
        return &hs__kernels_avx2;
#endif
#if defined(__aarch64__)
    if (set == HS_KERNELS_AUTO || set == HS_KERNELS_NEON)
        return &hs__kernels_neon;
#endif
    if (set == HS_KERNELS_NEON) {
        hs_err_set(err, -ENOTSUP, "compute.kernels: this processor has no NEON; use auto");
        return NULL;
    }
    if (set == HS_KERNELS_AVX512) {
        hs_err_set(err, -ENOTSUP, "compute.kernels: this processor has no AVX-512 with VNNI; use auto");
        return NULL;
    }
    if (set == HS_KERNELS_AVX2) {
        hs_err_set(err, -ENOTSUP, "compute.kernels: this processor has no AVX2 with FMA and F16C; use generic");
        return NULL;
    }
    return &hs__kernels_generic;
}

uint64_t hs_mat_bytes(const hs_mat *w)
{
    return w->rows * hs_dtype_bytes(w->dtype, w->cols);
}

typedef struct job {
    const hs_kernels *k;
    const hs_mat *w;
    const void *const *x;
    float *const *y;
    uint32_t n_vec, task_rows;
} job;

static void task(void *ctx, uint32_t index, uint32_t thread)
{
    const job *j = ctx;
    (void)thread;
    uint32_t row0 = index * j->task_rows;
    uint32_t row1 = j->w->rows - row0 < j->task_rows ? j->w->rows : row0 + j->task_rows;
    j->k->matvec_q8(j->w, row0, row1, j->x, j->n_vec, j->y);
}

void hs_matvec_q8(const hs_kernels *k, hs_pool *pool, const hs_mat *w, const void *const *x, uint32_t n_vec,
                  float *const *y)
{
    if (!n_vec)
        return;
    uint32_t rows = w->rows / (TASKS_PER_THREAD * hs_pool_threads(pool)) / MIN_TASK_ROWS * MIN_TASK_ROWS;
    rows = rows < MIN_TASK_ROWS ? MIN_TASK_ROWS : rows > MAX_TASK_ROWS ? MAX_TASK_ROWS : rows;
    job j = {.k = k, .w = w, .x = x, .y = y, .n_vec = n_vec, .task_rows = rows};
    hs_pool_run(pool, w->rows / rows + (w->rows % rows != 0), task, &j);
}
