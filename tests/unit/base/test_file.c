/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static char dir[] = "/tmp/hotset-file-XXXXXX";
static char path[100];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/f", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    hs_err err = {0};
    char *p = NULL;
    size_t n = 7;
    assert_int_equal(hs_file_write_atomic(path, "a\0b", 3, &err), 0);
    assert_int_equal(hs_file_read(path, 3, &p, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "a\0b", 4);
    hs_free(p);
    assert_int_equal(hs_file_write_atomic(path, "", 0, &err), 0);
    assert_int_equal(hs_file_read(path, 0, &p, NULL, &err), 0);
    assert_string_equal(p, "");
    hs_free(p);
}

static void errors_name_the_path(void **state)
{
    (void)state;
    hs_err err = {0};
    char *p = (char *)1, fifo[120];
    size_t n = 7;
    assert_int_equal(hs_file_write_atomic(path, "12345", 5, &err), 0);
    assert_int_equal(hs_file_read(path, 4, &p, &n, &err), -EFBIG);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(hs_file_read("/nonexistent/x", 4, &p, &n, &err), -ENOENT);
    assert_string_equal(err.text, "/nonexistent/x: No such file or directory");
    assert_int_equal(hs_file_read(dir, 1 << 20, &p, &n, &err), -EINVAL);
    snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(hs_file_read(fifo, 100, &p, &n, &err), -EINVAL); /* and does not wait for a writer */
    unlink(fifo);
    hs_mem_fail_after(0);
    assert_int_equal(hs_file_read(path, 100, &p, &n, &err), -ENOMEM);
    hs_mem_fail_after(-1);
    assert_true(p == (char *)1 && n == 7);
    assert_int_equal(hs_file_write_atomic("/nonexistent/x", "1", 1, &err), -ENOENT);
    char *longer = malloc(5000);
    assert_non_null(longer);
    memset(longer, 'x', 4999);
    longer[4999] = '\0';
    assert_int_equal(hs_file_write_atomic(longer, "1", 1, &err), -ENAMETOOLONG);
    free(longer);
}

/* A full disk: the old file stays, and nothing half-written. */
static void failed_write_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(hs_file_write_atomic(path, "old", 3, NULL), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit lim = {2, 2};
        hs_err err = {0};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &lim);
        _exit(hs_file_write_atomic(path, "newer", 5, &err) == -EFBIG && strstr(err.text, path) ? 0 : 1);
    }
    int status;
    char *p, tmp[120];
    struct stat st;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(hs_file_read(path, 100, &p, NULL, NULL), 0);
    assert_string_equal(p, "old");
    hs_free(p);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    assert_true(stat(tmp, &st) < 0);
}

static void full_transfers(void **state)
{
    (void)state;
    char buf[100] = "x";
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644), p[2];
    assert_true(fd >= 0);
    assert_int_equal(hs_pwrite_full(fd, "hello", 5, 3), 0);
    assert_int_equal(hs_pread_full(fd, buf, 8, 0), 0);
    assert_memory_equal(buf, "\0\0\0hello", 8);
    assert_int_equal(hs_pread_full(fd, buf, 9, 0), -ENODATA);
    assert_int_equal(hs_pread_full(fd, buf, 0, 100), 0);
    close(fd);
    assert_int_equal(hs_pread_full(fd, buf, 1, 0), -EBADF);
    /* Through a pipe, whose writes are short: a reader in another process. */
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    size_t n = 1 << 20, got = 0;
    if (pid == 0) {
        char *big = calloc(1, n);
        close(p[0]);
        _exit(big && hs_write_full(p[1], big, n) == 0 ? 0 : 1);
    }
    close(p[1]);
    for (ssize_t k; (k = read(p[0], buf, sizeof buf)) > 0;)
        got += (size_t)k;
    close(p[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(got, n);
    assert_int_equal(hs_fsync_parent(path), 0);
    assert_int_equal(hs_fsync_parent("/nonexistent/x"), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(errors_name_the_path),
        cmocka_unit_test(failed_write_changes_nothing),
        cmocka_unit_test(full_transfers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
