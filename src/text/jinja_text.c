/*
 * jinja_text.c - values as text, as Python prints them.
 * r->out is a stack of texts: hs__jbegin marks its top, what is put then belongs to the new text, hs__jend takes it
 * off as a string. The size of all of it together is bounded by HS_TEMPLATE_MAX_OUTPUT.
 * Invariant: r->origin is as long as r->out, and says of each byte of it where it comes from.
 */
#include "text/jinja_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t hs__jbegin(const hs__jrun *r)
{
    return r->out.len;
}

int hs__jend(hs__jrun *r, size_t mark, hs__jval *ret)
{
    size_t n = r->out.len - mark;
    int code = hs__jstr_copy(r, r->out.data ? r->out.data + mark : "", n, ret);
    if (code == 0 && n) {
        memcpy(hs__jarena_origin(&r->strings, ret->as.s), r->origin.data + mark, n);
        r->out.len = r->origin.len = mark;
        r->out.data[mark] = '\0';
    }
    return code;
}

/* What is appended takes the place of the origins first, since they are as many. */
static int append(hs__jrun *r, const char *s, size_t n)
{
    int code = hs_buf_append(&r->out, s, n);
    if (code == 0)
        code = hs_buf_append(&r->origin, s, n);
    if (code < 0)
        return hs__jfail(r, code, "the text is longer than %u bytes", HS_TEMPLATE_MAX_OUTPUT);
    return n >= 64 ? hs__jcharge(r, n / 64) : 0;
}

int hs__jput(hs__jrun *r, const char *s, size_t n)
{
    const uint8_t *origin = hs__jarena_origin(&r->strings, s);
    int code = append(r, s, n);
    if (code < 0 || !n)
        return code;
    char *ours = r->origin.data + r->origin.len - n;
    if (origin)
        memcpy(ours, origin, n);
    else
        memset(ours, HS__J_OWN, n);
    return 0;
}

int hs__jput_like(hs__jrun *r, const char *s, size_t n, const char *like)
{
    const uint8_t *origin = hs__jarena_origin(&r->strings, like);
    int code = append(r, s, n);
    if (code == 0 && n)
        memset(r->origin.data + r->origin.len - n, origin ? *origin : HS__J_OWN, n);
    return code;
}

static int puts_(hs__jrun *r, const char *s)
{
    return hs__jput(r, s, strlen(s));
}

size_t hs__jfloat_text(double d, char text[32])
{
    char digits[32];
    int precision = 0;
    if (!isfinite(d))
        return (size_t)snprintf(text, 32, isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
    do
        snprintf(digits, sizeof digits, "%.*e", precision, d);
    while (strtod(digits, NULL) != d && ++precision < 17);
    int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16)
        return (size_t)snprintf(text, 32, "%s", digits);
    int decimals = precision - exponent;
    return (size_t)snprintf(text, 32, "%.*f", decimals < 1 ? 1 : decimals, d);
}

static int put_float(hs__jrun *r, double d)
{
    char text[32];
    size_t n = hs__jfloat_text(d, text);
    return hs__jput(r, text, n);
}

static int put_int(hs__jrun *r, int64_t i)
{
    char text[24];
    return hs__jput(r, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)i));
}

