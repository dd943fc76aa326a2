/*
 * config.c - values of all options, with their origins.
 * Owns: one entry per declared option, and one list of (key, value) per [model NAME] section.
 * Invariant: every stored value has passed hs_option_check of its option.
 */
#include "base/config.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/nearest.h"

#define MAX_MODELS     16
#define MAX_MODEL_KEYS 32
#define MAX_FILE_BYTES (1 << 20)
#define MAX_FILES      256
#define MAX_LINE       4096
#define MAX_SECTION    49 /* inih keeps no more of it */
#define MAX_NAME       43 /* "model NAME" is a section */
#define MAX_VALUE      4000

#define STRING_OF(x)  STRING_OF_(x)
#define STRING_OF_(x) #x

typedef struct entry {
    const hs_option *option;
    char *value;  /* NULL = the default */
    char *origin; /* "FILE:LINE", "environment", "--set"; NULL = default */
} entry;

typedef struct model_section {
    char *name;
    entry keys[MAX_MODEL_KEYS];
    size_t n_keys;
} model_section;

struct hs_config {
    entry *entries; /* all options that are not in section "model" */
    size_t n_entries;
    const hs_option **model_options;
    size_t n_model_options;
    model_section models[MAX_MODELS];
    size_t n_models;
};

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

static void entry_deinit(entry *e)
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

static entry *find(const hs_config *c, const char *section, const char *key)
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

static int store(entry *e, const char *value, const char *origin, hs_err *err)
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
static int model_section_get(hs_config *c, const char *name, model_section **ret, hs_err *err)
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
    if (c->n_models == MAX_MODELS)
        return hs_err_set(err, -E2BIG, "more than %d models", MAX_MODELS);
    model_section *m = &c->models[c->n_models];
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
    model_section *m = NULL;
    int r = model_section_get(c, name, &m, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < m->n_keys; i++)
        if (!strcmp(m->keys[i].option->key, key))
            return store(&m->keys[i], value, origin, err);
    for (size_t i = 0; i < c->n_model_options; i++) {
        if (strcmp(c->model_options[i]->key, key))
            continue;
        if (m->n_keys == MAX_MODEL_KEYS)
            return hs_err_set(err, -E2BIG, "too many keys in [model %s]", name);
        entry *e = &m->keys[m->n_keys];
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
    else
        snprintf(what, sizeof what, "unknown section [%.64s]", section);
    return hs_err_set(err, -EINVAL, "%s%s", what, hint);
}

static int set(hs_config *c, const char *section, const char *key, const char *value, const char *origin, hs_err *err)
{
    if (!strncmp(section, "model ", 6)) {
        const char *name = section + 6;
        while (*name == ' ')
            name++;
        return set_model(c, name, key, value, origin, err);
    }
    entry *e = find(c, section, key);
    if (e)
        return store(e, value, origin, err);
    if (!*section)
        return hs_err_set(err, -EINVAL, "'%s' stands before any [section]", key);
    return unknown_option(c, section, key, err);
}

/*
 * inih's reader. It counts lines (Debian's inih does not pass their numbers to the handler), and keeps from inih what
 * it would get wrong: indented keys (continuations of the value before, to it), comments and values longer than its 200
 * bytes, and names of sections that it would cut.
 */
typedef struct reader {
    hs_config *c;
    const char *path;
    const char *at, *end;
    int line;
    const char *value, *value_end; /* of a line too long for inih, else NULL */
    hs_err *err;
    int result, result_line; /* the first refusal */
} reader;

static char *refuse(reader *rd, const char *what)
{
    rd->result = hs_err_set(rd->err, -EINVAL, "%s:%d: %s", rd->path, rd->line, what);
    rd->result_line = rd->line;
    return NULL;
}

/* The next line, blanks at its start left out, with its newline. */
static const char *next_line(reader *rd, size_t *ret_n)
{
    const char *nl = memchr(rd->at, '\n', (size_t)(rd->end - rd->at)), *p = rd->at;
    const char *end = nl ? nl + 1 : rd->end;
    rd->at = end;
    rd->line++;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    *ret_n = (size_t)(end - p);
    return p;
}

