/*
 * jinja_utf8.c - characters of UTF-8 strings, with Python's idea of white space, printable and case.
 * Strings are valid UTF-8 (the source is checked when it is compiled, JSON when it is parsed). Stateless.
 */
#include "text/jinja_int.h"

#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

uint32_t hs__jutf8_next(const char **p, const char *end)
{
    const unsigned char *s = (const unsigned char *)*p;
    size_t left = (size_t)(end - *p);
    size_t n = hs__utf8_len(*p);
    if (n > left)
        n = left;
    uint32_t c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3f);
    *p += n;
    return c;
}

size_t hs__jutf8_count(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

size_t hs__jutf8_offset(const char *s, size_t n, size_t i)
{
    size_t at = 0;
    for (; i > 0 && at < n; i--)
        at += hs__utf8_len(s + at);
    return at < n ? at : n;
}

size_t hs__jutf8_offset_back(const char *s, size_t n, size_t i)
{
    for (; i > 0 && n > 0; i--) {
        for (n--; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80; n--)
            ;
    }
    return i > 0 ? SIZE_MAX : n;
}

bool hs__jis_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool hs__jis_printable(uint32_t c)
{
    if (c < 0x7f)
        return c >= 0x20;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

size_t hs__jskip_space(const char *s, size_t n)
{
    const char *p = s, *end = s + n;
    while (p < end) {
        const char *q = p;
        if (!hs__jis_space(hs__jutf8_next(&q, end)))
            break;
        p = q;
    }
    return (size_t)(p - s);
}

size_t hs__jtrail_space(const char *s, size_t n)
{
    size_t keep = n;
    while (keep > 0) {
        size_t i = keep - 1;
        while (i > 0 && ((unsigned char)s[i] & 0xc0) == 0x80)
            i--;
        const char *p = s + i;
        if (!hs__jis_space(hs__jutf8_next(&p, s + keep)))
            break;
        keep = i;
    }
    return n - keep;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

static int put_cased(hs__jrun *r, uint32_t c, bool upper, bool title, const char *from)
{
    char out[4];
    if (upper && c == 0xdf)
        return hs__jput_like(r, title ? "Ss" : "SS", 2, from);
    utf8proc_int32_t m = !upper  ? utf8proc_tolower((utf8proc_int32_t)c)
                         : title ? utf8proc_totitle((utf8proc_int32_t)c)
                                 : utf8proc_toupper((utf8proc_int32_t)c);
    return hs__jput_like(r, out, hs__utf8_encode((uint32_t)m, out), from);
}

static bool is_letter(uint32_t c)
{
    return is_cased(c) || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LO;
}

/* A small sigma at the end of a word has its own form. */
static bool is_final_sigma(uint32_t c, uint32_t before, const char *next, const char *end)
{
    return c == 0x3a3 && is_letter(before) && (next == end || !is_letter(hs__jutf8_next(&next, end)));
}

/* The characters after which the title filter begins a word. */
static bool is_word_break(uint32_t c)
{
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || hs__jis_space(c);
}

int hs__jchange_case(hs__jrun *r, const hs__jval *s, hs__jcase how, hs__jval *ret)
{
    const char *p = s->as.s, *end = p + s->len;
    size_t mark = hs__jbegin(r);
    bool at_start = true;
    uint32_t before = ' ';
    int code = hs__jcharge(r, s->len / 2);
    while (p < end && code == 0) {
        const char *start = p;
        uint32_t c = hs__jutf8_next(&p, end);
        bool upper = how == HS__CASE_UPPER || (how != HS__CASE_LOWER && at_start);
        if (!upper && is_final_sigma(c, before, p, end))
            code = hs__jput_like(r, "\xcf\x82", 2, start);
        else
            code = put_cased(r, c, upper, upper && how != HS__CASE_UPPER && how != HS__CASE_WORDS, start);
        before = c;
        if (how == HS__CASE_TITLE)
            at_start = !is_cased(c);
        else if (how == HS__CASE_WORDS)
            at_start = is_word_break(c);
        else
            at_start = false;
    }
    return code < 0 ? code : hs__jend(r, mark, ret);
}

const char *hs__jfind(const char *s, size_t n, const char *needle, size_t n_needle)
{
    return n_needle == 0 ? s : memmem(s, n, needle, n_needle);
}

const char *hs__jfind_last(const char *s, size_t n, const char *needle, size_t n_needle)
{
    if (n_needle > n)
        return NULL;
    for (const char *p = s + (n - n_needle);; p--) {
        if (!memcmp(p, needle, n_needle))
            return p;
        if (p == s)
            return NULL;
    }
}
