/* route_chat.c - /v1/chat/completions: messages through the model's chat template. */
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

static int render(const hs_template *t, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    hs_err err = {0};
    json_t *messages = NULL;
    int r = hs_template_normalise(t, p->messages, &messages, &err);
    if (r == 0) {
        hs_template_input in = {
            .messages = messages,
            .tools = p->tools,
            .kwargs = p->kwargs,
            .add_generation_prompt = p->add_generation_prompt,
            .continue_final_message = p->continue_final_message,
            .now = local_now(),
        };
        r = hs_template_render(t, &in, &ret->text, &ret->len, &err);
    }
    json_decref(messages);
    if (r < 0) {
        /* Past the template's bounds is the request's fault as well: it is this request that needs so much. */
        int status = r == -ENOMEM ? 503 : 400;
        return hs__api_fail(e, status, "messages", "template_error", "%s", err.text);
    }
    return 0;
}

static int make(const hs_server *s, const hs__model *m, const hs__params *p, hs__prompt *ret, hs__api_error *e)
{
    const hs_template *t = hs_engine_template(m->engine);
    if (!t)
        return hs__api_fail(e, 400, "messages", "no_chat_template",
                            "model %s has no chat template; use /v1/completions", m->name);
    int r = render(t, p, ret, e);
    if (r == 0)
        r = hs__prompt_encode(s, m, ret->text, ret->len, "messages", ret, e);
    return r;
}

void hs__route_chat(hs__conn *c)
{
    hs__prompt_run(c, true, make);
}
