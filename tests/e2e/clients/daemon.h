/*
 * daemon.h - a daemon as a child process, and plain sockets to talk to it: what the drivers of this folder share. They
 * link nothing of the program they test.
 *
 * Failures of the test's own means (fork, files) end the process with a message: there is nothing to go on with.
 */
#ifndef HS_TESTS_DAEMON_H
#define HS_TESTS_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Prints a sentence and ends the process with 1. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
double now_s(void);
void sleep_s(double seconds);
/* Sanitizers and a busy machine make everything slower: what takes longer than this is stuck. */
#define STUCK_S 300.0

typedef struct daemon {
    pid_t pid;
    char dir[64];    /* a folder of this test alone */
    char socket[96]; /* the Unix socket in it */
    char log[96];    /* standard error */
    char config[96]; /* empty at first */
    uint16_t port;   /* of 127.0.0.1 */
    const char *hotset, *model;
    const char *const *more; /* further arguments, NULL at the end; may be NULL */
    const char *const *env;  /* "NAME=VALUE", NULL at the end; may be NULL */
} daemon_t;

/* Makes the folder. */
void daemon_init(daemon_t *d, const char *hotset, const char *model);
/* Starts it on the Unix socket and a TCP port; returns at once. */
void daemon_start(daemon_t *d);
/* Until the log has this line, at most STUCK_S; dies with the log if the daemon ends before. */
void daemon_wait_log(const daemon_t *d, const char *text);
/* The same for readiness; fills port. */
void daemon_wait_ready(daemon_t *d);
/* Waits for the end, at most seconds; its exit status, 128 + signal, or -1 if it still runs (it is killed then). */
int daemon_wait_end(daemon_t *d, double seconds);
void daemon_print_log(const daemon_t *d);
/* Removes the folder. */
void daemon_deinit(daemon_t *d);
/* VmRSS, VmHWM of /proc/PID/status, bytes. */
uint64_t daemon_memory(const daemon_t *d, const char *field);
/* A value of /metrics, the sum over its labels; -1 if it cannot be asked. */
double daemon_metric(const daemon_t *d, const char *name);
/* What a command prints, without the last line's end; free it. */
char *output_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *file_text(const char *path);

/* -1 if refused. */
int connect_unix(const daemon_t *d);
int connect_tcp(const daemon_t *d);
/* All of it, or false: the peer is gone. */
bool send_all(int fd, const void *data, size_t n);
bool send_text(int fd, const char *text);
/* A POST with a JSON body; free it. */
char *make_post(const char *path, const char *body, bool keep);

typedef enum reply_end { REPLY_WHOLE, REPLY_CUT, REPLY_STUCK } reply_end;

/* Responses one after another from a socket. */
typedef struct reader {
    int fd;
    char *data; /* received */
    size_t len, used;
} reader;

typedef struct reply {
    reply_end end;
    int status; /* 0 = no status line has come */
    char *body; /* with chunks joined, NUL-terminated */
    size_t len;
} reply;

void reader_init(reader *r, int fd);
void reader_deinit(reader *r);
/* One response; reply_free it. CUT: the connection ended first, body is what came. */
void reader_next(reader *r, reply *ret);
void reply_free(reply *r);
/* All values of "text" (or of "content" with chat) joined, still escaped as JSON; free it. */
char *reply_text(const reply *r, bool chat);

#endif
