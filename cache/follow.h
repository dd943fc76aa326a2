/*
 * follow.h - which experts of a layer follow which: of the steps after one that used expert a, how many used b;
 * inside cache/.
 *
 * An expert's foretold rate is the mean over the experts that the step under way uses. As far as these have been seen
 * little, or the step is not through (it is taken to be as wide as the one before it), it is the rate that the caller
 * falls back to.
 */
#ifndef HS_CACHE_FOLLOW_H
#define HS_CACHE_FOLLOW_H

#include "cache/policy.h"

enum { HS__FOLLOW_MOST = 32 }; /* experts of a step that are heeded */

typedef struct hs__step {
    uint16_t n, expert[HS__FOLLOW_MOST];
} hs__step;

typedef struct hs__follow_layer {
    hs__step now, before;
    float unknown; /* of the experts that the step under way will have used, these tell nothing */
    float each;    /* 1 / these experts */
} hs__follow_layer;

typedef struct hs__follow {
    uint32_t layer_objects; /* 0: nothing is kept, layers are too big */
    hs__follow_layer *layer;
    float *sum;     /* [n_objects] how often it follows, summed over the experts of the step under way */
    uint8_t *steps; /* [n_objects] that used it and were followed by another; halved when full */
    uint8_t *times; /* [n_objects][layer_objects] of these, followed by a use of that one */
} hs__follow;

/* layer_objects: neighbours in number are a layer, the last one may be short. Above 1024 of them nothing is kept: the
 * table grows with their square. */
size_t hs__follow_bytes(uint32_t layer_objects, uint32_t n_layers);
void hs__follow_init(hs__follow *f, void *mem, uint32_t layer_objects, uint32_t n_layers);
/* Another step comes to the layer. */
void hs__follow_step(hs__follow *f, uint32_t layer);
/* The object is used in that step. */
void hs__follow_use(hs__follow *f, uint32_t layer, uint32_t object);
/* A step comes that says nothing of its neighbours. */
void hs__follow_break(hs__follow *f, uint32_t layer);
/* How likely it is used in the layer's next step; the fallback, as far as nothing is known. */
static inline float hs__follow_rate(const hs__follow *f, uint32_t layer, uint32_t object, float fallback)
{
    if (!f->layer_objects)
        return fallback;
    const hs__follow_layer *l = &f->layer[layer];
    return (f->sum[object] + fallback * l->unknown) * l->each;
}

#endif
