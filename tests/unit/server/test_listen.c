/* labels: unit */
/* test_listen.c - addresses, sockets made, found in the way, and inherited. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/server_int.h"

static char dir[64], path[100];
static hs_err err;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hs-listen-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    err = (hs_err){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static hs__address parse(const char *text)
{
    hs__address a;
    if (hs__address_parse(text, strlen(text), &a, &err) < 0)
        fail_msg("%s", err.text);
    return a;
}

static void refused(const char *text, const char *part)
{
    hs__address a;
    assert_true(hs__address_parse(text, strlen(text), &a, &err) < 0);
    if (!strstr(err.text, part))
        fail_msg("%s: %s", text, err.text);
}

static void test_addresses(void **state)
{
    (void)state;
    assert_string_equal(parse("unix:/a/b").text, "unix:/a/b");
    hs__address a = parse("tcp:127.0.0.1:8080");
    assert_true(a.is_tcp && a.is_loopback);
    assert_string_equal(parse("tcp:localhost:1").text, "tcp:127.0.0.1:1");
    assert_string_equal(parse("tcp:localhost:65535").text, "tcp:127.0.0.1:65535");
    assert_string_equal(parse("tcp:[::1]:9").text, "tcp:[::1]:9");
    assert_true(parse("tcp:[::1]:9").is_loopback);
    assert_true(parse("tcp:127.9.9.9:1").is_loopback);
    assert_false(parse("tcp:0.0.0.0:1").is_loopback);
    assert_false(parse("tcp:[::]:1").is_loopback);
    refused("/a", "expected unix:PATH");
    refused("unix:", "expected unix:PATH");
    refused("unix:a/b", "begin with /");
    refused("tcp:1.2.3.4", "ADDRESS:PORT");
    refused("tcp:example.org:80", "not looked up");
    refused("tcp:1.2.3.4:65536", "ADDRESS:PORT");
    refused("tcp:[::1:80", "not an IP address");
    char longest[200];
    snprintf(longest, sizeof longest, "unix:/%0106d", 1);
    assert_int_equal(strlen(parse(longest).path), 107);
    snprintf(longest, sizeof longest, "unix:/%0107d", 1);
    refused(longest, "has 108 bytes, 107 are possible");
}

static void test_loopback_names(void **state)
{
    (void)state;
    static const char *const yes[] = {"localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:1", "[::1]:5", "[::1]"};
    static const char *const no[] = {
        "",      "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
        "[::2]", "[::1",         "localhost:port",         "localhost:80:80"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(hs__host_is_loopback(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(hs__host_is_loopback(no[i]));
    assert_true(hs__origin_is_loopback("http://localhost:3000"));
    assert_false(hs__origin_is_loopback("http://evil.example"));
    assert_false(hs__origin_is_loopback("null"));
    assert_false(hs__origin_is_loopback("file://"));
}

static int open_unix(uint32_t mode, const char *group, int *fd)
{
    char text[128];
    snprintf(text, sizeof text, "unix:%s", path);
    hs__address a = parse(text);
    return hs__listen_fd(&a, mode, group, fd, &err);
}

static void test_mode(void **state)
{
    (void)state;
    static const uint32_t modes[] = {0600, 0660, 0666};
    mode_t old = umask(0077);
    for (int i = 0; i < 3; i++) {
        int fd;
        struct stat st;
        assert_int_equal(open_unix(modes[i], NULL, &fd), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, modes[i]);
        close(fd);
        unlink(path);
    }
    umask(old);
    int fd;
    char gid[20];
    snprintf(gid, sizeof gid, "%u", (unsigned)getgid());
    assert_int_equal(open_unix(0660, gid, &fd), 0);
    close(fd);
    unlink(path);
    assert_true(open_unix(0660, "no-such-group-here", &fd) < 0);
    assert_non_null(strstr(err.text, "no-such-group-here"));
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_stale(void **state)
{
    (void)state;
    int first, second;
    assert_int_equal(open_unix(0600, NULL, &first), 0);
    assert_int_equal(open_unix(0600, NULL, &second), -EADDRINUSE);
    assert_non_null(strstr(err.text, "already"));
    close(first); /* the file stays, nobody serves it */
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(open_unix(0600, NULL, &second), 0);
    close(second);
}

static void test_in_the_way(void **state)
{
    (void)state;
    int fd = open(path, O_CREAT | O_WRONLY, 0600), ignored;
    close(fd);
    assert_int_equal(open_unix(0600, NULL, &ignored), -EEXIST);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    char text[160];
    snprintf(text, sizeof text, "unix:%s/no/s", dir);
    hs__address a = parse(text);
    assert_int_equal(hs__listen_fd(&a, 0600, NULL, &ignored, &err), -ENOENT);
    assert_non_null(strstr(err.text, "make its folder first"));
}

static void test_tcp_port(void **state)
{
    (void)state;
    hs__address a = parse("tcp:127.0.0.1:0"), real;
    int fd;
    assert_int_equal(hs__listen_fd(&a, 0, NULL, &fd, &err), 0);
    assert_int_equal(hs__address_of_fd(fd, &real, &err), 0);
    assert_true(real.is_tcp && real.is_loopback);
    assert_string_not_equal(real.text, "tcp:127.0.0.1:0");
    close(fd);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(hs__address_of_fd(pair[0], &real, &err), -EINVAL);
    close(pair[0]);
    close(pair[1]);
}

static void test_listen_fds(void **state)
{
    (void)state;
    uint32_t n = 7;
    hs_service_env e = {0};
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), 0);
    assert_int_equal(n, 0);
    e = (hs_service_env){.listen_pid = "4", .listen_fds = "1"};
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), 0);
    assert_int_equal(n, 0);
    e.listen_pid = "x";
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), -EINVAL);
    e.listen_pid = "5";
    e.listen_fds = "17";
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), -EINVAL);
    e.listen_fds = "-1";
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), -EINVAL);
    int fd = dup2(STDERR_FILENO, HS__LISTEN_FDS_START);
    e.listen_fds = "1";
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    assert_int_equal(hs__listen_fds(&e, 5, &n, &err), -EBADF);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_addresses),  T(test_loopback_names), T(test_mode),       T(test_stale),
        T(test_in_the_way), T(test_tcp_port),       T(test_listen_fds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
