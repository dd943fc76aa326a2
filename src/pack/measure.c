/*
 * measure.c - with which codecs does this machine get weights fastest? A layer of a token misses some experts at once.
 * Raw they are there when the drive has answered and read them: LATENCY + s / B for s bytes. Compressed to r of its
 * size that is r s / B, but no less than the cores take to decode, s / D; the last one's decoding is hidden behind no
 * read; and each costs HANDLING, which is what keeps small experts raw. Half of the cores' time is counted for
 * decoding, the other half belongs to the matrices that are multiplied meanwhile. What does not beat raw records by
 * WORTH is not taken: nobody packs to be as fast as before and have the cores busier.
 *
 * The drive is measured with direct reads of the source, one stream per pool thread. That is the drive of the pack only
 * when both lie on the same device; otherwise, and for a small source, a fast drive is assumed, and a note says so. Of
 * several drives stripe.c tells what they read together.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "pack/pack_int.h"

#define BLOCK    (4u << 20)
#define BLOCKS   64u /* 256 MiB: some tenths of a second on anything that is fast enough to matter */
#define LIMIT_NS 1000000000ull
#define WORTH    1.02 /* of the raw rate */
#define AT_ONCE  4    /* experts missing in a layer */
#define LATENCY  100e-6
#define HANDLING 20e-6 /* of a compressed record: to hear of it, to hand out its frames */

typedef struct drive_job {
    int fd;
    uint64_t bytes, begin;
    uint8_t *buffers; /* [threads][BLOCK] */
    atomic_ullong done;
    atomic_int failed;
} drive_job;

static void read_block(void *ctx, uint32_t index, uint32_t thread)
{
    drive_job *j = ctx;
    uint64_t blocks = j->bytes / BLOCK, at = (uint64_t)index * blocks / BLOCKS * BLOCK;
    if (atomic_load(&j->failed) || hs_now_ns() - j->begin > LIMIT_NS)
        return;
    if (hs_pread_full(j->fd, j->buffers + (size_t)thread * BLOCK, BLOCK, (off_t)at) < 0)
        atomic_store(&j->failed, 1);
    else
        atomic_fetch_add(&j->done, BLOCK);
}

double hs__pk_read_speed(hs__pk_work *w, const char *path, uint64_t bytes)
{
    drive_job j = {.bytes = bytes, .fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT)};
    size_t room = (size_t)hs_pool_threads(w->pool) * BLOCK;
    j.buffers = j.fd >= 0 ? hs_map_alloc(room) : NULL;
    double speed = 0;
    if (j.buffers) {
        j.begin = hs_now_ns();
        hs_pool_run(w->pool, BLOCKS, read_block, &j);
        if (!atomic_load(&j.failed))
            speed = (double)atomic_load(&j.done) * 1e9 / (double)(hs_now_ns() - j.begin + 1);
        hs_map_free(j.buffers, room);
    }
    if (j.fd >= 0)
        close(j.fd);
    return speed;
}

/* Of the source's drive. */
static double drive_speed(hs__pk_work *w, const hs__pk_plan *p)
{
    const hs__pk_container *big = &p->containers[0];
    for (uint32_t i = 1; i < p->n_containers; i++)
        big = p->containers[i].bytes > big->bytes ? &p->containers[i] : big;
    return big->bytes < (uint64_t)BLOCK * BLOCKS ? 0 : hs__pk_read_speed(w, big->path, big->bytes);
}

static bool same_device(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev;
}

/* The biggest part among the streamed ones (all, if nothing is streamed): it stands for the model. Its record's bytes.
 */
static uint32_t typical_part(const hs__pk_plan *p, uint64_t *ret_record_bytes)
{
    uint32_t best = 0;
    bool best_streamed = false;
    *ret_record_bytes = 0;
    for (uint32_t s = 0; s < p->n_shards; s++) {
        const hs__pk_shard_plan *sh = &p->shards[s];
        for (uint32_t r = sh->first_record; r < sh->first_record + sh->n_records; r++)
            for (uint32_t i = p->records[r].first_part; i < p->records[r].first_part + p->records[r].n_parts; i++)
                if (!*ret_record_bytes || (!sh->dense && !best_streamed) ||
                    (!sh->dense == best_streamed && p->parts[i].bytes > p->parts[best].bytes)) {
                    best = i;
                    best_streamed = !sh->dense;
                    *ret_record_bytes = p->records[r].raw_bytes;
                }
    }
    return best;
}

