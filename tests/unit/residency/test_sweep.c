/* labels: unit */
/* A prompt's chunk: how often experts are read, in which order they are delivered, what stays for decoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

/* A chunk in which a layer asks for some of its experts, and what the layer before guessed of them, wrong ones too. */
typedef struct chunk {
    uint32_t rng, n_tokens, asked_of_64, right_of_64, wrong_of_64;
    bool asked[LAYERS * EXPERTS];
} chunk;

static bool happens(chunk *c, uint32_t of_64)
{
    return fake_random(&c->rng, 64) < of_64;
}

static void choose(chunk *c)
{
    for (uint32_t l = 0; l < LAYERS; l++) {
        for (uint32_t e = 0; e < EXPERTS; e++)
            c->asked[l * EXPERTS + e] = happens(c, c->asked_of_64);
        c->asked[l * EXPERTS + fake_random(&c->rng, EXPERTS)] = true;
    }
}

static void hint_layer(fixture *f, chunk *c, uint32_t layer)
{
    hs_expert_guess g[EXPERTS];
    uint32_t n = 0;
    for (uint32_t e = 0; layer < LAYERS && e < EXPERTS; e++)
        if (happens(c, c->asked[layer * EXPERTS + e] ? c->right_of_64 : c->wrong_of_64))
            g[n++] = (hs_expert_guess){.expert = e, .margin = 1};
    if (layer < LAYERS)
        f->x.ops->hint(f->x.self, layer, g, n);
    fixture_check(f);
}

static void run_chunk_layer(fixture *f, chunk *c, uint32_t layer, bool *hit)
{
    hs_expert_want wants[EXPERTS];
    uint8_t resident[EXPERTS];
    uint32_t n = 0;
    hs_err err = {0};
    for (uint32_t e = 0; e < EXPERTS; e++)
        if (c->asked[layer * EXPERTS + e])
            wants[n++] = (hs_expert_want){e, 1 + fake_random(&c->rng, c->n_tokens), fake_random(&c->rng, 5)};
    if (f->x.ops->begin(f->x.self, layer, wants, n, resident, &err) < 0)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n; i++)
        hit[layer * EXPERTS + wants[i].expert] = resident[i];
    hint_layer(f, c, layer + 1);
    finish(f, n);
}

typedef struct counts {
    uint64_t asked, in_memory, read, lost; /* experts that were asked for; lost: given up in the chunk and read again */
    uint64_t for_nothing;                  /* read though nobody asked for them */
} counts;

/* Of one chunk: an expert that is asked for is read once, whoever began to, or was in memory before; one that is not is
 * read only if it was guessed, once. */
static void check_reads(const chunk *c, const bool *held, const bool *hit, counts *n)
{
    uint8_t reads[LAYERS * EXPERTS] = {0};
    for (uint32_t i = 0, all = fake_now().reads; i < all; i++)
        reads[fake_read(i, NULL)]++;
    for (uint32_t o = 0; o < LAYERS * EXPERTS; o++) {
        if (reads[o] > 1)
            fail_msg("expert %u of layer %u is read %u times", o % EXPERTS, o / EXPERTS, reads[o]);
        if (c->asked[o] && !reads[o] && !(held[o] && hit[o]))
            fail_msg("expert %u of layer %u came from nowhere", o % EXPERTS, o / EXPERTS);
        n->asked += c->asked[o];
        n->in_memory += c->asked[o] && !reads[o];
        n->read += c->asked[o] && reads[o];
        n->lost += c->asked[o] && held[o] && reads[o];
        n->for_nothing += reads[o] && !c->asked[o];
    }
}

static void every_expert_is_read_once_per_chunk(void **state)
{
    (void)state;
    static const char *const policies[] = {"ewma", "lru", "lfu"};
    static const uint32_t slots[] = {4, 7, 24, 63};
    counts n = {0};
    uint64_t wasted = 0, ahead = 0;
    for (uint32_t run = 0; run < 4 * 3 * 4; run++) {
        fixture f;
        chunk c = {.rng = run + 1,
                   .n_tokens = 64,
                   .asked_of_64 = run % 2 ? 64 : 40,
                   .right_of_64 = 50,
                   .wrong_of_64 = run % 3 ? 0 : 20};
        fixture_open(&f, (int)(run % 4), policies[run / 4 % 3], slots[run / 12], run % 5 ? 3 * FAKE_PADDED : 0);
        fake_start();
        for (uint32_t k = 0; k < 6; k++) {
            bool held[LAYERS * EXPERTS], hit[LAYERS * EXPERTS] = {0};
            choose(&c);
            step(&f, HS_PHASE_PREFILL, c.n_tokens);
            fake_forget();
            hs_residency_stats before = hs_residency_get_stats(f.r);
            for (uint32_t o = 0; o < LAYERS * EXPERTS; o++)
                held[o] = is_resident(&f, o / EXPERTS, o % EXPERTS);
            for (uint32_t l = 0; l < LAYERS; l++)
                run_chunk_layer(&f, &c, l, hit);
            hs_residency_stats s = hs_residency_get_stats(f.r);
            check_reads(&c, held, hit, &n);
            wasted += s.prefetch_wasted - before.prefetch_wasted;
            ahead += s.prefetch_useful + s.prefetch_late - before.prefetch_useful - before.prefetch_late;
        }
        fixture_close(&f);
    }
    print_message(
        "of %lu experts %lu were in memory and %lu were read, once each, %lu of them ahead; %lu were read for "
        "nothing, %lu were in memory when the chunk began and were read again\n",
        (unsigned long)n.asked, (unsigned long)n.in_memory, (unsigned long)n.read, (unsigned long)ahead,
        (unsigned long)n.for_nothing, (unsigned long)n.lost);
    assert_true(n.in_memory > 1000 && n.read > 5000 && ahead > 500);
    assert_true(n.for_nothing <= wasted);
}

