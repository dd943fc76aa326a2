/*
 * jinja_methods_seq.c - methods of lists, tuples and dicts, the changing ones too: values belong to one rendering, so a
 * change never reaches the request. Stateless.
 */
#include "text/jinja_int.h"

#include <string.h>

static int needs(hs__jrun *r, const hs__jargs *args, uint32_t n, const char *what)
{
    return args->n >= n ? 0 : hs__jfail(r, -EINVAL, "%s needs %u arguments", what, n);
}

/* Before items change places: a list that shares them gets its own. */
static int own(hs__jrun *r, hs__jlist *l)
{
    if (!l->is_shared)
        return 0;
    hs__jval *items = hs__jalloc(r, (l->n + 1) * sizeof *items);
    if (!items)
        return r->code;
    memcpy(items, l->items, l->n * sizeof *items);
    l->items = items;
    l->cap = l->n + 1;
    l->is_shared = false;
    return hs__jcharge(r, l->n / 8);
}

static int m_append(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    *ret = hs__jnone();
    return needs(r, args, 1, "append") < 0 ? r->code : hs__jlist_push(r, self->as.list, &args->pos[0]);
}

static int m_extend(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *more;
    *ret = hs__jnone();
    int code = needs(r, args, 1, "extend");
    if (code == 0)
        code = hs__jelements(r, &args->pos[0], &more);
    for (uint32_t i = 0; code == 0 && i < more->n; i++)
        code = hs__jlist_push(r, self->as.list, &more->items[i]);
    return code;
}

/* Takes out element i, which exists. */
static int take_out(hs__jrun *r, hs__jlist *l, uint32_t i, hs__jval *ret)
{
    *ret = l->items[i];
    if (own(r, l) < 0)
        return r->code;
    memmove(l->items + i, l->items + i + 1, (l->n - i - 1) * sizeof *l->items);
    l->n--;
    return hs__jcharge(r, (l->n - i) / 16);
}

static int m_pop(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l = self->as.list;
    int64_t i;
    if (hs__jarg_int(r, args, 0, NULL, -1, &i) < 0)
        return r->code;
    if (i < 0)
        i += l->n;
    if (i < 0 || i >= l->n)
        return hs__jfail(r, -EINVAL, "pop of an element that does not exist");
    return take_out(r, l, (uint32_t)i, ret);
}

static int m_insert(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l = self->as.list;
    int64_t i;
    *ret = hs__jnone();
    if (needs(r, args, 2, "insert") < 0 || hs__jarg_int(r, args, 0, NULL, 0, &i) < 0 || own(r, l) < 0 ||
        hs__jlist_push(r, l, &args->pos[1]) < 0)
        return r->code;
    int64_t n = l->n - 1;
    if (i < 0)
        i += n;
    i = i < 0 ? 0 : i > n ? n : i;
    memmove(l->items + i + 1, l->items + i, (size_t)(n - i) * sizeof *l->items);
    l->items[i] = args->pos[1];
    return hs__jcharge(r, (uint64_t)(n - i) / 16);
}

static int find_element(hs__jrun *r, const hs__jlist *l, const hs__jargs *args, uint32_t *ret)
{
    bool same = false;
    int code = needs(r, args, 1, "this method");
    for (*ret = 0; code == 0 && *ret < l->n; (*ret)++) {
        code = hs__jequal(r, &l->items[*ret], &args->pos[0], &same);
        if (same)
            return code;
    }
    return code < 0 ? code : hs__jfail(r, -EINVAL, "the value is not in the list");
}

static int m_index(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    uint32_t i = 0;
    int code = find_element(r, self->as.list, args, &i);
    *ret = hs__jint(i);
    return code;
}

static int m_remove(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    uint32_t i;
    int code = find_element(r, self->as.list, args, &i);
    if (code == 0)
        code = take_out(r, self->as.list, i, ret);
    *ret = hs__jnone();
    return code;
}

static int m_count(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    int64_t n = 0;
    bool same;
    int code = needs(r, args, 1, "count");
    for (uint32_t i = 0; code == 0 && i < self->as.list->n; i++) {
        code = hs__jequal(r, &self->as.list->items[i], &args->pos[0], &same);
        n += code == 0 && same;
    }
    *ret = hs__jint(n);
    return code;
}

static int m_clear(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)r;
    (void)args;
    *self->as.list = (hs__jlist){0};
    *ret = hs__jnone();
    return 0;
}

static int m_reverse(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l = self->as.list;
    (void)args;
    if (own(r, l) < 0)
        return r->code;
    for (uint32_t i = 0; i < l->n / 2; i++) {
        hs__jval keep = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = keep;
    }
    *ret = hs__jnone();
    return hs__jcharge(r, l->n / 8);
}

static int m_copy(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    (void)args;
    int code = hs__jelements(r, self, &l);
    *ret = (hs__jval){.type = HS__J_LIST, .as.list = l};
    return code;
}

