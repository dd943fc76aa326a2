/* labels: unit */
/* test_resize.c - fewer slots and more again: what stays, where it stays, and that memory really goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "fake_store.h"

#include "fixture.h"

#define N_LAYERS 32u /* 10 MB of slots: five huge pages */
#define ALL      (N_LAYERS * EXPERTS)

static fixture f;

/* n slots to begin with, as many as there are objects at most. */
static void open_as(int kind, bool warm, uint32_t n, uint64_t budget)
{
    fake_reset(kind, 7);
    f = (fixture){.objects.n = ALL, .n_experts = EXPERTS};
    hs_err err = {0};
    assert_int_equal(hs_pool_create(2, &f.pool, &err), 0);
    hs_residency_config cfg = {.objects = &f.objects,
                               .pool = f.pool,
                               .n_layers = N_LAYERS,
                               .n_experts = EXPERTS,
                               .top_k = 4,
                               .n_slots = n,
                               .max_slots = ALL,
                               .policy = "ewma",
                               .warm_tier = warm,
                               .n_staging = warm ? 8 : 0,
                               .prefetch = budget > 0,
                               .prefetch_budget = budget};
    assert_int_equal(hs_residency_create(&cfg, &f.r, &err), 0);
    f.x = hs_residency_experts(f.r);
}

/* Of plain records. */
static void open_with(uint32_t n, uint64_t budget)
{
    open_as(FAKE_PLAIN, false, n, budget);
}

/* One token: in each layer experts first..first+3. */
static void token(uint32_t first)
{
    step(&f, HS_PHASE_DECODE, 1);
    for (uint32_t l = 0; l < N_LAYERS; l++)
        run_layer(&f, l, first, 4);
}

static void fill(void)
{
    for (uint32_t first = 0; first < EXPERTS; first += 4)
        token(first);
    assert_int_equal(hs_residency_resident(f.r), ALL);
}

static uint64_t pages_in_memory(void)
{
    unsigned char in[ALL * FAKE_PADDED / 4096];
    uint64_t n = 0;
    assert_int_equal(mincore(f.r->arena, ALL * f.r->slot_bytes, in), 0);
    for (size_t i = 0; i < sizeof in; i++)
        n += in[i] & 1;
    return n;
}

static void the_best_stay(void **state)
{
    (void)state;
    open_with(ALL, 0);
    fill();
    for (int i = 0; i < 5; i++)
        token(12); /* the last to be read, so in the arena's end */
    hs_residency_resize(f.r, 4 * N_LAYERS);
    assert_true(hs_residency_is_resizing(f.r));
    assert_int_equal(hs_residency_slots(f.r), ALL);
    hs_residency_settle(f.r);
    fixture_check(&f);
    assert_false(hs_residency_is_resizing(f.r));
    assert_int_equal(hs_residency_slots(f.r), 4 * N_LAYERS);
    assert_int_equal(hs_residency_resident(f.r), 4 * N_LAYERS);
    for (uint32_t l = 0; l < N_LAYERS; l++)
        for (uint32_t e = 12; e < 16; e++)
            assert_true(is_resident(&f, l, e));
    hs_residency_stats s = hs_residency_get_stats(f.r);
    assert_int_equal(s.moves, 4 * N_LAYERS);
    assert_int_equal(s.evictions, ALL - 4 * N_LAYERS);
    uint64_t reads = fake_now().reads;
    token(12); /* their bytes are those they were, without a read */
    assert_int_equal(fake_now().reads, reads);
    fixture_close(&f);
}

/* The next token, which lacks nothing and waits for no read, gives the memory back: what was used least goes, what is
 * kept compressed moves as it is, and only what the last layer uses itself leaves after it. */
static void a_warm_tier_shrinks_within_a_token(void **state)
{
    (void)state;
    open_as(FAKE_STAGED, true, ALL, 0);
    fill();
    for (int i = 0; i < 5; i++)
        token(12);
    uint64_t reads = fake_now().reads;
    hs_residency_resize(f.r, 4 * N_LAYERS);
    token(12);
    assert_int_equal(hs_residency_slots(f.r), 4 * N_LAYERS);
    assert_true(f.r->n_leaving <= 4);
    hs_residency_settle(f.r);
    fixture_check(&f);
    assert_int_equal(hs_residency_resident(f.r), 4 * N_LAYERS);
    assert_true(pages_in_memory() <= 4 * N_LAYERS * FAKE_PADDED / 4096 + 512);
    token(12); /* their bytes are those they were */
    assert_int_equal(fake_now().reads, reads);
    assert_int_equal(hs_residency_get_stats(f.r).warm_hits, 7 * 4 * N_LAYERS);
    hs_residency_resize(f.r, ALL);
    hs_residency_settle(f.r);
    fill();
    fixture_close(&f);
}

