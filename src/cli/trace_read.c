/* trace_read.c - see trace_read.h. */
#include "cli/trace_read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/out.h"
#include "hotset/trace_format.h"

#define MAX_LINE      4096
#define MAX_TURN      UINT16_MAX
#define MAX_STEP      ((1u << 24) - 1)
#define MAX_SLOT      255
#define MAX_WEIGHTS   (1ull << 50) /* bytes of an expert, or of a layer's dense part */
#define ABSENT        UINT16_MAX
#define BYTES_OF_ROW  18 /* the shortest: nine digits, eight commas, a line end */
#define BITS_OF_PLACE 20 /* layer and slot in a key */

/* key orders rows: turn (16 bits), phase (1), step (24), layer with experts (12), slot (8). */
typedef struct row {
    uint64_t key;
    uint32_t object;
} row;

typedef struct reader {
    const char *where;
    hs_err *err;
    const char *at, *end; /* what is not read yet */
    size_t line;          /* number of the one being read */
    bool all, is_counted; /* is_counted: the line with n_expert has come */
    hs_trace t;
    size_t cap_layers;
    uint16_t index[HS_TRACE_MAX_LAYERS]; /* of a layer's number among those with experts, or ABSENT */
    row *rows;
    size_t n_rows, cap_rows, max_rows;
} reader;

static int bad(const reader *r, const char *what)
{
    return hs_err_set(r->err, -EINVAL, "%s:%zu: %s", r->where, r->line, what);
}

/* The next line, without its end; false behind the last. */
static bool next_line(reader *r, const char **ret_line, size_t *ret_n)
{
    if (r->at == r->end)
        return false;
    const char *nl = memchr(r->at, '\n', (size_t)(r->end - r->at));
    size_t n = (size_t)((nl ? nl : r->end) - r->at);
    *ret_line = r->at;
    r->at += n + (nl != NULL);
    r->line++;
    *ret_n = n - (n && (*ret_line)[n - 1] == '\r');
    return true;
}

