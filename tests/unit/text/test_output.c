/* labels: unit */
/* What models write, by format: reasoning, answer and calls; wherever the stream is cut; text is never lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "template_helper.h"
#include "text/output_int.h"

#define DATA TESTS_DIR "/data/templates/"

static const char tools_json[] = "[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"description\":\"looks\","
                                 "\"parameters\":{\"type\":\"object\","
                                 "\"properties\":{\"at\":{\"type\":\"string\",\"description\":\"where\"},\"n\":{"
                                 "\"type\":\"integer\",\"description\":"
                                 "\"how often\"}},\"required\":[\"at\"]}}}]";

static json_t *tools;

static int setup(void **state)
{
    (void)state;
    json_error_t e;
    tools = json_loads(tools_json, 0, &e);
    return tools ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(tools);
    return 0;
}

static hs_template *load(const char *file)
{
    hs_template *t = NULL;
    hs_err err = {0};
    char *source, path[300];
    size_t len;
    snprintf(path, sizeof path, DATA "%s", file);
    json_t *config = json_pack("{s:s,s:s}", "bos_token", "", "eos_token", "");
    if (hs_file_read(path, HS_TEMPLATE_MAX_SOURCE, &source, &len, &err) < 0 ||
        hs_template_create(source, len, file, config, &t, &err) < 0)
        fail_msg("%s", err.text);
    json_decref(config);
    hs_free(source);
    return t;
}

/* Events as text: "A:", "R:", "C:name#id(arguments)"; pieces of one kind are one. */
typedef struct record {
    hs_buf b;
    int last; /* kind, or -1 */
} record;

static void drain(hs_output *o, record *s)
{
    hs_output_event ev;
    while (hs_output_next(o, &ev)) {
        assert_true(ev.len > 0 && ev.len <= HS_OUTPUT_PIECE);
        if ((int)ev.kind != s->last || ev.kind == HS_OUTPUT_CALL)
            hs_buf_puts(&s->b, ev.kind == HS_OUTPUT_ANSWER      ? "|A:"
                               : ev.kind == HS_OUTPUT_REASONING ? "|R:"
                               : ev.kind == HS_OUTPUT_CALL      ? "|C:"
                                                                : "=");
        s->last = (int)ev.kind;
        hs_buf_append(&s->b, ev.text, ev.len);
        if (*ev.id)
            hs_buf_printf(&s->b, "#%s", ev.id);
    }
}

/* text pushed in pieces that end at the given places. */
static char *understand(const hs_template *t, const char *prompt, const json_t *with, const char *text, size_t len,
                        const size_t *cuts, size_t n_cuts)
{
    hs_output *o = NULL;
    hs_err err = {0};
    record s = {.last = -1};
    size_t from = 0;
    hs_buf_init(&s.b, 64 << 20);
    assert_int_equal(hs_output_create(t, prompt, strlen(prompt), with, &o, &err), 0);
    for (size_t i = 0; i <= n_cuts; i++) {
        size_t to = i < n_cuts ? cuts[i] : len;
        assert_int_equal(hs_output_push(o, text + from, to - from), 0);
        drain(o, &s);
        from = to;
    }
    assert_int_equal(hs_output_end(o), 0);
    drain(o, &s);
    assert_true(hs_output_bytes(o) <= HS_OUTPUT_MAX);
    hs_output_destroy(&o);
    hs_buf_puts(&s.b, "");
    return hs_buf_take(&s.b);
}

static void check(const hs_template *t, const char *prompt, const json_t *with, const char *text, const char *expected)
{
    size_t len = strlen(text), all[4000];
    assert_true(len < sizeof all / sizeof *all);
    for (size_t i = 0; i < len; i++)
        all[i] = i;
    for (size_t cut = 0; cut <= len + 1; cut++) {
        char *got = cut <= len ? understand(t, prompt, with, text, len, &cut, 1)
                               : understand(t, prompt, with, text, len, all, len);
        if (strcmp(got, expected))
            fail_msg("%s\ncut at %zu\ngave     %s\nexpected %s", text, cut, got, expected);
        hs_free(got);
    }
}

/* Without a call in it, all of the text is answer, wherever it ends. */
static void check_prefixes(const hs_template *t, const char *text)
{
    for (size_t n = 1; n <= strlen(text); n++) {
        char *got = understand(t, "", tools, text, n, NULL, 0);
        if (!strstr(got, "|C:") && (strncmp(got, "|A:", 3) || strlen(got) != n + 3 || memcmp(got + 3, text, n)))
            fail_msg("%.*s\nbecame %s", (int)n, text, got);
        hs_free(got);
    }
}

