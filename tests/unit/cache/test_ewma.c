/* labels: unit */
/* The score is the formula, and the victim is the least of it, at every moment, for every set of objects that must
 * stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "canary.h"

#define OBJECTS 40u
#define SLOTS   12u

/* The formula, decayed token by token. */
typedef struct plain {
    double fast[OBJECTS], slow[OBJECTS], uses[OBJECTS], tokens;
} plain;

static void plain_token(plain *p)
{
    p->tokens++;
    for (uint32_t o = 0; o < OBJECTS; o++) {
        p->fast[o] *= exp2(-1 / 6.0);
        p->slow[o] *= exp2(-1 / 128.0);
    }
}

static double plain_score(const plain *p, uint32_t o)
{
    return 0.5 * ((1 - exp2(-1 / 6.0)) * p->fast[o] + (1 - exp2(-1 / 128.0)) * p->slow[o] + p->uses[o] / p->tokens);
}

static bool is_kept(void *ctx, uint32_t object)
{
    return ((const bool *)ctx)[object];
}

static void follow_the_formula(uint32_t seed)
{
    const hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = SLOTS};
    caged c = caged_new(&hs_policy_ewma, &shape);
    plain p = {.tokens = 0};
    bool resident[OBJECTS] = {false}, kept[OBJECTS];
    uint32_t rng = seed, n = 0;
    print_message("seed %u\n", seed);
    for (uint32_t now = 1; now < 600; now++) {
        plain_token(&p);
        for (uint32_t k = 0; k < 5; k++) {
            uint32_t o = (roll(&rng, 1 + roll(&rng, OBJECTS / 5)) + now / 200 * 7) % (OBJECTS / 5) * 5 + k;
            p.fast[o]++, p.slow[o]++, p.uses[o]++;
            c.policy->access(c.state, o, 1, 1, now);
            double is = c.policy->score(c.state, o, now), should = plain_score(&p, o);
            assert_true(fabs(is - should) < 1e-4 * should);
            if (resident[o])
                continue;
            for (uint32_t i = 0; i < OBJECTS; i++)
                kept[i] = roll(&rng, 3) == 0;
            uint32_t victim = c.policy->victim(c.state, now, is_kept, kept), least = HS_POLICY_NONE;
            for (uint32_t i = 0; i < OBJECTS; i++)
                if (resident[i] && !kept[i] && (least == HS_POLICY_NONE || plain_score(&p, i) < plain_score(&p, least)))
                    least = i;
            if (least == HS_POLICY_NONE) {
                assert_int_equal(victim, HS_POLICY_NONE);
            } else {
                assert_true(resident[victim] && !kept[victim]);
                assert_true(plain_score(&p, victim) < plain_score(&p, least) * 1.0001);
            }
            if (n == SLOTS && victim != HS_POLICY_NONE) {
                bool better = plain_score(&p, o) > plain_score(&p, victim) * 1.0001;
                assert_true(!better || c.policy->admit(c.state, o, victim, false, now));
                c.policy->evict(c.state, victim);
                resident[victim] = false;
                n--;
            }
            if (n < SLOTS) {
                c.policy->insert(c.state, o, now);
                resident[o] = true;
                n++;
            }
        }
    }
    caged_free(&c);
}

static void scores_and_victims(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 5; seed++)
        follow_the_formula(seed);
}

/* n uses of a chunk count like n uses spread over its tokens. */
static void chunks(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 4, .n_slots = 2};
    caged a = caged_new(&hs_policy_ewma, &shape), b = caged_new(&hs_policy_ewma, &shape);
    a.policy->access(a.state, 0, 64, 256, 256);
    for (uint64_t now = 1; now <= 256; now++)
        if (now % 4 == 0)
            b.policy->access(b.state, 0, 1, 1, now);
    double in_chunk = a.policy->score(a.state, 0, 256), spread = b.policy->score(b.state, 0, 256);
    assert_true(fabs(in_chunk - spread) < 0.25 * spread);
    /* A use at every token is a frequency of 1 in all three terms. */
    a.policy->access(a.state, 1, 4096, 4096, 4352);
    assert_true(a.policy->score(a.state, 1, 4352) > 1.45 && a.policy->score(a.state, 1, 4352) < 1.501);
    caged_free(&a);
    caged_free(&b);
}

/* A use long ago counts less than one just now; time that wraps does no harm. */
static void recency(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 4, .n_slots = 4};
    caged c = caged_new(&hs_policy_ewma, &shape);
    uint64_t start = UINT32_MAX - 5ull;
    c.policy->access(c.state, 0, 1, 1, start);
    c.policy->access(c.state, 1, 1, 1, start + 10);
    assert_true(c.policy->score(c.state, 0, start + 10) < c.policy->score(c.state, 1, start + 10));
    assert_true(c.policy->admit(c.state, 1, 0, false, start + 10));
    assert_false(c.policy->admit(c.state, 0, 1, false, start + 10));
    caged_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scores_and_victims), cmocka_unit_test(chunks),
                                       cmocka_unit_test(recency)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
