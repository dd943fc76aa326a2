/* labels: unit */
/* test_openai.c - fields of requests: what is honoured, what is accepted, what is refused and under which name. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/openai.h"

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

static json_t *root;

static int parse(const char *fields, bool chat, hs__params *p, hs__api_error *e)
{
    char *text = hs_asprintf("{%s%s%s}", chat ? MESSAGES : "\"prompt\":\"x\"", *fields ? "," : "", fields);
    json_decref(root);
    root = NULL;
    int r = hs__body_parse(text, strlen(text), &root, e);
    hs_free(text);
    return r < 0 ? r : hs__params_parse(root, chat ? HS__BODY_CHAT : HS__BODY_COMPLETIONS, p, e);
}

static hs__params good(const char *fields, bool chat)
{
    hs__params p;
    hs__api_error e = {0};
    if (parse(fields, chat, &p, &e) < 0)
        fail_msg("%s: %s", fields, e.text);
    return p;
}

static void bad(const char *fields, bool chat, const char *param)
{
    hs__params p;
    hs__api_error e = {0};
    if (parse(fields, chat, &p, &e) == 0)
        fail_msg("accepted: %s", fields);
    assert_int_equal(e.status, 400);
    if (strcmp(e.param, param) || !strstr(e.text, param))
        fail_msg("%s: param %s, text %s", fields, e.param, e.text);
}

static void test_honoured(void **state)
{
    (void)state;
    hs__params p = good("\"temperature\":0,\"top_p\":0.5,\"min_p\":0.1,\"top_k\":40,\"seed\":-3,\"max_tokens\":9,"
                        "\"stop\":[\"a\",\"b\"],\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                        "\"ignore_eos\":true,\"model\":\"m\",\"expert_profile\":\"code\"",
                        true);
    assert_true(p.temperature == 0 && p.top_p == 0.5 && p.min_p == 0.1);
    assert_int_equal(p.top_k, 40);
    assert_true(p.has_seed && p.seed == (uint64_t)-3);
    assert_int_equal(p.max_tokens, 9);
    assert_int_equal(p.n_stop, 2);
    assert_string_equal(p.stop[1], "b");
    assert_true(p.stream && p.include_usage && p.ignore_eos && p.add_generation_prompt);
    assert_string_equal(p.model, "m");
    assert_string_equal(p.expert_profile, "code");
    p = good("\"stop\":\"a\",\"max_completion_tokens\":7,\"top_k\":-1,\"max_tokens\":7", true);
    assert_int_equal(p.n_stop, 1);
    assert_int_equal(p.max_tokens, 7);
    assert_int_equal(p.top_k, 0);
    p = good("\"temperature\":null,\"stop\":null,\"seed\":null,\"max_tokens\":null", false);
    assert_true(p.temperature < 0 && !p.has_seed);
    p = good("\"continue_final_message\":true", true);
    assert_false(p.add_generation_prompt);
    p = good("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"auto\"", true);
    assert_non_null(p.tools);
    p = good("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"none\"", true);
    assert_null(p.tools);
}

static void test_harmless(void **state)
{
    (void)state;
    good("\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":false,\"n\":1,\"frequency_penalty\":0,\"presence_"
         "penalty\":0.0,"
         "\"logit_bias\":{},\"logprobs\":false,\"top_logprobs\":0,\"response_format\":{\"type\":\"text\"},"
         "\"parallel_tool_calls\":true,\"service_tier\":\"auto\",\"modalities\":[\"text\"],\"functions\":[],"
         "\"reasoning_effort\":null,\"cache_prompt\":true",
         true);
    good("\"best_of\":1,\"echo\":false,\"suffix\":\"\",\"logprobs\":null", false);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *param;
    } chat[] = {
        {"\"temperature\":-1", "temperature"},
        {"\"temperature\":\"hot\"", "temperature"},
        {"\"top_p\":0", "top_p"},
        {"\"top_p\":1.5", "top_p"},
        {"\"min_p\":1", "min_p"},
        {"\"top_k\":1.5", "top_k"},
        {"\"seed\":1.5", "seed"},
        {"\"seed\":\"1\"", "seed"},
        {"\"max_tokens\":0", "max_tokens"},
        {"\"max_tokens\":-5", "max_tokens"},
        {"\"max_tokens\":5,\"max_completion_tokens\":6", "max_completion_tokens"},
        {"\"stop\":\"\"", "stop"},
        {"\"stop\":[1]", "stop"},
        {"\"stop\":{}", "stop"},
        {"\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\","
         "\"16\",\"17\"]",
         "stop"},
        {"\"stream\":1", "stream"},
        {"\"stream_options\":{}", "stream_options"},
        {"\"stream\":true,\"stream_options\":{\"x\":1}", "stream_options"},
        {"\"n\":2", "n"},
        {"\"frequency_penalty\":0.5", "frequency_penalty"},
        {"\"presence_penalty\":0.5", "presence_penalty"},
        {"\"logit_bias\":{\"1\":5}", "logit_bias"},
        {"\"logprobs\":true", "logprobs"},
        {"\"top_logprobs\":3", "top_logprobs"},
        {"\"response_format\":{\"type\":\"json_object\"}", "response_format"},
        {"\"response_format\":\"text\"", "response_format"},
        {"\"tools\":{}", "tools"},
        {"\"tools\":[{\"type\":\"web_search\"}]", "tools"},
        {"\"tool_choice\":\"required\"", "tool_choice"},
        {"\"parallel_tool_calls\":false", "parallel_tool_calls"},
        {"\"functions\":[{\"name\":\"f\"}]", "functions"},
        {"\"reasoning_effort\":\"high\"", "reasoning_effort"},
        {"\"chat_template_kwargs\":[]", "chat_template_kwargs"},
        {"\"user\":5", "user"},
        {"\"no_such_thing\":1", "no_such_thing"},
        {"\"prompt\":\"x\"", "prompt"},
        {"\"model\":5", "model"},
        {"\"expert_profile\":5", "expert_profile"},
        {"\"expert_profile\":[\"code\"]", "expert_profile"},
        {"\"expert_profile\":\"a\\u0000b\"", "expert_profile"},
        {"\"continue_final_message\":true,\"add_generation_prompt\":true", "continue_final_message"},
    };
    for (size_t i = 0; i < sizeof chat / sizeof chat[0]; i++)
        bad(chat[i].fields, true, chat[i].param);
    bad("\"logprobs\":0", false, "logprobs");
    bad("\"echo\":true", false, "echo");
    bad("\"best_of\":3", false, "best_of");
    bad("\"suffix\":\"end\"", false, "suffix");
    bad(MESSAGES, false, "messages");
}

static void check_body(const char *text, hs__body kind, const char *part)
{
    hs__params p;
    hs__api_error e = {0};
    json_t *j = NULL;
    int r = hs__body_parse(text, strlen(text), &j, &e);
    if (r == 0)
        r = hs__params_parse(j, kind, &p, &e);
    json_decref(j);
    if (!part && r < 0)
        fail_msg("%s: %s", text, e.text);
    if (part && (r == 0 || !strstr(e.text, part)))
        fail_msg("%s: %s", text, r == 0 ? "accepted" : e.text);
}

static void test_messages(void **state)
{
    (void)state;
    check_body("{}", HS__BODY_CHAT, "messages is missing");
    check_body("{\"messages\":[]}", HS__BODY_CHAT, "messages is empty");
    check_body("{\"messages\":[5]}", HS__BODY_CHAT, "messages[0]");
    check_body("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"content\":\"a\"}]}", HS__BODY_CHAT,
               "messages[1].role");
    check_body("{\"messages\":[{\"role\":\"king\",\"content\":\"a\"}]}", HS__BODY_CHAT, "messages[0].role");
    check_body("{\"messages\":[{\"role\":\"user\"}]}", HS__BODY_CHAT, "messages[0].content");
    check_body("{\"messages\":[{\"role\":\"user\",\"content\":null}]}", HS__BODY_CHAT, "messages[0].content");
    check_body("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", HS__BODY_CHAT,
               "image_url");
    check_body("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}", HS__BODY_CHAT,
               "content[0].text");
    check_body("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}", HS__BODY_CHAT,
               NULL);
    check_body("{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
               "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"7\"}]}",
               true, NULL);
    check_body("{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]}", HS__BODY_CHAT,
               "function.name");
    check_body("{\"prompt\":[]}", HS__BODY_COMPLETIONS, "prompt");
    check_body("{\"prompt\":[\"a\",\"b\"]}", HS__BODY_COMPLETIONS, "prompt");
    check_body("{\"prompt\":[1,-2]}", HS__BODY_COMPLETIONS, "prompt");
    check_body("{\"prompt\":[\"a\"]}", HS__BODY_COMPLETIONS, NULL);
    check_body("{\"prompt\":[1,2]}", HS__BODY_COMPLETIONS, NULL);
    check_body("{\"prompt\":[[1,2]]}", HS__BODY_COMPLETIONS, NULL);
}

static void test_json_bounds(void **state)
{
    (void)state;
    static char text[400000];
    check_body("", HS__BODY_CHAT, "empty");
    check_body("{", HS__BODY_CHAT, "line 1");
    check_body("[]", HS__BODY_CHAT, "object");
    check_body("{\"a\":1,\"a\":2}", HS__BODY_CHAT, "duplicate");
    check_body("\"\xff\"", HS__BODY_CHAT, "");
    memset(text, '[', 100);
    strcpy(text + 100, "");
    check_body(text, HS__BODY_CHAT, "nested");
    text[0] = '[';
    for (size_t i = 1; i < 80000; i += 2)
        text[i] = '0', text[i + 1] = ',';
    strcpy(text + 80001, "0]");
    check_body(text, HS__BODY_CHAT, "values");
    /* Brackets inside strings do not count. */
    memset(text, '[', 50000);
    memcpy(text, "{\"prompt\":\"", 11);
    strcpy(text + 50000, "\\\"[\"}");
    check_body(text, HS__BODY_COMPLETIONS, NULL);
}

