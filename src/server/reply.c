/* reply.c - responses: whole ones, errors as OpenAI objects, and streams of unknown length. */
#include "server/server_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define HEAD_MAX 1024

typedef struct status_info {
    int status;
    const char *reason, *type;
} status_info;

static const status_info statuses[] = {
    {200, "OK", ""},
    {400, "Bad Request", "invalid_request_error"},
    {401, "Unauthorized", "authentication_error"},
    {403, "Forbidden", "permission_error"},
    {404, "Not Found", "not_found_error"},
    {405, "Method Not Allowed", "invalid_request_error"},
    {408, "Request Timeout", "invalid_request_error"},
    {411, "Length Required", "invalid_request_error"},
    {413, "Content Too Large", "invalid_request_error"},
    {414, "URI Too Long", "invalid_request_error"},
    {415, "Unsupported Media Type", "invalid_request_error"},
    {417, "Expectation Failed", "invalid_request_error"},
    {429, "Too Many Requests", "rate_limit_error"},
    {431, "Request Header Fields Too Large", "invalid_request_error"},
    {499, "Client Closed Request", ""},
    {500, "Internal Server Error", "server_error"},
    {503, "Service Unavailable", "unavailable_error"},
    {504, "Gateway Timeout", "timeout_error"},
    {505, "HTTP Version Not Supported", "invalid_request_error"},
};
#define N_STATUSES (sizeof statuses / sizeof statuses[0])
_Static_assert(N_STATUSES <= HS__N_STATUS, "the metrics have a place for every status");

size_t hs__status_index(int status)
{
    for (size_t i = 0; i < N_STATUSES; i++)
        if (statuses[i].status == status)
            return i;
    return hs__status_index(500);
}

int hs__status_at(size_t index)
{
    return index < N_STATUSES ? statuses[index].status : 0;
}

const char *hs__error_type(int status)
{
    return statuses[hs__status_index(status)].type;
}

int hs__error_status(int code)
{
    switch (code) {
    case -EINVAL:
    case -ERANGE:
    case -E2BIG:
    case -EILSEQ:
        return 400;
    case -EAGAIN:
        return 429;
    case -ESHUTDOWN:
    case -ECANCELED:
    case -ENOMEM:
        return 503;
    case -ETIMEDOUT:
        return 504;
    default:
        return 500;
    }
}

static int put_head(hs__conn *c, hs_buf *b, int status, const char *content_type, const char *extra)
{
    char date[40];
    time_t now = time(NULL);
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    hs_buf_printf(b, "HTTP/1.1 %d %s\r\nServer: hotset/" HOTSET_VERSION "\r\nDate: %s\r\nContent-Type: %s\r\n%s",
                  status, statuses[hs__status_index(status)].reason, date, content_type, extra ? extra : "");
    if (!c->keep_alive)
        hs_buf_puts(b, "Connection: close\r\n");
    else if (c->http.head.http10)
        hs_buf_puts(b, "Connection: keep-alive\r\n");
    c->status = status;
    return b->failed;
}

void hs__reply(hs__conn *c, int status, const char *content_type, const char *extra, const void *body, size_t n)
{
    hs_buf b;
    bool with_body = strcmp(c->http.head.method, "HEAD") != 0;
    hs_buf_init(&b, HEAD_MAX + n);
    put_head(c, &b, status, content_type, extra);
    hs_buf_printf(&b, "Content-Length: %zu\r\n\r\n", n);
    if (with_body)
        hs_buf_append(&b, body, n);
    if (b.failed) {
        hs_buf_deinit(&b);
        hs__conn_close(c);
        return;
    }
    hs__conn_write(c, b.data, b.len);
    hs_buf_deinit(&b);
    hs__conn_response_done(c);
}

void hs__reply_buf(hs__conn *c, int status, const char *content_type, hs_buf *body)
{
    if (body->failed)
        hs__reply_error(c, 500, NULL, NULL, "the answer does not fit into memory");
    else
        hs__reply(c, status, content_type, NULL, body->data ? body->data : "", body->len);
    hs_buf_deinit(body);
}

