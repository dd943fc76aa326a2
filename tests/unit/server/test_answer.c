/* labels: unit */
/* test_answer.c - the exact text of event-stream chunks and answer objects. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "server/answer.h"

static const hs__meta chat = {.id = "c1", .created = 7, .model = "m\"x", .chat = true};
static const hs__meta text = {.id = "c2", .created = 7, .model = "m", .chat = false};
static const hs_receipt receipt = {.bytes_read = 4000,
                                   .expert_hits = 30,
                                   .expert_misses = 10,
                                   .prompt_tokens = 9,
                                   .generated_tokens = 2,
                                   .queue_s = 0.5,
                                   .prefetch_issued = 4,
                                   .prefetch_useful = 3,
                                   .unpacked = 9};

#define HEAD                                                                                                           \
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\\\"x\",\"choices\":["

static hs_buf b;

static void is(const char *expected)
{
    assert_int_equal(b.failed, 0);
    assert_string_equal(b.data, expected);
    hs_buf_clear(&b);
}

static void test_chunks(void **state)
{
    (void)state;
    hs_buf_init(&b, 10000);
    hs__sse_role(&b, &chat);
    is(HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n");
    hs__sse_text(&b, &chat, HS__CONTENT, "a\"\n\x01\xc3\xa9", 6);
    is(HEAD "{\"index\":0,\"delta\":{\"content\":\"a\\\"\\n\\u0001\xc3\xa9\"},\"finish_reason\":null}]}\n\n");
    hs__sse_text(&b, &chat, HS__REASONING, "r", 1);
    is(HEAD "{\"index\":0,\"delta\":{\"reasoning_content\":\"r\"},\"finish_reason\":null}]}\n\n");
    hs__sse_finish(&b, &chat, hs__finish_word(HS_FINISH_LENGTH, 1), NULL);
    is(HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n");
    hs__sse_call(&b, &chat, 2, "call_1", "l\"k", 3);
    is(HEAD
       "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":2,\"id\":\"call_1\",\"type\":\"function\",\"function\":{"
       "\"name\":\"l\\\"k\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n");
    hs__sse_arguments(&b, &chat, 2, "{\"a\"", 4);
    is(HEAD "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":2,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]},"
            "\"finish_reason\":null}]}\n\n");
    hs__sse_done(&b);
    is("data: [DONE]\n\n");
    hs__sse_comment(&b, "ping");
    is(": ping\n\n");
    hs__sse_text(&b, &text, HS__CONTENT, "a", 1);
    is("data: {\"id\":\"c2\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"choices\":["
       "{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    hs__sse_error(&b, 500, NULL, "bad \xff record");
    is("data: {\"error\":{\"message\":\"bad ? record\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n");
    hs_buf_deinit(&b);
}

static json_t *parse(const char *from)
{
    json_error_t e;
    json_t *j = json_loads(from, 0, &e);
    if (!j)
        fail_msg("%s: %s", e.text, from);
    return j;
}

static void check_usage(const json_t *u)
{
    const json_t *h = json_object_get(u, "hotset");
    assert_int_equal(json_integer_value(json_object_get(u, "prompt_tokens")), 9);
    assert_int_equal(json_integer_value(json_object_get(u, "completion_tokens")), 2);
    assert_int_equal(json_integer_value(json_object_get(u, "total_tokens")), 11);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(u, "prompt_tokens_details"), "cached_tokens")),
                     0);
    assert_int_equal(json_integer_value(json_object_get(h, "bytes_read")), 4000);
    assert_int_equal(json_integer_value(json_object_get(h, "prefetch_useful")), 3);
    assert_int_equal(json_integer_value(json_object_get(h, "unpacked")), 9);
    assert_true(json_number_value(json_object_get(h, "hit_rate")) == 0.75);
    assert_true(json_number_value(json_object_get(h, "queue_s")) == 0.5);
}

static void test_usage_chunk(void **state)
{
    (void)state;
    hs_buf_init(&b, 10000);
    hs__sse_usage(&b, &chat, &receipt);
    assert_int_equal(strncmp(b.data, "data: {", 7), 0);
    json_t *j = parse(b.data + 6);
    assert_int_equal(json_array_size(json_object_get(j, "choices")), 0);
    check_usage(json_object_get(j, "usage"));
    json_decref(j);
    hs_buf_deinit(&b);
}

static void test_whole(void **state)
{
    (void)state;
    hs_buf content = {.data = (char *)(uintptr_t) "a\\n", .len = 3}, none = {0};
    hs_buf_init(&b, 10000);
    hs__answer_object(&b, &chat, &content, &none, &none, hs__finish_word(HS_FINISH_STOP, 0), &receipt);
    json_t *j = parse(b.data);
    assert_string_equal(json_string_value(json_object_get(j, "object")), "chat.completion");
    const json_t *choice = json_array_get(json_object_get(j, "choices"), 0), *m = json_object_get(choice, "message");
    assert_string_equal(json_string_value(json_object_get(m, "content")), "a\n");
    assert_string_equal(json_string_value(json_object_get(m, "role")), "assistant");
    assert_null(json_object_get(m, "reasoning_content"));
    assert_null(json_object_get(m, "tool_calls"));
    assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "stop");
    check_usage(json_object_get(j, "usage"));
    json_decref(j);
    hs_buf_clear(&b);
    hs__answer_object(&b, &text, &content, &none, &none, hs__finish_word(HS_FINISH_LENGTH, 0), &receipt);
    j = parse(b.data);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(j, "choices"), 0), "text")),
                        "a\n");
    json_decref(j);
    hs_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_usage_chunk),
        cmocka_unit_test(test_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
