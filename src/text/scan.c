/* scan.c - a pull parser for JSON in memory. Bounded: no recursion, nesting at most HS__SCAN_DEPTH. */
#include "text/scan.h"

#include <string.h>

#include "text/utf8.h"

int hs__scan_fail(const hs__scan *s, const char *what)
{
    size_t line = 1;
    for (const char *p = s->text; p < s->p && (p = memchr(p, '\n', (size_t)(s->p - p))) != NULL; p++)
        line++;
    return hs_err_set(s->err, -EINVAL, "%s: line %zu, byte %zu: %s", s->where, line, (size_t)(s->p - s->text), what);
}

static void skip_space(hs__scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

bool hs__scan_is(hs__scan *s, char c)
{
    skip_space(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static int hex4(hs__scan *s, uint32_t *ret)
{
    if (s->end - s->p < 4)
        return hs__scan_fail(s, "the file ends inside a string");
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = *s->p++;
        uint32_t d = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (uint32_t)((c | 0x20) - 'a') + 10;
        if (d > 15 || (d > 9 && (c | 0x20) > 'f'))
            return hs__scan_fail(s, "four hexadecimal digits must follow \\u");
        v = v << 4 | d;
    }
    *ret = v;
    return 0;
}

/* After "\u": one scalar value, from a surrogate pair if need be. */
static int scan_unicode(hs__scan *s, hs_buf *out)
{
    uint32_t cp, low;
    int r = hex4(s, &cp);
    if (r < 0)
        return r;
    if (cp >= 0xd800 && cp < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        r = hex4(s, &low);
        if (r < 0)
            return r;
        if (low < 0xdc00 || low > 0xdfff)
            return hs__scan_fail(s, "a surrogate stands alone");
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    if (cp >= 0xd800 && cp <= 0xdfff)
        return hs__scan_fail(s, "a surrogate stands alone");
    char utf8[4];
    return hs_buf_append(out, utf8, hs__utf8_encode(cp, utf8));
}

static int scan_escape(hs__scan *s, hs_buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end)
        return hs__scan_fail(s, "the file ends inside a string");
    char c = *s->p++;
    if (c == 'u')
        return scan_unicode(s, out);
    const char *at = c ? strchr(from, c) : NULL;
    if (!at)
        return hs__scan_fail(s, "unknown escape in a string");
    return hs_buf_append(out, to + (at - from), 1);
}

int hs__scan_string(hs__scan *s, hs_buf *out)
{
    if (!hs__scan_is(s, '"'))
        return hs__scan_fail(s, "a string was expected");
    for (;;) {
        const char *begin = s->p;
        while (s->p < s->end && *s->p != '"' && *s->p != '\\' && (unsigned char)*s->p >= 0x20)
            s->p++;
        int r = hs_buf_append(out, begin, (size_t)(s->p - begin));
        if (r == 0 && s->p == s->end)
            return hs__scan_fail(s, "the file ends inside a string");
        if (r == 0 && *s->p == '"') {
            s->p++;
            return 0;
        }
        if (r == 0 && *s->p != '\\')
            return hs__scan_fail(s, "a control character in a string");
        s->p++;
        if (r == 0)
            r = scan_escape(s, out);
        if (out->failed)
            return hs_err_set(s->err, out->failed, "%s: a string is too long, or out of memory", s->where);
        if (r < 0)
            return r;
    }
}

int hs__scan_uint(hs__scan *s, uint32_t max, uint32_t *ret)
{
    skip_space(s);
    uint64_t v = 0;
    const char *begin = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && v <= max)
        v = v * 10 + (uint64_t)(*s->p++ - '0');
    if (s->p == begin || (s->p < s->end && *s->p && strchr(".eE", *s->p)))
        return hs__scan_fail(s, "a whole number, not negative, was expected");
    if (v > max)
        return hs__scan_fail(s, "the number is too big");
    *ret = (uint32_t)v;
    return 0;
}

/* From behind the opening quote to behind the closing one. */
static int skip_string(hs__scan *s)
{
    for (; s->p < s->end; s->p++) {
        if (*s->p == '"') {
            s->p++;
            return 0;
        }
        if (*s->p == '\\' && ++s->p == s->end)
            break;
    }
    return hs__scan_fail(s, "the file ends inside a string");
}

int hs__scan_skip(hs__scan *s, hs__slice *ret_slice)
{
    skip_space(s);
    const char *begin = s->p;
    size_t n = 0;
    uint32_t depth = 0;
    uint64_t is_object = 0; /* one bit per level */
    bool empty = true;
    do {
        skip_space(s);
        if (s->p == s->end)
            return hs__scan_fail(s, "the file ends inside a value");
        char c = *s->p++;
        if (c == '"') {
            int r = skip_string(s);
            if (r < 0)
                return r;
        } else if (c == '{' || c == '[') {
            if (depth == HS__SCAN_DEPTH)
                return hs__scan_fail(s, "nested too deeply");
            is_object = is_object << 1 | (c == '{');
            if (depth++ == 0)
                continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0 || (c == '}') != (is_object & 1))
                return hs__scan_fail(s, "a bracket does not match");
            is_object >>= 1;
            if (--depth == 0)
                break;
        } else if (c == ',') {
            if (depth == 0)
                return hs__scan_fail(s, "a value was expected");
            n += depth == 1;
        } else if (c != ':') {
            while (s->p < s->end && *s->p && !strchr(",:\"[]{} \n\r\t", *s->p))
                s->p++;
        }
        empty = false;
    } while (depth);
    *ret_slice = (hs__slice){begin, (size_t)(s->p - begin), empty ? 0 : n + 1};
    return 0;
}

int hs__scan_element(hs__scan *s, bool *first)
{
    if (hs__scan_is(s, ']'))
        return 0;
    if (!*first && !hs__scan_is(s, ','))
        return hs__scan_fail(s, "',' or ']' was expected");
    *first = false;
    return 1;
}

int hs__scan_member(hs__scan *s, bool *first, hs_buf *key)
{
    if (hs__scan_is(s, '}'))
        return 0;
    if (!*first && !hs__scan_is(s, ','))
        return hs__scan_fail(s, "',' or '}' was expected");
    *first = false;
    hs_buf_clear(key);
    int r = hs__scan_string(s, key);
    if (r < 0)
        return r;
    return hs__scan_is(s, ':') ? 1 : hs__scan_fail(s, "':' was expected");
}

int hs__scan_fields(hs__scan *s, const char *const *names, size_t n, hs__slice *slices)
{
    hs_buf key;
    hs_buf_init(&key, 4096);
    bool first = true;
    memset(slices, 0, n * sizeof *slices);
    int r = hs__scan_is(s, '{') ? 1 : hs__scan_fail(s, "an object was expected");
    while (r > 0 && (r = hs__scan_member(s, &first, &key)) > 0) {
        hs__slice value;
        r = hs__scan_skip(s, &value);
        if (r < 0)
            break;
        r = 1;
        for (size_t i = 0; i < n; i++) {
            if (key.len != strlen(names[i]) || memcmp(names[i], key.data, key.len) != 0)
                continue;
            if (slices[i].p)
                r = hs__scan_fail(s, "a member is there twice");
            slices[i] = value;
        }
    }
    hs_buf_deinit(&key);
    return r;
}
