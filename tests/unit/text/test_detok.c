/* labels: unit golden */
/* Tokens one by one give the same text as all at once, and only whole characters on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/detok.h"
#include "text/utf8.h"
#include "tokenizer_fixture.h"

static void check(const hs_tokenizer *t, const uint32_t *ids, size_t n)
{
    hs_buf all, parts;
    hs_buf_init(&all, 1u << 20);
    hs_buf_init(&parts, 1u << 20);
    assert_int_equal(hs_tokenizer_decode(t, ids, n, true, &all, NULL), 0);
    hs_detok d;
    hs_detok_init(&d, t);
    for (size_t i = 0; i < n; i++) {
        size_t before = parts.len;
        hs_detok_push(&d, ids[i], &parts);
        assert_true(hs__utf8_is_valid(parts.data + before, parts.len - before));
    }
    hs_detok_flush(&d, &parts);
    hs_detok_flush(&d, &parts);
    hs_detok_deinit(&d);
    assert_int_equal(all.failed, 0);
    assert_int_equal(parts.len, all.len);
    assert_memory_equal(parts.data, all.data, all.len);
    hs_buf_deinit(&all);
    hs_buf_deinit(&parts);
}

static void test_goldens(void **state)
{
    (void)state;
    static uint32_t ids[8192];
    hs_tokenizer *t = fixture_load_published("qwen3");
    json_t *g = fixture_json("qwen3.json");
    static const char *const lists[] = {"items", "decode_only"};
    for (int l = 0; l < 2; l++) {
        const json_t *list = json_object_get(g, lists[l]);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *wanted = json_object_get(json_array_get(list, i), "ids");
            size_t n = json_array_size(wanted);
            assert_true(n <= 8192);
            for (size_t k = 0; k < n; k++)
                ids[k] = (uint32_t)json_integer_value(json_array_get(wanted, k));
            if (n)
                check(t, ids, n);
        }
    }
    /* Random ids, most of them pieces that do not fit together; some do not exist. */
    uint32_t random = 7;
    for (int round = 0; round < 50; round++) {
        for (int k = 0; k < 200; k++) {
            random = random * 1664525 + 1013904223;
            ids[k] = (random >> 8) % (round % 2 ? 256 : hs_tokenizer_size(t) + 100);
        }
        check(t, ids, 200);
    }
    json_decref(g);
    hs_tokenizer_destroy(&t);
}

/* Special tokens that are shown have a byte in front that no text has; others stay out. */
static void test_shown(void **state)
{
    (void)state;
    hs_tokenizer *t = fixture_load_published("qwen3");
    uint32_t start = hs_tokenizer_find_added(t, "<|im_start|>"), end = hs_tokenizer_find_added(t, "<|im_end|>"), *ids;
    size_t n, len;
    assert_int_equal(hs_tokenizer_encode(t, "\xf0\xa0\x80\x81", 4, false, &ids, &n, NULL), 0);
    assert_true(n > 1 && hs_tokenizer_token_bytes(t, ids[0], &len) && len < 4);
    hs_buf out;
    hs_buf_init(&out, 1000);
    hs_detok d;
    hs_detok_init(&d, t);
    d.shown = &start;
    d.n_shown = 1;
    hs_detok_push(&d, end, &out);
    hs_detok_push(&d, start, &out);
    hs_detok_push(&d, ids[0], &out); /* the begin of a character, which nothing completes */
    hs_detok_push(&d, start, &out);
    hs_detok_flush(&d, &out);
    assert_string_equal(out.data, "\xff<|im_start|>\xef\xbf\xbd\xff<|im_start|>");
    hs_detok_deinit(&d);
    hs_buf_deinit(&out);
    hs_free(ids);
    hs_tokenizer_destroy(&t);
}

static void test_failure_is_sticky(void **state)
{
    (void)state;
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_tokenizer_load(TESTS_DIR "/models/tale-moe-fp8", &t, &err), 0);
    hs_buf out;
    hs_buf_init(&out, 3);
    hs_detok d;
    hs_detok_init(&d, t);
    for (int i = 0; i < 5; i++)
        hs_detok_push(&d, 225, &out);
    assert_int_equal(out.failed, -E2BIG);
    assert_int_equal(out.len, 3);
    hs_buf_deinit(&out);
    hs_tokenizer_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_failure_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
