/* labels: unit */
/*
 * test_accounting.c - receipts and counters: every expert use is counted once, bytes are divided without a rest, and
 * what requests are told adds up to what the engine says. The test plays the engine thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "residency/residency_int.h"
#include "tale.h"

#define PARALLEL 3u

static hs_engine *start(bool prefetch, double percent)
{
    hs_engine *e = tale_create((hs_engine_options){.context = 128,
                                                   .parallel = PARALLEL,
                                                   .max_queue = 4,
                                                   .cache_kind = HS_CACHE_PERCENT,
                                                   .cache_percent = percent,
                                                   .prefetch = prefetch});
    e->started = true; /* by us */
    return e;
}

static void stop(hs_engine *e)
{
    e->started = false;
    hs_engine_destroy(&e);
}

static void add(hs_receipt *sum, const hs_receipt *r)
{
    sum->bytes_read += r->bytes_read;
    sum->expert_hits += r->expert_hits;
    sum->expert_misses += r->expert_misses;
    sum->prompt_tokens += r->prompt_tokens;
    sum->generated_tokens += r->generated_tokens;
}

/* Tokens that went through the layers: the last one sampled did not. */
static void check_uses(const hs_receipt *r)
{
    uint64_t tokens = r->prompt_tokens + r->generated_tokens - 1;
    assert_int_equal(r->expert_hits + r->expert_misses, tokens * TALE_PER_TOKEN);
}

/* n requests side by side; the sum of their receipts. */
static hs_receipt serve(hs_engine *e, uint32_t n)
{
    const tale_prompt *prompts = tale_prompts(e);
    hs_request *r[PARALLEL];
    hs_receipt sum = {0};
    for (uint32_t i = 0; i < n; i++) {
        hs_request_options opt = tale_ask(&prompts[i]);
        opt.max_tokens = 6 + i;
        opt.client = i;
        r[i] = tale_submit(e, &opt);
    }
    do
        assert_true(hs__scheduler_round(e));
    while (e->n_active);
    for (uint32_t i = 0; i < n; i++) {
        hs_request_status s;
        hs_request_get_status(r[i], &s);
        assert_int_equal(s.state, HS_REQUEST_DONE);
        assert_int_equal(s.receipt.generated_tokens, 6 + i);
        assert_true(s.receipt.prefill_s > 0 && s.receipt.decode_s > 0);
        assert_true(s.receipt.disk_wait_s <= s.receipt.prefill_s + s.receipt.decode_s);
        check_uses(&s.receipt);
        add(&sum, &s.receipt);
        hs_request_destroy(&r[i]);
    }
    return sum;
}

/* Alone: its misses are the engine's, and its bytes all that were read. */
static void test_alone(void **state)
{
    (void)state;
    hs_engine *e = start(false, 10);
    hs_receipt r = serve(e, 1);
    hs_engine_stats s = hs_engine_get_stats(e);
    assert_int_equal(r.expert_misses, s.expert_misses);
    assert_int_equal(r.bytes_read, s.bytes_read);
    assert_true(s.bytes_read >= s.expert_misses * hs_object_raw_bytes(e->opened.objects, 0));
    assert_int_equal(s.prompt_tokens, r.prompt_tokens);
    assert_int_equal(s.generated_tokens, r.generated_tokens);
    assert_int_equal(s.requests_done, 1);
    assert_true(s.steps >= r.generated_tokens);
    assert_true(s.resident <= s.slots);
    assert_int_equal(s.kv_bytes_used, 0);
    hs_engine_drive d;
    assert_true(hs_engine_get_drive(e, 0, &d));
    assert_true(d.bytes >= s.bytes_read && d.busy_ns > 0 && !d.is_behind);
    assert_int_equal(access(d.folder, X_OK), 0);
    assert_false(hs_engine_get_drive(e, 1, &d));
    stop(e);
}

/* Side by side: shares of bytes and misses add up without a rest, with and without reading ahead. */
static void test_together(void **state)
{
    (void)state;
    for (int prefetch = 0; prefetch < 2; prefetch++) {
        hs_engine *e = start(prefetch, 10);
        hs_receipt r = serve(e, PARALLEL);
        hs_engine_stats s = hs_engine_get_stats(e);
        assert_int_equal(r.expert_misses, s.expert_misses);
        assert_true(r.bytes_read <= s.bytes_read); /* a guess may land between passes */
        if (!prefetch)
            assert_int_equal(r.bytes_read, s.bytes_read);
        assert_int_equal(s.bytes_read, s.demand_bytes + s.speculative_bytes);
        assert_int_equal(s.prompt_tokens, r.prompt_tokens);
        assert_int_equal(s.generated_tokens, r.generated_tokens);
        assert_int_equal(s.requests_done, PARALLEL);
        stop(e);
    }
}

/* With every expert in memory nothing is read and nothing missed. */
static void test_warm(void **state)
{
    (void)state;
    hs_engine *e = start(false, 100);
    serve(e, PARALLEL);
    hs_receipt r = serve(e, PARALLEL);
    assert_int_equal(r.expert_misses, 0);
    assert_int_equal(r.bytes_read, 0);
    stop(e);
}

