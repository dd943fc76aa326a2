/* labels: unit */
/*
 * test_scheduler.c - many requests: nobody's answer depends on the others, who comes when, what a full queue says, and
 * that a request that has gone leaves nothing behind, whatever it was doing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sanitized.h"
#include "tale.h"

#define PARALLEL 4u
#define QUEUE    12u

static hs_engine *engine;
static const tale_prompt *prompts;

static int setup(void **state)
{
    (void)state;
    engine = tale_start((hs_engine_options){.context = 2048, .parallel = PARALLEL, .max_queue = QUEUE});
    prompts = tale_prompts(engine);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hs_engine_destroy(&engine);
    return 0;
}

/* Every sequence free, nothing waiting; asked after each test. */
static int check_idle(void **state)
{
    (void)state;
    tale_wait_idle(engine);
    for (uint32_t i = 0; i < PARALLEL; i++) {
        assert_null(engine->active[i]);
        assert_false(engine->seqs[i].in_use);
    }
    assert_null(engine->queue_head);
    assert_null(engine->queue_tail);
    return 0;
}

static void check_text(hs_request *r, const char *want)
{
    hs_buf text;
    hs_buf_init(&text, 1 << 20);
    hs_request_status s = tale_wait(r, &text);
    assert_int_equal(s.state, HS_REQUEST_DONE);
    assert_string_equal(text.data, want);
    hs_buf_deinit(&text);
}

/* A request that stays until destroyed: a slow reader with a long answer to come. */
static hs_request_options endless(uint64_t client)
{
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.max_tokens = 1000;
    opt.client = client;
    return opt;
}

static void hold_all(hs_request *held[PARALLEL])
{
    for (uint32_t i = 0; i < PARALLEL; i++) {
        hs_request_options opt = endless(1000 + i);
        held[i] = tale_hold(engine, &opt);
    }
}

static void destroy_all(hs_request **r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        hs_request_destroy(&r[i]);
}

static void test_side_by_side(void **state)
{
    (void)state;
    hs_request *r[TALE_PROMPTS];
    for (uint32_t i = 0; i < TALE_PROMPTS; i++) {
        hs_request_options opt = tale_ask(&prompts[i]);
        opt.client = i;
        r[i] = tale_submit(engine, &opt);
    }
    for (uint32_t i = 0; i < TALE_PROMPTS; i++)
        check_text(r[i], prompts[i].text);
    destroy_all(r, TALE_PROMPTS);
}

/* The same seed gives the same answer alone and among three others. */
static void test_seed(void **state)
{
    (void)state;
    char alone[1024];
    hs_buf text;
    hs_buf_init(&text, sizeof alone - 1);
    hs_request_options opt = tale_ask(&prompts[1]);
    opt.sampling = (hs_sampling){.temperature = 1.2f, .top_p = 0.9f, .top_k = 100, .min_p = 0.01f, .seed = 99};
    tale_run(engine, &opt, &text);
    snprintf(alone, sizeof alone, "%s", text.data);
    hs_buf_deinit(&text);
    hs_request *r[4];
    for (uint32_t i = 0; i < 4; i++) {
        hs_request_options other = opt;
        other.sampling.seed = 50 + i;
        if (i != 1)
            other.tokens = prompts[i + 2].ids, other.n_tokens = prompts[i + 2].n;
        r[i] = tale_submit(engine, i == 1 ? &opt : &other);
    }
    check_text(r[1], alone);
    destroy_all(r, 4);
}

static void test_queue_full(void **state)
{
    (void)state;
    hs_request *held[PARALLEL], *waiting[QUEUE], *more = NULL;
    hold_all(held);
    hs_request_options opt = tale_ask(&prompts[0]);
    hs_request_status s;
    for (uint32_t i = 0; i < QUEUE; i++) {
        opt.client = i;
        waiting[i] = tale_submit(engine, &opt);
        hs_request_get_status(waiting[i], &s);
        assert_int_equal(s.state, HS_REQUEST_QUEUED);
        assert_int_equal(s.queue_position, i);
    }
    opt.client = QUEUE;
    assert_int_equal(hs_engine_get_stats(engine).queued, QUEUE);
    assert_int_equal(hs_engine_get_stats(engine).active, PARALLEL);
    hs_err err = {0};
    assert_int_equal(hs_request_submit(engine, &opt, &more, &err), -EAGAIN);
    assert_non_null(strstr(err.text, "12 requests"));
    assert_non_null(strstr(err.text, "limits.max_queue is 12"));
    /* A waiting one that goes makes room at once. */
    uint64_t cancelled = hs_engine_get_stats(engine).requests_cancelled;
    hs_request_destroy(&waiting[3]);
    assert_int_equal(hs_engine_get_stats(engine).queued, QUEUE - 1);
    assert_int_equal(hs_engine_get_stats(engine).requests_cancelled, cancelled + 1);
    waiting[3] = tale_submit(engine, &opt);
    hs_request_get_status(waiting[3], &s);
    assert_int_equal(s.queue_position, QUEUE - 1);
    hs_request_get_status(waiting[4], &s);
    assert_int_equal(s.queue_position, 3);
    destroy_all(held, PARALLEL);
    for (uint32_t i = 0; i < QUEUE; i++)
        check_text(waiting[i], prompts[0].text);
    destroy_all(waiting, QUEUE);
}

