/*
 * openai.c - the fields of requests. One table says for each known field what is done with it; what is not
 * in the table is refused by name, and so is every value that this server would have to ignore.
 */
#include "server/openai.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/server_int.h"

int hs__api_fail(hs__api_error *e, int status, const char *param, const char *code, const char *fmt, ...)
{
    *e = (hs__api_error){.status = status, .code = code};
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

#define bad(e, name, ...) hs__api_fail(e, 400, name, "invalid_value", __VA_ARGS__)

typedef enum field_kind {
    FIELD_NUMBER,      /* double at offset, in [min, max] */
    FIELD_BOOL,        /* bool at offset */
    FIELD_ARRAY,       /* const json_t * at offset */
    FIELD_OBJECT,      /* const json_t * at offset */
    FIELD_ONLY_NUMBER, /* min is the one value possible */
    FIELD_ONLY_BOOL,   /* likewise, min 0 or 1 */
    FIELD_EMPTY,       /* an empty object, array or string */
    FIELD_ANY_STRING,  /* changes nothing here */
    FIELD_ANY_BOOL,    /* likewise */
    FIELD_ANY_OBJECT,  /* likewise */
    FIELD_REFUSED,
    FIELD_CUSTOM
} field_kind;

typedef struct field {
    const char *name;
    unsigned where; /* CHAT | COMPLETIONS … */
    field_kind kind;
    double min, max;
    size_t offset;
    int (*custom)(const char *name, const json_t *v, hs__params *p, hs__api_error *e);
} field;

#define CHAT        HS__BODY_CHAT
#define COMPLETIONS HS__BODY_COMPLETIONS
#define TOKENIZE    HS__BODY_TOKENIZE
#define DETOKENIZE  HS__BODY_DETOKENIZE
#define BOTH        (CHAT | COMPLETIONS)
#define ALL         (BOTH | TOKENIZE | DETOKENIZE)

static int f_model(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (!json_is_string(v) || json_string_length(v) > 256 || strlen(json_string_value(v)) != json_string_length(v))
        return bad(e, name, "model must be a string of at most 256 bytes");
    p->model = json_string_value(v);
    return 0;
}

static int f_expert_profile(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return bad(e, name, "expert_profile must be a string");
    p->expert_profile = json_string_value(v); /* the engine knows what is a name */
    return 0;
}

static int f_integer(const char *name, const json_t *v, int64_t min, int64_t max, int64_t *ret, hs__api_error *e)
{
    double d = json_is_number(v) ? json_number_value(v) : NAN;
    if (!json_is_integer(v) && !(d == floor(d) && fabs(d) < 9e15))
        return bad(e, name, "%s must be an integer", name);
    int64_t n = json_is_integer(v) ? json_integer_value(v) : (int64_t)d;
    if (n < min || n > max)
        return bad(e, name, "%s is %lld; %lld to %lld are possible", name, (long long)n, (long long)min,
                   (long long)max);
    *ret = n;
    return 0;
}

static int f_top_k(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    int64_t n = 0;
    int r = f_integer(name, v, -1, UINT32_MAX, &n, e);
    if (r == 0)
        p->top_k = n < 0 ? 0 : n; /* -1 is how some clients say "off" */
    return r;
}

static int f_seed(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (!json_is_integer(v))
        return bad(e, name, "seed must be an integer of at most 64 bits");
    p->seed = (uint64_t)json_integer_value(v);
    p->has_seed = true;
    return 0;
}

static int f_max_tokens(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    int64_t n = 0;
    int r = f_integer(name, v, 1, UINT32_MAX, &n, e);
    if (r < 0)
        return r;
    if (p->max_tokens && p->max_tokens != (uint32_t)n)
        return bad(e, name, "max_tokens and max_completion_tokens are both given and differ");
    p->max_tokens = (uint32_t)n;
    return 0;
}

static int add_stop(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    size_t n = json_string_length(v);
    if (!json_is_string(v) || n == 0 || n > 256)
        return bad(e, name, "stop must be a string, or an array of strings, of 1 to 256 bytes each");
    if (strlen(json_string_value(v)) != n)
        return bad(e, name, "stop must not have a NUL character");
    if (p->n_stop == HS_MAX_STOP)
        return bad(e, name, "stop has more than %d strings", HS_MAX_STOP);
    p->stop[p->n_stop++] = json_string_value(v);
    return 0;
}

static int f_stop(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (!json_is_array(v))
        return add_stop(name, v, p, e);
    for (size_t i = 0; i < json_array_size(v); i++) {
        int r = add_stop(name, json_array_get(v, i), p, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int f_stream_options(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(v))
        return bad(e, name, "stream_options must be an object");
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        bool is_usage = !strcmp(key, "include_usage");
        if (is_usage && json_is_boolean(value))
            p->include_usage = json_is_true(value);
        else if (!json_is_null(value) && !(!strcmp(key, "include_obfuscation") && json_is_false(value)))
            return bad(
                e, name,
                is_usage ? "stream_options.%.60s must be true or false" : "stream_options.%.60s is not supported", key);
    }
    return 0;
}

static int f_response_format(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    (void)p;
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!type || strcmp(type, "text"))
        return hs__api_fail(e, 400, name, "unsupported_parameter",
                            "response_format %.60s is not supported; only {\"type\": \"text\"} is",
                            type ? type : "without a type");
    return 0;
}

static int f_tool_choice(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    (void)p;
    const char *s = json_string_value(v);
    if (s && (!strcmp(s, "auto") || !strcmp(s, "none")))
        return 0; /* "none" is applied after all fields are read */
    return hs__api_fail(e, 400, name, "unsupported_parameter",
                        "tool_choice must be \"auto\" or \"none\": a call cannot be forced");
}

static int f_service_tier(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    (void)p;
    const char *s = json_string_value(v);
    if (s && (!strcmp(s, "auto") || !strcmp(s, "default")))
        return 0;
    return bad(e, name, "service_tier must be \"auto\" or \"default\"");
}

static int f_modalities(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    (void)p;
    const char *s = json_string_value(json_array_get(v, 0));
    if (json_array_size(v) == 1 && s && !strcmp(s, "text"))
        return 0;
    return hs__api_fail(e, 400, name, "unsupported_parameter", "modalities must be [\"text\"]");
}

static bool is_ids(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= UINT32_MAX)
            return false;
    }
    return json_is_array(v);
}

