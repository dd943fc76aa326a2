/* harness.c - see harness.h. */
#include "harness.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define WAIT_MS 60000

hs_server_options harness_options(harness *h)
{
    memset(h, 0, sizeof *h);
    snprintf(h->dir, sizeof h->dir, "/tmp/hs-server-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    snprintf(h->path, sizeof h->path, "%s/api.sock", h->dir);
    snprintf(h->address, sizeof h->address, "unix:%s", h->path);
    hs_log_setup(HS_LOG_ERROR, HS_LOG_TEXT);
    return (hs_server_options){
        .listen = h->address,
        .socket_mode = 0600,
        .max_connections = 128,
        .max_body = 100000,
        .max_header = 4096,
        .buffer_memory = 400000,
        .idle_timeout_s = 600, /* where it is to come, a test says how soon */
        .ping_interval_s = 15,
    };
}

fake_options harness_fake(void)
{
    return (fake_options){.context = 60000, .parallel = 4, .max_queue = 200, .step_us = 200};
}

static void *run(void *arg)
{
    harness *h = arg;
    h->result = hs_server_run(h->server, &h->err);
    return NULL;
}

void harness_start(harness *h, const hs_server_options *o, const fake_options *f, bool still_loading)
{
    hs_server_model m = {.name = "tale", .aliases = "story, fable", .defaults = {-1, -1, -1, -1}};
    hs_err err = {0};
    h->engine = fake_engine_create(f);
    if (hs_server_create(o, &m, 1, &h->server, &err) < 0)
        fail_msg("%s", err.text);
    if (!still_loading) {
        hs_server_set_engine(h->server, 0, h->engine);
        hs_server_set_ready(h->server);
    }
    assert_int_equal(pthread_create(&h->thread, NULL, run, h), 0);
}

void harness_join(harness *h)
{
    if (!h->joined)
        pthread_join(h->thread, NULL);
    h->joined = true;
}

void harness_stop(harness *h)
{
    hs_server_stop(h->server);
    harness_join(h);
}

void harness_end(harness *h)
{
    if (!h->joined)
        hs_server_stop(h->server), hs_server_stop(h->server);
    harness_join(h);
    hs_engine_stats st = hs_engine_get_stats(h->engine);
    assert_int_equal(st.active + st.queued, 0);
    hs_server_destroy(&h->server);
    hs_engine_destroy(&h->engine);
    assert_int_not_equal(access(h->path, F_OK), 0);
    rmdir(h->dir);
}

int harness_connect(const harness *h)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, h->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (void *)&un, sizeof un) < 0)
        fail_msg("%s: %s; run: %d %s", h->path, strerror(errno), h->result, h->err.text);
    return fd;
}

int harness_connect_tcp(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &in.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (void *)&in, sizeof in), 0);
    return fd;
}

void send_bytes(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        p += k;
        n -= (size_t)k;
    }
}

void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

bool read_some(int fd, hs_buf *b)
{
    char data[65536];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, WAIT_MS) != 1)
        fail_msg("nothing came; so far: %s", b->data ? b->data : "");
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n <= 0)
        return false;
    assert_int_equal(hs_buf_append(b, data, (size_t)n), 0);
    return true;
}

void read_until(int fd, hs_buf *b, const char *text)
{
    while (!b->data || !strstr(b->data, text))
        if (!read_some(fd, b))
            fail_msg("the connection ended before '%s'; so far: %s", text, b->data ? b->data : "");
}

void read_to_end(int fd, hs_buf *b)
{
    while (read_some(fd, b))
        ;
}

void read_response(int fd, hs_buf *b)
{
    size_t from = b->len;
    const char *end = NULL;
    while (!b->data || !(end = strstr(b->data + from, "\r\n\r\n")))
        if (!read_some(fd, b))
            fail_msg("the connection ended inside a header; so far: %s", b->data ? b->data : "");
    const char *length = strstr(b->data + from, "Content-Length: ");
    if (length && length < end) {
        size_t need = (size_t)(end + 4 - b->data) + (size_t)atol(length + 16);
        while (b->len < need && read_some(fd, b))
            ;
        assert_int_equal(b->len, need);
    } else {
        while (!strstr(b->data + from, "\r\n0\r\n\r\n") && read_some(fd, b))
            ;
    }
}

char *post(const char *path, const char *body, const char *more)
{
    return hs_asprintf(
        "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s", path,
        more ? more : "", strlen(body), body);
}

void ask(const harness *h, const char *request, hs_buf *ret)
{
    hs_buf_clear(ret);
    int fd = harness_connect(h);
    send_text(fd, request);
    read_response(fd, ret);
    close(fd);
}

void ask_post(const harness *h, const char *path, const char *body, hs_buf *ret)
{
    char *request = post(path, body, NULL);
    ask(h, request, ret);
    hs_free(request);
}

void wait_active(const harness *h, uint32_t n)
{
    for (int i = 0; i < WAIT_MS; i++) {
        hs_engine_stats st = hs_engine_get_stats(h->engine);
        if (st.active == n)
            return;
        usleep(1000);
    }
    fail_msg("the engine does not get to %u active requests", n);
}

void assert_has(const hs_buf *b, const char *text)
{
    if (!b->data || !strstr(b->data, text))
        fail_msg("'%s' is not in: %s", text, b->data ? b->data : "");
}

void assert_has_not(const hs_buf *b, const char *text)
{
    if (b->data && strstr(b->data, text))
        fail_msg("'%s' is in: %s", text, b->data);
}

int count_of(const hs_buf *b, const char *text)
{
    int n = 0;
    for (const char *p = b->data; p && (p = strstr(p, text)); p++)
        n++;
    return n;
}
