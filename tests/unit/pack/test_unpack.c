/* labels: unit */
/* hs_unpack into folders that are not empty, from damaged packs, and stopped half-way. (Round trips: test_pack.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "make.h"

static void again_is_fine_and_changes_nothing(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_BF16, HS_PACK_ZSTD);
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    assert_same_folder(w.src, w.beside);
    packed_model_end(&w);
}

/* Some files are there and right, the others missing. */
static void what_is_there_is_compared(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_BF16, HS_PACK_ZSTD);
    char path[300];
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    snprintf(path, sizeof path, "%s/model-00002-of-00002.safetensors", w.beside);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", w.beside);
    unlink(path);
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    assert_same_folder(w.src, w.beside);
    packed_model_end(&w);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    static const char *const files[] = {"model-00001-of-00002.safetensors", "config.json"};
    packed_model w = packed_model_make(SOURCE_BF16, HS_PACK_ZSTD);
    for (int longer = 0; longer < 2; longer++) {
        for (int f = 0; f < 2; f++) {
            hs_err err = {0};
            size_t n, got;
            assert_int_equal(mkdir(w.beside, 0755), 0);
            char *mine = read_file(w.src, files[f], &n), *now;
            mine[n - 1] ^= 1;
            write_file(w.beside, files[f], mine, n - (size_t)longer);
            assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, &err), -EEXIST);
            assert_non_null(strstr(err.text, files[f]));
            now = read_file(w.beside, files[f], &got);
            assert_int_equal(got, n - (size_t)longer);
            assert_memory_equal(now, mine, got);
            assert_false(file_exists(w.beside, "model-00001-of-00002.safetensors.tmp"));
            assert_false(file_exists(w.beside, "model-00002-of-00002.safetensors.tmp"));
            free(mine);
            free(now);
            remove_tree(w.beside);
        }
    }
    packed_model_end(&w);
}

/* Whatever byte of a pack is damaged: an error, and no container under its name. */
static void damage_is_an_error(void **state)
{
    (void)state;
    static const char *const files[] = {"experts-00000.hss", "dense-00000.hss", "model.safetensors.header",
                                        "config.json", "manifest.json"};
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    for (int f = 0; f < 5; f++) {
        size_t n;
        char *data = read_file(w.packed, files[f], &n);
        for (int i = 0; i < 25; i++) {
            size_t at = i == 24 ? n - 1 : n / 24 * (size_t)i;
            hs_err err = {0};
            data[at] ^= 0x10;
            write_file(w.packed, files[f], data, n);
            int r = hs_unpack(w.packed, w.beside, NULL, NULL, &err);
            bool gap = r == 0; /* zeros between records are not read: then what comes back is right */
            if (!gap && r != -EBADMSG && r != -EINVAL)
                fail_msg("%s, byte %zu: %d (%s)", files[f], at, r, err.text);
            if (gap) {
                assert_same_folder(w.src, w.beside);
            } else {
                assert_false(loads(w.beside));
                if (f != 3)
                    assert_false(file_exists(w.beside, "model.safetensors"));
                assert_false(file_exists(w.beside, "config.json"));
            }
            remove_tree(w.beside);
            data[at] ^= 0x10;
        }
        write_file(w.packed, files[f], data, n);
        free(data);
    }
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    packed_model_end(&w);
}

static void killed_it_can_be_done_again(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_BF16, HS_PACK_ZSTD);
    int status = 0, n = 1;
    do {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            stopper s = {.stop_at = n, .kill = true};
            hs_pack_monitor m = {.ctx = &s, .progress = stopper_progress};
            _exit(hs_unpack(w.packed, w.beside, NULL, &m, NULL) < 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(n < 900);
        /* What loads is all there: without its end tokens a model would say other things. */
        if (WIFSIGNALED(status) && file_exists(w.beside, "config.json")) {
            char lock[300];
            snprintf(lock, sizeof lock, "%s/hotset-pack.lock", w.beside);
            assert_int_equal(unlink(lock), 0);
            assert_same_folder(w.src, w.beside);
        }
    } while (n++, WIFSIGNALED(status));
    assert_int_equal(status, 0);
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    assert_same_folder(w.src, w.beside);
    packed_model_end(&w);
}

static void full_disk_is_an_error(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_BF16, HS_PACK_ZSTD);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        hs_err err = {0};
        struct rlimit lim = {400000, 400000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &lim);
        int r = hs_unpack(w.packed, w.beside, NULL, NULL, &err);
        _exit(r == -EFBIG && strstr(err.text, "File too large") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_false(loads(w.beside));
    assert_int_equal(hs_unpack(w.packed, w.beside, NULL, NULL, NULL), 0);
    assert_same_folder(w.src, w.beside);
    packed_model_end(&w);
}

static void what_is_no_pack_is_refused(void **state)
{
    (void)state;
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    hs_err err = {0};
    assert_int_equal(hs_unpack(w.src, w.beside, NULL, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "not a packed model"));
    assert_int_equal(hs_unpack(w.packed, w.packed, NULL, NULL, &err), -EINVAL);
    packed_model_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(again_is_fine_and_changes_nothing), cmocka_unit_test(what_is_there_is_compared),
        cmocka_unit_test(other_files_are_left_alone),        cmocka_unit_test(damage_is_an_error),
        cmocka_unit_test(killed_it_can_be_done_again),       cmocka_unit_test(full_disk_is_an_error),
        cmocka_unit_test(what_is_no_pack_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