/* Brings experts 0..3 of all layers in, to stay. */
static void warm(fixture *f)
{
    for (int token = 0; token < 20; token++) {
        step(f, HS_PHASE_DECODE, 1);
        for (uint32_t l = 0; l < LAYERS; l++)
            run_layer(f, l, 0, 4);
    }
}

static void what_is_read_goes_before_what_is_there(void **state)
{
    (void)state;
    fixture f;
    uint32_t index;
    hs_err err;
    fixture_open(&f, FAKE_PLAIN, "ewma", 24, 0);
    warm(&f);
    step(&f, HS_PHASE_PREFILL, 64);
    assert_int_equal(begin(&f, 1, 0, 8), 4);
    assert_int_equal(wait_for(&f, 1, &index, &err), 1); /* nothing has been read yet: no standing still */
    assert_in_range(index, 0, 3);
    f.x.ops->release(f.x.self, index);
    fake_pump(2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(wait_for(&f, 1, &index, &err), 1);
        assert_in_range(index, 4, 7);
        f.x.ops->release(f.x.self, index);
    }
    fake_pump(1000);
    finish(&f, 5);
    fixture_close(&f);
}

/* Slots of what has been computed serve the next layer's guesses while the rest of this one is computed. */
static void the_next_layer_is_read_while_this_one_ends(void **state)
{
    (void)state;
    fixture f;
    uint32_t index;
    hs_err err;
    fixture_open(&f, FAKE_PLAIN, "ewma", 24, 8 * FAKE_PADDED);
    warm(&f);
    step(&f, HS_PHASE_PREFILL, 64);
    for (uint32_t l = 0; l < 2; l++) { /* fills the window */
        begin(&f, l, 0, EXPERTS);
        fake_start();
        finish(&f, EXPERTS);
        fake_stop();
    }
    begin(&f, 2, 4, 6);
    fake_pump(1000);
    hint(&f, 3, 4, 8);
    uint64_t before = hs_residency_get_stats(f.r).prefetch_issued;
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(wait_for(&f, 1, &index, &err), 1);
        f.x.ops->release(f.x.self, index);
        fake_pump(1000);
    }
    assert_true(hs_residency_get_stats(f.r).prefetch_issued >= before + 4);
    finish(&f, 1);
    fixture_close(&f);
}

/* Of experts that a chunk uses equally often, those of its last tokens are in memory when decoding begins. */
static void the_last_tokens_experts_stay(void **state)
{
    (void)state;
    for (uint32_t first = 0; first < EXPERTS; first += 4) {
        fixture f;
        fixture_open(&f, FAKE_PLAIN, "ewma", 24, 0);
        fake_start();
        step(&f, HS_PHASE_PREFILL, 64);
        for (uint32_t l = 0; l < LAYERS; l++) {
            hs_expert_want wants[EXPERTS];
            hs_err err;
            for (uint32_t i = 0; i < EXPERTS; i++)
                wants[i] = (hs_expert_want){i, 16, i >= first && i < first + 4 ? 4 : 0};
            assert_int_equal(f.x.ops->begin(f.x.self, l, wants, EXPERTS, NULL, &err), 0);
            finish(&f, EXPERTS);
        }
        for (uint32_t l = 0; l < LAYERS; l++)
            for (uint32_t i = first; i < first + 4; i++)
                assert_true(is_resident(&f, l, i));
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expert_is_read_once_per_chunk),
        cmocka_unit_test(what_is_read_goes_before_what_is_there),
        cmocka_unit_test(the_next_layer_is_read_while_this_one_ends),
        cmocka_unit_test(the_last_tokens_experts_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
