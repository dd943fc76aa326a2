/* labels: unit golden */
/* Client-shaped messages, brought into each published template's shape and rendered; and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/template.h"

#define DATA  TESTS_DIR "/data/templates/"
#define CALL  "\"tool_calls\":[{\"id\":\"call_0\",\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":"
#define AFTER "}}]},{\"role\":\"tool\",\"content\":\"7\",\"tool_call_id\":\"call_0\",\"name\":\"add\"}]"

static hs_template *load(const char *name)
{
    hs_template *t = NULL;
    hs_err err;
    char *source, path[300];
    size_t len;
    snprintf(path, sizeof path, DATA "%s.jinja", name);
    if (hs_file_read(path, HS_TEMPLATE_MAX_SOURCE, &source, &len, &err) < 0 ||
        hs_template_create(source, len, name, NULL, &t, &err) < 0)
        fail_msg("%s", err.text);
    hs_free(source);
    return t;
}

static json_t *parse(const char *text)
{
    json_t *j = NULL;
    hs_err err;
    if (hs_json_load(text, strlen(text), text, &j, &err) < 0)
        fail_msg("%s", err.text);
    return j;
}

/* The messages normalised, as compact JSON (free it); fails the test if they are refused. */
static json_t *normalised(const hs_template *t, const char *messages)
{
    json_t *in = parse(messages), *out = NULL, *before = json_deep_copy(in);
    hs_err err;
    if (hs_template_normalise(t, in, &out, &err) < 0)
        fail_msg("%s: %s", messages, err.text);
    assert_true(json_equal(in, before));
    json_decref(in);
    json_decref(before);
    return out;
}

static void check_normalised(const hs_template *t, const char *messages, const char *expected)
{
    json_t *out = normalised(t, messages), *want = parse(expected);
    if (!json_equal(out, want)) {
        char *text = json_dumps(out, JSON_COMPACT);
        fail_msg("%s\ngave:     %s\nexpected: %s", messages, text, expected);
    }
    json_decref(out);
    json_decref(want);
}

static char *render(const hs_template *t, const json_t *messages)
{
    hs_err err;
    char *text;
    size_t len;
    const hs_template_input in = {.messages = messages, .add_generation_prompt = true};
    if (hs_template_render(t, &in, &text, &len, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return text;
}

static const struct {
    const char *name;
    const char *call; /* what of a tool call must be in the text */
} templates[] = {
    {"deepseek_v3", "<｜tool▁sep｜>add\n```json\n{\"a\": 3, \"b\": 4}\n```"},
    {"qwen3", "{\"name\": \"add\", \"arguments\": {\"a\": 3, \"b\": 4}}"},
    {"deepseek-ai-DeepSeek-V3.1", "add<｜tool▁sep｜>{\"a\": 3, \"b\": 4}<"},
    {"moonshotai-Kimi-K2", "<|tool_call_argument_begin|>{\"a\": 3, \"b\": 4}<"},
    {"Kimi-K2-Thinking", "<|tool_call_argument_begin|>{\"a\": 3, \"b\": 4}<"},
    {"GLM-4.6", "<arg_key>b</arg_key>\n<arg_value>4</arg_value>"},
    {"GLM-4.7-Flash", "<arg_key>b</arg_key><arg_value>4</arg_value>"},
    {"MiniMax-M2", "<parameter name=\"b\">4</parameter>"},
    {"Qwen3-Coder", "<parameter=b>\n4\n</parameter>"},
    {"Qwen3.5-4B", "<parameter=b>\n4\n</parameter>"},
    {"openai-gpt-oss-120b", "json<|message|>{\"a\": 3, \"b\": 4}<|call|>"},
    {"ibm-granite-granite-4.0", "{\"name\": \"add\", \"arguments\": {\"a\": 3, \"b\": 4}}"},
};

/* content null, "" or absent; arguments as an object or as JSON text: the same prompt, with the call in it. */
static void test_tool_calls(void **state)
{
    static const char *const contents[] = {"\"content\":null,", "\"content\":\"\",", ""};
    static const char *const arguments[] = {"{\"a\": 3, \"b\": 4}", "\"{\\\"a\\\": 3, \\\"b\\\": 4}\""};
    (void)state;
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        hs_template *t = load(templates[i].name);
        char *first = NULL;
        for (int k = 0; k < 6; k++) {
            char messages[800];
            snprintf(messages, sizeof messages,
                     "[{\"role\":\"user\",\"content\":\"3+4?\"},{\"role\":\"assistant\",%s" CALL "%s" AFTER,
                     contents[k / 2], arguments[k % 2]);
            json_t *m = normalised(t, messages);
            char *text = render(t, m);
            if (!strstr(text, templates[i].call) || (first && strcmp(first, text)))
                fail_msg("%s, %s\ngave: %s", templates[i].name, messages, text);
            json_decref(m);
            if (first)
                hs_free(text);
            else
                first = text;
        }
        hs_free(first);
        hs_template_destroy(&t);
    }
}

/* Parts give the text that their string gives, joined as the template does it or by a line end. */
static void test_parts(void **state)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    (void)state;
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        hs_template *t = load(templates[i].name);
        for (int k = 0; k < 3; k++) {
            char messages[400];
            snprintf(messages, sizeof messages,
                     "[%s{\"role\":\"%s\",\"content\":[{\"type\":\"text\",\"text\":\"first\"},"
                     "{\"type\":\"text\",\"text\":\"second\"}]},{\"role\":\"user\",\"content\":\"go on\"}]",
                     k == 2 ? "{\"role\":\"user\",\"content\":\"x\"}," : "", roles[k]);
            json_t *m = normalised(t, messages);
            char *text = render(t, m);
            if (!strstr(text, "firstsecond") && !strstr(text, "first\nsecond"))
                fail_msg("%s, %s: %s", templates[i].name, messages, text);
            assert_null(strstr(text, "'text'"));
            hs_free(text);
            json_decref(m);
        }
        hs_template_destroy(&t);
    }
}

