/*
 * template_render.c - one chat through a template.
 *
 * The variables of a rendering are those of the reference: the special tokens, then messages, tools and documents (none
 * if absent), add_generation_prompt, then the request's own ones over them. continue_final_message puts a mark behind
 * the last message's text, renders everything, and cuts at the mark.
 *
 * All strings of the request are input, except for the roles that are known: templates put those into their marks.
 * Threads: each rendering has its own state.
 */
#include "text/template_int.h"

#include <string.h>

#include "base/mem.h"

static const char continue_mark[] = "CONTINUE_FINAL_MESSAGE_TAG ";

/* The string of the message that is to be continued: its content, or the text of its last text part. */
static const json_t *final_text(const json_t *message, size_t *ret_part)
{
    const json_t *content = json_object_get(message, "content");
    *ret_part = SIZE_MAX;
    if (json_is_string(content))
        return content;
    for (size_t i = json_array_size(content); i > 0; i--) {
        const json_t *text = json_object_get(json_array_get(content, i - 1), "text");
        if (json_is_string(text)) {
            *ret_part = i - 1;
            return text;
        }
    }
    return NULL;
}

/* The messages with the mark behind the last text; *ret is new, the messages before the last are shared. */
static int mark_final(const hs_template *t, const json_t *messages, const json_t **ret_text, json_t **ret, hs_err *err)
{
    size_t n = json_array_size(messages), part;
    const json_t *last = json_array_get(messages, n - 1), *text = last ? final_text(last, &part) : NULL;
    if (!text || !t->mentions_content)
        return hs_err_set(err, -EINVAL, "%s: continue_final_message, but messages[%zu].content is not a text", t->where,
                          n ? n - 1 : 0);
    json_t *copy = json_copy((json_t *)messages), *message = json_deep_copy(last);
    size_t len = json_string_length(text);
    char *s = hs_malloc(len + sizeof continue_mark);
    int r = s && copy && message ? 0 : -1;
    if (r == 0) {
        memcpy(s, json_string_value(text), len);
        memcpy(s + len, continue_mark, sizeof continue_mark);
        json_t *marked = json_stringn(s, len + sizeof continue_mark - 1),
               *content = json_object_get(message, "content");
        if (part == SIZE_MAX)
            r = json_object_set_new(message, "content", marked);
        else
            r = json_object_set_new(json_array_get(content, part), "text", marked);
    }
    if (r == 0)
        r = json_array_set(copy, n - 1, message);
    hs_free(s);
    json_decref(message);
    if (r < 0) {
        json_decref(copy);
        return hs_err_set(err, -ENOMEM, "%s: out of memory", t->where);
    }
    *ret_text = text;
    *ret = copy;
    return 0;
}

/* The length that remains of the rendering when it is cut at the mark. */
static int cut_at_mark(const hs_template *t, const char *out, size_t len, const json_t *final, size_t *ret, hs_err *err)
{
    size_t n_mark = sizeof continue_mark - 1;
    const char *s = json_string_value(final);
    size_t n = json_string_length(final), skip = hs__jskip_space(s, n);
    n -= skip;
    n -= hs__jtrail_space(s + skip, n);
    const char *at = NULL;
    for (const char *p = out; (p = memmem(p, len - (size_t)(p - out), continue_mark, n_mark - 1)); p++)
        at = p;
    if (!at || !hs__jfind(out, len, s + skip, n))
        return hs_err_set(err, -EINVAL,
                          "%s: continue_final_message, but the template does not show the whole of the "
                          "last message",
                          t->where);
    size_t keep = (size_t)(at - out);
    bool spaced = len - keep >= n_mark && at[n_mark - 1] == ' ';
    *ret = spaced ? keep : keep - hs__jtrail_space(out, keep);
    return 0;
}

/* Messages' reasoning_content under the other name that templates use for it, too: thinking. Not beside both content
 * and calls, which gpt-oss's template refuses: its model writes such messages all the same, and clients send them back.
 */
static int add_thinking(hs__jrun *r)
{
    const hs__jval from = hs__jstr("reasoning_content", 17), to = hs__jstr("thinking", 8),
                   content_key = hs__jstr("content", 7), calls_key = hs__jstr("tool_calls", 10);
    uint32_t sym = hs__jprogram_find(r->program, "messages", 8);
    const hs__jlist *l = sym == UINT32_MAX ? NULL : r->globals[sym].as.list;
    for (uint32_t i = 0; l && i < l->n; i++) {
        hs__jval *text, *other, *content, *calls, copy;
        if (l->items[i].type != HS__J_DICT)
            continue;
        hs__jdict *message = l->items[i].as.dict;
        if (hs__jdict_get(r, message, &from, &text) < 0 || hs__jdict_get(r, message, &to, &other) < 0 ||
            hs__jdict_get(r, message, &content_key, &content) < 0 || hs__jdict_get(r, message, &calls_key, &calls) < 0)
            return r->code;
        if (!text || text->type != HS__J_STR || other || (calls && content && hs__jtruth(content)))
            continue;
        copy = *text;
        if (hs__jdict_set(r, message, &to, &copy) < 0)
            return r->code;
    }
    return 0;
}

