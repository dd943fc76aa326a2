/*
 * client.h - a small blocking HTTP/1.1 client over a Unix or TCP socket, for verbs that ask a running daemon.
 *
 * One request per connection. Memory is bounded: a header of 16 KiB, a line of an event stream of 1 MiB, a whole body
 * of HS_CLIENT_MAX_BODY. Each call belongs to one thread; a signal that interrupts a wait is not an error unless `stop`
 * says so.
 */
#ifndef HS_SERVER_CLIENT_H
#define HS_SERVER_CLIENT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS_CLIENT_MAX_BODY (16u << 20)
#define HS_CLIENT_MAX_LINE (1u << 20)

typedef struct hs_client_options {
    const char *address; /* "unix:/run/hotset/api.sock", "tcp:127.0.0.1:8080", or a path that begins with / */
    const char *api_key; /* NULL = none */
    uint32_t timeout_s;  /* of silence from the server; 0 = none */
    const volatile sig_atomic_t *stop; /* nonzero ends the call with -ECANCELED; may be NULL */
} hs_client_options;

/* Sends METHOD path with the JSON text body (NULL = none) and collects the answer's body in ret_body (initialised by
 * the caller). *ret_status is the HTTP status; a status >= 400 is no error of this call. Errors: -ENOENT, -ECONNREFUSED
 * and the like name the address; -EPROTO a malformed answer; -ETIMEDOUT; -ECANCELED. */
int hs_client_call(const hs_client_options *o, const char *method, const char *path, const char *body, size_t body_len,
                   int *ret_status, hs_buf *ret_body, hs_err *err) HS_MUST_CHECK;

typedef struct hs_client_stream hs_client_stream;

/* The same for an event stream (POST). When the status is not 200 the server's error sentence becomes the error, with
 * -EINPROGRESS for 503 while the model loads, -EAGAIN for 429 and any other 503, -ENOENT for 404, -EACCES for 401 and
 * 403, -EINVAL for other 4xx, -EIO for 5xx. */
int hs_client_open(const hs_client_options *o, const char *path, const char *body, size_t body_len,
                   hs_client_stream **ret_stream, hs_err *err) HS_MUST_CHECK;

typedef enum hs_client_event { HS_CLIENT_END, HS_CLIENT_DATA, HS_CLIENT_COMMENT } hs_client_event;
/* Next event: HS_CLIENT_DATA with the text after "data: ", HS_CLIENT_COMMENT with the text after ":" (pings, queue
 * and prefill progress), HS_CLIENT_END after "[DONE]". *ret_text is NUL-terminated and borrowed until the next call.
 * Returns the event, or a negative errno; -EPROTO if the stream ends without [DONE]. */
int hs_client_next(hs_client_stream *s, const char **ret_text, size_t *ret_len, hs_err *err) HS_MUST_CHECK;
/* Closes the connection, which cancels what still runs. NULL-safe. */
void hs_client_close(hs_client_stream **s);

#endif
