/* trace_read.c - see trace_read.h: what is read, from where, and what becomes of the rows of either format. */
#include "cli/trace_read.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/out.h"
#include "cli/trace_int.h"
#include "hotset/trace_format.h"

#define BITS_OF_PLACE 20 /* layer and slot in a key */

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const hs__trace_row *)a)->key, y = ((const hs__trace_row *)b)->key;
    return (x > y) - (x < y);
}

/* From rows to uses, in order. */
static int settle(hs__trace_reader *r)
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
                              (unsigned long long)(key >> BITS_OF_PLACE & HS__TRACE_MAX_STEP));
        t->n_tokens += i == 0 || key >> BITS_OF_PLACE != before >> BITS_OF_PLACE;
        t->object[i] = r->index[key >> 8 & (HS_TRACE_MAX_LAYERS - 1)] * t->n_experts + r->rows[i].expert;
        t->token[i] = t->n_tokens - 1;
        t->turn[i] = (uint16_t)(key >> (BITS_OF_PLACE + 25));
    }
    t->n = r->n_rows;
    return 0;
}

enum { NOT_A_TRACE, CSV, CALLS };

static int kind(const char *text, size_t n)
{
    size_t magic = strlen(HS_TRACE_MAGIC);
    if (n >= magic && !memcmp(text, HS_TRACE_MAGIC, magic) && (n == magic || strchr("\r\n", text[magic])))
        return CSV;
    return hs__trace_is_calls(text, n) ? CALLS : NOT_A_TRACE;
}

static int unpack(hs__trace_reader *r, const char *data, size_t len)
{
    r->window = hs_malloc(HS__TRACE_WINDOW + 1);
    r->at = r->end = r->window;
    if (!r->window || hs_gunzip_create(data, len, &r->gunzip) < 0)
        return hs_err_set(r->err, -ENOMEM, "%s: out of memory", r->where);
    return hs__trace_fill(r);
}

static int read_rows(hs__trace_reader *r, const char *data, size_t len)
{
    int e = hs_is_gzip(data, len) ? unpack(r, data, len) : 0;
    if (e < 0)
        return e;
    switch (kind(r->at, (size_t)(r->end - r->at))) {
    case CSV:
        return hs__trace_read_csv(r);
    case CALLS:
        return hs__trace_read_calls(r);
    default:
        return hs_err_set(r->err, -EINVAL, "%s: not a route trace: the first line is not '" HS_TRACE_MAGIC "'",
                          r->where);
    }
}

int hs_trace_parse(const char *data, size_t len, const char *where, bool all, hs_trace *ret, hs_err *err)
{
    hs__trace_reader *r = hs_calloc(1, sizeof *r);
    if (!r)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    *r = (hs__trace_reader){.where = where, .err = err, .at = data, .end = data + len, .all = all};
    memset(r->index, 0xff, sizeof r->index);
    int e = read_rows(r, data, len);
    if (e == 0)
        e = settle(r);
    if (e == 0)
        *ret = r->t;
    else
        hs_trace_deinit(&r->t);
    hs_gunzip_destroy(&r->gunzip);
    hs_free(r->window);
    hs_free(r->rows);
    hs_free(r);
    return e;
}

int hs_trace_read(const char *path, bool all, hs_trace *ret, hs_err *err)
{
    char *data;
    size_t len;
    int e = hs_read_input(path, HS_TRACE_MAX_BYTES, &data, &len, err);
    if (e < 0)
        return e;
    e = hs_trace_parse(data, len, path, all, ret, err);
    hs_free(data);
    return e;
}

bool hs_is_trace(const char *path)
{
    char data[HS__TRACE_MAX_LINE], text[HS__TRACE_MAX_LINE];
    struct stat st;
    hs_gunzip *z = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, data, sizeof data - 1) : -1;
    size_t n = got > 0 ? (size_t)got : 0;
    if (fd >= 0)
        close(fd);
    data[n] = '\0';
    if (!hs_is_gzip(data, n))
        return kind(data, n) != NOT_A_TRACE;
    bool is_read = hs_gunzip_create(data, n, &z) == 0 && hs_gunzip_read(z, path, text, sizeof text - 1, &n, NULL) == 0;
    hs_gunzip_destroy(&z);
    text[is_read ? n : 0] = '\0';
    return is_read && kind(text, n) != NOT_A_TRACE;
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
