/* labels: unit golden */
/* Published templates over real conversations, character for character; loading; continue_final_message. */
#include "text/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "template_helper.h"

#define DATA TESTS_DIR "/data/templates/"

typedef struct goldens {
    json_t *all;
    int64_t now;
} goldens;

static int setup(void **state)
{
    static goldens g;
    hs_err err;
    struct tm tm = {0};
    if (hs_json_load_file(DATA "chat.json", 1 << 20, &g.all, &err) < 0)
        fail_msg("%s", err.text);
    assert_non_null(strptime(json_string_value(json_object_get(g.all, "now")), "%Y-%m-%dT%H:%M:%S", &tm));
    g.now = timegm(&tm);
    *state = &g;
    return 0;
}

static int teardown(void **state)
{
    json_decref(((goldens *)*state)->all);
    return 0;
}

static hs_template *load(const char *file, const json_t *config)
{
    hs_template *t = NULL;
    hs_err err;
    char *source, path[300];
    size_t len;
    snprintf(path, sizeof path, DATA "%s", file + strlen("templates/"));
    if (hs_file_read(path, HS_TEMPLATE_MAX_SOURCE, &source, &len, &err) < 0 ||
        hs_template_create(source, len, file, config, &t, &err) < 0)
        fail_msg("%s", err.text);
    hs_free(source);
    return t;
}

static const json_t *value_or_null(const json_t *conversation, const char *key)
{
    const json_t *v = json_object_get(conversation, key);
    return json_is_null(v) ? NULL : v;
}

/* 1 if the rendering is not as given. */
static int check(const char *name, const hs_template *t, const json_t *conversation, const json_t *expected,
                 int64_t now)
{
    hs_err err = {0};
    char *text = NULL;
    size_t len = 0;
    const hs_template_input in = {
        .messages = json_object_get(conversation, "messages"),
        .tools = value_or_null(conversation, "tools"),
        .kwargs = value_or_null(conversation, "kwargs"),
        .add_generation_prompt = json_is_true(json_object_get(conversation, "add_generation_prompt")),
        .continue_final_message = json_is_true(json_object_get(conversation, "continue_final_message")),
        .now = now,
    };
    int r = hs_template_render(t, &in, &text, &len, NULL, &err), bad;
    const json_t *want = json_object_get(expected, "text");
    if (want)
        bad = r < 0 || len != json_string_length(want) || memcmp(text, json_string_value(want), len) != 0;
    else
        bad = r == 0 || err.text[0] == '\0';
    if (bad)
        print_error("%s, %s: %s\ngave:     %s\nexpected: %s\n", name,
                    json_string_value(json_object_get(conversation, "name")), err.text, text ? text : "(an error)",
                    want ? json_string_value(want) : "(an error)");
    hs_free(text);
    return bad;
}

static void test_goldens(void **state)
{
    const goldens *g = *state;
    const char *name;
    json_t *entry, *conversation;
    size_t i;
    int bad = 0, n = 0;
    json_object_foreach(json_object_get(g->all, "templates"), name, entry)
    {
        hs_template *t = load(json_string_value(json_object_get(entry, "file")), entry);
        json_array_foreach(json_object_get(g->all, "conversations"), i, conversation)
        {
            const char *c = json_string_value(json_object_get(conversation, "name"));
            const json_t *expected = json_object_get(json_object_get(entry, "rendered"), c);
            assert_non_null(expected);
            bad += check(name, t, conversation, expected, g->now);
            n++;
        }
        hs_template_destroy(&t);
    }
    assert_int_equal(bad, 0);
    assert_int_equal(n, 240);
}

static char *render_chat(const hs_template *t, const char *messages, bool generate, bool go_on, hs_err *err)
{
    json_t *m = NULL;
    char *text = NULL;
    size_t len;
    if (hs_json_load(messages, strlen(messages), "messages", &m, err) < 0)
        fail_msg("%s", err->text);
    const hs_template_input in = {.messages = m, .add_generation_prompt = generate, .continue_final_message = go_on};
    int r = hs_template_render(t, &in, &text, &len, NULL, err);
    assert_true(r == 0 || r == err->code);
    json_decref(m);
    return text;
}

