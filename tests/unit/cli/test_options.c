/* labels: unit */
/* From the configuration to the engine's options, and what a model folder says about itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

static hs_config *config(const char *const *assignments)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_option_tables(tables);
    hs_config *c = NULL;
    hs_err err = {0};
    assert_int_equal(hs_config_create(tables, HS_N_OPTION_TABLES, &c, &err), 0);
    for (; *assignments; assignments++)
        if (hs_config_set(c, *assignments, "test", &err) < 0)
            fail_msg("%s", err.text);
    return c;
}

static void test_defaults(void **state)
{
    (void)state;
    hs_config *c = config((const char *const[]){NULL});
    hs_engine_options o;
    hs_engine_options_from_config(c, &o);
    assert_int_equal(o.memory_limit, 0);
    assert_int_equal(o.cache_kind, HS_CACHE_AUTO);
    assert_string_equal(o.policy, "ewma");
    assert_false(o.io_buffered);
    assert_false(o.io_direct);
    assert_int_equal(o.io_read_size, 0); /* open: what calibration has found, or the default */
    assert_int_equal(o.io_in_flight, 0);
    assert_int_equal(o.io_calibrate, HS_CALIBRATE_KEPT);
    assert_false(o.io_verify_always);
    assert_true(o.prefetch);
    assert_string_equal(o.kv_type, "f16");
    assert_int_equal(o.context, 0);
    assert_null(o.path);
    hs_config_destroy(&c);
}

static void test_values(void **state)
{
    (void)state;
    hs_config *c = config(
        (const char *const[]){"memory.limit=3G", "cache.size=12.5%", "cache.policy=lru", "io.engine=pread",
                              "io.calibrate=off", "io.verify=always", "state.dir=/var/lib/x", "io.direct=no",
                              "io.read_size=2M", "io.in_flight=8M", "prefetch.mode=off", "prefetch.budget=1M",
                              "compute.threads=3", "compute.kernels=generic", "kv.type=f32", "kv.context=777", NULL});
    hs_engine_options o;
    hs_engine_options_from_config(c, &o);
    assert_int_equal(o.memory_limit, 3ull << 30);
    assert_int_equal(o.cache_kind, HS_CACHE_PERCENT);
    assert_true(o.cache_percent == 12.5);
    assert_string_equal(o.policy, "lru");
    assert_string_equal(o.io_engine, "pread");
    assert_true(o.io_buffered);
    assert_false(o.io_direct);
    assert_int_equal(o.io_calibrate, HS_CALIBRATE_OFF);
    assert_true(o.io_verify_always);
    assert_string_equal(o.state_dir, "/var/lib/x");
    assert_int_equal(o.io_read_size, 2 << 20);
    assert_int_equal(o.io_in_flight, 8 << 20);
    assert_false(o.prefetch);
    assert_int_equal(o.prefetch_budget, 1 << 20);
    assert_int_equal(o.threads, 3);
    assert_string_equal(o.kernels, "generic");
    assert_string_equal(o.kv_type, "f32");
    assert_int_equal(o.context, 777);
    hs_config_destroy(&c);
}

static void test_model_overrides(void **state)
{
    (void)state;
    hs_config *c =
        config((const char *const[]){"cache.size=50%", "kv.context=100", "model.a.path=/a", "model.b.path=/b",
                                     "model.b.cache=4M", "model.b.context=200", "model.b.kv_type=f32", NULL});
    hs_engine_options o;
    hs_engine_options_from_config(c, &o);
    hs_engine_options_for_model(c, 0, &o);
    assert_string_equal(o.path, "/a");
    assert_int_equal(o.cache_kind, HS_CACHE_PERCENT);
    assert_int_equal(o.context, 100);
    assert_string_equal(o.kv_type, "f16");
    hs_engine_options_from_config(c, &o);
    hs_engine_options_for_model(c, 1, &o);
    assert_string_equal(o.path, "/b");
    assert_int_equal(o.cache_kind, HS_CACHE_BYTES);
    assert_int_equal(o.cache_bytes, 4 << 20);
    assert_int_equal(o.context, 200);
    assert_string_equal(o.kv_type, "f32");
    hs_config_destroy(&c);
}

static void test_facts(void **state)
{
    (void)state;
    hs_facts f = {0};
    hs_err err = {0};
    assert_int_equal(hs_facts_read(TESTS_DIR "/models/tale-moe-fp8", &f, &err), 0);
    assert_string_equal(f.arch, "deepseek_v3");
    assert_int_equal(f.vocab, 4096);
    assert_int_equal(f.n_layers, 6);
    assert_int_equal(f.n_moe_layers, 5);
    assert_int_equal(f.n_experts, 64);
    assert_int_equal(f.top_k, 6);
    assert_int_equal(f.layers[0].number, 1);
    /* 3 matrices of 128 x 256 bytes, and two f32 scales each */
    assert_int_equal(f.layers[4].expert_bytes, 3 * 128 * 256 + 3 * 2 * 4);
    assert_true(f.layers[0].dense_bytes > 278528);
    hs_facts_deinit(&f);
    assert_true(hs_facts_read(TESTS_DIR "/no-such-model", &f, &err) < 0);
    assert_non_null(strstr(err.text, "no-such-model"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_model_overrides), cmocka_unit_test(test_facts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
