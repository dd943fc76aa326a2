/*
 * json_text.c - JSON as text: where values end. Models write JSON of any size and depth; nothing is built of it here,
 * so that it costs no memory and its bytes stay as they are. Stateless; linear; at most MAX_DEPTH deep.
 */
#include <string.h>

#include "text/output_int.h"

#define MAX_DEPTH 100

const char *hs__json_blanks(const char *p, const char *end)
{
    while (p < end && hs__is_blank(*p))
        p++;
    return p;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* p stands at the quote. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\')
            continue;
        if (++p == end || !strchr("\"\\/bfnrtu", *p) || !*p)
            return NULL;
        for (int i = 0; *p == 'u' && i < 4; i++)
            if (end - p < 5 || !is_hex(p[1 + i]))
                return NULL;
    }
    return p < end ? p + 1 : NULL;
}

static const char *digits(const char *p, const char *end)
{
    const char *start = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p > start ? p : NULL;
}

static const char *number_end(const char *p, const char *end)
{
    if (p < end && *p == '-')
        p++;
    p = p < end && *p == '0' ? p + 1 : digits(p, end);
    if (p && p < end && *p == '.')
        p = digits(p + 1, end);
    if (p && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        p = digits(p, end);
    }
    return p;
}

static const char *word_end(const char *p, const char *end)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(end - p) >= n && !memcmp(p, words[i], n))
            return p + n;
    }
    return NULL;
}

/* One value that is no list and no object. */
static const char *scalar_end(const char *p, const char *end)
{
    return *p == '"'                               ? string_end(p, end)
           : *p == '-' || (*p >= '0' && *p <= '9') ? number_end(p, end)
                                                   : word_end(p, end);
}

/* "key": with the blanks around it. */
static const char *key_end(const char *p, const char *end)
{
    p = hs__json_blanks(p, end);
    if (p == end || *p != '"')
        return NULL;
    p = string_end(p, end);
    p = p ? hs__json_blanks(p, end) : NULL;
    return p && p < end && *p == ':' ? p + 1 : NULL;
}

/* Behind a value: closes what ends there. *ret_more: a comma came, another value follows. */
static const char *close_levels(const char *p, const char *end, char *open, int *depth, bool *ret_more)
{
    *ret_more = false;
    while (*depth > 0) {
        p = hs__json_blanks(p, end);
        if (p == end)
            return NULL;
        if (*p == ',') {
            *ret_more = true;
            return p + 1;
        }
        if (*p != (open[*depth - 1] == '{' ? '}' : ']'))
            return NULL;
        p++;
        --*depth;
    }
    return p;
}

const char *hs__json_value(const char *text, const char *end)
{
    char open[MAX_DEPTH];
    int depth = 0;
    const char *p = text;
    for (;;) {
        bool more;
        p = hs__json_blanks(p, end);
        if (p == end)
            return NULL;
        if (*p == '{' || *p == '[') {
            if (depth == MAX_DEPTH)
                return NULL;
            open[depth++] = *p;
            p = hs__json_blanks(p + 1, end);
            bool is_empty = p < end && *p == (open[depth - 1] == '{' ? '}' : ']');
            if (!is_empty && open[depth - 1] == '{')
                p = key_end(p, end);
            if (!p)
                return NULL;
            if (!is_empty)
                continue;
        } else {
            p = scalar_end(p, end);
        }
        p = p ? close_levels(p, end, open, &depth, &more) : NULL;
        if (!p || !more)
            return p;
        if (open[depth - 1] == '{' && !(p = key_end(p, end)))
            return NULL;
    }
}

bool hs__json_next(const char **p, const char *end, hs__json_member *ret)
{
    const char *at = hs__json_blanks(*p, end);
    *p = NULL;
    if (at < end && *at == ',')
        at = hs__json_blanks(at + 1, end);
    else if (at < end && *at == '}') {
        *p = at + 1;
        return false;
    }
    const char *colon = key_end(at, end);
    if (!colon)
        return false;
    ret->key = at;
    ret->n_key = (size_t)(string_end(at, end) - at);
    ret->value = hs__json_blanks(colon, end);
    const char *stop = hs__json_value(colon, end);
    if (!stop)
        return false;
    ret->n_value = (size_t)(stop - ret->value);
    *p = stop;
    return true;
}
