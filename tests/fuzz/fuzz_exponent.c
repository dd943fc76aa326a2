/* rooms: store, max_len: 8192 */
/*
 * fuzz_exponent.c - frames with ranked exponents. The first byte chooses: the rest is a stored frame, whose raw size
 * the next two bytes give, or elements, which must come back. Every kernel set says and writes the same.
 */
#include <string.h>

#include "../exponent.h"
#include "base/mem.h"
#include "fuzz.h"
#include "store/exponent_int.h"

#define MOST 65536u

static uint8_t scratch[HS__EXPONENT_SCRATCH], want[MOST + 64], got[MOST + 64];

/* With all kernel sets; the result stays in `got`. */
static int decode(hs_codec codec, const uint8_t *stored, uint32_t len, uint32_t raw_bytes)
{
    int first = 1;
    for (uint32_t k = 0; hs__exponent_kernels_at(k); k++) {
        if (!hs__exponent_kernels_at(k)->is_supported())
            continue;
        memset(got, 0xee, sizeof got);
        int r = hs__exponent_decode(hs__exponent_kernels_at(k), codec, stored, len, scratch, got, raw_bytes);
        for (uint32_t i = raw_bytes; i < raw_bytes + 64; i++)
            FUZZ_CHECK(got[i] == 0xee);
        FUZZ_CHECK(first == 1 || (first == r && (r < 0 || !memcmp(got, want, raw_bytes))));
        if (first == 1)
            memcpy(want, got, raw_bytes);
        first = r;
    }
    return first;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    uint32_t width = 1 + data[0] % 2, n = (uint32_t)(size - 3);
    hs_codec codec = width == 1 ? HS_CODEC_EXPONENT_8 : HS_CODEC_EXPONENT_16;
    uint8_t *own = hs_malloc(n + 1);
    FUZZ_CHECK(own);
    memcpy(own, data + 3, n);
    if (data[0] & 2) {
        static uint8_t stored[EXPONENT_MOST];
        n = n < MOST ? n / width : MOST / width;
        uint32_t len = exponent_write(own, width, n, NULL, stored);
        hs_exponent_frame h;
        memcpy(&h, stored, sizeof h);
        int r = decode(codec, stored, len, n * width);
        FUZZ_CHECK(h.escapes[0] > n / 2 ? r < 0 : r == 0 && !memcmp(got, own, n * width));
    } else {
        (void)decode(codec, own, n, (uint32_t)(data[1] | data[2] << 8));
    }
    hs_free(own);
    return 0;
}
