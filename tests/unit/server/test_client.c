/* labels: unit */
/* test_client.c - the client against the server, and against servers that misbehave. */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/client.h"
#include "server/server_int.h"

static harness H;
static hs_buf B;
static hs_client_options C;
static hs_err E;

static int begin(bool still_loading)
{
    hs_server_options o = harness_options(&H);
    fake_options f = harness_fake();
    f.parallel = 1;
    f.max_queue = 0;
    harness_start(&H, &o, &f, still_loading);
    hs_buf_init(&B, HS_CLIENT_MAX_BODY);
    C = (hs_client_options){.address = H.address, .timeout_s = 60};
    E = (hs_err){0};
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return begin(false);
}

static int setup_loading(void **state)
{
    (void)state;
    return begin(true);
}

static int teardown(void **state)
{
    (void)state;
    harness_end(&H);
    hs_buf_deinit(&B);
    return 0;
}

static void test_call(void **state)
{
    (void)state;
    int status = 0;
    assert_int_equal(hs_client_call(&C, "GET", "/health", NULL, 0, &status, &B, &E), 0);
    assert_int_equal(status, 200);
    assert_string_equal(B.data, "{\"status\":\"ok\"}\n");
    C.address = H.path;
    hs_buf_clear(&B);
    assert_int_equal(hs_client_call(&C, "GET", "/none", NULL, 0, &status, &B, &E), 0);
    assert_int_equal(status, 404);
    static const char body[] = "{\"prompt\":\"x\"}";
    hs_buf_clear(&B);
    assert_int_equal(hs_client_call(&C, "POST", "/v1/completions", body, strlen(body), &status, &B, &E), 0);
    assert_has(&B, "tok tok tok tok tok ");
}

static int open_stream(const char *body, hs_client_stream **s)
{
    return hs_client_open(&C, "/v1/completions", body, strlen(body), s, &E);
}

static void test_stream(void **state)
{
    (void)state;
    hs_client_stream *s;
    const char *text;
    size_t n;
    int ev, data = 0;
    assert_int_equal(open_stream("{\"stream\":true,\"prompt\":\"x\",\"max_tokens\":50}", &s), 0);
    while ((ev = hs_client_next(s, &text, &n, &E)) == HS_CLIENT_DATA || ev == HS_CLIENT_COMMENT) {
        assert_int_equal(strlen(text), n);
        data += ev == HS_CLIENT_DATA && text[0] == '{';
    }
    assert_int_equal(ev, HS_CLIENT_END);
    assert_true(data >= 2);
    hs_client_close(&s);
    assert_null(s);
}

static void test_stream_errors(void **state)
{
    (void)state;
    hs_client_stream *s = NULL, *other = NULL;
    assert_int_equal(open_stream("{\"prompt\":\"x\",\"n\":5}", &s), -EINVAL);
    assert_non_null(strstr(E.text, "n is not supported"));
    assert_int_equal(open_stream("{\"prompt\":\"x\",\"model\":\"z\"}", &s), -ENOENT);
    assert_int_equal(open_stream("{\"stream\":true,\"prompt\":\"HANG\"}", &s), 0);
    wait_active(&H, 1);
    assert_int_equal(open_stream("{\"stream\":true,\"prompt\":\"x\"}", &other), -EAGAIN);
    volatile sig_atomic_t stop = 1;
    hs_client_options c = C;
    c.stop = &stop;
    assert_int_equal(hs_client_open(&c, "/v1/completions", "{}", 2, &other, &E), -ECANCELED);
    assert_null(other);
    hs_client_close(&s);
    wait_active(&H, 0);
}

/* A model that loads can be waited for; what is full is not the same. */
static void test_loading(void **state)
{
    (void)state;
    hs_client_stream *s = NULL;
    assert_int_equal(open_stream("{\"prompt\":\"x\"}", &s), -EINPROGRESS);
    assert_non_null(strstr(E.text, "Loading model"));
    assert_null(s);
}

static void test_no_server(void **state)
{
    (void)state;
    int status;
    C.address = "unix:/nowhere/s";
    assert_int_equal(hs_client_call(&C, "GET", "/", NULL, 0, &status, &B, &E), -ENOENT);
    assert_non_null(strstr(E.text, "/nowhere/s"));
    C.address = "tcp:127.0.0.1:1";
    assert_int_equal(hs_client_call(&C, "GET", "/", NULL, 0, &status, &B, &E), -ECONNREFUSED);
    C.address = "somewhere";
    assert_int_equal(hs_client_call(&C, "GET", "/", NULL, 0, &status, &B, &E), -EINVAL);
}

typedef struct script {
    int fd;
    const char *text;
    int times;
} script;

static void *play(void *arg)
{
    const script *s = arg;
    char data[4096];
    int fd = accept(s->fd, NULL, NULL);
    (void)!read(fd, data, sizeof data);
    for (int i = 0; i < s->times; i++)
        send_text(fd, s->text);
    shutdown(fd, SHUT_WR);
    while (read(fd, data, sizeof data) > 0)
        ;
    close(fd);
    return NULL;
}

/* What the client makes of a server that answers with this text. */
static int against(const char *text, int times)
{
    char path[120], address[130];
    hs__address a;
    script sc = {.text = text, .times = times};
    pthread_t thread;
    snprintf(path, sizeof path, "%s/bad", H.dir);
    snprintf(address, sizeof address, "unix:%s", path);
    assert_int_equal(hs__address_parse(address, strlen(address), &a, &E), 0);
    assert_int_equal(hs__listen_fd(&a, 0600, NULL, &sc.fd, &E), 0);
    int flags = fcntl(sc.fd, F_GETFL);
    fcntl(sc.fd, F_SETFL, flags & ~O_NONBLOCK);
    pthread_create(&thread, NULL, play, &sc);
    hs_client_options c = {.address = address, .timeout_s = 60};
    hs_client_stream *s = NULL;
    const char *line;
    size_t n;
    int r = hs_client_open(&c, "/x", "{}", 2, &s, &E);
    while (r == 0 && (r = hs_client_next(s, &line, &n, &E)) > 0)
        r = 0;
    hs_client_close(&s);
    pthread_join(thread, NULL);
    close(sc.fd);
    unlink(path);
    return r;
}

static void test_bad_servers(void **state)
{
    (void)state;
    assert_int_equal(against("", 1), -EPROTO);
    assert_int_equal(against("SSH-2.0-OpenSSH\r\n", 1), -EPROTO);
    assert_int_equal(against("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 1), -EPROTO);
    assert_int_equal(against("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndata: x\n\n", 1), -EPROTO);
    assert_int_equal(against("HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nabc", 1), -EIO);
    assert_int_equal(against("HTTP/1.1 200 OK\r\nX: y\r\n\r\ndata: [DONE]\n\n", 1), HS_CLIENT_END);
    assert_int_equal(
        against("HTTP/1.1 200 OK\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 1000),
        -EPROTO);
    enum { N = 2 << 20 };
    char *endless = malloc(N + 1);
    memset(endless, 'a', N);
    memcpy(endless, "HTTP/1.1 200 OK\r\n\r\n", 19);
    endless[N] = '\0';
    assert_int_equal(against(endless, 1), -E2BIG);
    free(endless);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_call),
        T(test_stream),
        T(test_stream_errors),
        T(test_no_server),
        cmocka_unit_test_setup_teardown(test_loading, setup_loading, teardown),
        T(test_bad_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
