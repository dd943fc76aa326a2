/* labels: unit fault */
/* hs_repair: whatever is damaged in a pack comes back from its copy, bit for bit, and nothing else changes. */
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
    uint64_t notes, problems, ticks, stop_at;
    int64_t record;
    atomic_int cancel;
} heard;

static void on_note(void *ctx, const char *text)
{
    heard *h = ctx;
    assert_non_null(strstr(text, "repaired from"));
    h->notes++;
}

static void on_problem(void *ctx, const hs_pack_problem *p)
{
    heard *h = ctx;
    h->record = p->record;
    h->problems++;
}

static void on_progress(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total)
{
    heard *h = ctx;
    (void)phase;
    assert_true(done <= total);
    if (h->stop_at && ++h->ticks == h->stop_at)
        atomic_store(&h->cancel, 1);
}

/* Repairs; *h hears. */
static int repair(const packed_model *w, const char *mirror, heard *h, uint64_t *ret_mended, hs_err *err)
{
    hs_pack_monitor m = {
        .ctx = h, .note = on_note, .problem = on_problem, .progress = on_progress, .cancel = &h->cancel};
    uint64_t problems = 0;
    int r = hs_repair(w->packed, mirror, w->pool, &m, ret_mended, &problems, err);
    if (r == 0 || r == -EBADMSG) {
        assert_int_equal(problems, h->problems);
        assert_int_equal(*ret_mended, h->notes);
    }
    return r;
}

/* One thing is damaged: it is mended, and all is as it was. */
static void expect_mended(const packed_model *w, const char *what, size_t at)
{
    heard h = {0};
    hs_err err = {0};
    uint64_t n = 0;
    int r = repair(w, w->beside, &h, &n, &err);
    if (r < 0 || n != 1 || h.problems)
        fail_msg("%s at %zu: %d (%s), %llu mended", what, at, r, err.text, (unsigned long long)n);
    assert_same_folder(w->packed, w->beside);
}

static const char *const files[] = {"manifest.json", "config.json", "model.safetensors.header", "dense-00000.hss",
                                    "experts-00000.hss"};
#define N_FILES 5u

/* A byte of every region: heads, ends and every so often between. */
static void a_flipped_byte_is_mended_anywhere(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_TINY, HS_PACK_ZSTD);
    uint32_t tried = 0;
    for (size_t f = 0; f < N_FILES; f++) {
        size_t n = size_of(w.packed, files[f]);
        for (size_t at = 0; at < n; at += at < 90 || n - at < 100 ? 11 : 509, tried++) {
            flip_bits(w.packed, files[f], at, 0x10);
            expect_mended(&w, files[f], at);
        }
    }
    assert_true(tried > 150);
    packed_model_end(&w);
}

static void cut_longer_and_missing_files_come_back(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_TINY, HS_PACK_ZSTD);
    for (size_t f = 1; f < N_FILES; f++) {
        size_t n;
        char path[400], *data = read_file(w.packed, files[f], &n);
        snprintf(path, sizeof path, "%s/%s", w.packed, files[f]);
        const size_t keep[] = {0, 1, n / 3, n - 1};
        for (size_t i = 0; i < 4; i++) {
            write_file(w.packed, files[f], data, keep[i]);
            expect_mended(&w, files[f], keep[i]);
        }
        char *more = calloc(1, n + 4096);
        memcpy(more, data, n);
        write_file(w.packed, files[f], more, n + 4096);
        expect_mended(&w, files[f], n + 4096);
        unlink(path);
        expect_mended(&w, "missing", f);
        free(more);
        free(data);
    }
    packed_model_end(&w);
}

/* A shard on another drive is mended there. */
static void a_link_stays_a_link(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_TINY, HS_PACK_ZSTD);
    char here[400], there[400], folder[230];
    struct stat st;
    size_t n;
    snprintf(folder, sizeof folder, "%s/drive", w.out);
    snprintf(there, sizeof there, "%s/moved.hss", folder);
    snprintf(here, sizeof here, "%s/experts-00000.hss", w.packed);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(rename(here, there), 0);
    assert_int_equal(symlink(there, here), 0);
    assert_true(loads(w.packed));
    flip_bits(folder, "moved.hss", 5000, 0x10);
    expect_mended(&w, "a linked record", 5000);
    char *data = read_file(folder, "moved.hss", &n);
    write_file(folder, "moved.hss", data, n / 2);
    free(data);
    expect_mended(&w, "a cut link", n / 2);
    assert_int_equal(lstat(here, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(there, &st), 0);
    assert_true(S_ISREG(st.st_mode) && (size_t)st.st_size == n);
    packed_model_end(&w);
}

