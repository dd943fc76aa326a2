/*
 * config.c - values of all options, with their origins: setting and finding them.
 * Owns: one entry per declared option, and one list of (key, value) per [model NAME] section.
 * Invariant: every stored value has passed hs_option_check of its option.
 */
#include "base/config.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/config_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/nearest.h"

#define MAX_NAME  43 /* "model NAME" is a section */
#define MAX_VALUE 4000

int hs_config_create(const hs_option_table *tables, size_t n_tables, hs_config **ret_config, hs_err *err)
{
    size_t n = 0;
    for (size_t t = 0; t < n_tables; t++)
        n += tables[t].n;
    hs_config *c = hs_calloc(1, sizeof *c);
    if (c) {
        c->entries = hs_calloc(n, sizeof *c->entries);
        c->model_options = hs_calloc(n, sizeof *c->model_options);
    }
    if (!c || !c->entries || !c->model_options) {
        hs_config_destroy(&c);
        return hs_err_set(err, -ENOMEM, "config: out of memory");
    }
    for (size_t t = 0; t < n_tables; t++) {
        for (size_t i = 0; i < tables[t].n; i++) {
            const hs_option *o = &tables[t].options[i];
            if (!strcmp(o->section, "model"))
                c->model_options[c->n_model_options++] = o;
            else
                c->entries[c->n_entries++].option = o;
        }
    }
    *ret_config = c;
    return 0;
}

static void entry_deinit(hs__config_entry *e)
{
    hs_free(e->value);
    hs_free(e->origin);
    e->value = e->origin = NULL;
}

void hs_config_destroy(hs_config **config)
{
    hs_config *c = *config;
    if (!c)
        return;
    for (size_t i = 0; c->entries && i < c->n_entries; i++)
        entry_deinit(&c->entries[i]);
    for (size_t m = 0; m < c->n_models; m++) {
        for (size_t k = 0; k < c->models[m].n_keys; k++)
            entry_deinit(&c->models[m].keys[k]);
        hs_free(c->models[m].name);
    }
    hs_free(c->entries);
    hs_free(c->model_options);
    hs_free(c);
    *config = NULL;
}

static hs__config_entry *find(const hs_config *c, const char *section, const char *key)
{
    for (size_t i = 0; i < c->n_entries; i++) {
        const hs_option *o = c->entries[i].option;
        if (!strcmp(o->section, section) && !strcmp(o->key, key))
            return &c->entries[i];
    }
    return NULL;
}

static bool section_exists(const hs_config *c, const char *section)
{
    for (size_t i = 0; i < c->n_entries; i++)
        if (!strcmp(c->entries[i].option->section, section))
            return true;
    return false;
}

/* Can it stand in a file? Flags and the environment may bring what no line can hold. */
static bool is_writable(const char *text, size_t max)
{
    size_t n = strlen(text);
    if (n > max || (n && (isspace((unsigned char)*text) || isspace((unsigned char)text[n - 1]))))
        return false;
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)text[i]) || (text[i] == ';' && (!i || text[i - 1] == ' ')))
            return false;
    return true;
}

static int store(hs__config_entry *e, const char *value, const char *origin, hs_err *err)
{
    if (!is_writable(value, MAX_VALUE))
        return hs_err_set(err, -EINVAL,
                          "%s.%s: the value is longer than %d bytes, has a control character, a blank at an end, or a "
                          "comment (\" ;\")",
                          e->option->section, e->option->key, MAX_VALUE);
    int r = hs_option_check(e->option, value, err);
    if (r < 0)
        return r;
    char *v = hs_strdup(value), *from = hs_strdup(origin);
    if (!v || !from) {
        hs_free(v);
        hs_free(from);
        return hs_err_set(err, -ENOMEM, "config: out of memory");
    }
    entry_deinit(e);
    e->value = v;
    e->origin = from;
    return 0;
}

/* The section of that name, made if new. */
static int model_section_get(hs_config *c, const char *name, hs__config_model **ret, hs_err *err)
{
    for (size_t i = 0; i < c->n_models; i++) {
        if (!strcmp(c->models[i].name, name)) {
            *ret = &c->models[i];
            return 0;
        }
    }
    if (!*name || !is_writable(name, MAX_NAME) || strchr(name, ']'))
        return hs_err_set(err, -EINVAL,
                          "a model section needs a name of 1 to %d characters without blanks at an end, control "
                          "characters, \" ;\" and ]: [model NAME]",
                          MAX_NAME);
    if (c->n_models == HS__CONFIG_MAX_MODELS)
        return hs_err_set(err, -E2BIG, "more than %d models", HS__CONFIG_MAX_MODELS);
    hs__config_model *m = &c->models[c->n_models];
    m->name = hs_strdup(name);
    if (!m->name)
        return hs_err_set(err, -ENOMEM, "config: out of memory");
    c->n_models++;
    *ret = m;
    return 0;
}

