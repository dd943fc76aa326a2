/*
 * jinja_filters.c - filters on single values: texts, numbers, defaults; and the search through all filter tables.
 * To add one: a function and a row of its table. What a filter builds is charged where it is built. Stateless.
 */
#include "text/jinja_int.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int f_default(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval value;
    (void)r;
    bool replace = in->type == HS__J_UNDEFINED || (hs__jarg_bool(args, 1, "boolean", false) && !hs__jtruth(in));
    if (!hs__jarg(args, 0, "default_value", &value))
        value = hs__jstr("", 0);
    *ret = replace ? value : *in;
    return 0;
}

static int f_string(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return hs__jto_str(r, in, ret);
}

static int f_safe(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    int code = hs__jto_str(r, in, ret);
    ret->flag = 1;
    return code;
}

static int f_escape(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval s;
    (void)args;
    if (hs__jto_str(r, in, &s) < 0)
        return r->code;
    size_t mark = hs__jbegin(r);
    int code = s.flag ? hs__jput(r, s.as.s, s.len) : hs__jput_escaped(r, &s);
    if (code == 0)
        code = hs__jend(r, mark, ret);
    ret->flag = 1;
    return code;
}

/* A method of strings, on the value as a string. */
static int by_method(hs__jrun *r, const hs__jval *in, const char *method, const hs__jargs *args, hs__jval *ret)
{
    hs__jval s;
    if (hs__jto_str(r, in, &s) < 0)
        return r->code;
    for (const hs__jmethod_def *m = hs__jstr_methods; m->name; m++) {
        if (!strcmp(m->name, method))
            return m->fn(r, &s, args, ret);
    }
    return hs__jfail(r, -EINVAL, "the method '%s' is not supported", method);
}

static int f_trim(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return by_method(r, in, "strip", args, ret);
}

static int f_replace(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval pos[3], count;
    hs__jargs plain = {.pos = pos, .n = 2};
    hs__jval old, with;
    if (!hs__jarg(args, 0, "old", &old) || !hs__jarg(args, 1, "new", &with))
        return hs__jfail(r, -EINVAL, "replace takes what to replace, and with what");
    if (hs__jto_str(r, &old, &pos[0]) < 0 || hs__jto_str(r, &with, &pos[1]) < 0)
        return r->code;
    if (hs__jarg(args, 2, "count", &count) && count.type != HS__J_NONE)
        pos[plain.n++] = count;
    return by_method(r, in, "replace", &plain, ret);
}

static int cased(hs__jrun *r, const hs__jval *in, hs__jcase how, hs__jval *ret)
{
    hs__jval s;
    return hs__jto_str(r, in, &s) < 0 ? r->code : hs__jchange_case(r, &s, how, ret);
}

static int f_upper(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return cased(r, in, HS__CASE_UPPER, ret);
}

static int f_lower(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return cased(r, in, HS__CASE_LOWER, ret);
}

static int f_title(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return cased(r, in, HS__CASE_WORDS, ret);
}

static int f_capitalize(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return cased(r, in, HS__CASE_CAPITAL, ret);
}

/* What each line begins with: `width` blanks or the text given. */
static int indent_text(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    hs__jval width;
    char blanks[1000];
    int64_t n;
    if (hs__jarg(args, 0, "width", &width) && width.type == HS__J_STR) {
        *ret = width;
        return 0;
    }
    if (hs__jarg_int(r, args, 0, "width", 4, &n) < 0)
        return r->code;
    if (n > (int64_t)sizeof blanks)
        return hs__jfail(r, -EINVAL, "an indent of %lld", (long long)n);
    memset(blanks, ' ', sizeof blanks);
    return hs__jstr_copy(r, blanks, n > 0 ? (size_t)n : 0, ret);
}

static int f_indent(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval s, by;
    bool blank = hs__jarg_bool(args, 2, "blank", false), put = hs__jarg_bool(args, 1, "first", false);
    if (hs__jto_str(r, in, &s) < 0 || indent_text(r, args, &by) < 0)
        return r->code;
    const char *p = s.as.s, *end = p + s.len;
    size_t mark = hs__jbegin(r);
    int code = 0;
    for (bool first = true; code == 0; first = false) {
        const char *nl = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        size_t n = (size_t)((nl ? nl : end) - p);
        if (first ? put : (n > 0 || blank))
            code = hs__jput(r, by.as.s, by.len);
        if (code == 0)
            code = hs__jput(r, p, nl ? n + 1 : n);
        if (!nl)
            break;
        p = nl + 1;
    }
    return code < 0 ? code : hs__jend(r, mark, ret);
}

/* A number at the whole of the text, blanks around it allowed. */
static bool parse_number(hs__jrun *r, const hs__jval *s, int base, bool as_int, hs__jval *ret)
{
    char text[64], *stop;
    if (hs__jcharge(r, s->len / 8) < 0)
        return false;
    size_t skip = hs__jskip_space(s->as.s, s->len);
    size_t n = s->len - skip - (skip < s->len ? hs__jtrail_space(s->as.s, s->len) : 0), used = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->as.s[skip + i] != '_' && used + 1 < sizeof text)
            text[used++] = s->as.s[skip + i];
    }
    text[used] = '\0';
    if (used == 0 || used + 1 == sizeof text || isspace((unsigned char)text[0]))
        return false;
    errno = 0;
    if (as_int)
        *ret = hs__jint(strtoll(text, &stop, base));
    else
        *ret = hs__jfloat(strtod(text, &stop));
    return *stop == '\0' && !(as_int && errno == ERANGE) && (as_int || !strpbrk(text, "xXpP("));
}

