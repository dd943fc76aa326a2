/* trace_read_csv.c - rows of route_trace v1 (hotset/trace_format.h), for trace_read. */
#include <string.h>

#include "cli/trace_int.h"
#include "hotset/trace_format.h"

#define MAX_WEIGHTS (1ull << 50) /* bytes of an expert, or of a layer's dense part */

/* The value of " key=" among the words of a header line; NULL if it is not there. */
static const char *find_word(const char *line, size_t n, const char *key, size_t *ret_n)
{
    size_t key_n = strlen(key);
    const char *end = line + n;
    for (const char *p = line; p < end;) {
        const char *blank = memchr(p, ' ', (size_t)(end - p)), *word_end = blank ? blank : end;
        if ((size_t)(word_end - p) > key_n && !memcmp(p, key, key_n) && p[key_n] == '=') {
            *ret_n = (size_t)(word_end - p) - key_n - 1;
            return p + key_n + 1;
        }
        p = word_end + (blank != NULL);
    }
    return NULL;
}

/* A number in [min, max] that must be there. */
static int word_number(const hs__trace_reader *r, const char *line, size_t n, const char *key, uint64_t min,
                       uint64_t max, uint64_t *ret)
{
    size_t len = 0;
    const char *at = find_word(line, n, key, &len), *end = at ? at + len : NULL;
    uint64_t v = 0;
    if (!at || !hs__trace_number(&at, end, max, &v) || at != end || v < min)
        return hs_err_set(r->err, -EINVAL, "%s:%zu: %s= must be there, from %llu to %llu", r->where, r->line, key,
                          (unsigned long long)min, (unsigned long long)max);
    *ret = v;
    return 0;
}

static void word_text(const char *line, size_t n, const char *key, char *ret, size_t cap)
{
    size_t len = 0;
    const char *at = find_word(line, n, key, &len);
    len = at && len < cap ? len : 0;
    for (size_t i = 0; i < len; i++)
        ret[i] = at[i] >= ' ' && at[i] < 0x7f ? at[i] : '?';
    ret[len] = '\0';
}

/* "# model=NAME arch=ARCH n_layer=N n_expert=N n_expert_used=N" */
static int read_model(hs__trace_reader *r, const char *line, size_t n)
{
    uint64_t experts, used;
    if (r->t.is_counted)
        return hs__trace_bad(r, "a second line with n_expert");
    int e = word_number(r, line, n, "n_expert", 1, UINT16_MAX + 1u, &experts);
    if (e == 0)
        e = word_number(r, line, n, "n_expert_used", 1, HS__TRACE_MAX_SLOT + 1, &used);
    if (e < 0)
        return e;
    word_text(line, n, "model", r->t.model, sizeof r->t.model);
    word_text(line, n, "arch", r->t.arch, sizeof r->t.arch);
    r->t.n_experts = (uint32_t)experts;
    r->t.top_k = (uint32_t)used;
    r->t.is_counted = true;
    return 0;
}

/* "# layer=L expert_bytes=N dense_bytes=N" */
static int read_layer(hs__trace_reader *r, const char *line, size_t n)
{
    uint64_t layer, bytes;
    int e = word_number(r, line, n, "layer", 0, HS_TRACE_MAX_LAYERS - 1, &layer);
    if (e == 0)
        e = word_number(r, line, n, "expert_bytes", 0, MAX_WEIGHTS, &bytes);
    if (e < 0)
        return e;
    for (size_t above = layer; above < HS_TRACE_MAX_LAYERS; above++)
        if (r->index[above] != HS__TRACE_ABSENT)
            return hs__trace_bad(r, "layers must rise");
    r->index[layer] = (uint16_t)r->t.n_moe_layers;
    return hs__trace_add_layer(r, bytes);
}

/* Everything up to the line of column names. */
static int read_header(hs__trace_reader *r)
{
    const char *line;
    size_t n, len;
    bool at_rows = false;
    int got = hs__trace_line(r, &line, &n); /* the first is known */
    while (got > 0 && !at_rows && (got = hs__trace_line(r, &line, &n)) > 0) {
        int e = 0;
        at_rows = n == strlen(HS_TRACE_HEADER) && !memcmp(line, HS_TRACE_HEADER, n);
        if (!at_rows && (!n || *line != '#'))
            return hs__trace_bad(r, "expected a # line or '" HS_TRACE_HEADER "'");
        if (find_word(line, n, "n_expert", &len))
            e = read_model(r, line, n);
        else if (find_word(line, n, "layer", &len))
            e = read_layer(r, line, n);
        if (e < 0)
            return e;
    }
    if (got < 0)
        return got;
    if (!r->t.is_counted || !r->t.n_moe_layers || !at_rows)
        return hs__trace_bad(r, "the header ends without n_expert=, layer= or '" HS_TRACE_HEADER "'");
    return hs__trace_check_objects(r);
}

/* One column with its comma (the last has none). */
static bool column(const char **at, const char *end, uint64_t max, bool is_last, uint64_t *ret)
{
    if (!hs__trace_number(at, end, max, ret) || (is_last ? *at != end : *at == end || **at != ','))
        return false;
    *at += !is_last;
    return true;
}

static bool weight_column(const char **at, const char *end)
{
    if (!hs__trace_weight(at, end) || *at == end || **at != ',')
        return false;
    ++*at;
    return true;
}

static int read_row(hs__trace_reader *r, const char *line, size_t n)
{
    enum { TURN, PHASE, STEP, LAYER, SLOT, EXPERT };
    const uint64_t max[] = {HS__TRACE_MAX_TURN, 1, HS__TRACE_MAX_STEP, HS_TRACE_MAX_LAYERS - 1, r->t.top_k - 1,
                            r->t.n_experts - 1};
    static const char *const name[] = {"turn", "phase", "step", "layer", "slot", "expert"};
    const char *at = line, *end = line + n;
    uint64_t v[6], rest;
    for (int i = TURN; i <= EXPERT; i++)
        if (!column(&at, end, max[i], false, &v[i]))
            return hs_err_set(r->err, -EINVAL, "%s:%zu: %s is not a number from 0 to %llu", r->where, r->line, name[i],
                              (unsigned long long)max[i]);
    if (!weight_column(&at, end) || !column(&at, end, 1, false, &rest) || !column(&at, end, MAX_WEIGHTS, true, &rest))
        return hs__trace_bad(r, "weight, residency or expert_bytes is not what it must be");
    if (r->index[v[LAYER]] == HS__TRACE_ABSENT)
        return hs__trace_bad(r, "the header does not list this layer");
    if (!r->all && v[PHASE] == 0)
        return 0;
    return hs__trace_add_row(r, hs__trace_key(v[TURN], v[PHASE], v[STEP], v[LAYER], v[SLOT]), (uint32_t)v[EXPERT]);
}

int hs__trace_read_csv(hs__trace_reader *r)
{
    const char *line;
    size_t n;
    int e = read_header(r), got = 1;
    while (e == 0 && (got = hs__trace_line(r, &line, &n)) > 0)
        if (n)
            e = read_row(r, line, n);
    return e < 0 ? e : got;
}
