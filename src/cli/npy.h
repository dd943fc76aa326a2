/* npy.h - writes a float32 matrix as a NumPy .npy file (format 1.0, C order, little-endian), row by row, atomically. */
#ifndef HS_CLI_NPY_H
#define HS_CLI_NPY_H

#include <stdint.h>

#include "base/err.h"

typedef struct hs_npy hs_npy;

int hs_npy_create(const char *path, uint64_t rows, uint64_t columns, hs_npy **ret_npy, hs_err *err) HS_MUST_CHECK;
/* n rows of `columns` values; write errors are reported by commit. */
void hs_npy_write(hs_npy *n, const float *values, uint64_t n_rows);
/* -EINVAL if the number of rows written is not the one promised. The file exists from here on. */
int hs_npy_commit(hs_npy *n, hs_err *err) HS_MUST_CHECK;
/* NULL-safe; without commit nothing is left behind. */
void hs_npy_destroy(hs_npy **n);

#endif
