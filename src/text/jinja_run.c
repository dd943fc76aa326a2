/*
 * jinja_run.c - one rendering from its beginning to its end, and the global functions that a template may call.
 * Everything is released by hs__jrun_deinit; a run serves one thread and one execution.
 */
#include "text/jinja_int.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

int hs__jfail(hs__jrun *r, int code, const char *fmt, ...)
{
    if (r->code < 0)
        return r->code;
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    r->code = hs_err_set(r->err, code, "%s: line %u: %s", r->program->where, r->line, what);
    return r->code;
}

int hs__jrun_init(hs__jrun *r, const hs__jprogram *p, const hs__jlimits *limits, hs_err *err)
{
    *r = (hs__jrun){.program = p, .err = err, .steps = limits->steps, .left = limits->memory, .line = 1};
    hs__jarena_init(&r->objects, false, &r->left);
    hs__jarena_init(&r->strings, true, &r->left);
    hs_buf_init(&r->out, HS_TEMPLATE_MAX_OUTPUT);
    hs_buf_init(&r->origin, HS_TEMPLATE_MAX_OUTPUT);
    r->globals = hs_calloc(p->n_names, sizeof *r->globals);
    if (!r->globals)
        return hs__jfail(r, -ENOMEM, "out of memory");
    for (const hs__jglobal *g = hs__jglobals; g->name; g++) {
        uint32_t sym = hs__jprogram_find(p, g->name, strlen(g->name));
        if (sym != UINT32_MAX)
            r->globals[sym] = (hs__jval){.type = HS__J_GLOBAL, .as.global = g};
    }
    return 0;
}

void hs__jrun_deinit(hs__jrun *r)
{
    hs__jarena_deinit(&r->objects);
    hs__jarena_deinit(&r->strings);
    hs_buf_deinit(&r->out);
    hs_buf_deinit(&r->origin);
    hs_free(r->globals);
    r->globals = NULL;
}

int hs__jrun_set(hs__jrun *r, const char *name, size_t len, const json_t *value, uint8_t origin)
{
    uint32_t sym = hs__jprogram_find(r->program, name, len);
    return sym == UINT32_MAX ? 0 : hs__jfrom_json(r, value, origin, &r->globals[sym]);
}

int hs__jrun_execute(hs__jrun *r)
{
    return hs__jexec(r, r->program->body);
}

static int fn_range(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    hs__jrange g = {0, 0, 1};
    int code = hs__jarg_int(r, args, 0, NULL, 0, &g.stop);
    if (args->n < 1 || args->n > 3 || args->n_kw)
        return hs__jfail(r, -EINVAL, "range takes 1 to 3 integers");
    if (code == 0 && args->n > 1) {
        g.start = g.stop;
        code = hs__jarg_int(r, args, 1, NULL, 0, &g.stop);
    }
    if (code == 0)
        code = hs__jarg_int(r, args, 2, NULL, 1, &g.step);
    if (code < 0)
        return code;
    if (g.step == 0)
        return hs__jfail(r, -EINVAL, "range with a step of zero");
    if (hs__jrange_len(&g) > HS__J_MAX_RANGE)
        return hs__jfail(r, -E2BIG, "a range of more than %d elements", HS__J_MAX_RANGE);
    hs__jrange *p = hs__jalloc(r, sizeof *p);
    if (!p)
        return r->code;
    *p = g;
    *ret = (hs__jval){.type = HS__J_RANGE, .as.range = p};
    return 0;
}

/* A dict from an optional mapping (or pairs) and named arguments. */
static int fn_dict(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    hs__jdict *d;
    int code = hs__jdict_new(r, &d);
    if (args->n > 1)
        return hs__jfail(r, -EINVAL, "dict takes one mapping and named values");
    if (code == 0 && args->n == 1) {
        const hs__jval *from = &args->pos[0];
        hs__jlist *pairs = NULL;
        if (from->type == HS__J_UNDEFINED)
            return hs__jfail_undefined(r, from);
        if (from->type != HS__J_DICT)
            code = hs__jelements(r, from, &pairs);
        for (uint32_t i = 0; code == 0 && pairs && i < pairs->n; i++) {
            const hs__jval *p = &pairs->items[i];
            if ((p->type != HS__J_TUPLE && p->type != HS__J_LIST) || p->as.list->n != 2)
                return hs__jfail(r, -EINVAL, "dict takes a mapping or pairs");
            code = hs__jdict_set(r, d, &p->as.list->items[0], &p->as.list->items[1]);
        }
        for (uint32_t i = 0; code == 0 && !pairs && i < from->as.dict->n; i++)
            code = hs__jdict_set(r, d, &from->as.dict->entries[i].key, &from->as.dict->entries[i].val);
    }
    for (uint32_t i = 0; i < args->n_kw && code == 0; i++) {
        hs__jval key = hs__jstr(args->kw[i].name, args->kw[i].len);
        code = hs__jdict_set(r, d, &key, &args->kw[i].val);
    }
    *ret = (hs__jval){.type = HS__J_DICT, .as.dict = d};
    return code;
}

static int fn_namespace(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    int code = fn_dict(r, args, ret);
    if (code == 0)
        ret->type = HS__J_NAMESPACE;
    return code;
}

static int fn_raise_exception(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    hs__jval message, s;
    (void)ret;
    hs__jarg(args, 0, "message", &message);
    if (hs__jto_str(r, &message, &s) < 0)
        return r->code;
    return hs__jfail(r, -EINVAL, "%.*s", s.len > 380 ? 380 : (int)s.len, s.as.s);
}

static int fn_strftime_now(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    hs__jval format;
    char zero_ended[200], text[1000];
    struct tm tm;
    time_t now = (time_t)r->now;
    if (hs__jarg_str(r, args, 0, "format", false, &format) < 0)
        return r->code;
    if (format.len + 2 > sizeof zero_ended || memchr(format.as.s, '\0', format.len))
        return hs__jfail(r, -EINVAL, "strftime_now with a format that is too long or not valid");
    /* The blank keeps an empty result apart from a failure. */
    snprintf(zero_ended, sizeof zero_ended, "%.*s ", (int)format.len, format.as.s);
    if (!gmtime_r(&now, &tm))
        return hs__jfail(r, -EINVAL, "strftime_now cannot show this time");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, zero_ended, &tm);
#pragma GCC diagnostic pop
    if (n == 0)
        return hs__jfail(r, -EINVAL, "strftime_now with a result that is too long");
    return hs__jstr_copy(r, text, n - 1, ret);
}

const hs__jglobal hs__jglobals[] = {
    {"range", fn_range},
    {"dict", fn_dict},
    {"namespace", fn_namespace},
    {"raise_exception", fn_raise_exception},
    {"strftime_now", fn_strftime_now},
    {NULL, NULL},
};
