/*
 * jinja_expr.c - parser: operators, from the loosest binding (inline if) to the tightest (power); tuples.
 * Recursion is bounded by HS__J_MAX_PARSE; every function returns NULL with p->code set when it fails.
 */
#include "text/jinja_int.h"

#include <string.h>

/* A node with two children. */
hs__jnode *hs__jnode_join(hs__jparser *p, hs__jkind kind, uint32_t line, hs__jnode *a, hs__jnode *b)
{
    hs__jnode *n = a && b ? hs__jnode_new(p, kind, line) : NULL;
    if (n) {
        n->a = a;
        n->b = b;
    }
    return n;
}

static hs__jnode *binary(hs__jparser *p, hs__jop op, uint32_t line, hs__jnode *a, hs__jnode *b)
{
    hs__jnode *n = hs__jnode_join(p, HS__N_BINARY, line, a, b);
    if (n)
        n->op = (uint8_t)op;
    return n;
}

static hs__jnode *parse_pow(hs__jparser *p)
{
    hs__jnode *n = hs__jparse_unary(p, true);
    while (n && p->tok->type == HS__T_POW) {
        uint32_t line = p->tok++->line;
        n = binary(p, HS__OP_POW, line, n, hs__jparse_unary(p, true));
    }
    return n;
}

static hs__jnode *parse_product(hs__jparser *p)
{
    hs__jnode *n = parse_pow(p);
    while (n) {
        hs__jop op;
        switch (p->tok->type) {
        case HS__T_MUL:
            op = HS__OP_MUL;
            break;
        case HS__T_DIV:
            op = HS__OP_DIV;
            break;
        case HS__T_FLOORDIV:
            op = HS__OP_FLOORDIV;
            break;
        case HS__T_MOD:
            op = HS__OP_MOD;
            break;
        default:
            return n;
        }
        uint32_t line = p->tok++->line;
        n = binary(p, op, line, n, parse_pow(p));
    }
    return n;
}

static hs__jnode *parse_concat(hs__jparser *p)
{
    hs__jnode *first = parse_product(p);
    if (!first || p->tok->type != HS__T_TILDE)
        return first;
    hs__jnode *n = hs__jnode_new(p, HS__N_CONCAT, p->tok->line), *last = first;
    if (!n)
        return NULL;
    n->a = first;
    while (hs__jtok_skip(p, HS__T_TILDE)) {
        last->next = parse_product(p);
        last = last->next;
        if (!last)
            return NULL;
    }
    return n;
}

static hs__jnode *parse_sum(hs__jparser *p)
{
    hs__jnode *n = parse_concat(p);
    while (n && (p->tok->type == HS__T_ADD || p->tok->type == HS__T_SUB)) {
        hs__jop op = p->tok->type == HS__T_ADD ? HS__OP_ADD : HS__OP_SUB;
        uint32_t line = p->tok++->line;
        n = binary(p, op, line, n, parse_concat(p));
    }
    return n;
}

/* If the current token is a comparison: consumes it. */
static bool comparison(hs__jparser *p, hs__jop *ret)
{
    static const uint8_t types[] = {HS__T_EQ, HS__T_NE, HS__T_LT, HS__T_LE, HS__T_GT, HS__T_GE};
    static const hs__jop ops[] = {HS__OP_EQ, HS__OP_NE, HS__OP_LT, HS__OP_LE, HS__OP_GT, HS__OP_GE};
    for (size_t i = 0; i < sizeof types; i++) {
        if (hs__jtok_skip(p, types[i])) {
            *ret = ops[i];
            return true;
        }
    }
    *ret = HS__OP_IN;
    if (hs__jword_skip(p, "in"))
        return true;
    if (hs__jtok_is(p, "not") && p->tok[1].type == HS__T_NAME && p->tok[1].len == 2 &&
        !memcmp(p->tok[1].as.s, "in", 2)) {
        p->tok += 2;
        *ret = HS__OP_NOTIN;
        return true;
    }
    return false;
}

