/*
 * clients.c - a hundred clients that behave badly, and honest ones beside them, against one daemon.
 *
 * Before: every question is asked once in quiet, those with a reference answer are compared with it; then requests that
 * are cancelled all at once must give back slots, keys and values, and queue places. During: every complete answer is
 * compared, memory and the honest clients' times are taken in ten windows. After: nothing may be left of it, memory
 * stays under the plan, and SIGTERM ends the daemon with 0.
 *
 * Honest clients are processes of their own on the Unix socket: the daemon lets clients take turns, and over TCP all of
 * a machine are one.
 *
 *   clients HOTSET MODEL DATA [SECONDS [flat]]      flat: memory must stay within 1 % after the first three windows
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "behave.h"
#include "sanitized.h"

#define BAD         100
#define HONEST      3
#define WINDOWS     10
#define WARM        3
#define MAX_SAMPLES 20000

typedef struct samples {
    atomic_uint n;
    double v[MAX_SAMPLES];
} samples;

typedef struct shared {
    tally tally;
    atomic_uint window;
    samples quiet, times[WINDOWS]; /* seconds of honest answers */
    samples memory[WINDOWS];       /* bytes */
} shared;

static void add(samples *s, double v)
{
    unsigned i = atomic_fetch_add(&s->n, 1);
    if (i < MAX_SAMPLES)
        s->v[i] = v;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorts. */
static double quantile(samples *s, double q)
{
    unsigned n = atomic_load(&s->n) < MAX_SAMPLES ? atomic_load(&s->n) : MAX_SAMPLES;
    qsort(s->v, n, sizeof s->v[0], compare);
    return n ? s->v[(unsigned)(q * (n - 1))] : 0;
}

/* ---- before ---- */

static void ask_in_quiet(client *c, question *q, samples *times)
{
    for (unsigned k = 0; k < 4; k++) {
        for (unsigned i = 0; i < c->n_questions; i++) {
            double t0 = now_s();
            if (!client_ask(c, &q[i], k % 2))
                die("question %u is not answered in quiet", i);
            add(times, now_s() - t0);
        }
    }
    if (atomic_load(&c->tally->wrong) || atomic_load(&c->tally->stuck))
        die("answers are wrong before any client behaves badly");
}

/* Until the metric is v; dies when it never is. */
static void wait_metric(const daemon_t *d, const char *name, double v)
{
    double is = -1;
    for (double end = now_s() + STUCK_S; now_s() < end; sleep_s(0.02))
        if ((is = daemon_metric(d, name)) == v)
            return;
    daemon_print_log(d);
    die("%s stays at %g instead of %g", name, is, v);
}

/* Nothing runs, waits or is held. */
static void wait_empty(const daemon_t *d)
{
    wait_metric(d, "hotset_slots_busy", 0);
    wait_metric(d, "hotset_queue_depth", 0);
    wait_metric(d, "hotset_kv_bytes", 0);
    wait_metric(d, "hotset_buffer_bytes", 0);
    wait_metric(d, "hotset_connections", 1); /* the one that asks */
}

/* Twelve long requests, four of which run: all are cancelled at once, in the four ways of leaving. */
static void check_cancel(const daemon_t *d)
{
    enum { N = 12 };
    int fd[N];
    char *post = make_post("/v1/completions",
                           "{\"prompt\":[0,3,2234],\"stream\":true,\"ignore_eos\":true,\"max_tokens\":4000}", true);
    double before = daemon_metric(d, "hotset_generations_cancelled_total");
    for (int i = 0; i < N; i++) {
        fd[i] = i % 4 == 3 ? connect_tcp(d) : connect_unix(d);
        if (fd[i] < 0 || !send_text(fd[i], post))
            die("cannot connect");
    }
    wait_metric(d, "hotset_slots_busy", 4);
    wait_metric(d, "hotset_queue_depth", N - 4);
    double t0 = now_s();
    for (int i = N; i-- > 0;) { /* those that wait first: none of them may get a turn */
        if (i % 4 == 1)
            shutdown(fd[i], SHUT_RDWR);
        if (i % 4 == 3)
            setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
        close(fd[i]);
    }
    wait_empty(d);
    double n = daemon_metric(d, "hotset_generations_cancelled_total") - before;
    printf("%d requests cancelled: slots, keys and values, queue places and connections free after %.0f ms\n", N,
           (now_s() - t0) * 1000);
    if (n != N)
        die("%g of %d requests were cancelled", n, N);
    free(post);
}

/* ---- during ---- */

/* A process of its own. */
static pid_t start_honest(const client *like, question *q, shared *s, unsigned i)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    client c = *like;
    c.random += i;
    while (!atomic_load(&c.tally->stop)) {
        double t0 = now_s();
        if (client_ask(&c, &q[client_random(&c, c.n_questions)], client_random(&c, 2)))
            add(&s->times[atomic_load(&s->window)], now_s() - t0);
        else
            sleep_s(0.5);
        sleep_s(0.05);
    }
    _exit(0);
}