/* One client with many requests leaves room for others' first ones; -EAGAIN tells it why. */
static void test_queue_share(void **state)
{
    (void)state;
    hs_request *held[PARALLEL], *waiting[QUEUE], *more = NULL;
    uint32_t n = 0, share = QUEUE - QUEUE / 4;
    hold_all(held);
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.client = 1;
    hs_err err = {0};
    int code = 0;
    while (n < QUEUE && (code = hs_request_submit(engine, &opt, &waiting[n], &err)) == 0)
        n++;
    assert_int_equal(code, -EAGAIN);
    assert_int_equal(n, share);
    assert_non_null(strstr(err.text, "9 requests are waiting already, one of this client"));
    assert_non_null(strstr(err.text, "limits.max_queue, 12, is for clients that have none waiting"));
    for (; n < QUEUE; n++) {
        opt.client = 100 + n;
        waiting[n] = tale_submit(engine, &opt);
    }
    opt.client = 2;
    assert_int_equal(hs_request_submit(engine, &opt, &more, &err), -EAGAIN);
    assert_null(strstr(err.text, "this client"));
    /* What others leave again is not the greedy one's. */
    hs_request_destroy(&waiting[--n]);
    opt.client = 1;
    assert_int_equal(hs_request_submit(engine, &opt, &more, &err), -EAGAIN);
    destroy_all(waiting, n);
    destroy_all(held, PARALLEL);
}

/* With room for one: client 1 has six requests waiting when client 2 comes with one, and 3 with two. */
static void test_turns(void **state)
{
    (void)state;
    hs_request *held[PARALLEL], *r[8];
    static const uint64_t clients[8] = {1, 1, 1, 1, 1, 2, 3, 3};
    static const uint32_t order[8] = {0, 3, 5, 6, 7, 1, 2, 4}; /* 1 2 3 1 3 1 1 1 */
    hold_all(held);
    for (uint32_t i = 0; i < 8; i++) {
        hs_request_options opt = tale_ask(&prompts[0]);
        opt.max_tokens = 2;
        opt.client = clients[i];
        r[i] = tale_submit(engine, &opt);
    }
    for (uint32_t i = 0; i < 8; i++) {
        hs_request_status s;
        hs_request_get_status(r[i], &s);
        assert_int_equal(s.queue_position, order[i]);
    }
    hs_request_destroy(&held[2]);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(tale_wait(r[i], NULL).state, HS_REQUEST_DONE);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t k = 0; k < 8; k++)
            assert_int_equal(order[i] < order[k], r[i]->t_start < r[k]->t_start);
    destroy_all(r, 8);
    destroy_all(held, PARALLEL);
}

/* A client that has something running lets one that has nothing go first, whoever came earlier. */
static void test_running_counts(void **state)
{
    (void)state;
    hs_request *held[PARALLEL], *r[2];
    hold_all(held);
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.max_tokens = 2;
    opt.client = 1000; /* held[0]'s */
    r[0] = tale_submit(engine, &opt);
    opt.client = 5;
    r[1] = tale_submit(engine, &opt);
    hs_request_destroy(&held[3]);
    tale_wait(r[0], NULL);
    tale_wait(r[1], NULL);
    assert_true(r[1]->t_start < r[0]->t_start);
    destroy_all(r, 2);
    destroy_all(held, PARALLEL);
}

