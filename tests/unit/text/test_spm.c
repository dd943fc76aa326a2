/* labels: unit golden */
/* SentencePiece-like tokenizers, of GGUF files (scores) and tokenizer.json files (merges). Ids and texts were written
 * down from what the reference library makes of the same vocabulary; random ones follow the definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/detok.h"
#include "text/spm.h"
#include "text/utf8.h"
#include "tokenizer_fixture.h"
#include "vocab_fixture.h"

#define M "\xe2\x96\x81" /* ▁ */

enum { N = 1, U = 2, C = 3, D = 4, B = 6, N_TOKENS = 280 };

/* 0 <unk>, 1 <s>, 2 </s>, 3.. the bytes, 259.. these. */
static const char *const words[] = {M,    "a",   "b",    M "a",      "ab",           M M,      "c", "bc", "-",
                                    "--", "---", M "ab", "\xc3\xa9", "\xe4\xb8\xad", "<think>"};
static const float word_scores[] = {-20, -21, -22, -1, -2, -3, -23, -0.5f, -24, -4, -5, -6, -25, -26, 0};
#define N_WORDS (sizeof words / sizeof *words)

typedef struct vocab {
    hs_bytes tokens[N_TOKENS];
    float scores[N_TOKENS];
    int32_t types[N_TOKENS];
    char bytes[256][8];
    hs_vocab_data data;
} vocab;

static void fill(vocab *v)
{
    *v = (vocab){.data = {.model = "llama", .pre = "default", VOCAB_NO_IDS}};
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    uint32_t n = 0;
    for (; n < 3; n++) {
        v->tokens[n] = (hs_bytes){first[n], (uint32_t)strlen(first[n])};
        v->types[n] = n ? C : U;
    }
    for (int b = 0; b < 256; b++, n++) {
        snprintf(v->bytes[b], sizeof v->bytes[b], "<0x%02X>", (unsigned)b);
        v->tokens[n] = (hs_bytes){v->bytes[b], 6};
        v->types[n] = B;
    }
    for (size_t i = 0; i < N_WORDS; i++, n++) {
        v->tokens[n] = (hs_bytes){words[i], (uint32_t)strlen(words[i])};
        v->types[n] = strcmp(words[i], "<think>") ? N : D;
        v->scores[n] = word_scores[i];
    }
    v->data.tokens = v->tokens;
    v->data.scores = v->scores;
    v->data.token_type = v->types;
    v->data.n_tokens = n;
    v->data.bos = 1;
    v->data.eos = 2;
    v->data.unknown = 0;
}

static hs_tokenizer *make(const vocab *v)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    if (hs_tokenizer_create_gguf(&v->data, "test.gguf", &t, &err) != 0)
        fail_msg("%s", err.text);
    return t;
}

/* A letter for each of `words`, {xx} for a byte, <n> for the rest. */
static void show(const uint32_t *ids, size_t n, hs_buf *out)
{
    (void)hs_buf_puts(out, "");
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 259)
            (void)hs_buf_printf(out, i ? " %s" : "%s", words[ids[i] - 259]);
        else if (ids[i] >= 3)
            (void)hs_buf_printf(out, i ? " {%02x}" : "{%02x}", ids[i] - 3);
        else
            (void)hs_buf_printf(out, i ? " <%u>" : "<%u>", ids[i]);
    }
}

static void encodes(const hs_tokenizer *t, const char *text, bool specials, const char *tokens)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    hs_err err = {0};
    hs_buf out;
    hs_buf_init(&out, 4096);
    if (hs_tokenizer_encode(t, text, strlen(text), specials, &ids, &n, &err) != 0)
        fail_msg("%s", err.text);
    show(ids, n, &out);
    if (strcmp(out.data, tokens) != 0)
        fail_msg("'%s': %s, not %s", text, out.data, tokens);
    hs_buf_deinit(&out);
    hs_free(ids);
}

