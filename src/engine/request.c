/*
 * request.c - a queued request as its owner sees it: submit, read, status, destroy.
 *
 * Two references: the owner's and the engine's (queue or batch); whoever drops the last one frees it. Locks: engine
 * lock before text_lock, never the other way round; notify is called under text_lock, which is why it must not call
 * back.
 *
 * Turns: a request's turn is the one that is being served when it comes, or the one after its client's last, so that a
 * client with many waiting requests alternates with one that has few. The last quarter of the queue is for clients that
 * have nothing waiting, so that no client can shut the others out.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_int.h"
#include "engine/heat.h"

static void request_free(hs_request *r)
{
    hs_stop_destroy(&r->stop);
    hs_buf_deinit(&r->text);
    hs_buf_deinit(&r->piece);
    hs_detok_deinit(&r->detok);
    hs_free(r->tokens);
    hs_mutex_destroy(&r->text_lock);
    hs_free(r);
}

void hs__request_unref_locked(hs_request *r)
{
    if (--r->refs == 0)
        request_free(r);
}

void hs__request_unref(hs_request *r)
{
    hs_engine *e = r->engine;
    hs_mutex_lock(&e->lock);
    hs__request_unref_locked(r);
    hs_mutex_unlock(&e->lock);
}

/* Prompt and answer against the context; *ret_max = tokens the answer may have. */
static int check_length(const hs_engine *e, const hs_request_options *opt, uint32_t *ret_max, hs_err *err)
{
    uint32_t context = e->plan.context;
    if (!opt->n_tokens)
        return hs_err_set(err, -EINVAL, "the prompt is empty");
    if (opt->n_tokens >= context)
        return hs_err_set(err, -E2BIG,
                          "the prompt has %u tokens; the context has %u, one of them at least for the answer",
                          opt->n_tokens, context);
    uint32_t left = context - opt->n_tokens;
    if (opt->max_tokens >= context)
        return hs_err_set(err, -E2BIG, "max_tokens is %u; the context has %u tokens", opt->max_tokens, context);
    *ret_max = opt->max_tokens && opt->max_tokens < left ? opt->max_tokens : left;
    return 0;
}

static int check_stop(const hs_request_options *opt, hs_err *err)
{
    if (opt->n_stop > HS_MAX_STOP)
        return hs_err_set(err, -EINVAL, "stop has %u strings; at most %d", opt->n_stop, HS_MAX_STOP);
    for (uint32_t i = 0; i < opt->n_stop; i++) {
        size_t len = strlen(opt->stop[i]);
        if (len < 1 || len > HS_MAX_STOP_BYTES)
            return hs_err_set(err, -EINVAL, "stop string %u has %zu bytes; 1 to %d are allowed", i, len,
                              HS_MAX_STOP_BYTES);
    }
    return 0;
}

static int fill(hs_request *r, const hs_engine *e, const hs_request_options *opt, hs_err *err)
{
    int code = check_length(e, opt, &r->max_tokens, err);
    if (code == 0)
        code = hs__sampling_check(&opt->sampling, err);
    if (code == 0)
        code = check_stop(opt, err);
    if (code < 0)
        return code;
    for (uint32_t i = 0; i < opt->n_tokens; i++)
        if (opt->tokens[i] >= e->opened.spec->vocab)
            return hs_err_set(err, -EINVAL, "prompt token %u: id %u is outside the vocabulary of %u", i, opt->tokens[i],
                              e->opened.spec->vocab);
    r->tokens = hs_malloc((size_t)opt->n_tokens * sizeof *r->tokens);
    if (!r->tokens)
        return hs_err_set(err, -ENOMEM, "out of memory");
    memcpy(r->tokens, opt->tokens, (size_t)opt->n_tokens * sizeof *r->tokens);
    r->n_tokens = opt->n_tokens;
    if (opt->n_stop) {
        code = hs_stop_create(opt->stop, opt->n_stop, &r->stop, err);
        if (code < 0)
            return code;
    }
    if (opt->n_shown > HS_MAX_SHOWN)
        return hs_err_set(err, -EINVAL, "%u special tokens to show; at most %d are possible", opt->n_shown,
                          HS_MAX_SHOWN);
    if (opt->n_shown)
        memcpy(r->shown, opt->shown, opt->n_shown * sizeof *r->shown);
    r->detok.shown = r->shown;
    r->detok.n_shown = opt->n_shown;
    r->sampling = opt->sampling;
    r->ignore_eos = opt->ignore_eos;
    r->client = opt->client;
    code = hs__heat_profile(e->heat, opt->profile, &r->profile, err);
    if (code < 0)
        return code;
    r->notify = opt->notify;
    r->notify_user = opt->notify_user;
    r->t_submit = hs_now_ns();
    r->deadline_ns = opt->timeout_s ? r->t_submit + opt->timeout_s * 1000000000ull : 0;
    r->status.receipt.prompt_tokens = opt->n_tokens;
    r->status.prefill_total = (uint64_t)opt->n_tokens * e->opened.spec->n_layers;
    return 0;
}

