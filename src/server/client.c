/*
 * client.c - asking a daemon, blocking.
 * Owns: one socket, the answer's parser and what has arrived and was not yet taken. Waits in slices of WAIT_MS, so that
 * the caller's stop flag is seen even if its signal came just before the wait.
 */
#include "server/client.h"

#include <llhttp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/server_int.h"

#define WAIT_MS    200
#define MAX_HEADER (16u << 10)
#define MAX_ERROR  (64u << 10)

typedef struct answer {
    llhttp_t parser;
    hs_buf *body; /* what has arrived of it */
    size_t header_bytes;
    bool head_done, done, too_long;
    bool broken; /* what follows is not HTTP; what came before it counts */
} answer;

struct hs_client_stream {
    hs_client_options options;
    int fd;
    answer answer;
    hs_buf body;
    size_t line; /* bytes at the begin of body that the last event took */
};

static int on_header_bytes(llhttp_t *p, const char *at, size_t n)
{
    answer *a = p->data;
    (void)at;
    a->header_bytes += n + 4;
    return a->header_bytes > MAX_HEADER ? -1 : 0;
}

static int on_head(llhttp_t *p)
{
    answer *a = p->data;
    a->head_done = p->status_code != 100;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    answer *a = p->data;
    if (hs_buf_append(a->body, at, n) < 0) {
        a->too_long = true;
        return -1;
    }
    return 0;
}

static int on_complete(llhttp_t *p)
{
    answer *a = p->data;
    a->done = p->status_code != 100;
    return a->done ? HPE_PAUSED : 0;
}

static const llhttp_settings_t settings = {
    .on_status = on_header_bytes,
    .on_header_field = on_header_bytes,
    .on_header_value = on_header_bytes,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void answer_init(answer *a, hs_buf *body)
{
    *a = (answer){.body = body};
    llhttp_init(&a->parser, HTTP_RESPONSE, &settings);
    a->parser.data = a;
}

static int check_stop(const hs_client_options *o, hs_err *err)
{
    return o->stop && *o->stop ? hs_err_set(err, -ECANCELED, "interrupted") : 0;
}

/* Waits for events on fd. */
static int wait_for(const hs_client_options *o, int fd, short events, hs_err *err)
{
    uint64_t until = o->timeout_s ? hs_now_ns() + o->timeout_s * 1000000000ull : UINT64_MAX;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        if (check_stop(o, err) < 0)
            return -ECANCELED;
        int n = poll(&p, 1, WAIT_MS);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return hs_err_set(err, -errno, "%s: %s", o->address, hs_strerror(-errno));
        if (hs_now_ns() > until)
            return hs_err_set(err, -ETIMEDOUT, "%s: no answer for %u s", o->address, o->timeout_s);
    }
}

static int open_socket(const hs_client_options *o, int *ret_fd, hs_err *err)
{
    hs__address a;
    char text[160];
    snprintf(text, sizeof text, "%s%s", o->address[0] == '/' ? "unix:" : "", o->address);
    int r = hs__address_parse(text, strlen(text), &a, err);
    if (r < 0)
        return r;
    int fd = socket(a.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hs_err_set(err, -errno, "%s: %s", a.text, hs_strerror(-errno));
    r = connect(fd, (const void *)&a.addr, a.addr_len) < 0 ? -errno : 0;
    if (r == -EINPROGRESS) {
        socklen_t n = sizeof r;
        int code = wait_for(o, fd, POLLOUT, err);
        if (code < 0) {
            close(fd);
            return code;
        }
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &n);
        r = -r;
    }
    if (r < 0) {
        close(fd);
        if (r == -EACCES)
            return hs_err_set(err, r, "%s: %s; server.socket_mode and server.socket_group say who may connect", a.text,
                              hs_strerror(r));
        return hs_err_set(err, r, "no server at %s: %s; hotset serve is one", a.text, hs_strerror(r));
    }
    *ret_fd = fd;
    return 0;
}

static int send_all(const hs_client_options *o, int fd, const char *data, size_t n, hs_err *err)
{
    while (n) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            int r = wait_for(o, fd, POLLOUT, err);
            if (r < 0)
                return r;
        } else if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return 0; /* refused before all was read: the reason is in the answer */
        } else if (sent < 0 && errno != EINTR) {
            return hs_err_set(err, -errno, "%s: %s", o->address, hs_strerror(-errno));
        } else if (sent > 0) {
            data += sent;
            n -= (size_t)sent;
        }
    }
    return 0;
}

static int send_request(const hs_client_options *o, int fd, const char *method, const char *path, const char *body,
                        size_t body_len, hs_err *err)
{
    hs_buf b;
    hs_buf_init(&b, MAX_HEADER);
    hs_buf_printf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
    if (o->api_key)
        hs_buf_printf(&b, "Authorization: Bearer %s\r\n", o->api_key);
    if (body)
        hs_buf_printf(&b, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_len);
    hs_buf_puts(&b, "\r\n");
    int r =
        b.failed ? hs_err_set(err, b.failed, "the request's header is too long") : send_all(o, fd, b.data, b.len, err);
    if (r == 0 && body)
        r = send_all(o, fd, body, body_len, err);
    hs_buf_deinit(&b);
    return r;
}

static int bad_answer(const hs_client_options *o, const answer *a, hs_err *err)
{
    if (a->too_long)
        return hs_err_set(err, -E2BIG, "%s: the answer is too long", o->address);
    return hs_err_set(err, -EPROTO, "%s does not answer in HTTP", o->address);
}

/* One read's worth of the answer. Bytes that are not HTTP are no error yet, but a->broken: an event that came before
 * them must not depend on whether one read brought both. */
