/* test_warm_tier.c - cache.warm_tier = auto: pays where the drive is slow for what the processors decode, and nowhere
 * else; what it chooses is what runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cache/replay.h"
#include "engine/engine_int.h"
#include "residency/residency_int.h"
#include "sanitized.h"
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
    opt.warm_tier = HS_WARM_AUTO; /* nothing may be measured */
    assert_int_equal(hs_engine_create(&opt, &e, &err), 0);
    assert_false(hs_engine_plan(e)->warm);
    assert_int_equal(e->opened.classes.of[0].bytes, e->opened.decoded.of[0].bytes);
    hs_engine_destroy(&e);
}

/* ---- what was measured is kept ---- */

static char dir[40];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hotset-warm-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char *cleanup = hs_asprintf("rm -r %s", dir);
    int r = system(cleanup); /* NOLINT: a name of our own */
    hs_free(cleanup);
    return r;
}

static hs_engine_options automatic(void)
{
    return tale_options((hs_engine_options){.path = tale_packed(),
                                            .cache_kind = HS_CACHE_PERCENT,
                                            .cache_percent = 25,
                                            .parallel = 1,
                                            .warm_tier = HS_WARM_AUTO,
                                            .state_dir = dir,
                                            .without_text = true,
                                            .io_calibrate = HS_CALIBRATE_KEPT});
}

typedef struct opened {
    hs__opened o;
    hs_plan plan;
    hs__pace_place at;
} opened;

static void open_model(const hs_engine_options *opt, opened *m)
{
    hs_err err = {0};
    hs_engine_options cold = *opt;
    cold.warm_tier = HS_WARM_OFF;
    if (hs__open(&cold, &m->o, &err) < 0 || hs__plan(&cold, &m->o, &m->plan, &err) < 0 ||
        hs__pace_place_find(&cold, &m->o, &m->plan, &m->at, &err) < 0)
        fail_msg("%s", err.text);
}

static void close_model(opened *m)
{
    hs_free(m->at.dir);
    hs__close(&m->o);
}

/* What comes up with that kept. */
static bool is_warm_with(const hs_engine_options *opt, const opened *m, const hs__pace *x)
{
    hs_engine *e = NULL;
    hs_err err = {0};
    assert_int_equal(hs__pace_save(&m->at, x, &err), 0);
    if (hs_engine_create(opt, &e, &err) < 0)
        fail_msg("%s", err.text);
    bool is = hs_engine_plan(e)->warm;
    assert_int_equal(hs_residency_slots(e->residency), e->plan.n_slots);
    assert_int_equal(is, e->opened.warm);
    hs_engine_destroy(&e);
    return is;
}

/* Experts of 100 KB that take 10 us to decode, tokens of 1 ms; drives that answer late, but with the same rate. */
static void what_is_kept_decides(void **state)
{
    (void)state;
    hs_engine_options opt = automatic();
    opened m;
    open_model(&opt, &m);
    hs__pace x = {.drive = {.bytes_per_s = 2e9, .first_s = 400e-6, .each_s = 150e-6},
                  .speed = {.decode_s = 1e-3, .decode_experts_s = 6e-4, .expand_s = 10e-6}};
    assert_true(is_warm_with(&opt, &m, &x));
    hs__pace fast = x;
    fast.drive.first_s = 20e-6;
    fast.drive.each_s = 10e-6;
    assert_false(is_warm_with(&opt, &m, &fast));
    hs__pace found = x; /* what was found out goes before */
    found.cold = found.warm = (hs__line){1e-3, 0};
    found.found_gain = 0.9;
    found.found_slots = m.plan.n_slots;
    assert_false(is_warm_with(&opt, &m, &found));
    found.found_slots = m.plan.n_slots * 2; /* unless it was with another cache */
    assert_true(is_warm_with(&opt, &m, &found));
    found = fast;
    found.found_gain = 1.3;
    found.found_slots = m.plan.n_slots;
    assert_true(is_warm_with(&opt, &m, &found));
    opt.io_calibrate = HS_CALIBRATE_OFF; /* nothing but defaults */
    assert_false(is_warm_with(&opt, &m, &x));
    close_model(&m);
}

