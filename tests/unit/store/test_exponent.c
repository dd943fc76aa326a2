/* labels: unit */
/* test_exponent.c - frames with ranked exponents: every kernel set gives the bytes back, whatever the length and the
 * ranking, and refuses what does not add up without touching a byte outside. */
#include "unit/store/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exponent.h"
#include "store/exponent_int.h"

#define EDGE 64u

static uint8_t raw[HS_FRAME_RAW], stored[EXPONENT_MOST], scratch[HS__EXPONENT_SCRATCH];
static _Alignas(64) uint8_t room[HS_FRAME_RAW + 2 * EDGE];
static uint32_t seed = 7;

static uint32_t chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    return seed ^= seed << 5;
}

/* Exponents spread like those of weights: each second one is `spread` times rarer than the one before. */
static void fill(uint32_t width, uint32_t n, uint32_t spread)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t e = 0, noise = chance(), most = width == 1 ? 15 : 40;
        while (e < most && chance() % spread == 0)
            e++;
        if (width == 1) {
            raw[i] = (uint8_t)((15 - e) << 3 | (noise & 0x87));
        } else {
            uint32_t x = (200 - e) << 7 | (noise & 0x807f);
            raw[2 * i] = (uint8_t)x;
            raw[2 * i + 1] = (uint8_t)(x >> 8);
        }
    }
}

/* The frame in `stored` with every kernel set; all agree. In memory of its own, so that a read outside is seen. */
static int decode(uint32_t width, uint32_t len, uint32_t n)
{
    hs_codec codec = width == 1 ? HS_CODEC_EXPONENT_8 : HS_CODEC_EXPONENT_16;
    uint8_t *own = malloc(len ? len : 1);
    assert_non_null(own);
    memcpy(own, stored, len);
    int first = 1;
    for (uint32_t k = 0, at = 0; hs__exponent_kernels_at(k); k += at != 0, at ^= 1) {
        const hs__exponent_kernels *set = hs__exponent_kernels_at(k);
        if (!set->is_supported())
            continue;
        uint8_t *out = room + at; /* where it is aligned it is written in another way */
        memset(room, 0xee, sizeof room);
        int r = hs__exponent_decode(set, codec, own, len, scratch, out, n * width);
        assert_true(first == 1 || r == first);
        first = r;
        if (r == 0)
            assert_memory_equal(out, raw, n * width);
        for (uint32_t i = 0; i < EDGE; i++)
            assert_int_equal(out[n * width + i], 0xee);
    }
    free(own);
    return first;
}

static void all_lengths(void **state)
{
    (void)state;
    for (uint32_t width = 1; width <= 2; width++)
        for (uint32_t bytes = 64; bytes <= 4096; bytes += 64) {
            fill(width, bytes / width, 3);
            uint32_t len = exponent_write(raw, width, bytes / width, NULL, stored);
            assert_int_equal(decode(width, len, bytes / width), 0);
        }
}

static void whole_frames(void **state)
{
    (void)state;
    for (uint32_t width = 1; width <= 2; width++)
        for (uint32_t spread = 2; spread < 50; spread += 16) { /* all levels full of escapes, and hardly any */
            fill(width, HS_FRAME_RAW / width, spread);
            uint32_t len = exponent_write(raw, width, HS_FRAME_RAW / width, NULL, stored);
            assert_int_equal(decode(width, len, HS_FRAME_RAW / width), 0);
        }
}

/* Half of all exponents are literals: the most that a frame may have. */
static void the_worst_ranking(void **state)
{
    (void)state;
    uint8_t symbol[HS_EXPONENT_LEVELS][3] = {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}};
    for (uint32_t width = 1; width <= 2; width++) {
        uint32_t n = HS_FRAME_RAW / width;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t e = i < n / 2 ? 1 : 9;
            raw[width * i] = (uint8_t)(width == 1 ? e << 3 : e << 7);
            if (width == 2)
                raw[2 * i + 1] = (uint8_t)(e >> 1);
        }
        uint32_t len = exponent_write(raw, width, n, symbol, stored);
        assert_int_equal(decode(width, len, n), 0);
        raw[0] = (uint8_t)(width == 1 ? 9 << 3 : 9 << 7); /* one more */
        raw[1] = (uint8_t)(width == 2 ? 4 : raw[1]);
        len = exponent_write(raw, width, n, symbol, stored);
        assert_int_equal(decode(width, len, n), -EBADMSG);
    }
}

/* Codes that name more, or fewer, escapes than the header says, at every level. */
static void escapes_that_are_not_there(void **state)
{
    (void)state;
    for (uint32_t width = 1; width <= 2; width++) {
        uint32_t n = 65536;
        fill(width, n, 2);
        uint32_t len = exponent_write(raw, width, n, NULL, stored),
                 at = sizeof(hs_exponent_frame) + n / 256 * 128 * width;
        hs_exponent_frame h;
        memcpy(&h, stored, sizeof h);
        for (uint32_t k = 0, codes = n; k < HS_EXPONENT_LEVELS; codes = h.escapes[k++]) {
            assert_true(h.escapes[k] > 0);
            uint32_t bytes = (codes + 255) / 256 * 64;
            static uint8_t keep[HS_FRAME_RAW];
            memcpy(keep, stored + at, bytes);
            memset(stored + at, 0xff, bytes);
            assert_int_equal(decode(width, len, n), -EBADMSG);
            memset(stored + at, 0, bytes);
            assert_int_equal(decode(width, len, n), -EBADMSG);
            memcpy(stored + at, keep, bytes);
            at += bytes;
        }
        assert_int_equal(decode(width, len, n), 0);
    }
}

static void sizes_that_do_not_add_up(void **state)
{
    (void)state;
    uint32_t n = 1024;
    fill(1, n, 3);
    uint32_t len = exponent_write(raw, 1, n, NULL, stored);
    for (uint32_t l = 0; l < len; l++)
        assert_int_equal(decode(1, l, n), -EBADMSG);
    assert_int_equal(decode(1, len + 1, n), -EBADMSG);
    hs_exponent_frame good, h;
    memcpy(&good, stored, sizeof good);
    for (uint32_t k = 0; k < HS_EXPONENT_LEVELS; k++) {
        const uint32_t bad[] = {good.escapes[k] + 1, good.escapes[k] - 1, UINT32_MAX, n + 1, 1u << 31};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            h = good;
            h.escapes[k] = bad[i];
            memcpy(stored, &h, sizeof h);
            assert_int_equal(decode(1, len, n), -EBADMSG);
        }
    }
    memcpy(stored, &good, sizeof good);
    assert_int_equal(decode(1, len, n), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_lengths),
        cmocka_unit_test(whole_frames),
        cmocka_unit_test(the_worst_ranking),
        cmocka_unit_test(escapes_that_are_not_there),
        cmocka_unit_test(sizes_that_do_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
