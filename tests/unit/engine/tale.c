/* tale.c - see tale.h. */
#include "tale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "pack/pack.h"
#include "residency/residency_int.h"

#define PATIENCE_MS 120000u

void tale_sleep_ms(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

hs_engine_options tale_options(hs_engine_options opt)
{
    opt.path = opt.path ? opt.path : TALE;
    opt.kv_type = opt.kv_type ? opt.kv_type : "f32";
    opt.threads = opt.threads ? opt.threads : 2;
    if (opt.cache_kind == HS_CACHE_AUTO) {
        opt.cache_kind = HS_CACHE_PERCENT;
        opt.cache_percent = 25;
    }
    return opt;
}

hs_engine *tale_create(hs_engine_options opt)
{
    hs_engine *e = NULL;
    hs_err err = {0};
    opt = tale_options(opt);
    if (hs_engine_create(&opt, &e, &err) < 0)
        fail_msg("%s", err.text);
    return e;
}

hs_engine *tale_start(hs_engine_options opt)
{
    hs_engine *e = tale_create(opt);
    hs_err err = {0};
    if (hs_engine_start(e, &err) < 0)
        fail_msg("%s", err.text);
    return e;
}

void tale_copy_folder(const char *from, char to[64])
{
    char a[512], b[512];
    snprintf(to, 64, "/tmp/hotset-copy-XXXXXX");
    assert_non_null(mkdtemp(to));
    DIR *d = opendir(from);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char *data = NULL;
        size_t len = 0;
        struct stat st;
        snprintf(a, sizeof a, "%s/%s", from, e->d_name);
        snprintf(b, sizeof b, "%s/%s", to, e->d_name);
        if (stat(a, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        assert_int_equal(hs_file_read(a, 1u << 30, &data, &len, NULL), 0);
        assert_int_equal(hs_file_write_atomic(b, data, len, NULL), 0);
        hs_free(data);
    }
    closedir(d);
}

void tale_remove_folder(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *f; d && (f = readdir(d));)
        unlinkat(dirfd(d), f->d_name, 0);
    if (d)
        closedir(d);
    rmdir(path);
}

static char packed[64];

static void remove_packed(void)
{
    tale_remove_folder(packed);
}

const char *tale_packed(void)
{
    if (*packed)
        return packed;
    const char *tmp = getenv("TMPDIR");
    hs_err err = {0};
    snprintf(packed, sizeof packed, "%s/hotset-tale-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(packed));
    atexit(remove_packed);
    hs_pack_options opt = {.src = TALE, .dst = packed, .codec = HS_PACK_ZSTD, .threads = 2};
    if (hs_pack(&opt, &err) < 0)
        fail_msg("%s", err.text);
    return packed;
}

void tale_stay_packed(hs_engine *e)
{
    e->residency->ways.is_possible = false;
}

void tale_set_way(hs_engine *e, bool raw)
{
    hs__block never = {.period = UINT32_MAX, .turn = HS__NONE};
    /* n: so many steps have been, as if, that no forecast is asked. */
    e->residency->ways = (hs__ways){.is_possible = true, .raw = raw, .is_chosen = true, .n = 32, .block = never};
}

static uint32_t read_ids(const json_t *a, uint32_t *ids, uint32_t max)
{
    uint32_t n = (uint32_t)json_array_size(a);
    assert_true(n > 0 && n <= max);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (uint32_t)json_integer_value(json_array_get(a, i));
    return n;
}

static void decode(const hs_engine *e, tale_prompt *p)
{
    hs_buf b;
    hs_err err = {0};
    hs_buf_init(&b, sizeof p->text - 1);
    assert_int_equal(hs_tokenizer_decode(hs_engine_tokenizer(e), p->greedy, p->n_greedy, true, &b, &err), 0);
    snprintf(p->text, sizeof p->text, "%s", b.data);
    hs_buf_deinit(&b);
}

const tale_prompt *tale_prompts(const hs_engine *e)
{
    static tale_prompt prompts[TALE_PROMPTS];
    if (prompts[0].n)
        return prompts;
    json_t *all = json_load_file(TESTS_DIR "/data/goldens/tale-moe.json", 0, NULL);
    const json_t *list = json_object_get(all, "prompts");
    assert_int_equal(json_array_size(list), TALE_PROMPTS);
    for (size_t i = 0; i < TALE_PROMPTS; i++) {
        const json_t *p = json_array_get(list, i);
        tale_prompt *to = &prompts[i];
        to->n = read_ids(json_object_get(p, "ids"), to->ids, 300);
        to->n_greedy = read_ids(json_object_get(json_object_get(p, "fp8"), "greedy_ids"), to->greedy, 64);
        decode(e, to);
    }
    json_decref(all);
    return prompts;
}

hs_request_options tale_ask(const tale_prompt *p)
{
    return (hs_request_options){
        .tokens = p->ids, .n_tokens = p->n, .max_tokens = p->n_greedy, .sampling = {.top_p = 1}, .ignore_eos = true};
}

hs_request *tale_submit(hs_engine *e, const hs_request_options *opt)
{
    hs_request *r = NULL;
    hs_err err = {0};
    if (hs_request_submit(e, opt, &r, &err) < 0)
        fail_msg("%s", err.text);
    return r;
}

static size_t read_all(hs_request *r, hs_buf *out)
{
    char piece[1024];
    size_t n, all = 0;
    while ((n = hs_request_read(r, piece, sizeof piece)) > 0) {
        all += n;
        if (out)
            assert_int_equal(hs_buf_append(out, piece, n), 0);
    }
    return all;
}

hs_request_status tale_wait(hs_request *r, hs_buf *out)
{
    hs_request_status s;
    for (uint32_t ms = 0;; ms++) {
        hs_request_get_status(r, &s);
        read_all(r, out);
        if (s.state >= HS_REQUEST_DONE)
            return s;
        if (ms > PATIENCE_MS)
            fail_msg("a request does not end: state %d, %u tokens", s.state, s.receipt.generated_tokens);
        tale_sleep_ms(1);
    }
}

void tale_wait_state(hs_request *r, hs_request_state state)
{
    hs_request_status s;
    for (uint32_t ms = 0;; ms++) {
        hs_request_get_status(r, &s);
        if (s.state >= state && s.state != HS_REQUEST_FAILED)
            return;
        if (ms > 10 * PATIENCE_MS || s.state == HS_REQUEST_FAILED)
            fail_msg("a request is in state %d (%s) instead of %d", s.state, s.error_text, state);
        struct timespec t = {0, 100000};
        nanosleep(&t, NULL);
    }
}

hs_request_status tale_run(hs_engine *e, const hs_request_options *opt, hs_buf *out)
{
    hs_request *r = tale_submit(e, opt);
    hs_request_status s = tale_wait(r, out);
    hs_request_destroy(&r);
    assert_null(r);
    return s;
}

void tale_wait_idle(hs_engine *e)
{
    for (uint32_t ms = 0;; ms++) {
        hs_engine_stats s = hs_engine_get_stats(e);
        if (!s.active && !s.queued)
            return;
        if (ms > PATIENCE_MS)
            fail_msg("%u requests stay active, %u queued", s.active, s.queued);
        tale_sleep_ms(1);
    }
}

/* False: it had ended before its text was full. */
static bool fill(hs_request *r)
{
    char filler[1024];
    memset(filler, '.', sizeof filler);
    hs_mutex_lock(&r->text_lock);
    hs_buf own = r->text;
    hs_buf_init(&r->text, HS__TEXT_MAX);
    for (uint32_t i = 0; i < HS__TEXT_HIGH / sizeof filler; i++)
        hs_buf_append(&r->text, filler, sizeof filler);
    if (own.len)
        hs_buf_append(&r->text, own.data, own.len);
    hs_mutex_unlock(&r->text_lock);
    hs_buf_deinit(&own);
    hs_request_status s;
    for (uint32_t ms = 0; ms < PATIENCE_MS; ms++) {
        hs_request_get_status(r, &s);
        if (s.state >= HS_REQUEST_DECODE)
            return s.state == HS_REQUEST_DECODE;
        tale_sleep_ms(1);
    }
    return false;
}

hs_request *tale_hold(hs_engine *e, const hs_request_options *opt)
{
    hs_request_status s;
    for (uint32_t tries = 0; tries < 20; tries++) { /* the engine may be faster than this thread, now and then */
        hs_request *r = tale_submit(e, opt);
        if (fill(r))
            return r;
        hs_request_get_status(r, &s);
        hs_request_destroy(&r);
    }
    fail_msg("no request is held: the last one is in state %d (%s)", s.state, s.error_text);
    return NULL;
}
