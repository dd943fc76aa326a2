/* labels: unit */
/* test_access.c - who is let in over TCP, time limits of connections, and sockets that somebody else opened. */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/server_int.h"

static harness H;
static hs_server_options O;
static fake_options F;
static hs_buf B;
static char key_file[100];

static int prepare(void **state)
{
    (void)state;
    O = harness_options(&H);
    F = harness_fake();
    hs_buf_init(&B, 1 << 20);
    snprintf(key_file, sizeof key_file, "%s/keys", H.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(key_file);
    harness_end(&H);
    hs_buf_deinit(&B);
    return 0;
}

static void write_keys(const char *text)
{
    FILE *f = fopen(key_file, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(key_file, 0600);
}

/* The status of a GET over TCP with these header lines. */
static int get(uint16_t port, const char *path, const char *headers)
{
    int fd = harness_connect_tcp(port), status = 0;
    char *request = hs_asprintf("GET %s HTTP/1.1\r\n%sConnection: close\r\n\r\n", path, headers);
    hs_buf_clear(&B);
    send_text(fd, request);
    read_to_end(fd, &B);
    hs_free(request);
    close(fd);
    assert_int_equal(sscanf(B.data, "HTTP/1.1 %d", &status), 1);
    return status;
}

static uint16_t port_of(size_t i)
{
    const char *a = hs_server_address(H.server, i);
    assert_non_null(a);
    return (uint16_t)atoi(strrchr(a, ':') + 1);
}

static void test_host_and_origin(void **state)
{
    (void)state;
    O.listen = "tcp:127.0.0.1:0";
    harness_start(&H, &O, &F, false);
    uint16_t port = port_of(0);
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\n"), 200);
    assert_int_equal(get(port, "/v1/models", "Host: 127.0.0.1:8080\r\n"), 200);
    assert_int_equal(get(port, "/v1/models", "Host: evil.example\r\n"), 403);
    assert_has(&B, "permission_error");
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\nOrigin: http://evil.example\r\n"), 403);
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\nOrigin: null\r\n"), 403);
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\nOrigin: http://localhost:3000\r\n"), 200);
    assert_int_equal(get(port, "/health", "Host: evil.example\r\n"), 403);
}

static void test_keys(void **state)
{
    (void)state;
    char listen[300];
    write_keys("# comment\n\nsesame-open\n  second-key-1  \n");
    snprintf(listen, sizeof listen, "%s tcp:127.0.0.1:0", H.address);
    O.listen = listen;
    O.api_key_file = key_file;
    harness_start(&H, &O, &F, false);
    uint16_t port = port_of(1);
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\n"), 401);
    assert_has(&B, "invalid_api_key");
    assert_has(&B, "WWW-Authenticate: Bearer");
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\nAuthorization: Bearer sesame-open\r\n"), 200);
    assert_int_equal(get(port, "/v1/models", "Host: localhost\r\nAuthorization: bearer second-key-1\r\n"), 200);
    static const char *const wrong[] = {
        "Bearer sesame-opem", "Bearer sesame-ope", "Bearer sesame-open ", "Bearer ",
        "Bearer # comment",   "Basic sesame-open", "sesame-open",         "Bearer sesame-openx"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char header[100];
        snprintf(header, sizeof header, "Host: localhost\r\nAuthorization: %s\r\n", wrong[i]);
        /* Blanks at a field's end do not belong to it. */
        assert_int_equal(get(port, "/v1/models", header), wrong[i][strlen(wrong[i]) - 1] == ' ' && i == 2 ? 200 : 401);
    }
    assert_int_equal(
        get(port, "/v1/models",
            "Host: localhost\r\nAuthorization: Bearer sesame-open\r\nAuthorization: Bearer sesame-open\r\n"),
        401); /* which of them counts? */
    assert_int_equal(get(port, "/health", "Host: localhost\r\n"), 200);
    ask(&H, "GET /v1/models HTTP/1.1\r\nHost: anything\r\n\r\n", &B);
    assert_has(&B, "200 OK");
}

static void test_key_files(void **state)
{
    (void)state;
    hs__keys k;
    hs_err err = {0};
    assert_true(hs__keys_load("/nowhere/keys", &k, &err) < 0);
    assert_non_null(strstr(err.text, "/nowhere/keys"));
    write_keys("# nothing\n");
    assert_int_equal(hs__keys_load(key_file, &k, &err), -EINVAL);
    write_keys("long-enough\nshort\n");
    assert_int_equal(hs__keys_load(key_file, &k, &err), -EINVAL);
    assert_non_null(strstr(err.text, ":2:"));
    char keys[500];
    for (int longer = 0; longer < 2; longer++) {
        snprintf(keys, sizeof keys, "%0*d\n", 400 + longer, 7);
        write_keys(keys);
        assert_int_equal(hs__keys_load(key_file, &k, &err), longer ? -EINVAL : 0);
        if (!longer)
            hs__keys_free(&k);
    }
    write_keys("no-line-end-here");
    assert_int_equal(hs__keys_load(key_file, &k, &err), 0);
    assert_true(hs__keys_match(&k, "Bearer no-line-end-here"));
    assert_false(hs__keys_match(&k, "Bearer"));
    hs__keys_free(&k);
    unlink(key_file);
    rmdir(H.dir);
    hs_buf_deinit(&B);
}

static void test_idle(void **state)
{
    (void)state;
    O.idle_timeout_s = 1;
    harness_start(&H, &O, &F, false);
    int idle = harness_connect(&H), late = harness_connect(&H);
    send_text(late, "GET /health HTTP/1.1\r\nHo");
    read_to_end(idle, &B);
    assert_int_equal(B.len, 0);
    read_to_end(late, &B);
    assert_has(&B, "408 Request Timeout");
    close(idle);
    close(late);
}

/* A client that takes nothing of its answer for idle_timeout is given up, and its request with it. */
static void test_stalled_reader(void **state)
{
    (void)state;
    O.idle_timeout_s = 1;
    F.step_us = 5;
    harness_start(&H, &O, &F, false);
    int fd = harness_connect(&H);
    char *request = post("/v1/completions", "{\"stream\":true,\"prompt\":\"ENDLESS\",\"max_tokens\":1000}", NULL);
    send_text(fd, request);
    wait_active(&H, 1);
    wait_active(&H, 0);
    hs_free(request);
    close(fd);
}

/* One that takes something between any two ticks, but never all of it, is given up after the same time in all. */
static void test_trickling_reader(void **state)
{
    (void)state;
    O.idle_timeout_s = 1;
    F.step_us = 5;
    harness_start(&H, &O, &F, false);
    int fd = harness_connect(&H);
    char *request = post("/v1/completions", "{\"stream\":true,\"prompt\":\"FLOOD\",\"max_tokens\":1000}", NULL);
    send_text(fd, request);
    wait_active(&H, 1);
    struct pollfd p = {.fd = fd};
    char some[32768];
    size_t n = 9000;
    for (int i = 0, unread = 0; i < 6000 && !(p.revents & POLLHUP); i++, n = 9000 + n * 7 % 20011) {
        if (ioctl(fd, FIONREAD, &unread) == 0 && (size_t)unread > 2 * n) /* however slow the server is */
            (void)!recv(fd, some, n, 0);
        poll(&p, 1, 15);
    }
    assert_true(p.revents & POLLHUP);
    wait_active(&H, 0);
    hs_free(request);
    close(fd);
}

/* Over TCP all connections of a machine are one client; it is none of the processes. */
static void test_tcp_client(void **state)
{
    (void)state;
    O.listen = "tcp:127.0.0.1:0";
    harness_start(&H, &O, &F, false);
    uint64_t client[2];
    static const char request[] = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                  "Content-Length: 15\r\n\r\n{\"prompt\":\"hi\"}";
    for (int i = 0; i < 2; i++) {
        int fd = harness_connect_tcp(port_of(0));
        send_text(fd, request);
        read_to_end(fd, &B);
        client[i] = fake_engine_last(H.engine).client;
        close(fd);
    }
    assert_true(client[0] & HS__CLIENT_TCP);
    assert_true(client[0] == client[1]);
}

static void test_address_client(void **state)
{
    (void)state;
    static const char *const text[] = {"127.0.0.1",   "192.168.1.7",   "192.168.1.8",  "::ffff:192.168.1.7",
                                       "fd00::1:2:3", "fd00::9:9:9:9", "fd00:0:0:1::1"};
    uint64_t c[sizeof text / sizeof text[0]];
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)i)};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)i)};
        bool is_4 = inet_pton(AF_INET, text[i], &in.sin_addr) == 1;
        assert_true(is_4 || inet_pton(AF_INET6, text[i], &in6.sin6_addr) == 1);
        c[i] = hs__address_client(is_4 ? (const void *)&in : (const void *)&in6);
    }
    assert_true(c[0] != c[1] && c[1] != c[2] && c[1] == c[3] && c[4] == c[5] && c[4] != c[6]);
}

