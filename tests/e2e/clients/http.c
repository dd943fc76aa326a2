/* http.c - sockets and responses as a client sees them. See daemon.h. */
#include "daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int connect_unix(const daemon_t *d)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", d->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const void *)&un, sizeof un) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int connect_tcp(const daemon_t *d)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(d->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const void *)&in, sizeof in) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool send_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

bool send_text(int fd, const char *text)
{
    return send_all(fd, text, strlen(text));
}

char *make_post(const char *path, const char *body, bool keep)
{
    size_t n = strlen(path) + strlen(body) + 256;
    char *text = malloc(n);
    if (!text)
        die("out of memory");
    snprintf(text, n,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
             path, strlen(body), keep ? "" : "Connection: close\r\n", body);
    return text;
}

void reader_init(reader *r, int fd)
{
    *r = (reader){.fd = fd};
}

void reader_deinit(reader *r)
{
    free(r->data);
    *r = (reader){.fd = -1};
}

/* More bytes: 1, 0 at the end, -1 when nothing comes. */
static int more(reader *r, double until)
{
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    double left = until - now_s();
    if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) <= 0)
        return -1;
    char *data = realloc(r->data, r->len + 16384 + 1);
    if (!data)
        die("out of memory");
    r->data = data;
    ssize_t n = recv(r->fd, data + r->len, 16384, 0);
    if (n <= 0)
        return 0;
    r->len += (size_t)n;
    data[r->len] = '\0';
    return 1;
}

/* Until n bytes from `used` on are there. */
static reply_end need(reader *r, size_t n, double until)
{
    while (r->len - r->used < n) {
        int k = more(r, until);
        if (k <= 0)
            return k < 0 ? REPLY_STUCK : REPLY_CUT;
    }
    return REPLY_WHOLE;
}

/* Until the text is there; *ret_at = bytes from `used` up to its end. */
static reply_end need_text(reader *r, const char *text, size_t *ret_at, double until)
{
    for (;;) {
        const char *at = r->len > r->used ? strstr(r->data + r->used, text) : NULL;
        if (at) {
            *ret_at = (size_t)(at - r->data) - r->used + strlen(text);
            return REPLY_WHOLE;
        }
        int k = more(r, until);
        if (k <= 0)
            return k < 0 ? REPLY_STUCK : REPLY_CUT;
    }
}

static void take(reader *r, reply *ret, size_t n)
{
    char *body = realloc(ret->body, ret->len + n + 1);
    if (!body)
        die("out of memory");
    memcpy(body + ret->len, r->data + r->used, n);
    ret->body = body;
    ret->len += n;
    body[ret->len] = '\0';
    r->used += n;
}

static reply_end read_chunks(reader *r, reply *ret, double until)
{
    for (;;) {
        size_t line;
        reply_end e = need_text(r, "\r\n", &line, until);
        if (e != REPLY_WHOLE)
            return e;
        size_t n = strtoul(r->data + r->used, NULL, 16);
        r->used += line;
        e = need(r, n + 2, until);
        if (e != REPLY_WHOLE)
            return e;
        take(r, ret, n);
        r->used += 2;
        if (n == 0)
            return REPLY_WHOLE;
    }
}

/* The value of a header field of the response that begins at `used` and whose head has n bytes; NULL if absent. */
static const char *field(const reader *r, size_t n, const char *name)
{
    const char *end = r->data + r->used + n;
    for (const char *p = r->data + r->used; p < end; p++)
        if (*p == '\n' && !strncasecmp(p + 1, name, strlen(name)))
            return p + 1 + strlen(name);
    return NULL;
}

void reader_next(reader *r, reply *ret)
{
    double until = now_s() + STUCK_S;
    size_t head = 0;
    *ret = (reply){0};
    do {
        ret->end = need_text(r, "\r\n\r\n", &head, until);
        if (ret->end == REPLY_WHOLE && sscanf(r->data + r->used, "HTTP/1.1 %d", &ret->status) != 1)
            ret->end = REPLY_CUT;
        if (ret->end == REPLY_WHOLE && ret->status == 100)
            r->used += head;
    } while (ret->end == REPLY_WHOLE && ret->status == 100);
    if (ret->end == REPLY_WHOLE) {
        const char *length = field(r, head, "Content-Length:"), *coding = field(r, head, "Transfer-Encoding:");
        size_t n = length ? strtoul(length, NULL, 10) : 0;
        r->used += head;
        take(r, ret, 0);
        if (coding) {
            ret->end = read_chunks(r, ret, until);
        } else {
            ret->end = need(r, n, until);
            if (ret->end == REPLY_WHOLE)
                take(r, ret, n);
        }
    }
}

void reply_free(reply *r)
{
    free(r->body);
    *r = (reply){0};
}

char *reply_text(const reply *r, bool chat)
{
    const char *key = chat ? "\"content\":\"" : "\"text\":\"";
    char *text = calloc(1, r->len + 1), *out = text;
    if (!text)
        die("out of memory");
    for (const char *p = r->body; p && (p = strstr(p, key));) {
        for (p += strlen(key); *p && *p != '"'; *out++ = *p++)
            if (*p == '\\' && p[1])
                *out++ = *p++;
    }
    return text;
}
