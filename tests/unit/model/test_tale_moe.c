/* labels: unit golden */
/*
 * test_tale_moe.c - a really trained model: experts, logits and greedy text against the reference's results in
 * tests/data/goldens/tale-moe.json. With arguments FOLDER GOLDENS VARIANT it checks another copy of the weights
 * (for instance the BF16 one, which is too big for the repository).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "fixture.h"

#define TOLERANCE 2e-4

typedef struct where {
    const char *folder, *goldens, *variant;
} where;

static uint32_t argmax(const float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

typedef struct route_check {
    const json_t *golden; /* of the prompt and variant */
    uint32_t n, n_compared;
    uint32_t tainted; /* the first position where a close choice went the other way */
} route_check;

static bool is_close(const route_check *c, uint32_t layer, uint32_t position)
{
    const json_t *e;
    size_t i;
    json_array_foreach(json_object_get(c->golden, "close_choices"), i, e)
    {
        if (json_integer_value(json_array_get(e, 0)) == layer && json_integer_value(json_array_get(e, 1)) == position)
            return true;
    }
    return false;
}

static void check_route(void *ctx, const hs_route *r)
{
    route_check *c = ctx;
    char key[16];
    snprintf(key, sizeof key, "%u", r->layer);
    const json_t *want = json_array_get(json_object_get(json_object_get(c->golden, "experts"), key), r->position);
    if (r->position >= c->tainted)
        return;
    assert_int_equal(json_array_size(want), r->top_k);
    bool same = true;
    for (uint32_t k = 0; k < r->top_k; k++) {
        bool found = false;
        for (uint32_t i = 0; i < r->top_k; i++)
            found |= json_integer_value(json_array_get(want, i)) == r->experts[k];
        same &= found;
    }
    if (!same && is_close(c, r->layer, r->position))
        c->tainted = r->position;
    else if (!same)
        fail_msg("layer %u position %u: other experts than the reference's", r->layer, r->position);
    c->n_compared++;
    if (r->position != c->n - 1 || !same)
        return;
    const json_t *weights = json_object_get(json_object_get(c->golden, "expert_weights_last"), key);
    for (uint32_t k = 0; k < r->top_k; k++)
        assert_true(fabs(json_number_value(json_array_get(weights, k)) - r->weights[k]) < 2e-5);
}

static void check_logits(const route_check *c, const float *logits, uint32_t vocab)
{
    const json_t *at, *pair;
    size_t i, j;
    json_array_foreach(json_object_get(c->golden, "logits"), i, at)
    {
        uint32_t t = (uint32_t)json_integer_value(json_object_get(at, "position"));
        if (t >= c->tainted)
            continue;
        json_array_foreach(json_object_get(at, "top"), j, pair)
        {
            uint32_t id = (uint32_t)json_integer_value(json_array_get(pair, 0));
            double want = json_number_value(json_array_get(pair, 1)), got = logits[(size_t)t * vocab + id];
            if (fabs(want - got) > TOLERANCE)
                fail_msg("position %u token %u: logit %.6f, reference %.6f", t, id, got, want);
        }
    }
}

static void check_prompt(const fixture *f, run *r, const json_t *prompt, const char *variant)
{
    uint32_t ids[512], vocab = f->spec->vocab;
    const json_t *list = json_object_get(prompt, "ids");
    route_check c = {
        .golden = json_object_get(prompt, variant), .n = (uint32_t)json_array_size(list), .tainted = UINT32_MAX};
    assert_true(c.n <= 512 && c.golden);
    for (uint32_t i = 0; i < c.n; i++)
        ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    float *logits = calloc((size_t)c.n * vocab, sizeof *logits);
    assert_non_null(logits);
    hs_err err = {0};
    hs_kv *kv = &r->kv[0];
    kv->length = 0;
    hs_model_on_route(r->model, check_route, &c);
    if (hs_model_prefill(r->model, kv, ids, c.n, logits, c.n, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    hs_model_on_route(r->model, NULL, NULL);
    assert_true(c.n_compared > 0);
    check_logits(&c, logits, vocab);
    memmove(logits, logits + (size_t)(c.n - 1) * vocab, vocab * sizeof *logits);
    const json_t *greedy = json_object_get(c.golden, "greedy_ids");
    for (size_t i = 0; i < json_array_size(greedy) && c.tainted == UINT32_MAX; i++) {
        uint32_t token = argmax(logits, vocab), want = (uint32_t)json_integer_value(json_array_get(greedy, i));
        if (token != want && logits[token] - logits[want] > 1e-3f)
            fail_msg("step %zu: token %u, reference %u", i, token, want);
        assert_int_equal(hs_model_decode(r->model, &kv, &want, 1, logits, &err), 0);
    }
    free(logits);
}

static void test_tale_moe(void **state)
{
    const where *w = *state;
    fixture f;
    hs_err err = {0};
    json_t *goldens;
    fixture_open(&f, w->folder);
    if (fixture_spec(&f, &err) < 0 || hs_json_load_file(w->goldens, 8u << 20, &goldens, &err) < 0)
        fail_msg("%s", err.text);
    run r;
    run_create(&r, &f, (run_options){.threads = 2, .chunk = 128, .predict = true, .resident_mod = 4});
    const json_t *p;
    size_t i;
    json_array_foreach(json_object_get(goldens, "prompts"), i, p) check_prompt(&f, &r, p, w->variant);
    hs_predict_stats s = hs_model_predict_stats(r.model);
    print_message("prediction: %llu guesses, %llu of %llu experts were among them\n", (unsigned long long)s.guessed,
                  (unsigned long long)s.correct, (unsigned long long)s.actual);
    assert_true(s.correct * 2 > s.actual);
    run_destroy(&r);
    json_decref(goldens);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    where w = {TESTS_DIR "/models/tale-moe-fp8", TESTS_DIR "/data/goldens/tale-moe.json", "fp8"};
    if (argc == 4)
        w = (where){argv[1], argv[2], argv[3]};
    const struct CMUnitTest tests[] = {{"tale_moe", test_tale_moe, NULL, NULL, &w}};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