/* ---- formats ---- */

typedef struct example {
    const char *file, *text, *expected;
} example;

static const example examples[] = {
    {"qwen3.jinja",
     "<think>\nlet me\n</think>\n\nI look:\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": "
     "\"</tool_call>\\\"\", \"n\": 1.50}}\n</tool_call>\n<tool_call>{\"arguments\":{},\"name\":\"f\"}</tool_call>\n",
     "|R:let me|A:I look:|C:look={\"at\": \"</tool_call>\\\"\", \"n\": 1.50}|C:f={}"},
    {"ibm-granite-granite-4.0.jinja", "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"x\"}}\n</tool_call>",
     "|C:look={\"at\": \"x\"}"},
    {"deepseek_v3.jinja",
     "Hm.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{\"at\": "
     "\"é\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜>"
     "<｜tool▁calls▁end｜>",
     "|A:Hm.|C:look={\"at\": \"é\"}|C:f={}"},
    {"deepseek-ai-DeepSeek-V3.1.jinja",
     "ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{\"at\":\"x\"}<｜tool▁call▁end｜><"
     "｜tool▁calls▁end｜>",
     "|A:ok|C:look={\"at\":\"x\"}"},
    {"moonshotai-Kimi-K2.jinja",
     "a\xff<|tool_calls_section_begin|>\xff<|tool_call_begin|>functions.look:0\xff<|tool_call_argument_begin|>{\"at\": "
     "\"x\"}\xff<|tool_call_end|>\xff<|tool_call_begin|>functions.f:12<|tool_call_argument_begin|>{}<|tool_call_end|>"
     "<|tool_calls_section_end|>",
     "|A:a|C:look#functions.look:0={\"at\": \"x\"}|C:f#functions.f:12={}"},
    {"Kimi-K2-Thinking.jinja",
     "<think>so</think><|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>{}"
     "<|tool_call_end|><|tool_calls_section_end|>",
     "|R:so|C:look#functions.look:0={}"},
    {"GLM-4.6.jinja",
     "\n<think>so</think>\nI look.\n<tool_call>look\n<arg_key>at</arg_key>\n<arg_value>12</arg_value>\n"
     "<arg_key>n</arg_key>\n<arg_value>12</arg_value>\n<arg_key>o</arg_key><arg_value>a \"b\"\n</arg_value>\n"
     "</tool_call>\n<tool_call>f</tool_call>",
     "|R:so|A:I look.|C:look={\"at\": \"12\", \"n\": 12, \"o\": \"a \\\"b\\\"\\n\"}|C:f={}"},
    {"MiniMax-M2.jinja",
     "<think>so</think>ok\n<minimax:tool_call>\n<invoke name=\"look\">\n<parameter name=\"at\">[1]</parameter>\n"
     "<parameter name=\"n\">[1]</parameter>\n</invoke>\n<invoke name=\"f\">\n</invoke>\n</minimax:tool_call>",
     "|R:so|A:ok|C:look={\"at\": \"[1]\", \"n\": [1]}|C:f={}"},
    {"Qwen3-Coder.jinja",
     "ok\n<tool_call>\n<function=look>\n<parameter=at>\na\nb\n</parameter>\n<parameter=n>\n2\n</parameter>\n"
     "</function>\n</tool_call>",
     "|A:ok|C:look={\"at\": \"a\\nb\", \"n\": 2}"},
    {"openai-gpt-oss-120b.jinja",
     "\xff<|channel|>analysis\xff<|message|>I think\xff<|end|>\xff<|start|>assistant\xff<|channel|>commentary "
     "to=functions.look \xff<|constrain|>json\xff<|message|>{\"at\":\"x\"}",
     "|R:I think|C:look={\"at\":\"x\"}"},
};

static void test_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        hs_template *t = load(examples[i].file);
        check(t, "", tools, examples[i].text, examples[i].expected);
        hs_template_destroy(&t);
    }
}

