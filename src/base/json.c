/* json.c - glue over jansson. Thread-safe as jansson is: separate values in separate threads. */
#include "base/json.h"

#include <math.h>

#include "base/file.h"
#include "base/mem.h"

/* What jansson takes for a text at most: 240 bytes for an object (its first buckets included), 136 for a list, 48 for
 * each further value, 64 for a string besides its characters. Malformed text may be judged wrongly: it is refused by
 * the parser. */
static uint64_t dom_bytes(const char *text, size_t len)
{
    uint64_t n = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (quoted)
            quoted = c != '"' && !(c == '\\' && ++i == len);
        else if (c == '"') {
            quoted = true;
            n += 64;
        } else
            n += c == '{' ? 240 : c == '[' ? 136 : c == ',' ? 48 : 0;
    }
    return n + len;
}

int hs_json_load(const char *text, size_t len, const char *where, json_t **ret, hs_err *err)
{
    json_error_t e;
    if (dom_bytes(text, len) > HS_JSON_MAX_MEMORY)
        return hs_err_set(err, -E2BIG, "%s: its values would take more than %u MiB of memory", where,
                          HS_JSON_MAX_MEMORY >> 20);
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!j && (json_error_code(&e) == json_error_out_of_memory || !*e.text)) /* most such failures go without a text */
        return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    if (!j)
        return hs_err_set(err, -EINVAL, "%s: line %d, column %d: %s", where, e.line, e.column, e.text);
    *ret = j;
    return 0;
}

int hs_json_load_file(const char *path, size_t max, json_t **ret, hs_err *err)
{
    char *text;
    size_t len;
    int r = hs_file_read(path, max, &text, &len, err);
    if (r < 0)
        return r;
    r = hs_json_load(text, len, path, ret, err);
    hs_free(text);
    return r;
}

static const json_t *field(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return v && !json_is_null(v) ? v : NULL;
}

int hs_json_int_or(const json_t *obj, const char *where, const char *key, int64_t min, int64_t max, int64_t def,
                   int64_t *ret, hs_err *err)
{
    const json_t *v = field(obj, key);
    if (!v) {
        *ret = def;
        return 0;
    }
    int64_t n;
    if (json_is_integer(v))
        n = json_integer_value(v);
    else if (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)) && fabs(json_real_value(v)) < 9e15)
        n = (int64_t)json_real_value(v);
    else
        return hs_err_set(err, -EINVAL, "%s: %s must be an integer", where, key);
    if (n < min || n > max)
        return hs_err_set(err, -ERANGE, "%s: %s is %lld; %lld to %lld are possible", where, key, (long long)n,
                          (long long)min, (long long)max);
    *ret = n;
    return 0;
}

int hs_json_int(const json_t *obj, const char *where, const char *key, int64_t min, int64_t max, int64_t *ret,
                hs_err *err)
{
    if (!field(obj, key))
        return hs_err_set(err, -EINVAL, "%s: %s is missing", where, key);
    return hs_json_int_or(obj, where, key, min, max, 0, ret, err);
}

int hs_json_num_or(const json_t *obj, const char *where, const char *key, double def, double *ret, hs_err *err)
{
    const json_t *v = field(obj, key);
    if (v && !json_is_number(v))
        return hs_err_set(err, -EINVAL, "%s: %s must be a number", where, key);
    double d = v ? json_number_value(v) : def;
    if (!isfinite(d))
        return hs_err_set(err, -ERANGE, "%s: %s is not finite", where, key);
    *ret = d;
    return 0;
}

int hs_json_bool_or(const json_t *obj, const char *where, const char *key, bool def, bool *ret, hs_err *err)
{
    const json_t *v = field(obj, key);
    if (v && !json_is_boolean(v))
        return hs_err_set(err, -EINVAL, "%s: %s must be true or false", where, key);
    *ret = v ? json_is_true(v) : def;
    return 0;
}

int hs_json_str_or(const json_t *obj, const char *where, const char *key, const char *def, const char **ret,
                   hs_err *err)
{
    const json_t *v = field(obj, key);
    if (v && !json_is_string(v))
        return hs_err_set(err, -EINVAL, "%s: %s must be a string", where, key);
    *ret = v ? json_string_value(v) : def;
    return 0;
}

int hs_json_escape(hs_buf *b, const char *text, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)text[i];
        if (ch >= 0x20 && ch != '"' && ch != '\\')
            continue;
        hs_buf_append(b, text + from, i - from);
        from = i + 1;
        if (ch == '"' || ch == '\\')
            hs_buf_append(b, (char[]){'\\', (char)ch}, 2);
        else if (ch == '\n')
            hs_buf_puts(b, "\\n");
        else
            hs_buf_printf(b, "\\u%04x", ch);
    }
    return hs_buf_append(b, text + from, n - from);
}

int hs_json_string(hs_buf *b, const char *text, size_t n)
{
    hs_buf_puts(b, "\"");
    hs_json_escape(b, text, n);
    return hs_buf_puts(b, "\"");
}
