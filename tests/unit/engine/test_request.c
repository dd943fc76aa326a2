/* labels: unit golden */
/*
 * test_request.c - one request at a time: golden answers, where they end, what is refused, and the text as it comes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sanitized.h"
#include "tale.h"

static hs_engine *engine;
static const tale_prompt *prompts;
static hs_buf text;

static int setup(void **state)
{
    (void)state;
    engine = tale_start((hs_engine_options){.context = 400, .max_queue = 4, .prefetch = true});
    prompts = tale_prompts(engine);
    hs_buf_init(&text, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hs_buf_deinit(&text);
    hs_engine_destroy(&engine);
    return 0;
}

static hs_request_status run(const hs_request_options *opt)
{
    hs_buf_clear(&text);
    hs_buf_puts(&text, "");
    return tale_run(engine, opt, &text);
}

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < TALE_PROMPTS; i++) {
        hs_request_options opt = tale_ask(&prompts[i]);
        hs_request_status s = run(&opt);
        assert_int_equal(s.state, HS_REQUEST_DONE);
        assert_int_equal(s.finish, HS_FINISH_LENGTH);
        assert_int_equal(s.error, 0);
        assert_string_equal(text.data, prompts[i].text);
        assert_int_equal(s.receipt.prompt_tokens, prompts[i].n);
        assert_int_equal(s.receipt.generated_tokens, prompts[i].n_greedy);
        assert_int_equal(s.prefill_total, prompts[i].n * 6);
        assert_int_equal(s.prefill_done, s.prefill_total);
        assert_int_equal(s.prefill_tokens, prompts[i].n);
        assert_true(s.receipt.prefill_s > 0 && s.receipt.decode_s > 0 && s.receipt.queue_s >= 0);
    }
}

static void test_max_tokens(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 5; n++) {
        hs_request_options opt = tale_ask(&prompts[0]);
        opt.max_tokens = n;
        hs_request_status s = run(&opt);
        assert_int_equal(s.finish, HS_FINISH_LENGTH);
        assert_int_equal(s.receipt.generated_tokens, n);
        assert_memory_equal(prompts[0].text, text.data, text.len);
    }
    /* What the context leaves: the whole of it, or what fits behind the prompt. */
    hs_request_options opt = tale_ask(&prompts[4]);
    opt.max_tokens = 0;
    assert_int_equal(run(&opt).receipt.generated_tokens, 400 - prompts[4].n);
    opt.max_tokens = 399;
    assert_int_equal(run(&opt).receipt.generated_tokens, 400 - prompts[4].n);
}

/* The trained model ends its stories itself. */
static void test_end_token(void **state)
{
    (void)state;
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.max_tokens = 0;
    opt.ignore_eos = false;
    hs_request_status s = run(&opt);
    if (s.finish == HS_FINISH_STOP)
        assert_true(s.receipt.generated_tokens < 400 - prompts[0].n);
    /* An end token that comes first gives an empty answer. */
    uint32_t eos = engine->opened.spec->eos[0];
    engine->opened.spec->eos[0] = prompts[0].greedy[0];
    s = run(&opt);
    assert_int_equal(s.state, HS_REQUEST_DONE);
    assert_int_equal(s.finish, HS_FINISH_STOP);
    assert_int_equal(s.receipt.generated_tokens, 1);
    assert_int_equal(text.len, 0);
    engine->opened.spec->eos[0] = eos;
}

static void refused(const hs_request_options *opt, int code, const char *part)
{
    hs_request *r = NULL;
    hs_err err = {0};
    assert_int_equal(hs_request_submit(engine, opt, &r, &err), code);
    assert_null(r);
    if (!strstr(err.text, part))
        fail_msg("'%s' does not say '%s'", err.text, part);
}

static void test_refusals(void **state)
{
    (void)state;
    static uint32_t many[600];
    static const char long_stop[258] = {[0 ... 256] = 'x'};
    const char *stops[17] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"};
    hs_request_options opt = tale_ask(&prompts[0]), good = opt;
    opt.n_tokens = 0;
    refused(&opt, -EINVAL, "empty");
    opt = good;
    opt.tokens = many;
    opt.n_tokens = 400;
    refused(&opt, -E2BIG, "400");
    opt.n_tokens = 600;
    refused(&opt, -E2BIG, "600");
    opt = good;
    opt.max_tokens = 400;
    refused(&opt, -E2BIG, "max_tokens");
    opt = good;
    many[3] = 4096;
    opt.tokens = many;
    refused(&opt, -EINVAL, "4096");
    many[3] = 0;
    opt = good;
    opt.sampling.temperature = -1;
    refused(&opt, -EINVAL, "temperature");
    opt = good;
    opt.sampling.top_p = 0;
    refused(&opt, -EINVAL, "top_p");
    opt = good;
    opt.sampling.min_p = 1;
    refused(&opt, -EINVAL, "min_p");
    opt = good;
    opt.shown = many;
    opt.n_shown = 9;
    refused(&opt, -EINVAL, "9 special tokens");
    opt = good;
    opt.stop = stops;
    opt.n_stop = 17;
    refused(&opt, -EINVAL, "17");
    opt.n_stop = 1;
    stops[0] = "";
    refused(&opt, -EINVAL, "0 bytes");
    stops[0] = long_stop;
    refused(&opt, -EINVAL, "257 bytes");
    tale_wait_idle(engine);
    /* The longest prompt there can be has an answer of one token. */
    opt = good;
    opt.tokens = many;
    opt.n_tokens = 399;
    opt.max_tokens = 100;
    assert_int_equal(run(&opt).receipt.generated_tokens, 1);
}

