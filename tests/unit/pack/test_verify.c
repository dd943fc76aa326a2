/* labels: unit */
/* hs_verify: any flipped, missing, added or cut byte of any file of a pack is found, and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "make.h"

typedef struct heard {
    char file[100];
    int64_t record;
    uint64_t n;
} heard;

static void on_problem(void *ctx, const hs_pack_problem *p)
{
    heard *h = ctx;
    assert_non_null(strstr(p->text, p->file));
    if (h->n++ == 0) {
        snprintf(h->file, sizeof h->file, "%s", p->file);
        h->record = p->record;
    }
}

/* Verifies, expecting damage in `file`. */
static heard expect_damage(const packed_model *w, const char *file, const char *what, size_t at)
{
    heard h = {.record = -2};
    hs_err err = {0};
    uint64_t problems = 0;
    hs_pack_monitor m = {.ctx = &h, .problem = on_problem};
    int r = hs_verify(w->packed, w->pool, &m, &problems, &err);
    if (r != -EBADMSG || !problems || h.n != problems || !strstr(err.text, w->packed))
        fail_msg("%s, %s at %zu: %d (%s), %llu problems", file, what, at, r, err.text, (unsigned long long)problems);
    if (strcmp(h.file, file))
        fail_msg("%s, %s at %zu: blamed on %s", file, what, at, h.file);
    return h;
}

static const char *const tiny_files[] = {"manifest.json", "config.json", "model.safetensors.header", "dense-00000.hss",
                                         "experts-00000.hss"};

/* One bit of every fifth byte of the small files, of every byte of headers, footers and tables; every 97th byte of the
 * rest. */
static void a_flipped_byte_is_found_anywhere(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    for (size_t f = 0; f < 5; f++) {
        size_t n = size_of(w.packed, tiny_files[f]);
        bool shard = strstr(tiny_files[f], ".hss");
        for (size_t at = 0; at < n; at++) {
            size_t from_end = n - at;
            bool dense = (!shard && at % 5 == 0) || (shard && at < 100) ||
                         (shard && ((from_end <= 4096 && from_end > 4050) || (from_end <= 8192 && from_end > 8100)));
            if (!dense && at % 97)
                continue;
            flip_bits(w.packed, tiny_files[f], at, 1 << at % 8);
            expect_damage(&w, tiny_files[f], "flipped byte", at);
            flip_bits(w.packed, tiny_files[f], at, 1 << at % 8);
        }
    }
    assert_int_equal(hs_verify(w.packed, w.pool, NULL, NULL, NULL), 0);
    packed_model_end(&w);
}

/* In a pack of many frames and records, raw and compressed: at random places, and the right record is named. */
static void the_record_is_named(void **state)
{
    (void)state;
    for (int raw = 0; raw < 2; raw++) {
        packed_model w = packed_model_make(SOURCE_BF16, raw ? HS_PACK_RAW : HS_PACK_ZSTD);
        const char *file = "experts-00000.hss";
        size_t n = size_of(w.packed, file);
        uint32_t seed = 7;
        for (int i = 0; i < 40; i++) {
            seed = seed * 1664525u + 1013904223u;
            size_t at = seed % n;
            flip_bits(w.packed, file, at, 0x40);
            heard h = expect_damage(&w, file, "flipped byte", at);
            if (at > 4096 && at < n - 16384)
                assert_true(h.record >= 0 && h.record < 16);
            flip_bits(w.packed, file, at, 0x40);
        }
        packed_model_end(&w);
    }
}

static void cut_or_longer_files_are_found(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    for (size_t f = 0; f < 5; f++) {
        size_t n;
        char path[400], *data = read_file(w.packed, tiny_files[f], &n);
        const size_t keep[] = {0, 1, n / 3, n / 2, n - 4096 < n ? n - 4096 : 2, n - 1};
        snprintf(path, sizeof path, "%s/%s", w.packed, tiny_files[f]);
        for (size_t i = 0; i < 6; i++) {
            write_file(w.packed, tiny_files[f], data, keep[i]);
            expect_damage(&w, tiny_files[f], "cut", keep[i]);
        }
        char *more = calloc(1, n + 4096);
        assert_non_null(more);
        memcpy(more, data, n);
        write_file(w.packed, tiny_files[f], more, n + 1);
        expect_damage(&w, tiny_files[f], "one more byte", n);
        write_file(w.packed, tiny_files[f], more, n + 4096);
        expect_damage(&w, tiny_files[f], "one more page", n);
        free(more);
        if (f) {
            unlink(path);
            expect_damage(&w, tiny_files[f], "missing", 0);
        }
        write_file(w.packed, tiny_files[f], data, n);
        free(data);
    }
    assert_int_equal(hs_verify(w.packed, w.pool, NULL, NULL, NULL), 0);
    packed_model_end(&w);
}

