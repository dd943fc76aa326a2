/*
 * engine_fault.c - reads that go wrong, wait at a gate, and leave a log. The object itself is the engine; it reads by
 * itself, or lies over another engine, which then does, and changes what that brings.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/store/engines.h"

#define FAULT_LOG 4096u

/* All but gated and what is over another engine under lock. */
struct fault_engine {
    bool gated;
    const hs_io_engine_ops *over; /* NULL: none */
    void *below;                  /* its engine; the I/O thread's, but for its wake */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    fault_order order;
    const hs_io_engine_config *cfg;
    hs_io_read *head, *tail, *late, *held, *again; /* again: over another engine, held once and to be read now */
    uint64_t permits, ended;
    bool woken;
    uint32_t n_log;  /* reads issued */
    uint32_t n_hits; /* of these, gone wrong */
    fault_read log[FAULT_LOG];
};

fault_engine *fault_engine_create(bool gated)
{
    fault_engine *e = calloc(1, sizeof *e);
    assert_non_null(e);
    e->gated = gated;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    return e;
}

fault_engine *fault_engine_over(const hs_io_engine_ops *ops)
{
    fault_engine *e = fault_engine_create(false);
    e->over = ops;
    return e;
}

void fault_engine_destroy(fault_engine **e)
{
    if (!*e)
        return;
    pthread_cond_destroy(&(*e)->changed);
    pthread_mutex_destroy(&(*e)->lock);
    free(*e);
    *e = NULL;
}

/* ---- what a read meets; the lock is held ---- */

/* The read has brought its bytes. What is not said to be there is anything. */
static void spoil(const fault_order *o, hs_io_read *rd)
{
    uint8_t *at = rd->dst;
    int32_t n = rd->result, keep = n < 0 || (uint32_t)n < o->short_bytes ? n : (int32_t)o->short_bytes;
    if (o->kind == FAULT_ERRNO) {
        rd->result = -o->error;
        keep = 0;
    } else if (o->kind == FAULT_SHORT) {
        rd->result = keep;
    } else {
        for (keep = 0; keep < n; keep++)
            at[keep] ^= 0x80;
    }
    if (keep < n)
        memset(at + keep, 0x5a, (size_t)(n - keep));
}

static void carry_out(fault_engine *e, hs_io_read *rd, bool fault)
{
    ssize_t n = pread(e->cfg->fds[rd->file], rd->dst, rd->len, (off_t)rd->offset);
    rd->result = n < 0 ? -errno : (int32_t)n;
    if (fault && e->order.kind != FAULT_LATE)
        spoil(&e->order, rd);
}

static bool goes_wrong(fault_engine *e, const hs_io_read *rd, uint64_t number)
{
    fault_order *o = &e->order;
    uint64_t times = o->times ? o->times : 1, end = rd->offset + rd->len;
    bool fault = o->first && number >= o->first && number - o->first < times;
    if (fault && o->sticky && !o->to) {
        o->file = rd->file;
        o->from = rd->offset;
        o->to = end;
    }
    if (rd->offset < o->to && end > o->from && o->any_of && rd->file % o->any_of == o->file) {
        o->file = rd->file;
        o->any_of = 0;
    }
    fault = fault || (rd->file == o->file && !o->any_of && rd->offset < o->to && end > o->from);
    e->n_hits += fault;
    return fault;
}

static void give_back(fault_engine *e, hs_io_read *rd)
{
    rd->next = NULL;
    if (e->head)
        e->tail->next = rd;
    else
        e->head = rd;
    e->tail = rd;
}

/* ---- what the test orders and asks ---- */