static void test_shapes(void **state)
{
    hs_template *qwen = load("qwen3"), *v3 = load("deepseek_v3"), *oss = load("openai-gpt-oss-120b"),
                *glm = load("GLM-4.6");
    (void)state;
    check_normalised(qwen, "[{\"role\":\"user\",\"content\":null}]", "[{\"role\":\"user\",\"content\":\"\"}]");
    check_normalised(qwen, "[{\"role\":\"assistant\"}]", "[{\"role\":\"assistant\",\"content\":\"\"}]");
    check_normalised(qwen, "[{\"role\":\"developer\",\"content\":\"d\"}]", "[{\"role\":\"system\",\"content\":\"d\"}]");
    check_normalised(oss, "[{\"role\":\"developer\",\"content\":\"d\"}]",
                     "[{\"role\":\"developer\",\"content\":\"d\"}]");
    check_normalised(oss, "[{\"role\":\"assistant\",\"content\":\"d\",\"tool_calls\":[]}]",
                     "[{\"role\":\"assistant\",\"content\":\"d\"}]");
    check_normalised(qwen,
                     "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
                     "\"text\":\"b\"}],\"name\":\"n\"}]",
                     "[{\"role\":\"user\",\"content\":\"a\\nb\",\"name\":\"n\"}]");
    check_normalised(glm, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]",
                     "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]");
    check_normalised(v3, "[{\"role\":\"assistant\",\"content\":\"\"," CALL "{\"x\":[0.1,1.5,{}]}" AFTER,
                     "[{\"role\":\"assistant\",\"content\":null," CALL "\"{\\\"x\\\": [0.1, 1.5, {}]}\"" AFTER);
    check_normalised(v3, "[{\"role\":\"assistant\",\"content\":\"\"," CALL "null" AFTER,
                     "[{\"role\":\"assistant\",\"content\":null," CALL "\"{}\"" AFTER);
    check_normalised(glm, "[{\"role\":\"assistant\",\"content\":\"t\"," CALL "\"\"" AFTER,
                     "[{\"role\":\"assistant\",\"content\":\"t\"," CALL "{}" AFTER);
    hs_template_destroy(&qwen);
    hs_template_destroy(&v3);
    hs_template_destroy(&oss);
    hs_template_destroy(&glm);
}

static void check_refused(const hs_template *t, const char *messages, const char *part)
{
    json_t *in = parse(messages), *out = NULL;
    hs_err err = {0};
    assert_int_equal(hs_template_normalise(t, in, &out, &err), -EINVAL);
    assert_null(out);
    if (!strstr(err.text, part))
        fail_msg("%s: %s", messages, err.text);
    json_decref(in);
}

