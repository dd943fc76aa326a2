/* route_completions.c - /v1/completions: a text, or token ids, is continued. Token ids are taken exactly as given; a
 * text gets the model's begin-of-text token unless it has it already. */
#include <string.h>

#include "base/mem.h"
#include "server/prompt.h"

static int take_ids(const json_t *ids, hs__prompt *ret, hs__api_error *e)
{
    size_t n = json_array_size(ids);
    ret->tokens = hs_malloc(n * sizeof *ret->tokens);
    if (!ret->tokens)
        return hs__api_fail(e, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < n; i++)
        ret->tokens[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
    ret->n_tokens = n;
    return 0;
}

static int put_bos(uint32_t bos, hs__prompt *p, hs__api_error *e)
{
    if (bos == HS_NO_TOKEN || (p->n_tokens && p->tokens[0] == bos))
        return 0;
    size_t n = p->n_tokens;
    if (hs_grow(&p->tokens, sizeof *p->tokens, n + 1, &n, n + 1) < 0)
        return hs__api_fail(e, 503, NULL, NULL, "out of memory");
    memmove(p->tokens + 1, p->tokens, p->n_tokens * sizeof *p->tokens);
    p->tokens[0] = bos;
    p->n_tokens++;
    return 0;
}

static int make(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    if (json_is_array(p->prompt))
        return take_ids(p->prompt, ret, e);
    const char *text = json_string_value(p->prompt);
    int r = hs__prompt_encode(s, m, text, json_string_length(p->prompt), "prompt", ret, e);
    if (r == 0)
        r = put_bos(m->bos, ret, e);
    return r;
}

void hs__route_completions(hs__conn *c)
{
    hs__prompt_run(c, false, make);
}
