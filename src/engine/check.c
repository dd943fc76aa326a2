/*
 * check.c - the invariants of queue, batch and sequences, executable: for tests after every step. On the engine's
 * thread (or whoever plays it), between passes.
 */
#include "engine/engine_int.h"

/* Lock held. */
static const char *check_queue(const hs_engine *e)
{
    uint32_t n = 0;
    const hs_request *last = NULL;
    for (const hs_request *q = e->queue_head; q && n <= e->n_queued; q = q->next, n++) {
        last = q;
        if (!q->queued || q->refs != 2 || q->cancelled || !q->tokens)
            return "a waiting request is not whole";
        if (q->status.state != HS_REQUEST_QUEUED)
            return "a waiting request has another state";
        for (const hs_request *o = e->queue_head; o != q; o = o->next)
            if (o->client == q->client && o->turn >= q->turn)
                return "a client's waiting requests are out of turn";
    }
    if (n != e->n_queued || last != e->queue_tail)
        return "the queue and its count disagree";
    return n > e->max_queue + e->plan.parallel ? "the queue is too long" : NULL;
}

static const char *check_text(hs_request *r)
{
    hs_mutex_lock(&r->text_lock);
    bool ok = r->text.len <= HS__TEXT_MAX && r->status.prefill_done <= r->status.prefill_total;
    hs_mutex_unlock(&r->text_lock);
    return ok ? NULL : "a request's text or progress is over its bound";
}

/* Lock held. A request in the batch, and the tokens that its sequence holds. */
static const char *check_active(const hs_engine *e, hs_request *r)
{
    if (r->queued || r->refs < 1 || r->refs > 2 || (r->refs == 1) != r->cancelled || !r->tokens)
        return "a running request is not whole";
    if (r->seq >= e->plan.parallel || !e->seqs[r->seq].in_use)
        return "a running request has no sequence";
    uint32_t length = e->seqs[r->seq].kv.length, made = r->status.receipt.generated_tokens;
    if (r->status.state == HS_REQUEST_PREFILL && (length != r->n_done || r->n_done >= r->n_tokens || made))
        return "a sequence does not hold what has been read of its prompt";
    if (r->status.state == HS_REQUEST_DECODE && (!made || length != r->n_tokens + made - 1))
        return "a sequence does not hold prompt and answer";
    if (r->status.state != HS_REQUEST_PREFILL && r->status.state != HS_REQUEST_DECODE)
        return "a running request has another state";
    return check_text(r);
}

static const char *check_sequences(const hs_engine *e)
{
    uint32_t in_use = 0, active = 0;
    const uint8_t *at = e->kv;
    for (uint32_t i = 0; i < e->plan.parallel; i++, at += e->kv_bytes / e->plan.parallel) {
        const hs_kv *kv = &e->seqs[i].kv;
        in_use += e->seqs[i].in_use;
        if (kv->data != at || kv->capacity != e->plan.context || kv->length > kv->capacity)
            return "a sequence's keys and values are not in their place";
    }
    for (uint32_t i = 0; i < e->plan.parallel; i++) {
        active += e->active[i] != NULL;
        for (uint32_t k = 0; e->active[i] && k < i; k++)
            if (e->active[k] && (e->active[k] == e->active[i] || e->active[k]->seq == e->active[i]->seq))
                return "two places of the batch share a request or a sequence";
    }
    if (active != e->n_active)
        return "the number of running requests is wrong";
    return e->started && in_use != active ? "a sequence is held by nobody" : NULL;
}

const char *hs__engine_check(hs_engine *e)
{
    hs_mutex_lock(&e->lock);
    const char *wrong = check_queue(e);
    if (!wrong)
        wrong = check_sequences(e);
    for (uint32_t i = 0; !wrong && i < e->plan.parallel; i++)
        if (e->active[i])
            wrong = check_active(e, e->active[i]);
    hs_mutex_unlock(&e->lock);
    return wrong ? wrong : hs_residency_check(e->residency);
}
