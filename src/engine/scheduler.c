/*
 * scheduler.c - the engine thread: whose turn it is.
 *
 *   queue --admit--> prefill (chunk by chunk) --> decode (one token per step, all sequences together) --> done
 *
 * One round = one chunk of prompt for one prefilling request, then one decode step for all that generate, so that a
 * long prompt does not stop others' answers. Admission looks at the clients that have the fewest running, and among
 * their requests takes the lowest turn (request.c). A request whose reader is slow sits out until its text has been
 * read; it keeps its sequence meanwhile.
 *
 * Invariants: active[i] uses sequence r->seq and no two share one; a request is in the queue or in active, never both.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_int.h"
#include "engine/heat.h"

#define SHARED_CHUNK 512u /* prompt tokens per round while others generate */

static uint32_t running_of(const hs_engine *e, uint64_t client)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->plan.parallel; i++)
        n += e->active[i] && e->active[i]->client == client;
    return n;
}

void hs__queue_remove(hs_engine *e, hs_request *r)
{
    hs_request *before = NULL;
    for (hs_request *q = e->queue_head; q != r; q = q->next)
        before = q;
    if (before)
        before->next = r->next;
    else
        e->queue_head = r->next;
    if (e->queue_tail == r)
        e->queue_tail = before;
    r->next = NULL;
    r->queued = false;
    e->n_queued--;
}

/* Takes the request that is next out of the queue; lock held, the queue is not empty. */
static hs_request *pop_fair(hs_engine *e)
{
    hs_request *best = NULL;
    uint32_t fewest = UINT32_MAX;
    for (hs_request *r = e->queue_head; r; r = r->next) {
        uint32_t n = running_of(e, r->client);
        if (n < fewest || (n == fewest && r->turn < best->turn)) {
            fewest = n;
            best = r;
        }
    }
    hs__queue_remove(e, best);
    e->turn = best->turn > e->turn ? best->turn : e->turn;
    return best;
}

static bool is_late(const hs_request *r, uint64_t now)
{
    return r->deadline_ns && now >= r->deadline_ns;
}

/* Fails queued requests that ran out of time; lock held. */
static void sweep_queue(hs_engine *e, uint64_t now)
{
    for (hs_request *r = e->queue_head, *next; r; r = next) {
        next = r->next;
        if (!is_late(r, now))
            continue;
        hs__queue_remove(e, r);
        hs__request_fail(r, -ETIMEDOUT, "the request waited longer than limits.request_timeout");
        e->counts.requests_failed++;
        hs__request_unref_locked(r);
    }
}

static void admit(hs_engine *e)
{
    for (uint32_t i = 0; i < e->plan.parallel; i++) {
        if (e->active[i])
            continue;
        uint32_t seq;
        if (!e->queue_head || hs__seq_take(e, &seq) < 0)
            return;
        hs_request *r = pop_fair(e);
        r->seq = seq;
        r->t_start = hs_now_ns();
        hs_mutex_lock(&r->text_lock);
        r->status.state = HS_REQUEST_PREFILL;
        r->status.receipt.queue_s = (double)(r->t_start - r->t_submit) * 1e-9;
        hs_mutex_unlock(&r->text_lock);
        e->active[i] = r;
        e->n_active++;
    }
}

/* Takes slot i's request out of the batch: its room is free before its owner learns that it has ended. The caller drops
 * the engine's reference. */
static hs_request *leave(hs_engine *e, uint32_t i)
{
    hs_request *r = e->active[i];
    hs__seq_give(e, r->seq);
    hs_mutex_lock(&e->lock);
    e->active[i] = NULL;
    e->n_active--;
    hs_mutex_unlock(&e->lock);
    hs_free(r->tokens);
    r->tokens = NULL;
    return r;
}

static void end_well(hs_engine *e, uint32_t i, hs_finish finish)
{
    hs_request *r = leave(e, i);
    if (finish == HS_FINISH_CANCELLED)
        e->counts.requests_cancelled++;
    else
        e->counts.requests_done++;
    hs__request_finish(r, finish);
    hs__request_unref(r);
}

static void end_badly(hs_engine *e, uint32_t i, int code, const char *sentence)
{
    hs_request *r = leave(e, i);
    e->counts.requests_failed++;
    hs__request_fail(r, code, sentence);
    hs__request_unref(r);
}

