/* npy.c - see npy.h. The host is little-endian on every platform this builds for; static_assert says so. */
#include "cli/npy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/atomic_file.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are written as they lie in memory");

#define HEADER_BYTES 128u /* magic and padded dictionary: a multiple of 64, as the format asks */

static const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0}; /* and version 1.0 */

struct hs_npy {
    hs_atomic_file *file;
    char *path;
    uint64_t rows, columns, written;
};

int hs_npy_create(const char *path, uint64_t rows, uint64_t columns, hs_npy **ret_npy, hs_err *err)
{
    hs_npy *n = hs_calloc(1, sizeof *n);
    if (!n)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    n->rows = rows;
    n->columns = columns;
    n->path = hs_strdup(path);
    int r = n->path ? hs_atomic_file_open(path, &n->file, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    if (r < 0) {
        hs_npy_destroy(&n);
        return r;
    }
    char header[HEADER_BYTES + 1];
    memset(header, ' ', sizeof header);
    memcpy(header, magic, sizeof magic);
    header[8] = (char)((HEADER_BYTES - 10) & 0xff);
    header[9] = (char)((HEADER_BYTES - 10) >> 8);
    int len =
        snprintf(header + 10, HEADER_BYTES - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
                 (unsigned long long)rows, (unsigned long long)columns);
    header[10 + len] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    hs_atomic_file_write(n->file, header, HEADER_BYTES);
    *ret_npy = n;
    return 0;
}

void hs_npy_write(hs_npy *n, const float *values, uint64_t n_rows)
{
    for (uint64_t i = 0; i < n_rows; i++)
        hs_atomic_file_write(n->file, values + i * n->columns, n->columns * sizeof *values);
    n->written += n_rows;
}

int hs_npy_commit(hs_npy *n, hs_err *err)
{
    if (n->written != n->rows)
        return hs_err_set(err, -EINVAL, "%s: %llu of %llu rows were written", n->path, (unsigned long long)n->written,
                          (unsigned long long)n->rows);
    return hs_atomic_file_commit(n->file, err);
}

void hs_npy_destroy(hs_npy **npy)
{
    hs_npy *n = *npy;
    if (!n)
        return;
    hs_atomic_file_close(&n->file);
    hs_free(n->path);
    hs_free(n);
    *npy = NULL;
}
