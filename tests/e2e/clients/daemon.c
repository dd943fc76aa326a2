/* daemon.c - the daemon as a child process: start, wait, memory, metrics. See daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("FAIL: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void sleep_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

void daemon_init(daemon_t *d, const char *hotset, const char *model)
{
    *d = (daemon_t){.hotset = hotset, .model = model};
    snprintf(d->dir, sizeof d->dir, "/tmp/hotset-clients-XXXXXX");
    if (!mkdtemp(d->dir))
        die("mkdtemp: %s", strerror(errno));
    snprintf(d->socket, sizeof d->socket, "%s/api.sock", d->dir);
    snprintf(d->log, sizeof d->log, "%s/log", d->dir);
    snprintf(d->config, sizeof d->config, "%s/conf", d->dir);
    int fd = open(d->config, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        die("%s: %s", d->config, strerror(errno));
    close(fd);
}

/* In the child: never returns. */
static void run_daemon(const daemon_t *d)
{
    char listen[120], model[1100], *argv[64];
    snprintf(listen, sizeof listen, "unix:%s", d->socket);
    snprintf(model, sizeof model, "tale=%s", d->model);
    const char *const first[] = {d->hotset, "serve",    "--config",        d->config, "--listen",
                                 listen,    "--listen", "tcp:127.0.0.1:0", "--model", model};
    size_t n = 0;
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        argv[n++] = (char *)(uintptr_t)first[i];
    for (size_t i = 0; d->more && d->more[i] && n < 63; i++)
        argv[n++] = (char *)(uintptr_t)d->more[i];
    argv[n] = NULL;
    for (size_t i = 0; d->env && d->env[i]; i++)
        putenv((char *)(uintptr_t)d->env[i]);
    int fd = open(d->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    close(fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(d->hotset, argv);
    _exit(127);
}

void daemon_start(daemon_t *d)
{
    unlink(d->log);
    fflush(stdout);
    d->pid = fork();
    if (d->pid < 0)
        die("fork: %s", strerror(errno));
    if (d->pid == 0)
        run_daemon(d);
}

char *file_text(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char *text = NULL;
    size_t len = 0;
    if (getdelim(&text, &len, '\0', f) < 0) {
        free(text);
        text = NULL;
    }
    fclose(f);
    return text;
}

void daemon_print_log(const daemon_t *d)
{
    char *log = file_text(d->log);
    size_t n = log ? strlen(log) : 0;
    fprintf(stderr, "--- the daemon's log\n%s", log ? log + (n > 4000 ? n - 4000 : 0) : "");
    free(log);
}

void daemon_wait_log(const daemon_t *d, const char *text)
{
    for (double end = now_s() + STUCK_S; now_s() < end; sleep_s(0.01)) {
        char *log = file_text(d->log);
        bool found = log && strstr(log, text);
        free(log);
        if (found)
            return;
        if (waitpid(d->pid, NULL, WNOHANG) == d->pid)
            break;
    }
    daemon_print_log(d);
    die("the daemon does not say '%s'", text);
}

void daemon_wait_ready(daemon_t *d)
{
    static const char at[] = "listening on tcp:127.0.0.1:";
    daemon_wait_log(d, "hotset: ready\n");
    char *log = file_text(d->log);
    const char *line = log ? strstr(log, at) : NULL;
    if (!line)
        die("the log does not tell the TCP port");
    d->port = (uint16_t)strtoul(line + sizeof at - 1, NULL, 10);
    free(log);
}

int daemon_wait_end(daemon_t *d, double seconds)
{
    int status;
    for (double end = now_s() + seconds; now_s() < end; sleep_s(0.005)) {
        if (waitpid(d->pid, &status, WNOHANG) != d->pid)
            continue;
        d->pid = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    kill(d->pid, SIGKILL);
    waitpid(d->pid, &status, 0);
    d->pid = 0;
    return -1;
}

void daemon_deinit(daemon_t *d)
{
    unlink(d->log);
    unlink(d->config);
    unlink(d->socket);
    rmdir(d->dir);
}

uint64_t daemon_memory(const daemon_t *d, const char *field)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)d->pid);
    char *text = file_text(path);
    const char *at = text ? strstr(text, field) : NULL;
    uint64_t v = at ? strtoull(at + strlen(field) + 1, NULL, 10) * 1024 : 0;
    free(text);
    return v;
}

double daemon_metric(const daemon_t *d, const char *name)
{
    double sum = -1;
    int fd = connect_unix(d);
    if (fd < 0)
        return -1;
    reader in;
    reply r;
    reader_init(&in, fd);
    send_text(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    reader_next(&in, &r);
    for (const char *line = r.status == 200 ? r.body : NULL; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t n = strlen(name);
        if (strncmp(line, name, n) || (line[n] != ' ' && line[n] != '{'))
            continue;
        const char *value = line[n] == '{' ? strstr(line, "} ") : line + n;
        sum = (sum < 0 ? 0 : sum) + (value ? strtod(value + 1, NULL) : 0);
    }
    reply_free(&r);
    reader_deinit(&in);
    close(fd);
    return sum;
}

char *output_of(const char *fmt, ...)
{
    char command[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    FILE *f = popen(command, "r");
    char *text = NULL;
    size_t len = 0;
    ssize_t n = f ? getdelim(&text, &len, '\0', f) : -1;
    if (n < 0 || pclose(f) != 0)
        die("%s has failed", command);
    if (n && text[n - 1] == '\n')
        text[n - 1] = '\0';
    return text;
}
