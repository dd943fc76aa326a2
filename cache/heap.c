/* heap.c - a binary heap of objects with their places known. */
#include "cache/heap.h"

#include <string.h>

size_t hs__heap_bytes(uint32_t n_objects)
{
    return hs__pad(n_objects * sizeof(uint64_t)) + 2 * hs__pad(n_objects * sizeof(uint32_t));
}

void hs__heap_init(hs__heap *h, void *mem, uint32_t n_objects)
{
    uint8_t *at = mem;
    h->n = 0;
    h->key = (uint64_t *)at;
    at += hs__pad(n_objects * sizeof(uint64_t));
    h->object = (uint32_t *)at;
    at += hs__pad(n_objects * sizeof(uint32_t));
    h->place = (uint32_t *)at;
    memset(h->place, 0xff, n_objects * sizeof(uint32_t));
}

hs__heap hs__heap_part(const hs__heap *whole, uint32_t first)
{
    return (hs__heap){.key = whole->key + first, .object = whole->object + first, .place = whole->place};
}

void hs__heaps_init(hs__heap *ret, void *mem, const hs_policy_shape *shape)
{
    hs__heap whole;
    hs__layer_classes c = hs__layer_classes_of(shape);
    uint32_t first = 0, n[HS_CLASSES_MAX] = {0};
    hs__heap_init(&whole, mem, shape->n_objects);
    for (uint32_t o = 0; o < shape->n_objects; o++)
        n[hs__class_in(&c, o)]++;
    for (uint32_t i = 0; i < c.n; first += n[i++])
        ret[i] = hs__heap_part(&whole, first);
}

static void put(hs__heap *h, uint32_t i, uint32_t object, uint64_t key)
{
    h->object[i] = object;
    h->key[i] = key;
    h->place[object] = i;
}

/* Moves the entry at i up, or down, to where it belongs. */
static void sift_up(hs__heap *h, uint32_t i)
{
    uint32_t object = h->object[i];
    uint64_t key = h->key[i];
    for (; i > 0 && key < h->key[(i - 1) / 2]; i = (i - 1) / 2)
        put(h, i, h->object[(i - 1) / 2], h->key[(i - 1) / 2]);
    put(h, i, object, key);
}

static void sift_down(hs__heap *h, uint32_t i)
{
    uint32_t object = h->object[i];
    uint64_t key = h->key[i];
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c + 1 < h->n && h->key[c + 1] < h->key[c])
            c++;
        if (c >= h->n || h->key[c] >= key)
            break;
        put(h, i, h->object[c], h->key[c]);
        i = c;
    }
    put(h, i, object, key);
}

void hs__heap_push(hs__heap *h, uint32_t object, uint64_t key)
{
    put(h, h->n, object, key);
    sift_up(h, h->n++);
}

void hs__heap_remove(hs__heap *h, uint32_t object)
{
    uint32_t i = h->place[object], last = --h->n;
    h->place[object] = HS_POLICY_NONE;
    if (i == last)
        return;
    put(h, i, h->object[last], h->key[last]);
    sift_up(h, i);
    sift_down(h, h->place[h->object[i]]);
}

void hs__heap_update(hs__heap *h, uint32_t object, uint64_t key)
{
    uint32_t i = h->place[object];
    bool up = key < h->key[i];
    h->key[i] = key;
    if (up)
        sift_up(h, i);
    else
        sift_down(h, i);
}

void hs__heap_rebuild(hs__heap *h, hs__key_fn key, const void *state)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->key[i] = key(state, h->object[i]);
    for (uint32_t i = h->n / 2; i-- > 0;)
        sift_down(h, i);
}

uint32_t hs__heap_least(hs__heap *h, hs__key_fn key, const void *state, hs_policy_keep_fn keep, void *ctx)
{
    uint32_t all = h->n, found = HS_POLICY_NONE;
    while (h->n > 0) {
        uint32_t top = h->object[0];
        uint64_t now = key ? key(state, top) : h->key[0];
        if (now > h->key[0]) {
            h->key[0] = now;
            sift_down(h, 0);
            continue;
        }
        if (!keep || !keep(ctx, top)) {
            found = top;
            break;
        }
        /* Passed over: to the place that the shrinking heap frees, until the search is through. */
        uint64_t kept = h->key[0];
        uint32_t last = --h->n;
        put(h, 0, h->object[last], h->key[last]);
        sift_down(h, 0);
        put(h, last, top, kept);
    }
    while (h->n < all)
        sift_up(h, h->n++);
    return found;
}
