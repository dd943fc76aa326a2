/* jinja_args.c - arguments of functions, methods, filters and tests: by position or by name. Stateless. */
#include "text/jinja_int.h"

#include <string.h>

bool hs__jarg(const hs__jargs *args, uint32_t i, const char *name, hs__jval *ret)
{
    *ret = (hs__jval){.type = HS__J_MISSING};
    if (i < args->n) {
        *ret = args->pos[i];
        return true;
    }
    for (uint32_t k = 0; name && k < args->n_kw; k++) {
        if (args->kw[k].len == strlen(name) && !memcmp(args->kw[k].name, name, args->kw[k].len)) {
            *ret = args->kw[k].val;
            return true;
        }
    }
    return false;
}

int hs__jarg_int(hs__jrun *r, const hs__jargs *args, uint32_t i, const char *name, int64_t def, int64_t *ret)
{
    hs__jval v;
    if (!hs__jarg(args, i, name, &v)) {
        *ret = def;
        return 0;
    }
    if (v.type != HS__J_INT && v.type != HS__J_BOOL)
        return hs__jfail(r, -EINVAL, "expected an integer as argument %u, not a '%s'", i + 1, hs__jtype_name(&v));
    *ret = v.type == HS__J_INT ? v.as.i : v.as.b;
    return 0;
}

bool hs__jarg_bool(const hs__jargs *args, uint32_t i, const char *name, bool def)
{
    hs__jval v;
    return hs__jarg(args, i, name, &v) ? hs__jtruth(&v) : def;
}

int hs__jarg_str(hs__jrun *r, const hs__jargs *args, uint32_t i, const char *name, bool optional, hs__jval *ret)
{
    hs__jarg(args, i, name, ret);
    if (optional && (ret->type == HS__J_MISSING || ret->type == HS__J_NONE)) {
        ret->type = HS__J_MISSING;
        return 0;
    }
    if (ret->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, ret);
    if (ret->type != HS__J_STR)
        return hs__jfail(r, -EINVAL, "expected a string as argument %u, not a '%s'", i + 1, hs__jtype_name(ret));
    return 0;
}

int hs__jargs_at_most(hs__jrun *r, const hs__jargs *args, uint32_t n, const char *what)
{
    if (args->n + args->n_kw > n)
        return hs__jfail(r, -EINVAL, "%s takes at most %u arguments, %u were given", what, n, args->n + args->n_kw);
    return 0;
}
