/* labels: unit golden */
/* test_golden.c - logits, routing and greedy tokens against the reference's, see tests/data/goldens/README.md. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define TOLERANCE 2e-4f

static const char *const archs[] = {
    "deepseek_v3",       "deepseek_v3_fp8", "kimi_k2",  "glm4_moe_lite", "deepseek_v2_lite",
    "deepseek_v2_group", "qwen3_moe",       "mixtral",  "qwen2_moe",     "olmoe",
    "granitemoe",        "gpt_oss_mxfp4",   "glm4_moe", "minimax_m2",    "ernie4_5_moe"};
#define N_ARCHS (sizeof archs / sizeof *archs)

static uint32_t decode64(const char *text, uint8_t *out)
{
    uint32_t bits = 0, n_bits = 0, n = 0;
    for (; *text && *text != '='; text++) {
        const char *set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bits = bits << 6 | (uint32_t)(strchr(set, *text) - set);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return n;
}

static uint32_t ids_of(const json_t *list, uint32_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return (uint32_t)json_array_size(list);
}

static uint32_t argmax(const float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static float worst(const float *a, const float *b, uint32_t n)
{
    float w = 0;
    for (uint32_t i = 0; i < n; i++)
        w = fmaxf(w, fabsf(a[i] - b[i]));
    return w;
}

/* Compares each observed route with the golden's: routing[layer] {experts[position], weights[position]}, ids ascending.
 */
typedef struct route_check {
    const json_t *layers;
    bool only_last;
    uint32_t n_tokens, n_seen;
    const uint32_t *moe_layer;
} route_check;

static void check_route(void *ctx, const hs_route *r)
{
    route_check *c = ctx;
    const json_t *layer = NULL, *l;
    size_t i;
    json_array_foreach(c->layers, i, l)
    {
        if (json_integer_value(json_object_get(l, "layer")) == r->layer)
            layer = l;
    }
    assert_non_null(layer);
    if (c->only_last && r->position != c->n_tokens - 1)
        return;
    const json_t *ids = json_object_get(layer, "experts"), *weights = json_object_get(layer, "weights");
    if (!c->only_last) {
        ids = json_array_get(ids, r->position);
        weights = json_array_get(weights, r->position);
    }
    assert_int_equal(json_array_size(ids), r->top_k);
    float sum = 0;
    for (uint32_t k = 0; k < r->top_k; k++) {
        uint32_t at = 0;
        sum += r->normalised[k];
        assert_true(k == 0 || r->weights[k] <= r->weights[k - 1]);
        while (at < r->top_k && json_integer_value(json_array_get(ids, at)) != r->experts[k])
            at++;
        if (at == r->top_k)
            fail_msg("layer %u position %u: expert %u is not the reference's", r->layer, r->position, r->experts[k]);
        double w = json_number_value(json_array_get(weights, at));
        if (fabs(w - r->weights[k]) > 1e-5 + 1e-5 * fabs(w))
            fail_msg("layer %u position %u: weight %.9g, reference %.9g", r->layer, r->position, r->weights[k], w);
    }
    assert_true(fabsf(sum - 1) < 1e-5f);
    c->n_seen++;
}

static void check_top5(const json_t *top5, const float *logits, uint32_t n, uint32_t vocab)
{
    for (uint32_t t = 0; t < n; t++) {
        const json_t *at = json_array_get(top5, t);
        for (size_t i = 0; i < json_array_size(at); i++) {
            uint32_t id = (uint32_t)json_integer_value(json_array_get(json_array_get(at, i), 0));
            double v = json_number_value(json_array_get(json_array_get(at, i), 1));
            assert_true(fabs(logits[(size_t)t * vocab + id] - v) <= TOLERANCE);
        }
        assert_int_equal(json_integer_value(json_array_get(json_array_get(at, 0), 0)),
                         argmax(logits + (size_t)t * vocab, vocab));
    }
}

static void check_prompt(const fixture *f, run *r, const json_t *p)
{
    uint32_t vocab = f->spec->vocab, ids[256], greedy[64], n = ids_of(json_object_get(p, "ids"), ids);
    uint32_t n_greedy = ids_of(json_object_get(p, "greedy"), greedy);
    float *logits = calloc((size_t)n * vocab, sizeof *logits), *want = calloc(vocab + 1, sizeof *want);
    assert_true(logits && want);
    route_check routes = {.n_tokens = n, .layers = json_object_get(p, "routing")};
    if (!routes.layers) {
        routes.layers = json_object_get(p, "experts_last_position");
        routes.only_last = true;
    }
    hs_model_on_route(r->model, routes.layers ? check_route : NULL, &routes);
    hs_err err = {0};
    r->kv[0].length = 0;
    if (hs_model_prefill(r->model, &r->kv[0], ids, n, logits, n, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    hs_model_on_route(r->model, NULL, NULL);
    if (routes.layers)
        assert_int_equal(routes.n_seen, json_array_size(routes.layers) * (routes.only_last ? 1 : n));
    const char *text = json_string_value(json_object_get(p, "last_logits_b64"));
    assert_int_equal(decode64(text, (uint8_t *)want), vocab * sizeof(float));
    const float *last = logits + (size_t)(n - 1) * vocab;
    float d = worst(last, want, vocab);
    print_message("%s, %u tokens: logits within %.2g\n", f->path, n, d);
    assert_true(d <= TOLERANCE);
    if (json_object_get(p, "top5"))
        check_top5(json_object_get(p, "top5"), logits, n, vocab);
    memmove(logits, last, vocab * sizeof *logits);
    for (uint32_t i = 0; i < n_greedy; i++) {
        uint32_t token = argmax(logits, vocab);
        assert_int_equal(token, greedy[i]);
        hs_kv *kv = &r->kv[0];
        assert_int_equal(hs_model_decode(r->model, &kv, &token, 1, logits, &err), 0);
    }
    free(logits);
    free(want);
}

static void test_arch(void **state)
{
    const char *arch = *state;
    char dir[600];
    snprintf(dir, sizeof dir, "%s/data/goldens/%s", TESTS_DIR, arch);
    fixture f;
    hs_err err = {0};
    fixture_open(&f, dir);
    if (fixture_spec(&f, &err) < 0)
        fail_msg("%s", err.text);
    for (int set = HS_KERNELS_AUTO; set <= HS_KERNELS_GENERIC; set++) {
        run r;
        run_create(&r, &f, (run_options){.threads = 2, .kernels = (hs_kernel_set)set, .predict = true});
        const json_t *p;
        size_t i;
        json_array_foreach(json_object_get(f.goldens, "prompts"), i, p) check_prompt(&f, &r, p);
        hs_predict_stats s = hs_model_predict_stats(r.model);
        assert_true((s.actual > 0 || f.spec->n_moe_layers < 2) && s.correct <= s.actual && s.correct <= s.guessed);
        run_destroy(&r);
    }
    fixture_close(&f);
}

int main(void)
{
    struct CMUnitTest tests[N_ARCHS];
    for (size_t i = 0; i < N_ARCHS; i++)
        tests[i] =
            (struct CMUnitTest){.name = archs[i], .test_func = test_arch, .initial_state = (void *)(uintptr_t)archs[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
