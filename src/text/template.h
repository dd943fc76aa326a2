/*
 * template.h - chat templates: the Jinja subset that published models use, and the shapes in which clients send
 * messages.
 *
 * A template is compiled once and immutable afterwards: several threads may render it. Untrusted input: nesting, loop
 * turns, output size and memory of a rendering are bounded (HS_TEMPLATE_*), so that a hostile template or request ends
 * in an error, not in a stall.
 */
#ifndef HS_TEXT_TEMPLATE_H
#define HS_TEXT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/checkpoint.h"
#include "base/err.h"
#include "base/json.h"

#define HS_TEMPLATE_MAX_SOURCE (1u << 20)
#define HS_TEMPLATE_MAX_OUTPUT (16u << 20)
#define HS_TEMPLATE_MAX_MEMORY (64u << 20)

typedef struct hs_template hs_template;

/* The chat template of a model folder: chat_template.jinja, else tokenizer_config.json's chat_template (a string, or a
 * list of which "default" is taken); bos_token, eos_token and the like come from tokenizer_config.json. -ENOENT if the
 * folder has no template. A syntax error names file, line and what was expected. */
int hs_template_load(const char *dir, hs_template **ret_template, hs_err *err) HS_MUST_CHECK;
/* The same with the template's text from `file`, special tokens from dir (template MODEL --template FILE). */
int hs_template_load_file(const char *dir, const char *file, hs_template **ret_template, hs_err *err) HS_MUST_CHECK;
/* The template that a GGUF file carries (or, if file is not NULL, that file's text), special tokens from its
 * vocabulary; where names the GGUF file. -ENOENT if it has no template. */
int hs_template_create_gguf(const hs_vocab_data *v, const char *where, const char *file, hs_template **ret_template,
                            hs_err *err) HS_MUST_CHECK;
/* From memory; where: name for sentences; tokenizer_config: an object, or NULL. */
int hs_template_create(const char *source, size_t len, const char *where, const json_t *tokenizer_config,
                       hs_template **ret_template, hs_err *err) HS_MUST_CHECK;
void hs_template_destroy(hs_template **t);

typedef struct hs_template_input {
    const json_t *messages; /* array of objects; required. Templates that read `thinking` get reasoning_content there */
    const json_t *tools;    /* array, or NULL */
    const json_t *kwargs;   /* object of further variables (enable_thinking, …), or NULL */
    bool add_generation_prompt;
    bool continue_final_message; /* cut right after the last message's content */
    int64_t now; /* for strftime_now: seconds since 1970, shown as UTC (the caller adds its zone's offset) */
} hs_template_input;

/* *ret_text is the caller's (hs_free), NUL-terminated, *ret_len without the NUL (U+0000 may occur inside).
 * *ret_is_input (hs_free; NULL: not wanted): for each byte 1 if messages, tools or kwargs brought it, 0 if it is the
 * template's own; hs_tokenizer_encode_rendered takes both. Errors: -EINVAL with the template's own words
 * (raise_exception) or what it could not do, with its line; -E2BIG, -ETIMEDOUT past the bounds. */
int hs_template_render(const hs_template *t, const hs_template_input *in, char **ret_text, size_t *ret_len,
                       uint8_t **ret_is_input, hs_err *err) HS_MUST_CHECK;

/* Brings client-shaped messages (content null or an array of text parts, tool-call arguments as JSON strings) into the
 * shape that this template wants, found out by what it does with probes. *ret_messages is a new reference; errors name
 * the message's index and field. */
int hs_template_normalise(const hs_template *t, const json_t *messages, json_t **ret_messages,
                          hs_err *err) HS_MUST_CHECK;

/* The marks between which this template's model writes its reasoning ("<think>", "</think>"), or NULL if it does not.
 */
typedef struct hs_reasoning_marks {
    const char *begin, *end;
} hs_reasoning_marks;
const hs_reasoning_marks *hs_template_reasoning(const hs_template *t);

#endif
