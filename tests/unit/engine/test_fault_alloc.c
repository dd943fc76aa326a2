/* labels: unit fault */
/*
 * test_fault_alloc.c - every allocation fails once: bringing a model up, its tokenizer and template, a session, a
 * request. Each is refused with a sentence or ends that one request; nothing leaks, and the next try is right.
 *
 * Loading a tokenizer makes tens of thousands of allocations: each of the first is failed, then those at growing steps,
 * so that every place in the code that allocates often is met many times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "tale.h"

#define DENSE 400 /* allocations that are failed one by one */

static const tale_prompt *prompts;
static uint32_t injected;
static bool with_jansson; /* its allocations fail too; it takes some of them for a mistake in the text */

/* The next allocation to fail after n: each one at first, then ever wider apart. */
static int64_t after(int64_t n)
{
    return n < DENSE ? n + 1 : n + n / 16 + 1;
}

static void check_refusal(const char *what, int64_t n, int code, const hs_err *err)
{
    injected++;
    if (with_jansson && code < 0 && *err->text)
        return;
    if (code != -ENOMEM)
        fail_msg("%s, allocation %lld: %d (%s)", what, (long long)n, code, err->text);
    if (!strstr(err->text, "memory"))
        fail_msg("%s, allocation %lld: '%s' does not tell of memory", what, (long long)n, err->text);
}

static hs_engine_options options(const char *path)
{
    return tale_options((hs_engine_options){.path = path,
                                            .cache_kind = HS_CACHE_PERCENT,
                                            .cache_percent = 3,
                                            .io_buffered = true,
                                            .threads = 1,
                                            .context = 128,
                                            .parallel = 2,
                                            .max_queue = 2,
                                            .without_text = true});
}

/* ---- bringing up ---- */

static void create_all(const char *path, const char *io_engine)
{
    hs_engine_options opt = options(path);
    opt.io_engine = io_engine;
    for (int64_t n = 0;; n = after(n)) {
        hs_engine *e = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = hs_engine_create(&opt, &e, &err);
        int64_t made = hs_mem_count();
        hs_mem_fail_after(-1);
        if (made <= n) {
            assert_int_equal(r, 0);
            assert_true(n > 20);
            hs_engine_destroy(&e);
            return;
        }
        if (r == 0)
            fail_msg("%s, allocation %lld: nobody noticed", path, (long long)n);
        assert_null(e);
        check_refusal(path, n, r, &err);
    }
}

static void test_create(void **state)
{
    (void)state;
    create_all(TALE, "pread");
    create_all(tale_packed(), "pread");
}

static void test_plan(void **state)
{
    (void)state;
    hs_engine_options opt = options(tale_packed());
    for (int64_t n = 0;; n = after(n)) {
        hs_plan p;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = hs_plan_make(&opt, &p, &err);
        int64_t made = hs_mem_count();
        hs_mem_fail_after(-1);
        if (made <= n) {
            assert_int_equal(r, 0);
            return;
        }
        check_refusal("plan", n, r, &err);
    }
}

static void check_tokenizer(const hs_tokenizer *t)
{
    for (uint32_t p = 0; p < TALE_PROMPTS; p++) {
        hs_buf b;
        hs_buf_init(&b, 1 << 16);
        assert_int_equal(hs_tokenizer_decode(t, prompts[p].greedy, prompts[p].n_greedy, true, &b, NULL), 0);
        assert_string_equal(b.data, prompts[p].text);
        hs_buf_deinit(&b);
    }
}

static void test_tokenizer(void **state)
{
    (void)state;
    for (int64_t n = 0;; n = after(n)) {
        hs_tokenizer *t = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = hs_tokenizer_load(TALE, &t, &err);
        int64_t made = hs_mem_count();
        hs_mem_fail_after(-1);
        if (r == 0)
            check_tokenizer(t);
        hs_tokenizer_destroy(&t);
        if (made <= n) {
            assert_int_equal(r, 0);
            print_message("tokenizer: %lld allocations\n", (long long)made);
            return;
        }
        if (r == 0) { /* a block that could not be cut to size stays as it is */
            injected++;
            continue;
        }
        check_refusal("tokenizer", n, r, &err);
    }
}

