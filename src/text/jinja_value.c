/*
 * jinja_value.c - values of the template language: making them, from JSON too, and what holds for all types.
 * Everything that is made lives in the rendering's arenas, strings that come from JSON too: their origin goes with
 * them.
 */
#include "text/jinja_int.h"

#include <string.h>

#define MAX_STRING HS_TEMPLATE_MAX_OUTPUT

void *hs__jalloc(hs__jrun *r, size_t n)
{
    void *p = hs__jarena_alloc(&r->objects, n);
    if (!p)
        hs__jfail(r, r->objects.failed, "no memory for this rendering");
    return p;
}

const char *hs__jtype_name(const hs__jval *v)
{
    static const char *const names[] = {"missing",   "Undefined", "NoneType", "bool",     "int",        "float",
                                        "str",       "list",      "tuple",    "dict",     "Namespace",  "range",
                                        "generator", "Macro",     "method",   "function", "LoopContext"};
    return names[v->type];
}

bool hs__jis_number(const hs__jval *v)
{
    return v->type == HS__J_BOOL || v->type == HS__J_INT || v->type == HS__J_FLOAT;
}

double hs__jnumber(const hs__jval *v)
{
    return v->type == HS__J_FLOAT ? v->as.d : v->type == HS__J_INT ? (double)v->as.i : v->as.b;
}

int64_t hs__jrange_len(const hs__jrange *g)
{
    if (g->step > 0 ? g->start >= g->stop : g->start <= g->stop)
        return 0;
    __int128 span = g->step > 0 ? (__int128)g->stop - g->start : (__int128)g->start - g->stop;
    __int128 step = g->step > 0 ? (__int128)g->step : -(__int128)g->step;
    return (int64_t)((span - 1) / step + 1);
}

bool hs__jtruth(const hs__jval *v)
{
    switch (v->type) {
    case HS__J_MISSING:
    case HS__J_UNDEFINED:
    case HS__J_NONE:
        return false;
    case HS__J_BOOL:
        return v->as.b;
    case HS__J_INT:
        return v->as.i != 0;
    case HS__J_FLOAT:
        return v->as.d != 0;
    case HS__J_STR:
        return v->len != 0;
    case HS__J_LIST:
    case HS__J_TUPLE:
        return v->as.list->n != 0;
    case HS__J_DICT:
        return v->as.dict->n != 0;
    case HS__J_RANGE:
        return hs__jrange_len(v->as.range) != 0;
    case HS__J_ITER:
        return !v->as.iter->is_view || v->as.iter->list->n != 0;
    default:
        return true;
    }
}

int hs__jstr_copy(hs__jrun *r, const char *s, size_t n, hs__jval *ret)
{
    if (n > MAX_STRING)
        return hs__jfail(r, -E2BIG, "a string of %zu bytes", n);
    char *p = hs__jarena_join(&r->strings, NULL, 0, s, n);
    if (!p)
        return hs__jfail(r, r->strings.failed, "no memory for this rendering");
    *ret = hs__jstr(p, n);
    return hs__jcharge(r, n / 64);
}

void hs__jstr_set_origin(hs__jrun *r, const hs__jval *s, uint8_t origin)
{
    if (s->len)
        memset(hs__jarena_origin(&r->strings, s->as.s), origin, s->len);
}

int hs__jlist_new(hs__jrun *r, size_t cap, hs__jlist **ret)
{
    if (cap > UINT32_MAX / sizeof(hs__jval))
        return hs__jfail(r, -E2BIG, "a list of %zu elements", cap);
    hs__jlist *l = hs__jalloc(r, sizeof *l);
    hs__jval *items = l && cap ? hs__jalloc(r, cap * sizeof *items) : NULL;
    if (!l || (cap && !items))
        return r->code;
    *l = (hs__jlist){.items = items, .cap = (uint32_t)cap};
    *ret = l;
    return 0;
}

int hs__jlist_push(hs__jrun *r, hs__jlist *l, const hs__jval *v)
{
    if (l->n == l->cap) {
        hs__jval keep = *v;
        uint32_t cap = l->cap ? 2 * l->cap : 4;
        hs__jval *items = hs__jalloc(r, cap * sizeof *items);
        if (!items)
            return r->code;
        if (l->n)
            memcpy(items, l->items, l->n * sizeof *items);
        l->items = items;
        l->cap = cap;
        l->is_shared = false;
        l->items[l->n++] = keep;
        return hs__jcharge(r, cap / 8);
    }
    l->items[l->n++] = *v;
    return 0;
}

int hs__jiter_new(hs__jrun *r, hs__jlist *l, bool is_view, hs__jval *ret)
{
    hs__jiter *it = hs__jalloc(r, sizeof *it);
    if (!it)
        return r->code;
    *it = (hs__jiter){.list = l, .is_view = is_view};
    *ret = (hs__jval){.type = HS__J_ITER, .as.iter = it};
    return 0;
}

static int from_json(hs__jrun *r, const json_t *j, uint8_t origin, unsigned depth, hs__jval *ret);

static int from_string(hs__jrun *r, const char *s, size_t n, uint8_t origin, hs__jval *ret)
{
    int code = hs__jstr_copy(r, s, n, ret);
    if (code == 0)
        hs__jstr_set_origin(r, ret, origin);
    return code;
}

static int from_array(hs__jrun *r, const json_t *j, uint8_t origin, unsigned depth, hs__jval *ret)
{
    hs__jlist *l;
    size_t n = json_array_size(j);
    int code = hs__jlist_new(r, n, &l);
    for (size_t i = 0; i < n && code == 0; i++) {
        code = from_json(r, json_array_get(j, i), origin, depth, &l->items[i]);
        l->n++;
    }
    *ret = (hs__jval){.type = HS__J_LIST, .as.list = l};
    return code;
}

