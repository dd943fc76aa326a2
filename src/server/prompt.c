/* prompt.c - the common path of the routes with a prompt. The loop thread parses, renders and encodes: all of it is
 * bounded by server.max_body. */
#include "server/prompt.h"

#include <string.h>

#include "base/mem.h"
#include "server/generation.h"

static int find_model(hs_server *s, const hs__params *p, hs__model **ret, hs__api_error *e)
{
    hs__model *m = hs__server_find_model(s, p->model);
    if (!m)
        return hs__api_fail(e, 404, "model", "model_not_found",
                            "there is no model %s; /v1/models lists those there are", p->model);
    if (!m->engine)
        return hs__api_fail(e, 503, NULL, "loading", "Loading model%s%s", *s->progress ? ": " : "", s->progress);
    *ret = m;
    return 0;
}

int hs__prompt_generate(hs__conn *c, hs__model *m, const hs__params *p, const hs__prompt *prompt, hs__api_error *e)
{
    hs__generation_input in = {
        .model = m,
        .params = p,
        .chat = prompt->text != NULL,
        .prompt = prompt->text,
        .prompt_len = prompt->len,
        .tokens = prompt->tokens,
        .n_tokens = prompt->n_tokens,
    };
    return hs__generation_start(c, &in, e);
}

static int run(hs__conn *c, hs__body kind, hs__prompt_fn make, hs__prompt_use use, const json_t *root, hs__api_error *e)
{
    hs__params p;
    hs__model *m = NULL;
    hs__prompt prompt = {0};
    int r = hs__params_parse(root, kind, &p, e);
    if (r == 0)
        r = find_model(c->server, &p, &m, e);
    if (r == 0)
        r = make(c->server, m, &p, &prompt, e);
    if (r == 0)
        r = use(c, m, &p, &prompt, e);
    hs_free(prompt.text);
    hs_free(prompt.is_input);
    hs_free(prompt.tokens);
    return r;
}

void hs__prompt_run(hs__conn *c, hs__body kind, hs__prompt_fn make, hs__prompt_use use)
{
    hs__api_error e = {0};
    json_t *root = NULL;
    int r = hs__body_parse(c->http.body.data ? c->http.body.data : "", c->http.body.len, &root, &e);
    if (r == 0)
        r = run(c, kind, make, use, root, &e);
    json_decref(root);
    if (r < 0)
        hs__reply_error(c, e.status, *e.param ? e.param : NULL, e.code, "%s", e.text);
}

int hs__prompt_encode(const hs_server *s, const hs__model *m, const char *text, size_t len, const char *field,
                      hs__prompt *ret, hs__api_error *e)
{
    hs_err err = {0};
    const hs_tokenizer *t = hs_engine_tokenizer(m->engine);
    if (!t)
        return hs__api_fail(e, 400, field, "no_tokenizer", "model %s has no tokenizer; send token ids", m->name);
    if (len > hs__prompt_max(&s->options))
        return hs__api_fail(e, 400, field, "context_length_exceeded", "the prompt has %zu bytes; %llu are possible",
                            len, (unsigned long long)hs__prompt_max(&s->options));
    int r = hs_tokenizer_encode_rendered(t, text, ret->is_input, len, &ret->tokens, &ret->n_tokens, &err);
    if (r < 0)
        return hs__api_fail(e, hs__error_status(r), field, NULL, "%s", err.text);
    return 0;
}

int hs__prompt_take_ids(const json_t *ids, hs__prompt *ret, hs__api_error *e)
{
    size_t n = json_array_size(ids);
    ret->tokens = hs_malloc((n ? n : 1) * sizeof *ret->tokens);
    if (!ret->tokens)
        return hs__api_fail(e, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < n; i++)
        ret->tokens[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
    ret->n_tokens = n;
    return 0;
}

int hs__prompt_put_bos(const hs__model *m, hs__prompt *p, hs__api_error *e)
{
    if (m->bos == HS_NO_TOKEN || (p->n_tokens && p->tokens[0] == m->bos))
        return 0;
    size_t n = p->n_tokens;
    if (hs_grow(&p->tokens, sizeof *p->tokens, n + 1, &n, n + 1) < 0)
        return hs__api_fail(e, 503, NULL, NULL, "out of memory");
    memmove(p->tokens + 1, p->tokens, p->n_tokens * sizeof *p->tokens);
    p->tokens[0] = m->bos;
    p->n_tokens++;
    return 0;
}

uint32_t hs__prompt_find_bos(hs_engine *e)
{
    const hs_tokenizer *t = hs_engine_tokenizer(e);
    const hs_template *tpl = hs_engine_template(e);
    const json_t *id = json_object_get(hs_engine_generation_config(e), "bos_token_id");
    uint32_t bos = HS_NO_TOKEN, *ids = NULL;
    char *text = NULL;
    size_t len, n = 0;
    if (!t || hs_tokenizer_bos(t) != HS_NO_TOKEN)
        return t ? hs_tokenizer_bos(t) : HS_NO_TOKEN;
    if (!tpl || !json_is_integer(id))
        return HS_NO_TOKEN;
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "x");
    hs_template_input in = {.messages = messages, .add_generation_prompt = true};
    if (messages && hs_template_render(tpl, &in, &text, &len, NULL, NULL) == 0 &&
        hs_tokenizer_encode(t, text, len, true, &ids, &n, NULL) == 0 && n && ids[0] == json_integer_value(id))
        bos = ids[0];
    json_decref(messages);
    hs_free(text);
    hs_free(ids);
    return bos;
}
