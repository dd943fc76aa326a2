/* route_chat.c - messages through the model's chat template: /v1/chat/completions answers them, /apply-template shows
 * the prompt that they become. */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "server/prompt.h"

/* Local time as strftime_now of templates shows it. */
static int64_t local_now(void)
{
    time_t now = time(NULL);
    struct tm tm;
    return localtime_r(&now, &tm) ? (int64_t)now + tm.tm_gmtoff : (int64_t)now;
}

/* Past the template's bounds is the request's fault as well: it is this request that needs so much. */
static int template_error(int r, const hs_err *err, hs__api_error *e)
{
    return hs__api_fail(e, r == -ENOMEM ? 503 : 400, "messages", "template_error", "%s", err->text);
}

/* A template that writes the same with and without tools does not know them, and they must not be dropped in silence.
 */
static int check_tools(const hs_template *t, hs_template_input in, const hs__prompt *with_tools, hs__api_error *e)
{
    hs_err err = {0};
    char *text = NULL;
    size_t len;
    in.tools = NULL;
    int r = hs_template_render(t, &in, &text, &len, NULL, &err);
    if (r < 0)
        return template_error(r, &err, e);
    bool is_same = len == with_tools->len && !memcmp(text, with_tools->text, len);
    hs_free(text);
    if (is_same)
        return hs__api_fail(e, 400, "tools", "unsupported_parameter", "tools are not known to this model's template");
    return 0;
}

static int render(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    const hs_template *t = hs_engine_template(m->engine);
    hs_err err = {0};
    (void)s;
    if (!t)
        return hs__api_fail(e, 400, "messages", "no_chat_template",
                            "model %s has no chat template; use /v1/completions", m->name);
    json_t *messages = NULL;
    int r = hs_template_normalise(t, p->messages, &messages, &err);
    if (r < 0)
        return template_error(r, &err, e);
    hs_template_input in = {
        .messages = messages,
        .tools = p->tools,
        .kwargs = p->kwargs,
        .add_generation_prompt = p->add_generation_prompt,
        .continue_final_message = p->continue_final_message,
        .now = local_now(),
    };
    r = hs_template_render(t, &in, &ret->text, &ret->len, &ret->is_input, &err);
    if (r < 0)
        r = template_error(r, &err, e);
    else if (p->tools)
        r = check_tools(t, in, ret, e);
    json_decref(messages);
    return r;
}

static int make(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    int r = render(s, m, p, ret, e);
    if (r == 0)
        r = hs__prompt_encode(s, m, ret->text, ret->len, "messages", ret, e);
    return r;
}

void hs__route_chat(hs__conn *c)
{
    hs__prompt_run(c, HS__BODY_CHAT, make, hs__prompt_generate);
}

static int show(hs__conn *c, hs__model *m, const hs__params *p, const hs__prompt *prompt, hs__api_error *e)
{
    hs_buf b;
    (void)m, (void)p, (void)e;
    hs__collect_init(c, &b);
    hs_buf_puts(&b, "{\"prompt\":");
    hs_json_string(&b, prompt->text, prompt->len);
    hs_buf_puts(&b, "}\n");
    hs__reply_collected(c, &b);
    return 0;
}

void hs__route_apply_template(hs__conn *c)
{
    hs__prompt_run(c, HS__BODY_CHAT, render, show);
}
