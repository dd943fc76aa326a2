/* labels: unit fault, all: unit fault slow */
/*
 * test_fault_read.c - every read that a request makes goes wrong once, in every way: the request gets its tokens or the
 * right error, nothing stays behind, and the next request gets its tokens. The same for every read of loading.
 *
 *   engine_test_fault_read [all]      without "all" every fifth read, under sanitizers fewer; others for each way
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "question.h"
#include "residency/residency_int.h"
#include "sanitized.h"
#include "tale.h"
#include "unit/store/engines.h"

#define PROMPTS 4u
#define PROMPT  2u /* that is asked alone */
#define TOKENS  QUESTION_TOKENS
#define EXPERTS (5 * 64)

typedef struct fault {
    const char *name;
    fault_order order;    /* but which read; sticky: reading once more does not help */
    int packed, plain;    /* what a request that needs the place gets: 0 = its tokens; 1 = does not apply */
    const char *sentence; /* has this */
} fault;

static const fault faults[] = {
    {"EIO once", {.kind = FAULT_ERRNO, .error = EIO}, 0, 0, ""},
    {"EIO", {.kind = FAULT_ERRNO, .error = EIO, .sticky = true}, -EIO, -EIO, "Input/output error"},
    {"a part of the bytes", {.kind = FAULT_SHORT, .short_bytes = 5000}, 0, 0, ""},
    {"the file ends early", {.kind = FAULT_SHORT, .sticky = true}, -ENODATA, -ENODATA, ""},
    {"late", {.kind = FAULT_LATE}, 0, 0, ""},
    {"corrupted once", {.kind = FAULT_CORRUPT}, 0, 1, ""},
    {"corrupted", {.kind = FAULT_CORRUPT, .sticky = true}, -EBADMSG, 1, "checksum"},
};
#define N_FAULTS (sizeof faults / sizeof *faults)

typedef struct bed {
    fault_engine *drive;
    hs_io_config how;
    hs_engine *e;
    bool packed, prefetch;
    hs_buf text;
} bed;

static question questions[PROMPTS];
static const tale_prompt *prompts;
static uint32_t injected, too_slow;
static uint32_t every = SANITIZED_THREADS ? 45 : SANITIZED ? 20 : 5;
#define SLOWER (SANITIZED ? 4u : 1u) /* so much more patience: a read that does come back shall come in time */

static bool warm; /* experts stay compressed in the cache */

static hs_engine_options options(const bed *b)
{
    return tale_options((hs_engine_options){.path = b->packed ? tale_packed() : TALE,
                                            .cache_kind = HS_CACHE_PERCENT,
                                            .cache_percent = 3,
                                            .warm_tier = warm ? HS_WARM_ON : HS_WARM_OFF,
                                            .io_buffered = true,
                                            .io_verify_always = true,
                                            .threads = 1,
                                            .prefetch = b->prefetch,
                                            .context = 128,
                                            .parallel = 4,
                                            .max_queue = 4});
}

/* The struct is not freed: reads that never come back are the drive's for good. */
static bed *bed_create(bool packed, bool prefetch, uint64_t patience_ms)
{
    static bed *beds[64];
    static uint32_t n;
    bed *b = beds[n++ % 64] = calloc(1, sizeof *b);
    *b = (bed){.packed = packed, .prefetch = prefetch};
    b->drive = fault_engine_create(false);
    hs_buf_init(&b->text, 1 << 16);
    b->how = (hs_io_config){.custom = &fault_engine_ops, .custom_ctx = b->drive, .patience_ns = patience_ms * 1000000};
    return b;
}

/* patience_ms: more where this machine is so slow that even a good drive exhausts it. */
static bed *bed_start(bool packed, bool prefetch, uint64_t patience_ms)
{
    bed *b;
    hs_err err = {0};
    for (int r = -1; r < 0; patience_ms *= 2) {
        b = bed_create(packed, prefetch, patience_ms);
        hs_engine_options opt = options(b);
        r = hs__engine_create(&opt, &b->how, &b->e, &err);
        if (r < 0 && (r != -ETIMEDOUT || !patience_ms || patience_ms > 60000))
            fail_msg("%s", err.text);
    }
    tale_stay_packed(b->e);
    if (hs_engine_start(b->e, &err) < 0)
        fail_msg("%s", err.text);
    return b;
}