static int put_quoted(hs__jrun *r, const hs__jval *v)
{
    const char *p = v->as.s, *end = p + v->len;
    char quote = memchr(p, '\'', v->len) && !memchr(p, '"', v->len) ? '"' : '\'';
    int code = hs__jput(r, &quote, 1);
    while (p < end && code == 0) {
        const char *start = p;
        uint32_t c = hs__jutf8_next(&p, end);
        char text[12];
        if (c == (unsigned char)quote || c == '\\')
            code = hs__jput_like(r, text, (size_t)snprintf(text, sizeof text, "\\%c", (char)c), start);
        else if (c == '\n' || c == '\r' || c == '\t')
            code = hs__jput_like(r, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t", 2, start);
        else if (hs__jis_printable(c))
            code = hs__jput(r, start, (size_t)(p - start));
        else
            code = hs__jput_like(r, text,
                                 (size_t)snprintf(text, sizeof text,
                                                  c < 0x100     ? "\\x%02x"
                                                  : c < 0x10000 ? "\\u%04x"
                                                                : "\\U%08x",
                                                  c),
                                 start);
    }
    return code < 0 ? code : hs__jput(r, &quote, 1);
}

static int put_repr(hs__jrun *r, const hs__jval *v, unsigned depth);

static int put_list(hs__jrun *r, const hs__jval *v, unsigned depth)
{
    bool tuple = v->type == HS__J_TUPLE;
    const hs__jlist *l = v->as.list;
    int code = puts_(r, tuple ? "(" : "[");
    for (uint32_t i = 0; i < l->n && code == 0; i++) {
        if (i)
            code = puts_(r, ", ");
        if (code == 0)
            code = put_repr(r, &l->items[i], depth);
    }
    return code < 0 ? code : puts_(r, !tuple ? "]" : l->n == 1 ? ",)" : ")");
}

static int put_dict(hs__jrun *r, const hs__jdict *d, unsigned depth)
{
    int code = puts_(r, "{");
    for (uint32_t i = 0; i < d->n && code == 0; i++) {
        if (i)
            code = puts_(r, ", ");
        if (code == 0)
            code = put_repr(r, &d->entries[i].key, depth);
        if (code == 0)
            code = puts_(r, ": ");
        if (code == 0)
            code = put_repr(r, &d->entries[i].val, depth);
    }
    return code < 0 ? code : puts_(r, "}");
}

static int put_range(hs__jrun *r, const hs__jrange *g)
{
    char text[80];
    int n = g->step == 1 ? snprintf(text, sizeof text, "range(%lld, %lld)", (long long)g->start, (long long)g->stop)
                         : snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)g->start,
                                    (long long)g->stop, (long long)g->step);
    return hs__jput(r, text, (size_t)n);
}

static int put_repr(hs__jrun *r, const hs__jval *v, unsigned depth)
{
    if (depth > HS__J_MAX_NESTED)
        return hs__jfail(r, -E2BIG, "values that are nested more than %d deep", HS__J_MAX_NESTED);
    if (hs__jcharge(r, 1) < 0)
        return r->code;
    switch (v->type) {
    case HS__J_NONE:
        return puts_(r, "None");
    case HS__J_BOOL:
        return puts_(r, v->as.b ? "True" : "False");
    case HS__J_INT:
        return put_int(r, v->as.i);
    case HS__J_FLOAT:
        return put_float(r, v->as.d);
    case HS__J_STR:
        return put_quoted(r, v);
    case HS__J_LIST:
    case HS__J_TUPLE:
        return put_list(r, v, depth + 1);
    case HS__J_DICT:
        return put_dict(r, v->as.dict, depth + 1);
    case HS__J_NAMESPACE:
        return puts_(r, "<Namespace ") < 0 || put_dict(r, v->as.dict, depth + 1) < 0 ? r->code : puts_(r, ">");
    case HS__J_RANGE:
        return put_range(r, v->as.range);
    case HS__J_UNDEFINED:
        return puts_(r, "Undefined");
    default:
        return puts_(r, "<") < 0 || puts_(r, hs__jtype_name(v)) < 0 ? r->code : puts_(r, " object>");
    }
}

int hs__jput_repr(hs__jrun *r, const hs__jval *v)
{
    return put_repr(r, v, 0);
}

int hs__jput_str(hs__jrun *r, const hs__jval *v)
{
    if (v->type == HS__J_STR)
        return hs__jput(r, v->as.s, v->len);
    return v->type == HS__J_UNDEFINED || v->type == HS__J_MISSING ? 0 : put_repr(r, v, 0);
}

int hs__jto_str(hs__jrun *r, const hs__jval *v, hs__jval *ret)
{
    if (v->type == HS__J_STR) {
        *ret = *v;
        return 0;
    }
    size_t mark = hs__jbegin(r);
    int code = hs__jput_str(r, v);
    return code < 0 ? code : hs__jend(r, mark, ret);
}

int hs__jput_escaped(hs__jrun *r, const hs__jval *v)
{
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    static const char from[] = "&<>\"'";
    int code = 0;
    for (uint32_t i = 0; i < v->len && code == 0; i++) {
        const char *at = memchr(from, v->as.s[i], sizeof from - 1), *s = v->as.s + i;
        code = at ? hs__jput_like(r, entities[at - from], strlen(entities[at - from]), s) : hs__jput(r, s, 1);
    }
    return code < 0 ? code : hs__jcharge(r, v->len / 8);
}
