/* labels: unit */
/* Reasoning and answer out of a stream: where the marks are, and that the way it is cut into pieces does not matter. */
#include "text/reasoning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const hs_reasoning_marks think = {"<think>", "</think>"};

/* Pieces have 1 + (some bits of seed) % max bytes; max 0: all at once. */
static void split(const hs_reasoning_marks *marks, const char *prompt, const char *text, size_t len, unsigned seed,
                  unsigned max, hs_buf *reasoning, hs_buf *answer)
{
    hs_reasoning r;
    hs_buf_init(reasoning, 1 << 16);
    hs_buf_init(answer, 1 << 16);
    hs_reasoning_init(&r, marks, prompt, strlen(prompt));
    for (size_t at = 0; at < len;) {
        seed = seed * 1103515245u + 12345u;
        size_t n = max ? 1 + (seed >> 16) % max : len;
        if (n > len - at)
            n = len - at;
        hs_reasoning_push(&r, text + at, n, reasoning, answer);
        at += n;
    }
    hs_reasoning_flush(&r, reasoning, answer);
}

static const char *text_of(const hs_buf *b)
{
    return b->data ? b->data : "";
}

static void check(const char *prompt, const char *text, const char *reasoning, const char *answer)
{
    for (unsigned max = 0; max < 4; max++) {
        hs_buf a, b;
        split(&think, prompt, text, strlen(text), 1, max, &a, &b);
        assert_string_equal(text_of(&a), reasoning);
        assert_string_equal(text_of(&b), answer);
        hs_buf_deinit(&a);
        hs_buf_deinit(&b);
    }
}

static void test_where_reasoning_is(void **state)
{
    (void)state;
    check("<|assistant|>", "Hello", "", "Hello");
    check("<|assistant|>", "<think>\nhm\n</think>\n\nHello", "hm", "Hello");
    check("<|assistant|>", "\n<think>hm</think>Hello", "hm", "Hello");
    check("<|assistant|><think>\n", "hm\nand\n</think>\n\nHello\n", "hm\nand", "Hello\n");
    check("<|assistant|><think>", "\nhm</think>Hello", "hm", "Hello");
    check("<think>\n\n</think>\n\n", "Hello", "", "Hello");
    check("<think></think>", "Hello <think>x</think>", "", "Hello <think>x</think>");
    check("what is <think>? <|assistant|>", "It is", "", "It is");
    check("", "a <think>b</think>", "", "a <think>b</think>");
    check("<think>", "a</think>b</think>c", "a", "b</think>c");
}

static void test_white_space(void **state)
{
    (void)state;
    check("<think>", "\n\n  a\n\n  b  \n\n</think>\n  \n  c", "  a\n\n  b  ", "  c");
    check("<think>", "a </think> b", "a ", " b");
    check("<think>", "\n\n</think>\n\nb", "", "b");
    check("<think>", "</think>b", "", "b");
    check("<think>", "a</think>\n\n", "a", "");
    check("", "  \n a", "", "  \n a");
    check("", "\n\n", "", "\n\n");
}

static void test_unfinished(void **state)
{
    (void)state;
    check("<think>", "a</thin", "a</thin", "");
    check("<think>", "a</thin b", "a</thin b", "");
    check("<think>", "a<</think>b", "a<", "b");
    check("<think>", "a</</think>b", "a</", "b");
    check("", "<thi", "", "<thi");
    check("", "<thinking>", "", "<thinking>");
    check("<think>", "", "", "");
    check("<think>", "a\n\n", "a\n\n", "");
}

static void test_no_marks(void **state)
{
    hs_buf a, b;
    (void)state;
    split(NULL, "<think>", "<think>x</think>y", 17, 1, 2, &a, &b);
    assert_string_equal(text_of(&a), "");
    assert_string_equal(text_of(&b), "<think>x</think>y");
    hs_buf_deinit(&a);
    hs_buf_deinit(&b);
}

/* Texts made of the pieces that marks and blanks are made of, cut in any way. */
static void test_any_cut(void **state)
{
    static const char *const parts[] = {
        "<think>", "</think>", "<", "</", "think",  ">",
        "\n",      " ",        "x", "é",  "</thin", "                                                                "};
    unsigned seed = 20260115;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        char text[2000];
        size_t len = 0;
        for (int i = 0; i < 20; i++) {
            seed = seed * 1103515245u + 12345u;
            const char *part = parts[(seed >> 16) % (sizeof parts / sizeof *parts)];
            memcpy(text + len, part, strlen(part));
            len += strlen(part);
        }
        hs_buf a, b, c, d;
        const char *prompt = round % 2 ? "<think>\n" : "";
        split(&think, prompt, text, len, seed, 0, &a, &b);
        split(&think, prompt, text, len, seed, 1 + (unsigned)round % 9, &c, &d);
        if (strcmp(text_of(&a), text_of(&c)) || strcmp(text_of(&b), text_of(&d)))
            fail_msg("seed %u: \"%.*s\"", seed, (int)len, text);
        assert_true(a.len + b.len <= len);
        hs_buf_deinit(&a);
        hs_buf_deinit(&b);
        hs_buf_deinit(&c);
        hs_buf_deinit(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_reasoning_is),
        cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_unfinished),
        cmocka_unit_test(test_no_marks),
        cmocka_unit_test(test_any_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
