/* file.h - whole small files, and files that appear only when they are complete. */
#ifndef HS_BASE_FILE_H
#define HS_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads a regular file of at most max bytes into a new NUL-terminated string (hs_free it). Errors name the path;
 * -EFBIG past max. */
int hs_file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, hs_err *err) HS_MUST_CHECK;

/* Writes path.tmp, fsyncs, renames it to path and fsyncs the folder: afterwards path is complete, or as it was. */
int hs_file_write_atomic(const char *path, const void *data, size_t len, hs_err *err) HS_MUST_CHECK;

/* All n bytes, retrying short transfers and EINTR: 0 or a negative errno; -ENODATA when the file ends first. */
int hs_pread_full(int fd, void *buf, size_t n, off_t offset);
int hs_pwrite_full(int fd, const void *buf, size_t n, off_t offset);
int hs_write_full(int fd, const void *buf, size_t n);

/* fsync of the folder that holds path. */
int hs_fsync_parent(const char *path);

/* Is anything of that name there, be it only a symbolic link to nothing? For optional files: what is there and cannot
 * be read is an error, not an absence. */
bool hs_file_exists(const char *path);

/* Path of an open file, cut at cap; "a model's file" if the system does not tell. */
void hs_file_name(int fd, char *buf, size_t cap);

/* The sentence for a file that could not be opened: of a symbolic link it says where that leads. Returns code. */
int hs_file_unopened(const char *path, int code, hs_err *err);

#endif