/* Lock held. */
static uint64_t turn_of(const hs_engine *e, uint64_t client)
{
    uint64_t turn = e->turn;
    for (const hs_request *q = e->queue_head; q; q = q->next)
        if (q->client == client && q->turn >= turn)
            turn = q->turn + 1;
    for (uint32_t i = 0; i < e->plan.parallel; i++)
        if (e->active[i] && e->active[i]->client == client && e->active[i]->turn >= turn)
            turn = e->active[i]->turn + 1;
    return turn;
}

/* Does the client have a request in the queue? Lock held. */
static bool is_waiting(const hs_engine *e, uint64_t client)
{
    for (const hs_request *q = e->queue_head; q; q = q->next)
        if (q->client == client)
            return true;
    return false;
}

/* May one more of this client wait? Every idle sequence counts as room beyond max_queue. Lock held. */
static int check_room(const hs_engine *e, uint64_t client, hs_err *err)
{
    uint32_t idle = e->plan.parallel - e->n_active, max = e->max_queue;
    if (e->draining || e->stop || !e->started)
        return hs_err_set(err, -ESHUTDOWN, "the server is shutting down");
    if (e->n_queued >= max + idle)
        return hs_err_set(err, -EAGAIN, "%u requests are waiting already; limits.max_queue is %u", e->n_queued, max);
    if (e->n_queued >= max - max / 4 + idle && is_waiting(e, client))
        return hs_err_set(err, -EAGAIN,
                          "%u requests are waiting already, one of this client among them; the last quarter of "
                          "limits.max_queue, %u, is for clients that have none waiting",
                          e->n_queued, max);
    return 0;
}

/* Puts r at the end of the queue. */
static int enqueue(hs_engine *e, hs_request *r, hs_err *err)
{
    hs_mutex_lock(&e->lock);
    int code = check_room(e, r->client, err);
    if (code == 0) {
        r->refs = 2;
        r->queued = true;
        r->turn = turn_of(e, r->client);
        e->n_queued++;
        if (e->queue_tail)
            e->queue_tail->next = r;
        else
            e->queue_head = r;
        e->queue_tail = r;
        pthread_cond_signal(&e->wake);
    }
    hs_mutex_unlock(&e->lock);
    return code;
}

int hs_request_submit(hs_engine *e, const hs_request_options *opt, hs_request **ret_request, hs_err *err)
{
    if (!e->tokenizer)
        return hs_err_set(err, -EINVAL, "this engine was loaded without a tokenizer");
    hs_request *r = hs_calloc(1, sizeof *r);
    if (!r)
        return hs_err_set(err, -ENOMEM, "out of memory");
    r->engine = e;
    hs_mutex_init(&r->text_lock, HS_RANK_REQUEST);
    hs_buf_init(&r->text, HS__TEXT_MAX);
    hs_buf_init(&r->piece, HS__TEXT_HIGH - 4 * HS_MAX_STOP_BYTES);
    hs_detok_init(&r->detok, e->tokenizer);
    int code = fill(r, e, opt, err);
    if (code == 0)
        code = enqueue(e, r, err);
    if (code < 0) {
        request_free(r);
        return code;
    }
    *ret_request = r;
    return 0;
}

