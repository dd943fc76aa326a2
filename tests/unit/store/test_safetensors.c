/* labels: unit */
/* test_safetensors.c - the container's rules, one broken header at a time, and the index of a folder. */
#include "unit/store/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/source.h"

static char path[FOLDER_PATH];

static int setup(void **state)
{
    (void)state;
    folder_create(path);
    folder_write(path, "config.json", "{}", 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_destroy(path);
    return 0;
}

static int open_one(const char *header, size_t data, hs_err *err)
{
    hs_source *s;
    folder_safetensors(path, "model.safetensors", header, NULL, data);
    int r = hs_source_open(path, &s, err);
    if (r == 0)
        hs_source_close(&s);
    return r;
}

#define T(name, dtype, shape, offsets)                                                                                 \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void good_headers_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
    } good[] = {
        {"{}", 0},
        {"{}      ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"__metadata__\":{\"a\":\"b\\\"}{\",\"c\":\"\"}}", 0},
        {"{" T("a", "U8", "[4]", "[0,4]") "}", 4},
        {"{" T("a", "U8", "[]", "[0,1]") "}", 1},
        {"{" T("b", "U8", "[1]", "[4,5]") "," T("a", "F32", "[1]", "[0,4]") "}", 5},
        {"{" T("a", "F32", "[0]", "[0,0]") "," T("b", "F32", "[0, 7]", "[0,0]") "," T("c", "U8", "[1]", "[0,1]") "}",
         1},
        {"{" T("a", "F4", "[3,2]", "[0,3]") "}", 3},
        {"{" T("a", "U8", "[1,1,1,1,1,2]", "[0,2]") "}", 2},
        {"{ \"a\" : { \"shape\" : [ 2 ] , \"data_offsets\" : [ 0 , 4 ] , \"dtype\" : \"BF16\" } }", 4},
        {"{" T("\\u00e9\\n\\\\", "U8", "[1]", "[0,1]") "}", 1},
        {"{" T("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "U8", "[1]", "[0,1]") "}", 1},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        hs_err err = {0};
        if (open_one(good[i].header, good[i].data, &err) < 0)
            fail_msg("%s: %s", good[i].header, err.text);
    }
}

static void stacked_experts_are_taken_apart(void **state)
{
    (void)state;
    hs_source *s;
    folder_safetensors(path, "model.safetensors",
                       "{" T("l.0.block_sparse_moe.input_linear.weight", "F32", "[3,2,1]", "[0,24]") "," T(
                           "l.0.mlp.experts.down_proj_blocks", "U8", "[4,2]",
                           "[24,32]") "," T("l.0.mlp.experts.down_proj_bias", "U8", "[4,1]", "[32,36]") "}",
                       NULL, 36);
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    const hs_checkpoint *c = hs_source_checkpoint(s);
    assert_int_equal(c->n_tensors, 3 + 4 + 1);
    assert_int_equal(c->total_bytes, 36);
    const hs_tensor *t = &c->tensors[hs_checkpoint_find(c, "l.0.block_sparse_moe.input_linear.weight.2")];
    const hs_tensor *first = &c->tensors[hs_checkpoint_find(c, "l.0.block_sparse_moe.input_linear.weight.0")];
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 2);
    assert_int_equal(t->dims[1], 1);
    assert_int_equal(t->dims[2], 1);
    assert_int_equal(t->nbytes, 8);
    assert_int_equal(t->offset, first->offset + 16);
    t = &c->tensors[hs_checkpoint_find(c, "l.0.mlp.experts.down_proj_blocks.3")];
    assert_int_equal(t->n_dims, 1);
    assert_int_equal(t->nbytes, 2);
    assert_true(hs_checkpoint_find(c, "l.0.mlp.experts.down_proj_bias") != HS_NO_TENSOR);
    hs_source_close(&s);
    hs_err err;
    assert_int_equal(open_one("{" T("l.0.mlp.experts.down_proj", "U8", "[4097,1]", "[0,4097]") "}", 4097, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "l.0.mlp.experts.down_proj: 4097 experts; 1 to 4096 are possible"));
}

