/* labels: unit */
/* test_source.c - opening folders, plain and packed: the same directory from both, and what is refused at the door. */
#include "unit/store/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/source.h"

static void check_directory(const hs_source *s, const tiny_model *m)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    assert_int_equal(c->n_tensors, m->n);
    uint64_t total = 0;
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const hs_tensor *t = &c->tensors[i];
        const tiny_tensor *want = tiny_find(m, t->name);
        assert_string_equal(hs_dtype_name(t->dtype), want->dtype);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->dims[0], want->rows);
        assert_int_equal(t->dims[1], want->cols);
        assert_int_equal(t->dims[2], 1);
        assert_int_equal(t->nbytes, tiny_nbytes(want));
        assert_int_equal(hs_checkpoint_find(c, t->name), i);
        assert_true(!i || strcmp(c->tensors[i - 1].name, t->name) < 0);
        assert_true((t->record == HS_NO_RECORD) == !hs_source_is_packed(s));
        total += t->nbytes;
    }
    assert_int_equal(c->total_bytes, total);
    assert_int_equal(hs_checkpoint_find(c, "absent"), HS_NO_TENSOR);
    assert_non_null(c->config);
    assert_null(c->generation_config);
    assert_true(hs_source_bytes(s) > c->n_tensors * sizeof(hs_tensor));
}

static void plain_and_packed_give_the_same_directory(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        char path[FOLDER_PATH];
        hs_source *s;
        hs_err err = {0};
        folder_create(path);
        if (packed)
            tiny_write_packed(&tiny_small, path);
        else
            tiny_write_plain(&tiny_small, path);
        assert_int_equal(hs_source_open(path, &s, &err), 0);
        assert_int_equal(hs_source_is_packed(s), packed);
        check_directory(s, &tiny_small);
        hs_source_close(&s);
        assert_null(s);
        hs_source_close(&s);
        folder_destroy(path);
    }
}

static void what_is_no_model_is_refused_by_name(void **state)
{
    (void)state;
    char path[FOLDER_PATH], sub[FOLDER_PATH + 32];
    folder_create(path);
    folder_refused("/nonexistent/folder", "/nonexistent/folder: ");
    folder_refused(path, "neither a packed model");
    folder_write(path, "model.gguf", "GGUF", 4);
    snprintf(sub, sizeof sub, "%s/model.gguf", path);
    folder_refused(sub, "model.gguf: header: the file ends inside it");
    folder_refused(path, "give a GGUF model by its file");
    folder_write(path, "model.gguf", "{}{}{}{}", 8);
    folder_refused(sub, "model.gguf: not a GGUF file");
    folder_safetensors(path, "model.safetensors", "{}", NULL, 0);
    snprintf(sub, sizeof sub, "%s/model.safetensors", path);
    folder_refused(sub, "not a GGUF file (a safetensors model is given by its folder)");
    folder_refused(path, "config.json");
    folder_write(path, "config.json", "[1]", 3);
    folder_refused(path, "config.json: not a JSON object");
    folder_write(path, "config.json", "{\"a\":", 5);
    folder_refused(path, "config.json");
    folder_write(path, "config.json", "{}", 2);
    folder_write(path, "generation_config.json", "7", 1);
    folder_refused(path, "generation_config.json: not a JSON object");
    folder_write(path, "generation_config.json", "{}", 2);
    hs_source *s;
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    assert_non_null(hs_source_checkpoint(s)->generation_config);
    hs_source_close(&s);
    snprintf(sub, sizeof sub, "%s/other.safetensors", path);
    assert_int_equal(mkdir(sub, 0755), 0);
    folder_refused(path, "other.safetensors: not a regular file");
    folder_destroy(path);
}

static void a_tensor_in_two_files_is_refused(void **state)
{
    (void)state;
    char path[FOLDER_PATH];
    folder_create(path);
    folder_write(path, "config.json", "{}", 2);
    const char *h = "{\"same\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    folder_safetensors(path, "a.safetensors", h, "abcd", 4);
    folder_safetensors(path, "b.safetensors", h, "abcd", 4);
    folder_refused(path, "tensor same appears twice");
    folder_destroy(path);
}

static void the_identity_follows_names_and_files(void **state)
{
    (void)state;
    char path[FOLDER_PATH];
    uint8_t first[16];
    hs_source *s;
    folder_create(path);
    tiny_write_plain(&tiny_small, path);
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    memcpy(first, hs_source_identity(s), 16);
    hs_source_close(&s);
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    assert_memory_equal(first, hs_source_identity(s), 16);
    hs_source_close(&s);
    folder_destroy(path);
    folder_create(path);
    tiny_write_plain(&tiny_wide, path);
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    assert_memory_not_equal(first, hs_source_identity(s), 16);
    hs_source_close(&s);
    folder_destroy(path);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        char path[FOLDER_PATH];
        folder_create(path);
        if (packed)
            tiny_write_packed(&tiny_small, path);
        else
            tiny_write_plain(&tiny_small, path);
        folder_without_memory(path);
        folder_destroy(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_packed_give_the_same_directory),
        cmocka_unit_test(what_is_no_model_is_refused_by_name),
        cmocka_unit_test(a_tensor_in_two_files_is_refused),
        cmocka_unit_test(the_identity_follows_names_and_files),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
