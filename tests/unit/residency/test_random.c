/* labels: unit */
/* Random layers, guesses, phases and failures against a store that answers in random order: every delivered expert has
 * its own bytes, every invariant holds after every step, and the counters add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "residency/residency_int.h"
#include "sanitized.h"

#define N_LAYERS  5u
#define N_EXPERTS 24u
#define TOP_K     4u
#define OBJECTS   (N_LAYERS * N_EXPERTS)

typedef struct world {
    hs_objects objects;
    hs_pool *pool;
    hs_residency *r;
    hs_experts x;
    uint32_t rng;
    uint64_t asked;
    uint32_t errors;
    bool failing, resizing, warm;
} world;

static uint32_t below(world *w, uint32_t n)
{
    return fake_random(&w->rng, n);
}

static void check(world *w)
{
    const char *wrong = hs_residency_check(w->r);
    if (wrong)
        fail_msg("%s", wrong);
}

/* More slots or fewer, now and then, from the fewest there can be to one for everything. */
static void resize(world *w)
{
    if (!w->resizing || below(w, 12))
        return;
    hs_residency_resize(w->r, below(w, 4) ? TOP_K + below(w, OBJECTS) : below(w, 2) ? 0 : UINT32_MAX);
    if (!w->r->in_layer && below(w, 2)) {
        hs_residency_settle(w->r);
        assert_int_equal(w->r->n_slots, w->r->asked_slots);
    }
    check(w);
}

/* n distinct experts. */
static void choose(world *w, hs_expert_want *wants, uint32_t n)
{
    uint32_t all[N_EXPERTS];
    for (uint32_t i = 0; i < N_EXPERTS; i++)
        all[i] = i;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t reach = N_EXPERTS - i, j = i + below(w, below(w, 2) ? reach : (reach + 2) / 3);
        wants[i] = (hs_expert_want){.expert = all[j], .n_tokens = 1 + below(w, 3)};
        all[j] = all[i];
        all[i] = wants[i].expert;
    }
}

static void guess(world *w, uint32_t layer)
{
    hs_expert_guess g[N_EXPERTS];
    uint32_t n = 1 + below(w, 8);
    for (uint32_t i = 0; i < n; i++)
        g[i] = (hs_expert_guess){.expert = below(w, N_EXPERTS), .margin = (float)(n - i)};
    w->x.ops->hint(w->x.self, layer, g, n);
    check(w);
}

static uint32_t slots_of(const world *w, uint32_t layer)
{
    return w->r->slabs[w->r->slab_of[layer]].n_slots;
}

/* Delivers and releases in random order, now and then holding some back. False after an error. */
static bool consume(world *w, uint32_t layer, const hs_expert_want *wants, uint32_t n)
{
    uint32_t held[N_EXPERTS], n_held = 0;
    for (uint32_t got = 0; got < n;) {
        uint32_t index[N_EXPERTS], k = 0;
        bool is_short = slots_of(w, layer) < n || w->resizing || (w->warm && w->r->n_staging < n);
        uint32_t most = is_short ? 1 : n;
        hs_expert e[N_EXPERTS];
        hs_err err = {0};
        resize(w);
        int code = w->x.ops->wait(w->x.self, 1 + below(w, most), index, e, &k, &err);
        if (code < 0) {
            assert_true(w->failing);
            assert_non_null(strstr(err.text, "fake shard, record"));
            w->errors++;
            return false;
        }
        assert_true(k >= 1 && got + k <= n);
        check(w);
        for (uint32_t i = 0; i < k; i++) {
            assert_true(fake_is(&e[i], layer * N_EXPERTS + wants[index[i]].expert));
            held[n_held++] = index[i];
        }
        got += k;
        while (n_held && (most == 1 || below(w, 3))) {
            uint32_t i = below(w, n_held);
            w->x.ops->release(w->x.self, held[i]);
            held[i] = held[--n_held];
            check(w);
        }
    }
    while (n_held)
        w->x.ops->release(w->x.self, held[--n_held]);
    return true;
}

static void layer(world *w, uint32_t l, uint32_t n)
{
    hs_expert_want wants[N_EXPERTS];
    uint8_t resident[N_EXPERTS];
    choose(w, wants, n);
    if (w->failing && below(w, 6) == 0) {
        uint32_t object = l * N_EXPERTS + wants[0].expert;
        bool fails = below(w, 2);
        uint8_t times = (uint8_t)(1 + below(w, 2));
        if (fails || fake_kind(object) != FAKE_PLAIN) /* nothing would notice damage */
            fake_spoil(object, fails ? times : 0, fails ? 0 : times);
    }
    hs_err err;
    assert_int_equal(w->x.ops->begin(w->x.self, l, wants, n, resident, &err), 0);
    check(w);
    w->asked += n;
    if (below(w, 2))
        guess(w, (l + 1 + (below(w, 8) == 0)) % N_LAYERS);
    consume(w, l, wants, n);
    w->x.ops->end(w->x.self);
    check(w);
    resize(w);
}

