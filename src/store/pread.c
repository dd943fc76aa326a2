/*
 * pread.c - sub-reads through a pool of threads that call pread: for where io_uring is denied.
 * Threads: `lock` is a leaf lock around the two lists and the wake flag. A read is touched by one thread at a time: the
 * I/O thread until submit, a worker while it reads, the I/O thread after wait.
 */
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/mem.h"
#include "store/io_engine.h"

#define PER_DRIVE   16u
#define MAX_THREADS 64u
#define STACK_BYTES (256u << 10)

typedef struct list {
    hs_io_read *head, *tail;
} list;

typedef struct pread_pool {
    const hs_io_engine_config *cfg;
    pthread_t threads[MAX_THREADS];
    uint32_t n_threads;
    hs_mutex lock;
    pthread_cond_t work, ended;
    list todo, done;
    bool woken, stop;
} pread_pool;

static void push(list *l, hs_io_read *rd)
{
    rd->next = NULL;
    if (l->tail)
        l->tail->next = rd;
    else
        l->head = rd;
    l->tail = rd;
}

static hs_io_read *pop(list *l)
{
    hs_io_read *rd = l->head;
    if (rd && !(l->head = rd->next))
        l->tail = NULL;
    return rd;
}

static void *worker(void *arg)
{
    pread_pool *p = arg;
    pthread_setname_np(pthread_self(), "hs-pread");
    hs_mutex_lock(&p->lock);
    for (;;) {
        hs_io_read *rd = pop(&p->todo);
        if (rd) {
            hs_mutex_unlock(&p->lock);
            ssize_t n = pread(p->cfg->fds[rd->file], rd->dst, rd->len, (off_t)rd->offset);
            rd->result = n < 0 ? -errno : (int32_t)n;
            hs_mutex_lock(&p->lock);
            push(&p->done, rd);
            pthread_cond_signal(&p->ended);
        } else if (p->stop) {
            break;
        } else {
            hs_cond_wait(&p->work, &p->lock);
        }
    }
    hs_mutex_unlock(&p->lock);
    return NULL;
}

static void pread_destroy(void *engine)
{
    pread_pool *p = engine;
    hs_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    hs_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->ended);
    hs_mutex_destroy(&p->lock);
    hs_free(p);
}

static int pread_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    (void)ctx;
    pread_pool *p = hs_calloc(1, sizeof *p);
    if (!p)
        return hs_err_set(err, -ENOMEM, "pread pool: out of memory");
    p->cfg = cfg;
    hs_mutex_init(&p->lock, HS_RANK_PREAD);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->ended, NULL);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int r = 0;
    uint32_t want = PER_DRIVE * cfg->n_drives < MAX_THREADS ? PER_DRIVE * cfg->n_drives : MAX_THREADS;
    while (p->n_threads < want && r == 0) {
        r = -pthread_create(&p->threads[p->n_threads], &attr, worker, p);
        p->n_threads += r == 0;
    }
    pthread_attr_destroy(&attr);
    if (!p->n_threads) {
        pread_destroy(p);
        return hs_err_set(err, r, "pread pool: cannot start a thread: %s", hs_strerror(r));
    }
    *ret_engine = p;
    return 0;
}

static void pread_submit(void *engine, hs_io_read *rd)
{
    pread_pool *p = engine;
    hs_mutex_lock(&p->lock);
    push(&p->todo, rd);
    pthread_cond_signal(&p->work);
    hs_mutex_unlock(&p->lock);
}

static uint32_t pread_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    pread_pool *p = engine;
    uint32_t n = 0;
    hs_mutex_lock(&p->lock);
    while (!p->done.head && !p->woken)
        hs_cond_wait(&p->ended, &p->lock);
    p->woken = false;
    while (n < max && p->done.head)
        ret_done[n++] = pop(&p->done);
    hs_mutex_unlock(&p->lock);
    return n;
}

static void pread_wake(void *engine)
{
    pread_pool *p = engine;
    hs_mutex_lock(&p->lock);
    p->woken = true;
    pthread_cond_signal(&p->ended);
    hs_mutex_unlock(&p->lock);
}

const hs_io_engine_ops hs_io_pread_ops = {
    .name = "pread",
    .create = pread_create,
    .destroy = pread_destroy,
    .submit = pread_submit,
    .wait = pread_wait,
    .wake = pread_wake,
};