static int receive(const hs_client_options *o, int fd, answer *a, hs_err *err)
{
    char data[16384];
    ssize_t n;
    if (check_stop(o, err) < 0) /* also of a server that is never waited for */
        return -ECANCELED;
    while ((n = recv(fd, data, sizeof data, 0)) < 0) {
        if (errno == EAGAIN) {
            int r = wait_for(o, fd, POLLIN, err);
            if (r < 0)
                return r;
        } else if (errno != EINTR) {
            return hs_err_set(err, -errno, "%s: %s", o->address, hs_strerror(-errno));
        }
    }
    enum llhttp_errno e = n ? llhttp_execute(&a->parser, data, (size_t)n) : llhttp_finish(&a->parser);
    a->broken = e != HPE_OK && !a->done;
    if (n == 0 && !a->done)
        return hs_err_set(err, -EPROTO, "%s closed the connection before the answer was complete", o->address);
    return 0;
}

int hs_client_call(const hs_client_options *o, const char *method, const char *path, const char *body, size_t body_len,
                   int *ret_status, hs_buf *ret_body, hs_err *err)
{
    answer a;
    int fd;
    int r = open_socket(o, &fd, err);
    if (r < 0)
        return r;
    answer_init(&a, ret_body);
    r = send_request(o, fd, method, path, body, body_len, err);
    while (r == 0 && !a.done)
        r = a.broken ? bad_answer(o, &a, err) : receive(o, fd, &a, err);
    close(fd);
    if (r == 0)
        *ret_status = a.parser.status_code;
    return r;
}

/* The sentence inside an error object, or a general one. */
static int server_error(const hs_client_stream *s, hs_err *err)
{
    int status = s->answer.parser.status_code;
    json_t *root = json_loadb(s->body.data ? s->body.data : "", s->body.len, 0, NULL);
    const json_t *e = json_object_get(root, "error");
    const char *text = json_string_value(json_object_get(e, "message"));
    const char *what = json_string_value(json_object_get(e, "code"));
    int code = status == 503 && what && !strcmp(what, "loading") ? -EINPROGRESS
               : status == 429 || status == 503                  ? -EAGAIN
               : status == 404                                   ? -ENOENT
               : status == 401 || status == 403                  ? -EACCES
               : status < 500                                    ? -EINVAL
                                                                 : -EIO;
    if (text)
        hs_err_set(err, code, "%s", text);
    else
        hs_err_set(err, code, "%s answers HTTP status %d", s->options.address, status);
    json_decref(root);
    return code;
}

int hs_client_open(const hs_client_options *o, const char *path, const char *body, size_t body_len,
                   hs_client_stream **ret_stream, hs_err *err)
{
    hs_client_stream *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "out of memory");
    s->options = *o;
    s->fd = -1;
    hs_buf_init(&s->body, HS_CLIENT_MAX_LINE + MAX_ERROR);
    answer_init(&s->answer, &s->body);
    int r = open_socket(o, &s->fd, err);
    if (r == 0)
        r = send_request(o, s->fd, "POST", path, body, body_len, err);
    while (r == 0 && !s->answer.head_done)
        r = s->answer.broken ? bad_answer(o, &s->answer, err) : receive(o, s->fd, &s->answer, err);
    if (r == 0 && s->answer.parser.status_code != 200) {
        while (r == 0 && !s->answer.done && !s->answer.broken && s->body.len < MAX_ERROR)
            r = receive(o, s->fd, &s->answer, err);
        r = server_error(s, err);
    }
    if (r < 0)
        hs_client_close(&s);
    else
        *ret_stream = s;
    return r;
}

/* The next whole line, NUL-terminated in place, or NULL if it has not arrived yet. */
static char *take_line(hs_client_stream *s, size_t *ret_len)
{
    if (s->line) {
        hs_buf_consume(&s->body, s->line);
        s->line = 0;
    }
    char *end = s->body.len ? memchr(s->body.data, '\n', s->body.len) : NULL;
    if (!end)
        return NULL;
    size_t n = (size_t)(end - s->body.data);
    s->line = n + 1;
    if (n && s->body.data[n - 1] == '\r')
        n--;
    s->body.data[n] = '\0';
    *ret_len = n;
    return s->body.data;
}

int hs_client_next(hs_client_stream *s, const char **ret_text, size_t *ret_len, hs_err *err)
{
    for (;;) {
        size_t n;
        char *line = take_line(s, &n);
        if (!line) {
            int r = s->answer.done     ? hs_err_set(err, -EPROTO, "%s ended the answer too early", s->options.address)
                    : s->answer.broken ? bad_answer(&s->options, &s->answer, err)
                                       : receive(&s->options, s->fd, &s->answer, err);
            if (r < 0)
                return r;
            continue;
        }
        bool is_comment = line[0] == ':', is_data = !strncmp(line, "data:", 5);
        if (!is_comment && !is_data)
            continue;
        size_t skip = is_comment ? 1 : 5;
        if (line[skip] == ' ')
            skip++;
        if (is_data && !strcmp(line + skip, "[DONE]"))
            return HS_CLIENT_END;
        *ret_text = line + skip;
        *ret_len = n - skip;
        return is_comment ? HS_CLIENT_COMMENT : HS_CLIENT_DATA;
    }
}

void hs_client_close(hs_client_stream **stream)
{
    hs_client_stream *s = *stream;
    if (!s)
        return;
    *stream = NULL;
    if (s->fd >= 0)
        close(s->fd);
    hs_buf_deinit(&s->body);
    hs_free(s);
}
