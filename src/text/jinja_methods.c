/*
 * jinja_methods.c - methods of strings, as Python has them. A row without a function is a method that exists (so that
 * x.name is defined) but cannot be called here. To add one: a function and its row. Stateless.
 */
#include "text/jinja_int.h"

#include <string.h>

/* Whether the character at p is one of those to strip; moves p over it. */
static bool strips(const hs__jval *chars, const char **p, const char *end)
{
    const char *start = *p;
    uint32_t c = hs__jutf8_next(p, end);
    if (chars->type != HS__J_STR)
        return hs__jis_space(c);
    return hs__jfind(chars->as.s, chars->len, start, (size_t)(*p - start)) != NULL;
}

static int strip(hs__jrun *r, const hs__jval *self, const hs__jargs *args, bool left, bool right, hs__jval *ret)
{
    hs__jval chars;
    if (hs__jarg_str(r, args, 0, "chars", true, &chars) < 0)
        return r->code;
    if (chars.type == HS__J_STR && hs__jcharge(r, (uint64_t)self->len * chars.len / 256) < 0)
        return r->code;
    const char *p = self->as.s, *end = p + self->len;
    while (left && p < end) {
        const char *q = p;
        if (!strips(&chars, &q, end))
            break;
        p = q;
    }
    while (right && end > p) {
        const char *last = end - 1;
        while (last > p && ((unsigned char)*last & 0xc0) == 0x80)
            last--;
        const char *q = last;
        if (!strips(&chars, &q, end))
            break;
        end = last;
    }
    *ret = hs__jstr(p, (size_t)(end - p));
    ret->flag = self->flag;
    return hs__jcharge(r, (uint64_t)(self->len - ret->len) / (chars.type == HS__J_STR ? 2 : 8));
}

static int m_strip(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return strip(r, self, args, true, true, ret);
}

static int m_lstrip(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return strip(r, self, args, true, false, ret);
}

static int m_rstrip(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return strip(r, self, args, false, true, ret);
}

/* The part of self that the start and end arguments at positions i and i + 1 leave. */
static int window(hs__jrun *r, const hs__jval *self, const hs__jargs *args, uint32_t i, hs__jval *ret)
{
    hs__jval part[3] = {{.type = HS__J_MISSING}, {.type = HS__J_MISSING}, {.type = HS__J_MISSING}};
    *ret = *self;
    if (!hs__jarg(args, i, NULL, &part[0]))
        return 0;
    hs__jarg(args, i + 1, NULL, &part[1]);
    return hs__jslice(r, self, part, ret);
}

static int has_affix(hs__jrun *r, const hs__jval *self, const hs__jargs *args, bool at_end, hs__jval *ret)
{
    hs__jval affix, w;
    bool yes = false;
    if (window(r, self, args, 1, &w) < 0)
        return r->code;
    hs__jarg(args, 0, NULL, &affix);
    uint32_t n = affix.type == HS__J_TUPLE ? affix.as.list->n : 1;
    for (uint32_t i = 0; i < n && !yes; i++) {
        hs__jval a = affix.type == HS__J_TUPLE ? affix.as.list->items[i] : affix;
        if (a.type == HS__J_UNDEFINED)
            return hs__jfail_undefined(r, &a);
        if (a.type != HS__J_STR)
            return hs__jfail(r, -EINVAL, "startswith and endswith take a string, not a '%s'", hs__jtype_name(&a));
        yes = a.len <= w.len && !memcmp(w.as.s + (at_end ? w.len - a.len : 0), a.as.s, a.len);
        if (hs__jcharge(r, a.len <= w.len ? a.len / 64 : 0) < 0)
            return r->code;
    }
    *ret = hs__jbool(yes);
    return 0;
}

static int m_startswith(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return has_affix(r, self, args, false, ret);
}

static int m_endswith(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return has_affix(r, self, args, true, ret);
}

static int remove_affix(hs__jrun *r, const hs__jval *self, const hs__jargs *args, bool at_end, hs__jval *ret)
{
    hs__jval affix;
    if (hs__jarg_str(r, args, 0, NULL, false, &affix) < 0)
        return r->code;
    const char *place = self->as.s + (at_end && affix.len <= self->len ? self->len - affix.len : 0);
    bool has = affix.len <= self->len && !memcmp(place, affix.as.s, affix.len);
    *ret = has ? hs__jstr(self->as.s + (at_end ? 0 : affix.len), self->len - affix.len) : *self;
    return hs__jcharge(r, affix.len <= self->len ? affix.len / 64 : 0);
}

static int m_removeprefix(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return remove_affix(r, self, args, false, ret);
}

static int m_removesuffix(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return remove_affix(r, self, args, true, ret);
}

/* An empty old goes between all characters and at both ends. */
static int replace_empty(hs__jrun *r, const hs__jval *self, const hs__jval *with, int64_t max)
{
    const char *p = self->as.s, *end = p + self->len;
    int code = 0;
    for (int64_t done = 0; code == 0; done++) {
        if (max < 0 || done < max)
            code = hs__jput(r, with->as.s, with->len);
        if (p == end || code < 0)
            break;
        const char *start = p;
        hs__jutf8_next(&p, end);
        code = hs__jput(r, start, (size_t)(p - start));
    }
    return code;
}

