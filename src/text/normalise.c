/*
 * normalise.c - messages as clients send them, into the shape that a template wants (template_probe.c found it out):
 * content null or an array of text parts, tool-call arguments as JSON strings or as objects, the developer role.
 * What no template can take (pictures, arguments that are not JSON) is refused, naming the message and the field.
 * Threads: none of its own; the input is only read.
 */
#include "text/template_int.h"

#include <string.h>

typedef struct place {
    const hs_template *t;
    size_t message;
    hs_err *err;
} place;

static int no_memory(const place *p)
{
    return hs_err_set(p->err, -ENOMEM, "messages[%zu]: out of memory", p->message);
}

/* ---- content ---- */

/* The parts' texts, one under the other, as a string. */
static int join_parts(const place *p, const json_t *parts, json_t **ret)
{
    hs_buf b;
    const json_t *part;
    size_t i;
    hs_buf_init(&b, HS_TEMPLATE_MAX_OUTPUT);
    json_array_foreach(parts, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (i)
            hs_buf_append(&b, "\n", 1);
        hs_buf_append(&b, json_string_value(text), json_string_length(text));
    }
    int r = b.failed;
    json_t *joined = r == 0 ? json_stringn(b.data ? b.data : "", b.len) : NULL;
    hs_buf_deinit(&b);
    if (r == -E2BIG)
        return hs_err_set(p->err, r, "messages[%zu].content is longer than %u bytes", p->message,
                          HS_TEMPLATE_MAX_OUTPUT);
    if (!joined)
        return no_memory(p);
    *ret = joined;
    return 0;
}

static int check_parts(const place *p, const json_t *parts)
{
    const json_t *part;
    size_t i;
    json_array_foreach(parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type)
            return hs_err_set(p->err, -EINVAL, "messages[%zu].content[%zu].type is missing", p->message, i);
        if (strcmp(type, "text"))
            return hs_err_set(p->err, -EINVAL,
                              "messages[%zu].content[%zu].type is \"%.40s\": this server takes text only", p->message,
                              i, type);
        if (!json_is_string(json_object_get(part, "text")))
            return hs_err_set(p->err, -EINVAL, "messages[%zu].content[%zu].text must be a string", p->message, i);
    }
    return 0;
}

static bool keeps_parts(const hs_template *t, const char *role)
{
    static const struct {
        const char *role;
        unsigned bit;
    } roles[] = {{"system", HS__PARTS_SYSTEM},
                 {"developer", HS__PARTS_SYSTEM},
                 {"user", HS__PARTS_USER},
                 {"assistant", HS__PARTS_ASSISTANT},
                 {"tool", HS__PARTS_TOOL}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!strcmp(roles[i].role, role))
            return t->caps.parts & roles[i].bit;
    }
    return false;
}

static int fix_content(const place *p, json_t *message, const char *role, bool has_calls)
{
    json_t *content = json_object_get(message, "content"), *fixed = NULL;
    int r = 0;
    if (json_is_array(content)) {
        r = check_parts(p, content);
        if (r == 0 && !keeps_parts(p->t, role))
            r = join_parts(p, content, &fixed);
    } else if (!content && strcmp(role, "assistant")) {
        r = hs_err_set(p->err, -EINVAL, "messages[%zu].content is missing", p->message);
    } else if (!content || json_is_null(content) || (json_is_string(content) && !json_string_length(content))) {
        fixed = has_calls && p->t->caps.null_with_calls ? json_null() : json_string("");
        if (!fixed)
            r = no_memory(p);
    } else if (!json_is_string(content)) {
        r = hs_err_set(p->err, -EINVAL, "messages[%zu].content must be a string, null or an array of parts",
                       p->message);
    }
    if (r == 0 && fixed && json_object_set_new(message, "content", fixed) < 0)
        r = no_memory(p);
    return r;
}

/* ---- tool calls ---- */

/* JSON text of an object, with as few digits as its numbers need. */
static json_t *object_text(const json_t *object)
{
    json_error_t e;
    char *text = json_dumps(object, JSON_REAL_PRECISION(15));
    json_t *back = text ? json_loads(text, 0, &e) : NULL;
    if (!json_equal(back, object)) {
        free(text);
        text = json_dumps(object, 0);
    }
    json_decref(back);
    json_t *s = text ? json_string(text) : NULL;
    free(text);
    return s;
}

