/*
 * answer.h - what clients get: OpenAI's objects for one generation, whole and as server-sent events, with the receipt.
 * Pure text building into a bounded buffer, whose sticky failure the caller checks. Room-internal.
 */
#ifndef HS_SERVER_ANSWER_H
#define HS_SERVER_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "hotset/hotset.h"

typedef struct hs__meta {
    char id[48];
    int64_t created;
    const char *model;
    bool chat;
} hs__meta;

typedef enum hs__channel { HS__CONTENT, HS__REASONING } hs__channel;

/* "stop", "length" or, where the model has called tools and then stopped, "tool_calls". */
const char *hs__finish_word(hs_finish finish, uint32_t n_calls);

/* OpenAI's usage object, with what the generation cost in usage.hotset. */
void hs__usage_object(hs_buf *b, const hs_receipt *r);

/* The first event of a chat: the role. */
void hs__sse_role(hs_buf *b, const hs__meta *m);
/* A piece of text, UTF-8. Completions have the content channel only. */
void hs__sse_text(hs_buf *b, const hs__meta *m, hs__channel ch, const char *text, size_t n);
/* The begin of call number i, with no arguments yet, and a piece of them. */
void hs__sse_call(hs_buf *b, const hs__meta *m, uint32_t i, const char *id, const char *name, size_t n);
void hs__sse_arguments(hs_buf *b, const hs__meta *m, uint32_t i, const char *text, size_t n);
/* The finish chunk; receipt: with usage in it, or NULL. */
void hs__sse_finish(hs_buf *b, const hs__meta *m, const char *finish, const hs_receipt *receipt);
/* The chunk without choices that stream_options.include_usage asks for. */
void hs__sse_usage(hs_buf *b, const hs__meta *m, const hs_receipt *receipt);
void hs__sse_done(hs_buf *b);
/* A comment line: clients ignore it and keep waiting. */
void hs__sse_comment(hs_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An error in mid-stream. */
void hs__sse_error(hs_buf *b, int status, const char *code, const char *sentence);

/* A call as an object up to its arguments, which follow JSON-escaped, and its end. */
void hs__call_begin(hs_buf *b, const char *id, const char *name, size_t n);
void hs__call_end(hs_buf *b);

/* The whole answer; content and reasoning are escaped JSON text without quotes, reasoning "" = none; calls are objects
 * with commas between them, "" = none. */
void hs__answer_object(hs_buf *b, const hs__meta *m, const hs_buf *content, const hs_buf *reasoning,
                       const hs_buf *calls, const char *finish, const hs_receipt *receipt);

#endif