static bool is_cancelled(hs_request *r)
{
    hs_mutex_lock(&r->engine->lock);
    bool c = r->cancelled || r->engine->stop;
    hs_mutex_unlock(&r->engine->lock);
    return c;
}

/* Ends active requests that nobody waits for any more. */
static void sweep_active(hs_engine *e, uint64_t now)
{
    for (uint32_t i = 0; i < e->plan.parallel; i++) {
        hs_request *r = e->active[i];
        if (!r)
            continue;
        if (is_cancelled(r))
            end_well(e, i, HS_FINISH_CANCELLED);
        else if (is_late(r, now))
            end_badly(e, i, -ETIMEDOUT, "the request took longer than limits.request_timeout");
    }
}

static bool is_eos(const hs_engine *e, uint32_t token)
{
    for (uint32_t i = 0; i < e->opened.spec->n_eos; i++)
        if (e->opened.spec->eos[i] == token)
            return true;
    return false;
}

/* A new token for slot i from its logits; ends the request where it has to end. */
static void take_token(hs_engine *e, uint32_t i, const float *logits)
{
    hs_request *r = e->active[i];
    uint32_t n = r->status.receipt.generated_tokens;
    uint32_t token = hs__sample(&r->sampling, logits, e->opened.spec->vocab, n, e->sampling);
    hs_mutex_lock(&r->text_lock);
    r->status.receipt.generated_tokens = n + 1;
    hs_mutex_unlock(&r->text_lock);
    e->counts.generated_tokens++;
    if (!r->ignore_eos && is_eos(e, token)) {
        end_well(e, i, HS_FINISH_STOP);
        return;
    }
    bool stopped = false;
    int code = hs__request_emit(r, token, &stopped);
    if (code < 0)
        end_badly(e, i, code, "no memory for the text of the answer");
    else if (stopped)
        end_well(e, i, HS_FINISH_STOP);
    else if (n + 1 >= r->max_tokens)
        end_well(e, i, HS_FINISH_LENGTH);
    else
        r->next_token = token;
}

bool hs__is_pass_unwanted(void *engine)
{
    hs_engine *e = engine;
    if (!e->started)
        return false; /* sessions */
    uint64_t now = hs_now_ns();
    bool unwanted = false;
    hs_mutex_lock(&e->lock);
    sweep_queue(e, now);
    for (uint32_t i = 0; i < e->plan.parallel; i++)
        for (uint32_t k = 0; e->active[i] && k < e->n_batch; k++)
            unwanted |= e->active[i]->seq == e->batch_seq[k] && (e->active[i]->cancelled || is_late(e->active[i], now));
    unwanted |= e->stop;
    hs_mutex_unlock(&e->lock);
    return unwanted;
}

/* Between layers; a chunk of a big model takes long, those who wait are told in time. */
static int on_prefill(void *ctx, uint64_t done, uint64_t total)
{
    hs_request *r = ctx;
    (void)total;
    uint64_t now = hs_now_ns();
    hs_mutex_lock(&r->text_lock);
    r->status.prefill_done = (uint64_t)r->n_done * r->engine->opened.spec->n_layers + done;
    if (r->notify)
        r->notify(r->notify_user);
    hs_mutex_unlock(&r->text_lock);
    hs_mutex_lock(&r->engine->lock);
    sweep_queue(r->engine, now);
    bool unwanted = r->cancelled || r->engine->stop;
    hs_mutex_unlock(&r->engine->lock);
    return unwanted || is_late(r, now);
}

/* The policy hears what the request's profile used before, if another one was at work; what of it is worth more than
 * what is in memory is read when nobody wants anything. */
static void begin_profile(hs_engine *e, const hs_request *r)
{
    e->seqs[r->seq].profile = r->profile;
    if (!e->heat || !hs__heat_enter(e->heat, r->profile))
        return;
    e->is_preloading = false;
    e->is_following = hs__warm_policy(e) && e->preload_s;
    e->preload_at = 0;
    e->preload_until_ns = 0;
}

