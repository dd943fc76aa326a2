/* labels: unit fault */
/* tokenizer.json as nobody should write it: each is an error with a sentence, none a crash or a stall. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "tokenizer_fixture.h"

#define BYTE_LEVEL             "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define MODEL                  "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define DECODER                "\"decoder\":{\"type\":\"ByteLevel\"}"
#define WITH(pre, model, more) "{\"pre_tokenizer\":" pre "," model "," DECODER more "}"

static int load(const char *text, hs_tokenizer **t, hs_err *err)
{
    *err = (hs_err){0};
    *t = NULL;
    return fixture_load_text(text, strlen(text), t, err);
}

static void refused(const char *text, int code, const char *sentence)
{
    hs_tokenizer *t;
    hs_err err;
    int r = load(text, &t, &err);
    if (r != code || !strstr(err.text, sentence) || !strstr(err.text, "tokenizer.json"))
        fail_msg("%s: %d %s", text, r, err.text);
    assert_null(t);
}

static void test_smallest(void **state)
{
    (void)state;
    hs_tokenizer *t;
    hs_err err;
    assert_int_equal(load(WITH(BYTE_LEVEL, MODEL, ""), &t, &err), 0);
    assert_int_equal(hs_tokenizer_size(t), 3);
    json_t *ids = json_pack("[i,i,i]", 2, 0, 2);
    /* "c" has no token and there is no unk_token: it is left out. */
    assert_true(fixture_encodes_to(t, "abcaab", 6, ids));
    json_decref(ids);
    hs_tokenizer_destroy(&t);
    assert_null(t);
    hs_tokenizer_destroy(&t);
}

static void test_variants(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
        int ids[6];
    } cases[] = {
        {WITH(BYTE_LEVEL,
              "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]],\"unk_token\":\"b\"}", ""),
         "ab??",
         {2, 1, 1, -1}},
        {WITH(BYTE_LEVEL,
              "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[],\"unk_token\":\"b\",\"fuse_unk\":true}",
              ""),
         "a??a",
         {0, 1, 0, -1}},
        {WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"aab\":2},\"merges\":[],\"ignore_merges\":true}", ""),
         "aab",
         {2, -1}},
        {WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"aab\":2},\"merges\":[]}", ""), "aab", {0, 0, 1, -1}},
        {WITH("{\"type\":\"ByteLevel\",\"use_regex\":false}",
              "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"\\u0120\":7},\"merges\":[]}", ""),
         "ab",
         {7, 0, 1, -1}},
        /* Leftmost and longest; one that must stand alone does not match inside a word. */
        {WITH(BYTE_LEVEL, MODEL,
              ",\"added_tokens\":[{\"id\":9,\"content\":\"<a>\"},{\"id\":10,\"content\":\"<a>>\"},"
              "{\"id\":11,\"content\":\"x\",\"single_word\":true,\"lstrip\":true}]"),
         "<a>>ax  x",
         {10, 0, 11, -1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_tokenizer *t;
        hs_err err;
        if (load(cases[i].file, &t, &err) != 0)
            fail_msg("%s", err.text);
        json_t *ids = json_array();
        for (int k = 0; cases[i].ids[k] >= 0; k++)
            json_array_append_new(ids, json_integer(cases[i].ids[k]));
        assert_true(fixture_encodes_to(t, cases[i].text, strlen(cases[i].text), ids));
        json_decref(ids);
        hs_tokenizer_destroy(&t);
    }
}

