/* labels: unit */
/* test_heat.c - which experts were used is kept, found again, and never trusted. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/heat.h"
#include "machine.h"
#include "tale.h"

static char dir[100], file[500];

static int set_up(void **state)
{
    int r = machine_create(state);
    snprintf(dir, sizeof dir, "%s/state", machine_root);
    *file = '\0';
    return r;
}

static hs_engine *open_engine(const char *profile)
{
    return tale_create((hs_engine_options){.state_dir = dir, .profile = profile, .preload_s = 60});
}

static void start(hs_engine *e)
{
    hs_err err = {0};
    assert_int_equal(hs_engine_start(e, &err), 0);
}

static void ask(hs_engine *e, uint32_t prompt)
{
    const tale_prompt *p = &tale_prompts(e)[prompt];
    hs_request_options o = tale_ask(p);
    hs_buf text;
    hs_buf_init(&text, sizeof p->text);
    hs_buf_puts(&text, "");
    assert_int_equal(tale_run(e, &o, &text).state, HS_REQUEST_DONE);
    assert_string_equal(text.data, p->text);
    hs_buf_deinit(&text);
}

static void save(hs_engine *e)
{
    hs_err err = {0};
    if (hs_engine_save_heat(e, &err) < 0)
        fail_msg("%s", err.text);
}

/* The only file in the folder, if there is one. */
static uint32_t count_files(void)
{
    uint32_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        if (*f->d_name == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", dir, f->d_name);
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

static void keep_something(const char *profile)
{
    hs_engine *e = open_engine(profile);
    start(e);
    ask(e, 0);
    save(e);
    hs_engine_destroy(&e);
}

static void wait_preloaded(hs_engine *e)
{
    for (uint32_t ms = 0; hs_engine_get_stats(e).is_preloading; ms++) {
        assert_true(ms < 60000);
        tale_sleep_ms(1);
    }
}

static uint32_t known(const hs_engine *e)
{
    const uint32_t *objects, *uses;
    uint32_t tokens, n = hs__heat_order(e->heat, &objects, &uses, &tokens);
    for (uint32_t i = 1; i < n; i++)
        assert_true(uses[i] <= uses[i - 1] && uses[i] > 0);
    return n;
}

static void what_was_used_is_there_at_the_next_start(void **state)
{
    (void)state;
    hs_engine *e = open_engine("default");
    assert_int_equal(known(e), 0);
    start(e);
    assert_false(hs_engine_get_stats(e).is_preloading);
    save(e);
    assert_int_equal(count_files(), 0); /* nothing was used */
    ask(e, 0);
    save(e);
    assert_int_equal(count_files(), 1);
    hs_engine_destroy(&e);

    e = open_engine("default");
    const tale_prompt *p = &tale_prompts(e)[0];
    const uint32_t *objects, *uses;
    uint32_t tokens, n = hs__heat_order(e->heat, &objects, &uses, &tokens), sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += uses[i];
    assert_int_equal(tokens, p->n + p->n_greedy - 1); /* the last one is not fed */
    assert_int_equal(sum, tokens * TALE_PER_TOKEN);
    start(e);
    wait_preloaded(e);
    hs_engine_stats s = hs_engine_get_stats(e);
    uint32_t most = n < e->plan.n_slots ? n : e->plan.n_slots;
    assert_int_equal(s.resident, most);
    assert_int_equal(s.preload_total, most);
    assert_int_equal(s.preload_done, most);
    assert_int_equal(s.demand_bytes, 0);
    ask(e, 0);
    save(e);
    hs_engine_destroy(&e);
    e = open_engine("default");
    hs__heat_order(e->heat, &objects, &uses, &tokens);
    assert_int_equal(tokens, 2 * (p->n + p->n_greedy - 1)); /* both runs */
    hs_engine_destroy(&e);
}

static void profiles_are_apart(void **state)
{
    (void)state;
    hs_err err = {0};
    keep_something("code");
    hs_engine *e = open_engine("prose");
    assert_int_equal(known(e), 0);
    hs_engine_destroy(&e);
    e = open_engine("code");
    assert_true(known(e) > 0);
    hs_engine_destroy(&e);
    for (int i = 0; i < 3; i++) {
        hs_engine_options o = tale_options(
            (hs_engine_options){.state_dir = dir, .profile = ((const char *[]){"", "../code", "a profile"})[i]});
        assert_int_equal(hs_engine_create(&o, &e, &err), -EINVAL);
        assert_non_null(strstr(err.text, "expert_profile"));
    }
}

static void without_a_folder_nothing_is_kept(void **state)
{
    (void)state;
    hs_engine *e = tale_start((hs_engine_options){.state_dir = "", .profile = "default", .preload_s = 60});
    assert_null(e->heat);
    ask(e, 0);
    save(e);
    hs_engine_destroy(&e);
    /* Where nothing can be written it is said, and nothing else happens. */
    machine_put("/state", "a file");
    e = open_engine("default");
    start(e);
    ask(e, 0);
    hs_err err = {0};
    assert_true(hs_engine_save_heat(e, &err) < 0);
    assert_non_null(strstr(err.text, dir));
    ask(e, 1);
    hs_engine_destroy(&e);
}

/* Each byte changed, each length: an error or the same; under sanitizers no more than that. */
static void damaged_files_are_refused(void **state)
{
    (void)state;
    keep_something("default");
    assert_int_equal(count_files(), 1);
    hs_engine *e = open_engine("default");
    const uint8_t *id = hs_source_identity(e->opened.source);
    uint32_t layers = e->opened.spec->n_moe_layers, experts = e->opened.spec->n_experts;
    uint32_t *uses = hs_calloc((size_t)layers * experts, sizeof *uses);
    char *data;
    size_t len;
    hs_err err = {0};
    assert_int_equal(hs_file_read(file, 1 << 20, &data, &len, &err), 0);
    assert_int_equal(hs__heat_parse(data, len, id, layers, experts, uses, &err), 0);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(hs__heat_parse(data, n, id, layers, experts, uses, &err), -EBADMSG);
    for (size_t i = 0; i < len; i++) {
        data[i] ^= 1 << i % 8;
        assert_int_equal(hs__heat_parse(data, len, id, layers, experts, uses, &err), -EBADMSG);
        data[i] ^= 1 << i % 8;
    }
    assert_int_equal(hs__heat_parse(data, len, id, layers - 1, experts, uses, &err), -EBADMSG);
    assert_int_equal(hs__heat_parse(data, len, (const uint8_t *)"0123456789abcdef", layers, experts, uses, &err),
                     -EBADMSG);
    assert_non_null(strstr(err.text, "another model"));
    hs_engine_destroy(&e);

    data[len / 2] ^= 4;
    assert_int_equal(hs_file_write_atomic(file, data, len, &err), 0);
    e = open_engine("default"); /* a warning */
    assert_int_equal(known(e), 0);
    start(e);
    ask(e, 0);
    save(e); /* written anew */
    hs_engine_destroy(&e);
    e = open_engine("default");
    assert_true(known(e) > 0);
    hs_engine_destroy(&e);
    hs_free(data);
    hs_free(uses);
}

static void requests_are_answered_while_it_is_read(void **state)
{
    (void)state;
    keep_something("default");
    hs_engine *e = open_engine("default");
    start(e);
    ask(e, 1);
    ask(e, 2);
    wait_preloaded(e);
    ask(e, 3);
    hs_engine_destroy(&e);
}

static void its_time_is_bounded(void **state)
{
    (void)state;
    keep_something("default");
    hs_engine *e = open_engine("default");
    e->preload_s = 1;
    start(e);
    hs_mutex_lock(&e->lock); /* the engine thread does not get far */
    uint64_t until = hs_now_ns() + 1100000000ull;
    while (hs_now_ns() < until)
        tale_sleep_ms(10);
    hs_mutex_unlock(&e->lock);
    wait_preloaded(e);
    hs_engine_destroy(&e);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, machine_destroy)
    const struct CMUnitTest tests[] = {
        CASE(what_was_used_is_there_at_the_next_start), CASE(profiles_are_apart),
        CASE(without_a_folder_nothing_is_kept),         CASE(damaged_files_are_refused),
        CASE(requests_are_answered_while_it_is_read),   CASE(its_time_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
