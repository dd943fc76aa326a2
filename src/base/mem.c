/* mem.c - allocation wrappers with a fault hook. The hook's counters are atomic; everything else is libc's. */
#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE      ((size_t)2 << 20)
#define FIRST_ELEMENTS 16

static _Atomic int64_t fail_after = -1;
static _Atomic int64_t count;

void hs_mem_fail_after(int64_t after)
{
    atomic_store(&count, 0);
    atomic_store(&fail_after, after);
}

int64_t hs_mem_count(void)
{
    return atomic_load(&count);
}

static int refuse(void)
{
    int64_t limit = atomic_load_explicit(&fail_after, memory_order_relaxed);
    int64_t n = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    return limit >= 0 && n >= limit;
}

void *hs_malloc(size_t n)
{
    return refuse() ? NULL : malloc(n ? n : 1);
}

void *hs_calloc(size_t n, size_t size)
{
    uint64_t bytes; /* asked here: sanitizers take an overflow inside calloc for a fault of ours */
    if (refuse() || hs_mul_u64(n, size, &bytes) < 0)
        return NULL;
    return calloc(n ? n : 1, size ? size : 1);
}

int hs_grow(void *pp, size_t size, size_t need, size_t *cap, size_t max)
{
    if (need <= *cap)
        return 0;
    if (need > max)
        return -E2BIG;
    size_t n = *cap / 2 < max - *cap ? *cap + *cap / 2 : max;
    n = n < FIRST_ELEMENTS && FIRST_ELEMENTS <= max ? FIRST_ELEMENTS : n;
    n = n < need ? need : n;
    uint64_t bytes;
    if (hs_mul_u64(n, size, &bytes) < 0 || refuse())
        return -ENOMEM;
    void *p;
    memcpy(&p, pp, sizeof p);
    p = realloc(p, bytes ? bytes : 1);
    if (!p)
        return -ENOMEM;
    memcpy(pp, &p, sizeof p);
    *cap = n;
    return 0;
}

void *hs_shrink(void *p, size_t n)
{
    void *q = refuse() ? NULL : realloc(p, n ? n : 1);
    return q ? q : p;
}

char *hs_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *d = hs_malloc(len + 1);
    if (!d)
        return NULL;
    memcpy(d, s, len);
    d[len] = '\0';
    return d;
}

char *hs_strdup(const char *s)
{
    return hs_strndup(s, strlen(s));
}

char *hs_asprintf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : hs_malloc((size_t)n + 1);
    if (s)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void hs_free(void *p)
{
    free(p);
}

/* A mapping of n bytes whose start is a multiple of align: over-map, then give back both ends. */
static void *map_aligned(size_t n, size_t align)
{
    char *p = mmap(NULL, n + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *start = (char *)hs_align_up((uintptr_t)p, align);
    if (start > p)
        munmap(p, (size_t)(start - p));
    size_t tail = (size_t)(p + n + align - (start + n));
    if (tail)
        munmap(start + n, tail);
    return start;
}

void *hs_map_alloc(size_t n)
{
    if (!n || n > SIZE_MAX / 2 || refuse())
        return NULL;
    n = hs_align_up(n, 4096);
    if (n < HUGE_PAGE) {
        void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    void *p = map_aligned(n, HUGE_PAGE);
    if (p)
        madvise(p, n, MADV_HUGEPAGE);
    return p;
}

void hs_map_touch(void *p, size_t n)
{
#ifdef MADV_POPULATE_WRITE
    (void)madvise(p, n, MADV_POPULATE_WRITE);
#else
    (void)p, (void)n;
#endif
}

void hs_map_give_back(void *p, size_t n)
{
    (void)madvise(p, n, MADV_DONTNEED);
}

void hs_map_free(void *p, size_t n)
{
    if (p)
        munmap(p, hs_align_up(n, 4096));
}
