/*
 * conn.c - one connection: bytes in, one request at a time, bytes out, time limits, and noticing that the client left.
 * Owns: the socket, what was received and not yet parsed, what waits to be sent. Leaves to others: what requests mean.
 *
 *   READING -> BUSY      refuse(), dispatch()        a message is complete, or refused before it is
 *   BUSY    -> READING   finish()                    response sent, connection kept
 *   BUSY    -> LINGER    finish()                    response sent, connection not kept: read and drop until EOF
 *   any     -> CLOSING   hs__conn_close()
 *
 * Invariants: input.len <= HS__INPUT_MAX; a client that sends more while BUSY is not read until its turn. A generation
 * exists only in BUSY. Pipelined requests wait in input.
 */
#include "server/server_int.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/generation.h"

typedef struct pending_write {
    uv_write_t req;
    hs__conn *conn;
    char data[];
} pending_write;

static void process(hs__conn *c);

static void on_closed(uv_handle_t *handle)
{
    hs__conn *c = handle->data;
    hs_server *s = c->server;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->n_conns--;
    hs__http_deinit(&c->http);
    hs_buf_deinit(&c->input);
    hs__budget_give(&s->budget, c->collected);
    hs_free(c);
    hs__server_check_drained(s);
}

static void count(hs__conn *c, int status)
{
    if (c->state == HS__BUSY && !c->counted)
        hs__metrics_count(&c->server->metrics, c->route, status, (double)(hs_now_ns() - c->t_begin_ns) * 1e-9);
    c->counted = true;
}

void hs__conn_close(hs__conn *c)
{
    if (c->state == HS__CLOSING)
        return;
    count(c, 499);
    c->state = HS__CLOSING;
    hs__generation_destroy(&c->generation);
    uv_close(&c->u.handle, on_closed);
}

size_t hs__conn_unsent(const hs__conn *c)
{
    return uv_stream_get_write_queue_size(&c->u.stream);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status;
    hs_free(req);
}

/* Says that nothing more will come, and waits a moment for the client to read it: closing a socket with unread bytes in
 * it would take the answer away again. */
static void linger(hs__conn *c)
{
    uv_shutdown_t *req = hs_malloc(sizeof *req);
    if (c->eof || !req || uv_shutdown(req, &c->u.stream, on_shutdown) < 0) {
        hs_free(req);
        hs__conn_close(c);
        return;
    }
    c->state = HS__LINGER;
    c->deadline_ms = hs__now_ms(c->server) + HS__LINGER_MS;
    hs_buf_deinit(&c->input);
}

static void finish(hs__conn *c)
{
    hs_server *s = c->server;
    count(c, c->status);
    hs__budget_give(&s->budget, c->collected);
    c->collected = 0;
    if (!c->keep_alive || (s->draining && !c->input.len)) {
        linger(c);
        hs__server_check_drained(s);
        return;
    }
    hs__http_next(&c->http);
    c->state = HS__READING;
    c->response_done = c->streaming = c->counted = false;
    c->status = 0;
    c->t_begin_ns = c->behind_ms = 0;
    c->deadline_ms = hs__now_ms(s) + s->options.idle_timeout_s * 1000ull;
    process(c);
}

static void after_write(hs__conn *c)
{
    if (c->state != HS__BUSY)
        return;
    if (c->generation && hs__conn_unsent(c) <= HS__OUTPUT_HIGH / 2)
        hs__generation_pump(c->generation);
    if (c->state == HS__BUSY && c->response_done && !hs__conn_unsent(c))
        finish(c);
}

static void on_written(uv_write_t *req, int status)
{
    pending_write *w = (pending_write *)(void *)req;
    hs__conn *c = w->conn;
    hs_free(w);
    if (status < 0)
        hs__conn_close(c);
    else
        after_write(c);
}

void hs__conn_write(hs__conn *c, const void *data, size_t n)
{
    if (c->state == HS__CLOSING || c->state == HS__LINGER)
        return;
    c->last_write_ms = hs__now_ms(c->server);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
    int sent = uv_try_write(&c->u.stream, &buf, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        hs__conn_close(c);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done == n)
        return;
    pending_write *w = hs_malloc(sizeof *w + (n - done));
    if (!w) {
        hs__conn_close(c);
        return;
    }
    w->conn = c;
    memcpy(w->data, (const char *)data + done, n - done);
    buf = uv_buf_init(w->data, (unsigned)(n - done));
    if (uv_write(&w->req, &c->u.stream, &buf, 1, on_written) < 0) {
        hs_free(w);
        hs__conn_close(c);
    }
}

void hs__conn_response_done(hs__conn *c)
{
    c->response_done = true;
    if (c->state == HS__BUSY && !hs__conn_unsent(c))
        finish(c);
}

