/* labels: unit golden */
/*
 * test_same_bits.c - the promise that logits are the same bits whatever the chunk size, thread count, batch, order in
 * which experts arrive, and prediction. Each run is compared with one plain run, byte for byte.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "model/model_int.h"
#include "sanitized.h"

static const char *const archs[] = {"data/goldens/deepseek_v3",
                                    "data/goldens/deepseek_v3_fp8",
                                    "data/goldens/kimi_k2",
                                    "data/goldens/glm4_moe_lite",
                                    "data/goldens/deepseek_v2_lite",
                                    "data/goldens/deepseek_v2_group",
                                    "data/goldens/qwen3_moe",
                                    "data/goldens/glm4_moe",
                                    "data/goldens/mixtral",
                                    "data/goldens/gpt_oss_mxfp4",
                                    "models/tale-moe-fp8"};
#define N_ARCHS (sizeof archs / sizeof *archs)

#define N_Q8     3u /* the last ones, also with a cache of 8 bits */
#define N_PROMPT 150u
#define N_DECODE 12u

/* A fixed pseudo-random prompt of sequence s. */
static uint32_t prompt_token(const fixture *f, uint32_t s, uint32_t i)
{
    uint32_t x = (s * 7919u + i) * 2654435761u;
    return (x >> 8) % f->spec->vocab;
}

static uint32_t prompt_length(uint32_t s)
{
    return N_PROMPT - s * 37;
}

