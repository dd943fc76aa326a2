/*
 * jinja_arena.c - memory that only grows and is freed at once.
 * Invariant: [chunk data, top) of the newest chunk is in use, [top, end) is free. Sizes of chunks double, so that a
 * string which is extended again and again is copied O(log n) times. Not thread-safe.
 */
#include "text/jinja_int.h"

#include <string.h>

#include "base/mem.h"

#define FIRST_CHUNK 4096u
#define LAST_CHUNK  (1u << 20)

struct hs__jchunk {
    hs__jchunk *next;
    char data[];
};

void hs__jarena_init(hs__jarena *a, size_t *left)
{
    *a = (hs__jarena){.next_size = FIRST_CHUNK, .left = left};
}

void hs__jarena_deinit(hs__jarena *a)
{
    while (a->chunks) {
        hs__jchunk *c = a->chunks;
        a->chunks = c->next;
        hs_free(c);
    }
    a->top = a->end = NULL;
}

/* A new chunk with at least n bytes free. */
static int grow(hs__jarena *a, size_t n)
{
    if (a->failed)
        return a->failed;
    size_t size = a->next_size > n ? a->next_size : n;
    if (size > *a->left)
        size = n;
    if (size > *a->left)
        return a->failed = -E2BIG;
    hs__jchunk *c = hs_malloc(sizeof *c + size);
    if (!c)
        return a->failed = -ENOMEM;
    *a->left -= size;
    c->next = a->chunks;
    a->chunks = c;
    a->top = c->data;
    a->end = c->data + size;
    if (a->next_size < LAST_CHUNK)
        a->next_size *= 2;
    return 0;
}

void *hs__jarena_alloc(hs__jarena *a, size_t n)
{
    n = (n + 7) & ~(size_t)7;
    if ((size_t)(a->end - a->top) < n || !a->top) {
        if (grow(a, n) < 0)
            return NULL;
    }
    void *p = a->top;
    a->top += n;
    return p;
}

char *hs__jarena_extend(hs__jarena *a, const char *old, size_t n_old, size_t n_more)
{
    bool is_last = a->top && old && old + n_old == a->top;
    if (is_last && (size_t)(a->end - a->top) >= n_more) {
        char *start = a->top - n_old;
        a->top += n_more;
        return start;
    }
    size_t n = n_old + n_more;
    if (!a->top || (size_t)(a->end - a->top) < n) {
        size_t room = is_last ? 2 * n : n;
        if (grow(a, room <= *a->left ? room : n) < 0)
            return NULL;
    }
    char *start = a->top;
    if (n_old)
        memcpy(start, old, n_old);
    a->top += n;
    return start;
}
