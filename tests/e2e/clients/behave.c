/* behave.c - see behave.h. Every behaviour gets a fresh connection in c->fd, which is closed after it. */
#include "behave.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sanitized.h"

#define SLOW_S 1.0 /* between the bytes of slow clients */
/* A tenth of the longest rest between two deeds: under a sanitizer fewer answers are asked for. */
#define REST_S (SANITIZED ? 0.6 : 0.05)

static bool is_stopped(const client *c)
{
    return atomic_load(&c->tally->stop);
}

/* Waits, but not beyond the end of the test. */
static void pause_s(client *c, double seconds)
{
    for (double end = now_s() + seconds; now_s() < end && !is_stopped(c);)
        sleep_s(0.1);
}

/* A response with one of two statuses; busy counts as an answer as well. */
static void expect(client *c, const char *what, int status, int other)
{
    reader in;
    reply r;
    char wanted[32], got[400];
    reader_init(&in, c->fd);
    reader_next(&in, &r);
    snprintf(wanted, sizeof wanted, "%d", status);
    snprintf(got, sizeof got, "%d %s", r.status, r.body ? r.body : "");
    if (r.end == REPLY_STUCK)
        atomic_fetch_add(&c->tally->stuck, 1);
    else if (r.status == 503 && strstr(got, "too_many_connections"))
        atomic_fetch_add(&c->tally->busy, 1);
    else if (r.status != status && r.status != other && !is_stopped(c))
        client_wrong(c, what, wanted, got);
    reply_free(&r);
    reader_deinit(&in);
}

static const question *any_question(client *c)
{
    return &c->questions[client_random(c, c->n_questions)];
}

/* ---- the ways ---- */

static void idle(client *c)
{
    pause_s(c, 0.5 + (double)client_random(c, 4));
}

static void stream_and_read(client *c)
{
    question q = *any_question(c);
    client_exchange(c, &q, true);
}

static void whole(client *c)
{
    question q = *any_question(c);
    client_exchange(c, &q, false);
}

/* Long answers whose client leaves: in the middle, in the prompt, or while it waits. */
static void vanish(client *c, bool reset, bool wait_for_text)
{
    char *body = malloc(8192), *at = body;
    if (!body)
        die("out of memory");
    at += sprintf(at, "{\"temperature\":0,\"ignore_eos\":true,\"max_tokens\":3000,\"stream\":true,\"prompt\":[0");
    for (unsigned i = 0, n = (unsigned)client_random(c, 700) + 1; i < n; i++)
        at += sprintf(at, ",%u", (unsigned)client_random(c, 4000) + 5);
    strcpy(at, "]}");
    char *post = make_post("/v1/completions", body, false);
    char piece[256];
    send_text(c->fd, post);
    for (unsigned n = 0; wait_for_text && n < 5 && recv(c->fd, piece, sizeof piece, 0) > 0; n++)
        ;
    if (!wait_for_text)
        pause_s(c, (double)client_random(c, 100) * 0.002);
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    else
        shutdown(c->fd, SHUT_RDWR);
    free(post);
    free(body);
}

static void vanish_fin(client *c)
{
    vanish(c, false, true);
}

static void vanish_rst(client *c)
{
    vanish(c, true, true);
}

static void cancel_early(client *c)
{
    vanish(c, client_random(c, 2), false);
}

/* Over TCP a client that finished sending cannot be told from one that left. */
static void half_close(client *c)
{
    reader in;
    reply r;
    question q = *any_question(c);
    char *post = question_post(&q, client_random(c, 2), false);
    send_text(c->fd, post);
    shutdown(c->fd, SHUT_WR);
    reader_init(&in, c->fd);
    reader_next(&in, &r);
    if (!c->tcp || r.end == REPLY_STUCK || (r.end == REPLY_WHOLE && r.status == 200))
        client_judge(c, &q, &r, "half closed");
    reply_free(&r);
    reader_deinit(&in);
    free(post);
}

/* Takes an answer byte by byte. One in four is longer than all buffers on its way, and the daemon is to end that. */
static void slow_reader(client *c)
{
    char fields[] = "\"temperature\":0,\"ignore_eos\":true,\"max_tokens\":800,\"prompt\":[0,3,2234,379]";
    const question endless = {.path = "/v1/completions", .fields = fields};
    char byte;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){1024}, sizeof(int));
    char *post = question_post(client_random(c, 4) ? any_question(c) : &endless, true, false);
    send_text(c->fd, post);
    free(post);
    for (unsigned i = 0; i < 20 && !is_stopped(c) && recv(c->fd, &byte, 1, 0) == 1; i++)
        pause_s(c, SLOW_S);
}

/* One byte after the other until the daemon has had enough. */
static void send_slowly(client *c, const char *text)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    for (; *text && !is_stopped(c) && poll(&p, 1, 0) == 0 && send_all(c->fd, text, 1); text++)
        pause_s(c, SLOW_S);
    if (!is_stopped(c))
        expect(c, "a slow sender", 408, 408);
}

