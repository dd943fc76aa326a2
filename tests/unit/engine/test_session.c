/* labels: unit golden */
/*
 * test_session.c - the synchronous door: golden tokens in any split of the prompt, alone and side by side; what is
 * refused; cancelling; and that a refused or cancelled call leaves the session as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tale.h"

#define CONTEXT  120u
#define PARALLEL 3u

static hs_engine *engine;
static const tale_prompt *prompts;
static float *logits;
static uint32_t vocab;

static int setup(void **state)
{
    (void)state;
    engine = tale_create((hs_engine_options){.context = CONTEXT, .parallel = PARALLEL});
    prompts = tale_prompts(engine);
    vocab = hs_engine_vocab(engine);
    logits = malloc((size_t)PARALLEL * vocab * sizeof *logits);
    return logits ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(logits);
    hs_engine_destroy(&engine);
    return 0;
}

static hs_session *create(void)
{
    hs_session *s = NULL;
    hs_err err = {0};
    if (hs_session_create(engine, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static uint32_t best(const float *row)
{
    uint32_t b = 0;
    for (uint32_t i = 1; i < vocab; i++)
        b = row[i] > row[b] ? i : b;
    return b;
}

/* Feeds the prompt in pieces of at most `piece` tokens; logits of its last token. */
static void prefill(hs_session *s, const tale_prompt *p, uint32_t piece)
{
    hs_err err = {0};
    for (uint32_t at = 0; at < p->n; at += piece) {
        uint32_t n = p->n - at < piece ? p->n - at : piece;
        if (hs_session_prefill(s, p->ids + at, n, logits, 1, NULL, NULL, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(hs_session_length(s), at + n);
    }
}

static void test_golden(void **state)
{
    (void)state;
    hs_session *s = create();
    static const uint32_t pieces[] = {300, 7, 1};
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
        const tale_prompt *p = &prompts[k];
        hs_err err = {0};
        hs_session_reset(s);
        assert_int_equal(hs_session_length(s), 0);
        prefill(s, p, pieces[k]);
        for (uint32_t i = 0; i < 20; i++) {
            assert_int_equal(best(logits), p->greedy[i]);
            assert_int_equal(hs_session_decode(&s, &p->greedy[i], 1, logits, &err), 0);
            assert_int_equal(hs_session_length(s), p->n + i + 1);
        }
    }
    hs_session_destroy(&s);
    assert_null(s);
}

static void test_side_by_side(void **state)
{
    (void)state;
    hs_session *s[PARALLEL];
    uint32_t next[PARALLEL];
    hs_err err = {0};
    for (uint32_t i = 0; i < PARALLEL; i++) {
        s[i] = create();
        prefill(s[i], &prompts[i], 300);
        next[i] = best(logits);
    }
    hs_session *more = NULL;
    assert_int_equal(hs_session_create(engine, &more, &err), -EBUSY);
    assert_non_null(strstr(err.text, "planned for 3"));
    assert_null(more);
    for (uint32_t t = 0; t < 12; t++) {
        for (uint32_t i = 0; i < PARALLEL; i++)
            assert_int_equal(next[i], prompts[i].greedy[t]);
        assert_int_equal(hs_session_decode(s, next, PARALLEL, logits, &err), 0);
        for (uint32_t i = 0; i < PARALLEL; i++)
            next[i] = best(logits + (size_t)i * vocab);
    }
    for (uint32_t i = 0; i < PARALLEL; i++)
        hs_session_destroy(&s[i]);
    more = create(); /* their places are free again */
    hs_session_destroy(&more);
}

static void test_refusals(void **state)
{
    (void)state;
    hs_session *s = create(), *pair[4] = {s, s, s, s};
    static uint32_t many[CONTEXT + 1];
    uint32_t wrong[] = {1, 4096, 4096, 1};
    hs_err err = {0};
    assert_int_equal(hs_session_prefill(s, wrong, 2, NULL, 0, NULL, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "token 1: id 4096"));
    assert_int_equal(hs_session_decode(&s, &wrong[1], 1, logits, &err), -EINVAL);
    assert_int_equal(hs_session_prefill(s, many, CONTEXT + 1, NULL, 0, NULL, NULL, &err), -E2BIG);
    assert_non_null(strstr(err.text, "context of 120"));
    wrong[1] = wrong[2] = 1;
    assert_int_equal(hs_session_decode(pair, wrong, 2, logits, &err), -EINVAL);
    assert_non_null(strstr(err.text, "the same"));
    assert_int_equal(hs_session_decode(pair, wrong, 4, logits, &err), -EINVAL);
    assert_int_equal(hs_session_decode(pair, wrong, 0, logits, &err), 0);
    assert_int_equal(hs_session_length(s), 0);
    /* To the last place, and not over it. */
    assert_int_equal(hs_session_prefill(s, many, CONTEXT - 1, NULL, 0, NULL, NULL, &err), 0);
    assert_int_equal(hs_session_decode(&s, many, 1, logits, &err), 0);
    assert_int_equal(hs_session_decode(&s, many, 1, logits, &err), -E2BIG);
    assert_int_equal(hs_session_prefill(s, many, 1, NULL, 0, NULL, NULL, &err), -E2BIG);
    assert_int_equal(hs_session_length(s), CONTEXT);
    hs_session_destroy(&s);
    hs_session_destroy(&s);
}

static int stop_at(void *ctx, uint64_t done, uint64_t total)
{
    uint32_t *left = ctx;
    assert_true(done <= total);
    return (*left)-- == 0;
}

/* Cancelled before any of the layers, the session is as it was, and goes on to the golden tokens. */
static void test_cancel(void **state)
{
    (void)state;
    hs_session *s = create();
    const tale_prompt *p = &prompts[3];
    for (uint32_t calls = 0; calls < 6; calls++) {
        uint32_t left = calls;
        hs_err err = {0};
        hs_session_reset(s);
        assert_int_equal(hs_session_prefill(s, p->ids, 5, NULL, 0, NULL, NULL, &err), 0);
        assert_int_equal(hs_session_prefill(s, p->ids + 5, p->n - 5, logits, 1, stop_at, &left, &err), -ECANCELED);
        assert_int_equal(hs_session_length(s), 5);
        assert_int_equal(hs_session_prefill(s, p->ids + 5, p->n - 5, logits, 1, NULL, NULL, &err), 0);
        assert_int_equal(best(logits), p->greedy[0]);
    }
    hs_session_destroy(&s);
}

/* Rows of logits belong to the last tokens, whatever the chunk. */
static void test_logits(void **state)
{
    (void)state;
    const tale_prompt *p = &prompts[2];
    float *rows = malloc((size_t)p->n * vocab * sizeof *rows);
    hs_session *s = create();
    hs_err err = {0};
    assert_non_null(rows);
    assert_int_equal(hs_session_prefill(s, p->ids, p->n, rows, p->n, NULL, NULL, &err), 0);
    for (uint32_t n = 1; n <= p->n; n++) {
        hs_session_reset(s);
        assert_int_equal(hs_session_prefill(s, p->ids, n, logits, 1, NULL, NULL, &err), 0);
        assert_memory_equal(logits, rows + (size_t)(n - 1) * vocab, vocab * sizeof *rows);
    }
    hs_session_destroy(&s);
    free(rows);
}

/* Ways of one engine: the golden tokens, whatever it does between them. */
static void test_ways(void **state)
{
    (void)state;
    hs_engine *wide = tale_create((hs_engine_options){
        .context = CONTEXT, .threads = 3, .prefetch = true, .cache_kind = HS_CACHE_PERCENT, .cache_percent = 12});
    hs_session *s = NULL;
    hs_err err = {0};
    const tale_prompt *p = &prompts[1];
    assert_int_equal(hs_session_create(wide, &s, &err), 0);
    assert_int_equal(hs_session_prefill(s, p->ids, p->n, logits, 1, NULL, NULL, &err), 0);
    for (uint32_t i = 0; i < 32; i++) {
        uint64_t issued = hs_engine_get_stats(wide).prefetch_issued;
        bool ahead = i / 8 % 2;
        assert_int_equal(best(logits), p->greedy[i]);
        hs_engine_set_prefetch(wide, ahead);
        assert_int_equal(hs_engine_set_threads(wide, 1 + i % 3, &err), 0);
        assert_int_equal(hs_session_decode(&s, &p->greedy[i], 1, logits, &err), 0);
        if (!ahead)
            assert_int_equal(hs_engine_get_stats(wide).prefetch_issued, issued);
    }
    assert_true(hs_engine_get_stats(wide).prefetch_issued > 0);
    assert_int_equal(hs_engine_set_threads(wide, 4, &err), -EINVAL);
    assert_int_equal(hs_engine_set_threads(wide, 0, &err), -EINVAL);
    hs_session_destroy(&s);
    hs_engine_destroy(&wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_side_by_side), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_logits),       cmocka_unit_test(test_ways),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
