/* labels: unit */
/*
 * test_invariants.c - random operations on queue, batch, sequences and slots: submit, read, leave, wait too long, run
 * a round. The test plays the engine thread, so that every order is reproducible from its seed; all invariants hold
 * after every operation, and whoever stays gets the golden answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sanitized.h"
#include "tale.h"

#define CLIENTS  3u
#define PLACES   12u
#define MAX_TEXT 2048u

typedef struct place {
    hs_request *r;
    const tale_prompt *p;
    uint32_t tokens;
    bool late;
    hs_buf text;
} place;

typedef struct world {
    hs_engine *e;
    const tale_prompt *prompts;
    place places[PLACES];
    uint64_t random;
    uint32_t done, left, late, refused;
} world;

static uint32_t below(world *w, uint32_t n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % n);
}

static void check(world *w)
{
    const char *wrong = hs__engine_check(w->e);
    if (wrong)
        fail_msg("%s", wrong);
}

static void submit(world *w, place *at)
{
    *at = (place){.p = &w->prompts[below(w, 4)], .tokens = 1 + below(w, 6)};
    hs_request_options opt = tale_ask(at->p);
    hs_err err = {0};
    opt.max_tokens = at->tokens;
    opt.client = below(w, CLIENTS);
    int code = hs_request_submit(w->e, &opt, &at->r, &err);
    check(w);
    if (code < 0) {
        assert_int_equal(code, -EAGAIN);
        assert_true(w->e->n_queued >= w->e->max_queue - w->e->max_queue / 4);
        w->refused++;
        return;
    }
    hs_buf_init(&at->text, MAX_TEXT);
    hs_buf_puts(&at->text, "");
    if (below(w, 8) == 0) { /* its time is up already */
        at->late = true;
        at->r->deadline_ns = hs_now_ns();
    }
}

static void forget(world *w, place *at)
{
    hs_request_destroy(&at->r);
    hs_buf_deinit(&at->text);
    check(w);
}

static void check_answer(world *w, const place *at)
{
    hs_buf want;
    hs_buf_init(&want, MAX_TEXT);
    assert_int_equal(hs_tokenizer_decode(hs_engine_tokenizer(w->e), at->p->greedy, at->tokens, true, &want, NULL), 0);
    assert_string_equal(at->text.data, want.data);
    hs_buf_deinit(&want);
}

static void read_some(world *w, place *at)
{
    char piece[64];
    hs_request_status s;
    hs_request_get_status(at->r, &s);
    size_t n = hs_request_read(at->r, piece, 4 + below(w, sizeof piece - 4));
    hs_buf_append(&at->text, piece, n);
    check(w);
    if (n || s.state < HS_REQUEST_DONE)
        return;
    assert_int_equal(s.state, at->late ? HS_REQUEST_FAILED : HS_REQUEST_DONE);
    if (at->late) {
        assert_int_equal(s.error, -ETIMEDOUT);
        w->late++;
    } else {
        check_answer(w, at);
        w->done++;
    }
    forget(w, at);
}

static void operate(world *w)
{
    place *at = &w->places[below(w, PLACES)];
    uint32_t what = below(w, 16);
    if (what < 6) {
        assert_true(hs__scheduler_round(w->e));
        check(w);
    } else if (!at->r) {
        submit(w, at);
    } else if (what == 6) {
        forget(w, at);
        w->left++;
    } else {
        read_some(w, at);
    }
}

static void run(uint32_t seed, uint32_t parallel, double percent, bool prefetch)
{
    world w = {.random = seed};
    print_message("seed %u, %u side by side, cache %g %%, prefetch %d\n", seed, parallel, percent, prefetch);
    w.e = tale_create((hs_engine_options){.context = 128,
                                          .parallel = parallel,
                                          .max_queue = 3,
                                          .threads = 1,
                                          .cache_kind = HS_CACHE_PERCENT,
                                          .cache_percent = percent,
                                          .io_buffered = true,
                                          .prefetch = prefetch});
    w.prompts = tale_prompts(w.e);
    w.e->started = true; /* by us */
    for (uint32_t i = 0; i < 400; i++)
        operate(&w);
    for (uint32_t i = 0; i < PLACES; i++)
        if (w.places[i].r)
            forget(&w, &w.places[i]);
    assert_true(hs__scheduler_round(w.e));
    check(&w);
    assert_int_equal(w.e->n_active, 0);
    assert_int_equal(w.e->n_queued, 0);
    print_message("%u answers, %u left, %u late, %u refused\n", w.done, w.left, w.late, w.refused);
    assert_true(w.done > 3 && w.left > 3 && w.late > 0);
    w.e->started = false;
    hs_engine_destroy(&w.e);
}

static void test_random(void **state)
{
    (void)state;
    static const uint32_t parallel[] = {1, 2, 4};
    for (uint32_t seed = 1; seed <= 9; seed += SANITIZED ? 8 : 1)
        run(seed, parallel[seed % 3], seed / 3 % 2 ? 3 : 30, seed % 3 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
