/* labels: unit */
/* test_server.c - the routes and the life of a server: loading, serving, reloading, draining. */
#include "harness.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"

#define CHAT        "/v1/chat/completions"
#define COMPLETIONS "/v1/completions"
#define USER(text)  "\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]"

static harness H;
static hs_server_options O;
static fake_options F;
static hs_buf B;

static int prepare(void **state)
{
    (void)state;
    O = harness_options(&H);
    F = harness_fake();
    hs_buf_init(&B, 16 << 20);
    return 0;
}

static int setup(void **state)
{
    prepare(state);
    harness_start(&H, &O, &F, false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    harness_end(&H);
    hs_buf_deinit(&B);
    return 0;
}

static const char *body_of(const hs_buf *b)
{
    return strstr(b->data, "\r\n\r\n") + 4;
}

static json_t *parse_body(void)
{
    json_error_t e;
    json_t *j = json_loads(body_of(&B), 0, &e);
    if (!j)
        fail_msg("%s: %s", e.text, body_of(&B));
    return j;
}

static void test_models(void **state)
{
    (void)state;
    ask(&H, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    json_t *j = parse_body();
    const json_t *m = json_array_get(json_object_get(j, "data"), 0);
    assert_string_equal(json_string_value(json_object_get(j, "object")), "list");
    assert_string_equal(json_string_value(json_object_get(m, "id")), "tale");
    assert_string_equal(json_string_value(json_object_get(m, "object")), "model");
    assert_int_equal(json_array_size(json_object_get(m, "aliases")), 2);
    json_decref(j);
    ask(&H, "GET /v1/models/fable HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "{\"id\":\"tale\"");
    ask(&H, "GET /v1/models/none HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "404 Not Found");
    assert_has(&B, "\"code\":\"model_not_found\"");
}

static void test_chat_whole(void **state)
{
    (void)state;
    ask_post(&H, CHAT,
             "{\"model\":\"story\",\"temperature\":0.3,\"seed\":11,\"max_tokens\":3,\"stop\":[\"end\"],"
             "\"chat_template_kwargs\":{\"enable_thinking\":true},"
             "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]," USER("hi") "}",
             &B);
    json_t *j = parse_body();
    const json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(choice, "message"), "content")),
                        "tok tok tok ");
    assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "length");
    assert_string_equal(json_string_value(json_object_get(j, "model")), "tale");
    const json_t *usage = json_object_get(j, "usage"), *h = json_object_get(usage, "hotset");
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")), 3);
    assert_int_equal(json_integer_value(json_object_get(h, "bytes_read")), 3000);
    assert_true(json_number_value(json_object_get(h, "hit_rate")) == 0.75);
    json_decref(j);
    char *prompt = fake_engine_last_prompt(H.engine);
    assert_string_equal(prompt, "user:hi\ntools:1\nthinking\nassistant:");
    free(prompt);
    hs_request_options o = fake_engine_last(H.engine);
    assert_true(o.sampling.temperature == 0.3f && o.sampling.seed == 11 && o.sampling.top_k == 7);
    assert_int_equal(o.n_stop, 1);
    assert_int_equal(o.client, getpid());
}

static void test_expert_profile(void **state)
{
    (void)state;
    ask_post(&H, CHAT, "{\"expert_profile\":\"code\"," USER("hi") "}", &B);
    assert_has(&B, "tok tok");
    assert_string_equal(fake_engine_last(H.engine).profile, "code");
    hs_buf_clear(&B);
    ask_post(&H, CHAT, "{" USER("hi") "}", &B);
    assert_string_equal(fake_engine_last(H.engine).profile, "");
    hs_buf_clear(&B);
    ask_post(&H, CHAT, "{\"stream\":true,\"expert_profile\":\"bad name\"," USER("hi") "}", &B);
    assert_has(&B, "HTTP/1.1 400");
    assert_has(&B, "\"param\":\"expert_profile\"");
    assert_has(&B, "'bad name' is no name");
}

