/*
 * calibrate.h - how a drive is read best: engine, page cache or not, read size, bytes in flight. Measured once per
 * drive and kernel, by reading the model that is there, and kept in the state directory.
 */
#ifndef HS_STORE_CALIBRATE_H
#define HS_STORE_CALIBRATE_H

#include "store/disk.h"
#include "store/io.h"

/* Smaller files fit a drive's own cache: what they tell is not worth the time. */
#define HS_CALIBRATE_MIN_BYTES (256ull << 20)
#define HS_CALIBRATE_SECONDS   5.0

typedef struct hs_io_choice {
    hs_io_engine_kind engine; /* HS_IO_URING or HS_IO_PREAD */
    bool buffered;
    uint32_t read_size;
    uint64_t in_flight;
    double bytes_per_s;         /* random reads, as chosen */
    double default_bytes_per_s; /* as if nothing had been chosen; the same where nothing is better */
    double lone_bytes_per_s;    /* one read of read_size at a time; 0 = not measured */
} hs_io_choice;

/* The defaults: io_uring, direct, 1 MiB, 16 MiB. */
hs_io_choice hs_io_choice_default(void);

typedef struct hs_calibrate_config {
    double seconds;     /* at most; 0 = HS_CALIBRATE_SECONDS */
    bool (*stop)(void); /* as in hs_disk_run */
    /* Every measurement as it is made; nonzero ends it with -ECANCELED. May be NULL. */
    int (*on_trial)(void *ctx, const hs_io_choice *how, double bytes_per_s);
    void *ctx;
    /* Reads in the place of hs_disk_measure; for tests. */
    int (*measure)(const char *file, const hs_disk_run *run, hs_disk_result *ret, hs_err *err);
    uint64_t (*now)(void); /* the clock in the place of hs_now_ns; for tests */
} hs_calibrate_config;

/* Reads `file` at random, from coarse to fine, and is back after `seconds` at most, however slow the drive. A default
 * is given up only for what was at least 5 % faster as a median of alternating measurements. -ETIMEDOUT: the drive has
 * not answered so long, and may still be reading (hs_disk_run.give_up_ns). Memory: that of hs_disk_measure. */
int hs_calibrate(const char *file, const hs_calibrate_config *cfg, hs_io_choice *ret, hs_err *err) HS_MUST_CHECK;

/* The result for the drive of `file` and the running kernel in state_dir: -ENOENT if there is none. */
int hs_calibration_load(const char *state_dir, const char *file, hs_io_choice *ret, hs_err *err) HS_MUST_CHECK;
int hs_calibration_save(const char *state_dir, const char *file, const hs_io_choice *choice, hs_err *err) HS_MUST_CHECK;

#endif