static void broken_headers_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *header, *part;
        size_t data;
    } broken[] = {
        {"", "must begin with {", 0},
        {"[]", "must begin with {", 0},
        {" {}", "must begin with {", 0},
        {"{", "a string is expected", 0},
        {"{}x", "after the header's end", 0},
        {"{\"a\"}", ": is expected", 0},
        {"{\"a\":1}", "{ is expected", 0},
        {"{\"a", "unfinished string", 0},
        {"{\"a\\", "unfinished string", 0},
        {"{\"a\\q\":{}}", "unknown escape", 0},
        {"{\"a\\u12", "unfinished \\u escape", 0},
        {"{\"a\\u 12x\":{}}", "unusable \\u escape", 0},
        {"{\"a\\u-123\":{}}", "unusable \\u escape", 0},
        {"{\"a\\u0x12\":{}}", "unusable \\u escape", 0},
        {"{\"a\\u0000\":{}}", "unusable \\u escape", 0},
        {"{\"a\\ud83d\\ude00\":{}}", "unusable \\u escape", 0},
        {"{\"a\x01\":{}}", "control character", 0},
        {"{\"a\xff\":{}}", "not UTF-8", 0},
        {"{\"a\xc0\x80\":{}}", "not UTF-8", 0},
        {"{\"a\xed\xa0\x80\":{}}", "not UTF-8", 0},
        {"{\"a\xe2\x82", "not UTF-8", 0},
        {"{" T("a", "U8", "[4]", "[0,4]"), "} is expected", 4},
        {"{" T("a", "U8", "[4]", "[0,4]") ",}", "a string is expected", 4},
        {"{" T("a", "U7", "[4]", "[0,4]") "}", "dtype is missing or unknown", 4},
        {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", "dtype is missing", 4},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", "shape or data_offsets is missing", 4},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", "shape or data_offsets is missing", 4},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":1}}", "unknown field", 4},
        {"{" T("a", "U8", "[4]", "[0,4,4]") "}", "a list is too long", 4},
        {"{" T("a", "U8", "[4]", "[4]") "}", "data_offsets is missing", 4},
        {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", "a list is too long", 1},
        {"{" T("a", "U8", "[-4]", "[0,4]") "}", "non-negative integer", 4},
        {"{" T("a", "U8", "[4.0]", "[0,4]") "}", "] is expected", 4},
        {"{" T("a", "U8", "[4", "[0,4]") "}", "non-negative integer", 4},
        {"{" T("a", "U8", "4", "[0,4]") "}", "a list is expected", 4},
        {"{" T("a", "U8", "[4]", "[0,5]") "}", "outside the file", 4},
        {"{" T("a", "U8", "[4]", "[4,0]") "}", "data_offsets is missing or wrong", 4},
        {"{" T("a", "U8", "[3]", "[0,4]") "}", "do not fit shape", 4},
        {"{" T("a", "F32", "[1]", "[0,3]") "}", "do not fit shape", 3},
        {"{" T("a", "F4", "[3]", "[0,1]") "}", "do not fit shape", 1},
        {"{" T("a", "U8", "[18446744073709551616]", "[0,4]") "}", "too big", 4},
        {"{" T("a", "U8", "[18446744073709551615,2]", "[0,4]") "}", "do not fit shape", 4},
        {"{" T("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", "do not fit shape", 0},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[2,6]") "}", "overlaps another", 6},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[0,4]") "}", "overlaps another", 4},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[1]", "[5,6]") "}", "follows a hole", 6},
        {"{" T("a", "U8", "[4]", "[1,5]") "}", "follows a hole", 5},
        {"{" T("a", "U8", "[4]", "[0,4]") "}", "the tensors end after 4", 5},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("a", "U8", "[1]", "[4,5]") "}", "tensor a appears twice", 5},
        {"{\"__metadata__\":[]}", "__metadata__ must be an object", 0},
        {"{\"__metadata__\":{\"a\":1}}", "a string is expected", 0},
        {"{\"__metadata__\":{\"a\":\"\\", "unfinished string", 0},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        hs_err err = {0};
        if (open_one(broken[i].header, broken[i].data, &err) == 0)
            fail_msg("taken: %s", broken[i].header);
        if (!strstr(err.text, broken[i].part) ||
            (!strstr(err.text, "model.safetensors") && !strstr(err.text, "appears twice")))
            fail_msg("%s: '%s' is not in: %s", broken[i].header, broken[i].part, err.text);
    }
}

static void a_long_name_is_refused_and_not_cut(void **state)
{
    (void)state;
    char *header = calloc(1, 8192);
    header[0] = '{';
    header[1] = '"';
    memset(header + 2, 'n', 4000);
    hs_err err = {0};
    assert_true(open_one(header, 0, &err) < 0);
    assert_non_null(strstr(err.text, "a string is too long"));
    free(header);
}

