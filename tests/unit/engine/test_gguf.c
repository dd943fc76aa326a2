/* labels: unit golden */
/*
 * test_gguf.c - GGUF files as they are, against what the reference computes from their (dequantised) weights: logits
 * and greedy tokens with float activations; with 8-bit ones, how far the distributions move
 * (tests/data/gguf/README.md).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/json.h"
#include "hotset/hotset.h"

#define DATA       TESTS_DIR "/data/gguf"
#define TOLERANCE  2e-4f
#define MAX_TOKENS 128
#define VOCAB      512

static json_t *results;

static int load(void **state)
{
    (void)state;
    hs_err err;
    if (hs_json_load_file(DATA "/results.json", 8u << 20, &results, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(results);
    return 0;
}

static void decode64(const char *text, float out[VOCAB])
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[VOCAB * 4];
    uint32_t bits = 0, n_bits = 0, n = 0;
    for (; *text && *text != '='; text++) {
        bits = bits << 6 | (uint32_t)(strchr(set, *text) - set);
        n_bits += 6;
        if (n_bits >= 8 && n < sizeof bytes) {
            n_bits -= 8;
            bytes[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    assert_int_equal(n, sizeof bytes);
    memcpy(out, bytes, sizeof bytes);
}

static hs_engine *open_file(const char *name, const char *activations, const char *kernels)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s.gguf", DATA, name);
    hs_engine_options opt = {.path = path,
                             .cache_kind = HS_CACHE_PERCENT,
                             .cache_percent = 50,
                             .context = MAX_TOKENS + 32,
                             .kv_type = "f32",
                             .threads = 2,
                             .activations = activations,
                             .kernels = kernels,
                             .without_text = true};
    hs_engine *e;
    hs_err err;
    if (hs_engine_create(&opt, &e, &err) < 0)
        fail_msg("%s", err.text);
    return e;
}

static uint32_t tokens_of(const json_t *prompt, uint32_t ids[MAX_TOKENS])
{
    const json_t *list = json_object_get(prompt, "ids");
    uint32_t n = (uint32_t)json_array_size(list);
    assert_true(n > 0 && n <= MAX_TOKENS);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static uint32_t best_of(const float *logits)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < VOCAB; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void assert_near(const char *name, uint32_t n, const float *got, const float *want)
{
    float most = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        most = fabsf(got[i] - want[i]) > most ? fabsf(got[i] - want[i]) : most;
    if (!(most <= TOLERANCE))
        fail_msg("%s, %u tokens: a logit is %g away", name, n, (double)most);
}

static void prefill(hs_engine *e, hs_session **s, const uint32_t *ids, uint32_t n, float *logits)
{
    assert_int_equal(hs_session_create(e, s, NULL), 0);
    assert_int_equal(hs_session_prefill(*s, ids, n, logits, 1, NULL, NULL, NULL), 0);
}

/* The prompt as the reference has it, greedy tokens, and what was generated one by one as a prompt: both ways through
 * the model are right. */
static void check_prompt(hs_engine *e, const char *name, const json_t *prompt)
{
    uint32_t ids[MAX_TOKENS + 32], n = tokens_of(prompt, ids);
    float got[VOCAB], want[VOCAB];
    const json_t *greedy = json_object_get(prompt, "greedy");
    hs_session *s;
    prefill(e, &s, ids, n, got);
    decode64(json_string_value(json_object_get(prompt, "last_logits_b64")), want);
    assert_near(name, n, got, want);
    for (size_t i = 0; i < json_array_size(greedy); i++) {
        uint32_t id = best_of(got);
        assert_int_equal(id, json_integer_value(json_array_get(greedy, i)));
        assert_int_equal(hs_session_decode(&s, &id, 1, got, NULL), 0);
        ids[n++] = id;
    }
    hs_session_destroy(&s);
    prefill(e, &s, ids, n, want);
    assert_near(name, n, got, want);
    hs_session_destroy(&s);
}

static void check_file(const char *name, const char *kernels)
{
    hs_engine *e = open_file(name, "f32", kernels);
    size_t i;
    json_t *prompt;
    json_array_foreach(json_object_get(results, name), i, prompt) check_prompt(e, name, prompt);
    assert_true(i > 0);
    hs_engine_destroy(&e);
}

static void test_float_activations(void **state)
{
    (void)state;
    const char *name;
    json_t *prompts;
    json_object_foreach(results, name, prompts)
    {
        check_file(name, "generic");
        check_file(name, "auto");
    }
}

static double log_sum(const float *l)
{
    double sum = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        sum += exp((double)l[i]);
    return log(sum);
}

static double divergence(const float *p, const float *q)
{
    double a = log_sum(p), b = log_sum(q), kl = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        kl += exp((double)p[i] - a) * (((double)p[i] - a) - ((double)q[i] - b));
    return kl;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Logits of all prompt tokens. */
static float *all_logits(const char *name, const char *activations, const char *kernels, const uint32_t *ids,
                         uint32_t n)
{
    hs_engine *e = open_file(name, activations, kernels);
    float *l = calloc((size_t)n * VOCAB, sizeof *l);
    assert_non_null(l);
    hs_session *s;
    assert_int_equal(hs_session_create(e, &s, NULL), 0);
    assert_int_equal(hs_session_prefill(s, ids, n, l, n, NULL, NULL, NULL), 0);
    hs_session_destroy(&s);
    hs_engine_destroy(&e);
    return l;
}

/* The bounds are those of llama.cpp's own rounding of activations: an MLA model amplifies it. */
static void check_q8(const char *name, const json_t *prompt)
{
    uint32_t ids[MAX_TOKENS], n = tokens_of(prompt, ids), same = 0;
    float *exact = all_logits(name, "f32", "auto", ids, n), *q8 = all_logits(name, "auto", "auto", ids, n);
    double kl[MAX_TOKENS];
    for (uint32_t i = 0; i < n; i++) {
        kl[i] = divergence(exact + (size_t)i * VOCAB, q8 + (size_t)i * VOCAB);
        same += best_of(exact + (size_t)i * VOCAB) == best_of(q8 + (size_t)i * VOCAB);
    }
    qsort(kl, n, sizeof *kl, by_value);
    double bound = strstr(name, "deepseek") ? 1e-2 : 2e-3;
    if (!(kl[n / 2] <= bound) || same < n * 85 / 100)
        fail_msg("%s: median KL %g, %u of %u best tokens", name, kl[n / 2], same, n);
    if (!(kl[n / 2] > 0))
        fail_msg("%s: 8-bit activations make no difference: they were not used", name);
    free(exact);
    free(q8);
}

static void test_8_bit_activations(void **state)
{
    (void)state;
    const char *name;
    json_t *prompts;
    json_object_foreach(results, name, prompts) if (!strstr(name, "bf16")) check_q8(name, json_array_get(prompts, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_activations),
        cmocka_unit_test(test_8_bit_activations),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
