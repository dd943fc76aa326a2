/* labels: unit fault */
/* test_model.c - the edges of a pass: limits, failing reads, cancellation, memory, rewinding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fixture.h"

static fixture f;

static int open_all(void **state)
{
    (void)state;
    hs_err err = {0};
    fixture_open(&f, TESTS_DIR "/data/goldens/deepseek_v3");
    return fixture_spec(&f, &err);
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static const uint32_t prompt[20] = {3,  141, 59, 26,  5,  358, 97,  93, 238, 46,
                                    26, 433, 83, 279, 50, 288, 419, 7,  169, 399};

static void test_limits(void **state)
{
    (void)state;
    run r;
    hs_err err = {0};
    float *logits = calloc(f.spec->vocab, sizeof *logits);
    run_create(&r, &f, (run_options){.context = 20});
    hs_kv *kv = &r.kv[0];
    const uint32_t bad = 512;
    assert_int_equal(hs_model_prefill(r.model, kv, &bad, 1, NULL, 0, NULL, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "512"));
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 20, NULL, 0, NULL, NULL, &err), 0);
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 1, NULL, 0, NULL, NULL, &err), -E2BIG);
    assert_int_equal(hs_model_decode(r.model, &kv, prompt, 1, logits, &err), -E2BIG);
    kv->length = 19;
    assert_int_equal(hs_model_decode(r.model, &kv, &bad, 1, logits, &err), -EINVAL);
    hs_kv *two[2] = {kv, kv};
    assert_int_equal(hs_model_decode(r.model, two, prompt, 2, logits, &err), -EINVAL);
    assert_int_equal(hs_model_decode(r.model, &kv, prompt, 0, logits, &err), -EINVAL);
    assert_int_equal(kv->length, 19);
    assert_int_equal(hs_model_decode(r.model, &kv, prompt, 1, logits, &err), 0);
    assert_int_equal(kv->length, 20);
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 0, NULL, 0, NULL, NULL, &err), 0);
    run_destroy(&r);
    free(logits);
}

/* Every wait fails once; the cache's length stays, nothing is held, and the same pass then succeeds with the same bits.
 */
static void test_every_failing_read(void **state)
{
    (void)state;
    run r;
    hs_err err = {0};
    uint32_t vocab = f.spec->vocab;
    float *want = calloc(vocab, sizeof *want), *got = calloc(vocab, sizeof *got);
    run_create(&r, &f, (run_options){.threads = 2, .order = 2, .resident_mod = 2, .chunk = 8, .predict = true});
    hs_kv *kv = &r.kv[0];
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 20, want, 1, NULL, NULL, &err), 0);
    uint32_t n_waits = r.experts.n_waits;
    for (uint32_t at = 1; at <= n_waits; at += 5) {
        kv->length = 0;
        r.experts.n_waits = 0;
        r.experts.fail_at = at;
        assert_int_equal(hs_model_prefill(r.model, kv, prompt, 20, got, 1, NULL, NULL, &err), -EIO);
        assert_int_equal(kv->length, 0);
        assert_int_equal(r.experts.n_held, 0);
    }
    r.experts.fail_at = 0;
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 20, got, 1, NULL, NULL, &err), 0);
    assert_memory_equal(want, got, vocab * sizeof *want);
    r.experts.n_waits = 0;
    assert_int_equal(hs_model_decode(r.model, &kv, prompt, 1, want, &err), 0);
    n_waits = r.experts.n_waits;
    for (uint32_t at = 1; at <= n_waits; at++) {
        kv->length = 20;
        r.experts.n_waits = 0;
        r.experts.fail_at = at;
        assert_int_equal(hs_model_decode(r.model, &kv, prompt, 1, got, &err), -EIO);
        assert_int_equal(kv->length, 20);
        assert_int_equal(r.experts.n_held, 0);
    }
    r.experts.fail_at = 0;
    assert_int_equal(hs_model_decode(r.model, &kv, prompt, 1, got, &err), 0);
    assert_memory_equal(want, got, vocab * sizeof *want);
    assert_true(r.experts.n_hints > 0);
    run_destroy(&r);
    free(want);
    free(got);
}

typedef struct cancel {
    uint32_t calls, stop_at;
    uint64_t last, total;
} cancel;

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    cancel *c = ctx;
    assert_true(done <= total && (c->calls == 0 || done > c->last));
    c->last = done;
    c->total = total;
    return ++c->calls == c->stop_at;
}

static void test_cancel(void **state)
{
    (void)state;
    run r;
    hs_err err = {0};
    run_create(&r, &f, (run_options){.chunk = 8});
    cancel c = {0};
    assert_int_equal(hs_model_prefill(r.model, &r.kv[0], prompt, 5, NULL, 0, on_progress, &c, &err), 0);
    assert_int_equal(c.total, 5 * 4);
    c = (cancel){.stop_at = 7};
    assert_int_equal(hs_model_prefill(r.model, &r.kv[0], prompt, 15, NULL, 0, on_progress, &c, &err), -ECANCELED);
    assert_int_equal(c.calls, 7);
    assert_int_equal(r.kv[0].length, 5);
    run_destroy(&r);
}

