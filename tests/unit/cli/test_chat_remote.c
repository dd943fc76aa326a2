/* labels: unit */
/* A conversation through a daemon that is played here, answer by answer: what is waited for, told and passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "cli/chat.h"

#define LOADING(text)                                                                                                  \
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n"                                                    \
    "{\"error\":{\"message\":\"Loading model" text "\",\"code\":\"loading\"}}"
#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

typedef struct player {
    char dir[40], path[60], address[70];
    int fd;
    const char *const *answers; /* one a connection, NULL behind the last */
    pthread_t thread;
} player;

typedef struct heard {
    hs_buf text, stages;
} heard;

/* Reads a whole request, whose length its header tells, so that closing resets nothing. */
static void read_request(int fd)
{
    char b[8192];
    size_t n = 0, body = 0;
    const char *end = NULL;
    while (!end || n < (size_t)(end + 4 - b) + body) {
        ssize_t k = read(fd, b + n, sizeof b - 1 - n);
        if (k <= 0)
            return;
        n += (size_t)k;
        b[n] = '\0';
        end = strstr(b, "\r\n\r\n");
        const char *length = strstr(b, "Content-Length: ");
        if (end && length)
            body = (size_t)atoi(length + 16);
    }
}

static void *serve(void *arg)
{
    const player *d = arg;
    for (const char *const *a = d->answers; *a; a++) {
        int fd = accept(d->fd, NULL, NULL);
        if (fd < 0)
            break; /* over before all were asked for */
        read_request(fd);
        for (size_t n = strlen(*a), done = 0; done < n;) {
            ssize_t k = send(fd, *a + done, n - done, MSG_NOSIGNAL);
            if (k <= 0)
                break;
            done += (size_t)k;
        }
        close(fd);
    }
    return NULL;
}

static void play(player *d, const char *const *answers)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(d->dir, sizeof d->dir, "/tmp/hotset-chat-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    snprintf(d->path, sizeof d->path, "%s/s", d->dir);
    snprintf(d->address, sizeof d->address, "unix:%s", d->path);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", d->path);
    d->answers = answers;
    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(d->fd, (const void *)&a, sizeof a), 0);
    assert_int_equal(listen(d->fd, 5), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
}

static void stop(player *d)
{
    shutdown(d->fd, SHUT_RDWR);
    pthread_join(d->thread, NULL);
    close(d->fd);
    unlink(d->path);
    rmdir(d->dir);
}

static void on_text(void *ctx, bool is_reasoning, const char *text, size_t len)
{
    heard *h = ctx;
    if (!is_reasoning)
        hs_buf_append(&h->text, text, len);
}

static void on_status(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    heard *h = ctx;
    hs_buf_printf(&h->stages, "%s %llu/%llu\n", stage, (unsigned long long)done, (unsigned long long)total);
}

/* Asks once; the result, with what was heard. */
static int ask(const char *const *answers, heard *h, hs_err *err)
{
    player d;
    hs_chat *chat = NULL;
    hs_chat_wishes wishes = {.temperature = -1, .top_p = -1, .min_p = -1, .top_k = -1, .max_tokens = -1, .seed = -1};
    hs_chat_sink sink = {h, on_text, on_status};
    hs_chat_cost cost = {0};
    hs_buf_init(&h->text, 1 << 16);
    hs_buf_init(&h->stages, 1 << 16);
    play(&d, answers);
    assert_int_equal(hs_chat_open_remote("tale", d.address, NULL, &wishes, &chat, err), 0);
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "hi");
    int r = chat->ops->ask(chat, messages, &sink, &cost, err);
    json_decref(messages);
    json_decref(cost.hotset);
    chat->ops->close(chat);
    stop(&d);
    return r;
}

static void forget(heard *h)
{
    hs_buf_deinit(&h->text);
    hs_buf_deinit(&h->stages);
}

static void a_model_that_loads_is_waited_for(void **state)
{
    (void)state;
    static const char *const answers[] = {
        LOADING(": loading tale: 42 %"), LOADING(""), LOADING(": loading tale: 97 %"),
        STREAM
        ": queued 2\n\n: prefill 512/2048 tokens, 3 s left\n\n: ping\n\n"
        "data: {\"choices\":[{\"delta\":{\"content\":\"once\"}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{\"content\":\" upon\"},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n",
        NULL};
    heard h;
    hs_err err = {0};
    if (ask(answers, &h, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(h.text.data, "once upon");
    assert_string_equal(h.stages.data, "loading 42/100\nloading 0/0\nloading 97/100\nqueued 0/0\nprefill 512/2048\n");
    forget(&h);
}

static void what_else_is_refused_is_not(void **state)
{
    (void)state;
    static const char *const full[] = {
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"message\":\"too many connections\",\"code\":\"too_many_connections\"}}",
        NULL};
    heard h;
    hs_err err = {0};
    assert_int_equal(ask(full, &h, &err), -EAGAIN);
    assert_string_equal(err.text, "too many connections");
    assert_int_equal(h.text.len + h.stages.len, 0);
    forget(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_loads_is_waited_for),
        cmocka_unit_test(what_else_is_refused_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
