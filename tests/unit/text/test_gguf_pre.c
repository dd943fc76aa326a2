/* labels: unit golden */
/* Pre-tokenizers by name: the pieces that the reference library cuts these texts into, with the steps of the models'
 * own tokenizer.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "text/gguf_pre.h"
#include "text/pretok.h"

#define N_TEXTS 5

static const char *const texts[N_TEXTS] = {"I'll DON'T iPhone 123 45678", "a  b\n\n  c\t\r\n x ",
                                           "foo_bar(x1)/*y*/ ?!\n-z", "DeepSeek深度かな\u3000「\u1fd3」 !!",
                                           "नमस\u094dत\u0947 e\u0301 ½²"};

static const struct {
    const char *pre;
    const char *pieces[N_TEXTS];
} families[] = {
    {"llama-bpe",
     {"I|'ll| DON|'T| iPhone| |123| |456|78", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "DeepSeek深度かな|\u3000|「\u1fd3|」| !!", "नमस|\u094dत|\u0947| e|\u0301| |½²"}},
    {"glm4",
     {"I|'ll| DON|'T| iPhone| |123| |456|78", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "DeepSeek深度かな|\u3000|「\u1fd3|」| !!", "नमस|\u094dत|\u0947| e|\u0301| |½²"}},
    {"qwen2",
     {"I|'ll| DON|'T| iPhone| |1|2|3| |4|5|6|7|8", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "DeepSeek深度かな|\u3000|「\u1fd3|」| !!", "नमस|\u094dत|\u0947| e|\u0301| |½|²"}},
    {"qwen35",
     {"I|'ll| DON|'T| iPhone| |1|2|3| |4|5|6|7|8", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "DeepSeek深度かな|\u3000|「\u1fd3|」| !!", "नमस\u094dत\u0947| e\u0301| |½|²"}},
    {"gpt-4o",
     {"I'll| DON'T| i|Phone| |123| |456|78", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "Deep|Seek深度かな|\u3000|「\u1fd3|」| !!", "नमस\u094dत\u0947| e\u0301| |½²"}},
    {"tekken",
     {"I|'ll| DON|'T| i|Phone| |1|2|3| |4|5|6|7|8", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "Deep|Seek深度かな|\u3000|「\u1fd3|」| !!", "नमस\u094dत\u0947| e\u0301| |½|²"}},
    {"kimi-k2",
     {"I'll| DON'T| i|Phone| |123| |456|78", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "Deep|Seek|深度|かな|\u3000|「\u1fd3|」| !!", "नमस\u094dत\u0947| e\u0301| |½²"}},
    {"gpt-2",
     {"I|'ll| DON|'|T| iPhone| 123| 45678", "a| | b|\n\n | c|\t\r\n| x| ", "foo|_|bar|(|x|1|)/*|y|*/| ?!|\n|-|z",
      "DeepSeek深度かな|\u3000|「|\u1fd3|」| !!", "नमस|\u094d|त|\u0947| e|\u0301| ½²"}},
    {"refact",
     {"I|'ll| DON|'|T| iPhone| |1|2|3| |4|5|6|7|8", "a| | b|\n\n | c|\t\r\n| x| ",
      "foo|_|bar|(|x|1|)/*|y|*/| ?!|\n|-|z", "DeepSeek深度かな|\u3000|「|\u1fd3|」| !!",
      "नमस|\u094d|त|\u0947| e|\u0301| |½|²"}},
    {"deepseek-llm",
     {"I|'|ll| DON|'|T| iPhone| |1|2|3| |4|5|6|7|8", "a| | b|\n|\n| | c|\t|\r|\n| x| ",
      "foo|_|bar|(|x|1|)/*|y|*/| ?!|\n|-|z", "DeepSeek|深度かな|\u3000|「|\u1fd3|」| !!",
      "नमस\u094dत\u0947| e|\u0301 |½|²"}},
    {"deepseek-coder",
     {"I|'|ll| DON|'|T| iPhone| |1|2|3| |4|5|6|7|8", "a| | b|\n|\n| | c|\t|\r|\n| x| ",
      "foo|_|bar|(|x|1|)/*|y|*/| ?!|\n|-|z", "DeepSeek|深度かな|\u3000「|\u1fd3|」| !!",
      "नमस|\u094d|त|\u0947| e|\u0301 |½|²"}},
    {"deepseek-v3",
     {"I|'ll| DON|'T| iPhone| |123| |456|78", "a| | b|\n\n| | c|\t\r\n| x| ", "foo|_bar|(x|1|)/*|y|*/| ?!\n|-z",
      "DeepSeek|深度かな|\u3000|「|\u1fd3|」| !!", "नमस\u094dत\u0947| e\u0301| |½²"}},
    {"default",
     {"I|'|ll| DON|'|T| iPhone| |123| |456|78", "a| | b|\n\n | c|\t\r\n| x| ", "foo|_|bar|(|x|1|)/*|y|*/| |?!|\n|-|z",
      "DeepSeek深度かな|\u3000|「|\u1fd3|」| |!!", "नमस|\u094d|त|\u0947| e|\u0301| |½²"}},
};

static int show(void *ctx, const char *piece, size_t len)
{
    hs_buf *out = ctx;
    if (out->len)
        (void)hs_buf_puts(out, "|");
    return hs_buf_append(out, piece, len);
}

static void check(const hs__gguf_pre *pre, const char *text, const char *pieces)
{
    hs__pretok p;
    hs__regex_scratch *s = NULL;
    hs_err err = {0};
    hs_buf out;
    hs_buf_init(&out, 1000);
    if (hs__pretok_make(&p, pre->patterns, pre->name, &err) != 0)
        fail_msg("%s: %s", pre->name, err.text);
    assert_true(hs__pretok_bytes(&p) > 0);
    assert_int_equal(hs__regex_scratch_create(strlen(text), &s, &err), 0);
    assert_int_equal(hs__pretok_run(&p, s, text, strlen(text), show, &out, &err), 0);
    if (strcmp(out.data, pieces) != 0)
        fail_msg("%s: %s, not %s", pre->name, out.data, pieces);
    hs__regex_scratch_destroy(&s);
    hs_buf_deinit(&out);
    hs__pretok_deinit(&p);
}

static void test_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const hs__gguf_pre *pre = hs__gguf_pre_find(families[i].pre);
        assert_non_null(pre);
        for (size_t k = 0; k < N_TEXTS; k++)
            check(pre, texts[k], families[i].pieces[k]);
    }
}

/* Each name finds itself, every row's patterns compile, and nothing else is found. */
static void test_names(void **state)
{
    (void)state;
    hs_buf names;
    hs_buf_init(&names, 4096);
    hs__gguf_pre_names(&names);
    assert_int_equal(names.failed, 0);
    size_t n = 0;
    for (char *name = strtok(names.data, " "); name; name = strtok(NULL, " "), n++) {
        const hs__gguf_pre *pre = hs__gguf_pre_find(name);
        assert_non_null(pre);
        assert_string_equal(pre->name, name);
        check(pre, "a", "a");
    }
    assert_true(n > 20);
    assert_null(hs__gguf_pre_find("qwen"));
    assert_null(hs__gguf_pre_find(""));
    hs_buf_deinit(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
