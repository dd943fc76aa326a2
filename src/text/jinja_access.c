/*
 * jinja_access.c - x.name, x[key] and slices.
 * As in the reference, x.name prefers a method to a key of that name and x['name'] prefers the key; what does not exist
 * is undefined, and only the use of an undefined value is an error.
 */
#include "text/jinja_int.h"

#include <stdlib.h>
#include <string.h>

static const hs__jmethod_def *find_method(const hs__jval *v, const char *name, size_t len)
{
    const hs__jmethod_def *m = v->type == HS__J_STR     ? hs__jstr_methods
                               : v->type == HS__J_LIST  ? hs__jlist_methods
                               : v->type == HS__J_TUPLE ? hs__jtuple_methods
                               : v->type == HS__J_DICT  ? hs__jdict_methods
                                                        : NULL;
    for (; m && m->name; m++) {
        if (strlen(m->name) == len && !memcmp(m->name, name, len))
            return m;
    }
    return NULL;
}

static int bind(hs__jrun *r, const hs__jval *v, const hs__jmethod_def *def, hs__jval *ret)
{
    hs__jmethod *m = hs__jalloc(r, sizeof *m);
    if (!m)
        return r->code;
    *m = (hs__jmethod){.self = *v, .def = def};
    *ret = (hs__jval){.type = HS__J_METHOD, .as.method = m};
    return 0;
}

static int find_key(hs__jrun *r, const hs__jval *v, const hs__jval *key, hs__jval *ret, bool *ret_found)
{
    hs__jval *found;
    int code = hs__jdict_get(r, v->as.dict, key, &found);
    *ret_found = code == 0 && found;
    if (*ret_found)
        *ret = *found;
    return code;
}

int hs__jgetattr(hs__jrun *r, const hs__jval *v, const char *name, size_t len, hs__jval *ret)
{
    if (v->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, v);
    if (v->type == HS__J_LOOP)
        return hs__jloop_attr(r, v->as.loop, name, len, ret);
    const hs__jmethod_def *m = find_method(v, name, len);
    if (m)
        return bind(r, v, m, ret);
    if (v->type == HS__J_DICT || v->type == HS__J_NAMESPACE) {
        hs__jval key = hs__jstr(name, len);
        bool found;
        int code = find_key(r, v, &key, ret, &found);
        if (code < 0 || found)
            return code;
    }
    if (v->type == HS__J_MACRO && len == 4 && !memcmp(name, "name", 4)) {
        *ret = v->as.macro->def->val;
        return 0;
    }
    *ret = hs__jundefined(name, len, v->type);
    return 0;
}

/* Costs as many characters as lie between the one wanted and the nearer named end. */
static int character_at(hs__jrun *r, const hs__jval *v, int64_t i, hs__jval *ret)
{
    uint64_t distance = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    size_t at = v->len;
    if (distance <= v->len) {
        if (hs__jcharge(r, distance / 8) < 0)
            return r->code;
        at = i < 0 ? hs__jutf8_offset_back(v->as.s, v->len, distance) : hs__jutf8_offset(v->as.s, v->len, distance);
    }
    if (at >= v->len)
        *ret = hs__jundefined(NULL, 0, v->type);
    else
        *ret = hs__jstr(v->as.s + at, hs__jutf8_offset(v->as.s + at, v->len - at, 1));
    return 0;
}

static int item_at(hs__jrun *r, const hs__jval *v, int64_t i, hs__jval *ret)
{
    if (v->type == HS__J_STR)
        return character_at(r, v, i, ret);
    int64_t n = hs__jlength(r, v);
    if (i < 0)
        i += n;
    if (i < 0 || i >= n) {
        *ret = hs__jundefined(NULL, 0, v->type);
        return 0;
    }
    *ret = v->type == HS__J_RANGE ? hs__jint(v->as.range->start + i * v->as.range->step) : v->as.list->items[i];
    return 0;
}

int hs__jgetitem(hs__jrun *r, const hs__jval *v, const hs__jval *key, hs__jval *ret)
{
    bool indexed = v->type == HS__J_LIST || v->type == HS__J_TUPLE || v->type == HS__J_STR || v->type == HS__J_RANGE;
    if (v->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, v);
    if (v->type == HS__J_DICT && key->type != HS__J_LIST && key->type != HS__J_DICT && key->type != HS__J_TUPLE &&
        key->type <= HS__J_STR && key->type != HS__J_UNDEFINED) {
        bool found;
        int code = find_key(r, v, key, ret, &found);
        if (code < 0 || found)
            return code;
    }
    if (indexed && (key->type == HS__J_INT || key->type == HS__J_BOOL))
        return item_at(r, v, key->type == HS__J_INT ? key->as.i : key->as.b, ret);
    if (key->type == HS__J_STR)
        return hs__jgetattr(r, v, key->as.s, key->len, ret);
    *ret = hs__jundefined(NULL, 0, v->type);
    return 0;
}

