/*
 * jinja_json.c - the tojson filter: JSON as Python's json.dumps writes it, by default with ", " and ": " and without
 * escaping anything that is not ASCII (not the HTML-safe form of plain Jinja).
 */
#include "text/jinja_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct style {
    bool ascii, sort, pretty;
    hs__jval indent, item_sep, key_sep;
} style;

static int put_value(hs__jrun *r, const style *s, const hs__jval *v, unsigned depth);

static int puts_(hs__jrun *r, const char *s)
{
    return hs__jput(r, s, strlen(s));
}

static int put_char(hs__jrun *r, const style *s, uint32_t c, const char *raw, size_t n)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    char text[16];
    const char *at = c && c < 0x80 ? memchr(from, (int)c, sizeof from - 1) : NULL;
    if (at)
        n = (size_t)snprintf(text, sizeof text, "\\%c", to[at - from]);
    else if (c >= 0x10000 && s->ascii)
        n = (size_t)snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                             0xdc00 + ((c - 0x10000) & 0x3ff));
    else if (c < 0x20 || (c >= 0x7f && s->ascii))
        n = (size_t)snprintf(text, sizeof text, "\\u%04x", c);
    else
        return hs__jput(r, raw, n);
    return hs__jput_like(r, text, n, raw);
}

static int put_string(hs__jrun *r, const style *s, const hs__jval *v)
{
    const char *p = v->as.s, *end = p + v->len;
    int code = puts_(r, "\"");
    while (p < end && code == 0) {
        const char *start = p;
        while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f && *p != '"' && *p != '\\')
            p++;
        if (p > start) {
            code = hs__jput(r, start, (size_t)(p - start));
            continue;
        }
        uint32_t c = hs__jutf8_next(&p, end);
        code = put_char(r, s, c, start, (size_t)(p - start));
    }
    return code < 0 ? code : puts_(r, "\"");
}

static int put_break(hs__jrun *r, const style *s, unsigned depth)
{
    if (!s->pretty)
        return 0;
    int code = puts_(r, "\n");
    for (unsigned i = 0; i < depth && code == 0; i++)
        code = hs__jput_str(r, &s->indent);
    return code;
}

static int put_array(hs__jrun *r, const style *s, const hs__jlist *l, unsigned depth)
{
    if (l->n == 0)
        return puts_(r, "[]");
    int code = puts_(r, "[");
    for (uint32_t i = 0; i < l->n && code == 0; i++) {
        if (i)
            code = hs__jput_str(r, &s->item_sep);
        if (code == 0)
            code = put_break(r, s, depth + 1);
        if (code == 0)
            code = put_value(r, s, &l->items[i], depth + 1);
    }
    if (code == 0)
        code = put_break(r, s, depth);
    return code < 0 ? code : puts_(r, "]");
}

/* Keys that are not strings are written as the strings of their JSON form. */
static int put_key(hs__jrun *r, const style *s, const hs__jval *k)
{
    if (k->type == HS__J_STR)
        return put_string(r, s, k);
    return puts_(r, "\"") < 0 || put_value(r, s, k, 0) < 0 ? r->code : puts_(r, "\"");
}