size_t hs_request_read(hs_request *r, char *buf, size_t cap)
{
    hs_mutex_lock(&r->text_lock);
    bool was_high = r->text.len >= HS__TEXT_HIGH;
    size_t n = r->text.len < cap ? r->text.len : cap;
    /* Never half a character: step back over continuation bytes. */
    if (n < r->text.len)
        while (n > 0 && ((unsigned char)r->text.data[n] & 0xc0) == 0x80)
            n--;
    if (n) {
        memcpy(buf, r->text.data, n);
        hs_buf_consume(&r->text, n);
    }
    bool is_high = r->text.len >= HS__TEXT_HIGH;
    hs_mutex_unlock(&r->text_lock);
    if (was_high && !is_high) {
        hs_mutex_lock(&r->engine->lock);
        pthread_cond_signal(&r->engine->wake);
        hs_mutex_unlock(&r->engine->lock);
    }
    return n;
}

/* How many would be admitted before r if nothing else came. */
static uint32_t queue_position(hs_request *r)
{
    hs_engine *e = r->engine;
    uint32_t n = 0;
    bool older = true;
    hs_mutex_lock(&e->lock);
    for (const hs_request *q = e->queue_head; r->queued && q; q = q->next) {
        older = older && q != r;
        n += q->turn < r->turn || (q->turn == r->turn && older);
    }
    hs_mutex_unlock(&e->lock);
    return n;
}

void hs_request_get_status(hs_request *r, hs_request_status *ret_status)
{
    hs_mutex_lock(&r->text_lock);
    *ret_status = r->status;
    hs_mutex_unlock(&r->text_lock);
    ret_status->prefill_tokens = (uint32_t)(ret_status->prefill_done / r->engine->opened.spec->n_layers);
    if (ret_status->state == HS_REQUEST_QUEUED) {
        ret_status->queue_position = queue_position(r);
        ret_status->receipt.queue_s = (double)(hs_now_ns() - r->t_submit) * 1e-9;
    }
}

void hs_request_destroy(hs_request **request)
{
    hs_request *r = *request;
    if (!r)
        return;
    *request = NULL;
    hs_mutex_lock(&r->text_lock);
    r->notify = NULL;
    hs_mutex_unlock(&r->text_lock);
    hs_engine *e = r->engine;
    hs_mutex_lock(&e->lock);
    if (r->queued) {
        hs__queue_remove(e, r);
        e->n_dropped++;
        hs__request_unref_locked(r);
    }
    r->cancelled = true;
    pthread_cond_signal(&e->wake);
    hs__request_unref_locked(r);
    hs_mutex_unlock(&e->lock);
}

void hs__request_fail(hs_request *r, int code, const char *sentence)
{
    hs_mutex_lock(&r->text_lock);
    r->status.state = HS_REQUEST_FAILED;
    r->status.error = code;
    size_t n = strlen(sentence), room = sizeof r->status.error_text - 1;
    if (n > room) /* never half a character */
        for (n = room; n > 0 && ((unsigned char)sentence[n] & 0xc0) == 0x80;)
            n--;
    memcpy(r->status.error_text, sentence, n);
    r->status.error_text[n] = '\0';
    if (r->notify)
        r->notify(r->notify_user);
    hs_mutex_unlock(&r->text_lock);
}

/* Moves text through the stop matcher (if any) into what the owner may read; text_lock held. True: a stop string was
 * met. */
static bool deliver(hs_request *r, const char *text, size_t len)
{
    if (r->stop)
        return hs_stop_push(r->stop, text, len, &r->text);
    hs_buf_append(&r->text, text, len);
    return false;
}

int hs__request_emit(hs_request *r, uint32_t token, bool *ret_stopped)
{
    hs_buf_clear(&r->piece);
    hs_detok_push(&r->detok, token, &r->piece);
    hs_mutex_lock(&r->text_lock);
    *ret_stopped = deliver(r, r->piece.data ? r->piece.data : "", r->piece.len);
    int code = r->piece.failed ? r->piece.failed : r->text.failed;
    if (r->notify)
        r->notify(r->notify_user);
    hs_mutex_unlock(&r->text_lock);
    return code;
}

void hs__request_finish(hs_request *r, hs_finish finish)
{
    hs_buf_clear(&r->piece);
    hs_detok_flush(&r->detok, &r->piece);
    hs_mutex_lock(&r->text_lock);
    if (r->piece.len)
        deliver(r, r->piece.data, r->piece.len);
    if (r->stop && !hs_stop_is_hit(r->stop))
        hs_stop_flush(r->stop, &r->text);
    r->status.state = HS_REQUEST_DONE;
    r->status.finish = finish;
    if (r->notify)
        r->notify(r->notify_user);
    hs_mutex_unlock(&r->text_lock);
}
