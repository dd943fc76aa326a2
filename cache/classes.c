/*
 * classes.c - see classes.h.
 *
 * Sizes are gathered in a short list, biggest first. A class joins the next bigger one where that wastes less than a
 * 50th of all bytes: to cut the slots in two costs as many hits as one in a hundred of them is worth.
 */
#include "cache/classes.h"

#include <stdbool.h>
#include <stddef.h>

#define WORTH 50

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Bytes that are lost if class i + 1 gets slots of class i. Floats: sizes of a trace are anybody's. */
static double waste(const hs_classes *c, uint32_t i)
{
    return (double)(c->of[i].size - c->of[i + 1].size) * c->of[i + 1].objects;
}

static uint32_t cheapest(const hs_classes *c)
{
    uint32_t least = 0;
    for (uint32_t i = 1; i + 1 < c->n; i++)
        least = waste(c, i) < waste(c, least) ? i : least;
    return least;
}

static void join(hs_classes *c, uint32_t i)
{
    c->of[i].objects += c->of[i + 1].objects;
    for (i++; i + 1 < c->n; i++)
        c->of[i] = c->of[i + 1];
    c->n--;
}

static void add(hs_classes *c, uint64_t size, uint32_t objects)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->of[i].size == size) {
            c->of[i].objects += objects;
            return;
        }
    }
    if (c->n == HS_CLASSES_MAX)
        join(c, cheapest(c));
    uint32_t at = c->n++;
    for (; at > 0 && c->of[at - 1].size < size; at--)
        c->of[at] = c->of[at - 1];
    c->of[at] = (hs_class){.size = size, .objects = objects};
}

uint32_t hs_classes_find(const hs_classes *c, uint64_t size)
{
    uint32_t i = c->n - 1;
    while (i > 0 && c->of[i].size < size)
        i--;
    return i;
}

void hs_classes_make(hs_classes *ret, const uint64_t *layer_size, uint32_t n_layers, uint32_t layer_objects,
                     uint32_t least)
{
    double all = 0;
    *ret = (hs_classes){0};
    for (uint32_t l = 0; l < n_layers; l++) {
        uint64_t size = layer_size ? layer_size[l] : 0;
        add(ret, size, layer_objects);
        all += (double)size * layer_objects;
    }
    while (ret->n > 1 && waste(ret, cheapest(ret)) * WORTH < all)
        join(ret, cheapest(ret));
    for (uint32_t i = 0; i < ret->n; i++)
        ret->of[i] = (hs_class){
            .size = ret->of[i].size, .bytes = ret->of[i].size, .floor = min_u32(least ? least : 1, layer_objects)};
    for (uint32_t l = 0; l < n_layers; l++)
        ret->of[hs_classes_find(ret, layer_size ? layer_size[l] : 0)].objects += layer_objects;
}

uint32_t hs_classes_floor(const hs_classes *c)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += c->of[i].floor;
    return sum;
}

uint32_t hs_classes_objects(const hs_classes *c)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += c->of[i].objects;
    return sum;
}

/* One class after the other takes its part of what is left: a part of n that does not shrink, and nor does the rest,
 * when n grows. */
void hs_classes_split(const hs_classes *c, uint32_t n, uint32_t ret_slots[HS_CLASSES_MAX])
{
    uint32_t floor = hs_classes_floor(c), objects = hs_classes_objects(c);
    bool is_short = n < floor;
    uint64_t left = is_short ? n : min_u32(n, objects) - floor, whole = is_short ? floor : objects - floor;
    for (uint32_t i = 0; i < c->n; i++) {
        const hs_class *k = &c->of[i];
        uint64_t weight = is_short ? k->floor : k->objects - k->floor, part = whole ? left * weight / whole : 0;
        ret_slots[i] = (uint32_t)part + (is_short ? 0 : k->floor);
        left -= part;
        whole -= weight;
    }
}

uint64_t hs_classes_bytes(const hs_classes *c, uint32_t n)
{
    uint32_t slots[HS_CLASSES_MAX];
    uint64_t sum = 0;
    hs_classes_split(c, n, slots);
    for (uint32_t i = 0; i < c->n; i++)
        sum += slots[i] * c->of[i].bytes;
    return sum;
}

uint32_t hs_classes_fit(const hs_classes *c, uint64_t bytes)
{
    uint32_t n = 0, end = hs_classes_objects(c) + 1; /* n fits, end does not */
    while (end - n > 1) {
        uint32_t middle = n + (end - n) / 2;
        if (hs_classes_bytes(c, middle) <= bytes)
            n = middle;
        else
            end = middle;
    }
    return n;
}
