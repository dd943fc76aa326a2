/* tokenizer_fixture.c - tokenizers for tests. */
#include "tokenizer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

int fixture_load_text(const char *text, size_t len, hs_tokenizer **ret, hs_err *err)
{
    char dir[] = "/tmp/hotset-tokenizer-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    int r = hs_tokenizer_load(dir, ret, err);
    unlink(path);
    rmdir(dir);
    return r;
}

char *fixture_text(const char *name, size_t *ret_len)
{
    char command[512];
    snprintf(command, sizeof command, "gzip -dc '%s/data/tokenizer/%s.tokenizer.json.gz'", TESTS_DIR, name);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t len = 0, cap = 32u << 20, n;
    char *text = malloc(cap);
    assert_non_null(text);
    while ((n = fread(text + len, 1, cap - len, f)) > 0)
        len += n;
    assert_int_equal(pclose(f), 0);
    assert_true(len > 0 && len < cap);
    *ret_len = len;
    return text;
}

hs_tokenizer *fixture_load_published(const char *name)
{
    size_t len;
    char *text = fixture_text(name, &len);
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    if (fixture_load_text(text, len, &t, &err) != 0)
        fail_msg("%s: %s", name, err.text);
    free(text);
    return t;
}

json_t *fixture_json(const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/data/tokenizer/%s", TESTS_DIR, file);
    json_t *j = NULL;
    hs_err err = {0};
    if (hs_json_load_file(path, 4u << 20, &j, &err) != 0)
        fail_msg("%s", err.text);
    return j;
}

int fixture_encodes_to(const hs_tokenizer *t, const char *text, size_t len, const json_t *ids)
{
    uint32_t *got = NULL;
    size_t n = 0;
    hs_err err = {0};
    if (hs_tokenizer_encode(t, text, len, true, &got, &n, &err) != 0)
        fail_msg("%s", err.text);
    int same = n == json_array_size(ids);
    for (size_t i = 0; same && i < n; i++)
        same = got[i] == json_integer_value(json_array_get(ids, i));
    if (!same)
        print_error("encoded differently: %.200s\n", text);
    hs_free(got);
    return same;
}
