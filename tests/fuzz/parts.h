/* parts.h - an input that is several texts, with a byte 0xff (which UTF-8 never has) between them. */
#ifndef HS_TESTS_FUZZ_PARTS_H
#define HS_TESTS_FUZZ_PARTS_H

#include <string.h>

#include "fuzz.h"

/* Takes the text up to the next separator off the input; *ret is in the input, not NUL-terminated. */
static inline size_t take_part(const uint8_t **data, size_t *size, const char **ret)
{
    const uint8_t *end = *size ? memchr(*data, 0xff, *size) : NULL;
    size_t n = end ? (size_t)(end - *data) : *size;
    *ret = (const char *)*data;
    *data += end ? n + 1 : n;
    *size -= end ? n + 1 : n;
    return n;
}

/* The biggest number under max that stands in the text. */
static inline uint64_t biggest_number(const char *text, size_t n, uint64_t max)
{
    uint64_t best = 0, v = 0;
    for (size_t i = 0; i < n; i++) {
        v = text[i] >= '0' && text[i] <= '9' && v < max ? v * 10 + (uint64_t)(text[i] - '0') : 0;
        best = v > best && v < max ? v : best;
    }
    return best;
}

#endif
