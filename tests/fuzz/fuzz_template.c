/* rooms: text, timeout: 10, rss_mb: 768 */
/*
 * fuzz_template.c - a chat template that anybody may have written, rendering a chat that anybody may have sent. Input:
 * the template; then the messages as JSON, a fixed chat if there are none; then template variables as JSON.
 *
 * Limits are smaller than the daemon's, so that a template which runs into them costs a fraction of a second here, and
 * one that gets around them is a timeout.
 */
#include "base/mem.h"
#include "parts.h"
#include "text/template_int.h"
#include "text/utf8.h"

#define MEMORY (8u << 20)
#define STEPS  300000

static const char chat[] =
    "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"What is 6 × 7?\"},"
    "{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"I ask.\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"
    "\"function\",\"function\":{\"name\":\"calc\",\"arguments\":{\"a\":6,\"b\":[7,null,1.5,true]}}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"},{\"role\":\"assistant\",\"content\":\" <b>42</b> "
    "\"}]";
static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"calc\",\"description\":\"multiplies\",\"parameters\":{\"type\":"
    "\"object\",\"properties\":{\"a\":{\"type\":\"number\"},\"b\":{\"type\":[\"array\",\"null\"]}},\"required\":[\"a\"]"
    "}}}]";
static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},"
                             "\"additional_special_tokens\":[\"<x>\"]}";

static json_t *load(const char *text, size_t n)
{
    json_t *j = NULL;
    hs_err err;
    return n && hs_json_load(text, n, "input", &j, &err) == 0 ? j : NULL;
}

static void render(const hs_template *t, const hs_template_input *in)
{
    const hs__jlimits limits = {.memory = MEMORY, .steps = STEPS};
    char *text = NULL;
    uint8_t *is_input = NULL;
    size_t len = 0;
    hs_err err = {0};
    int r = hs__template_render(t, in, &limits, &text, &len, &is_input, &err);
    FUZZ_CHECK(r == 0 ? text && is_input : !text && !is_input && r == err.code && *err.text);
    if (r == 0) {
        FUZZ_CHECK(len <= HS_TEMPLATE_MAX_OUTPUT && text[len] == '\0');
        FUZZ_CHECK(hs__utf8_is_valid(text, len));
        for (size_t i = 0; i < len; i++)
            FUZZ_CHECK(is_input[i] <= 1);
    }
    hs_free(text);
    hs_free(is_input);
}

static void use(const hs_template *t, json_t *messages, const json_t *kwargs)
{
    json_t *normal = NULL, *tool_list = load(tools, sizeof tools - 1);
    hs_err err = {0};
    hs_template_input in = {.messages = messages, .tools = tool_list, .kwargs = kwargs, .now = 1768480496};
    render(t, &in);
    in.add_generation_prompt = true;
    if (json_is_array(messages) && hs_template_normalise(t, messages, &normal, &err) == 0) {
        in.messages = normal;
        in.tools = NULL;
        render(t, &in);
    }
    in.add_generation_prompt = false;
    in.continue_final_message = true;
    render(t, &in);
    json_decref(normal);
    json_decref(tool_list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source, *given, *variables;
    size_t n = take_part(&data, &size, &source), n_given = take_part(&data, &size, &given),
           n_variables = take_part(&data, &size, &variables);
    json_t *messages = n_given ? load(given, n_given) : load(chat, sizeof chat - 1);
    json_t *kwargs = load(variables, n_variables), *specials = load(config, sizeof config - 1);
    hs_template *t = NULL;
    hs_err err = {0};
    int r = messages ? hs_template_create(source, n, "fuzz.jinja", specials, &t, &err) : -EINVAL;
    FUZZ_CHECK(r == 0 ? t != NULL : t == NULL && (!messages || (r == err.code && *err.text)));
    if (r == 0)
        use(t, messages, json_is_object(kwargs) ? kwargs : NULL);
    hs_template_destroy(&t);
    json_decref(messages);
    json_decref(kwargs);
    json_decref(specials);
    return 0;
}
