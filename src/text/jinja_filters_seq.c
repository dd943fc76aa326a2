/*
 * jinja_filters_seq.c - filters on sequences as a whole: length, join, order, sums.
 * Sorting is a merge sort: stable, and O(n log n) charged comparisons whatever the input.
 */
#include "text/jinja_int.h"

#include <string.h>

static int f_length(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    int64_t n = hs__jlength(r, in);
    if (n < 0)
        return hs__jfail(r, -EINVAL, "a '%s' has no length", hs__jtype_name(in));
    *ret = hs__jint(n);
    return 0;
}

static int f_list(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    (void)args;
    int code = hs__jelements(r, in, &l);
    *ret = (hs__jval){.type = HS__J_LIST, .as.list = l};
    return code;
}

static int f_first(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    (void)args;
    int code = hs__jelements(r, in, &l);
    if (code == 0)
        *ret = l->n ? l->items[0] : hs__jundefined("the first element of an empty sequence", 38, 0);
    return code;
}

static int f_last(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    (void)args;
    if (in->type == HS__J_ITER && !in->as.iter->is_view)
        return hs__jfail(r, -EINVAL, "the last element of an iterator: use list first");
    int code = hs__jelements(r, in, &l);
    if (code == 0)
        *ret = l->n ? l->items[l->n - 1] : hs__jundefined("the last element of an empty sequence", 37, 0);
    return code;
}

static int f_join(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    hs__jval by, path;
    if (!hs__jarg(args, 0, "d", &by))
        by = hs__jstr("", 0);
    bool has_path = hs__jarg(args, 1, "attribute", &path) && path.type != HS__J_NONE;
    int code = hs__jelements(r, in, &l);
    for (uint32_t i = 0; has_path && code == 0 && i < l->n; i++)
        code = hs__jgetpath(r, &l->items[i], &path, &l->items[i]);
    size_t mark = hs__jbegin(r);
    for (uint32_t i = 0; code == 0 && i < l->n; i++) {
        if (i)
            code = hs__jput_str(r, &by);
        if (code == 0)
            code = hs__jput_str(r, &l->items[i]);
    }
    return code < 0 ? code : hs__jend(r, mark, ret);
}

static int f_items(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    (void)args;
    if (in->type != HS__J_DICT && in->type != HS__J_UNDEFINED)
        return hs__jfail(r, -EINVAL, "items of a '%s': only a mapping has them", hs__jtype_name(in));
    int code = hs__jlist_new(r, 0, &l);
    for (uint32_t i = 0; code == 0 && in->type == HS__J_DICT && i < in->as.dict->n; i++) {
        hs__jlist *pair;
        code = hs__jlist_new(r, 2, &pair);
        if (code < 0)
            return code;
        pair->items[0] = in->as.dict->entries[i].key;
        pair->items[1] = in->as.dict->entries[i].val;
        pair->n = 2;
        hs__jval v = {.type = HS__J_TUPLE, .as.list = pair};
        code = hs__jlist_push(r, l, &v);
    }
    return code < 0 ? code : hs__jiter_new(r, l, false, ret);
}

static int f_reverse(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    (void)args;
    int code = hs__jelements(r, in, &l);
    if (code < 0)
        return code;
    for (uint32_t i = 0; i < l->n / 2; i++) {
        hs__jval keep = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = keep;
    }
    if (in->type != HS__J_STR)
        return hs__jiter_new(r, l, false, ret);
    size_t mark = hs__jbegin(r);
    for (uint32_t i = 0; i < l->n && code == 0; i++)
        code = hs__jput_str(r, &l->items[i]);
    return code < 0 ? code : hs__jend(r, mark, ret);
}

/* ---- order ---- */

typedef struct keyed {
    hs__jval key, val;
} keyed;

/* Lower case for strings, unless the case counts. */
static int fold(hs__jrun *r, const hs__jval *v, bool case_sensitive, hs__jval *ret)
{
    *ret = *v;
    return v->type == HS__J_STR && !case_sensitive ? hs__jchange_case(r, v, HS__CASE_LOWER, ret) : 0;
}

static int merge(hs__jrun *r, const keyed *a, uint32_t n_a, const keyed *b, uint32_t n_b, bool reverse, keyed *out)
{
    uint32_t i = 0, j = 0;
    while (i < n_a && j < n_b) {
        int c, code = hs__jcompare(r, &a[i].key, &b[j].key, &c);
        if (code < 0)
            return code;
        if (reverse ? c < 0 : c > 0)
            *out++ = b[j++];
        else
            *out++ = a[i++];
    }
    memcpy(out, a + i, (n_a - i) * sizeof *a);
    memcpy(out + (n_a - i), b + j, (n_b - j) * sizeof *b);
    return 0;
}

/* Sorts n elements; on return the result is in items; spare is as long. */
static int merge_sort(hs__jrun *r, keyed *items, keyed *spare, uint32_t n, bool reverse)
{
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t at = 0; at < n; at += 2 * width) {
            uint32_t mid = n - at < width ? n : at + width, end = n - mid < width ? n : mid + width;
            int code = merge(r, items + at, mid - at, items + mid, end - mid, reverse, spare + at);
            if (code < 0)
                return code;
        }
        memcpy(items, spare, n * sizeof *items);
    }
    return 0;
}