static hs__jnode *parse_compare(hs__jparser *p)
{
    hs__jnode *first = parse_sum(p), *n = NULL;
    hs__jop op;
    hs__jnode **end = NULL;
    uint32_t line = p->tok->line;
    while (first && comparison(p, &op)) {
        if (!n) {
            n = hs__jnode_new(p, HS__N_COMPARE, line);
            if (!n)
                return NULL;
            n->a = first;
            end = &n->b;
        }
        hs__jnode *o = hs__jnode_new(p, HS__N_OPERAND, line);
        if (!o)
            return NULL;
        o->op = (uint8_t)op;
        o->a = parse_sum(p);
        if (!o->a)
            return NULL;
        *end = o;
        end = &o->next;
    }
    return n ? n : first;
}

static hs__jnode *parse_not(hs__jparser *p)
{
    uint32_t line = p->tok->line;
    if (!hs__jword_skip(p, "not"))
        return parse_compare(p);
    if (++p->depth > HS__J_MAX_PARSE) {
        hs__jparse_fail(p, line, "expressions or blocks are nested more than %d deep", HS__J_MAX_PARSE);
        return NULL;
    }
    hs__jnode *n = hs__jnode_new(p, HS__N_NOT, line);
    if (n) {
        n->a = parse_not(p);
        n = n->a ? n : NULL;
    }
    p->depth--;
    return n;
}

static hs__jnode *parse_and(hs__jparser *p)
{
    hs__jnode *n = parse_not(p);
    while (n && hs__jtok_is(p, "and")) {
        uint32_t line = p->tok++->line;
        n = hs__jnode_join(p, HS__N_AND, line, n, parse_not(p));
    }
    return n;
}

static hs__jnode *parse_or(hs__jparser *p)
{
    hs__jnode *n = parse_and(p);
    while (n && hs__jtok_is(p, "or")) {
        uint32_t line = p->tok++->line;
        n = hs__jnode_join(p, HS__N_OR, line, n, parse_and(p));
    }
    return n;
}

hs__jnode *hs__jparse_expr(hs__jparser *p, bool with_cond)
{
    hs__jnode *n = parse_or(p);
    while (with_cond && n && hs__jtok_is(p, "if")) {
        hs__jnode *cond = hs__jnode_new(p, HS__N_COND, p->tok->line);
        p->tok++;
        p->branches++;
        if (!cond)
            return NULL;
        cond->b = n;
        cond->a = parse_or(p);
        if (!cond->a)
            return NULL;
        if (hs__jword_skip(p, "else")) {
            if (++p->depth > HS__J_MAX_PARSE) {
                hs__jparse_fail(p, p->tok->line, "inline ifs are nested more than %d deep", HS__J_MAX_PARSE);
                return NULL;
            }
            cond->c = hs__jparse_expr(p, true);
            if (!cond->c)
                return NULL;
            p->depth--;
        }
        p->branches--;
        n = cond;
    }
    return n;
}

hs__jnode *hs__jparse_tuple(hs__jparser *p, bool with_cond, bool parenthesised, const char *end_word)
{
    hs__jnode *n = NULL, **end = NULL, *first = NULL;
    uint32_t line = p->tok->line;
    for (;;) {
        hs__jtok t = (hs__jtok)p->tok->type;
        bool at_end =
            t == HS__T_VAR_END || t == HS__T_BLOCK_END || t == HS__T_RPAREN || (end_word && hs__jtok_is(p, end_word));
        if (at_end && (n || parenthesised))
            break;
        hs__jnode *item = hs__jparse_expr(p, with_cond);
        if (!item)
            return NULL;
        if (!first)
            first = item;
        if (n) {
            *end = item;
            end = &item->next;
        }
        if (!hs__jtok_skip(p, HS__T_COMMA))
            return n ? n : first;
        if (!n) {
            n = hs__jnode_new(p, HS__N_TUPLE, line);
            if (!n)
                return NULL;
            n->a = first;
            end = &first->next;
        }
    }
    return n ? n : hs__jnode_new(p, HS__N_TUPLE, line);
}
