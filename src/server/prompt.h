/* prompt.h - from a request to a running generation: what chat and plain completions have in common. Room-internal. */
#ifndef HS_SERVER_PROMPT_H
#define HS_SERVER_PROMPT_H

#include "server/openai.h"
#include "server/server_int.h"

/* Makes the prompt's token ids (hs_free) and, for a chat, its text (hs_free; else NULL). */
typedef struct hs__prompt {
    char *text;
    size_t len;
    uint32_t *tokens;
    size_t n_tokens;
} hs__prompt;
typedef int (*hs__prompt_fn)(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret,
                             hs__api_error *e);

/* Parses the body, finds the model, makes the prompt, starts; answers c with an error if one of these fails. */
void hs__prompt_run(hs__conn *c, bool chat, hs__prompt_fn make);
/* Encodes text; e names the field. */
int hs__prompt_encode(const hs_server *s, const hs__model *m, const char *text, size_t len, const char *field,
                      hs__prompt *ret, hs__api_error *e);
/* The token that this model's own chat template puts first, if it is the begin-of-text token, else HS_NO_TOKEN: plain
 * prompts begin with it too. */
uint32_t hs__prompt_find_bos(hs_engine *e);

#endif
