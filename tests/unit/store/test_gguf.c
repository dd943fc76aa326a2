/* labels: unit fault */
/* test_gguf.c - opening GGUF models: directory, parts, what is refused, and what damage is called. */
#include "unit/store/folder.h"
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "store/source.h"

static void path_of(char *out, size_t cap, const char *folder, const char *name)
{
    snprintf(out, cap, "%s/%s", folder, name);
}

static void refused(const char *folder, const char *name, const char *part)
{
    char path[FOLDER_PATH + 64];
    path_of(path, sizeof path, folder, name);
    folder_refused(path, part);
}

static hs_source *open_file(const char *folder, const char *name)
{
    char path[FOLDER_PATH + 64];
    hs_source *s = NULL;
    hs_err err = {0};
    path_of(path, sizeof path, folder, name);
    if (hs_source_open(path, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static const hs_tensor *tensor(const hs_source *s, const char *name)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    uint32_t i = hs_checkpoint_find(c, name);
    if (i == HS_NO_TENSOR)
        fail_msg("no tensor %s", name);
    return &c->tensors[i];
}

static void check_small(const hs_source *s)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    assert_int_equal(c->n_tensors, 3 + 3 * 4 + 4);
    assert_true(c->gguf);
    const hs_tensor *t = tensor(s, "token_embd.weight");
    assert_int_equal(t->dtype, HS_DTYPE_Q8_0);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 5);
    assert_int_equal(t->dims[1], 256);
    assert_int_equal(t->nbytes, 5 * 272);
    const hs_tensor *first = tensor(s, "blk.0.ffn_down_exps.weight.0");
    t = tensor(s, "blk.0.ffn_down_exps.weight.3");
    assert_int_equal(t->dtype, HS_DTYPE_Q6_K);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 8);
    assert_int_equal(t->dims[1], 256);
    assert_int_equal(t->dims[2], 1);
    assert_int_equal(t->nbytes, 8 * 210);
    assert_int_equal(t->offset, first->offset + 3 * t->nbytes);
    assert_int_equal(t->file, first->file);
    t = tensor(s, "blk.0.ffn_gate_up_exps.weight.2");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 1);
    assert_int_equal(t->dims[1], 9);
    assert_int_equal(t->nbytes, 36);
    assert_int_equal(hs_checkpoint_find(c, "blk.0.ffn_down_exps.weight"), HS_NO_TENSOR);
    uint64_t total = 5 * 272 + 1024 + 2 * 4 * 32 * 144 + 4 * 8 * 210 + 4 * 36 + 4096;
    assert_int_equal(c->total_bytes, total);
    assert_int_equal(json_integer_value(json_object_get(c->config, "qwen3moe.expert_count")), 4);
    assert_true(hs_source_bytes(s) > c->n_tensors * sizeof(hs_tensor) + 5 * sizeof(hs_bytes));
    assert_false(hs_source_is_packed(s));
}

/* The bytes in front of which `name` begins are those that the writer made for that place in its part's data. */
static void check_bytes(const hs_source *s, const char *name, uint64_t at)
{
    hs_pool *pool;
    uint8_t buf[8192];
    uint32_t i = hs_checkpoint_find(hs_source_checkpoint(s), name);
    hs_load load = {i, buf};
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    assert_int_equal(hs_source_load(s, &load, 1, pool, NULL, NULL, NULL, NULL), 0);
    for (uint64_t k = 0; k < tensor(s, name)->nbytes; k++)
        assert_int_equal(buf[k], gguf_byte(at + k));
    hs_pool_destroy(&pool);
}

static void one_file_or_three_give_the_same_directory(void **state)
{
    (void)state;
    char folder[FOLDER_PATH];
    folder_create(folder);
    gguf_small(folder, "one", 1);
    gguf_small(folder, "three", 3);
    hs_source *s = open_file(folder, "one.gguf");
    check_small(s);
    check_bytes(s, "blk.0.ffn_up_exps.weight.1", 1376 + 1024 + 4 * 4608 + 4608);
    hs_source_close(&s);
    s = open_file(folder, "three-00001-of-00003.gguf");
    check_small(s);
    assert_int_equal(tensor(s, "token_embd.weight")->file, 1);
    assert_int_equal(tensor(s, "blk.0.ffn_gate_inp.weight")->file, 2);
    check_bytes(s, "blk.0.ffn_up_exps.weight.1", 4608);
    hs_source_close(&s);
    folder_destroy(folder);
}

static void a_file_in_the_working_folder_needs_no_slash(void **state)
{
    (void)state;
    char folder[FOLDER_PATH], back[4096];
    hs_source *s;
    folder_create(folder);
    gguf_small(folder, "m", 3);
    assert_non_null(getcwd(back, sizeof back));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(hs_source_open("m-00001-of-00003.gguf", &s, NULL), 0);
    check_small(s);
    hs_source_close(&s);
    assert_int_equal(chdir(back), 0);
    folder_destroy(folder);
}

