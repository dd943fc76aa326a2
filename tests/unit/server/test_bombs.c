/* labels: unit */
/*
 * test_bombs.c - requests made to cost much more than they weigh: each is refused with a 4xx, the process grows by less
 * than what one request may take at most, and the next client is served.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define MILLION  1000000u
#define MAX_BODY (32u << 20)

static harness H;
static hs_buf B, R;

static void start(uint64_t max_body)
{
    hs_server_options o = harness_options(&H);
    fake_options f = harness_fake();
    o.max_body = max_body;
    o.max_header = 16384;
    o.buffer_memory = 2 * max_body;
    harness_start(&H, &o, &f, false);
    hs_buf_init(&B, 1 << 20);
    hs_buf_init(&R, 64u << 20);
}

static int setup(void **state)
{
    (void)state;
    start(MAX_BODY);
    return 0;
}

static int setup_small(void **state)
{
    (void)state;
    start(65536);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    harness_end(&H);
    hs_buf_deinit(&B);
    hs_buf_deinit(&R);
    return 0;
}

/* Most memory that this process has held, KiB. */
static long peak_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6))
            kib = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

/* Sends what is in R; the answer must have status and sentence. */
static void refused(const char *status, const char *sentence)
{
    assert_int_equal(R.failed, 0);
    /* The request, as received and as parsed, is all that may come on top; a JSON tree of it would be many times that.
     */
    long before = peak_kib(), most = before + (long)(2 * R.len / 1024) + (24 << 10);
    int fd = harness_connect(&H);
    send_bytes(fd, R.data, R.len);
    hs_buf_clear(&B);
    read_response(fd, &B);
    close(fd);
    if (!strstr(B.data, status) || !strstr(B.data, sentence))
        fail_msg("not '%s' with '%s', but: %s", status, sentence, B.data);
    if (!is_sanitized() && peak_kib() > most)
        fail_msg("%s: from %ld to %ld KiB", sentence, before, peak_kib());
    hs_buf_deinit(&R);
    hs_buf_init(&R, 64u << 20);
    ask(&H, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "200 OK");
}

static void repeat(const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        hs_buf_puts(&R, text);
}

/* A chat request whose body is head, unit n times, tail. */
static void body(const char *head, const char *unit, size_t n, const char *tail)
{
    hs_buf_printf(&R,
                  "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n%s",
                  strlen(head) + n * strlen(unit) + strlen(tail), head);
    repeat(unit, n);
    hs_buf_puts(&R, tail);
}

static void test_json(void **state)
{
    (void)state;
    body("", "[", 2 * MILLION, "");
    refused("400 ", "nested more than");
    body("{\"a\":", "{\"a\":", MILLION, "1}");
    refused("400 ", "nested more than");
    body("{\"stop\":[\"a\"", ",\"a\"", MILLION, "]}");
    refused("400 ", "the body has more than");
    body("{\"stop\":[\"a\"", ",\"a\"", 10000, "]}");
    refused("400 ", "stop has more than");
    body("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}", ",{}", MILLION, "]}");
    refused("400 ", "the body has more than");
    body("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}", ",{}", 16000, "]}");
    refused("400 ", "the body has more than");
    body("{\"prompt\":[1", ",1", MILLION, "]}");
    refused("400 ", "the body has more than");
    body("{\"temperature\":1", "0", 2 * MILLION, "}");
    refused("400 ", "");
    body("{\"messages\":[{\"role\":\"user\",\"content\":\"", "\\u0041", MILLION, "\"}]}");
    refused("400 ", "context_length_exceeded");
    body("{\"x", "x", 2 * MILLION, "\":1}");
    refused("400 ", "is not a parameter");
    body("", " ", 2 * MILLION, "");
    refused("400 ", "invalid_json");
}

static void test_million_keys(void **state)
{
    (void)state;
    size_t n = 1;
    for (unsigned i = 0; i < MILLION; i++)
        n += (size_t)snprintf(NULL, 0, "\"k%u\":0,", i);
    hs_buf_printf(&R, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n{", n);
    for (unsigned i = 0; i < MILLION; i++)
        hs_buf_printf(&R, "\"k%u\":0,", i);
    refused("400 ", "the body has more than");
}

static void test_headers(void **state)
{
    (void)state;
    hs_buf_puts(&R, "GET /health HTTP/1.1\r\nHost: x\r\n");
    repeat("A: b\r\n", MILLION);
    refused("431 ", "max_header");
    hs_buf_puts(&R, "GET /health HTTP/1.1\r\nHost: x\r\nA: ");
    repeat("0123456789", MILLION);
    refused("431 ", "max_header");
    hs_buf_puts(&R, "GET /health HTTP/1.1\r\nHost: x\r\n");
    repeat("0123456789", MILLION);
    refused("431 ", "max_header");
    hs_buf_puts(&R, "GET /");
    repeat("0123456789", MILLION);
    refused("431 ", "max_header");
}

#define CHUNKED "POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_chunks(void **state)
{
    (void)state;
    hs_buf_puts(&R, CHUNKED "ffffffffffffffff\r\n");
    repeat("0123456789", MILLION);
    refused("413 ", "max_body");
    hs_buf_puts(&R, CHUNKED "fffffffffffffffff\r\n");
    refused("400 ", "");
    hs_buf_puts(&R, CHUNKED "1;");
    repeat("0123456789", MILLION);
    refused("413 ", "max_body");
    hs_buf_puts(&R, CHUNKED "0\r\n");
    repeat("A: b\r\n", MILLION);
    refused("431 ", "max_header");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_million_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup_small, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
