/*
 * gguf_tensor.c - the tensor descriptions of a GGUF file, and its types of elements.
 *
 * A tensor that stacks a layer's experts becomes one tensor per expert (base/checkpoint.h). Invariant after
 * hs__gguf_tensors: each tensor lies in the file's data, at a multiple of the alignment before stacks are taken apart,
 * and no two share a byte.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/gguf_int.h"

typedef struct kind {
    uint16_t id;
    const char *name;
    hs_dtype dtype; /* NONE: known by name only */
    uint8_t size;   /* of an element, for OTHER */
} kind;

static const kind kinds[] = {
    {0, "F32", HS_DTYPE_F32, 0},
    {1, "F16", HS_DTYPE_F16, 0},
    {2, "Q4_0", HS_DTYPE_Q4_0, 0},
    {3, "Q4_1", HS_DTYPE_Q4_1, 0},
    {6, "Q5_0", HS_DTYPE_Q5_0, 0},
    {7, "Q5_1", HS_DTYPE_Q5_1, 0},
    {8, "Q8_0", HS_DTYPE_Q8_0, 0},
    {10, "Q2_K", HS_DTYPE_Q2_K, 0},
    {11, "Q3_K", HS_DTYPE_Q3_K, 0},
    {12, "Q4_K", HS_DTYPE_Q4_K, 0},
    {13, "Q5_K", HS_DTYPE_Q5_K, 0},
    {14, "Q6_K", HS_DTYPE_Q6_K, 0},
    {16, "IQ2_XXS", HS_DTYPE_IQ2_XXS, 0},
    {17, "IQ2_XS", HS_DTYPE_IQ2_XS, 0},
    {18, "IQ3_XXS", HS_DTYPE_IQ3_XXS, 0},
    {19, "IQ1_S", HS_DTYPE_IQ1_S, 0},
    {20, "IQ4_NL", HS_DTYPE_IQ4_NL, 0},
    {21, "IQ3_S", HS_DTYPE_IQ3_S, 0},
    {22, "IQ2_S", HS_DTYPE_IQ2_S, 0},
    {23, "IQ4_XS", HS_DTYPE_IQ4_XS, 0},
    {24, "I8", HS_DTYPE_I8, 0},
    {25, "I16", HS_DTYPE_OTHER, 2},
    {26, "I32", HS_DTYPE_I32, 0},
    {27, "I64", HS_DTYPE_I64, 0},
    {28, "F64", HS_DTYPE_OTHER, 8},
    {29, "IQ1_M", HS_DTYPE_IQ1_M, 0},
    {30, "BF16", HS_DTYPE_BF16, 0},
    {34, "TQ1_0", HS_DTYPE_TQ1_0, 0},
    {35, "TQ2_0", HS_DTYPE_TQ2_0, 0},
    {39, "MXFP4", HS_DTYPE_MXFP4, 0},
    /* Met in files, but not served. From 97 on: of ik_llama.cpp alone. */
    {4, "Q4_2", HS_DTYPE_NONE, 0},
    {5, "Q4_3", HS_DTYPE_NONE, 0},
    {9, "Q8_1", HS_DTYPE_NONE, 0},
    {15, "Q8_K", HS_DTYPE_NONE, 0},
    {31, "Q4_0_4_4", HS_DTYPE_NONE, 0},
    {32, "Q4_0_4_8", HS_DTYPE_NONE, 0},
    {33, "Q4_0_8_8", HS_DTYPE_NONE, 0},
    {36, "I2_S", HS_DTYPE_NONE, 0},
    {40, "NVFP4", HS_DTYPE_NONE, 0},
    {41, "Q1_0", HS_DTYPE_NONE, 0},
    {42, "Q2_0", HS_DTYPE_NONE, 0},
    {133, "Q6_0", HS_DTYPE_NONE, 0},
    {134, "IQ1_BN", HS_DTYPE_NONE, 0},
    {135, "IQ2_BN", HS_DTYPE_NONE, 0},
    {137, "IQ2_K", HS_DTYPE_NONE, 0},
    {138, "IQ3_K", HS_DTYPE_NONE, 0},
    {139, "IQ4_K", HS_DTYPE_NONE, 0},
    {140, "IQ5_K", HS_DTYPE_NONE, 0},
    {141, "IQ6_K", HS_DTYPE_NONE, 0},
    {144, "IQ4_KS", HS_DTYPE_NONE, 0},
    {145, "IQ2_KS", HS_DTYPE_NONE, 0},
    {146, "IQ4_KSS", HS_DTYPE_NONE, 0},
    {152, "IQ5_KS", HS_DTYPE_NONE, 0},
    {153, "IQ2_KT", HS_DTYPE_NONE, 0},
    {154, "IQ3_KT", HS_DTYPE_NONE, 0},
    {155, "IQ4_KT", HS_DTYPE_NONE, 0},
    {156, "IQ3_KS", HS_DTYPE_NONE, 0},
    {157, "IQ2_KL", HS_DTYPE_NONE, 0},
    {158, "IQ1_KT", HS_DTYPE_NONE, 0},
};

