/* fake_decoder.h - decoders for stores that exist only in the test: they keep nothing. Include it in one file per test
 * binary. */
#ifndef FAKE_DECODER_H
#define FAKE_DECODER_H

#include <errno.h>
#include <stdlib.h>

#include "store/objects.h"

struct hs_decoder {
    int unused;
};

int hs_decoder_create(hs_decoder **ret, hs_err *err)
{
    (void)err;
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}
void hs_decoder_destroy(hs_decoder **d)
{
    free(*d);
    *d = NULL;
}
uint64_t hs_decoder_bytes(void)
{
    return sizeof(hs_decoder);
}

#endif
