/* labels: unit */
/*
 * test_governor.c - the cache follows the memory of a made-up machine, in virtual time: how far, when, and that the
 * answers stay the same bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "machine.h"
#include "tale.h"

#define MIB     (1ull << 20)
#define SECOND  1000000000ull
#define TICK    (SECOND / 4)
#define RESERVE (4 * MIB) /* spare at the start: an eighth of what the process may hold is more */

static hs_engine *engine;
static hs_governor *governor;
static uint64_t now, start; /* start: bytes that the process may hold at first */

/* The process holds nothing yet, and may hold so much. */
static void put_available(uint64_t bytes)
{
    char text[100];
    snprintf(text, sizeof text, "MemAvailable: %llu kB\n", (unsigned long long)bytes / 1024);
    machine_put("/proc/meminfo", text);
}

static void govern(uint64_t limit)
{
    hs_err err = {0};
    hs_governor_options opt = {.engines = &engine, .n_engines = 1, .limit = limit, .root = machine_root};
    now = 1000 * SECOND;
    machine_put("/proc/self/status", "VmRSS: 0 kB\n");
    start = engine->plan.total + RESERVE;
    put_available(start);
    assert_int_equal(hs_governor_create(&opt, &governor, &err), 0);
}

static int set_up(void **state)
{
    hs_engine_options opt = {.governed = true, .cache_kind = HS_CACHE_PERCENT, .cache_percent = 100, .parallel = 2};
    assert_int_equal(machine_create(state), 0);
    engine = tale_start(opt);
    assert_int_equal(engine->plan.n_slots, engine->plan.n_experts);
    return 0;
}

static int tear_down(void **state)
{
    hs_governor_destroy(&governor);
    hs_engine_destroy(&engine);
    return machine_destroy(state);
}

static uint32_t tick(uint64_t ns)
{
    now += ns;
    return hs_governor_tick(governor, now);
}

/* Ticks for so long; returns the slots that shall be then. */
static uint32_t pass(uint64_t seconds)
{
    for (uint64_t i = 0; i < 4 * seconds; i++)
        tick(TICK);
    return hs_residency_asked_slots(engine->residency);
}

/* The engine thread has followed. */
static void wait_for_slots(uint32_t n)
{
    for (uint32_t ms = 0;; ms++) {
        hs_engine_stats s = hs_engine_get_stats(engine);
        if (s.slots == n && !hs_residency_is_resizing(engine->residency))
            return;
        if (ms > 60000)
            fail_msg("%u slots instead of %u", s.slots, n);
        tale_sleep_ms(1);
    }
}

static void answer_is_golden(uint32_t prompt)
{
    const tale_prompt *p = &tale_prompts(engine)[prompt];
    hs_request_options ask = tale_ask(p);
    hs_buf text;
    hs_buf_init(&text, sizeof p->text);
    hs_buf_puts(&text, "");
    assert_int_equal(tale_run(engine, &ask, &text).state, HS_REQUEST_DONE);
    assert_string_equal(text.data, p->text);
    hs_buf_deinit(&text);
}

static void what_stays_as_it_is_changes_nothing(void **state)
{
    (void)state;
    govern(0);
    put_available(start - RESERVE / 2 + MIB);
    assert_int_equal(pass(100), engine->plan.n_slots);
    put_available(start * 3); /* all experts are in memory: there is nothing to take */
    assert_int_equal(pass(100), engine->plan.n_slots);
    hs_engine_stats s = hs_engine_get_stats(engine);
    assert_int_equal(s.cache_shrinks + s.cache_grows, 0);
}

static void memory_is_given_back_and_taken_again(void **state)
{
    (void)state;
    const hs_plan *p = &engine->plan;
    govern(0);
    answer_is_golden(0);
    uint64_t taken = RESERVE + p->cache / 4;
    put_available(start - taken);
    tick(TICK);
    uint32_t few = hs_residency_asked_slots(engine->residency);
    assert_true(few < p->n_slots && few >= p->min_slots);
    uint64_t holds = p->total - p->outside - p->cache + hs_classes_bytes(&engine->opened.classes, few);
    if (few > p->min_slots)
        assert_true(holds + RESERVE <= start - taken + p->slot_bytes);
    wait_for_slots(few);
    answer_is_golden(1);
    assert_true(hs_residency_resident(engine->residency) <= few);
    assert_int_equal(pass(20), few); /* one step was enough */

    put_available(start - RESERVE / 8);
    assert_int_equal(pass(9), few); /* not at once */
    uint32_t before = few, steps = 0;
    for (int i = 0; i < 400 && before < p->n_slots; i++) {
        uint32_t n = pass(1);
        assert_true(n >= before && n - before <= p->n_slots / 16 + 1);
        steps += n > before;
        before = n;
    }
    assert_int_equal(before, p->n_slots); /* although a little less is there than at the start */
    assert_true(steps >= 6 && steps <= 17);
    wait_for_slots(p->n_slots);
    answer_is_golden(2);
    hs_engine_stats st = hs_engine_get_stats(engine);
    assert_int_equal(st.cache_shrinks, 1);
    assert_int_equal(st.slots, st.slots_planned);
}