static void test_not_supported(void **state)
{
    (void)state;
    refused(WITH("null", MODEL, ""), -ENOTSUP, "without ByteLevel");
    refused(WITH("{\"type\":\"Metaspace\"}", MODEL, ""), -ENOTSUP, "Metaspace");
    refused(WITH("{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "," BYTE_LEVEL "]}", MODEL, ""), -ENOTSUP,
            "after ByteLevel");
    refused(WITH(BYTE_LEVEL, MODEL, ",\"normalizer\":{\"type\":\"Lowercase\"}"), -ENOTSUP, "Lowercase");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"type\":\"Unigram\"}", ""), -ENOTSUP, "Unigram");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{},\"merges\":[],\"byte_fallback\":true}", ""), -ENOTSUP,
            "byte_fallback");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{},\"merges\":[],\"dropout\":0.1}", ""), -ENOTSUP, "dropout");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}", ""), -ENOTSUP,
            "end_of_word_suffix");
    refused("{\"pre_tokenizer\":" BYTE_LEVEL "," MODEL ",\"decoder\":{\"type\":\"WordPiece\"}}", -ENOTSUP, "WordPiece");
    refused("{\"pre_tokenizer\":" BYTE_LEVEL "," MODEL "}", -ENOTSUP, "decoder");
    refused(WITH("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}", MODEL, ""),
            -ENOTSUP, "intersection");
}

static void test_wrong(void **state)
{
    (void)state;
    refused("", -EINVAL, "an object");
    refused("[]", -EINVAL, "an object");
    refused("{}", -EINVAL, "model is missing");
    refused("{\"model\":{},\"model\":{}}", -EINVAL, "twice");
    refused("\xff", -EINVAL, "UTF-8");
    refused(WITH(BYTE_LEVEL, "\"model\":[]", ""), -EINVAL, "an object");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":[],\"merges\":[]}", ""), -EINVAL, "vocab");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{},\"merges\":{}}", ""), -EINVAL, "merges");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{}}", ""), -EINVAL, "missing");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}", ""), -EINVAL, "not negative");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}", ""), -EINVAL, "whole number");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":\"b\"},\"merges\":[]}", ""), -EINVAL, "whole number");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":4294967296},\"merges\":[]}", ""), -EINVAL, "too big");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":99999999999999999999999},\"merges\":[]}", ""), -EINVAL,
            "too big");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}", ""), -EINVAL, "twice");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}", ""), -EINVAL, "twice");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}", ""), -EINVAL, "does not have");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}", ""), -EINVAL, "two parts");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]}", ""), -EINVAL, "two parts");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}", ""), -EINVAL, "two parts");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[1]}", ""), -EINVAL, "a string");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}", ""), -EINVAL,
            "unk_token");
    refused(WITH(BYTE_LEVEL, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"fuse_unk\":1}", ""), -EINVAL,
            "true or false");
    refused(WITH("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}", MODEL, ""), -EINVAL,
            "parenthesis");
    refused(WITH("{\"type\":\"Split\",\"pattern\":\"a\",\"behavior\":\"Isolated\"}", MODEL, ""), -EINVAL, "pattern");
    refused(WITH("{\"type\":\"Sequence\"}", MODEL, ""), -EINVAL, "array");
    refused(WITH("{\"type\":\"ByteLevel\",\"use_regex\":3}", MODEL, ""), -EINVAL, "use_regex");
    refused(WITH(BYTE_LEVEL, MODEL, ",\"added_tokens\":{}"), -EINVAL, "array");
    refused(WITH(BYTE_LEVEL, MODEL, ",\"added_tokens\":[{\"id\":3}]"), -EINVAL, "added_tokens[0]");
    refused(WITH(BYTE_LEVEL, MODEL, ",\"added_tokens\":[{\"id\":3,\"content\":\"\"}]"), -EINVAL, "content");
    refused(WITH(BYTE_LEVEL, MODEL, ",\"added_tokens\":[{\"id\":0,\"content\":\"z\"}]"), -EINVAL, "another token");
    refused(WITH(BYTE_LEVEL, MODEL, ",\"added_tokens\":[{\"id\":999999999,\"content\":\"z\"}]"), -ERANGE, "id");
}

