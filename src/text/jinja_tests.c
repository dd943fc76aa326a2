/* jinja_tests.c - the tests of `is`. To add one: a function and a row of the table. Stateless. */
#include "text/jinja_int.h"

#include <string.h>

#define TYPE_TEST(fn, condition)                                                                                       \
    static int fn(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)                                    \
    {                                                                                                                  \
        (void)r;                                                                                                       \
        (void)args;                                                                                                    \
        *ret = (condition);                                                                                            \
        return 0;                                                                                                      \
    }

TYPE_TEST(is_defined, v->type != HS__J_UNDEFINED)
TYPE_TEST(is_undefined, v->type == HS__J_UNDEFINED)
TYPE_TEST(is_none, v->type == HS__J_NONE)
TYPE_TEST(is_boolean, v->type == HS__J_BOOL)
TYPE_TEST(is_true, v->type == HS__J_BOOL && v->as.b)
TYPE_TEST(is_false, v->type == HS__J_BOOL && !v->as.b)
TYPE_TEST(is_integer, v->type == HS__J_INT)
TYPE_TEST(is_float, v->type == HS__J_FLOAT)
TYPE_TEST(is_number, hs__jis_number(v))
TYPE_TEST(is_string, v->type == HS__J_STR)
TYPE_TEST(is_mapping, v->type == HS__J_DICT)
TYPE_TEST(is_iterable, hs__jis_iterable(v))
TYPE_TEST(is_callable,
          v->type == HS__J_MACRO || v->type == HS__J_METHOD || v->type == HS__J_GLOBAL || v->type == HS__J_UNDEFINED)
TYPE_TEST(is_escaped, v->type == HS__J_STR && v->flag)
TYPE_TEST(is_sequence, v->type == HS__J_STR || v->type == HS__J_LIST || v->type == HS__J_TUPLE ||
                           v->type == HS__J_DICT || v->type == HS__J_RANGE || v->type == HS__J_UNDEFINED)

static int is_filter(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    (void)r;
    (void)args;
    *ret = v->type == HS__J_STR && hs__jfilter_find(v->as.s, v->len);
    return 0;
}

static int is_test(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    (void)r;
    (void)args;
    *ret = v->type == HS__J_STR && hs__jtest_find(v->as.s, v->len);
    return 0;
}

/* The remainder of an integer by `divisor`. */
static int remainder_of(hs__jrun *r, const hs__jval *v, const hs__jval *divisor, hs__jval *ret)
{
    return hs__jbinary(r, HS__OP_MOD, v, divisor, ret);
}

static int is_odd(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    hs__jval two = hs__jint(2), rest;
    (void)args;
    int code = remainder_of(r, v, &two, &rest);
    if (code == 0)
        *ret = hs__jnumber(&rest) == 1;
    return code;
}

static int is_even(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    hs__jval two = hs__jint(2), rest;
    (void)args;
    int code = remainder_of(r, v, &two, &rest);
    if (code == 0)
        *ret = hs__jnumber(&rest) == 0;
    return code;
}

static int is_divisible(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    hs__jval by, rest;
    hs__jarg(args, 0, "num", &by);
    int code = remainder_of(r, v, &by, &rest);
    if (code == 0)
        *ret = hs__jnumber(&rest) == 0;
    return code;
}

static int one_argument(hs__jrun *r, const hs__jargs *args, hs__jval *ret)
{
    if (args->n != 1)
        return hs__jfail(r, -EINVAL, "this test takes one argument");
    *ret = args->pos[0];
    return 0;
}

static int is_equal(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    hs__jval other;
    int code = one_argument(r, args, &other);
    return code < 0 ? code : hs__jequal(r, v, &other, ret);
}

static int is_not_equal(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    int code = is_equal(r, v, args, ret);
    *ret = !*ret;
    return code;
}

static int is_same(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    hs__jval other;
    int code = one_argument(r, args, &other);
    if (code == 0 && v->type == other.type)
        code = v->type >= HS__J_LIST ? 0 : hs__jequal(r, v, &other, ret);
    if (code == 0 && v->type == other.type && v->type >= HS__J_LIST)
        *ret = v->as.list == other.as.list;
    return code;
}