static void test_tcp_close_cancels(void **state)
{
    (void)state;
    O.listen = "tcp:127.0.0.1:0";
    harness_start(&H, &O, &F, false);
    int fd = harness_connect_tcp(port_of(0));
    static const char body[] = "{\"prompt\":\"HANG\"}";
    char *request = hs_asprintf("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
                                strlen(body), body);
    send_text(fd, request);
    wait_active(&H, 1);
    close(fd);
    wait_active(&H, 0);
    hs_free(request);
}

static void test_inherited(void **state)
{
    (void)state;
    char pid[20];
    hs__address a;
    int fd;
    assert_int_equal(hs__address_parse(H.address, strlen(H.address), &a, NULL), 0);
    assert_int_equal(hs__listen_fd(&a, 0600, NULL, &fd, NULL), 0);
    if (fcntl(HS__LISTEN_FDS_START, F_GETFD) >= 0 && fd != HS__LISTEN_FDS_START) {
        print_message("file descriptor 3 is taken\n");
        close(fd);
        unlink(H.path);
        harness_start(&H, &O, &F, false);
        return;
    }
    if (fd != HS__LISTEN_FDS_START) {
        dup2(fd, HS__LISTEN_FDS_START);
        close(fd);
    }
    snprintf(pid, sizeof pid, "%d", getpid());
    O.listen = "unix:/nowhere/at/all"; /* replaced */
    O.service = (hs_service_env){.listen_pid = pid, .listen_fds = "1"};
    harness_start(&H, &O, &F, false);
    assert_string_equal(hs_server_address(H.server, 0), H.address);
    assert_null(hs_server_address(H.server, 1));
    ask(&H, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "200 OK");
    harness_stop(&H);
    assert_int_equal(access(H.path, F_OK), 0); /* it is not ours to remove */
    unlink(H.path);
}

