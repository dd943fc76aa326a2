/* labels: unit golden */
/* Vocabularies as GGUF files carry them: published ones give the reference's ids, broken ones a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/detok.h"
#include "tokenizer_fixture.h"
#include "vocab_fixture.h"

static hs_tokenizer *make(const hs_vocab_data *v)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    if (hs_tokenizer_create_gguf(v, "test.gguf", &t, &err) != 0)
        fail_msg("%s", err.text);
    return t;
}

static void check_published(const char *name, const char *pre)
{
    vocab_fixture f;
    char file[64];
    vocab_fixture_load(&f, name, pre);
    hs_tokenizer *t = make(&f.data);
    uint64_t most = hs_tokenizer_gguf_bytes(&f.data);
    assert_true(hs_tokenizer_bytes(t) <= most && most < 8 * hs_tokenizer_bytes(t));
    vocab_fixture_free(&f);
    snprintf(file, sizeof file, "%s.json", name);
    json_t *g = fixture_json(file), *items = json_object_get(g, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i), *s = json_object_get(item, "s");
        assert_true(fixture_encodes_to(t, json_string_value(s), json_string_length(s), json_object_get(item, "ids")));
    }
    assert_true(json_array_size(items) >= 300);
    json_decref(g);
    hs_tokenizer_destroy(&t);
}

static void test_published(void **state)
{
    (void)state;
    check_published("deepseek_v3", "deepseek-v3");
    check_published("qwen3", "qwen2");
    check_published("gpt_oss", "gpt-4o");
}

/* ---- small ones ---- */

enum { N = 1, U = 2, C = 3, D = 4, X = 5, B = 6 };

static hs_bytes tokens[32], merges[32];

static hs_vocab_data small(const char *model, const char *pre, const char *const *text, const char *const *pairs)
{
    hs_vocab_data v = {.model = model, .pre = pre, VOCAB_NO_IDS};
    v.n_tokens = vocab_strings(text, tokens);
    v.n_merges = pairs ? vocab_strings(pairs, merges) : 0;
    v.tokens = tokens;
    v.merges = merges;
    return v;
}

/* ids: up to a -1. */
static void encodes(const hs_tokenizer *t, const char *text, bool specials, const int *ids)
{
    uint32_t *got = NULL;
    size_t n = 0, i = 0;
    hs_err err = {0};
    if (hs_tokenizer_encode(t, text, strlen(text), specials, &got, &n, &err) != 0)
        fail_msg("%s", err.text);
    for (; i < n && ids[i] >= 0 && got[i] == (uint32_t)ids[i]; i++)
        continue;
    if (i < n || ids[i] >= 0)
        fail_msg("'%s': id %zu of %zu is %d", text, i, n, i < n ? (int)got[i] : -1);
    hs_free(got);
}

static void decodes(const hs_tokenizer *t, const uint32_t *ids, size_t n, bool skip, const char *text)
{
    hs_buf out;
    hs_buf_init(&out, 1000);
    (void)hs_buf_puts(&out, "");
    assert_int_equal(hs_tokenizer_decode(t, ids, n, skip, &out, NULL), 0);
    assert_string_equal(out.data, text);
    hs_buf_deinit(&out);
}

#define IDS(...)                                                                                                       \
    (const int[])                                                                                                      \
    {                                                                                                                  \
        __VA_ARGS__, -1                                                                                                \
    }