/* Digits, at most max, then the end of the word. */
static bool number(const char **at, const char *end, uint64_t max, uint64_t *ret)
{
    const char *p = *at;
    uint64_t v = 0;
    while (p < end && *p >= '0' && *p <= '9' && v <= max)
        v = v * 10 + (uint64_t)(*p++ - '0');
    if (p == *at || v > max)
        return false;
    *at = p;
    *ret = v;
    return true;
}

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
static int word_number(const reader *r, const char *line, size_t n, const char *key, uint64_t min, uint64_t max,
                       uint64_t *ret)
{
    size_t len = 0;
    const char *at = find_word(line, n, key, &len), *end = at ? at + len : NULL;
    uint64_t v = 0;
    if (!at || !number(&at, end, max, &v) || at != end || v < min)
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
static int read_model(reader *r, const char *line, size_t n)
{
    uint64_t experts, used;
    if (r->is_counted)
        return bad(r, "a second line with n_expert");
    int e = word_number(r, line, n, "n_expert", 1, UINT16_MAX + 1u, &experts);
    if (e == 0)
        e = word_number(r, line, n, "n_expert_used", 1, MAX_SLOT + 1, &used);
    if (e < 0)
        return e;
    word_text(line, n, "model", r->t.model, sizeof r->t.model);
    word_text(line, n, "arch", r->t.arch, sizeof r->t.arch);
    r->t.n_experts = (uint32_t)experts;
    r->t.top_k = (uint32_t)used;
    r->is_counted = true;
    return 0;
}

/* "# layer=L expert_bytes=N dense_bytes=N" */
static int read_layer(reader *r, const char *line, size_t n)
{
    uint64_t layer, bytes;
    int e = word_number(r, line, n, "layer", 0, HS_TRACE_MAX_LAYERS - 1, &layer);
    if (e == 0)
        e = word_number(r, line, n, "expert_bytes", 0, MAX_WEIGHTS, &bytes);
    if (e < 0)
        return e;
    for (size_t above = layer; above < HS_TRACE_MAX_LAYERS; above++)
        if (r->index[above] != ABSENT)
            return bad(r, "layers must rise");
    e = hs_grow(&r->t.expert_bytes, sizeof *r->t.expert_bytes, r->t.n_moe_layers + 1, &r->cap_layers,
                HS_TRACE_MAX_LAYERS);
    if (e < 0)
        return hs_err_set(r->err, e, "%s: out of memory for its layers", r->where);
    r->index[layer] = (uint16_t)r->t.n_moe_layers;
    r->t.expert_bytes[r->t.n_moe_layers++] = bytes;
    return 0;
}

/* Everything up to the line of column names. */
static int read_header(reader *r)
{
    const char *line;
    size_t n, len;
    bool at_rows = false;
    if (!next_line(r, &line, &n) || n != strlen(HS_TRACE_MAGIC) || memcmp(line, HS_TRACE_MAGIC, n))
        return hs_err_set(r->err, -EINVAL, "%s: not a route trace: the first line is not '" HS_TRACE_MAGIC "'",
                          r->where);
    while (!at_rows && next_line(r, &line, &n)) {
        int e = 0;
        if (n > MAX_LINE)
            return bad(r, "the line is too long");
        at_rows = n == strlen(HS_TRACE_HEADER) && !memcmp(line, HS_TRACE_HEADER, n);
        if (!at_rows && (!n || *line != '#'))
            return bad(r, "expected a # line or '" HS_TRACE_HEADER "'");
        if (find_word(line, n, "n_expert", &len))
            e = read_model(r, line, n);
        else if (find_word(line, n, "layer", &len))
            e = read_layer(r, line, n);
        if (e < 0)
            return e;
    }
    if (!r->is_counted || !r->t.n_moe_layers || !at_rows)
        return bad(r, "the header ends without n_expert=, layer= or '" HS_TRACE_HEADER "'");
    if ((uint64_t)r->t.n_moe_layers * r->t.n_experts > HS_TRACE_MAX_OBJECTS)
        return bad(r, "more than 2^20 experts");
    return 0;
}

/* One column with its comma (the last has none). */
static bool column(const char **at, const char *end, uint64_t max, bool is_last, uint64_t *ret)
{
    if (!number(at, end, max, ret) || (is_last ? *at != end : *at == end || **at != ','))
        return false;
    *at += !is_last;
    return true;
}

static bool weight_column(const char **at, const char *end)
{
    char *stop;
    if (*at == end || !strchr("-.0123456789", **at) || !isfinite(strtod(*at, &stop)) || stop >= end || *stop != ',')
        return false;
    *at = stop + 1;
    return true;
}

static int add_row(reader *r, const char *line, size_t n)
{
    enum { TURN, PHASE, STEP, LAYER, SLOT, EXPERT };
    const uint64_t max[] = {MAX_TURN, 1, MAX_STEP, HS_TRACE_MAX_LAYERS - 1, r->t.top_k - 1, r->t.n_experts - 1};
    static const char *const name[] = {"turn", "phase", "step", "layer", "slot", "expert"};
    const char *at = line, *end = line + n;
    uint64_t v[6], rest;
    for (int i = TURN; i <= EXPERT; i++)
        if (!column(&at, end, max[i], false, &v[i]))
            return hs_err_set(r->err, -EINVAL, "%s:%zu: %s is not a number from 0 to %llu", r->where, r->line, name[i],
                              (unsigned long long)max[i]);
    if (!weight_column(&at, end) || !column(&at, end, 1, false, &rest) || !column(&at, end, MAX_WEIGHTS, true, &rest))
        return bad(r, "weight, residency or expert_bytes is not what it must be");
    uint16_t layer = r->index[v[LAYER]];
    if (layer == ABSENT)
        return bad(r, "the header does not list this layer");
    if (!r->all && v[PHASE] == 0)
        return 0;
    int e = hs_grow(&r->rows, sizeof *r->rows, r->n_rows + 1, &r->cap_rows, r->max_rows);
    if (e < 0)
        return hs_err_set(r->err, e, "%s: out of memory for its rows", r->where);
    uint64_t token = (v[TURN] << 1 | v[PHASE]) << 24 | v[STEP];
    r->rows[r->n_rows++] =
        (row){token << BITS_OF_PLACE | (uint64_t)layer << 8 | v[SLOT], layer * r->t.n_experts + (uint32_t)v[EXPERT]};
    return 0;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const row *)a)->key, y = ((const row *)b)->key;
    return (x > y) - (x < y);
}