static bool is_known_role(const hs__jval *v)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function", "ipython"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (hs__jis(v, roles[i], strlen(roles[i])))
            return true;
    }
    return false;
}

static int own_roles(hs__jrun *r)
{
    const hs__jval key = hs__jstr("role", 4);
    uint32_t sym = hs__jprogram_find(r->program, "messages", 8);
    const hs__jlist *l = sym == UINT32_MAX ? NULL : r->globals[sym].as.list;
    for (uint32_t i = 0; l && i < l->n; i++) {
        hs__jval *role = NULL;
        if (l->items[i].type == HS__J_DICT && hs__jdict_get(r, l->items[i].as.dict, &key, &role) < 0)
            return r->code;
        if (role && is_known_role(role))
            hs__jstr_set_origin(r, role, HS__J_OWN);
    }
    return 0;
}

static int set_variables(hs__jrun *r, const hs_template *t, const hs_template_input *in, const json_t *messages)
{
    const char *key;
    json_t *value;
    int code = 0;
    json_object_foreach(t->specials, key, value)
    {
        if (code == 0)
            code = hs__jrun_set(r, key, strlen(key), value, HS__J_OWN);
    }
    if (code == 0)
        code = hs__jrun_set(r, "messages", 8, messages, HS__J_INPUT);
    if (code == 0)
        code = own_roles(r);
    if (code == 0 && t->reads_thinking)
        code = add_thinking(r);
    if (code == 0)
        code = hs__jrun_set(r, "tools", 5, in->tools ? in->tools : json_null(), HS__J_INPUT);
    if (code == 0)
        code = hs__jrun_set(r, "documents", 9, json_null(), HS__J_OWN);
    if (code == 0)
        code = hs__jrun_set(r, "add_generation_prompt", 21, json_boolean(in->add_generation_prompt), HS__J_OWN);
    json_object_foreach((json_t *)in->kwargs, key, value)
    {
        if (code == 0 && !strcmp(key, "messages"))
            code = hs__jfail(r, -EINVAL, "'messages' cannot be given as a template variable");
        if (code == 0)
            code = hs__jrun_set(r, key, strlen(key), value, HS__J_INPUT);
    }
    return code;
}

/* The first len bytes of the result to the caller. */
static int take_result(hs__jrun *r, size_t len, char **ret_text, size_t *ret_len, uint8_t **ret_is_input)
{
    r->out.len = r->origin.len = len;
    char *text = hs_buf_take(&r->out), *origin = ret_is_input ? hs_buf_take(&r->origin) : NULL;
    if (!text || (ret_is_input && !origin)) {
        hs_free(text);
        hs_free(origin);
        return -ENOMEM;
    }
    *ret_text = text;
    *ret_len = len;
    if (ret_is_input)
        *ret_is_input = (uint8_t *)origin;
    return 0;
}

int hs__template_render(const hs_template *t, const hs_template_input *in, const hs__jlimits *limits, char **ret_text,
                        size_t *ret_len, uint8_t **ret_is_input, hs_err *err)
{
    hs__jrun run;
    json_t *marked = NULL;
    const json_t *final = NULL;
    if (!json_is_array(in->messages))
        return hs_err_set(err, -EINVAL, "%s: messages must be an array", t->where);
    if (in->continue_final_message && in->add_generation_prompt)
        return hs_err_set(err, -EINVAL, "%s: continue_final_message and add_generation_prompt exclude each other",
                          t->where);
    int r = in->continue_final_message ? mark_final(t, in->messages, &final, &marked, err) : 0;
    if (r < 0)
        return r;
    r = hs__jrun_init(&run, &t->program, limits, err);
    run.now = in->now;
    if (r == 0)
        r = set_variables(&run, t, in, marked ? marked : in->messages);
    if (r == 0)
        r = hs__jrun_execute(&run);
    size_t len = run.out.len;
    if (r == 0 && marked)
        r = cut_at_mark(t, run.out.data ? run.out.data : "", len, final, &len, err);
    if (r == 0 && take_result(&run, len, ret_text, ret_len, ret_is_input) < 0)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", t->where);
    hs__jrun_deinit(&run);
    json_decref(marked);
    return r;
}

int hs_template_render(const hs_template *t, const hs_template_input *in, char **ret_text, size_t *ret_len,
                       uint8_t **ret_is_input, hs_err *err)
{
    const hs__jlimits limits = {.memory = HS_TEMPLATE_MAX_MEMORY, .steps = HS__J_MAX_STEPS};
    return hs__template_render(t, in, &limits, ret_text, ret_len, ret_is_input, err);
}