static int from_object(hs__jrun *r, const json_t *j, uint8_t origin, unsigned depth, hs__jval *ret)
{
    hs__jdict *d;
    const char *key;
    json_t *value;
    hs__jval k, v;
    int code = hs__jdict_new(r, &d);
    json_object_foreach((json_t *)j, key, value)
    {
        if (code == 0)
            code = from_json(r, value, origin, depth, &v);
        if (code == 0)
            code = from_string(r, key, strlen(key), origin, &k);
        if (code == 0)
            code = hs__jdict_set(r, d, &k, &v);
    }
    *ret = (hs__jval){.type = HS__J_DICT, .as.dict = d};
    return code;
}

static int from_json(hs__jrun *r, const json_t *j, uint8_t origin, unsigned depth, hs__jval *ret)
{
    if (depth > HS__J_MAX_NESTED)
        return hs__jfail(r, -E2BIG, "JSON that is nested more than %d deep", HS__J_MAX_NESTED);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return from_object(r, j, origin, depth + 1, ret);
    case JSON_ARRAY:
        return from_array(r, j, origin, depth + 1, ret);
    case JSON_STRING:
        return from_string(r, json_string_value(j), json_string_length(j), origin, ret);
    case JSON_INTEGER:
        *ret = hs__jint(json_integer_value(j));
        return 0;
    case JSON_REAL:
        *ret = hs__jfloat(json_real_value(j));
        return 0;
    case JSON_NULL:
        *ret = hs__jnone();
        return 0;
    default:
        *ret = hs__jbool(json_is_true(j));
        return 0;
    }
}

int hs__jfrom_json(hs__jrun *r, const json_t *j, uint8_t origin, hs__jval *ret)
{
    return from_json(r, j, origin, 0, ret);
}

bool hs__jis_iterable(const hs__jval *v)
{
    switch (v->type) {
    case HS__J_UNDEFINED:
    case HS__J_STR:
    case HS__J_LIST:
    case HS__J_TUPLE:
    case HS__J_DICT:
    case HS__J_RANGE:
    case HS__J_ITER:
        return true;
    default:
        return false;
    }
}

int64_t hs__jlength(hs__jrun *r, const hs__jval *v)
{
    switch (v->type) {
    case HS__J_UNDEFINED:
        return 0;
    case HS__J_STR:
        return hs__jcharge(r, v->len / 64) < 0 ? -1 : (int64_t)hs__jutf8_count(v->as.s, v->len);
    case HS__J_LIST:
    case HS__J_TUPLE:
        return v->as.list->n;
    case HS__J_DICT:
        return v->as.dict->n;
    case HS__J_RANGE:
        return hs__jrange_len(v->as.range);
    case HS__J_ITER:
        return v->as.iter->is_view ? (int64_t)v->as.iter->list->n : -1;
    case HS__J_LOOP:
        return hs__jloop_len(v->as.loop);
    default:
        return -1;
    }
}

static int characters(hs__jrun *r, const hs__jval *v, hs__jlist **ret)
{
    const char *p = v->as.s, *end = p + v->len;
    int code = hs__jlist_new(r, hs__jutf8_count(p, v->len), ret);
    while (code == 0 && p < end) {
        const char *start = p;
        hs__jutf8_next(&p, end);
        hs__jval c = hs__jstr(start, (size_t)(p - start));
        code = hs__jlist_push(r, *ret, &c);
    }
    return code;
}

static int copied(hs__jrun *r, const hs__jval *items, size_t n, hs__jlist **ret)
{
    int code = hs__jlist_new(r, n, ret);
    if (code == 0 && n) {
        memcpy((*ret)->items, items, n * sizeof *items);
        (*ret)->n = (uint32_t)n;
    }
    return code;
}

int hs__jelements(hs__jrun *r, const hs__jval *v, hs__jlist **ret)
{
    int code = 0;
    int64_t n = v->type == HS__J_ITER ? v->as.iter->list->n : hs__jlength(r, v);
    if (n > 0 && hs__jcharge(r, (uint64_t)n / 4) < 0)
        return r->code;
    switch (v->type) {
    case HS__J_UNDEFINED:
        return hs__jlist_new(r, 0, ret);
    case HS__J_STR:
        return characters(r, v, ret);
    case HS__J_LIST:
    case HS__J_TUPLE:
        return copied(r, v->as.list->items, v->as.list->n, ret);
    case HS__J_ITER:
        code = copied(r, v->as.iter->list->items, v->as.iter->list->n, ret);
        if (!v->as.iter->is_view)
            v->as.iter->list->n = 0;
        return code;
    case HS__J_DICT:
        code = hs__jlist_new(r, v->as.dict->n, ret);
        for (uint32_t i = 0; i < v->as.dict->n && code == 0; i++)
            code = hs__jlist_push(r, *ret, &v->as.dict->entries[i].key);
        return code;
    case HS__J_RANGE:
        code = hs__jlist_new(r, (size_t)n, ret);
        for (int64_t i = 0; i < n && code == 0; i++) {
            hs__jval x = hs__jint(v->as.range->start + i * v->as.range->step);
            code = hs__jlist_push(r, *ret, &x);
        }
        return code;
    default:
        return hs__jfail(r, -EINVAL, "'%s' object is not iterable", hs__jtype_name(v));
    }
}