/* What fails, is cancelled or destroyed while it waits is counted once, as that. */
static void test_ends(void **state)
{
    (void)state;
    hs_engine *e = start(false, 10);
    const tale_prompt *prompts = tale_prompts(e);
    hs_request_options opt = tale_ask(&prompts[0]);
    hs_request *r[6];
    for (uint32_t i = 0; i < 6; i++)
        r[i] = tale_submit(e, &opt);
    hs_engine_stats s = hs_engine_get_stats(e);
    assert_int_equal(s.queued, 6);
    assert_true(hs__scheduler_round(e));
    s = hs_engine_get_stats(e);
    assert_int_equal(s.active, PARALLEL);
    assert_int_equal(s.queued, 6 - PARALLEL);
    assert_true(s.kv_bytes_used >= prompts[0].n * e->plan.kv_per_token);
    r[0]->deadline_ns = 1;
    hs_request_destroy(&r[1]);
    hs_request_destroy(&r[5]);
    r[4]->deadline_ns = 1;
    assert_true(hs__scheduler_round(e));
    s = hs_engine_get_stats(e);
    assert_int_equal(s.requests_failed, 2);
    assert_int_equal(s.requests_cancelled, 2);
    for (uint32_t i = 0; i < 6; i++)
        hs_request_destroy(&r[i]);
    assert_true(hs__scheduler_round(e));
    s = hs_engine_get_stats(e);
    assert_int_equal(s.requests_failed + s.requests_cancelled + s.requests_done, 6);
    assert_int_equal(s.active + s.queued, 0);
    assert_int_equal(s.kv_bytes_used, 0);
    stop(e);
}

/* The routes that an observer sees are the uses that are counted. */
typedef struct seen {
    uint64_t uses, misses;
} seen;

static void on_route(void *ctx, const hs_route_event *ev)
{
    seen *s = ctx;
    float sum = 0;
    assert_true(ev->layer >= 1 && ev->layer <= 5 && ev->top_k == 6);
    assert_true(ev->expert_bytes > 0);
    for (uint32_t k = 0; k < ev->top_k; k++) {
        assert_true(ev->experts[k] < 64);
        sum += ev->normalised[k];
        s->misses += !ev->resident[k];
    }
    assert_true(sum > 0.999f && sum < 1.001f);
    s->uses += ev->top_k;
}

static void test_routes(void **state)
{
    (void)state;
    hs_engine *e = tale_create((hs_engine_options){.context = 128});
    const tale_prompt *p = &tale_prompts(e)[3];
    const uint32_t *numbers;
    seen s = {0};
    hs_session *session = NULL;
    hs_err err = {0};
    float *logits = malloc(hs_engine_vocab(e) * sizeof *logits);
    assert_int_equal(hs_engine_moe_layers(e, &numbers), 5);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(numbers[i], i + 1);
    assert_int_equal(hs_session_create(e, &session, &err), 0);
    hs_engine_on_route(e, on_route, &s);
    assert_int_equal(hs_session_prefill(session, p->ids, p->n, NULL, 0, NULL, NULL, &err), 0);
    assert_int_equal(hs_session_decode(&session, p->greedy, 1, logits, &err), 0);
    assert_int_equal(s.uses, (p->n + 1) * TALE_PER_TOKEN);
    assert_true(s.misses >= hs_engine_get_stats(e).expert_misses);
    hs_engine_on_route(e, NULL, NULL);
    assert_int_equal(hs_session_decode(&session, p->greedy + 1, 1, logits, &err), 0);
    assert_int_equal(s.uses, (p->n + 1) * TALE_PER_TOKEN);
    hs_session_destroy(&session);
    hs_engine_destroy(&e);
    free(logits);
}

/* ---- where a policy hears that a sequence begins ---- */

static const hs_policy *told;
static uint32_t n_begun;

static void on_session(void *policy_state, uint64_t now)
{
    n_begun++;
    told->session(policy_state, now);
}

/* The policy of e with its session counted in n_begun; *ret lives as long as e. */
static void count_sessions(hs_engine *e, hs_policy *ret)
{
    told = e->residency->policy;
    assert_non_null(told->session);
    *ret = *told;
    ret->session = on_session;
    e->residency->policy = ret;
    n_begun = 0;
}

/* Once for each request, before its first token, however its prompt is cut and whoever else is in the batch. */
static void test_requests_begin_once(void **state)
{
    (void)state;
    hs_policy counting;
    hs_engine *e = start(true, 10);
    e->plan.prefill_chunk = 4;
    count_sessions(e, &counting);
    for (uint32_t n = 1; n <= PARALLEL; n++) {
        n_begun = 0;
        serve(e, n);
        assert_int_equal(n_begun, n);
    }
    stop(e);
}

static void test_sequences_begin_once(void **state)
{
    (void)state;
    hs_policy counting;
    hs_engine *e = tale_create((hs_engine_options){.context = 128, .parallel = 2});
    const tale_prompt *p = &tale_prompts(e)[3];
    float *logits = malloc(2 * hs_engine_vocab(e) * sizeof *logits);
    hs_session *s[2] = {NULL, NULL};
    assert_true(p->n > 6);
    count_sessions(e, &counting);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(hs_session_create(e, &s[i], NULL), 0);
    assert_int_equal(n_begun, 0);
    assert_int_equal(hs_session_prefill(s[0], p->ids, 5, NULL, 0, NULL, NULL, NULL), 0);
    assert_int_equal(hs_session_prefill(s[0], p->ids + 5, p->n - 5, logits, 1, NULL, NULL, NULL), 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(hs_session_decode(s, p->greedy + i, 1, logits, NULL), 0);
    assert_int_equal(n_begun, 1);
    /* One that begins by decoding, beside one that goes on. */
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(hs_session_decode(s, p->greedy + i, 2, logits, NULL), 0);
    assert_int_equal(n_begun, 2);
    hs_session_reset(s[0]);
    hs_session_reset(s[1]);
    assert_int_equal(hs_session_decode(s, p->greedy, 2, logits, NULL), 0);
    assert_int_equal(n_begun, 4);
    free(logits);
    hs_session_destroy(&s[0]);
    hs_session_destroy(&s[1]);
    hs_engine_destroy(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_warm),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_requests_begin_once),
        cmocka_unit_test(test_sequences_begin_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