/* After all that: a whole answer of the reference's. */
static void bed_end(bed *b)
{
    if (b->e) {
        hs_request_options opt = tale_ask(&prompts[0]);
        hs_buf_clear(&b->text);
        assert_int_equal(tale_run(b->e, &opt, &b->text).state, HS_REQUEST_DONE);
        assert_string_equal(b->text.data, prompts[0].text);
    }
    hs_engine_destroy(&b->e);
    hs_buf_deinit(&b->text);
    fault_engine_destroy(&b->drive);
}

static hs_request_status run(bed *b, uint32_t tokens)
{
    hs_request_options opt = question_ask(&questions[PROMPT], tokens);
    hs_buf_clear(&b->text);
    hs_buf_puts(&b->text, "");
    return tale_run(b->e, &opt, &b->text);
}

static void check_right(const hs_request_status *s, const hs_buf *text, uint32_t p, uint32_t tokens)
{
    const char *want = questions[p].text[tokens];
    if (s->state != HS_REQUEST_DONE)
        fail_msg("prompt %u: %s", p, s->error_text);
    assert_int_equal(s->receipt.generated_tokens, tokens);
    if (strcmp(text->data, want))
        fail_msg("prompt %u: '%s' instead of '%s'", p, text->data, want);
}

static void check_clean(bed *b)
{
    tale_wait_idle(b->e);
    const char *wrong = hs__engine_check(b->e);
    if (wrong)
        fail_msg("%s", wrong);
}

/* Nothing stays behind, and the next request gets its tokens. */
static void check_after(bed *b)
{
    check_clean(b);
    hs_request_status s = run(b, 2);
    check_right(&s, &b->text, PROMPT, 2);
}

static void check_failed(const bed *b, const hs_request_status *s, int code, const char *sentence)
{
    assert_int_equal(s->state, HS_REQUEST_FAILED);
    if (s->error != code || !strstr(s->error_text, sentence) ||
        !strstr(s->error_text, b->packed ? "experts-00000.hss, record" : "model.safetensors"))
        fail_msg("%d (%s) instead of %d with '%s'", s->error, s->error_text, code, sentence);
}

/* ---- while a request runs ---- */

/* From here on read n goes wrong as f says. */
static void arm(bed *b, const fault *f, uint32_t n)
{
    fault_order order = f->order;
    order.first = n;
    fault_engine_arm(b->drive, &order);
}

static void hold_back(bed *b, uint32_t n, bool sticky)
{
    fault_engine_arm(b->drive, &(fault_order){.kind = FAULT_NEVER, .first = n, .sticky = sticky});
}

/* Read n of a request goes wrong; false: it made fewer. */
static bool request_with(bed *b, const fault *f, uint32_t n)
{
    int code = b->packed ? f->packed : f->plain;
    arm(b, f, n);
    hs_request_status s = run(b, TOKENS);
    uint32_t hits = fault_engine_hits(b->drive, 0);
    fault_engine_release(b->drive);
    /* A guess that goes wrong matters to nobody, unless it comes true. */
    if (hits && code < 0 && (!b->prefetch || s.state == HS_REQUEST_FAILED))
        check_failed(b, &s, code, f->sentence);
    else
        check_right(&s, &b->text, PROMPT, TOKENS);
    if (s.state == HS_REQUEST_FAILED)
        check_after(b);
    else
        check_clean(b);
    injected += hits > 0;
    return hits > 0;
}