static void prefill_chunk(hs_engine *e, uint32_t i, bool alone)
{
    hs_request *r = e->active[i];
    if (!r->n_done)
        begin_profile(e, r);
    uint32_t n = r->n_tokens - r->n_done;
    uint32_t most = alone || e->plan.prefill_chunk < SHARED_CHUNK ? e->plan.prefill_chunk : SHARED_CHUNK;
    n = n < most ? n : most;
    bool last = r->n_done + n == r->n_tokens;
    e->batch_seq[0] = r->seq;
    e->n_batch = 1;
    hs__cost cost;
    hs_err err = {0};
    hs__cost_begin(e, &cost);
    int code = hs_model_prefill(e->model, &e->seqs[r->seq].kv, r->tokens + r->n_done, n, last ? e->logits : NULL, last,
                                on_prefill, r, &err);
    hs_mutex_lock(&r->text_lock);
    hs_receipt *receipt = &r->status.receipt;
    receipt->prefill_s += hs__cost_end(e, &cost, code == 0, &receipt);
    hs_mutex_unlock(&r->text_lock);
    e->counts.steps++;
    if (code == -ECANCELED)
        return; /* the next sweep ends it */
    if (code < 0) {
        end_badly(e, i, code, err.text);
        return;
    }
    r->n_done += n;
    e->counts.prompt_tokens += n;
    hs_mutex_lock(&r->text_lock);
    r->status.prefill_done = (uint64_t)r->n_done * e->opened.spec->n_layers;
    if (last)
        r->status.state = HS_REQUEST_DECODE;
    hs_mutex_unlock(&r->text_lock);
    if (last)
        take_token(e, i, e->logits);
}

static bool is_paused(hs_request *r)
{
    hs_mutex_lock(&r->text_lock);
    bool p = r->text.len >= HS__TEXT_HIGH;
    hs_mutex_unlock(&r->text_lock);
    return p;
}

/* Slots whose requests take part in a decode step. */
static uint32_t collect(hs_engine *e, uint32_t *slots)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->plan.parallel; i++) {
        hs_request *r = e->active[i];
        if (r && r->status.state == HS_REQUEST_DECODE && !is_paused(r))
            slots[n++] = i;
    }
    return n;
}

/* One token for each of the slots; the cost goes to their receipts. */
static int decode_batch(hs_engine *e, const uint32_t *slots, uint32_t n, hs_err *err)
{
    hs_receipt **receipts = e->step_receipts;
    for (uint32_t k = 0; k < n; k++) {
        hs_request *r = e->active[slots[k]];
        e->step_tokens[k] = r->next_token;
        e->batch_seq[k] = r->seq;
        e->batch_kv[k] = &e->seqs[r->seq].kv;
        receipts[k] = &r->status.receipt;
    }
    e->n_batch = n;
    hs__cost cost;
    hs__cost_begin(e, &cost);
    int code = hs_model_decode(e->model, e->batch_kv, e->step_tokens, n, e->logits, err);
    for (uint32_t k = 0; k < n; k++)
        hs_mutex_lock(&e->active[slots[k]]->text_lock);
    double s = hs__cost_end(e, &cost, code == 0, receipts);
    for (uint32_t k = 0; k < n; k++) {
        receipts[k]->decode_s += s;
        hs_mutex_unlock(&e->active[slots[k]]->text_lock);
    }
    e->counts.steps++;
    return code;
}

/* A step that fails for several is tried again for each alone, so that a bad record ends only the requests that need
 * it. One that was abandoned because a request has gone is tried again in the next round, without it. */
static void decode_step(hs_engine *e, const uint32_t *slots, uint32_t n)
{
    hs_err err = {0};
    int code = decode_batch(e, slots, n, &err);
    if (code == -ECANCELED)
        return;
    if (code < 0 && n > 1) {
        for (uint32_t k = 0; k < n; k++)
            decode_step(e, &slots[k], 1);
        return;
    }
    if (code < 0) {
        end_badly(e, slots[0], code, err.text);
        return;
    }
    for (uint32_t k = 0; k < n; k++)
        take_token(e, slots[k], e->logits + (size_t)k * e->opened.spec->vocab);
}

/* The next prefilling slot after the last one served, or -1; *ret_alone: nobody generates. */
static int next_prefill(hs_engine *e, bool *ret_alone)
{
    int found = -1;
    *ret_alone = true;
    for (uint32_t k = 0; k < e->plan.parallel; k++) {
        uint32_t i = (e->prefill_turn + k) % e->plan.parallel;
        if (!e->active[i])
            continue;
        if (e->active[i]->status.state == HS_REQUEST_DECODE)
            *ret_alone = false;
        else if (found < 0)
            found = (int)i;
    }
    if (found >= 0)
        e->prefill_turn = (uint32_t)found + 1;
    return found;
}

