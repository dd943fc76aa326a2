/*
 * mem.h - allocation. Everything in hotset allocates through these, so that tests can fail the Nth allocation.
 * Big, long-lived buffers come from hs_map_alloc (anonymous mapping, page-aligned, huge pages offered).
 */
#ifndef HS_BASE_MEM_H
#define HS_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

void *hs_malloc(size_t n) __attribute__((malloc));
void *hs_calloc(size_t count, size_t size) __attribute__((malloc)); /* overflow-checked, zeroed */
char *hs_strdup(const char *s);
char *hs_strndup(const char *s, size_t n);
char *hs_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* NULL when out of memory */
void hs_free(void *p);                                                         /* NULL-safe */

/* The one way in which an array grows. pp: the address of the array's pointer, NULL at first; room for `need` elements
 * of `size` bytes, *cap the elements there is room for. 0, -E2BIG if need > max, -ENOMEM; nothing changes then. */
int hs_grow(void *pp, size_t size, size_t need, size_t *cap, size_t max) HS_MUST_CHECK;
/* Gives back what is behind the first n bytes of block p, if that is possible; returns where the block is now. */
void *hs_shrink(void *p, size_t n);

/* n bytes of zeroed anonymous memory, 2 MiB-aligned when n >= 2 MiB (with MADV_HUGEPAGE), else page-aligned; NULL if
 * refused. Pages are committed when first touched. hs_map_free takes the same n. */
void *hs_map_alloc(size_t n);
void hs_map_free(void *p, size_t n);
/* Gives the memory of a page-aligned piece of a mapping back to the system; it reads as zeros afterwards. */
void hs_map_give_back(void *p, size_t n);
/* Gives a page-aligned piece of a mapping its memory now, contents unchanged, so that whoever writes there first does
 * not wait for it. Best effort; any thread, also while others write there. */
void hs_map_touch(void *p, size_t n);

/* Test hook: after `after` more successful allocations every one fails until reset; -1 = off (the default). */
void hs_mem_fail_after(int64_t after);
/* Allocations made since the last hs_mem_fail_after call. */
int64_t hs_mem_count(void);

/* a*b and a+b with overflow reported: return 0 and the result, or -1. */
static inline int hs_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    return __builtin_mul_overflow(a, b, ret) ? -1 : 0;
}
static inline int hs_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    return __builtin_add_overflow(a, b, ret) ? -1 : 0;
}
/* n rounded up to a multiple of a (a power of two); the caller knows that it does not overflow. */
static inline uint64_t hs_align_up(uint64_t n, uint64_t a)
{
    return (n + a - 1) & ~(a - 1);
}

#endif
