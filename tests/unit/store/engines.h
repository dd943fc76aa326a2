/*
 * engines.h - engines for tests and benches, passed as hs_io_config.custom with their struct as custom_ctx.
 *
 * throttle_engine: a drive that is not there, of so many bytes/s and so much latency, reading the file through pread.
 * fault_engine: answers that go wrong on purpose, a log of what was issued, and a gate that holds reads back.
 */
#ifndef TESTS_STORE_ENGINES_H
#define TESTS_STORE_ENGINES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/io_engine.h"

/* Reads end one after the other at bytes_per_s, each latency_ns after its turn at the earliest. */
typedef struct throttle_engine {
    uint64_t bytes_per_s, latency_ns;
} throttle_engine;
extern const hs_io_engine_ops throttle_engine_ops;

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_ERRNO,   /* result = -error */
    FAULT_SHORT,   /* only short_bytes are read */
    FAULT_CORRUPT, /* every byte is flipped */
    FAULT_LATE,    /* comes back only when nothing else is out */
    FAULT_NEVER    /* comes back only after fault_engine_release, and only then brings its bytes */
} fault_kind;

#define FAULT_LOG 4096

typedef struct fault_engine {
    /* Set before use: reads first .. first+times-1 go wrong (counted from 1, in order of issue; times 0 = one). */
    fault_kind kind;
    uint64_t first, times;
    int error;
    uint32_t short_bytes;
    bool gated; /* reads wait for fault_engine_let */
    /* Reads that touch bytes [bad_from, bad_to) of a file go wrong as well. */
    bool sticky; /* the first read that goes wrong leaves its place bad */
    uint32_t bad_file;
    uint64_t bad_from, bad_to;
    /* Under lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const hs_io_engine_config *cfg;
    hs_io_read *head, *tail, *late, *held;
    uint64_t permits, ended;
    bool woken;
    uint32_t n_log;  /* reads issued */
    uint32_t n_hits; /* of these, gone wrong */
    struct {
        uint64_t offset;
        uint32_t len, file;
    } log[FAULT_LOG];
} fault_engine;
extern const hs_io_engine_ops fault_engine_ops;

void fault_engine_init(fault_engine *e);
void fault_engine_deinit(fault_engine *e);
/* Lets n more reads end; opens the gate for good with UINT64_MAX. */
void fault_engine_let(fault_engine *e, uint64_t n);
/* From here on: reads are counted from 1 anew, and number nth (0 = none) goes wrong; sticky: its place is bad too. */
void fault_engine_arm(fault_engine *e, fault_kind kind, uint64_t nth, bool sticky);
/* From here on: reads of bytes [from, to) of the file go wrong. */
void fault_engine_spoil(fault_engine *e, fault_kind kind, uint32_t file, uint64_t from, uint64_t to);
/* How many reads have gone wrong since; waits until one has, or the milliseconds have passed. */
uint32_t fault_engine_hits(fault_engine *e, uint32_t wait_ms);
/* Everything is good again, and what never came back comes now. */
void fault_engine_release(fault_engine *e);
/* Waits until n reads have been issued altogether. */
void fault_engine_await(fault_engine *e, uint32_t n);

#endif