/* All at once and one by one. */
static void decodes(const hs_tokenizer *t, const uint32_t *ids, size_t n, bool skip, const char *text)
{
    hs_buf all, parts;
    hs_buf_init(&all, 1u << 16);
    hs_buf_init(&parts, 1u << 16);
    (void)hs_buf_puts(&all, "");
    (void)hs_buf_puts(&parts, "");
    assert_int_equal(hs_tokenizer_decode(t, ids, n, skip, &all, NULL), 0);
    if (strcmp(all.data, text) != 0)
        fail_msg("'%s', not '%s'", all.data, text);
    hs_detok d;
    hs_detok_init(&d, t);
    d.keeps_special = !skip;
    for (size_t i = 0; i < n; i++) {
        hs_detok_push(&d, ids[i], &parts);
        assert_true(hs__utf8_is_valid(parts.data, parts.len));
    }
    hs_detok_flush(&d, &parts);
    hs_detok_flush(&d, &parts);
    assert_string_equal(parts.data, text);
    hs_buf_deinit(&all);
    hs_buf_deinit(&parts);
}

#define DECODES(t, skip, text, ...)                                                                                    \
    decodes(t, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), skip, text)

static void test_encode(void **state)
{
    (void)state;
    vocab v;
    fill(&v);
    hs_tokenizer *t = make(&v);
    assert_int_equal(hs_tokenizer_bos(t), 1);
    encodes(t, "", true, "");
    encodes(t, "ab", true, M "ab");
    encodes(t, "abc", true, M "a bc"); /* bc goes first */
    encodes(t, " ab", true, M " " M "ab");
    encodes(t, "   a", true, M M " " M " " M "a");
    encodes(t, M "a a", true, M " " M "a " M "a");
    encodes(t, "a-----", true, M "a -- ---");
    encodes(t, "\xc3\xa9x\xe4\xb8\xad\xe6\x96\x87\n", true, M " \xc3\xa9 {78} \xe4\xb8\xad {e6} {96} {87} {0a}");
    encodes(t, "<s>a</s> b<think>a", true, "<1> " M "a <2> " M M " b <think> " M "a");
    encodes(t, "<0x41>", true, M " {3c} {30} {78} {34} {31} {3e}");
    encodes(t, "<s>", false, M " {3c} {73} {3e}");
    hs_tokenizer_destroy(&t);
    v.data.add_space_prefix = 0;
    v.data.add_bos = 0;
    t = make(&v);
    assert_int_equal(hs_tokenizer_bos(t), HS_NO_TOKEN);
    encodes(t, "ab ab", true, "ab " M "ab");
    DECODES(t, false, " a", 262);
    hs_tokenizer_destroy(&t);
    /* Without the token of one byte, characters that need it are unknown, in a row one; bytes overtake it. */
    v.tokens[3 + 0x96] = (hs_bytes){"-x-", 3};
    v.types[3 + 0x96] = N;
    v.scores[3 + 0x96] = -30;
    t = make(&v);
    encodes(t, "a\xe6\x96\x87\xe6\x96\x87\xe4\xba\xba", true, "a {e4} {ba} {ba} <0>");
    hs_tokenizer_destroy(&t);
}

#define BAD  HS_UTF8_REPLACEMENT
#define X(b) (3 + (b))