static void it_is_measured_once(void **state)
{
    (void)state;
    hs_engine_options opt = automatic();
    hs_engine *e = NULL;
    hs_err err = {0};
    hs__pace x, again;
    opened m;
    open_model(&opt, &m);
    assert_int_equal(hs__pace_load(&m.at, &x, &err), -ENOENT);
    assert_int_equal(hs_engine_create(&opt, &e, &err), 0);
    hs_engine_destroy(&e);
    if (hs__pace_load(&m.at, &x, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(x.drive.bytes_per_s > 0 && x.drive.first_s + x.drive.each_s > 0);
    assert_true(x.speed.decode_s > 0 && x.speed.expand_s > 0 && x.found_gain == 0);
    assert_int_equal(hs_engine_create(&opt, &e, &err), 0);
    hs_engine_destroy(&e);
    assert_int_equal(hs__pace_load(&m.at, &again, &err), 0);
    /* What is measured twice is never the same. */
    assert_true(x.speed.expand_s == again.speed.expand_s && x.speed.decode_s == again.speed.decode_s &&
                x.drive.first_s == again.drive.first_s && x.drive.each_s == again.drive.each_s);
    hs_plan other = m.plan;
    hs__pace_place elsewhere;
    other.threads++;
    assert_int_equal(hs__pace_place_find(&opt, &m.o, &other, &elsewhere, &err), 0);
    assert_string_equal(elsewhere.name, m.at.name);
    assert_int_equal(hs__pace_load(&elsewhere, &x, &err), -ENOENT);
    hs_free(elsewhere.dir);
    close_model(&m);
}

/* But where it is to be measured always; what was found out stays. */
static void always_is_measured_anew(void **state)
{
    (void)state;
    hs_engine_options opt = automatic();
    hs_engine *e = NULL;
    hs_err err = {0};
    opened m;
    if (SANITIZED)
        skip(); /* measuring takes minutes */
    open_model(&opt, &m);
    hs__pace again, x = {.drive = {1e9, 1e-4, 1e-4}, .speed = {.decode_s = 1e-3, .expand_s = 1e-5}};
    opt.io_calibrate = HS_CALIBRATE_ALWAYS;
    x.found_gain = 1.5;
    assert_int_equal(hs__pace_save(&m.at, &x, &err), 0);
    assert_int_equal(hs_engine_create(&opt, &e, &err), 0);
    hs_engine_destroy(&e);
    assert_int_equal(hs__pace_load(&m.at, &again, &err), 0);
    assert_true(again.found_gain == 1.5 && again.speed.expand_s != x.speed.expand_s);
    close_model(&m);
}

/* As if it had served: an estimate, and what tokens take, in us. */
typedef struct served {
    bool warm; /* that it does */
    double gain;
    uint32_t token, none, absent, other_absent;
    double kept; /* gain */
} served;

static void serve(const hs_engine_options *opt, const opened *m, const served *s)
{
    hs_engine *e = NULL;
    hs_err err = {0};
    hs__pace x;
    assert_int_equal(hs_engine_create(opt, &e, &err), 0);
    assert_int_equal(hs_engine_plan(e)->warm, s->warm);
    assert_true(e->warm_slots > e->cold_slots && e->plan.n_slots == (s->warm ? e->warm_slots : e->cold_slots));
    assert_int_equal(e->residency->cfg.other_slots, s->warm ? e->cold_slots : e->warm_slots);
    assert_int_equal(hs_engine_save_learnt(e, &err), 0); /* nothing yet */
    atomic_store(&e->residency->told.gain_ppm, (uint64_t)(s->gain * 1e6));
    atomic_store(&e->residency->told.token_ns, s->token * 1000u);
    atomic_store(&e->residency->told.none_ns, s->none * 1000u);
    atomic_store(&e->residency->told.absent_ns, s->absent * 1000u);
    atomic_store(&e->residency->told.other_absent_ppm, s->other_absent * 1000000u);
    assert_int_equal(hs_engine_save_learnt(e, &err), 0);
    hs__engine_publish(e);
    hs_engine_stats st = hs_engine_get_stats(e);
    assert_true(fabs((double)st.warm_gain_ppm * 1e-6 - s->kept) < 1e-3);
    assert_true((st.warm_bytes > 0) == s->warm && (st.warm_ratio_ppm > 0) == s->warm);
    hs_engine_destroy(&e);
    assert_int_equal(hs__pace_load(&m->at, &x, &err), 0);
    assert_int_equal(x.found_slots, m->plan.n_slots);
    assert_true(fabs(x.found_gain - s->kept) < 0.02);
}

/* What has been found out while serving is kept, and turns the next start's choice round. */
static void a_wrong_choice_is_noticed(void **state)
{
    (void)state;
    static const served runs[] = {
        {false, 0.80, 1000, 500, 50, 5, 0.8},         /* as forecast: off, clearly */
        {false, 0.95, 1000, 500, 50, 5, 0.95},        /* not so clear: it is tried */
        {true, 0.97, 900, 800, 50, 10, 1000.0 / 900}, /* and measured: tokens that lack 10 without */
        {true, 0.97, 1100, 850, 50, 10, 1000.0 / 1100},
        {false, 0.97, 1000, 500, 50, 5, 1000.0 / (850 + 5 * 50)}, /* no second try */
        {false, 0.97, 1300, 500, 50, 5, 1300.0 / (850 + 5 * 50)}, /* the drive has got slower */
        {true, 0.9, 1000, 800, 50, 10, 1.0},
    };
    hs_engine_options opt = automatic();
    hs_err err = {0};
    opened m;
    open_model(&opt, &m);
    hs__pace x = {.drive = {.bytes_per_s = 2e9, .first_s = 20e-6, .each_s = 10e-6},
                  .speed = {.decode_s = 1e-3, .decode_experts_s = 6e-4, .expand_s = 10e-6}};
    assert_int_equal(hs__pace_save(&m.at, &x, &err), 0);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        serve(&opt, &m, &runs[i]);
    x.found_gain = 0;
    assert_int_equal(hs__pace_save(&m.at, &x, &err), 0);
    serve(&opt, &m, &(served){false, 0.95, 1000, 500, 50, 5, 0.95});
    serve(&opt, &m, &(served){true, 0.9, 1050, 1050, 0, 10, 1000.0 / 1050}); /* just as estimated, and so no gain */
    serve(&opt, &m, &(served){false, 0.95, 1000, 500, 50, 5, 1000.0 / 1050});
    x.found_gain = 0; /* chosen by forecast: an estimate that it hardly pays is no reason to end it, a loss is */
    x.drive = (hs_drive){2e9, 400e-6, 150e-6};
    assert_int_equal(hs__pace_save(&m.at, &x, &err), 0);
    serve(&opt, &m, &(served){true, 1.0, 1000, 500, 50, 5, 1.0});
    serve(&opt, &m, &(served){true, 0.93, 1000, 500, 50, 5, 0.93});
    serve(&opt, &m, &(served){false, 0.93, 1000, 500, 50, 10, 1.0});
    opt.cache_percent = 50; /* another cache: what was found out is of no use, nor is it mixed with what will be */
    close_model(&m);
    open_model(&opt, &m);
    serve(&opt, &m, &(served){true, 0.5, 1000, 500, 50, 5, 0.5});
    assert_int_equal(hs__pace_load(&m.at, &x, &err), 0);
    assert_true(x.warm.none_s == 500e-6 && x.cold.none_s == 0);
    close_model(&m);
}

/* A file that somebody has changed is as if there were none, and written over. */
static void a_bad_file_is_left_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "{\"version\": 2}", "{\"version\": 1}", "[]"};
    hs_engine_options opt = automatic();
    hs_err err = {0};
    hs__pace x;
    opened m;
    open_model(&opt, &m);
    char name[64], *path;
    int n = snprintf(name, sizeof name, "pace-");
    for (int i = 0; i < 16; i++)
        n += snprintf(name + n, sizeof name - (size_t)n, "%02x", hs_source_identity(m.o.source)[i]);
    path = hs_asprintf("%s/%s.json", dir, name);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hs_file_write_atomic(path, bad[i], strlen(bad[i]), &err), 0);
        assert_true(hs__pace_load(&m.at, &x, &err) < 0);
    }
    hs__pace negative = {.drive = {1e9, 1e-4, 1e-4}, .speed = {.decode_s = 1e-3, .expand_s = 1e-5}};
    assert_int_equal(hs__pace_save(&m.at, &negative, &err), 0);
    assert_int_equal(hs__pace_load(&m.at, &x, &err), 0);
    negative.drive.first_s = -1;
    assert_int_equal(hs__pace_save(&m.at, &negative, &err), 0);
    assert_int_equal(hs__pace_load(&m.at, &x, &err), -EINVAL);
    hs_free(path);
    close_model(&m);
}