static int f_prompt(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (json_array_size(v) == 1 && !json_is_integer(json_array_get(v, 0)))
        v = json_array_get(v, 0);
    if (!json_is_string(v) && !(is_ids(v) && json_array_size(v)))
        return bad(e, name, "prompt must be one string or one non-empty array of token ids");
    p->prompt = v;
    return 0;
}

static int f_content(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (!json_is_string(v))
        return bad(e, name, "content must be a string");
    p->prompt = v;
    return 0;
}

static int f_tokens(const char *name, const json_t *v, hs__params *p, hs__api_error *e)
{
    if (!is_ids(v))
        return bad(e, name, "tokens must be an array of token ids");
    p->prompt = v;
    return 0;
}

#define AT(member) .offset = offsetof(hs__params, member)
#define F(field_name, routes, what, ...)                                                                               \
    {                                                                                                                  \
        .name = (field_name), .where = (routes), .kind = (what), __VA_ARGS__                                           \
    }

static const field fields[] = {
    F("model", ALL, FIELD_CUSTOM, .custom = f_model),
    F("messages", CHAT, FIELD_ARRAY, AT(messages)),
    F("prompt", COMPLETIONS, FIELD_CUSTOM, .custom = f_prompt),
    F("content", TOKENIZE, FIELD_CUSTOM, .custom = f_content),
    F("add_special", TOKENIZE, FIELD_BOOL, AT(add_special)),
    F("parse_special", TOKENIZE, FIELD_ONLY_BOOL, .min = 1),
    F("with_pieces", TOKENIZE, FIELD_ONLY_BOOL, .min = 0),
    F("tokens", DETOKENIZE, FIELD_CUSTOM, .custom = f_tokens),
    F("temperature", BOTH, FIELD_NUMBER, .min = 0, .max = 100, AT(temperature)),
    F("top_p", BOTH, FIELD_NUMBER, .min = 1e-6, .max = 1, AT(top_p)),
    F("min_p", BOTH, FIELD_NUMBER, .min = 0, .max = 0.999999, AT(min_p)),
    F("top_k", BOTH, FIELD_CUSTOM, .custom = f_top_k),
    F("seed", BOTH, FIELD_CUSTOM, .custom = f_seed),
    F("stop", BOTH, FIELD_CUSTOM, .custom = f_stop),
    F("max_tokens", BOTH, FIELD_CUSTOM, .custom = f_max_tokens),
    F("max_completion_tokens", CHAT, FIELD_CUSTOM, .custom = f_max_tokens),
    F("stream", BOTH, FIELD_BOOL, AT(stream)),
    F("stream_options", BOTH, FIELD_CUSTOM, .custom = f_stream_options),
    F("expert_profile", BOTH, FIELD_CUSTOM, .custom = f_expert_profile),
    F("ignore_eos", BOTH, FIELD_BOOL, AT(ignore_eos)),
    F("tools", CHAT, FIELD_ARRAY, AT(tools)),
    F("tool_choice", CHAT, FIELD_CUSTOM, .custom = f_tool_choice),
    F("parallel_tool_calls", CHAT, FIELD_ONLY_BOOL, .min = 1),
    F("chat_template_kwargs", CHAT, FIELD_OBJECT, AT(kwargs)),
    F("add_generation_prompt", CHAT, FIELD_BOOL, AT(add_generation_prompt)),
    F("continue_final_message", CHAT, FIELD_BOOL, AT(continue_final_message)),
    /* possible with their neutral value only */
    F("n", BOTH, FIELD_ONLY_NUMBER, .min = 1),
    F("best_of", COMPLETIONS, FIELD_ONLY_NUMBER, .min = 1),
    F("frequency_penalty", BOTH, FIELD_ONLY_NUMBER, .min = 0),
    F("presence_penalty", BOTH, FIELD_ONLY_NUMBER, .min = 0),
    F("repetition_penalty", BOTH, FIELD_ONLY_NUMBER, .min = 1),
    F("repeat_penalty", BOTH, FIELD_ONLY_NUMBER, .min = 1),
    F("logit_bias", BOTH, FIELD_EMPTY),
    F("logprobs", CHAT, FIELD_ONLY_BOOL, .min = 0),
    F("logprobs", COMPLETIONS, FIELD_REFUSED),
    F("top_logprobs", CHAT, FIELD_ONLY_NUMBER, .min = 0),
    F("echo", COMPLETIONS, FIELD_ONLY_BOOL, .min = 0),
    F("suffix", COMPLETIONS, FIELD_EMPTY),
    F("functions", CHAT, FIELD_EMPTY),
    F("response_format", BOTH, FIELD_CUSTOM, .custom = f_response_format),
    F("service_tier", BOTH, FIELD_CUSTOM, .custom = f_service_tier),
    F("modalities", CHAT, FIELD_CUSTOM, .custom = f_modalities),
    F("function_call", CHAT, FIELD_REFUSED),
    F("reasoning_effort", CHAT, FIELD_REFUSED),
    F("verbosity", CHAT, FIELD_REFUSED),
    F("prediction", CHAT, FIELD_REFUSED),
    F("audio", CHAT, FIELD_REFUSED),
    F("web_search_options", CHAT, FIELD_REFUSED),
    F("grammar", BOTH, FIELD_REFUSED),
    F("json_schema", BOTH, FIELD_REFUSED),
    /* accepted, because the answer is the same with and without */
    F("user", BOTH, FIELD_ANY_STRING),
    F("safety_identifier", BOTH, FIELD_ANY_STRING),
    F("prompt_cache_key", BOTH, FIELD_ANY_STRING),
    F("prompt_cache_retention", BOTH, FIELD_ANY_STRING),
    F("metadata", BOTH, FIELD_ANY_OBJECT),
    F("store", BOTH, FIELD_ANY_BOOL),
    F("cache_prompt", BOTH, FIELD_ANY_BOOL),
};

