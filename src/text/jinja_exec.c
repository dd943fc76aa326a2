/*
 * jinja_exec.c - runs statements: output, branches, loops, assignments, macros, and what scopes they see.
 *
 * Scopes: the outermost one is an array by symbol (r->globals). A loop's turn, a macro call, `with`, a filter or call
 * block and the body of a set block each have an inner scope; `set` writes to the innermost, reading looks outwards.
 * `if` has none. A macro sees the scope in which it was defined, not its caller's.
 * Invariant: r->scope and r->depth are the same after a statement as before it, unless it failed.
 */
#include "text/jinja_int.h"

#include <string.h>

int hs__jscope_set(hs__jrun *r, uint32_t sym, const hs__jval *v)
{
    hs__jscope *s = r->scope;
    if (!s) {
        r->globals[sym] = *v;
        return 0;
    }
    if (hs__jcharge(r, s->n / 16) < 0)
        return r->code;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->vars[i].sym == sym) {
            s->vars[i].val = *v;
            return 0;
        }
    }
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? 2 * s->cap : 8;
        hs__jvar *vars = hs__jalloc(r, cap * sizeof *vars);
        if (!vars)
            return r->code;
        if (s->n)
            memcpy(vars, s->vars, s->n * sizeof *vars);
        s->vars = vars;
        s->cap = cap;
    }
    s->vars[s->n++] = (hs__jvar){sym, *v};
    return 0;
}

static hs__jscope *enter(hs__jrun *r)
{
    hs__jscope *s = hs__jalloc(r, sizeof *s);
    if (s) {
        *s = (hs__jscope){.parent = r->scope};
        r->scope = s;
    }
    return s;
}

/* Runs body in a scope of its own and leaves its text in *ret. */
static int capture(hs__jrun *r, const hs__jnode *body, hs__jval *ret)
{
    hs__jscope *outer = r->scope;
    size_t mark = hs__jbegin(r);
    if (!enter(r))
        return r->code;
    int code = hs__jexec(r, body);
    r->scope = outer;
    if (code < 0)
        return code;
    int taken = hs__jend(r, mark, ret);
    return taken < 0 ? taken : code;
}

/* A FILTER chain whose innermost input is a text. */
static int apply_chain(hs__jrun *r, const hs__jnode *chain, const hs__jval *text, hs__jval *ret)
{
    const hs__jfilter *f = chain->fn;
    hs__jval in = *text;
    hs__jargs args;
    int code = hs__jcharge(r, 1);
    if (++r->depth > HS__J_MAX_DEPTH)
        return hs__jfail(r, -E2BIG, "evaluation is nested more than %d deep", HS__J_MAX_DEPTH);
    if (code == 0 && chain->a)
        code = apply_chain(r, chain->a, text, &in);
    if (code == 0)
        code = hs__jeval_args(r, chain->b, &args);
    if (code < 0)
        return code;
    r->depth--;
    r->line = chain->line;
    if (!f)
        return hs__jfail(r, -EINVAL, "no filter named '%.*s'", (int)chain->val.len, chain->val.as.s);
    return f->fn(r, &in, &args, ret);
}

static int assign_tuple(hs__jrun *r, const hs__jnode *target, const hs__jval *v);

static int assign(hs__jrun *r, const hs__jnode *target, const hs__jval *v)
{
    if (target->kind == HS__N_TUPLE)
        return assign_tuple(r, target, v);
    if (target->kind == HS__N_NAME)
        return hs__jscope_set(r, target->sym, v);
    hs__jnode name = {.kind = HS__N_NAME, .line = target->line, .sym = target->sym};
    name.val = r->program->names[target->sym];
    hs__jval ns;
    int code = hs__jeval(r, &name, &ns);
    if (code < 0)
        return code;
    if (ns.type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, &ns);
    if (ns.type != HS__J_NAMESPACE)
        return hs__jfail(r, -EINVAL, "only attributes of a namespace can be assigned, not of a '%s'",
                         hs__jtype_name(&ns));
    return hs__jdict_set(r, ns.as.dict, &target->val, v);
}

