/* route_tokenize.c - /tokenize and /detokenize: text to token ids and back, as the model's prompts are made. Special
 * tokens in the text are recognised, and kept on the way back. */
#include "server/prompt.h"

static int encode(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    const char *text = json_string_value(p->prompt);
    int r = hs__prompt_encode(s, m, text, json_string_length(p->prompt), "content", ret, e);
    return r == 0 && p->add_special ? hs__prompt_put_bos(m, ret, e) : r;
}

static int put_ids(hs__conn *c, hs__model *m, const hs__params *p, const hs__prompt *prompt, hs__api_error *e)
{
    hs_buf b;
    (void)m, (void)p, (void)e;
    hs__collect_init(c, &b);
    hs_buf_puts(&b, "{\"tokens\":[");
    for (size_t i = 0; i < prompt->n_tokens && !b.failed; i++)
        hs_buf_printf(&b, i ? ",%u" : "%u", prompt->tokens[i]);
    hs_buf_puts(&b, "]}\n");
    hs__reply_collected(c, &b);
    return 0;
}

void hs__route_tokenize(hs__conn *c)
{
    hs__prompt_run(c, HS__BODY_TOKENIZE, encode, put_ids);
}

static int take(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    (void)s;
    if (!hs_engine_tokenizer(m->engine))
        return hs__api_fail(e, 400, "tokens", "no_tokenizer", "model %s has no tokenizer", m->name);
    return hs__prompt_take_ids(p->prompt, ret, e);
}

static int put_text(hs__conn *c, hs__model *m, const hs__params *p, const hs__prompt *prompt, hs__api_error *e)
{
    hs_buf text, b;
    hs_err err = {0};
    (void)p;
    hs__collect_init(c, &text);
    int r = hs_tokenizer_decode(hs_engine_tokenizer(m->engine), prompt->tokens, prompt->n_tokens, false, &text, &err);
    if (r < 0) {
        hs_buf_deinit(&text);
        return hs__api_fail(e, 503, NULL, NULL, "%s", err.text);
    }
    hs__collect_init(c, &b);
    hs_buf_puts(&b, "{\"content\":");
    hs_json_string(&b, text.data ? text.data : "", text.len);
    hs_buf_puts(&b, "}\n");
    hs_buf_deinit(&text);
    hs__reply_collected(c, &b);
    return 0;
}

void hs__route_detokenize(hs__conn *c)
{
    hs__prompt_run(c, HS__BODY_DETOKENIZE, take, put_text);
}
