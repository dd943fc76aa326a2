/* labels: unit */
/* test_predict.c - guesses of the next layer's experts: how many, how sure, and never an influence on results. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define MAX_HINTS 64

typedef struct recorder {
    memory_experts inner;
    const hs_experts_ops *ops;
    uint32_t n, layer[MAX_HINTS], count[MAX_HINTS];
    hs_expert_guess guess[MAX_HINTS][64];
    uint32_t waits_before[MAX_HINTS]; /* experts delivered in the layer when the hint came */
    bool whole[MAX_HINTS];            /* what was said when it was asked for */
    bool asks_whole, refuses;
} recorder;

static recorder rec;

static void r_hint(void *self, uint32_t moe_layer, const hs_expert_guess *guesses, uint32_t n)
{
    assert_true(self == &rec.inner && rec.n < MAX_HINTS && n <= 64);
    rec.layer[rec.n] = moe_layer;
    rec.count[rec.n] = n;
    rec.waits_before[rec.n] = rec.inner.next;
    rec.whole[rec.n] = rec.asks_whole;
    memcpy(rec.guess[rec.n++], guesses, n * sizeof *guesses);
    rec.ops->hint(self, moe_layer, guesses, n);
}

static bool r_asks(void *self, uint32_t moe_layer, bool whole)
{
    assert_true(self == &rec.inner && moe_layer < MAX_HINTS);
    rec.asks_whole = whole;
    return !rec.refuses;
}

/* Each prompt of so many tokens has sent one hint for each layer with experts that has a layer below: votes, most
 * first, top_k of each token. */
static void check_prompt_hints(const fixture *f, uint32_t n_prompts)
{
    uint32_t per_prompt = rec.n / n_prompts, top_k = f->spec->top_k;
    assert_int_equal(rec.n, n_prompts * per_prompt);
    assert_true(per_prompt >= f->spec->n_moe_layers - 1);
    for (uint32_t i = 0; i < rec.n; i++) {
        float votes = 0, most = (float)(i / per_prompt + 1);
        for (uint32_t k = 0; k < rec.count[i]; k++) {
            float v = rec.guess[i][k].margin;
            assert_true(v >= 1 && v <= most && (k == 0 || v <= rec.guess[i][k - 1].margin));
            votes += v;
        }
        assert_true(votes == most * (float)top_k);
        assert_true(rec.waits_before[i] == 0 || rec.layer[i] == 0);
    }
}

/* One prompt and one decoded token with the given share of resident experts. */
static void run_once(const fixture *f, uint32_t resident_mod, uint32_t batch)
{
    static hs_experts_ops ops;
    hs_err err = {0};
    memset(&rec, 0, sizeof rec);
    hs_experts x = memory_experts_init(&rec.inner, f);
    rec.inner.resident_mod = resident_mod;
    rec.ops = x.ops;
    ops = *x.ops;
    ops.hint = r_hint;
    ops.asks = r_asks;
    x.ops = &ops;
    hs_pool *pool;
    hs_model *m;
    assert_int_equal(hs_pool_create(1, &pool, &err), 0);
    hs_model_config cfg = {.max_batch = batch,
                           .prefill_chunk = 32,
                           .max_context = 64,
                           .kernels = hs_kernels_get(HS_KERNELS_AUTO, &err),
                           .pool = pool,
                           .predict = true};
    assert_int_equal(hs_model_create(f->spec, &cfg, f->dense, x, &m, &err), 0);
    uint32_t tokens[4] = {5, 77, 310, 42};
    hs_kv kv[4], *kvs[4];
    float *logits = calloc((size_t)batch * f->spec->vocab, sizeof *logits);
    uint64_t bytes = hs_model_kv_bytes(f->spec, HS_KV_F32, 64);
    for (uint32_t i = 0; i < batch; i++) {
        kv[i] = (hs_kv){.data = aligned_alloc(64, bytes), .type = HS_KV_F32, .capacity = 64};
        kvs[i] = &kv[i];
        assert_int_equal(hs_model_prefill(m, kvs[i], tokens, i + 1, NULL, 0, NULL, NULL, &err), 0);
    }
    check_prompt_hints(f, batch);
    rec.n = 0;
    assert_int_equal(hs_model_decode(m, kvs, tokens, batch, logits, &err), 0);
    hs_predict_stats s = hs_model_predict_stats(m);
    uint64_t guessed = 0;
    for (uint32_t i = 0; i < rec.n; i++) /* the last for each layer counts */
        guessed += i + 1 == rec.n || rec.layer[i + 1] != rec.layer[i] ? rec.count[i] : 0;
    assert_int_equal(s.guessed, guessed);
    assert_true(s.correct <= s.actual);
    for (uint32_t i = 0; i < batch; i++)
        free(kv[i].data);
    free(logits);
    hs_model_destroy(&m);
    hs_pool_destroy(&pool);
}

