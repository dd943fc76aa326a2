/*
 * nfc.c - NFC, NFD, NFKC, NFKD over utf8proc's tables.
 * Marks are put into canonical order here, with a counting sort per run of marks: utf8proc's own ordering takes
 * quadratic time on a long run, which a request could be made of.
 * The reference tokenizers normalise with the tables of Unicode 9: what has been added since (is_young) stays where it
 * is. The table was made by asking the reference about every mark; compositions differ in one character.
 */
#include "text/nfc.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "text/utf8.h"

#define YOUNG_COMPOSED 0x11938 /* composed of U+11935 and U+11930, but not yet to the reference */
#define YOUNG_SECOND   0x11930
#define MAX_EXPANSION  32 /* more than one character ever decomposes into */

static int parse_one(hs__normalizer *n, const json_t *json, const char *where, hs_err *err)
{
    static const char *const names[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return hs_err_set(err, -EINVAL, "%s: normalizer: \"type\" must be a string", where);
    if (n->n == HS__MAX_NORMALIZERS)
        return hs_err_set(err, -E2BIG, "%s: more than %d normalizers", where, HS__MAX_NORMALIZERS);
    for (int i = 0; i < 4; i++) {
        if (strcmp(type, names[i]) == 0) {
            n->forms[n->n++] = (hs__form)i;
            return 0;
        }
    }
    return hs_err_set(err, -ENOTSUP, "%s: normalizer %.60s is not supported", where, type);
}

int hs__normalizer_parse(hs__normalizer *n, const json_t *json, const char *where, hs_err *err)
{
    n->n = 0;
    if (!json || json_is_null(json))
        return 0;
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type || strcmp(type, "Sequence") != 0)
        return parse_one(n, json, where, err);
    const json_t *list = json_object_get(json, "normalizers");
    if (!json_is_array(list))
        return hs_err_set(err, -EINVAL, "%s: normalizer.normalizers must be an array", where);
    int r = 0;
    for (size_t i = 0; i < json_array_size(list) && r == 0; i++)
        r = parse_one(n, json_array_get(list, i), where, err);
    return r;
}

/* No character below U+0300 combines with anything, and none below U+00A0 decomposes. */
static bool is_inert(hs__form form, const char *text, size_t len)
{
    unsigned char bound = form == HS__NFC ? 0xcc : 0x80;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= bound)
            return false;
    return true;
}

