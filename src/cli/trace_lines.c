/* trace_lines.c - see trace_int.h: lines of a trace, what stands in one, and the rows that readers make of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/trace_int.h"

#define MAX_ROWS (HS_TRACE_MAX_BYTES / 18) /* a route_trace row is no shorter */

int hs__trace_bad(const hs__trace_reader *r, const char *what)
{
    return hs_err_set(r->err, -EINVAL, "%s:%zu: %s", r->where, r->line, what);
}

int hs__trace_fill(hs__trace_reader *r)
{
    size_t left = (size_t)(r->end - r->at), n = 1;
    memmove(r->window, r->at, left);
    while (left < HS__TRACE_WINDOW && n > 0) {
        int e = hs_gunzip_read(r->gunzip, r->where, r->window + left, HS__TRACE_WINDOW - left, &n, r->err);
        if (e < 0)
            return e;
        left += n;
        r->n_unpacked += n;
    }
    if (n == 0)
        hs_gunzip_destroy(&r->gunzip);
    if (r->n_unpacked > HS_TRACE_MAX_BYTES)
        return hs_err_set(r->err, -E2BIG, "%s: unpacked, more than %u bytes", r->where, HS_TRACE_MAX_BYTES);
    r->window[left] = '\0';
    r->at = r->window;
    r->end = r->window + left;
    return 0;
}

int hs__trace_line(hs__trace_reader *r, const char **ret_line, size_t *ret_n)
{
    const char *nl = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!nl && r->gunzip && r->end - r->at <= HS__TRACE_MAX_LINE) {
        int e = hs__trace_fill(r);
        if (e < 0)
            return e;
        nl = memchr(r->at, '\n', (size_t)(r->end - r->at));
    }
    if (r->at == r->end)
        return 0;
    size_t n = (size_t)((nl ? nl : r->end) - r->at);
    r->line++;
    if (n > HS__TRACE_MAX_LINE)
        return hs__trace_bad(r, "the line is too long");
    *ret_line = r->at;
    r->at += n + (nl != NULL);
    *ret_n = n - (n && (*ret_line)[n - 1] == '\r');
    return 1;
}

bool hs__trace_number(const char **at, const char *end, uint64_t max, uint64_t *ret)
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

bool hs__trace_weight(const char **at, const char *end)
{
    char *stop;
    if (*at == end || !strchr("-.0123456789", **at) || !isfinite(strtod(*at, &stop)) || stop == *at || stop > end)
        return false;
    *at = stop;
    return true;
}

int hs__trace_add_layer(hs__trace_reader *r, uint64_t expert_bytes)
{
    int e = hs_grow(&r->t.expert_bytes, sizeof *r->t.expert_bytes, r->t.n_moe_layers + 1, &r->cap_layers,
                    HS_TRACE_MAX_LAYERS);
    if (e < 0)
        return hs_err_set(r->err, e, "%s: out of memory for its layers", r->where);
    r->t.expert_bytes[r->t.n_moe_layers++] = expert_bytes;
    return 0;
}

int hs__trace_add_row(hs__trace_reader *r, uint64_t key, uint32_t expert)
{
    int e = hs_grow(&r->rows, sizeof *r->rows, r->n_rows + 1, &r->cap_rows, MAX_ROWS);
    if (e == -E2BIG)
        return hs_err_set(r->err, e, "%s:%zu: more than %u uses", r->where, r->line, MAX_ROWS);
    if (e < 0)
        return hs_err_set(r->err, e, "%s: out of memory for its rows", r->where);
    r->rows[r->n_rows++] = (hs__trace_row){key, expert};
    return 0;
}

int hs__trace_check_objects(const hs__trace_reader *r)
{
    if ((uint64_t)r->t.n_moe_layers * r->t.n_experts > HS_TRACE_MAX_OBJECTS)
        return hs__trace_bad(r, "more than 2^20 experts");
    return 0;
}