static void requests(bool packed, bool prefetch)
{
    bed *b = bed_start(packed, prefetch, 0);
    for (size_t i = 0; i < N_FAULTS; i++) {
        if (prefetch && (packed ? faults[i].packed : faults[i].plain) == 0 && faults[i].order.kind != FAULT_LATE)
            continue; /* what does not matter to demand reads does not to guesses */
        if ((packed ? faults[i].packed : faults[i].plain) == 1) {
            print_message("%s: no checksum would tell; not tried\n", faults[i].name);
            continue;
        }
        uint32_t n = 1 + (uint32_t)i * 7 % every;
        /* What is mended below goes the same way in both kinds of folder. */
        uint32_t step = (!packed && !faults[i].order.sticky ? 2 : 1) * every;
        while (request_with(b, &faults[i], n))
            n += step;
        assert_true(n > 90);
        print_message("%s: 1 of %u of %u reads\n", faults[i].name, step, n - 1);
    }
    bed_end(b);
}

static void test_packed(void **state)
{
    (void)state;
    requests(true, false);
}

static void test_plain(void **state)
{
    (void)state;
    requests(false, false);
}

static void test_guesses(void **state)
{
    (void)state;
    requests(true, true);
}

/* Damage that a read has brought is found when the expert is decoded, which may be later. */
static void test_warm(void **state)
{
    (void)state;
    uint32_t was = every;
    every *= 3;
    warm = true;
    requests(true, true);
    warm = false;
    every = was;
}

/* ---- reads that never come back ---- */

/* The client goes away while the read is out: its place is free at once, and again nothing stays behind. */
static void test_never_cancel(void **state)
{
    (void)state;
    bed *b = bed_start(true, false, 0);
    for (uint32_t n = 1;; n += every) {
        hold_back(b, n, false);
        hs_request_options opt = question_ask(&questions[PROMPT], TOKENS);
        hs_request *r = tale_submit(b->e, &opt);
        hs_request_status s = {0};
        while (!fault_engine_hits(b->drive, 1) && s.state < HS_REQUEST_DONE)
            hs_request_get_status(r, &s);
        bool hit = fault_engine_hits(b->drive, 0) > 0;
        hs_request_destroy(&r);
        tale_wait_idle(b->e);
        assert_null(hs__engine_check(b->e));
        fault_engine_release(b->drive);
        check_after(b);
        injected += hit;
        if (!hit)
            break;
        assert_true(n < 5000);
    }
    bed_end(b);
}

/* The drive is given up after a while, again when the same read is asked for again, and used again once it answers. */
static void test_never_patience(void **state)
{
    (void)state;
    bed *b = bed_start(true, false, 1500 * SLOWER);
    static const uint32_t at[] = {1, 40, 100, 120};
    for (size_t i = 0; i < sizeof at / sizeof *at; i += SANITIZED ? 2 : 1) {
        hs_request_status s;
        for (uint32_t tries = 0;; tries++) { /* a slow machine's patience may be up before that read */
            hold_back(b, at[i], false);
            s = run(b, TOKENS);
            if (fault_engine_hits(b->drive, 0))
                break;
            assert_true(s.error == -ETIMEDOUT && tries < 20);
        }
        check_failed(b, &s, -ETIMEDOUT, "does not answer");
        s = run(b, TOKENS);
        check_failed(b, &s, -ETIMEDOUT, "does not answer");
        fault_engine_release(b->drive);
        /* Until the read has come back, or while this machine is slower than the patience, it is still given up. */
        for (int tries = 0; (s = run(b, TOKENS)).state == HS_REQUEST_FAILED && s.error == -ETIMEDOUT; tries++) {
            assert_true(tries < 1000);
            tale_sleep_ms(20);
        }
        check_after(b);
        injected++;
    }
    bed_end(b);
}

/* A request that waits for its nth read for good. Where this machine is so slow that its time, or the patience with the
 * drive, is up before that, once more, with more time. */
static void submit_until_held(bed *b, uint32_t nth, bool sticky, hs_request_options *opt, hs_request **ret)
{
    hs_request_status s = {0};
    for (uint32_t tries = 0; tries < 8; tries++, opt->timeout_s *= 2) {
        hold_back(b, nth, sticky);
        *ret = tale_submit(b->e, opt);
        do
            hs_request_get_status(*ret, &s);
        while (!fault_engine_hits(b->drive, 10) && s.state < HS_REQUEST_DONE);
        if (fault_engine_hits(b->drive, 0))
            return;
        assert_int_equal(s.error, -ETIMEDOUT);
        hs_request_destroy(ret);
        tale_wait_idle(b->e);
    }
    fail_msg("no request makes %u reads", nth);
}

