/* labels: unit fault */
/*
 * What a builtin walks over costs steps: each of these loops has few turns for its limit of steps, and each turn walks
 * over a long text, so all of them must run out of steps. One that comes to its end had the walk for nothing, and with
 * loops in loops would stall for hours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "text/template_int.h"

#define LONG   "{% set s = 'a' * 200000 %}"
#define BLANKS "{% set s = ' ' * 200000 %}"
#define OTHER  "{% set t = 'a' * 199999 ~ 'b' %}"
#define TURNS  "{% for i in range(2000) %}{% set x = "
#define END    " %}{% endfor %}"

static const char *const loops[] = {
    LONG TURNS "s.startswith(s)" END,
    LONG TURNS "s.endswith(('b', s))" END,
    LONG TURNS "s.removeprefix(s)" END,
    LONG TURNS "s.removesuffix(s)" END,
    LONG TURNS "s.strip('a')" END,
    LONG TURNS "s.rstrip('ab')" END,
    BLANKS TURNS "s.strip()" END,
    BLANKS TURNS "s | trim" END,
    LONG OTHER TURNS "s == t" END,
    LONG OTHER TURNS "s < t" END,
    LONG OTHER TURNS "[s] == [t]" END,
    LONG TURNS "{s: 1, s: 2}" END,
    LONG "{% set d = {s: 1} %}" TURNS "d[s]" END,
    LONG "{% set d = {s: 1} %}" TURNS "s in d" END,
    LONG TURNS "{} | attr(s)" END,
    "{% set s = '1' * 200000 %}" TURNS "s | int" END,
    "{% set s = '1' * 200000 %}" TURNS "s | float" END,
    BLANKS TURNS "s | int" END,
    LONG TURNS "s.count('a')" END,
    LONG TURNS "'b' in s" END,
    LONG TURNS "s.find('ab')" END,
    LONG TURNS "s.rfind('b')" END,
    LONG TURNS "s.partition('ab')" END,
    LONG TURNS "s.replace('ab', '')" END,
    LONG TURNS "s.split('ab')" END,
    LONG TURNS "s.ljust(1)" END,
    LONG TURNS "s.isalpha()" END,
    LONG TURNS "s is lower" END,
    LONG TURNS "s | title" END,
};

static void test_walks_are_charged(void **state)
{
    (void)state;
    /* 3,125 steps for a turn that compares 200,000 bytes: 160 turns. */
    const hs__jlimits limits = {.memory = HS_TEMPLATE_MAX_MEMORY, .steps = 500000};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        hs_template *t = NULL;
        hs_err err = {0};
        char *text = NULL;
        size_t len;
        json_t *none = json_array();
        assert_int_equal(hs_template_create(loops[i], strlen(loops[i]), "test.jinja", NULL, &t, &err), 0);
        const hs_template_input in = {.messages = none};
        int r = hs__template_render(t, &in, &limits, &text, &len, NULL, &err);
        if (r != -ETIMEDOUT)
            fail_msg("%s: %d %s", loops[i], r, err.text);
        hs_template_destroy(&t);
        json_decref(none);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks_are_charged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
