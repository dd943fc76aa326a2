/*
 * jinja_macro.c - calls of macros and of call blocks: binding of arguments, then the body in a scope of its own.
 * Defaults are evaluated at the call, in that scope, so they may use earlier parameters. What is given too much is an
 * error unless the body uses `varargs` or `kwargs`.
 */
#include "text/jinja_int.h"

#include <string.h>

static bool is_param(const hs__jnode *def, const hs__jkw *kw)
{
    for (const hs__jnode *p = def->a; p; p = p->next) {
        if (hs__jis(&p->val, kw->name, kw->len))
            return true;
    }
    return false;
}

static int bind_params(hs__jrun *r, const hs__jnode *def, const hs__jargs *args)
{
    uint32_t i = 0;
    for (const hs__jnode *p = def->a; p; p = p->next, i++) {
        hs__jval v = {.type = HS__J_MISSING};
        if (i < args->n)
            v = args->pos[i];
        for (uint32_t k = 0; k < args->n_kw; k++) {
            if (!hs__jis(&p->val, args->kw[k].name, args->kw[k].len))
                continue;
            if (v.type != HS__J_MISSING)
                return hs__jfail(r, -EINVAL, "'%.*s' was given twice", (int)p->val.len, p->val.as.s);
            v = args->kw[k].val;
        }
        int code = 0;
        if (v.type == HS__J_MISSING && p->a)
            code = hs__jeval(r, p->a, &v);
        else if (v.type == HS__J_MISSING)
            v = hs__jundefined(p->val.as.s, p->val.len, 0);
        if (code == 0)
            code = hs__jscope_set(r, p->sym, &v);
        if (code < 0)
            return code;
    }
    return 0;
}

static int bind_rest(hs__jrun *r, const hs__jnode *def, const hs__jargs *args)
{
    uint32_t n_params = 0;
    hs__jlist *rest;
    hs__jdict *named;
    for (const hs__jnode *p = def->a; p; p = p->next)
        n_params++;
    if (hs__jlist_new(r, 0, &rest) < 0 || hs__jdict_new(r, &named) < 0)
        return r->code;
    for (uint32_t i = n_params; i < args->n; i++) {
        if (!(def->op & HS__J_USES_VARARGS))
            return hs__jfail(r, -EINVAL, "'%.*s' takes %u arguments, %u were given", (int)def->val.len, def->val.as.s,
                             n_params, args->n);
        if (hs__jlist_push(r, rest, &args->pos[i]) < 0)
            return r->code;
    }
    for (uint32_t i = 0; i < args->n_kw; i++) {
        const hs__jkw *kw = &args->kw[i];
        hs__jval key = hs__jstr(kw->name, kw->len);
        if (is_param(def, kw))
            continue;
        if (!(def->op & HS__J_USES_KWARGS))
            return hs__jfail(r, -EINVAL, "'%.*s' has no parameter '%.*s'", (int)def->val.len, def->val.as.s,
                             (int)kw->len, kw->name);
        if (hs__jdict_set(r, named, &key, &kw->val) < 0)
            return r->code;
    }
    hs__jval list = {.type = HS__J_TUPLE, .as.list = rest}, dict = {.type = HS__J_DICT, .as.dict = named};
    int code = def->op & HS__J_USES_VARARGS ? hs__jscope_set(r, HS__SYM_VARARGS, &list) : 0;
    return code == 0 && def->op & HS__J_USES_KWARGS ? hs__jscope_set(r, HS__SYM_KWARGS, &dict) : code;
}

static int bind_caller(hs__jrun *r, const hs__jnode *def, const hs__jargs *args)
{
    hs__jval none = hs__jundefined("caller", 6, 0);
    if (args->caller && !(def->op & HS__J_USES_CALLER))
        return hs__jfail(r, -EINVAL, "'%.*s' does not take a caller", (int)def->val.len, def->val.as.s);
    return def->op & HS__J_USES_CALLER && def->kind == HS__N_MACRO
               ? hs__jscope_set(r, HS__SYM_CALLER, args->caller ? args->caller : &none)
               : 0;
}

int hs__jmacro_call(hs__jrun *r, const hs__jmacro *m, const hs__jargs *args, hs__jval *ret)
{
    hs__jscope *outer = r->scope, *scope = hs__jalloc(r, sizeof *scope);
    uint32_t line = r->line;
    if (!scope)
        return r->code;
    *scope = (hs__jscope){.parent = m->scope};
    r->scope = scope;
    size_t mark = hs__jbegin(r);
    int code = bind_caller(r, m->def, args);
    if (code == 0)
        code = bind_rest(r, m->def, args);
    if (code == 0)
        code = bind_params(r, m->def, args);
    if (code == 0)
        code = hs__jexec(r, m->def->b);
    if (code == 0)
        code = hs__jend(r, mark, ret);
    r->scope = outer;
    if (code == 0)
        r->line = line;
    return code;
}