static void run_storm(const client *like, question *q, shared *s, double seconds)
{
    static client bad[BAD];
    pthread_t threads[BAD];
    pid_t honest[HONEST];
    for (unsigned i = 0; i < HONEST; i++)
        honest[i] = start_honest(like, q, s, i);
    for (unsigned i = 0; i < BAD; i++) {
        bad[i] = *like;
        bad[i].random = 1000 + i;
        if (pthread_create(&threads[i], NULL, client_main, &bad[i]))
            die("cannot start a thread");
    }
    double t0 = now_s(), step = seconds < 100 ? 0.1 : 1;
    for (double t; (t = now_s() - t0) < seconds; sleep_s(step)) {
        unsigned w = (unsigned)(t / seconds * WINDOWS);
        uint64_t bytes = daemon_memory(like->daemon, "VmRSS:");
        if (!bytes)
            break;
        atomic_store(&s->window, w < WINDOWS ? w : WINDOWS - 1);
        add(&s->memory[atomic_load(&s->window)], (double)bytes);
    }
    atomic_store(&s->tally.stop, true);
    for (unsigned i = 0; i < BAD; i++)
        shutdown(bad[i].fd, SHUT_RDWR); /* whatever it waits for */
    for (unsigned i = 0; i < BAD; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < HONEST; i++)
        waitpid(honest[i], NULL, 0);
}

/* ---- after ---- */

static void print_windows(shared *s, double seconds)
{
    printf("honest clients in quiet: median %.0f ms\n", quantile(&s->quiet, 0.5) * 1000);
    printf("%8s %12s %12s %8s %10s %10s %10s\n", "until s", "RSS median", "RSS most", "answers", "median ms", "95 % ms",
           "most ms");
    for (unsigned w = 0; w < WINDOWS; w++)
        printf("%8.0f %8.1f MiB %8.1f MiB %8u %10.0f %10.0f %10.0f\n", seconds * (w + 1) / WINDOWS,
               quantile(&s->memory[w], 0.5) / (1 << 20), quantile(&s->memory[w], 1) / (1 << 20),
               atomic_load(&s->times[w].n), quantile(&s->times[w], 0.5) * 1000, quantile(&s->times[w], 0.95) * 1000,
               quantile(&s->times[w], 1) * 1000);
}

static void print_tally(tally *t)
{
    for (unsigned i = 0; i < n_behaviours; i++)
        printf("  %-26s %u\n", behaviours[i].name, atomic_load(&t->done[i]));
    printf("answers %u, right %u, wrong %u, stuck %u, queue full %u, busy %u\n", atomic_load(&t->replies),
           atomic_load(&t->right), atomic_load(&t->wrong), atomic_load(&t->stuck), atomic_load(&t->queue_full),
           atomic_load(&t->busy));
}

/* The largest distance of a window's memory from that of the first warm one. */
static double drift(shared *s)
{
    double first = quantile(&s->memory[WARM], 0.5), most = 0;
    for (unsigned w = WARM + 1; w < WINDOWS; w++) {
        double off = quantile(&s->memory[w], 0.5) / first - 1;
        most = (off < 0 ? -off : off) > most ? (off < 0 ? -off : off) : most;
    }
    return most;
}

/* The plan's total as /v1/models tells it. */
static double plan_bytes(const daemon_t *d)
{
    reader in;
    reply r;
    int fd = connect_unix(d);
    reader_init(&in, fd);
    send_text(fd, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    reader_next(&in, &r);
    const char *at = r.body ? strstr(r.body, "\"memory_bytes\":") : NULL;
    double v = at ? strtod(at + 15, NULL) : 0;
    reply_free(&r);
    reader_deinit(&in);
    close(fd);
    return v;
}

static int judge_end(daemon_t *d, shared *s, bool flat)
{
    int bad = 0;
    tally *t = &s->tally;
    if (atomic_load(&t->wrong) || atomic_load(&t->stuck) || atomic_load(&t->right) < 10)
        bad = printf("FAIL: answers\n");
    wait_empty(d);
    double most = (double)daemon_memory(d, "VmHWM:"), plan = plan_bytes(d);
    printf("peak memory %.1f MiB, planned %.1f MiB%s; drift after the warm-up %.2f %%\n", most / (1 << 20),
           plan / (1 << 20), SANITIZED ? " (sanitizers take more)" : "", drift(s) * 100);
    if (!SANITIZED && most > plan) /* shadow memory is not the plan's */
        bad = printf("FAIL: more memory than planned\n");
    if (flat && drift(s) > 0.01)
        bad = printf("FAIL: memory is not flat\n");
    kill(d->pid, SIGTERM);
    int status = daemon_wait_end(d, STUCK_S);
    if (status != 0) {
        daemon_print_log(d);
        bad = printf("FAIL: the daemon ended with %d\n", status);
    }
    return bad != 0;
}

int main(int argc, char **argv)
{
    /* The queue is no longer than what a busy machine under a sanitizer answers well within STUCK_S. */
    static const char *const settings[] = {"--set", "kv.type=f32",         "--set", "cache.size=25%",
                                           "--set", "limits.parallel=4",   "--set", "server.idle_timeout=3",
                                           "--set", "limits.max_queue=16", NULL};
    if (argc < 4)
        return 2;
    double seconds = argc > 4 ? atof(argv[4]) : 12;
    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, 0);
    daemon_t d;
    question q[MAX_QUESTIONS];
    daemon_init(&d, argv[1], argv[2]);
    d.more = settings;
    client c = {.daemon = &d, .questions = q, .tally = &s->tally, .random = 1};
    c.n_questions = make_questions(&d, argv[3], q);
    daemon_start(&d);
    daemon_wait_ready(&d);
    ask_in_quiet(&c, q, &s->quiet);
    check_cancel(&d);
    run_storm(&c, q, s, seconds);
    print_windows(s, seconds);
    print_tally(&s->tally);
    int bad = judge_end(&d, s, argc > 5 && !strcmp(argv[5], "flat"));
    free_questions(q, c.n_questions);
    daemon_deinit(&d);
    return bad;
}