static void test_cancel(void **state)
{
    (void)state;
    static uint32_t words[2000];
    for (uint32_t i = 0; i < 2000; i++)
        words[i] = 5 + i * 7 % 4000;
    for (uint32_t round = 0; round < (SANITIZED ? 1 : 3); round++) {
        hs_request_options longish = {.tokens = words, .n_tokens = 2000, .sampling = {.top_p = 1}};
        hs_request *r = tale_submit(engine, &longish);
        tale_wait_state(r, HS_REQUEST_PREFILL);
        hs_request_destroy(&r);
        assert_null(r);
        tale_wait_idle(engine);
        hs_request_options opt = endless(0);
        r = tale_submit(engine, &opt);
        tale_wait_state(r, HS_REQUEST_DECODE);
        hs_request_destroy(&r);
        tale_wait_idle(engine);
        r = tale_hold(engine, &opt);
        hs_request_destroy(&r);
        tale_wait_idle(engine);
    }
    hs_request_destroy(&(hs_request *){NULL});
    hs_request_options opt = tale_ask(&prompts[0]);
    hs_request *r = tale_submit(engine, &opt);
    check_text(r, prompts[0].text);
    hs_request_destroy(&r);
}

static void test_timeout(void **state)
{
    (void)state;
    hs_request *held[PARALLEL], *queued;
    for (uint32_t i = PARALLEL; i-- > 0;) {
        hs_request_options opt = endless(i);
        opt.timeout_s = i == 0 ? (SANITIZED ? 5 : 1) : 0;
        held[i] = tale_hold(engine, &opt);
    }
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.timeout_s = 1;
    opt.client = 1; /* held[0]'s room goes to somebody else */
    hs_request_options other = endless(9);
    hs_request *next = tale_submit(engine, &other);
    queued = tale_submit(engine, &opt);
    hs_request_status s = tale_wait(queued, NULL);
    if (s.state == HS_REQUEST_FAILED) { /* if not, it was served in time */
        assert_int_equal(s.error, -ETIMEDOUT);
        assert_non_null(strstr(s.error_text, "limits.request_timeout"));
    }
    for (uint32_t ms = 0; hs_request_get_status(held[0], &s), s.state == HS_REQUEST_DECODE && ms < 60000; ms++)
        tale_sleep_ms(1);
    assert_int_equal(s.state, HS_REQUEST_FAILED);
    assert_int_equal(s.error, -ETIMEDOUT);
    assert_non_null(strstr(s.error_text, "limits.request_timeout"));
    hs_request_destroy(&queued);
    hs_request_destroy(&next);
    destroy_all(held, PARALLEL);
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A slow reader stands still, alone, without a thread that turns in circles; reading on ends it well. */
static void test_slow_reader(void **state)
{
    (void)state;
    hs_request *held[PARALLEL];
    hs_request_options opt = tale_ask(&prompts[2]);
    for (uint32_t i = 0; i < PARALLEL - 1; i++)
        held[i] = tale_hold(engine, &opt);
    hs_request *r = tale_submit(engine, &opt);
    check_text(r, prompts[2].text);
    hs_request_destroy(&r);
    hs_request_status s, before;
    held[PARALLEL - 1] = tale_hold(engine, &opt);
    hs_request *waiting = tale_submit(engine, &opt);
    /* What was under way when the last one was held may take a busy machine a while. */
    double busy = 1;
    for (uint32_t tries = 0; busy > 0.1 && tries < 100; tries++) {
        hs_request_get_status(held[0], &before);
        busy = cpu_s();
        tale_sleep_ms(200);
        busy = cpu_s() - busy;
    }
    if (busy > 0.1)
        fail_msg("%.3f of 0.2 seconds were spent waiting for readers", busy);
    hs_request_get_status(held[0], &s);
    assert_int_equal(s.state, HS_REQUEST_DECODE);
    assert_int_equal(s.receipt.generated_tokens, before.receipt.generated_tokens);
    hs_request_get_status(waiting, &s);
    assert_int_equal(s.state, HS_REQUEST_QUEUED);
    for (uint32_t i = 0; i < PARALLEL; i++) {
        hs_buf text;
        hs_buf_init(&text, 1 << 20);
        assert_int_equal(tale_wait(held[i], &text).state, HS_REQUEST_DONE);
        assert_int_equal(text.len, HS__TEXT_HIGH + strlen(prompts[2].text));
        assert_string_equal(text.data + HS__TEXT_HIGH, prompts[2].text);
        hs_buf_deinit(&text);
    }
    check_text(waiting, prompts[2].text);
    hs_request_destroy(&waiting);
    destroy_all(held, PARALLEL);
}

/* What notify gets must not be touched once destroy has returned: it is freed then. */
typedef struct listener {
    _Atomic uint32_t calls;
    _Atomic bool gone;
} listener;

static _Atomic uint32_t late_calls;

static void on_notify(void *user)
{
    listener *l = user;
    if (atomic_load(&l->gone))
        atomic_fetch_add(&late_calls, 1);
    atomic_fetch_add(&l->calls, 1);
}

static void test_notify(void **state)
{
    (void)state;
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.notify = on_notify;
    listener whole = {0};
    opt.notify_user = &whole;
    hs_request *r = tale_submit(engine, &opt);
    check_text(r, prompts[0].text);
    assert_true(atomic_load(&whole.calls) >= prompts[0].n_greedy);
    hs_request_destroy(&r);
    for (uint32_t i = 0; i < 30; i += SANITIZED ? 4 : 1) {
        listener *l = calloc(1, sizeof *l);
        opt.notify_user = l;
        r = tale_submit(engine, &opt);
        while (atomic_load(&l->calls) < i)
            tale_sleep_ms(0);
        hs_request_destroy(&r);
        atomic_store(&l->gone, true);
        tale_sleep_ms(i % 3);
        free(l);
    }
    assert_int_equal(atomic_load(&late_calls), 0);
}

static _Atomic uint32_t n_submitted;

static void *storm(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    for (uint32_t i = 0; i < 16; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        hs_request_options opt = tale_ask(&prompts[(random >> 40) % TALE_PROMPTS]);
        opt.client = (uint64_t)(uintptr_t)arg;
        opt.max_tokens = 12;
        hs_request *r = NULL;
        hs_err err = {0};
        int code = hs_request_submit(engine, &opt, &r, &err);
        if (code == -EAGAIN)
            continue;
        if (code < 0)
            return (void *)(uintptr_t) "submit failed";
        atomic_fetch_add(&n_submitted, 1);
        for (uint64_t k = (random >> 33) % 24; k > 0; k--) {
            char piece[64];
            hs_request_status s;
            hs_request_get_status(r, &s);
            hs_request_read(r, piece, sizeof piece);
            if (s.state == HS_REQUEST_FAILED)
                return (void *)(uintptr_t) "a request failed";
            tale_sleep_ms(1);
        }
        hs_request_destroy(&r);
    }
    return NULL;
}

static void test_storm(void **state)
{
    (void)state;
    hs_engine_stats before = hs_engine_get_stats(engine), s = {0};
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, storm, (void *)(i + 1)), 0);
    for (uint32_t i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        if (failed)
            fail_msg("%s", (const char *)failed);
    }
    tale_wait_idle(engine);
    uint64_t ended = 0, want = atomic_load(&n_submitted);
    for (uint32_t ms = 0; ms < 60000 && ended != want; ms++) { /* the last step is published after it has ended */
        s = hs_engine_get_stats(engine);
        ended = s.requests_done + s.requests_cancelled - before.requests_done - before.requests_cancelled;
        tale_sleep_ms(1);
    }
    assert_int_equal(ended, want);
    assert_int_equal(s.requests_failed, before.requests_failed);
}

