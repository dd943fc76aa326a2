/*
 * jinja_term.c - parser: literals, names, what follows them (attributes, indices, calls), filters and tests.
 * Recursion is bounded by HS__J_MAX_PARSE; every function returns NULL with p->code set when it fails.
 */
#include "text/jinja_int.h"

#include <string.h>

/* Consumes a token of p and makes a node for it. */
static hs__jnode *take(hs__jparser *p, hs__jkind kind)
{
    hs__jnode *n = hs__jnode_new(p, kind, p->tok->line);
    if (n)
        p->tok++;
    return n;
}

static hs__jnode *parse_name(hs__jparser *p)
{
    const hs__jtoken *t = p->tok;
    static const struct {
        const char *word;
        hs__jval val;
    } words[] = {
        {"true", {.type = HS__J_BOOL, .as.b = true}},
        {"True", {.type = HS__J_BOOL, .as.b = true}},
        {"false", {.type = HS__J_BOOL, .as.b = false}},
        {"False", {.type = HS__J_BOOL, .as.b = false}},
        {"none", {.type = HS__J_NONE}},
        {"None", {.type = HS__J_NONE}},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (hs__jtok_is(p, words[i].word)) {
            hs__jnode *n = take(p, HS__N_CONST);
            if (n)
                n->val = words[i].val;
            return n;
        }
    }
    hs__jnode *n = take(p, HS__N_NAME);
    if (!n || hs__jintern(p, t->as.s, t->len, &n->sym) < 0)
        return NULL;
    n->val = hs__jstr(t->as.s, t->len);
    if (n->sym == HS__SYM_CALLER)
        p->uses |= HS__J_USES_CALLER;
    else if (n->sym == HS__SYM_VARARGS)
        p->uses |= HS__J_USES_VARARGS;
    else if (n->sym == HS__SYM_KWARGS)
        p->uses |= HS__J_USES_KWARGS;
    return n;
}

/* One or more adjacent string literals. */
static hs__jnode *parse_string(hs__jparser *p)
{
    hs__jnode *n = hs__jnode_new(p, HS__N_CONST, p->tok->line);
    if (!n)
        return NULL;
    n->val = hs__jstr(p->tok->as.s, p->tok->len);
    for (p->tok++; p->tok->type == HS__T_STR; p->tok++) {
        size_t len = n->val.len + (size_t)p->tok->len;
        char *s = hs__jarena_alloc(&p->program->arena, len + 1);
        if (!s) {
            hs__jparse_no_memory(p, p->tok->line);
            return NULL;
        }
        memcpy(s, n->val.as.s, n->val.len);
        memcpy(s + n->val.len, p->tok->as.s, p->tok->len);
        n->val = hs__jstr(s, len);
    }
    return n;
}

static hs__jnode *parse_list(hs__jparser *p)
{
    hs__jnode *n = take(p, HS__N_LIST);
    if (!n)
        return NULL;
    for (hs__jnode **end = &n->a; p->tok->type != HS__T_RBRACKET; end = &(*end)->next) {
        if (n->a && hs__jexpect(p, HS__T_COMMA) < 0)
            return NULL;
        if (p->tok->type == HS__T_RBRACKET)
            break;
        *end = hs__jparse_expr(p, true);
        if (!*end)
            return NULL;
    }
    p->tok++;
    return n;
}

static hs__jnode *parse_dict(hs__jparser *p)
{
    hs__jnode *n = take(p, HS__N_DICT);
    if (!n)
        return NULL;
    for (hs__jnode **end = &n->a; p->tok->type != HS__T_RBRACE; end = &(*end)->next) {
        if (n->a && hs__jexpect(p, HS__T_COMMA) < 0)
            return NULL;
        if (p->tok->type == HS__T_RBRACE)
            break;
        uint32_t line = p->tok->line;
        hs__jnode *key = hs__jparse_expr(p, true);
        if (!key || hs__jexpect(p, HS__T_COLON) < 0)
            return NULL;
        *end = hs__jnode_join(p, HS__N_PAIR, line, key, hs__jparse_expr(p, true));
        if (!*end)
            return NULL;
    }
    p->tok++;
    return n;
}

