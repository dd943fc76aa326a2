/* spm.c - SentencePiece-like text: blanks, stretches, and what tokenizer.json says about them. */
#include "text/spm.h"

#include <string.h>

#include "base/mem.h"

void hs__spm_look(hs__spm *s, const hs__vocab *v)
{
    s->cuts = hs__vocab_find(v, " ", 1, HS__PLAIN) != HS_NO_TOKEN;
    for (uint32_t i = 0; i < v->n_tokens && s->cuts; i++) {
        const hs__token *t = &v->tokens[i];
        const char *p = v->bytes + t->offset;
        for (uint32_t k = 1; t->kind == HS__PLAIN && k < t->len; k++)
            s->cuts = s->cuts && !(p[k] == ' ' && p[k - 1] != ' ');
    }
}

int hs__spm_prepare(const hs__spm *s, bool is_first, const char *text, size_t len, char **ret_text, size_t *ret_len)
{
    char *out = hs_malloc(len + 1);
    if (!out)
        return -ENOMEM;
    size_t n = hs__blank_marks(text, len, out + 1);
    bool due = s->prefix == HS__PREFIX_ALWAYS || (s->prefix == HS__PREFIX_FIRST && is_first);
    if (due && !(s->is_metaspace && out[1] == ' '))
        out[0] = ' ', n++;
    else
        memmove(out, out + 1, n);
    *ret_text = out;
    *ret_len = n;
    return 0;
}

int hs__spm_run(const hs__spm *s, const char *text, size_t len, hs__emit *emit, void *ctx)
{
    size_t begin = 0;
    for (size_t i = 1; s->cuts && i < len; i++) {
        if (text[i] != ' ' || text[i - 1] == ' ')
            continue;
        int r = emit(ctx, text + begin, i - begin);
        if (r < 0)
            return r;
        begin = i;
    }
    return emit(ctx, text + begin, len - begin);
}

static bool is_type(const json_t *json, const char *type)
{
    const char *name = json_string_value(json_object_get(json, "type"));
    return name && strcmp(name, type) == 0;
}

static bool is_text(const json_t *json, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(json, key));
    return value && strcmp(value, text) == 0;
}

static bool is_replace(const json_t *json, const char *from, const char *to)
{
    return is_type(json, "Replace") && is_text(json_object_get(json, "pattern"), "String", from) &&
           is_text(json, "content", to);
}

static int refuse(const json_t *json, const char *what, const char *where, hs_err *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    return hs_err_set(err, -ENOTSUP, "%s: %s %.60s is not supported like this with byte_fallback", where, what,
                      type ? type : "(none)");
}

/* The n-th of the steps in a "Sequence" (its list under key), or json itself as the only one; NULL behind the last. */
static const json_t *step(const json_t *json, const char *key, size_t n)
{
    if (is_type(json, "Sequence"))
        return json_array_get(json_object_get(json, key), n);
    return n || json_is_null(json) ? NULL : json;
}

/* "▁" in front, then "▁" for each blank. */
static int parse_normalizer(hs__spm *s, const json_t *json, const char *where, bool *ret_replaces, hs_err *err)
{
    size_t n = 0;
    const json_t *at = step(json, "normalizers", n);
    if (is_type(at, "Prepend") && is_text(at, "prepend", HS__BLANK)) {
        s->prefix = HS__PREFIX_ALWAYS;
        at = step(json, "normalizers", ++n);
    }
    *ret_replaces = is_replace(at, " ", HS__BLANK);
    if (*ret_replaces)
        at = step(json, "normalizers", ++n);
    return at || (s->prefix && !*ret_replaces) ? refuse(at, "normalizer", where, err) : 0;
}

static int parse_metaspace(hs__spm *s, const json_t *json, const char *where, hs_err *err)
{
    static const char *const schemes[] = {"never", "first", "always"};
    bool split, prefix;
    int r = hs_json_bool_or(json, where, "split", true, &split, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "add_prefix_space", true, &prefix, err);
    if (r < 0)
        return r;
    s->is_metaspace = true;
    s->prefix = prefix ? HS__PREFIX_ALWAYS : HS__PREFIX_NEVER;
    const json_t *scheme = json_object_get(json, "prepend_scheme");
    bool known = !scheme;
    for (int i = 0; i < 3; i++) {
        if (is_text(json, "prepend_scheme", schemes[i])) {
            s->prefix = (hs__prefix)i;
            known = true;
        }
    }
    return known && !split && is_text(json, "replacement", HS__BLANK) ? 0 : refuse(json, "pre_tokenizer", where, err);
}

/* Blanks for "▁", bytes, all together; perhaps without a blank at the begin. */
static int parse_decoder(hs__spm *s, const json_t *json, const char *where, hs_err *err)
{
    size_t n = 0;
    const json_t *at = step(json, "decoders", n);
    if (!is_replace(at, HS__BLANK, " "))
        return refuse(at, "decoder", where, err);
    static const char *const types[] = {"ByteFallback", "Fuse"};
    for (int i = 0; i < 2; i++) {
        at = step(json, "decoders", ++n);
        if (!is_type(at, types[i]))
            return refuse(at, "decoder", where, err);
    }
    at = step(json, "decoders", ++n);
    s->strips = is_type(at, "Strip") && is_text(at, "content", " ") &&
                json_integer_value(json_object_get(at, "start")) == 1 &&
                json_integer_value(json_object_get(at, "stop")) == 0;
    if (s->strips)
        at = step(json, "decoders", ++n);
    return at ? refuse(at, "decoder", where, err) : 0;
}

int hs__spm_parse(hs__spm *s, const json_t *normalizer, const json_t *pre_tokenizer, const json_t *decoder,
                  const char *where, hs_err *err)
{
    *s = (hs__spm){.on = true};
    bool replaces;
    int r = parse_normalizer(s, normalizer, where, &replaces, err);
    if (r == 0 && !replaces && is_type(pre_tokenizer, "Metaspace"))
        r = parse_metaspace(s, pre_tokenizer, where, err);
    else if (r == 0 && (!replaces || (pre_tokenizer && !json_is_null(pre_tokenizer))))
        r = refuse(pre_tokenizer, "pre_tokenizer", where, err);
    return r < 0 ? r : parse_decoder(s, decoder, where, err);
}
