/* labels: unit */
/* What tune writes and why: which lines are comments, that the rest reads back, what a policy must do to be taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/tune.h"

#define LAYERS  2u
#define EXPERTS 16u
#define TOKENS  400u

typedef struct bench {
    hs_config *config;
    hs_tune tune;
    hs_buf text;
} bench;

static hs_config *configuration(void)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_config *c = NULL;
    hs_option_tables(tables);
    assert_int_equal(hs_config_create(tables, HS_N_OPTION_TABLES, &c, NULL), 0);
    return c;
}

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    b->config = configuration();
    b->tune = (hs_tune){.config = b->config, .figures = json_object()};
    hs_buf_init(&b->tune.table, 1 << 16);
    hs_buf_init(&b->text, 1 << 16);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    hs_buf_deinit(&b->text);
    hs_buf_deinit(&b->tune.table);
    json_decref(b->tune.figures);
    hs_config_destroy(&b->config);
    free(b);
    return 0;
}

static void set(bench *b, const char *assignment)
{
    assert_int_equal(hs_config_set(b->config, assignment, "test", NULL), 0);
}

static bool has_line(const bench *b, const char *line)
{
    size_t n = strlen(line);
    for (const char *p = b->text.data; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (!strncmp(p, line, n) && p[n] == '\n')
            return true;
    return false;
}

/* The text as a file that another configuration reads. */
static hs_config *read_back(const bench *b)
{
    char path[] = "/tmp/hotset-tune-XXXXXX";
    hs_config *c = configuration();
    hs_err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b->text.data, b->text.len), (ssize_t)b->text.len);
    close(fd);
    if (hs_config_load_file(c, path, &err) < 0)
        fail_msg("%s", err.text);
    unlink(path);
    return c;
}

static void comments(void **state)
{
    bench *b = *state;
    set(b, "cache.scope=layer");
    set(b, "compute.threads=3");
    hs_tune_keep(&b->tune, "cache", "policy", "Kept.");
    hs_tune_add(&b->tune, "cache", "scope", "global", "The default, but not what is configured.");
    hs_tune_add(&b->tune, "io", "read_size", "512k", "Faster:\n[cache]\npolicy = lru");
    hs_tune_keep(&b->tune, "compute", "threads", "Kept, and not the default.");
    hs_tune_format(&b->tune, &b->text);
    assert_false(b->text.failed);
    assert_true(has_line(b, "#policy = ewma"));
    assert_true(has_line(b, "scope = global"));
    assert_true(has_line(b, "read_size = 512k"));
    assert_true(has_line(b, "threads = 3"));
    assert_false(has_line(b, "policy = lru")); /* a reason stays a comment */
    hs_config *c = read_back(b);
    assert_string_equal(hs_config_str(c, "io", "read_size"), "512k");
    assert_int_equal(hs_config_int(c, "compute", "threads"), 3);
    assert_false(hs_config_is_set(c, "cache", "policy"));
    assert_true(hs_config_is_set(c, "cache", "scope"));
    hs_config_destroy(&c);
}

static void as_json(void **state)
{
    bench *b = *state;
    hs_tune_keep(&b->tune, "prefetch", "mode", "Kept.");
    hs_tune_line *l = hs_tune_add(&b->tune, "prefetch", "budget", "64M", "Faster.");
    l->is_measured = true;
    l->gain = 0.25;
    json_t *o = hs_tune_json(&b->tune), *p = json_object_get(json_object_get(o, "choices"), "prefetch");
    assert_non_null(p);
    json_t *mode = json_object_get(p, "mode"), *budget = json_object_get(p, "budget");
    assert_true(json_is_false(json_object_get(mode, "changes")) && !json_object_get(mode, "gain"));
    assert_true(json_is_true(json_object_get(budget, "changes")));
    assert_true(json_real_value(json_object_get(budget, "gain")) == 0.25);
    assert_string_equal(json_string_value(json_object_get(budget, "value")), "64M");
    json_decref(o);
}

static void gains(void **state)
{
    (void)state;
    assert_true(fabs(hs_tune_gain(0.5, 0.5) - 1.0 / 3) < 1e-12);
    assert_true(hs_tune_gain(0, 0.1) == 0);
    assert_true(fabs(hs_tune_gain(0.5, 0) - 1) < 1e-12);
    assert_true(fabs(hs_tune_gain(0.5, 2) + 1.0 / 3) < 1e-12);
    assert_true(hs_tune_gain(1, 0) == 0); /* nothing is left of it: not known */
    char text[64];
    assert_string_equal(hs_tune_percent(0.0314, -0.01, 0.0519, text, sizeof text), "+3.1 % (-1.0 to +5.2 %)");
}

/* Each token uses one expert of each layer: every fourth expert 0, else the next of the others in turn, so that who
 * remembers only what came last forgets 0 with fewer than 4 slots for a layer. */
static hs_trace trace_of(uint32_t n_tokens)
{
    hs_trace t = {.n_experts = EXPERTS, .top_k = 1, .n_moe_layers = LAYERS, .n_tokens = n_tokens};
    t.n = (size_t)n_tokens * LAYERS;
    t.expert_bytes = calloc(LAYERS, sizeof *t.expert_bytes);
    t.object = calloc(t.n, sizeof *t.object);
    t.token = calloc(t.n, sizeof *t.token);
    t.turn = calloc(t.n, sizeof *t.turn);
    for (size_t i = 0; i < t.n; i++) {
        uint32_t token = (uint32_t)(i / LAYERS), layer = i % LAYERS;
        t.token[i] = token;
        t.object[i] = layer * EXPERTS + (token % 4 == 0 ? 0 : 1 + (token - token / 4 - 1) % (EXPERTS - 1));
    }
    return t;
}

static const char *policy_taken(bench *b, uint32_t n_tokens, uint32_t n_slots)
{
    hs_trace t = trace_of(n_tokens);
    hs_tune_replay how = {.source = "of a test", .n_slots = n_slots};
    double hits = -1;
    hs_err err = {0};
    if (hs_tune_cache(&b->tune, &t, &how, &hits, &err) < 0)
        fail_msg("%s", err.text);
    hs_trace_deinit(&t);
    assert_true(hits >= 0 && hits <= 1);
    assert_string_equal(b->tune.line[0].key, "policy");
    return b->tune.line[0].value;
}

static void a_better_policy(void **state)
{
    bench *b = *state;
    set(b, "cache.policy=lru");
    assert_string_equal(policy_taken(b, TOKENS, 6), "ewma"); /* the default, of those that remember */
    assert_non_null(strstr(b->tune.line[0].why, "Expected: "));
    json_t *sizes = json_object_get(b->tune.figures, "sizes"),
           *last = json_array_get(sizes, json_array_size(sizes) - 1);
    assert_int_equal(json_integer_value(json_object_get(last, "slots")), LAYERS * EXPERTS);
    assert_true(json_real_value(json_object_get(last, "hit_rate")) == 1);
}

static void no_better_policy(void **state)
{
    bench *b = *state;
    set(b, "cache.policy=lru");
    assert_string_equal(policy_taken(b, TOKENS, LAYERS * EXPERTS), "lru"); /* all fit */
    b->tune.n = 0;
    assert_string_equal(policy_taken(b, 8, 6), "lru"); /* too few tokens */
    assert_non_null(strstr(b->tune.line[0].why, "not told apart"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comments, setup, teardown),
        cmocka_unit_test_setup_teardown(as_json, setup, teardown),
        cmocka_unit_test_setup_teardown(gains, setup, teardown),
        cmocka_unit_test_setup_teardown(a_better_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(no_better_policy, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