/* What a template writes for a call is read back as that call. */
static void test_round_trip(void **state)
{
    (void)state;
    json_t *asked = json_pack("[{s:s,s:s}]", "role", "user", "content", "go"), *called = json_deep_copy(asked);
    json_array_append_new(called, json_pack("{s:s,s:s,s:[{s:s,s:s,s:{s:s,s:s}}]}", "role", "assistant", "content", "",
                                            "tool_calls", "id", "functions.look:0", "type", "function", "function",
                                            "name", "look", "arguments", "{\"at\": \"a <b> \\\"c\\\"\", \"n\": 3}"));
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        hs_template *t = load(examples[i].file);
        hs_err err = {0};
        json_t *shaped[2] = {NULL, NULL};
        char *text[2] = {NULL, NULL};
        size_t len[2];
        for (int k = 0; k < 2; k++) {
            assert_int_equal(hs_template_normalise(t, k ? called : asked, &shaped[k], &err), 0);
            const hs_template_input in = {.messages = shaped[k], .tools = tools};
            if (hs_template_render(t, &in, &text[k], &len[k], NULL, &err) < 0)
                fail_msg("%s", err.text);
        }
        char *got = understand(t, "", tools, text[1] + len[0], len[1] - len[0], NULL, 0);
        bool is_harmony = hs__template_calls(t)->body == HS__BODY_HARMONY; /* its marks are no marks as text */
        if (!is_harmony && !strstr(got, "|C:look"))
            fail_msg("%s: %s\nbecame %s", examples[i].file, text[1] + len[0], got);
        if (!is_harmony && !strstr(got, "={\"at\": \"a <b> \\\"c\\\"\", \"n\": 3}"))
            fail_msg("%s: %s", examples[i].file, got);
        hs_free(got);
        for (int k = 0; k < 2; k++) {
            hs_free(text[k]);
            json_decref(shaped[k]);
        }
        hs_template_destroy(&t);
    }
    json_decref(asked);
    json_decref(called);
}

