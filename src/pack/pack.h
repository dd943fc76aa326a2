/*
 * pack.h - packed model folders: write one, turn it back, look for damage. Layout: hotset/shard_format.h.
 *
 * All functions block, call back only from the calling thread, and keep the calling process's memory use under
 * HS_PACK_MEMORY(threads) plus about 120 bytes per tensor and 8 bytes per 256 KiB of weights, however big a tensor is.
 */
#ifndef HS_PACK_PACK_H
#define HS_PACK_PACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"

/* Buffers: a batch of frames, raw and stored, and per thread a zstd context and a frame of scratch. */
#define HS_PACK_MEMORY(threads) ((40ull << 20) + (uint64_t)(threads) * (4ull << 20))

#define HS_PACK_SHARD_BYTES  (4ull << 30) /* default of hs_pack_options.shard_bytes */
#define HS_PACK_LEVEL_MAX    19
#define HS_PACK_THREADS_MAX  256u
#define HS_PACK_MAX_PROBLEMS 1000u /* that are reported one by one; the rest is counted */
#define HS_PACK_ANY_RECORD   (-1)
#define HS_PACK_MAX_STRIPE   7u             /* folders beside dst */
#define HS_PACK_SPLIT_BYTES  (512ull << 10) /* a read's size: smaller pieces would be more reads, not shorter ones */
#define HS_PACK_MAX_SHARE    1000000u       /* of one drive */

typedef enum hs_pack_phase {
    HS_PACK_PHASE_MEASURE, /* of drive and decoder */
    HS_PACK_PHASE_PACK,    /* bytes of the source */
    HS_PACK_PHASE_UNPACK,  /* bytes of the source */
    HS_PACK_PHASE_VERIFY,  /* bytes of the packed folder */
    HS_PACK_PHASE_CHECK    /* bytes of the source, compared with the pack */
} hs_pack_phase;

const char *hs_pack_phase_name(hs_pack_phase phase);

/* One thing that is wrong with a packed folder. */
typedef struct hs_pack_problem {
    const char *file; /* name within the folder */
    int64_t record;   /* within the shard, from 0; HS_PACK_ANY_RECORD = not one record's */
    const char *text; /* the whole sentence, file and record included */
} hs_pack_problem;

/* How to follow and stop long work; every member may be NULL. */
typedef struct hs_pack_monitor {
    void *ctx;
    void (*progress)(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total);
    void (*note)(void *ctx, const char *text); /* worth telling, no error: a subfolder is left out, … */
    void (*problem)(void *ctx, const hs_pack_problem *problem);
    const atomic_int *cancel; /* nonzero: the work ends with -ECANCELED; may be set by a signal handler */
} hs_pack_monitor;

typedef enum hs_pack_codec {
    HS_PACK_AUTO,     /* the one below with which this machine gets weights fastest, by the drive's speed and its own */
    HS_PACK_ZSTD,     /* each matrix that gets smaller than HS_PACK_RAW_RATIO of its size; the others raw */
    HS_PACK_EXPONENT, /* the same with the exponents of FP8 and BF16 coded by rank */
    HS_PACK_ANY,      /* of both, for each matrix, the smaller one (exponents also if they are 3 % bigger) */
    HS_PACK_RAW
} hs_pack_codec;
#define HS_PACK_RAW_RATIO  0.93
#define HS_PACK_FAST_DRIVE 7000000000ull /* bytes/s */