static int is_in(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    hs__jval container;
    int code = one_argument(r, args, &container);
    return code < 0 ? code : hs__jcontains(r, &container, v, ret);
}

static int order(hs__jrun *r, const hs__jval *v, const hs__jargs *args, int *ret)
{
    hs__jval other;
    int code = one_argument(r, args, &other);
    return code < 0 ? code : hs__jcompare(r, v, &other, ret);
}

#define ORDER_TEST(fn, op)                                                                                             \
    static int fn(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)                                    \
    {                                                                                                                  \
        int c = 0, code = order(r, v, args, &c);                                                                       \
        *ret = c op 0;                                                                                                 \
        return code;                                                                                                   \
    }

ORDER_TEST(is_lt, <)
ORDER_TEST(is_le, <=)
ORDER_TEST(is_gt, >)
ORDER_TEST(is_ge, >=)

/* Has letters, and none of the other case. */
static int case_is(hs__jrun *r, const hs__jval *v, hs__jcase how, bool *ret)
{
    hs__jval s, same, other;
    bool differs = false;
    int code = hs__jto_str(r, v, &s);
    if (code == 0)
        code = hs__jchange_case(r, &s, how, &same);
    if (code == 0)
        code = hs__jchange_case(r, &s, how == HS__CASE_LOWER ? HS__CASE_UPPER : HS__CASE_LOWER, &other);
    if (code == 0)
        code = hs__jequal(r, &s, &same, ret);
    if (code == 0)
        code = hs__jequal(r, &s, &other, &differs);
    *ret = *ret && !differs;
    return code;
}

static int is_lower(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    (void)args;
    return case_is(r, v, HS__CASE_LOWER, ret);
}

static int is_upper(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    (void)args;
    return case_is(r, v, HS__CASE_UPPER, ret);
}

static const hs__jtest tests[] = {
    {"defined", is_defined, 0},
    {"undefined", is_undefined, 0},
    {"none", is_none, 0},
    {"boolean", is_boolean, 0},
    {"true", is_true, 0},
    {"false", is_false, 0},
    {"integer", is_integer, 0},
    {"float", is_float, 0},
    {"number", is_number, 0},
    {"string", is_string, 0},
    {"mapping", is_mapping, 0},
    {"iterable", is_iterable, 0},
    {"sequence", is_sequence, 0},
    {"callable", is_callable, 0},
    {"escaped", is_escaped, 0},
    {"filter", is_filter, 0},
    {"test", is_test, 0},
    {"odd", is_odd, 0},
    {"even", is_even, 0},
    {"divisibleby", is_divisible, 1},
    {"sameas", is_same, 1},
    {"in", is_in, 1},
    {"eq", is_equal, 1},
    {"equalto", is_equal, 1},
    {"==", is_equal, 1},
    {"ne", is_not_equal, 1},
    {"!=", is_not_equal, 1},
    {"lt", is_lt, 1},
    {"lessthan", is_lt, 1},
    {"<", is_lt, 1},
    {"le", is_le, 1},
    {"<=", is_le, 1},
    {"gt", is_gt, 1},
    {"greaterthan", is_gt, 1},
    {">", is_gt, 1},
    {"ge", is_ge, 1},
    {">=", is_ge, 1},
    {"lower", is_lower, 0},
    {"upper", is_upper, 0},
};

const hs__jtest *hs__jtest_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (strlen(tests[i].name) == len && !memcmp(tests[i].name, name, len))
            return &tests[i];
    }
    return NULL;
}

int hs__jtest_run(hs__jrun *r, const hs__jtest *t, const hs__jval *v, const hs__jargs *args, bool *ret)
{
    if (args->n + args->n_kw > t->n_args)
        return hs__jfail(r, -EINVAL, "the test '%s' takes %u arguments, %u were given", t->name, t->n_args,
                         args->n + args->n_kw);
    *ret = false;
    return t->fn(r, v, args, ret);
}
