/*
 * learn.h - how much each rate of past use says about uses to come: least squares, learnt online; inside cache/.
 *
 * Layer by layer, all objects' features are written down before a step; what they should have foretold is the uses in
 * that step and the few that follow. Each layer has weights of its own, from its own samples and as much of all layers'
 * samples as keeps it sane while its own are few. The sums fade over some thousand steps and begin with a ridge, so
 * that the first tokens are judged by weights that are given. What is used rarely is foretold more exactly, and counts
 * the more.
 */
#ifndef HS_CACHE_LEARN_H
#define HS_CACHE_LEARN_H

#include "cache/hazard.h"
#include "cache/policy.h"

enum {
    HS__N_RATES = 3,
    HS__N_FEATURES = HS__N_RATES + 4, /* the last is the hazard */
    HS__MOST_SPAN = 32                /* tokens of a step that teaches: a sweep tells little about single tokens */
};

typedef struct hs__sums {
    double xx[HS__N_FEATURES][HS__N_FEATURES], xy[HS__N_FEATURES], n; /* over samples; n: how many */
} hs__sums;

typedef struct hs__lesson {
    hs__sums sums;
    float w[HS__N_FEATURES];
    uint8_t step;    /* of the horizon, counted from 0 */
    bool is_written; /* features have been written down for this horizon */
} hs__lesson;

typedef struct hs__learner {
    uint32_t n_layers;
    uint32_t unsolved;  /* tokens since the weights were computed */
    hs__sums all;       /* of all layers */
    hs__lesson *lesson; /* [n_layers] */
    hs__hazard hazard;
    float *x;       /* [n_objects][HS__N_FEATURES] as written down */
    uint16_t *cell; /* [n_objects] of the hazard, likewise */
    float *y;       /* [n_objects] uses since */
} hs__learner;

size_t hs__learner_bytes(uint32_t n_objects, uint32_t n_layers);
void hs__learner_init(hs__learner *l, void *mem, uint32_t n_objects, uint32_t n_layers);
/* A step of span tokens comes to the layer of objects [first, end). True: write down their features now. */
bool hs__learner_step(hs__learner *l, uint32_t layer, uint32_t first, uint32_t end, uint32_t span);
static inline float *hs__learner_features(hs__learner *l, uint32_t object)
{
    return l->x + (size_t)object * HS__N_FEATURES;
}
/* The object is used at that rate in the step that came to its layer last. */
void hs__learner_use(hs__learner *l, uint32_t layer, uint32_t object, float rate);
/* Another token begins. True: the weights are new. */
bool hs__learner_solve(hs__learner *l);

#endif