static void test_chat_stream(void **state)
{
    (void)state;
    ask_post(&H, CHAT, "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," USER("THINK") "}", &B);
    assert_has(&B, "Content-Type: text/event-stream");
    const char *role = strstr(B.data, "{\"role\":\"assistant\"}"),
               *thought = strstr(B.data, "{\"reasoning_content\":\"deep\"}"),
               *content = strstr(B.data, "{\"content\":\"plain\"}"),
               *finish = strstr(B.data, "\"finish_reason\":\"stop\""),
               *usage = strstr(B.data, "\"choices\":[],\"usage\":{\"prompt_tokens\":"),
               *done = strstr(B.data, "data: [DONE]\n\n");
    assert_true(role && role < thought && thought < content && content < finish && finish < usage && usage < done);
    assert_int_equal(count_of(&B, "\"usage\""), 1);
    hs_buf_clear(&B);
    ask_post(&H, CHAT, "{\"stream\":true," USER("QUOTE") "}", &B);
    assert_has(&B, "{\"content\":\"a\\\"b\\\\c\\n\\u0009\\u0001 \xc3\xa9\"}");
    assert_has(&B, "\"finish_reason\":\"stop\"}],\"usage\":{");
}

#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}],"

static const json_t *call_part(const json_t *calls, size_t i, const char *key)
{
    return json_object_get(json_object_get(json_array_get(calls, i), "function"), key);
}

static void test_tool_calls(void **state)
{
    (void)state;
    ask_post(&H, CHAT, "{" TOOLS USER("CALL") "}", &B);
    json_t *j = parse_body();
    const json_t *choice = json_array_get(json_object_get(j, "choices"), 0), *m = json_object_get(choice, "message"),
                 *calls = json_object_get(m, "tool_calls");
    assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "tool_calls");
    assert_string_equal(json_string_value(json_object_get(m, "content")), "look:");
    assert_string_equal(json_string_value(json_object_get(m, "reasoning_content")), "deep");
    assert_int_equal(json_array_size(calls), 2);
    assert_string_equal(json_string_value(call_part(calls, 0, "name")), "look");
    assert_string_equal(json_string_value(call_part(calls, 0, "arguments")), "{\"at\": \"a\\\"b\"}");
    assert_string_equal(json_string_value(call_part(calls, 1, "arguments")), "{}");
    const char *id[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *call = json_array_get(calls, i);
        assert_string_equal(json_string_value(json_object_get(call, "type")), "function");
        id[i] = json_string_value(json_object_get(call, "id"));
        assert_int_equal(strlen(id[i]), strlen("call_") + 24);
    }
    assert_string_not_equal(id[0], id[1]);
    json_decref(j);
    hs_request_options o = fake_engine_last(H.engine);
    assert_int_equal(o.n_shown, 1);

    ask_post(&H, CHAT, "{\"stream\":true," TOOLS USER("CALL") "}", &B);
    const char *content = strstr(B.data, "{\"content\":\"look:\"}"),
               *first = strstr(B.data, "{\"tool_calls\":[{\"index\":0,\"id\":\"call_"),
               *args = strstr(B.data, "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"at\\\": "),
               *second = strstr(B.data, "{\"tool_calls\":[{\"index\":1,\"id\":\"call_"),
               *finish = strstr(B.data, "\"finish_reason\":\"tool_calls\"");
    assert_true(content && content < first && first < args && args < second && second < finish);
    assert_has_not(&B, "<tool_call>");

    /* A call that never ends, longer than there is memory for. */
    ask_post(&H, CHAT, "{\"stream\":true," TOOLS USER("BEGIN FLOOD") "}", &B);
    assert_has(&B, "a tool call does not fit into server.buffer_memory");
    assert_has(&B, "\"code\":\"answer_too_long\"");

    /* Not asked for: text. */
    ask_post(&H, CHAT, "{\"tool_choice\":\"none\"," TOOLS USER("CALL") "}", &B);
    assert_has(&B, "<tool_call>");
    assert_has(&B, "\"finish_reason\":\"stop\"");
    assert_has_not(&B, "tool_calls");
}

static void test_completions(void **state)
{
    (void)state;
    ask_post(&H, COMPLETIONS, "{\"prompt\":\"once\",\"max_tokens\":2}", &B);
    assert_has(&B, "\"object\":\"text_completion\"");
    assert_has(&B, "\"text\":\"tok tok \"");
    char *prompt = fake_engine_last_prompt(H.engine);
    assert_string_equal(prompt, "once");
    free(prompt);
    ask_post(&H, COMPLETIONS, "{\"prompt\":[65,66],\"stream\":true,\"max_tokens\":1}", &B);
    prompt = fake_engine_last_prompt(H.engine);
    assert_string_equal(prompt, "AB");
    free(prompt);
    assert_has(&B, "\"text\":\"tok \"");
    assert_has_not(&B, "role");
    assert_has(&B, "data: [DONE]");
}