/* One bound of a slice, clamped to where the walk may begin or end. */
static int bound(hs__jrun *r, const hs__jval *v, int64_t n, int64_t step, int64_t open, int64_t *ret)
{
    if (v->type == HS__J_MISSING || v->type == HS__J_NONE) {
        *ret = open;
        return 0;
    }
    if (v->type != HS__J_INT && v->type != HS__J_BOOL)
        return v->type == HS__J_UNDEFINED ? hs__jfail_undefined(r, v)
                                          : hs__jfail(r, -EINVAL, "slice bounds must be integers");
    int64_t i = v->type == HS__J_INT ? v->as.i : v->as.b;
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (i < 0)
        i += n;
    *ret = i < low ? low : i > high ? high : i;
    return 0;
}

static int slice_string(hs__jrun *r, const hs__jval *v, int64_t start, int64_t count, int64_t step, hs__jval *ret)
{
    if (step == 1) {
        size_t from = hs__jutf8_offset(v->as.s, v->len, (size_t)start);
        *ret = hs__jstr(v->as.s + from, hs__jutf8_offset(v->as.s + from, v->len - from, (size_t)count));
        return hs__jcharge(r, (uint64_t)(start + count) / 8);
    }
    hs__jlist *chars;
    int code = hs__jelements(r, v, &chars);
    size_t mark = hs__jbegin(r);
    for (int64_t i = 0; i < count && code == 0; i++)
        code = hs__jput_str(r, &chars->items[start + i * step]);
    return code < 0 ? code : hs__jend(r, mark, ret);
}

int hs__jslice(hs__jrun *r, const hs__jval *v, const hs__jval part[3], hs__jval *ret)
{
    int64_t step = 1, start = 0, stop = 0, n;
    if (v->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, v);
    if (v->type != HS__J_LIST && v->type != HS__J_TUPLE && v->type != HS__J_STR && v->type != HS__J_RANGE)
        return hs__jfail(r, -EINVAL, "a '%s' cannot be sliced", hs__jtype_name(v));
    if (part[2].type == HS__J_INT)
        step = part[2].as.i;
    else if (part[2].type != HS__J_MISSING && part[2].type != HS__J_NONE)
        return hs__jfail(r, -EINVAL, "slice steps must be integers");
    if (step == 0)
        return hs__jfail(r, -EINVAL, "a slice step of zero");
    n = hs__jlength(r, v);
    if (n < 0 || bound(r, &part[0], n, step, step < 0 ? n - 1 : 0, &start) < 0 ||
        bound(r, &part[1], n, step, step < 0 ? -1 : n, &stop) < 0)
        return r->code;
    if (step > n)
        step = n + 1;
    if (step < -n)
        step = -n - 1;
    int64_t count = step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
    if (count < 0)
        count = 0;
    if (v->type == HS__J_STR)
        return slice_string(r, v, start, count, step, ret);
    hs__jlist *l;
    bool shares = step == 1 && v->type != HS__J_RANGE;
    int code = hs__jlist_new(r, shares ? 0 : (size_t)count, &l);
    if (code == 0 && shares && count > 0) {
        *l = (hs__jlist){v->as.list->items + start, (uint32_t)count, (uint32_t)count, true};
        v->as.list->is_shared = true;
    }
    for (int64_t i = 0; i < count && code == 0 && !shares; i++) {
        hs__jval item;
        code = item_at(r, v, start + i * step, &item);
        if (code == 0)
            code = hs__jlist_push(r, l, &item);
    }
    *ret = (hs__jval){.type = v->type == HS__J_TUPLE ? HS__J_TUPLE : HS__J_LIST, .as.list = l};
    return code < 0 || shares ? code : hs__jcharge(r, (uint64_t)count / 4);
}

static bool as_index(const char *s, size_t n, int64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || *ret > 100000000)
            return false;
        *ret = *ret * 10 + (s[i] - '0');
    }
    return n > 0;
}

int hs__jgetpath(hs__jrun *r, const hs__jval *v, const hs__jval *path, hs__jval *ret)
{
    if (path->type != HS__J_STR)
        return hs__jgetitem(r, v, path, ret);
    hs__jval here = *v;
    const char *p = path->as.s, *end = p + path->len;
    for (;;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        size_t n = (size_t)((dot ? dot : end) - p);
        int64_t index;
        hs__jval key = as_index(p, n, &index) ? hs__jint(index) : hs__jstr(p, n);
        int code = hs__jgetitem(r, &here, &key, &here);
        if (code < 0)
            return code;
        if (!dot)
            break;
        p = dot + 1;
    }
    *ret = here;
    return 0;
}