static char *read_line(char *buf, int cap, void *stream)
{
    reader *rd = stream;
    size_t n;
    if (rd->at == rd->end || rd->result < 0)
        return NULL;
    const char *p = next_line(rd, &n);
    rd->value = NULL;
    if (memchr(p, '\0', n))
        return refuse(rd, "the line contains a zero byte");
    if (n && (*p == '#' || *p == ';'))
        n = 0;
    const char *close = n && *p == '[' ? memchr(p, ']', n) : NULL;
    if (close && close - p - 1 > MAX_SECTION)
        return refuse(rd, "the section's name is longer than " STRING_OF(MAX_SECTION) " characters");
    if (n + 2 > (size_t)cap) {
        const char *eq = memchr(p, '=', n);
        if (!eq || eq - p + 3 > cap || n > MAX_LINE)
            return refuse(rd, "the line is too long");
        rd->value = eq + 1;
        rd->value_end = p + n;
        n = (size_t)(rd->value - p);
    }
    memcpy(buf, p, n);
    if (!n || buf[n - 1] != '\n')
        buf[n++] = '\n';
    buf[n] = '\0';
    return buf;
}

/* The value of a long line as inih would give it: without blanks around it and without a comment after " ;". */
static void long_value(const reader *rd, char ret[MAX_LINE + 1])
{
    const char *p = rd->value, *end = rd->value_end;
    while (p < end && isspace((unsigned char)*p))
        p++;
    for (const char *c = p; c < end; c++)
        if (*c == ';' && isspace((unsigned char)c[-1]))
            end = c;
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    memcpy(ret, p, (size_t)(end - p));
    ret[end - p] = '\0';
}

static int handle(void *user, const char *section, const char *name, const char *value)
{
    reader *rd = user;
    if (rd->result < 0 || !name)
        return 1;
    char origin[300], whole[MAX_LINE + 1];
    snprintf(origin, sizeof origin, "%s:%d", rd->path, rd->line);
    if (rd->value) {
        long_value(rd, whole);
        value = whole;
    }
    hs_err e = {0};
    int r = set(rd->c, section, name, value ? value : "", origin, &e);
    if (r < 0) {
        rd->result = hs_err_set(rd->err, r, "%s: %s", origin, e.text);
        rd->result_line = rd->line;
    }
    return 1;
}

int hs_config_load_file(hs_config *c, const char *path, hs_err *err)
{
    char *text;
    size_t len;

    int r = hs_file_read(path, MAX_FILE_BYTES, &text, &len, err);
    if (r < 0)
        return r;
    reader rd = {.c = c, .path = path, .at = text, .end = text + len, .err = err};
    int line = ini_parse_stream(read_line, &rd, handle, &rd);
    r = rd.result;
    if (line > 0 && (r == 0 || line < rd.result_line))
        r = hs_err_set(err, -EINVAL, "%s:%d: neither [section], key = value nor a # comment", path, line);
    else if (r == 0 && line < 0)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    hs_free(text);
    return r;
}

static int is_conf(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 5 && !strcmp(d->d_name + n - 5, ".conf");
}