static void check_error(const char *path, const char *body, const char *status, const char *part)
{
    ask_post(&H, path, body, &B);
    assert_has(&B, status);
    json_t *j = parse_body();
    const json_t *e = json_object_get(j, "error");
    assert_true(json_is_string(json_object_get(e, "message")) && json_is_string(json_object_get(e, "type")));
    assert_true(json_object_get(e, "param") && json_object_get(e, "code"));
    json_decref(j);
    assert_has(&B, part);
}

static void test_errors(void **state)
{
    (void)state;
    check_error(CHAT, "{\"model\":\"x\"," USER("hi") "}", "404 ", "model_not_found");
    check_error(CHAT, "nonsense", "400 ", "invalid_json");
    check_error(CHAT, "{\"n\":3," USER("hi") "}", "400 ", "\"param\":\"n\"");
    check_error(CHAT, "{" USER("RAISE") "}", "400 ", "must alternate");
    check_error(CHAT, "{\"max_tokens\":70000," USER("hi") "}", "400 ", "context_length_exceeded");
    assert_has(&B, "\"param\":\"max_tokens\"");
    check_error(CHAT, "{" USER("FAIL") "}", "500 ", "record 7");
    char *big = hs_malloc(70000);
    memset(big, 'a', 69999);
    big[69999] = '\0';
    char *body = hs_asprintf("{\"prompt\":\"%s\"}", big);
    check_error(COMPLETIONS, body, "400 ", "context_length_exceeded");
    hs_free(body);
    hs_free(big);
    ask_post(&H, CHAT, "{\"stream\":true," USER("FAIL") "}", &B);
    assert_has(&B, "200 OK");
    assert_has(&B, "data: {\"error\":{\"message\":\"record 7: its bytes are damaged\",\"type\":\"server_error\"");
    assert_has_not(&B, "[DONE]");
}

static void test_text_routes(void **state)
{
    (void)state;
    ask_post(&H, "/tokenize", "{\"content\":\"ab\\u0000c\",\"model\":\"tale\"}", &B);
    assert_has(&B, "200 OK");
    assert_string_equal(body_of(&B), "{\"tokens\":[97,98,0,99]}\n");
    ask_post(&H, "/tokenize", "{\"content\":\"\",\"add_special\":true}", &B);
    assert_has(&B, "{\"tokens\":[");
    ask_post(&H, "/detokenize", "{\"tokens\":[104,34,105]}", &B);
    assert_string_equal(body_of(&B), "{\"content\":\"h\\\"i\"}\n");
    ask_post(&H, "/detokenize", "{\"tokens\":[]}", &B);
    assert_string_equal(body_of(&B), "{\"content\":\"\"}\n");
    ask_post(&H, "/apply-template", "{" USER("hi") ",\"chat_template_kwargs\":{\"enable_thinking\":true}}", &B);
    assert_string_equal(body_of(&B), "{\"prompt\":\"user:hi\\nthinking\\nassistant:\"}\n");
    check_error("/tokenize", "{}", "400 ", "content is missing");
    check_error("/tokenize", "{\"content\":[1]}", "400 ", "content must be a string");
    check_error("/tokenize", "{\"content\":\"x\",\"temperature\":0}", "400 ", "unknown_parameter");
    check_error("/tokenize", "{\"content\":\"x\",\"with_pieces\":true}", "400 ", "with_pieces is not supported");
    check_error("/tokenize", "{\"content\":\"x\",\"model\":\"none\"}", "404 ", "model_not_found");
    check_error("/detokenize", "{}", "400 ", "tokens is missing");
    check_error("/detokenize", "{\"tokens\":[-1]}", "400 ", "tokens must be an array of token ids");
    check_error("/detokenize", "{\"tokens\":7}", "400 ", "tokens must be an array of token ids");
    check_error("/apply-template", "{}", "400 ", "messages is missing");
    check_error("/apply-template", "{" USER("RAISE") "}", "400 ", "roles must alternate");
    ask(&H, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "hotset_buffer_bytes 0\n");
}