/* ---- the forecast beside counted hits ---- */

#define TOKENS 700u
#define USES   (TOKENS * 30u)

static uint32_t object[USES], token[USES];

static void read_routes(void)
{
    FILE *f = fopen(TESTS_DIR "/unit/cache/tale-moe.routes", "r");
    char line[512];
    uint32_t n = 0;
    assert_non_null(f);
    while (n < USES && fgets(line, sizeof line, f)) {
        char *at = line;
        for (uint32_t k = 0; *line != '#' && k < 30; k++, n++) {
            object[n] = (uint32_t)strtoul(at, &at, 10) + k / 6 * 64;
            token[n] = n / 30;
        }
    }
    fclose(f);
    assert_int_equal(n, USES);
}

/* Seconds of the routes over a drive, as the daemon would work: of a cache for so many experts. */
static double replay(const hs_speed *s, const hs_drive *d, double stored, uint32_t n_slots, bool warm)
{
    uint64_t bytes[5];
    for (int i = 0; i < 5; i++)
        bytes[i] = (uint64_t)stored;
    hs_replay_trace t = {.object = object,
                         .token = token,
                         .n = USES,
                         .n_objects = 320,
                         .layer_objects = 64,
                         .first_counted = TOKENS / 4,
                         .layer_bytes = bytes,
                         .layer_least = 6,
                         .layer_s = (s->decode_s - s->decode_experts_s) / 5,
                         .expert_s = s->decode_experts_s / 30,
                         .expand_s = s->expand_s,
                         .latency_s = d->first_s,
                         .bytes_per_s = stored / d->each_s,
                         .warm = warm};
    void *mem = hs_malloc(hs_replay_bytes(&hs_policy_ewma, &t, n_slots));
    double seconds = hs_replay(&hs_policy_ewma, &t, n_slots, true, mem).seconds;
    hs_free(mem);
    return seconds;
}