#define N_KINDS (sizeof kinds / sizeof *kinds)

static int refuse_type(hs__gguf *g, uint32_t type)
{
    char list[300] = "", name[32] = "";
    size_t n = 0;
    for (size_t i = 0; i < N_KINDS; i++) {
        if (kinds[i].id == type)
            snprintf(name, sizeof name, " (%s)", kinds[i].name);
        if (kinds[i].dtype != HS_DTYPE_NONE)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? " " : "", kinds[i].name);
    }
    return hs__gguf_fail(g, -ENOTSUP, "type %u%s is not supported; these are: %s", type, name, list);
}

static const kind *find_kind(uint32_t type)
{
    for (size_t i = 0; i < N_KINDS; i++)
        if (kinds[i].id == type && kinds[i].dtype != HS_DTYPE_NONE)
            return &kinds[i];
    return NULL;
}

/* Type and ne[] (fastest first) as dtype, dims and nbytes. */
static int set_shape(hs__gguf *g, hs_tensor *t, uint32_t type, const uint64_t *ne)
{
    const kind *k = find_kind(type);
    if (!k)
        return refuse_type(g, type);
    uint64_t block = k->size ? 1 : hs_dtype_block(k->dtype), size = k->size ? k->size : hs_dtype_size(k->dtype);
    uint64_t n = ne[0] / block;
    if (ne[0] % block)
        return hs__gguf_fail(g, -EINVAL, "rows of %llu elements are no multiple of %s's block of %llu",
                             (unsigned long long)ne[0], k->name, (unsigned long long)block);
    if (hs_mul_u64(n, size, &n) < 0 || hs_mul_u64(n, ne[1], &n) < 0 || hs_mul_u64(n, ne[2], &n) < 0 ||
        hs_mul_u64(n, ne[3], &n) < 0 || n > HS__MAX_TENSOR_BYTES)
        return hs__gguf_fail(g, -EINVAL, "is bigger than any tensor can be");
    if (!n)
        return hs__gguf_fail(g, -EINVAL, "is empty");
    t->dtype = k->dtype;
    t->nbytes = n;
    for (uint32_t i = 0; i < HS_MAX_DIMS; i++)
        t->dims[i] = i < t->n_dims ? ne[t->n_dims - 1 - i] : 1;
    return 0;
}

static int read_info(hs__gguf *g, hs_tensor *t)
{
    uint64_t ne[HS_MAX_DIMS] = {1, 1, 1, 1};
    uint32_t type = 0;
    int r = hs__gguf_u32(g, &t->n_dims);
    if (r == 0 && t->n_dims > HS_MAX_DIMS)
        r = hs__gguf_fail(g, -EINVAL, "%u dimensions; at most %u are possible", t->n_dims, HS_MAX_DIMS);
    if (r == 0)
        r = hs__gguf_read(g, ne, t->n_dims * sizeof *ne);
    if (r == 0)
        r = hs__gguf_u32(g, &type);
    if (r == 0)
        r = hs__gguf_u64(g, &t->offset);
    if (r == 0)
        r = set_shape(g, t, type, ne);
    if (r < 0)
        return r;
    uint64_t room = g->bytes > g->at ? g->bytes - g->at : 0;
    if (t->offset % g->alignment)
        return hs__gguf_fail(g, -EINVAL, "begins at byte %llu of the data, no multiple of the alignment of %llu",
                             (unsigned long long)t->offset, (unsigned long long)g->alignment);
    if (t->offset > room || t->nbytes > room - t->offset)
        return hs__gguf_fail(
            g, -EINVAL,
            "its %llu bytes at byte %llu of the data are outside the file of %llu bytes; is that there in full?",
            (unsigned long long)t->nbytes, (unsigned long long)t->offset, (unsigned long long)g->bytes);
    return 0;
}

