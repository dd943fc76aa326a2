/* labels: unit fault */
/* Folders around the shards: what is listed, what is refused and with which sentence, and that a failed copy leaves
 * nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "make.h"
#include "pack/pack_int.h"

typedef struct place {
    const char *folder;
    char path[PATH_MAX];
    hs_pack_monitor monitor;
    char notes[2000];
    hs__pk_work work;
} place;

static void on_note(void *ctx, const char *text)
{
    place *p = ctx;
    size_t n = strlen(p->notes);
    snprintf(p->notes + n, sizeof p->notes - n, "%s\n", text);
}

static int begin(void **state)
{
    place *p = calloc(1, sizeof *p);
    p->folder = temp_folder(0);
    p->monitor = (hs_pack_monitor){.ctx = p, .note = on_note};
    if (hs__pk_work_init(&p->work, &p->monitor, NULL, 1, NULL) < 0)
        return -1;
    *state = p;
    return 0;
}

static int end(void **state)
{
    place *p = *state;
    hs__pk_work_deinit(&p->work);
    remove_tree(p->folder);
    free(p);
    return 0;
}

static const char *at(place *p, const char *name)
{
    snprintf(p->path, sizeof p->path, "%s/%s", p->folder, name);
    return p->path;
}

static void assert_refused(int r, int code, const hs_err *err, const char *part)
{
    assert_int_equal(r, code);
    if (!strstr(err->text, part))
        fail_msg("'%s' lacks '%s'", err->text, part);
}

static void lists_files_and_what_links_stand_for(void **state)
{
    place *p = *state;
    hs__pk_list l;
    hs_err err = {0};
    write_file(p->folder, "b", "22", 2);
    write_file(p->folder, "a", "1", 1);
    assert_int_equal(symlink("b", at(p, "link")), 0);
    assert_int_equal(mkdir(at(p, "sub"), 0700), 0);
    assert_int_equal(mkfifo(at(p, "pipe"), 0600), 0);
    assert_int_equal(hs__pk_list_folder(p->folder, &p->work, &l, &err), 0);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.files[0].name, "a");
    assert_string_equal(l.files[2].name, "link");
    assert_int_equal(l.files[2].bytes, 2);
    assert_ptr_equal(hs__pk_list_find(&l, "b"), &l.files[1]);
    assert_null(hs__pk_list_find(&l, "sub"));
    assert_non_null(strstr(p->notes, "sub is left out: a packed model has no subfolders"));
    assert_non_null(strstr(p->notes, "pipe is left out: not a regular file"));
    hs__pk_list_free(&l);

    assert_int_equal(symlink("nothing", at(p, "dangling")), 0);
    assert_refused(hs__pk_list_folder(p->folder, NULL, &l, &err), -ENOENT, &err, "is the download complete?");
    assert_refused(hs__pk_list_folder(at(p, "none"), NULL, &l, &err), -ENOENT, &err, "none");
}

static void refuses_too_many_files(void **state)
{
    place *p = *state;
    hs__pk_list l;
    hs_err err = {0};
    write_file(p->folder, "f", "x", 1);
    char original[PATH_MAX];
    snprintf(original, sizeof original, "%s", at(p, "f"));
    for (unsigned i = 0; i < HS__PK_MAX_FILES; i++) {
        char name[20];
        snprintf(name, sizeof name, "f%u", i);
        assert_int_equal(link(original, at(p, name)), 0);
    }
    assert_refused(hs__pk_list_folder(p->folder, NULL, &l, &err), -E2BIG, &err, "more than 4096 files");
}

static void opens_regular_files_only(void **state)
{
    place *p = *state;
    struct stat st;
    hs_err err = {0};
    assert_refused(hs__pk_open(p->folder, &st, &err), -EINVAL, &err, "not a regular file");
    assert_refused(hs__pk_open(at(p, "none"), &st, &err), -ENOENT, &err, "none");
    assert_int_equal(mkfifo(at(p, "pipe"), 0600), 0); /* must not wait for a writer */
    assert_refused(hs__pk_open(at(p, "pipe"), &st, &err), -EINVAL, &err, "not a regular file");
    write_file(p->folder, "file", "abc", 3);
    int fd = hs__pk_open(at(p, "file"), &st, &err);
    assert_true(fd >= 0);
    int64_t then[2] = {st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    assert_int_equal(hs__pk_unchanged(fd, p->path, 3, then, &err), 0);
    assert_refused(hs__pk_unchanged(fd, p->path, 4, then, &err), -ESTALE, &err,
                   "was changed while it was being packed");
    then[1]++;
    assert_refused(hs__pk_unchanged(fd, p->path, 3, then, &err), -ESTALE, &err, "was changed");
    close(fd);
}