/* The test model's own routes through caches of 10 to 75 %, as it is packed, over drives that answer soon and late:
 * auto takes what is clearly faster by counted hits, and never what is slower. */
static void the_forecast_is_right_where_it_matters(void **state)
{
    (void)state;
    static const double rates[] = {0.3e9, 1e9, 2e9, 7e9}, firsts[] = {80e-6, 300e-6}, caches[] = {0.1, 0.25, 0.5, 0.75};
    static const struct {
        double raw, stored, expert_s, expand_s;
    } forms[] = {{100e3, 83e3, 15e-6, 12e-6}, {200e3, 133e3, 25e-6, 20e-6}, {100e3, 83e3, 15e-6, 200e-6}};
    uint32_t n_on = 0, n_off = 0;
    read_routes();
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (size_t k = 0; k < 4 * 2 * 4; k++) {
            double stored = forms[i].stored, cache = caches[k % 4], gain;
            hs_drive d = {.bytes_per_s = rates[k / 8], .first_s = firsts[k / 4 % 2], .each_s = stored / rates[k / 8]};
            hs_speed s = {.decode_s = 5 * 50e-6 + 30 * forms[i].expert_s,
                          .decode_experts_s = 30 * forms[i].expert_s,
                          .expand_s = forms[i].expand_s};
            hs_plan cold = {.n_slots = (uint32_t)(320 * cache),
                            .n_experts = 320,
                            .token_cycle = 30,
                            .moe_layers = 5,
                            .bytes_per_token_cold = (uint64_t)(30 * stored),
                            .expert_bytes_all = (uint64_t)(320 * forms[i].raw),
                            .prefill_chunk = 512};
            hs_plan warm = cold;
            warm.warm = true;
            warm.n_slots = (uint32_t)fmin(cold.n_slots * forms[i].raw / stored, 320);
            bool pays = hs_warm_tier_pays(&cold, &warm, &s, &d, &gain);
            double counted = replay(&s, &d, stored, cold.n_slots, false) / replay(&s, &d, stored, warm.n_slots, true);
            n_on += pays;
            n_off += !pays;
            if (pays ? counted < 1 : counted > 1.2 && cache < 0.75)
                fail_msg("%.0f KB, %.1f GB/s after %.0f us, cache %.0f %%: %s, %.3f expected, %.3f counted",
                         stored / 1e3, d.bytes_per_s / 1e9, d.first_s * 1e6, cache * 100, pays ? "on" : "off", gain,
                         counted);
        }
    assert_true(n_on > 15 && n_off > 15);
}

