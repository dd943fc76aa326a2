/*
 * engines.h - engines for tests and benches, passed as hs_io_config.custom with their object as custom_ctx.
 *
 * throttle_engine: a drive that is not there, of so many bytes/s and so much latency, reading the file through pread.
 * fault_engine: answers that go wrong on purpose, a log of what was issued, and a gate that holds reads back.
 */
#ifndef TESTS_STORE_ENGINES_H
#define TESTS_STORE_ENGINES_H

#include <stdbool.h>
#include <stdint.h>

#include "store/io_engine.h"

/* Constant while an hs_io uses it. Reads end one after the other at bytes_per_s, each latency_ns after its turn at the
 * earliest. */
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

/* What goes wrong from here on: reads first .. first+times-1, and reads that touch bytes [from, to) of the file. */
typedef struct fault_order {
    fault_kind kind;
    uint64_t
        first; /* counted from 1 anew, in order of issue; 0 = none. FAULT_ERRNO of no read: the engine is refused */
    uint64_t times; /* 0 = once */
    bool sticky;    /* the first read that goes wrong leaves its place bad */
    uint32_t file;
    uint32_t any_of; /* not 0: of files file, file + any_of, ... (copies) the one of which [from, to) is read first */
    uint64_t from, to;
    int error;            /* of FAULT_ERRNO */
    uint32_t short_bytes; /* of FAULT_SHORT */
} fault_order;

typedef struct fault_read {
    uint64_t offset;
    uint32_t len, file;
} fault_read;

/* Opaque, and every function locks: tests change and ask it while the I/O thread is in it. */
typedef struct fault_engine fault_engine;
extern const hs_io_engine_ops fault_engine_ops;

/* gated: reads wait for fault_engine_let. Nothing goes wrong yet. */
fault_engine *fault_engine_create(bool gated);
/* Reads as that engine does, and what goes wrong is changed afterwards: first counts reads in the order in which they
 * end. Not FAULT_LATE. */
fault_engine *fault_engine_over(const hs_io_engine_ops *ops);
/* Its hs_io must be gone. */
void fault_engine_destroy(fault_engine **e);
/* Lets n more reads end; opens the gate for good with UINT64_MAX. */
void fault_engine_let(fault_engine *e, uint64_t n);
/* Forgets the order before, the log and the hits. What an order before has kept stays kept. */
void fault_engine_arm(fault_engine *e, const fault_order *order);
/* How many reads have gone wrong since; waits until one has, or the milliseconds have passed. */
uint32_t fault_engine_hits(fault_engine *e, uint32_t wait_ms);
/* How many reads have been issued since. */
uint32_t fault_engine_issued(fault_engine *e);
/* The k-th of these, from 0; fails the test where there are fewer, or the log is full (4096). */
fault_read fault_engine_read(fault_engine *e, uint32_t k);
/* Waits until n reads have been issued. */
void fault_engine_await(fault_engine *e, uint32_t n);
/* Everything is good again, and what never came back comes now. */
void fault_engine_release(fault_engine *e);

#endif
