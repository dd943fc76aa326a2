/*
 * server_int.h - the server's inside: listeners, connections, responses, generations, counters.
 *
 * Everything here lives on the loop thread, except hs__shared (a mutex and flags for hs_server_set_* and the engines'
 * notify callback). A connection carries one request at a time:
 *
 *   READING -> BUSY -> READING ...            conn.c
 *   READING, BUSY -> LINGER -> CLOSING        an answer after which nothing more is read
 *   any -> CLOSING                            client gone, time over, server ends
 *
 * BUSY ends when the response is complete and the socket has taken its last byte.
 */
#ifndef HS_SERVER_SERVER_INT_H
#define HS_SERVER_SERVER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lock.h"
#include "server/http.h"
#include "server/server.h"
#include "text/template.h"
#include "text/tokenizer.h"

#define HS__READ_BYTES        (16u << 10)          /* of one read(2) */
#define HS__INPUT_MAX         (2 * HS__READ_BYTES) /* received and not yet parsed, per connection */
#define HS__OUTPUT_HIGH       (32u << 10) /* waiting for a slow reader: beyond it generated text is left in the engine */
#define HS__OUTPUT_MAX        (HS__OUTPUT_HIGH + (32u << 10))
#define HS__TICK_MS           500
#define HS__DRAIN_S           20
#define HS__LINGER_MS         2000
#define HS__EXTRA_CONNECTIONS 16 /* beyond max_connections: they get a 503 */
#define HS__JSON_MAX_VALUES   16384
#define HS__JSON_MAX_DEPTH    64
#define HS__JSON_VALUE_BYTES  256 /* jansson's object is its biggest value, with a minimum of hash buckets */

typedef struct hs__conn hs__conn;
typedef struct hs__generation hs__generation;

/* ---- options.c ---- */
int hs__options_check(const hs_server_options *o, hs_err *err) HS_MUST_CHECK;
/* Longest rendered prompt, bytes. */
static inline uint64_t hs__prompt_max(const hs_server_options *o)
{
    return 2 * o->max_body;
}

/* ---- address.c ---- */
typedef struct hs__address {
    bool is_tcp, is_loopback;
    char text[160]; /* "unix:PATH", "tcp:ADDRESS:PORT" */
    char path[108];
    struct sockaddr_storage addr;
    socklen_t addr_len;
} hs__address;
int hs__address_parse(const char *text, size_t len, hs__address *ret, hs_err *err) HS_MUST_CHECK;
/* The address a listening socket has. */
int hs__address_of_fd(int fd, hs__address *ret, hs_err *err) HS_MUST_CHECK;
/* Is this Host value (a name or address, perhaps with a port) this machine's own loopback? */
bool hs__host_is_loopback(const char *host);
/* Is this Origin a page of this machine? */
bool hs__origin_is_loopback(const char *origin);
/* A number for the machine that a TCP peer's address belongs to, with HS__CLIENT_TCP set. */
#define HS__CLIENT_TCP (1ull << 63)
uint64_t hs__address_client(const struct sockaddr *peer);

/* ---- listen.c ---- */
typedef struct hs__listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } u;
    hs_server *server;
    hs__address address;
    bool inherited, open;
    bool is_waiting; /* a connection could not be accepted for lack of memory */
    dev_t dev;       /* of the socket file made here, which is removed at the end if it is still that one */
    ino_t ino;
} hs__listener;
/* A listening, close-on-exec socket. Unix: a socket file nobody serves is replaced. */
int hs__listen_fd(const hs__address *a, uint32_t mode, const char *group, int *ret_fd, hs_err *err) HS_MUST_CHECK;
/* As hs__listeners_open would judge, without opening. */
int hs__listeners_check(const hs_server *s, const hs_server_options *o, hs_err *err) HS_MUST_CHECK;
int hs__listeners_open(hs_server *s, const hs_server_options *o, hs_err *err) HS_MUST_CHECK;
/* Begins to accept on all of them. */
int hs__listeners_start(hs_server *s, hs_err *err) HS_MUST_CHECK;
void hs__listener_close(hs__listener *l);

/* ---- listen_fds.c ---- */
#define HS__LISTEN_FDS_START 3
/* Number of inherited sockets (from HS__LISTEN_FDS_START), 0 if there are none or they are meant for another process.
 */
int hs__listen_fds(const hs_service_env *env, long pid, uint32_t *ret_n, hs_err *err) HS_MUST_CHECK;

