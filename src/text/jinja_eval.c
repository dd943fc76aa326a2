/*
 * jinja_eval.c - evaluates expressions.
 * Each node costs a step and a level of depth, so that both time and stack are bounded. `and`, `or` and inline ifs
 * evaluate only what they need, and give the deciding operand itself, not a bool.
 */
#include "text/jinja_int.h"

#include <string.h>

int hs__jcharge(hs__jrun *r, uint64_t n)
{
    if (r->steps < 0 || n > (uint64_t)r->steps) {
        r->steps = -1;
        return hs__jfail(r, -ETIMEDOUT, "the template runs too long");
    }
    r->steps -= (int64_t)n;
    return 0;
}

int hs__jfail_undefined(hs__jrun *r, const hs__jval *v)
{
    int n = v->len > 80 ? 80 : (int)v->len;
    hs__jval of = {.type = v->flag};
    if (!v->as.s)
        return hs__jfail(r, -EINVAL, "'%s' has no such element", hs__jtype_name(&of));
    if (v->flag == 0)
        return hs__jfail(r, -EINVAL, "'%.*s' is undefined", n, v->as.s);
    return hs__jfail(r, -EINVAL, "'%s' has no attribute '%.*s'", hs__jtype_name(&of), n, v->as.s);
}

static int eval_name(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    for (const hs__jscope *s = r->scope; s; s = s->parent) {
        if (hs__jcharge(r, s->n / 16) < 0)
            return r->code;
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->vars[i].sym == n->sym) {
                *ret = s->vars[i].val;
                return 0;
            }
        }
    }
    *ret = r->globals[n->sym];
    if (ret->type == HS__J_MISSING)
        *ret = hs__jundefined(n->val.as.s, n->val.len, 0);
    return 0;
}

static int eval_list(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jlist *l;
    int code = hs__jlist_new(r, 0, &l);
    for (const hs__jnode *item = n->a; item && code == 0; item = item->next) {
        hs__jval v;
        code = hs__jeval(r, item, &v);
        if (code == 0)
            code = hs__jlist_push(r, l, &v);
    }
    *ret = (hs__jval){.type = n->kind == HS__N_TUPLE ? HS__J_TUPLE : HS__J_LIST, .as.list = l};
    return code;
}

static int eval_dict(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jdict *d;
    int code = hs__jdict_new(r, &d);
    for (const hs__jnode *pair = n->a; pair && code == 0; pair = pair->next) {
        hs__jval k, v;
        code = hs__jeval(r, pair->a, &k);
        if (code == 0)
            code = hs__jeval(r, pair->b, &v);
        if (code == 0)
            code = hs__jdict_set(r, d, &k, &v);
    }
    *ret = (hs__jval){.type = HS__J_DICT, .as.dict = d};
    return code;
}

static int eval_item(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval v, key[3] = {{.type = HS__J_MISSING}, {.type = HS__J_MISSING}, {.type = HS__J_MISSING}};
    int code = hs__jeval(r, n->a, &v);
    if (code < 0)
        return code;
    if (n->b->kind != HS__N_SLICE) {
        code = hs__jeval(r, n->b, &key[0]);
        return code < 0 ? code : hs__jgetitem(r, &v, &key[0], ret);
    }
    const hs__jnode *part[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3 && code == 0; i++) {
        if (part[i])
            code = hs__jeval(r, part[i], &key[i]);
    }
    return code < 0 ? code : hs__jslice(r, &v, key, ret);
}