/* An answer that finds no room in server.buffer_memory is a 503, and what was taken for those before is given back. */
static void test_text_memory(void **state)
{
    prepare(state);
    O.max_body = O.buffer_memory = 65536;
    harness_start(&H, &O, &F, false);
    char *text = hs_malloc(40000), *body;
    memset(text, 'x', 39999);
    text[39999] = '\0';
    body = hs_asprintf("{\"content\":\"%s\"}", text);
    check_error("/tokenize", body, "503 ", "server.buffer_memory");
    hs_free(body);
    text[1000] = '\0';
    body = hs_asprintf("{\"content\":\"%s\"}", text);
    for (int i = 0; i < 40; i++) {
        ask_post(&H, "/tokenize", body, &B);
        assert_has(&B, "200 OK");
    }
    hs_free(body);
    hs_free(text);
}

static void test_slots(void **state)
{
    (void)state;
    int fd = harness_connect(&H);
    char *request = post(CHAT, "{\"stream\":true," USER("HANG") "}", NULL);
    send_text(fd, request);
    wait_active(&H, 1);
    ask(&H, "GET /slots HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    json_t *j = parse_body();
    const json_t *s = json_array_get(j, 0), *idle = json_array_get(j, 3);
    assert_int_equal(json_array_size(j), 4);
    assert_string_equal(json_string_value(json_object_get(s, "model")), "tale");
    assert_string_equal(json_string_value(json_object_get(s, "state")), "prefill");
    assert_int_equal(json_integer_value(json_object_get(s, "client_pid")), getpid());
    assert_int_equal(json_integer_value(json_object_get(s, "prompt_tokens")), sizeof "user:HANG\nassistant:" - 1);
    assert_string_equal(json_string_value(json_object_get(idle, "state")), "idle");
    assert_null(json_object_get(idle, "client_pid"));
    json_decref(j);
    close(fd);
    hs_free(request);
    wait_active(&H, 0);
    ask(&H, "GET /props HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    j = parse_body();
    const json_t *d = json_object_get(j, "default_generation_settings");
    assert_int_equal(json_integer_value(json_object_get(j, "total_slots")), 4);
    assert_int_equal(json_integer_value(json_object_get(d, "n_ctx")), 60000);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(d, "params"), "top_k")), 7);
    json_decref(j);
}

static void test_queue_full(void **state)
{
    prepare(state);
    F.parallel = 1;
    F.max_queue = 1;
    harness_start(&H, &O, &F, false);
    int fds[2];
    char *request = post(CHAT, "{\"stream\":true," USER("HANG") "}", NULL);
    for (int i = 0; i < 2; i++) {
        fds[i] = harness_connect(&H);
        send_text(fds[i], request);
        hs_buf_clear(&B);
        read_until(fds[i], &B, "assistant");
        wait_active(&H, 1);
    }
    check_error(CHAT, "{" USER("hi") "}", "429 ", "Retry-After: ");
    hs_buf_clear(&B);
    read_until(fds[1], &B, ": queued 0\n\n");
    hs_buf_clear(&B);
    char progress[40];
    snprintf(progress, sizeof progress, ": prefill 0/%zu tokens, ", sizeof "user:HANG\nassistant:" - 1);
    read_until(fds[0], &B, progress);
    read_until(fds[0], &B, " s left\n\n");
    close(fds[0]);
    close(fds[1]);
    wait_active(&H, 0);
    ask_post(&H, CHAT, "{" USER("hi") "}", &B);
    assert_has(&B, "200 OK");
    hs_free(request);
}

static void test_ping(void **state)
{
    prepare(state);
    O.ping_interval_s = 1;
    F.parallel = 0; /* everything waits */
    F.max_queue = 10;
    harness_start(&H, &O, &F, false);
    char *request = post(CHAT, "{\"stream\":true," USER("hi") "}", NULL);
    int fd = harness_connect(&H);
    send_text(fd, request);
    read_until(fd, &B, "\r\n: ping\n\n");
    close(fd);
    hs_free(request);
}

static void test_tools_unknown(void **state)
{
    prepare(state);
    F.without_tools = true;
    harness_start(&H, &O, &F, false);
    check_error(CHAT, "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]," USER("hi") "}", "400 ",
                "\"param\":\"tools\"");
}

/* Every allocation of creation and of a request fails once: an error or a closed connection, never a crash, and the
 * server goes on. */