/* What the copy lacks as well is told, record by record; all the rest is mended. */
static void damage_in_both_is_told(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_BF16, HS_PACK_RAW);
    const char *file = "experts-00000.hss";
    hs_err err = {0};
    uint64_t n = 0;
    size_t first = 4096 + 5, last = size_of(w.packed, file) * 3 / 4;
    heard h = {.record = -2};
    flip_bits(w.packed, file, first, 0x10);
    flip_bits(w.beside, file, first + 100, 0x10);
    flip_bits(w.packed, file, last, 0x10);
    assert_int_equal(repair(&w, w.beside, &h, &n, &err), -EBADMSG);
    assert_int_equal(n, 1);
    assert_int_equal(h.problems, 1);
    assert_int_equal(h.record, 0);
    assert_non_null(strstr(err.text, "record 0"));
    /* Nothing of the damaged copy has been taken over. */
    flip_bits(w.packed, file, first, 0x10);
    assert_int_equal(hs_verify(w.packed, w.pool, NULL, NULL, &err), 0);
    /* A sound pack takes nothing from a damaged copy. */
    h = (heard){0};
    assert_int_equal(repair(&w, w.beside, &h, &n, &err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(hs_verify(w.packed, w.pool, NULL, NULL, &err), 0);
    packed_model_end(&w);
}

/* Sound bytes are not even written: the file that holds them may be read meanwhile. */
static void only_the_damaged_pages_are_written(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_BF16, HS_PACK_RAW);
    char path[400];
    struct stat before, after;
    snprintf(path, sizeof path, "%s/dense-00000.hss", w.packed);
    assert_int_equal(stat(path, &before), 0);
    flip_bits(w.packed, "experts-00000.hss", 5000, 0x10);
    expect_mended(&w, "a record", 5000);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    assert_int_equal(before.st_ino, after.st_ino);
    packed_model_end(&w);
}

static void only_a_copy_will_do(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_TINY, HS_PACK_ZSTD);
    char other[230], missing[230];
    heard h = {0};
    hs_err err = {0};
    uint64_t n = 0;
    snprintf(other, sizeof other, "%s/o", w.out);
    snprintf(missing, sizeof missing, "%s/none", w.out);
    assert_int_equal(pack(w.src, other, HS_PACK_RAW, 0, NULL), 0);
    flip_bits(w.packed, "experts-00000.hss", 5000, 0x10);
    assert_int_equal(repair(&w, other, &h, &n, &err), -ESTALE);
    assert_non_null(strstr(err.text, "not a copy"));
    assert_int_equal(repair(&w, missing, &h, &n, &err), -ENOENT);
    assert_int_equal(repair(&w, w.src, &h, &n, &err), -ENOENT);
    expect_mended(&w, "a record", 5000);
    /* Not even the manifest of another pack. */
    flip_bits(w.packed, "manifest.json", 20, 0x10);
    assert_int_equal(repair(&w, other, &h, &n, &err), -ESTALE);
    expect_mended(&w, "manifest.json", 20);
    packed_model_end(&w);
}

/* Stopped at every report of progress: going on mends the rest. */
static void stopped_anywhere_it_goes_on(void **state)
{
    (void)state;
    packed_model w = packed_twice(SOURCE_BF16, HS_PACK_RAW);
    const char *file = "experts-00000.hss";
    size_t n = size_of(w.packed, file);
    uint32_t stops = 0;
    for (uint64_t at = 2;; at += 3) {
        heard h = {.stop_at = at};
        hs_err err = {0};
        uint64_t mended = 0;
        for (size_t k = 1; k < 6; k++)
            flip_bits(w.packed, file, n / 6 * k, 0x10);
        int r = repair(&w, w.beside, &h, &mended, &err);
        if (r == 0)
            break;
        assert_int_equal(r, -ECANCELED);
        assert_false(file_exists(w.packed, "hotset-pack.lock"));
        h = (heard){0};
        assert_int_equal(repair(&w, w.beside, &h, &mended, &err), 0);
        assert_same_folder(w.packed, w.beside);
        stops++;
    }
    assert_true(stops > 5);
    assert_same_folder(w.packed, w.beside);
    packed_model_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_byte_is_mended_anywhere),
        cmocka_unit_test(cut_longer_and_missing_files_come_back),
        cmocka_unit_test(a_link_stays_a_link),
        cmocka_unit_test(damage_in_both_is_told),
        cmocka_unit_test(only_the_damaged_pages_are_written),
        cmocka_unit_test(only_a_copy_will_do),
        cmocka_unit_test(stopped_anywhere_it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