/* ---- notify.c ---- */
typedef struct hs__notify {
    int fd;               /* -1 = nobody listens */
    uint64_t watchdog_ms; /* 0 = none */
} hs__notify;
int hs__notify_open(hs__notify *n, const hs_service_env *env, long pid, hs_err *err) HS_MUST_CHECK;
void hs__notify_close(hs__notify *n);
/* Lines as sd_notify takes them; never blocks, a full socket drops the message. */
void hs__notify_send(hs__notify *n, const char *fmt, ...) HS_PRINTF(2, 3);

/* ---- access.c ---- */
typedef struct hs__keys {
    char *text; /* the file; keys are NUL-terminated pieces of it */
    const char **keys;
    size_t n;
} hs__keys;
int hs__keys_load(const char *path, hs__keys *ret, hs_err *err) HS_MUST_CHECK;
void hs__keys_free(hs__keys *k);
/* Takes time that depends on the given value's length only. */
bool hs__keys_match(const hs__keys *k, const char *authorization);
/* May this request come in? 0, or the HTTP status to answer with, and *ret_why. */
int hs__access_check(const hs_server *s, const hs__address *a, const hs__head *head, bool open_route,
                     const char **ret_why);

/* ---- metrics.c ---- */
#define HS__HIST_MAX 16
typedef struct hs__histogram {
    const double *bounds; /* [n_bounds], ascending */
    uint32_t n_bounds;
    uint64_t counts[HS__HIST_MAX]; /* [n_bounds + 1], not cumulative */
    double sum;
} hs__histogram;
#define HS__MAX_ROUTES 16
#define HS__N_STATUS   20
typedef struct hs__metrics {
    uint64_t requests[HS__MAX_ROUTES + 1][HS__N_STATUS]; /* [route; the last = no route][status index] */
    uint64_t connections, connections_refused;
    hs__histogram duration, first_token, inter_token;
} hs__metrics;
void hs__metrics_init(hs__metrics *m);
void hs__histogram_add(hs__histogram *h, double v, uint32_t times);
/* status 499 = the client left. */
void hs__metrics_count(hs__metrics *m, size_t route, int status, double seconds);
int hs__metrics_print(const hs_server *s, hs_buf *out);

/* ---- the server ---- */
typedef struct hs__model {
    char *name;
    char *aliases[HS_SERVER_MAX_ALIASES];
    size_t n_aliases;
    hs_sampling_defaults defaults;
    _Atomic(hs_engine *) pending; /* any thread -> loop */
    hs_engine *engine;            /* loop thread; NULL = loading */
    uint32_t bos;                 /* put before plain prompts, or HS_NO_TOKEN */
    uint64_t seen;                /* sum of progress counters at the last watchdog beat */
} hs__model;

typedef struct hs__shared {
    hs_mutex lock;
    char progress[200]; /* (lock) */
    bool progress_new;  /* (lock) */
    hs_err failure;     /* (lock) code 0 = none */
    atomic_bool ready, stopping;
    atomic_uint stop_asked; /* signals' worth of it */
} hs__shared;

struct hs_server {
    hs_server_options options; /* strings NULL: not kept */
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t tick, watchdog;
    uv_signal_t signals[3];
    hs__listener *listeners; /* [n_listeners] */
    size_t n_listeners;
    hs__model *models; /* [n_models] */
    size_t n_models;
    hs__keys keys;
    hs__notify notify;
    hs__metrics metrics;
    hs__budget budget;
    hs__shared shared;
    hs__conn *conns; /* list */
    uint32_t n_conns;
    int64_t started_at; /* seconds since 1970 */
    uint64_t drain_until_ms, status_ms;
    uint64_t told_ms; /* when a failed request was logged last; 0: never */
    char progress[200];
    bool ready, draining, ended, loop_open, ran;
    char read_buffer[HS__READ_BYTES]; /* libuv reads at once: one buffer for all */
};

uint64_t hs__now_ms(const hs_server *s);
void hs__server_drain(hs_server *s);
/* NULL name = the first model. NULL if there is none of that name. */
hs__model *hs__server_find_model(hs_server *s, const char *name);
/* Ends the loop once nothing runs, or at the drain's deadline. */
void hs__server_check_drained(hs_server *s);
int hs__loop_open(hs_server *s, hs_err *err) HS_MUST_CHECK;
/* Closes every handle and waits for it. */
void hs__loop_close(hs_server *s);