/* How many experts the tensor stacks; 0 = it is none of those. Their biases are small and stay together. */
static uint64_t stacked(const hs_tensor *t, const char *name)
{
    static const char *const matrices[] = {"ffn_gate", "ffn_up", "ffn_down", "ffn_gate_up"};
    size_t n = 0;
    if (strncmp(name, "blk.", 4) || !(n = strspn(name + 4, "0123456789")) || name[4 + n] != '.')
        return 0;
    const char *rest = name + 5 + n;
    for (size_t i = 0; i < 4; i++) {
        size_t len = strlen(matrices[i]);
        if (strncmp(rest, matrices[i], len))
            continue;
        if (!strcmp(rest + len, "_exps.weight") && t->n_dims == 3)
            return t->dims[0];
    }
    return 0;
}

/* Puts t into the directory, a stack of experts as one tensor of each. */
static int add(hs__gguf *g, const hs_tensor *t, const char *name)
{
    char buf[HS__GGUF_MAX_NAME + 16];
    uint64_t experts = stacked(t, name), n = experts ? experts : 1;
    if (experts > HS__GGUF_MAX_EXPERTS)
        return hs__gguf_fail(g, -EINVAL, "%llu experts; at most %u are possible", (unsigned long long)experts,
                             HS__GGUF_MAX_EXPERTS);
    if (n > HS__GGUF_MAX_TENSORS - g->s->n_tensors)
        return hs__gguf_fail(g, -E2BIG, "more than %u tensors and experts' tensors", HS__GGUF_MAX_TENSORS);
    for (uint64_t i = 0; i < n; i++) {
        hs_tensor *to = hs__tensor_append(g->s);
        int len = experts ? snprintf(buf, sizeof buf, "%s.%llu", name, (unsigned long long)i)
                          : snprintf(buf, sizeof buf, "%s", name);
        const char *own = hs__names_add(&g->s->names, buf, (size_t)len);
        if (!to || !own)
            return hs__gguf_fail(g, -ENOMEM, "out of memory");
        *to = *t;
        to->name = own;
        to->nbytes = t->nbytes / n;
        to->offset = t->offset + i * to->nbytes;
        if (experts) {
            to->n_dims = t->n_dims - 1;
            memmove(to->dims, to->dims + 1, (HS_MAX_DIMS - 1) * sizeof *to->dims);
            to->dims[HS_MAX_DIMS - 1] = 1;
        }
        g->s->n_tensors++;
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const hs_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* The file's tensors, from `first` on, get their places in the file. */
static int place(hs__gguf *g, uint32_t first, uint64_t data_start)
{
    hs_source *s = g->s;
    if (s->n_tensors > first)
        qsort(s->tensors + first, s->n_tensors - first, sizeof *s->tensors, by_offset);
    uint64_t end = data_start;
    for (uint32_t i = first; i < s->n_tensors; i++) {
        hs_tensor *t = &s->tensors[i];
        t->offset += data_start;
        snprintf(g->subject, sizeof g->subject, "tensor %.*s", (int)HS__GGUF_MAX_NAME, t->name);
        if (t->offset < end)
            return hs__gguf_fail(g, -EINVAL, "overlaps tensor %s", t[-1].name);
        if (t->offset > g->bytes || t->nbytes > g->bytes - t->offset)
            return hs__gguf_fail(g, -EINVAL, "its %llu bytes at %llu are outside the file of %llu bytes",
                                 (unsigned long long)t->nbytes, (unsigned long long)t->offset,
                                 (unsigned long long)g->bytes);
        end = t->offset + t->nbytes;
    }
    return 0;
}

int hs__gguf_tensors(hs__gguf *g, uint32_t file, uint64_t *ret_data_start)
{
    char name[HS__GGUF_MAX_NAME + 1];
    uint32_t first = g->s->n_tensors;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        hs_tensor t = {.file = file, .record = HS_NO_RECORD};
        snprintf(g->subject, sizeof g->subject, "tensor %llu of %llu", (unsigned long long)i + 1,
                 (unsigned long long)g->n_tensors);
        int r = hs__gguf_name(g, name);
        if (r < 0)
            return r;
        snprintf(g->subject, sizeof g->subject, "tensor %s", name);
        r = read_info(g, &t);
        if (r == 0)
            r = add(g, &t, name);
        if (r < 0)
            return r;
    }
    uint64_t data_start = hs_align_up(g->at, g->alignment);
    if (data_start > g->bytes) /* a file without tensors need not be padded */
        data_start = g->bytes;
    *ret_data_start = data_start;
    return place(g, first, data_start);
}
