/* labels: unit */
/* ARC against the algorithm of the paper, written down request by request with plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

#define OBJECTS 60u
#define C       12u

/* Lists by recency, least recent first. */
typedef struct plain_list {
    uint32_t n, object[OBJECTS];
} plain_list;

enum { T1, T2, B1, B2 };

typedef struct paper {
    plain_list list[4];
    double p;
} paper;

static bool take(plain_list *l, uint32_t object)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->object[i] == object) {
            memmove(l->object + i, l->object + i + 1, (l->n - i - 1) * sizeof *l->object);
            l->n--;
            return true;
        }
    return false;
}

static void put(plain_list *l, uint32_t object)
{
    l->object[l->n++] = object;
}

/* REPLACE; returns whom it moved out of the cache. */
static uint32_t replace(paper *a, bool in_b2)
{
    uint32_t n1 = a->list[T1].n;
    int from = n1 && (n1 > a->p || (in_b2 && n1 >= a->p)) ? T1 : T2;
    uint32_t victim = a->list[from].object[0];
    take(&a->list[from], victim);
    put(&a->list[from == T1 ? B1 : B2], victim);
    return victim;
}

/* A request; returns the victim, HS_POLICY_NONE if there is none. *hit: it was in the cache. */
static uint32_t request(paper *a, uint32_t x, bool *hit)
{
    uint32_t victim = HS_POLICY_NONE;
    double b1 = a->list[B1].n, b2 = a->list[B2].n;
    *hit = take(&a->list[T1], x) || take(&a->list[T2], x);
    if (*hit) {
        put(&a->list[T2], x);
        return victim;
    }
    bool full = a->list[T1].n + a->list[T2].n == C;
    for (int b = B1; b <= B2; b++) {
        bool mine = false;
        for (uint32_t i = 0; i < a->list[b].n; i++)
            mine |= a->list[b].object[i] == x;
        if (!mine)
            continue;
        a->p += b == B1 ? (b2 > b1 ? b2 / b1 : 1) : -(b1 > b2 ? b1 / b2 : 1);
        a->p = a->p < 0 ? 0 : a->p > C ? C : a->p;
        victim = full ? replace(a, b == B2) : victim;
        take(&a->list[b], x);
        put(&a->list[T2], x);
        return victim;
    }
    if (full)
        victim = replace(a, false);
    put(&a->list[T1], x);
    while (a->list[B1].n && a->list[T1].n + a->list[B1].n > C)
        take(&a->list[B1], a->list[B1].object[0]);
    while (a->list[B2].n && a->list[B1].n + a->list[B2].n > C)
        take(&a->list[B2], a->list[B2].object[0]);
    return victim;
}

static void as_in_the_paper(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = C};
    for (uint32_t seed = 1; seed <= 5; seed++) {
        static paper a;
        caged c = caged_new(&hs_policy_arc, &shape);
        uint32_t rng = seed, hits = 0, adapted = 0;
        a = (paper){.p = 0};
        print_message("seed %u\n", seed);
        for (uint32_t i = 0; i < 5000; i++) {
            bool hit;
            double p = a.p;
            uint32_t x = roll(&rng, 1 + roll(&rng, i / 500 % 2 ? OBJECTS : C + 6)), should = request(&a, x, &hit);
            c.policy->access(c.state, x, 1, 1, i);
            hits += hit;
            adapted += a.p != p;
            if (hit)
                continue;
            if (should != HS_POLICY_NONE) {
                assert_int_equal(c.policy->victim(c.state, 0, i, NULL, NULL), should);
                c.policy->evict(c.state, should);
            }
            c.policy->insert(c.state, x, i);
        }
        assert_true(hits > 1000 && adapted > 100);
        caged_free(&c);
    }
}

static void admission(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 8, .n_slots = 4};
    caged c = caged_new(&hs_policy_arc, &shape);
    assert_true(c.policy->admit(c.state, 1, 0, false, 1));
    assert_false(c.policy->admit(c.state, 1, 0, true, 1));
    caged_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_in_the_paper), cmocka_unit_test(admission)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