/* Rewinding to an earlier length gives what was there before. */
static void test_rewind(void **state)
{
    (void)state;
    run r;
    hs_err err = {0};
    uint32_t vocab = f.spec->vocab;
    float *want = calloc(vocab, sizeof *want), *got = calloc(vocab, sizeof *got);
    run_create(&r, &f, (run_options){0});
    hs_kv *kv = &r.kv[0];
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 10, NULL, 0, NULL, NULL, &err), 0);
    assert_int_equal(hs_model_decode(r.model, &kv, prompt + 10, 1, want, &err), 0);
    assert_int_equal(hs_model_decode(r.model, &kv, prompt + 12, 1, got, &err), 0);
    kv->length = 10;
    assert_int_equal(hs_model_decode(r.model, &kv, prompt + 10, 1, got, &err), 0);
    assert_memory_equal(want, got, vocab * sizeof *want);
    run_destroy(&r);
    free(want);
    free(got);
}

static void count_routes(void *ctx, const hs_route *r)
{
    uint32_t *n = ctx;
    assert_int_equal(r->top_k, 6);
    assert_true(r->layer >= 1 && r->layer < 4);
    for (uint32_t k = 0; k < r->top_k; k++)
        assert_int_equal(r->resident[k], r->experts[k] % 3 == 0);
    (*n)++;
}

/* The last n_logits rows only, the same bits as when all are asked for; the observer sees each token and layer once. */
static void test_last_logits_and_observer(void **state)
{
    (void)state;
    run r;
    hs_err err = {0};
    uint32_t vocab = f.spec->vocab, n_routes = 0;
    float *all = calloc(20 * (size_t)vocab, sizeof *all), *last = calloc(9 * (size_t)vocab, sizeof *last);
    run_create(&r, &f, (run_options){.chunk = 6, .resident_mod = 3});
    hs_model_on_route(r.model, count_routes, &n_routes);
    assert_int_equal(hs_model_prefill(r.model, &r.kv[0], prompt, 20, all, 20, NULL, NULL, &err), 0);
    assert_int_equal(n_routes, 20 * 3);
    r.kv[0].length = 0;
    assert_int_equal(hs_model_prefill(r.model, &r.kv[0], prompt, 20, last, 9, NULL, NULL, &err), 0);
    assert_memory_equal(all + 11 * (size_t)vocab, last, 9 * (size_t)vocab * sizeof *last);
    assert_int_equal(r.experts.n_steps, 2 * 4);
    run_destroy(&r);
    free(all);
    free(last);
}

/* Nothing is allocated by a pass, and create allocates no more than scratch_bytes says, which grows with its config. */
static void test_memory(void **state)
{
    (void)state;
    run r;
    hs_err err = {0};
    float *logits = calloc(f.spec->vocab, sizeof *logits);
    run_create(&r, &f, (run_options){.threads = 2, .batch = 2});
    hs_kv *kv = &r.kv[0];
    hs_mem_fail_after(0);
    assert_int_equal(hs_model_prefill(r.model, kv, prompt, 20, logits, 1, NULL, NULL, &err), 0);
    assert_int_equal(hs_model_decode(r.model, &kv, prompt, 1, logits, &err), 0);
    assert_int_equal(hs_mem_count(), 0);
    hs_mem_fail_after(-1);
    hs_model_config small = {.max_batch = 1, .prefill_chunk = 1, .max_context = 64};
    hs_model_config big = {.max_batch = 4, .prefill_chunk = 64, .max_context = 64};
    assert_true(hs_model_scratch_bytes(f.spec, &small, 2) < hs_model_scratch_bytes(f.spec, &big, 2));
    assert_true(hs_model_scratch_bytes(f.spec, &big, 2) < hs_model_scratch_bytes(f.spec, &big, 3));
    run_destroy(&r);
    free(logits);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_pool *pool;
    memory_experts x;
    assert_int_equal(hs_pool_create(1, &pool, &err), 0);
    hs_model_config cfg = {.max_batch = 1,
                           .prefill_chunk = 16,
                           .max_context = 64,
                           .pool = pool,
                           .kernels = hs_kernels_get(HS_KERNELS_GENERIC, &err)};
    int r = -1;
    for (int64_t n = 0; r < 0; n++) {
        hs_model *m = NULL;
        hs_mem_fail_after(n);
        r = hs_model_create(f.spec, &cfg, f.dense, memory_experts_init(&x, &f), &m, &err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || (r == -ENOMEM && !m));
        assert_true(n < 100);
        hs_model_destroy(&m);
    }
    cfg.max_batch = 0;
    hs_model *m = NULL;
    assert_int_equal(hs_model_create(f.spec, &cfg, f.dense, memory_experts_init(&x, &f), &m, &err), -EINVAL);
    hs_model_destroy(&m);
    hs_pool_destroy(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_failing_read),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_last_logits_and_observer),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