static int only_number(const field *f, const json_t *v, hs__api_error *e)
{
    if (json_is_number(v) && json_number_value(v) == f->min)
        return 0;
    return hs__api_fail(e, 400, f->name, "unsupported_parameter", "%s is not supported: %g is the only possible value",
                        f->name, f->min);
}

static int only_bool(const field *f, const json_t *v, hs__api_error *e)
{
    if (json_is_boolean(v) && json_is_true(v) == (f->min != 0))
        return 0;
    return hs__api_fail(e, 400, f->name, "unsupported_parameter", "%s is not supported: %s is the only possible value",
                        f->name, f->min != 0 ? "true" : "false");
}

static int read_number(const field *f, const json_t *v, double *ret, hs__api_error *e)
{
    if (!json_is_number(v))
        return bad(e, f->name, "%s must be a number", f->name);
    double d = json_number_value(v);
    if (!(d >= f->min && d <= f->max))
        return bad(e, f->name, "%s is %g; %g to %g are possible", f->name, d, f->min, f->max);
    *ret = d;
    return 0;
}

static int wrong_type(const field *f, const char *type, hs__api_error *e)
{
    return bad(e, f->name, "%s must be %s", f->name, type);
}

static bool is_empty(const json_t *v)
{
    return (json_is_object(v) && !json_object_size(v)) || (json_is_array(v) && !json_array_size(v)) ||
           (json_is_string(v) && !json_string_length(v));
}

