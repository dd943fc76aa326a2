/* harness.h - a server on a thread of its own with a fake engine behind it, and raw sockets to talk to it. */
#ifndef HS_TESTS_HARNESS_H
#define HS_TESTS_HARNESS_H

#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fake_engine.h"
#include "server/server.h"

typedef struct harness {
    char dir[64], path[96], address[110];
    hs_engine *engine;
    hs_server *server;
    pthread_t thread;
    int result;
    hs_err err;
    bool joined;
} harness;

/* Options as tests start from them: a Unix socket in a new folder, small limits. */
hs_server_options harness_options(harness *h);
fake_options harness_fake(void);
/* Creates and runs; the engine is handed over unless still_loading. */
void harness_start(harness *h, const hs_server_options *o, const fake_options *f, bool still_loading);
/* As SIGTERM does; waits for the end. */
void harness_stop(harness *h);
void harness_join(harness *h);
/* Frees everything and removes the folder. */
void harness_end(harness *h);

int harness_connect(const harness *h);
int harness_connect_tcp(uint16_t port);
void send_text(int fd, const char *text);
void send_bytes(int fd, const void *data, size_t n);
/* One read; false at the end. */
bool read_some(int fd, hs_buf *b);
/* Reads until the text occurs in what has come since the buffer was emptied, at most 10 s. */
void read_until(int fd, hs_buf *b, const char *text);
/* Reads until the peer closes. */
void read_to_end(int fd, hs_buf *b);
/* One whole response by Content-Length or chunks, appended to b. */
void read_response(int fd, hs_buf *b);
/* A POST as text; hs_free it. */
char *post(const char *path, const char *body, const char *more_headers);
/* Sends one request on a new connection and gives the whole response. */
void ask(const harness *h, const char *request, hs_buf *ret);
void ask_post(const harness *h, const char *path, const char *body, hs_buf *ret);
/* Waits (at most 10 s) until the engine has this many active requests. */
void wait_active(const harness *h, uint32_t n);
void assert_has(const hs_buf *b, const char *text);
void assert_has_not(const hs_buf *b, const char *text);
int count_of(const hs_buf *b, const char *text);

#endif