int hs__jeval_args(hs__jrun *r, const hs__jnode *list, hs__jargs *ret)
{
    uint32_t n = 0, n_kw = 0;
    for (const hs__jnode *a = list; a; a = a->next) {
        n += a->kind != HS__N_KWARG;
        n_kw += a->kind == HS__N_KWARG;
    }
    *ret = (hs__jargs){0};
    if (!list)
        return 0;
    ret->pos = hs__jalloc(r, n * sizeof *ret->pos + n_kw * sizeof *ret->kw);
    if (!ret->pos)
        return r->code;
    ret->kw = (hs__jkw *)(ret->pos + n);
    for (const hs__jnode *a = list; a; a = a->next) {
        hs__jval v;
        int code = hs__jeval(r, a->kind == HS__N_KWARG ? a->a : a, &v);
        if (code < 0)
            return code;
        if (a->kind == HS__N_KWARG)
            ret->kw[ret->n_kw++] = (hs__jkw){a->val.as.s, a->val.len, v};
        else
            ret->pos[ret->n++] = v;
    }
    return 0;
}

int hs__jcall(hs__jrun *r, const hs__jval *callee, const hs__jargs *args, hs__jval *ret)
{
    switch (callee->type) {
    case HS__J_GLOBAL:
        return callee->as.global->fn(r, args, ret);
    case HS__J_METHOD:
        if (!callee->as.method->def->fn)
            return hs__jfail(r, -EINVAL, "the method '%s' is not supported", callee->as.method->def->name);
        return callee->as.method->def->fn(r, &callee->as.method->self, args, ret);
    case HS__J_MACRO:
        return hs__jmacro_call(r, callee->as.macro, args, ret);
    case HS__J_UNDEFINED:
        return hs__jfail_undefined(r, callee);
    default:
        return hs__jfail(r, -EINVAL, "'%s' object is not callable", hs__jtype_name(callee));
    }
}

static int eval_call(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval callee;
    hs__jargs args;
    int code = hs__jeval(r, n->a, &callee);
    if (code == 0)
        code = hs__jeval_args(r, n->b, &args);
    r->line = n->line;
    return code < 0 ? code : hs__jcall(r, &callee, &args, ret);
}

static int eval_filter(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    const hs__jfilter *f = n->fn;
    hs__jval in;
    hs__jargs args;
    int code = hs__jeval(r, n->a, &in);
    if (code == 0)
        code = hs__jeval_args(r, n->b, &args);
    if (code < 0)
        return code;
    r->line = n->line;
    if (!f)
        return hs__jfail(r, -EINVAL, "no filter named '%.*s'", (int)n->val.len, n->val.as.s);
    return f->fn(r, &in, &args, ret);
}

static int eval_test(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    const hs__jtest *t = n->fn;
    hs__jval subject;
    hs__jargs args;
    bool yes = false;
    int code = hs__jeval(r, n->a, &subject);
    if (code == 0)
        code = hs__jeval_args(r, n->b, &args);
    if (code < 0)
        return code;
    if (!t)
        return hs__jfail(r, -EINVAL, "no test named '%.*s'", (int)n->val.len, n->val.as.s);
    code = hs__jtest_run(r, t, &subject, &args, &yes);
    *ret = hs__jbool(yes != n->op);
    return code;
}

static int compare_one(hs__jrun *r, hs__jop op, const hs__jval *a, const hs__jval *b, bool *ret)
{
    int order = 0, code;
    switch (op) {
    case HS__OP_EQ:
    case HS__OP_NE:
        code = hs__jequal(r, a, b, ret);
        *ret = *ret == (op == HS__OP_EQ);
        return code;
    case HS__OP_IN:
    case HS__OP_NOTIN:
        code = hs__jcontains(r, b, a, ret);
        *ret = *ret == (op == HS__OP_IN);
        return code;
    default:
        code = hs__jcompare(r, a, b, &order);
        *ret = op == HS__OP_LT ? order < 0 : op == HS__OP_LE ? order <= 0 : op == HS__OP_GT ? order > 0 : order >= 0;
        return code;
    }
}

