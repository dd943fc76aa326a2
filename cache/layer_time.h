/*
 * layer_time.h - how long a layer of one token takes, as the daemon works: for replays, and for forecasts.
 *
 * What comes before its experts are known; then all that lack are asked for at once. While they are read, what needs no
 * experts and those in memory are computed; each of the others is decoded and computed when it has arrived.
 */
#ifndef HS_CACHE_LAYER_TIME_H
#define HS_CACHE_LAYER_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Seconds. */
typedef struct hs_layer_costs {
    double before_s;        /* attention, router */
    double beside_s;        /* experts that every token uses */
    double expert_s;        /* computing one, and */
    double expand_s;        /* decoding one that was read */
    double first_s, each_s; /* n that are asked for at once have been read after first_s and n times each_s */
} hs_layer_costs;

/* Begins as {0}. */
typedef struct hs_layer_clock {
    double now_s;   /* behind the last layer */
    double asked_s; /* when its experts were known */
    double read_s;  /* when the drive is through */
} hs_layer_clock;

/* overlapped: as if what it lacks had been known as soon as the experts of the layer before were. */
void hs_layer_pass(hs_layer_clock *clock, const hs_layer_costs *costs, uint32_t hits, uint32_t misses, bool overlapped);

#endif
