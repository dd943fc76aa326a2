/*
 * template_probe.c - what a template wants and knows, found out by rendering small conversations.
 * Nothing is decided by a model's name. Probes run once per template, under small limits, so a hostile template costs
 * milliseconds; a probe that fails is an answer, not an error.
 */
#include "text/output_int.h"
#include "text/template_int.h"

#include <string.h>

#include "base/mem.h"

#define PROBE_STEPS  100000
#define PROBE_MEMORY (4u << 20)

#define USER      "{\"role\":\"user\",\"content\":\"probe user\"}"
#define PARTS     "[{\"type\":\"text\",\"text\":\"probe_a\"},{\"type\":\"text\",\"text\":\"probe_b\"}]"
#define OBJECT    "{\"probe_key\":\"probe_value\"}"
#define STRING    "\"{\\\"probe_key\\\": \\\"probe_value\\\"}\""
#define STRING_AS "{\"probe_key\": \"probe_value\"}"

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"probe_call\",\"description\":\"probe\",\"parameters\":{"
    "\"type\":\"object\",\"properties\":{\"probe_key\":{\"type\":\"string\",\"description\":\"probe\"}},"
    "\"required\":[\"probe_key\"]}}}]";

/* Renders messages given as JSON; *ret NULL if the template refuses them. */
static int render(const hs_template *t, const char *messages, bool with_tools, char **ret)
{
    const hs__jlimits limits = {.memory = PROBE_MEMORY, .steps = PROBE_STEPS};
    json_error_t e;
    size_t len;
    json_t *m = json_loads(messages, 0, &e), *tools = with_tools ? json_loads(tools_json, 0, &e) : NULL;
    int r = m && (tools || !with_tools) ? 0 : -ENOMEM;
    *ret = NULL;
    if (r == 0) {
        const hs_template_input in = {.messages = m, .tools = tools, .add_generation_prompt = true};
        r = hs__template_render(t, &in, &limits, ret, &len, NULL, NULL);
    }
    json_decref(m);
    json_decref(tools);
    return r == -ENOMEM ? r : 0;
}

/* A user's message, an assistant's tool call, and its result. */
static char *call_messages(const char *content, const char *arguments, const char *result)
{
    return hs_asprintf("[" USER
                       ",{\"role\":\"assistant\",\"content\":%s,\"tool_calls\":[{\"id\":\"probe0001\",\"type\":"
                       "\"function\",\"function\":{\"name\":\"probe_call\",\"arguments\":%s}}]},{\"role\":\"tool\","
                       "\"content\":%s,\"tool_call_id\":\"probe0001\",\"name\":\"probe_call\"}]",
                       content, arguments, result);
}

/* The text with arguments in this form, or NULL if they do not come out as they should: objects not as Python writes
 * them, strings not quoted again. */
static int probe_call(const hs_template *t, const char *content, const char *arguments, char **ret)
{
    char *messages = call_messages(content, arguments, "\"probe result\""), *out = NULL;
    int r = messages ? render(t, messages, true, &out) : -ENOMEM;
    bool good = out && (arguments[0] == '{' ? strstr(out, "probe_value") && !strstr(out, "'probe_value'")
                                            : strstr(out, STRING_AS) != NULL);
    if (!good) {
        hs_free(out);
        out = NULL;
    }
    hs_free(messages);
    *ret = out;
    return r;
}

/* Both forms are welcome only if they look the same: else the object is what the template was written for. */
static int probe_calls(hs_template *t)
{
    static const char *const contents[] = {"\"\"", "null"};
    bool found = false;
    for (int i = 0; i < 2 && !found; i++) {
        char *object, *string = NULL;
        int r = probe_call(t, contents[i], OBJECT, &object);
        if (r == 0)
            r = probe_call(t, contents[i], STRING, &string);
        found = object || string;
        t->caps.null_with_calls = found && i == 1;
        if (object && string && !strcmp(object, string))
            t->caps.args = HS__ARGS_ANY;
        else if (found)
            t->caps.args = object ? HS__ARGS_OBJECT : HS__ARGS_STRING;
        if (found)
            t->caps.calls = hs__call_format_find(object ? object : string);
        hs_free(object);
        hs_free(string);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A conversation with a message of that role and content. */
static char *role_messages(const hs_template *t, unsigned role, const char *content)
{
    switch (role) {
    case HS__PARTS_SYSTEM:
        return hs_asprintf("[{\"role\":\"system\",\"content\":%s}," USER "]", content);
    case HS__PARTS_USER:
        return hs_asprintf("[{\"role\":\"user\",\"content\":%s}]", content);
    case HS__PARTS_ASSISTANT:
        return hs_asprintf("[" USER ",{\"role\":\"assistant\",\"content\":%s}," USER "]", content);
    default:
        return call_messages(t->caps.null_with_calls ? "null" : "\"\"",
                             t->caps.args == HS__ARGS_STRING ? STRING : OBJECT, content);
    }
}

static int render_role(const hs_template *t, unsigned role, const char *content, char **ret)
{
    char *messages = role_messages(t, role, content);
    *ret = NULL;
    int r = messages ? render(t, messages, role == HS__PARTS_TOOL, ret) : -ENOMEM;
    hs_free(messages);
    return r;
}

/* A template takes parts if it shows them as it would show their texts in one string. */
static int probe_parts(hs_template *t, unsigned role)
{
    static const char *const joined[] = {"\"probe_aprobe_b\"", "\"probe_a\\nprobe_b\"", "\"probe_a probe_b\""};
    char *parts;
    int r = render_role(t, role, PARTS, &parts);
    for (int i = 0; i < 3 && r == 0 && parts; i++) {
        char *whole;
        r = render_role(t, role, joined[i], &whole);
        if (r == 0 && whole && strstr(whole, "probe_a") && !strcmp(parts, whole))
            t->caps.parts |= role;
        hs_free(whole);
    }
    hs_free(parts);
    return r;
}

static int probe_developer(hs_template *t, const char *source, size_t len)
{
    char *out;
    if (!hs__jfind(source, len, "developer", 9))
        return 0;
    int r = render(t, "[{\"role\":\"developer\",\"content\":\"probe_a\"}," USER "]", false, &out);
    t->caps.knows_developer = out && strstr(out, "probe_a");
    hs_free(out);
    return r;
}

int hs__template_probe(hs_template *t, const char *source, size_t len)
{
    int r = probe_calls(t);
    for (unsigned role = HS__PARTS_SYSTEM; role <= HS__PARTS_TOOL && r == 0; role *= 2)
        r = probe_parts(t, role);
    return r < 0 ? r : probe_developer(t, source, len);
}
