/* test_warm_tier.c - cache.warm_tier = auto: pays where the drive is slow for what the processors decode, and nowhere
 * else; what it chooses is what runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/engine_int.h"
#include "sanitized.h"
#include "store/calibrate.h"
#include "tale.h"

/* A model of 10 layers of 100 experts of 10 MB that use 10 of them each; a quarter in memory, or a third compressed. */
static const hs_plan without = {.n_slots = 250,
                                .n_experts = 1000,
                                .token_cycle = 100,
                                .moe_layers = 10,
                                .bytes_per_token_cold = 800000000,
                                .expert_bytes_all = 10000000000,
                                .prefill_chunk = 512};
static const hs_speed speed = {
    .decode_s = 0.1, .decode_experts_s = 0.08, .expand_s = 0.001, .memory_bytes_per_s = 1e10};

static double gain_at(double bytes_per_s, double expand_s, uint32_t n_slots, bool *ret_pays)
{
    hs_plan with = without;
    hs_speed s = speed;
    hs_drive d = hs_drive_of_rate(&without, bytes_per_s);
    double gain;
    with.warm = true;
    with.n_slots = n_slots;
    s.expand_s = expand_s;
    *ret_pays = hs_warm_tier_pays(&without, &with, &s, &d, &gain);
    return gain;
}

static void it_pays_on_slow_drives(void **state)
{
    (void)state;
    bool pays, last = true;
    double least = 10;
    for (double rate = 0.1e9; rate < 10e9; rate *= 1.3) {
        double gain = gain_at(rate, 0.001, 333, &pays);
        assert_true(gain <= least + 0.02); /* it falls */
        assert_true(last || !pays);
        assert_true(!pays || gain > 1.05);
        least = gain < least ? gain : least;
        last = pays;
    }
    assert_false(pays);
    assert_true(least < 1); /* each use is decoded for nothing */
    gain_at(0.3e9, 0.001, 333, &pays);
    assert_true(pays);
}

static void it_does_not_pay(void **state)
{
    (void)state;
    bool pays;
    gain_at(0.3e9, 0.05, 333, &pays); /* decoding is slower than the drive */
    assert_false(pays);
    gain_at(0.3e9, 0.001, 255, &pays); /* hardly compressed */
    assert_false(pays);
    gain_at(0, 0.001, 333, &pays); /* nobody knows */
    assert_false(pays);
    gain_at(0.3e9, 0, 333, &pays); /* there is nothing to decode */
    assert_false(pays);
}

/* What does not win without computing does not win with it. */
static void computing_dilutes(void **state)
{
    (void)state;
    for (double rate = 0.1e9; rate < 10e9; rate *= 1.3) {
        double gain[2];
        for (int free = 0; free < 2; free++) {
            hs_plan with = without;
            hs_speed s = free ? (hs_speed){.expand_s = speed.expand_s} : speed;
            hs_drive d = hs_drive_of_rate(&without, rate);
            with.warm = true;
            with.n_slots = 333;
            hs_warm_tier_pays(&without, &with, &s, &d, &gain[free]);
        }
        assert_true(gain[1] >= gain[0] || gain[0] < 1);
    }
}

static void every_use_is_decoded(void **state)
{
    (void)state;
    hs_plan all = without;
    all.n_slots = all.n_experts;
    hs_use use = {.hit_rate = 1, .prompt_experts = -1, .prompt_reads = -1};
    hs_drive d = hs_drive_of_rate(&without, 1e9);
    hs_forecast f = hs_forecast_make(&all, &speed, &d, &use);
    assert_true(f.decode_tokens_per_s > 9.99 && f.decode_tokens_per_s < 10.01);
    all.warm = true;
    f = hs_forecast_make(&all, &speed, &d, &use); /* 100 ms more */
    assert_true(f.decode_tokens_per_s > 4.99 && f.decode_tokens_per_s < 5.01);
}

