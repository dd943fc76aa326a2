/* names.c - an append-only string arena: half a million tensor names without half a million allocations. */
#include <string.h>

#include "base/mem.h"
#include "store/store_int.h"

#define BLOCK (64u << 10)

struct hs__names_block {
    struct hs__names_block *next;
    size_t used, cap;
    char data[];
};

char *hs__names_alloc(hs__names *n, size_t len)
{
    struct hs__names_block *b = n->head;
    if (!b || b->cap - b->used <= len) {
        size_t cap = len + 1 > BLOCK ? len + 1 : BLOCK;
        b = hs_malloc(sizeof *b + cap);
        if (!b)
            return NULL;
        *b = (struct hs__names_block){.next = n->head, .cap = cap};
        n->head = b;
        n->bytes += cap;
    }
    char *p = b->data + b->used;
    p[len] = '\0';
    b->used += len + 1;
    return p;
}

char *hs__names_add(hs__names *n, const char *s, size_t len)
{
    char *p = hs__names_alloc(n, len);
    if (p)
        memcpy(p, s, len);
    return p;
}

void hs__names_free(hs__names *n)
{
    while (n->head) {
        struct hs__names_block *next = n->head->next;
        hs_free(n->head);
        n->head = next;
    }
}