void hs__collect_init(const hs__conn *c, hs_buf *b)
{
    const hs__budget *budget = &c->server->budget;
    hs_buf_init(b, (size_t)(budget->max - budget->used));
}

void hs__reply_collected(hs__conn *c, hs_buf *body)
{
    if (body->failed || !hs__budget_take(&c->server->budget, body->cap)) {
        hs__reply_error(c, 503, NULL, "no_memory", "the answer does not fit into what server.buffer_memory has left");
        hs_buf_deinit(body);
        return;
    }
    c->collected += body->cap;
    hs__reply_buf(c, 200, "application/json", body);
}

static void put_string_or_null(hs_buf *b, const char *s)
{
    if (s)
        hs_json_string(b, s, strlen(s));
    else
        hs_buf_puts(b, "null");
}

/* Sentences may quote what a client sent: anything that is not UTF-8 becomes '?'. */
static void put_sentence(hs_buf *b, const char *s)
{
    json_t *check = json_stringn(s, strlen(s));
    if (check) {
        hs_json_string(b, s, strlen(s));
        json_decref(check);
        return;
    }
    hs_buf_puts(b, "\"");
    for (; *s; s++)
        hs_json_escape(b, (unsigned char)*s < 0x80 ? s : "?", 1);
    hs_buf_puts(b, "\"");
}

void hs__error_object(hs_buf *b, int status, const char *param, const char *code, const char *sentence)
{
    hs_buf_puts(b, "{\"error\":{\"message\":");
    put_sentence(b, sentence);
    hs_buf_printf(b, ",\"type\":\"%s\",\"param\":", hs__error_type(status));
    if (param)
        put_sentence(b, param);
    else
        hs_buf_puts(b, "null");
    hs_buf_puts(b, ",\"code\":");
    put_string_or_null(b, code);
    hs_buf_puts(b, "}}");
}

static const char *extra_lines(const hs__conn *c, int status)
{
    switch (status) {
    case 401:
        return "WWW-Authenticate: Bearer\r\n";
    case 405:
        return hs__route_allow(&c->http.head);
    case 429:
    case 503:
        return "Retry-After: 5\r\n";
    default:
        return NULL;
    }
}

void hs__reply_error(hs__conn *c, int status, const char *param, const char *code, const char *fmt, ...)
{
    char sentence[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, ap);
    va_end(ap);
    hs_buf b;
    hs_buf_init(&b, 16384);
    hs__error_object(&b, status, param, code, sentence);
    hs_buf_puts(&b, "\n");
    if (b.failed)
        hs__conn_close(c);
    else
        hs__reply(c, status, "application/json", extra_lines(c, status), b.data, b.len);
    hs_buf_deinit(&b);
}

void hs__stream_begin(hs__conn *c, const char *content_type)
{
    hs_buf b;
    hs_buf_init(&b, HEAD_MAX);
    if (c->http.head.http10)
        c->keep_alive = false; /* the end of the answer is the end of the connection */
    put_head(c, &b, 200, content_type, "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
    if (!c->http.head.http10)
        hs_buf_puts(&b, "Transfer-Encoding: chunked\r\n");
    hs_buf_puts(&b, "\r\n");
    c->streaming = true;
    if (b.failed)
        hs__conn_close(c);
    else
        hs__conn_write(c, b.data, b.len);
    hs_buf_deinit(&b);
}

void hs__stream_write(hs__conn *c, const void *data, size_t n)
{
    if (!n)
        return;
    if (c->http.head.http10) {
        hs__conn_write(c, data, n);
        return;
    }
    hs_buf b;
    hs_buf_init(&b, n + 32);
    hs_buf_printf(&b, "%zx\r\n", n);
    hs_buf_append(&b, data, n);
    hs_buf_puts(&b, "\r\n");
    if (b.failed)
        hs__conn_close(c);
    else
        hs__conn_write(c, b.data, b.len);
    hs_buf_deinit(&b);
}

void hs__stream_end(hs__conn *c, bool keep)
{
    if (!keep)
        c->keep_alive = false;
    if (!c->http.head.http10)
        hs__conn_write(c, "0\r\n\r\n", 5);
    hs__conn_response_done(c);
}