static void open_arch(fixture *f, const char *arch)
{
    char dir[600];
    snprintf(dir, sizeof dir, "%s/data/goldens/%s", TESTS_DIR, arch);
    fixture_open(f, dir);
}

/* Each layer with experts is guessed twice: from a part of the layer below (the first: from the embedding), and when
 * all of it is known, a dense one included; twice top_k, best first. */
static void test_each_layer_twice(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "deepseek_v3");
    assert_int_equal(fixture_spec(&f, &err), 0);
    run_once(&f, 1, 1);
    assert_int_equal(rec.n, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(rec.layer[i], i / 2);
        assert_int_equal(rec.whole[i], i % 2);
        assert_int_equal(rec.count[i], 12);
        for (uint32_t k = 0; k < 12; k++) {
            assert_true(isfinite(rec.guess[i][k].margin));
            assert_true((rec.guess[i][k].margin > 0) == (k < 6));
        }
    }
    fixture_close(&f);
}

/* With misses the first hint goes out when all that is in memory has been computed, and before any miss is waited for;
 * without, before anything is computed. The second comes when the layer is known. */
static void test_hints_come_when_they_tell_something(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "deepseek_v3");
    assert_int_equal(fixture_spec(&f, &err), 0);
    for (uint32_t resident_mod = 1; resident_mod < 4; resident_mod++) {
        run_once(&f, resident_mod, 1);
        for (uint32_t i = 2; i < rec.n; i++) {
            assert_true(rec.whole[i] ? rec.waits_before[i] == 6 : rec.waits_before[i] < 6);
            assert_true(resident_mod > 1 || rec.whole[i] || rec.waits_before[i] == 0);
        }
    }
    run_once(&f, 1000, 1);
    for (uint32_t i = 2; i < rec.n; i++)
        assert_true(rec.whole[i] || rec.waits_before[i] <= 1); /* expert 0 at most is resident */
    fixture_close(&f);
}

/* Kept groups that hold exactly top_k experts leave no runner-up: the guesses are still made, and finite. */
static void test_no_runner_up(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "deepseek_v3");
    json_object_set_new(f.config, "n_group", json_integer(16));
    json_object_set_new(f.config, "topk_group", json_integer(3));
    assert_int_equal(fixture_spec(&f, &err), 0);
    run_once(&f, 1, 1);
    assert_int_equal(rec.n, 6);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(rec.count[i], 6);
    fixture_close(&f);
}

/* Several sequences: the union, each expert once. */
static void test_batch(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "mixtral");
    assert_int_equal(fixture_spec(&f, &err), 0);
    run_once(&f, 2, 4);
    assert_int_equal(rec.n, 7); /* layer 0 has no layer below: from the embeddings alone */
    for (uint32_t i = 0; i < rec.n; i++)
        for (uint32_t k = 0; k < rec.count[i]; k++)
            for (uint32_t j = 0; j < k; j++)
                assert_int_not_equal(rec.guess[i][j].expert, rec.guess[i][k].expert);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_layer_twice),
        cmocka_unit_test(test_hints_come_when_they_tell_something),
        cmocka_unit_test(test_no_runner_up),
        cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
