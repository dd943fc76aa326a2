/*
 * jinja_ops.c - the binary operators, by Python's rules.
 * Integers are 64 bits wide: a result that does not fit is an error (Python's would grow). Sizes are checked before
 * anything is built, so 'x' * 10**9 costs nothing.
 */
#include "text/jinja_int.h"

#include <math.h>
#include <string.h>

static int type_error(hs__jrun *r, const char *op, const hs__jval *a, const hs__jval *b)
{
    if (a->type == HS__J_UNDEFINED || b->type == HS__J_UNDEFINED)
        return hs__jfail_undefined(r, a->type == HS__J_UNDEFINED ? a : b);
    return hs__jfail(r, -EINVAL, "'%s' does not work on '%s' and '%s'", op, hs__jtype_name(a), hs__jtype_name(b));
}

static int overflow(hs__jrun *r)
{
    return hs__jfail(r, -ERANGE, "an integer of more than 64 bits");
}

static int put_plain_or_escaped(hs__jrun *r, const hs__jval *v)
{
    return v->flag ? hs__jput(r, v->as.s, v->len) : hs__jput_escaped(r, v);
}

int hs__jcat(hs__jrun *r, const hs__jval *a, const hs__jval *b, hs__jval *ret)
{
    size_t n = (size_t)a->len + b->len;
    if (n > HS_TEMPLATE_MAX_OUTPUT)
        return hs__jfail(r, -E2BIG, "a string of %zu bytes", n);
    if (a->len == 0 || b->len == 0) {
        *ret = a->len ? *a : *b;
        ret->flag = 0;
        return 0;
    }
    char *s = hs__jarena_join(&r->strings, a->as.s, a->len, b->as.s, b->len);
    if (!s)
        return hs__jfail(r, r->strings.failed, "no memory for this rendering");
    *ret = hs__jstr(s, n);
    return hs__jcharge(r, b->len / 64 + (s == a->as.s ? 0 : a->len / 64));
}

/* A string that is marked safe escapes the other one. */
static int add_strings(hs__jrun *r, const hs__jval *a, const hs__jval *b, hs__jval *ret)
{
    if (a->flag == b->flag) {
        int code = hs__jcat(r, a, b, ret);
        ret->flag = a->flag;
        return code;
    }
    size_t mark = hs__jbegin(r);
    int code = put_plain_or_escaped(r, a);
    if (code == 0)
        code = put_plain_or_escaped(r, b);
    if (code == 0)
        code = hs__jend(r, mark, ret);
    if (code == 0)
        ret->flag = 1;
    return code;
}

static int add_lists(hs__jrun *r, const hs__jval *a, const hs__jval *b, hs__jval *ret)
{
    hs__jlist *l;
    const hs__jlist *x = a->as.list, *y = b->as.list;
    int code = hs__jlist_new(r, (size_t)x->n + y->n, &l);
    if (code < 0)
        return code;
    if (x->n)
        memcpy(l->items, x->items, x->n * sizeof *l->items);
    if (y->n)
        memcpy(l->items + x->n, y->items, y->n * sizeof *l->items);
    l->n = x->n + y->n;
    *ret = (hs__jval){.type = a->type, .as.list = l};
    return hs__jcharge(r, l->n / 8);
}

static int repeat(hs__jrun *r, const hs__jval *v, int64_t times, hs__jval *ret)
{
    if (times < 0)
        times = 0;
    uint64_t unit = v->type == HS__J_STR ? v->len : v->as.list->n;
    uint64_t max = v->type == HS__J_STR ? HS_TEMPLATE_MAX_OUTPUT : HS_TEMPLATE_MAX_MEMORY / sizeof(hs__jval);
    if (unit && (uint64_t)times > max / unit)
        return hs__jfail(r, -E2BIG, "a repetition of more than %llu elements", (unsigned long long)max);
    int code = unit ? hs__jcharge(r, unit * (uint64_t)times / 64) : 0;
    if (unit == 0)
        times = 0;
    if (v->type == HS__J_STR) {
        size_t mark = hs__jbegin(r);
        for (int64_t i = 0; i < times && code == 0; i++)
            code = hs__jput(r, v->as.s, v->len);
        return code < 0 ? code : hs__jend(r, mark, ret);
    }
    hs__jlist *l = NULL;
    if (code == 0)
        code = hs__jlist_new(r, unit * (uint64_t)times, &l);
    for (int64_t i = 0; i < times && code == 0; i++) {
        memcpy(l->items + l->n, v->as.list->items, unit * sizeof *l->items);
        l->n += (uint32_t)unit;
    }
    *ret = (hs__jval){.type = v->type, .as.list = l};
    return code;
}