/* Draining ends what runs and waits, and takes nothing new; an engine goes down with requests just gone. */
static void test_drain(void **state)
{
    (void)state;
    hs_engine *e = tale_start((hs_engine_options){.context = 256, .max_queue = 4});
    hs_request_options opt = tale_ask(&prompts[0]);
    hs_request *held = tale_hold(e, &opt), *waiting = tale_submit(e, &opt), *more = NULL;
    hs_err err = {0};
    hs_engine_drain(e);
    assert_int_equal(hs_request_submit(e, &opt, &more, &err), -ESHUTDOWN);
    assert_non_null(strstr(err.text, "shutting down"));
    assert_int_equal(tale_wait(held, NULL).state, HS_REQUEST_DONE);
    check_text(waiting, prompts[0].text);
    tale_wait_idle(e);
    hs_request_destroy(&held);
    hs_request_destroy(&waiting);
    hs_engine_destroy(&e);
    assert_null(e);
    for (uint32_t i = 0; i < 3; i++) {
        e = tale_start((hs_engine_options){.context = 256, .parallel = 2, .max_queue = 4});
        hs_request *r[5];
        for (uint32_t k = 0; k < 5; k++)
            r[k] = tale_submit(e, &opt);
        tale_sleep_ms(5 * i);
        destroy_all(r, 5);
        hs_engine_destroy(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_side_by_side, check_idle),
        cmocka_unit_test_teardown(test_seed, check_idle),
        cmocka_unit_test_teardown(test_queue_full, check_idle),
        cmocka_unit_test_teardown(test_queue_share, check_idle),
        cmocka_unit_test_teardown(test_turns, check_idle),
        cmocka_unit_test_teardown(test_running_counts, check_idle),
        cmocka_unit_test_teardown(test_cancel, check_idle),
        cmocka_unit_test_teardown(test_timeout, check_idle),
        cmocka_unit_test_teardown(test_slow_reader, check_idle),
        cmocka_unit_test_teardown(test_notify, check_idle),
        cmocka_unit_test_teardown(test_storm, check_idle),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