static void test_model_folder(void **state)
{
    hs_template *t = NULL;
    hs_err err;
    (void)state;
    if (hs_template_load(TESTS_DIR "/models/tale-moe-fp8", &t, &err) < 0)
        fail_msg("%s", err.text);
    char *text = render_chat(t, "[{\"role\":\"user\",\"content\":\"Tell me a story about a fox and a king.\"}]", true,
                             false, &err);
    assert_non_null(text);
    assert_string_equal(text,
                        "<｜begin▁of▁sentence｜><｜User｜>Tell me a story about a fox and a king.<｜Assistant｜>");
    hs_free(text);
    assert_null(hs_template_reasoning(t));
    hs_template_destroy(&t);
    if (hs_template_load_file(TESTS_DIR "/models/tale-moe-fp8", DATA "deepseek-ai-DeepSeek-V3.1.jinja", &t, &err) < 0)
        fail_msg("%s", err.text);
    text = render_chat(t, "[{\"role\":\"user\",\"content\":\"x\"}]", true, false, &err);
    assert_non_null(text);
    assert_string_equal(text, "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜><think></think>");
    hs_free(text);
    assert_string_equal(hs_template_reasoning(t)->end, "</think>");
    hs_template_destroy(&t);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[300];
    hs_err err;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(hs_file_write_atomic(path, text, strlen(text), &err), 0);
}

static void test_folders(void **state)
{
    char dir[] = "/tmp/hotset-template-XXXXXX", path[300];
    hs_template *t = NULL;
    hs_err err = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(hs_template_load(dir, &t, &err), -ENOENT);
    assert_non_null(strstr(err.text, dir));
    write_file(dir, "tokenizer_config.json",
               "{\"bos_token\": \"<s>\", \"extra_special_tokens\": {\"image_token\": {\"content\": \"<i>\"}}, "
               "\"chat_template\": [{\"name\": \"tool_use\", "
               "\"template\": \"no\"}, {\"name\": \"default\", \"template\": "
               "\"{{ bos_token }}list\"}]}");
    assert_int_equal(hs_template_load(dir, &t, &err), 0);
    char *text = render_chat(t, "[]", false, false, &err);
    assert_string_equal(text, "<s>list");
    hs_free(text);
    hs_template_destroy(&t);
    write_file(dir, "chat_template.jinja", "{{ bos_token }}file{{ eos_token is defined }}{{ image_token }}");
    assert_int_equal(hs_template_load(dir, &t, &err), 0);
    text = render_chat(t, "[]", false, false, &err);
    assert_string_equal(text, "<s>fileFalse<i>");
    hs_free(text);
    hs_template_destroy(&t);
    write_file(dir, "chat_template.jinja", "line one\n{% if %}");
    assert_int_equal(hs_template_load(dir, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "chat_template.jinja: line 2: expected an expression, found '%}'"));
    write_file(dir, "tokenizer_config.json", "[1]");
    assert_int_equal(hs_template_load(dir, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "tokenizer_config.json"));
    assert_null(t);
    snprintf(path, sizeof path, "%s/chat_template.jinja", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_continue(void **state)
{
    static const char keeps[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}";
    static const char trims[] = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}";
    static const char drops[] = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    static const char chat[] =
        "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\" b c \\n\"}]";
    hs_template *t;
    hs_err err = {0};
    char *text;
    (void)state;
    assert_int_equal(hs_template_create(keeps, strlen(keeps), "keeps", NULL, &t, &err), 0);
    text = render_chat(t, chat, false, true, &err);
    assert_string_equal(text, "<user>a<end><assistant> b c \n");
    hs_free(text);
    assert_null(render_chat(t, chat, true, true, &err));
    assert_null(render_chat(t, "[]", false, true, &err));
    assert_null(render_chat(t, "[{\"role\":\"assistant\",\"content\":null}]", false, true, &err));
    hs_template_destroy(&t);
    assert_int_equal(hs_template_create(trims, strlen(trims), "trims", NULL, &t, &err), 0);
    text = render_chat(t, chat, false, true, &err);
    assert_string_equal(text, "<user>a<end><assistant>b c");
    hs_free(text);
    hs_template_destroy(&t);
    assert_int_equal(hs_template_create(drops, strlen(drops), "drops", NULL, &t, &err), 0);
    assert_null(render_chat(t, chat, false, true, &err));
    assert_int_equal(err.code, -EINVAL);
    hs_template_destroy(&t);
}

static void test_variables(void **state)
{
    (void)state;
    check_render(
        "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ x }}{{ bos_token is defined }}",
        "{\"x\": 5}", "TrueTrueFalse5False");
    check_render("{{ strftime_now('%d %b %Y, %H:%M') }}", NULL, "15 Jan 2026, 12:34");
    check_render("{{ add_generation_prompt }}{{ tools }}", "{\"add_generation_prompt\": 1, \"tools\": [2]}", "1[2]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),  cmocka_unit_test(test_model_folder), cmocka_unit_test(test_folders),
        cmocka_unit_test(test_continue), cmocka_unit_test(test_variables),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
