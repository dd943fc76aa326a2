/* labels: unit */
/* Flag parser: grammar, checks, suggestions, and that help lists what the parser takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/verbs.h"

static const hs_flag flags[] = {
    {"json", HS_FLAG_SWITCH, NULL, 0, 0, "as JSON"},   {"name", HS_FLAG_TEXT, "TEXT", 0, 0, "a name"},
    {"count", HS_FLAG_INT, "N", 1, 10, "how many"},    {"temp", HS_FLAG_NUMBER, "T", 0, 2, "how hot"},
    {"ram", HS_FLAG_SIZE, "SIZE", 4096, 0, "how big"}, {"codec", HS_FLAG_CHOICE, "auto|zstd|raw", 0, 0, "which"},
    {"set", HS_FLAG_LIST, "K=V", 0, 0, "options"},     {NULL, HS_FLAG_SWITCH, NULL, 0, 0, NULL}};

static const hs_verb verb = {
    .name = "try", .synopsis = "SRC DST", .summary = "Tries.", .flags = flags, .min_operands = 1, .max_operands = 2};

#define PARSE(args, err, ...)                                                                                          \
    hs_args_parse(&verb, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)),                           \
                  (char *const *)(const char *const[]){__VA_ARGS__}, args, err)

static void test_grammar(void **state)
{
    (void)state;
    hs_args a = {0};
    hs_err err = {0};
    assert_int_equal(PARSE(&a, &err, "--count", "3", "src", "--temp=0.5", "--set", "a.b=1", "--json", "--set=c.d=2=3",
                           "--ram", "2MiB", "--codec", "raw", "--name=", "--", "--dst"),
                     0);
    assert_int_equal(a.n_operands, 2);
    assert_string_equal(a.operands[0], "src");
    assert_string_equal(a.operands[1], "--dst");
    assert_int_equal(hs_args_int(&a, "count", 7), 3);
    assert_true(hs_args_number(&a, "temp", 1) == 0.5);
    assert_int_equal(hs_args_size(&a, "ram", 0), 2u << 20);
    assert_true(hs_args_has(&a, "json"));
    assert_string_equal(hs_args_text(&a, "name"), "");
    assert_string_equal(hs_args_text(&a, "codec"), "raw");
    assert_string_equal(hs_args_list(&a, "set", 0), "a.b=1");
    assert_string_equal(hs_args_list(&a, "set", 1), "c.d=2=3");
    assert_null(hs_args_list(&a, "set", 2));
}

static void test_defaults_and_last_wins(void **state)
{
    (void)state;
    hs_args a = {0};
    hs_err err = {0};
    assert_int_equal(PARSE(&a, &err, "src", "--count", "3", "--count", "4", "-"), 0);
    assert_int_equal(hs_args_int(&a, "count", 7), 4);
    assert_true(hs_args_number(&a, "temp", 1.5) == 1.5);
    assert_int_equal(hs_args_size(&a, "ram", 12), 12);
    assert_null(hs_args_text(&a, "name"));
    assert_false(hs_args_has(&a, "json"));
    assert_string_equal(a.operands[1], "-");
}

static void assert_refused(int r, const hs_err *err, const char *part)
{
    assert_int_equal(r, -EINVAL);
    if (!strstr(err->text, part))
        fail_msg("'%s' lacks '%s'", err->text, part);
}

static void test_refusals(void **state)
{
    (void)state;
    hs_args a = {0};
    hs_err err = {0};
    assert_refused(PARSE(&a, &err, "src", "--jsn"), &err, "did you mean --json?");
    assert_refused(PARSE(&a, &err, "src", "--cuont=3"), &err, "unknown flag --cuont; did you mean --count?");
    assert_refused(PARSE(&a, &err, "src", "-json"), &err, "did you mean --json?");
    assert_refused(PARSE(&a, &err, "src", "--zzzzzzzz"), &err, "unknown flag --zzzzzzzz");
    assert_null(strstr(err.text, "did you mean"));
    assert_refused(PARSE(&a, &err, "src", "--json=1"), &err, "--json takes no value");
    assert_refused(PARSE(&a, &err, "src", "--name"), &err, "--name needs a value");
    assert_refused(PARSE(&a, &err, "src", "--count", "x"), &err, "--count needs an integer, not 'x'");
    assert_refused(PARSE(&a, &err, "src", "--count", "11"), &err, "outside 1 to 10");
    assert_refused(PARSE(&a, &err, "src", "--temp", "nan"), &err, "--temp needs a number");
    assert_refused(PARSE(&a, &err, "src", "--ram", "4Q"), &err, "--ram needs a size");
    assert_refused(PARSE(&a, &err, "src", "--ram", "1k"), &err, "under 4096");
    assert_refused(PARSE(&a, &err, "src", "--codec", "lz4"), &err, "one of auto|zstd|raw");
    assert_refused(PARSE(&a, &err, "--json"), &err, "missing operand");
    assert_refused(PARSE(&a, &err, "a", "b", "c"), &err, "'c' is one operand too many");
}

static void test_too_many_flags(void **state)
{
    (void)state;
    const char *argv[HS_ARGS_MAX_GIVEN + 2];
    argv[0] = "src";
    for (int i = 1; i < HS_ARGS_MAX_GIVEN + 2; i++)
        argv[i] = "--json";
    hs_args a = {0};
    hs_err err = {0};
    assert_int_equal(hs_args_parse(&verb, HS_ARGS_MAX_GIVEN + 1, (char *const *)argv, &a, &err), 0);
    assert_refused(hs_args_parse(&verb, HS_ARGS_MAX_GIVEN + 2, (char *const *)argv, &a, &err), &err, "more than");
}

static void test_help_wins_over_mistakes(void **state)
{
    (void)state;
    hs_args a = {0};
    hs_err err = {0};
    assert_int_equal(PARSE(&a, &err, "--bogus", "-h"), 0);
    assert_true(a.help);
    assert_int_equal(PARSE(&a, &err, "src", "--", "--help"), 0);
    assert_false(a.help);
}

/* Every flag of every verb is in its help, and no help line is too long for a terminal. */
static void test_help_of_all_verbs(void **state)
{
    (void)state;
    for (size_t v = 0; hs_verbs[v]; v++) {
        hs_buf out;
        hs_buf_init(&out, 1 << 16);
        hs_verb_help(hs_verbs[v], &out);
        assert_int_equal(out.failed, 0);
        for (const hs_flag *f = hs_verbs[v]->flags; f && f->name; f++) {
            char line[64];
            snprintf(line, sizeof line, "\n  --%s", f->name);
            assert_non_null(strstr(out.data, line));
            assert_true(f->type == HS_FLAG_SWITCH || f->value != NULL);
        }
        for (const char *p = out.data; *p; p += strcspn(p, "\n") + 1)
            if (strcspn(p, "\n") > 100)
                fail_msg("%s: long line: %.60s", hs_verbs[v]->name, p);
        hs_buf_deinit(&out);
    }
}

static void test_wrap(void **state)
{
    (void)state;
    hs_buf out;
    hs_buf_init(&out, 4096);
    hs_wrap(&out, "one two\n\nthree", 2);
    assert_string_equal(out.data, "  one two\n\n  three\n");
    hs_buf_clear(&out);
    char word[200];
    memset(word, 'x', 170);
    word[170] = '\0';
    hs_wrap(&out, word, 0);
    assert_int_equal(strcspn(out.data, "\n"), 80);
    assert_int_equal(out.len, 173);
    hs_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_defaults_and_last_wins),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_too_many_flags),
        cmocka_unit_test(test_help_wins_over_mistakes),
        cmocka_unit_test(test_help_of_all_verbs),
        cmocka_unit_test(test_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