/* A request's own time limit holds while the drive does not answer, for those who wait in the queue too. */
static void test_never_timeout(void **state)
{
    (void)state;
    bed *b = bed_start(true, false, 0);
    static const uint32_t at[] = {1, 110};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        hs_request *r[6];
        hs_request_options opt = question_ask(&questions[PROMPT], TOKENS);
        opt.timeout_s = 1;
        submit_until_held(b, at[i], false, &opt, &r[0]);
        for (uint32_t k = 1; k < 6; k++)
            r[k] = tale_submit(b->e, &opt);
        for (uint32_t k = 0; k < 6; k++) {
            hs_request_status s = tale_wait(r[k], NULL);
            if (s.state != HS_REQUEST_FAILED || s.error != -ETIMEDOUT || !strstr(s.error_text, "request_timeout"))
                fail_msg("request %u: state %d, %s", k, s.state, s.error_text);
            hs_request_destroy(&r[k]);
        }
        fault_engine_release(b->drive);
        check_after(b);
        injected++;
    }
    bed_end(b);
}

/* Shutting down ends in time, whatever is out. What the drive holds stays mapped: it may still be written to. */
static void test_never_shutdown(void **state)
{
    (void)state;
    static const uint32_t at[] = {1, 80, 110};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        bed *b = bed_start(i != 1, i == 2, 1000 * SLOWER);
        hs_request_options opt = question_ask(&questions[PROMPT], TOKENS);
        hs_request *r;
        submit_until_held(b, at[i], true, &opt, &r);
        uint64_t t = hs_now_ns();
        hs_request_destroy(&r);
        hs_engine_destroy(&b->e);
        assert_true(hs_now_ns() - t < SLOWER * HS_IO_STOP_NS);
        fault_engine_release(b->drive);
        hs_buf_deinit(&b->text);
        injected++;
    }
}

/* ---- others in the batch ---- */

/* Four requests side by side, one record bad: exactly those that need it fail, with its name; the others get their
 * tokens. */
static void batch_with(bed *b, const fault *f, uint32_t object)
{
    hs_request *r[4];
    hs_buf text[4];
    char name[300];
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    bool was_there = b->e->residency->slot_of[object] != HS__NONE;
    assert_int_equal(hs_object_ranges(b->e->opened.objects, object, ranges), 1);
    hs_object_describe(b->e->opened.objects, object, 0, name, sizeof name);
    fault_order order = f->order;
    order.file = ranges[0].file;
    order.from = ranges[0].offset;
    order.to = ranges[0].offset + ranges[0].len;
    fault_engine_arm(b->drive, &order);
    for (uint32_t p = 0; p < 4; p++) {
        hs_request_options opt = question_ask(&questions[p], TOKENS);
        opt.client = p;
        r[p] = tale_submit(b->e, &opt);
        hs_buf_init(&text[p], 1 << 16);
        hs_buf_puts(&text[p], "");
    }
    for (uint32_t p = 0; p < 4; p++) {
        hs_request_status s = tale_wait(r[p], &text[p]);
        if (questions[p].needs[object] && (!was_there || s.state == HS_REQUEST_FAILED)) {
            check_failed(b, &s, f->packed, f->sentence);
            assert_non_null(strstr(s.error_text, name));
        } else {
            check_right(&s, &text[p], p, TOKENS);
            /* A step that failed for another's sake and was done again is counted once. */
            assert_int_equal(s.receipt.expert_hits + s.receipt.expert_misses,
                             (questions[p].n + TOKENS - 1) * TALE_PER_TOKEN);
        }
        hs_buf_deinit(&text[p]);
        hs_request_destroy(&r[p]);
    }
    injected += fault_engine_hits(b->drive, 0) > 0;
    fault_engine_release(b->drive);
    check_after(b);
}

static void batches(bool prefetch, uint32_t from)
{
    bed *b = bed_start(true, prefetch, 0);
    for (uint32_t object = from; object < EXPERTS; object += SANITIZED ? 56 : 8 * every)
        batch_with(b, &faults[object % 2 ? 1 : N_FAULTS - 1], object);
    bed_end(b);
}

