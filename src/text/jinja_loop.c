/* jinja_loop.c - the `loop` variable: position, neighbours, cycle and changed. One per running loop. */
#include "text/jinja_int.h"

#include <string.h>

uint32_t hs__jloop_len(const hs__jloop *l)
{
    return l->range ? (uint32_t)hs__jrange_len(l->range) : l->items->n;
}

hs__jval hs__jloop_item(const hs__jloop *l, uint32_t i)
{
    return l->range ? hs__jint(l->range->start + i * l->range->step) : l->items->items[i];
}

static int cycle(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    if (args->n == 0)
        return hs__jfail(r, -EINVAL, "loop.cycle() without arguments");
    *ret = args->pos[self->as.loop->index0 % args->n];
    return 0;
}

static int changed(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jlist *l;
    bool same = false;
    int code = hs__jlist_new(r, args->n, &l);
    for (uint32_t i = 0; i < args->n && code == 0; i++)
        code = hs__jlist_push(r, l, &args->pos[i]);
    hs__jval now = {.type = HS__J_TUPLE, .as.list = l};
    if (code == 0)
        code = hs__jequal(r, &self->as.loop->changed, &now, &same);
    if (code < 0)
        return code;
    self->as.loop->changed = now;
    *ret = hs__jbool(!same);
    return 0;
}

static const hs__jmethod_def methods[] = {{"cycle", cycle}, {"changed", changed}};

static int neighbour(const hs__jloop *l, int64_t at, const char *name, size_t len, hs__jval *ret)
{
    *ret = at < 0 || at >= hs__jloop_len(l) ? hs__jundefined(name, len, HS__J_LOOP) : hs__jloop_item(l, (uint32_t)at);
    return 0;
}

int hs__jloop_attr(hs__jrun *r, hs__jloop *l, const char *name, size_t len, hs__jval *ret)
{
    int64_t n = hs__jloop_len(l), i = l->index0;
    const struct {
        const char *name;
        hs__jval val;
    } attrs[] = {
        {"index", hs__jint(i + 1)},    {"index0", hs__jint(i)},
        {"revindex", hs__jint(n - i)}, {"revindex0", hs__jint(n - i - 1)},
        {"first", hs__jbool(i == 0)},  {"last", hs__jbool(i + 1 >= n)},
        {"length", hs__jint(n)},       {"depth", hs__jint(1)},
        {"depth0", hs__jint(0)}, /* only recursive loops are deeper */
    };
    for (size_t k = 0; k < sizeof attrs / sizeof *attrs; k++) {
        if (strlen(attrs[k].name) == len && !memcmp(attrs[k].name, name, len)) {
            *ret = attrs[k].val;
            return 0;
        }
    }
    if (len == 8 && !memcmp(name, "previtem", 8))
        return neighbour(l, i - 1, name, len, ret);
    if (len == 8 && !memcmp(name, "nextitem", 8))
        return neighbour(l, i + 1, name, len, ret);
    for (size_t k = 0; k < sizeof methods / sizeof *methods; k++) {
        if (strlen(methods[k].name) == len && !memcmp(methods[k].name, name, len)) {
            hs__jmethod *m = hs__jalloc(r, sizeof *m);
            if (!m)
                return r->code;
            *m = (hs__jmethod){.self = {.type = HS__J_LOOP, .as.loop = l}, .def = &methods[k]};
            *ret = (hs__jval){.type = HS__J_METHOD, .as.method = m};
            return 0;
        }
    }
    *ret = hs__jundefined(name, len, HS__J_LOOP);
    return 0;
}
