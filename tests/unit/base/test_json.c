/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

static json_t *parse(const char *text)
{
    json_t *j = NULL;
    assert_int_equal(hs_json_load(text, strlen(text), "here", &j, NULL), 0);
    return j;
}

static void malformed_text_has_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "{",        "{\"a\":1,}", "{\"a\":1,\"a\":2}",    "{\"a\":1} x",
                                      "nul", "\"\xff\"", "[1e999]",    "99999999999999999999", "{\"a\":\n\n  +1}"};
    hs_err err = {0};
    json_t *j = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hs_json_load(bad[i], strlen(bad[i]), "here", &j, &err), -EINVAL);
        assert_non_null(strstr(err.text, "here: line "));
        assert_null(j);
    }
    assert_non_null(strstr(err.text, "line 3"));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    size_t n = 1 << 20;
    char *deep = malloc(n);
    assert_non_null(deep);
    memset(deep, '[', n);
    json_t *j = NULL;
    assert_int_equal(hs_json_load(deep, n, "deep", &j, NULL), -EINVAL);
    free(deep);
}

/* n times `piece`, in a list. */
static int load_many(const char *piece, size_t n, hs_err *err)
{
    size_t len = strlen(piece);
    char *text = malloc(n * len + 2);
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < n; i++)
        memcpy(text + 1 + i * len, piece, len);
    text[n * len] = ']';
    json_t *j = NULL;
    int r = hs_json_load(text, n * len + 1, "bomb", &j, err);
    json_decref(j);
    free(text);
    return r;
}

static void memory_is_bounded(void **state)
{
    (void)state;
    hs_err err = {0};
    assert_int_equal(load_many("{},", 1000000, &err), -E2BIG);
    assert_string_equal(err.text, "bomb: its values would take more than 256 MiB of memory");
    assert_int_equal(load_many("[],", 1600000, &err), -E2BIG);
    assert_int_equal(load_many("\"\",", 2700000, &err), -E2BIG);
    assert_int_equal(load_many("0,", 6000000, &err), -E2BIG);
    /* What stands in strings is no value, quotes and backslashes included. */
    assert_int_equal(load_many("\"{{[[,,\\\"{{[[,,\\\\\",", 100000, &err), 0);
    assert_int_equal(load_many("0,", 100000, &err), 0);
}

static void files(void **state)
{
    (void)state;
    char path[] = "/tmp/hotset-json-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\": 5}", 8), 8);
    close(fd);
    hs_err err = {0};
    json_t *j = NULL;
    assert_int_equal(hs_json_load_file(path, 7, &j, &err), -EFBIG);
    assert_int_equal(hs_json_load_file(path, 8, &j, &err), 0);
    assert_true(json_is_object(j));
    json_decref(j);
    unlink(path);
    j = NULL;
    assert_int_equal(hs_json_load_file(path, 8, &j, &err), -ENOENT);
    assert_null(j);
}

static void integers(void **state)
{
    (void)state;
    json_t *j = parse("{\"i\": 5, \"r\": 6.0, \"f\": 6.5, \"s\": \"5\", \"n\": null, \"big\": 1e300, \"neg\": -3}");
    hs_err err = {0};
    int64_t v = 77;
    assert_true(hs_json_int(j, "here", "i", 0, 10, &v, &err) == 0 && v == 5);
    assert_true(hs_json_int(j, "here", "r", 0, 10, &v, &err) == 0 && v == 6);
    v = 77;
    assert_int_equal(hs_json_int(j, "here", "f", 0, 10, &v, &err), -EINVAL);
    assert_string_equal(err.text, "here: f must be an integer");
    assert_int_equal(hs_json_int(j, "here", "s", 0, 10, &v, &err), -EINVAL);
    assert_int_equal(hs_json_int(j, "here", "big", 0, 10, &v, &err), -EINVAL);
    assert_int_equal(hs_json_int(j, "here", "neg", 0, 10, &v, &err), -ERANGE);
    assert_string_equal(err.text, "here: neg is -3; 0 to 10 are possible");
    assert_int_equal(hs_json_int(j, "here", "none", 0, 10, &v, &err), -EINVAL);
    assert_string_equal(err.text, "here: none is missing");
    assert_int_equal(hs_json_int(j, "here", "n", 0, 10, &v, &err), -EINVAL);
    assert_int_equal(v, 77);
    assert_true(hs_json_int_or(j, "here", "n", 0, 10, 9, &v, &err) == 0 && v == 9);
    assert_true(hs_json_int_or(j, "here", "none", 0, 10, 8, &v, &err) == 0 && v == 8);
    assert_int_equal(hs_json_int_or(j, "here", "s", 0, 10, 8, &v, &err), -EINVAL);
    assert_int_equal(hs_json_int_or(NULL, "here", "x", 0, 10, 8, &v, &err), 0);
    json_decref(j);
}

static void other_types(void **state)
{
    (void)state;
    json_t *j =
        parse("{\"num\": 1.5, \"int\": 2, \"yes\": true, \"no\": false, \"s\": \"text\", \"n\": null, \"l\": []}");
    hs_err err = {0};
    double d = 77;
    bool b = true;
    const char *s = "old";
    assert_true(hs_json_num_or(j, "here", "num", 0, &d, &err) == 0 && d == 1.5);
    assert_true(hs_json_num_or(j, "here", "int", 0, &d, &err) == 0 && d == 2);
    assert_true(hs_json_num_or(j, "here", "n", 4, &d, &err) == 0 && d == 4);
    assert_int_equal(hs_json_num_or(j, "here", "s", 4, &d, &err), -EINVAL);
    assert_true(hs_json_bool_or(j, "here", "no", true, &b, &err) == 0 && !b);
    assert_true(hs_json_bool_or(j, "here", "none", true, &b, &err) == 0 && b);
    assert_int_equal(hs_json_bool_or(j, "here", "int", true, &b, &err), -EINVAL);
    assert_string_equal(err.text, "here: int must be true or false");
    assert_true(hs_json_str_or(j, "here", "s", NULL, &s, &err) == 0 && !strcmp(s, "text"));
    assert_true(hs_json_str_or(j, "here", "none", "def", &s, &err) == 0 && !strcmp(s, "def"));
    assert_int_equal(hs_json_str_or(j, "here", "l", "def", &s, &err), -EINVAL);
    assert_string_equal(s, "def");
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_text_has_its_place),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(files),
        cmocka_unit_test(integers),
        cmocka_unit_test(other_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
