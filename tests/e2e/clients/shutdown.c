/*
 * shutdown.c - signals at every moment of a daemon's life: while it loads, while requests wait, compute and are sent;
 * SIGTERM and SIGINT, once or twice, and storms of SIGHUP.
 *
 * Each time: it ends with 0 (sanitizers make leaks and races another status), in time, and its socket file is gone. A
 * whole answer is the right one; after a single signal an answer that has begun is given to its end.
 *
 *   shutdown HOTSET MODEL DATA [ROUNDS]
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "sanitized.h"

#define CLIENTS 6
#define DRAIN_S 20.0 /* what running answers have */

static tally counts;
static atomic_uint cut; /* answers that had begun */

/* Asks until the daemon is gone. */
static void *ask_on(void *arg)
{
    client *c = arg;
    while (!atomic_load(&counts.stop)) {
        question q = c->questions[client_random(c, c->n_questions)];
        c->tcp = client_random(c, 3) == 0;
        c->fd = c->tcp ? connect_tcp(c->daemon) : connect_unix(c->daemon);
        if (c->fd < 0)
            break;
        reader in;
        reply r;
        char *post = question_post(&q, client_random(c, 2), client_random(c, 2));
        send_text(c->fd, post);
        free(post);
        reader_init(&in, c->fd);
        reader_next(&in, &r);
        bool is_told = r.status == 200 && r.body && strstr(r.body, "\"code\":\"shutting_down\""); /* an event */
        if (r.end == REPLY_CUT || is_told)
            atomic_fetch_add(&cut, r.status != 0);
        else
            client_judge(c, &q, &r, "while the daemon ends");
        if (r.status == 503)
            sleep_s(0.02);
        reply_free(&r);
        reader_deinit(&in);
        close(c->fd);
    }
    return NULL;
}

static void check_end(daemon_t *d, const char *when, double seconds)
{
    int status = daemon_wait_end(d, seconds);
    if (status != 0) {
        daemon_print_log(d);
        die("%s: the daemon ended with %d%s", when, status, status < 0 ? ": it did not end in time" : "");
    }
    if (access(d->socket, F_OK) == 0)
        die("%s: the socket file is left behind", when);
}

/* Signals in every twentieth of the time that loading takes. */
static double end_while_loading(daemon_t *d, unsigned rounds)
{
    double longest = 0, t0 = now_s();
    daemon_start(d);
    daemon_wait_log(d, "memory plan of model");
    t0 = now_s();
    daemon_wait_ready(d);
    double loading = now_s() - t0;
    kill(d->pid, SIGTERM);
    check_end(d, "idle", STUCK_S);
    for (unsigned i = 0; i < rounds; i++) {
        daemon_start(d);
        daemon_wait_log(d, "memory plan of model");
        sleep_s(loading * i / rounds);
        for (unsigned k = 0; i % 4 == 3 && k < 5; k++)
            kill(d->pid, SIGHUP);
        kill(d->pid, i % 2 ? SIGINT : SIGTERM);
        if (i % 3 == 1)
            kill(d->pid, SIGTERM);
        t0 = now_s();
        check_end(d, "while loading", STUCK_S);
        longest = now_s() - t0 > longest ? now_s() - t0 : longest;
    }
    return longest;
}

/* One life: clients ask, the daemon is told to reload many times or not, and then to end, once or twice. */
static void end_while_serving(daemon_t *d, client *like, unsigned round)
{
    static client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    bool twice = round % 3 == 2, storm = round % 2;
    daemon_start(d);
    daemon_wait_ready(d);
    atomic_store(&cut, 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = *like;
        clients[i].random = round * CLIENTS + i;
        if (pthread_create(&threads[i], NULL, ask_on, &clients[i]))
            die("cannot start a thread");
    }
    double until = now_s() + (double)client_random(like, 1000) * 1e-3;
    while (now_s() < until) {
        if (storm)
            kill(d->pid, SIGHUP);
        sleep_s(0.001);
    }
    kill(d->pid, round % 2 ? SIGINT : SIGTERM);
    for (unsigned i = 0; storm && i < 50; i++)
        kill(d->pid, SIGHUP);
    if (twice) {
        sleep_s((double)client_random(like, 50) * 1e-3);
        kill(d->pid, SIGTERM);
    }
    double t0 = now_s();
    check_end(d, "while serving", DRAIN_S + STUCK_S);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    if (!twice && atomic_load(&cut) && now_s() - t0 < DRAIN_S)
        die("round %u: %u answers were cut off, though there was time", round, atomic_load(&cut));
}

int main(int argc, char **argv)
{
    static const char *const settings[] = {"--set", "kv.type=f32", "--set", "cache.size=25%", NULL};
    if (argc < 4)
        return 2;
    unsigned rounds = argc > 4 ? (unsigned)atoi(argv[4]) : SANITIZED ? 4 : 8;
    daemon_t d;
    question q[MAX_QUESTIONS];
    setvbuf(stdout, NULL, _IOLBF, 0);
    daemon_init(&d, argv[1], argv[2]);
    d.more = settings;
    double longest = end_while_loading(&d, rounds);
    printf("%u ends while loading, the longest took %.2f s\n", rounds, longest);

    client c = {.daemon = &d, .questions = q, .tally = &counts, .random = 99};
    c.n_questions = make_questions(&d, argv[3], q);
    daemon_start(&d);
    daemon_wait_ready(&d);
    for (unsigned i = 0; i < c.n_questions; i++)
        if (!client_ask(&c, &q[i], true))
            die("question %u is not answered in quiet", i);
    kill(d.pid, SIGTERM);
    check_end(&d, "idle", STUCK_S);
    for (unsigned i = 0; i < rounds; i++)
        end_while_serving(&d, &c, i);
    printf("%u ends while serving: %u answers, %u right, %u refused\n", rounds, atomic_load(&counts.replies),
           atomic_load(&counts.right), atomic_load(&counts.busy));
    free_questions(q, c.n_questions);
    daemon_deinit(&d);
    return atomic_load(&counts.wrong) || atomic_load(&counts.stuck) ? 1 : 0;
}
