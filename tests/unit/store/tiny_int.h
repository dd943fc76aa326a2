/* tiny_int.h - a container's image, shared by the two writers of the tests' models. */
#ifndef TESTS_STORE_TINY_INT_H
#define TESTS_STORE_TINY_INT_H

#include "unit/store/folder.h"

typedef struct tiny__image {
    uint8_t *bytes; /* free */
    size_t n, data_start;
    uint64_t offset[TINY_MAX_TENSORS]; /* of each tensor that is in it, from the file's start */
} tiny__image;

void tiny__container(const tiny_model *m, int container, tiny__image *ret);

#endif
