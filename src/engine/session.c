/*
 * session.c - the synchronous door: one caller feeds tokens and gets logits (eval, bench, tests).
 * A session is a sequence of the engine; it must not be mixed with a started scheduler.
 */
#include "base/mem.h"
#include "engine/engine_int.h"

struct hs_session {
    hs_engine *engine;
    uint32_t seq;
};

int hs_session_create(hs_engine *e, hs_session **ret_session, hs_err *err)
{
    hs_session *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "session: out of memory");
    s->engine = e;
    int r = 0;
    if (e->started)
        r = hs_err_set(err, -EBUSY, "the engine serves requests: no sessions beside them");
    else if (hs__seq_take(e, &s->seq) < 0)
        r = hs_err_set(err, -EBUSY, "no free sequence: this engine was planned for %u", e->plan.parallel);
    if (r < 0) {
        hs_free(s);
        return r;
    }
    *ret_session = s;
    return 0;
}

void hs_session_destroy(hs_session **session)
{
    hs_session *s = *session;
    if (!s)
        return;
    hs__seq_give(s->engine, s->seq);
    hs_free(s);
    *session = NULL;
}

static hs_kv *kv_of(const hs_session *s)
{
    return &s->engine->seqs[s->seq].kv;
}

void hs_session_reset(hs_session *s)
{
    kv_of(s)->length = 0;
}

uint32_t hs_session_length(const hs_session *s)
{
    return kv_of(s)->length;
}

int hs_engine_set_threads(hs_engine *e, uint32_t threads, hs_err *err)
{
    return hs_pool_resize(e->pool, threads, err);
}

void hs_engine_set_prefetch(hs_engine *e, bool prefetch)
{
    hs_residency_set_prefetch(e->residency, prefetch);
}

static int check_tokens(const hs_engine *e, const uint32_t *tokens, uint32_t n, hs_err *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] >= e->opened.spec->vocab)
            return hs_err_set(err, -EINVAL, "token %u: id %u is outside the vocabulary of %u", i, tokens[i],
                              e->opened.spec->vocab);
    return 0;
}

int hs_session_prefill(hs_session *s, const uint32_t *tokens, uint32_t n, float *logits, uint32_t n_logits,
                       int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, hs_err *err)
{
    hs_engine *e = s->engine;
    hs_kv *kv = kv_of(s);
    int r = check_tokens(e, tokens, n, err);
    if (r < 0)
        return r;
    if (n > kv->capacity - kv->length)
        return hs_err_set(err, -E2BIG, "%u tokens after %u exceed the context of %u", n, kv->length, kv->capacity);
    e->batch_seq[0] = s->seq;
    e->n_batch = 1;
    r = hs_model_prefill(e->model, kv, tokens, n, logits, n_logits, progress, ctx, err);
    e->counts.prompt_tokens += r == 0 ? n : 0;
    e->counts.steps++;
    hs__engine_publish(e);
    return r;
}

int hs_session_decode(hs_session *const *s, const uint32_t *tokens, uint32_t n, float *logits, hs_err *err)
{
    if (!n)
        return 0;
    hs_engine *e = s[0]->engine;
    if (n > e->plan.parallel)
        return hs_err_set(err, -EINVAL, "%u sequences at once; this engine was planned for %u", n, e->plan.parallel);
    int r = check_tokens(e, tokens, n, err);
    if (r < 0)
        return r;
    hs_kv **kvs = e->batch_kv;
    for (uint32_t i = 0; i < n; i++) {
        kvs[i] = kv_of(s[i]);
        if (kvs[i]->length == kvs[i]->capacity)
            return hs_err_set(err, -E2BIG, "the context of %u tokens is full", kvs[i]->capacity);
        for (uint32_t k = 0; k < i; k++)
            if (s[k] == s[i])
                return hs_err_set(err, -EINVAL, "sessions %u and %u are the same", k, i);
        e->batch_seq[i] = s[i]->seq;
    }
    e->n_batch = n;
    r = hs_model_decode(e->model, kvs, tokens, n, logits, err);
    e->counts.generated_tokens += r == 0 ? n : 0;
    e->counts.steps++;
    hs__engine_publish(e);
    return r;
}
