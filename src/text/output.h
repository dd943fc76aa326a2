/*
 * output.h - what a model has written, understood while it streams: reasoning, answer, and calls of tools.
 *
 *   text -> [gpt-oss: messages of channels (harmony.c) | others: reasoning (reasoning.c), then calls (calls.c)] ->
 * events
 *
 * The marks between which a model writes these are known by its template (the table in calls.c); they never show up in
 * the answer, unless what is between them is no call: then all of it is part of the answer, since text is never lost.
 * How the stream is cut into pieces makes no difference. Untrusted input; memory is bounded (HS_OUTPUT_MAX). Not
 * thread-safe.
 */
#ifndef HS_TEXT_OUTPUT_H
#define HS_TEXT_OUTPUT_H

#include "text/template.h"
#include "text/tokenizer.h"

/* A call that is longer than that is text. */
#define HS_OUTPUT_MAX_CALL (1u << 20)
/* What an output holds at most: a call while it comes, its arguments, and what waits to be read. */
#define HS_OUTPUT_MAX   (6u * HS_OUTPUT_MAX_CALL)
#define HS_OUTPUT_PIECE 2048u /* text of an event, at most; names of calls are shorter */

typedef enum hs_output_kind {
    HS_OUTPUT_ANSWER,
    HS_OUTPUT_REASONING,
    HS_OUTPUT_CALL,     /* a call begins: text is the tool's name */
    HS_OUTPUT_ARGUMENTS /* of the call that began last: a piece of a JSON object's text */
} hs_output_kind;

typedef struct hs_output_event {
    hs_output_kind kind;
    const char *text; /* valid UTF-8 if all that was pushed is; borrowed until the next call */
    size_t len;
    const char *id; /* CALL: the id that the model gave it, "" if it gives none */
} hs_output_event;

typedef struct hs_output hs_output;

/* t NULL: all is answer. prompt: the rendered text, whose end tells where the model goes on. tools: the request's (only
 * read here), NULL: nothing is taken for a call. */
int hs_output_create(const hs_template *t, const char *prompt, size_t len, const json_t *tools, hs_output **ret_output,
                     hs_err *err) HS_MUST_CHECK;
void hs_output_destroy(hs_output **output);
/* Events must be read before the next push. -ENOMEM, or -E2BIG if they are not; both are final. */
int hs_output_push(hs_output *o, const char *text, size_t len) HS_MUST_CHECK;
/* The stream has ended: what was held back comes out. */
int hs_output_end(hs_output *o) HS_MUST_CHECK;
bool hs_output_next(hs_output *o, hs_output_event *ret);
/* Memory held now, bytes. */
size_t hs_output_bytes(const hs_output *o);

/* The special tokens that the engine must show for this (hs_request_options.shown): *ret_n <= HS_OUTPUT_MAX_SHOWN. */
#define HS_OUTPUT_MAX_SHOWN 8
void hs_output_shown(const hs_template *t, const hs_tokenizer *k, uint32_t ids[HS_OUTPUT_MAX_SHOWN], uint32_t *ret_n);

#endif
