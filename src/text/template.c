/*
 * template.c - a chat template: loading, compiling, rendering.
 *
 * The variables of a rendering are those of the reference: the special tokens, then messages, tools and documents (none
 * if absent), add_generation_prompt, then the request's own ones over them. continue_final_message puts a mark behind
 * the last message's text, renders everything, and cuts at the mark.
 * Threads: a template is read-only once it is created; each rendering has its own state.
 */
#include "text/template_int.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define MAX_CONFIG (32u << 20)

static const char continue_mark[] = "CONTINUE_FINAL_MESSAGE_TAG ";

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

/* ---- rendering ---- */

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

/* Messages' reasoning_content under the other name that templates use for it, too: thinking. */
static int add_thinking(hs__jrun *r)
{
    const hs__jval from = hs__jstr("reasoning_content", 17), to = hs__jstr("thinking", 8);
    uint32_t sym = hs__jprogram_find(r->program, "messages", 8);
    const hs__jlist *l = sym == UINT32_MAX ? NULL : r->globals[sym].as.list;
    for (uint32_t i = 0; l && i < l->n; i++) {
        hs__jval *text, *other, copy;
        if (l->items[i].type != HS__J_DICT)
            continue;
        hs__jdict *message = l->items[i].as.dict;
        if (hs__jdict_get(r, message, &from, &text) < 0 || hs__jdict_get(r, message, &to, &other) < 0)
            return r->code;
        if (!text || text->type != HS__J_STR || other)
            continue;
        copy = *text;
        if (hs__jdict_set(r, message, &to, &copy) < 0)
            return r->code;
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
            code = hs__jrun_set(r, key, strlen(key), value);
    }
    if (code == 0)
        code = hs__jrun_set(r, "messages", 8, messages);
    if (code == 0 && t->reads_thinking)
        code = add_thinking(r);
    if (code == 0)
        code = hs__jrun_set(r, "tools", 5, in->tools ? in->tools : json_null());
    if (code == 0)
        code = hs__jrun_set(r, "documents", 9, json_null());
    if (code == 0)
        code = hs__jrun_set(r, "add_generation_prompt", 21, json_boolean(in->add_generation_prompt));
    json_object_foreach((json_t *)in->kwargs, key, value)
    {
        if (code == 0 && !strcmp(key, "messages"))
            code = hs__jfail(r, -EINVAL, "'messages' cannot be given as a template variable");
        if (code == 0)
            code = hs__jrun_set(r, key, strlen(key), value);
    }
    return code;
}

int hs__template_render(const hs_template *t, const hs_template_input *in, const hs__jlimits *limits, char **ret_text,
                        size_t *ret_len, hs_err *err)
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
    if (r == 0) {
        run.out.len = len;
        char *text = hs_buf_take(&run.out);
        if (text) {
            *ret_text = text;
            *ret_len = len;
        } else {
            r = hs_err_set(err, -ENOMEM, "%s: out of memory", t->where);
        }
    }
    hs__jrun_deinit(&run);
    json_decref(marked);
    return r;
}

int hs_template_render(const hs_template *t, const hs_template_input *in, char **ret_text, size_t *ret_len, hs_err *err)
{
    const hs__jlimits limits = {.memory = HS_TEMPLATE_MAX_MEMORY, .steps = HS__J_MAX_STEPS};
    return hs__template_render(t, in, &limits, ret_text, ret_len, err);
}
