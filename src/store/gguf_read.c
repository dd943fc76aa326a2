/* gguf_read.c - bytes, numbers and strings of a GGUF header, front to back, through a window of 128 KiB. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "store/gguf_int.h"

int hs__gguf_fail(hs__gguf *g, int code, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    g->failed = code;
    return hs_err_set(g->err, code, "%s: %s: %s", g->file->path, g->subject, text);
}

static uint64_t left(const hs__gguf *g)
{
    return g->file->bytes - g->at;
}

int hs__gguf_read(hs__gguf *g, void *out, size_t n)
{
    if (n > left(g))
        return hs__gguf_fail(g, -EINVAL, "the file ends inside it");
    uint8_t *to = out;
    for (;;) {
        uint64_t skip = g->at - g->window_at;
        if (skip < g->window_len) {
            size_t k = g->window_len - skip < n ? (size_t)(g->window_len - skip) : n;
            memcpy(to, g->window + skip, k);
            g->at += k;
            to += k;
            n -= k;
        }
        if (!n)
            return 0;
        g->window_at = g->at;
        g->window_len = left(g) < HS__GGUF_WINDOW ? (size_t)left(g) : HS__GGUF_WINDOW;
        int r = hs_pread_full(g->file->fd, g->window, g->window_len, (off_t)g->at);
        if (r < 0) {
            g->window_len = 0;
            return hs__gguf_fail(g, r, "%s", hs_strerror(r));
        }
    }
}

int hs__gguf_u32(hs__gguf *g, uint32_t *ret)
{
    return hs__gguf_read(g, ret, sizeof *ret);
}

int hs__gguf_u64(hs__gguf *g, uint64_t *ret)
{
    return hs__gguf_read(g, ret, sizeof *ret);
}

int hs__gguf_count(hs__gguf *g, uint64_t max, uint64_t size, const char *what, uint64_t *ret)
{
    uint64_t n;
    int r = hs__gguf_u64(g, &n);
    if (r < 0)
        return r;
    if (n > max)
        return hs__gguf_fail(g, -EINVAL, "%llu %s; at most %llu are read", (unsigned long long)n, what,
                             (unsigned long long)max);
    if (n > left(g) / size)
        return hs__gguf_fail(g, -EINVAL, "%llu %s do not fit the %llu bytes left of the file", (unsigned long long)n,
                             what, (unsigned long long)left(g));
    *ret = n;
    return 0;
}

int hs__gguf_name(hs__gguf *g, char *buf)
{
    uint64_t n = 0;
    int r = hs__gguf_count(g, HS__GGUF_MAX_NAME, 1, "bytes of a name", &n);
    if (r == 0)
        r = hs__gguf_read(g, buf, n);
    if (r < 0)
        return r;
    buf[n] = '\0';
    if (!n)
        return hs__gguf_fail(g, -EINVAL, "an empty name");
    for (uint64_t i = 0; i < n; i++)
        if ((unsigned char)buf[i] < 0x20 || buf[i] == 0x7f)
            return hs__gguf_fail(g, -EINVAL, "a name with control characters");
    return 0;
}

int hs__gguf_string(hs__gguf *g, uint64_t max, hs_bytes *ret)
{
    uint64_t n = 0;
    int r = hs__gguf_count(g, max, 1, "bytes of a string", &n);
    if (r < 0)
        return r;
    char *p = hs__names_alloc(&g->s->names, n);
    if (!p)
        return hs__gguf_fail(g, -ENOMEM, "out of memory");
    r = hs__gguf_read(g, p, n);
    if (r == 0)
        *ret = (hs_bytes){p, (uint32_t)n};
    return r;
}

uint32_t hs__gguf_value_size(uint32_t type)
{
    static const uint8_t sizes[HS__GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < HS__GGUF_TYPES ? sizes[type] : 0;
}

int hs__gguf_skip(hs__gguf *g, uint32_t type, uint32_t depth)
{
    uint64_t n = 1;
    int r = 0;
    if (type == HS__GGUF_STRING) {
        r = hs__gguf_count(g, UINT64_MAX, 1, "bytes of a string", &n);
        if (r == 0)
            g->at += n;
        return r;
    }
    if (type == HS__GGUF_ARRAY) {
        if (depth == HS__GGUF_MAX_DEPTH)
            return hs__gguf_fail(g, -EINVAL, "arrays in arrays deeper than %u", HS__GGUF_MAX_DEPTH);
        r = hs__gguf_array(g, UINT64_MAX, &type, &n);
        for (uint64_t i = 0; r == 0 && i < n && !hs__gguf_value_size(type); i++)
            r = hs__gguf_skip(g, type, depth + 1);
        if (r < 0 || !hs__gguf_value_size(type))
            return r;
    }
    uint64_t size = hs__gguf_value_size(type);
    if (!size)
        return hs__gguf_fail(g, -EINVAL, "type %u is no type of a value", type);
    if (n > left(g) / size)
        return hs__gguf_fail(g, -EINVAL, "the file ends inside it");
    g->at += n * size;
    return 0;
}
