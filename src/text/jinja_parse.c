/*
 * jinja_parse.c - parser: statements.
 * Blocks nest at most HS__J_MAX_PARSE deep. A filter or test that does not exist is an error here, except inside a
 * branch, where it may never be reached and is an error only then, as in the reference.
 */
#include "text/jinja_int.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static int parse_block(hs__jparser *p, hs__jnode **end, const char *const *stop, uint32_t line);

int hs__jparse_fail(hs__jparser *p, uint32_t line, const char *fmt, ...)
{
    if (p->code < 0)
        return p->code;
    char what[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    p->code = hs_err_set(p->err, -EINVAL, "%s: line %u: %s", p->program->where, line, what);
    return p->code;
}

int hs__jparse_no_memory(hs__jparser *p, uint32_t line)
{
    if (p->code == 0)
        p->code = hs_err_set(p->err, p->program->arena.failed, "%s: line %u: no memory for a template of this size",
                             p->program->where, line);
    return p->code;
}

hs__jnode *hs__jnode_new(hs__jparser *p, hs__jkind kind, uint32_t line)
{
    hs__jnode *n = p->code < 0 ? NULL : hs__jarena_alloc(&p->program->arena, sizeof *n);
    if (!n) {
        hs__jparse_no_memory(p, line);
        return NULL;
    }
    *n = (hs__jnode){.kind = (uint8_t)kind, .line = line};
    return n;
}

const char *hs__jtok_text(const hs__jtoken *t, char buf[48])
{
    static const char *const names[] = {"the end of the template",
                                        "text",
                                        "'{%'",
                                        "'%}'",
                                        "'{{'",
                                        "'}}'",
                                        "a name",
                                        "a string",
                                        "a number",
                                        "a number",
                                        "'+'",
                                        "'-'",
                                        "'*'",
                                        "'/'",
                                        "'//'",
                                        "'%'",
                                        "'**'",
                                        "'~'",
                                        "'=='",
                                        "'!='",
                                        "'<'",
                                        "'<='",
                                        "'>'",
                                        "'>='",
                                        "'='",
                                        "'.'",
                                        "','",
                                        "':'",
                                        "'|'",
                                        "'('",
                                        "')'",
                                        "'['",
                                        "']'",
                                        "'{'",
                                        "'}'"};
    if (t->type != HS__T_NAME || !t->as.s)
        return names[t->type];
    snprintf(buf, 48, "'%.*s'", t->len > 40 ? 40 : (int)t->len, t->as.s);
    return buf;
}

bool hs__jtok_is(const hs__jparser *p, const char *name)
{
    return p->tok->type == HS__T_NAME && p->tok->len == strlen(name) && !memcmp(p->tok->as.s, name, p->tok->len);
}

bool hs__jtok_skip(hs__jparser *p, hs__jtok type)
{
    if (p->tok->type != type)
        return false;
    p->tok++;
    return true;
}

bool hs__jword_skip(hs__jparser *p, const char *name)
{
    if (!hs__jtok_is(p, name))
        return false;
    p->tok++;
    return true;
}

int hs__jexpect(hs__jparser *p, hs__jtok type)
{
    if (hs__jtok_skip(p, type))
        return 0;
    char found[48], wanted[48];
    hs__jtoken want = {.type = (uint8_t)type};
    return hs__jparse_fail(p, p->tok->line, "expected %s, found %s",
                           type == HS__T_NAME ? "a name" : hs__jtok_text(&want, wanted), hs__jtok_text(p->tok, found));
}

/* A name to be set; sym and val are filled in. */
static hs__jnode *parse_name_target(hs__jparser *p, hs__jkind kind)
{
    const hs__jtoken *t = p->tok;
    hs__jnode *n = hs__jnode_new(p, kind, t->line);
    if (!n || hs__jexpect(p, HS__T_NAME) < 0 || hs__jintern(p, t->as.s, t->len, &n->sym) < 0)
        return NULL;
    n->val = hs__jstr(t->as.s, t->len);
    return n;
}

static hs__jnode *parse_one_target(hs__jparser *p)
{
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None", "not", "in", "if"};
    if (hs__jtok_skip(p, HS__T_LPAREN)) {
        hs__jnode *n = hs__jparse_target(p);
        return n && hs__jexpect(p, HS__T_RPAREN) == 0 ? n : NULL;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (hs__jtok_is(p, reserved[i])) {
            hs__jparse_fail(p, p->tok->line, "cannot assign to '%s'", reserved[i]);
            return NULL;
        }
    }
    hs__jnode *n = parse_name_target(p, HS__N_NAME);
    if (!n || !hs__jtok_skip(p, HS__T_DOT))
        return n;
    const hs__jtoken *t = p->tok;
    if (hs__jexpect(p, HS__T_NAME) < 0)
        return NULL;
    n->kind = HS__N_NSREF;
    n->val = hs__jstr(t->as.s, t->len);
    return n;
}

hs__jnode *hs__jparse_target(hs__jparser *p)
{
    uint32_t line = p->tok->line;
    if (++p->depth > HS__J_MAX_PARSE) {
        hs__jparse_fail(p, line, "targets or blocks are nested more than %d deep", HS__J_MAX_PARSE);
        return NULL;
    }
    hs__jnode *first = parse_one_target(p);
    if (first && p->tok->type == HS__T_COMMA) {
        hs__jnode *n = hs__jnode_new(p, HS__N_TUPLE, line), *last = first;
        if (!n)
            return NULL;
        n->a = first;
        while (hs__jtok_skip(p, HS__T_COMMA) && (p->tok->type == HS__T_NAME || p->tok->type == HS__T_LPAREN) &&
               !hs__jtok_is(p, "in")) {
            last->next = parse_one_target(p);
            last = last->next;
            if (!last)
                return NULL;
        }
        first = n;
    }
    p->depth--;
    return first;
}

static int end_tag(hs__jparser *p)
{
    return hs__jexpect(p, HS__T_BLOCK_END);
}

/* Rest of the opening tag, body, and the closing word; the closing tag's end is left to the caller. */
static int parse_body(hs__jparser *p, hs__jnode **ret, const char *const *stop)
{
    uint32_t line = p->tok->line;
    hs__jtok_skip(p, HS__T_COLON);
    if (end_tag(p) < 0)
        return p->code;
    if (++p->depth > HS__J_MAX_PARSE)
        return hs__jparse_fail(p, p->tok->line, "expressions or blocks are nested more than %d deep", HS__J_MAX_PARSE);
    int r = parse_block(p, ret, stop, line);
    p->depth--;
    return r;
}

/* Body up to {% WORD %}, and that tag. */
static int parse_body_to(hs__jparser *p, hs__jnode **ret, const char *word)
{
    const char *const stop[] = {word, NULL};
    int r = parse_body(p, ret, stop);
    if (r < 0)
        return r;
    p->tok++;
    return end_tag(p);
}

static int parse_if(hs__jparser *p, hs__jnode *n)
{
    static const char *const stop[] = {"elif", "else", "endif", NULL};
    p->branches++;
    for (;;) {
        n->a = hs__jparse_tuple(p, false, false, NULL);
        if (!n->a || parse_body(p, &n->b, stop) < 0)
            return p->code;
        uint32_t line = p->tok->line;
        if (!hs__jword_skip(p, "elif"))
            break;
        n->c = hs__jnode_new(p, HS__N_IF, line);
        if (!n->c)
            return p->code;
        n->op = 1;
        n = n->c;
    }
    if (hs__jword_skip(p, "else")) {
        if (parse_body_to(p, &n->c, "endif") < 0)
            return p->code;
    } else {
        p->tok++;
        if (end_tag(p) < 0)
            return p->code;
    }
    p->branches--;
    return 0;
}

static int parse_for(hs__jparser *p, hs__jnode *n)
{
    static const char *const stop[] = {"else", "endfor", NULL};
    n->a = hs__jparse_target(p);
    if (!n->a)
        return p->code;
    if (n->a->kind == HS__N_NSREF)
        return hs__jparse_fail(p, n->line, "a loop cannot assign to an attribute");
    if (!hs__jword_skip(p, "in"))
        return hs__jparse_fail(p, p->tok->line, "expected 'in' after the loop's variable");
    n->b = hs__jparse_tuple(p, false, false, "recursive");
    if (!n->b)
        return p->code;
    if (hs__jword_skip(p, "if")) {
        n->e = hs__jparse_expr(p, true);
        if (!n->e)
            return p->code;
    }
    if (hs__jtok_is(p, "recursive"))
        return hs__jparse_fail(p, p->tok->line, "recursive loops are not supported");
    p->loops++;
    int r = parse_body(p, &n->c, stop);
    p->loops--;
    if (r < 0)
        return r;
    if (hs__jword_skip(p, "else"))
        return parse_body_to(p, &n->d, "endfor");
    p->tok++;
    return end_tag(p);
}

static int parse_set(hs__jparser *p, hs__jnode *n)
{
    n->a = hs__jparse_target(p);
    if (!n->a)
        return p->code;
    if (hs__jtok_skip(p, HS__T_ASSIGN)) {
        n->b = hs__jparse_tuple(p, true, false, NULL);
        return n->b ? end_tag(p) : p->code;
    }
    n->kind = HS__N_SETBLOCK;
    if (p->tok->type == HS__T_PIPE) {
        n->c = hs__jparse_filters(p, NULL, false);
        if (!n->c)
            return p->code;
    }
    return parse_body_to(p, &n->b, "endset");
}

static int parse_params(hs__jparser *p, hs__jnode *n)
{
    bool optional = false;
    if (hs__jexpect(p, HS__T_LPAREN) < 0)
        return p->code;
    for (hs__jnode **end = &n->a; p->tok->type != HS__T_RPAREN; end = &(*end)->next) {
        if (n->a && hs__jexpect(p, HS__T_COMMA) < 0)
            return p->code;
        *end = parse_name_target(p, HS__N_PARAM);
        if (!*end)
            return p->code;
        if (hs__jtok_skip(p, HS__T_ASSIGN)) {
            (*end)->a = hs__jparse_expr(p, true);
            if (!(*end)->a)
                return p->code;
            optional = true;
        } else if (optional) {
            return hs__jparse_fail(p, p->tok->line, "a parameter without default after one that has a default");
        }
    }
    p->tok++;
    return 0;
}

/* Body of a macro or call block: loops outside do not reach into it, and it notes which special names it uses. */
static int parse_macro_body(hs__jparser *p, hs__jnode *n, const char *end)
{
    uint32_t loops = p->loops;
    uint8_t uses = p->uses;
    p->loops = p->uses = 0;
    int r = parse_body_to(p, &n->b, end);
    n->op = p->uses;
    p->loops = loops;
    p->uses = uses;
    return r;
}

static int parse_macro(hs__jparser *p, hs__jnode *n)
{
    const hs__jtoken *t = p->tok;
    if (hs__jexpect(p, HS__T_NAME) < 0 || hs__jintern(p, t->as.s, t->len, &n->sym) < 0)
        return p->code;
    n->val = hs__jstr(t->as.s, t->len);
    return parse_params(p, n) < 0 ? p->code : parse_macro_body(p, n, "endmacro");
}

static int parse_call_block(hs__jparser *p, hs__jnode *n)
{
    n->val = hs__jstr("caller", 6);
    if (p->tok->type == HS__T_LPAREN && parse_params(p, n) < 0)
        return p->code;
    n->c = hs__jparse_expr(p, true);
    if (!n->c)
        return p->code;
    if (n->c->kind != HS__N_CALL)
        return hs__jparse_fail(p, n->line, "expected a call after 'call'");
    return parse_macro_body(p, n, "endcall");
}

static int parse_filter_block(hs__jparser *p, hs__jnode *n)
{
    n->c = hs__jparse_filters(p, NULL, true);
    return n->c ? parse_body_to(p, &n->b, "endfilter") : p->code;
}

static int parse_with(hs__jparser *p, hs__jnode *n)
{
    for (hs__jnode **end = &n->a; p->tok->type != HS__T_BLOCK_END; end = &(*end)->next) {
        if (n->a && hs__jexpect(p, HS__T_COMMA) < 0)
            return p->code;
        *end = hs__jnode_new(p, HS__N_PAIR, p->tok->line);
        if (!*end)
            return p->code;
        (*end)->a = parse_one_target(p);
        if (!(*end)->a || hs__jexpect(p, HS__T_ASSIGN) < 0)
            return p->code;
        (*end)->b = hs__jparse_expr(p, true);
        if (!(*end)->b)
            return p->code;
    }
    return parse_body_to(p, &n->b, "endwith");
}

static int parse_generation(hs__jparser *p, hs__jnode *n)
{
    return parse_body_to(p, &n->b, "endgeneration");
}

static int parse_jump(hs__jparser *p, hs__jnode *n)
{
    if (p->loops == 0)
        return hs__jparse_fail(p, n->line, "'%s' outside of a loop", n->kind == HS__N_BREAK ? "break" : "continue");
    return end_tag(p);
}

static const struct {
    const char *word;
    hs__jkind kind;
    int (*parse)(hs__jparser *p, hs__jnode *n);
} statements[] = {
    {"if", HS__N_IF, parse_if},
    {"for", HS__N_FOR, parse_for},
    {"set", HS__N_SET, parse_set},
    {"macro", HS__N_MACRO, parse_macro},
    {"call", HS__N_CALLBLOCK, parse_call_block},
    {"filter", HS__N_FILTERBLOCK, parse_filter_block},
    {"with", HS__N_WITH, parse_with},
    {"generation", HS__N_SCOPE, parse_generation},
    {"break", HS__N_BREAK, parse_jump},
    {"continue", HS__N_CONTINUE, parse_jump},
};

static hs__jnode *parse_statement(hs__jparser *p)
{
    char text[48];
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!hs__jtok_is(p, statements[i].word))
            continue;
        hs__jnode *n = hs__jnode_new(p, statements[i].kind, p->tok->line);
        p->tok++;
        return n && statements[i].parse(p, n) == 0 ? n : NULL;
    }
    hs__jparse_fail(p, p->tok->line, "unknown tag %s", hs__jtok_text(p->tok, text));
    return NULL;
}