/* A part that says what it likes about the split, and has no tensors. */
static void lone_part(const char *folder, const char *name, uint16_t no, uint16_t count, int32_t tensors)
{
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_u16(&o, "split.no", no);
    gguf_key_u16(&o, "split.count", count);
    gguf_key(&o, "split.tensors.count", G_I32);
    gguf_put(&o, &tensors, 4);
    gguf_end(&o, 32, 0);
    gguf_save(&o, folder, name);
}

/* Copies a file with another byte `at` bytes after the beginning of `text`. */
static void patch(const char *folder, const char *from, const char *text, size_t at, uint8_t byte, const char *to)
{
    size_t n;
    uint8_t *copy = folder_read(folder, from, &n), *p = memmem(copy, n, text, strlen(text));
    assert_non_null(p);
    p[at] = byte;
    folder_write(folder, to, copy, n);
    free(copy);
}

static void parts_that_do_not_belong_together_are_refused(void **state)
{
    (void)state;
    char folder[FOLDER_PATH];
    folder_create(folder);
    gguf_small(folder, "m", 3);
    refused(folder, "m-00002-of-00003.gguf", "is part 2 of 3; open the first part");
    lone_part(folder, "m-00002-of-00003.gguf", 2, 3, 7);
    refused(folder, "m-00001-of-00003.gguf", "m-00002-of-00003.gguf: key split.no is 2; in this part it must be 1");
    lone_part(folder, "m-00002-of-00003.gguf", 1, 4, 7);
    refused(folder, "m-00001-of-00003.gguf", "00002-of-00003.gguf: key split.count is 4; the first part's is 3");
    lone_part(folder, "m-00002-of-00003.gguf", 1, 3, 7);
    refused(folder, "m-00001-of-00003.gguf", "4 tensors in all parts; the first says 7 (split.tensors.count)");
    lone_part(folder, "other.gguf", 0, 3, 7);
    refused(folder, "other.gguf", "its name does not end in -00001-of-00003.gguf");
    lone_part(folder, "some-other-model-00001-of-00004.gguf", 0, 3, 7);
    refused(folder, "some-other-model-00001-of-00004.gguf", "its name does not end in -00001-of-00003.gguf");
    lone_part(folder, "a-00001-of-00002.gguf", 0, 2, 0);
    refused(folder, "a-00001-of-00002.gguf", "a-00002-of-00002.gguf: No such file");
    lone_part(folder, "b-00001-of-00009.gguf", 0, 5000, 0);
    refused(folder, "b-00001-of-00009.gguf", "key split.count: a value outside [0, 4096]");
    gguf_small(folder, "y", 3);
    patch(folder, "y-00002-of-00003.gguf", "split.no", 12, 2, "y-00003-of-00003.gguf");
    patch(folder, "y-00001-of-00003.gguf", "split.tensors.count", 23, 6, "y-00001-of-00003.gguf");
    refused(folder, "y-00001-of-00003.gguf", "tensor token_embd.weight appears twice");
    folder_destroy(folder);
}

static void what_is_no_gguf_file_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *sentence;
    } cases[] = {
        {"", 0, "m.gguf: not a GGUF file (it is empty)"},
        {"GGU", 3, "header: the file ends inside it"},
        {"GGML\3\0\0\0", 8, "m.gguf: not a GGUF file"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "not a GGUF file (it only points to the file: `git lfs"},
        {"GGUF\3\0", 6, "header: the file ends inside it"},
        {"GGUF\0\0\0\3", 8, "a big-endian file"},
        {"GGUF\1\0\0\0", 8, "version 1; versions 2 and 3 are read"},
        {"GGUF\4\0\0\0", 8, "version 4; versions 2 and 3 are read"},
        {"GGUF\3\0\0\0\377\377\377\377\377\377\377\177", 16, "9223372036854775807 tensors; at most 1048576"},
        {"GGUF\3\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "65536 tensors do not fit the 8 bytes left"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0", 24, "7 keys do not fit the 0 bytes left"},
    };
    char folder[FOLDER_PATH];
    folder_create(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        folder_write(folder, "m.gguf", cases[i].bytes, cases[i].n);
        refused(folder, "m.gguf", cases[i].sentence);
    }
    gguf_out o;
    gguf_begin(&o, 2);
    gguf_end(&o, 1, 0);
    gguf_save(&o, folder, "empty.gguf");
    hs_source *s = open_file(folder, "empty.gguf");
    assert_int_equal(hs_source_checkpoint(s)->n_tensors, 0);
    hs_source_close(&s);
    folder_destroy(folder);
}

