/* prompt.h - from a request's body to a prompt: what the routes that generate and those over text have in common.
 * Room-internal. */
#ifndef HS_SERVER_PROMPT_H
#define HS_SERVER_PROMPT_H

#include "server/openai.h"
#include "server/server_int.h"

/* The prompt's token ids (hs_free) and, for a chat, its text and which of its bytes the client wrote (hs_free; else
 * NULL). */
typedef struct hs__prompt {
    char *text;
    uint8_t *is_input;
    size_t len;
    uint32_t *tokens;
    size_t n_tokens;
} hs__prompt;
typedef int (*hs__prompt_fn)(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret,
                             hs__api_error *e);

/* What is done with it: answers c, or leaves that to a generation. On failure c is not answered. */
typedef int (*hs__prompt_use)(hs__conn *c, hs__model *m, const hs__params *p, const hs__prompt *prompt,
                              hs__api_error *e);

/* Parses the body, finds the model, makes the prompt, uses it; answers c with an error if one of these fails. */
void hs__prompt_run(hs__conn *c, hs__body kind, hs__prompt_fn make, hs__prompt_use use);
/* A use: starts a generation. */
int hs__prompt_generate(hs__conn *c, hs__model *m, const hs__params *p, const hs__prompt *prompt, hs__api_error *e);
/* The ids of an array that hs__params_parse has accepted. */
int hs__prompt_take_ids(const json_t *ids, hs__prompt *ret, hs__api_error *e);
/* Puts the model's begin-of-text token first, if it has one and it is not there. */
int hs__prompt_put_bos(const hs__model *m, hs__prompt *p, hs__api_error *e);
/* Encodes text; if ret says which bytes of it are input, those are plain text. e names the field. */
int hs__prompt_encode(const hs_server *s, const hs__model *m, const char *text, size_t len, const char *field,
                      hs__prompt *ret, hs__api_error *e);
/* The token that this model's own chat template puts first, if it is the begin-of-text token, else HS_NO_TOKEN: plain
 * prompts begin with it too. */
uint32_t hs__prompt_find_bos(hs_engine *e);

#endif