/* Entry numbers in order of the keys. */
static int sorted(hs__jrun *r, const hs__jdict *d, uint32_t **ret)
{
    uint32_t *order = hs__jalloc(r, (d->n + 1) * sizeof *order);
    if (!order)
        return r->code;
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t at = i;
        int c = -1;
        for (; at > 0; at--) {
            int code = hs__jcompare(r, &d->entries[i].key, &d->entries[order[at - 1]].key, &c);
            if (code < 0)
                return code;
            if (c >= 0)
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    *ret = order;
    return 0;
}

static int put_object(hs__jrun *r, const style *s, const hs__jdict *d, unsigned depth)
{
    uint32_t *order = NULL;
    if (d->n == 0)
        return puts_(r, "{}");
    int code = s->sort ? sorted(r, d, &order) : 0;
    if (code == 0)
        code = puts_(r, "{");
    for (uint32_t i = 0; i < d->n && code == 0; i++) {
        const hs__jentry *e = &d->entries[order ? order[i] : i];
        if (i)
            code = hs__jput_str(r, &s->item_sep);
        if (code == 0)
            code = put_break(r, s, depth + 1);
        if (code == 0)
            code = put_key(r, s, &e->key);
        if (code == 0)
            code = hs__jput_str(r, &s->key_sep);
        if (code == 0)
            code = put_value(r, s, &e->val, depth + 1);
    }
    if (code == 0)
        code = put_break(r, s, depth);
    return code < 0 ? code : puts_(r, "}");
}

static int put_value(hs__jrun *r, const style *s, const hs__jval *v, unsigned depth)
{
    if (depth > HS__J_MAX_NESTED)
        return hs__jfail(r, -E2BIG, "values that are nested more than %d deep", HS__J_MAX_NESTED);
    if (hs__jcharge(r, 1) < 0)
        return r->code;
    switch (v->type) {
    case HS__J_NONE:
        return puts_(r, "null");
    case HS__J_BOOL:
        return puts_(r, v->as.b ? "true" : "false");
    case HS__J_FLOAT:
        if (!isfinite(v->as.d))
            return puts_(r, isnan(v->as.d) ? "NaN" : v->as.d < 0 ? "-Infinity" : "Infinity");
        return hs__jput_repr(r, v);
    case HS__J_INT:
        return hs__jput_repr(r, v);
    case HS__J_STR:
        return put_string(r, s, v);
    case HS__J_LIST:
    case HS__J_TUPLE:
        return put_array(r, s, v->as.list, depth);
    case HS__J_DICT:
        return put_object(r, s, v->as.dict, depth);
    case HS__J_UNDEFINED:
        return hs__jfail_undefined(r, v);
    default:
        return hs__jfail(r, -EINVAL, "tojson cannot write a '%s'", hs__jtype_name(v));
    }
}

/* The indent argument: a number of blanks, or the text itself. */
static int read_indent(hs__jrun *r, const hs__jval *v, style *s)
{
    s->pretty = v->type != HS__J_MISSING && v->type != HS__J_NONE;
    if (!s->pretty || v->type == HS__J_STR) {
        s->indent = *v;
        return 0;
    }
    if (v->type != HS__J_INT && v->type != HS__J_BOOL)
        return hs__jfail(r, -EINVAL, "tojson: indent must be a number or a string");
    int64_t n = v->type == HS__J_INT ? v->as.i : v->as.b;
    if (n > 1000)
        return hs__jfail(r, -EINVAL, "tojson: an indent of %lld", (long long)n);
    char blanks[1000];
    memset(blanks, ' ', sizeof blanks);
    return hs__jstr_copy(r, blanks, n > 0 ? (size_t)n : 0, &s->indent);
}

int hs__jfilter_tojson(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    style s = {.ascii = hs__jarg_bool(args, 0, "ensure_ascii", false),
               .sort = hs__jarg_bool(args, 3, "sort_keys", false),
               .key_sep = hs__jstr(": ", 2)};
    hs__jval indent, seps;
    hs__jarg(args, 1, "indent", &indent);
    hs__jarg(args, 2, "separators", &seps);
    int code = read_indent(r, &indent, &s);
    if (code < 0)
        return code;
    s.item_sep = s.pretty ? hs__jstr(",", 1) : hs__jstr(", ", 2);
    if (seps.type == HS__J_LIST || seps.type == HS__J_TUPLE) {
        const hs__jlist *l = seps.as.list;
        if (l->n != 2 || l->items[0].type != HS__J_STR || l->items[1].type != HS__J_STR)
            return hs__jfail(r, -EINVAL, "tojson: separators must be two strings");
        s.item_sep = l->items[0];
        s.key_sep = l->items[1];
    }
    size_t mark = hs__jbegin(r);
    code = put_value(r, &s, in, 0);
    return code < 0 ? code : hs__jend(r, mark, ret);
}