/* Two shards of one pack exchanged, and a shard of another pack: each whole in itself. */
static void a_foreign_shard_is_found(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    size_t n, m;
    char *dense = read_file(w.packed, "dense-00000.hss", &n), *experts = read_file(w.packed, "experts-00000.hss", &m);
    write_file(w.packed, "dense-00000.hss", experts, m);
    expect_damage(&w, "dense-00000.hss", "other shard", 0);
    write_file(w.packed, "dense-00000.hss", dense, n);
    free(dense);
    free(experts);
    const char *other = temp_folder(2);
    char p[300];
    snprintf(p, sizeof p, "%s/p", other);
    assert_int_equal(pack(w.src, p, HS_PACK_RAW, 0, NULL), 0);
    char *foreign = read_file(p, "experts-00000.hss", &n);
    write_file(w.packed, "experts-00000.hss", foreign, n);
    expect_damage(&w, "experts-00000.hss", "other pack's shard", 0);
    free(foreign);
    remove_tree(other);
    packed_model_end(&w);
}

static void damage_in_many_places_is_counted(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_BF16, HS_PACK_RAW);
    heard h = {0};
    uint64_t problems = 0;
    hs_pack_monitor m = {.ctx = &h, .problem = on_problem};
    size_t n = size_of(w.packed, "experts-00000.hss");
    for (int i = 1; i <= 4; i++)
        flip_bits(w.packed, "experts-00000.hss", n / 5 * (size_t)i, 1);
    flip_bits(w.packed, "tokenizer.json", 3, 1);
    assert_int_equal(hs_verify(w.packed, w.pool, &m, &problems, NULL), -EBADMSG);
    assert_int_equal(problems, 5);
    packed_model_end(&w);
}

static void on_note(void *ctx, const char *text)
{
    *(bool *)ctx |= strstr(text, "no checksums") != NULL;
}

static void a_plain_folder_is_looked_at(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    bool noted = false;
    hs_pack_monitor m = {.ctx = &noted, .note = on_note};
    assert_int_equal(hs_verify(w.src, w.pool, &m, NULL, NULL), 0);
    assert_true(noted);
    noted = false;
    write_file(w.src, "manifest.json", "{\"of\": 1}", 9); /* another tool's */
    assert_int_equal(hs_verify(w.src, w.pool, &m, NULL, NULL), 0);
    assert_true(noted);
    char path[300];
    snprintf(path, sizeof path, "%s/manifest.json", w.src);
    unlink(path);
    size_t n;
    char *p = read_file(w.src, "model.safetensors", &n);
    write_file(w.src, "model.safetensors", p, n - 1);
    free(p);
    hs_err err = {0};
    assert_int_equal(hs_verify(w.src, w.pool, NULL, NULL, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "model.safetensors"));
    assert_int_equal(hs_verify("/nonexistent/m", w.pool, NULL, NULL, &err), -ENOENT);
    packed_model_end(&w);
}

static void it_can_be_stopped(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    atomic_int cancel = 1;
    hs_pack_monitor m = {.cancel = &cancel};
    assert_int_equal(hs_verify(w.packed, w.pool, &m, NULL, NULL), -ECANCELED);
    packed_model_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_byte_is_found_anywhere),
        cmocka_unit_test(the_record_is_named),
        cmocka_unit_test(cut_or_longer_files_are_found),
        cmocka_unit_test(a_foreign_shard_is_found),
        cmocka_unit_test(damage_in_many_places_is_counted),
        cmocka_unit_test(a_plain_folder_is_looked_at),
        cmocka_unit_test(it_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
