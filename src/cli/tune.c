/* tune.c - see tune.h. */
#include "cli/tune.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/args.h"
#include "cli/options.h"

hs_tune_line *hs_tune_add(hs_tune *t, const char *section, const char *key, const char *value, const char *why, ...)
{
    assert(t->n < HS_TUNE_MAX_LINES);
    hs_tune_line *l = &t->line[t->n++];
    va_list ap;
    *l = (hs_tune_line){.section = section, .key = key};
    snprintf(l->value, sizeof l->value, "%s", value);
    va_start(ap, why);
    vsnprintf(l->why, sizeof l->why, why, ap);
    va_end(ap);
    for (char *c = l->why; *c; c++)
        *c = (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c;
    return l;
}

int hs_tune_figure(hs_tune *t, const char *name, json_t *value, hs_err *err)
{
    if (value && json_object_set_new(t->figures, name, value) == 0)
        return 0;
    return hs_err_set(err, -ENOMEM, "out of memory for the figures");
}

const char *hs_tune_percent(double gain, double low, double high, char *buf, size_t cap)
{
    snprintf(buf, cap, "%+.1f %% (%+.1f to %+.1f %%)", 100 * gain, 100 * low, 100 * high);
    return buf;
}

json_t *hs_comparison_json(const hs_comparison *c)
{
    static const char *const names[] = {"not told apart", "same", "better", "worse"};
    return json_pack("{s:s, s:f, s:f, s:f, s:i}", "verdict", names[c->verdict], "gain", c->gain, "low", c->low, "high",
                     c->high, "pairs", (int)c->n);
}

double hs_tune_gain(double wait, double times)
{
    double left = 1 - wait + wait * times;
    return left > 0 ? 1 / left - 1 : 0;
}

/* ---- text ---- */

/* text as comment lines. */
static void comment(hs_buf *out, const char *text)
{
    hs_buf b;
    hs_buf_init(&b, 4096);
    hs_wrap(&b, text, 0);
    for (char *at = b.data; at && *at;) {
        size_t n = strcspn(at, "\n");
        hs_buf_printf(out, "# %.*s\n", (int)n, at);
        at += n + (at[n] == '\n');
    }
    if (b.failed)
        out->failed = b.failed;
    hs_buf_deinit(&b);
}

static const char *default_of(const char *section, const char *key)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_option_tables(tables);
    for (size_t t = 0; t < HS_N_OPTION_TABLES; t++)
        for (size_t i = 0; i < tables[t].n; i++)
            if (!strcmp(tables[t].options[i].section, section) && !strcmp(tables[t].options[i].key, key))
                return tables[t].options[i].def;
    assert(!"a line for an option that there is not");
    return "";
}

/* Does the line make a difference, wherever it is put? */
static bool says_something(const hs_tune *t, const hs_tune_line *l)
{
    return strcmp(l->value, default_of(l->section, l->key)) != 0 ||
           strcmp(l->value, hs_config_str(t->config, l->section, l->key)) != 0;
}

void hs_tune_format(const hs_tune *t, hs_buf *out)
{
    hs_buf_puts(out, "# Made by hotset tune. Lines that would change nothing are comments.\n");
    comment(out, t->about);
    for (size_t i = 0; i < t->n; i++) {
        const hs_tune_line *l = &t->line[i];
        if (!i || strcmp(l->section, t->line[i - 1].section) != 0)
            hs_buf_printf(out, "\n[%s]\n", l->section);
        comment(out, l->why);
        if (!strcmp(l->section, "cache") && !strcmp(l->key, "size") && t->table.len)
            hs_buf_puts(out, t->table.data);
        hs_buf_printf(out, "%s%s = %s\n", says_something(t, l) ? "" : "#", l->key, l->value);
    }
    if (t->table.failed)
        out->failed = t->table.failed;
}

/* ---- JSON ---- */

static json_t *line_json(const hs_tune *t, const hs_tune_line *l)
{
    json_t *o = json_pack("{s:s, s:b, s:s}", "value", l->value, "changes",
                          strcmp(l->value, hs_config_str(t->config, l->section, l->key)) != 0, "why", l->why);
    if (!o || !l->is_measured)
        return o;
    json_t *more = json_pack("{s:f, s:f, s:f}", "gain", l->gain, "low", l->low, "high", l->high);
    if (!more || json_object_update(o, more) < 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(more);
    return o;
}

json_t *hs_tune_json(const hs_tune *t)
{
    json_t *choices = json_object();
    int r = choices ? 0 : -1;
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        const hs_tune_line *l = &t->line[i];
        if (!json_object_get(choices, l->section))
            r = json_object_set_new(choices, l->section, json_object());
        if (r == 0)
            r = json_object_set_new(json_object_get(choices, l->section), l->key, line_json(t, l));
    }
    json_t *o = r == 0 ? json_pack("{s:O, s:O}", "choices", choices, "figures", t->figures) : NULL;
    json_decref(choices);
    return o;
}
