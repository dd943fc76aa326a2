/* labels: unit */
/* The log's three formats, read back from stderr through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"

static char got[8192];

/* What one call writes to stderr. */
static const char *logged(hs_log_level level, const char *text)
{
    int p[2], old = dup(STDERR_FILENO);
    assert_true(old >= 0);
    assert_int_equal(pipe(p), 0);
    dup2(p[1], STDERR_FILENO);
    close(p[1]);
    hs_log(level, "%s", text);
    dup2(old, STDERR_FILENO);
    close(old);
    ssize_t n = read(p[0], got, sizeof got - 1);
    close(p[0]);
    got[n > 0 ? n : 0] = '\0';
    return got;
}

static void formats(void **state)
{
    (void)state;
    hs_log_setup(HS_LOG_INFO, HS_LOG_TEXT);
    assert_string_equal(logged(HS_LOG_INFO, "up"), "hotset: up\n");
    assert_string_equal(logged(HS_LOG_WARN, "slow"), "hotset: warning: slow\n");
    assert_string_equal(logged(HS_LOG_DEBUG, "hidden"), "");
    hs_log_setup(HS_LOG_ERROR, HS_LOG_SYSTEMD);
    assert_string_equal(logged(HS_LOG_ERROR, "broken"), "<3>broken\n");
    assert_string_equal(logged(HS_LOG_WARN, "hidden"), "");
    hs_log_setup(HS_LOG_DEBUG, HS_LOG_SYSTEMD);
    assert_string_equal(logged(HS_LOG_DEBUG, "detail"), "<7>detail\n");
}

/* What a client sent must not look like lines of ours. */
static void one_call_is_one_line(void **state)
{
    (void)state;
    hs_log_setup(HS_LOG_INFO, HS_LOG_SYSTEMD);
    assert_string_equal(logged(HS_LOG_WARN, "a\n<0>forged\r\x1b[2J\tb"), "<4>a <0>forged  [2J\tb\n");
    hs_log_setup(HS_LOG_INFO, HS_LOG_TEXT);
    char big[5000];
    memset(big, 'z', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const char *line = logged(HS_LOG_INFO, big);
    assert_true(strlen(line) > 1000 && strlen(line) < 1100 && line[strlen(line) - 1] == '\n');
}

static void json_is_json(void **state)
{
    (void)state;
    static const char *const texts[] = {"plain", "quote \" back \\ slash", "new\nline \x01",
                                        "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                        "bad \xff \xc3( \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82"};
    hs_log_setup(HS_LOG_INFO, HS_LOG_JSON);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *line = logged(HS_LOG_WARN, texts[i]);
        json_t *j = NULL;
        hs_err err = {0};
        if (hs_json_load(line, strlen(line), "line", &j, &err) < 0)
            fail_msg("%s: %s", line, err.text);
        assert_string_equal(json_string_value(json_object_get(j, "level")), "warning");
        assert_true(json_is_integer(json_object_get(j, "ts")));
        if (i < 4)
            assert_string_equal(json_string_value(json_object_get(j, "msg")), texts[i]);
        json_decref(j);
    }
    /* Cut in the middle of escapes and characters, at every place. */
    for (size_t n = 990; n < 1030; n++) {
        char text[1100];
        memset(text, '"', sizeof text);
        memcpy(text + n, "\xe2\x82\xac\n\n\n", 7);
        json_t *j = NULL;
        const char *line = logged(HS_LOG_INFO, text);
        assert_int_equal(hs_json_load(line, strlen(line), "line", &j, NULL), 0);
        json_decref(j);
    }
    hs_log_setup(HS_LOG_INFO, HS_LOG_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(one_call_is_one_line),
        cmocka_unit_test(json_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
