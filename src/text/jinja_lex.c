/*
 * jinja_lex.c - template source to tokens, with the white space rules of trim_blocks and lstrip_blocks.
 *
 * Text outside of tags becomes DATA tokens, already stripped as the tags beside it ask; comments and raw markers
 * vanish. Line ends are made \n and the last one is dropped, as the reference does. Strings are unescaped here.
 */
#include "text/jinja_int.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

#define MAX_BRACKETS 256
#define MAX_TOKENS   (HS_TEMPLATE_MAX_SOURCE + 1u) /* a byte each, and the end */

typedef struct lexer {
    hs__jprogram *program;
    const char *s; /* normalised source, in the program's arena, NUL after the end */
    size_t n, pos;
    uint32_t line;
    bool line_starting; /* the text that follows begins a line */
    hs__jtoken *tokens;
    size_t n_tokens, cap;
    char brackets[MAX_BRACKETS];
    unsigned n_brackets;
    hs_err *err;
} lexer;

static int lex_fail(lexer *x, const char *what)
{
    return hs_err_set(x->err, -EINVAL, "%s: line %u: %s", x->program->where, x->line, what);
}

static int no_memory(lexer *x)
{
    return hs_err_set(x->err, x->program->arena.failed, "%s: line %u: no memory for a template of this size",
                      x->program->where, x->line);
}

static int push(lexer *x, hs__jtoken t)
{
    if (hs_grow(&x->tokens, sizeof *x->tokens, x->n_tokens + 1, &x->cap, MAX_TOKENS) < 0)
        return hs_err_set(x->err, -ENOMEM, "%s: out of memory", x->program->where);
    t.line = x->line;
    x->tokens[x->n_tokens++] = t;
    return 0;
}

static int push_type(lexer *x, hs__jtok type)
{
    return push(x, (hs__jtoken){.type = (uint8_t)type});
}

/* Moves on to byte `to`, counting lines. */
static void advance(lexer *x, size_t to)
{
    for (; x->pos < to; x->pos++)
        x->line += x->s[x->pos] == '\n';
    x->line_starting = to > 0 && x->s[to - 1] == '\n';
}

/* DATA of [pos, end), stripped for a tag whose control sign is `sign` ('-', '+' or 0); is_var: the tag is {{. */
static int push_data(lexer *x, size_t end, char sign, bool is_var)
{
    const char *text = x->s + x->pos;
    size_t n = end - x->pos;
    if (sign == '-') {
        n -= hs__jtrail_space(text, n);
    } else if (sign != '+' && !is_var) {
        size_t l = n;
        while (l > 0 && text[l - 1] != '\n')
            l--;
        if ((l > 0 || x->line_starting) && hs__jskip_space(text + l, n - l) == n - l)
            n = l;
    }
    int r = n ? push(x, (hs__jtoken){.type = HS__T_DATA, .len = (uint32_t)n, .as.s = text}) : 0;
    advance(x, end);
    return r;
}

static bool starts(const lexer *x, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at + n <= x->n && !memcmp(x->s + at, what, n);
}

static char sign_at(const lexer *x, size_t at)
{
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : 0;
}

/* If a tag's end ("%}" or "#}", with its sign) is at `at`: the position after it and what it swallows; else 0. */
static size_t match_end(const lexer *x, size_t at, const char *end, bool allow_plus, bool trim)
{
    if (starts(x, at, end)) {
        at += 2;
        return trim && at < x->n && x->s[at] == '\n' ? at + 1 : at;
    }
    if (at >= x->n || !starts(x, at + 1, end))
        return 0;
    if (x->s[at] == '-')
        return at + 3 + hs__jskip_space(x->s + at + 3, x->n - at - 3);
    return x->s[at] == '+' && allow_plus ? at + 3 : 0;
}

static int lex_comment(lexer *x)
{
    for (size_t at = x->pos; at < x->n; at++) {
        size_t to = match_end(x, at, "#}", true, true);
        if (to) {
            advance(x, to);
            return 0;
        }
    }
    return lex_fail(x, "missing end of comment '#}'");
}

static size_t skip_blank(const lexer *x, size_t at)
{
    return at + hs__jskip_space(x->s + at, x->n - at);
}

/* "{% raw %}" at `at`: the position after it, else 0. */
static size_t match_raw(const lexer *x, size_t at)
{
    if (!starts(x, at, "{%"))
        return 0;
    at += 2;
    at = skip_blank(x, sign_at(x, at) ? at + 1 : at);
    if (!starts(x, at, "raw"))
        return 0;
    return match_end(x, skip_blank(x, at + 3), "%}", false, false);
}

static int lex_raw(lexer *x)
{
    for (size_t at = x->pos; at < x->n; at++) {
        if (!starts(x, at, "{%"))
            continue;
        char sign = sign_at(x, at + 2);
        size_t word = skip_blank(x, at + (sign ? 3 : 2));
        size_t to = starts(x, word, "endraw") ? match_end(x, skip_blank(x, word + 6), "%}", true, true) : 0;
        if (to) {
            int r = push_data(x, at, sign, false);
            advance(x, to);
            return r;
        }
    }
    return lex_fail(x, "missing end of raw block, {% endraw %}");
}

