/*
 * io_fixture.h - one file of known bytes, and requests that remember what happened to them. One test at a time; on_done
 * may come from any thread.
 */
#ifndef TESTS_STORE_IO_FIXTURE_H
#define TESTS_STORE_IO_FIXTURE_H

#include "unit/store/folder.h"

#include "store/io.h"

#define SUB   (16u << 10)
#define TAIL  1234u
#define BYTES ((1u << 20) + TAIL)
#define SPACE (1u << 20) /* of one request's memory */

typedef struct ticket {
    hs_io_req req; /* first: callbacks cast */
    uint8_t *mem;
    /* The I/O thread's until ticket_wait. */
    uint64_t progress;
    int result;
    bool done;
    uint32_t order; /* of on_done */
} ticket;

extern char io_path[FOLDER_PATH]; /* the folder; in it "file", BYTES of io_content */
extern uint8_t *io_content;

int io_setup(void **state);
int io_teardown(void **state);
uint32_t io_random(uint32_t *seed);

/* Fails the test if it cannot; the order of tickets begins anew. */
hs_io *io_open(const hs_io_config *cfg);
bool io_has_uring(int fd);

ticket *ticket_create(hs_io_class cls, uint64_t offset, uint64_t len);
void ticket_destroy(ticket *t);
/* Its on_done, for callbacks that do more. */
void ticket_done(hs_io_req *req, int result);
/* One to three ranges at random places of the file, wanted or guessed. */
void ticket_aim(ticket *t, uint32_t *seed);
/* Waits for on_done; its result. */
int ticket_wait(ticket *t);
bool ticket_is_done(const ticket *t);
/* Compares what has arrived with the file, up to its end. */
void ticket_check(const ticket *t);

#endif