/* Marks younger than the reference's tables: to it they are characters that combine with nothing. */
static bool is_young(int32_t cp)
{
    static const int32_t ranges[][2] = {
        /* clang-format off */
        {0x007fd, 0x007fd}, {0x00898, 0x0089f}, {0x008ca, 0x008d3}, {0x009fe, 0x009fe}, {0x00c3c, 0x00c3c},
        {0x00d3b, 0x00d3c}, {0x00eba, 0x00eba}, {0x01715, 0x01715}, {0x01abf, 0x01ace}, {0x01df6, 0x01dfa},
        {0x0a82c, 0x0a82c}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
        {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
        {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
        {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
        {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
        {0x1e4ec, 0x1e4ef},
        /* clang-format on */
    };
    size_t lo = 0, hi = sizeof ranges / sizeof *ranges;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ranges[mid][1] < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof ranges / sizeof *ranges && ranges[lo][0] <= cp;
}

static uint8_t mark_class(int32_t cp)
{
    uint8_t c = cp < 0x300 ? 0 : (uint8_t)utf8proc_get_property(cp)->combining_class;
    return c && !is_young(cp) ? c : 0;
}

/* Stable, O(n): the classes of a run are few and below 256. */
static void sort_run(int32_t *run, int32_t *tmp, size_t n)
{
    size_t place[257] = {0};
    for (size_t i = 0; i < n; i++)
        place[mark_class(run[i]) + 1]++;
    for (int c = 0; c < 256; c++)
        place[c + 1] += place[c];
    for (size_t i = 0; i < n; i++)
        tmp[place[mark_class(run[i])]++] = run[i];
    memcpy(run, tmp, n * sizeof *run);
}

static void order_marks(int32_t *cps, int32_t *tmp, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t begin = i;
        bool sorted = true;
        uint8_t before = 0, c;
        for (; i < n && (c = mark_class(cps[i])) != 0; i++) {
            sorted = sorted && c >= before;
            before = c;
        }
        if (!sorted)
            sort_run(cps + begin, tmp, i - begin);
        i += i == begin;
    }
}

/* Decomposes text into *ret_cps (hs_free), which has room for as many again behind it. */
static int decompose(hs__form form, const char *text, size_t len, int32_t **ret_cps, size_t *ret_n)
{
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    if (form == HS__NFKC || form == HS__NFKD)
        options |= UTF8PROC_COMPAT;
    size_t n = 0, cap = 0, max = MAX_EXPANSION * (len + 1);
    int32_t *cps = NULL;
    int r = hs_grow(&cps, 2 * sizeof *cps, len + MAX_EXPANSION, &cap, max);
    for (size_t i = 0; i < len && r == 0;) {
        uint32_t cp = 0;
        int boundclass = 0;
        i += (size_t)hs__utf8_decode(text + i, len - i, &cp);
        utf8proc_ssize_t k = 0;
        if (cp == YOUNG_COMPOSED)
            cps[n++] = YOUNG_COMPOSED;
        else
            k = utf8proc_decompose_char((int32_t)cp, cps + n, (utf8proc_ssize_t)(cap - n), options, &boundclass);
        n += k > 0 ? (size_t)k : 0;
        r = hs_grow(&cps, 2 * sizeof *cps, n + MAX_EXPANSION, &cap, max);
    }
    if (r < 0) {
        hs_free(cps);
        return r;
    }
    *ret_cps = cps;
    *ret_n = n;
    order_marks(cps, cps + cap, n);
    return 0;
}

/* Composes in place; returns what is left of n. Nothing composes across a young mark. */
static size_t compose(int32_t *cps, size_t n)
{
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        size_t begin = i;
        while (i < n && (i == begin || !(cps[i] == YOUNG_SECOND || is_young(cps[i]))))
            i++;
        utf8proc_ssize_t k =
            utf8proc_normalize_utf32(cps + begin, (utf8proc_ssize_t)(i - begin), UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        memmove(cps + out, cps + begin, (size_t)k * sizeof *cps);
        out += (size_t)k;
    }
    return out;
}

static int apply(hs__form form, const char *text, size_t len, char **ret, size_t *ret_len)
{
    int32_t *cps;
    size_t n;
    int r = decompose(form, text, len, &cps, &n);
    if (r < 0)
        return r;
    if (form == HS__NFC || form == HS__NFKC)
        n = compose(cps, n);
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += cps[i] < 0x80 ? 1 : cps[i] < 0x800 ? 2 : cps[i] < 0x10000 ? 3 : 4;
    char *out = hs_malloc(at + 1);
    at = 0;
    for (size_t i = 0; i < n && out; i++)
        at += hs__utf8_encode((uint32_t)cps[i], out + at);
    hs_free(cps);
    if (!out)
        return -ENOMEM;
    *ret = out;
    *ret_len = at;
    return 0;
}

int hs__normalize(const hs__normalizer *n, const char *text, size_t len, const char **ret_text, size_t *ret_len,
                  char **ret_owned)
{
    char *owned = NULL;
    for (size_t i = 0; i < n->n; i++) {
        if (is_inert(n->forms[i], text, len))
            continue;
        char *next;
        int r = apply(n->forms[i], text, len, &next, &len);
        hs_free(owned);
        if (r < 0)
            return r;
        text = owned = next;
    }
    *ret_text = text;
    *ret_len = len;
    *ret_owned = owned;
    return 0;
}
