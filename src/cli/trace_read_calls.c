/*
 * trace_read_calls.c - rows of colibri's ROUTE_TRACE, for trace_read: one line for each row of a layer's batch,
 *
 *   CALL ROW LAYER EXPERT:GATE EXPERT:GATE ...
 *
 * CALL rises by each layer that runs, ROW counts the tokens of the batch. It says neither how many experts there are
 * nor where a token, a prompt or a conversation begins, so:
 *   - a pass through the model ends where the next call's layer does not lie above the last one's;
 *   - a pass of one row generates a token (decode), one of more reads a prompt (prefill);
 *   - a prompt after a generated token begins a turn;
 *   - a layer has as many experts as the highest that is named anywhere, and one.
 */
#include <string.h>

#include "cli/trace_int.h"

#define MAX_CALL 0x7fffffffu /* an int there */
#define MAX_ROW  0xffffffu

typedef struct calls {
    hs__trace_reader *r;
    bool has_call, was_decode;
    uint64_t call, layer; /* of the last line */
    uint64_t turn, step;  /* of the pass under way: its first token */
    uint64_t n_rows;      /* of it, so far */
    size_t first;         /* of r->rows: where it begins */
} calls;

/* CALL ROW LAYER, each with its blank. */
static bool read_place(const char **at, const char *end, uint64_t ret[3])
{
    static const uint64_t max[3] = {MAX_CALL, MAX_ROW, HS_TRACE_MAX_LAYERS - 1};
    for (int i = 0; i < 3; i++) {
        if (!hs__trace_number(at, end, max[i], &ret[i]) || *at == end || **at != ' ')
            return false;
        ++*at;
    }
    return true;
}

bool hs__trace_is_calls(const char *text, size_t n)
{
    uint64_t v[3], expert;
    const char *end = text + n;
    return read_place(&text, end, v) && hs__trace_number(&text, end, UINT16_MAX, &expert) && text < end && *text == ':';
}

/* The pass is over: only now is it known what its rows are of. They were added as of turn 0, prefill, step ROW. */
static int end_pass(calls *c)
{
    hs__trace_reader *r = c->r;
    bool decode = c->n_rows == 1;
    if (!decode && c->was_decode) {
        c->turn++;
        c->step = 0;
    }
    if (c->turn > HS__TRACE_MAX_TURN || c->step + c->n_rows > HS__TRACE_MAX_STEP)
        return hs__trace_bad(r, "more turns or tokens than a trace may have");
    uint64_t begin = hs__trace_key(c->turn, decode, c->step, 0, 0);
    if (!decode && !r->all)
        r->n_rows = c->first;
    for (size_t i = c->first; i < r->n_rows; i++)
        r->rows[i].key += begin;
    c->first = r->n_rows;
    c->step += c->n_rows;
    c->n_rows = 0;
    c->was_decode = decode;
    return 0;
}

/* EXPERT:GATE ..., up to the end of the line. */
static int read_uses(calls *c, const char *at, const char *end, uint64_t row, uint64_t layer)
{
    hs__trace_reader *r = c->r;
    uint32_t slot = 0;
    uint64_t expert;
    int e = 0;
    do {
        if (slot > HS__TRACE_MAX_SLOT)
            return hs__trace_bad(r, "more than 256 experts");
        if (!hs__trace_number(&at, end, UINT16_MAX, &expert) || at == end || *at++ != ':' ||
            !hs__trace_weight(&at, end) || (at < end && *at != ' '))
            return hs__trace_bad(r, "expected EXPERT:GATE, EXPERT from 0 to 65535");
        e = hs__trace_add_row(r, hs__trace_key(0, 0, row, layer, slot++), (uint32_t)expert);
        r->t.n_experts = expert >= r->t.n_experts ? (uint32_t)expert + 1 : r->t.n_experts;
    } while (e == 0 && at++ < end);
    r->t.top_k = slot > r->t.top_k ? slot : r->t.top_k;
    return e;
}

static int read_call(calls *c, const char *line, size_t n)
{
    enum { CALL, ROW, LAYER };
    const char *at = line, *end = line + n;
    uint64_t v[3];
    if (!read_place(&at, end, v))
        return hs__trace_bad(c->r, "expected CALL ROW LAYER, LAYER below 4096");
    if (c->has_call && (v[CALL] < c->call || (v[CALL] == c->call && v[LAYER] != c->layer)))
        return hs__trace_bad(c->r, "calls must rise, and have one layer each");
    int e = c->has_call && v[CALL] != c->call && v[LAYER] <= c->layer ? end_pass(c) : 0;
    c->has_call = true;
    c->call = v[CALL];
    c->layer = v[LAYER];
    c->n_rows = v[ROW] >= c->n_rows ? v[ROW] + 1 : c->n_rows;
    c->r->index[v[LAYER]] = 0;
    return e < 0 ? e : read_uses(c, at, end, v[ROW], v[LAYER]);
}

int hs__trace_read_calls(hs__trace_reader *r)
{
    calls c = {.r = r};
    const char *line;
    size_t n;
    int e = 0, got = 1;
    while (e == 0 && (got = hs__trace_line(r, &line, &n)) > 0)
        if (n)
            e = read_call(&c, line, n);
    e = e == 0 ? got : e;
    if (e == 0)
        e = end_pass(&c);
    for (size_t l = 0; e == 0 && l < HS_TRACE_MAX_LAYERS; l++) {
        if (r->index[l] == HS__TRACE_ABSENT)
            continue;
        r->index[l] = (uint16_t)r->t.n_moe_layers;
        e = hs__trace_add_layer(r, 0);
    }
    return e < 0 ? e : hs__trace_check_objects(r);
}
