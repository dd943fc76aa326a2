/* labels: unit */
/* Receipts and plans as people and programs read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/report.h"

static void test_receipt(void **state)
{
    (void)state;
    hs_engine_stats before = {
        .bytes_read = 1000, .expert_hits = 5, .expert_misses = 5, .unpacked = 2, .prompt_tokens = 3};
    hs_engine_stats after = {.bytes_read = 1000 + (3u << 20),
                             .expert_hits = 35,
                             .expert_misses = 15,
                             .disk_wait_ns = 250000000,
                             .prefetch_issued = 9,
                             .prefetch_useful = 4,
                             .unpacked = 8,
                             .prompt_tokens = 10,
                             .generated_tokens = 20};
    hs_receipt r = hs_receipt_between(&before, &after, 0.5, 2);
    json_t *o = hs_receipt_json(&r);
    assert_int_equal(json_integer_value(json_object_get(o, "bytes_read")), 3 << 20);
    assert_int_equal(json_integer_value(json_object_get(o, "hits")), 30);
    assert_true(json_real_value(json_object_get(o, "hit_rate")) == 0.75);
    hs_buf line;
    hs_buf_init(&line, 4096);
    hs_receipt_format(o, r.prompt_tokens, r.generated_tokens, &line);
    assert_string_equal(line.data, "7 prompt + 20 generated tokens · prefill 0.50 s · decode 2.00 s (10.0 tokens/s) · "
                                   "hit rate 75 % · read 3.0 MiB · disk wait 0.25 s · prefetch 4 of 9 used · "
                                   "6 read unpacked");
    hs_buf_deinit(&line);
    json_decref(o);
}

/* A daemon of another version may tell less. */
static void test_receipt_lacks_fields(void **state)
{
    (void)state;
    hs_buf line;
    hs_buf_init(&line, 4096);
    hs_receipt_format(NULL, 1, 0, &line);
    assert_string_equal(line.data, "1 prompt + 0 generated tokens");
    hs_buf_clear(&line);
    json_t *o = json_pack("{s:f, s:s, s:f, s:i}", "hit_rate", 1.0, "bytes_read", "many", "queue_s", 2.0, "unpacked", 0);
    hs_receipt_format(o, 1, 0, &line);
    assert_string_equal(line.data, "1 prompt + 0 generated tokens · queued 2.0 s · hit rate 100 %");
    json_decref(o);
    hs_buf_deinit(&line);
}

static void test_no_expert_needed(void **state)
{
    (void)state;
    hs_receipt r = {0};
    json_t *o = hs_receipt_json(&r);
    assert_true(json_real_value(json_object_get(o, "hit_rate")) == 1.0);
    json_decref(o);
}

static void test_plan(void **state)
{
    (void)state;
    hs_plan p = {.dense = 1 << 20,
                 .cache = 4 << 20,
                 .total = 6 << 20,
                 .floor = 3 << 20,
                 .limit = 8 << 20,
                 .n_slots = 4,
                 .n_experts = 16,
                 .slot_bytes = 1 << 20,
                 .kv_per_token = 9ull << 32,
                 .model_bytes = 5ull << 32,
                 .threads = 3,
                 .moe_layers = 7,
                 .arch = "mixtral"};
    json_t *o = hs_plan_json(&p, "/m");
    assert_int_equal(json_integer_value(json_object_get(o, "floor")), 3 << 20);
    assert_int_equal(json_integer_value(json_object_get(o, "total")), 6 << 20);
    assert_int_equal(json_integer_value(json_object_get(o, "slots")), 4);
    assert_true(json_integer_value(json_object_get(o, "kv_per_token")) == 9ll << 32);
    assert_true(json_integer_value(json_object_get(o, "model_bytes")) == 5ll << 32);
    assert_int_equal(json_integer_value(json_object_get(o, "threads")), 3);
    assert_int_equal(json_integer_value(json_object_get(o, "moe_layers")), 7);
    assert_string_equal(json_string_value(json_object_get(o, "arch")), "mixtral");
    json_decref(o);
    hs_buf text;
    hs_buf_init(&text, 1 << 16);
    hs_plan_format(&p, "/m", &text);
    assert_non_null(strstr(text.data, "4 of 16 experts of 1.0 MiB"));
    assert_non_null(strstr(text.data, "floor             3.0 MiB"));
    hs_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_receipt), cmocka_unit_test(test_receipt_lacks_fields),
                                       cmocka_unit_test(test_no_expert_needed), cmocka_unit_test(test_plan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
