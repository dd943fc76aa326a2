/* labels: unit golden */
/* The published tokenizers, string by string: ids, text, text without special tokens; and what encode promises. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/tokenizer.h"
#include "tokenizer_fixture.h"

static const char *const names[] = {"deepseek_v3", "qwen3", "gpt_oss"};
static hs_tokenizer *published[3];
static hs_tokenizer *tale;

static int load_all(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        published[i] = fixture_load_published(names[i]);
    hs_err err = {0};
    if (hs_tokenizer_load(TESTS_DIR "/models/tale-moe-fp8", &tale, &err) != 0)
        fail_msg("%s", err.text);
    return 0;
}

static int destroy_all(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        hs_tokenizer_destroy(&published[i]);
    hs_tokenizer_destroy(&tale);
    return 0;
}

static json_t *goldens(int i)
{
    char file[64];
    snprintf(file, sizeof file, "%s.json", names[i]);
    return fixture_json(file);
}

static void check_decode(const hs_tokenizer *t, const json_t *ids, bool skip_special, const json_t *expected)
{
    uint32_t list[8192];
    size_t n = json_array_size(ids);
    assert_true(n <= 8192);
    for (size_t i = 0; i < n; i++)
        list[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
    hs_buf out;
    hs_buf_init(&out, 1u << 20);
    assert_int_equal(hs_tokenizer_decode(t, list, n, skip_special, &out, NULL), 0);
    assert_int_equal(out.len, json_string_length(expected));
    if (out.len)
        assert_memory_equal(out.data, json_string_value(expected), out.len);
    hs_buf_deinit(&out);
}

static void test_strings(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        json_t *g = goldens(i), *items = json_object_get(g, "items");
        size_t wrong = 0;
        assert_int_equal(json_array_size(items), 300);
        for (size_t k = 0; k < json_array_size(items); k++) {
            const json_t *item = json_array_get(items, k), *s = json_object_get(item, "s");
            wrong += !fixture_encodes_to(published[i], json_string_value(s), json_string_length(s),
                                         json_object_get(item, "ids"));
        }
        assert_int_equal(wrong, 0);
        json_decref(g);
    }
}

static void test_decode(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        json_t *g = goldens(i), *items = json_object_get(g, "items"), *only = json_object_get(g, "decode_only");
        for (size_t k = 0; k < json_array_size(items); k++) {
            const json_t *item = json_array_get(items, k), *ids = json_object_get(item, "ids");
            const json_t *text = json_object_get(item, "decoded");
            if (!text)
                text = json_object_get(item, "s");
            check_decode(published[i], ids, false, text);
            if (json_object_get(item, "decoded_skip_special"))
                text = json_object_get(item, "decoded_skip_special");
            check_decode(published[i], ids, true, text);
        }
        assert_int_equal(json_array_size(only), 60);
        for (size_t k = 0; k < json_array_size(only); k++) {
            const json_t *item = json_array_get(only, k);
            check_decode(published[i], json_object_get(item, "ids"), false, json_object_get(item, "decoded"));
        }
        json_decref(g);
    }
}

static void test_all_of_unicode(void **state)
{
    (void)state;
    json_t *g = fixture_json("unicode.json"), *strings = json_object_get(g, "strings");
    for (int i = 0; i < 3; i++) {
        const json_t *ids = json_object_get(json_object_get(g, "ids"), names[i]);
        size_t wrong = 0;
        assert_true(json_array_size(ids) > 200 && json_array_size(ids) == json_array_size(strings));
        for (size_t k = 0; k < json_array_size(strings); k++) {
            const json_t *s = json_array_get(strings, k);
            wrong +=
                !fixture_encodes_to(published[i], json_string_value(s), json_string_length(s), json_array_get(ids, k));
        }
        assert_int_equal(wrong, 0);
    }
    json_decref(g);
}

static void test_demo_model(void **state)
{
    (void)state;
    json_t *g = fixture_json("tale_moe.json"), *items = json_object_get(g, "items");
    assert_true(json_array_size(items) > 0);
    for (size_t k = 0; k < json_array_size(items); k++) {
        const json_t *item = json_array_get(items, k), *s = json_object_get(item, "s");
        assert_true(
            fixture_encodes_to(tale, json_string_value(s), json_string_length(s), json_object_get(item, "ids")));
        check_decode(tale, json_object_get(item, "ids"), false, s);
    }
    json_decref(g);
}

static void encode(const hs_tokenizer *t, const char *text, size_t len, bool specials, uint32_t **ids, size_t *n)
{
    hs_err err = {0};
    if (hs_tokenizer_encode(t, text, len, specials, ids, n, &err) != 0)
        fail_msg("%s", err.text);
}

static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;
    static const char broken[] = "a\xff\xe4\xbd z\xf0\x9f", fixed[] = "a\xef\xbf\xbd\xef\xbf\xbd z\xef\xbf\xbd";
    uint32_t *a, *b;
    size_t na, nb;
    encode(published[1], broken, sizeof broken - 1, true, &a, &na);
    encode(published[1], fixed, sizeof fixed - 1, true, &b, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na * sizeof *a);
    hs_free(a);
    hs_free(b);
}

static void test_specials(void **state)
{
    (void)state;
    const hs_tokenizer *t = published[1];
    uint32_t end = hs_tokenizer_find_added(t, "<|im_end|>"), think = hs_tokenizer_find_added(t, "<think>");
    assert_int_equal(end, 151645);
    assert_true(hs_tokenizer_is_special(t, end));
    assert_true(think != HS_NO_TOKEN && !hs_tokenizer_is_special(t, think));
    assert_int_equal(hs_tokenizer_find_added(t, "<|im_end|"), HS_NO_TOKEN);
    assert_int_equal(hs_tokenizer_find_added(t, ""), HS_NO_TOKEN);
    uint32_t *ids;
    size_t n;
    encode(t, "<|im_end|>", 10, true, &ids, &n);
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], end);
    hs_free(ids);
    encode(t, "<|im_end|>", 10, false, &ids, &n);
    assert_true(n > 1);
    for (size_t i = 0; i < n; i++)
        assert_true(ids[i] != end);
    hs_free(ids);
}

static void test_lookup(void **state)
{
    (void)state;
    size_t len;
    assert_int_equal(hs_tokenizer_size(tale), 4096);
    assert_true(hs_tokenizer_bytes(tale) > 4096 * sizeof(uint32_t));
    assert_null(hs_tokenizer_token_bytes(tale, 4096, &len));
    assert_int_equal(len, 0);
    assert_null(hs_tokenizer_token_bytes(tale, UINT32_MAX, &len));
    assert_false(hs_tokenizer_is_special(tale, UINT32_MAX));
    const char *p = hs_tokenizer_token_bytes(tale, 225, &len);
    assert_int_equal(len, 1);
    assert_memory_equal(p, " ", 1);
    /* Ids that do not exist give nothing. */
    hs_buf out;
    hs_buf_init(&out, 100);
    assert_int_equal(hs_tokenizer_decode(tale, (uint32_t[]){225, 70000, UINT32_MAX, 225}, 4, false, &out, NULL), 0);
    assert_string_equal(out.data, "  ");
    hs_buf_deinit(&out);
    /* An output that is too long is an error. */
    hs_buf_init(&out, 1);
    hs_err err = {0};
    assert_int_equal(hs_tokenizer_decode(tale, (uint32_t[]){225, 225}, 2, false, &out, &err), -E2BIG);
    hs_buf_deinit(&out);
}

