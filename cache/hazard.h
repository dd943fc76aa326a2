/*
 * hazard.h - how often experts that had not been used for so long, at such frequencies, were used next; inside cache/.
 *
 * A table of cells over age, recent and overall frequency, common to all layers: what a sum of the three cannot tell,
 * e.g. that the often used are the surer gone the longer they stay away. A cell seen little is filled up from coarser
 * ones.
 */
#ifndef HS_CACHE_HAZARD_H
#define HS_CACHE_HAZARD_H

#include <stdint.h>
#include <string.h>

enum { HS__HAZARD_AGES = 16, HS__HAZARD_RATES = 8, HS__HAZARD_CELLS = HS__HAZARD_AGES * 8 * 8 };

typedef struct hs__hazard_seen {
    float n, uses; /* samples, and what followed them; fading */
} hs__hazard_seen;

typedef struct hs__hazard {
    float rate[HS__HAZARD_CELLS]; /* as of the last hs__hazard_settle */
    hs__hazard_seen cell[HS__HAZARD_CELLS];
} hs__hazard;

/* Ages 0 to 5 one by one, then two to each doubling; frequencies by halves, down to 1/128. */
static inline uint32_t hs__hazard_cell(uint32_t age, float recent, float overall)
{
    float a = (float)age;
    uint32_t bits[3];
    memcpy(&bits[0], &a, sizeof a);
    memcpy(&bits[1], &recent, sizeof recent);
    memcpy(&bits[2], &overall, sizeof overall);
    uint32_t i[3] = {age < 6 ? age : (bits[0] >> 22) - 253, bits[1] >> 23, bits[2] >> 23};
    i[0] = i[0] < HS__HAZARD_AGES ? i[0] : HS__HAZARD_AGES - 1;
    for (uint32_t k = 1; k < 3; k++) {
        i[k] = i[k] < 119 ? 0 : i[k] - 119;
        i[k] = i[k] < HS__HAZARD_RATES ? i[k] : HS__HAZARD_RATES - 1;
    }
    return (i[0] * HS__HAZARD_RATES + i[2]) * HS__HAZARD_RATES + i[1];
}

void hs__hazard_init(hs__hazard *h);
/* What was in the cell was then used at that rate. */
void hs__hazard_learn(hs__hazard *h, uint32_t cell, float rate);
/* Computes all rates anew. */
void hs__hazard_settle(hs__hazard *h);

#endif