static void a_request_does_not_notice(void **state)
{
    (void)state;
    govern(0);
    const tale_prompt *p = &tale_prompts(engine)[3];
    hs_request_options ask = tale_ask(p);
    for (uint32_t round = 0; round < 6; round++) {
        hs_request *r = tale_submit(engine, &ask);
        hs_buf text;
        hs_buf_init(&text, sizeof p->text);
        hs_buf_puts(&text, "");
        tale_wait_state(r, HS_REQUEST_PREFILL + round % 2);
        put_available(round % 2 ? start : start - RESERVE - engine->plan.cache * (round + 2) / 8);
        pass(round % 2 ? 60 : 1);
        assert_int_equal(tale_wait(r, &text).state, HS_REQUEST_DONE);
        assert_string_equal(text.data, p->text);
        hs_request_destroy(&r);
        hs_buf_deinit(&text);
        wait_for_slots(hs_residency_asked_slots(engine->residency));
    }
    hs_engine_stats s = hs_engine_get_stats(engine);
    assert_true(s.cache_shrinks >= 3 && s.cache_grows >= 3);
}

typedef struct wish {
    hs_engine *e;
    uint32_t layer, slots;
} wish;

static void shrink_at(void *ctx, const hs_route_event *ev)
{
    const wish *w = ctx;
    if (ev->decode && ev->layer == w->layer)
        hs__engine_resize(w->e, w->slots);
}

static void decode_as_golden(const hs_engine *e, hs_session *s, const tale_prompt *p, uint32_t *at, float *logits)
{
    hs_err err = {0};
    assert_int_equal(hs_session_decode(&s, &p->greedy[(*at)++], 1, logits, &err), 0);
    uint32_t best = 0;
    for (uint32_t i = 1; i < hs_engine_vocab(e); i++)
        best = logits[i] > logits[best] ? i : best;
    assert_int_equal(best, p->greedy[*at]);
}

/* What is to go has gone when the token is done in which memory got short; of its last layer with the next one. */
static void it_takes_no_longer_than_a_token(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_engine *e =
        tale_create((hs_engine_options){.governed = true, .cache_kind = HS_CACHE_PERCENT, .cache_percent = 100});
    const tale_prompt *p = &tale_prompts(e)[0];
    float *logits = hs_calloc(hs_engine_vocab(e), sizeof *logits);
    hs_session *s = NULL;
    assert_int_equal(hs_session_create(e, &s, &err), 0);
    assert_int_equal(hs_session_prefill(s, p->ids, p->n, logits, 1, NULL, NULL, &err), 0);
    const uint32_t *numbers;
    uint32_t n = hs_engine_moe_layers(e, &numbers), at = 0;
    wish w = {.e = e, .slots = e->plan.n_slots};
    for (uint32_t i = 0; i < 2 * n; i++) {
        w.layer = numbers[i % n];
        w.slots -= w.slots / 8;
        hs_engine_on_route(e, shrink_at, &w);
        decode_as_golden(e, s, p, &at, logits);
        hs_engine_on_route(e, NULL, NULL);
        if (i % n == n - 1)
            decode_as_golden(e, s, p, &at, logits);
        assert_int_equal(hs_residency_slots(e->residency), w.slots);
        assert_false(hs_residency_is_resizing(e->residency));
        assert_true(hs_residency_resident(e->residency) <= w.slots);
    }
    hs_free(logits);
    hs_session_destroy(&s);
    hs_engine_destroy(&e);
}

static void a_control_group_is_obeyed(void **state)
{
    (void)state;
    char text[50];
    uint64_t total = engine->plan.total;
    machine_put("/proc/self/cgroup", "0::/system.slice/hotset.service\n");
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.current", "0\n");
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", "max\n");
    govern(0);
    assert_int_equal(pass(20), engine->plan.n_slots);
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)(total - engine->plan.cache / 4));
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", text);
    uint32_t few = pass(1);
    assert_true(few < engine->plan.n_slots);
    wait_for_slots(few);
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", "max\n");
    assert_int_equal(pass(60), engine->plan.n_slots);
}

