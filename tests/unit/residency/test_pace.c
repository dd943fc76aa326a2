/* labels: unit */
/* Packed against raw, over a virtual drive and clock: drives, experts and caches of many sizes. What the residency
 * chooses must not be slower than raw bytes alone, from the first token on, and soon as fast as the better way, also
 * where its forecast is wrong and when the machine changes. Policy, residency and its rules are real; only the objects
 * and time are not, so that every figure is the same on any machine. With an argument it prints a table. */
#include "paced.h"

#define PROMPT 16u
#define SHORT  64u /* tokens */
#define LONG   (is_table ? 512u : 256u)

typedef enum way { BOTH, PACKED, RAW, WAYS } way;

static bool is_table; /* all caches, and longer */

/* ns of the first SHORT tokens behind a prompt, and of LONG more. */
typedef struct times {
    double early, later;
} times;

static times measure(const machine *m, double expert_bytes, double cache, way which)
{
    run t;
    open_run(&t, m, expert_bytes, (uint32_t)(LAYERS * EXPERTS * cache), false, 0);
    t.r->ways.is_possible = which == BOTH;
    t.r->ways.raw = which == RAW;
    pass(&t, HS_PHASE_PREFILL, PROMPT);
    times ns;
    ns.early = decode(&t, SHORT);
    ns.later = decode(&t, LONG);
    close_run(&t);
    return ns;
}

/* Ranked exponents of FP8 as one core decodes them; what else packs hold. */
static const machine usual = {
    .decode = 8e9, .memory = 20e9, .ratio = 0.83, .latency_ns = 80e3, .wake_ns = 8e3, .frame_ns = 2e3};
static const struct {
    const char *name;
    double ratio, decode;
} forms[] = {{"FP8, exponents", 0.83, 8e9}, {"FP8, zstd", 0.83, 1e9}, {"BF16, split, zstd", 0.69, 1.7e9}};
static const double drives[] = {0.3e9, 1e9, 3e9, 7e9, 12e9}, sizes[] = {100e3, 2.65e6, 44e6},
                    caches[] = {0.10, 0.25, 0.50, 0.90};

/* early, later: bounds of what both ways take by raw bytes alone; better: of what they take in the long run by the
 * better way. */
static void race(machine m, double expert, double cache, double early, double later, double better)
{
    times t[WAYS];
    for (int w = 0; w < WAYS; w++)
        t[w] = measure(&m, expert, cache, (way)w);
    double best = fmin(t[PACKED].later, t[RAW].later);
    if (is_table) {
        printf("%4.2f %.1f GB/s: %5.1f GB/s %8.0f KB %3.0f %%  raw/packed %.3f  raw/both: first %.3f later %.3f  "
               "best/both %.3f\n",
               m.ratio, m.decode / 1e9, m.drive / 1e9, expert / 1e3, cache * 100, t[RAW].later / t[PACKED].later,
               t[RAW].early / t[BOTH].early, t[RAW].later / t[BOTH].later, best / t[BOTH].later);
        return;
    }
    if (t[BOTH].early > early * t[RAW].early || t[BOTH].later > later * t[RAW].later || t[BOTH].later > better * best)
        fail_msg("drive %.1f GB/s, experts of %.0f KB, cache %.0f %%: by raw %.4f at first, %.4f later; by the better "
                 "way %.4f",
                 m.drive / 1e9, expert / 1e3, cache * 100, t[BOTH].early / t[RAW].early, t[BOTH].later / t[RAW].later,
                 t[BOTH].later / best);
}

static void never_slower_than_raw(void **state)
{
    (void)state;
    size_t every = is_table ? 1 : 2;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (size_t d = 0; d < sizeof drives / sizeof *drives; d += f ? every : 1)
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s += f ? every : 1)
                for (size_t c = is_table ? 0 : f % 2; c < sizeof caches / sizeof *caches; c += every) {
                    machine m = usual;
                    m.ratio = forms[f].ratio;
                    m.decode = forms[f].decode;
                    m.drive = drives[d];
                    bool gains = f == 0 && d == 0 && s > 0 && caches[c] <= 0.5;
                    race(m, sizes[s], caches[c], gains ? 1 / 1.15 : 1.01, gains ? 1 / 1.15 : 1.01, 1.03);
                }
}

/* What a machine turns into while it decodes, and which way it is to go so many steps later. */
static void change(double drive, machine to, double expert, uint32_t steps, bool raw)
{
    run t;
    machine m = usual;
    m.drive = drive;
    open_run(&t, &m, expert, LAYERS * EXPERTS / 4, false, 0);
    pass(&t, HS_PHASE_PREFILL, PROMPT);
    decode(&t, 300);
    assert_true(steps > 100 || t.r->ways.raw != raw);
    set_machine(&to, 16u << 20, 1u << 20);
    decode(&t, steps);
    if (t.r->ways.raw != raw)
        fail_msg("drive %.1f GB/s, decoding %.1f GB/s, waking %.0f us: reads %s", to.drive / 1e9, to.decode / 1e9,
                 to.wake_ns / 1e3, raw ? "packed" : "raw");
    close_run(&t);
}

static void a_machine_that_changes_is_followed(void **state)
{
    (void)state;
    machine fast = usual, slow = usual, busy = usual;
    fast.drive = 6e9;
    slow.drive = 0.2e9;
    busy.drive = 1e9;
    busy.decode = 0.5e9;
    change(1e9, fast, 100e3, 300, true);
    change(1e9, slow, 100e3, 300, false);
    change(1e9, busy, 2.65e6, 300, true);
    change(0.2e9, fast, 100e3, 60, true); /* what was measured says packed, clearly, and is out of date */
    change(12e9, slow, 100e3, 60, false);
}

/* Each round of frames takes much longer than it looks: only measuring by turns can tell. */
static void a_wrong_forecast_is_found_out(void **state)
{
    (void)state;
    machine m = usual;
    m.drive = 1e9;
    m.wake_ns = 400e3;
    race(m, 2.65e6, 0.25, 1.2, 1.03, 1.03);
}

int main(int argc, char **argv)
{
    (void)argv;
    const struct CMUnitTest tests[] = {cmocka_unit_test(never_slower_than_raw),
                                       cmocka_unit_test(a_machine_that_changes_is_followed),
                                       cmocka_unit_test(a_wrong_forecast_is_found_out)};
    is_table = argc > 1;
    zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    return zeros < 0 ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
