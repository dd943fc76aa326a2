/* labels: unit */
/* test_conn.c - connections as clients of all manners use them: raw sockets against a running server. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

static const char health[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
static const char chat[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char chat_hang[] = "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"HANG\"}]}";
static const char chat_endless[] = "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"ENDLESS\"}]}";

static harness H;
static hs_buf B;

static int setup(void **state)
{
    (void)state;
    hs_server_options o = harness_options(&H);
    fake_options f = harness_fake();
    harness_start(&H, &o, &f, false);
    hs_buf_init(&B, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    harness_end(&H);
    hs_buf_deinit(&B);
    return 0;
}

static void test_keep_alive(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    for (int i = 0; i < 5; i++) {
        hs_buf_clear(&B);
        send_text(fd, health);
        read_response(fd, &B);
        assert_has(&B, "HTTP/1.1 200 OK\r\n");
        assert_has_not(&B, "Connection: close");
    }
    send_text(fd, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    hs_buf_clear(&B);
    read_to_end(fd, &B);
    assert_has(&B, "Connection: close\r\n");
    close(fd);
}

static void test_http_1_0(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    send_text(fd, "GET /health HTTP/1.0\r\n\r\n");
    read_to_end(fd, &B);
    assert_has(&B, "200 OK");
    close(fd);

    hs_buf_clear(&B);
    fd = harness_connect(&H);
    char *request = hs_asprintf("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s",
                                strlen("{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"),
                                "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    send_text(fd, request);
    read_to_end(fd, &B);
    assert_has_not(&B, "chunked");
    assert_has(&B, "\n\ndata: [DONE]\n\n");
    hs_free(request);
    close(fd);
}

static void test_pipelining(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    char *request = post("/v1/chat/completions", chat, NULL);
    char *all =
        hs_asprintf("%s%s%sGET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", health, request, request);
    send_text(fd, all);
    read_to_end(fd, &B);
    assert_int_equal(count_of(&B, "HTTP/1.1 200 OK"), 4);
    assert_int_equal(count_of(&B, "chat.completion\""), 2);
    hs_free(all);
    hs_free(request);
    close(fd);
}

/* Far more requests in one go than may wait unparsed: none is lost, none is answered out of turn. */
static void test_pipelining_flood(void **state)
{
    (void)state;
    enum { N = 4000 };
    int fd = harness_connect(&H);
    send_text(fd, health);
    read_response(fd, &B);
    size_t expected = B.len * N, sent = 0;
    hs_buf all;
    hs_buf_init(&all, 1 << 20);
    for (int i = 0; i < N; i++)
        hs_buf_puts(&all, health);
    hs_buf_clear(&B);
    while (B.len < expected) {
        if (sent < all.len) {
            ssize_t n = send(fd, all.data + sent, all.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
        }
        char data[4096];
        ssize_t n = recv(fd, data, sizeof data, sent < all.len ? MSG_DONTWAIT : 0);
        if (n > 0)
            hs_buf_append(&B, data, (size_t)n);
    }
    assert_int_equal(count_of(&B, "HTTP/1.1 200 OK"), N);
    hs_buf_deinit(&all);
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    char *request = post("/v1/chat/completions", chat, NULL);
    for (const char *p = request; *p; p++)
        send_bytes(fd, p, 1);
    read_response(fd, &B);
    assert_has(&B, "200 OK");
    assert_has(&B, "\"content\":\"tok tok tok tok tok \"");
    hs_free(request);
    close(fd);
}

static void test_chunked_body(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    char *request = hs_asprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "10\r\n%.16s\r\n%zx\r\n%s\r\n0\r\nX-Trailer: y\r\n\r\n",
                                chat, strlen(chat) - 16, chat + 16);
    send_text(fd, request);
    read_response(fd, &B);
    assert_has(&B, "200 OK");
    hs_free(request);
    close(fd);
}

