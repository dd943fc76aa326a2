/*
 * config_tensors.h - a tensor directory from a few lines of text: "NAME TYPE DIM...", where a name may hold ranges:
 * "model.layers.{0-3}.mlp.experts.{0-7}.up_proj.weight BF16 32 64" is 32 tensors. As a store would give it: sorted,
 * no name twice, sizes right. Lines that make no sense are passed over.
 */
#ifndef HS_TESTS_FUZZ_CONFIG_TENSORS_H
#define HS_TESTS_FUZZ_CONFIG_TENSORS_H

#include <string.h>

#include "base/checkpoint.h"
#include "base/mem.h"
#include "fuzz.h"

#define MAX_TENSORS 2048u
#define MAX_NAME    200u

typedef struct directory {
    hs_tensor tensors[MAX_TENSORS];
    char names[MAX_TENSORS][MAX_NAME];
    uint32_t n;
} directory;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hs_tensor *)a)->name, ((const hs_tensor *)b)->name);
}

/* Adds `name` with its ranges expanded, from place `at` on. */
static void expand(directory *d, const char *name, const hs_tensor *like)
{
    const char *open = strchr(name, '{');
    unsigned lo, hi;
    int used = 0;
    if (!open || sscanf(open, "{%u-%u}%n", &lo, &hi, &used) != 2 || !used) {
        if (d->n == MAX_TENSORS || strlen(name) >= MAX_NAME)
            return;
        strcpy(d->names[d->n], name);
        d->tensors[d->n] = *like;
        d->tensors[d->n].name = d->names[d->n];
        d->n++;
        return;
    }
    for (unsigned i = lo; i <= hi && i < lo + MAX_TENSORS && d->n < MAX_TENSORS; i++) {
        char one[MAX_NAME];
        int len = snprintf(one, sizeof one, "%.*s%u%s", (int)(open - name), name, i, open + used);
        if (len < (int)sizeof one)
            expand(d, one, like);
    }
}

static hs_dtype type_named(const char *name)
{
    for (int t = 1; t < HS_DTYPE_COUNT; t++)
        if (!strcmp(hs_dtype_name((hs_dtype)t), name))
            return (hs_dtype)t;
    return HS_DTYPE_OTHER;
}

/* Bytes of the tensor; -1: no file could hold it. */
static int size_of_tensor(hs_tensor *t)
{
    uint64_t rows = 1, row = t->n_dims ? t->dims[t->n_dims - 1] : 1;
    uint32_t block = hs_dtype_block(t->dtype);
    if (!block || row % block || row > 1u << 30)
        return -1;
    for (uint32_t i = 0; i + 1 < t->n_dims; i++)
        if (hs_mul_u64(rows, t->dims[i], &rows) < 0)
            return -1;
    return hs_mul_u64(hs_dtype_bytes(t->dtype, row), rows, &t->nbytes) < 0 || t->nbytes > 1ull << 40 ? -1 : 0;
}

static void add_line(directory *d, char *line)
{
    char *save, *name = strtok_r(line, " ", &save), *type = strtok_r(NULL, " ", &save), *dim;
    hs_tensor t = {.record = HS_NO_RECORD, .dims = {1, 1, 1, 1}};
    if (!name || !type)
        return;
    t.dtype = type_named(type);
    while (t.n_dims < HS_MAX_DIMS && (dim = strtok_r(NULL, " ", &save)))
        t.dims[t.n_dims++] = strtoull(dim, NULL, 10);
    if (size_of_tensor(&t) == 0)
        expand(d, name, &t);
}

/* Fills d from n bytes of text and c from d. */
static void directory_read(directory *d, const char *text, size_t n, hs_checkpoint *c)
{
    d->n = 0;
    for (size_t i = 0; i < n;) {
        const char *end = memchr(text + i, '\n', n - i);
        size_t len = end ? (size_t)(end - text) - i : n - i;
        char line[400];
        snprintf(line, sizeof line, "%.*s", len < sizeof line ? (int)len : 0, text + i);
        add_line(d, line);
        i += len + 1;
    }
    qsort(d->tensors, d->n, sizeof *d->tensors, by_name);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->n; i++)
        if (!kept || strcmp(d->tensors[kept - 1].name, d->tensors[i].name))
            d->tensors[kept++] = d->tensors[i];
    c->tensors = d->tensors;
    c->n_tensors = d->n = kept;
    for (uint32_t i = 0; i < kept; i++)
        c->total_bytes += d->tensors[i].nbytes;
}

#endif