/* Damaged bodies end in an error or in sane values, whatever was damaged. */
static void test_mutations(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\","
        "\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}"
        "],"
        "\"temperature\":0.5,\"top_k\":40,\"stop\":[\"a\",\"b\"],\"max_tokens\":5,\"stream\":true,\"stream_options\":"
        "{\"include_usage\":true},\"logit_bias\":{},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}";
    static const char bytes[] = "{}[]\",:0-9.eE\\u\0ntf\xff\x80 ";
    uint32_t seed = 1, accepted = 0;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof body];
        memcpy(text, body, sizeof body);
        for (int k = 0; k < 1 + i % 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[(seed >> 8) % (sizeof body - 1)] = bytes[(seed >> 24) % (sizeof bytes - 1)];
        }
        hs__params p;
        hs__api_error e = {0};
        json_t *j = NULL;
        int r = hs__body_parse(text, sizeof body - 1 - (seed >> 28), &j, &e);
        if (r == 0)
            r = hs__params_parse(j, HS__BODY_CHAT, &p, &e);
        if (r < 0) {
            assert_true(e.status >= 400 && *e.text);
        } else {
            accepted++;
            assert_true(json_array_size(p.messages) == 2 && p.n_stop <= HS_MAX_STOP);
        }
        json_decref(j);
    }
    assert_in_range(accepted, 1, 19999);
}

static void test_sampling(void **state)
{
    (void)state;
    hs_sampling s, again;
    hs__params p = good("\"temperature\":0.25", true);
    hs_sampling_defaults d = {.temperature = 0.7, .top_p = 0.9, .min_p = -1, .top_k = -1};
    json_t *model = json_pack("{s:f,s:f,s:i,s:s}", "top_p", 0.3, "temperature", 0.4, "top_k", 20, "min_p", "x");
    hs__params_sampling(&p, &d, model, &s);
    assert_true(s.temperature == 0.25f && s.top_p == 0.9f && s.min_p == 0 && s.top_k == 20);
    hs__params_sampling(&p, &d, model, &again);
    assert_true(s.seed != again.seed);
    json_decref(model);
    p = good("\"seed\":5", true);
    hs__params_sampling(&p, &(hs_sampling_defaults){-1, -1, -1, -1}, NULL, &s);
    assert_true(s.temperature == 1 && s.top_p == 1 && s.min_p == 0 && s.top_k == 0 && s.seed == 5);
}

static int cleanup(void **state)
{
    (void)state;
    json_decref(root);
    root = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_honoured),  cmocka_unit_test(test_harmless),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_messages),  cmocka_unit_test(test_json_bounds), cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, cleanup);
}