static const char *digits(const char *p)
{
    while (isdigit((unsigned char)*p) || (*p == '_' && isdigit((unsigned char)p[1])))
        p++;
    return p;
}

static int lex_number(lexer *x)
{
    const char *start = x->s + x->pos, *p = digits(start);
    bool is_float = false;
    int base = 10;
    if (*start == '0' && strchr("xXoObB", start[1]) && start[1]) {
        base = strchr("xX", start[1]) ? 16 : strchr("oO", start[1]) ? 8 : 2;
        for (p = start + 2; isalnum((unsigned char)*p) || *p == '_'; p++)
            ;
    } else {
        if (*p == '.' && isdigit((unsigned char)p[1])) {
            is_float = true;
            p = digits(p + 1);
        }
        const char *e = *p == 'e' || *p == 'E' ? p + 1 : NULL;
        if (e && (*e == '+' || *e == '-'))
            e++;
        if (e && isdigit((unsigned char)*e)) {
            is_float = true;
            p = digits(e);
        }
    }
    char text[80], *stop;
    size_t n = 0;
    for (const char *q = start + (base == 10 ? 0 : 2); q < p; q++) {
        if (*q != '_' && n < sizeof text - 1)
            text[n++] = *q;
    }
    text[n] = '\0';
    hs__jtoken t = {.type = is_float ? HS__T_FLOAT : HS__T_INT};
    errno = 0;
    if (is_float)
        t.as.d = strtod(text, &stop);
    else
        t.as.i = strtoll(text, &stop, base);
    bool padded = !is_float && base == 10 && text[0] == '0' && strspn(text, "0") != n;
    if (n == 0 || n == sizeof text - 1 || *stop || padded || (errno == ERANGE && (!is_float || isinf(t.as.d))))
        return lex_fail(x, "a number that is not valid or too big");
    x->pos = (size_t)(p - x->s);
    return push(x, t);
}

static int hex_value(const char *p, size_t n, uint32_t *ret)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isxdigit((unsigned char)p[i]))
            return -EINVAL;
        v = v << 4 | (uint32_t)(isdigit((unsigned char)p[i]) ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    }
    *ret = v;
    return 0;
}

/* The escape at s (after the backslash); appends to *out and returns the bytes read, 0 if it is not valid. */
static size_t unescape(const char *s, size_t n, char **out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *simple = memchr(from, s[0], sizeof from - 1);
    uint32_t c = 0;
    size_t used;
    if (s[0] == '\n')
        return 1;
    if (simple) {
        *(*out)++ = to[simple - from];
        return 1;
    }
    if (s[0] >= '0' && s[0] <= '7') {
        for (used = 0; used < 3 && used < n && s[used] >= '0' && s[used] <= '7'; used++)
            c = c * 8 + (uint32_t)(s[used] - '0');
    } else if (s[0] == 'x' || s[0] == 'u' || s[0] == 'U') {
        used = s[0] == 'x' ? 3 : s[0] == 'u' ? 5 : 9;
        if (used > n || hex_value(s + 1, used - 1, &c) < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return 0;
    } else if (s[0] == 'N') {
        return 0;
    } else {
        *(*out)++ = '\\';
        *(*out)++ = s[0];
        return 1;
    }
    *out += hs__utf8_encode(c, *out);
    return used;
}

static int lex_string(lexer *x)
{
    size_t start = x->pos + 1, end = start;
    char quote = x->s[x->pos];
    while (end < x->n && x->s[end] != quote)
        end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->n)
        return lex_fail(x, "a string that does not end");
    char *text = hs__jarena_alloc(&x->program->arena, end - start + 1), *out = text;
    if (!text)
        return no_memory(x);
    for (size_t i = start; i < end;) {
        if (x->s[i] != '\\') {
            *out++ = x->s[i++];
            continue;
        }
        size_t used = unescape(x->s + i + 1, end - i - 1, &out);
        if (!used)
            return lex_fail(x, "a string with an escape that is not valid");
        i += 1 + used;
    }
    int r = push(x, (hs__jtoken){.type = HS__T_STR, .len = (uint32_t)(out - text), .as.s = text});
    advance(x, end + 1);
    return r;
}

static const struct {
    const char text[3];
    uint8_t type;
} operators[] = {
    {"//", HS__T_FLOORDIV}, {"**", HS__T_POW},   {"==", HS__T_EQ},      {"!=", HS__T_NE},      {">=", HS__T_GE},
    {"<=", HS__T_LE},       {"+", HS__T_ADD},    {"-", HS__T_SUB},      {"/", HS__T_DIV},      {"*", HS__T_MUL},
    {"%", HS__T_MOD},       {"~", HS__T_TILDE},  {"[", HS__T_LBRACKET}, {"]", HS__T_RBRACKET}, {"(", HS__T_LPAREN},
    {")", HS__T_RPAREN},    {"{", HS__T_LBRACE}, {"}", HS__T_RBRACE},   {">", HS__T_GT},       {"<", HS__T_LT},
    {"=", HS__T_ASSIGN},    {".", HS__T_DOT},    {":", HS__T_COLON},    {"|", HS__T_PIPE},     {",", HS__T_COMMA},
};

