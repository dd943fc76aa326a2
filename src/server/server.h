/*
 * server.h - the daemon's front: sockets, HTTP, OpenAI routes, metrics, systemd. What the command line uses of this
 * room.
 *
 * Order of a life:
 *   hs_server_options_from_config, hs_server_model_from_config
 *   hs_server_create      binds and listens; nothing is answered yet
 *   (another thread)      loads engines, hs_server_set_progress while it does, hs_server_set_engine for each that is
 *                         loaded and started, hs_server_set_ready after the last one, or hs_server_set_failed
 *   hs_server_run         serves until SIGTERM, hs_server_stop or hs_server_set_failed
 *   hs_server_destroy     and after it the caller destroys its engines
 *
 * While models load, /health and /ready answer 503 "Loading model". Environment variables are not read here: the caller
 * hands over what systemd left (hs_service_env).
 *
 * Threads: create, run and destroy belong to one thread (the loop thread); the functions marked "any thread" may be
 * called from others between create and destroy.
 */
#ifndef HS_SERVER_SERVER_H
#define HS_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "hotset/hotset.h"

/* [server], [limits], [log], and alias and sampling defaults of [model NAME]. */
extern const hs_option_table hs_server_option_table;

#define HS_SERVER_MAX_LISTEN  16
#define HS_SERVER_MAX_MODELS  16
#define HS_SERVER_MAX_ALIASES 8

/* What the service manager left in the environment, as text; NULL = not set. */
typedef struct hs_service_env {
    const char *notify_socket;                /* NOTIFY_SOCKET */
    const char *watchdog_usec, *watchdog_pid; /* WATCHDOG_USEC, WATCHDOG_PID */
    const char *listen_fds, *listen_pid;      /* LISTEN_FDS, LISTEN_PID */
} hs_service_env;

/* Strings are borrowed for the time of the call that takes the options. */
typedef struct hs_server_options {
    const char *listen;       /* "unix:/run/hotset/api.sock tcp:127.0.0.1:8080": blanks or commas between */
    uint32_t socket_mode;     /* of Unix sockets */
    const char *socket_group; /* NULL or "" = the process's own */
    const char *api_key_file; /* NULL or "" = none */
    uint32_t max_connections;
    uint64_t max_body, max_header; /* bytes of one request */
    uint64_t buffer_memory;        /* bytes of all request bodies and unstreamed answers together */
    uint32_t idle_timeout_s, ping_interval_s;
    uint32_t max_queue, parallel;     /* for hs_engine_options; the server itself does not use them */
    uint32_t max_tokens, max_context; /* of one request; 0 = what the model allows */
    uint32_t request_timeout_s;       /* 0 = none */
    hs_service_env service;
    /* SIGHUP, on the loop thread: re-read the configuration, then call hs_server_apply. May be NULL. An error is
     * logged and the running configuration stays. */
    int (*reload)(void *ctx, hs_err *err);
    void *reload_ctx;
} hs_server_options;

/* A value below zero = not set: then the model's generation_config.json decides, then 1, 1, 0 (off), 0 (off). */
typedef struct hs_sampling_defaults {
    double temperature, top_p, min_p;
    int64_t top_k;
} hs_sampling_defaults;

typedef struct hs_server_model {
    const char *name;
    const char *aliases; /* blanks or commas between; NULL or "" = none */
    hs_sampling_defaults defaults;
} hs_server_model;

/* Reads the server's options; service, reload and reload_ctx are left zero. -EINVAL names the option. */
int hs_server_options_from_config(const hs_config *c, hs_server_options *ret, hs_err *err) HS_MUST_CHECK;
/* The i-th [model NAME] section. */
int hs_server_model_from_config(const hs_config *c, size_t i, hs_server_model *ret, hs_err *err) HS_MUST_CHECK;

/* The most memory this room can hold with these options: every connection, buffer and parse at its maximum. For
 * hs_engine_options.memory_outside. */
uint64_t hs_server_memory_bytes(const hs_server_options *o);

typedef struct hs_server hs_server;

/* Binds all sockets (inherited ones replace o->listen) and reads the key file. Names must be distinct, aliases
 * included; n_models >= 1. Errors name the address, the file or the model. Everything is copied. */
int hs_server_create(const hs_server_options *o, const hs_server_model *models, size_t n_models, hs_server **ret_server,
                     hs_err *err) HS_MUST_CHECK;
/* Holds SIGTERM, SIGINT and SIGHUP back in this thread and in those it starts from now on, until hs_server_run takes
 * them. Called first of all, so that none of them kills a process that has only begun. */
void hs_server_hold_signals(void);
/* Serves. Takes SIGTERM, SIGINT and SIGHUP (and holds them back again when it returns), ignores SIGPIPE. The first
 * SIGTERM or SIGINT drains (running requests have at most 20 s), a second one ends at once; both return 0. After
 * hs_server_set_failed: its code and sentence. When it returns no request is left in any engine. Once per server. */
int hs_server_run(hs_server *s, hs_err *err) HS_MUST_CHECK;
/* Closes everything and removes the Unix sockets that create made. NULL-safe. */
void hs_server_destroy(hs_server **s);

/* Would they do? Names, keys, addresses, group; opens nothing, so that it may be asked beside a server that runs.
 * n_models may be 0: of the options alone. */
int hs_server_check(const hs_server_options *o, const hs_server_model *models, size_t n_models,
                    hs_err *err) HS_MUST_CHECK;
/* Is this text a list for hs_server_options.listen? -EINVAL names the address that is none. Opens nothing. */
int hs_server_check_listen(const char *listen, hs_err *err) HS_MUST_CHECK;

/* Applies what may change while running: limits, timeouts, keys. Loop thread (from reload). -EINVAL leaves all as it
 * was. */
int hs_server_apply(hs_server *s, const hs_server_options *o, hs_err *err) HS_MUST_CHECK;

/* The address of the i-th listener ("unix:/run/hotset/api.sock", "tcp:127.0.0.1:8080" with the real port), NULL past
 * the end. Borrowed from s. */
const char *hs_server_address(const hs_server *s, size_t i);

/* ---- any thread ---- */

/* The engine of models[model] is loaded and started (hs_engine_start). It must live until the server is destroyed. */
void hs_server_set_engine(hs_server *s, size_t model, hs_engine *e);
/* A short line for systemctl status and /ready ("loading tale: 42 %"); it also extends the service manager's start
 * timeout, so call it only when something has advanced. Cheap enough for every progress call. */
void hs_server_set_progress(hs_server *s, const char *line);
/* All models are loaded and warm: /ready turns 200, READY=1 is sent. */
void hs_server_set_ready(hs_server *s);
/* Loading has failed: hs_server_run returns code with this sentence. */
void hs_server_set_failed(hs_server *s, int code, const char *sentence);
/* A signal has asked to end: a loader should give up. */
bool hs_server_is_stopping(const hs_server *s);
/* As if SIGTERM had come. */
void hs_server_stop(hs_server *s);

#endif
