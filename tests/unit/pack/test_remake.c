/* labels: unit fault */
/* hs_repair without a copy: what the source gives again is bit for bit what was there, and nothing else is written. */
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

static int repair(const packed_model *w, uint64_t *ret_mended, uint64_t *ret_problems, hs_err *err)
{
    *ret_mended = *ret_problems = 0;
    return hs_repair(w->packed, NULL, NULL, NULL, ret_mended, ret_problems, err);
}

static void records_and_files_come_back(void **state)
{
    (void)state;
    static const hs_pack_codec codecs[] = {HS_PACK_RAW, HS_PACK_ZSTD, HS_PACK_EXPONENT, HS_PACK_ANY};
    static const char *const files[] = {"experts-00000.hss", "dense-00000.hss", "model.safetensors.header",
                                        "config.json"};
    uint32_t mended_all = 0;
    for (int i = 0; i < 8; i++) {
        packed_model w = packed_twice(i % 2 ? SOURCE_FP8 : SOURCE_TINY, codecs[i / 2]);
        for (int f = 0; f < 4; f++) {
            uint64_t mended, problems;
            hs_err err = {0};
            size_t n = size_of(w.packed, files[f]);
            flip_bits(w.packed, files[f], f < 2 ? 4096 + 7 : n / 2, 0x10);
            if (f == 0) /* another record */
                flip_bits(w.packed, files[f], n / 2, 0x10);
            if (repair(&w, &mended, &problems, &err) < 0 || problems)
                fail_msg("%s: %s", files[f], err.text);
            assert_in_range(mended, 1, 2);
            mended_all += (uint32_t)mended;
            assert_same_folder(w.packed, w.beside);
        }
        packed_model_end(&w);
    }
    assert_true(mended_all > 8 * 4);
}

/* Raw records come from the source, too, though no plan has their shard. */
static void raw_copies_come_back(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_FP8, HS_PACK_RAW);
    remove_tree(w.packed);
    remove_tree(w.beside);
    assert_int_equal(pack_kept(w.src, w.packed, HS_PACK_EXPONENT, 0, NULL), 0);
    assert_int_equal(pack_kept(w.src, w.beside, HS_PACK_EXPONENT, 0, NULL), 0);
    uint64_t mended, problems;
    hs_err err = {0};
    flip_bits(w.packed, "raw-00000.hss", 4096 + 7, 0x10);
    flip_bits(w.packed, "raw-00000.hss", size_of(w.packed, "raw-00000.hss") / 2, 0x10);
    flip_bits(w.packed, "experts-00000.hss", 4096 + 7, 0x10);
    if (repair(&w, &mended, &problems, &err) < 0 || problems)
        fail_msg("%s", err.text);
    assert_int_equal(mended, 3);
    assert_same_folder(w.packed, w.beside);
    packed_model_end(&w);
}

/* Bytes that are the source's no more are not written over what is left of the pack. */
static void another_source_mends_nothing(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_TINY, HS_PACK_ZSTD);
    char path[300];
    struct stat st;
    size_t n, n_after, n_src = size_of(w.src, "model.safetensors");
    uint64_t mended, problems;
    hs_err err = {0};
    snprintf(path, sizeof path, "%s/model.safetensors", w.src);
    assert_int_equal(stat(path, &st), 0);
    flip_bits(w.packed, "experts-00000.hss", 4096 + 7, 0x10);
    flip_bits(w.packed, "experts-00000.hss", size_of(w.packed, "experts-00000.hss") / 2, 0x10);
    flip_bits(w.src, "model.safetensors", n_src - 5000, 0x10);
    flip_bits(w.src, "model.safetensors", n_src / 4, 0x10);
    const struct timespec same[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, same, 0), 0);
    char *before = read_file(w.packed, "experts-00000.hss", &n);
    assert_int_equal(repair(&w, &mended, &problems, &err), -EBADMSG);
    assert_int_equal(problems, 2);
    assert_int_equal(mended, 0);
    if (!strstr(err.text, "not those that were packed"))
        fail_msg("%s", err.text);
    char *after = read_file(w.packed, "experts-00000.hss", &n_after);
    assert_int_equal(n, n_after);
    assert_memory_equal(before, after, n);
    /* It tells of itself that it was changed. */
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    assert_int_equal(repair(&w, &mended, &problems, &err), -ESTALE);
    remove_tree(w.src);
    assert_int_equal(repair(&w, &mended, &problems, &err), -ENOENT);
    assert_false(file_exists(w.packed, "hotset-pack.lock"));
    free(before);
    free(after);
    packed_model_end(&w);
}

static void a_damaged_table_is_told(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_TINY, HS_PACK_ZSTD);
    uint64_t mended, problems;
    hs_err err = {0};
    flip_bits(w.packed, "experts-00000.hss", 20, 0x10);
    assert_int_equal(repair(&w, &mended, &problems, &err), -EBADMSG);
    assert_int_equal(mended, 0);
    assert_int_equal(problems, 1);
    packed_model_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_and_files_come_back),
        cmocka_unit_test(raw_copies_come_back),
        cmocka_unit_test(another_source_mends_nothing),
        cmocka_unit_test(a_damaged_table_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