void fault_engine_let(fault_engine *e, uint64_t n)
{
    pthread_mutex_lock(&e->lock);
    e->permits = n > UINT64_MAX - e->permits ? UINT64_MAX : e->permits + n;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void fault_engine_await(fault_engine *e, uint32_t n)
{
    pthread_mutex_lock(&e->lock);
    while (e->n_log < n)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

void fault_engine_arm(fault_engine *e, const fault_order *order)
{
    pthread_mutex_lock(&e->lock);
    e->order = *order;
    e->n_log = e->n_hits = 0;
    e->ended = e->over ? 0 : e->ended;
    pthread_mutex_unlock(&e->lock);
}

uint32_t fault_engine_issued(fault_engine *e)
{
    pthread_mutex_lock(&e->lock);
    uint32_t n = e->n_log;
    pthread_mutex_unlock(&e->lock);
    return n;
}

fault_read fault_engine_read(fault_engine *e, uint32_t k)
{
    fault_read rd = {0};
    pthread_mutex_lock(&e->lock);
    bool is_there = k < e->n_log && k < FAULT_LOG;
    if (is_there)
        rd = e->log[k];
    pthread_mutex_unlock(&e->lock);
    assert_true(is_there);
    return rd;
}

uint32_t fault_engine_hits(fault_engine *e, uint32_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&e->lock);
    for (int r = 0; wait_ms && !e->n_hits && r == 0;)
        r = pthread_cond_timedwait(&e->changed, &e->lock, &until);
    uint32_t n = e->n_hits;
    pthread_mutex_unlock(&e->lock);
    return n;
}

void fault_engine_release(fault_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->order = (fault_order){0};
    for (hs_io_read *rd = e->held, *next; rd; rd = next) {
        next = rd->next;
        if (e->over) {
            rd->next = e->again;
            e->again = rd;
        } else {
            carry_out(e, rd, false);
            give_back(e, rd);
        }
    }
    e->held = NULL;
    if (e->again) /* under the lock: the engine below goes only after these have ended */
        e->over->wake(e->below);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

/* ---- the engine ---- */

static int fault_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    fault_engine *e = ctx;
    pthread_mutex_lock(&e->lock);
    int error = e->order.kind == FAULT_ERRNO && !e->order.first && !e->order.to ? e->order.error : 0;
    e->cfg = cfg;
    pthread_mutex_unlock(&e->lock);
    if (error)
        return hs_err_set(err, -error, "fault engine: as ordered");
    *ret_engine = e;
    return e->over ? e->over->create(NULL, cfg, &e->below, err) : 0;
}

static void fault_destroy(void *engine)
{
    fault_engine *e = engine;
    if (e->over)
        e->over->destroy(e->below);
}

/* What goes wrong here is held back; what goes wrong otherwise does once the engine below has read it. */
static void submit_below(fault_engine *e, hs_io_read *rd)
{
    bool held = e->order.kind == FAULT_NEVER && goes_wrong(e, rd, e->n_log);
    if (held) {
        rd->next = e->held;
        e->held = rd;
    } else {
        e->over->submit(e->below, rd);
    }
}

static void fault_submit(void *engine, hs_io_read *rd)
{
    fault_engine *e = engine;
    pthread_mutex_lock(&e->lock);
    if (e->n_log < FAULT_LOG)
        e->log[e->n_log] = (fault_read){rd->offset, rd->len, rd->file};
    e->n_log++;
    if (e->over) {
        submit_below(e, rd);
        pthread_cond_broadcast(&e->changed);
        pthread_mutex_unlock(&e->lock);
        return;
    }
    bool fault = goes_wrong(e, rd, e->n_log);
    if (fault && e->order.kind == FAULT_NEVER) {
        rd->next = e->held;
        e->held = rd;
    } else {
        carry_out(e, rd, fault);
        rd->next = NULL;
        if (fault && e->order.kind == FAULT_LATE && !e->late)
            e->late = rd;
        else
            give_back(e, rd);
    }
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static bool may_end(const fault_engine *e)
{
    return (e->head || e->late) && (!e->gated || e->ended < e->permits);
}

static uint32_t wait_below(fault_engine *e, hs_io_read **ret_done, uint32_t max)
{
    pthread_mutex_lock(&e->lock);
    for (hs_io_read *rd = e->again, *next; rd; rd = next) {
        next = rd->next;
        e->over->submit(e->below, rd);
    }
    e->again = NULL;
    pthread_mutex_unlock(&e->lock);
    uint32_t n = e->over->wait(e->below, ret_done, max);
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < n; i++)
        if (e->order.kind != FAULT_NEVER && goes_wrong(e, ret_done[i], ++e->ended))
            spoil(&e->order, ret_done[i]);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    return n;
}

static uint32_t fault_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    fault_engine *e = engine;
    uint32_t n = 0;
    if (e->over)
        return wait_below(e, ret_done, max);
    pthread_mutex_lock(&e->lock);
    while (!e->woken && !may_end(e))
        pthread_cond_wait(&e->changed, &e->lock);
    e->woken = false;
    while (n < max && may_end(e)) {
        hs_io_read **from = e->head ? &e->head : &e->late;
        if (!e->head && n)
            break; /* the late one may find company first */
        ret_done[n++] = *from;
        *from = from == &e->head ? e->head->next : NULL;
        e->ended++;
    }
    pthread_mutex_unlock(&e->lock);
    return n;
}

static void fault_wake(void *engine)
{
    fault_engine *e = engine;
    if (e->over) {
        e->over->wake(e->below);
        return;
    }
    pthread_mutex_lock(&e->lock);
    e->woken = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

const hs_io_engine_ops fault_engine_ops = {
    .name = "fault",
    .create = fault_create,
    .destroy = fault_destroy,
    .submit = fault_submit,
    .wait = fault_wait,
    .wake = fault_wake,
};
