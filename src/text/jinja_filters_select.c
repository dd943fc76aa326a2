/*
 * jinja_filters_select.c - filters that go through a sequence with a test, a filter or an attribute: map, select,
 * reject, selectattr, rejectattr, batch. Their results are iterators, as in the reference: they can be walked
 * once and are always true.
 */
#include "text/jinja_int.h"

#include <string.h>

/* What is walked over: nothing, if the input is false in any way, whatever its type. */
static int elements_or_none(hs__jrun *r, const hs__jval *in, hs__jlist **ret)
{
    return hs__jtruth(in) ? hs__jelements(r, in, ret) : hs__jlist_new(r, 0, ret);
}

/* The arguments from position `from` on. */
static hs__jargs rest(const hs__jargs *args, uint32_t from)
{
    hs__jargs a = *args;
    uint32_t n = from < a.n ? from : a.n;
    if (n) /* without any there is no array */
        a.pos += n;
    a.n -= n;
    return a;
}

static int map_attribute(hs__jrun *r, const hs__jval *in, const hs__jargs *args, const hs__jval *path, hs__jval *ret)
{
    hs__jlist *l;
    hs__jval def;
    bool has_default = hs__jarg(args, UINT32_MAX, "default", &def);
    int code = elements_or_none(r, in, &l);
    for (uint32_t i = 0; code == 0 && i < l->n; i++) {
        code = hs__jgetpath(r, &l->items[i], path, &l->items[i]);
        if (code == 0 && has_default && l->items[i].type == HS__J_UNDEFINED)
            l->items[i] = def;
    }
    return code < 0 ? code : hs__jiter_new(r, l, false, ret);
}

static int f_map(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval path, name;
    hs__jlist *l;
    if (args->n == 0 && hs__jarg(args, 0, "attribute", &path))
        return map_attribute(r, in, args, &path, ret);
    if (hs__jarg_str(r, args, 0, NULL, false, &name) < 0)
        return r->code;
    const hs__jfilter *f = hs__jfilter_find(name.as.s, name.len);
    if (!f)
        return hs__jfail(r, -EINVAL, "no filter named '%.*s'", (int)name.len, name.as.s);
    hs__jargs more = rest(args, 1);
    int code = elements_or_none(r, in, &l);
    for (uint32_t i = 0; code == 0 && i < l->n; i++) {
        hs__jval item = l->items[i];
        code = hs__jcharge(r, 1);
        if (code == 0)
            code = f->fn(r, &item, &more, &l->items[i]);
    }
    return code < 0 ? code : hs__jiter_new(r, l, false, ret);
}

/* Keeps the elements for which the test (or, without one, truth) gives `wanted`; by_attr: of the attribute named first.
 */
static int selected(hs__jrun *r, const hs__jval *in, const hs__jargs *args, bool by_attr, bool wanted, hs__jval *ret)
{
    hs__jlist *l, *kept;
    hs__jval name, path = {.type = HS__J_MISSING};
    uint32_t at = by_attr;
    if (by_attr && !hs__jarg(args, 0, NULL, &path))
        return hs__jfail(r, -EINVAL, "the name of an attribute is missing");
    if (hs__jarg_str(r, args, at, NULL, true, &name) < 0)
        return r->code;
    const hs__jtest *t = name.type == HS__J_STR ? hs__jtest_find(name.as.s, name.len) : NULL;
    if (name.type == HS__J_STR && !t)
        return hs__jfail(r, -EINVAL, "no test named '%.*s'", (int)name.len, name.as.s);
    hs__jargs more = rest(args, at + 1);
    if (elements_or_none(r, in, &l) < 0 || hs__jlist_new(r, 0, &kept) < 0)
        return r->code;
    for (uint32_t i = 0; i < l->n; i++) {
        hs__jval v = l->items[i];
        bool yes;
        int code = hs__jcharge(r, 1);
        if (code == 0 && by_attr)
            code = hs__jgetpath(r, &v, &path, &v);
        yes = hs__jtruth(&v);
        if (code == 0 && t)
            code = hs__jtest_run(r, t, &v, &more, &yes);
        if (code == 0 && yes == wanted)
            code = hs__jlist_push(r, kept, &l->items[i]);
        if (code < 0)
            return code;
    }
    return hs__jiter_new(r, kept, false, ret);
}

static int f_select(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return selected(r, in, args, false, true, ret);
}

static int f_reject(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return selected(r, in, args, false, false, ret);
}

static int f_selectattr(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return selected(r, in, args, true, true, ret);
}

static int f_rejectattr(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return selected(r, in, args, true, false, ret);
}

/* Lists of n elements; the last one is filled up if there is something to fill it with. */
static int f_batch(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l, *all, *part = NULL;
    hs__jval fill;
    int64_t n;
    bool has_fill = hs__jarg(args, 1, "fill_with", &fill) && fill.type != HS__J_NONE;
    if (hs__jarg_int(r, args, 0, "linecount", 0, &n) < 0)
        return r->code;
    if (n < 1 || n > HS__J_MAX_RANGE)
        return hs__jfail(r, -EINVAL, "batch of %lld", (long long)n);
    if (hs__jelements(r, in, &l) < 0 || hs__jlist_new(r, 0, &all) < 0)
        return r->code;
    for (uint32_t i = 0; i < l->n; i++) {
        if (i % n == 0) {
            hs__jval v = {.type = HS__J_LIST};
            if (hs__jlist_new(r, 0, &part) < 0)
                return r->code;
            v.as.list = part;
            if (hs__jlist_push(r, all, &v) < 0)
                return r->code;
        }
        if (hs__jlist_push(r, part, &l->items[i]) < 0)
            return r->code;
    }
    while (has_fill && part && part->n < n) {
        if (hs__jlist_push(r, part, &fill) < 0)
            return r->code;
    }
    return hs__jiter_new(r, all, false, ret);
}

const hs__jfilter hs__jselect_filters[] = {
    {"map", f_map},
    {"select", f_select},
    {"reject", f_reject},
    {"selectattr", f_selectattr},
    {"rejectattr", f_rejectattr},
    {"batch", f_batch},
    {NULL, NULL},
};
