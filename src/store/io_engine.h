/*
 * io_engine.h - what carries out sub-reads: io_uring, a pool of pread threads, or one that a test or bench brings
 * (hs_io_config.custom): throttled to a drive that is not there, or failing on purpose.
 *
 * An engine only moves bytes. Cutting, priorities, retries, short reads and accounting are done by its user,
 * io_thread.c. All functions but wake are called on the I/O thread only, create and destroy included.
 */
#ifndef HS_STORE_IO_ENGINE_H
#define HS_STORE_IO_ENGINE_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "store/io.h"

/* One sub-read. It belongs to the engine from submit until wait hands it back. */
typedef struct hs_io_read hs_io_read;
struct hs_io_read {
    /* Read by the engine: len bytes at offset of fds[file] -> dst. */
    uint32_t file, len;
    uint64_t offset;
    void *dst;
    /* Set by the engine: bytes read (fewer than len is fine, 0 = end of file) or a negative errno. */
    int32_t result;
    hs_io_read *next; /* the engine's while it has the read */
    /* Private to io_thread.c. */
    hs_io_req *req;
    uint64_t start, range_off; /* file offset and place in the range of the whole sub-read */
    uint32_t range, full, want, got, tries;
    uint32_t failed; /* bit c: copy c could not read it */
};

typedef struct hs_io_engine_config {
    const int *fds;
    uint32_t n_fds;
    const struct iovec *buffers; /* where most reads land; a hint */
    uint32_t n_buffers;
    uint32_t depth;    /* reads that an engine has at once, at most */
    uint32_t n_drives; /* that they go to; one that is slow should not keep those of another waiting */
} hs_io_engine_config;

typedef struct hs_io_engine_ops {
    const char *name;
    /* ctx: hs_io_config.custom_ctx. cfg's arrays live as long as the engine. */
    int (*create)(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err);
    /* Called when no read is out. */
    void (*destroy)(void *engine);
    /* Takes a read; never blocks on the drive. It need not be started before the next wait. */
    void (*submit)(void *engine, hs_io_read *read);
    /* Starts what submit took, blocks until a read has ended or wake has been called since the last wait returned, and
     * hands out up to max ended reads: their number, 0 after a mere wake. */
    uint32_t (*wait)(void *engine, hs_io_read **ret_done, uint32_t max);
    /* Any thread: makes the current or the next wait return. */
    void (*wake)(void *engine);
} hs_io_engine_ops;

extern const hs_io_engine_ops hs_io_uring_ops;
extern const hs_io_engine_ops hs_io_pread_ops;

#endif
