/*
 * openai.h - what clients ask for: the bodies of requests, checked field by field.
 * A field that cannot be honoured is refused by its name; a few that change nothing are accepted. Room-internal.
 */
#ifndef HS_SERVER_OPENAI_H
#define HS_SERVER_OPENAI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "hotset/hotset.h"
#include "server/server.h"

typedef struct hs__api_error {
    int status;       /* HTTP */
    char param[80];   /* the field, "" = none */
    const char *code; /* a word for programs, or NULL */
    char text[520];
} hs__api_error;

/* Fills e and returns -EINVAL. */
int hs__api_fail(hs__api_error *e, int status, const char *param, const char *code, const char *fmt, ...)
    HS_PRINTF(5, 6);

/* Whose fields a body may have. */
typedef enum hs__body {
    HS__BODY_CHAT = 1, /* also that of /apply-template */
    HS__BODY_COMPLETIONS = 2,
    HS__BODY_TOKENIZE = 4,
    HS__BODY_DETOKENIZE = 8
} hs__body;

/* Values that the request does not set are negative (numbers), 0 (counts) or NULL. JSON and strings are borrowed from
 * the root. */
typedef struct hs__params {
    const char *model;
    const char *expert_profile;
    const json_t *messages, *tools, *kwargs; /* chat */
    const json_t *prompt;                    /* others: a string, or an array of token ids */
    double temperature, top_p, min_p;
    int64_t top_k;
    bool has_seed;
    uint64_t seed;
    uint32_t max_tokens;
    const char *stop[HS_MAX_STOP];
    uint32_t n_stop;
    bool stream, include_usage, ignore_eos;
    bool add_generation_prompt, continue_final_message;
    bool add_special; /* tokenize: begin with what plain prompts begin with */
} hs__params;

/* Checks the text before it is parsed: at most HS__JSON_MAX_VALUES values, HS__JSON_MAX_DEPTH deep. */
int hs__json_scan(const char *text, size_t len, hs__api_error *e);
/* A request body as JSON: *ret_root is a new reference to an object. */
int hs__body_parse(const char *text, size_t len, json_t **ret_root, hs__api_error *e);

int hs__params_parse(const json_t *root, hs__body kind, hs__params *ret, hs__api_error *e);
/* Request, then configuration, then generation_config.json (may be NULL), then 1, 1, 0, 0. A missing seed is drawn. */
void hs__params_sampling(const hs__params *p, const hs_sampling_defaults *d, const json_t *generation_config,
                         hs_sampling *ret);
/* messages as a chat template may take them: roles, content, tool calls. */
int hs__messages_check(const json_t *messages, hs__api_error *e);

#endif
