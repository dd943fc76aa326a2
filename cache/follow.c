/* follow.c - see follow.h. */
#include "cache/follow.h"

#include <string.h>

#include "cache/heap.h"

#define WIDEST 1024u
#define BLOCK  16u /* of experts that are added at once: vector instructions */
#define FULL   255
#define UNSURE 3.0f /* uses that tell nothing, added to those seen */

size_t hs__follow_bytes(uint32_t layer_objects, uint32_t n_layers)
{
    size_t n_objects = (size_t)n_layers * layer_objects;
    if (layer_objects > WIDEST)
        return 0;
    return hs__pad(n_layers * sizeof(hs__follow_layer)) + hs__pad(n_objects * sizeof(float)) + hs__pad(n_objects) +
           hs__pad(n_objects * layer_objects);
}

void hs__follow_init(hs__follow *f, void *mem, uint32_t layer_objects, uint32_t n_layers)
{
    size_t n_objects = (size_t)n_layers * layer_objects;
    *f = (hs__follow){0};
    if (layer_objects > WIDEST)
        return;
    memset(mem, 0, hs__follow_bytes(layer_objects, n_layers));
    f->layer_objects = layer_objects;
    f->layer = mem;
    f->sum = (float *)((uint8_t *)mem + hs__pad(n_layers * sizeof(hs__follow_layer)));
    f->steps = (uint8_t *)f->sum + hs__pad(n_objects * sizeof(float));
    f->times = f->steps + hs__pad(n_objects);
    for (uint32_t l = 0; l < n_layers; l++)
        f->layer[l].unknown = f->layer[l].each = 1;
}

/* The step that is through followed uses of that object. */
static void learn(hs__follow *f, uint32_t object, const hs__step *step)
{
    uint8_t *times = f->times + (size_t)object * f->layer_objects;
    if (f->steps[object] == FULL) {
        f->steps[object] /= 2;
        for (uint32_t i = 0; i < f->layer_objects; i++)
            times[i] /= 2;
    }
    f->steps[object]++;
    for (uint32_t i = 0; i < step->n; i++)
        times[step->expert[i]]++;
}

void hs__follow_step(hs__follow *f, uint32_t layer)
{
    if (!f->layer_objects)
        return;
    hs__follow_layer *l = &f->layer[layer];
    for (uint32_t i = 0; i < l->before.n; i++)
        learn(f, layer * f->layer_objects + l->before.expert[i], &l->now);
    l->before = l->now;
    l->now.n = 0;
    l->unknown = l->before.n ? l->before.n : 1;
    l->each = 1 / l->unknown;
    memset(f->sum + (size_t)layer * f->layer_objects, 0, f->layer_objects * sizeof *f->sum);
}

void hs__follow_break(hs__follow *f, uint32_t layer)
{
    if (!f->layer_objects)
        return;
    hs__follow_step(f, layer);
    f->layer[layer].before.n = 0;
}

static void add(float *restrict to, const uint8_t *restrict times, float part, uint32_t n)
{
    uint32_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        for (uint32_t k = 0; k < BLOCK; k++)
            to[i + k] += times[i + k] * part;
    for (; i < n; i++)
        to[i] += times[i] * part;
}

void hs__follow_use(hs__follow *f, uint32_t layer, uint32_t object)
{
    if (!f->layer_objects || f->layer[layer].now.n == HS__FOLLOW_MOST)
        return;
    hs__follow_layer *l = &f->layer[layer];
    float part = 1 / (f->steps[object] + UNSURE);
    l->now.expert[l->now.n++] = (uint16_t)(object % f->layer_objects);
    add(f->sum + (size_t)layer * f->layer_objects, f->times + (size_t)object * f->layer_objects, part,
        f->layer_objects);
    l->unknown += UNSURE * part;
    if (l->now.n > l->before.n && l->now.n > 1)
        l->each = 1.0f / l->now.n;
    else
        l->unknown--;
}