/* Not alphasort, whose order depends on the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int hs_config_load(hs_config *c, const char *path, bool missing_ok, hs_err *err)
{
    struct stat st;
    bool missing = stat(path, &st) < 0 && errno == ENOENT;
    int r = missing && missing_ok ? 0 : hs_config_load_file(c, path, err);
    if (r < 0)
        return r;
    char *dir = hs_asprintf("%s.d", path);
    if (!dir)
        return hs_err_set(err, -ENOMEM, "config: out of memory");
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_conf, by_bytes);
    if (n < 0 && errno != ENOENT)
        r = hs_err_set(err, -errno, "%s: %s", dir, hs_strerror(errno));
    for (int i = 0; i < n; i++) {
        char *file = i < MAX_FILES && r == 0 ? hs_asprintf("%s/%s", dir, names[i]->d_name) : NULL;
        if (file)
            r = hs_config_load_file(c, file, err);
        else if (r == 0)
            r = hs_err_set(err, -E2BIG, "%s: more than %d files", dir, MAX_FILES);
        hs_free(file);
        free(names[i]);
    }
    free(names);
    hs_free(dir);
    return r;
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
        r = set(c, section, key, eq + 1, origin, &e);
    if (r < 0)
        hs_err_set(err, r, "%s: %s", origin, e.text);
    hs_free(section);
    hs_free(key);
    return r;
}

int hs_config_load_environ(hs_config *c, char *const *vars, hs_err *err)
{
    for (size_t i = 0; i < c->n_entries; i++) {
        const hs_option *o = c->entries[i].option;
        char name[128];
        int n = snprintf(name, sizeof name, "HOTSET_%s_%s=", o->section, o->key);
        for (int k = 0; k < n; k++)
            name[k] = (char)toupper((unsigned char)name[k]);
        for (char *const *v = vars; *v; v++) {
            if (strncmp(*v, name, (size_t)n))
                continue;
            char origin[160];
            snprintf(origin, sizeof origin, "environment %.*s", n - 1, name);
            hs_err e = {0};
            int r = store(&c->entries[i], *v + n, origin, &e);
            if (r < 0)
                return hs_err_set(err, r, "%s: %s", origin, e.text);
        }
    }
    return 0;
}

const char *hs_config_str(const hs_config *c, const char *section, const char *key)
{
    const entry *e = find(c, section, key);
    assert(e && "option is not declared in any table");
    return e->value ? e->value : e->option->def;
}

bool hs_config_is_set(const hs_config *c, const char *section, const char *key)
{
    const entry *e = find(c, section, key);
    return e && e->value;
}

bool hs_config_bool(const hs_config *c, const char *section, const char *key)
{
    bool v = false;
    int r = hs_parse_bool(hs_config_str(c, section, key), &v);
    assert(r == 0);
    (void)r;
    return v;
}

int64_t hs_config_int(const hs_config *c, const char *section, const char *key)
{
    int64_t v = 0;
    return hs_parse_int(hs_config_str(c, section, key), &v) < 0 ? 0 : v;
}

double hs_config_num(const hs_config *c, const char *section, const char *key)
{
    double v = 0;
    return hs_parse_number(hs_config_str(c, section, key), &v) < 0 ? 0 : v;
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
    const model_section *m = &c->models[i];
    for (size_t k = 0; k < m->n_keys; k++)
        if (!strcmp(m->keys[k].option->key, key))
            return m->keys[k].value;
    return NULL;
}

static const char *value_of(const entry *e)
{
    return e->value ? e->value : e->option->def;
}

/* The origin stands on a line of its own: a comment after the value would be read as part of it. */
static void print_entry(hs_buf *out, const entry *e)
{
    const char *value = value_of(e);
    hs_buf_printf(out, "# %s\n%s =%s%s\n", e->origin ? e->origin : "default", e->option->key, *value ? " " : "", value);
}

int hs_config_print(const hs_config *c, hs_buf *out)
{
    const char *section = "";
    for (size_t i = 0; i < c->n_entries; i++) {
        const entry *e = &c->entries[i];
        if (strcmp(section, e->option->section)) {
            section = e->option->section;
            hs_buf_printf(out, "%s[%s]\n", i ? "\n" : "", section);
        }
        print_entry(out, e);
    }
    for (size_t m = 0; m < c->n_models; m++) {
        hs_buf_printf(out, "\n[model %s]\n", c->models[m].name);
        for (size_t k = 0; k < c->models[m].n_keys; k++)
            print_entry(out, &c->models[m].keys[k]);
    }
    return out->failed;
}

static const char *comma(const hs_buf *out)
{
    return out->len ? ", " : "";
}

static const model_section *find_section(const hs_config *c, const char *name)
{
    for (size_t m = 0; m < c->n_models; m++)
        if (!strcmp(c->models[m].name, name))
            return &c->models[m];
    return NULL;
}

static const entry *find_key(const model_section *m, const hs_option *o)
{
    for (size_t k = 0; k < m->n_keys; k++)
        if (m->keys[k].option == o)
            return &m->keys[k];
    return NULL;
}