static int fix_arguments(const place *p, json_t *function, size_t call)
{
    json_t *arguments = json_object_get(function, "arguments"), *fixed = NULL;
    hs__args_style style = p->t->caps.args;
    bool is_text = json_is_string(arguments);
    if (!arguments || json_is_null(arguments) || (is_text && !json_string_length(arguments))) {
        fixed = style == HS__ARGS_STRING ? json_string("{}") : json_object();
    } else if (is_text && style == HS__ARGS_OBJECT) {
        json_error_t e;
        fixed = json_loadb(json_string_value(arguments), json_string_length(arguments), JSON_ALLOW_NUL, &e);
        if (!json_is_object(fixed)) {
            json_decref(fixed);
            return hs_err_set(p->err, -EINVAL, "messages[%zu].tool_calls[%zu].function.arguments is not a JSON object",
                              p->message, call);
        }
    } else if (json_is_object(arguments) && style == HS__ARGS_STRING) {
        fixed = object_text(arguments);
    } else if (!is_text && !json_is_object(arguments)) {
        return hs_err_set(p->err, -EINVAL,
                          "messages[%zu].tool_calls[%zu].function.arguments must be a JSON string or an object",
                          p->message, call);
    } else {
        return 0;
    }
    return fixed && json_object_set_new(function, "arguments", fixed) == 0 ? 0 : no_memory(p);
}

/* Empty lists vanish, since templates ask whether the field is there. */
static int fix_calls(const place *p, json_t *message, bool *ret_has_calls)
{
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    *ret_has_calls = false;
    if (!calls || json_is_null(calls) || (json_is_array(calls) && json_array_size(calls) == 0)) {
        json_object_del(message, "tool_calls");
        return 0;
    }
    if (!json_is_array(calls))
        return hs_err_set(p->err, -EINVAL, "messages[%zu].tool_calls must be an array", p->message);
    calls = json_deep_copy(calls);
    if (!calls || json_object_set_new(message, "tool_calls", calls) < 0)
        return no_memory(p);
    json_array_foreach(calls, i, call)
    {
        json_t *function = json_object_get(call, "function");
        if (!json_is_object(function) || !json_is_string(json_object_get(function, "name")))
            return hs_err_set(p->err, -EINVAL, "messages[%zu].tool_calls[%zu].function.name is missing", p->message, i);
        int r = fix_arguments(p, function, i);
        if (r < 0)
            return r;
    }
    *ret_has_calls = true;
    return 0;
}

/* ---- messages ---- */

static int fix_message(const place *p, json_t *message)
{
    const json_t *role = json_object_get(message, "role");
    bool has_calls;
    if (!json_is_string(role))
        return hs_err_set(p->err, -EINVAL, "messages[%zu].role must be a string", p->message);
    if (!strcmp(json_string_value(role), "developer") && !p->t->caps.knows_developer) {
        if (json_object_set_new(message, "role", json_string("system")) < 0)
            return no_memory(p);
        role = json_object_get(message, "role");
    }
    int r = fix_calls(p, message, &has_calls);
    return r < 0 ? r : fix_content(p, message, json_string_value(role), has_calls);
}

int hs_template_normalise(const hs_template *t, const json_t *messages, json_t **ret_messages, hs_err *err)
{
    place p = {.t = t, .err = err};
    const json_t *message;
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return hs_err_set(err, -EINVAL, "messages must be an array with at least one message");
    json_t *fixed = json_array();
    int r = fixed ? 0 : no_memory(&p);
    json_array_foreach(messages, p.message, message)
    {
        if (r == 0 && !json_is_object(message))
            r = hs_err_set(err, -EINVAL, "messages[%zu] must be an object", p.message);
        if (r < 0)
            break;
        json_t *copy = json_copy((json_t *)message);
        if (!copy || json_array_append_new(fixed, copy) < 0)
            r = no_memory(&p);
        else
            r = fix_message(&p, copy);
    }
    if (r < 0) {
        json_decref(fixed);
        return r;
    }
    *ret_messages = fixed;
    return 0;
}
