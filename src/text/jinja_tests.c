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
    {"defined", is_defined},
    {"undefined", is_undefined},
    {"none", is_none},
    {"boolean", is_boolean},
    {"true", is_true},
    {"false", is_false},
    {"integer", is_integer},
    {"float", is_float},
    {"number", is_number},
    {"string", is_string},
    {"mapping", is_mapping},
    {"iterable", is_iterable},
    {"sequence", is_sequence},
    {"callable", is_callable},
    {"escaped", is_escaped},
    {"filter", is_filter},
    {"test", is_test},
    {"odd", is_odd},
    {"even", is_even},
    {"divisibleby", is_divisible},
    {"sameas", is_same},
    {"in", is_in},
    {"eq", is_equal},
    {"equalto", is_equal},
    {"==", is_equal},
    {"ne", is_not_equal},
    {"!=", is_not_equal},
    {"lt", is_lt},
    {"lessthan", is_lt},
    {"<", is_lt},
    {"le", is_le},
    {"<=", is_le},
    {"gt", is_gt},
    {"greaterthan", is_gt},
    {">", is_gt},
    {"ge", is_ge},
    {">=", is_ge},
    {"lower", is_lower},
    {"upper", is_upper},
};

const hs__jtest *hs__jtest_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (strlen(tests[i].name) == len && !memcmp(tests[i].name, name, len))
            return &tests[i];
    }
    return NULL;
}