static bool is_integral(const hs__jval *v)
{
    return v->type == HS__J_INT || v->type == HS__J_BOOL;
}

static int64_t integer(const hs__jval *v)
{
    return v->type == HS__J_INT ? v->as.i : v->as.b;
}

static int int_power(hs__jrun *r, int64_t base, int64_t exponent, hs__jval *ret)
{
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0)
            return hs__jfail(r, -EINVAL, "0 to a negative power");
        *ret = hs__jfloat(pow((double)base, (double)exponent));
        return 0;
    }
    if (base == 0 || base == 1)
        exponent = exponent > 0;
    else if (base == -1)
        exponent &= 1;
    for (; exponent > 0; exponent--) {
        if (__builtin_mul_overflow(result, base, &result))
            return overflow(r);
    }
    *ret = hs__jint(result);
    return 0;
}

static int int_arithmetic(hs__jrun *r, hs__jop op, int64_t a, int64_t b, hs__jval *ret)
{
    int64_t x = 0;
    switch (op) {
    case HS__OP_ADD:
        if (__builtin_add_overflow(a, b, &x))
            return overflow(r);
        break;
    case HS__OP_SUB:
        if (__builtin_sub_overflow(a, b, &x))
            return overflow(r);
        break;
    case HS__OP_MUL:
        if (__builtin_mul_overflow(a, b, &x))
            return overflow(r);
        break;
    case HS__OP_POW:
        return int_power(r, a, b, ret);
    default:
        if (b == 0)
            return hs__jfail(r, -EINVAL, "division by zero");
        if (op == HS__OP_DIV) {
            *ret = hs__jfloat((double)a / (double)b);
            return 0;
        }
        if (b == -1) {
            if (op == HS__OP_FLOORDIV && __builtin_sub_overflow((int64_t)0, a, &x))
                return overflow(r);
            break;
        }
        x = op == HS__OP_FLOORDIV ? a / b : a % b;
        if (a % b != 0 && (a < 0) != (b < 0))
            x = op == HS__OP_FLOORDIV ? x - 1 : x + b;
        break;
    }
    *ret = hs__jint(x);
    return 0;
}

static int float_arithmetic(hs__jrun *r, hs__jop op, double a, double b, hs__jval *ret)
{
    double x = 0;
    if (b == 0 && (op == HS__OP_DIV || op == HS__OP_FLOORDIV || op == HS__OP_MOD))
        return hs__jfail(r, -EINVAL, "division by zero");
    switch (op) {
    case HS__OP_ADD:
        x = a + b;
        break;
    case HS__OP_SUB:
        x = a - b;
        break;
    case HS__OP_MUL:
        x = a * b;
        break;
    case HS__OP_DIV:
        x = a / b;
        break;
    case HS__OP_POW:
        x = pow(a, b);
        break;
    default:
        x = fmod(a, b);
        if (x != 0 && (x < 0) != (b < 0))
            x += b;
        if (op == HS__OP_FLOORDIV)
            x = floor((a - x) / b + 0.5);
        break;
    }
    *ret = hs__jfloat(x);
    return 0;
}

int hs__jbinary(hs__jrun *r, hs__jop op, const hs__jval *a, const hs__jval *b, hs__jval *ret)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (is_integral(a) && is_integral(b))
        return int_arithmetic(r, op, integer(a), integer(b), ret);
    if (hs__jis_number(a) && hs__jis_number(b))
        return float_arithmetic(r, op, hs__jnumber(a), hs__jnumber(b), ret);
    bool list_a = a->type == HS__J_LIST || a->type == HS__J_TUPLE;
    if (op == HS__OP_ADD && a->type == HS__J_STR && b->type == HS__J_STR)
        return add_strings(r, a, b, ret);
    if (op == HS__OP_ADD && list_a && a->type == b->type)
        return add_lists(r, a, b, ret);
    if (op == HS__OP_MUL && (list_a || a->type == HS__J_STR) && is_integral(b))
        return repeat(r, a, integer(b), ret);
    if (op == HS__OP_MUL && (b->type == HS__J_LIST || b->type == HS__J_TUPLE || b->type == HS__J_STR) && is_integral(a))
        return repeat(r, b, integer(a), ret);
    return type_error(r, names[op], a, b);
}
