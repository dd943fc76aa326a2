/*
 * config_print.c - a configuration as its user reads it: the file it amounts to, the reference with every option, and
 * the names of what two configurations differ in.
 */
#include <string.h>

#include "base/config.h"
#include "base/config_int.h"

/* The origin stands on a line of its own: a comment after the value would be read as part of it. */
static void print_entry(hs_buf *out, const hs__config_entry *e)
{
    const char *value = hs__config_value(e);
    hs_buf_printf(out, "# %s\n%s =%s%s\n", e->origin ? e->origin : "default", e->option->key, *value ? " " : "", value);
}

int hs_config_print(const hs_config *c, hs_buf *out)
{
    const char *section = "";
    for (size_t i = 0; i < c->n_entries; i++) {
        const hs__config_entry *e = &c->entries[i];
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

static const hs__config_model *find_section(const hs_config *c, const char *name)
{
    for (size_t m = 0; m < c->n_models; m++)
        if (!strcmp(c->models[m].name, name))
            return &c->models[m];
    return NULL;
}

static const hs__config_entry *find_key(const hs__config_model *m, const hs_option *o)
{
    for (size_t k = 0; k < m->n_keys; k++)
        if (m->keys[k].option == o)
            return &m->keys[k];
    return NULL;
}

/* The options of a model section that both have. */
static void add_model_changes(const hs_config *c, const hs__config_model *a, const hs__config_model *b, hs_buf *out)
{
    for (size_t i = 0; i < c->n_model_options; i++) {
        const hs_option *o = c->model_options[i];
        const hs__config_entry *x = find_key(a, o), *y = find_key(b, o);
        if (!o->reloadable && strcmp(x ? hs__config_value(x) : o->def, y ? hs__config_value(y) : o->def) != 0)
            hs_buf_printf(out, "%smodel.%s.%s", comma(out), a->name, o->key);
    }
}

void hs_config_fixed_changes(const hs_config *a, const hs_config *b, hs_buf *out)
{
    for (size_t i = 0; i < a->n_entries; i++) {
        const hs_option *o = a->entries[i].option;
        if (!o->reloadable && strcmp(hs__config_value(&a->entries[i]), hs__config_value(&b->entries[i])) != 0)
            hs_buf_printf(out, "%s%s.%s", comma(out), o->section, o->key);
    }
    for (size_t m = 0; m < a->n_models; m++) {
        const hs__config_model *other = find_section(b, a->models[m].name);
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
    static const char *const type_name[] = {"text",   "integer",           "number",      "size", "seconds",
                                            "choice", "auto, NN% or size", "auto or size"};
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
