/*
 * http.h - reading requests: a bounded, incremental HTTP/1.1 parser over llhttp, without any socket.
 *
 * Bytes go in as they come; the parser stops after the head (so that the owner can refuse before a body is read) and
 * after the whole message. Everything hostile ends in HS__HTTP_ERROR with the HTTP status to answer. Room-internal.
 */
#ifndef HS_SERVER_HTTP_H
#define HS_SERVER_HTTP_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Bytes that all connections together may hold (bodies, collected answers). */
typedef struct hs__budget {
    uint64_t used, max;
} hs__budget;
/* true and counted, or false. */
bool hs__budget_take(hs__budget *b, uint64_t n);
void hs__budget_give(hs__budget *b, uint64_t n);

/* One header field's value; `overlong` when it did not fit (then text is cut). */
typedef struct hs__field {
    char text[512];
    uint16_t len;
    bool present, repeated, overlong;
} hs__field;

typedef struct hs__head {
    char method[12]; /* "GET", "POST"; "?" for what no route uses */
    char path[256];  /* of the target, without its query */
    uint16_t path_len;
    bool path_overlong;
    hs__field host, origin, authorization, content_type, expect;
    uint64_t content_length; /* 0 if chunked or without body */
    bool chunked, has_length;
    bool http10, keep_alive;
} hs__head;

typedef enum hs__http_event { HS__HTTP_MORE, HS__HTTP_HEAD, HS__HTTP_DONE, HS__HTTP_ERROR } hs__http_event;

typedef struct hs__http {
    llhttp_t parser;
    uint64_t max_header, max_body;
    hs__budget *budget;
    /* read-only */
    hs__head head;
    hs_buf body;
    bool begun; /* bytes of a message have been seen */
    int status; /* HTTP status, after HS__HTTP_ERROR */
    const char *sentence;
    /* private */
    uint64_t header_bytes, reserved;
    uint64_t used; /* bytes of the message so far, chunks' framing included */
    char name[24]; /* lower-case name of the field being read; longer names are none of ours */
    uint8_t name_len;
    bool name_overlong, in_query, expect_head, head_done, is_done;
    hs__field *field;
} hs__http;

/* budget is borrowed and outlives h. */
void hs__http_init(hs__http *h, uint64_t max_header, uint64_t max_body, hs__budget *budget);
void hs__http_deinit(hs__http *h);
/* Reads up to len bytes, *ret_used of them. HS__HTTP_HEAD once per message, then HS__HTTP_DONE (or MORE, when all bytes
 * are used). After HS__HTTP_ERROR nothing more can be read. */
hs__http_event hs__http_feed(hs__http *h, const char *data, size_t len, size_t *ret_used);
/* Forgets the message and its body; ready for the next one. */
void hs__http_next(hs__http *h);

#endif
