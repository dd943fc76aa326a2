/*
 * jinja_compare.c - equality, order and membership, by Python's rules.
 * Every comparison is charged; nested containers are followed HS__J_MAX_NESTED levels deep.
 */
#include "text/jinja_int.h"

#include <string.h>

static int equal(hs__jrun *r, const hs__jval *a, const hs__jval *b, unsigned depth, bool *ret);

static int equal_lists(hs__jrun *r, const hs__jlist *a, const hs__jlist *b, unsigned depth, bool *ret)
{
    *ret = a->n == b->n;
    for (uint32_t i = 0; i < a->n && i < b->n && *ret; i++) {
        int code = equal(r, &a->items[i], &b->items[i], depth, ret);
        if (code < 0)
            return code;
    }
    return 0;
}

static int equal_dicts(hs__jrun *r, const hs__jdict *a, const hs__jdict *b, unsigned depth, bool *ret)
{
    *ret = a->n == b->n;
    for (uint32_t i = 0; i < a->n && *ret; i++) {
        hs__jval *other;
        int code = hs__jdict_get(r, b, &a->entries[i].key, &other);
        if (code == 0 && !other)
            *ret = false;
        else if (code == 0)
            code = equal(r, &a->entries[i].val, other, depth, ret);
        if (code < 0)
            return code;
    }
    return 0;
}

static int equal(hs__jrun *r, const hs__jval *a, const hs__jval *b, unsigned depth, bool *ret)
{
    if (depth > HS__J_MAX_NESTED)
        return hs__jfail(r, -E2BIG, "values that are nested more than %d deep", HS__J_MAX_NESTED);
    if (hs__jcharge(r, 1) < 0)
        return r->code;
    if (hs__jis_number(a) && hs__jis_number(b)) {
        if (a->type != HS__J_FLOAT && b->type != HS__J_FLOAT)
            *ret = (a->type == HS__J_INT ? a->as.i : a->as.b) == (b->type == HS__J_INT ? b->as.i : b->as.b);
        else
            *ret = hs__jnumber(a) == hs__jnumber(b);
        return 0;
    }
    *ret = false;
    if (a->type != b->type)
        return 0;
    switch (a->type) {
    case HS__J_UNDEFINED:
    case HS__J_NONE:
        *ret = true;
        return 0;
    case HS__J_STR:
        *ret = a->len == b->len && !memcmp(a->as.s, b->as.s, a->len);
        return hs__jcharge(r, a->len == b->len ? a->len / 64 : 0);
    case HS__J_LIST:
    case HS__J_TUPLE:
        return equal_lists(r, a->as.list, b->as.list, depth + 1, ret);
    case HS__J_DICT:
        return equal_dicts(r, a->as.dict, b->as.dict, depth + 1, ret);
    case HS__J_RANGE:
        *ret = !memcmp(a->as.range, b->as.range, sizeof *a->as.range);
        return 0;
    default:
        *ret = a->as.list == b->as.list;
        return 0;
    }
}

int hs__jequal(hs__jrun *r, const hs__jval *a, const hs__jval *b, bool *ret)
{
    return equal(r, a, b, 0, ret);
}

static int compare(hs__jrun *r, const hs__jval *a, const hs__jval *b, unsigned depth, int *ret)
{
    if (depth > HS__J_MAX_NESTED)
        return hs__jfail(r, -E2BIG, "values that are nested more than %d deep", HS__J_MAX_NESTED);
    if (hs__jcharge(r, 1) < 0)
        return r->code;
    if (hs__jis_number(a) && hs__jis_number(b)) {
        if (a->type == HS__J_INT && b->type == HS__J_INT)
            *ret = (a->as.i > b->as.i) - (a->as.i < b->as.i);
        else
            *ret = (hs__jnumber(a) > hs__jnumber(b)) - (hs__jnumber(a) < hs__jnumber(b));
        return 0;
    }
    if (a->type == HS__J_STR && b->type == HS__J_STR) {
        int c = memcmp(a->as.s, b->as.s, a->len < b->len ? a->len : b->len);
        *ret = c ? c : (a->len > b->len) - (a->len < b->len);
        return hs__jcharge(r, (a->len < b->len ? a->len : b->len) / 64);
    }
    if (a->type == b->type && (a->type == HS__J_LIST || a->type == HS__J_TUPLE)) {
        const hs__jlist *x = a->as.list, *y = b->as.list;
        for (uint32_t i = 0; i < x->n && i < y->n; i++) {
            bool same;
            int code = equal(r, &x->items[i], &y->items[i], depth, &same);
            if (code < 0)
                return code;
            if (!same)
                return compare(r, &x->items[i], &y->items[i], depth + 1, ret);
        }
        *ret = (x->n > y->n) - (x->n < y->n);
        return 0;
    }
    if (a->type == HS__J_UNDEFINED || b->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, a->type == HS__J_UNDEFINED ? a : b);
    return hs__jfail(r, -EINVAL, "'%s' and '%s' have no order", hs__jtype_name(a), hs__jtype_name(b));
}

int hs__jcompare(hs__jrun *r, const hs__jval *a, const hs__jval *b, int *ret)
{
    return compare(r, a, b, 0, ret);
}

int hs__jcontains(hs__jrun *r, const hs__jval *in, const hs__jval *v, bool *ret)
{
    hs__jval *found;
    hs__jlist *l;
    int code;
    *ret = false;
    switch (in->type) {
    case HS__J_STR:
        if (v->type != HS__J_STR)
            return hs__jfail(r, -EINVAL, "'in' on a string needs a string, not '%s'", hs__jtype_name(v));
        *ret = hs__jfind(in->as.s, in->len, v->as.s, v->len) != NULL;
        return hs__jcharge_search(r, in, v, false);
    case HS__J_DICT:
        code = hs__jdict_get(r, in->as.dict, v, &found);
        *ret = code == 0 && found;
        return code;
    case HS__J_LIST:
    case HS__J_TUPLE:
        l = in->as.list;
        code = 0;
        break;
    default:
        if (!hs__jis_iterable(in))
            return hs__jfail(r, -EINVAL, "'in' on a value of type '%s'", hs__jtype_name(in));
        code = hs__jelements(r, in, &l);
        break;
    }
    for (uint32_t i = 0; code == 0 && i < l->n && !*ret; i++)
        code = hs__jequal(r, &l->items[i], v, ret);
    return code;
}