typedef struct choice {
    uint32_t allowed;
    const char *name;
    hs__pk_trial trial;
    double rate; /* raw bytes/s that the engine gets */
} choice;

/* Raw bytes/s that the engine gets when AT_ONCE records of `bytes` are missing. decode: raw bytes/s; 0 = raw records.
 */
static double rate_of(double drive, double bytes, double ratio, double decode)
{
    double all = AT_ONCE * bytes, read = all * ratio / drive;
    if (decode <= 0)
        return all / (LATENCY + read);
    double busy = read > all / decode ? read : all / decode;
    return all / (LATENCY + busy + bytes / decode + AT_ONCE * HANDLING);
}

static void tell(hs__pk_work *w, const char *how, double drive, uint32_t cores, double bytes, const choice *c,
                 uint32_t n, const choice *best)
{
    char text[400] = "";
    for (uint32_t i = 0; i < n; i++) {
        size_t len = strlen(text);
        if (c[i].trial.bytes_per_s > 0)
            snprintf(text + len, sizeof text - len, "%s to %.2f of its size, decoded at %.2f GB/s: %.2f GB/s; ",
                     c[i].name, c[i].trial.ratio, c[i].trial.bytes_per_s * cores * 0.5 / 1e9, c[i].rate / 1e9);
        else
            snprintf(text + len, sizeof text - len, "%s makes nothing smaller; ", c[i].name);
    }
    hs__pk_note(w,
                "drive %.2f GB/s (%s), %u core%s half of whose time may go into decoding; %d experts of %.0f KiB at "
                "once come raw at %.2f GB/s; %s%s%s",
                drive / 1e9, how, cores, cores == 1 ? "" : "s", AT_ONCE, bytes / 1024,
                rate_of(drive, bytes, 1, 0) / 1e9, text, best ? "compressing with " : "stored raw, ",
                best ? best->name : "compression would not make reading faster");
}

int hs__pk_decide(hs__pk_work *w, const hs_pack_options *opt, const hs__pk_plan *p, double measured, hs__pk_encoder *e,
                  uint32_t *ret_allowed, hs_err *err)
{
    choice c[] = {{.allowed = HS__PK_EXPONENT, .name = "exponent"},
                  {.allowed = HS__PK_ZSTD | HS__PK_EXPONENT, .name = "any"}};
    const uint32_t n = sizeof c / sizeof *c, cores = opt->cores ? opt->cores : hs_cpu_count();
    const char *how = opt->disk_bw ? "given" : "measured";
    double drive = opt->disk_bw ? (double)opt->disk_bw : measured;
    const choice *best = NULL;
    *ret_allowed = 0;
    if (!p->n_parts)
        return 0;
    hs__pk_phase(w, HS_PACK_PHASE_MEASURE, 0);
    if (drive <= 0 && opt->measure && !opt->n_stripe && same_device(p->containers[0].path, opt->dst))
        drive = drive_speed(w, p);
    if (drive <= 0) {
        how = "assumed: it was not measured, being another drive than the source's, or the source under 256 MiB, or "
              "direct reads refused; --disk-bw tells it";
        drive = (double)HS_PACK_FAST_DRIVE;
    }
    uint64_t record_bytes;
    uint32_t part = typical_part(p, &record_bytes);
    double bytes = (double)record_bytes, raw = rate_of(drive, bytes, 1, 0);
    for (uint32_t i = 0; i < n; i++) {
        int r = hs__pk_try(e, p, part, c[i].allowed, &c[i].trial, err);
        if (r < 0)
            return r;
        c[i].rate = rate_of(drive, bytes, c[i].trial.ratio, c[i].trial.bytes_per_s * cores * 0.5);
        if (c[i].trial.ratio <= HS_PACK_RAW_RATIO && c[i].rate >= WORTH * (best ? best->rate : raw))
            best = &c[i];
    }
    *ret_allowed = best ? best->allowed : 0;
    tell(w, how, drive, cores, bytes, c, n, best);
    return 0;
}
