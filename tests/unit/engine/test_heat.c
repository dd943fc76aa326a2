/* labels: unit */
/* test_heat.c - which experts were used is kept, found again, and never trusted. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/heat.h"
#include "machine.h"
#include "sanitized.h"
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

/* Generated tokens where it does not matter how many. */
#define SOME_TOKENS (SANITIZED ? 6u : 40u)

/* The answer's first tokens, for this profile; NULL = the engine's. What it cost. */
static hs_receipt ask_some(hs_engine *e, uint32_t prompt, const char *profile, uint32_t most)
{
    const tale_prompt *p = &tale_prompts(e)[prompt];
    hs_request_options o = tale_ask(p);
    o.profile = profile;
    o.max_tokens = o.max_tokens < most ? o.max_tokens : most;
    hs_buf text;
    hs_buf_init(&text, sizeof p->text);
    hs_request_status s = tale_run(e, &o, &text);
    assert_int_equal(s.state, HS_REQUEST_DONE);
    assert_true(text.len > 0);
    assert_memory_equal(text.data, p->text, text.len);
    hs_buf_deinit(&text);
    return s.receipt;
}

static hs_receipt ask_for(hs_engine *e, uint32_t prompt, const char *profile)
{
    return ask_some(e, prompt, profile, SOME_TOKENS);
}

static void ask(hs_engine *e, uint32_t prompt)
{
    ask_some(e, prompt, NULL, UINT32_MAX);
}