static void test_expect_continue(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    char *request = post("/v1/chat/completions", chat, "Expect: 100-continue\r\n");
    char *body = strstr(request, "\r\n\r\n") + 4;
    send_bytes(fd, request, (size_t)(body - request));
    read_until(fd, &B, "100 Continue\r\n\r\n");
    send_text(fd, body);
    hs_buf_clear(&B);
    read_response(fd, &B);
    assert_has(&B, "200 OK");
    hs_free(request);
    close(fd);
}

/* A request that finished sending (shutdown) still gets its answer on a Unix socket. */
static void test_half_close(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    char *request = post("/v1/chat/completions", chat, NULL);
    send_text(fd, health);
    send_text(fd, request);
    shutdown(fd, SHUT_WR);
    read_to_end(fd, &B);
    assert_int_equal(count_of(&B, "200 OK"), 2);
    assert_has(&B, "tok tok");
    hs_free(request);
    close(fd);
}

static void check_cancel(bool half_close_first)
{
    int fd = harness_connect(&H);
    char *request = post("/v1/chat/completions", chat_hang, NULL);
    send_text(fd, request);
    read_until(fd, &B, "assistant");
    wait_active(&H, 1);
    if (half_close_first) {
        shutdown(fd, SHUT_WR);
        usleep(20000);
        wait_active(&H, 1);
    }
    close(fd);
    wait_active(&H, 0);
    hs_free(request);
}

static void test_cancel_on_close(void **state)
{
    (void)state;
    check_cancel(false);
}

static void test_cancel_after_half_close(void **state)
{
    (void)state;
    check_cancel(true);
}

/* A client that does not read holds up nobody, and its own request waits in the engine. */
static void test_slow_reader(void **state)
{
    (void)state;
    int slow = harness_connect(&H);
    int small = 4096;
    setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    char *request = post("/v1/chat/completions", chat_endless, NULL);
    send_text(slow, request);
    hs_engine_stats before, after = {0};
    do {
        before = after;
        usleep(200000);
        after = hs_engine_get_stats(H.engine);
    } while (!after.generated_tokens || after.generated_tokens != before.generated_tokens);
    ask_post(&H, "/v1/chat/completions", chat, &B);
    assert_has(&B, "200 OK");
    hs_buf_clear(&B);
    for (size_t total = 0; total < 1 << 20; total += B.len) { /* it goes on when somebody reads */
        hs_buf_clear(&B);
        assert_true(read_some(slow, &B));
    }
    close(slow);
    wait_active(&H, 0);
    hs_free(request);
}

static void check_refused(const char *request, const char *status)
{
    int fd = harness_connect(&H);
    hs_buf_clear(&B);
    send_text(fd, request);
    read_to_end(fd, &B);
    assert_has(&B, status);
    assert_has(&B, "{\"error\":{\"message\":");
    assert_has(&B, "Connection: close");
    close(fd);
}

static void test_oversize(void **state)
{
    (void)state;
    char *big = hs_malloc(200001);
    memset(big, 'x', 200000);
    big[200000] = '\0';
    char *header = hs_asprintf("GET /health HTTP/1.1\r\nHost: x\r\nX-Big: %.9000s\r\n\r\n", big);
    check_refused(header, "431 ");
    hs_free(header);
    char *target = hs_asprintf("GET /%.1000s HTTP/1.1\r\nHost: x\r\n\r\n", big);
    check_refused(target, "414 ");
    hs_free(target);
    char *body = post("/v1/chat/completions", big, NULL);
    check_refused(body, "413 ");
    hs_free(body);
    char *chunked = hs_asprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "30d40\r\n%s\r\n0\r\n\r\n",
                                big);
    check_refused(chunked, "413 ");
    hs_free(chunked);
    hs_free(big);
}

