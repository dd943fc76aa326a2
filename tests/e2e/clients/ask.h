/* ask.h - questions with known answers, a client that asks them, and the count of what came of it. */
#ifndef HS_TESTS_ASK_H
#define HS_TESTS_ASK_H

#include <stdatomic.h>

#include "daemon.h"

#define MAX_QUESTIONS 8
#define MAX_KINDS     24 /* of behaviours */

/* Something to ask whose answer is known. */
typedef struct question {
    const char *path;
    char *fields; /* the request's JSON without braces and without "stream" */
    bool chat;
    char *golden; /* the answer's text, escaped as JSON */
} question;

/* In memory that several processes share. */
typedef struct tally {
    atomic_bool stop;
    atomic_uint done[MAX_KINDS]; /* runs of each behaviour */
    atomic_uint replies, right;  /* complete answers, those that are as they should be */
    atomic_uint wrong;           /* other text, another status */
    atomic_uint stuck;           /* nothing came for STUCK_S */
    atomic_uint queue_full;      /* 429 */
    atomic_uint busy;            /* 503: no connection, no memory for now */
} tally;

typedef struct client {
    const daemon_t *daemon;
    const question *questions;
    unsigned n_questions;
    tally *tally;
    uint64_t random; /* state */
    atomic_int fd;   /* shut down by another thread at the end */
    bool tcp;        /* this connection */
} client;

/* Five questions: three prompts of tests/e2e/data with the reference's 48 greedy tokens, one sampled with a seed and
 * one to the chat route, whose goldens are learnt by asking them in quiet. Their number. */
unsigned make_questions(const daemon_t *d, const char *data, question *ret);
void free_questions(question *q, unsigned n);
/* A request for q; free it. */
char *question_post(const question *q, bool stream, bool keep);

uint64_t client_random(client *c, uint64_t below);
/* Counts and, for the first few, prints. */
void client_wrong(client *c, const char *what, const char *wanted, const char *got);
/* One answer: compared, or learnt where there is no golden. False: there was none, as the daemon was busy
 * or the test ends. */
bool client_judge(client *c, question *q, const reply *r, const char *what);
/* Asks over c->fd and judges. */
bool client_exchange(client *c, question *q, bool stream);
/* The same over a connection of its own, as c->tcp says. */
bool client_ask(client *c, question *q, bool stream);

#endif
