/* disk.h - how fast files can be read through the engine's own I/O: for `bench --disk` and for what `plan` expects. */
#ifndef HS_CLI_DISK_H
#define HS_CLI_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct hs_disk_run {
    const char *engine; /* "auto", "io_uring", "pread" */
    bool buffered;
    bool random;
    uint32_t request_bytes; /* multiple of 4096 */
    uint64_t in_flight;     /* bytes */
    uint64_t max_bytes;     /* ends after that many bytes or */
    double max_seconds;     /* after that long, whatever comes first */
    uint64_t seed;
} hs_disk_run;

typedef struct hs_disk_result {
    uint64_t bytes, reads;
    double busy_s; /* seconds with a read in flight */
    bool direct;
    char engine[16]; /* that was used */
} hs_disk_result;

/* The biggest regular file at path (a file or a folder, not recursive); hs_free *ret_file. At least 1 MiB. */
int hs_disk_pick(const char *path, char **ret_file, uint64_t *ret_bytes, hs_err *err) HS_MUST_CHECK;
/* Reads, discards. SIGINT ends it with -ECANCELED. Memory: in_flight bytes. */
int hs_disk_measure(const char *file, const hs_disk_run *run, hs_disk_result *ret, hs_err *err) HS_MUST_CHECK;
double hs_disk_rate(const hs_disk_result *r); /* bytes/s */

#endif