static void test_decode(void **state)
{
    (void)state;
    vocab v;
    fill(&v);
    hs_tokenizer *t = make(&v);
    DECODES(t, false, "a a", 262, 262);
    DECODES(t, false, " a", 259, 262);
    DECODES(t, false, "<s> a", 1, 262);
    DECODES(t, true, "a", 1, 262);
    DECODES(t, true, "ab<think> a", 270, 2, 273, 262, 9999);
    DECODES(t, false, "\xc3\xa9", X(0xc3), X(0xa9));
    DECODES(t, false, BAD BAD BAD, X(0xc3), X(0xa9), X(0xff));
    DECODES(t, false, BAD "a" BAD, X(0xc3), 260, X(0xa9));
    DECODES(t, true, "\xc3\xa9", X(0xc3), 2, X(0xa9));
    DECODES(t, false, "\n", X(' '), X('\n'));
    /* Runs that are longer than what is held back: whole ones, broken ones, one that ends inside a character. */
    uint32_t ids[1000];
    char text[3001];
    for (size_t n = HS_DETOK_RUN - 3; n < HS_DETOK_RUN + 4; n++) {
        for (size_t i = 0; i < n; i++)
            ids[i] = (uint32_t)X((unsigned char)"\xe6\x96\x87"[i % 3]);
        text[0] = '\0';
        for (size_t i = 0; i < n / 3; i++)
            strcat(text, "\xe6\x96\x87");
        if (n % 3 == 0)
            decodes(t, ids, n, false, text);
    }
    for (size_t i = 0; i < 1000; i++)
        ids[i] = X(0xff), memcpy(text + 3 * i, BAD, 4);
    decodes(t, ids, 1000, false, text);
    hs_tokenizer_destroy(&t);
}

/* ---- tokenizer.json ---- */

#define VOCAB                                                                                                          \
    "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"<unk>\",\"vocab\":{"         \
    "\"<unk>\":0,\"" M "\":1,\"a\":2,\"b\":3,\"ab\":4,\"" M "a\":5,\"<0x0A>\":6,\"" M "ab\":7},\"merges\":"            \
    "[\"a b\",\"" M " a\",\"" M " ab\"]}"
#define MODEL   VOCAB ",\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true}]"
#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" M "\"}"
#define PREPEND "{\"type\":\"Prepend\",\"prepend\":\"" M "\"}"
#define STRIP   ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"
#define META(x) "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" M "\",\"split\":false" x "}"
#define DECODER(x)                                                                                                     \
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" M              \
    "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}" x "]}"
#define JSON(surroundings, decoder) "{" surroundings "," decoder "," MODEL "}"

static void check_json(const char *json, const char *text, const char *ids, const char *decoded)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    uint32_t *got = NULL;
    size_t n = 0;
    hs_buf out;
    hs_buf_init(&out, 1000);
    if (fixture_load_text(json, strlen(json), &t, &err) != 0)
        fail_msg("%s: %s", json, err.text);
    assert_int_equal(hs_tokenizer_encode(t, text, strlen(text), true, &got, &n, &err), 0);
    for (size_t i = 0; i < n; i++)
        (void)hs_buf_printf(&out, i ? " %u" : "%u", got[i]);
    assert_string_equal(out.data, ids);
    decodes(t, got, n, false, decoded);
    hs_free(got);
    hs_buf_deinit(&out);
    hs_tokenizer_destroy(&t);
}

static void test_json(void **state)
{
    (void)state;
#define LEGACY "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" PREPEND "," REPLACE "]}"
    check_json(JSON(LEGACY, DECODER(STRIP)), "ab ab", "7 7", "ab ab");
    check_json(JSON(LEGACY, DECODER(STRIP)), " a\nz<s>b", "1 5 6 0 9 1 3", " a\n<unk><s> b");
    check_json(JSON(LEGACY, DECODER("")), "ab", "7", " ab");
    check_json(JSON("\"normalizer\":" REPLACE, DECODER("")), "ab ab", "4 7", "ab ab");
    check_json(JSON(META(",\"prepend_scheme\":\"first\""), DECODER(STRIP)), "ab<s>ab a", "7 9 4 5", "ab<s>ab a");
    check_json(JSON(META(",\"prepend_scheme\":\"first\""), DECODER(STRIP)), "<s>ab", "9 4", "<s>ab");
    check_json(JSON(META(",\"prepend_scheme\":\"always\""), DECODER(STRIP)), " ab<s>ab", "7 9 7", "ab<s> ab");
    check_json(JSON(META(",\"prepend_scheme\":\"never\""), DECODER(STRIP)), "ab", "4", "ab");
    check_json(JSON(META(",\"add_prefix_space\":false"), DECODER(STRIP)), "ab", "4", "ab");
    check_json(JSON(META(""), DECODER(STRIP)), "ab", "7", "ab");
}