static void refused(const hs_server_model *models, size_t n, const char *words)
{
    hs_err err = {0};
    assert_true(hs_server_check(&O, models, n, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("%s, not %s", err.text, words);
}

/* What creating would refuse is told beforehand, beside a server that has the socket. */
static void test_check(void **state)
{
    (void)state;
    static const hs_server_model models[] = {{.name = "a", .aliases = "b c"}, {.name = "c"}};
    harness_start(&H, &O, &F, false);
    assert_int_equal(hs_server_check(&O, models, 1, NULL), 0);
    assert_int_equal(hs_server_check(&O, NULL, 0, NULL), 0);
    refused(models, 2, "two models are called c");
    O.socket_group = "no-such-group";
    refused(models, 1, "there is no group no-such-group");
    O.socket_group = NULL;
    O.listen = "tcp:0.0.0.0:0";
    refused(NULL, 0, "an address other than loopback needs server.api_key_file");
    O.listen = "tcp:127.0.0.1";
    refused(NULL, 0, "expected ADDRESS:PORT");
    O.listen = "unix:/nowhere/at/all"; /* the folder may come with the service */
    assert_int_equal(hs_server_check(&O, NULL, 0, NULL), 0);
    O.api_key_file = "/nowhere/keys";
    refused(NULL, 0, "/nowhere/keys");
}

#define T(f) cmocka_unit_test_setup_teardown(f, prepare, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_inherited),
        T(test_host_and_origin),
        T(test_keys),
        T(test_check),
        T(test_idle),
        T(test_stalled_reader),
        T(test_trickling_reader),
        T(test_tcp_close_cancels),
        T(test_tcp_client),
        cmocka_unit_test(test_address_client),
        cmocka_unit_test_setup_teardown(test_key_files, prepare, NULL),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
