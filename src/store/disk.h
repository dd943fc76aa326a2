/* disk.h - how fast a file can be read: through hs_io, or by the bare engine, which is what any reader could get. */
#ifndef HS_STORE_DISK_H
#define HS_STORE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct hs_disk_run {
    const char *engine; /* NULL, "auto", "io_uring", "pread" */
    bool buffered;      /* through the page cache, which forgets the file beforehand */
    bool random;        /* blocks in an arbitrary order, each once before any comes again; else one after the other */
    bool bare;          /* the engine alone, driven as fio drives it: no cutting, priorities or second thread */
    uint32_t request_bytes; /* multiple of 4096 */
    uint64_t in_flight;     /* bytes */
    uint64_t max_bytes;     /* ends after that many bytes or */
    double max_seconds;     /* after that long, whatever comes first */
    double skip_seconds;    /* at the start that do not count: limits and drives let some bytes through at once */
    uint64_t seed;
    /* By hs_now_ns, when it ends with -ETIMEDOUT although reads are out: what these hold, memory and file, is given
     * back once the drive has let go of them. 0 = waits, as a bare run does always. */
    uint64_t give_up_ns;
    bool (*stop)(void); /* asked now and then: true ends it with -ECANCELED; may be NULL */
    /* Carries the reads out in the place of `engine`; for tests. */
    const struct hs_io_engine_ops *custom;
    void *custom_ctx;
} hs_disk_run;

typedef struct hs_disk_result {
    uint64_t bytes, reads;
    double busy_s; /* seconds with a read in flight */
    bool direct;
    char engine[16]; /* that was used */
} hs_disk_result;

/* The biggest regular file at path (a file or a folder, not recursive); hs_free *ret_file. At least 1 MiB. */
int hs_disk_pick(const char *path, char **ret_file, uint64_t *ret_bytes, hs_err *err) HS_MUST_CHECK;
/* The same of every drive (st_dev) that holds some of path, symbolic links followed; their number, at most `most`. */
typedef struct hs_disk_file {
    char *file; /* hs_free */
    uint64_t bytes, dev;
} hs_disk_file;
int hs_disk_pick_each(const char *path, hs_disk_file *ret, uint32_t most, hs_err *err) HS_MUST_CHECK;
#define HS_DISK_SPREAD_BYTES (64ull << 20)
/* Reads, discards. Memory: in_flight bytes, HS_DISK_SPREAD_BYTES at least, unless max_bytes are fewer. max_seconds
 * begin when the memory is there. */
int hs_disk_measure(const char *file, const hs_disk_run *run, hs_disk_result *ret, hs_err *err) HS_MUST_CHECK;
double hs_disk_rate(const hs_disk_result *r); /* bytes/s */

/* Reading as a model does that lacks experts: a wave of them at once, while something is computed beside; when all have
 * landed and that is done, a pause. Waves of few and of many by turns. */
typedef struct hs_disk_waves {
    const char *engine;
    bool buffered;
    uint32_t read_size;    /* as hs_io_config */
    uint64_t in_flight;    /* as hs_io_config */
    uint64_t object_bytes; /* an expert: multiple of 4096 */
    uint32_t few, many;    /* experts of a wave; 1 to HS_DISK_WAVE_MAX */
    double beside_s, pause_s;
    double max_seconds; /* but some waves of each kind, if they take longer */
    uint64_t seed;
    bool (*stop)(void); /* as hs_disk_run */
} hs_disk_waves;
#define HS_DISK_WAVE_MAX 64u

/* A wave of n takes first_s + n x each_s. */
typedef struct hs_disk_wave_times {
    double first_s, each_s;
} hs_disk_wave_times;

/* Memory: one expert's. -EINVAL also if the file is smaller than that. */
int hs_disk_measure_waves(const char *file, const hs_disk_waves *run, hs_disk_wave_times *ret,
                          hs_err *err) HS_MUST_CHECK;

#endif
