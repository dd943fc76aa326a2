/* labels: unit fault */
/* test_io_order.c - reading: what goes first, what cancel and promote do, and what happens when a read goes wrong. */
#include "unit/store/io_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "unit/store/engines.h"

/* ---- faults ---- */

static hs_io *faulty(fault_engine *e, int *fd, uint32_t read_size, uint32_t in_flight)
{
    *fd = folder_open(io_path, "file", O_RDONLY);
    hs_io_config cfg = {.custom = &fault_engine_ops,
                        .custom_ctx = e,
                        .buffered = true,
                        .read_size = read_size,
                        .in_flight = in_flight,
                        .fds = fd,
                        .n_fds = 1};
    return io_open(&cfg);
}

/* Three requests of four sub-reads each under that order; returns how many requests failed. */
static int three_requests(fault_order order, int *ret_result)
{
    fault_engine *e = fault_engine_create(false);
    int fd, failed = 0;
    fault_engine_arm(e, &order);
    hs_io *io = faulty(e, &fd, SUB, 4 * SUB);
    ticket *t[3];
    for (uint32_t i = 0; i < 3; i++) {
        t[i] = ticket_create(HS_IO_DEMAND, i * 4 * SUB, 4 * SUB);
        hs_io_submit(io, &t[i]->req);
    }
    for (uint32_t i = 0; i < 3; i++) {
        int r = ticket_wait(t[i]);
        failed += r < 0;
        if (r < 0)
            *ret_result = r;
        else if (order.kind != FAULT_CORRUPT)
            ticket_check(t[i]);
    }
    assert_int_equal(hs_io_get_stats(io).errors, failed);
    hs_io_destroy(&io);
    close(fd);
    for (uint32_t i = 0; i < 3; i++)
        ticket_destroy(t[i]);
    fault_engine_destroy(&e);
    return failed;
}

static void the_nth_read_failing_fails_one_request(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 12; n++) {
        int r = 0;
        assert_int_equal(three_requests((fault_order){.kind = FAULT_ERRNO, .first = n, .error = EIO}, &r), 1);
        assert_int_equal(r, -EIO);
    }
}

static void short_late_and_interrupted_reads_are_carried_on(void **state)
{
    (void)state;
    int r = 0;
    for (uint64_t n = 1; n <= 12; n++) {
        assert_int_equal(three_requests((fault_order){.kind = FAULT_SHORT, .first = n, .short_bytes = 4096}, &r), 0);
        assert_int_equal(
            three_requests((fault_order){.kind = FAULT_SHORT, .first = n, .times = 3, .short_bytes = 5000}, &r), 0);
        assert_int_equal(
            three_requests((fault_order){.kind = FAULT_SHORT, .first = n, .times = 5, .short_bytes = 100}, &r),
            0); /* no whole block: once more */
        assert_int_equal(three_requests((fault_order){.kind = FAULT_ERRNO, .first = n, .times = 3, .error = EINTR}, &r),
                         0);
        assert_int_equal(
            three_requests((fault_order){.kind = FAULT_ERRNO, .first = n, .times = 20, .error = EAGAIN}, &r), 0);
        assert_int_equal(three_requests((fault_order){.kind = FAULT_LATE, .first = n}, &r), 0);
        assert_int_equal(three_requests((fault_order){.kind = FAULT_CORRUPT, .first = n}, &r),
                         0); /* io has no checksums */
    }
}

static void what_never_gets_better_fails_in_the_end(void **state)
{
    (void)state;
    int r = 0;
    assert_int_equal(
        three_requests((fault_order){.kind = FAULT_ERRNO, .first = 1, .times = UINT64_MAX, .error = EAGAIN}, &r), 3);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(
        three_requests((fault_order){.kind = FAULT_SHORT, .first = 1, .times = UINT64_MAX, .short_bytes = 100}, &r), 3);
    assert_int_equal(r, -EIO);
    assert_int_equal(three_requests((fault_order){.kind = FAULT_SHORT, .first = 1, .times = UINT64_MAX}, &r), 3);
    assert_int_equal(r, -ENODATA);
    assert_int_equal(
        three_requests((fault_order){.kind = FAULT_ERRNO, .first = 1, .times = UINT64_MAX, .error = EINVAL}, &r), 3);
    assert_int_equal(r, -EINVAL);
}