/* a < b < c holds if both do; b is evaluated once. */
static int eval_compare(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval left, right;
    bool yes = true;
    int code = hs__jeval(r, n->a, &left);
    for (const hs__jnode *o = n->b; o && yes && code == 0; o = o->next) {
        code = hs__jeval(r, o->a, &right);
        if (code == 0)
            code = compare_one(r, (hs__jop)o->op, &left, &right, &yes);
        left = right;
    }
    *ret = hs__jbool(yes);
    return code;
}

static int eval_concat(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval all = hs__jstr("", 0), v, s;
    for (const hs__jnode *part = n->a; part; part = part->next) {
        int code = hs__jeval(r, part, &v);
        if (code == 0)
            code = hs__jto_str(r, &v, &s);
        if (code == 0)
            code = hs__jcat(r, &all, &s, &all);
        if (code < 0)
            return code;
    }
    *ret = all;
    return 0;
}

static int eval_sign(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval v, zero = hs__jint(0);
    int code = hs__jeval(r, n->a, &v);
    if (code < 0)
        return code;
    if (v.type == HS__J_FLOAT && n->kind == HS__N_NEG) {
        *ret = hs__jfloat(-v.as.d);
        return 0;
    }
    return hs__jbinary(r, n->kind == HS__N_NEG ? HS__OP_SUB : HS__OP_ADD, &zero, &v, ret);
}

static int eval_binary(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval a, b;
    int code = hs__jeval(r, n->a, &a);
    if (code == 0)
        code = hs__jeval(r, n->b, &b);
    r->line = n->line;
    return code < 0 ? code : hs__jbinary(r, (hs__jop)n->op, &a, &b, ret);
}

/* and, or, not, inline if */
static int eval_logic(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    int code = hs__jeval(r, n->a, ret);
    if (code < 0)
        return code;
    bool yes = hs__jtruth(ret);
    switch (n->kind) {
    case HS__N_AND:
        return yes ? hs__jeval(r, n->b, ret) : 0;
    case HS__N_OR:
        return yes ? 0 : hs__jeval(r, n->b, ret);
    case HS__N_NOT:
        *ret = hs__jbool(!yes);
        return 0;
    default:
        if (yes || n->c)
            return hs__jeval(r, yes ? n->b : n->c, ret);
        *ret = hs__jundefined("the inline if without else", 26, 0);
        return 0;
    }
}

static int eval_node(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    hs__jval v;
    int code;
    switch (n->kind) {
    case HS__N_CONST:
        *ret = n->val;
        return 0;
    case HS__N_NAME:
        return eval_name(r, n, ret);
    case HS__N_LIST:
    case HS__N_TUPLE:
        return eval_list(r, n, ret);
    case HS__N_DICT:
        return eval_dict(r, n, ret);
    case HS__N_GETATTR:
        code = hs__jeval(r, n->a, &v);
        r->line = n->line;
        return code < 0 ? code : hs__jgetattr(r, &v, n->val.as.s, n->val.len, ret);
    case HS__N_GETITEM:
        return eval_item(r, n, ret);
    case HS__N_CALL:
        return eval_call(r, n, ret);
    case HS__N_FILTER:
        return eval_filter(r, n, ret);
    case HS__N_TEST:
        return eval_test(r, n, ret);
    case HS__N_COMPARE:
        return eval_compare(r, n, ret);
    case HS__N_BINARY:
        return eval_binary(r, n, ret);
    case HS__N_CONCAT:
        return eval_concat(r, n, ret);
    case HS__N_NEG:
    case HS__N_POS:
        return eval_sign(r, n, ret);
    default:
        return eval_logic(r, n, ret);
    }
}

int hs__jeval(hs__jrun *r, const hs__jnode *n, hs__jval *ret)
{
    if (hs__jcharge(r, 1) < 0)
        return r->code;
    if (++r->depth > HS__J_MAX_DEPTH)
        return hs__jfail(r, -E2BIG, "evaluation is nested more than %d deep", HS__J_MAX_DEPTH);
    r->line = n->line;
    int code = eval_node(r, n, ret);
    r->depth--;
    return code;
}