static int assign_tuple(hs__jrun *r, const hs__jnode *target, const hs__jval *v)
{
    hs__jlist *l;
    uint32_t n = 0, i = 0;
    if (v->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, v);
    int code = hs__jelements(r, v, &l);
    for (const hs__jnode *t = target->a; t; t = t->next)
        n++;
    if (code == 0 && l->n != n)
        code = hs__jfail(r, -EINVAL, "%u values for %u names", l->n, n);
    for (const hs__jnode *t = target->a; t && code == 0; t = t->next)
        code = assign(r, t, &l->items[i++]);
    return code;
}

/* The elements for which the loop's filter holds; the filter sees the loop's variable, not `loop`. */
static int filter_items(hs__jrun *r, const hs__jnode *n, hs__jlist **items)
{
    hs__jlist *kept;
    hs__jscope *outer = r->scope, *inner = enter(r);
    int code = inner ? hs__jlist_new(r, 0, &kept) : r->code;
    for (uint32_t i = 0; code == 0 && i < (*items)->n; i++) {
        hs__jval yes;
        inner->n = 0;
        code = assign(r, n->a, &(*items)->items[i]);
        if (code == 0)
            code = hs__jeval(r, n->e, &yes);
        if (code == 0 && hs__jtruth(&yes))
            code = hs__jlist_push(r, kept, &(*items)->items[i]);
    }
    r->scope = outer;
    if (code == 0)
        *items = kept;
    return code;
}

/* What the loop walks over: a list itself, so that elements appended meanwhile are seen; a copy of all else. */
static int loop_items(hs__jrun *r, const hs__jnode *n, hs__jloop *loop)
{
    hs__jval v;
    hs__jlist *l;
    int code = hs__jeval(r, n->b, &v);
    if (code < 0)
        return code;
    if (v.type == HS__J_RANGE && !n->e) {
        loop->range = v.as.range;
        return 0;
    }
    if (v.type == HS__J_LIST || v.type == HS__J_TUPLE)
        l = v.as.list;
    else
        code = hs__jelements(r, &v, &l);
    if (code == 0 && n->e)
        code = filter_items(r, n, &l);
    loop->items = l;
    return code;
}

static int run_turn(hs__jrun *r, const hs__jnode *n, hs__jloop *loop, hs__jscope **scope)
{
    hs__jscope *s = *scope;
    if (s->is_captured) {
        r->scope = s->parent;
        s = *scope = enter(r);
        if (!s)
            return r->code;
    }
    s->n = 0;
    hs__jval special = {.type = HS__J_LOOP, .as.loop = loop}, item = hs__jloop_item(loop, loop->index0);
    int code = hs__jcharge(r, 1);
    if (code == 0)
        code = hs__jscope_set(r, HS__SYM_LOOP, &special);
    if (code == 0)
        code = assign(r, n->a, &item);
    return code < 0 ? code : hs__jexec(r, n->c);
}

static int exec_for(hs__jrun *r, const hs__jnode *n)
{
    hs__jscope *outer = r->scope;
    hs__jloop *loop = hs__jalloc(r, sizeof *loop);
    if (!loop)
        return r->code;
    *loop = (hs__jloop){0};
    int code = loop_items(r, n, loop);
    hs__jscope *scope = code == 0 ? enter(r) : NULL;
    if (!scope)
        return r->code;
    bool any = hs__jloop_len(loop) > 0;
    for (; loop->index0 < hs__jloop_len(loop); loop->index0++) {
        code = run_turn(r, n, loop, &scope);
        if (code < 0)
            return code;
        if (code == HS__J_BROKE)
            break;
    }
    r->scope = outer;
    if (any || !n->d)
        return 0;
    if (!enter(r))
        return r->code;
    code = hs__jexec(r, n->d);
    r->scope = outer;
    return code;
}

static int exec_if(hs__jrun *r, const hs__jnode *n)
{
    for (;;) {
        hs__jval yes;
        int code = hs__jeval(r, n->a, &yes);
        if (code < 0)
            return code;
        if (hs__jtruth(&yes))
            return hs__jexec(r, n->b);
        if (!n->op)
            return hs__jexec(r, n->c);
        n = n->c;
    }
}

static int exec_print(hs__jrun *r, const hs__jnode *n)
{
    hs__jval v;
    int code = hs__jeval(r, n->a, &v);
    return code < 0 ? code : hs__jput_str(r, &v);
}

