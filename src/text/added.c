/*
 * added.c - finding added tokens, leftmost and longest, in sorted keys: the candidates at a place are a range of the
 * sorted list that narrows byte by byte. A bitmap of first bytes skips the places where none begins.
 */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "text/utf8.h"

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* \w as Unicode defines it: alphabetic, marks, decimal digits, connectors, joiners. */
static bool is_word(uint32_t c)
{
    utf8proc_category_t g = utf8proc_category((int32_t)c);
    return (g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_NL) || g == UTF8PROC_CATEGORY_PC || c == 0x200c ||
           c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* The character before `at`; its begin in *ret_begin. at > 0. */
static uint32_t char_before(const char *text, size_t at, size_t *ret_begin)
{
    uint32_t cp = 0;
    size_t i = at - 1;
    while (i && ((unsigned char)text[i] & 0xc0) == 0x80)
        i--;
    (void)hs__utf8_decode(text + i, at - i, &cp);
    *ret_begin = i;
    return cp;
}

static bool word_before(const char *text, size_t at)
{
    size_t begin;
    return at && is_word(char_before(text, at, &begin));
}

static bool word_after(const char *text, size_t len, size_t at)
{
    uint32_t cp = 0;
    if (at < len)
        (void)hs__utf8_decode(text + at, len - at, &cp);
    return at < len && is_word(cp);
}

static size_t strip_left(const char *text, size_t at, size_t floor)
{
    size_t begin;
    while (at > floor && is_space(char_before(text, at, &begin)))
        at = begin;
    return at;
}

static size_t strip_right(const char *text, size_t len, size_t at)
{
    while (at < len) {
        uint32_t cp = 0;
        int n = hs__utf8_decode(text + at, len - at, &cp);
        if (!is_space(cp))
            break;
        at += (size_t)n;
    }
    return at;
}

/* First of [lo, hi) whose byte at depth is >= c; all of them are longer than depth. */
static uint32_t lower_bound(const hs__added *all, uint32_t lo, uint32_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)all[mid].key[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest key that text begins with and that may be found there, or NULL. */
static const hs__added *longest(const hs__added *all, uint32_t lo, uint32_t hi, const char *text,
                                const uint8_t *is_input, size_t len)
{
    const hs__added *best = NULL;
    bool has_input = false;
    for (size_t depth = 0; lo < hi; depth++) {
        if (all[lo].key_len == depth) {
            if (!has_input || all[lo].is_blank)
                best = &all[lo];
            while (lo < hi && all[lo].key_len == depth)
                lo++;
        }
        if (depth == len)
            break;
        has_input = has_input || (is_input && is_input[depth]);
        unsigned c = (unsigned char)text[depth];
        lo = lower_bound(all, lo, hi, depth, c);
        hi = lower_bound(all, lo, hi, depth, c + 1);
    }
    return best;
}

bool hs__added_next(const hs__added_list *l, bool normalized, const char *text, const uint8_t *is_input, size_t len,
                    size_t *pos, size_t floor, size_t *ret_begin, size_t *ret_end, uint32_t *ret_id)
{
    uint32_t lo = normalized ? l->n_raw : 0, hi = normalized ? l->n : l->n_raw;
    const uint8_t *first = l->first[normalized];
    if (lo == hi)
        return false;
    for (size_t i = *pos; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!(first[c / 8] >> c % 8 & 1))
            continue;
        const hs__added *a = longest(l->all, lo, hi, text + i, is_input ? is_input + i : NULL, len - i);
        if (!a)
            continue;
        size_t end = i + a->key_len;
        if (i < floor || (a->single_word && (word_before(text, i) || word_after(text, len, end)))) {
            i = end - 1;
            continue;
        }
        *pos = end;
        *ret_begin = a->lstrip ? strip_left(text, i, floor) : i;
        *ret_end = a->rstrip ? strip_right(text, len, end) : end;
        *ret_id = a->id;
        return true;
    }
    return false;
}

static int compare(const void *pa, const void *pb)
{
    const hs__added *a = pa, *b = pb;
    if (a->normalized != b->normalized)
        return a->normalized ? 1 : -1;
    size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int c = memcmp(a->key, b->key, n);
    if (c)
        return c;
    if (a->key_len != b->key_len)
        return a->key_len < b->key_len ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int parse_flags(hs__added *a, const json_t *json, const char *where, hs_err *err)
{
    int r = hs_json_bool_or(json, where, "special", false, &a->special, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "normalized", !a->special, &a->normalized, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "lstrip", false, &a->lstrip, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "rstrip", false, &a->rstrip, err);
    if (r == 0)
        r = hs_json_bool_or(json, where, "single_word", false, &a->single_word, err);
    return r;
}

/* What is looked for: for a normalised token its normalised text. */
static int make_key(hs__added *a, const hs__normalizer *n)
{
    const char *key = a->text;
    char *owned = NULL;
    a->key_len = a->text_len;
    if (a->normalized) {
        int r = hs__normalize(n, a->text, a->text_len, &key, &a->key_len, &owned);
        if (r < 0)
            return r;
        if (owned)
            a->key = owned;
    }
    return 0;
}

int hs__added_init(hs__added_list *l, size_t n, const char *where, hs_err *err)
{
    *l = (hs__added_list){0};
    if (n > HS__MAX_ADDED)
        return hs_err_set(err, -E2BIG, "%s: %zu added tokens; at most %u are possible", where, n, HS__MAX_ADDED);
    l->all = hs_calloc(n + 1, sizeof *l->all);
    return l->all ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", where);
}

static bool is_blank_text(const char *text, size_t len)
{
    return strip_right(text, len, 0) == len;
}

int hs__added_put(hs__added_list *l, hs__added a, const char *text, size_t len, const hs__normalizer *n,
                  hs__vocab *vocab, const char *where, hs_err *err)
{
    if (len == 0 || len > HS__MAX_ADDED_LEN)
        return hs_err_set(err, -EINVAL, "%s: content has %zu bytes; 1 to %u are possible", where, len,
                          HS__MAX_ADDED_LEN);
    hs__added *place = &l->all[l->n++];
    *place = a;
    place->text_len = len;
    place->text = place->key = hs_malloc(len + 1);
    if (!place->text)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    memcpy(place->text, text, len);
    place->text[len] = '\0';
    place->is_blank = !a.special && is_blank_text(text, len);
    int r = make_key(place, n);
    if (r == 0)
        r = hs__vocab_override(vocab, text, len, a.id, a.special);
    if (r == -EEXIST)
        return hs_err_set(err, -EINVAL, "%s: id %u belongs to another token", where, a.id);
    return r < 0 ? hs_err_set(err, r, "%s: %s", where, hs_strerror(r)) : 0;
}

void hs__added_finish(hs__added_list *l)
{
    qsort(l->all, l->n, sizeof *l->all, compare);
    l->bytes = l->n * sizeof *l->all;
    for (uint32_t i = 0; i < l->n; i++) {
        const hs__added *a = &l->all[i];
        unsigned char c = (unsigned char)a->key[0];
        l->first[a->normalized][c / 8] |= (uint8_t)(1u << c % 8);
        l->n_raw += !a->normalized;
        l->bytes += a->text_len + 1 + (a->key == a->text ? 0 : a->key_len + 1);
    }
}

static int parse_one(hs__added_list *l, const json_t *json, const hs__normalizer *n, hs__vocab *vocab,
                     const char *where, hs_err *err)
{
    int64_t id;
    hs__added a = {0};
    const json_t *content = json_object_get(json, "content");
    int r = hs_json_int(json, where, "id", 0, HS__MAX_ID, &id, err);
    if (r == 0)
        r = parse_flags(&a, json, where, err);
    if (r < 0)
        return r;
    if (!json_is_string(content))
        return hs_err_set(err, -EINVAL, "%s: content must be a string", where);
    a.id = (uint32_t)id;
    return hs__added_put(l, a, json_string_value(content), json_string_length(content), n, vocab, where, err);
}

int hs__added_parse(hs__added_list *l, const json_t *json, const hs__normalizer *n, hs__vocab *vocab, const char *where,
                    hs_err *err)
{
    *l = (hs__added_list){0};
    size_t count = json_array_size(json);
    if (json && !json_is_null(json) && !json_is_array(json))
        return hs_err_set(err, -EINVAL, "%s: added_tokens must be an array", where);
    int r = hs__added_init(l, count, where, err);
    for (size_t i = 0; i < count && r == 0; i++) {
        r = parse_one(l, json_array_get(json, i), n, vocab, "added token", err);
        if (r < 0)
            hs_err_prefix(err, "%s: added_tokens[%zu]", where, i);
    }
    if (r < 0)
        hs__added_deinit(l);
    else
        hs__added_finish(l);
    return r;
}

void hs__added_deinit(hs__added_list *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->all[i].key != l->all[i].text)
            hs_free(l->all[i].key);
        hs_free(l->all[i].text);
    }
    hs_free(l->all);
    *l = (hs__added_list){0};
}

const hs__added *hs__added_find(const hs__added_list *l, const char *text)
{
    size_t len = strlen(text);
    for (uint32_t i = 0; i < l->n; i++)
        if (l->all[i].text_len == len && memcmp(l->all[i].text, text, len) == 0)
            return &l->all[i];
    return NULL;
}
