/* call_body.c - what stands between the marks of one call: the tool's name and its arguments. Stateless. */
#include <string.h>

#include "base/json.h"
#include "text/output_int.h"

typedef struct span {
    const char *p;
    size_t n;
} span;

static span trim(span s)
{
    while (s.n && hs__is_blank(*s.p))
        s.p++, s.n--;
    while (s.n && hs__is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Cuts s at the first `mark`: what is before it, *ret_rest what is behind. False: there is none. */
static bool cut(span s, const char *mark, span *ret_before, span *ret_rest)
{
    const char *at = memmem(s.p, s.n, mark, strlen(mark));
    if (!at)
        return false;
    size_t before = (size_t)(at - s.p), n = before + strlen(mark);
    *ret_before = (span){s.p, before};
    *ret_rest = (span){s.p + n, s.n - n};
    return true;
}

static bool begins_with(span s, const char *text)
{
    return s.n >= strlen(text) && !memcmp(s.p, text, strlen(text));
}

static bool is_json(span s)
{
    const char *end = hs__json_value(s.p, s.p + s.n);
    return end && hs__json_blanks(end, s.p + s.n) == s.p + s.n;
}

/* ---- putting a call ---- */

static bool is_name(span s)
{
    if (!s.n || s.n >= sizeof((hs__harmony *)0)->name)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '<' || s.p[i] == '"' || s.p[i] == '{')
            return false;
    return true;
}

bool hs__call_put(hs_output *o, const char *name, size_t n_name, const char *id, size_t n_id, const char *arguments,
                  size_t len)
{
    char both[2 * sizeof((hs__harmony *)0)->name];
    span args = trim((span){arguments, len});
    if (!is_name((span){name, n_name}) || (n_id && !is_name((span){id, n_id})))
        return false;
    if (!args.n)
        args = (span){"{}", 2};
    if (*args.p != '{' || !is_json(args))
        return false;
    memcpy(both, name, n_name);
    both[n_name] = '\0';
    if (n_id)
        memcpy(both + n_name + 1, id, n_id);
    both[n_name + 1 + n_id] = '\0';
    hs__output_put(o, HS_OUTPUT_CALL, both, n_name + n_id + 2);
    hs__output_put(o, HS_OUTPUT_ARGUMENTS, args.p, args.n);
    return true;
}

/* ---- {"name": "f", "arguments": {…}} ---- */

static bool is_key(const hs__json_member *m, const char *key)
{
    return m->n_key == strlen(key) + 2 && !memcmp(m->key + 1, key, m->n_key - 2);
}

static bool read_json(hs_output *o, span body)
{
    span name = {NULL, 0}, args = {"{}", 2};
    hs__json_member m;
    body = trim(body);
    if (!body.n || *body.p != '{' || !is_json(body))
        return false;
    for (const char *p = body.p + 1; hs__json_next(&p, body.p + body.n, &m);) {
        if (is_key(&m, "name") && m.n_value > 2 && *m.value == '"')
            name = (span){m.value + 1, m.n_value - 2};
        else if (is_key(&m, "arguments") || is_key(&m, "parameters"))
            args = (span){m.value, m.n_value};
    }
    return name.n && !memchr(name.p, '\\', name.n) && hs__call_put(o, name.p, name.n, NULL, 0, args.p, args.n);
}

/* ---- name, separator, arguments ---- */

/* DeepSeek V3: the kind comes first, then the name in a line, then the arguments as a code block. */
static bool read_fenced(hs_output *o, span rest)
{
    span name, args;
    if (!cut(rest, "\n", &name, &args))
        return false;
    args = trim(args);
    if (begins_with(args, "```json") && args.n >= 10 && !memcmp(args.p + args.n - 3, "```", 3))
        args = (span){args.p + 7, args.n - 10};
    return hs__call_put(o, name.p, name.n, NULL, 0, args.p, args.n);
}

/* Kimi-K2: functions.NAME:NUMBER is the call's id. */
static bool read_numbered(hs_output *o, span id, span args)
{
    span name = {id.p + 10, id.n - 10};
    size_t n = name.n;
    while (n && name.p[n - 1] >= '0' && name.p[n - 1] <= '9')
        n--;
    if (n && n < name.n && name.p[n - 1] == ':')
        name.n = n - 1;
    return hs__call_put(o, name.p, name.n, id.p, id.n, args.p, args.n);
}

static bool read_split(hs_output *o, const hs__call_format *f, span body)
{
    span head, rest;
    if (!cut(body, f->split, &head, &rest))
        return false;
    head = trim(head);
    if (head.n == 8 && begins_with(head, "function"))
        return read_fenced(o, rest);
    if (begins_with(head, "functions."))
        return read_numbered(o, head, rest);
    return hs__call_put(o, head.p, head.n, NULL, 0, rest.p, rest.n);
}

/* ---- keys and values between tags ---- */

static bool is_string(const hs_output *o, span tool, span key)
{
    const char *p = o->strings.data, *end = p ? p + o->strings.len : NULL;
    while (p < end) {
        const char *param = p + strlen(p) + 1;
        if (strlen(p) == tool.n && !memcmp(p, tool.p, tool.n) && strlen(param) == key.n && !memcmp(param, key.p, key.n))
            return true;
        p = param + strlen(param) + 1;
    }
    return false;
}

/* Templates write strings as they are and all else as JSON, some with a line end on both sides. */
static void put_value(const hs_output *o, span tool, span key, span value, bool in_lines, hs_buf *args)
{
    if (in_lines && value.n && *value.p == '\n')
        value.p++, value.n--;
    if (in_lines && value.n && value.p[value.n - 1] == '\n')
        value.n--;
    if (!is_string(o, tool, key) && is_json(value))
        hs_buf_append(args, value.p, value.n);
    else
        hs_json_string(args, value.p, value.n);
}

/* One key with its value off *rest. */
static bool take_pair(const hs__call_format *f, span *rest, span *ret_key, span *ret_value)
{
    span before;
    if (!cut(*rest, f->key_begin, &before, rest) || trim(before).n || !cut(*rest, f->key_end, ret_key, rest))
        return false;
    if (f->value_begin && (!cut(*rest, f->value_begin, &before, rest) || trim(before).n))
        return false;
    return cut(*rest, f->value_end, ret_value, rest);
}

static bool read_pairs(const hs_output *o, const hs__call_format *f, span tool, span rest, hs_buf *args)
{
    hs_buf_puts(args, "{");
    while (trim(rest).n) {
        span key, value;
        if (!take_pair(f, &rest, &key, &value))
            return false;
        hs_buf_puts(args, args->len > 1 ? ", " : "");
        hs_json_string(args, key.p, key.n);
        hs_buf_puts(args, ": ");
        put_value(o, tool, key, value, !f->value_begin, args);
    }
    return hs_buf_puts(args, "}") == 0;
}

static bool read_tags(hs_output *o, const hs__call_format *f, span body)
{
    span name, rest;
    hs_buf args;
    if (f->name_end) {
        if (!cut(body, f->name_end, &name, &rest))
            return false;
    } else {
        const char *key = memmem(body.p, body.n, f->key_begin, strlen(f->key_begin));
        size_t n = key ? (size_t)(key - body.p) : body.n;
        name = (span){body.p, n};
        rest = (span){body.p + n, body.n - n};
    }
    name = trim(name);
    hs_buf_init(&args, HS_OUTPUT_MAX_CALL);
    bool good = read_pairs(o, f, name, rest, &args) && hs__call_put(o, name.p, name.n, NULL, 0, args.data, args.len);
    hs_buf_deinit(&args);
    return good;
}

bool hs__call_read(hs_output *o, const hs__call_format *f, const char *body, size_t len)
{
    span s = {body, len};
    return f->body == HS__BODY_JSON    ? read_json(o, s)
           : f->body == HS__BODY_SPLIT ? read_split(o, f, s)
                                       : read_tags(o, f, s);
}
