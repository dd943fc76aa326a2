/* cmd_template.c - a chat request to the prompt that the model's chat template makes of it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/chat.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/shapes.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define MAX_INPUT (64u << 20)

/* ISO 8601 without zone, "2026-01-31T12:00:00", "2026-01-31 12:00" or "2026-01-31", to seconds since 1970 as UTC. */
static int parse_time(const char *text, int64_t *ret)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
                                          "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);
        if (end && *end == '.' && strspn(end + 1, "0123456789") > 0)
            end += 1 + strspn(end + 1, "0123456789");
        if (end && !*end) {
            *ret = (int64_t)timegm(&tm);
            return 0;
        }
    }
    return -EINVAL;
}

int64_t hs_local_now(void)
{
    time_t now = time(NULL);
    struct tm tm = {0};
    localtime_r(&now, &tm);
    return (int64_t)now + tm.tm_gmtoff;
}

/* An optional field of the request that must have the given type; null counts as absent. */
static int field(const json_t *request, const char *key, json_type type, const char *type_name, const json_t **ret,
                 hs_err *err)
{
    const json_t *v = json_object_get(request, key);
    *ret = v && !json_is_null(v) ? v : NULL;
    if (*ret && json_typeof(*ret) != type)
        return hs_err_set(err, -EINVAL, "stdin: %s must be %s", key, type_name);
    return 0;
}

static int render(const hs_template *t, const json_t *request, int64_t now, hs_err *err)
{
    hs_template_input in = {.now = now};
    if (!json_is_object(request))
        return hs_err_set(err, -EINVAL, "stdin: a chat request is a JSON object");
    int r = field(request, "messages", JSON_ARRAY, "a list", &in.messages, err);
    if (r == 0 && !in.messages)
        r = hs_err_set(err, -EINVAL, "stdin: messages is missing");
    if (r == 0)
        r = field(request, "tools", JSON_ARRAY, "a list", &in.tools, err);
    if (r == 0)
        r = field(request, "chat_template_kwargs", JSON_OBJECT, "an object", &in.kwargs, err);
    if (r == 0)
        r = hs_json_bool_or(request, "stdin", "add_generation_prompt", false, &in.add_generation_prompt, err);
    if (r == 0)
        r = hs_json_bool_or(request, "stdin", "continue_final_message", false, &in.continue_final_message, err);
    char *text = NULL;
    size_t len = 0;
    if (r == 0)
        r = hs_template_render(t, &in, &text, &len, NULL, err);
    if (r == 0)
        fwrite(text, 1, len, stdout);
    hs_free(text);
    return r;
}

static int run_template(const hs_args *a)
{
    const char *file = hs_args_text(a, "template"), *time_text = hs_args_text(a, "now");
    int64_t now = hs_local_now();
    if (time_text && parse_time(time_text, &now) < 0)
        return hs_fail_usage(a->verb, "--now needs a time such as 2026-01-31T12:00:00, not '%s'", time_text);
    hs_template *t = NULL;
    json_t *request = NULL;
    char *text = NULL;
    size_t len = 0;
    hs_err err = {0};
    int r = hs_load_template(a->operands[0], file, &t, &err);
    if (r == 0)
        r = hs_read_stdin(MAX_INPUT, &text, &len, &err);
    if (r == 0)
        r = hs_json_load(text, len, "stdin", &request, &err);
    if (r == 0)
        r = render(t, request, now, &err);
    json_decref(request);
    hs_free(text);
    hs_template_destroy(&t);
    return r < 0 ? hs_fail(&err) : 0;
}

static const hs_flag flags[] = {
    {"template", HS_FLAG_TEXT, "FILE", 0, 0, "this template instead of the model's; special tokens stay MODEL's"},
    {"now", HS_FLAG_TEXT, "TIME", 0, 0,
     "the time that the template sees, ISO 8601 without zone (2026-01-31T12:00:00); default the local time"},
    HS_FLAGS_END};

const hs_verb hs_verb_template = {
    .name = "template",
    .synopsis = "MODEL",
    .summary = "A chat request on stdin to the prompt that the model's chat template makes of it.",
    .details =
        "stdin is a JSON object: messages, tools, add_generation_prompt, continue_final_message, "
        "chat_template_kwargs. It is rendered exactly as given; nothing is normalised, nothing added, not even a line "
        "end. MODEL may be a folder that holds only tokenizer files, or a GGUF file.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 1,
    .first = HS_NEEDED_MODEL,
    .run = run_template};
