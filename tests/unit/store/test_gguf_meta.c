/* labels: unit */
/* test_gguf_meta.c - metadata of every type into the config, and what a key may not say. */
#include "unit/store/gguf_fixture.h"
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "store/source.h"

/* Writes o as a file and opens it. */
static hs_source *accepted(gguf_out *o)
{
    gguf_end(o, 32, 0);
    gguf_save(o, gguf_folder, "m.gguf");
    return gguf_accepted();
}

static void refused(gguf_out *o, const char *sentence)
{
    gguf_end(o, 32, 0);
    gguf_save(o, gguf_folder, "m.gguf");
    folder_refused(gguf_path, sentence);
}

static const json_t *value(const hs_source *s, const char *key)
{
    const json_t *v = json_object_get(hs_source_checkpoint(s)->config, key);
    if (!v)
        fail_msg("no key %s", key);
    return v;
}

static void put_scalar(gguf_out *o, const char *key, uint32_t type, const void *p, size_t n)
{
    gguf_key(o, key, type);
    gguf_put(o, p, n);
}

static void scalars_of_every_type_keep_their_value(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    put_scalar(&o, "u8", G_U8, &(uint8_t){200}, 1);
    put_scalar(&o, "i8", G_I8, &(int8_t){-100}, 1);
    put_scalar(&o, "u16", G_U16, &(uint16_t){60000}, 2);
    put_scalar(&o, "i16", G_I16, &(int16_t){-30000}, 2);
    put_scalar(&o, "u32", G_U32, &(uint32_t){4000000000u}, 4);
    put_scalar(&o, "i32", G_I32, &(int32_t){-2000000000}, 4);
    put_scalar(&o, "f32", G_F32, &(float){0.1f}, 4);
    put_scalar(&o, "f64", G_F64, &(double){0.1}, 8);
    put_scalar(&o, "u64", G_U64, &(uint64_t){1ull << 62}, 8);
    put_scalar(&o, "big", G_U64, &(uint64_t){1ull << 63}, 8);
    put_scalar(&o, "i64", G_I64, &(int64_t){INT64_MIN}, 8);
    gguf_key_bool(&o, "yes", 1);
    gguf_key_bool(&o, "no", 0);
    gguf_key_string(&o, "text", "gr\303\274n");
    hs_source *s = accepted(&o);
    assert_int_equal(json_integer_value(value(s, "u8")), 200);
    assert_int_equal(json_integer_value(value(s, "i8")), -100);
    assert_int_equal(json_integer_value(value(s, "u16")), 60000);
    assert_int_equal(json_integer_value(value(s, "i16")), -30000);
    assert_int_equal(json_integer_value(value(s, "u32")), 4000000000u);
    assert_int_equal(json_integer_value(value(s, "i32")), -2000000000);
    assert_true(json_real_value(value(s, "f32")) == (double)0.1f);
    assert_true(json_real_value(value(s, "f64")) == 0.1);
    assert_true(json_integer_value(value(s, "u64")) == 1ll << 62);
    assert_true(json_real_value(value(s, "big")) == 9223372036854775808.0);
    assert_true(json_integer_value(value(s, "i64")) == INT64_MIN);
    assert_true(json_is_true(value(s, "yes")) && json_is_false(value(s, "no")));
    assert_string_equal(json_string_value(value(s, "text")), "gr\303\274n");
    hs_source_close(&s);
}

static void arrays_may_hold_arrays(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 2);
    gguf_key_array(&o, "heads", G_U32, 3, (uint32_t[]){8, 0, 4}, 4);
    gguf_key_array(&o, "none", G_F32, 0, NULL, 0);
    gguf_key_array(&o, "nested", G_ARRAY, 2, NULL, 0);
    for (uint32_t i = 0; i < 2; i++) {
        gguf_put_u32(&o, G_I8);
        gguf_put_u64(&o, i + 1);
        gguf_put(&o, "\376\377", i + 1);
    }
    gguf_key_array(&o, "words", G_STRING, 2, NULL, 0);
    gguf_put_string(&o, "");
    gguf_put_string(&o, "en");
    hs_source *s = accepted(&o);
    assert_int_equal(json_array_size(value(s, "heads")), 3);
    assert_int_equal(json_integer_value(json_array_get(value(s, "heads"), 2)), 4);
    assert_int_equal(json_array_size(value(s, "none")), 0);
    const json_t *second = json_array_get(value(s, "nested"), 1);
    assert_int_equal(json_array_size(second), 2);
    assert_int_equal(json_integer_value(json_array_get(second, 0)), -2);
    assert_string_equal(json_string_value(json_array_get(value(s, "words"), 1)), "en");
    hs_source_close(&s);
}