static void test_template(void **state)
{
    (void)state;
    for (int64_t n = 0;; n = after(n)) {
        hs_template *t = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = hs_template_load(TALE, &t, &err);
        int64_t made = hs_mem_count();
        hs_mem_fail_after(-1);
        hs_template_destroy(&t);
        if (made <= n) {
            assert_true(r == 0 || r == -ENOENT);
            print_message("template: %lld allocations\n", (long long)made);
            return;
        }
        check_refusal("template", n, r, &err);
    }
}

static void test_jansson(void **state)
{
    with_jansson = true;
    json_set_alloc_funcs(hs_malloc, hs_free);
    test_plan(state);
    test_tokenizer(state);
    test_template(state);
    json_set_alloc_funcs(malloc, free);
    with_jansson = false;
}

/* ---- a model that is up ---- */

static void test_session(void **state)
{
    (void)state;
    hs_engine_options opt = options(TALE);
    hs_engine *e = tale_create(opt);
    for (int64_t n = 0;; n++) {
        hs_session *s = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        int r = hs_session_create(e, &s, &err);
        if (r == 0) { /* what follows allocates nothing */
            float *logits = malloc(hs_engine_vocab(e) * sizeof *logits);
            assert_non_null(logits);
            int64_t before = hs_mem_count();
            assert_int_equal(hs_session_prefill(s, prompts[2].ids, prompts[2].n, logits, 1, NULL, NULL, &err), 0);
            assert_int_equal(hs_session_decode(&s, prompts[2].greedy, 1, logits, &err), 0);
            assert_int_equal(hs_mem_count(), before);
            free(logits);
        }
        hs_mem_fail_after(-1);
        hs_session_destroy(&s);
        if (r == 0)
            break;
        check_refusal("session", n, r, &err);
    }
    hs_engine_destroy(&e);
}

static void ask(hs_engine *e, hs_request_options *opt, int64_t n, bool *ret_failed)
{
    hs_request *r = NULL;
    hs_err err = {0};
    hs_buf text;
    hs_buf_init(&text, 1 << 16);
    hs_buf_puts(&text, "");
    /* Room for the answer, so that reading it is not what fails. */
    hs_buf_append(&text, prompts[0].text, strlen(prompts[0].text));
    hs_buf_clear(&text);
    hs_mem_fail_after(n);
    int code = hs_request_submit(e, opt, &r, &err);
    if (code < 0) {
        hs_mem_fail_after(-1);
        check_refusal("submit", n, code, &err);
        assert_null(r);
    } else {
        hs_request_status s = tale_wait(r, &text);
        hs_mem_fail_after(-1);
        if (s.state == HS_REQUEST_FAILED) {
            code = s.error;
            snprintf(err.text, sizeof err.text, "%s", s.error_text);
            check_refusal("request", n, code, &err);
        } else {
            assert_string_equal(text.data ? text.data : "", prompts[0].text);
        }
        hs_request_destroy(&r);
    }
    hs_buf_deinit(&text);
    tale_wait_idle(e);
    const char *wrong = hs__engine_check(e);
    if (wrong)
        fail_msg("%s", wrong);
    *ret_failed = code < 0;
}

/* A request with stop strings, from submit to its last byte. */
static void test_request(void **state)
{
    (void)state;
    static const char *const stop[] = {"no such text", "nor this one"};
    hs_engine_options opt = options(TALE);
    opt.without_text = false;
    hs_engine *e = tale_start(opt);
    hs_request_options q = tale_ask(&prompts[0]);
    q.stop = stop;
    q.n_stop = 2;
    uint32_t failed_in_a_row = 0;
    for (int64_t n = 0; n < 200 && failed_in_a_row < 3; n++) {
        bool failed, again;
        ask(e, &q, n, &failed);
        failed_in_a_row = failed ? 0 : failed_in_a_row + 1;
        if (failed) {
            ask(e, &q, 1 << 20, &again);
            assert_false(again);
        }
    }
    assert_int_equal(failed_in_a_row, 3);
    hs_engine_destroy(&e);
}

static int setup(void **state)
{
    (void)state;
    hs_engine *e = tale_create((hs_engine_options){.context = 128});
    prompts = tale_prompts(e);
    hs_engine_destroy(&e);
    return 0;
}

static int report(void **state)
{
    (void)state;
    print_message("%u faults injected\n", injected);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),   cmocka_unit_test(test_plan),    cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_template), cmocka_unit_test(test_jansson), cmocka_unit_test(test_session),
        cmocka_unit_test(test_request),
    };
    return cmocka_run_group_tests(tests, setup, report);
}
