/* labels: unit */
/*
 * test_plan.c - the memory plan: what is refused and with which figures, what shrinks and in which order, and that
 * nothing planned is over the limit, for random wishes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/option.h"
#include "tale.h"

static hs__opened tale;
static const hs__opened *model = &tale;

static int open_tale(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_engine_options opt = {.path = TALE};
    return hs__open(&opt, &tale, &err);
}

static int close_tale(void **state)
{
    (void)state;
    hs__close(&tale);
    return 0;
}

static hs_engine_options wishes(void)
{
    return (hs_engine_options){.path = TALE, .threads = 2, .memory_limit = 8ull << 30};
}

static hs_plan planned(const hs_engine_options *opt)
{
    hs_plan p;
    hs_err err = {0};
    if (hs__plan(opt, model, &p, &err) < 0)
        fail_msg("%s", err.text);
    return p;
}

static uint64_t sum(const hs_plan *p)
{
    return p->dense + p->kv + p->scratch + p->staging + p->tables + p->text + p->runtime + p->outside + p->cache;
}

static void assert_says_size(const char *sentence, uint64_t bytes)
{
    char b[32];
    hs_format_size(bytes, b, sizeof b);
    if (!strstr(sentence, b))
        fail_msg("'%s' does not have the figure %s", sentence, b);
}

static void test_parts(void **state)
{
    (void)state;
    hs_engine_options opt = wishes();
    opt.memory_outside = 5u << 20;
    opt.parallel = 2;
    hs_plan p = planned(&opt);
    assert_int_equal(p.total, sum(&p));
    assert_string_equal(p.arch, "deepseek_v3");
    assert_int_equal(p.n_experts, 5 * 64);
    assert_int_equal(p.token_cycle, 5 * 6);
    assert_int_equal(p.min_slots, 6);
    assert_int_equal(p.n_slots, p.n_experts);
    assert_int_equal(p.cache, p.n_slots * p.slot_bytes);
    assert_int_equal(p.expert_bytes_all, p.n_experts * p.slot_bytes);
    assert_int_equal(p.context, 4096);
    assert_int_equal(p.parallel, 2);
    assert_int_equal(p.threads, 2);
    assert_int_equal(p.outside, 5u << 20);
    /* 6 layers x (64 latent + 16 rope) x f16 */
    assert_int_equal(p.kv_per_token, 6 * 80 * 2);
    assert_int_equal(p.kv, 2 * 4096 * p.kv_per_token);
    assert_false(p.packed);
    opt.kv_type = "f32";
    hs_plan wide = planned(&opt);
    assert_int_equal(wide.kv, 2 * p.kv);
}

static void test_queue_counts(void **state)
{
    (void)state;
    hs_engine_options opt = wishes();
    uint64_t without = planned(&opt).total;
    opt.max_queue = 100;
    assert_true(planned(&opt).total >= without + 100ull * 4096 * sizeof(uint32_t));
}

/* The floor is exact: with it the model runs, with one byte less it is refused. */
static void check_floor(hs_engine_options opt)
{
    hs_plan p;
    hs_err err = {0};
    opt.memory_limit = 8ull << 30;
    uint64_t floor = planned(&opt).floor, recommended = planned(&opt).recommended;
    assert_true(recommended >= floor);
    opt.memory_limit = floor;
    p = planned(&opt);
    assert_true(p.total <= floor);
    assert_int_equal(p.floor, floor);
    assert_true(p.n_slots >= p.min_slots);
    assert_true(opt.context ? p.context == opt.context : p.context >= 512);
    opt.memory_limit = floor - 1;
    assert_int_equal(hs__plan(&opt, model, &p, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "floor"));
    assert_non_null(strstr(err.text, "memory.limit"));
    assert_says_size(err.text, floor);
    assert_says_size(err.text, recommended);
    assert_int_equal(p.floor, floor);
    assert_int_equal(p.recommended, recommended);
}