static hs__jnode *parse_primary(hs__jparser *p)
{
    const hs__jtoken *t = p->tok;
    hs__jnode *n;
    char text[48];
    switch (t->type) {
    case HS__T_NAME:
        return parse_name(p);
    case HS__T_STR:
        return parse_string(p);
    case HS__T_INT:
    case HS__T_FLOAT:
        n = take(p, HS__N_CONST);
        if (n)
            n->val = t->type == HS__T_INT ? hs__jint(t->as.i) : hs__jfloat(t->as.d);
        return n;
    case HS__T_LPAREN:
        p->tok++;
        n = hs__jparse_tuple(p, true, true, NULL);
        return n && hs__jexpect(p, HS__T_RPAREN) == 0 ? n : NULL;
    case HS__T_LBRACKET:
        return parse_list(p);
    case HS__T_LBRACE:
        return parse_dict(p);
    default:
        hs__jparse_fail(p, t->line, "expected an expression, found %s", hs__jtok_text(t, text));
        return NULL;
    }
}

/* What may stand between brackets: an expression or a slice; *ret NULL for an open part. */
static int parse_slice_part(hs__jparser *p, hs__jnode **ret)
{
    if (p->tok->type == HS__T_COLON || p->tok->type == HS__T_RBRACKET)
        return 0;
    *ret = hs__jparse_expr(p, true);
    return *ret ? 0 : p->code;
}

static hs__jnode *parse_subscript(hs__jparser *p, hs__jnode *object)
{
    hs__jnode *n = take(p, HS__N_GETITEM), *part[3] = {NULL, NULL, NULL};
    if (!n)
        return NULL;
    n->a = object;
    if (parse_slice_part(p, &part[0]) < 0)
        return NULL;
    if (p->tok->type == HS__T_COLON) {
        hs__jnode *s = take(p, HS__N_SLICE);
        if (!s || parse_slice_part(p, &part[1]) < 0)
            return NULL;
        if (hs__jtok_skip(p, HS__T_COLON) && parse_slice_part(p, &part[2]) < 0)
            return NULL;
        s->a = part[0];
        s->b = part[1];
        s->c = part[2];
        n->b = s;
    } else {
        n->b = part[0];
    }
    if (!n->b) {
        hs__jparse_fail(p, p->tok->line, "expected an index between '[' and ']'");
        return NULL;
    }
    return hs__jexpect(p, HS__T_RBRACKET) == 0 ? n : NULL;
}

static hs__jnode *parse_attribute(hs__jparser *p, hs__jnode *object)
{
    hs__jnode *n = take(p, HS__N_GETATTR);
    const hs__jtoken *t = p->tok;
    if (!n)
        return NULL;
    n->a = object;
    if (t->type == HS__T_NAME) {
        n->val = hs__jstr(t->as.s, t->len);
        p->tok++;
        return n;
    }
    if (t->type != HS__T_INT) {
        char text[48];
        hs__jparse_fail(p, t->line, "expected a name or a number after '.', found %s", hs__jtok_text(t, text));
        return NULL;
    }
    n->kind = HS__N_GETITEM;
    n->b = parse_primary(p);
    return n->b ? n : NULL;
}

/* Arguments with their parentheses; *ret_list may be NULL for none. Returns any non-NULL node when it succeeds. */
hs__jnode *hs__jparse_call_args(hs__jparser *p, hs__jnode **ret_list)
{
    static hs__jnode success;
    hs__jnode **end = ret_list;
    bool named = false;
    *ret_list = NULL;
    if (hs__jexpect(p, HS__T_LPAREN) < 0)
        return NULL;
    while (p->tok->type != HS__T_RPAREN) {
        if (*ret_list && hs__jexpect(p, HS__T_COMMA) < 0)
            return NULL;
        if (p->tok->type == HS__T_RPAREN)
            break;
        const hs__jtoken *t = p->tok;
        if (t->type == HS__T_MUL || t->type == HS__T_POW) {
            hs__jparse_fail(p, t->line, "* and ** in calls are not supported");
            return NULL;
        }
        if (t->type == HS__T_NAME && t[1].type == HS__T_ASSIGN) {
            hs__jnode *kw = take(p, HS__N_KWARG);
            if (!kw)
                return NULL;
            kw->val = hs__jstr(t->as.s, t->len);
            p->tok++;
            kw->a = hs__jparse_expr(p, true);
            *end = kw->a ? kw : NULL;
            named = true;
        } else if (named) {
            hs__jparse_fail(p, t->line, "a positional argument after a named one");
            return NULL;
        } else {
            *end = hs__jparse_expr(p, true);
        }
        if (!*end)
            return NULL;
        end = &(*end)->next;
    }
    p->tok++;
    return &success;
}