/* From rows to uses, in order. */
static int settle(reader *r)
{
    hs_trace *t = &r->t;
    bool sorted = true;
    if (!r->n_rows)
        return hs_err_set(r->err, -EINVAL, "%s: no %s", r->where, r->all ? "rows" : "decode rows");
    for (size_t i = 1; sorted && i < r->n_rows; i++)
        sorted = r->rows[i - 1].key <= r->rows[i].key;
    if (!sorted)
        qsort(r->rows, r->n_rows, sizeof *r->rows, by_key);
    t->object = hs_calloc(r->n_rows, sizeof *t->object);
    t->token = hs_calloc(r->n_rows, sizeof *t->token);
    t->turn = hs_calloc(r->n_rows, sizeof *t->turn);
    if (!t->object || !t->token || !t->turn)
        return hs_err_set(r->err, -ENOMEM, "%s: out of memory for its rows", r->where);
    for (size_t i = 0; i < r->n_rows; i++) {
        uint64_t key = r->rows[i].key, before = i ? r->rows[i - 1].key : 0;
        if (i && key == before)
            return hs_err_set(r->err, -EINVAL, "%s: turn %llu, step %llu has two rows for one layer and slot", r->where,
                              (unsigned long long)(key >> (BITS_OF_PLACE + 25)),
                              (unsigned long long)(key >> BITS_OF_PLACE & MAX_STEP));
        t->n_tokens += i == 0 || key >> BITS_OF_PLACE != before >> BITS_OF_PLACE;
        t->object[i] = r->rows[i].object;
        t->token[i] = t->n_tokens - 1;
        t->turn[i] = (uint16_t)(key >> (BITS_OF_PLACE + 25));
    }
    t->n = r->n_rows;
    return 0;
}

int hs_trace_parse(const char *text, size_t len, const char *where, bool all, hs_trace *ret, hs_err *err)
{
    const char *line;
    size_t n;
    reader *r = hs_calloc(1, sizeof *r);
    if (!r)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    *r = (reader){.where = where, .err = err, .at = text, .end = text + len, .all = all};
    r->max_rows = len / BYTES_OF_ROW + 1;
    memset(r->index, 0xff, sizeof r->index);
    int e = read_header(r);
    while (e == 0 && next_line(r, &line, &n))
        if (n)
            e = n > MAX_LINE ? bad(r, "the line is too long") : add_row(r, line, n);
    if (e == 0)
        e = settle(r);
    if (e == 0)
        *ret = r->t;
    else
        hs_trace_deinit(&r->t);
    hs_free(r->rows);
    hs_free(r);
    return e;
}

int hs_trace_read(const char *path, bool all, hs_trace *ret, hs_err *err)
{
    char *text;
    size_t len;
    int e = hs_read_input(path, HS_TRACE_MAX_BYTES, &text, &len, err);
    if (e < 0)
        return e;
    e = hs_trace_parse(text, len, path, all, ret, err);
    hs_free(text);
    return e;
}

uint32_t hs_trace_warmup(const hs_trace *t)
{
    return t->n_tokens / 4 < HS_TRACE_MAX_WARMUP ? t->n_tokens / 4 : HS_TRACE_MAX_WARMUP;
}

void hs_trace_deinit(hs_trace *t)
{
    hs_free(t->expert_bytes);
    hs_free(t->object);
    hs_free(t->token);
    hs_free(t->turn);
    *t = (hs_trace){0};
}
