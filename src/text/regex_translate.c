/*
 * regex_translate.c - Oniguruma's (Ruby) syntax to PCRE2's.
 *
 * Most of what split patterns use is the same in both. Different, and translated: \w (Oniguruma's has marks and all
 * connectors), \p{Script} (PCRE2 means the script extensions), \uHHHH. Different, and refused: possessive intervals,
 * {,n}, class intersection, nested classes, \h (a hexadecimal digit here, a blank there), (?m), word boundaries.
 */
#include "text/regex_int.h"

#include <stdbool.h>
#include <string.h>

typedef struct translator {
    const char *p, *end;
    const char *where;
    bool in_class;
    size_t depth; /* of groups */
    hs_buf *out;
    hs_err *err;
} translator;

static int refuse(const translator *t, const char *what)
{
    return hs_err_set(t->err, -ENOTSUP, "%s: regular expression: %s is not supported", t->where, what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A general category ("L", "Lu", "^Nd") rather than a script. */
static bool is_category(const char *name, size_t len)
{
    if (len && *name == '^') {
        name++;
        len--;
    }
    return (len == 3 && memcmp(name, "Any", 3) == 0) || ((len == 1 || len == 2) && strchr("CLMNPSZ", name[0]) != NULL);
}

/* After "\p" or "\P". */
static int translate_property(translator *t, char kind)
{
    const char *close = t->p < t->end && *t->p == '{' ? memchr(t->p, '}', (size_t)(t->end - t->p)) : NULL;
    if (!close)
        return hs_err_set(t->err, -EINVAL, "%s: regular expression: {name} must follow \\%c", t->where, kind);
    const char *name = t->p + 1;
    size_t len = (size_t)(close - name);
    t->p = close + 1;
    if (is_category(name, len))
        return hs_buf_printf(t->out, "\\%c{%.*s}", kind, (int)len, name);
    if (len && *name == '^')
        return hs_buf_printf(t->out, "\\%c{sc:%.*s}", kind == 'p' ? 'P' : 'p', (int)len - 1, name + 1);
    return hs_buf_printf(t->out, "\\%c{sc:%.*s}", kind, (int)len, name);
}

/* After a backslash. */
static int translate_escape(translator *t)
{
    if (t->p == t->end)
        return hs_err_set(t->err, -EINVAL, "%s: regular expression: it ends in a backslash", t->where);
    char c = *t->p++;
    const char words[] = "\\p{L}\\p{M}\\p{N}\\p{Pc}";
    if (c == 'p' || c == 'P')
        return translate_property(t, c);
    if (c == 'w')
        return t->in_class ? hs_buf_puts(t->out, words) : hs_buf_printf(t->out, "[%s]", words);
    if (c == 'W' && !t->in_class)
        return hs_buf_printf(t->out, "[^%s]", words);
    if (c == 'u' && t->end - t->p >= 4) {
        t->p += 4;
        return hs_buf_printf(t->out, "\\x{%.4s}", t->p - 4);
    }
    if (c == 'x' && t->p < t->end && *t->p == '{') {
        const char *close = memchr(t->p, '}', (size_t)(t->end - t->p));
        if (close) {
            int n = (int)(close - t->p) + 1;
            t->p += n;
            return hs_buf_printf(t->out, "\\x%.*s", n, t->p - n);
        }
    }
    if (c != '\0' && strchr("hHRXyYOCQEGKNWkgu", c)) {
        char what[3] = {'\\', c, '\0'};
        return refuse(t, what);
    }
    if ((c == 'b' || c == 'B') && !t->in_class)
        return refuse(t, "a word boundary");
    (void)hs_buf_append(t->out, "\\", 1);
    return hs_buf_append(t->out, &c, 1);
}

/* At '{' outside a class: an interval, or plain text. */
static int translate_interval(translator *t)
{
    const char *p = t->p;
    while (p < t->end && (is_digit(*p) || *p == ','))
        p++;
    bool interval = p < t->end && *p == '}' && p > t->p;
    if (interval && *t->p == ',')
        return refuse(t, "{,n}");
    if (interval && p + 1 < t->end && p[1] == '+')
        return refuse(t, "a quantifier after an interval");
    return hs_buf_puts(t->out, "{");
}

/* After '(': options in (?…) that mean something else. */
static int translate_group(translator *t)
{
    const char *p = t->p;
    t->depth++;
    if (p < t->end && *p == '*')
        return refuse(t, "(*");
    if (t->end - p >= 2 && p[0] == '?' && p[1] == '#')
        return refuse(t, "a comment");
    if (p < t->end && *p == '?')
        for (p++; p < t->end && (*p == '-' || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')); p++)
            if (*p != 'i' && *p != '-')
                return refuse(t, "an option other than (?i)");
    return hs_buf_puts(t->out, "(");
}

/* After '[': what stands first in a class. */
static int begin_class(translator *t)
{
    t->in_class = true;
    int r = hs_buf_puts(t->out, "[");
    if (t->p < t->end && *t->p == '^') {
        t->p++;
        r = hs_buf_puts(t->out, "^");
    }
    if (t->p < t->end && *t->p == ']')
        return refuse(t, "an empty class");
    return r;
}

static int translate_in_class(translator *t, char c)
{
    if (c == '[')
        return refuse(t, "a class inside a class");
    if (c == '&' && t->p < t->end && *t->p == '&')
        return refuse(t, "the intersection of classes");
    if (c == ']')
        t->in_class = false;
    return hs_buf_append(t->out, &c, 1);
}

int hs__regex_translate(const char *pattern, size_t len, const char *where, hs_buf *out, hs_err *err)
{
    translator t = {.p = pattern, .end = pattern + len, .where = where, .out = out, .err = err};
    int r = 0;
    while (t.p < t.end && r == 0) {
        char c = *t.p++;
        if (c == '\\')
            r = translate_escape(&t);
        else if (t.in_class)
            r = translate_in_class(&t, c);
        else if (c == '[')
            r = begin_class(&t);
        else if (c == '(')
            r = translate_group(&t);
        else if (c == ')' && !t.depth--)
            r = hs_err_set(err, -EINVAL, "%s: regular expression: a closing parenthesis too many", where);
        else if (c == '{')
            r = translate_interval(&t);
        else
            r = hs_buf_append(out, &c, 1);
    }
    if (out->failed)
        return hs_err_set(err, out->failed, "%s: the regular expression is too long, or out of memory", where);
    return r;
}
