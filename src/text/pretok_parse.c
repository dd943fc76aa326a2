/* pretok_parse.c - the "pre_tokenizer" of tokenizer.json to steps. */
#include "text/pretok.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

/* What GPT-2 split with, built into ByteLevel. */
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static int add_step(hs__pretok *p, hs__step step, const char *where, hs_err *err)
{
    if (p->n == HS__MAX_STEPS) {
        hs__regex_destroy(&step.regex);
        return hs_err_set(err, -E2BIG, "%s: more than %d steps", where, HS__MAX_STEPS);
    }
    p->steps[p->n++] = step;
    return 0;
}

static int add_regex(hs__pretok *p, const char *pattern, size_t len, hs__behavior behavior, bool invert,
                     const char *where, hs_err *err)
{
    hs__step step = {.behavior = behavior, .invert = invert};
    int r = hs__regex_create(pattern, len, where, &step.regex, err);
    return r < 0 ? r : add_step(p, step, where, err);
}

static int parse_behavior(const json_t *json, const char *where, hs__behavior *ret, hs_err *err)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(json_object_get(json, "behavior"));
    for (int i = 0; name && i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (hs__behavior)i;
            return 0;
        }
    }
    return hs_err_set(err, name ? -ENOTSUP : -EINVAL, "%s: behavior %.60s is not supported", where,
                      name ? name : "(missing)");
}

/* Plain text as a pattern. */
static int quote(const char *text, size_t len, hs_buf *out)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] && strchr("\\.+*?()|[]{}^$#&-~ ", text[i]))
            (void)hs_buf_puts(out, "\\");
        (void)hs_buf_append(out, text + i, 1);
    }
    return out->failed;
}

static int parse_split(hs__pretok *p, const json_t *json, const char *where, hs_err *err)
{
    hs__behavior behavior = HS__ISOLATED;
    bool invert;
    int r = parse_behavior(json, where, &behavior, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "invert", false, &invert, err);
    if (r < 0)
        return r;
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex"), *string = json_object_get(pattern, "String");
    if (json_is_string(regex))
        return add_regex(p, json_string_value(regex), json_string_length(regex), behavior, invert, where, err);
    if (!json_is_string(string))
        return hs_err_set(err, -EINVAL, "%s: pattern must be {\"Regex\": …} or {\"String\": …}", where);
    hs_buf quoted;
    hs_buf_init(&quoted, HS__MAX_PATTERN);
    if (quote(json_string_value(string), json_string_length(string), &quoted) < 0)
        r = hs_err_set(err, quoted.failed, "%s: the pattern is too long, or out of memory", where);
    else
        r = add_regex(p, quoted.data ? quoted.data : "", quoted.len, behavior, invert, where, err);
    hs_buf_deinit(&quoted);
    return r;
}

static int parse_byte_level(hs__pretok *p, const json_t *json, const char *where, hs_err *err)
{
    bool prefix, regex;
    int r = hs_json_bool_or(json, where, "add_prefix_space", true, &prefix, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "use_regex", true, &regex, err);
    if (r == 0 && prefix)
        r = add_step(p, (hs__step){.regex = NULL}, where, err);
    if (r == 0 && regex)
        r = add_regex(p, byte_level_pattern, sizeof byte_level_pattern - 1, HS__ISOLATED, false, where, err);
    p->is_byte_level = true;
    return r;
}

static int parse_digits(hs__pretok *p, const json_t *json, const char *where, hs_err *err)
{
    bool individual;
    int r = hs_json_bool_or(json, where, "individual_digits", false, &individual, err);
    if (r < 0)
        return r;
    return add_regex(p, "\\p{N}", 5, individual ? HS__ISOLATED : HS__CONTIGUOUS, false, where, err);
}

static int parse_one(hs__pretok *p, const json_t *json, const char *where, hs_err *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return hs_err_set(err, -EINVAL, "%s: \"type\" must be a string", where);
    if (p->is_byte_level)
        return hs_err_set(err, -ENOTSUP, "%s: %.60s after ByteLevel is not supported", where, type);
    if (strcmp(type, "Split") == 0)
        return parse_split(p, json, where, err);
    if (strcmp(type, "ByteLevel") == 0)
        return parse_byte_level(p, json, where, err);
    if (strcmp(type, "Digits") == 0)
        return parse_digits(p, json, where, err);
    return hs_err_set(err, -ENOTSUP, "%s: %.60s is not supported", where, type);
}

int hs__pretok_parse(hs__pretok *p, const json_t *json, const char *where, hs_err *err)
{
    char place[64];
    *p = (hs__pretok){0};
    int r = 0;
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *list = json_object_get(json, "pretokenizers");
    if (!type || strcmp(type, "Sequence") != 0) {
        r = json && !json_is_null(json) ? parse_one(p, json, "pre_tokenizer", err) : 0;
    } else if (!json_is_array(list)) {
        r = hs_err_set(err, -EINVAL, "pre_tokenizer.pretokenizers must be an array");
    } else {
        for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
            snprintf(place, sizeof place, "pre_tokenizer %zu", i + 1);
            r = parse_one(p, json_array_get(list, i), place, err);
        }
    }
    if (r == 0 && !p->is_byte_level)
        r = hs_err_set(err, -ENOTSUP, "a pre_tokenizer without ByteLevel is not supported");
    if (r < 0) {
        hs_err_prefix(err, "%s", where);
        hs__pretok_deinit(p);
    }
    return r;
}

int hs__pretok_make(hs__pretok *p, const char *const *patterns, const char *where, hs_err *err)
{
    *p = (hs__pretok){.is_byte_level = true};
    int r = 0;
    for (; *patterns && r == 0; patterns++)
        r = add_regex(p, *patterns, strlen(*patterns), HS__ISOLATED, false, where, err);
    if (r < 0)
        hs__pretok_deinit(p);
    return r;
}

void hs__pretok_deinit(hs__pretok *p)
{
    for (size_t i = 0; i < p->n; i++)
        hs__regex_destroy(&p->steps[i].regex);
    *p = (hs__pretok){0};
}

uint64_t hs__pretok_bytes(const hs__pretok *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i].regex)
            n += hs__regex_bytes(p->steps[i].regex);
    return n;
}
