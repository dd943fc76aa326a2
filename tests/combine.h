/* combine.h - of a product of axes too big to be run, as many combinations that any values of any so many axes meet. */
#ifndef HS_TESTS_COMBINE_H
#define HS_TESTS_COMBINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define COMBINE_AXES     10u
#define COMBINE_VALUES   8u /* of an axis */
#define COMBINE_STRENGTH 4u
#define COMBINE_CHOICES  210u  /* of 4 of 10 axes */
#define COMBINE_MEETINGS 4096u /* VALUES to the power of STRENGTH */

/* Every choice of `strength` axes, and which of their values have met. */
typedef struct combine_meetings {
    uint32_t strength, n;
    uint8_t axes[COMBINE_CHOICES][COMBINE_STRENGTH];
    bool met[COMBINE_CHOICES][COMBINE_MEETINGS];
} combine_meetings;

/* Combination `index` of the product: which value of each axis; the last axis changes fastest. */
static inline void combine_at(const uint32_t *lengths, uint32_t n_axes, uint32_t index, uint32_t *ret_at)
{
    for (uint32_t x = n_axes; x-- > 0; index /= lengths[x])
        ret_at[x] = index % lengths[x];
}

static inline void combine_choose_axes(combine_meetings *m, uint32_t n_axes, uint32_t strength)
{
    m->strength = strength;
    for (uint32_t set = 0; set < 1u << n_axes; set++) {
        if ((uint32_t)__builtin_popcount(set) != strength)
            continue;
        for (uint8_t x = 0, k = 0; x < n_axes; x++)
            if (set >> x & 1)
                m->axes[m->n][k++] = x;
        m->n++;
    }
}

/* How many choices of axes have values here that have not met before; take: they have now. */
static inline uint32_t combine_meet(combine_meetings *m, const uint32_t *at, bool take)
{
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t which = 0;
        for (uint32_t k = 0; k < m->strength; k++)
            which = which * COMBINE_VALUES + at[m->axes[i][k]];
        fresh += !m->met[i][which];
        m->met[i][which] |= take;
    }
    return fresh;
}

/* lengths [n_axes]: how many values each axis has. ret_chosen [their product]. is_possible: whether these values go
 * together. Greedily: first those in which most values meet that have not met, in the end those in which one does.
 * Returns how many of the product are possible. strength 0: all of these. */
static inline uint32_t combine(const uint32_t *lengths, uint32_t n_axes, uint32_t strength,
                               bool (*is_possible)(const uint32_t *at), bool *ret_chosen)
{
    combine_meetings *m = calloc(1, sizeof *m);
    uint32_t total = 1, possible = 0, at[COMBINE_AXES] = {0};
    if (!m || n_axes > COMBINE_AXES || strength > COMBINE_STRENGTH)
        abort();
    for (uint32_t x = 0; x < n_axes; x++)
        total *= lengths[x];
    for (uint32_t i = 0; i < total; i++) {
        combine_at(lengths, n_axes, i, at);
        bool is = is_possible(at);
        possible += is;
        ret_chosen[i] = is && !strength;
    }
    combine_choose_axes(m, n_axes, strength);
    for (uint32_t least = strength ? m->n : 0, next; least; least = next) {
        next = 0;
        /* In steps that visit each once, so that neighbours differ in many axes. */
        for (uint32_t k = 0; k < total; k++) {
            uint32_t i = (uint32_t)((uint64_t)k * 7919 % total);
            combine_at(lengths, n_axes, i, at);
            uint32_t fresh = is_possible(at) ? combine_meet(m, at, false) : 0;
            if (fresh >= least) {
                combine_meet(m, at, true);
                ret_chosen[i] = true;
            } else {
                next = fresh > next ? fresh : next;
            }
        }
    }
    free(m);
    return possible;
}

#endif
