/*
 * watchdog.c - the service manager's watchdog, without a service manager: a daemon with WATCHDOG_USEC and a socket here
 * for its notifications.
 *
 * An idle daemon is fed, one that computes is fed, and one whose engine thread stands still with a request is not. The
 * engine thread alone is stopped from outside (ptrace), as a hung drive or a deadlock would stop it; the loop goes on.
 *
 *   watchdog HOTSET MODEL
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"

#define WATCHDOG_S 1.0 /* the daemon feeds twice in it */

static int open_notify(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const void *)&un, sizeof un) < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

/* Beats that come within so many seconds. */
static unsigned beats(int fd, double seconds)
{
    unsigned n = 0;
    char text[600];
    for (double end = now_s() + seconds, left; (left = end - now_s()) > 0;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        ssize_t len = recv(fd, text, sizeof text - 1, 0);
        text[len > 0 ? len : 0] = '\0';
        n += strstr(text, "WATCHDOG=1") != NULL;
    }
    return n;
}

/* The daemon's thread of this name. */
static pid_t thread_of(const daemon_t *d, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "/proc/%d/task", (int)d->pid);
    DIR *dir = opendir(path);
    pid_t found = 0;
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)d->pid, e->d_name);
        char *comm = file_text(path);
        if (comm && !strncmp(comm, name, strlen(name)))
            found = (pid_t)atoi(e->d_name);
        free(comm);
    }
    if (dir)
        closedir(dir);
    return found;
}

static void stop_thread(daemon_t *d, pid_t tid)
{
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
        printf("SKIP: ptrace: %s\n", strerror(errno));
        kill(d->pid, SIGKILL);
        daemon_wait_end(d, 10);
        exit(77);
    }
    if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 || waitpid(tid, NULL, __WALL) != tid)
        die("ptrace: %s", strerror(errno));
}

static int ask_for_long(const daemon_t *d)
{
    int fd = connect_unix(d);
    char *post = make_post("/v1/completions",
                           "{\"prompt\":[0,3,2234],\"ignore_eos\":true,\"temperature\":0,\"max_tokens\":4000}", false);
    if (fd < 0 || !send_text(fd, post))
        die("cannot ask");
    free(post);
    return fd;
}

/* The same while clients come and give up. */
static unsigned beats_among_visitors(const daemon_t *d, int fd, double seconds)
{
    unsigned n = 0;
    for (double end = now_s() + seconds; now_s() < end;) {
        int visitor = ask_for_long(d);
        n += beats(fd, 0.1);
        close(visitor);
        n += beats(fd, 0.1);
    }
    return n;
}

static void expect_beats(const daemon_t *d, int notify, const char *when, bool wanted)
{
    beats(notify, WATCHDOG_S); /* what was on its way */
    unsigned n = beats(notify, 3 * WATCHDOG_S);
    printf("%s: %u beats in %.0f s\n", when, n, 3 * WATCHDOG_S);
    if ((n > 0) == wanted)
        return;
    daemon_print_log(d);
    die("%s: the watchdog is %sfed", when, wanted ? "not " : "");
}

int main(int argc, char **argv)
{
    static const char *const settings[] = {"--set", "cache.size=25%", NULL};
    if (argc < 3)
        return 2;
    char path[100], notify_env[120], watchdog_env[60];
    daemon_t d;
    daemon_init(&d, argv[1], argv[2]);
    snprintf(path, sizeof path, "%s/notify", d.dir);
    snprintf(notify_env, sizeof notify_env, "NOTIFY_SOCKET=%s", path);
    snprintf(watchdog_env, sizeof watchdog_env, "WATCHDOG_USEC=%.0f", WATCHDOG_S * 1e6);
    const char *const env[] = {notify_env, watchdog_env, NULL};
    int notify = open_notify(path);
    d.more = settings;
    d.env = env;
    setvbuf(stdout, NULL, _IOLBF, 0);
    daemon_start(&d);
    daemon_wait_ready(&d);
    expect_beats(&d, notify, "idle", true);

    int fd = ask_for_long(&d);
    pid_t engine = thread_of(&d, "hs-engine");
    if (!engine)
        die("the daemon has no engine thread");
    stop_thread(&d, engine);
    expect_beats(&d, notify, "engine stands still", false);
    if (ptrace(PTRACE_DETACH, engine, NULL, NULL) < 0)
        die("ptrace: %s", strerror(errno));
    expect_beats(&d, notify, "engine goes on", true);

    /* The client of a request that stands still leaves: that is no progress. */
    int again = ask_for_long(&d);
    sleep_s(0.2);
    stop_thread(&d, engine);
    close(fd);
    close(again);
    expect_beats(&d, notify, "engine stands still, client gone", false);
    unsigned n = beats_among_visitors(&d, notify, 3 * WATCHDOG_S);
    printf("engine stands still, clients come and give up: %u beats\n", n);
    if (n)
        die("clients that give up feed the watchdog");
    ptrace(PTRACE_DETACH, engine, NULL, NULL);
    kill(d.pid, SIGTERM);
    int status = daemon_wait_end(&d, STUCK_S);
    if (status != 0)
        die("the daemon ended with %d", status);
    close(notify);
    unlink(path);
    daemon_deinit(&d);
    return 0;
}