static void refused_json(const char *json, const char *word)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    assert_int_equal(fixture_load_text(json, strlen(json), &t, &err), -ENOTSUP);
    assert_null(t);
    if (!strstr(err.text, word))
        fail_msg("no '%s': %s", word, err.text);
}

static void test_json_refused(void **state)
{
    (void)state;
    refused_json(JSON("\"normalizer\":" PREPEND, DECODER(STRIP)), "normalizer (none)");
    refused_json(JSON("\"normalizer\":{\"type\":\"NFC\"}", DECODER(STRIP)), "normalizer NFC");
    refused_json(JSON("\"pre_tokenizer\":null", DECODER(STRIP)), "pre_tokenizer (none)");
    refused_json(JSON(LEGACY "," META(""), DECODER(STRIP)), "pre_tokenizer Metaspace");
    refused_json(JSON("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" M "\"}", DECODER(STRIP)),
                 "pre_tokenizer Metaspace");
    refused_json(JSON(META(",\"prepend_scheme\":\"last\""), DECODER(STRIP)), "pre_tokenizer Metaspace");
    refused_json(JSON("\"pre_tokenizer\":{\"type\":\"ByteLevel\"}", DECODER(STRIP)), "pre_tokenizer ByteLevel");
    refused_json(JSON(LEGACY, "\"decoder\":{\"type\":\"ByteLevel\"}"), "decoder ByteLevel");
    refused_json(JSON(LEGACY, DECODER(",{\"type\":\"Strip\",\"content\":\" \",\"start\":2,\"stop\":0}")),
                 "decoder Strip");
    refused_json("{" LEGACY "," DECODER(STRIP) "," VOCAB ",\"added_tokens\":[{\"id\":9,\"content\":\"<s>\"}]}",
                 "added_tokens");
}

static void refused(const vocab *v, int code, const char *word)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_tokenizer_create_gguf(&v->data, "test.gguf", &t, &err), code);
    assert_null(t);
    if (!strstr(err.text, word))
        fail_msg("no '%s': %s", word, err.text);
}

static void test_refused(void **state)
{
    (void)state;
    static char big[HS__MAX_SCORED_LEN + 1];
    vocab v;
    fill(&v);
    v.scores[260] = NAN;
    refused(&v, -EINVAL, "that of token 260 is not a number");
    fill(&v);
    v.data.scores = NULL;
    refused(&v, -EINVAL, "scores is missing");
    fill(&v);
    v.data.remove_extra_whitespaces = 1;
    refused(&v, -ENOTSUP, "remove_extra_whitespaces");
    fill(&v);
    v.tokens[5] = (hs_bytes){"<0x0a>", 6};
    refused(&v, -EINVAL, "token 5: a byte is written");
    fill(&v);
    memset(big, 'a', sizeof big);
    v.tokens[262] = (hs_bytes){big, sizeof big};
    refused(&v, -E2BIG, "token 262 has 257 bytes");
}

/* Empty, double and broken tokens, real blanks, infinite scores: none of them stands in the way of the others. */
static void test_odd_tokens(void **state)
{
    (void)state;
    vocab v;
    fill(&v);
    v.tokens[262] = (hs_bytes){"", 0};
    v.tokens[263] = (hs_bytes){"\xff\xff", 2};
    v.tokens[264] = (hs_bytes){" ", 1};
    v.tokens[267] = (hs_bytes){"a", 1};
    v.tokens[269] = (hs_bytes){"a" M "b", 5};
    v.scores[260] = INFINITY;
    v.scores[261] = -INFINITY;
    hs_tokenizer *t = make(&v);
    encodes(t, "ab a", true, M " a b " M " a");
    DECODES(t, false,
            "a" BAD BAD " a"
            "a b",
            260, 262, 263, 264, 267, 269);
    hs_tokenizer_destroy(&t);
}

/* ---- random vocabularies ---- */

static uint32_t random_state = 3;

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 12) % n;
}