static int exec_set(hs__jrun *r, const hs__jnode *n)
{
    hs__jval v;
    int code;
    if (n->kind == HS__N_SET) {
        code = hs__jeval(r, n->b, &v);
        return code < 0 ? code : assign(r, n->a, &v);
    }
    code = capture(r, n->b, &v);
    if (code != 0)
        return code;
    if (n->c)
        code = apply_chain(r, n->c, &v, &v);
    return code < 0 ? code : assign(r, n->a, &v);
}

static int make_macro(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jmacro *m = hs__jalloc(r, sizeof *m);
    if (!m)
        return r->code;
    *m = (hs__jmacro){.def = n, .scope = r->scope};
    for (hs__jscope *s = r->scope; s && !s->is_captured; s = s->parent)
        s->is_captured = true;
    *ret = (hs__jval){.type = HS__J_MACRO, .as.macro = m};
    return 0;
}

static int exec_macro(hs__jrun *r, const hs__jnode *n)
{
    hs__jval m;
    int code = make_macro(r, n, &m);
    return code < 0 ? code : hs__jscope_set(r, n->sym, &m);
}

/* The call's macro gets the block as `caller`. */
static int exec_call_block(hs__jrun *r, const hs__jnode *n)
{
    hs__jval caller, callee, v;
    hs__jargs args;
    int code = make_macro(r, n, &caller);
    if (code == 0)
        code = hs__jeval(r, n->c->a, &callee);
    if (code == 0)
        code = hs__jeval_args(r, n->c->b, &args);
    if (code < 0)
        return code;
    args.caller = &caller;
    code = hs__jcall(r, &callee, &args, &v);
    return code < 0 ? code : hs__jput_str(r, &v);
}

static int exec_filter_block(hs__jrun *r, const hs__jnode *n)
{
    hs__jval v;
    int code = capture(r, n->b, &v);
    if (code != 0)
        return code;
    code = apply_chain(r, n->c, &v, &v);
    return code < 0 ? code : hs__jput_str(r, &v);
}

/* with: the expressions see the outer scope. */
static int exec_with(hs__jrun *r, const hs__jnode *n)
{
    hs__jscope *outer = r->scope, *inner = enter(r);
    int code = inner ? 0 : r->code;
    for (const hs__jnode *pair = n->a; pair && code == 0; pair = pair->next) {
        hs__jval v;
        r->scope = outer;
        code = hs__jeval(r, pair->b, &v);
        r->scope = inner;
        if (code == 0)
            code = assign(r, pair->a, &v);
    }
    if (code == 0)
        code = hs__jexec(r, n->b);
    r->scope = outer;
    return code;
}

static int exec_one(hs__jrun *r, const hs__jnode *n)
{
    switch (n->kind) {
    case HS__N_DATA:
        return hs__jput(r, n->val.as.s, n->val.len);
    case HS__N_PRINT:
        return exec_print(r, n);
    case HS__N_IF:
        return exec_if(r, n);
    case HS__N_FOR:
        return exec_for(r, n);
    case HS__N_SET:
    case HS__N_SETBLOCK:
        return exec_set(r, n);
    case HS__N_MACRO:
        return exec_macro(r, n);
    case HS__N_CALLBLOCK:
        return exec_call_block(r, n);
    case HS__N_FILTERBLOCK:
        return exec_filter_block(r, n);
    case HS__N_WITH:
    case HS__N_SCOPE:
        return exec_with(r, n);
    case HS__N_BREAK:
        return HS__J_BROKE;
    default:
        return HS__J_CONTINUED;
    }
}

int hs__jexec(hs__jrun *r, const hs__jnode *list)
{
    if (++r->depth > HS__J_MAX_DEPTH)
        return hs__jfail(r, -E2BIG, "evaluation is nested more than %d deep", HS__J_MAX_DEPTH);
    for (const hs__jnode *n = list; n; n = n->next) {
        r->line = n->line;
        int code = hs__jcharge(r, 1);
        if (code == 0)
            code = exec_one(r, n);
        if (code < 0)
            return code;
        if (code > 0) {
            r->depth--;
            return code;
        }
    }
    r->depth--;
    return 0;
}
