/*
 * replay_fit.h - what a replay through the daemon tells of this machine, as the figures that hotset sim counts with.
 *
 * Reads: a layer that lacks n experts keeps the drive busy for some time and n x each_s; the line is laid through the
 * tokens' times by least squares, and through their means. All else is measured apart, and means: a slope over misses
 * of what tokens take besides would take a busy machine's pauses for decoding.
 */
#ifndef HS_CLI_REPLAY_FIT_H
#define HS_CLI_REPLAY_FIT_H

#include <stdint.h>

typedef struct hs_replay_token {
    uint32_t misses, layers; /* experts that were not there; layers that lacked any */
    uint32_t warm_hits;      /* experts that were, and were decoded */
    double busy_s;           /* of the drive */
    double expert_s;         /* computing experts */
    double expand_s;         /* decoding them */
    double rest_s;           /* neither that nor standing still */
} hs_replay_token;

/* Sums over tokens; all zero at first. */
typedef struct hs_replay_fit {
    double n, misses, layers, warm_hits, busy_s, expert_s, expand_s, rest_s;
    double layers_layers, layers_misses, misses_misses, busy_layers, busy_misses;
} hs_replay_fit;

typedef struct hs_replay_costs {
    double each_s; /* 0 without a miss */
    double dense_s, experts_s;
    double expand_s; /* of an expert that is decoded */
} hs_replay_costs;

void hs_replay_fit_add(hs_replay_fit *f, const hs_replay_token *t);
hs_replay_costs hs_replay_fit_solve(const hs_replay_fit *f);

#endif
