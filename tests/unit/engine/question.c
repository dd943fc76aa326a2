/* question.c - see question.h. */
#include "question.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"

typedef struct observed {
    hs_engine *e;
    question *q;
} observed;

static void on_route(void *ctx, const hs_route_event *ev)
{
    const observed *o = ctx;
    const uint32_t *numbers;
    uint32_t n = hs_engine_moe_layers(o->e, &numbers), layer = 0;
    while (layer < n && numbers[layer] != ev->layer)
        layer++;
    for (uint32_t k = 0; k < ev->top_k; k++) {
        uint32_t object = layer * hs_engine_experts_per_layer(o->e) + ev->experts[k];
        assert_true(object < QUESTION_OBJECTS);
        o->q->needs[object] = true;
    }
}

static uint32_t greedy(const hs_engine *e, const float *logits)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < hs_engine_vocab(e); i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static void answer(hs_engine *e, hs_session *s, question *q, float *logits)
{
    hs_session_reset(s);
    assert_int_equal(hs_session_prefill(s, q->ids, q->n, logits, 1, NULL, NULL, NULL), 0);
    for (uint32_t i = 0; i < q->tokens; i++) {
        q->answer[i] = greedy(e, logits);
        if (i + 1 < q->tokens)
            assert_int_equal(hs_session_decode(&s, &q->answer[i], 1, logits, NULL), 0);
    }
    for (uint32_t i = 1; i <= q->tokens; i++) {
        hs_buf text;
        hs_buf_init(&text, sizeof q->text[i] - 1);
        assert_int_equal(hs_tokenizer_decode(hs_engine_tokenizer(e), q->answer, i, true, &text, NULL), 0);
        snprintf(q->text[i], sizeof q->text[i], "%s", text.data);
        hs_buf_deinit(&text);
    }
}

void question_answer(hs_engine *e, question *q, uint32_t n)
{
    hs_session *s = NULL;
    observed o = {.e = e};
    float *logits = malloc(hs_engine_vocab(e) * sizeof *logits);
    assert_non_null(logits);
    hs_engine_on_route(e, on_route, &o);
    assert_int_equal(hs_session_create(e, &s, NULL), 0);
    for (uint32_t i = 0; i < n; i++) {
        o.q = &q[i];
        answer(e, s, &q[i], logits);
    }
    hs_session_destroy(&s);
    hs_engine_on_route(e, NULL, NULL);
    free(logits);
}

hs_request_options question_ask(const question *q, uint32_t tokens)
{
    return (hs_request_options){
        .tokens = q->ids, .n_tokens = q->n, .max_tokens = tokens, .sampling = {.top_p = 1}, .ignore_eos = true};
}