static void test_out_of_memory(void **state)
{
    prepare(state);
    hs_server_model m = {.name = "a", .aliases = "b c"};
    hs_err err = {0};
    for (int i = 0, r = -ENOMEM; r < 0; i++) {
        hs_server *s = NULL;
        hs_mem_fail_after(i);
        r = hs_server_create(&O, &m, 1, &s, &err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || r == -ENOMEM);
        hs_server_destroy(&s);
    }
    harness_start(&H, &O, &F, false);
    char *request = post(CHAT, "{\"stream\":true,\"max_tokens\":2," USER("hi") "}", "Connection: close\r\n");
    bool ok = false;
    for (int i = 0; !ok && i < 1000; i++) {
        int fd = harness_connect(&H);
        char data[4096];
        send_text(fd, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(recv(fd, data, sizeof data, 0) > 0); /* accepted while there was memory */
        hs_mem_fail_after(i);
        send_text(fd, request);
        ssize_t n, total = 0;
        while ((n = recv(fd, data + total, sizeof data - 1 - (size_t)total, 0)) > 0)
            total += n;
        hs_mem_fail_after(-1);
        data[total] = '\0';
        ok = strstr(data, "[DONE]") != NULL;
        close(fd);
        wait_active(&H, 0);
    }
    assert_true(ok);
    hs_free(request);
}

static void test_limits(void **state)
{
    prepare(state);
    O.max_tokens = 4;
    O.max_context = 30;
    harness_start(&H, &O, &F, false);
    check_error(CHAT, "{\"max_tokens\":5," USER("hi") "}", "400 ", "limits.max_tokens");
    check_error(COMPLETIONS, "{\"prompt\":\"123456789012345678901234567890\"}", "400 ", "limits.max_context");
    ask_post(&H, COMPLETIONS, "{\"prompt\":\"x\"}", &B);
    assert_has(&B, "\"completion_tokens\":4");
    ask_post(&H, COMPLETIONS, "{\"prompt\":\"1234567890123456789012345678\"}", &B);
    assert_has(&B, "\"completion_tokens\":2");
}

/* An answer that does not fit into memory ends with a sentence that says what to do. */
static void test_answer_too_long(void **state)
{
    prepare(state);
    O.buffer_memory = O.max_body = 5000;
    F.step_us = 20;
    harness_start(&H, &O, &F, false);
    check_error(CHAT, "{" USER("ENDLESS") "}", "500 ", "stream");
    wait_active(&H, 0);
}

static void test_metrics(void **state)
{
    (void)state;
    ask_post(&H, CHAT, "{" USER("hi") "}", &B);
    ask(&H, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    ask(&H, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "Content-Type: text/plain; version=0.0.4");
    assert_has(&B, "hotset_requests_total{endpoint=\"/v1/chat/completions\",code=\"200\"} 1\n");
    assert_has(&B, "hotset_requests_total{endpoint=\"other\",code=\"404\"} 1\n");
    assert_has(&B, "hotset_generated_tokens_total{model=\"tale\"} 5\n");
    assert_has(&B, "hotset_time_to_first_token_seconds_count 1\n");
    assert_has(&B, "hotset_inter_token_seconds_count 4\n");
    assert_has(&B, "hotset_queue_depth{model=\"tale\"} 0\n");
    assert_has(&B, "hotset_expert_cache_layer_resident{model=\"tale\",layer=\"1\"} 7\n");
    assert_has(&B, "hotset_expert_cache_layer_resident{model=\"tale\",layer=\"2\"} 8\n");
    assert_has(&B, "hotset_prefetch_layer_absent_total{model=\"tale\",layer=\"1\"} 50\n");
    assert_has(&B, "hotset_prefetch_layer_issued_total{model=\"tale\",layer=\"2\"} 40\n");
    assert_has(&B, "hotset_prefetch_layer_useful_total{model=\"tale\",layer=\"1\"} 20\n");
    assert_has(&B, "hotset_prefetch_layer_late_total{model=\"tale\",layer=\"1\"} 10\n");
    assert_has(&B, "hotset_prefetch_layer_wasted_total{model=\"tale\",layer=\"2\"} 9\n");
    assert_has(&B, "hotset_expert_profile_requests_total{model=\"tale\",profile=\"default\"} 3\n");
    assert_has(&B, "hotset_expert_profile_misses_total{model=\"tale\",profile=\"code\"} 41\n");
    assert_has(&B, "hotset_drive_read_bytes_total{model=\"tale\",drive=\"/odd \\\"\\\\\\n\"} 501\n");
    assert_has(&B, "hotset_drive_busy_seconds_total{model=\"tale\",drive=\"/odd \\\"\\\\\\n\"} 2.500000000\n");
    assert_has(&B, "hotset_drive_behind{model=\"tale\",drive=\"/odd \\\"\\\\\\n\"} 0\n");
    assert_has(&B, "hotset_drive_behind{model=\"tale\",drive=\"/odd \\\"\\\\\\n\"} 1\n");
    for (char *line = strtok((char *)(uintptr_t)body_of(&B), "\n"); line; line = strtok(NULL, "\n"))
        assert_true(line[0] == '#' || (!strncmp(line, "hotset_", 7) && strchr(line, ' ')));
}

static void test_loading(void **state)
{
    prepare(state);
    harness_start(&H, &O, &F, true);
    hs_server_set_progress(H.server, "loading tale: 42 %");
    ask(&H, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "503 ");
    assert_has(&B, "Loading model");
    assert_has(&B, "unavailable_error");
    check_error(CHAT, "{" USER("hi") "}", "503 ", "42 %");
    ask(&H, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "\"status\":\"loading\"");
    hs_server_set_engine(H.server, 0, H.engine);
    ask(&H, "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "503 ");
    ask(&H, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "200 OK");
    hs_server_set_ready(H.server);
    ask(&H, "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    assert_has(&B, "200 OK");
}

static void test_loading_fails(void **state)
{
    prepare(state);
    harness_start(&H, &O, &F, true);
    hs_server_set_failed(H.server, -ENOENT, "no such folder: /x");
    harness_join(&H);
    assert_int_equal(H.result, -ENOENT);
    assert_string_equal(H.err.text, "no such folder: /x");
}

static void test_drain(void **state)
{
    (void)state;
    F.step_us = 1000;
    char *request = post(CHAT, "{\"stream\":true,\"max_tokens\":300," USER("hi") "}", NULL);
    int idle = harness_connect(&H), busy = harness_connect(&H);
    send_text(busy, request);
    read_until(busy, &B, "tok");
    assert_false(hs_server_is_stopping(H.server));
    hs_server_stop(H.server);
    hs_buf end;
    hs_buf_init(&end, 10000);
    read_to_end(idle, &end);
    assert_int_equal(end.len, 0);
    check_error(CHAT, "{" USER("hi") "}", "503 ", "shutting down");
    assert_true(hs_server_is_stopping(H.server));
    read_to_end(busy, &B);
    assert_has(&B, "data: [DONE]");
    harness_join(&H);
    assert_int_equal(H.result, 0);
    hs_buf_deinit(&end);
    hs_free(request);
    close(idle);
    close(busy);
}

static void test_second_stop(void **state)
{
    (void)state;
    char *request = post(CHAT, "{\"stream\":true," USER("HANG") "}", NULL);
    int fd = harness_connect(&H);
    send_text(fd, request);
    read_until(fd, &B, "assistant");
    hs_server_stop(H.server);
    hs_server_stop(H.server);
    harness_join(&H);
    assert_int_equal(H.result, 0);
    close(fd);
    hs_free(request);
}

static void test_signal(void **state)
{
    (void)state;
    ask(&H, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &B);
    kill(getpid(), SIGTERM);
    harness_join(&H);
    assert_int_equal(H.result, 0);
}

static atomic_uint reloads;

static int reload(void *ctx, hs_err *err)
{
    (void)ctx;
    atomic_fetch_add(&reloads, 1);
    O.max_tokens = 2;
    return hs_server_apply(H.server, &O, err);
}

static void test_reload(void **state)
{
    prepare(state);
    O.reload = reload;
    harness_start(&H, &O, &F, false);
    ask_post(&H, COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":3}", &B);
    assert_has(&B, "200 OK");
    kill(getpid(), SIGHUP);
    for (int i = 0; i < 1000 && !strstr(B.data, "400 "); i++) {
        usleep(5000);
        ask_post(&H, COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":3}", &B);
    }
    assert_has(&B, "limits.max_tokens is 2");
}

/* Once a server drains, nothing is read again. */
static void test_reload_in_drain(void **state)
{
    prepare(state);
    O.reload = reload;
    harness_start(&H, &O, &F, false);
    char *request = post(CHAT, "{\"stream\":true," USER("HANG") "}", NULL);
    int fd = harness_connect(&H);
    send_text(fd, request);
    read_until(fd, &B, "assistant");
    hs_server_stop(H.server);
    check_error(CHAT, "{" USER("hi") "}", "503 ", "shutting down");
    atomic_store(&reloads, 0);
    kill(getpid(), SIGHUP);
    for (int i = 0; i < 20; i++) {
        usleep(5000);
        ask(&H, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &B);
        assert_has(&B, "503 ");
    }
    assert_int_equal(atomic_load(&reloads), 0);
    close(fd);
    harness_join(&H);
    hs_free(request);
}

/* systemd's side of the datagrams. */
static int notify_socket(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (void *)&un, sizeof un), 0);
    struct timeval tv = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static void expect_notice(int fd, const char *text)
{
    char data[600];
    ssize_t n;
    while ((n = recv(fd, data, sizeof data - 1, 0)) > 0) {
        data[n] = '\0';
        if (strstr(data, text))
            return;
    }
    fail_msg("no %s from the server", text);
}

static void test_notify(void **state)
{
    char path[100], pid[20];
    prepare(state);
    snprintf(path, sizeof path, "%s/n", H.dir);
    snprintf(pid, sizeof pid, "%d", getpid());
    int fd = notify_socket(path);
    O.service = (hs_service_env){.notify_socket = path, .watchdog_usec = "40000", .watchdog_pid = pid};
    O.reload = reload;
    harness_start(&H, &O, &F, true);
    hs_server_set_progress(H.server, "loading tale: 7 %");
    expect_notice(fd, "STATUS=loading tale: 7 %\nEXTEND_TIMEOUT_USEC=");
    hs_server_set_engine(H.server, 0, H.engine);
    hs_server_set_ready(H.server);
    expect_notice(fd, "READY=1");
    expect_notice(fd, "WATCHDOG=1");
    kill(getpid(), SIGHUP);
    expect_notice(fd, "RELOADING=1");
    expect_notice(fd, "READY=1");
    hs_server_stop(H.server);
    expect_notice(fd, "STOPPING=1");
    harness_join(&H);
    close(fd);
    unlink(path);
}

static void test_names(void **state)
{
    prepare(state);
    hs_server *s = NULL;
    hs_err err = {0};
    hs_server_model m[2] = {{.name = "a", .aliases = "b c"}, {.name = "c"}};
    assert_int_equal(hs_server_create(&O, m, 2, &s, &err), -EEXIST);
    assert_non_null(strstr(err.text, "c"));
    assert_int_equal(hs_server_create(&O, m, 0, &s, &err), -EINVAL);
    O.listen = "";
    assert_int_equal(hs_server_create(&O, m, 1, &s, &err), -EINVAL);
    O.listen = "tcp:0.0.0.0:0";
    assert_int_equal(hs_server_create(&O, m, 1, &s, &err), -EACCES);
    assert_non_null(strstr(err.text, "api_key_file"));
    O.buffer_memory = 10;
    assert_int_equal(hs_server_create(&O, m, 1, &s, &err), -EINVAL);
    assert_null(s);
    rmdir(H.dir);
    hs_buf_deinit(&B);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_models),
        T(test_chat_whole),
        T(test_chat_stream),
        T(test_tool_calls),
        T(test_expert_profile),
        T(test_completions),
        T(test_errors),
        T(test_metrics),
        T(test_drain),
        T(test_second_stop),
        T(test_signal),
        T(test_text_routes),
        cmocka_unit_test_teardown(test_text_memory, teardown),
        T(test_slots),
        cmocka_unit_test_teardown(test_queue_full, teardown),
        cmocka_unit_test_teardown(test_ping, teardown),
        cmocka_unit_test_teardown(test_limits, teardown),
        cmocka_unit_test_teardown(test_tools_unknown, teardown),
        cmocka_unit_test_teardown(test_out_of_memory, teardown),
        cmocka_unit_test_teardown(test_answer_too_long, teardown),
        cmocka_unit_test_teardown(test_loading, teardown),
        cmocka_unit_test_teardown(test_loading_fails, teardown),
        cmocka_unit_test_teardown(test_reload, teardown),
        cmocka_unit_test_teardown(test_reload_in_drain, teardown),
        cmocka_unit_test_teardown(test_notify, teardown),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