static void a_refused_direct_read_goes_through_the_page_cache(void **state)
{
    (void)state;
    fault_engine *e = fault_engine_create(false);
    /* All four that are issued at once. */
    fault_engine_arm(e, &(fault_order){.kind = FAULT_ERRNO, .first = 1, .times = 4, .error = EINVAL});
    int fd = folder_open(io_path, "file", O_RDONLY);
    hs_io_config cfg = {
        .custom = &fault_engine_ops, .custom_ctx = e, .read_size = SUB, .in_flight = 4 * SUB, .fds = &fd, .n_fds = 1};
    hs_io *io = io_open(&cfg);
    bool was_direct = hs_io_is_direct(io);
    ticket *t = ticket_create(HS_IO_DEMAND, 0, 8 * SUB);
    hs_io_submit(io, &t->req);
    assert_int_equal(ticket_wait(t), 0);
    ticket_check(t);
    assert_true(!was_direct || !(fcntl(fd, F_GETFL) & O_DIRECT));
    assert_false(hs_io_is_direct(io));
    hs_io_destroy(&io);
    ticket_destroy(t);
    fault_engine_destroy(&e);
    close(fd);
}

/* ---- order ---- */

/* Sub-read k of the log belongs to the request that began at offset. */
static void issued(fault_engine *e, uint32_t k, uint64_t offset)
{
    assert_int_equal(fault_engine_read(e, k).offset, offset);
}

#define A 0u
#define B (32u * SUB)
#define C (48u * SUB)

static void demand_goes_first_and_guesses_fill_a_quarter(void **state)
{
    (void)state;
    fault_engine *e = fault_engine_create(true);
    int fd;
    hs_io *io = faulty(e, &fd, SUB, 8 * SUB);
    ticket *a = ticket_create(HS_IO_SPECULATIVE, A, 8 * SUB), *b = ticket_create(HS_IO_DEMAND, B, 8 * SUB);
    hs_io_submit(io, &a->req);
    fault_engine_await(e, 2); /* a quarter of what may be under way */
    hs_io_submit(io, &b->req);
    fault_engine_await(e, 8);
    for (uint32_t k = 2; k < 8; k++)
        issued(e, k, B + (k - 2) * SUB);
    for (uint32_t k = 8; k < 10; k++) {
        fault_engine_let(e, 1);
        fault_engine_await(e, k + 1);
        issued(e, k, B + (k - 2) * SUB); /* the rest of B before the rest of A */
    }
    fault_engine_let(e, 6); /* two reads of B are left: still a quarter, so A must wait */
    while (hs_io_get_stats(io).reads < 8)
        sched_yield();
    ticket *c = ticket_create(HS_IO_DEMAND, C, SUB);
    hs_io_submit(io, &c->req);
    fault_engine_await(e, 11);
    issued(e, 10, C);
    fault_engine_let(e, 2);
    fault_engine_await(e, 12);
    issued(e, 11, A + 2 * SUB);
    fault_engine_let(e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), 0);
    assert_int_equal(ticket_wait(b), 0);
    assert_int_equal(ticket_wait(c), 0);
    assert_true(b->order < a->order);
    ticket_check(a);
    ticket_check(b);
    assert_int_equal(hs_io_get_stats(io).speculative_bytes, 8 * SUB);
    hs_io_destroy(&io);
    ticket_destroy(c);
    ticket_destroy(a);
    ticket_destroy(b);
    fault_engine_destroy(&e);
    close(fd);
}