/* What gpt-oss has written in one answer can be sent back to it. */
static void test_sent_back(void **state)
{
    (void)state;
    hs_template *t = load("openai-gpt-oss-120b.jinja");
    json_error_t e;
    json_t *shaped = NULL,
           *messages = json_loads(
               "[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":\"I "
               "plan\",\"reasoning_content\":"
               "\"I think\",\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"look\","
               "\"arguments\":\"{\\\"at\\\": "
               "1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"found\"}]",
               0, &e);
    hs_err err = {0};
    char *text;
    size_t len;
    assert_int_equal(hs_template_normalise(t, messages, &shaped, &err), 0);
    const hs_template_input in = {.messages = shaped, .tools = tools, .add_generation_prompt = true};
    if (hs_template_render(t, &in, &text, &len, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_non_null(strstr(text, "<|channel|>analysis<|message|>I plan<|end|>"));
    assert_non_null(strstr(text, "to=functions.look<|channel|>commentary json<|message|>{\"at\": 1}<|call|>"));
    hs_free(text);
    json_decref(messages);
    json_decref(shaped);
    hs_template_destroy(&t);
}

/* ---- what is no call ---- */

static void test_no_calls(void **state)
{
    (void)state;
    static const example cases[] = {
        {"qwen3.jinja", "a\n<tool_call>\n{\"name\": \"look\", \"arguments\": [1]}\n</tool_call> b", NULL},
        {"qwen3.jinja", "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": }}\n</tool_call>", NULL},
        {"qwen3.jinja", "<tool_call>{\"arguments\": {}}</tool_call>", NULL},
        {"qwen3.jinja", "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>", NULL},
        {"qwen3.jinja", "<tool_call>{\"name\": \"a b\"}</tool_call>", NULL},
        {"qwen3.jinja", "x < y <tool_cal> <tool_call <\n\n  \n", NULL},
        {"deepseek_v3.jinja", "<｜tool▁calls▁begin｜>x<｜tool▁calls▁end｜>", NULL},
        {"deepseek_v3.jinja", "<｜tool▁calls▁begin｜><｜tool▁calls▁end｜> <｜", NULL},
        {"deepseek_v3.jinja",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", NULL},
        {"GLM-4.6.jinja", "<tool_call>look\n<arg_key>at</arg_key>x<arg_value>y</arg_value></tool_call>", NULL},
        {"GLM-4.6.jinja", "<tool_call>look\n<arg_key>at</arg_key></tool_call>", NULL},
        {"MiniMax-M2.jinja", "<minimax:tool_call>\n<invoke name=\"look\">\n<parameter name=\"at\">x</invoke>", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_template *t = load(cases[i].file);
        char *expected = hs_asprintf("|A:%s", cases[i].text);
        check(t, "", tools, cases[i].text, expected);
        check_prefixes(t, cases[i].text);
        hs_free(expected);
        hs_template_destroy(&t);
    }
    hs_template *t = load("qwen3.jinja");
    check_prefixes(t, "I look:\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"a\\\"\"}}\n</tool_call>");
    /* Nested too deep. */
    hs_buf deep;
    hs_buf_init(&deep, 10000);
    hs_buf_puts(&deep, "|A:<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":");
    for (int i = 0; i < 400; i++)
        hs_buf_puts(&deep, i < 200 ? "[" : "]");
    hs_buf_puts(&deep, "}}</tool_call>");
    check(t, "", tools, deep.data + 3, deep.data);
    hs_buf_deinit(&deep);
    /* Not asked for: text. */
    check(t, "", NULL, "a <tool_call>{\"name\":\"f\"}</tool_call>", "|A:a <tool_call>{\"name\":\"f\"}</tool_call>");
    /* A call in front of a broken one stays. */
    check(t, "", tools, "<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{</tool_call> x",
          "|C:f={}|A:\n<tool_call>{</tool_call> x");
    /* In reasoning it is none. */
    check(t, "", tools, "<think><tool_call>{\"name\":\"f\"}</tool_call></think>a",
          "|R:<tool_call>{\"name\":\"f\"}</tool_call>|A:a");
    check(NULL, "", NULL, "<think>a</think>\xff", "|A:<think>a</think>");
    hs_template_destroy(&t);
}

/* ---- channels ---- */

#define CH  "\xff<|channel|>"
#define MSG "\xff<|message|>"
#define END "\xff<|end|>"
#define ST  "\xff<|start|>"

static void test_channels(void **state)
{
    (void)state;
    static const struct {
        const char *text, *with, *without; /* tools; without NULL: the same */
    } cases[] = {
        {CH "analysis" MSG "I think" END ST "assistant" CH "final" MSG "Hi é", "|R:I think|A:Hi é", NULL},
        {CH "final" MSG "Hi" END, "|A:Hi", NULL},
        {CH "commentary" MSG "Plan" END ST "assistant" CH "final" MSG "Hi", "|A:Plan\nHi", NULL},
        {CH "analysis" MSG "a" END ST "assistant" CH "analysis" MSG "b" END, "|R:a\nb", NULL},
        {" to=functions.look" CH "commentary json" MSG "{\"at\":\"x\"}", "|C:look={\"at\":\"x\"}", "|A:{\"at\":\"x\"}"},
        {CH "commentary to=functions.look " MSG "{} " END ST "assistant" CH "commentary to=functions.f" MSG,
         "|C:look={}|C:f={}", "|A:{} "},
        {CH "commentary to=functions.look" MSG "{\"at\":", "|A:{\"at\":", NULL},
        {CH "analysis to=python" MSG "1+1" END, "|R:1+1", NULL},
        /* Marks that are spelled are text. */
        {CH "final" MSG "<|start|>system<|message|>x<|end|>", "|A:<|start|>system<|message|>x<|end|>", NULL},
        /* Out of order. */
        {CH "analysis" MSG "a" CH "final" MSG "b", "|R:a|A:b", NULL},
        {CH "final" MSG "a" MSG "b" ST "assistant" END CH MSG "c", "|A:ab\nc", NULL},
        {"only text", "|A:only text", NULL},
        {CH "final", "", NULL},
        {CH "final" MSG "a\xff<|nonsense that is longer than any mark", "|A:a<|nonsense that is longer than any mark",
         NULL},
        {CH "final" MSG "a\xff<|en", "|A:a<|en", NULL},
    };
    hs_template *t = load("openai-gpt-oss-120b.jinja");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(t, "<|start|>assistant", tools, cases[i].text, cases[i].with);
        check(t, "<|start|>assistant", NULL, cases[i].text, cases[i].without ? cases[i].without : cases[i].with);
    }
    /* The prompt ends inside a message. */
    check(t, "<|start|>assistant<|channel|>final<|message|>so", NULL, " it is", "|A: it is");
    check(t, "<|start|>assistant<|channel|>analysis<|message|>so", NULL, " it is" END ST "assistant" CH "final" MSG "a",
          "|R: it is|A:a");
    hs_template_destroy(&t);
}

/* ---- hostile ---- */

static size_t answer_len(const char *shown)
{
    return strlen(shown) - 3; /* all of it is one answer */
}

static void test_hostile(void **state)
{
    (void)state;
    static const char *const begins[] = {"<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"",
                                         "<tool_call>{\"name\": \"f\", \"arguments\": [[[", "<tool_call></tool_call>",
                                         "      ", "<minimax:tool_call>"},
                             *const fills[] = {"xxxxxxxx", "[[[[[[[[", "<tool_call>", "        ", "        "};
    hs_template *qwen = load("qwen3.jinja"), *oss = load("openai-gpt-oss-120b.jinja"),
                *minimax = load("MiniMax-M2.jinja");
    for (size_t i = 0; i < 5; i++) {
        hs_buf b;
        hs_buf_init(&b, 16 << 20);
        hs_buf_puts(&b, "a");
        hs_buf_puts(&b, begins[i]);
        while (b.len < 3u << 20)
            hs_buf_puts(&b, fills[i]);
        hs_buf_puts(&b, "b");
        size_t cuts[2000], n = 0;
        for (size_t at = 2048; at < b.len; at += 2048)
            cuts[n++] = at;
        char *got = understand(i < 4 ? qwen : minimax, "", tools, b.data, b.len, cuts, n);
        assert_int_equal(answer_len(got), b.len);
        assert_memory_equal(got + 3, b.data, b.len);
        hs_free(got);
        /* As the arguments of a call of channels. */
        hs_output *o = NULL;
        record s = {.last = -1};
        hs_buf_init(&s.b, 16 << 20);
        assert_int_equal(hs_output_create(oss, "", 0, tools, &o, NULL), 0);
        assert_int_equal(
            hs_output_push(o, CH "commentary to=functions.f" MSG, strlen(CH "commentary to=functions.f" MSG)), 0);
        for (size_t at = 0; at < b.len; at += 2048) {
            assert_int_equal(hs_output_push(o, b.data + at, b.len - at < 2048 ? b.len - at : 2048), 0);
            drain(o, &s);
            assert_true(hs_output_bytes(o) <= HS_OUTPUT_MAX);
        }
        assert_int_equal(hs_output_end(o), 0);
        drain(o, &s);
        assert_int_equal(answer_len(s.b.data), b.len);
        hs_output_destroy(&o);
        hs_buf_deinit(&s.b);
        hs_buf_deinit(&b);
    }
    hs_template_destroy(&qwen);
    hs_template_destroy(&oss);
    hs_template_destroy(&minimax);
}

/* Any bytes, any order of marks: nothing crashes, nothing is read twice. */
static void test_noise(void **state)
{
    (void)state;
    static const char *const words[] = {"<tool_call>",
                                        "</tool_call>",
                                        "{\"name\":\"f\"",
                                        "}",
                                        "\xff",
                                        "\xf0\x9f",
                                        "<think>",
                                        "</think>",
                                        "<arg_key>",
                                        "</arg_key>",
                                        "<arg_value>",
                                        "</arg_value>",
                                        CH,
                                        MSG,
                                        END,
                                        ST,
                                        "to=functions.f",
                                        "f",
                                        " ",
                                        "\n",
                                        "<｜tool▁calls▁begin｜>",
                                        "<｜tool▁call▁begin｜>",
                                        "<｜tool▁sep｜>",
                                        "<｜tool▁call▁end｜>",
                                        "<invoke name=\"",
                                        "\">",
                                        "</invoke>",
                                        "\"",
                                        "\\"};
    uint64_t seed = 0x9e3779b97f4a7c15u;
    for (size_t f = 0; f < sizeof examples / sizeof *examples; f++) {
        hs_template *t = load(examples[f].file);
        for (int turn = 0; turn < 300; turn++) {
            hs_buf b;
            hs_buf_init(&b, 4000);
            for (int i = 0; i < 30; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                hs_buf_puts(&b, words[(seed >> 33) % (sizeof words / sizeof *words)]);
            }
            size_t cut = (seed >> 40) % (b.len + 1);
            char *once = understand(t, "", tools, b.data, b.len, NULL, 0),
                 *twice = understand(t, "", tools, b.data, b.len, &cut, 1);
            if (strcmp(once, twice))
                fail_msg("%s: %s\ncut at %zu: %s\nelse:    %s", examples[f].file, b.data, cut, twice, once);
            hs_free(once);
            hs_free(twice);
            hs_buf_deinit(&b);
        }
        hs_template_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),  cmocka_unit_test(test_round_trip), cmocka_unit_test(test_sent_back),
        cmocka_unit_test(test_no_calls), cmocka_unit_test(test_channels),   cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