static void the_limit_can_be_changed(void **state)
{
    (void)state;
    const hs_plan *p = &engine->plan;
    hs_err err = {0};
    govern(p->total);
    put_available(100 * start);
    assert_int_equal(pass(20), p->n_slots);
    assert_int_equal(hs_governor_set_limit(governor, p->total - p->cache / 2, &err), 0);
    uint32_t few = pass(1);
    assert_in_range(few, p->n_slots / 2 - 2, p->n_slots / 2);
    assert_int_equal(pass(60), few);
    assert_int_equal(hs_governor_set_limit(governor, p->total - p->cache, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "floor"));
    assert_int_equal(pass(60), few);
    assert_int_equal(hs_governor_set_limit(governor, p->total - p->cache + p->min_slots * p->slot_bytes, &err), 0);
    assert_int_equal(pass(1), p->min_slots);
    wait_for_slots(p->min_slots);
    answer_is_golden(0);
    assert_int_equal(hs_governor_set_limit(governor, 0, &err), 0);
    assert_int_equal(pass(60), p->n_slots);
}

/* Whoever is over the floor's needs is served, if slowly. */
static void at_the_floor_requests_are_served(void **state)
{
    (void)state;
    govern(0);
    put_available(0);
    assert_int_equal(pass(30), engine->plan.min_slots);
    wait_for_slots(engine->plan.min_slots);
    answer_is_golden(4);
    assert_int_equal(hs_engine_get_stats(engine).cache_shrinks, 1);
}

/* Somebody takes memory at 10 MiB a second: half of the reserve would be gone with the next look. */
static void what_goes_fast_is_met_early(void **state)
{
    (void)state;
    govern(0);
    pass(1);
    put_available(start - 5 * MIB / 4);
    assert_int_equal(tick(SECOND / 8), 50);
    assert_true(hs_residency_asked_slots(engine->residency) < engine->plan.n_slots);
}

static void put_stall(uint64_t us)
{
    char text[100];
    snprintf(text, sizeof text, "some avg10=0.00 total=%llu\n", (unsigned long long)us);
    machine_put("/proc/pressure/memory", text);
}

static void standing_still_counts_when_memory_is_scarce(void **state)
{
    (void)state;
    uint64_t us = 1000000;
    put_stall(us);
    govern(0);
    uint32_t before = engine->plan.n_slots;
    tick(TICK);
    for (int s = 0; s < 3; s++) {
        for (int i = 0; i < 4; i++) {
            put_stall(us += 100000);
            tick(TICK);
        }
        uint32_t n = hs_residency_asked_slots(engine->residency);
        assert_true(n < before && before - n <= engine->plan.n_slots / 16 + 2);
        before = n;
    }
    put_available(100 * start); /* nobody stands still because of us */
    for (int i = 0; i < 80; i++) {
        put_stall(us += 100000);
        tick(TICK);
    }
    assert_int_equal(hs_residency_asked_slots(engine->residency), before);
    assert_true(hs_engine_get_stats(engine).memory_pressure_ppm > 300000);
    assert_int_equal(pass(9), before);
    assert_int_equal(pass(60), engine->plan.n_slots);
    assert_int_equal(hs_engine_get_stats(engine).memory_pressure_ppm, 0);
}

static void a_step_up_that_was_wrong_is_not_soon_repeated(void **state)
{
    (void)state;
    govern(0);
    uint32_t all = engine->plan.n_slots, waited[4];
    for (int round = 0; round < 4; round++) {
        put_available(start - RESERVE);
        uint32_t few = pass(1);
        assert_true(few < all);
        put_available(start);
        for (waited[round] = 0; hs_residency_asked_slots(engine->residency) == few; waited[round]++)
            assert_true(waited[round] < 400 && pass(1));
        while (hs_residency_asked_slots(engine->residency) < all)
            pass(1);
    }
    for (int round = 1; round < 4; round++)
        assert_in_range(waited[round], 2 * waited[round - 1] - 2, 2 * waited[round - 1] + 2);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_stays_as_it_is_changes_nothing),
        CASE(memory_is_given_back_and_taken_again),
        CASE(a_request_does_not_notice),
        CASE(it_takes_no_longer_than_a_token),
        CASE(a_control_group_is_obeyed),
        CASE(the_limit_can_be_changed),
        CASE(at_the_floor_requests_are_served),
        CASE(what_goes_fast_is_met_early),
        CASE(standing_still_counts_when_memory_is_scarce),
        CASE(a_step_up_that_was_wrong_is_not_soon_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