/* An answer before the request is complete, or instead of handling it. keep: its bytes are all read. */
static void refuse(hs__conn *c, int status, const char *code, const char *why, bool keep)
{
    c->state = HS__BUSY;
    c->deadline_ms = 0;
    c->keep_alive = keep && c->http.head.keep_alive;
    hs__reply_error(c, status, NULL, code, "%s", why);
}

static bool is_json(const hs__field *f)
{
    static const char type[] = "application/json";
    size_t n = sizeof type - 1;
    return !strncasecmp(f->text, type, n) && (!f->text[n] || strchr("; \t", f->text[n]));
}

/* May this message be handled? 0 with c->route set, or an HTTP status with code and reason. */
static int check_request(hs__conn *c, const char **ret_code, const char **ret_why)
{
    const hs__head *head = &c->http.head;
    int route_status = 0;
    c->route = hs__route_find(head, &route_status);
    bool open_route = c->route < hs__n_routes && hs__routes[c->route].open;
    int status = hs__access_check(c->server, c->address, head, open_route, ret_why);
    *ret_code = status == 401 ? "invalid_api_key" : NULL;
    if (status)
        return status;
    if (route_status == 404)
        *ret_code = "not_found", *ret_why = "there is nothing at this path";
    if (route_status == 405)
        *ret_code = "method_not_allowed", *ret_why = "this path is not served for this method";
    if (route_status)
        return route_status;
    if (c->server->draining && !open_route) {
        *ret_code = "shutting_down";
        *ret_why = "the server is shutting down";
        return 503;
    }
    if (!strcmp(hs__routes[c->route].method, "POST")) {
        *ret_why = "a POST needs Content-Length or Transfer-Encoding: chunked";
        if (!head->has_length && !head->chunked)
            return 411;
        *ret_why = "Content-Type must be application/json";
        if (head->content_type.present && !is_json(&head->content_type))
            return 415;
    }
    *ret_why = "only Expect: 100-continue is understood";
    if (head->expect.present && strcasecmp(head->expect.text, "100-continue"))
        return 417;
    return 0;
}

