/* exponent_int.h - what the kernels for frames with ranked exponents share. Layout: hotset/shard_format.h. */
#ifndef HS_STORE_EXPONENT_INT_H
#define HS_STORE_EXPONENT_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "hotset/shard_format.h"

/* Bytes that a kernel may read past the last exponent of a level: a group of escapes, and a vector. */
#define HS__EXPONENT_SLACK (HS_EXPONENT_GROUP + 64u)
/* Scratch for one level's exponents, and for all: two levels take turns. */
#define HS__EXPONENT_LEVEL   (HS_FRAME_RAW / 2 + HS_EXPONENT_GROUP + HS__EXPONENT_SLACK)
#define HS__EXPONENT_SCRATCH (2 * HS__EXPONENT_LEVEL)

/* One level: `groups` groups of codes at `code`; symbol[0..2] are its exponents, symbol[3] is 0; `next`: what the level
 * behind has decoded, up to `end`. */
typedef struct hs__level {
    const uint8_t *code;
    uint32_t groups;
    uint8_t symbol[4];
    const uint8_t *next, *end;
} hs__level;

/*
 * All of them: exactly the same bytes whatever the CPU. They read at most HS__EXPONENT_SLACK behind end, and return how
 * far next was taken; NULL as soon as that is past end.
 */
typedef struct hs__exponent_kernels {
    const char *name;
    bool (*is_supported)(void);
    /* groups * 256 exponents to out */
    const uint8_t *(*level)(const hs__level *l, uint8_t *out);
    /* groups * 256 elements to out, from their exponents and the rest */
    const uint8_t *(*join8)(const hs__level *l, const uint8_t *rest, uint8_t *out);
    const uint8_t *(*join16)(const hs__level *l, const uint8_t *rest, uint8_t *out);
} hs__exponent_kernels;

/* The k-th set, best first; the last one is generic. NULL behind it. */
const hs__exponent_kernels *hs__exponent_kernels_at(uint32_t k);
extern const hs__exponent_kernels hs__exponent_avx2, hs__exponent_avx512;

/* Decodes a frame of either codec into exactly raw_bytes. k NULL: the best kernels of this CPU. -EBADMSG. scratch:
 * HS__EXPONENT_SCRATCH bytes. */
int hs__exponent_decode(const hs__exponent_kernels *k, hs_codec codec, const uint8_t *stored, uint32_t stored_bytes,
                        uint8_t *scratch, uint8_t *raw, uint32_t raw_bytes);

#endif
