/* labels: unit */
/* test_decode.c - one frame: every codec, every damaged byte, and frames that lie about their size. */
#include "unit/store/folder.h"

#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "exponent.h"
#include "store/decode.h"

#define N 4096u

static uint8_t raw[N], stored[EXPONENT_MOST], out[N + 64];
static hs_decoder *decoder;

static int setup(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N; i++)
        raw[i] = (uint8_t)(i % 2 ? 0x3f : i * 7 % 61);
    return hs_decoder_create(&decoder, NULL);
}

static int teardown(void **state)
{
    (void)state;
    hs_decoder_destroy(&decoder);
    return 0;
}

static uint32_t check_of(const void *p, size_t n)
{
    return (uint32_t)XXH3_64bits(p, n);
}

/* raw[0..n) as a frame in `stored`. */
static uint32_t encode(hs_codec codec, uint32_t n)
{
    uint8_t planes[N];
    for (uint32_t i = 0; i < n / 2; i++) {
        planes[i] = raw[2 * i + 1];
        planes[n / 2 + i] = raw[2 * i];
    }
    if (codec == HS_CODEC_RAW) {
        memcpy(stored, raw, n);
        return n;
    }
    if (codec == HS_CODEC_EXPONENT_8 || codec == HS_CODEC_EXPONENT_16) {
        uint32_t width = codec == HS_CODEC_EXPONENT_8 ? 1 : 2;
        return exponent_write(raw, width, n / width, NULL, stored);
    }
    size_t len = ZSTD_compress(stored, sizeof stored, codec == HS_CODEC_ZSTD ? raw : planes, n, 1);
    assert_false(ZSTD_isError(len));
    return (uint32_t)len;
}

static void every_codec_gives_the_bytes_back(void **state)
{
    (void)state;
    for (int c = HS_CODEC_RAW; c < HS_CODEC_END; c++) {
        for (uint32_t n = 64; n <= N; n *= 4) {
            uint32_t len = encode((hs_codec)c, n);
            memset(out, 0xee, sizeof out);
            assert_int_equal(hs__frame_decode(decoder, (hs_codec)c, check_of(stored, len), stored, len, out, n), 0);
            assert_memory_equal(out, raw, n);
            assert_int_equal(out[n], 0xee);
        }
    }
    uint32_t len = encode(HS_CODEC_RAW, N);
    assert_int_equal(hs__frame_decode(decoder, HS_CODEC_RAW, check_of(stored, len), stored, len, stored, N), 0);
}

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    for (int c = HS_CODEC_RAW; c < HS_CODEC_END; c++) {
        uint32_t len = encode((hs_codec)c, 512), check = check_of(stored, len);
        for (uint32_t bit = 0; bit < 8 * len; bit++) {
            stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(hs__frame_decode(decoder, (hs_codec)c, check, stored, len, out, 512), -EBADMSG);
            stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(hs__frame_decode(decoder, (hs_codec)c, check, stored, len, out, 512), 0);
    }
}

/* With a right checksum and a wrong size: nothing is written past what the table says. */
static void a_frame_of_another_size_is_refused(void **state)
{
    (void)state;
    for (int c = HS_CODEC_RAW; c < HS_CODEC_END; c++) {
        uint32_t len = encode((hs_codec)c, 1024), check = check_of(stored, len);
        static const uint32_t sizes[] = {0, 2, 1022, 1026, 2048};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            memset(out, 0xee, sizeof out);
            assert_int_equal(hs__frame_decode(decoder, (hs_codec)c, check, stored, len, out, sizes[i]), -EBADMSG);
            for (uint32_t k = sizes[i]; k < sizeof out; k++)
                assert_int_equal(out[k], 0xee);
        }
    }
    uint32_t len = encode(HS_CODEC_ZSTD_PLANES, 1024), check = check_of(stored, len);
    assert_int_equal(hs__frame_decode(decoder, HS_CODEC_ZSTD_PLANES, check, stored, len, out, 1023), -EBADMSG);
    assert_int_equal(hs__frame_decode(decoder, HS_CODEC_ZSTD_PLANES, check, stored, len, out, 1u << 30), -EBADMSG);
    assert_int_equal(hs__frame_decode(decoder, HS_CODEC_END, check, stored, len, out, 1024), -EBADMSG);
}

static void garbage_with_a_right_checksum_is_refused(void **state)
{
    (void)state;
    uint32_t seed = 5;
    for (int k = 0; k < 2000; k++) {
        uint32_t len = 1 + seed % 200;
        for (uint32_t i = 0; i < len; i++) {
            seed = seed * 1664525u + 1013904223u;
            stored[i] = (uint8_t)(seed >> 24);
        }
        if (k % 2 && len >= 4)
            memcpy(stored, "\x28\xb5\x2f\xfd", 4); /* a zstd frame, it says */
        hs_codec codec = (hs_codec)(HS_CODEC_ZSTD + k / 2 % (HS_CODEC_END - HS_CODEC_ZSTD));
        int r = hs__frame_decode(decoder, codec, check_of(stored, len), stored, len, out, 256);
        assert_true(r == 0 || r == -EBADMSG);
    }
}

/* What would not get smaller is stored as it is: then, and only then, both sizes are the same. */
static void a_frame_of_noise_is_its_bytes(void **state)
{
    (void)state;
    for (int c = HS_CODEC_EXPONENT_8; c <= HS_CODEC_EXPONENT_16; c++) {
        memset(out, 0xee, sizeof out);
        assert_int_equal(hs__frame_decode(decoder, (hs_codec)c, check_of(raw, N), raw, N, out, N), 0);
        assert_memory_equal(out, raw, N);
        assert_int_equal(out[N], 0xee);
    }
}

static void a_decoder_is_no_bigger_than_planned(void **state)
{
    (void)state;
    ZSTD_DCtx *d = ZSTD_createDCtx();
    encode(HS_CODEC_ZSTD, N);
    ZSTD_decompressDCtx(d, out, N, stored, sizeof stored);
    assert_true(ZSTD_sizeof_DCtx(d) + HS_FRAME_RAW <= hs_decoder_bytes());
    ZSTD_freeDCtx(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codec_gives_the_bytes_back),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(a_frame_of_another_size_is_refused),
        cmocka_unit_test(garbage_with_a_right_checksum_is_refused),
        cmocka_unit_test(a_frame_of_noise_is_its_bytes),
        cmocka_unit_test(a_decoder_is_no_bigger_than_planned),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