/* The prompt logits of sequence s, into rows 0.. of out [prompt_length + N_DECODE][vocab]. */
static void prefill_into(const fixture *f, run *r, uint32_t s, uint32_t kv, float *out)
{
    uint32_t tokens[N_PROMPT], n = prompt_length(s);
    hs_err err = {0};
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = prompt_token(f, s, i);
    r->kv[kv].length = 0;
    if (hs_model_prefill(r->model, &r->kv[kv], tokens, n, out, n, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(r->kv[kv].length, n);
}

/* Decodes the sequences first.. side by side, in places 0.. of r. */
static void decode_into(const fixture *f, run *r, uint32_t first, uint32_t n_seq, float **out)
{
    float *logits = calloc((size_t)n_seq * f->spec->vocab, sizeof *logits);
    assert_non_null(logits);
    for (uint32_t i = 0; i < N_DECODE; i++) {
        uint32_t tokens[4];
        hs_kv *kvs[4];
        hs_err err = {0};
        for (uint32_t s = 0; s < n_seq; s++) {
            tokens[s] = prompt_token(f, first + s, 1000 + i);
            kvs[s] = &r->kv[s];
        }
        if (hs_model_decode(r->model, kvs, tokens, n_seq, logits, &err) < 0)
            fail_msg("%s", err.text);
        for (uint32_t s = 0; s < n_seq; s++)
            memcpy(out[s] + (size_t)(prompt_length(first + s) + i) * f->spec->vocab,
                   logits + (size_t)s * f->spec->vocab, f->spec->vocab * sizeof *logits);
    }
    free(logits);
}

static float *rows_of(const fixture *f)
{
    float *p = calloc((size_t)(N_PROMPT + N_DECODE) * f->spec->vocab, sizeof *p);
    assert_non_null(p);
    return p;
}

static void compare(const fixture *f, const char *what, uint32_t s, const float *want, const float *got)
{
    uint32_t n = prompt_length(s) + N_DECODE;
    for (uint32_t i = 0; i < n; i++)
        if (memcmp(want + (size_t)i * f->spec->vocab, got + (size_t)i * f->spec->vocab, f->spec->vocab * sizeof *want))
            fail_msg("%s, %s: sequence %u differs from position %u on", f->path, what, s, i);
}

/* One sequence under o against the plain run. */
static void check_alone(const fixture *f, const char *what, run_options o, const float *want)
{
    run r;
    float *got = rows_of(f);
    run_create(&r, f, o);
    prefill_into(f, &r, 0, 0, got);
    decode_into(f, &r, 0, 1, &got);
    compare(f, what, 0, want, got);
    run_destroy(&r);
    free(got);
}

static void check_batch(const fixture *f, float *const *want)
{
    run r;
    float *got[3];
    run_create(&r, f,
               (run_options){.threads = 2, .batch = 3, .chunk = 64, .order = 2, .resident_mod = 3, .predict = true});
    for (uint32_t s = 0; s < 3; s++) {
        got[s] = rows_of(f);
        prefill_into(f, &r, s, s, got[s]);
    }
    decode_into(f, &r, 0, 3, got);
    for (uint32_t s = 0; s < 3; s++) {
        compare(f, "beside two others", s, want[s], got[s]);
        free(got[s]);
    }
    run_destroy(&r);
}

/* Under a sanitizer every second one: the others' tensors and blocks have tests of their own. */
static void skip_some(const char *arch)
{
    for (size_t i = 1; SANITIZED && i < N_ARCHS; i += 2)
        if (archs[i] == arch)
            skip();
}

static void test_same_bits(void **state)
{
    skip_some(*state);
    char dir[600];
    snprintf(dir, sizeof dir, "%s/%s", TESTS_DIR, (const char *)*state);
    fixture f;
    hs_err err = {0};
    fixture_open(&f, dir);
    assert_int_equal(fixture_spec(&f, &err), 0);
    float *want[3];
    for (uint32_t s = 0; s < 3; s++) {
        run r;
        want[s] = rows_of(&f);
        run_create(&r, &f, (run_options){.threads = 1});
        prefill_into(&f, &r, s, 0, want[s]);
        decode_into(&f, &r, s, 1, &want[s]);
        run_destroy(&r);
    }
    check_alone(&f, "chunks of 1", (run_options){.chunk = 1}, want[0]);
    check_alone(&f, "chunks of 7", (run_options){.chunk = 7, .order = 1}, want[0]);
    check_alone(&f, "chunks of 64", (run_options){.chunk = 64, .threads = 2}, want[0]);
    check_alone(&f, "chunks of 100, three threads", (run_options){.chunk = 100, .threads = 3, .order = 2}, want[0]);
    check_alone(&f, "two threads", (run_options){.threads = 2, .resident_mod = 2}, want[0]);
    check_alone(&f, "experts backwards, no hits", (run_options){.threads = 2, .order = 1, .resident_mod = 1000},
                want[0]);
    check_alone(&f, "with prediction", (run_options){.threads = 1, .order = 2, .resident_mod = 2, .predict = true},
                want[0]);
    check_batch(&f, want);
    for (uint32_t s = 0; s < 3; s++)
        free(want[s]);
    fixture_close(&f);
}

/* All logits of a prompt of n tokens in chunks. */
static float *long_prompt(const fixture *f, uint32_t chunk, uint32_t n)
{
    run r;
    hs_err err = {0};
    uint32_t *tokens = calloc(n, sizeof *tokens);
    float *out = calloc((size_t)n * f->spec->vocab, sizeof *out);
    assert_true(tokens && out);
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = prompt_token(f, 0, i);
    run_create(&r, f, (run_options){.threads = 2, .chunk = chunk, .context = n, .order = 2, .resident_mod = 3});
    if (hs_model_prefill(r.model, &r.kv[0], tokens, n, out, n, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    run_destroy(&r);
    free(tokens);
    return out;
}

/* A chunk that goes through attention and FFNs in several blocks, the last one not whole. */
static void test_blocks_of_a_chunk(void **state)
{
    (void)state;
    static const char *const some[] = {"data/goldens/deepseek_v3", "data/goldens/deepseek_v2_lite",
                                       "data/goldens/qwen3_moe", "data/goldens/gpt_oss_mxfp4"};
    const uint32_t n = 2 * HS__BLOCK + HS__BLOCK / 2 + 3;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char dir[600];
        snprintf(dir, sizeof dir, "%s/%s", TESTS_DIR, some[i]);
        fixture f;
        hs_err err = {0};
        fixture_open(&f, dir);
        assert_int_equal(fixture_spec(&f, &err), 0);
        float *whole = long_prompt(&f, n, n), *pieces = long_prompt(&f, 300, n);
        for (uint32_t t = 0; t < n; t++)
            if (memcmp(whole + (size_t)t * f.spec->vocab, pieces + (size_t)t * f.spec->vocab,
                       f.spec->vocab * sizeof *whole))
                fail_msg("%s: position %u differs", some[i], t);
        free(whole);
        free(pieces);
        fixture_close(&f);
    }
}

/* A cache of 8 bits rounds, but always in the same way. */
static void test_q8_cache_same_bits(void **state)
{
    (void)state;
    static const char *const two[] = {"data/goldens/deepseek_v3", "data/goldens/gpt_oss_mxfp4"};
    for (size_t i = 0; i < 2; i++) {
        char dir[600];
        snprintf(dir, sizeof dir, "%s/%s", TESTS_DIR, two[i]);
        fixture f;
        hs_err err = {0};
        fixture_open(&f, dir);
        assert_int_equal(fixture_spec(&f, &err), 0);
        float *want = rows_of(&f);
        run r;
        run_create(&r, &f, (run_options){.threads = 1, .kv = HS_KV_Q8});
        prefill_into(&f, &r, 0, 0, want);
        decode_into(&f, &r, 0, 1, &want);
        run_destroy(&r);
        check_alone(&f, "q8, chunks of 7, three threads",
                    (run_options){.chunk = 7, .threads = 3, .order = 2, .kv = HS_KV_Q8}, want);
        free(want);
        fixture_close(&f);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A cache of `type` rounds keys and values: the next-token distributions are close (KL) at nearly all positions; where
 * a rounding tips a random router's choice they are not. */
static void check_rounded_cache(void **state, hs_kv_type type, double close, double at_least)
{
    char dir[600];
    snprintf(dir, sizeof dir, "%s/%s", TESTS_DIR, (const char *)*state);
    fixture f;
    hs_err err = {0};
    fixture_open(&f, dir);
    assert_int_equal(fixture_spec(&f, &err), 0);
    float *rows[2];
    for (int t = 0; t < 2; t++) {
        run r;
        run_create(&r, &f, (run_options){.threads = 2, .kv = t ? type : HS_KV_F32});
        rows[t] = rows_of(&f);
        prefill_into(&f, &r, 0, 0, rows[t]);
        decode_into(&f, &r, 0, 1, &rows[t]);
        run_destroy(&r);
    }
    const hs_kernels *k = hs_kernels_get(HS_KERNELS_AUTO, &err);
    uint32_t vocab = f.spec->vocab;
    uint32_t n_close = 0;
    double all[N_PROMPT + N_DECODE];
    for (uint32_t i = 0; i < N_PROMPT + N_DECODE; i++) {
        float *a = rows[0] + (size_t)i * vocab, *b = rows[1] + (size_t)i * vocab;
        double kl = 0;
        k->softmax(a, vocab);
        k->softmax(b, vocab);
        for (uint32_t v = 0; v < vocab; v++)
            kl += a[v] > 0 ? a[v] * log((double)a[v] / b[v]) : 0;
        n_close += kl < close;
        all[i] = kl;
    }
    qsort(all, N_PROMPT + N_DECODE, sizeof *all, ascending);
    print_message("%s: median KL %.2g, %u of %u within %g\n", dir, all[(N_PROMPT + N_DECODE) / 2], n_close,
                  N_PROMPT + N_DECODE, close);
    assert_true(n_close >= at_least * (N_PROMPT + N_DECODE));
    free(rows[0]);
    free(rows[1]);
    fixture_close(&f);
}

static void test_f16_cache(void **state)
{
    skip_some(*state);
    check_rounded_cache(state, HS_KV_F16, 1e-4, 0.9);
}

static void test_q8_cache(void **state)
{
    check_rounded_cache(state, HS_KV_Q8, 3e-2, 0.6);
}

int main(void)
{
    struct CMUnitTest tests[2 * N_ARCHS + N_Q8 + 2];
    for (size_t i = 0; i < N_ARCHS; i++) {
        void *arch = (void *)(uintptr_t)archs[i];
        tests[2 * i] = (struct CMUnitTest){archs[i], test_same_bits, NULL, NULL, arch};
        tests[2 * i + 1] = (struct CMUnitTest){archs[i], test_f16_cache, NULL, NULL, arch};
        if (i >= N_ARCHS - N_Q8)
            tests[N_ARCHS + N_Q8 + i] = (struct CMUnitTest){archs[i], test_q8_cache, NULL, NULL, arch};
    }
    tests[2 * N_ARCHS + N_Q8] = (struct CMUnitTest){"q8 cache, same bits", test_q8_cache_same_bits, NULL, NULL, NULL};
    tests[2 * N_ARCHS + N_Q8 + 1] = (struct CMUnitTest){"blocks of a chunk", test_blocks_of_a_chunk, NULL, NULL, NULL};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