static void deep_array(gguf_out *o, const char *key, uint32_t depth)
{
    gguf_key(o, key, G_ARRAY);
    for (uint32_t i = 0; i < depth; i++) {
        gguf_put_u32(o, G_ARRAY);
        gguf_put_u64(o, 1);
    }
    gguf_put_u32(o, G_U8);
    gguf_put_u64(o, 0);
}

static void what_an_array_may_not_be(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    deep_array(&o, "deep", 3);
    hs_source *s = accepted(&o);
    hs_source_close(&s);
    gguf_begin(&o, 3);
    deep_array(&o, "deep", 4);
    refused(&o, "key deep: arrays in arrays");
    gguf_begin(&o, 3);
    deep_array(&o, "tokenizer.deep", 100000);
    refused(&o, "key tokenizer.deep: arrays in arrays");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "long", G_U64, UINT64_MAX / 8 + 2, NULL, 0);
    refused(&o, "key long: 2305843009213693953 array elements; at most 262144 are read");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "tokenizer.long", G_U64, UINT64_MAX / 8 + 2, NULL, 0);
    refused(&o, "key tokenizer.long: 2305843009213693953 array elements do not fit");
    gguf_begin(&o, 3);
    gguf_key_array(&o, "odd", 13, 1, "x", 1);
    refused(&o, "key odd: type 13 is no type of a value");
    gguf_begin(&o, 3);
    for (char key[3] = "a0"; key[1] < '9'; key[1]++) {
        gguf_key_array(&o, key, G_U8, 0, NULL, 0);
        uint64_t n = 40000;
        memcpy(o.data + o.len - 8, &n, 8);
        uint8_t *zeros = calloc(1, n);
        gguf_put(&o, zeros, n);
        free(zeros);
    }
    refused(&o, "key a6: more than 262144 values in the metadata");
}

static void what_a_key_or_value_may_not_be(void **state)
{
    (void)state;
    char name[300];
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "twice", 1);
    gguf_key_string(&o, "twice", "");
    refused(&o, "key twice: appears twice");
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "tokenizer.twice", 1);
    gguf_key_u32(&o, "tokenizer.twice", 1);
    refused(&o, "key tokenizer.twice: appears twice");
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "", 1);
    refused(&o, "key 1 of 1: an empty name");
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "a\033[2J", 1);
    refused(&o, "key 1 of 1: a name with control characters");
    gguf_begin(&o, 3);
    memset(name, 'k', 256);
    name[256] = '\0';
    gguf_key_u32(&o, name, 1);
    refused(&o, "key 1 of 1: 256 bytes of a name; at most 255 are read");
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "\377\377", 1);
    refused(&o, "the key is not UTF-8");
    gguf_begin(&o, 3);
    gguf_key_string(&o, "text", "\377\377");
    refused(&o, "key text: not UTF-8");
    gguf_begin(&o, 3);
    gguf_key_bool(&o, "maybe", 2);
    refused(&o, "key maybe: a truth value of 2");
    gguf_begin(&o, 3);
    put_scalar(&o, "nan", G_F32, "\0\0\300\177", 4);
    refused(&o, "key nan: not a finite number");
    gguf_begin(&o, 3);
    gguf_key(&o, "odd", 77);
    gguf_put_u64(&o, 0);
    refused(&o, "key odd: no type of a value");
}

static void the_alignment_must_be_a_power_of_two(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "general.alignment", 48);
    refused(&o, "key general.alignment: 48 is no power of two");
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "general.alignment", 0);
    refused(&o, "key general.alignment: a value outside [1, 1048576]");
    gguf_begin(&o, 3);
    gguf_key_string(&o, "general.alignment", "32");
    refused(&o, "key general.alignment: an integer is expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_of_every_type_keep_their_value),
        cmocka_unit_test(arrays_may_hold_arrays),
        cmocka_unit_test(what_an_array_may_not_be),
        cmocka_unit_test(what_a_key_or_value_may_not_be),
        cmocka_unit_test(the_alignment_must_be_a_power_of_two),
    };
    return cmocka_run_group_tests(tests, gguf_set_up, gguf_tear_down);
}