static int f_int(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval def;
    int64_t base;
    if (!hs__jarg(args, 0, "default", &def))
        def = hs__jint(0);
    if (hs__jarg_int(r, args, 1, "base", 10, &base) < 0)
        return r->code;
    if (base != 0 && (base < 2 || base > 36))
        return hs__jfail(r, -EINVAL, "int with base %lld", (long long)base);
    hs__jval v = *in;
    if (v.type == HS__J_STR && !parse_number(r, in, (int)base, true, &v) && !parse_number(r, in, 10, false, &v))
        v = def;
    if (v.type == HS__J_FLOAT)
        *ret = fabs(v.as.d) < 9.2e18 ? hs__jint((int64_t)v.as.d) : def;
    else if (v.type == HS__J_BOOL)
        *ret = hs__jint(v.as.b);
    else
        *ret = v.type == HS__J_INT ? v : def;
    if (in->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, in);
    return 0;
}

static int f_float(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval def, v = *in;
    if (!hs__jarg(args, 0, "default", &def))
        def = hs__jfloat(0);
    if (in->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, in);
    if (v.type == HS__J_STR && !parse_number(r, in, 10, false, &v))
        v = def;
    else if (hs__jis_number(&v))
        v = hs__jfloat(hs__jnumber(&v));
    else if (v.type != HS__J_FLOAT)
        v = def;
    *ret = v;
    return 0;
}

static int f_round(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    int64_t precision;
    hs__jval method;
    char text[400];
    if (hs__jarg_int(r, args, 0, "precision", 0, &precision) < 0 ||
        hs__jarg_str(r, args, 1, "method", true, &method) < 0)
        return r->code;
    if (!hs__jis_number(in))
        return in->type == HS__J_UNDEFINED ? hs__jfail_undefined(r, in)
                                           : hs__jfail(r, -EINVAL, "round of a '%s'", hs__jtype_name(in));
    if (precision < 0 || precision > 30)
        return hs__jfail(r, -EINVAL, "round to %lld places", (long long)precision);
    double d = hs__jnumber(in), scale = pow(10, (double)precision);
    bool common = method.type == HS__J_MISSING || hs__jis(&method, "common", 6);
    if (common && in->type != HS__J_FLOAT) {
        *ret = hs__jint(in->type == HS__J_INT ? in->as.i : in->as.b);
    } else if (common) {
        snprintf(text, sizeof text, "%.*f", (int)precision, d);
        *ret = hs__jfloat(strtod(text, NULL));
    } else if (hs__jis(&method, "ceil", 4) || hs__jis(&method, "floor", 5)) {
        *ret = hs__jfloat((method.len == 4 ? ceil(d * scale) : floor(d * scale)) / scale);
    } else {
        return hs__jfail(r, -EINVAL, "round with a method that is not common, ceil or floor");
    }
    return 0;
}

static int f_abs(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    if (!hs__jis_number(in))
        return hs__jfail(r, -EINVAL, "abs of a '%s'", hs__jtype_name(in));
    if (in->type == HS__J_INT && in->as.i == INT64_MIN)
        return hs__jfail(r, -ERANGE, "an integer of more than 64 bits");
    if (in->type == HS__J_FLOAT)
        *ret = hs__jfloat(fabs(in->as.d));
    else
        *ret = hs__jint(in->type == HS__J_BOOL ? in->as.b : in->as.i < 0 ? -in->as.i : in->as.i);
    return 0;
}

static int f_attr(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval name;
    if (hs__jarg_str(r, args, 0, "name", false, &name) < 0)
        return r->code;
    if (in->type == HS__J_DICT) {
        hs__jdict *none;
        hs__jval bare = *in;
        if (hs__jdict_new(r, &none) < 0)
            return r->code;
        bare.as.dict = none;
        return hs__jgetattr(r, &bare, name.as.s, name.len, ret);
    }
    return hs__jgetattr(r, in, name.as.s, name.len, ret);
}

const hs__jfilter hs__jscalar_filters[] = {
    {"default", f_default},
    {"d", f_default},
    {"string", f_string},
    {"safe", f_safe},
    {"escape", f_escape},
    {"e", f_escape},
    {"trim", f_trim},
    {"replace", f_replace},
    {"upper", f_upper},
    {"lower", f_lower},
    {"title", f_title},
    {"capitalize", f_capitalize},
    {"indent", f_indent},
    {"int", f_int},
    {"float", f_float},
    {"round", f_round},
    {"abs", f_abs},
    {"attr", f_attr},
    {"tojson", hs__jfilter_tojson},
    {NULL, NULL},
};

const hs__jfilter *hs__jfilter_find(const char *name, size_t len)
{
    static const hs__jfilter *const tables[] = {hs__jscalar_filters, hs__jseq_filters, hs__jselect_filters};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (const hs__jfilter *f = tables[t]; f->name; f++) {
            if (strlen(f->name) == len && !memcmp(f->name, name, len))
                return f;
        }
    }
    return NULL;
}
