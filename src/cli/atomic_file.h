/*
 * atomic_file.h - a file that is written piece by piece and appears under its name only when it is complete.
 * Between open and commit the bytes are in PATH.tmp-PID; close without commit removes them. A device or pipe at PATH is
 * written as it is, never replaced. One thread.
 */
#ifndef HS_CLI_ATOMIC_FILE_H
#define HS_CLI_ATOMIC_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HS_ATOMIC_FILE_BYTES (640u << 10) /* of memory while one is open, at most */

typedef struct hs_atomic_file hs_atomic_file;

int hs_atomic_file_open(const char *path, hs_atomic_file **ret_file, hs_err *err) HS_MUST_CHECK;
/* The same, and what is written to it is gzipped if the name ends in .gz. */
int hs_atomic_file_open_gz(const char *path, hs_atomic_file **ret_file, hs_err *err) HS_MUST_CHECK;
/* Buffered; the first failure stays and is reported again by every later call, so that only commit need be checked. */
void hs_atomic_file_write(hs_atomic_file *f, const void *data, size_t n);
void hs_atomic_file_printf(hs_atomic_file *f, const char *fmt, ...) HS_PRINTF(2, 3);
/* Flush; a file also fsync and rename. The error names the path. */
int hs_atomic_file_commit(hs_atomic_file *f, hs_err *err) HS_MUST_CHECK;
/* NULL-safe; removes what was not committed. */
void hs_atomic_file_close(hs_atomic_file **file);

#endif
