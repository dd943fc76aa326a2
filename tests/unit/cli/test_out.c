/* labels: unit */
/* What verbs read and say: files, pipes and stdin up to a maximum; JSON on one line; the stop flag of signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/out.h"

static char folder[64];

static const char *at(const char *name)
{
    static char path[120];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void *feed(void *path)
{
    put(path, "from a pipe");
    return NULL;
}

/* Reads the named pipe while another thread writes it. */
static int read_pipe(size_t max, char **ret_text, size_t *ret_len, hs_err *err)
{
    static char path[120];
    pthread_t t;
    snprintf(path, sizeof path, "%s", at("pipe"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&t, NULL, feed, path), 0);
    int r = hs_read_input(path, max, ret_text, ret_len, err);
    pthread_join(t, NULL);
    assert_int_equal(unlink(path), 0);
    return r;
}

static void reads_files_and_pipes(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    hs_err err = {0};
    put(at("file"), "from a file");
    assert_int_equal(hs_read_input(at("file"), 100, &text, &len, &err), 0);
    assert_string_equal(text, "from a file");
    assert_int_equal(len, 11);
    hs_free(text);
    assert_int_equal(read_pipe(100, &text, &len, &err), 0);
    assert_string_equal(text, "from a pipe");
    hs_free(text);
    assert_int_equal(read_pipe(11, &text, &len, &err), 0); /* exactly the maximum */
    hs_free(text);
    assert_int_equal(read_pipe(10, &text, &len, &err), -E2BIG);
    assert_non_null(strstr(err.text, "more than 10 bytes"));
    assert_int_equal(hs_read_input(at("none"), 100, &text, &len, &err), -ENOENT);
    assert_non_null(strstr(err.text, "none"));
}

static void reads_stdin(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    hs_err err = {0};
    int keep = dup(STDIN_FILENO), fd = open(at("file"), O_RDONLY), dir = open(folder, O_RDONLY | O_DIRECTORY);
    assert_true(keep >= 0 && fd >= 0 && dir >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(hs_read_input("-", 100, &text, &len, &err), 0);
    assert_string_equal(text, "from a file");
    hs_free(text);
    assert_int_equal(hs_read_stdin(100, &text, &len, &err), 0); /* at its end: nothing, but a string */
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
    hs_free(text);
    assert_int_equal(dup2(dir, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(hs_read_stdin(100, &text, &len, &err), -EISDIR);
    assert_non_null(strstr(err.text, "stdin: "));
    assert_int_equal(dup2(keep, STDIN_FILENO), STDIN_FILENO);
    close(keep);
    close(fd);
    close(dir);
}

static void a_signal_sets_the_stop_flag(void **state)
{
    (void)state;
    hs_signals_setup();
    assert_false(hs_stop_asked());
    raise(SIGINT);
    assert_true(hs_stop_asked());
    assert_int_equal(atomic_load(hs_stop_atomic()), 1);
    assert_int_equal(*hs_stop_sig(), 1);
    hs_stop_forget();
    assert_false(hs_stop_asked());
    assert_int_equal(atomic_load(hs_stop_atomic()), 0);
}

static void missing_json_is_a_failure(void **state)
{
    (void)state;
    assert_int_equal(hs_print_json(NULL), 1);
    assert_int_equal(hs_print_json(json_pack("{s:s}", "line", "a\nb")), 0);
    assert_int_equal(hs_finish_stdout(0), 0);
    assert_int_equal(hs_finish_stdout(2), 2);
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/hotset-out-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    unlink(at("file"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_files_and_pipes),
        cmocka_unit_test(reads_stdin),
        cmocka_unit_test(a_signal_sets_the_stop_flag),
        cmocka_unit_test(missing_json_is_a_failure),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