static hs__jnode *parse_piece(hs__jparser *p)
{
    const hs__jtoken *t = p->tok++;
    hs__jnode *n;
    switch (t->type) {
    case HS__T_DATA:
        n = hs__jnode_new(p, HS__N_DATA, t->line);
        if (n)
            n->val = hs__jstr(t->as.s, t->len);
        return n;
    case HS__T_VAR_BEGIN:
        n = hs__jnode_new(p, HS__N_PRINT, t->line);
        if (!n)
            return NULL;
        n->a = hs__jparse_tuple(p, true, false, NULL);
        return n->a && hs__jexpect(p, HS__T_VAR_END) == 0 ? n : NULL;
    default:
        return parse_statement(p);
    }
}

/* Pieces up to a tag that begins with one of the words of stop (that word becomes the current token), or, if stop is
 * NULL, up to the end of the template. line: of the tag that opened the block. */
static int parse_block(hs__jparser *p, hs__jnode **end, const char *const *stop, uint32_t line)
{
    while (p->tok->type != HS__T_EOF) {
        if (p->tok->type == HS__T_BLOCK_BEGIN) {
            for (size_t i = 0; stop && stop[i]; i++) {
                p->tok++;
                if (hs__jtok_is(p, stop[i]))
                    return 0;
                p->tok--;
            }
        }
        *end = parse_piece(p);
        if (!*end)
            return p->code;
        end = &(*end)->next;
    }
    if (!stop)
        return 0;
    size_t last = 0;
    while (stop[last + 1])
        last++;
    return hs__jparse_fail(p, p->tok->line, "the template ends without '%s' for the block of line %u", stop[last],
                           line);
}

int hs__jparse_program(hs__jparser *p)
{
    return parse_block(p, &p->program->body, NULL, 0);
}