typedef struct hs_pack_options {
    const char *src; /* a safetensors folder, or a GGUF file (the first part of a split one) */
    const char *dst; /* new, empty, or left by an interrupted hs_pack of the same source */
    hs_pack_codec codec;
    int level;     /* zstd, 1 to HS_PACK_LEVEL_MAX; 0 = 1 (weights gain nothing from more) */
    bool keep_raw; /* what is compressed is stored raw as well, so that a machine can read what is faster there */
    uint64_t shard_bytes; /* raw bytes per experts shard, at least 1 MiB; 0 = HS_PACK_SHARD_BYTES */
    hs_pool *pool;        /* NULL = an own one of `threads` */
    uint32_t threads;     /* 0 = hs_cpu_count() */
    /* Further folders, there or new, on other drives: each gets its share of every layer's experts, and dst a symbolic
     * link to each shard there. Going on with an unfinished pack, none = those that it was begun with. */
    const char *const *stripe; /* [n_stripe] */
    uint32_t n_stripe;
    const uint32_t *shares; /* [n_stripe + 1], dst's first; NULL = by how fast each reads (measure; else the same) */
    uint64_t split_bytes;   /* no drive gets less of an expert than that, if not all; 0 = HS_PACK_SPLIT_BYTES */
    /* HS_PACK_AUTO: compression loses when `cores` decode slower than the drive of dst reads. Neither measured nor
     * given: the drive counts as a fast one (HS_PACK_FAST_DRIVE). */
    bool measure;     /* measure the drive (when src is on the same one), and those of stripe */
    uint64_t disk_bw; /* bytes/s; given: not measured */
    uint32_t cores;   /* of the machine that serves; 0 = hs_cpu_count() */
    bool check;       /* write nothing: verify dst and compare it with src */
    hs_pack_monitor monitor;
} hs_pack_options;

/*
 * Packs src into dst. Interrupted at any point, by a signal, a full disk or a power cut, it leaves a folder that does
 * not load, and running it again with the same options (or none) continues after the last finished record. 0 also when
 * dst is a complete pack of this source already. Errors: -EEXIST dst holds something else, or a pack without the raw
 * records that are asked for, or not in the folders of stripe, or one of these has a shard of another pack; -EBUSY
 * another pack is at work on dst; -EINVAL src is no model or dst lies inside it; -ESTALE src changed meanwhile;
 * -ECANCELED; -EBADMSG (check) dst is damaged or differs from src; else the errno of the failed operation.
 */
int hs_pack(const hs_pack_options *opt, hs_err *err) HS_MUST_CHECK;

/*
 * Writes the source of packed folder src into dst: every file bit for bit, with its mode. Files that are there already
 * are compared instead of written; a different one ends it with -EEXIST before anything is changed or, if only its
 * bytes differ, without changing that file. pool may be NULL. Stored and raw checksums are checked (-EBADMSG).
 */
int hs_unpack(const char *src, const char *dst, hs_pool *pool, const hs_pack_monitor *monitor,
              hs_err *err) HS_MUST_CHECK;

/*
 * Looks at every byte of a packed folder. Each problem goes to monitor->problem (at most HS_PACK_MAX_PROBLEMS) and the
 * work goes on; *ret_problems (may be NULL) is their number, set on 0 and -EBADMSG. A safetensors folder: its structure
 * only; a GGUF file: its structure, and every byte is read; a note says that the formats have no checksums. pool may be
 * NULL.
 */
int hs_verify(const char *path, hs_pool *pool, const hs_pack_monitor *monitor, uint64_t *ret_problems,
              hs_err *err) HS_MUST_CHECK;

/*
 * Looks at every byte of packed folder `path` as hs_verify does, and takes what is damaged from `mirror`, a copy of it:
 * records in place, page by page, after the copy's own checksums; other files as a whole. Each thing that was mended is
 * told as a note. *ret_mended: their number; *ret_problems: what is damaged in both, -EBADMSG then. -ESTALE: mirror is
 * no copy of path. mirror NULL: records, headers and small files are made again from the source that the manifest
 * names (-ENOENT it names none; -ESTALE it was changed since), and written only if the checksums are those of the
 * pack; a damaged manifest or table then stays damaged. Interrupted, it leaves nothing worse than it was. pool may be
 * NULL.
 */
int hs_repair(const char *path, const char *mirror, hs_pool *pool, const hs_pack_monitor *monitor, uint64_t *ret_mended,
              uint64_t *ret_problems, hs_err *err) HS_MUST_CHECK;

#endif