static void copies_with_hash_and_mode(void **state)
{
    place *p = *state;
    hs_err err = {0};
    struct stat st;
    uint64_t hash = 0, again = 1;
    write_file(p->folder, "from", "some text", 9);
    assert_int_equal(hs__pk_copy(&p->work, p->folder, "from", p->folder, "to", 0640, &hash, &err), 0);
    assert_int_equal(stat(at(p, "to"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(hs__pk_hash_file(&p->work, at(p, "to"), 9, &again, &err), 0);
    assert_true(hash == again);
    assert_refused(hs__pk_hash_file(&p->work, at(p, "to"), 8, &again, &err), -EBADMSG, &err, "9 bytes instead of 8");
    assert_refused(hs__pk_hash_file(&p->work, at(p, "none"), 8, &again, &err), -ENOENT, &err, "none");
    assert_refused(hs__pk_copy(&p->work, p->folder, "none", p->folder, "x", 0640, &hash, &err), -ENOENT, &err, "none");
    assert_refused(hs__pk_copy(&p->work, p->folder, "from", "/nowhere/at/all", "x", 0640, &hash, &err), -ENOENT, &err,
                   HS__PK_TMP);
    assert_refused(hs__pk_write("/nowhere/at/all", "x", "y", 1, 0640, &err), -ENOENT, &err, HS__PK_TMP);
}

/* The drive is full: here, files may not grow beyond four bytes. */
static void a_failed_write_leaves_nothing(void **state)
{
    place *p = *state;
    hs_err err = {0};
    struct rlimit before, small;
    uint64_t hash;
    write_file(p->folder, "from", "some text", 9);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int copied = hs__pk_copy(&p->work, p->folder, "from", p->folder, "to", 0640, &hash, &err);
    hs_err err2 = {0};
    int written = hs__pk_write(p->folder, "small", "too much", 8, 0640, &err2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_refused(copied, -EFBIG, &err, "/to: ");
    assert_refused(written, -EFBIG, &err2, "/small: ");
    assert_false(file_exists(p->folder, "to"));
    assert_false(file_exists(p->folder, "small"));
    assert_false(file_exists(p->folder, HS__PK_TMP));
    /* Nor does a name that is taken by a folder. */
    assert_int_equal(mkdir(at(p, "taken"), 0700), 0);
    assert_refused(hs__pk_write(p->folder, "taken", "x", 1, 0640, &err), -EISDIR, &err, "/taken: ");
    assert_false(file_exists(p->folder, HS__PK_TMP));
}

static void a_destination_lies_outside_the_source(void **state)
{
    place *p = *state;
    hs_err err = {0};
    char src[PATH_MAX], dst[PATH_MAX], name[NAME_MAX + 20];
    snprintf(src, sizeof src, "%s", at(p, "src"));
    assert_int_equal(mkdir(src, 0700), 0);
    write_file(p->folder, "file", "", 0);
    assert_refused(hs__pk_prepare_dst(src, src, true, &err), -EINVAL, &err, "is the same folder as");
    snprintf(dst, sizeof dst, "%s", at(p, "src/sub/../inside"));
    assert_int_equal(mkdir(at(p, "src/sub"), 0700), 0);
    assert_refused(hs__pk_prepare_dst(src, dst, true, &err), -EINVAL, &err, "lies inside");
    assert_refused(hs__pk_prepare_dst(at(p, "none"), src, true, &err), -ENOENT, &err, "none");
    assert_refused(hs__pk_prepare_dst(src, at(p, "none/deep"), true, &err), -ENOENT, &err, "none");
    assert_refused(hs__pk_prepare_dst(src, at(p, "file"), true, &err), -ENOTDIR, &err, "not a folder");
    assert_refused(hs__pk_prepare_dst(src, at(p, "dst"), false, &err), -ENOENT, &err, "dst");
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_refused(hs__pk_prepare_dst(src, at(p, name), true, &err), -ENAMETOOLONG, &err, "nnn");
    assert_int_equal(hs__pk_prepare_dst(src, at(p, "dst/"), true, &err), 0);
    assert_int_equal(hs__pk_prepare_dst(src, at(p, "dst"), true, &err), 0);
    /* A name that only begins like the source's is outside it. */
    assert_int_equal(hs__pk_prepare_dst(src, at(p, "src2"), true, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_files_and_what_links_stand_for, begin, end),
        cmocka_unit_test_setup_teardown(refuses_too_many_files, begin, end),
        cmocka_unit_test_setup_teardown(opens_regular_files_only, begin, end),
        cmocka_unit_test_setup_teardown(copies_with_hash_and_mode, begin, end),
        cmocka_unit_test_setup_teardown(a_failed_write_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_destination_lies_outside_the_source, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
