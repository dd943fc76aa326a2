/* labels: unit fault */
/* test_io.c - reading: the bytes that every engine brings, and how it is set up. */
#include "unit/store/io_fixture.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "unit/store/engines.h"

/* ---- the bytes ---- */

static void read_at_random(hs_io_config *cfg)
{
    enum { N = 48 };
    ticket *t[N];
    hs_io_req *reqs[N];
    struct iovec iov[N];
    uint32_t seed = 3;
    uint64_t bytes = 0, speculative = 0;
    for (uint32_t i = 0; i < N; i++) {
        t[i] = ticket_create(HS_IO_DEMAND, 0, 0);
        ticket_aim(t[i], &seed);
        reqs[i] = &t[i]->req;
        iov[i] = (struct iovec){t[i]->mem, SPACE};
        for (uint32_t k = 0; k < t[i]->req.n_ranges; k++) {
            bytes += t[i]->req.ranges[k].len;
            speculative += t[i]->req.cls == HS_IO_SPECULATIVE ? t[i]->req.ranges[k].len : 0;
        }
    }
    cfg->buffers = iov;
    cfg->n_buffers = N / 2; /* the others land in memory that nobody announced */
    hs_io *io = io_open(cfg);
    for (uint32_t i = 0; i < N / 2; i++)
        hs_io_submit(io, reqs[i]);
    hs_io_submit_many(io, reqs + N / 2, N / 2);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(ticket_wait(t[i]), 0);
        ticket_check(t[i]);
    }
    hs_io_stats s = hs_io_get_stats(io);
    assert_int_equal(s.bytes, bytes);
    assert_int_equal(s.speculative_bytes, speculative);
    assert_int_equal(s.errors, 0);
    assert_true(s.busy_ns > 0);
    assert_true(s.reads >= bytes / SUB);
    hs_io_destroy(&io);
    assert_null(io);
    for (uint32_t i = 0; i < N; i++)
        ticket_destroy(t[i]);
}

static void every_engine_reads_what_was_asked(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    bool uring = io_has_uring(fd);
    for (int i = 0; i < 4; i++) {
        hs_io_config cfg = {.engine = i / 2 ? HS_IO_PREAD : HS_IO_URING,
                            .buffered = i % 2,
                            .read_size = SUB,
                            .in_flight = 8 * SUB,
                            .fds = &fd,
                            .n_fds = 1};
        if (cfg.engine == HS_IO_URING && !uring)
            continue;
        read_at_random(&cfg);
        assert_true(!cfg.buffered || !(fcntl(fd, F_GETFL) & O_DIRECT));
    }
    close(fd);
}

static void auto_finds_an_engine_and_names_it(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    hs_io_config cfg = {.fds = &fd, .n_fds = 1};
    hs_io *io = io_open(&cfg);
    assert_string_equal(hs_io_engine_name(io), io_has_uring(fd) ? "io_uring" : "pread");
    assert_true(hs_io_is_direct(io) == !!(fcntl(fd, F_GETFL) & O_DIRECT));
    hs_io_destroy(&io);
    hs_io_destroy(&io);
    cfg.buffered = true;
    cfg.engine = HS_IO_PREAD;
    io = io_open(&cfg);
    assert_string_equal(hs_io_engine_name(io), "pread");
    assert_false(hs_io_is_direct(io));
    hs_io_destroy(&io);
    close(fd);
}

static void the_file_ends_where_it_ends(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .read_size = SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_open(&cfg);
        static const struct {
            uint64_t offset, len;
            uint32_t file;
            int result;
        } cases[] = {
            {BYTES - TAIL, 4096, 0, 0},
            {BYTES - TAIL - 65536, 65536 + 4096, 0, 0},
            {BYTES - TAIL, 8192, 0, -ENODATA},
            {BYTES - TAIL + 4096, 4096, 0, -ENODATA},
            {1ull << 40, 4096, 0, -ENODATA},
            {UINT64_MAX - 4095, 4096, 0, -EINVAL},
            {512, 4096, 0, -EINVAL},
            {0, 512, 0, -EINVAL},
            {0, 0, 0, -EINVAL},
            {0, 4096, 1, -EINVAL},
            {4096, UINT64_MAX - 8191, 0, -ENODATA},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ticket *t = ticket_create(HS_IO_DEMAND, cases[i].offset, cases[i].len);
            t->req.ranges[0].file = cases[i].file;
            hs_io_submit(io, &t->req);
            assert_int_equal(ticket_wait(t), cases[i].result);
            if (!cases[i].result)
                ticket_check(t);
            ticket_destroy(t);
        }
        ticket *t = ticket_create(HS_IO_DEMAND, 0, 4096);
        t->req.n_ranges = 0;
        hs_io_submit(io, &t->req);
        assert_int_equal(ticket_wait(t), -EINVAL);
        ticket_destroy(t);
        hs_io_destroy(&io);
    }
    close(fd);
}

static void a_file_cut_meanwhile_fails_that_request_only(void **state)
{
    (void)state;
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        folder_write(io_path, "cut", io_content, BYTES);
        int fd = folder_open(io_path, "cut", O_RDWR);
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .read_size = SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_open(&cfg);
        assert_int_equal(ftruncate(fd, 100000), 0);
        ticket *ok = ticket_create(HS_IO_DEMAND, 0, 65536), *bad = ticket_create(HS_IO_DEMAND, 65536, 65536);
        hs_io_submit(io, &bad->req);
        hs_io_submit(io, &ok->req);
        assert_int_equal(ticket_wait(bad), -ENODATA);
        assert_int_equal(ticket_wait(ok), 0);
        ticket_check(ok);
        assert_int_equal(hs_io_get_stats(io).errors, 1);
        hs_io_destroy(&io);
        ticket_destroy(ok);
        ticket_destroy(bad);
        close(fd);
    }
}

