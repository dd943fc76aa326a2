/* labels: unit */
/* The chat template of a GGUF file, with special tokens out of its vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/template.h"
#include "vocab_fixture.h"

static const hs_bytes tokens[] = {{"<s>", 3}, {"</s>", 4}, {"\xff", 1}, {"<u>", 3}};

static hs_vocab_data vocab(const char *source)
{
    hs_vocab_data v = {.model = "gpt2", .tokens = tokens, .n_tokens = 4, .chat_template = source, VOCAB_NO_IDS};
    v.bos = 0;
    v.eos = 1;
    return v;
}

static void renders(const hs_vocab_data *v, const char *file, const char *expected)
{
    hs_template *t = NULL;
    hs_err err = {0};
    char *text = NULL;
    size_t len;
    if (hs_template_create_gguf(v, "test.gguf", file, &t, &err) != 0)
        fail_msg("%s", err.text);
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "hi");
    hs_template_input in = {.messages = messages};
    assert_int_equal(hs_template_render(t, &in, &text, &len, NULL, &err), 0);
    assert_string_equal(text, expected);
    hs_free(text);
    json_decref(messages);
    hs_template_destroy(&t);
}

static void test_tokens(void **state)
{
    (void)state;
    static const char source[] =
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}{{ pad_token }}";
    hs_vocab_data v = vocab(source);
    renders(&v, NULL, "<s>hi</s>");
    v.unknown = 3;
    v.padding = 2; /* not text */
    renders(&v, NULL, "<s>hi</s><u>");
    v.bos = 4; /* no such token */
    renders(&v, NULL, "hi</s><u>");
}

static void test_other_file(void **state)
{
    (void)state;
    char path[] = "/tmp/hotset-template-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "{{ bos_token }}!", 16) == 16);
    close(fd);
    hs_vocab_data v = vocab(NULL);
    renders(&v, path, "<s>!");
    unlink(path);
    hs_template *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_template_create_gguf(&v, "test.gguf", path, &t, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
}

static void test_refused(void **state)
{
    (void)state;
    hs_template *t = NULL;
    hs_err err = {0};
    hs_vocab_data v = vocab(NULL);
    assert_int_equal(hs_template_create_gguf(&v, "test.gguf", NULL, &t, &err), -ENOENT);
    assert_non_null(strstr(err.text, "test.gguf: the file has no chat template"));
    v = vocab("{% if %}");
    assert_int_equal(hs_template_create_gguf(&v, "test.gguf", NULL, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "test.gguf"));
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_other_file),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