static void test_types(void **state)
{
    (void)state;
    static const char *const text[] = {"a",   "b",  "ab", "<s>", "<think>", "[PAD6]", "<unk>",
                                       "a b", "ab", "",   "",    "\xff",    NULL};
    static const int32_t types[] = {N, N, N, C, D, X, U, D, N, N, C, N};
    hs_vocab_data v = small("gpt2", "gpt-2", text, (const char *const[]){"a b", NULL});
    v.token_type = types;
    v.bos = v.eos = 3;
    hs_tokenizer *t = make(&v);
    assert_int_equal(hs_tokenizer_size(t), 12);
    encodes(t, "ab<s>ab<think>a b<unk>", true, IDS(2, 3, 2, 4, 7, 6)); /* the first "ab" */
    encodes(t, "<s>ab", false, IDS(2));                                /* bytes without a token are left out */
    decodes(t, (const uint32_t[]){3, 8, 4, 5, 9, 10, 6, 11, 99}, 9, false, "<s>ab<think><unk>\xef\xbf\xbd");
    decodes(t, (const uint32_t[]){3, 8, 4, 6}, 4, true, "ab<think>");
    assert_true(hs_tokenizer_is_special(t, 3) && hs_tokenizer_is_special(t, 6) && hs_tokenizer_is_special(t, 10));
    assert_false(hs_tokenizer_is_special(t, 4) || hs_tokenizer_is_special(t, 2));
    assert_int_equal(hs_tokenizer_find_added(t, "<think>"), 4);
    size_t len;
    assert_null(hs_tokenizer_token_bytes(t, 5, &len));
    hs_tokenizer_destroy(&t);
    /* A control token that is a part of a character is not looked for. */
    v.token_type = (const int32_t[]){N, N, N, C, D, X, U, D, N, N, C, C};
    tokens[11] = (hs_bytes){"\x96", 1};
    t = make(&v);
    encodes(t, "ab\xe6\x96\x87<s>", true, IDS(2, 3));
    decodes(t, (const uint32_t[]){2, 11}, 2, true, "ab");
    hs_tokenizer_destroy(&t);
    /* Without types the tokens that the file names are control tokens. */
    v.token_type = NULL;
    t = make(&v);
    encodes(t, "ab<s>", true, IDS(2, 3));
    assert_true(hs_tokenizer_is_special(t, 3));
    assert_false(hs_tokenizer_is_special(t, 4));
    hs_tokenizer_destroy(&t);
}

/* What the name decides besides the patterns: normalisation, merges or not, BOS. */
static void test_pre_flags(void **state)
{
    (void)state;
    /* "aab" has no merge that makes it; U+00E9 is C3 A9. */
    static const char *const text[] = {"a", "b", "aab", "\xc3\x83", "\xc2\xa9", "\xc3\x83\xc2\xa9", NULL};
    static const char *const pairs[] = {"\xc3\x83 \xc2\xa9", NULL};
    hs_vocab_data v = small("gpt2", "llama-bpe", text, pairs);
    v.token_type = (const int32_t[]){N, N, N, N, N, N};
    v.bos = 1;
    hs_tokenizer *t = make(&v);
    encodes(t, "aab", true, IDS(2));
    assert_int_equal(hs_tokenizer_bos(t), 1);
    hs_tokenizer_destroy(&t);
    v.add_bos = 0;
    t = make(&v);
    assert_int_equal(hs_tokenizer_bos(t), HS_NO_TOKEN);
    hs_tokenizer_destroy(&t);
    v.pre = "qwen2";
    v.add_bos = -1;
    t = make(&v);
    encodes(t, "aab", true, IDS(0, 0, 1));
    encodes(t, "e\xcc\x81", true, IDS(5));
    assert_int_equal(hs_tokenizer_bos(t), HS_NO_TOKEN);
    hs_tokenizer_destroy(&t);
    v.add_bos = 1;
    v.pre = NULL;
    t = make(&v);
    assert_int_equal(hs_tokenizer_bos(t), 1);
    encodes(t, "e\xcc\x81", true, IDS(-1));
    hs_tokenizer_destroy(&t);
}

static void refused(const hs_vocab_data *v, int code, const char *word)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_tokenizer_create_gguf(v, "test.gguf", &t, &err), code);
    assert_null(t);
    if (!strstr(err.text, word) || strncmp(err.text, "test.gguf: ", 11) != 0)
        fail_msg("no '%s': %s", word, err.text);
}

