/* route_completions.c - /v1/completions: a text, or token ids, is continued. Token ids are taken exactly as given; a
 * text gets the model's begin-of-text token unless it has it already. */
#include "server/prompt.h"

static int make(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    if (json_is_array(p->prompt))
        return hs__prompt_take_ids(p->prompt, ret, e);
    const char *text = json_string_value(p->prompt);
    int r = hs__prompt_encode(s, m, text, json_string_length(p->prompt), "prompt", ret, e);
    if (r == 0)
        r = hs__prompt_put_bos(m, ret, e);
    return r;
}

void hs__route_completions(hs__conn *c)
{
    hs__prompt_run(c, HS__BODY_COMPLETIONS, make, hs__prompt_generate);
}
