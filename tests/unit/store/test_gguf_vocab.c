/* labels: unit */
/* test_gguf_vocab.c - the vocabulary of a GGUF file: as it stands there, and what is refused. */
#include "unit/store/gguf_fixture.h"
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "store/source.h"

static void finish(gguf_out *o)
{
    gguf_end(o, 32, 0);
    gguf_save(o, gguf_folder, "m.gguf");
}

static void refused(gguf_out *o, const char *sentence)
{
    finish(o);
    folder_refused(gguf_path, sentence);
}

static void put_tokens(gguf_out *o, uint64_t n)
{
    gguf_key_array(o, "tokenizer.ggml.tokens", G_STRING, n, NULL, 0);
    for (uint64_t i = 0; i < n; i++)
        gguf_put_string(o, "t");
}

static void a_whole_vocabulary_is_read(void **state)
{
    (void)state;
    gguf_small(gguf_folder, "m", 1);
    hs_source *s = gguf_accepted();
    const hs_vocab_data *v = hs_source_checkpoint(s)->vocab;
    assert_string_equal(v->model, "gpt2");
    assert_string_equal(v->pre, "qwen2");
    assert_int_equal(v->n_tokens, 5);
    assert_int_equal(v->tokens[4].len, 6);
    assert_memory_equal(v->tokens[4].data, "<0x41>", 6);
    assert_true(v->scores[3] == -3.5f);
    assert_int_equal(v->token_type[4], 6);
    assert_int_equal(v->n_merges, 1);
    assert_memory_equal(v->merges[0].data, "a b", 3);
    assert_int_equal(v->bos, 0);
    assert_int_equal(v->eos, -1);
    assert_int_equal(v->padding, -1);
    assert_int_equal(v->add_bos, 1);
    assert_int_equal(v->add_eos, -1);
    assert_int_equal(v->add_space_prefix, -1);
    assert_string_equal(v->chat_template, "{{ messages }}");
    const char *key;
    json_t *value;
    json_object_foreach(hs_source_checkpoint(s)->config, key, value)
        assert_int_not_equal(strncmp(key, "tokenizer.", 10), 0);
    hs_source_close(&s);
}

static void a_file_without_one_has_an_empty_one(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "tokenizer.ggml.bos_token_id", 1);
    finish(&o);
    hs_source *s = gguf_accepted();
    const hs_vocab_data *v = hs_source_checkpoint(s)->vocab;
    assert_null(v->model);
    assert_null(v->tokens);
    assert_null(v->scores);
    assert_null(v->token_type);
    assert_null(v->merges);
    assert_null(v->chat_template);
    assert_int_equal(v->n_tokens, 0);
    assert_int_equal(v->bos, -1); /* no token has that id */
    hs_source_close(&s);
}

static void ids_of_every_integer_type_are_read(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key(&o, "tokenizer.ggml.eos_token_id", G_I32);
    gguf_put_u32(&o, 2);
    gguf_key(&o, "tokenizer.ggml.unknown_token_id", G_U64);
    gguf_put_u64(&o, 1);
    gguf_key(&o, "tokenizer.ggml.eot_token_id", G_I32);
    gguf_put_u32(&o, UINT32_MAX);
    gguf_key_u32(&o, "tokenizer.ggml.eom_token_id", 3);
    put_tokens(&o, 3);
    finish(&o);
    hs_source *s = gguf_accepted();
    const hs_vocab_data *v = hs_source_checkpoint(s)->vocab;
    assert_int_equal(v->eos, 2);
    assert_int_equal(v->unknown, 1);
    assert_int_equal(v->eot, -1);
    assert_int_equal(v->eom, -1);
    hs_source_close(&s);
}

static void tokens_may_hold_any_bytes(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.tokens", G_STRING, 2, NULL, 0);
    gguf_put_u64(&o, 3);
    gguf_put(&o, "\0\377a", 3);
    gguf_put_u64(&o, 0);
    finish(&o);
    hs_source *s = gguf_accepted();
    const hs_vocab_data *v = hs_source_checkpoint(s)->vocab;
    assert_int_equal(v->tokens[0].len, 3);
    assert_memory_equal(v->tokens[0].data, "\0\377a", 4);
    assert_int_equal(v->tokens[1].len, 0);
    hs_source_close(&s);
}

static void what_does_not_fit_the_tokens_is_refused(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.scores", G_F32, 2, (float[]){0, 1}, 4);
    put_tokens(&o, 3);
    refused(&o, "key tokenizer.ggml.scores: 2 elements for 3 tokens");
    gguf_begin(&o, 3);
    put_tokens(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.token_type", G_I32, 4, (int32_t[4]){0}, 4);
    refused(&o, "key tokenizer.ggml.token_type: 4 elements for 3 tokens");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.token_type", G_F32, 1, (float[1]){0}, 4);
    refused(&o, "key tokenizer.ggml.token_type: an array of 32-bit integers is expected");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.tokens", G_U8, 1, "a", 1);
    refused(&o, "key tokenizer.ggml.tokens: an array of strings is expected");
    gguf_begin(&o, 3);
    gguf_key_string(&o, "tokenizer.ggml.merges", "a b");
    refused(&o, "key tokenizer.ggml.merges: an array is expected");
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "tokenizer.ggml.model", 1);
    refused(&o, "key tokenizer.ggml.model: a string is expected");
    gguf_begin(&o, 3);
    gguf_key(&o, "tokenizer.chat_template", G_STRING);
    gguf_put_u64(&o, 3);
    gguf_put(&o, "a\0b", 3);
    refused(&o, "key tokenizer.chat_template: a NUL in the string");
    gguf_begin(&o, 3);
    gguf_key_bool(&o, "tokenizer.ggml.add_bos_token", 9);
    refused(&o, "key tokenizer.ggml.add_bos_token: a truth value of 9");
}

static void counts_beyond_the_limits_are_refused(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.tokens", G_STRING, 1u << 20, NULL, 0);
    refused(&o, "key tokenizer.ggml.tokens: 1048576 array elements do not fit");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.tokens", G_STRING, (1u << 21) + 1, NULL, 0);
    refused(&o, "key tokenizer.ggml.tokens: 2097153 array elements; at most 2097152 are read");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.tokens", G_STRING, 1, NULL, 0);
    gguf_put_u64(&o, 65537);
    refused(&o, "key tokenizer.ggml.tokens: 65537 bytes of a string; at most 65536 are read");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.ggml.tokens", G_STRING, 1, NULL, 0);
    gguf_put_u64(&o, 65536);
    refused(&o, "key tokenizer.ggml.tokens: 65536 bytes of a string do not fit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_vocabulary_is_read),
        cmocka_unit_test(a_file_without_one_has_an_empty_one),
        cmocka_unit_test(ids_of_every_integer_type_are_read),
        cmocka_unit_test(tokens_may_hold_any_bytes),
        cmocka_unit_test(what_does_not_fit_the_tokens_is_refused),
        cmocka_unit_test(counts_beyond_the_limits_are_refused),
    };
    return cmocka_run_group_tests(tests, gguf_set_up, gguf_tear_down);
}