static void test_floor(void **state)
{
    (void)state;
    static const uint32_t contexts[] = {0, 1, 16, 100, 777, 4096}, parallels[] = {0, 1, 4};
    for (size_t c = 0; c < sizeof contexts / sizeof *contexts; c++) {
        for (size_t p = 0; p < sizeof parallels / sizeof *parallels; p++) {
            hs_engine_options opt = wishes();
            opt.context = contexts[c];
            opt.parallel = parallels[p];
            opt.max_queue = 8;
            check_floor(opt);
            opt.memory_outside = 1234567;
            opt.kv_type = "f32";
            opt.threads = 7;
            check_floor(opt);
        }
    }
}

/* The floor of another model, as it is opened from `path`. */
static void check_floors_of(const char *path, bool packed, uint32_t max_context)
{
    hs__opened o;
    hs_err err = {0};
    hs_engine_options opt = {.path = path, .threads = 2, .without_text = true};
    if (hs__open(&opt, &o, &err) < 0)
        fail_msg("%s", err.text);
    model = &o;
    for (uint32_t k = 0; k < 4; k++) {
        opt.memory_limit = 8ull << 40;
        opt.context = k < 2 ? 0 : max_context >> (2 * k);
        opt.parallel = k % 2 ? 4 : 1;
        opt.max_queue = 8;
        hs_plan p = planned(&opt);
        assert_int_equal(p.packed, packed);
        assert_int_equal(p.total, sum(&p));
        opt.memory_limit = p.floor;
        p = planned(&opt);
        assert_true(p.total <= p.floor && p.n_slots >= p.min_slots);
        assert_true(!packed || p.n_staging >= 2);
        opt.memory_limit = p.floor - 1;
        assert_int_equal(hs__plan(&opt, &o, &p, &err), -ENOMEM);
        assert_says_size(err.text, p.floor);
    }
    model = &tale;
    hs__close(&o);
}

/* With its floor a packed model not only has a plan: it runs, and right. */
static void test_packed_floor(void **state)
{
    (void)state;
    hs_engine_options opt = tale_options((hs_engine_options){
        .path = tale_packed(), .cache_kind = HS_CACHE_BYTES, .context = 64, .parallel = 1, .max_queue = 1});
    check_floors_of(tale_packed(), true, 4096);
    opt.cache_kind = HS_CACHE_AUTO;
    hs_plan p;
    hs_err err = {0};
    assert_int_equal(hs_plan_make(&opt, &p, &err), 0);
    opt.memory_limit = p.floor;
    hs_engine *e = NULL;
    if (hs_engine_create(&opt, &e, &err) < 0 || hs_engine_start(e, &err) < 0)
        fail_msg("%s", err.text);
    const tale_prompt *prompt = &tale_prompts(e)[2];
    assert_int_equal(hs_engine_plan(e)->n_staging, 2);
    assert_true(hs_engine_plan(e)->n_slots < hs_engine_plan(e)->n_experts);
    hs_request_options ask = tale_ask(prompt);
    hs_buf text;
    hs_buf_init(&text, 1 << 16);
    assert_int_equal(tale_run(e, &ask, &text).state, HS_REQUEST_DONE);
    assert_string_equal(text.data, prompt->text);
    hs_buf_deinit(&text);
    hs_engine_destroy(&e);
}

