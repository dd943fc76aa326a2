/* labels: unit */
/* Routes drawn by lot are what they are said to be; on some of them, what ewma promises holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bench/made_routes.h"
#include "cache/replay.h"

/* The first kind whose name begins so, shortened. */
static made_kind kind_of(const char *name, uint32_t tokens, uint32_t layers)
{
    uint32_t i = 0;
    while (i < MADE_KINDS && strncmp(made_kinds[i].name, name, strlen(name)) != 0)
        i++;
    assert_true(i < MADE_KINDS);
    made_kind k = made_kinds[i];
    k.tokens = tokens;
    k.layers = layers;
    return k;
}

/* The hit rate in percent; turns: sessions begin where the routes' turns do. */
static double rate(const made_kind *k, const made_routes *r, const hs_policy *p, uint32_t percent, bool turns)
{
    const hs_replay_trace t = {.object = r->object,
                               .token = r->token,
                               .n = r->n,
                               .n_objects = k->layers * k->experts,
                               .layer_objects = k->experts,
                               .first_counted = k->tokens / 4,
                               .turn = turns ? r->turn : NULL};
    uint32_t slots = t.n_objects * percent / 100;
    void *mem = malloc(hs_replay_bytes(p, &t, slots));
    assert_non_null(mem);
    hs_replay_result x = hs_replay(p, &t, slots, false, mem);
    free(mem);
    return 100 * (double)x.hits / (double)x.accesses;
}

/* Part of the uses whose expert the token before used, too. */
static double again(const made_kind *k, const made_routes *r)
{
    uint32_t each = k->layers * k->top_k;
    uint64_t n = 0;
    for (uint64_t i = each; i < r->n; i++)
        for (uint64_t o = i / each * each - each; o < i / each * each; o++)
            n += r->object[o] == r->object[i];
    return (double)n / (double)(r->n - each);
}

static void drawn_by_lot(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < MADE_KINDS; i++) {
        made_kind k = kind_of(made_kinds[i].name, 30, 3);
        made_routes a = made_routes_of(&k, 7, false), b = made_routes_of(&k, 7, false),
                    c = made_routes_of(&k, 8, false);
        assert_int_equal(a.n, 30 * 3 * k.top_k);
        assert_memory_equal(a.object, b.object, a.n * sizeof *a.object);
        assert_memory_not_equal(a.object, c.object, a.n * sizeof *a.object);
        for (uint64_t u = 0; u < a.n; u++) {
            assert_int_equal(a.token[u], u / (3 * k.top_k));
            assert_int_equal(a.object[u] / k.experts, u / k.top_k % 3);
            for (uint64_t o = u / k.top_k * k.top_k; o < u; o++)
                assert_int_not_equal(a.object[o], a.object[u]);
        }
        made_routes_free(&a);
        made_routes_free(&b);
        made_routes_free(&c);
    }
}

static void as_said(void **state)
{
    (void)state;
    made_kind lasting = kind_of("uses that last", 300, 4), plain = lasting, balanced = kind_of("deepseek-v3", 600, 2);
    plain.stay = 0;
    made_routes a = made_routes_of(&lasting, 1, false), b = made_routes_of(&plain, 1, false),
                c = made_routes_of(&balanced, 1, false);
    assert_true(again(&lasting, &a) > 2 * again(&plain, &b));
    uint32_t groups = 0; /* of a token's layer, on average */
    for (uint64_t i = 0; i < c.n; i += balanced.top_k) {
        uint32_t seen = 0;
        for (uint32_t o = 0; o < balanced.top_k; o++)
            seen |= 1u << c.object[i + o] % balanced.experts / (balanced.experts / balanced.groups);
        assert_true(__builtin_popcount(seen) <= (int)balanced.top_groups);
        groups += (uint32_t)__builtin_popcount(seen);
    }
    assert_true(groups > c.n / balanced.top_k * 2);
    made_routes_free(&a);
    made_routes_free(&b);
    made_routes_free(&c);
}

/* Nearly never under lru, clearly over it where there is room; below one token's experts, where lru has nothing, far
 * above nothing. */
static void promises(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t tokens, layers, percent;
        double least; /* points over lru */
    } cells[] = {
        {"deepseek-v2-lite", 1000, 4, 5, 10},   {"deepseek-v2-lite", 1000, 4, 20, 6},
        {"deepseek-v2-lite", 1000, 4, 40, 3.5}, {"olmoe, state", 800, 5, 20, 12},
        {"olmoe, state", 800, 5, 40, 2},        {"mixtral", 800, 10, 50, 6},
        {"gpt-oss-120b", 700, 6, 20, 4},        {"bursts", 600, 4, 30, -0.5},
        {"uses that last", 600, 4, 30, 5},      {"drift", 800, 4, 60, -0.5},
        {"four chats, state", 600, 3, 20, 8},   {"topics that return", 800, 4, 20, 5},
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        made_kind k = kind_of(cells[i].name, cells[i].tokens, cells[i].layers);
        made_routes r = made_routes_of(&k, 3, false);
        double lru = rate(&k, &r, &hs_policy_lru, cells[i].percent, true),
               ewma = rate(&k, &r, &hs_policy_ewma, cells[i].percent, true);
        print_message("%s, %u %%: lru %.2f ewma %.2f\n", k.name, cells[i].percent, lru, ewma);
        assert_true(ewma - lru > cells[i].least);
        made_routes_free(&r);
    }
}

/* That another topic has begun is noticed where nobody tells. */
static void topics(void **state)
{
    (void)state;
    made_kind k = kind_of("deepseek-v2-lite", 1500, 6);
    made_routes r = made_routes_of(&k, 3, false);
    for (uint32_t percent = 20; percent <= 50; percent += 15) {
        double told = rate(&k, &r, &hs_policy_ewma, percent, true),
               not_told = rate(&k, &r, &hs_policy_ewma, percent, false);
        print_message("%u %%: told %.2f, not told %.2f\n", percent, told, not_told);
        assert_true(not_told > told - 1);
    }
    made_routes_free(&r);
}

/* What is foretold comes true more often than not. */
static void chances(void **state)
{
    (void)state;
    made_kind k = kind_of("popularity alone", 400, 2);
    made_routes r = made_routes_of(&k, 1, true);
    uint32_t objects = k.layers * k.experts, each = k.layers * k.top_k;
    double used = 0, other = 0;
    for (uint32_t t = 0; t + 1 < k.tokens; t++) { /* what is used next was likelier than the rest */
        const float *soon = r.soon + (size_t)t * objects;
        for (uint32_t o = 0; o < objects; o++)
            other += soon[o] / objects;
        for (uint32_t i = 0; i < each; i++)
            used += soon[r.object[(size_t)(t + 1) * each + i]] / each;
    }
    print_message("chance of what is used next: %.2f of the mean\n", used / other);
    assert_true(used > 1.8 * other);
    made_routes_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(drawn_by_lot), cmocka_unit_test(as_said),
                                       cmocka_unit_test(promises), cmocka_unit_test(topics), cmocka_unit_test(chances)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
