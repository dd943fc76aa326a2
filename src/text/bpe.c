/*
 * bpe.c - merging: of all neighbouring pairs the one with the lowest rank goes first, of equal ones the leftmost.
 *
 * Symbols form a doubly linked list in an array. Short pieces look for the lowest rank by walking the list; long ones
 * keep a heap of (rank, place), whose entries go stale when a neighbour merges and are recognised by their rank.
 * Different pairs may have the same rank: an old entry then equals the new one.
 */
#include "text/bpe.h"

#include "base/mem.h"
#include "text/utf8.h"

#define SHORT_PIECE 32
#define NONE        UINT32_MAX

struct hs__symbol {
    uint32_t id;
    uint32_t prev, next; /* places, NONE at the ends */
    uint32_t rank;       /* of the pair with the next symbol, NONE if they do not merge */
};

void hs__bpe_deinit(hs__bpe *b)
{
    hs_free(b->symbols);
    hs_free(b->heap);
    *b = (hs__bpe){0};
}

int hs__ids_append(hs__ids *ids, uint32_t id)
{
    int r = hs_grow(&ids->p, sizeof *ids->p, ids->n + 1, &ids->cap, HS__MAX_IDS);
    if (r < 0)
        return r;
    ids->p[ids->n++] = id;
    return 0;
}

static void look_up_pair(hs__bpe *b, uint32_t i)
{
    hs__symbol *s = &b->symbols[i];
    const hs__merge *m = s->next == NONE ? NULL : hs__vocab_merge(b->vocab, s->id, b->symbols[s->next].id);
    s->rank = m ? m->rank : NONE;
}

static void add_symbol(hs__bpe *b, uint32_t *n, uint32_t id)
{
    b->symbols[*n] = (hs__symbol){.id = id, .prev = *n - 1, .next = *n + 1};
    ++*n;
}

static bool all_bytes_have_tokens(const hs__bpe *b, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (b->vocab->byte_id[(unsigned char)p[i]] == HS_NO_TOKEN)
            return false;
    return true;
}

/* One symbol per byte, or character; returns their number. An unknown one comes before the next known one, as in the
 * reference: bytes that stand in for characters go first. */
static uint32_t split_piece(hs__bpe *b, const char *piece, size_t len)
{
    uint32_t n = 0;
    bool pending = false;
    for (size_t i = 0, step; i < len; i += step) {
        step = b->by_character ? hs__utf8_len(piece + i) : 1;
        uint32_t id = b->by_character ? hs__vocab_find(b->vocab, piece + i, step, HS__PLAIN)
                                      : b->vocab->byte_id[(unsigned char)piece[i]];
        bool in_bytes = id == HS_NO_TOKEN && all_bytes_have_tokens(b, piece + i, step);
        bool is_unk = id == HS_NO_TOKEN && !in_bytes && b->unk != HS_NO_TOKEN;
        if (pending && (id != HS_NO_TOKEN || (is_unk && !b->fuse_unk))) {
            add_symbol(b, &n, b->unk);
            pending = false;
        }
        pending = pending || is_unk;
        if (id != HS_NO_TOKEN)
            add_symbol(b, &n, id);
        for (size_t k = 0; in_bytes && k < step; k++)
            add_symbol(b, &n, b->vocab->byte_id[(unsigned char)piece[i + k]]);
    }
    if (pending)
        add_symbol(b, &n, b->unk);
    if (n)
        b->symbols[n - 1].next = NONE;
    for (uint32_t i = 0; i < n; i++)
        look_up_pair(b, i);
    return n;
}

/* Merges the symbol at i with its next one, which leaves the list. */
static void merge_at(hs__bpe *b, uint32_t i)
{
    hs__symbol *s = &b->symbols[i], *gone = &b->symbols[s->next];
    s->id = hs__vocab_merge(b->vocab, s->id, gone->id)->id;
    s->next = gone->next;
    gone->rank = NONE;
    if (s->next != NONE)
        b->symbols[s->next].prev = i;
    look_up_pair(b, i);
    if (s->prev != NONE)
        look_up_pair(b, s->prev);
}

static void merge_short(hs__bpe *b)
{
    for (;;) {
        uint32_t best = NONE, rank = NONE;
        for (uint32_t i = 0; i != NONE; i = b->symbols[i].next) {
            if (b->symbols[i].rank < rank) {
                rank = b->symbols[i].rank;
                best = i;
            }
        }
        if (best == NONE)
            return;
        merge_at(b, best);
    }
}

static int heap_push(hs__bpe *b, uint32_t i)
{
    if (b->symbols[i].rank == NONE)
        return 0;
    if (hs_grow(&b->heap, sizeof *b->heap, b->n_heap + 1, &b->cap_heap, 4 * (size_t)HS__MAX_PIECE) < 0)
        return -ENOMEM;
    uint64_t key = (uint64_t)b->symbols[i].rank << 32 | i;
    size_t at = b->n_heap++;
    for (; at && b->heap[(at - 1) / 2] > key; at = (at - 1) / 2)
        b->heap[at] = b->heap[(at - 1) / 2];
    b->heap[at] = key;
    return 0;
}

static uint64_t heap_pop(hs__bpe *b)
{
    uint64_t top = b->heap[0], key = b->heap[--b->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < b->n_heap; at = child) {
        if (child + 1 < b->n_heap && b->heap[child + 1] < b->heap[child])
            child++;
        if (b->heap[child] >= key)
            break;
        b->heap[at] = b->heap[child];
    }
    b->heap[at] = key;
    return top;
}

static int merge_long(hs__bpe *b, uint32_t n)
{
    int r = 0;
    b->n_heap = 0;
    for (uint32_t i = 0; i < n && r == 0; i++)
        r = heap_push(b, i);
    while (b->n_heap && r == 0) {
        uint64_t top = heap_pop(b);
        uint32_t i = (uint32_t)top;
        if (b->symbols[i].rank != top >> 32)
            continue;
        merge_at(b, i);
        r = heap_push(b, i);
        if (r == 0 && b->symbols[i].prev != NONE)
            r = heap_push(b, b->symbols[i].prev);
    }
    return r;
}

int hs__bpe_encode(hs__bpe *b, const char *piece, size_t len, hs__ids *out)
{
    if (!len)
        return 0;
    if (b->ignore_merges || len == 1) {
        uint32_t id = hs__vocab_find(b->vocab, piece, len, HS__PLAIN);
        if (id != HS_NO_TOKEN)
            return hs__ids_append(out, id);
    }
    if (len > HS__MAX_PIECE)
        return -E2BIG;
    if (len > b->cap_symbols) {
        size_t cap = len < 256 ? 256 : len;
        hs_free(b->symbols);
        b->symbols = hs_malloc(cap * sizeof *b->symbols);
        b->cap_symbols = b->symbols ? cap : 0;
        if (!b->symbols)
            return -ENOMEM;
    }
    uint32_t n = split_piece(b, piece, len);
    if (!n)
        return 0;
    int r = 0;
    if (n <= SHORT_PIECE)
        merge_short(b);
    else
        r = merge_long(b, n);
    for (uint32_t i = 0; i != NONE && r == 0; i = b->symbols[i].next)
        r = hs__ids_append(out, b->symbols[i].id);
    return r;
}
