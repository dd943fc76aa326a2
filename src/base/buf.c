/* buf.c - bounded byte buffer. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void hs_buf_init(hs_buf *b, size_t max)
{
    *b = (hs_buf){.max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4};
}

void hs_buf_deinit(hs_buf *b)
{
    hs_free(b->data);
    *b = (hs_buf){.max = b->max};
}

void hs_buf_clear(hs_buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* Room for n more bytes and the final 0. */
static int grow(hs_buf *b, size_t n)
{
    if (b->failed)
        return b->failed;
    if (n > b->max - b->len)
        return b->failed = -E2BIG;
    return b->failed = hs_grow(&b->data, 1, b->len + n + 1, &b->cap, b->max + 1);
}

int hs_buf_append(hs_buf *b, const void *p, size_t n)
{
    int r = grow(b, n);
    if (r < 0)
        return r;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int hs_buf_puts(hs_buf *b, const char *s)
{
    return hs_buf_append(b, s, strlen(s));
}

int hs_buf_printf(hs_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 && !b->failed)
        b->failed = -EINVAL;
    int r = n < 0 ? b->failed : grow(b, (size_t)n);
    if (r == 0) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return r;
}

void hs_buf_consume(hs_buf *b, size_t n)
{
    if (!n)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

char *hs_buf_take(hs_buf *b)
{
    char *s = NULL;
    if (!b->failed && (b->data || grow(b, 0) == 0)) {
        s = b->data;
        s[b->len] = '\0';
        b->data = NULL;
    }
    hs_buf_deinit(b);
    return s;
}
