/* option.c - parsing and checking of option values. Pure functions. */
#include "base/option.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hs_parse_int(const char *text, int64_t *ret)
{
    if (!*text || isspace((unsigned char)*text))
        return -EINVAL;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (*end)
        return -EINVAL;
    if (errno)
        return -ERANGE;
    *ret = v;
    return 0;
}

int hs_parse_number(const char *text, double *ret)
{
    if (!*text || isspace((unsigned char)*text))
        return -EINVAL;
    char *end;
    double v = strtod(text, &end);
    if (*end || !isfinite(v))
        return -EINVAL;
    *ret = v;
    return 0;
}

/* Digits with a suffix: the number, and where the suffix begins. */
static int leading_u64(const char *text, uint64_t *ret, const char **ret_rest)
{
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno)
        return -ERANGE;
    *ret = v;
    *ret_rest = end;
    return 0;
}

/* ".5" before the suffix of a size, as a part of one; moves *at behind it. Negative: there are no digits. */
static double fraction(const char **at)
{
    double part = 0, unit = 1;
    const char *p = *at + 1;
    for (; isdigit((unsigned char)*p); p++)
        part += (*p - '0') * (unit /= 10);
    bool has_digits = p > *at + 1;
    *at = p;
    return has_digits ? part : -1;
}

int hs_parse_size(const char *text, uint64_t *ret)
{
    uint64_t v;
    const char *rest;
    int r = leading_u64(text, &v, &rest);
    if (r < 0)
        return r;
    bool has_fraction = *rest == '.';
    double part = has_fraction ? fraction(&rest) : 0;
    unsigned shift = 0;
    switch (*rest) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    case 't':
    case 'T':
        shift = 40;
        break;
    default:
        break;
    }
    if (shift) {
        rest++;
        if (!strcmp(rest, "iB"))
            rest += 2;
    }
    if (*rest || part < 0 || (has_fraction && !shift))
        return -EINVAL;
    if (v > (UINT64_MAX >> 1) >> shift)
        return -ERANGE;
    v = (v << shift) + (uint64_t)(part * (double)(1ull << shift));
    if (v > UINT64_MAX >> 1)
        return -ERANGE;
    *ret = v;
    return 0;
}

int hs_parse_seconds(const char *text, int64_t *ret)
{
    uint64_t v;
    const char *rest;
    int r = leading_u64(text, &v, &rest);
    if (r < 0)
        return r;
    uint64_t unit;
    if (!*rest || !strcmp(rest, "s"))
        unit = 1;
    else if (!strcmp(rest, "min"))
        unit = 60;
    else if (!strcmp(rest, "h"))
        unit = 3600;
    else
        return -EINVAL;
    if (v > INT32_MAX / unit)
        return -ERANGE;
    *ret = (int64_t)(v * unit);
    return 0;
}

int hs_parse_size_spec(const char *text, hs_size_spec *ret)
{
    hs_size_spec s = {HS_SIZE_AUTO, 0, 0};
    size_t n = strlen(text);
    if (!strcmp(text, "auto")) {
        *ret = s;
        return 0;
    }
    if (n > 1 && n < 16 && text[n - 1] == '%') {
        char digits[16];
        memcpy(digits, text, n - 1);
        digits[n - 1] = '\0';
        s.kind = HS_SIZE_PERCENT;
        if (hs_parse_number(digits, &s.percent) < 0 || s.percent < 0 || s.percent > 100)
            return -EINVAL;
    } else {
        s.kind = HS_SIZE_BYTES;
        int r = hs_parse_size(text, &s.bytes);
        if (r < 0)
            return r;
    }
    *ret = s;
    return 0;
}

const char *hs_format_size(uint64_t bytes, char *buf, size_t cap)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof unit / sizeof *unit) {
        v /= 1024;
        u++;
    }
    snprintf(buf, cap, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return buf;
}

bool hs_is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = choices; *p;) {
        size_t len = strcspn(p, "|");
        if (len == n && !memcmp(p, value, n))
            return true;
        p += len + (p[len] == '|');
    }
    return false;
}

/* The value as a number, for types that have a range. */
static int check_number(const hs_option *o, const char *value, const char **ret_expected, double *ret)
{
    int64_t i;
    uint64_t u;
    int r;
    switch (o->type) {
    case HS_OPT_INT:
        *ret_expected = "an integer";
        r = hs_parse_int(value, &i);
        *ret = (double)(r < 0 ? 0 : i);
        return r;
    case HS_OPT_NUMBER:
        *ret_expected = "a number";
        return hs_parse_number(value, ret);
    case HS_OPT_SECONDS:
        *ret_expected = "seconds, e.g. 30, 30s, 5min or 1h";
        r = hs_parse_seconds(value, &i);
        *ret = (double)(r < 0 ? 0 : i);
        return r;
    default:
        *ret_expected = "a size, e.g. 4G or 512MiB";
        r = hs_parse_size(value, &u);
        *ret = (double)(r < 0 ? 0 : u);
        return r;
    }
}

int hs_option_check(const hs_option *o, const char *value, hs_err *err)
{
    const char *expected = NULL;
    hs_size_spec spec;
    switch (o->type) {
    case HS_OPT_STRING:
        return 0;
    case HS_OPT_ENUM:
        if (hs_is_choice(o->choices, value))
            return 0;
        return hs_err_set(err, -EINVAL, "%s.%s: '%s' is not one of %s", o->section, o->key, value, o->choices);
    case HS_OPT_CACHE:
        if (hs_parse_size_spec(value, &spec) == 0)
            return 0;
        return hs_err_set(err, -EINVAL, "%s.%s: '%s' is not auto, a percentage or a size (e.g. auto, 25%%, 8G)",
                          o->section, o->key, value);
    case HS_OPT_AUTO_SIZE:
        if (!strcmp(value, "auto"))
            return 0;
        break;
    default:
        break;
    }
    if (!*value && !*o->def)
        return 0; /* an optional number left empty */
    double v = 0;
    if (check_number(o, value, &expected, &v) < 0)
        return hs_err_set(err, -EINVAL, "%s.%s: '%s' is not %s", o->section, o->key, value, expected);
    if (o->max > o->min && (v < o->min || v > o->max) && (o->type == HS_OPT_SIZE || o->type == HS_OPT_AUTO_SIZE)) {
        char least[32], most[32];
        return hs_err_set(err, -ERANGE, "%s.%s: %s is outside %s to %s", o->section, o->key, value,
                          hs_format_size((uint64_t)o->min, least, sizeof least),
                          hs_format_size((uint64_t)o->max, most, sizeof most));
    }
    if (o->max > o->min && (v < o->min || v > o->max))
        return hs_err_set(err, -ERANGE, "%s.%s: %s is outside %.15g to %.15g%s%s", o->section, o->key, value, o->min,
                          o->max, *o->unit ? " " : "", o->unit);
    return 0;
}

bool hs_next_item(const char **at, const char **ret_item, size_t *ret_len)
{
    for (const char *p = *at; *p;) {
        size_t n = strcspn(p, ",");
        const char *next = p + n + (p[n] == ',');
        while (n && (p[0] == ' ' || p[n - 1] == ' ')) {
            p += p[0] == ' ';
            n--;
        }
        *at = next;
        *ret_item = p;
        *ret_len = n;
        if (n)
            return true;
        p = next;
    }
    return false;
}