static int apply(const field *f, const json_t *v, hs__params *p, hs__api_error *e)
{
    void *at = (char *)p + f->offset;
    switch (f->kind) {
    case FIELD_NUMBER:
        return read_number(f, v, at, e);
    case FIELD_BOOL:
        if (!json_is_boolean(v))
            return wrong_type(f, "true or false", e);
        *(bool *)at = json_is_true(v);
        return 0;
    case FIELD_ARRAY:
        if (!json_is_array(v))
            return wrong_type(f, "an array", e);
        *(const json_t **)at = v;
        return 0;
    case FIELD_OBJECT:
        if (!json_is_object(v))
            return wrong_type(f, "an object", e);
        *(const json_t **)at = v;
        return 0;
    case FIELD_ONLY_NUMBER:
        return only_number(f, v, e);
    case FIELD_ONLY_BOOL:
        return only_bool(f, v, e);
    case FIELD_EMPTY:
        if (is_empty(v))
            return 0;
        break;
    case FIELD_ANY_STRING:
        return json_is_string(v) ? 0 : wrong_type(f, "a string", e);
    case FIELD_ANY_BOOL:
        return json_is_boolean(v) ? 0 : wrong_type(f, "true or false", e);
    case FIELD_ANY_OBJECT:
        return json_is_object(v) ? 0 : wrong_type(f, "an object", e);
    case FIELD_CUSTOM:
        return f->custom(f->name, v, p, e);
    case FIELD_REFUSED:
        break;
    }
    return hs__api_fail(e, 400, f->name, "unsupported_parameter", "%s is not supported", f->name);
}

static const field *find_field(const char *name, unsigned where)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if ((fields[i].where & where) && !strcmp(fields[i].name, name))
            return &fields[i];
    return NULL;
}

static int check_tools(const json_t *tools, hs__api_error *e)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i);
        const char *type = json_string_value(json_object_get(t, "type"));
        if (!type || strcmp(type, "function"))
            return bad(e, "tools", "tools[%zu].type must be \"function\"", i);
        if (!json_is_string(json_object_get(json_object_get(t, "function"), "name")))
            return bad(e, "tools", "tools[%zu].function.name must be a string", i);
    }
    return 0;
}

/* What concerns more than one field. */
static int check_together(const json_t *root, hs__body kind, hs__params *p, hs__api_error *e)
{
    const char *prompt = kind == TOKENIZE ? "content" : kind == DETOKENIZE ? "tokens" : "prompt";
    const char *choice = json_string_value(json_object_get(root, "tool_choice"));
    if (choice && !strcmp(choice, "none"))
        p->tools = NULL;
    if (p->tools && !json_array_size(p->tools))
        p->tools = NULL;
    const json_t *options = json_object_get(root, "stream_options");
    if (options && !json_is_null(options) && !p->stream)
        return bad(e, "stream_options", "stream_options needs \"stream\": true");
    if (kind != CHAT)
        return p->prompt ? 0 : bad(e, prompt, "%s is missing", prompt);
    if (!p->messages)
        return bad(e, "messages", "messages is missing");
    const json_t *agp = json_object_get(root, "add_generation_prompt");
    if (p->continue_final_message && !json_is_true(agp))
        p->add_generation_prompt = false;
    else if (p->continue_final_message)
        return bad(e, "continue_final_message", "continue_final_message and add_generation_prompt exclude each other");
    int r = hs__messages_check(p->messages, e);
    return r < 0 || !p->tools ? r : check_tools(p->tools, e);
}

int hs__params_parse(const json_t *root, hs__body kind, hs__params *ret, hs__api_error *e)
{
    hs__params p = {.temperature = -1, .top_p = -1, .min_p = -1, .top_k = -1, .add_generation_prompt = true};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        const field *f = find_field(key, kind);
        if (!f)
            return hs__api_fail(e, 400, key, "unknown_parameter", "%.80s is not a parameter that this server knows",
                                key);
        int r = json_is_null(value) ? 0 : apply(f, value, &p, e);
        if (r < 0)
            return r;
    }
    int r = check_together(root, kind, &p, e);
    if (r == 0)
        *ret = p;
    return r;
}

static double pick(double request, double config, const json_t *model, const char *key, double min, double max,
                   double builtin)
{
    if (request >= 0)
        return request;
    if (config >= 0)
        return config;
    const json_t *v = json_object_get(model, key);
    double d = json_is_number(v) ? json_number_value(v) : -1;
    return d >= min && d <= max ? d : builtin;
}

void hs__params_sampling(const hs__params *p, const hs_sampling_defaults *d, const json_t *model, hs_sampling *ret)
{
    *ret = (hs_sampling){
        .temperature = (float)pick(p->temperature, d->temperature, model, "temperature", 0, 100, 1),
        .top_p = (float)pick(p->top_p, d->top_p, model, "top_p", 1e-6, 1, 1),
        .min_p = (float)pick(p->min_p, d->min_p, model, "min_p", 0, 0.999999, 0),
        .top_k = (uint32_t)pick((double)p->top_k, (double)d->top_k, model, "top_k", 0, UINT32_MAX, 0),
        .seed = p->seed,
    };
    if (!p->has_seed && getrandom(&ret->seed, sizeof ret->seed, 0) != sizeof ret->seed)
        ret->seed = (uint64_t)time(NULL);
}
