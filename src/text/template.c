/*
 * template.c - a chat template: its folder, its special tokens, compiling.
 * Threads: a template is read-only once it is created.
 */
#include "text/output_int.h"
#include "text/template_int.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define MAX_CONFIG (32u << 20)

/* ---- special tokens ---- */

/* A token's text: a string, or an object with "content"; NULL if it is neither. */
static json_t *token_text(json_t *v)
{
    json_t *text = json_is_object(v) ? json_object_get(v, "content") : v;
    return json_is_string(text) ? text : NULL;
}

static int collect_specials(const json_t *config, json_t **ret)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    json_t *specials = json_object(), *more = json_object_get(config, "additional_special_tokens");
    int r = specials ? 0 : -1;
    for (size_t i = 0; i < sizeof names / sizeof *names && r == 0; i++) {
        json_t *text = token_text(json_object_get(config, names[i]));
        if (text)
            r = json_object_set(specials, names[i], text);
    }
    json_t *extra = json_object_get(config, "extra_special_tokens"), *token;
    const char *name;
    json_object_foreach(extra, name, token)
    {
        json_t *text = token_text(token);
        if (text && r == 0)
            r = json_object_set(specials, name, text);
    }
    if (r == 0 && json_is_array(more)) {
        json_t *list = json_array(), *item;
        size_t i;
        r = json_object_set_new(specials, "additional_special_tokens", list);
        json_array_foreach(more, i, item)
        {
            json_t *text = token_text(item);
            if (text && r == 0)
                r = json_array_append(list, text);
        }
    }
    if (r < 0) {
        json_decref(specials);
        return -ENOMEM;
    }
    *ret = specials;
    return 0;
}

/* ---- compiling ---- */

static bool mentions(const char *source, size_t len, const char *what)
{
    return hs__jfind(source, len, what, strlen(what)) != NULL;
}

/* A model that writes its reasoning between marks has a template that knows the end mark: earlier turns are cut there.
 */
static const hs_reasoning_marks *find_marks(const char *source, size_t len)
{
    static const hs_reasoning_marks known[] = {
        {"<think>", "</think>"},
        {"[THINK]", "[/THINK]"},
        {"<seed:think>", "</seed:think>"},
        {"<|START_THINKING|>", "<|END_THINKING|>"},
        {"<longcat_think>", "</longcat_think>"},
        {"<thinking>", "</thinking>"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (mentions(source, len, known[i].end))
            return &known[i];
    }
    return NULL;
}

int hs_template_create(const char *source, size_t len, const char *where, const json_t *tokenizer_config,
                       hs_template **ret_template, hs_err *err)
{
    hs_template *t = hs_calloc(1, sizeof *t);
    int r = t ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    if (r == 0) {
        t->where = hs_strdup(where);
        if (!t->where || collect_specials(tokenizer_config, &t->specials) < 0)
            r = hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    }
    if (r == 0)
        r = hs__jprogram_compile(&t->program, source, len, t->where, err);
    if (r == 0) {
        t->marks = find_marks(source, len);
        t->mentions_content = mentions(source, len, "content");
        t->reads_thinking = !mentions(source, len, "reasoning_content") &&
                            (mentions(source, len, ".thinking") || mentions(source, len, "['thinking']") ||
                             mentions(source, len, "get('thinking'"));
        r = hs__template_probe(t, source, len);
        if (r < 0)
            hs_err_set(err, r, "%s: out of memory", where);
    }
    if (r < 0) {
        hs_template_destroy(&t);
        return r;
    }
    *ret_template = t;
    return 0;
}

void hs_template_destroy(hs_template **t)
{
    if (!t || !*t)
        return;
    hs__jprogram_deinit(&(*t)->program);
    json_decref((*t)->specials);
    hs_free((*t)->where);
    hs_free(*t);
    *t = NULL;
}

/* ---- loading ---- */

/* dir/tokenizer_config.json; *ret NULL if there is no such file. */
static int load_config(const char *dir, char **ret_path, json_t **ret, hs_err *err)
{
    char *path = hs_asprintf("%s/tokenizer_config.json", dir);
    if (!path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", dir);
    hs_err e;
    json_t *config = NULL;
    int r = hs_json_load_file(path, MAX_CONFIG, &config, &e);
    if (r == 0 && !json_is_object(config))
        r = hs_err_set(&e, -EINVAL, "%s: not an object", path);
    if (r < 0 && r != -ENOENT) {
        hs_err_set(err, r, "%s", e.text);
        json_decref(config);
        hs_free(path);
        return r;
    }
    *ret = config;
    *ret_path = path;
    return 0;
}

/* The text of chat_template in the config: a string, or the list's "default" or only entry. */
static const json_t *config_template(const json_t *config)
{
    const json_t *v = json_object_get(config, "chat_template"), *entry;
    size_t i;
    if (!json_is_array(v))
        return json_is_string(v) ? v : NULL;
    json_array_foreach(v, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const json_t *text = json_object_get(entry, "template");
        if (json_is_string(text) && ((name && !strcmp(name, "default")) || json_array_size(v) == 1))
            return text;
    }
    return NULL;
}

/* Special tokens from dir; the text from source, whose name is file, or from the config if source is NULL. */
static int load(const char *dir, const char *file, const char *source, size_t len, hs_template **ret_template,
                hs_err *err)
{
    json_t *config = NULL;
    char *path = NULL;
    int r = load_config(dir, &path, &config, err);
    if (r < 0)
        return r;
    const json_t *text = source ? NULL : config_template(config);
    if (source)
        r = hs_template_create(source, len, file, config, ret_template, err);
    else if (text)
        r = hs_template_create(json_string_value(text), json_string_length(text), path, config, ret_template, err);
    else
        r = hs_err_set(err, -ENOENT, "%s: neither chat_template.jinja nor chat_template in tokenizer_config.json", dir);
    hs_free(path);
    json_decref(config);
    return r;
}

int hs_template_load_file(const char *dir, const char *file, hs_template **ret_template, hs_err *err)
{
    char *source;
    size_t len;
    int r = hs_file_read(file, HS_TEMPLATE_MAX_SOURCE, &source, &len, err);
    if (r < 0)
        return r;
    r = load(dir, file, source, len, ret_template, err);
    hs_free(source);
    return r;
}

int hs_template_load(const char *dir, hs_template **ret_template, hs_err *err)
{
    char *file = hs_asprintf("%s/chat_template.jinja", dir);
    if (!file)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", dir);
    int r = hs_template_load_file(dir, file, ret_template, err);
    if (r == -ENOENT)
        r = load(dir, NULL, NULL, 0, ret_template, err);
    hs_free(file);
    return r;
}

const hs_reasoning_marks *hs_template_reasoning(const hs_template *t)
{
    return t->marks;
}

const hs__call_format *hs__template_calls(const hs_template *t)
{
    return t->caps.calls;
}