/* Merges of tokens that are not there are passed over; the others keep their ranks. */
static void test_cut_vocabulary(void **state)
{
    (void)state;
    static const char *const ab[] = {"a", "b", "ab", NULL};
    static const char *const pairs[] = {"a x", "x b", "b a", "\xff \xff", "a b", NULL};
    hs_vocab_data v = small("gpt2", "gpt-2", ab, pairs);
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    if (hs_tokenizer_create_gguf(&v, "test.gguf", &t, &err) != 0)
        fail_msg("%s", err.text);
    encodes(t, "abba", false, (const int[]){2, 1, 0, -1});
    hs_tokenizer_destroy(&t);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const ab[] = {"a", "b", "ab", NULL};
    static const char *const wrong[] = {"ab", "a  b", " ab", "ab ", "a b ", "", "\xff", NULL};
    hs_vocab_data v = small("gpt2", "gpt-2", ab, NULL);
    v.n_merges = 2;
    merges[0] = (hs_bytes){"a b", 3};
    for (size_t i = 0; wrong[i]; i++) {
        merges[1] = (hs_bytes){wrong[i], (uint32_t)strlen(wrong[i])};
        refused(&v, -EINVAL, "merges[1]: two tokens");
    }
    v.n_merges = 0;
    v.pre = "no-such";
    refused(&v, -ENOTSUP, "no-such is not supported, only default gpt-2");
    v.pre = "gpt-2";
    v.model = "bert";
    refused(&v, -ENOTSUP, "bert is not supported, only gpt2 and llama");
    v.model = NULL;
    refused(&v, -ENOENT, "no vocabulary");
    v.model = "gpt2";
    v.n_tokens = 0;
    refused(&v, -ENOENT, "no vocabulary");
    v.n_tokens = 3;
    v.token_type = (const int32_t[]){N, 7, N};
    refused(&v, -EINVAL, "token 1: type 7");
    v.token_type = (const int32_t[]){N, -1, N};
    refused(&v, -EINVAL, "token 1: type -1");
    static char big[1100];
    memset(big, 'x', sizeof big);
    tokens[2] = (hs_bytes){big, sizeof big};
    v.token_type = (const int32_t[]){N, N, C};
    refused(&v, -EINVAL, "1100 bytes");
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char *const text[] = {"a", "b", "ab", "<s>", NULL};
    static const int32_t types[] = {N, N, N, C};
    static const float scores[] = {-2, -3, -1, 0};
    for (int spm = 0; spm < 2; spm++) {
        hs_vocab_data v = small(spm ? "llama" : "gpt2", "gpt-2", text, (const char *const[]){"a b", NULL});
        v.token_type = types;
        v.scores = scores;
        int64_t n = 0;
        for (int r = -1; r != 0; n++) {
            hs_tokenizer *t = NULL;
            hs_err err = {0};
            hs_mem_fail_after(n);
            r = hs_tokenizer_create_gguf(&v, "test.gguf", &t, &err);
            hs_mem_fail_after(-1);
            assert_int_equal(r, r ? -ENOMEM : 0);
            assert_true(r == 0 ? t != NULL : t == NULL && err.text[0] != '\0');
            hs_tokenizer_destroy(&t);
        }
        assert_true(n > 5);
    }
}

/* A million tokens, most of them the same text; a million merges, each of them there many times. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    hs_bytes *all = calloc(MANY, sizeof *all), *pairs = calloc(MANY, sizeof *pairs);
    float *scores = calloc(MANY, sizeof *scores);
    assert_true(all && pairs && scores);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = (hs_bytes){"aaaaaaaaaaaaaaaa", (uint32_t)(i % 16) + 1};
        pairs[i] = (hs_bytes){"a a", 3};
        scores[i] = (float)(i % 7);
    }
    hs_vocab_data v = {.model = "gpt2", .pre = "gpt-2", .tokens = all, .merges = pairs, VOCAB_NO_IDS};
    v.n_tokens = v.n_merges = MANY;
    hs_tokenizer *t = make(&v);
    encodes(t, "aaa", true, IDS(1, 0));
    assert_true(hs_tokenizer_bytes(t) <= hs_tokenizer_gguf_bytes(&v));
    hs_tokenizer_destroy(&t);
    v.model = "llama";
    v.scores = scores;
    v.add_space_prefix = 0;
    t = make(&v);
    assert_true(hs_tokenizer_bytes(t) <= hs_tokenizer_gguf_bytes(&v));
    hs_tokenizer_destroy(&t);
    free(all);
    free(pairs);
    free(scores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),      cmocka_unit_test(test_types),   cmocka_unit_test(test_pre_flags),
        cmocka_unit_test(test_cut_vocabulary), cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