static void save(hs_engine *e)
{
    hs_err err = {0};
    if (hs_engine_save_learnt(e, &err) < 0)
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

/* A request's end is told before what it has begun: all that began have ended here, so wait for that, too. */
static bool is_reading(const hs_engine *e)
{
    hs_profile p;
    uint64_t begun = 0;
    for (uint32_t i = 0; hs_engine_get_profile(e, i, &p); i++)
        begun += p.requests;
    hs_engine_stats s = hs_engine_get_stats(e);
    return s.requests_done < begun || s.is_preloading || s.is_following;
}

static void wait_preloaded(hs_engine *e)
{
    for (uint32_t ms = 0; is_reading(e); ms++) {
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

static hs_profile profile_of(const hs_engine *e, const char *name)
{
    hs_profile p;
    for (uint32_t i = 0; hs_engine_get_profile(e, i, &p); i++)
        if (!strcmp(p.name, name))
            return p;
    fail_msg("no profile %s", name);
    return p;
}

static uint64_t uses_in(const char *profile)
{
    uint64_t sum = 0;
    hs_engine *e = open_engine(profile);
    const uint32_t *objects, *uses;
    uint32_t tokens, n = hs__heat_order(e->heat, &objects, &uses, &tokens);
    for (uint32_t i = 0; i < n; i++)
        sum += uses[i];
    hs_engine_destroy(&e);
    return sum;
}

/* Each request counts where it says, side by side, too, and nowhere else; the answers are the same. */
static void a_request_names_its_profile(void **state)
{
    (void)state;
    hs_engine *e = tale_start((hs_engine_options){.state_dir = dir, .profile = "default", .parallel = 2});
    hs_receipt a = ask_for(e, 0, "code"), b = ask_for(e, 1, "prose"), c = ask_for(e, 2, NULL);
    const tale_prompt *p = tale_prompts(e);
    hs_request_options o[2] = {tale_ask(&p[3]), tale_ask(&p[4])};
    o[0].max_tokens = o[1].max_tokens = SOME_TOKENS;
    o[0].profile = "code";
    o[1].profile = "prose";
    hs_request *q[2] = {tale_submit(e, &o[0]), tale_submit(e, &o[1])};
    hs_receipt d = tale_wait(q[0], NULL).receipt, f = tale_wait(q[1], NULL).receipt;
    for (int i = 0; i < 2; i++)
        hs_request_destroy(&q[i]);
    hs_profile code = profile_of(e, "code"), prose = profile_of(e, "prose"), own = profile_of(e, "default");
    assert_int_equal(code.requests, 2);
    assert_int_equal(prose.requests, 2);
    assert_int_equal(own.requests, 1);
    assert_int_equal(code.expert_hits, a.expert_hits + d.expert_hits);
    assert_int_equal(code.expert_misses, a.expert_misses + d.expert_misses);
    assert_int_equal(prose.expert_misses, b.expert_misses + f.expert_misses);
    assert_int_equal(own.expert_misses, c.expert_misses);
    save(e);
    hs_engine_destroy(&e);
    assert_int_equal(count_files(), 3);
    assert_int_equal(uses_in("code"), code.expert_hits + code.expert_misses);
    assert_int_equal(uses_in("prose"), prose.expert_hits + prose.expert_misses);
    assert_int_equal(uses_in("default"), own.expert_hits + own.expert_misses);
    assert_int_equal(uses_in("another"), 0);
}

/* A short request brings its profile; what that used most is in memory when the next one comes, also where the memory
 * is full of something else. */
static hs_receipt after_a_visit(const char *profile, uint64_t *ret_ahead)
{
    hs_engine *e = tale_create((hs_engine_options){
        .state_dir = dir, .profile = "default", .preload_s = 60, .cache_kind = HS_CACHE_PERCENT, .cache_percent = 50});
    start(e);
    for (uint32_t p = 1; p < 3; p++) {
        ask_for(e, p, NULL);
        wait_preloaded(e);
    }
    assert_int_equal(hs_engine_get_stats(e).resident, e->plan.n_slots);
    hs_request_options o = tale_ask(&tale_prompts(e)[4]);
    o.max_tokens = 1;
    o.n_tokens = 1;
    o.profile = profile;
    assert_int_equal(tale_run(e, &o, NULL).state, HS_REQUEST_DONE);
    wait_preloaded(e);
    *ret_ahead = hs_engine_get_stats(e).speculative_bytes;
    hs_receipt cost = ask_for(e, 0, profile);
    hs_engine_destroy(&e);
    return cost;
}

static void what_a_profile_used_is_read_when_it_comes_back(void **state)
{
    (void)state;
    hs_engine *e = open_engine("default");
    start(e);
    ask_for(e, 0, "code");
    ask_for(e, 0, "code");
    save(e);
    hs_engine_destroy(&e);
    uint64_t ahead, ahead_of_new;
    hs_receipt known = after_a_visit("code", &ahead), unknown = after_a_visit("new", &ahead_of_new);
    assert_true(ahead > ahead_of_new);
    if (known.expert_misses >= unknown.expert_misses)
        fail_msg("%llu misses with its profile, %llu without", (unsigned long long)known.expert_misses,
                 (unsigned long long)unknown.expert_misses);
}

static void there_is_a_most(void **state)
{
    (void)state;
    hs_engine *e = open_engine("default");
    start(e);
    hs_err err = {0};
    char name[60];
    static const char *const bad[] = {"", "../code", "a b", "\xc3\xa4", "a.tmp"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hs_engine_add_profile(e, bad[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, "expert_profile"));
    }
    memset(name, 'x', HS_PROFILE_NAME + 1);
    name[HS_PROFILE_NAME + 1] = '\0';
    assert_int_equal(hs_engine_add_profile(e, name, &err), -EINVAL);
    name[HS_PROFILE_NAME] = '\0';
    assert_int_equal(hs_engine_add_profile(e, name, &err), 0);
    for (uint32_t i = 2; i < HS_MAX_PROFILES; i++) {
        snprintf(name, sizeof name, "p%u", i);
        assert_int_equal(hs_engine_add_profile(e, name, &err), 0);
        assert_int_equal(hs_engine_add_profile(e, name, &err), 0); /* the same */
    }
    assert_int_equal(hs_engine_add_profile(e, "one-more", &err), -EINVAL);
    assert_non_null(strstr(err.text, "one-more"));
    hs_request_options o = tale_ask(&tale_prompts(e)[0]);
    hs_request *q = NULL;
    o.profile = "one-more";
    assert_int_equal(hs_request_submit(e, &o, &q, &err), -EINVAL);
    ask_for(e, 0, "p2");
    ask_for(e, 0, NULL);
    /* Files of more: the rest is left alone. */
    save(e);
    assert_int_equal(count_files(), 2);
    char *data;
    size_t len;
    assert_int_equal(hs_file_read(file, 1 << 20, &data, &len, &err), 0);
    for (uint32_t i = 0; i < HS_MAX_PROFILES + 3; i++) {
        snprintf(strrchr(file, '-'), 20, "-q%u", i);
        assert_int_equal(hs_file_write_atomic(file, data, len, &err), 0);
    }
    hs_free(data);
    hs_engine_destroy(&e);
    e = open_engine("q7"); /* its own is among them whatever there is */
    hs_profile p;
    uint32_t n = 0;
    while (hs_engine_get_profile(e, n, &p))
        n++;
    assert_int_equal(n, HS_MAX_PROFILES);
    assert_true(known(e) > 0);
    hs_engine_destroy(&e);
    assert_int_equal(count_files(), HS_MAX_PROFILES + 5);
}

/* What requests without a name count for may change while it runs. */
static void its_own_profile_may_change(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_engine *e = open_engine("default");
    start(e);
    ask_for(e, 0, NULL);
    assert_int_equal(hs_engine_set_profile(e, "not a name", &err), -EINVAL);
    ask_for(e, 0, NULL);
    assert_int_equal(hs_engine_set_profile(e, "evening", &err), 0);
    ask_for(e, 1, NULL);
    assert_int_equal(profile_of(e, "default").requests, 2);
    assert_int_equal(profile_of(e, "evening").requests, 1);
    hs_engine_destroy(&e);
}

/* A process that is killed while it saves leaves files that are whole. */
static void a_kill_leaves_whole_files(void **state)
{
    (void)state;
    keep_something("default");
    hs_err err = {0};
    hs_engine_options o = tale_options((hs_engine_options){.state_dir = dir, .profile = "default"});
    hs__opened opened; /* no engine: it has threads, and this forks */
    hs__heat *h = NULL;
    assert_int_equal(hs__open(&o, &opened, &err), 0);
    assert_int_equal(hs__heat_create(&o, &opened, &h, &err), 0);
    const uint8_t *id = hs_source_identity(opened.source);
    uint32_t layers = opened.spec->n_moe_layers, experts = opened.spec->n_experts;
    uint32_t *uses = hs_calloc((size_t)layers * experts, sizeof *uses);
    char *data;
    size_t len;
    for (uint32_t round = 0; round < 12; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            for (uint32_t x = 0;; x = (x + 1) % experts) {
                hs__heat_use(h, 0, opened.spec->moe_layer_number[0], &x, 1);
                if (hs__heat_save(h, &err) < 0)
                    _exit(1);
            }
        }
        tale_sleep_ms(1 + round % 7);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        snprintf(file, sizeof file, "%s/", dir);
        hs__heat_file_prefix(id, file + strlen(file));
        snprintf(file + strlen(file), 10, "default");
        assert_int_equal(hs_file_read(file, 1 << 20, &data, &len, &err), 0);
        assert_int_equal(hs__heat_parse(data, len, id, layers, experts, uses, &err), 0);
        hs_free(data);
    }
    hs_free(uses);
    hs__heat_destroy(&h);
    hs__close(&opened);
    hs_engine *e = open_engine("default"); /* a .tmp that is left is no profile */
    hs_profile p;
    assert_false(hs_engine_get_profile(e, 1, &p));
    hs_engine_destroy(&e);
}

static void without_a_folder_nothing_is_kept(void **state)
{
    (void)state;
    hs_engine *e = tale_start((hs_engine_options){.state_dir = "", .profile = "default", .preload_s = 60});
    ask(e, 0);
    ask_for(e, 1, "code"); /* counted all the same */
    save(e);
    assert_int_equal(count_files(), 0);
    assert_int_equal(profile_of(e, "code").requests, 1);
    hs_engine_destroy(&e);
    e = tale_start((hs_engine_options){.state_dir = dir});
    const tale_prompt *p = &tale_prompts(e)[0];
    hs_request_options o = tale_ask(p);
    o.profile = "code"; /* nothing is counted: refused, not ignored */
    hs_request *q = NULL;
    hs_err refused = {0};
    assert_int_equal(hs_request_submit(e, &o, &q, &refused), -EINVAL);
    assert_non_null(strstr(refused.text, "expert_profile"));
    hs_engine_destroy(&e);
    /* Where nothing can be written it is said, and nothing else happens. */
    machine_put("/state", "a file");
    e = open_engine("default");
    start(e);
    ask(e, 0);
    hs_err err = {0};
    assert_true(hs_engine_save_learnt(e, &err) < 0);
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
        CASE(what_was_used_is_there_at_the_next_start),
        CASE(profiles_are_apart),
        CASE(without_a_folder_nothing_is_kept),
        CASE(damaged_files_are_refused),
        CASE(a_request_names_its_profile),
        CASE(what_a_profile_used_is_read_when_it_comes_back),
        CASE(there_is_a_most),
        CASE(its_own_profile_may_change),
        CASE(a_kill_leaves_whole_files),
        CASE(requests_are_answered_while_it_is_read),
        CASE(its_time_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