typedef enum part { KEYS, VALUES, ITEMS } part;

static int view(hs__jrun *r, const hs__jdict *d, part which, hs__jval *ret)
{
    hs__jlist *l;
    int code = hs__jlist_new(r, d->n, &l);
    for (uint32_t i = 0; i < d->n && code == 0; i++) {
        hs__jval v = which == KEYS ? d->entries[i].key : d->entries[i].val;
        if (which == ITEMS) {
            hs__jlist *pair;
            code = hs__jlist_new(r, 2, &pair);
            if (code < 0)
                return code;
            pair->items[0] = d->entries[i].key;
            pair->items[1] = d->entries[i].val;
            pair->n = 2;
            v = (hs__jval){.type = HS__J_TUPLE, .as.list = pair};
        }
        code = hs__jlist_push(r, l, &v);
    }
    if (code == 0)
        code = hs__jcharge(r, d->n / 4);
    return code < 0 ? code : hs__jiter_new(r, l, true, ret);
}

static int m_keys(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return hs__jargs_at_most(r, args, 0, "keys") < 0 ? r->code : view(r, self->as.dict, KEYS, ret);
}

static int m_values(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return hs__jargs_at_most(r, args, 0, "values") < 0 ? r->code : view(r, self->as.dict, VALUES, ret);
}

static int m_items(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return hs__jargs_at_most(r, args, 0, "items") < 0 ? r->code : view(r, self->as.dict, ITEMS, ret);
}

/* The value of the first argument's key, or NULL. */
static int look_up(hs__jrun *r, const hs__jval *self, const hs__jargs *args, hs__jval **ret)
{
    return needs(r, args, 1, "this method") < 0 ? r->code : hs__jdict_get(r, self->as.dict, &args->pos[0], ret);
}

static int m_get(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval *v = NULL;
    int code = look_up(r, self, args, &v);
    *ret = v ? *v : args->n > 1 ? args->pos[1] : hs__jnone();
    return code;
}

static int m_setdefault(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval *v = NULL;
    int code = look_up(r, self, args, &v);
    *ret = v ? *v : args->n > 1 ? args->pos[1] : hs__jnone();
    return code < 0 || v ? code : hs__jdict_set(r, self->as.dict, &args->pos[0], ret);
}

static int m_dict_pop(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval *v = NULL;
    int code = look_up(r, self, args, &v);
    if (code == 0 && !v && args->n < 2)
        return hs__jfail(r, -EINVAL, "pop of a key that does not exist");
    if (code < 0)
        return code;
    *ret = v ? *v : args->pos[1];
    return v ? hs__jdict_remove(r, self->as.dict, &args->pos[0]) : 0;
}

static int set_all(hs__jrun *r, hs__jdict *d, const hs__jval *from)
{
    int code = 0;
    if (from->type != HS__J_DICT)
        return hs__jfail(r, -EINVAL, "update takes a mapping");
    for (uint32_t i = 0; code == 0 && i < from->as.dict->n; i++)
        code = hs__jdict_set(r, d, &from->as.dict->entries[i].key, &from->as.dict->entries[i].val);
    return code;
}

static int m_update(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    int code = args->n ? set_all(r, self->as.dict, &args->pos[0]) : 0;
    for (uint32_t i = 0; code == 0 && i < args->n_kw; i++) {
        hs__jval key = hs__jstr(args->kw[i].name, args->kw[i].len);
        code = hs__jdict_set(r, self->as.dict, &key, &args->kw[i].val);
    }
    *ret = hs__jnone();
    return code;
}

static int m_dict_copy(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jdict *d;
    (void)args;
    int code = hs__jdict_new(r, &d);
    if (code == 0)
        code = set_all(r, d, self);
    *ret = (hs__jval){.type = HS__J_DICT, .as.dict = d};
    return code;
}

const hs__jmethod_def hs__jlist_methods[] = {
    {"append", m_append},   {"extend", m_extend}, {"pop", m_pop},     {"insert", m_insert},
    {"index", m_index},     {"remove", m_remove}, {"count", m_count}, {"clear", m_clear},
    {"reverse", m_reverse}, {"copy", m_copy},     {"sort", NULL},     {NULL, NULL},
};

const hs__jmethod_def hs__jtuple_methods[] = {{"index", m_index}, {"count", m_count}, {NULL, NULL}};

const hs__jmethod_def hs__jdict_methods[] = {
    {"items", m_items},  {"keys", m_keys},     {"values", m_values},  {"get", m_get},  {"setdefault", m_setdefault},
    {"pop", m_dict_pop}, {"update", m_update}, {"copy", m_dict_copy}, {"clear", NULL}, {"fromkeys", NULL},
    {"popitem", NULL},   {NULL, NULL},
};
