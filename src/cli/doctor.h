/*
 * doctor.h - what of this machine hinders hotset: findings, and the checks that make them. Files of /proc and /sys come
 * from below `root` ("" outside tests); what cannot be read is said, never guessed. One thread.
 */
#ifndef HS_CLI_DOCTOR_H
#define HS_CLI_DOCTOR_H

#include "base/json.h"
#include "cli/out.h"

#define HS_DOCTOR_MAX 96 /* 16 models have 4 each */

typedef enum hs_health { HS_HEALTH_OK, HS_HEALTH_WARN, HS_HEALTH_FAIL } hs_health;

typedef struct hs_finding {
    const char *what; /* "kernel", static */
    hs_health health;
    char text[400];   /* what was found */
    char advice[300]; /* what to do; "" if nothing */
} hs_finding;

typedef struct hs_doctor {
    const char *root;
    size_t n;
    hs_finding findings[HS_DOCTOR_MAX];
} hs_doctor;

/* advice may be NULL. */
void hs_doctor_add(hs_doctor *d, const char *what, hs_health health, const char *advice, const char *fmt, ...)
    HS_PRINTF(5, 6);
size_t hs_doctor_count(const hs_doctor *d, hs_health health);

/* Of the machine. */
void hs_doctor_kernel(hs_doctor *d, const char *release);
/* result: of io_uring_setup: 0 or a negative errno. */
void hs_doctor_io_uring(hs_doctor *d, int result);
/* bytes: RLIMIT_MEMLOCK; UINT64_MAX = unlimited. */
void hs_doctor_memlock(hs_doctor *d, uint64_t bytes);
void hs_doctor_huge_pages(hs_doctor *d);
void hs_doctor_swap(hs_doctor *d);
void hs_doctor_pressure(hs_doctor *d);
/* The folder need not exist yet; "" or NULL: there is none. */
void hs_doctor_state_dir(hs_doctor *d, const char *dir);
/* The drive of a file with this st_dev. */
void hs_doctor_drive(hs_doctor *d, const char *file, unsigned dev_major, unsigned dev_minor);

/* One line per finding, aligned, with the advice below. */
void hs_doctor_format(const hs_doctor *d, hs_buf *out);
json_t *hs_doctor_json(const hs_doctor *d);

#endif
