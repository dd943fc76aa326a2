/* tune.c - see tune.h. */
#include "cli/tune.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/args.h"

void hs_tune_add(hs_tune *t, const char *section, const char *key, const char *value, const char *why, ...)
{
    assert(t->n < HS_TUNE_MAX_LINES);
    hs_tune_line *l = &t->line[t->n++];
    va_list ap;
    l->section = section;
    l->key = key;
    snprintf(l->value, sizeof l->value, "%s", value);
    va_start(ap, why);
    vsnprintf(l->why, sizeof l->why, why, ap);
    va_end(ap);
    for (char *c = l->why; *c; c++)
        *c = (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c;
}

int hs_tune_figure(hs_tune *t, const char *name, json_t *value, hs_err *err)
{
    if (value && json_object_set_new(t->figures, name, value) == 0)
        return 0;
    return hs_err_set(err, -ENOMEM, "out of memory for the figures");
}

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

void hs_tune_format(const hs_tune *t, hs_buf *out)
{
    hs_buf_puts(out, "# Made by hotset tune, for this machine as it was then.\n");
    for (size_t i = 0; i < t->n; i++) {
        const hs_tune_line *l = &t->line[i];
        if (!i || strcmp(l->section, t->line[i - 1].section) != 0)
            hs_buf_printf(out, "\n[%s]\n", l->section);
        comment(out, l->why);
        hs_buf_printf(out, "%s = %s\n", l->key, l->value);
    }
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
            r = json_object_set_new(json_object_get(choices, l->section), l->key, json_string(l->value));
    }
    json_t *o = r == 0 ? json_pack("{s:O, s:O}", "choices", choices, "figures", t->figures) : NULL;
    json_decref(choices);
    return o;
}