static void test_garbage(void **state)
{
    (void)state;
    check_refused("\x16\x03\x01\x02hello\r\n\r\n", "400 ");
    check_refused("GET /health HTTP/9.9\r\n\r\n", "HTTP/1.1 ");
    check_refused("GET /health HTTP/1.1\r\n\r\n", "400 ");
    check_refused("GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400 ");
    check_refused("GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", "400 ");
    check_refused(
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400 ");
    check_refused("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "400 ");
    check_refused("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                  "400 ");
    ask(&H, health, &B);
    assert_has(&B, "200 OK");
}

static void test_random_bytes(void **state)
{
    (void)state;
    srand(7);
    for (int i = 0; i < 200; i++) {
        char data[300];
        int fd = harness_connect(&H);
        size_t n = (size_t)snprintf(data, sizeof data, "%s", i & 1 ? "POST /v1/chat/completions HTTP/1.1\r\n" : "");
        while (n < sizeof data)
            data[n++] = (char)rand();
        send_bytes(fd, data, n);
        shutdown(fd, SHUT_WR);
        hs_buf_clear(&B);
        read_to_end(fd, &B);
        assert_has_not(&B, "200 OK");
        close(fd);
    }
    ask(&H, health, &B);
    assert_has(&B, "200 OK");
}

static void test_no_length(void **state)
{
    (void)state;
    ask(&H, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "411 Length Required");
    ask(&H, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        &B);
    assert_has(&B, "415 Unsupported Media Type");
    ask(&H, "GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "405 Method Not Allowed");
    assert_has(&B, "\r\nAllow: POST\r\n");
    ask(&H, "GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "404 Not Found");
    int fd = harness_connect(&H);
    hs_buf_clear(&B);
    send_text(fd, "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    read_to_end(fd, &B);
    assert_has(&B, "Content-Length: 16\r\n");
    assert_has_not(&B, "status");
    close(fd);
}

static void test_hundred_connections(void **state)
{
    (void)state;
    enum { N = 100 };
    int fds[N];
    char *request = post("/v1/chat/completions", chat, NULL);
    for (int i = 0; i < N; i++)
        fds[i] = harness_connect(&H);
    for (int i = 0; i < N; i++)
        send_text(fds[i], request);
    for (int i = 0; i < N; i++) {
        hs_buf_clear(&B);
        read_response(fds[i], &B);
        assert_has(&B, "\"completion_tokens\":5");
        close(fds[i]);
    }
    hs_free(request);
}

static void test_too_many_connections(void **state)
{
    (void)state;
    enum { N = 128 };
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = harness_connect(&H);
        send_text(fds[i], health);
        hs_buf_clear(&B);
        read_response(fds[i], &B);
    }
    int fd = harness_connect(&H);
    hs_buf_clear(&B);
    read_to_end(fd, &B);
    assert_has(&B, "503 ");
    assert_has(&B, "too_many_connections");
    assert_has(&B, "Retry-After: ");
    close(fd);
    for (int i = 0; i < N; i++)
        close(fds[i]);
}

/* Bodies of all connections together stay within buffer_memory. */
static void test_body_budget(void **state)
{
    (void)state;
    enum { N = 12 };
    int fds[N], refused = 0;
    char *piece = hs_malloc(90000);
    memset(piece, ' ', 90000);
    for (int i = 0; i < N; i++) {
        fds[i] = harness_connect(&H);
        send_text(fds[i], "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 90001\r\n\r\n");
        send_bytes(fds[i], piece, 90000);
    }
    hs_free(piece);
    do {
        ask(&H, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    } while (!strstr(B.data, "{endpoint=\"other\",code=\"503\"}"));
    for (int i = 0; i < N; i++) {
        send_text(fds[i], "x");
        hs_buf_clear(&B);
        read_response(fds[i], &B);
        refused += count_of(&B, "503 Service");
        close(fds[i]);
    }
    assert_in_range(refused, 1, N - 1);
    ask_post(&H, "/v1/chat/completions", chat, &B);
    assert_has(&B, "200 OK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_1_0, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipelining, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipelining_flood, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunked_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expect_continue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_on_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_after_half_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hundred_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_budget, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