/* ---- service.c ---- */
void hs__service_start(hs_server *s);
/* Tells the service manager in a line what this process does. */
void hs__service_status(hs_server *s);
/* Takes over what other threads have left in shared and models[].pending. */
void hs__server_take_shared(hs_server *s);
/* Does a request of this model stand still because its client does not read? */
bool hs__server_waits_for_clients(const hs_server *s, const hs__model *m);

/* ---- conn.c ---- */
typedef enum hs__conn_state { HS__READING, HS__BUSY, HS__LINGER, HS__CLOSING } hs__conn_state;

struct hs__conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } u;
    hs_server *server;
    hs__conn *prev, *next;
    const hs__address *address; /* of the listener */
    hs__conn_state state;
    hs__http http;
    hs_buf input;
    hs__generation *generation;
    uint64_t client;      /* whose request it is, for fair turns */
    uint64_t deadline_ms; /* 0 = none */
    uint64_t behind_ms;   /* time that output of this request has waited for the client */
    uint64_t t_begin_ns, last_write_ms;
    size_t route;       /* for the metrics */
    int status;         /* of the response, 0 = none yet */
    uint64_t collected; /* bytes of the budget that the response holds */
    bool reading, eof, in_process, keep_alive, streaming, response_done, counted;
};

void hs__conn_accept(hs_server *s, hs__listener *l);
void hs__conn_close(hs__conn *c);
void hs__conn_tick(hs__conn *c);
/* Copies and sends; failure closes the connection. */
void hs__conn_write(hs__conn *c, const void *data, size_t n);
size_t hs__conn_unsent(const hs__conn *c);
/* Called when a response has been handed over completely. */
void hs__conn_response_done(hs__conn *c);

/* ---- reply.c ---- */
/* One whole response. extra: further header lines ending in CRLF, or NULL. */
void hs__reply(hs__conn *c, int status, const char *content_type, const char *extra, const void *body, size_t n);
/* Takes the body out of the buffer, which becomes empty; 500 if it has failed. */
void hs__reply_buf(hs__conn *c, int status, const char *content_type, hs_buf *body);
/* For a body whose size the client decides: what server.buffer_memory has left is its maximum, and it is counted there
 * until it has been sent; 503 if it does not fit. */
void hs__collect_init(const hs__conn *c, hs_buf *body);
void hs__reply_collected(hs__conn *c, hs_buf *body);
/* An OpenAI error object; param and code may be NULL. 429 and 503 carry Retry-After. */
void hs__reply_error(hs__conn *c, int status, const char *param, const char *code, const char *fmt, ...)
    HS_PRINTF(5, 6);
/* {"error":{...}} without a line end. */
void hs__error_object(hs_buf *b, int status, const char *param, const char *code, const char *sentence);
const char *hs__error_type(int status);
/* Every status that is ever sent has an index below HS__N_STATUS; hs__status_at gives 0 past the last. */
size_t hs__status_index(int status);
int hs__status_at(size_t index);
/* HTTP status for an engine's or parser's negative errno. */
int hs__error_status(int code);
/* A response of unknown length, in pieces. */
void hs__stream_begin(hs__conn *c, const char *content_type);
void hs__stream_write(hs__conn *c, const void *data, size_t n);
/* keep: the connection may carry another request. */
void hs__stream_end(hs__conn *c, bool keep);

/* ---- routes.c ---- */
typedef struct hs__route {
    const char *method; /* "GET" (HEAD comes with it) or "POST" */
    const char *path;
    void (*handle)(hs__conn *c);
    bool open; /* answered without an API key */
} hs__route;
extern const hs__route hs__routes[];
extern const size_t hs__n_routes;
/* The route of a method and path; on failure n_routes and the status 404 or 405. */
size_t hs__route_find(const hs__head *head, int *ret_status);

/* The header line that a 405 needs, NULL if nothing is at this path. */
const char *hs__route_allow(const hs__head *head);

void hs__route_health(hs__conn *c);
void hs__route_ready(hs__conn *c);
void hs__route_models(hs__conn *c);
void hs__route_metrics(hs__conn *c);
void hs__route_chat(hs__conn *c);
void hs__route_completions(hs__conn *c);
void hs__route_tokenize(hs__conn *c);
void hs__route_detokenize(hs__conn *c);
void hs__route_apply_template(hs__conn *c);
void hs__route_slots(hs__conn *c);
void hs__route_props(hs__conn *c);

#endif