static const char *model_key_name(const void *ctx, size_t i)
{
    return ((const hs_config *)ctx)->model_options[i]->key;
}

static int unknown_model_key(const hs_config *c, const char *name, const char *key, hs_err *err)
{
    size_t near = hs_nearest(key, model_key_name, c, c->n_model_options);
    if (near < c->n_model_options)
        return hs_err_set(err, -EINVAL, "unknown key '%s' in [model %s]; did you mean %s?", key, name,
                          c->model_options[near]->key);
    return hs_err_set(err, -EINVAL, "unknown key '%s' in [model %s]", key, name);
}

static int set_model(hs_config *c, const char *name, const char *key, const char *value, const char *origin,
                     hs_err *err)
{
    hs__config_model *m = NULL;
    int r = model_section_get(c, name, &m, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < m->n_keys; i++)
        if (!strcmp(m->keys[i].option->key, key))
            return store(&m->keys[i], value, origin, err);
    for (size_t i = 0; i < c->n_model_options; i++) {
        if (strcmp(c->model_options[i]->key, key))
            continue;
        if (m->n_keys == HS__CONFIG_MAX_KEYS)
            return hs_err_set(err, -E2BIG, "too many keys in [model %s]", name);
        hs__config_entry *e = &m->keys[m->n_keys];
        e->option = c->model_options[i];
        r = store(e, value, origin, err);
        if (r == 0)
            m->n_keys++;
        return r;
    }
    return unknown_model_key(c, name, key, err);
}

/* "section.key" of each option, one after the other in one buffer. */
typedef struct full_names {
    const hs_config *c;
    char *text;
} full_names;

static const char *full_name(const void *ctx, size_t i)
{
    const full_names *f = ctx;
    const hs_option *o = f->c->entries[i].option;
    snprintf(f->text, HS_NEAREST_MAX, "%s.%s", o->section, o->key);
    return f->text;
}

static int unknown_option(const hs_config *c, const char *section, const char *key, hs_err *err)
{
    char word[HS_NEAREST_MAX], text[HS_NEAREST_MAX], what[200], hint[2 * HS_NEAREST_MAX] = "";
    full_names names = {c, text};
    size_t near = c->n_entries;
    if (snprintf(word, sizeof word, "%s.%s", section, key) < (int)sizeof word)
        near = hs_nearest(word, full_name, &names, c->n_entries);
    if (near < c->n_entries)
        snprintf(hint, sizeof hint, "; did you mean %s?", full_name(&names, near));
    if (section_exists(c, section))
        snprintf(what, sizeof what, "unknown key '%.64s' in [%.64s]", key, section);
    else if (!strcmp(section, "model"))
        return hs_err_set(err, -EINVAL, "[model] needs a name, by which the model is asked for: [model NAME]");
    else
        snprintf(what, sizeof what, "unknown section [%.64s]", section);
    return hs_err_set(err, -EINVAL, "%s%s", what, hint);
}

int hs__config_put(hs_config *c, const char *section, const char *key, const char *value, const char *origin,
                   hs_err *err)
{
    if (!strncmp(section, "model ", 6)) {
        const char *name = section + 6;
        while (*name == ' ')
            name++;
        return set_model(c, name, key, value, origin, err);
    }
    hs__config_entry *e = find(c, section, key);
    if (e)
        return store(e, value, origin, err);
    if (!*section)
        return hs_err_set(err, -EINVAL, "'%s' stands before any [section]", key);
    return unknown_option(c, section, key, err);
}