static void test_batch(void **state)
{
    (void)state;
    batches(false, 0);
    batches(true, 1);
}

/* ---- while loading ---- */

/* Read n of loading goes wrong; false: it made fewer, and the engine is up and right. */
static bool load_with(const fault *f, bool packed, uint32_t n)
{
    bool never = f->order.kind == FAULT_NEVER;
    bed *b = bed_create(packed, false, never ? 1000 * SLOWER : 0);
    hs_engine_options opt = options(b);
    hs_err err = {0};
    int code = packed ? f->packed : f->plain;
    arm(b, f, n);
    int r = hs__engine_create(&opt, &b->how, &b->e, &err);
    bool hit = fault_engine_hits(b->drive, 0) > 0;
    if (never && !hit && r == -ETIMEDOUT) { /* this machine is slower than the patience */
        assert_true(too_slow++ < 20);
        return load_with(f, packed, n);
    }
    if (r != (hit ? code : 0) || (r < 0 && b->e))
        fail_msg("read %u: %d (%s) instead of %d", n, r, err.text, hit ? code : 0);
    if (r < 0 && (!strstr(err.text, f->sentence) || !strstr(err.text, packed ? "dense-00000.hss: record" : "tensor ")))
        fail_msg("read %u: '%s'", n, err.text);
    injected += hit;
    if (never && hit)
        return true; /* the drive keeps what it holds */
    fault_engine_release(b->drive);
    if (r == 0) {
        tale_stay_packed(b->e);
        assert_int_equal(hs_engine_start(b->e, &err), 0);
    }
    bed_end(b);
    free(b);
    return hit;
}

static void loads(bool packed)
{
    static const fault never = {"never", {.kind = FAULT_NEVER}, -ETIMEDOUT, -ETIMEDOUT, "does not answer"};
    static const fault once = {"EIO", {.kind = FAULT_ERRNO, .error = EIO}, -EIO, -EIO, "Input/output error"};
    static const fault bad = {"corrupted", {.kind = FAULT_CORRUPT}, -EBADMSG, 1, "checksum"};
    /* All of them are at the mercy of the same code: the slow ones take a part of the reads. */
    const struct {
        const fault *f;
        uint32_t step;
    } all[] = {{&once, 1}, {&bad, 1}, {&faults[2], 8}, {&faults[3], 8}, {&faults[4], 8}, {&never, 16}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint32_t n = 1 + (uint32_t)i * 3 % every;
        if ((packed ? all[i].f->packed : all[i].f->plain) == 1)
            continue;
        while (load_with(all[i].f, packed, n))
            n += all[i].step * every;
        assert_true(n > 100);
        print_message("%s while loading: 1 of %u of %u reads\n", all[i].f->name, all[i].step * every, n - 1);
    }
}

static void test_load(void **state)
{
    (void)state;
    loads(true);
    loads(false);
}

static int setup(void **state)
{
    (void)state;
    hs_engine *e =
        tale_create((hs_engine_options){.context = 128, .cache_kind = HS_CACHE_PERCENT, .cache_percent = 100});
    prompts = tale_prompts(e);
    for (uint32_t p = 0; p < PROMPTS; p++) {
        questions[p].n = 2 + p / 2;
        questions[p].tokens = TOKENS;
        memcpy(questions[p].ids, prompts[p].ids, sizeof questions[p].ids);
    }
    question_answer(e, questions, PROMPTS);
    hs_engine_destroy(&e);
    return 0;
}

static int report(void **state)
{
    (void)state;
    print_message("%u faults injected\n", injected);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "all"))
        every = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),          cmocka_unit_test(test_packed),
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_never_cancel),  cmocka_unit_test(test_never_patience),
        cmocka_unit_test(test_never_timeout), cmocka_unit_test(test_never_shutdown),
        cmocka_unit_test(test_batch),         cmocka_unit_test(test_warm),
    };
    return cmocka_run_group_tests(tests, setup, report);
}