/* Opens the n bytes; they must be accepted, or refused with a sentence that names the file. */
static int open_bytes(const char *folder, const uint8_t *data, size_t n, hs_err *err)
{
    char path[FOLDER_PATH + 64];
    hs_source *s = NULL;
    folder_write(folder, "m.gguf", data, n);
    path_of(path, sizeof path, folder, "m.gguf");
    int r = hs_source_open(path, &s, err);
    assert_true((r == 0) == (s != NULL));
    if (r < 0)
        assert_non_null(strstr(err->text, "m.gguf"));
    hs_source_close(&s);
    return r;
}

static void a_cut_file_names_what_is_missing(void **state)
{
    (void)state;
    char folder[FOLDER_PATH];
    folder_create(folder);
    gguf_small(folder, "whole", 1);
    size_t n;
    uint8_t *data = folder_read(folder, "whole.gguf", &n);
    for (size_t cut = 0; cut < n; cut += cut < 2200 ? 1 : 97) {
        hs_err err = {0};
        int r = open_bytes(folder, data, cut, &err);
        assert_true(r < 0);
        if (cut >= 300) /* the number of keys is plausible */
            assert_true(strstr(err.text, "key ") || strstr(err.text, "tensor "));
    }
    free(data);
    folder_destroy(folder);
}

static void a_flipped_bit_in_the_header_does_no_harm(void **state)
{
    (void)state;
    char folder[FOLDER_PATH];
    folder_create(folder);
    gguf_small(folder, "whole", 1);
    size_t n;
    uint8_t *data = folder_read(folder, "whole.gguf", &n);
    uint32_t refused_ones = 0;
    for (size_t bit = 0; bit < 8 * 1400; bit += 3) {
        hs_err err = {0};
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused_ones += open_bytes(folder, data, n, &err) < 0;
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused_ones > 500);
    free(data);
    folder_destroy(folder);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    char folder[FOLDER_PATH], path[FOLDER_PATH + 64];
    folder_create(folder);
    gguf_small(folder, "m", 3);
    path_of(path, sizeof path, folder, "m-00001-of-00003.gguf");
    folder_without_memory(path);
    folder_destroy(folder);
}

/* One line of FILE.tensors: name, type, bytes, hash, dimensions. */
static void check_line(const hs_source *s, hs_pool *pool, char *line)
{
    char name[256], type[32];
    unsigned long long bytes, hash;
    int at = 0;
    assert_int_equal(sscanf(line, "%255s %31s %llu %llx%n", name, type, &bytes, &hash, &at), 4);
    const hs_tensor *t = tensor(s, name);
    assert_string_equal(hs_dtype_name(t->dtype), type);
    assert_int_equal(t->nbytes, bytes);
    char *dims = line + at;
    for (uint32_t i = 0; i < t->n_dims; i++)
        assert_int_equal(strtoull(dims, &dims, 10), t->dims[i]);
    assert_int_equal(*dims, '\0');
    uint8_t *buf = malloc(bytes);
    assert_non_null(buf);
    hs_load load = {(uint32_t)(t - hs_source_checkpoint(s)->tensors), buf};
    assert_int_equal(hs_source_load(s, &load, 1, pool, NULL, NULL, NULL, NULL), 0);
    assert_true(XXH3_64bits(buf, bytes) == hash);
    free(buf);
}

static void real_files_read_as_their_writer_reads_them(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen3_moe-256-Q4_K_M", "deepseek_v3-256-Q2_K", "gpt_oss_mxfp4-bf16",
                                        "mixtral-bf16"};
    hs_pool *pool;
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[64], *save = NULL;
        size_t n;
        snprintf(file, sizeof file, "%s.gguf", names[i]);
        hs_source *s = open_file(TESTS_DIR "/data/gguf", file);
        snprintf(file, sizeof file, "%s.tensors", names[i]);
        uint8_t *raw = folder_read(TESTS_DIR "/data/gguf", file, &n);
        char *text = strndup((const char *)raw, n);
        uint32_t lines = 0;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++)
            check_line(s, pool, line);
        assert_int_equal(hs_source_checkpoint(s)->n_tensors, lines);
        assert_int_equal(hs_source_checkpoint(s)->vocab->n_tokens, 512);
        free(text);
        free(raw);
        hs_source_close(&s);
    }
    hs_pool_destroy(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_or_three_give_the_same_directory),
        cmocka_unit_test(a_file_in_the_working_folder_needs_no_slash),
        cmocka_unit_test(parts_that_do_not_belong_together_are_refused),
        cmocka_unit_test(what_is_no_gguf_file_is_refused_by_name),
        cmocka_unit_test(a_cut_file_names_what_is_missing),
        cmocka_unit_test(a_flipped_bit_in_the_header_does_no_harm),
        cmocka_unit_test(real_files_read_as_their_writer_reads_them),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