static void slow_head(client *c)
{
    send_slowly(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n");
}

static void slow_body(client *c)
{
    send_text(c->fd, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
    send_slowly(c, "{\"prompt\":\"                                                                            ");
}

static void pipeline(client *c)
{
    reader in;
    reply r;
    question q[6];
    unsigned n = 2 + (unsigned)client_random(c, 5);
    for (unsigned i = 0; i < n; i++) {
        q[i] = *any_question(c);
        char *post = question_post(&q[i], client_random(c, 2), i + 1 < n);
        send_text(c->fd, post);
        free(post);
    }
    reader_init(&in, c->fd);
    for (unsigned i = 0; i < n; i++) {
        reader_next(&in, &r);
        bool go_on = client_judge(c, &q[i], &r, "pipelined") && r.end == REPLY_WHOLE;
        reply_free(&r);
        if (!go_on)
            break;
    }
    reader_deinit(&in);
}

static char *repeated(char what, size_t n)
{
    char *text = malloc(n + 1);
    if (!text)
        die("out of memory");
    memset(text, what, n);
    text[n] = '\0';
    return text;
}

static void big_head(client *c)
{
    char *fill = repeated('a', 100000);
    send_text(c->fd, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Fill: ");
    send_text(c->fd, fill);
    free(fill);
    expect(c, "an oversize head", 431, 431);
}

static void big_body(client *c)
{
    char *fill = repeated(' ', 3u << 20);
    bool chunked = client_random(c, 2);
    send_text(c->fd, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n");
    send_text(c->fd, chunked ? "Transfer-Encoding: chunked\r\n\r\n300000\r\n" : "Content-Length: 3145728\r\n\r\n");
    send_text(c->fd, fill);
    free(fill);
    expect(c, "an oversize body", 413, chunked ? 503 : 413); /* or no room for it in server.buffer_memory */
}

static void garbage(client *c)
{
    unsigned char bytes[2000];
    size_t n = 1 + client_random(c, sizeof bytes - 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)client_random(c, 256);
    bytes[0] |= 0x80;
    send_all(c->fd, bytes, n);
    expect(c, "garbage", 400, 400);
}

static void odd_request(client *c)
{
    static const struct {
        const char *text;
        int status;
    } odd[] = {
        {"DELETE /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
        {"GET /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
        {"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404},
        {"GET /health HTTP/1.1\r\n\r\n", 400},
        {"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", 411},
        {"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n[1]", 400},
        {"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400},
        {"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\n{\"prompt\":[1],\"model\":7}",
         400},
        {"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
    };
    size_t i = client_random(c, sizeof odd / sizeof odd[0]);
    send_text(c->fd, odd[i].text);
    expect(c, odd[i].text, odd[i].status, odd[i].status);
}

/* Text to token ids, and what the sequences do meanwhile. */
static void look_around(client *c)
{
    static const char *const ask[] = {
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\n{\"content\":\"Once\"}",
        "GET /slots HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    const char *text = ask[client_random(c, sizeof ask / sizeof ask[0])];
    send_text(c->fd, text);
    expect(c, text, 200, 503);
}

static void deep_json(client *c)
{
    char *deep = repeated('[', 200000), *body = malloc(200100);
    if (!body)
        die("out of memory");
    sprintf(body, "{\"prompt\":%s", deep);
    char *post = make_post("/v1/completions", body, false);
    send_text(c->fd, post);
    free(post);
    free(body);
    free(deep);
    expect(c, "deep JSON", 400, 503);
}

const struct behaviour behaviours[] = {
    {"idle", idle},
    {"stream and read", stream_and_read},
    {"whole answer", whole},
    {"vanish mid-stream (FIN)", vanish_fin},
    {"vanish mid-stream (RST)", vanish_rst},
    {"cancel early", cancel_early},
    {"half-close", half_close},
    {"read a byte a second", slow_reader},
    {"send a head slowly", slow_head},
    {"send a body slowly", slow_body},
    {"pipeline", pipeline},
    {"oversize head", big_head},
    {"oversize body", big_body},
    {"garbage", garbage},
    {"odd requests", odd_request},
    {"look around", look_around},
    {"deep JSON", deep_json},
};
const unsigned n_behaviours = sizeof behaviours / sizeof behaviours[0];

void *client_main(void *arg)
{
    client *c = arg;
    while (!is_stopped(c)) {
        unsigned kind = (unsigned)client_random(c, n_behaviours);
        c->tcp = client_random(c, 4) == 0;
        c->fd = c->tcp ? connect_tcp(c->daemon) : connect_unix(c->daemon);
        if (c->fd < 0) {
            client_wrong(c, "connect", "a connection", "none");
            pause_s(c, 1);
            continue;
        }
        behaviours[kind].run(c);
        close(c->fd);
        atomic_fetch_add(&c->tally->done[kind], 1);
        pause_s(c, (double)client_random(c, 10) * REST_S);
    }
    return NULL;
}