static void run(const char *policy, int kind, uint32_t n_slots, bool prefetch, bool failing, bool resizing, bool mixed,
                bool warm, uint32_t seed)
{
    world w = {.objects.n = OBJECTS, .rng = seed, .failing = failing, .resizing = resizing, .warm = warm};
    hs_err err;
    fake_reset(kind, seed);
    fake.layer_objects = mixed ? N_EXPERTS : 0;
    print_message("policy %s, kind %d, %u slots, prefetch %d, failing %d, resizing %d, mixed %d, warm %d, seed %u\n",
                  policy, kind, n_slots, prefetch, failing, resizing, mixed, warm, seed);
    assert_int_equal(hs_pool_create(2, &w.pool, &err), 0);
    hs_residency_config cfg = {.objects = &w.objects,
                               .pool = w.pool,
                               .n_layers = N_LAYERS,
                               .n_experts = N_EXPERTS,
                               .top_k = TOP_K,
                               .n_slots = n_slots,
                               .max_slots = resizing ? OBJECTS : 0,
                               .policy = policy,
                               .by_layer = seed / 2 % 2,
                               .n_staging = hs_residency_min_staging(&w.objects, TOP_K, warm) + below(&w, 4),
                               .warm_tier = warm,
                               .prefetch = prefetch,
                               .prefetch_budget = 4 * FAKE_PADDED,
                               .verify_always = failing};
    assert_int_equal(hs_residency_create(&cfg, &w.r, &err), 0);
    assert_int_equal(w.r->classes.n, mixed && !(warm && kind == FAKE_STAGED) ? 2 : 1); /* stored, they are of a size */
    w.x = hs_residency_experts(w.r);
    fake_start();
    for (uint32_t token = 0; token < 40; token++) {
        bool prefill = below(&w, 10) == 0;
        if (prefill)
            w.x.ops->session(w.x.self);
        w.x.ops->step(w.x.self, prefill ? HS_PHASE_PREFILL : HS_PHASE_DECODE, prefill ? 1 + below(&w, 40) : 1);
        for (uint32_t l = 0; l < N_LAYERS; l++)
            layer(&w, l, prefill ? 1 + below(&w, N_EXPERTS) : TOP_K);
    }
    hs_residency_stats s = hs_residency_get_stats(w.r);
    assert_int_equal(s.hits + s.misses, w.asked);
    assert_true(warm ? s.warm_hits > 0 || n_slots < 30 : s.warm_hits == 0);
    uint64_t settled = s.prefetch_useful + s.prefetch_late + s.prefetch_wasted + s.prefetch_dropped;
    for (const hs__load *l = w.r->active_first; l; l = l->next)
        settled += l->dropped && !l->over;
    assert_int_equal(s.prefetch_issued, settled + w.r->n_guessed);
    assert_int_equal(s.miss_predicted, s.prefetch_useful + s.prefetch_late);
    assert_int_equal(s.bytes_read, s.demand_bytes + s.speculative_bytes);
    assert_true(prefetch || s.prefetch_issued == 0);
    assert_true(failing || s.errors == 0);
    assert_true(s.errors >= w.errors);
    assert_true(resizing ? s.shrinks > 5 && s.grows > 5 : s.shrinks + s.grows + s.moves == 0);
    hs_residency_destroy(&w.r);
    fake_stop();
    assert_int_equal(fake_now().queued, 0);
    hs_pool_destroy(&w.pool);
}

static void every_setting(void **state)
{
    (void)state;
    static const char *const policies[] = {"ewma", "lru", "lfu", "s3fifo", "arc"};
    static const uint32_t slots[] = {TOP_K, 7, 30, OBJECTS}; /* mixed: and another floor */
    uint32_t seed = 1;
    for (uint32_t p = 0; p < 5; p++)
        for (uint32_t s = 0; s < 4; s++)
            for (int kind = FAKE_PLAIN; kind <= FAKE_MIXED; kind++, seed++)
                for (uint32_t of = 0; of < 4; of++) {
                    bool resizing = of % 2, mixed = of / 2;
                    uint32_t n_slots = mixed && slots[s] < OBJECTS ? slots[s] + TOP_K : slots[s];
                    uint32_t sum = p + s + (uint32_t)kind + of;
                    bool is_taken = sum % (SANITIZED_THREADS ? 4 : 2) == 1;
                    if (is_taken || !(SANITIZED || mixed))
                        run(policies[p], kind, n_slots, seed % 3 != 0, seed % 2 == 0, resizing, mixed, false, seed);
                    if (kind >= FAKE_STAGED && (SANITIZED ? is_taken && resizing != (p % 2 > 0) : !mixed || is_taken))
                        run(policies[p], kind, n_slots, seed % 3 != 0, seed % 2 == 0, resizing, mixed, true, seed);
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_setting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
