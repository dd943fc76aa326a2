/* hazard.c - see hazard.h. */
#include "cache/hazard.h"

#define RATES  HS__HAZARD_RATES
#define FADE   0.9999f /* of what a cell has seen, per sample */
#define UNSURE 20.0f   /* samples as the coarser cell says, added to those seen */

void hs__hazard_init(hs__hazard *h)
{
    memset(h, 0, sizeof *h);
}

void hs__hazard_learn(hs__hazard *h, uint32_t cell, float rate)
{
    hs__hazard_seen *c = &h->cell[cell];
    c->n = c->n * FADE + 1;
    c->uses = c->uses * FADE + rate;
}

/* The sum of n neighbours. */
static hs__hazard_seen sum(const hs__hazard_seen *c, uint32_t n)
{
    hs__hazard_seen s = {0};
    for (uint32_t i = 0; i < n; i++) {
        s.n += c[i].n;
        s.uses += c[i].uses;
    }
    return s;
}

static float filled_up(hs__hazard_seen c, float coarser)
{
    return (c.uses + UNSURE * coarser) / (c.n + UNSURE);
}

void hs__hazard_settle(hs__hazard *h)
{
    float all = filled_up(sum(h->cell, HS__HAZARD_CELLS), 0);
    for (uint32_t a = 0; a < HS__HAZARD_AGES; a++) {
        const hs__hazard_seen *of_age = h->cell + (size_t)a * RATES * RATES;
        float by_age = filled_up(sum(of_age, RATES * RATES), all);
        for (uint32_t o = 0; o < RATES; o++) {
            const hs__hazard_seen *of_both = of_age + (size_t)o * RATES;
            float by_both = filled_up(sum(of_both, RATES), by_age);
            for (uint32_t i = 0; i < RATES; i++)
                h->rate[(a * RATES + o) * RATES + i] = filled_up(of_both[i], by_both);
        }
    }
}
