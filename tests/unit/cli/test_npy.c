/* labels: unit */
/* .npy files: header byte for byte, data, and that nothing is left behind by what was not finished. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/npy.h"

static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hotset-npy-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/logits.npy", dir);
    return 0;
}

static size_t n_files(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void test_bytes(void **state)
{
    (void)state;
    hs_npy *n = NULL;
    hs_err err = {0};
    const float rows[3][2] = {{1, -2}, {0.5f, 3}, {1e-30f, 0}};
    assert_int_equal(hs_npy_create(path, 3, 2, &n, &err), 0);
    hs_npy_write(n, rows[0], 2);
    hs_npy_write(n, rows[2], 1);
    assert_int_equal(access(path, F_OK), -1); /* not before it is complete */
    assert_int_equal(hs_npy_commit(n, &err), 0);
    hs_npy_destroy(&n);
    assert_null(n);
    assert_int_equal(n_files(), 1);

    char *data;
    size_t len;
    assert_int_equal(hs_file_read(path, 1 << 20, &data, &len, &err), 0);
    assert_int_equal(len, 128 + sizeof rows);
    assert_memory_equal(data, "\x93NUMPY\x01\x00\x76\x00", 10);
    const char *dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
    assert_memory_equal(data + 10, dict, strlen(dict));
    for (size_t i = 10 + strlen(dict); i < 127; i++)
        assert_int_equal(data[i], ' ');
    assert_int_equal(data[127], '\n');
    assert_memory_equal(data + 128, rows, sizeof rows);
    hs_free(data);
}

static void test_incomplete(void **state)
{
    (void)state;
    hs_npy *n = NULL;
    hs_err err = {0};
    const float row[2] = {1, 2};
    assert_int_equal(hs_npy_create(path, 3, 2, &n, &err), 0);
    hs_npy_write(n, row, 1);
    assert_int_equal(hs_npy_commit(n, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1 of 3 rows"));
    hs_npy_destroy(&n);
    assert_int_equal(n_files(), 0);
}

static void test_replaces_only_when_complete(void **state)
{
    (void)state;
    hs_npy *n = NULL;
    hs_err err = {0};
    assert_int_equal(hs_file_write_atomic(path, "old", 3, &err), 0);
    assert_int_equal(hs_npy_create(path, 1, 1, &n, &err), 0);
    hs_npy_destroy(&n);
    char *data;
    size_t len;
    assert_int_equal(hs_file_read(path, 100, &data, &len, &err), 0);
    assert_string_equal(data, "old");
    hs_free(data);
    assert_int_equal(n_files(), 1);
}

static void test_no_folder(void **state)
{
    (void)state;
    hs_npy *n = NULL;
    hs_err err = {0};
    assert_int_equal(hs_npy_create("/nonexistent-folder/x.npy", 1, 1, &n, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent-folder/x.npy"));
    assert_null(n);
}

/* More than the buffer, in one write and in many. */
static void test_big(void **state)
{
    (void)state;
    hs_npy *n = NULL;
    hs_err err = {0};
    enum { COLUMNS = 100003, ROWS = 3 };
    float *row = hs_calloc(COLUMNS, sizeof *row);
    assert_non_null(row);
    assert_int_equal(hs_npy_create(path, ROWS, COLUMNS, &n, &err), 0);
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < COLUMNS; k++)
            row[k] = (float)(i * COLUMNS + k);
        hs_npy_write(n, row, 1);
    }
    assert_int_equal(hs_npy_commit(n, &err), 0);
    hs_npy_destroy(&n);
    char *data;
    size_t len;
    assert_int_equal(hs_file_read(path, 8 << 20, &data, &len, &err), 0);
    assert_int_equal(len, 128 + (size_t)ROWS * COLUMNS * sizeof *row);
    const float *values = (const float *)(const void *)(data + 128);
    for (int k = 0; k < ROWS * COLUMNS; k++)
        assert_true(values[k] == (float)k);
    hs_free(data);
    hs_free(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_incomplete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaces_only_when_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_big, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
