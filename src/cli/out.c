/* out.c - see out.h. Owns the process's stop flag, the one thing a signal handler writes. */
#include "cli/out.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static atomic_int stop_atomic;
static volatile sig_atomic_t stop_sig;

static void say(const char *fmt, va_list ap)
{
    char text[1200];
    vsnprintf(text, sizeof text, fmt, ap);
    hs_make_printable(text);
    fprintf(stderr, "hotset: %s\n", text);
}

void hs_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

int hs_fail(const hs_err *err)
{
    hs_say("%s", *err->text ? err->text : hs_strerror(err->code));
    return 1;
}

int hs_fail_usage(const hs_verb *verb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    fprintf(stderr, "See hotset %s --help.\n", verb->name);
    return 2;
}

int hs_print_json(json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(value);
    if (!text) {
        hs_say("out of memory for the result");
        return 1;
    }
    puts(text);
    free(text);
    return 0;
}

int hs_finish_stdout(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno != EPIPE) /* whoever closed a pipe knows */
        hs_say("cannot write to stdout: %s", hs_strerror(-errno));
    return 1;
}

/* Everything that fd still gives. */
static int read_stream(int fd, const char *name, size_t max, char **ret_text, size_t *ret_len, hs_err *err)
{
    hs_buf b;
    hs_buf_init(&b, max);
    char piece[65536];
    int r = 0;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR && !hs_stop_asked())
            continue;
        if (n < 0)
            r = hs_err_set(err, -errno, "%s: %s", name, hs_strerror(-errno));
        else if (hs_buf_append(&b, piece, (size_t)n) < 0)
            r = hs_err_set(err, b.failed, "%s: more than %zu bytes", name, max);
        if (r < 0)
            break;
    }
    size_t len = b.len;
    char *text = r == 0 ? hs_buf_take(&b) : NULL;
    hs_buf_deinit(&b);
    if (r == 0 && !text)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", name);
    if (r < 0)
        return r;
    *ret_text = text;
    *ret_len = len;
    return 0;
}

int hs_read_stdin(size_t max, char **ret_text, size_t *ret_len, hs_err *err)
{
    return read_stream(STDIN_FILENO, "stdin", max, ret_text, ret_len, err);
}

int hs_read_input(const char *path, size_t max, char **ret_text, size_t *ret_len, hs_err *err)
{
    struct stat st;
    if (!strcmp(path, "-"))
        return hs_read_stdin(max, ret_text, ret_len, err);
    if (stat(path, &st) < 0 || !S_ISFIFO(st.st_mode))
        return hs_file_read(path, max, ret_text, ret_len, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(errno));
    int r = read_stream(fd, path, max, ret_text, ret_len, err);
    close(fd);
    return r;
}

static void on_signal(int sig)
{
    if (stop_sig)
        _exit(128 + sig);
    stop_sig = 1;
    atomic_store(&stop_atomic, 1);
}

void hs_signals_setup(void)
{
    struct sigaction sa = {.sa_handler = on_signal}; /* no SA_RESTART: a blocked read must notice */
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

bool hs_stop_asked(void)
{
    return stop_sig != 0;
}

void hs_stop_forget(void)
{
    stop_sig = 0;
    atomic_store(&stop_atomic, 0);
}

const atomic_int *hs_stop_atomic(void)
{
    return &stop_atomic;
}

const volatile sig_atomic_t *hs_stop_sig(void)
{
    return &stop_sig;
}