/* The elements with the keys that the filter's attribute and case arguments ask for; two arrays of that length. */
static int make_keys(hs__jrun *r, const hs__jlist *l, const hs__jval *path, bool case_sensitive, keyed **ret)
{
    keyed *k = hs__jalloc(r, 2 * (size_t)l->n * sizeof *k + 8);
    if (!k)
        return r->code;
    for (uint32_t i = 0; i < l->n; i++) {
        k[i] = (keyed){l->items[i], l->items[i]};
        if (path->type != HS__J_MISSING && path->type != HS__J_NONE &&
            hs__jgetpath(r, &l->items[i], path, &k[i].key) < 0)
            return r->code;
        if (fold(r, &k[i].key, case_sensitive, &k[i].key) < 0)
            return r->code;
    }
    *ret = k;
    return 0;
}

static int sorted(hs__jrun *r, hs__jlist *l, const hs__jval *path, bool case_sensitive, bool reverse)
{
    keyed *k;
    int code = make_keys(r, l, path, case_sensitive, &k);
    if (code == 0)
        code = merge_sort(r, k, k + l->n, l->n, reverse);
    for (uint32_t i = 0; code == 0 && i < l->n; i++)
        l->items[i] = k[i].val;
    return code;
}

static int f_sort(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    hs__jval path;
    hs__jarg(args, 2, "attribute", &path);
    int code = hs__jelements(r, in, &l);
    if (code == 0)
        code = sorted(r, l, &path, hs__jarg_bool(args, 1, "case_sensitive", false),
                      hs__jarg_bool(args, 0, "reverse", false));
    *ret = (hs__jval){.type = HS__J_LIST, .as.list = l};
    return code;
}

static int f_dictsort(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jval by, pairs, at = hs__jint(0);
    if (hs__jarg_str(r, args, 1, "by", true, &by) < 0 || f_items(r, in, args, &pairs) < 0)
        return r->code;
    if (by.type == HS__J_STR && hs__jis(&by, "value", 5))
        at = hs__jint(1);
    else if (by.type == HS__J_STR && !hs__jis(&by, "key", 3))
        return hs__jfail(r, -EINVAL, "dictsort by something that is neither key nor value");
    hs__jlist *l = pairs.as.iter->list;
    int code =
        sorted(r, l, &at, hs__jarg_bool(args, 0, "case_sensitive", false), hs__jarg_bool(args, 2, "reverse", false));
    *ret = (hs__jval){.type = HS__J_LIST, .as.list = l};
    return code;
}

static int extreme(hs__jrun *r, const hs__jval *in, const hs__jargs *args, bool greatest, hs__jval *ret)
{
    hs__jlist *l;
    hs__jval path;
    keyed *k;
    hs__jarg(args, 1, "attribute", &path);
    int code = hs__jelements(r, in, &l);
    if (code == 0)
        code = make_keys(r, l, &path, hs__jarg_bool(args, 0, "case_sensitive", false), &k);
    if (code < 0)
        return code;
    if (l->n == 0) {
        *ret = hs__jundefined("the extreme of an empty sequence", 32, 0);
        return 0;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < l->n; i++) {
        int c;
        code = hs__jcompare(r, &k[i].key, &k[best].key, &c);
        if (code < 0)
            return code;
        if (greatest ? c > 0 : c < 0)
            best = i;
    }
    *ret = k[best].val;
    return 0;
}

static int f_min(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return extreme(r, in, args, false, ret);
}

static int f_max(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    return extreme(r, in, args, true, ret);
}

static int f_sum(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    hs__jval path, sum;
    bool has_path = hs__jarg(args, 0, "attribute", &path) && path.type != HS__J_NONE;
    if (!hs__jarg(args, 1, "start", &sum))
        sum = hs__jint(0);
    int code = hs__jelements(r, in, &l);
    for (uint32_t i = 0; code == 0 && i < l->n; i++) {
        hs__jval v = l->items[i];
        if (has_path)
            code = hs__jgetpath(r, &v, &path, &v);
        if (code == 0)
            code = hs__jbinary(r, HS__OP_ADD, &sum, &v, &sum);
    }
    *ret = sum;
    return code;
}

static int f_unique(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l, *kept;
    hs__jdict *seen;
    hs__jval path, *before, yes = hs__jbool(true);
    keyed *k;
    hs__jarg(args, 1, "attribute", &path);
    if (hs__jelements(r, in, &l) < 0 || hs__jlist_new(r, 0, &kept) < 0 || hs__jdict_new(r, &seen) < 0 ||
        make_keys(r, l, &path, hs__jarg_bool(args, 0, "case_sensitive", false), &k) < 0)
        return r->code;
    for (uint32_t i = 0; i < l->n; i++) {
        int code = hs__jdict_get(r, seen, &k[i].key, &before);
        if (code == 0 && !before) {
            code = hs__jdict_set(r, seen, &k[i].key, &yes);
            if (code == 0)
                code = hs__jlist_push(r, kept, &k[i].val);
        }
        if (code < 0)
            return code;
    }
    return hs__jiter_new(r, kept, false, ret);
}

const hs__jfilter hs__jseq_filters[] = {
    {"length", f_length}, {"count", f_length}, {"list", f_list},       {"first", f_first},   {"last", f_last},
    {"join", f_join},     {"items", f_items},  {"reverse", f_reverse}, {"sort", f_sort},     {"dictsort", f_dictsort},
    {"min", f_min},       {"max", f_max},      {"sum", f_sum},         {"unique", f_unique}, {NULL, NULL},
};