static void a_promoted_guess_is_a_demand(void **state)
{
    (void)state;
    fault_engine *e = fault_engine_create(true);
    int fd;
    hs_io *io = faulty(e, &fd, SUB, 8 * SUB);
    ticket *a = ticket_create(HS_IO_SPECULATIVE, A, 4 * SUB), *b = ticket_create(HS_IO_SPECULATIVE, B, 3 * SUB);
    hs_io_submit(io, &a->req);
    hs_io_submit(io, &b->req);
    fault_engine_await(e, 2);
    issued(e, 1, A + SUB);
    hs_io_promote(io, &b->req);
    fault_engine_await(e, 5); /* the other three quarters are open to it */
    for (uint32_t k = 2; k < 5; k++)
        issued(e, k, B + (k - 2) * SUB);
    hs_io_promote(io, &a->req);
    fault_engine_await(e, 7);
    issued(e, 5, A + 2 * SUB);
    fault_engine_let(e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), 0);
    assert_int_equal(ticket_wait(b), 0);
    hs_io_promote(io, &a->req); /* no effect after on_done */
    hs_io_cancel(io, &a->req);
    ticket_check(a);
    ticket_check(b);
    assert_int_equal(hs_io_get_stats(io).speculative_bytes, 0);
    hs_io_destroy(&io);
    ticket_destroy(a);
    ticket_destroy(b);
    fault_engine_destroy(&e);
    close(fd);
}

static void cancel_drops_what_was_not_issued(void **state)
{
    (void)state;
    fault_engine *e = fault_engine_create(true);
    int fd;
    hs_io *io = faulty(e, &fd, SUB, 8 * SUB);
    ticket *a = ticket_create(HS_IO_SPECULATIVE, A, 8 * SUB), *b = ticket_create(HS_IO_SPECULATIVE, B, 8 * SUB);
    hs_io_submit(io, &a->req);
    hs_io_submit(io, &b->req);
    fault_engine_await(e, 2);
    hs_io_cancel(io, &b->req); /* nothing of it is under way: it ends without any read ending */
    assert_int_equal(ticket_wait(b), -ECANCELED);
    hs_io_cancel(io, &a->req); /* two sub-reads are */
    fault_engine_let(e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), -ECANCELED);
    assert_int_equal(a->progress, 2 * SUB);
    assert_int_equal(fault_engine_issued(e), 2);
    ticket *c = ticket_create(HS_IO_DEMAND, C, 2 * SUB);
    hs_io_submit(io, &c->req);
    assert_int_equal(ticket_wait(c), 0);
    ticket_check(c);
    hs_io_stats s = hs_io_get_stats(io);
    assert_int_equal(s.errors, 0);
    assert_int_equal(s.bytes, 4 * SUB);
    assert_int_equal(s.speculative_bytes, 2 * SUB);
    hs_io_destroy(&io);
    ticket_destroy(a);
    ticket_destroy(b);
    ticket_destroy(c);
    fault_engine_destroy(&e);
    close(fd);
}

static void cancel_comes_too_late_for_what_is_all_issued(void **state)
{
    (void)state;
    fault_engine *e = fault_engine_create(true);
    int fd;
    hs_io *io = faulty(e, &fd, SUB, 4 * SUB);
    ticket *a = ticket_create(HS_IO_DEMAND, A, 4 * SUB);
    hs_io_submit(io, &a->req);
    fault_engine_await(e, 4);
    hs_io_cancel(io, &a->req);
    fault_engine_let(e, UINT64_MAX);
    assert_int_equal(ticket_wait(a), 0);
    ticket_check(a);
    hs_io_destroy(&io);
    ticket_destroy(a);
    fault_engine_destroy(&e);
    close(fd);
}

static void destroy_waits_for_reads_and_cancels_the_rest(void **state)
{
    (void)state;
    fault_engine *e = fault_engine_create(true);
    int fd;
    hs_io *io = faulty(e, &fd, SUB, 4 * SUB);
    ticket *t[4];
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = ticket_create(i % 2 ? HS_IO_SPECULATIVE : HS_IO_DEMAND, i * 4 * SUB, 3 * SUB);
        hs_io_submit(io, &t[i]->req);
    }
    fault_engine_await(e, 4);
    fault_engine_let(e, UINT64_MAX);
    hs_io_destroy(&io);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(t[i]->done);
        assert_true(t[i]->result == 0 || t[i]->result == -ECANCELED);
        if (t[i]->result == 0)
            ticket_check(t[i]);
        ticket_destroy(t[i]);
    }
    fault_engine_destroy(&e);
    close(fd);
}

