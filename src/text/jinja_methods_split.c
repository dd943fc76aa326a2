/* jinja_methods_split.c - methods that take strings apart: split, rsplit, splitlines, partition. Stateless. */
#include "text/jinja_int.h"

int hs__jcharge_search(hs__jrun *r, const hs__jval *in, const hs__jval *what, bool backwards)
{
    if (backwards)
        return hs__jcharge(r, in->len / 8 + (uint64_t)in->len * what->len / 64);
    return hs__jcharge(r, in->len / (what->len < 2 ? 64 : 4));
}

static int push_part(hs__jrun *r, hs__jlist *l, const char *s, size_t n)
{
    hs__jval v = hs__jstr(s, n);
    return hs__jlist_push(r, l, &v);
}

static int give_list(hs__jlist *l, int code, hs__jval *ret)
{
    *ret = (hs__jval){.type = HS__J_LIST, .as.list = l};
    return code;
}

/* The arguments of split and rsplit; *ret_max < 0: as often as possible. */
static int split_args(hs__jrun *r, const hs__jval *self, const hs__jargs *args, hs__jval *ret_sep, int64_t *ret_max)
{
    if (hs__jarg_str(r, args, 0, "sep", true, ret_sep) < 0 || hs__jarg_int(r, args, 1, "maxsplit", -1, ret_max) < 0)
        return r->code;
    if (ret_sep->type == HS__J_STR && ret_sep->len == 0)
        return hs__jfail(r, -EINVAL, "split with an empty separator");
    return hs__jcharge_search(r, self, ret_sep, false);
}

static int split_blanks(hs__jrun *r, const hs__jval *self, int64_t max, hs__jlist *l)
{
    const char *p = self->as.s, *end = p + self->len;
    for (;;) {
        p += hs__jskip_space(p, (size_t)(end - p));
        if (p == end)
            return 0;
        const char *start = p;
        if (max >= 0 && l->n >= max)
            return push_part(r, l, start, (size_t)(end - start));
        while (p < end) {
            const char *q = p;
            if (hs__jis_space(hs__jutf8_next(&q, end)))
                break;
            p = q;
        }
        if (push_part(r, l, start, (size_t)(p - start)) < 0)
            return r->code;
    }
}

int hs__jmethod_split(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval sep;
    hs__jlist *l;
    int64_t max;
    if (split_args(r, self, args, &sep, &max) < 0 || hs__jlist_new(r, 0, &l) < 0)
        return r->code;
    if (sep.type != HS__J_STR)
        return give_list(l, split_blanks(r, self, max, l), ret);
    const char *p = self->as.s, *end = p + self->len, *at;
    int code = 0;
    while (code == 0 && (max < 0 || l->n < max) && (at = hs__jfind(p, (size_t)(end - p), sep.as.s, sep.len))) {
        code = push_part(r, l, p, (size_t)(at - p));
        p = at + sep.len;
    }
    if (code == 0)
        code = push_part(r, l, p, (size_t)(end - p));
    return give_list(l, code, ret);
}

static void reverse(hs__jlist *l)
{
    for (uint32_t i = 0; i < l->n / 2; i++) {
        hs__jval keep = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = keep;
    }
}

static int rsplit_blanks(hs__jrun *r, const hs__jval *self, int64_t max, hs__jlist *l)
{
    const char *s = self->as.s;
    size_t n = self->len;
    for (;;) {
        n -= hs__jtrail_space(s, n);
        if (n == 0)
            return 0;
        if (max >= 0 && l->n >= max)
            return push_part(r, l, s, n);
        size_t from = n;
        while (from > 0 && hs__jtrail_space(s, from) == 0) {
            from--;
            while (from > 0 && ((unsigned char)s[from] & 0xc0) == 0x80)
                from--;
        }
        if (push_part(r, l, s + from, n - from) < 0)
            return r->code;
        n = from;
    }
}

int hs__jmethod_rsplit(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval sep;
    hs__jlist *l;
    int64_t max;
    int code = 0;
    if (split_args(r, self, args, &sep, &max) < 0 || hs__jlist_new(r, 0, &l) < 0)
        return r->code;
    if (sep.type != HS__J_STR) {
        code = rsplit_blanks(r, self, max, l);
    } else {
        const char *s = self->as.s, *at;
        size_t n = self->len;
        code = hs__jcharge_search(r, self, &sep, true);
        while (code == 0 && (max < 0 || l->n < max) && (at = hs__jfind_last(s, n, sep.as.s, sep.len))) {
            code = push_part(r, l, at + sep.len, (size_t)(s + n - at) - sep.len);
            n = (size_t)(at - s);
        }
        if (code == 0)
            code = push_part(r, l, s, n);
    }
    reverse(l);
    return give_list(l, code, ret);
}

static bool is_line_end(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

int hs__jmethod_splitlines(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    bool keep = hs__jarg_bool(args, 0, "keepends", false);
    const char *p = self->as.s, *end = p + self->len, *start = p;
    int code = hs__jlist_new(r, 0, &l);
    while (code == 0 && p < end) {
        const char *at = p;
        uint32_t c = hs__jutf8_next(&p, end);
        if (!is_line_end(c))
            continue;
        if (c == '\r' && p < end && *p == '\n')
            p++;
        code = push_part(r, l, start, (size_t)((keep ? p : at) - start));
        start = p;
    }
    if (code == 0 && start < end)
        code = push_part(r, l, start, (size_t)(end - start));
    return give_list(l, code < 0 ? code : hs__jcharge(r, self->len / 16), ret);
}

/* head, separator, tail */
static int partition(hs__jrun *r, const hs__jval *self, const hs__jargs *args, bool last, hs__jval *ret)
{
    hs__jval sep;
    hs__jlist *l;
    if (hs__jarg_str(r, args, 0, NULL, false, &sep) < 0 || hs__jlist_new(r, 3, &l) < 0)
        return r->code;
    if (sep.len == 0)
        return hs__jfail(r, -EINVAL, "partition with an empty separator");
    if (hs__jcharge_search(r, self, &sep, last) < 0)
        return r->code;
    const char *s = self->as.s;
    const char *at =
        last ? hs__jfind_last(s, self->len, sep.as.s, sep.len) : hs__jfind(s, self->len, sep.as.s, sep.len);
    hs__jval empty = hs__jstr("", 0);
    l->n = 3;
    l->items[0] = at ? hs__jstr(s, (size_t)(at - s)) : last ? empty : *self;
    l->items[1] = at ? hs__jstr(at, sep.len) : empty;
    l->items[2] = at ? hs__jstr(at + sep.len, self->len - (size_t)(at - s) - sep.len) : last ? *self : empty;
    *ret = (hs__jval){.type = HS__J_TUPLE, .as.list = l};
    return 0;
}

int hs__jmethod_partition(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return partition(r, self, args, false, ret);
}

int hs__jmethod_rpartition(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return partition(r, self, args, true, ret);
}