static void test_missing_file(void **state)
{
    (void)state;
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_tokenizer_load("/nonexistent", &t, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/tokenizer.json"));
}

static void test_deep_nesting(void **state)
{
    (void)state;
    size_t n = 1u << 20;
    char *text = malloc(n + 6);
    assert_non_null(text);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', n);
    text[n + 5] = '\0';
    refused(text, -EINVAL, "nested too deeply");
    free(text);
}

/* Merges may lead from a token to itself only by growing; a rank cannot make encoding run in circles. */
static void test_odd_merges(void **state)
{
    (void)state;
    hs_tokenizer *t;
    hs_err err;
    /* The empty token merges with "a" into "a" without end, if it could ever stand anywhere. */
    assert_int_equal(load(WITH(BYTE_LEVEL,
                               "\"model\":{\"vocab\":{\"a\":0,\"\":1,\"aa\":2},"
                               "\"merges\":[[\"\",\"a\"],[\"a\",\"\"],[\"a\",\"a\"],[\"a\",\"a\"]]}",
                               ""),
                          &t, &err),
                     0);
    json_t *ids = json_pack("[i,i]", 2, 0);
    assert_true(fixture_encodes_to(t, "aaa", 3, ids));
    json_decref(ids);
    hs_tokenizer_destroy(&t);
}

static void test_catastrophic_regex(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+d", "(a|aa)+d", "(?:a*)*d", "a*[de]", "(?=(a+)+d)a"};
    size_t len = 1u << 18;
    char *text = malloc(len), file[512];
    assert_non_null(text);
    memset(text, 'a', len);
    memcpy(text + len - 2, "xd", 2);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        hs_tokenizer *t;
        hs_err err;
        snprintf(file, sizeof file,
                 WITH("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},"
                      "\"behavior\":\"Isolated\"}," BYTE_LEVEL "]}",
                      MODEL, ""),
                 patterns[i]);
        if (load(file, &t, &err) != 0)
            fail_msg("%s: %s", patterns[i], err.text);
        uint32_t *ids = NULL;
        size_t n;
        int r = hs_tokenizer_encode(t, text, len, true, &ids, &n, &err);
        if (!(r == -E2BIG && strstr(err.text, "too many steps")) && !(r == -ETIMEDOUT && strstr(err.text, "too slow")))
            fail_msg("%s: %d %s", patterns[i], r, err.text);
        assert_null(ids);
        hs_tokenizer_destroy(&t);
    }
    free(text);
}

/* Every prefix of a real file, and the file with one byte changed. */
static void test_truncated_and_damaged(void **state)
{
    (void)state;
    char *text;
    size_t len;
    hs_err err = {0};
    assert_int_equal(hs_file_read(TESTS_DIR "/models/tale-moe-fp8/tokenizer.json", 1u << 20, &text, &len, &err), 0);
    while (len && text[len - 1] != '}')
        len--;
    uint32_t random = 1;
    for (int i = 0; i < 300; i++) {
        hs_tokenizer *t = NULL;
        random = random * 1664525 + 1013904223;
        size_t at = i < 100 ? len - 1 - (size_t)i : random % len;
        assert_true(fixture_load_text(text, at, &t, &err) < 0);
        assert_true(err.text[0] != '\0');
    }
    for (int i = 0; i < 300; i++) {
        hs_tokenizer *t = NULL;
        random = random * 1664525 + 1013904223;
        size_t at = random >> 4 & 1 ? random % 2000 : random % len;
        char old = text[at];
        text[at] = (char)(random >> 24);
        if (fixture_load_text(text, len, &t, &err) == 0) {
            uint32_t *ids = NULL;
            size_t n;
            if (hs_tokenizer_encode(t, text, 2000, true, &ids, &n, &err) == 0)
                hs_free(ids);
            hs_tokenizer_destroy(&t);
        }
        text[at] = old;
    }
    hs_free(text);
}

static void test_no_memory(void **state)
{
    (void)state;
    int64_t n = 0;
    for (;; n++) {
        hs_tokenizer *t = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = load(WITH(BYTE_LEVEL, MODEL, ",\"added_tokens\":[{\"id\":9,\"content\":\"<a>\",\"normalized\":true}]"),
                     &t, &err);
        hs_mem_fail_after(-1);
        if (r == 0) {
            hs_tokenizer_destroy(&t);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_true(err.text[0] != '\0');
        assert_null(t);
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_not_supported),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_odd_merges),
        cmocka_unit_test(test_catastrophic_regex),
        cmocka_unit_test(test_truncated_and_damaged),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