/* There is room for a waiting request, or a slot can make progress; lock held. */
static bool has_work(const hs_engine *e)
{
    if (e->queue_head && e->n_active < e->plan.parallel)
        return true;
    for (uint32_t i = 0; i < e->plan.parallel; i++) {
        hs_request *r = e->active[i];
        if (r && (r->cancelled || r->status.state == HS_REQUEST_PREFILL || !is_paused(r)))
            return true;
    }
    return false;
}

void hs__engine_resize(hs_engine *e, uint32_t n)
{
    hs_residency_resize(e->residency, n);
    hs_mutex_lock(&e->lock);
    pthread_cond_broadcast(&e->wake);
    hs_mutex_unlock(&e->lock);
}

#define SETTLE_NS  10000000ull /* between tries to give up slots into which reads are still under way */
#define PRELOAD_NS 1000000ull  /* between looks at reads of preloading */

/* Sleeps until there is something to do; at most a second, so that deadlines of waiting and paused requests are met. */
static void wait_for_work(hs_engine *e)
{
    while (!e->stop && !has_work(e)) {
        bool is_resizing = hs_residency_is_resizing(e->residency);
        bool is_reading = e->is_preloading || e->is_following;
        uint64_t wait_ns = is_reading ? PRELOAD_NS : is_resizing ? SETTLE_NS : 1000000000ull;
        struct timespec until = hs_timespec(hs_now_ns() + wait_ns);
        if (!e->n_active && !is_resizing && !is_reading)
            hs_cond_wait(&e->wake, &e->lock);
        else if (hs_cond_timedwait(&e->wake, &e->lock, &until) == ETIMEDOUT)
            return;
    }
}

/* Nobody wants anything now: reads a few more of the experts that the profile at work has used most before, for
 * cache.preload_seconds in all. */
static void preload(hs_engine *e, uint64_t now)
{
    const uint32_t *objects, *uses;
    uint32_t tokens, n = hs__heat_order(e->heat, &objects, &uses, &tokens);
    if (!e->preload_until_ns)
        e->preload_until_ns = now + e->preload_s * 1000000000ull;
    if (!hs_residency_preload(e->residency, objects, n, e->is_following, &e->preload_at))
        e->is_preloading = e->is_following = false;
}

bool hs__scheduler_round(hs_engine *e)
{
    uint64_t now = hs_now_ns();
    hs_mutex_lock(&e->lock);
    sweep_queue(e, now);
    bool stop = e->stop;
    if (!stop)
        admit(e);
    hs_mutex_unlock(&e->lock);
    sweep_active(e, now);
    if (stop)
        return false;
    bool alone;
    int i = next_prefill(e, &alone);
    if (i >= 0)
        prefill_chunk(e, (uint32_t)i, alone);
    uint32_t n = collect(e, e->step_slots);
    if (n)
        decode_step(e, e->step_slots, n);
    if (e->preload_until_ns && now >= e->preload_until_ns)
        e->is_preloading = e->is_following = false;
    if (i < 0 && !n) {
        hs_residency_settle(e->residency);
        if (e->is_preloading || e->is_following)
            preload(e, now);
    }
    hs__engine_publish(e);
    return true;
}

void *hs__scheduler_main(void *arg)
{
    hs_engine *e = arg;
    pthread_setname_np(pthread_self(), "hs-engine");
    do {
        hs_mutex_lock(&e->lock);
        wait_for_work(e);
        hs_mutex_unlock(&e->lock);
    } while (hs__scheduler_round(e));
    hs_mutex_lock(&e->lock);
    while (e->queue_head) {
        hs_request *r = e->queue_head;
        hs__queue_remove(e, r);
        hs__request_fail(r, -ESHUTDOWN, "the server is shutting down");
        hs__request_unref_locked(r);
    }
    hs_mutex_unlock(&e->lock);
    return NULL;
}

int hs_engine_start(hs_engine *e, hs_err *err)
{
    if (e->started)
        return hs_err_set(err, -EALREADY, "the engine thread is running already");
    e->started = true;
    e->preload_until_ns = hs_now_ns() + e->preload_s * 1000000000ull;
    hs__engine_publish(e);
    int r = -pthread_create(&e->thread, NULL, hs__scheduler_main, e);
    if (r < 0) {
        e->started = false;
        return hs_err_set(err, r, "cannot start the engine thread: %s", hs_strerror(r));
    }
    return 0;
}

void hs_engine_drain(hs_engine *e)
{
    hs_mutex_lock(&e->lock);
    e->draining = true;
    hs_mutex_unlock(&e->lock);
}