/* By the definition, over the whole text: the leftmost of the neighbours whose joint text has the highest score. */
static size_t naive(const vocab *v, const char *text, char (*parts)[160])
{
    size_t n = 0;
    for (; text[n]; n++)
        parts[n][0] = text[n], parts[n][1] = '\0';
    for (;;) {
        float best = -INFINITY;
        size_t at = n;
        for (size_t i = 0; i + 1 < n; i++) {
            char both[320];
            snprintf(both, sizeof both, "%s%s", parts[i], parts[i + 1]);
            for (uint32_t k = 0; k < v->data.n_tokens; k++)
                if (v->tokens[k].len == strlen(both) && !memcmp(v->tokens[k].data, both, strlen(both)) &&
                    v->scores[k] > best)
                    best = v->scores[k], at = i;
        }
        if (at == n)
            return n;
        memcpy(parts[at] + strlen(parts[at]), parts[at + 1], strlen(parts[at + 1]) + 1);
        memmove(parts + at + 1, parts + at + 2, (--n - at - 1) * sizeof *parts);
    }
}

static void test_random(void **state)
{
    (void)state;
    static char made[40][64], parts[200][160];
    for (int round = 0; round < 200; round++) {
        vocab v = {.data = {.model = "llama", VOCAB_NO_IDS}};
        uint32_t n = 3;
        for (uint32_t i = 0; i < 3; i++)
            snprintf(made[i], sizeof made[i], "%c", "ab_"[i]);
        for (int i = 0; i < 30; i++) {
            const char *left = made[draw(n)], *right = made[draw(n)];
            size_t left_len = strlen(left), right_len = strlen(right);
            if (left_len + right_len > 24)
                continue;
            memcpy(made[n], left, left_len);
            memcpy(made[n] + left_len, right, right_len + 1);
            uint32_t same = 0;
            while (strcmp(made[same], made[n]) != 0)
                same++;
            n += same == n;
        }
        for (uint32_t i = 0; i < n; i++) {
            v.tokens[i] = (hs_bytes){made[i], (uint32_t)strlen(made[i])};
            v.scores[i] = -(float)draw(12);
        }
        v.data.tokens = v.tokens;
        v.data.scores = v.scores;
        v.data.n_tokens = n;
        v.data.add_space_prefix = 0;
        hs_tokenizer *t = make(&v);
        char text[200];
        size_t len = draw(150), n_ids = 0;
        for (size_t i = 0; i < len; i++)
            text[i] = "ab_"[draw(3)];
        text[len] = '\0';
        uint32_t *ids = NULL;
        assert_int_equal(hs_tokenizer_encode(t, text, len, true, &ids, &n_ids, NULL), 0);
        assert_int_equal(naive(&v, text, parts), n_ids);
        for (size_t i = 0; i < n_ids; i++)
            assert_string_equal(made[ids[i]], parts[i]);
        hs_free(ids);
        hs_tokenizer_destroy(&t);
    }
}

/* Cutting at blanks is done where it makes no difference only, and makes long texts possible. */
static void test_cuts(void **state)
{
    (void)state;
    vocab v;
    fill(&v);
    size_t len = 3u << 20;
    char *text = hs_malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = i % 5 ? 'a' : ' ';
    for (int crossing = 0; crossing < 2; crossing++) {
        if (crossing)
            v.tokens[269] = (hs_bytes){"b" M "a", 5};
        hs_tokenizer *t = make(&v);
        uint32_t *ids = NULL;
        size_t n;
        hs_err err = {0};
        assert_int_equal(hs_tokenizer_encode(t, text, len, true, &ids, &n, &err), crossing ? -E2BIG : 0);
        hs_free(ids);
        if (crossing)
            encodes(t, "ab a", true, M "a ---"); /* id 269 is "b a" now */
        hs_tokenizer_destroy(&t);
    }
    hs_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),       cmocka_unit_test(test_decode),  cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_refused), cmocka_unit_test(test_refused), cmocka_unit_test(test_odd_tokens),
        cmocka_unit_test(test_random),       cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