static int m_replace(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval old, with;
    int64_t max;
    if (hs__jarg_str(r, args, 0, "old", false, &old) < 0 || hs__jarg_str(r, args, 1, "new", false, &with) < 0 ||
        hs__jarg_int(r, args, 2, "count", -1, &max) < 0 || hs__jcharge_search(r, self, &old, false) < 0)
        return r->code;
    const char *p = self->as.s, *end = p + self->len, *at;
    size_t mark = hs__jbegin(r);
    int code = old.len == 0 ? replace_empty(r, self, &with, max) : 0;
    for (int64_t done = 0; old.len && code == 0 && (max < 0 || done < max); done++) {
        at = hs__jfind(p, (size_t)(end - p), old.as.s, old.len);
        if (!at)
            break;
        code = hs__jput(r, p, (size_t)(at - p));
        if (code == 0)
            code = hs__jput(r, with.as.s, with.len);
        if (code == 0)
            code = hs__jcharge(r, 1);
        p = at + old.len;
    }
    if (code == 0 && old.len)
        code = hs__jput(r, p, (size_t)(end - p));
    return code < 0 ? code : hs__jend(r, mark, ret);
}

static int m_upper(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return hs__jchange_case(r, self, HS__CASE_UPPER, ret);
}

static int m_lower(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return hs__jchange_case(r, self, HS__CASE_LOWER, ret);
}

static int m_title(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return hs__jchange_case(r, self, HS__CASE_TITLE, ret);
}

static int m_capitalize(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return hs__jchange_case(r, self, HS__CASE_CAPITAL, ret);
}

/* The character number of the first or last occurrence, or -1. */
static int locate(hs__jrun *r, const hs__jval *self, const hs__jargs *args, bool last, int64_t *ret)
{
    hs__jval what, w;
    if (hs__jarg_str(r, args, 0, NULL, false, &what) < 0 || window(r, self, args, 1, &w) < 0 ||
        hs__jcharge_search(r, self, &what, last) < 0)
        return r->code;
    const char *at =
        last ? hs__jfind_last(w.as.s, w.len, what.as.s, what.len) : hs__jfind(w.as.s, w.len, what.as.s, what.len);
    *ret = at ? (int64_t)hs__jutf8_count(self->as.s, (size_t)(at - self->as.s)) : -1;
    return 0;
}

static int m_find(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    int64_t at = -1;
    int code = locate(r, self, args, false, &at);
    *ret = hs__jint(at);
    return code;
}

static int m_rfind(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    int64_t at = -1;
    int code = locate(r, self, args, true, &at);
    *ret = hs__jint(at);
    return code;
}

static int m_index(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    int code = m_find(r, self, args, ret);
    return code == 0 && ret->as.i < 0 ? hs__jfail(r, -EINVAL, "substring not found") : code;
}

static int m_count(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval what, w;
    if (hs__jarg_str(r, args, 0, NULL, false, &what) < 0 || window(r, self, args, 1, &w) < 0 ||
        hs__jcharge_search(r, self, &what, false) < 0)
        return r->code;
    int64_t n = what.len ? 0 : (int64_t)hs__jutf8_count(w.as.s, w.len) + 1;
    const char *p = w.as.s, *end = p + w.len;
    while (what.len && (p = hs__jfind(p, (size_t)(end - p), what.as.s, what.len))) {
        p += what.len;
        n++;
    }
    *ret = hs__jint(n);
    return hs__jcharge(r, what.len ? (uint64_t)n : 0);
}

static int m_join(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    hs__jval all;
    hs__jarg(args, 0, NULL, &all);
    int code = hs__jelements(r, &all, &l);
    size_t mark = hs__jbegin(r);
    for (uint32_t i = 0; code == 0 && i < l->n; i++) {
        if (l->items[i].type != HS__J_STR)
            return hs__jfail(r, -EINVAL, "join of a '%s' where a string is expected", hs__jtype_name(&l->items[i]));
        if (i)
            code = hs__jput_str(r, self);
        if (code == 0)
            code = hs__jput_str(r, &l->items[i]);
    }
    return code < 0 ? code : hs__jend(r, mark, ret);
}

const hs__jmethod_def hs__jstr_methods[] = {
    {"split", hs__jmethod_split},
    {"rsplit", hs__jmethod_rsplit},
    {"strip", m_strip},
    {"lstrip", m_lstrip},
    {"rstrip", m_rstrip},
    {"startswith", m_startswith},
    {"endswith", m_endswith},
    {"removeprefix", m_removeprefix},
    {"removesuffix", m_removesuffix},
    {"replace", m_replace},
    {"upper", m_upper},
    {"lower", m_lower},
    {"title", m_title},
    {"capitalize", m_capitalize},
    {"find", m_find},
    {"rfind", m_rfind},
    {"index", m_index},
    {"count", m_count},
    {"join", m_join},
    {"splitlines", hs__jmethod_splitlines},
    {"partition", hs__jmethod_partition},
    {"rpartition", hs__jmethod_rpartition},
    {"isdigit", hs__jmethod_isdigit},
    {"isdecimal", hs__jmethod_isdigit},
    {"isnumeric", hs__jmethod_isdigit},
    {"isalpha", hs__jmethod_isalpha},
    {"isalnum", hs__jmethod_isalnum},
    {"isspace", hs__jmethod_isspace},
    {"isupper", hs__jmethod_isupper},
    {"islower", hs__jmethod_islower},
    {"ljust", hs__jmethod_ljust},
    {"rjust", hs__jmethod_rjust},
    {"center", hs__jmethod_center},
    {"zfill", hs__jmethod_zfill},
    {"casefold", m_lower},
    {"encode", NULL},
    {"expandtabs", NULL},
    {"format", NULL},
    {"format_map", NULL},
    {"isascii", NULL},
    {"isidentifier", NULL},
    {"isprintable", NULL},
    {"istitle", NULL},
    {"maketrans", NULL},
    {"rindex", NULL},
    {"swapcase", NULL},
    {"translate", NULL},
    {NULL, NULL},
};