static void test_without_tokenizer(void **state)
{
    (void)state;
    hs_engine *e = tale_start((hs_engine_options){.context = 64, .without_text = true});
    hs_request_options opt = tale_ask(&prompts[0]);
    hs_request *r = NULL;
    hs_err err = {0};
    assert_int_equal(hs_request_submit(e, &opt, &r, &err), -EINVAL);
    assert_non_null(strstr(err.text, "tokenizer"));
    assert_int_equal(hs_engine_start(e, &err), -EALREADY);
    hs_session *s = NULL;
    assert_int_equal(hs_session_create(e, &s, &err), -EBUSY);
    hs_engine_destroy(&e);
}

/* The answer with `stop` is the one without, up to where it occurs first. */
static void check_stop(hs_request_options opt, const char *whole, const char *stop)
{
    const char *at = strstr(whole, stop);
    opt.stop = &stop;
    opt.n_stop = 1;
    hs_request_status s = run(&opt);
    assert_int_equal(s.state, HS_REQUEST_DONE);
    assert_int_equal(s.finish, at ? HS_FINISH_STOP : HS_FINISH_LENGTH);
    size_t len = at ? (size_t)(at - whole) : strlen(whole);
    if (text.len != len || memcmp(text.data, whole, len))
        fail_msg("stop '%s': '%s' is not the first %zu bytes of '%s'", stop, text.data, len, whole);
}

static void test_stop(void **state)
{
    (void)state;
    const tale_prompt *p = &prompts[2];
    hs_request_options opt = tale_ask(p);
    opt.max_tokens = 20;
    run(&opt);
    char whole[512], stop[16];
    snprintf(whole, sizeof whole, "%s", text.data);
    /* Pieces of every length at many places: inside a token, at its border, over several. */
    for (size_t at = 0; at + 12 < strlen(whole); at += SANITIZED ? 17 : 7) {
        size_t n = 1 + at % 12;
        memcpy(stop, whole + at, n);
        stop[n] = '\0';
        check_stop(opt, whole, stop);
    }
    /* Begins like the text's end, and never comes. */
    snprintf(stop, sizeof stop, "%s~", whole + strlen(whole) - 5);
    check_stop(opt, whole, stop);
}

/* Text of many bytes outside ASCII: a hot sampler takes tokens from anywhere in the vocabulary. */
static hs_request_options hot(uint64_t seed)
{
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.max_tokens = 60;
    opt.sampling = (hs_sampling){.temperature = 50, .top_p = 1, .seed = seed};
    return opt;
}

static void test_stop_utf8(void **state)
{
    (void)state;
    uint32_t found = 0;
    for (uint64_t seed = 1; seed <= 8; seed += SANITIZED ? 2 : 1) {
        hs_request_options opt = hot(seed);
        run(&opt);
        char whole[2048], stop[8] = "";
        snprintf(whole, sizeof whole, "%s", text.data);
        for (const char *c = whole; *c; c++) {
            if ((unsigned char)*c < 0xc0)
                continue;
            size_t n = 1;
            while (((unsigned char)c[n] & 0xc0) == 0x80)
                n++;
            memcpy(stop, c, n);
            stop[n] = '\0';
            check_stop(opt, whole, stop);
            found++;
            break;
        }
    }
    assert_true(found >= (SANITIZED ? 2 : 4));
}

static bool is_whole_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
        if (!len || i + len > n)
            return false;
        for (size_t k = 1; k < len; k++)
            if (((unsigned char)s[i + k] & 0xc0) != 0x80)
                return false;
        i += len;
    }
    return true;
}

/* Whatever the reader's buffer, it gets whole characters, and all of them. */
static void test_small_reads(void **state)
{
    (void)state;
    for (size_t cap = 4; cap <= 9; cap += SANITIZED ? 2 : 1) {
        hs_request_options opt = hot(3);
        run(&opt);
        hs_request *r = tale_submit(engine, &opt);
        char piece[16];
        size_t at = 0;
        for (;;) {
            hs_request_status s;
            hs_request_get_status(r, &s);
            size_t n = hs_request_read(r, piece, cap);
            assert_true(n <= cap && is_whole_utf8(piece, n));
            assert_memory_equal(text.data + at, piece, n);
            at += n;
            if (!n && s.state >= HS_REQUEST_DONE)
                break;
            if (!n)
                tale_sleep_ms(1);
        }
        assert_int_equal(at, text.len);
        hs_request_destroy(&r);
    }
}

static void test_seed(void **state)
{
    (void)state;
    hs_request_options opt = tale_ask(&prompts[0]);
    opt.sampling = (hs_sampling){.temperature = 1, .top_p = 0.95f, .seed = 7};
    run(&opt);
    char first[1024];
    snprintf(first, sizeof first, "%s", text.data);
    run(&opt);
    assert_string_equal(text.data, first);
    opt.sampling.seed = 8;
    run(&opt);
    assert_string_not_equal(text.data, first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),    cmocka_unit_test(test_max_tokens),        cmocka_unit_test(test_end_token),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_without_tokenizer), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_utf8), cmocka_unit_test(test_small_reads),       cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