/* The head is there: refuse now if a body would follow for nothing. */
static void on_head(hs__conn *c)
{
    const hs__head *head = &c->http.head;
    const char *why = NULL, *code = NULL;
    if (!head->chunked && !head->content_length)
        return;
    int status = check_request(c, &code, &why);
    if (status)
        refuse(c, status, code, why, false);
    else if (head->expect.present && !head->http10)
        hs__conn_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

static void dispatch(hs__conn *c)
{
    const char *why = NULL, *code = NULL;
    int status = check_request(c, &code, &why);
    if (status) {
        refuse(c, status, code, why, true);
        return;
    }
    c->state = HS__BUSY;
    c->deadline_ms = 0;
    c->keep_alive = c->http.head.keep_alive;
    hs__routes[c->route].handle(c);
}

static void start_reading(hs__conn *c);

/* Parses what has come, as long as it is this connection's turn to be read. Not reentered: an answer that is complete
 * at once only changes the state, and the loop goes on. */
static void process(hs__conn *c)
{
    if (c->in_process)
        return;
    c->in_process = true;
    bool more = true;
    while (more && c->state == HS__READING) {
        size_t used;
        hs__http_event ev = hs__http_feed(&c->http, c->input.data ? c->input.data : "", c->input.len, &used);
        hs_buf_consume(&c->input, used);
        if (c->http.begun && !c->t_begin_ns) {
            c->t_begin_ns = hs_now_ns();
            c->deadline_ms = hs__now_ms(c->server) + c->server->options.idle_timeout_s * 1000ull;
        }
        if (ev == HS__HTTP_HEAD)
            on_head(c);
        else if (ev == HS__HTTP_DONE)
            dispatch(c);
        else if (ev == HS__HTTP_ERROR)
            c->route = hs__n_routes, refuse(c, c->http.status, "bad_request", c->http.sentence, false);
        else
            more = false;
    }
    c->in_process = false;
    if (c->state == HS__READING && c->eof)
        hs__conn_close(c);
    else if (c->state == HS__READING || c->state == HS__LINGER)
        start_reading(c);
    if (!c->input.len)
        hs_buf_deinit(&c->input);
}

/* Events of a socket whose reading is paused or at its end. */
static short peek_events(const hs__conn *c)
{
    uv_os_fd_t fd;
    struct pollfd p = {.events = POLLRDHUP};
    if (uv_fileno(&c->u.handle, &fd) < 0)
        return POLLERR;
    p.fd = fd;
    return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/* On a Unix socket a client that only finished sending is told from one that left; over TCP both look the same, and a
 * generation is not worth finishing for somebody who probably is not there. */
static bool has_left(const hs__conn *c)
{
    short events = peek_events(c);
    if (c->address->is_tcp)
        return c->generation && (events & (POLLRDHUP | POLLHUP | POLLERR));
    return events & (POLLHUP | POLLERR);
}

static void on_eof(hs__conn *c)
{
    c->eof = true;
    c->reading = false;
    uv_read_stop(&c->u.stream);
    if (c->state != HS__BUSY || has_left(c))
        hs__conn_close(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    hs__conn *c = handle->data;
    (void)suggested;
    *ret = uv_buf_init(c->server->read_buffer, sizeof c->server->read_buffer);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    hs__conn *c = stream->data;
    if (c->state == HS__CLOSING || n == 0)
        return;
    if (n == UV_EOF) {
        on_eof(c);
        return;
    }
    if (n < 0) {
        hs__conn_close(c);
        return;
    }
    if (c->state == HS__LINGER)
        return;
    if (hs_buf_append(&c->input, buf->base, (size_t)n) < 0) {
        hs__conn_close(c);
        return;
    }
    if (c->input.len > HS__INPUT_MAX - HS__READ_BYTES) {
        uv_read_stop(stream);
        c->reading = false;
    }
    process(c);
}

static void start_reading(hs__conn *c)
{
    if (c->reading || c->eof || c->input.len > HS__INPUT_MAX - HS__READ_BYTES)
        return;
    if (uv_read_start(&c->u.stream, on_alloc, on_read) < 0)
        hs__conn_close(c);
    else
        c->reading = true;
}

/* Whose requests these are: the peer's process on a Unix socket, where the kernel tells it; over TCP its address. */
static uint64_t client_of(hs__conn *c)
{
    uv_os_fd_t fd;
    struct ucred cred;
    struct sockaddr_storage peer = {0};
    socklen_t n = sizeof cred, n_peer = sizeof peer;
    if (uv_fileno(&c->u.handle, &fd) < 0)
        return 0;
    if (c->address->is_tcp)
        getpeername(fd, (struct sockaddr *)&peer, &n_peer);
    else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && cred.pid > 0)
        return (uint64_t)cred.pid;
    return hs__address_client((const struct sockaddr *)&peer);
}

static hs__conn *conn_new(hs_server *s, const hs__listener *l)
{
    hs__conn *c = hs_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    int r = l->address.is_tcp ? uv_tcp_init(&s->loop, &c->u.tcp) : uv_pipe_init(&s->loop, &c->u.pipe, 0);
    if (r < 0) {
        hs_free(c);
        return NULL;
    }
    c->server = s;
    c->address = &l->address;
    c->u.handle.data = c;
    c->next = s->conns;
    if (s->conns)
        s->conns->prev = c;
    s->conns = c;
    s->n_conns++;
    hs_buf_init(&c->input, HS__INPUT_MAX);
    hs__http_init(&c->http, s->options.max_header, s->options.max_body, &s->budget);
    c->route = hs__n_routes;
    return c;
}

void hs__conn_accept(hs_server *s, hs__listener *l)
{
    hs__conn *c = conn_new(s, l);
    l->is_waiting = !c; /* the loop accepts nothing more before this one is taken: the next tick tries again */
    if (!c)
        return;
    if (uv_accept(&l->u.stream, &c->u.stream) < 0 || s->n_conns > s->options.max_connections + HS__EXTRA_CONNECTIONS) {
        hs__conn_close(c);
        return;
    }
    s->metrics.connections++;
    if (l->address.is_tcp)
        uv_tcp_nodelay(&c->u.tcp, 1);
    c->client = client_of(c);
    c->deadline_ms = hs__now_ms(s) + s->options.idle_timeout_s * 1000ull;
    start_reading(c);
    if (c->state == HS__READING && s->n_conns > s->options.max_connections) {
        s->metrics.connections_refused++;
        c->t_begin_ns = hs_now_ns();
        refuse(c, 503, "too_many_connections", "too many connections; server.max_connections is reached", false);
    }
}

/* Output that waits at a tick is more than the kernel's buffers hold: the client is far behind. The time is counted
 * over the whole request, so that taking a byte now and then does not keep a sequence, or memory for the answer, for
 * ever. */
static void check_behind(hs__conn *c)
{
    if (!hs__conn_unsent(c))
        return;
    c->behind_ms += HS__TICK_MS;
    if (c->behind_ms > c->server->options.idle_timeout_s * 1000ull)
        hs__conn_close(c);
}

void hs__conn_tick(hs__conn *c)
{
    uint64_t now = hs__now_ms(c->server);
    if (c->state == HS__CLOSING)
        return;
    if (c->deadline_ms && now >= c->deadline_ms) {
        if (c->state == HS__READING && c->http.begun)
            refuse(c, 408, "timeout", "the request did not arrive within server.idle_timeout", false);
        else
            hs__conn_close(c);
        return;
    }
    if (c->state != HS__BUSY)
        return;
    if (!c->reading && has_left(c)) {
        hs__conn_close(c);
        return;
    }
    check_behind(c);
    if (c->state == HS__BUSY && c->generation)
        hs__generation_tick(c->generation);
}
