/* labels: unit */
/* Which codec a matrix gets: what does not shrink to 0.93 of its size stays raw; BF16 is split into byte planes, or
 * its exponents are ranked. The encoder of those writes what an independent one does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exponent.h"
#include "make.h"
#include "pack/pack_int.h"

typedef void (*on_part)(const hs__pk_shard *sh, const hs_shard_record *rec, const hs_shard_part *part, uint64_t stored,
                        void *ctx);

static void each_part(const char *dst, on_part fn, void *ctx)
{
    hs__pk_work w;
    hs__pk_packed *p = NULL;
    assert_int_equal(hs__pk_work_init(&w, NULL, NULL, 1, NULL), 0);
    assert_int_equal(hs__pk_packed_open(dst, &p, NULL), 0);
    assert_int_equal(hs__pk_packed_open_shards(&w, p, NULL), 0);
    assert_int_equal(w.problems, 0);
    for (uint32_t s = 0; s < p->n_shards; s++) {
        const hs__pk_shard *sh = &p->shards[s];
        for (uint32_t r = 0; r < sh->header.n_records; r++) {
            const hs_shard_record *rec = &sh->records[r];
            uint32_t frame = rec->first_frame;
            for (uint32_t i = 0; i < rec->n_parts; i++) {
                const hs_shard_part *part = &sh->parts[rec->first_part + i];
                uint64_t stored = 0;
                for (uint32_t n = hs__pk_n_frames(part->bytes); n; n--)
                    stored += sh->frames[frame++].stored_bytes;
                fn(sh, rec, part, stored, ctx);
            }
        }
    }
    hs__pk_packed_close(&p);
    hs__pk_work_deinit(&w);
}

static void check_rule(const hs__pk_shard *sh, const hs_shard_record *rec, const hs_shard_part *part, uint64_t stored,
                       void *ctx)
{
    int *count = ctx;
    (void)sh;
    count[part->codec]++;
    uint64_t raw = hs__pk_padded(part->bytes);
    if (part->codec == HS_CODEC_RAW)
        assert_int_equal(stored, raw);
    else
        assert_true((double)stored <= HS_PACK_RAW_RATIO * (double)raw);
    assert_true(rec->stored_bytes == rec->raw_bytes || (double)rec->stored_bytes <= 0.93 * (double)rec->raw_bytes);
}

static void only_what_shrinks_is_compressed(void **state)
{
    (void)state;
    for (source_kind k = SOURCE_BF16; k <= SOURCE_FP8; k++) {
        const char *src = temp_folder(0), *out = temp_folder(1);
        char dst[220];
        make_source(src, k);
        for (hs_pack_codec c = HS_PACK_ZSTD; c <= HS_PACK_ANY; c++) {
            int count[HS_CODEC_END] = {0};
            snprintf(dst, sizeof dst, "%s/%d", out, (int)c);
            assert_int_equal(pack(src, dst, c, 0, NULL), 0);
            each_part(dst, check_rule, count);
            assert_true(count[HS_CODEC_RAW] > 0); /* the random matrix, and tensors of a few bytes */
            int zstd = count[HS_CODEC_ZSTD] + count[HS_CODEC_ZSTD_PLANES];
            int exponent = count[k == SOURCE_FP8 ? HS_CODEC_EXPONENT_8 : HS_CODEC_EXPONENT_16];
            assert_true(c == HS_PACK_EXPONENT ? !zstd : zstd + exponent > 0);
            assert_true(c == HS_PACK_ZSTD ? !exponent : c == HS_PACK_ANY || exponent > 0);
            assert_true(c != HS_PACK_ZSTD || k == SOURCE_FP8 || count[HS_CODEC_ZSTD_PLANES] > 0);
        }
        remove_tree(src);
        remove_tree(out);
    }
}

static void check_raw(const hs__pk_shard *sh, const hs_shard_record *rec, const hs_shard_part *part, uint64_t stored,
                      void *ctx)
{
    (void)sh;
    (void)ctx;
    assert_int_equal(part->codec, HS_CODEC_RAW);
    assert_int_equal(stored, hs__pk_padded(part->bytes));
    assert_int_equal(rec->stored_hash, rec->raw_hash);
}

static void raw_is_raw(void **state)
{
    (void)state;
    const char *src = temp_folder(0), *out = temp_folder(1);
    char dst[220];
    snprintf(dst, sizeof dst, "%s/p", out);
    make_source(src, SOURCE_BF16);
    assert_int_equal(pack(src, dst, HS_PACK_RAW, 0, NULL), 0);
    each_part(dst, check_raw, NULL);
    remove_tree(src);
    remove_tree(out);
}

/* Elements of which each exponent is half as frequent as the one before it. */
static void fill_elements(uint8_t *raw, uint32_t width, uint32_t n, uint32_t *seed)
{
    for (uint32_t i = 0; i < n * width; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        uint32_t e = (uint32_t)__builtin_ctz(*seed >> 8 | 1u << 14), noise = *seed >> 24;
        raw[i] = (uint8_t)(width == 1 ? (e & 15) << 3 | (noise & 0x87) : i % 2 ? 0x3f - e : noise);
    }
}

static void exponent_frames_are_what_the_format_says(void **state)
{
    (void)state;
    static uint8_t raw[HS_FRAME_RAW], got[HS_FRAME_RAW], want[EXPONENT_MOST], scratch[2 * HS_FRAME_RAW];
    static const uint32_t sizes[] = {4096, 4096 + 64, 64 * 1000, HS_FRAME_RAW};
    uint32_t seed = 1;
    for (uint32_t width = 1; width <= 2; width++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            hs_codec codec = width == 1 ? HS_CODEC_EXPONENT_8 : HS_CODEC_EXPONENT_16;
            fill_elements(raw, width, sizes[k] / width, &seed);
            uint32_t len = hs__pk_exponent_frame(codec, raw, sizes[k], scratch, got);
            assert_true(len < sizes[k]);
            assert_int_equal(len, exponent_write(raw, width, sizes[k] / width, NULL, want));
            assert_memory_equal(got, want, len);
            for (uint32_t i = 0; i < sizes[k]; i++) /* noise */
                raw[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
            assert_int_equal(hs__pk_exponent_frame(codec, raw, sizes[k], scratch, got), sizes[k]);
            assert_memory_equal(got, raw, sizes[k]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_shrinks_is_compressed),
        cmocka_unit_test(raw_is_raw),
        cmocka_unit_test(exponent_frames_are_what_the_format_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