/* Whatever byte is changed: an answer or an error, never a crash. */
static void no_header_byte_crashes_the_reader(void **state)
{
    (void)state;
    static const char good[] = "{\"__metadata__\":{\"f\":\"\\u00e9\"}," T("a", "U8", "[4]", "[0,4]") "," T(
        "b\\n", "BF16", "[1, 2]", "[4,8]") "}";
    for (size_t i = 0; i < sizeof good - 1; i++) {
        static const char tries[] = "\"\\{}[]:,9-u \x01\xff";
        for (const char *c = tries; *c; c++) {
            char bad[sizeof good];
            memcpy(bad, good, sizeof good);
            bad[i] = *c;
            hs_err err = {0};
            if (open_one(bad, 8, &err) < 0)
                assert_true(err.text[0]);
        }
        char cut[sizeof good] = {0};
        memcpy(cut, good, i);
        assert_true(open_one(cut, 8, NULL) < 0);
    }
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    folder_safetensors(path, "model.safetensors", "{" T("a", "U8", "[4]", "[0,4]") "}", NULL, 4);
    size_t n;
    uint8_t *image = folder_read(path, "model.safetensors", &n);
    for (size_t i = 0; i < n; i++) {
        folder_write(path, "model.safetensors", image, i);
        folder_refused(path, "model.safetensors");
    }
    image[2] = 1; /* a header of 64 KiB more */
    folder_write(path, "model.safetensors", image, n);
    folder_refused(path, "does not fit the file of");
    image[5] = 1; /* of a terabyte */
    folder_write(path, "model.safetensors", image, n);
    folder_refused(path, "model.safetensors: not a safetensors file");
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5354\n";
    folder_write(path, "model.safetensors", pointer, sizeof pointer - 1);
    folder_refused(path, "not a safetensors file (it only points to the file: `git lfs pull` brings it)");
    folder_write(path, "model.safetensors", "", 0);
    folder_refused(path, "too short for a safetensors file (it is empty)");
    free(image);
}

static void the_index_names_the_files(void **state)
{
    (void)state;
    folder_safetensors(path, "one.safetensors", "{" T("a", "U8", "[4]", "[0,4]") "}", NULL, 4);
    folder_safetensors(path, "stray.safetensors", "{" T("a", "U8", "[4]", "[0,4]") "}", NULL, 4);
    static const struct {
        const char *index, *part;
    } broken[] = {
        {"{\"weight_map\":{\"a\":\"two.safetensors\"}}", "two.safetensors: "},
        {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", "weight_map.a is not a plain file name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "weight_map.a is not a plain file name"},
        {"{\"weight_map\":{\"a\":\"\"}}", "weight_map.a is not a plain file name"},
        {"{\"weight_map\":{\"a\":3}}", "weight_map.a is not a plain file name"},
        {"{\"weight_map\":{}}", "weight_map is missing or empty"},
        {"{\"weight_map\":[]}", "weight_map is missing or empty"},
        {"[]", "weight_map is missing or empty"},
        {"{", "model.safetensors.index.json"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        folder_write(path, "model.safetensors.index.json", broken[i].index, strlen(broken[i].index));
        folder_refused(path, broken[i].part);
    }
    static const char good[] = "{\"weight_map\":{\"a\":\"one.safetensors\"}}";
    folder_write(path, "model.safetensors.index.json", good, sizeof good - 1);
    hs_source *s;
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    assert_int_equal(hs_source_checkpoint(s)->n_tensors, 1);
    hs_source_close(&s);
}

static void an_index_may_not_name_endless_files(void **state)
{
    (void)state;
    char *index = malloc(1u << 20);
    size_t at = (size_t)sprintf(index, "{\"weight_map\":{");
    for (int i = 0; i < 5000; i++)
        at += (size_t)sprintf(index + at, "%s\"t%d\":\"f%d.safetensors\"", i ? "," : "", i, i);
    at += (size_t)sprintf(index + at, "}}");
    folder_write(path, "model.safetensors.index.json", index, at);
    free(index);
    folder_refused(path, "names too many files");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(stacked_experts_are_taken_apart),
        TEST(good_headers_are_taken),
        TEST(broken_headers_are_refused_with_their_place),
        TEST(a_long_name_is_refused_and_not_cut),
        TEST(no_header_byte_crashes_the_reader),
        TEST(a_file_cut_anywhere_is_refused),
        TEST(the_index_names_the_files),
        TEST(an_index_may_not_name_endless_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
