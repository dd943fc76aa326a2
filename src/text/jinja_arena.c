/*
 * jinja_arena.c - memory that only grows and is freed at once.
 * Invariant: [chunk data, top) of the newest chunk is in use, [top, end) is free. Sizes of chunks double, so that a
 * string which is extended again and again is copied O(log n) times. Not thread-safe.
 *
 * A traced arena keeps for each byte where it comes from, behind the chunk's data. So a string knows the origin of its
 * bytes by their addresses: slices of it need nothing, and what copies bytes copies origins (join, hs__jput). Bytes
 * outside the arena are those of the program and of this code: the template's own.
 */
#include "text/jinja_int.h"

#include <string.h>

#include "base/mem.h"

#define FIRST_CHUNK 4096u
#define LAST_CHUNK  (1u << 20)

struct hs__jchunk {
    hs__jchunk *next;
    size_t size;
    char data[]; /* size bytes, and as many origins if the arena is traced */
};

void hs__jarena_init(hs__jarena *a, bool is_traced, size_t *left)
{
    *a = (hs__jarena){.next_size = FIRST_CHUNK, .left = left, .is_traced = is_traced};
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
    size_t size = a->next_size > n ? a->next_size : n, room = *a->left / (1u + a->is_traced);
    if (size > room)
        size = n;
    if (size > room)
        return a->failed = -E2BIG;
    size_t bytes = a->is_traced ? 2 * size : size;
    hs__jchunk *c = hs_malloc(sizeof *c + bytes);
    if (!c)
        return a->failed = -ENOMEM;
    *a->left -= bytes;
    c->size = size;
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

uint8_t *hs__jarena_origin(const hs__jarena *a, const char *p)
{
    for (hs__jchunk *c = a->chunks; c; c = c->next) {
        uintptr_t offset = (uintptr_t)p - (uintptr_t)c->data;
        if (offset < c->size)
            return (uint8_t *)c->data + c->size + offset;
    }
    return NULL;
}

/* n bytes with their origins to `to`, which is in the arena. */
static void put(hs__jarena *a, char *to, const char *from, size_t n)
{
    if (!n)
        return;
    memcpy(to, from, n);
    if (!a->is_traced)
        return;
    const uint8_t *origin = hs__jarena_origin(a, from);
    uint8_t *ours = hs__jarena_origin(a, to);
    if (origin)
        memcpy(ours, origin, n);
    else
        memset(ours, HS__J_OWN, n);
}

char *hs__jarena_join(hs__jarena *a, const char *old, size_t n_old, const char *more, size_t n_more)
{
    bool is_last = a->top && old && old + n_old == a->top;
    if (is_last && (size_t)(a->end - a->top) >= n_more) {
        char *start = a->top - n_old;
        put(a, a->top, more, n_more);
        a->top += n_more;
        return start;
    }
    size_t n = n_old + n_more;
    if (!a->top || (size_t)(a->end - a->top) < n) {
        size_t room = is_last ? 2 * n : n;
        if (grow(a, room <= *a->left / (1u + a->is_traced) ? room : n) < 0)
            return NULL;
    }
    char *start = a->top;
    put(a, start, old, n_old);
    put(a, start + n_old, more, n_more);
    a->top += n;
    return start;
}