/* ---- many threads ---- */

typedef struct user {
    hs_io *io;
    uint32_t seed, rounds;
} user;

static void *submit_promote_cancel(void *arg)
{
    enum { N = 8 };
    user *u = arg;
    ticket *t[N];
    for (uint32_t i = 0; i < N; i++)
        t[i] = ticket_create(HS_IO_DEMAND, 0, 0);
    for (uint32_t k = 0; k < u->rounds; k++) {
        for (uint32_t i = 0; i < N; i++) {
            t[i]->progress = 0;
            t[i]->done = false;
            ticket_aim(t[i], &u->seed);
            hs_io_submit(u->io, &t[i]->req);
        }
        for (uint32_t i = 0; i < N; i++) {
            uint32_t what = io_random(&u->seed) % 4;
            if (what == 0)
                hs_io_cancel(u->io, &t[i]->req);
            else if (what == 1)
                hs_io_promote(u->io, &t[i]->req);
        }
        for (uint32_t i = 0; i < N; i++)
            if (ticket_wait(t[i]) == 0)
                ticket_check(t[i]);
            else
                assert_int_equal(t[i]->result, -ECANCELED);
    }
    for (uint32_t i = 0; i < N; i++)
        ticket_destroy(t[i]);
    return NULL;
}

static void many_threads_may_ask_at_once(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        hs_io_config cfg = {
            .engine = (hs_io_engine_kind)engine, .read_size = SUB, .in_flight = 6 * SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_open(&cfg);
        user u[3];
        pthread_t threads[3];
        for (uint32_t i = 0; i < 3; i++) {
            u[i] = (user){io, i + 1, 40};
            assert_int_equal(pthread_create(&threads[i], NULL, submit_promote_cancel, &u[i]), 0);
        }
        for (uint32_t i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(hs_io_get_stats(io).errors, 0);
        hs_io_destroy(&io);
    }
    close(fd);
}

typedef struct chain {
    ticket *t;
    hs_io *io;
    uint32_t left;
} chain;

static void again(hs_io_req *req, int result)
{
    chain *c = req->user;
    assert_int_equal(result, 0);
    if (c->left-- > 1) {
        req->ranges[0].offset = (req->ranges[0].offset + 5 * SUB) % (16 * SUB);
        c->t->progress = 0;
        hs_io_submit(c->io, req);
    } else {
        ticket_done(req, result);
    }
}

static void a_request_may_be_submitted_again_from_on_done(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    hs_io_config cfg = {.read_size = SUB, .fds = &fd, .n_fds = 1};
    hs_io *io = io_open(&cfg);
    chain c = {ticket_create(HS_IO_DEMAND, 0, 3 * SUB), io, 100};
    c.t->req.user = &c;
    c.t->req.on_done = again;
    hs_io_submit(io, &c.t->req);
    assert_int_equal(ticket_wait(c.t), 0);
    ticket_check(c.t);
    hs_io_destroy(&io);
    ticket_destroy(c.t);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_read_failing_fails_one_request),
        cmocka_unit_test(short_late_and_interrupted_reads_are_carried_on),
        cmocka_unit_test(what_never_gets_better_fails_in_the_end),
        cmocka_unit_test(a_refused_direct_read_goes_through_the_page_cache),
        cmocka_unit_test(demand_goes_first_and_guesses_fill_a_quarter),
        cmocka_unit_test(a_promoted_guess_is_a_demand),
        cmocka_unit_test(cancel_drops_what_was_not_issued),
        cmocka_unit_test(cancel_comes_too_late_for_what_is_all_issued),
        cmocka_unit_test(destroy_waits_for_reads_and_cancels_the_rest),
        cmocka_unit_test(many_threads_may_ask_at_once),
        cmocka_unit_test(a_request_may_be_submitted_again_from_on_done),
    };
    return cmocka_run_group_tests(tests, io_setup, io_teardown);
}
