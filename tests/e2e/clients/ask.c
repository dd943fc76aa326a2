/* ask.c - see ask.h. */
#include "ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t client_random(client *c, uint64_t below)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (c->random >> 33) % below;
}

void client_wrong(client *c, const char *what, const char *wanted, const char *got)
{
    if (atomic_fetch_add(&c->tally->wrong, 1) < 20)
        fprintf(stderr, "WRONG: %s (%s): wanted %.300s\n  got %.300s\n", what, c->tcp ? "tcp" : "unix", wanted,
                got ? got : "nothing");
}

/* A request for q; free it. */
char *question_post(const question *q, bool stream, bool keep)
{
    size_t n = strlen(q->fields) + 64;
    char *body = malloc(n);
    if (!body)
        die("out of memory");
    snprintf(body, n, "{%s,\"stream\":%s}", q->fields, stream ? "true" : "false");
    char *post = make_post(q->path, body, keep);
    free(body);
    return post;
}

/* One answer: compared, or learnt. False: busy. */
bool client_judge(client *c, question *q, const reply *r, const char *what)
{
    if (r->end == REPLY_CUT && atomic_load(&c->tally->stop))
        return false; /* by the test's own end */
    if (r->end == REPLY_STUCK) {
        atomic_fetch_add(&c->tally->stuck, 1);
        fprintf(stderr, "STUCK: %s\n", what);
        return true;
    }
    if (r->status == 429 || r->status == 503) {
        atomic_fetch_add(r->status == 429 ? &c->tally->queue_full : &c->tally->busy, 1);
        return false;
    }
    atomic_fetch_add(&c->tally->replies, 1);
    char *text = reply_text(r, q->chat);
    if (r->end == REPLY_WHOLE && r->status == 200 && !q->golden)
        q->golden = strdup(text);
    if (r->end == REPLY_WHOLE && r->status == 200 && !strcmp(text, q->golden))
        atomic_fetch_add(&c->tally->right, 1);
    else
        client_wrong(c, what, q->golden ? q->golden : "an answer", *text ? text : r->body);
    free(text);
    return true;
}

bool client_exchange(client *c, question *q, bool stream)
{
    reader in;
    reply r;
    char *post = question_post(q, stream, false);
    send_text(c->fd, post);
    free(post);
    reader_init(&in, c->fd);
    reader_next(&in, &r);
    bool answered = client_judge(c, q, &r, stream ? "a stream" : "a whole answer");
    reply_free(&r);
    reader_deinit(&in);
    return answered;
}

bool client_ask(client *c, question *q, bool stream)
{
    c->fd = c->tcp ? connect_tcp(c->daemon) : connect_unix(c->daemon);
    bool answered = c->fd >= 0 && client_exchange(c, q, stream);
    if (c->fd >= 0)
        close(c->fd);
    return answered;
}

/* Escaped as the daemon escapes JSON strings; free it. */
static char *escaped(const char *text)
{
    char *out = malloc(6 * strlen(text) + 1), *p = out;
    if (!out)
        die("out of memory");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            *p++ = '\\';
        *p++ = *text == '\n' ? 'n' : *text;
    }
    *p = '\0';
    return out;
}

/* A prompt of tests/e2e/data with the reference's 48 greedy tokens. */
static question reference(const daemon_t *d, const char *data, const char *name)
{
    char *ids = output_of("tr ' ' , < %s/%s.ids", data, name);
    char *text = output_of("%s tokenize %s --decode < %s/%s.greedy", d->hotset, d->model, data, name);
    question q = {.path = "/v1/completions", .golden = escaped(text), .fields = malloc(strlen(ids) + 128)};
    if (!q.fields)
        die("out of memory");
    sprintf(q.fields, "\"model\":\"tale\",\"temperature\":0,\"ignore_eos\":true,\"max_tokens\":48,\"prompt\":[%s]",
            ids);
    free(ids);
    free(text);
    return q;
}

static char *copy(const char *text)
{
    char *c = strdup(text);
    if (!c)
        die("out of memory");
    return c;
}

unsigned make_questions(const daemon_t *d, const char *data, question *q)
{
    q[0] = reference(d, data, "short");
    q[1] = reference(d, data, "oz");
    q[2] = reference(d, data, "unicode");
    q[3] = (question){.path = "/v1/completions",
                      .fields = copy("\"model\":\"tale\",\"seed\":7,\"temperature\":0.8,\"top_p\":0.95,"
                                     "\"max_tokens\":60,\"prompt\":\"Once upon a time\"")};
    q[4] = (question){.path = "/v1/chat/completions",
                      .fields = copy("\"temperature\":0,\"max_tokens\":60,\"messages\":[{\"role\":\"user\","
                                     "\"content\":\"Tell me a story about a fox and a king.\"}]"),
                      .chat = true};
    return 5;
}

void free_questions(question *q, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(q[i].fields);
        free(q[i].golden);
    }
}
