/* jinja_methods_chars.c - methods of strings that look at each character (isdigit, ...) or pad. Stateless. */
#include "text/jinja_int.h"

#include <utf8proc.h>

static bool is_digit(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static bool is_alpha(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_alnum(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return is_alpha(c) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

/* Not empty, and every character passes. */
static int all_are(hs__jrun *r, const hs__jval *self, bool (*is)(uint32_t), hs__jval *ret)
{
    const char *p = self->as.s, *end = p + self->len;
    bool yes = self->len > 0;
    while (yes && p < end)
        yes = is(hs__jutf8_next(&p, end));
    *ret = hs__jbool(yes);
    return hs__jcharge(r, self->len / 4);
}

int hs__jmethod_isdigit(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return all_are(r, self, is_digit, ret);
}

int hs__jmethod_isalpha(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return all_are(r, self, is_alpha, ret);
}

int hs__jmethod_isalnum(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return all_are(r, self, is_alnum, ret);
}

int hs__jmethod_isspace(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return all_are(r, self, hs__jis_space, ret);
}

static int by_test(hs__jrun *r, const hs__jval *self, const char *test, hs__jval *ret)
{
    const hs__jargs none = {0};
    bool yes = false;
    int code = hs__jtest_find(test, 5)->fn(r, self, &none, &yes);
    *ret = hs__jbool(yes);
    return code;
}

int hs__jmethod_isupper(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return by_test(r, self, "upper", ret);
}

int hs__jmethod_islower(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    (void)args;
    return by_test(r, self, "lower", ret);
}

static int put_times(hs__jrun *r, const hs__jval *fill, int64_t n)
{
    int code = 0;
    for (int64_t i = 0; i < n && code == 0; i++)
        code = hs__jput(r, fill->as.s, fill->len);
    return code;
}

/* Pads to a width in characters; left_share: how much of the padding goes to the left, in halves. */
static int pad(hs__jrun *r, const hs__jval *self, const hs__jargs *args, int left_share, hs__jval *ret)
{
    hs__jval fill;
    int64_t width;
    if (hs__jarg_int(r, args, 0, "width", 0, &width) < 0 || hs__jarg_str(r, args, 1, "fillchar", true, &fill) < 0 ||
        hs__jcharge(r, self->len / 64) < 0)
        return r->code;
    if (fill.type != HS__J_STR)
        fill = hs__jstr(" ", 1);
    if (hs__jutf8_count(fill.as.s, fill.len) != 1 || width > HS_TEMPLATE_MAX_OUTPUT)
        return hs__jfail(r, -EINVAL, "padding that is too wide, or not with one character");
    int64_t missing = width - (int64_t)hs__jutf8_count(self->as.s, self->len);
    if (missing <= 0) {
        *ret = *self;
        return 0;
    }
    int64_t left = left_share == 2 ? missing : left_share == 0 ? 0 : missing / 2 + (missing & width & 1);
    size_t mark = hs__jbegin(r);
    if (hs__jcharge(r, (uint64_t)missing / 4) < 0 || put_times(r, &fill, left) < 0 ||
        hs__jput(r, self->as.s, self->len) < 0 || put_times(r, &fill, missing - left) < 0)
        return r->code;
    return hs__jend(r, mark, ret);
}

int hs__jmethod_ljust(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return pad(r, self, args, 0, ret);
}

int hs__jmethod_rjust(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return pad(r, self, args, 2, ret);
}

int hs__jmethod_center(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    return pad(r, self, args, 1, ret);
}

int hs__jmethod_zfill(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret)
{
    hs__jval pos[2] = {{.type = HS__J_MISSING}, hs__jstr("0", 1)}, digits = *self, padded;
    const hs__jargs zeros = {.pos = pos, .n = 2};
    int64_t width;
    if (hs__jarg_int(r, args, 0, NULL, 0, &width) < 0)
        return r->code;
    bool has_sign = self->len && (self->as.s[0] == '-' || self->as.s[0] == '+');
    pos[0] = hs__jint(width - has_sign);
    if (has_sign)
        digits = hs__jstr(self->as.s + 1, self->len - 1);
    if (pad(r, &digits, &zeros, 2, &padded) < 0)
        return r->code;
    hs__jval sign = hs__jstr(self->as.s, has_sign);
    return hs__jcat(r, &sign, &padded, ret);
}