/* The options of a model section that both have. */
static void add_model_changes(const hs_config *c, const model_section *a, const model_section *b, hs_buf *out)
{
    for (size_t i = 0; i < c->n_model_options; i++) {
        const hs_option *o = c->model_options[i];
        const entry *x = find_key(a, o), *y = find_key(b, o);
        if (!o->reloadable && strcmp(x ? value_of(x) : o->def, y ? value_of(y) : o->def) != 0)
            hs_buf_printf(out, "%smodel.%s.%s", comma(out), a->name, o->key);
    }
}

void hs_config_fixed_changes(const hs_config *a, const hs_config *b, hs_buf *out)
{
    for (size_t i = 0; i < a->n_entries; i++) {
        const hs_option *o = a->entries[i].option;
        if (!o->reloadable && strcmp(value_of(&a->entries[i]), value_of(&b->entries[i])) != 0)
            hs_buf_printf(out, "%s%s.%s", comma(out), o->section, o->key);
    }
    for (size_t m = 0; m < a->n_models; m++) {
        const model_section *other = find_section(b, a->models[m].name);
        if (other)
            add_model_changes(a, &a->models[m], other, out);
        else
            hs_buf_printf(out, "%s[model %s]", comma(out), a->models[m].name);
    }
    for (size_t m = 0; m < b->n_models; m++)
        if (!find_section(a, b->models[m].name))
            hs_buf_printf(out, "%s[model %s]", comma(out), b->models[m].name);
}

/* help as comment lines of at most `width` characters. */
static void print_wrapped(hs_buf *out, const char *text, size_t width)
{
    while (*text) {
        size_t n = strlen(text);
        if (n > width) {
            n = width;
            while (n > 1 && text[n] != ' ')
                n--;
        }
        hs_buf_printf(out, "# %.*s\n", (int)n, text);
        text += n;
        while (*text == ' ')
            text++;
    }
}

static void print_number(hs_buf *out, const hs_option *o, double v)
{
    char size[32];
    if (o->type == HS_OPT_SIZE || o->type == HS_OPT_AUTO_SIZE)
        hs_buf_puts(out, hs_format_size((uint64_t)v, size, sizeof size));
    else
        hs_buf_printf(out, "%.15g", v);
}

void hs_option_describe(const hs_option *o, hs_buf *out)
{
    static const char *const type_name[] = {"text",    "yes or no", "integer",           "number",      "size",
                                            "seconds", "choice",    "auto, NN% or size", "auto or size"};
    hs_buf_puts(out, type_name[o->type]);
    if (o->type == HS_OPT_ENUM)
        hs_buf_printf(out, ": %s", o->choices);
    if (o->max > o->min) {
        hs_buf_puts(out, ", ");
        print_number(out, o, o->min);
        hs_buf_puts(out, " to ");
        print_number(out, o, o->max);
    }
    if (*o->unit)
        hs_buf_printf(out, " (%s)", o->unit);
    if (o->reloadable)
        hs_buf_puts(out, "; reloadable");
}

void hs_options_walk(const hs_option_table *tables, size_t n_tables,
                     void (*visit)(void *ctx, const hs_option *o, bool opens_section), void *ctx)
{
    const char *section = "";
    for (int models = false; models <= true; models++) {
        for (size_t t = 0; t < n_tables; t++) {
            for (size_t i = 0; i < tables[t].n; i++) {
                const hs_option *o = &tables[t].options[i];
                if ((strcmp(o->section, "model") == 0) != models)
                    continue;
                visit(ctx, o, strcmp(section, o->section) != 0);
                section = o->section;
            }
        }
    }
}

static void print_option(void *ctx, const hs_option *o, bool opens_section)
{
    hs_buf *out = ctx;
    if (opens_section)
        hs_buf_printf(out, strcmp(o->section, "model") ? "\n[%s]\n" : "\n# [%s NAME]\n", o->section);
    hs_buf_puts(out, "\n");
    print_wrapped(out, o->help, 100);
    hs_buf_puts(out, "# ");
    hs_option_describe(o, out);
    hs_buf_printf(out, "\n# %s =%s%s\n", o->key, *o->def ? " " : "", o->def);
}

int hs_config_print_reference(const hs_option_table *tables, size_t n_tables, hs_buf *out)
{
    hs_options_walk(tables, n_tables, print_option, out);
    return out->failed;
}