/* DeepSeek-V3 as published, 671 GB, in files of holes. */
static void test_deepseek_v3(void **state)
{
    (void)state;
    static const char shapes[] =
        "--layers 61 --dense-layers 3 --hidden 7168 --inter 2048 --dense-inter 18432 --experts 256 --topk 8 --groups 8 "
        "--groups-used 4 --heads 128 --q-lora 1536 --kv-lora 512 --nope 128 --rope 64 --v 128 --vocab 129280";
    char folder[] = "/tmp/hotset-v3-XXXXXX", command[1024];
    hs_plan p;
    hs_err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "%s %s --holes 1 %s", SYNTH_MODEL, folder, shapes);
    assert_int_equal(system(command), 0);
    check_floors_of(folder, false, 163840);
    hs_engine_options opt = {.path = folder, .threads = 8, .without_text = true, .memory_limit = 64ull << 30};
    if (hs_plan_make(&opt, &p, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(p.n_experts, 58 * 256);
    assert_int_equal(p.token_cycle, 58 * 8);
    assert_int_equal(p.kv_per_token, 61 * (512 + 64) * 2);
    assert_true(p.expert_bytes_all > 600ull << 30 && p.total <= p.limit);
    assert_int_equal(p.prefill_chunk, 2048); /* a sweep reads 500 GiB */
    assert_true(p.dense > 10ull << 30 && p.dense < 30ull << 30);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* With what is recommended nothing wished is cut, and two token cycles stay in memory. */
static void test_recommended(void **state)
{
    (void)state;
    for (uint32_t parallel = 1; parallel <= 8; parallel++) {
        hs_engine_options opt = wishes();
        opt.parallel = parallel;
        opt.context = parallel % 2 ? 0 : 1000;
        opt.memory_limit = planned(&opt).recommended;
        hs_plan p = planned(&opt);
        assert_int_equal(p.parallel, parallel);
        assert_int_equal(p.context, opt.context ? opt.context : 4096);
        assert_true(p.n_slots >= 2 * p.token_cycle);
        assert_true(p.prefill_chunk >= 256);
    }
}

static void test_percent(void **state)
{
    (void)state;
    for (uint32_t percent = 0; percent <= 100; percent++) {
        hs_engine_options opt = wishes();
        opt.cache_kind = HS_CACHE_PERCENT;
        opt.cache_percent = percent;
        hs_plan p;
        hs_err err = {0};
        int r = hs__plan(&opt, model, &p, &err);
        if (320 * percent / 100 < 6) {
            assert_int_equal(r, -ENOMEM);
            assert_non_null(strstr(err.text, "floor of 6 experts"));
            assert_says_size(err.text, 6 * p.slot_bytes);
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(p.n_slots, 320 * percent / 100);
    }
    static const double wrong[] = {-1, 100.5, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hs_engine_options opt = wishes();
        opt.cache_kind = HS_CACHE_PERCENT;
        opt.cache_percent = wrong[i];
        hs_plan p;
        hs_err err = {0};
        assert_int_equal(hs__plan(&opt, model, &p, &err), -EINVAL);
        assert_non_null(strstr(err.text, "cache.size"));
    }
}

static void test_explicit_cache(void **state)
{
    (void)state;
    hs_engine_options opt = wishes();
    opt.cache_kind = HS_CACHE_BYTES;
    uint64_t slot = planned(&(hs_engine_options){.path = TALE, .memory_limit = 8ull << 30}).slot_bytes;
    opt.cache_bytes = 100 * slot + slot - 1;
    hs_plan p = planned(&opt);
    assert_int_equal(p.n_slots, 100);
    opt.cache_bytes = opt.memory_limit; /* more than there is: all */
    assert_int_equal(planned(&opt).n_slots, 320);
    hs_err err = {0};
    opt.cache_bytes = opt.memory_limit + 1; /* can never be had, even if all experts take less */
    assert_int_equal(hs__plan(&opt, model, &p, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "cache.size of 8.0 GiB exceeds memory.limit, 8.0 GiB"));
    assert_says_size(err.text, p.expert_bytes_all);
    opt.cache_bytes = 6 * slot - 1;
    assert_int_equal(hs__plan(&opt, model, &p, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "floor"));
    assert_true(p.floor > 0);
    /* Over the limit: refused with the figures, even where auto would shrink. */
    opt.cache_bytes = 300 * slot;
    opt.memory_limit = p.floor + 100 * slot;
    assert_int_equal(hs__plan(&opt, model, &p, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "floor"));
    assert_says_size(err.text, opt.memory_limit);
    assert_says_size(err.text, p.floor);
    opt.cache_kind = HS_CACHE_AUTO;
    p = planned(&opt);
    assert_true(p.n_slots >= 6 && p.n_slots < 300);
}

/* From the floor upwards no part of the shape gets smaller, and the floor does not move. The chunk may, for slots. */
static void test_monotone(void **state)
{
    (void)state;
    hs_engine_options opt = wishes();
    opt.parallel = 4;
    opt.max_queue = 16;
    hs_plan top = planned(&opt), before = {0};
    uint64_t step = (top.total - top.floor) / 150;
    for (uint64_t limit = top.floor; limit < top.total + step; limit += step) {
        opt.memory_limit = limit;
        hs_plan p = planned(&opt);
        assert_true(p.total <= limit);
        assert_int_equal(p.floor, top.floor);
        assert_int_equal(p.recommended, top.recommended);
        assert_true(p.context >= before.context);
        assert_true(p.parallel >= before.parallel);
        assert_true(p.prefill_chunk >= (before.prefill_chunk < 256 ? before.prefill_chunk : 256));
        before = p;
    }
    assert_int_equal(before.context, 4096);
    assert_int_equal(before.parallel, 4);
    assert_int_equal(before.prefill_chunk, 2048);
    assert_int_equal(before.n_slots, 320);
    opt.memory_limit = top.floor;
    hs_plan p = planned(&opt);
    assert_true(p.prefill_chunk < 2048);
    assert_true(p.n_slots < 320);
}

/* A chunk is worth the sweeps that it saves: everything in memory is worth more than a big one, and where most is not,
 * a big one is worth more than what it takes from the cache. */
static void test_chunk(void **state)
{
    (void)state;
    hs_engine_options opt = wishes();
    hs_plan all = planned(&opt);
    assert_true(all.n_slots == 320 && all.prefill_chunk == 2048);
    opt.memory_limit = all.total - 1;
    hs_plan p = planned(&opt);
    assert_int_equal(p.n_slots, 320);
    assert_int_equal(p.prefill_chunk, 1024);
    opt.memory_limit = all.total - all.scratch + p.scratch / 4;
    p = planned(&opt);
    assert_int_equal(p.prefill_chunk, 256); /* with more the cache would miss more than the sweeps do */
    assert_true(p.n_slots > 280);
    opt.cache_kind = HS_CACHE_PERCENT; /* the chunk is what else there is memory for */
    opt.cache_percent = 50;
    opt.memory_limit = all.total;
    assert_int_equal(planned(&opt).prefill_chunk, 2048);
    opt.cache_kind = HS_CACHE_AUTO;
    opt.context = 100; /* no longer than a prompt can be */
    assert_int_equal(planned(&opt).prefill_chunk, 100);
}

/* The drive is calibrated before there are weights, in memory that the plan has for them and for what comes later. */
static void test_calibration(void **state)
{
    (void)state;
    static const char config[] =
        "{\"model_type\":\"olmoe\",\"num_hidden_layers\":16,\"hidden_size\":128,\"intermediate_size\":512,"
        "\"vocab_size\":1000,\"max_position_embeddings\":512,\"num_experts\":64,\"num_experts_per_tok\":1,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":2}";
    hs_shape shape = {"small", json_loads(config, 0, NULL), "published"};
    hs_engine_options opt = wishes();
    hs_plan p;
    hs_err err = {0};
    opt.shape = &shape;
    opt.threads = 1;
    assert_int_equal(hs_plan_make(&opt, &p, &err), 0);
    opt.memory_limit = p.floor;
    assert_int_equal(hs_plan_make(&opt, &p, &err), 0);
    assert_true(p.model_bytes >= 256u << 20 && p.dense + p.kv + p.scratch + p.cache < 64u << 20);
    uint64_t program = (16u + 2u) << 20; /* and a thread */
    assert_true(p.dense + p.kv + p.scratch + p.staging + p.cache + p.runtime >= program + (64u << 20));
    json_decref((json_t *)shape.config);
}

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}

static hs_engine_options random_wishes(void)
{
    hs_engine_options o = {.path = TALE,
                           .memory_limit = 1 + random_below(300u << 20),
                           .memory_outside = random_below(20u << 20),
                           .cache_kind = (hs_cache_kind)random_below(3),
                           .cache_bytes = random_below(60u << 20),
                           .cache_percent = (double)random_below(1001) / 10,
                           .prefetch = random_below(2),
                           .threads = 1 + (uint32_t)random_below(16),
                           .kv_type = random_below(2) ? "f32" : "f16",
                           .context = random_below(2) ? (uint32_t)random_below(4097) : 0,
                           .parallel = (uint32_t)random_below(9),
                           .max_queue = (uint32_t)random_below(200)};
    return o;
}

static void test_random(void **state)
{
    (void)state;
    uint32_t good = 0, refused = 0;
    random_state = 20;
    for (int i = 0; i < 3000; i++) {
        hs_engine_options opt = random_wishes();
        hs_plan p;
        hs_err err = {0};
        int r = hs__plan(&opt, model, &p, &err);
        good += r == 0;
        refused += r < 0;
        if (r < 0) {
            assert_int_equal(r, -ENOMEM);
            assert_non_null(strstr(err.text, "floor"));
        } else {
            assert_int_equal(p.total, sum(&p));
            assert_true(p.total <= opt.memory_limit);
            assert_true(p.n_slots >= p.min_slots && p.n_slots <= p.n_experts);
            assert_true(p.context >= 1 && p.context <= 4096);
            assert_true(p.floor <= p.total);
        }
        opt.cache_kind = HS_CACHE_AUTO;
        opt.memory_limit = p.floor;
        assert_int_equal(hs__plan(&opt, model, &p, &err), 0);
        assert_true(p.total <= opt.memory_limit);
        opt.memory_limit = p.floor - 1;
        assert_int_equal(hs__plan(&opt, model, &p, &err), -ENOMEM);
    }
    assert_true(good > 300 && refused > 300);
}

static void test_wrong_wishes(void **state)
{
    (void)state;
    hs_plan p;
    hs_err err = {0};
    hs_engine_options opt = wishes();
    opt.context = 4097;
    assert_int_equal(hs_plan_make(&opt, &p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "4097"));
    opt = wishes();
    opt.kernels = "avx9";
    assert_int_equal(hs_plan_make(&opt, &p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "compute.kernels"));
    opt = wishes();
    opt.path = TESTS_DIR "/models/none";
    assert_true(hs_plan_make(&opt, &p, &err) < 0);
    assert_non_null(strstr(err.text, "models/none"));
}

/* Without a limit the plan takes what is free, and is never over it. */
static void test_automatic(void **state)
{
    (void)state;
    hs_engine_options opt = {.path = TALE, .without_text = true};
    hs_plan p;
    hs_err err = {0};
    assert_int_equal(hs_plan_make(&opt, &p, &err), 0);
    assert_true(p.limit > 0 && p.total <= p.limit);
    assert_true(p.threads >= 1);
    assert_int_equal(p.text, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),        cmocka_unit_test(test_queue_counts),   cmocka_unit_test(test_floor),
        cmocka_unit_test(test_packed_floor), cmocka_unit_test(test_deepseek_v3),    cmocka_unit_test(test_recommended),
        cmocka_unit_test(test_percent),      cmocka_unit_test(test_explicit_cache), cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_random),       cmocka_unit_test(test_wrong_wishes),   cmocka_unit_test(test_automatic),
        cmocka_unit_test(test_chunk),        cmocka_unit_test(test_calibration),
    };
    return cmocka_run_group_tests(tests, open_tale, close_tale);
}