/* The same memory, more experts, and a plan that is kept. */
static void the_plan_has_what_runs(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_engine_options opt = tale_options(
        (hs_engine_options){.path = tale_packed(), .cache_kind = HS_CACHE_PERCENT, .cache_percent = 25, .parallel = 1});
    hs_plan cold, warm;
    assert_int_equal(hs_plan_make(&opt, &cold, &err), 0);
    opt.warm_tier = HS_WARM_ON;
    assert_int_equal(hs_plan_make(&opt, &warm, &err), 0);
    assert_true(warm.warm && !cold.warm);
    assert_true(warm.n_slots > cold.n_slots);
    assert_true(warm.cache <= cold.cache && warm.cache + warm.slot_bytes > cold.cache);
    assert_true(warm.slot_bytes < cold.slot_bytes);
    hs_engine *e = NULL;
    if (hs_engine_create(&opt, &e, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(hs_engine_plan(e)->warm);
    assert_int_equal(hs_residency_slots(e->residency), warm.n_slots);
    hs_engine_destroy(&e);
    opt.warm_tier = HS_WARM_AUTO; /* no drive was calibrated */
    assert_int_equal(hs_engine_create(&opt, &e, &err), 0);
    assert_false(hs_engine_plan(e)->warm);
    /* A drive that nothing is slower than, and one that nothing is faster than. */
    e->drive_bytes_per_s = 1e3;
    assert_int_equal(hs__choose_warm_tier(e, &opt, &err), 0);
    assert_true(e->opened.warm && e->plan.warm && e->plan.n_slots == warm.n_slots);
    hs_plan was = cold;
    assert_int_equal(hs__set_warm(&e->opened, false, &err), 0);
    e->plan = was;
    e->drive_bytes_per_s = 1e15;
    assert_int_equal(hs__choose_warm_tier(e, &opt, &err), 0);
    assert_false(e->opened.warm || e->plan.warm);
    assert_int_equal(e->opened.classes.of[0].bytes, e->opened.decoded.of[0].bytes);
    hs_engine_destroy(&e);
}

/* In a process of its own: comes up with auto on a drive that is known to be slow. 0: within the plan, with a warm
 * tier; 1: over it; 2: without. */
static int come_up(const char *state_dir)
{
    hs_err err = {0};
    hs_engine_options opt = tale_options((hs_engine_options){.path = tale_packed(),
                                                             .cache_kind = HS_CACHE_PERCENT,
                                                             .cache_percent = 25,
                                                             .parallel = 1,
                                                             .warm_tier = HS_WARM_AUTO,
                                                             .state_dir = state_dir,
                                                             .io_calibrate = HS_CALIBRATE_KEPT});
    hs_engine *e = NULL;
    if (hs_engine_create(&opt, &e, &err) < 0)
        return 3;
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    bool is_over = (uint64_t)ru.ru_maxrss * 1024 > hs_engine_plan(e)->total;
    int r = is_over ? 1 : hs_engine_plan(e)->warm ? 0 : 2;
    hs_engine_destroy(&e);
    return r;
}

/* What is measured to choose takes no more memory than the plan has. */
static void choosing_keeps_to_the_plan(void **state)
{
    (void)state;
    char dir[] = "/tmp/hotset-warm-XXXXXX", *file = NULL;
    uint64_t bytes;
    hs_err err = {0};
    if (SANITIZED)
        skip(); /* their shadows are not the plan's */
    hs_io_choice slow = hs_io_choice_default();
    slow.bytes_per_s = slow.default_bytes_per_s = 1e5;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(hs_disk_pick(tale_packed(), &file, &bytes, &err), 0);
    assert_int_equal(hs_calibration_save(dir, file, &slow, &err), 0);
    hs_free(file);
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(come_up(dir));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    char *cleanup = hs_asprintf("rm -r %s", dir);
    assert_int_equal(system(cleanup), 0); /* NOLINT: a name of our own */
    hs_free(cleanup);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_pays_on_slow_drives), cmocka_unit_test(it_does_not_pay),
        cmocka_unit_test(computing_dilutes),      cmocka_unit_test(every_use_is_decoded),
        cmocka_unit_test(the_plan_has_what_runs), cmocka_unit_test(choosing_keeps_to_the_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