/* ---- the plan ---- */

/* In a process of its own: comes up with auto. 0: within the plan, with a warm tier; 1: over it; 2: without. */
static int come_up(void)
{
    hs_err err = {0};
    hs_engine_options opt = automatic();
    hs_engine *e = NULL;
    opt.without_text = false;
    if (hs_engine_create(&opt, &e, &err) < 0)
        return 3;
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    bool is_over = (uint64_t)ru.ru_maxrss * 1024 > hs_engine_plan(e)->total;
    int r = is_over ? 1 : hs_engine_plan(e)->warm ? 0 : 2;
    hs_engine_destroy(&e);
    return r;
}

static int come_up_apart(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(come_up());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Neither what is measured to choose nor what is chosen takes more memory than the plan has. */
static void choosing_keeps_to_the_plan(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* their shadows are not the plan's */
    hs_engine_options opt = automatic();
    opened m;
    hs_err err = {0};
    hs__pace x;
    open_model(&opt, &m);
    int r = come_up_apart();
    assert_true(r == 0 || r == 2);
    assert_int_equal(hs__pace_load(&m.at, &x, &err), 0);
    x.drive.first_s = x.drive.each_s = 1; /* nothing is slower than that */
    assert_int_equal(hs__pace_save(&m.at, &x, &err), 0);
    assert_int_equal(come_up_apart(), 0);
    close_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_pays_on_slow_drives),
        cmocka_unit_test(it_does_not_pay),
        cmocka_unit_test(computing_dilutes),
        cmocka_unit_test(every_use_is_decoded),
        cmocka_unit_test(the_plan_has_what_runs),
        cmocka_unit_test(the_forecast_is_right_where_it_matters),
        cmocka_unit_test_setup_teardown(what_is_kept_decides, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(it_is_measured_once, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(always_is_measured_anew, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_wrong_choice_is_noticed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_bad_file_is_left_alone, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(choosing_keeps_to_the_plan, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
