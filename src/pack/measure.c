/*
 * measure.c - would this machine read compressed records slower than raw ones? A drive that reads B bytes per second
 * delivers B raw; compressed it delivers no more than the cores decode, D. So compression loses where D < B
 * (with D >= B the smaller files are at least free, and from B / ratio on they are all gain).
 *
 * The drive is measured with direct reads of the source, one stream per pool thread. That is the drive of the pack only
 * when both lie on the same device; otherwise nothing is measured, and a note says so.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "pack/pack_int.h"

#define BLOCK    (4u << 20)
#define BLOCKS   64u /* 256 MiB: some tenths of a second on anything that is fast enough to matter */
#define LIMIT_NS 1000000000ull

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

/* Bytes per second; 0 = cannot be told. */
static double drive_speed(hs__pk_work *w, const hs__pk_plan *p)
{
    const hs__pk_container *big = &p->containers[0];
    for (uint32_t i = 1; i < p->n_containers; i++)
        big = p->containers[i].bytes > big->bytes ? &p->containers[i] : big;
    if (big->bytes < (uint64_t)BLOCK * BLOCKS)
        return 0;
    drive_job j = {.bytes = big->bytes, .fd = open(big->path, O_RDONLY | O_CLOEXEC | O_DIRECT)};
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

static bool same_device(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev;
}

/* The biggest part among the streamed ones (all, if nothing is streamed): it stands for the model. */
static uint32_t typical_part(const hs__pk_plan *p)
{
    uint32_t best = 0;
    bool best_streamed = false;
    for (uint32_t s = 0; s < p->n_shards; s++) {
        const hs__pk_shard_plan *sh = &p->shards[s];
        for (uint32_t r = sh->first_record; r < sh->first_record + sh->n_records; r++)
            for (uint32_t i = p->records[r].first_part; i < p->records[r].first_part + p->records[r].n_parts; i++)
                if ((!sh->dense && !best_streamed) ||
                    (!sh->dense == best_streamed && p->parts[i].bytes > p->parts[best].bytes)) {
                    best = i;
                    best_streamed = !sh->dense;
                }
    }
    return best;
}

int hs__pk_decide(hs__pk_work *w, const hs_pack_options *opt, const hs__pk_plan *p, hs__pk_encoder *e,
                  bool *ret_compress, hs_err *err)
{
    double drive = (double)opt->disk_bw, decode;
    uint32_t cores = opt->cores ? opt->cores : hs_cpu_count();
    *ret_compress = true;
    if ((!opt->disk_bw && !opt->measure) || !p->n_parts)
        return 0;
    hs__pk_phase(w, HS_PACK_PHASE_MEASURE, 0);
    if (!opt->disk_bw && same_device(p->containers[0].path, opt->dst))
        drive = drive_speed(w, p);
    if (drive <= 0) {
        hs__pk_note(w,
                    "the drive of %s was not measured (another drive than the source's, a source under 256 MiB, or no "
                    "direct reads there): compressing; give the bandwidth to decide otherwise",
                    opt->dst);
        return 0;
    }
    int r = hs__pk_decode_speed(e, p, typical_part(p), &decode, err);
    if (r < 0)
        return r;
    *ret_compress = decode * cores >= drive;
    hs__pk_note(w, "drive %.2f GB/s, decoding %.2f GB/s on %u core%s: %s", drive / 1e9, decode * cores / 1e9, cores,
                cores == 1 ? "" : "s", *ret_compress ? "compressing" : "stored raw, compression would slow reading");
    return 0;
}
