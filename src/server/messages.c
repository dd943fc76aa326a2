/* messages.c - request bodies before they mean anything: bounded JSON, and the shape of chat messages. */
#include <stdio.h>
#include <string.h>

#include "server/openai.h"
#include "server/server_int.h"

#define bad(e, name, ...) hs__api_fail(e, 400, name, "invalid_value", __VA_ARGS__)

int hs__json_scan(const char *text, size_t len, hs__api_error *e)
{
    size_t values = 1, depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        if (c == ',' || c == ':' || c == '[' || c == '{')
            values++;
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && depth)
            depth--;
        if (depth > HS__JSON_MAX_DEPTH)
            return bad(e, NULL, "the body is nested more than %d levels deep", HS__JSON_MAX_DEPTH);
        if (values > HS__JSON_MAX_VALUES)
            return bad(e, NULL, "the body has more than %d values", HS__JSON_MAX_VALUES);
    }
    return 0;
}

int hs__body_parse(const char *text, size_t len, json_t **ret_root, hs__api_error *e)
{
    hs_err err = {0};
    json_t *root = NULL;
    int r = hs__json_scan(text, len, e);
    if (r < 0)
        return r;
    if (!len)
        return hs__api_fail(e, 400, NULL, "invalid_json", "the body is empty; expected a JSON object");
    r = hs_json_load(text, len, "request body", &root, &err);
    if (r < 0)
        return hs__api_fail(e, 400, NULL, "invalid_json", "%s", err.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return hs__api_fail(e, 400, NULL, "invalid_json", "the body must be a JSON object");
    }
    *ret_root = root;
    return 0;
}

static bool is_role(const char *role)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (!strcmp(role, roles[i]))
            return true;
    return false;
}

static int check_parts(const json_t *parts, size_t i, hs__api_error *e)
{
    for (size_t j = 0; j < json_array_size(parts); j++) {
        const json_t *part = json_array_get(parts, j);
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type)
            return bad(e, "messages", "messages[%zu].content[%zu].type is missing", i, j);
        if (strcmp(type, "text"))
            return hs__api_fail(e, 400, "messages", "unsupported_content",
                                "messages[%zu].content[%zu] is of type %.40s; only text is supported", i, j, type);
        if (!json_is_string(json_object_get(part, "text")))
            return bad(e, "messages", "messages[%zu].content[%zu].text must be a string", i, j);
    }
    return 0;
}

static int check_tool_calls(const json_t *calls, size_t i, hs__api_error *e)
{
    if (!json_is_array(calls))
        return bad(e, "messages", "messages[%zu].tool_calls must be an array", i);
    for (size_t j = 0; j < json_array_size(calls); j++) {
        const json_t *fn = json_object_get(json_array_get(calls, j), "function");
        const json_t *args = json_object_get(fn, "arguments");
        if (!json_is_string(json_object_get(fn, "name")))
            return bad(e, "messages", "messages[%zu].tool_calls[%zu].function.name must be a string", i, j);
        if (args && !json_is_string(args) && !json_is_object(args))
            return bad(e, "messages", "messages[%zu].tool_calls[%zu].function.arguments must be a string or an object",
                       i, j);
    }
    return 0;
}

static int check_message(const json_t *m, size_t i, hs__api_error *e)
{
    if (!json_is_object(m))
        return bad(e, "messages", "messages[%zu] must be an object", i);
    const char *role = json_string_value(json_object_get(m, "role"));
    if (!role || !is_role(role))
        return bad(e, "messages", "messages[%zu].role must be system, developer, user, assistant or tool", i);
    const json_t *calls = json_object_get(m, "tool_calls");
    if (json_is_null(calls))
        calls = NULL;
    int r = calls ? check_tool_calls(calls, i, e) : 0;
    if (r < 0)
        return r;
    const json_t *content = json_object_get(m, "content");
    if (json_is_array(content))
        return check_parts(content, i, e);
    if (json_is_string(content))
        return 0;
    bool may_be_absent = !strcmp(role, "assistant") && (calls || json_object_get(m, "reasoning_content"));
    if ((!content || json_is_null(content)) && may_be_absent)
        return 0;
    return bad(e, "messages", "messages[%zu].content must be a string or an array of text parts", i);
}

int hs__messages_check(const json_t *messages, hs__api_error *e)
{
    size_t n = json_array_size(messages);
    if (!n)
        return bad(e, "messages", "messages is empty");
    for (size_t i = 0; i < n; i++) {
        int r = check_message(json_array_get(messages, i), i, e);
        if (r < 0)
            return r;
    }
    return 0;
}
