/* labels: unit fault */
/* Bringing up: refused configurations, failing allocations, planned memory, registered buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <malloc.h>

#include "base/mem.h"
#include "cache/policy.h"
#include "fake_store.h"
#include "fixture.h"

static hs_residency_config config(const hs_objects *o, hs_pool *pool)
{
    return (hs_residency_config){.objects = o,
                                 .pool = pool,
                                 .n_layers = LAYERS,
                                 .n_experts = EXPERTS,
                                 .top_k = 4,
                                 .n_slots = 20,
                                 .policy = "ewma",
                                 .n_staging = 3,
                                 .other_slots = 25,
                                 .prefetch = true,
                                 .prefetch_budget = 1 << 20};
}

static void expect_refusal(hs_residency_config c, const char *part)
{
    hs_err err = {0};
    hs_residency *r = NULL;
    assert_int_equal(hs_residency_create(&c, &r, &err), -EINVAL);
    assert_null(r);
    if (!strstr(err.text, part))
        fail_msg("'%s' lacks '%s'", err.text, part);
}

static void bad_configurations_are_refused(void **state)
{
    (void)state;
    hs_objects o = {LAYERS * EXPERTS};
    hs_pool *pool;
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    fake_reset(FAKE_STAGED, 1);
    hs_residency_config good = config(&o, pool), c = good;
    c.n_slots = 3;
    expect_refusal(c, "floor of 4");
    c = good;
    c.n_staging = 1;
    expect_refusal(c, "staging");
    c = good;
    c.policy = "belady";
    expect_refusal(c, "belady");
    c = good;
    c.n_layers++;
    expect_refusal(c, "objects");
    hs_pool_destroy(&pool);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    hs_objects o = {LAYERS * EXPERTS};
    hs_pool *pool;
    hs_residency *r = NULL;
    hs_err err;
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    fake_reset(FAKE_STAGED, 1);
    hs_residency_config c = config(&o, pool);
    int64_t n = 0;
    for (int code = -1; code < 0; n++) {
        hs_mem_fail_after(n);
        code = hs_residency_create(&c, &r, &err);
        hs_mem_fail_after(-1);
        assert_true(code == 0 || (code == -ENOMEM && !r));
    }
    assert_true(n > 20);
    hs_residency_destroy(&r);
    hs_residency_destroy(&r); /* NULL-safe */
    hs_pool_destroy(&pool);
}

static void nothing_is_allocated_afterwards(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_MIXED, "ewma", 24, 4 * FAKE_PADDED);
    hs_mem_fail_after(0);
    for (uint32_t token = 0; token < 10; token++) {
        step(&f, token ? HS_PHASE_DECODE : HS_PHASE_PREFILL, token ? 1 : 8);
        for (uint32_t l = 0; l < LAYERS; l++) {
            begin(&f, l, token, 4);
            hint(&f, (l + 1) % LAYERS, token, 4);
            fake_pump(1000);
            finish(&f, 4);
        }
    }
    assert_int_equal(hs_mem_count(), 0);
    hs_mem_fail_after(-1);
    fixture_close(&f);
}

static void buffers_cover_arena_and_staging(void **state)
{
    (void)state;
    fixture f;
    struct iovec iov[4];
    fixture_open(&f, FAKE_STAGED, "lru", 24, 0);
    assert_int_equal(hs_residency_buffers(f.r, iov, 4), 2);
    assert_int_equal(iov[0].iov_len, 8 * FAKE_PADDED);
    assert_int_equal(iov[1].iov_len, 24 * FAKE_PADDED);
    assert_int_equal(hs_residency_buffers(f.r, iov, 1), 1);
    assert_int_equal(hs_residency_slots(f.r), 24);
    fixture_close(&f);
}

static void slots_beyond_the_objects_are_not_made(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_PLAIN, "lru", 1000, 0);
    assert_int_equal(hs_residency_slots(f.r), LAYERS * EXPERTS);
    fixture_close(&f);
}

/* What is allocated beside arena and staging fits what the memory plan is told. */
static void overhead_is_what_the_plan_says(void **state)
{
    (void)state;
    hs_objects o = {LAYERS * EXPERTS};
    hs_pool *pool;
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    for (unsigned p = 0; hs_policy_at(p / 2); p++) {
        for (uint32_t n_slots = 4; n_slots <= 64; n_slots += 30) {
            hs_residency *r = NULL;
            fake_reset(FAKE_STAGED, 1);
            hs_residency_config c = config(&o, pool);
            c.policy = hs_policy_at(p / 2)->name;
            c.by_layer = p % 2;
            c.n_slots = n_slots;
            size_t before = mallinfo2().uordblks;
            assert_int_equal(hs_residency_create(&c, &r, NULL), 0);
            size_t taken = mallinfo2().uordblks - before, headers = 29 * 2 * sizeof(size_t);
            assert_true(taken <= hs_residency_overhead_bytes(&o, c.n_experts, n_slots, c.n_staging, 2) + headers);
            hs_residency_destroy(&r);
        }
    }
    hs_pool_destroy(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_configurations_are_refused),        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(nothing_is_allocated_afterwards),       cmocka_unit_test(buffers_cover_arena_and_staging),
        cmocka_unit_test(slots_beyond_the_objects_are_not_made), cmocka_unit_test(overhead_is_what_the_plan_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
