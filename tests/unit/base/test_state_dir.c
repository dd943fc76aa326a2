/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/state_dir.h"

static void is(const char *const *env, const char *want)
{
    char *got = hs_state_dir((char *const *)(uintptr_t)env);
    if (want)
        assert_string_equal(got, want);
    else
        assert_null(got);
    hs_free(got);
}

static void the_first_that_the_environment_names(void **state)
{
    (void)state;
    const char *const service[] = {"HOME=/h", "XDG_STATE_HOME=/x", "STATE_DIRECTORY=/var/lib/a:/var/lib/b", NULL};
    const char *const xdg[] = {"HOME=/h", "XDG_STATE_HOME=/x", "STATE_DIRECTORY=", NULL};
    const char *const home[] = {"XDG_STATE_HOME=relative", "HOMEX=/no", "HOME=/h", NULL};
    const char *const none[] = {"HOME=", NULL};
    is(service, "/var/lib/a");
    is(xdg, "/x/hotset");
    is(home, "/h/.local/state/hotset");
    is(none, NULL);
    is(NULL, NULL);
}

static void makes_its_folders(void **state)
{
    (void)state;
    char top[] = "/tmp/hotset-state-XXXXXX", dir[64], path[80];
    char *text = NULL;
    size_t len = 0;
    struct stat st;
    hs_err err = {0};
    assert_non_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/a/b", top);
    snprintf(path, sizeof path, "%s/x", dir);
    assert_int_equal(hs_state_write(dir, "x", "one", 3, &err), 0);
    assert_int_equal(hs_state_write(dir, "x", "three", 5, &err), 0);
    assert_int_equal(hs_file_read(path, 100, &text, &len, &err), 0);
    assert_string_equal(text, "three");
    hs_free(text);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    /* A file where a folder should be: said, with its name. */
    assert_int_equal(hs_state_write(path, "y", "", 0, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    rmdir(dir);
    *strrchr(dir, '/') = '\0';
    rmdir(dir);
    assert_int_equal(rmdir(top), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_first_that_the_environment_names),
                                       cmocka_unit_test(makes_its_folders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