int hs_config_set(hs_config *c, const char *assignment, const char *origin, hs_err *err)
{
    const char *eq = strchr(assignment, '=');
    const char *dot = strchr(assignment, '.');
    if (!eq || !dot || dot > eq)
        return hs_err_set(err, -EINVAL, "%s: '%s' is not section.key=value", origin, assignment);
    /* Only the model's name may hold dots: the key begins after the last one. */
    if (!strncmp(assignment, "model.", 6))
        for (const char *p = dot + 1; p < eq; p++)
            dot = *p == '.' ? p : dot;
    char *section = hs_strndup(assignment, (size_t)(dot - assignment));
    char *key = hs_strndup(dot + 1, (size_t)(eq - dot - 1));
    int r;
    hs_err e = {0};
    if (!section || !key)
        r = hs_err_set(&e, -ENOMEM, "out of memory");
    else if (!strncmp(section, "model.", 6))
        r = set_model(c, section + 6, key, eq + 1, origin, &e);
    else
        r = hs__config_put(c, section, key, eq + 1, origin, &e);
    if (r < 0)
        hs_err_set(err, r, "%s: %s", origin, e.text);
    hs_free(section);
    hs_free(key);
    return r;
}

/* "CACHE_SIZE": the option's variable without HOTSET_. */
static const char *variable_name(const void *ctx, size_t i)
{
    const full_names *f = ctx;
    const hs_option *o = f->c->entries[i].option;
    int n = snprintf(f->text, HS_NEAREST_MAX, "%s_%s", o->section, o->key);
    for (int k = 0; k < n && k < HS_NEAREST_MAX; k++)
        f->text[k] = (char)toupper((unsigned char)f->text[k]);
    return f->text;
}

/* Another program's variables may begin alike; a slip of the pen should not go unnoticed. */
static int load_variable(hs_config *c, const char *variable, size_t len, const char *value, hs_err *err)
{
    char text[HS_NEAREST_MAX], word[HS_NEAREST_MAX], origin[HS_NEAREST_MAX + 32];
    full_names names = {c, text};
    if (len >= sizeof word)
        return 0;
    snprintf(word, sizeof word, "%.*s", (int)len, variable);
    size_t near = hs_nearest(word, variable_name, &names, c->n_entries);
    if (near == c->n_entries)
        return 0;
    if (strcmp(variable_name(&names, near), word)) {
        hs_warn("HOTSET_%s in the environment sets nothing; did you mean HOTSET_%s?", word, text);
        return 0;
    }
    hs_err e = {0};
    snprintf(origin, sizeof origin, "environment HOTSET_%s", word);
    int r = store(&c->entries[near], value, origin, &e);
    return r < 0 ? hs_err_set(err, r, "%s: %s", origin, e.text) : 0;
}

int hs_config_load_environ(hs_config *c, char *const *vars, hs_err *err)
{
    int r = 0;
    for (char *const *v = vars; r == 0 && *v; v++) {
        const char *eq = strchr(*v, '=');
        if (eq && !strncmp(*v, "HOTSET_", 7))
            r = load_variable(c, *v + 7, (size_t)(eq - *v) - 7, eq + 1, err);
    }
    return r;
}

const char *hs_config_str(const hs_config *c, const char *section, const char *key)
{
    const hs__config_entry *e = find(c, section, key);
    assert(e && "option is not declared in any table");
    return e->value ? e->value : e->option->def;
}

bool hs_config_is_set(const hs_config *c, const char *section, const char *key)
{
    const hs__config_entry *e = find(c, section, key);
    return e && e->value;
}

int64_t hs_config_int(const hs_config *c, const char *section, const char *key)
{
    int64_t v = 0;
    return hs_parse_int(hs_config_str(c, section, key), &v) < 0 ? 0 : v;
}

uint64_t hs_config_size(const hs_config *c, const char *section, const char *key)
{
    uint64_t v = 0;
    return hs_parse_size(hs_config_str(c, section, key), &v) < 0 ? 0 : v;
}

int64_t hs_config_seconds(const hs_config *c, const char *section, const char *key)
{
    int64_t v = 0;
    return hs_parse_seconds(hs_config_str(c, section, key), &v) < 0 ? 0 : v;
}

hs_size_spec hs_config_size_spec(const hs_config *c, const char *section, const char *key)
{
    hs_size_spec v = {HS_SIZE_AUTO, 0, 0};
    int r = hs_parse_size_spec(hs_config_str(c, section, key), &v);
    assert(r == 0);
    (void)r;
    return v;
}

size_t hs_config_n_models(const hs_config *c)
{
    return c->n_models;
}

const char *hs_config_model_name(const hs_config *c, size_t i)
{
    return c->models[i].name;
}

const char *hs_config_model_str(const hs_config *c, size_t i, const char *key)
{
    const hs__config_model *m = &c->models[i];
    for (size_t k = 0; k < m->n_keys; k++)
        if (!strcmp(m->keys[k].option->key, key))
            return m->keys[k].value;
    return NULL;
}