/* Words and blanks of 256 KiB: no quadratic time anywhere (this test would take minutes). */
static void test_long(void **state)
{
    (void)state;
    static const char *const units[] = {"a", " ", "aB", "\xcc\x81\xcc\xa3", "\n", "1", "\xe4\xb8\x80", "<"};
    const size_t len = 1u << 18;
    char *text = hs_malloc(len);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t k = strlen(units[u]), used = len / k * k;
        for (size_t i = 0; i < used; i++)
            text[i] = units[u][i % k];
        for (int i = 0; i < 3; i++) {
            uint32_t *ids;
            size_t n;
            encode(published[i], text, used, true, &ids, &n);
            hs_buf out;
            hs_buf_init(&out, 2 * len);
            assert_int_equal(hs_tokenizer_decode(published[i], ids, n, false, &out, NULL), 0);
            if (i != 1) { /* qwen3 normalises */
                assert_int_equal(out.len, used);
                assert_memory_equal(out.data, text, used);
            }
            hs_buf_deinit(&out);
            hs_free(ids);
        }
    }
    hs_free(text);
}

/* A word without end is refused by its length, not met with memory. */
static void test_endless_word(void **state)
{
    (void)state;
    size_t len = 1u << 20, n;
    char *text = hs_malloc(len);
    assert_non_null(text);
    memset(text, 'a', len);
    uint32_t *ids = NULL;
    hs_err err = {0};
    assert_int_equal(hs_tokenizer_encode(tale, text, len, true, &ids, &n, &err), -E2BIG);
    assert_non_null(strstr(err.text, "a word of 1048576 bytes"));
    assert_null(ids);
    hs_free(text);
    assert_true(hs_tokenizer_encode_bytes(len) < 64u << 20);
}

static void *encode_in_thread(void *arg)
{
    const json_t *items = arg;
    size_t wrong = 0;
    for (size_t k = 0; k < json_array_size(items); k += 3) {
        const json_t *item = json_array_get(items, k), *s = json_object_get(item, "s");
        wrong += !fixture_encodes_to(published[1], json_string_value(s), json_string_length(s),
                                     json_object_get(item, "ids"));
    }
    return wrong ? arg : NULL;
}

static void test_threads_share_it(void **state)
{
    (void)state;
    json_t *g = goldens(1);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_in_thread, json_object_get(g, "items")), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    json_decref(g);
}

static void test_nothing(void **state)
{
    (void)state;
    uint32_t *ids = NULL;
    size_t n = 1;
    encode(tale, NULL, 0, true, &ids, &n);
    assert_non_null(ids);
    assert_int_equal(n, 0);
    hs_free(ids);
    hs_buf out;
    hs_buf_init(&out, 10);
    assert_int_equal(hs_tokenizer_decode(tale, NULL, 0, true, &out, NULL), 0);
    assert_int_equal(out.len, 0);
    hs_buf_deinit(&out);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] =
        "Tell me\xff a story <\xef\xbd\x9cUser\xef\xbd\x9c> \xf0\x9f\xa6\x8a e\xcc\x81 \xe1\xa0\x8e";
    int failures = 0;
    for (int64_t n = 0;; n++) {
        uint32_t *ids = NULL;
        size_t count = 0;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = hs_tokenizer_encode(published[1], text, sizeof text - 1, true, &ids, &count, &err);
        hs_mem_fail_after(-1);
        if (r == 0) {
            hs_free(ids);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_non_null(strstr(err.text, "out of memory"));
        assert_null(ids);
        failures++;
    }
    assert_true(failures > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_all_of_unicode),
        cmocka_unit_test(test_demo_model),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_endless_word),
        cmocka_unit_test(test_threads_share_it),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, load_all, destroy_all);
}