static hs__jnode *parse_call(hs__jparser *p, hs__jnode *callee)
{
    hs__jnode *n = hs__jnode_new(p, HS__N_CALL, p->tok->line);
    if (!n || !hs__jparse_call_args(p, &n->b))
        return NULL;
    n->a = callee;
    return n;
}

static hs__jnode *parse_postfix(hs__jparser *p, hs__jnode *n)
{
    while (n) {
        if (p->tok->type == HS__T_DOT)
            n = parse_attribute(p, n);
        else if (p->tok->type == HS__T_LBRACKET)
            n = parse_subscript(p, n);
        else if (p->tok->type == HS__T_LPAREN)
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* A name that may have dots, for filters and tests. The last part is enough: no dotted ones exist here. */
static int parse_dotted(hs__jparser *p, hs__jval *ret)
{
    const hs__jtoken *t = p->tok;
    if (hs__jexpect(p, HS__T_NAME) < 0)
        return p->code;
    *ret = hs__jstr(t->as.s, t->len);
    return 0;
}

hs__jnode *hs__jparse_filters(hs__jparser *p, hs__jnode *in, bool at_name)
{
    while (at_name || p->tok->type == HS__T_PIPE) {
        if (!at_name)
            p->tok++;
        at_name = false;
        hs__jnode *n = hs__jnode_new(p, HS__N_FILTER, p->tok->line);
        if (!n || parse_dotted(p, &n->val) < 0)
            return NULL;
        n->fn = hs__jfilter_find(n->val.as.s, n->val.len);
        if (!n->fn && p->branches == 0) {
            hs__jparse_fail(p, n->line, "no filter named '%.*s'", (int)n->val.len, n->val.as.s);
            return NULL;
        }
        if (p->tok->type == HS__T_LPAREN && !hs__jparse_call_args(p, &n->b))
            return NULL;
        n->a = in;
        in = n;
    }
    return in;
}

/* `is NAME`, `is not NAME`, with an argument in parentheses or bare. */
static hs__jnode *parse_test(hs__jparser *p, hs__jnode *subject)
{
    hs__jnode *n = take(p, HS__N_TEST);
    if (!n)
        return NULL;
    n->op = hs__jword_skip(p, "not");
    n->a = subject;
    if (parse_dotted(p, &n->val) < 0)
        return NULL;
    n->fn = hs__jtest_find(n->val.as.s, n->val.len);
    if (!n->fn && p->branches == 0) {
        hs__jparse_fail(p, n->line, "no test named '%.*s'", (int)n->val.len, n->val.as.s);
        return NULL;
    }
    switch (p->tok->type) {
    case HS__T_LPAREN:
        return hs__jparse_call_args(p, &n->b) ? n : NULL;
    case HS__T_NAME:
        if (hs__jtok_is(p, "else") || hs__jtok_is(p, "or") || hs__jtok_is(p, "and") || hs__jtok_is(p, "if"))
            return n;
        if (hs__jtok_is(p, "is")) {
            hs__jparse_fail(p, p->tok->line, "tests cannot be chained with 'is'");
            return NULL;
        }
        break;
    case HS__T_STR:
    case HS__T_INT:
    case HS__T_FLOAT:
    case HS__T_LBRACKET:
    case HS__T_LBRACE:
        break;
    default:
        return n;
    }
    n->b = parse_postfix(p, parse_primary(p));
    return n->b ? n : NULL;
}

static hs__jnode *parse_filter_chain(hs__jparser *p, hs__jnode *n)
{
    while (n) {
        if (p->tok->type == HS__T_PIPE)
            n = hs__jparse_filters(p, n, false);
        else if (hs__jtok_is(p, "is"))
            n = parse_test(p, n);
        else if (p->tok->type == HS__T_LPAREN)
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

hs__jnode *hs__jparse_unary(hs__jparser *p, bool with_filters)
{
    hs__jnode *n;
    if (++p->depth > HS__J_MAX_PARSE) {
        hs__jparse_fail(p, p->tok->line, "expressions or blocks are nested more than %d deep", HS__J_MAX_PARSE);
        return NULL;
    }
    if (p->tok->type == HS__T_SUB || p->tok->type == HS__T_ADD) {
        n = take(p, p->tok->type == HS__T_SUB ? HS__N_NEG : HS__N_POS);
        if (n) {
            n->a = hs__jparse_unary(p, false);
            n = n->a ? n : NULL;
        }
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filters)
        n = parse_filter_chain(p, n);
    p->depth--;
    return n;
}
