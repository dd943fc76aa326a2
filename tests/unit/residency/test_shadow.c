/* labels: unit */
/* What is found out of the other kind of cache while one runs, beside what the other takes when it runs: over a virtual
 * drive and clock, from drives that a warm tier helps to those that it costs. */
#include "paced.h"
#include "sanitized.h"

#define TOKENS 800u

static const machine slow = {
    .decode = 8e9, .memory = 20e9, .ratio = 0.66, .latency_ns = 80e3, .wake_ns = 8e3, .frame_ns = 2e3};

typedef struct found {
    double ns; /* of the last tokens */
    hs_residency_tier tier;
} found;

static found live(const machine *m, double expert_bytes, uint32_t n_slots, bool warm, uint32_t other)
{
    run t;
    found f;
    open_run(&t, m, expert_bytes, n_slots, warm, other);
    t.r->ways.is_possible = false;
    pass(&t, HS_PHASE_PREFILL, 16);
    decode(&t, TOKENS / 3);
    f.ns = decode(&t, TOKENS - TOKENS / 3);
    assert_true(hs_residency_get_tier(t.r, &f.tier));
    close_run(&t);
    return f;
}

/* Both ways find what is true. */
static void what_is_found_is_true(void **state)
{
    (void)state;
    static const double drives[] = {0.3e9, 1e9, 3e9}, decodes[] = {8e9, 1.5e9}, caches[] = {0.1, 0.5};
    static const double sizes[] = {100e3, 2.65e6};
    uint32_t pays = 0, costs = 0;
    for (size_t i = 0; i < 3 * 2 * 2; i += SANITIZED ? 5 : 1) {
        machine m = slow;
        double size = sizes[(i + i / 4) % 2], cache = caches[i / 2 % 2];
        m.drive = drives[i / 4];
        m.decode = decodes[i % 2];
        uint32_t cold = (uint32_t)(LAYERS * EXPERTS * cache), warm = (uint32_t)(cold / m.ratio);
        found a = live(&m, size, cold, false, warm), b = live(&m, size, warm, true, cold);
        double is = a.ns / b.ns;
        pays += is > 1.05;
        costs += is < 0.95;
        /* Where decoding holds everything up, what the drive would take without it does not show. */
        bool from_warm = is > 0.95 ? fabs(b.tier.gain / is - 1) < 0.08 : b.tier.gain < is * 1.05;
        if (!from_warm || fabs(a.tier.gain / is - 1) > 0.08)
            fail_msg("drive %.1f GB/s, decoding %.1f, experts of %.0f KB, cache %.0f %%: %.3f times as fast, found out "
                     "without it %.3f, with it %.3f",
                     m.drive / 1e9, m.decode / 1e9, size / 1e3, cache * 100, is, a.tier.gain, b.tier.gain);
        /* Both have run: nothing is estimated. */
        double from_a = a.tier.token_s / (b.tier.none_s + b.tier.absent_s * a.tier.other_absent);
        double from_b = (a.tier.none_s + a.tier.absent_s * b.tier.other_absent) / b.tier.token_s;
        if (fabs(from_a / is - 1) > 0.04 || fabs(from_b / is - 1) > 0.04)
            fail_msg(
                "drive %.1f GB/s, decoding %.1f, experts of %.0f KB, cache %.0f %%: %.3f times as fast, by what both "
                "measured %.3f and %.3f",
                m.drive / 1e9, m.decode / 1e9, size / 1e3, cache * 100, is, from_a, from_b);
    }
    assert_true(SANITIZED || (pays > 1 && costs > 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_found_is_true)};
    zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    return zeros < 0 ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
