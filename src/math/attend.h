/*
 * attend.h - attention of several queries over keys that they share, a block of keys after the other.
 *
 * Same bits: what a query gets depends on itself, on the keys it sees and on where blocks begin; not on the other
 * queries, and not on keys of the block that it does not see, as long as they are finite.
 */
#ifndef HS_MATH_ATTEND_H
#define HS_MATH_ATTEND_H

#include <stdbool.h>

#include "math/mat.h"

#define HS_ATTEND_KEYS 128u /* most keys of a block */
#define HS_ATTEND_TILE 64u  /* queries that go through a block together */

/* A block of n keys and values, n <= HS_ATTEND_KEYS. Strides are in floats. */
typedef struct hs_attend_block {
    const float *panels; /* keys: [ceil(n / HS_PANEL_ROWS)][qk_dim][HS_PANEL_ROWS], 64-byte-aligned; rows >= n zero */
    const float *values; /* [n][v_dim] at value_stride */
    size_t value_stride;
    uint32_t n, qk_dim, v_dim;
} hs_attend_block;

/* Queries and what they have gathered: acc [m][v_dim] relative to max, sum [m]. Begin with 0, -INFINITY and 0; the
 * result is acc / sum. */
typedef struct hs_attend_queries {
    const float *q; /* [m][qk_dim] */
    float *acc, *max, *sum;
    size_t q_stride, acc_stride;
    float scale; /* of scores */
    uint32_t m;
    uint32_t seen;   /* keys of this block that query 0 sees, >= 1 */
    bool causal;     /* each further query sees one more, else all see the same */
    uint32_t window; /* a query sees only this many keys before and including its last one; 0 = all */
} hs_attend_queries;

/* n rows of dim floats -> panels, the last one filled up with zeros. panels: room for whole panels. */
void hs_attend_panels(const hs_kernels *k, const float *rows, size_t stride, uint32_t n, uint32_t dim, float *panels);

/* Adds the block to what the queries have gathered. p: scratch, HS_ATTEND_TILE * HS_ATTEND_KEYS floats. */
void hs_attend(const hs_kernels *k, const hs_attend_block *b, const hs_attend_queries *q, float *p);

#endif