/* ---- set-up ---- */

static void a_throttled_drive_is_no_faster_than_said(void **state)
{
    (void)state;
    throttle_engine speed = {.bytes_per_s = 50000000, .latency_ns = 1000000};
    int fd = folder_open(io_path, "file", O_RDONLY);
    hs_io_config cfg = {.custom = &throttle_engine_ops,
                        .custom_ctx = &speed,
                        .read_size = SUB,
                        .in_flight = 4 * SUB,
                        .fds = &fd,
                        .n_fds = 1};
    hs_io *io = io_open(&cfg);
    assert_string_equal(hs_io_engine_name(io), "throttle");
    ticket *t = ticket_create(HS_IO_DEMAND, 0, 32 * SUB);
    hs_io_submit(io, &t->req);
    assert_int_equal(ticket_wait(t), 0);
    ticket_check(t);
    hs_io_stats s = hs_io_get_stats(io);
    assert_true((double)s.bytes / (double)s.busy_ns * 1e9 <= 50000000.0);
    hs_io_destroy(&io);
    ticket_destroy(t);
    close(fd);
}

static void refused(const hs_io_config *cfg, int result, const char *part)
{
    hs_io *io = NULL;
    hs_err err = {0};
    assert_int_equal(hs_io_create(cfg, &io, &err), result);
    assert_null(io);
    if (!strstr(err.text, part))
        fail_msg("'%s' is not in: %s", part, err.text);
}

static void bad_settings_are_refused_by_name(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY), closed = 100000;
    hs_io_config cfg = {.fds = &fd, .n_fds = 1, .read_size = 5000};
    refused(&cfg, -EINVAL, "io.read_size");
    cfg.read_size = 128u << 20;
    refused(&cfg, -EINVAL, "io.read_size");
    cfg.read_size = 0;
    cfg.in_flight = 100;
    refused(&cfg, -EINVAL, "io.in_flight");
    cfg.in_flight = UINT64_MAX;
    refused(&cfg, -EINVAL, "io.in_flight");
    cfg.in_flight = 0;
    cfg.fds = &closed;
    refused(&cfg, -EBADF, "file 0");
    cfg.fds = &fd;
    fault_engine *e = fault_engine_create(false);
    fault_engine_arm(e, &(fault_order){.kind = FAULT_ERRNO, .error = EPERM});
    cfg.custom = &fault_engine_ops;
    cfg.custom_ctx = e;
    refused(&cfg, -EPERM, "as ordered");
    fault_engine_destroy(&e);
    close(fd);
}

/* In a process that may not use io_uring, as in many containers: 0, or the number of the check that failed. */
static int read_where_uring_is_denied(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
        return 77;
    hs_io *io = NULL;
    hs_err err = {0};
    hs_io_config cfg = {.engine = HS_IO_URING, .fds = &fd, .n_fds = 1};
    if (hs_io_create(&cfg, &io, &err) != -EPERM || io || !strstr(err.text, "io_uring is refused here"))
        return 1;
    cfg.engine = HS_IO_AUTO;
    if (hs_io_create(&cfg, &io, NULL) < 0 || strcmp(hs_io_engine_name(io), "pread"))
        return 2;
    ticket *t = ticket_create(HS_IO_DEMAND, 0, 8 * SUB);
    hs_io_submit(io, &t->req);
    int r = ticket_wait(t) < 0 || memcmp(t->mem, io_content, 8 * SUB) ? 3 : 0;
    hs_io_destroy(&io);
    ticket_destroy(t);
    return r;
}

static void where_uring_is_denied_auto_takes_pread(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY), status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(read_where_uring_is_denied(fd));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        print_message("no seccomp filters here: not tried\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    close(fd);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine++) {
        if (engine == HS_IO_URING && !io_has_uring(fd))
            continue;
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .fds = &fd, .n_fds = 1};
        int r = -1;
        for (int64_t n = 0; r < 0; n++) {
            hs_io *io = NULL;
            hs_err err = {0};
            hs_mem_fail_after(n);
            r = hs_io_create(&cfg, &io, &err);
            hs_mem_fail_after(-1);
            assert_true(r == 0 || err.text[0]);
            hs_io_destroy(&io);
            assert_true(n < 100);
        }
    }
    close(fd);
}

static void reading_does_not_allocate(void **state)
{
    (void)state;
    int fd = folder_open(io_path, "file", O_RDONLY);
    for (int engine = HS_IO_AUTO; engine <= HS_IO_PREAD; engine += HS_IO_PREAD) {
        hs_io_config cfg = {.engine = (hs_io_engine_kind)engine, .read_size = SUB, .fds = &fd, .n_fds = 1};
        hs_io *io = io_open(&cfg);
        ticket *t = ticket_create(HS_IO_DEMAND, 0, 32 * SUB);
        hs_mem_fail_after(0);
        hs_io_submit(io, &t->req);
        assert_int_equal(ticket_wait(t), 0);
        assert_int_equal(hs_mem_count(), 0);
        hs_mem_fail_after(-1);
        hs_io_destroy(&io);
        ticket_destroy(t);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_engine_reads_what_was_asked),
        cmocka_unit_test(auto_finds_an_engine_and_names_it),
        cmocka_unit_test(the_file_ends_where_it_ends),
        cmocka_unit_test(a_file_cut_meanwhile_fails_that_request_only),
        cmocka_unit_test(a_throttled_drive_is_no_faster_than_said),
        cmocka_unit_test(bad_settings_are_refused_by_name),
        cmocka_unit_test(where_uring_is_denied_auto_takes_pread),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(reading_does_not_allocate),
    };
    return cmocka_run_group_tests(tests, io_setup, io_teardown);
}
