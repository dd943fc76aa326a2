/*
 * cmd_top.c - the live view of a daemon.
 * On a terminal: redrawn every interval until q or SIGINT; a daemon that goes away is waited for. Elsewhere, or with
 * --once: two looks an interval apart, and one picture. The terminal's settings are put back however it ends, but for a
 * second SIGINT.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/verbs.h"
#include "cli/watch.h"

#define MAX_SCREEN (256u << 10)

typedef struct top {
    hs_daemon daemon;
    hs_watch *looks[2]; /* the last one, and the one before */
    bool has[2];
    int wait_ms;
} top;

/* True: it is over, by q or a signal. */
static bool wait_for_key(int fd, int ms)
{
    uint64_t until = hs_now_ns() + (uint64_t)ms * 1000000u;
    for (;;) {
        uint64_t now = hs_now_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (hs_stop_asked())
            return true;
        if (now >= until)
            return false;
        char key;
        int n = poll(&p, fd < 0 ? 0 : 1, (int)((until - now) / 1000000u) + 1);
        if (n <= 0)
            continue;
        ssize_t got = read(fd, &key, 1);
        if (got == 1 && (key == 'q' || key == 'Q'))
            return true;
        if (got == 0 || (p.revents & POLLERR))
            fd = -1; /* the terminal's input has ended: signals remain */
    }
}

static int look(top *t, hs_err *err)
{
    hs_watch *w = t->looks[1];
    t->looks[1] = t->looks[0];
    t->has[1] = t->has[0];
    t->looks[0] = w;
    int r = hs_watch_take(&t->daemon, w, err);
    t->has[0] = r == 0;
    return r;
}

static int once(const hs_args *a, top *t, hs_err *err)
{
    int r = look(t, err);
    if (r == 0 && wait_for_key(-1, t->wait_ms))
        r = hs_err_set(err, -ECANCELED, "interrupted");
    if (r == 0)
        r = look(t, err);
    if (r < 0)
        return hs_fail(err);
    int64_t now = (int64_t)time(NULL);
    if (hs_args_has(a, "json"))
        return hs_print_json(hs_watch_json(t->looks[1], t->looks[0], t->daemon.address, now));
    hs_buf b;
    hs_buf_init(&b, MAX_SCREEN);
    hs_watch_format_top(t->looks[1], t->looks[0], t->daemon.address, now, 200, 10000, &b);
    fputs(b.len ? b.data : "", stdout);
    hs_buf_deinit(&b);
    return 0;
}

static void draw(const top *t, const hs_err *err, hs_buf *b)
{
    struct winsize size = {0};
    unsigned columns = 80, rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && size.ws_row > 1) {
        columns = size.ws_col;
        rows = size.ws_row;
    }
    hs_buf_clear(b);
    hs_buf_puts(b, "\033[H\033[J");
    if (t->has[0])
        hs_watch_format_top(t->has[1] ? t->looks[1] : NULL, t->looks[0], t->daemon.address, (int64_t)time(NULL),
                            columns, rows - 1, b);
    else
        hs_buf_printf(b, "%.*s\n", (int)columns, err->text);
    hs_buf_puts(b, "q ends");
    fputs(b->data ? b->data : "", stdout);
    fflush(stdout);
}

static int live(top *t, hs_err *err)
{
    struct termios before, raw;
    bool has_keys = tcgetattr(STDIN_FILENO, &before) == 0;
    int r = look(t, err);
    if (r < 0)
        return hs_fail(err);
    if (has_keys) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    hs_buf b;
    hs_buf_init(&b, MAX_SCREEN);
    fputs("\033[?1049h\033[?25l", stdout);
    do {
        draw(t, err, &b);
        if (wait_for_key(has_keys ? STDIN_FILENO : -1, t->wait_ms))
            break;
    } while (look(t, err) != -ECANCELED && !ferror(stdout));
    fputs("\033[?25h\033[?1049l", stdout);
    hs_buf_deinit(&b);
    if (has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return 0;
}

static int run_top(const hs_args *a)
{
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    top t = {.looks = {hs_calloc(1, sizeof(hs_watch)), hs_calloc(1, sizeof(hs_watch))},
             .wait_ms = (int)(hs_args_number(a, "interval", 1) * 1000)};
    hs_err err = {0};
    hs_signals_setup();
    int r = t.looks[0] && t.looks[1] ? hs_daemon_find(a, config, &t.daemon, &err)
                                     : hs_err_set(&err, -ENOMEM, "out of memory");
    bool alive = isatty(STDOUT_FILENO) == 1 && !hs_args_has(a, "once") && !hs_args_has(a, "json");
    status = r < 0 ? hs_fail(&err) : alive ? live(&t, &err) : once(a, &t, &err);
    hs_daemon_deinit(&t.daemon);
    hs_free(t.looks[0]);
    hs_free(t.looks[1]);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"interval", HS_FLAG_NUMBER, "S", 0.1, 3600, "seconds from one look to the next; default 1"},
    {"once", HS_FLAG_SWITCH, NULL, 0, 0, "one picture, of one interval; the default where stdout is no terminal"},
    HS_FLAG_SOCKET,
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_top = {
    .name = "top",
    .synopsis = "",
    .summary = "Live view of the daemon: tokens/s, hit rate, drive, requests, cache map.",
    .details =
        "q ends. Rates are those of the last interval, \"-\" where nothing happened. Each layer of the cache map "
        "is one character: tenths of its experts that are in memory, . none, # all. --json: one picture.",
    .flags = flags,
    .run = run_top};