static void test_refusals(void **state)
{
    hs_template *t = load("GLM-4.6");
    (void)state;
    check_refused(t, "{}", "messages must be an array");
    check_refused(t, "[]", "at least one");
    check_refused(t, "[3]", "messages[0] must be an object");
    check_refused(t, "[{\"content\":\"x\"}]", "messages[0].role");
    check_refused(t, "[{\"role\":\"user\"}]", "messages[0].content is missing");
    check_refused(t, "[{\"role\":\"user\",\"content\":3}]", "messages[0].content must be");
    check_refused(t,
                  "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                  "\"a\"},{\"type\":\"image_url\",\"image_url\":{}}]}]",
                  "messages[1].content[1].type is \"image_url\"");
    check_refused(t, "[{\"role\":\"user\",\"content\":[\"a\"]}]", "messages[0].content[0].type is missing");
    check_refused(t, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", "messages[0].content[0].text");
    check_refused(t, "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":3}]", "messages[0].tool_calls must be");
    check_refused(t, "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[3]}]",
                  "messages[0].tool_calls[0].function.name");
    check_refused(t, "[{\"role\":\"assistant\",\"content\":\"\"," CALL "\"{no\"" AFTER,
                  "messages[0].tool_calls[0].function.arguments is not a JSON object");
    check_refused(t, "[{\"role\":\"assistant\",\"content\":\"\"," CALL "\"[1]\"" AFTER, "is not a JSON object");
    check_refused(t, "[{\"role\":\"assistant\",\"content\":\"\"," CALL "[1]" AFTER,
                  "must be a JSON string or an object");
    hs_template_destroy(&t);
}

static void test_reasoning_marks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        hs_template *t = load(templates[i].name);
        const hs_reasoning_marks *marks = hs_template_reasoning(t);
        const char *n = templates[i].name;
        bool none = !strcmp(n, "deepseek_v3") || !strcmp(n, "moonshotai-Kimi-K2") || !strcmp(n, "Qwen3-Coder") ||
                    !strcmp(n, "openai-gpt-oss-120b") || !strcmp(n, "ibm-granite-granite-4.0");
        if (none != !marks)
            fail_msg("%s", n);
        if (marks) {
            assert_string_equal(marks->begin, "<think>");
            assert_string_equal(marks->end, "</think>");
        }
        hs_template_destroy(&t);
    }
}

/* A template that shows objects and strings differently gets objects; one that shows them alike gets what was sent. */
static void test_argument_forms(void **state)
{
    static const char differs[] = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments if "
                                  "c.function.arguments is string else c.function.arguments.items() | list | tojson }}"
                                  "{% endfor %}{% endfor %}";
    static const char alike[] = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments if "
                                "c.function.arguments is string else c.function.arguments | tojson }}{% endfor %}"
                                "{% endfor %}";
    static const char sent[] = "[{\"role\":\"assistant\",\"content\":\"\"," CALL "\"{\\\"x\\\":1}\"" AFTER;
    hs_template *t;
    hs_err err;
    (void)state;
    assert_int_equal(hs_template_create(differs, strlen(differs), "t", NULL, &t, &err), 0);
    check_normalised(t, sent, "[{\"role\":\"assistant\",\"content\":\"\"," CALL "{\"x\":1}" AFTER);
    hs_template_destroy(&t);
    assert_int_equal(hs_template_create(alike, strlen(alike), "t", NULL, &t, &err), 0);
    check_normalised(t, sent, sent);
    hs_template_destroy(&t);
}

/* A template that never ends, or that eats memory, is probed quickly all the same. */
static void test_hostile_probes(void **state)
{
    static const char *const sources[] = {
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}",
        "{{ raise_exception('never') }}",
        "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        hs_template *t;
        hs_err err;
        assert_int_equal(hs_template_create(sources[i], strlen(sources[i]), "t", NULL, &t, &err), 0);
        check_normalised(t, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]",
                         "[{\"role\":\"user\",\"content\":\"a\"}]");
        hs_template_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_calls),      cmocka_unit_test(test_parts),
        cmocka_unit_test(test_shapes),          cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_reasoning_marks), cmocka_unit_test(test_argument_forms),
        cmocka_unit_test(test_hostile_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