static void memory_goes_back_and_comes_again(void **state)
{
    (void)state;
    open_with(ALL, 0);
    fill();
    assert_int_equal(pages_in_memory(), ALL * FAKE_PADDED / 4096);
    hs_residency_resize(f.r, 4);
    hs_residency_settle(f.r);
    assert_int_equal(f.r->n_leaving, 0);
    assert_int_equal(hs_residency_resident(f.r), 4);
    assert_true(pages_in_memory() <= 512); /* the huge page that is in use */
    hs_residency_resize(f.r, ALL);
    hs_residency_settle(f.r);
    fixture_check(&f);
    assert_int_equal(hs_residency_slots(f.r), ALL);
    fill();
    hs_residency_stats s = hs_residency_get_stats(f.r);
    assert_int_equal(s.shrinks, 1);
    assert_int_equal(s.grows, 1);
    fixture_close(&f);
}

static void what_is_in_use_stays_until_it_is_released(void **state)
{
    (void)state;
    open_with(ALL, 0);
    fill();
    step(&f, HS_PHASE_DECODE, 1);
    begin(&f, N_LAYERS - 1, 12, 4); /* the last slots */
    uint32_t index[4];
    hs_err err = {0};
    assert_int_equal(wait_for(&f, 4, index, &err), 4);
    hs_residency_resize(f.r, 8);
    hs__resize(f.r);
    fixture_check(&f);
    assert_int_equal(f.r->n_leaving, 4);
    assert_true(hs_residency_is_resizing(f.r));
    for (uint32_t i = 0; i < 4; i++)
        f.x.ops->release(f.x.self, i);
    f.x.ops->end(f.x.self);
    hs_residency_settle(f.r);
    fixture_check(&f);
    assert_int_equal(f.r->n_leaving, 0);
    for (uint32_t e = 12; e < 16; e++)
        assert_true(is_resident(&f, N_LAYERS - 1, e));
    fixture_close(&f);
}

static void a_read_under_way_is_waited_for(void **state)
{
    (void)state;
    open_with(ALL, 4 * FAKE_PADDED);
    for (uint32_t first = 0; first < 12; first += 4)
        token(first);
    step(&f, HS_PHASE_DECODE, 1);
    hint(&f, 1, 12, 4);
    assert_int_equal(f.r->n_guessed, 4);
    hs_residency_resize(f.r, 8);
    hs_residency_settle(f.r); /* guesses are dismissed; their reads are still out */
    fixture_check(&f);
    assert_int_equal(f.r->n_guessed, 0);
    assert_int_equal(f.r->n_leaving, 4);
    fake_pump(1000);
    hs_residency_settle(f.r);
    fixture_check(&f);
    assert_int_equal(f.r->n_leaving, 0);
    assert_false(hs_residency_is_resizing(f.r));
    fixture_close(&f);
}

static void within_the_floor_and_the_arena(void **state)
{
    (void)state;
    open_with(20, 0);
    hs_residency_resize(f.r, 0);
    hs_residency_settle(f.r);
    assert_int_equal(hs_residency_slots(f.r), 4);
    token(0); /* still runs */
    hs_residency_resize(f.r, UINT32_MAX);
    hs_residency_settle(f.r);
    assert_int_equal(hs_residency_slots(f.r), ALL);
    fixture_close(&f);
}

static void a_fixed_size_stays(void **state)
{
    (void)state;
    fixture_open(&f, FAKE_PLAIN, "ewma", 20, 0);
    hs_residency_resize(f.r, 4);
    assert_false(hs_residency_is_resizing(f.r));
    hs_residency_settle(f.r);
    assert_int_equal(hs_residency_slots(f.r), 20);
    struct iovec iov[4];
    assert_int_equal(hs_residency_buffers(f.r, iov, 4), 1);
    fixture_close(&f);
    open_with(20, 0);
    assert_int_equal(hs_residency_buffers(f.r, iov, 4), 0); /* pinned memory cannot be given back */
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_stay),
        cmocka_unit_test(a_warm_tier_shrinks_within_a_token),
        cmocka_unit_test(memory_goes_back_and_comes_again),
        cmocka_unit_test(what_is_in_use_stays_until_it_is_released),
        cmocka_unit_test(a_read_under_way_is_waited_for),
        cmocka_unit_test(within_the_floor_and_the_arena),
        cmocka_unit_test(a_fixed_size_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