static int lex_operator(lexer *x)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!starts(x, x->pos, operators[i].text))
            continue;
        char c = x->s[x->pos];
        if (strchr("([{", c)) {
            if (x->n_brackets == MAX_BRACKETS)
                return lex_fail(x, "brackets are nested too deeply");
            x->brackets[x->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (strchr(")]}", c)) {
            if (x->n_brackets == 0 || x->brackets[--x->n_brackets] != c)
                return hs_err_set(x->err, -EINVAL, "%s: line %u: unexpected '%c'", x->program->where, x->line, c);
        }
        x->pos += strlen(operators[i].text);
        return push_type(x, operators[i].type);
    }
    unsigned char c = (unsigned char)x->s[x->pos];
    return hs_err_set(x->err, -EINVAL, "%s: line %u: unexpected character %s%c%s", x->program->where, x->line,
                      c < 0x20 || c > 0x7e ? "(byte " : "'", c < 0x20 || c > 0x7e ? '?' : c,
                      c < 0x20 || c > 0x7e ? ")" : "'");
}

static bool is_word(unsigned char c)
{
    return isalnum(c) || c == '_' || c >= 0x80;
}

/* The inside of a tag, up to and with its end. */
static int lex_tag(lexer *x, bool is_var)
{
    int r = push_type(x, is_var ? HS__T_VAR_BEGIN : HS__T_BLOCK_BEGIN);
    uint32_t begin_line = x->line;
    x->n_brackets = 0;
    while (r == 0) {
        advance(x, skip_blank(x, x->pos));
        if (x->pos >= x->n) {
            x->line = begin_line;
            return lex_fail(x, is_var ? "'{{' without '}}'" : "'{%' without '%}'");
        }
        size_t to = x->n_brackets ? 0 : match_end(x, x->pos, is_var ? "}}" : "%}", !is_var, !is_var);
        unsigned char c = (unsigned char)x->s[x->pos];
        if (to) {
            r = push_type(x, is_var ? HS__T_VAR_END : HS__T_BLOCK_END);
            advance(x, to);
            return r;
        }
        if (isdigit(c)) {
            r = lex_number(x);
        } else if (is_word(c)) {
            size_t start = x->pos;
            while (x->pos < x->n && is_word((unsigned char)x->s[x->pos]))
                x->pos++;
            r = push(x, (hs__jtoken){.type = HS__T_NAME, .len = (uint32_t)(x->pos - start), .as.s = x->s + start});
        } else {
            r = c == '\'' || c == '"' ? lex_string(x) : lex_operator(x);
        }
    }
    return r;
}

/* Text up to the next tag, and the tag. */
static int lex_piece(lexer *x)
{
    size_t at = x->pos;
    while (at < x->n && !(x->s[at] == '{' && at + 1 < x->n && strchr("%{#", x->s[at + 1]) && x->s[at + 1]))
        at++;
    if (at >= x->n)
        return push_data(x, x->n, '+', false);
    char kind = x->s[at + 1], sign = sign_at(x, at + 2);
    size_t raw = match_raw(x, at);
    int r = push_data(x, at, sign, kind == '{');
    if (r < 0)
        return r;
    if (raw) {
        advance(x, raw);
        return lex_raw(x);
    }
    advance(x, at + (sign ? 3 : 2));
    return kind == '#' ? lex_comment(x) : lex_tag(x, kind == '{');
}

/* Line ends to \n, the last one dropped. */
static int normalise(lexer *x, const char *source, size_t len)
{
    char *s = hs__jarena_alloc(&x->program->arena, len + 1);
    if (!s)
        return no_memory(x);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] != '\r')
            s[n++] = source[i];
        else if (i + 1 >= len || source[i + 1] != '\n')
            s[n++] = '\n';
    }
    if (n && s[n - 1] == '\n')
        n--;
    s[n] = '\0';
    x->s = s;
    x->n = n;
    return 0;
}

int hs__jlex(hs__jprogram *p, const char *source, size_t len, hs__jtoken **ret_tokens, size_t *ret_n, hs_err *err)
{
    lexer x = {.program = p, .line = 1, .line_starting = true, .err = err};
    if (len > HS_TEMPLATE_MAX_SOURCE)
        return hs_err_set(err, -E2BIG, "%s: a template of more than %u bytes", p->where, HS_TEMPLATE_MAX_SOURCE);
    if (!hs__utf8_is_valid(source, len))
        return hs_err_set(err, -EINVAL, "%s: the template is not valid UTF-8", p->where);
    int r = normalise(&x, source, len);
    while (r == 0 && x.pos < x.n)
        r = lex_piece(&x);
    if (r == 0)
        r = push_type(&x, HS__T_EOF);
    if (r < 0) {
        hs_free(x.tokens);
        return r;
    }
    *ret_tokens = x.tokens;
    *ret_n = x.n_tokens;
    return 0;
}
