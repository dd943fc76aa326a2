/* engine_fault.c - reads that go wrong, wait at a gate, and leave a log. The struct itself is the engine. */
#include <time.h>
#include <unistd.h>

#include "unit/store/engines.h"

void fault_engine_init(fault_engine *e)
{
    *e = (fault_engine){0};
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
}

void fault_engine_deinit(fault_engine *e)
{
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
}

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

static int fault_create(void *ctx, const hs_io_engine_config *cfg, void **ret_engine, hs_err *err)
{
    fault_engine *e = ctx;
    if (e->kind == FAULT_ERRNO && !e->first)
        return hs_err_set(err, -e->error, "fault engine: as ordered");
    e->cfg = cfg;
    *ret_engine = e;
    return 0;
}

static void fault_destroy(void *engine)
{
    (void)engine;
}

static void carry_out(fault_engine *e, hs_io_read *rd, bool fault)
{
    uint32_t len = fault && e->kind == FAULT_SHORT && e->short_bytes < rd->len ? e->short_bytes : rd->len;
    if (fault && e->kind == FAULT_ERRNO) {
        rd->result = -e->error;
        return;
    }
    ssize_t n = pread(e->cfg->fds[rd->file], rd->dst, len, (off_t)rd->offset);
    rd->result = n < 0 ? -errno : (int32_t)n;
    for (ssize_t i = 0; fault && e->kind == FAULT_CORRUPT && i < n; i++)
        ((uint8_t *)rd->dst)[i] ^= 0x80;
}

static bool goes_wrong(fault_engine *e, const hs_io_read *rd, uint64_t number)
{
    uint64_t times = e->times ? e->times : 1, end = rd->offset + rd->len;
    bool fault = e->first && number >= e->first && number - e->first < times;
    if (fault && e->sticky && !e->bad_to) {
        e->bad_file = rd->file;
        e->bad_from = rd->offset;
        e->bad_to = end;
    }
    fault = fault || (rd->file == e->bad_file && rd->offset < e->bad_to && end > e->bad_from);
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

static void fault_submit(void *engine, hs_io_read *rd)
{
    fault_engine *e = engine;
    pthread_mutex_lock(&e->lock);
    if (e->n_log < FAULT_LOG) {
        e->log[e->n_log].offset = rd->offset;
        e->log[e->n_log].len = rd->len;
        e->log[e->n_log].file = rd->file;
    }
    bool fault = goes_wrong(e, rd, ++e->n_log);
    if (fault && e->kind == FAULT_NEVER) {
        rd->next = e->held;
        e->held = rd;
    } else {
        carry_out(e, rd, fault);
        rd->next = NULL;
        if (fault && e->kind == FAULT_LATE && !e->late)
            e->late = rd;
        else
            give_back(e, rd);
    }
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void fault_engine_arm(fault_engine *e, fault_kind kind, uint64_t nth, bool sticky)
{
    pthread_mutex_lock(&e->lock);
    e->kind = kind;
    e->first = nth;
    e->sticky = sticky;
    e->bad_from = e->bad_to = 0;
    e->n_log = e->n_hits = 0;
    pthread_mutex_unlock(&e->lock);
}

void fault_engine_spoil(fault_engine *e, fault_kind kind, uint32_t file, uint64_t from, uint64_t to)
{
    fault_engine_arm(e, kind, 0, false);
    pthread_mutex_lock(&e->lock);
    e->bad_file = file;
    e->bad_from = from;
    e->bad_to = to;
    pthread_mutex_unlock(&e->lock);
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
    e->kind = FAULT_NONE;
    e->first = e->bad_to = 0;
    for (hs_io_read *rd = e->held, *next; rd; rd = next) {
        next = rd->next;
        carry_out(e, rd, false);
        give_back(e, rd);
    }
    e->held = NULL;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static bool may_end(const fault_engine *e)
{
    return (e->head || e->late) && (!e->gated || e->ended < e->permits);
}

static uint32_t fault_wait(void *engine, hs_io_read **ret_done, uint32_t max)
{
    fault_engine *e = engine;
    uint32_t n = 0;
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
