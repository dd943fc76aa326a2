/* template_helper.c - what the template tests share: published templates, conversations, rendering. */
#include "template_helper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"

char *render_source(const char *source, const char *variables, hs_err *err)
{
    hs_template *t = NULL;
    char *text = NULL;
    size_t len;
    json_t *messages = json_array(), *kwargs = NULL;
    *err = (hs_err){0};
    if (variables && hs_json_load(variables, strlen(variables), "variables", &kwargs, err) < 0)
        fail_msg("%s", err->text);
    if (json_object_get(kwargs, "messages")) {
        json_array_extend(messages, json_object_get(kwargs, "messages"));
        json_object_del(kwargs, "messages");
    }
    int r = hs_template_create(source, strlen(source), "test.jinja", NULL, &t, err);
    if (r == 0) {
        const hs_template_input in = {.messages = messages, .kwargs = kwargs, .now = 1768480496};
        r = hs_template_render(t, &in, &text, &len, NULL, err);
    }
    if (r < 0)
        assert_int_equal(r, err->code);
    hs_template_destroy(&t);
    json_decref(messages);
    json_decref(kwargs);
    return text;
}

void check_render(const char *source, const char *variables, const char *expected)
{
    hs_err err;
    char *text = render_source(source, variables, &err);
    if (!text)
        fail_msg("%s\nfailed: %s", source, err.text);
    if (strcmp(text, expected))
        fail_msg("%s\ngave:     \"%s\"\nexpected: \"%s\"", source, text, expected);
    hs_free(text);
}

void check_error(const char *source, const char *variables, int code, const char *part)
{
    hs_err err;
    char *text = render_source(source, variables, &err);
    if (text)
        fail_msg("%.200s\nshould fail, gave \"%.200s\"", source, text);
    if (err.code != code || !strstr(err.text, part))
        fail_msg("%.200s\nfailed with %d (%s), expected %d (%s)", source, err.code, err.text, code, part);
}
