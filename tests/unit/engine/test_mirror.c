/* labels: unit fault */
/*
 * test_mirror.c - a model with a mirror: reads that go wrong on either copy, or on whole drives, change no token; what
 * is bad in both copies fails the request that needs it, by name, and the next one gets its tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "sanitized.h"
#include "tale.h"
#include "unit/store/engines.h"

static const tale_prompt *prompts;
static char copy_of_plain[64], copy_of_packed[64];
static uint32_t n_files[2]; /* of the plain and of the packed model */

/* ---- an engine over a drive that goes wrong ---- */

typedef struct bed {
    fault_engine *drive;
    hs_io_config how;
    hs_engine *e;
    bool packed;
    uint32_t drives[64];
} bed;

static hs_engine_options options(const bed *b, bool prefetch)
{
    return tale_options((hs_engine_options){.path = b->packed ? tale_packed() : TALE,
                                            .mirror = b->packed ? copy_of_packed : copy_of_plain,
                                            .cache_kind = HS_CACHE_PERCENT,
                                            .cache_percent = 3,
                                            .io_buffered = true,
                                            .threads = 2,
                                            .prefetch = prefetch,
                                            .context = 128,
                                            .parallel = 2,
                                            .max_queue = 4});
}

/* Each copy is on a drive of its own, as far as the I/O knows. */
static bed *bed_start(bool packed, bool prefetch)
{
    bed *b = calloc(1, sizeof *b);
    hs_err err = {0};
    b->packed = packed;
    b->drive = fault_engine_create(false);
    for (uint32_t f = 0; f < 64; f++)
        b->drives[f] = f >= n_files[packed];
    b->how = (hs_io_config){.custom = &fault_engine_ops, .custom_ctx = b->drive, .drives = b->drives};
    hs_engine_options opt = options(b, prefetch);
    if (hs__engine_create(&opt, &b->how, &b->e, &err) < 0)
        fail_msg("%s", err.text);
    tale_stay_packed(b->e);
    if (hs_engine_start(b->e, &err) < 0)
        fail_msg("%s", err.text);
    return b;
}

static void bed_end(bed *b)
{
    tale_wait_idle(b->e);
    const char *wrong = hs__engine_check(b->e);
    if (wrong)
        fail_msg("%s", wrong);
    hs_engine_destroy(&b->e);
    fault_engine_destroy(&b->drive);
    free(b);
}

/* Tokens of an answer: the beginning will do where they take long. */
static uint32_t n_asked(uint32_t p)
{
    return SANITIZED && prompts[p].n_greedy > 12 ? 12 : prompts[p].n_greedy;
}

static hs_request_status ask(bed *b, uint32_t p, hs_buf *text)
{
    hs_request_options opt = tale_ask(&prompts[p]);
    opt.max_tokens = n_asked(p);
    hs_buf_clear(text);
    hs_buf_puts(text, "");
    return tale_run(b->e, &opt, text);
}

static void answers(bed *b, uint32_t p)
{
    hs_buf text;
    hs_buf_init(&text, 1 << 16);
    hs_request_status s = ask(b, p, &text);
    bool whole = n_asked(p) == prompts[p].n_greedy;
    size_t len = whole ? strlen(prompts[p].text) + 1 : text.len;
    if (s.state != HS_REQUEST_DONE || s.receipt.generated_tokens != n_asked(p) || !text.len ||
        strncmp(text.data, prompts[p].text, len))
        fail_msg("prompt %u: '%s' (%s) instead of '%s'", p, text.data, s.error_text, prompts[p].text);
    hs_buf_deinit(&text);
}

static uint32_t reads_of(const bed *b, uint32_t copy)
{
    uint32_t n = 0, all = fault_engine_issued(b->drive);
    for (uint32_t i = 0; i < all; i++)
        n += fault_engine_read(b->drive, i).file / n_files[b->packed] == copy;
    return n;
}

/* ---- tests ---- */

static void both_drives_are_read(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        bed *b = bed_start(packed, packed);
        fault_engine_arm(b->drive, &(fault_order){0});
        answers(b, 0);
        uint32_t first = reads_of(b, 0), second = reads_of(b, 1);
        assert_true(first + second > 100);
        assert_true(first > 0 && second > 0);
        assert_int_equal(hs_engine_get_stats(b->e).mirror_reads, 0);
        bed_end(b);
    }
}

/* A drive on which every read goes wrong, either of the two. */
static void a_bad_drive_changes_no_token(void **state)
{
    (void)state;
    static const fault_order faults[] = {{.kind = FAULT_ERRNO, .error = EIO},
                                         {.kind = FAULT_ERRNO, .error = ENODEV},
                                         {.kind = FAULT_SHORT},
                                         {.kind = FAULT_CORRUPT}};
    uint32_t all_hits = 0;
    for (uint32_t i = 0; i < 16; i++) {
        bool packed = i % 2, prefetch = i / 8;
        uint32_t copy = i / 2 % 2;
        for (size_t k = 0; k < 4; k++) {
            if (faults[k].kind == FAULT_CORRUPT && !packed)
                continue; /* no checksum would tell */
            if (i >= 4 && i < 12 && k != 3)
                continue;
            if (SANITIZED && (i + k) % (SANITIZED_THREADS ? 5 : 3))
                continue;
            bed *b = bed_start(packed, prefetch);
            uint32_t hits = 0;
            for (uint32_t f = 0; f < n_files[packed]; f++) {
                /* One file of the copy at a time would be another test: all its experts are in one. */
                fault_order order = faults[k];
                order.file = copy * n_files[packed] + f;
                order.to = UINT64_MAX;
                fault_engine_arm(b->drive, &order);
                answers(b, i % 4);
                hits += fault_engine_hits(b->drive, 0);
            }
            hs_engine_stats s = hs_engine_get_stats(b->e);
            /* Which drive is read is the faster one's matter: on a busy machine it may be the good one all along. */
            assert_true(hits == 0 || s.mirror_reads > 0 || faults[k].kind == FAULT_CORRUPT);
            assert_true(hits == 0 || s.io_errors > 0 || faults[k].kind == FAULT_CORRUPT);
            all_hits += hits;
            assert_int_equal(s.requests_failed, 0);
            fault_engine_release(b->drive);
            answers(b, 0);
            bed_end(b);
        }
    }
    assert_true(all_hits > 0);
}

/* A record that is bad in one copy: the mirror's are asked for it, and counted. */
static void a_damaged_record_is_read_from_the_mirror(void **state)
{
    (void)state;
    bed *b = bed_start(true, false);
    uint64_t before = hs_engine_get_stats(b->e).mirror_reads;
    uint32_t hits = 0;
    for (int i = 0; i < 50 && !hits; i++)
        for (uint32_t f = 0; f < n_files[true]; f++) {
            fault_engine_arm(b->drive, &(fault_order){.kind = FAULT_CORRUPT, .file = f, .to = UINT64_MAX});
            answers(b, 1);
            hits += fault_engine_hits(b->drive, 0);
        }
    assert_true(hits > 0);
    assert_true(hs_engine_get_stats(b->e).mirror_reads > before);
    assert_true(hs_engine_get_stats(b->e).damaged_reads > 0);
    fault_engine_release(b->drive);
    bed_end(b);
}

/* Bad everywhere: an error that names file and record, and nothing worse. */
static void what_is_bad_in_both_fails_that_request(void **state)
{
    (void)state;
    for (int corrupt = 0; corrupt < 2; corrupt++) {
        bed *b = bed_start(true, false);
        hs_buf text;
        hs_buf_init(&text, 1 << 16);
        fault_kind kind = corrupt ? FAULT_CORRUPT : FAULT_ERRNO;
        fault_engine_arm(b->drive, &(fault_order){.kind = kind, .first = 1, .times = UINT64_MAX, .error = EIO});
        hs_request_status s = ask(b, 0, &text);
        assert_int_equal(s.state, HS_REQUEST_FAILED);
        assert_int_equal(s.error, corrupt ? -EBADMSG : -EIO);
        assert_non_null(strstr(s.error_text, "experts-00000.hss, record"));
        fault_engine_release(b->drive);
        answers(b, 0);
        hs_buf_deinit(&text);
        bed_end(b);
    }
}

/* Each read of loading in turn is bad on the copy that it is made from, for good. */
static void loading_too(void **state)
{
    (void)state;
    static const fault_kind kinds[] = {FAULT_ERRNO, FAULT_CORRUPT};
    for (int k = 0; k < 2; k++) {
        uint32_t tried = 0;
        for (uint32_t n = 1 + (uint32_t)k;; n += SANITIZED ? 19 : 7) {
            bed *b = calloc(1, sizeof *b);
            hs_err err = {0};
            b->packed = true;
            b->drive = fault_engine_create(false);
            b->how = (hs_io_config){.custom = &fault_engine_ops, .custom_ctx = b->drive};
            hs_engine_options opt = options(b, false);
            fault_engine_arm(b->drive, &(fault_order){.kind = kinds[k], .first = n, .sticky = true, .error = EIO});
            if (hs__engine_create(&opt, &b->how, &b->e, &err) < 0)
                fail_msg("read %u: %s", n, err.text);
            bool hit = fault_engine_hits(b->drive, 0) > 0;
            fault_engine_release(b->drive);
            assert_int_equal(hs_engine_start(b->e, &err), 0);
            if (n % 3 == 1)
                answers(b, 0);
            bed_end(b);
            tried += hit;
            if (!hit)
                break;
        }
        assert_true(tried > (SANITIZED ? 3 : 10));
    }
}

/* Reads that a drive keeps for a while, here until the other copy has done all the rest. */
static void a_drive_that_stalls_is_waited_for_and_left_alone(void **state)
{
    (void)state;
    bed *b = bed_start(true, false);
    hs_request_options opt = tale_ask(&prompts[0]);
    hs_buf text;
    hs_buf_init(&text, 1 << 16);
    fault_engine_arm(b->drive, &(fault_order){.kind = FAULT_NEVER, .first = 40});
    hs_request *r = tale_submit(b->e, &opt);
    assert_true(fault_engine_hits(b->drive, 60000) > 0);
    tale_sleep_ms(300);
    fault_engine_release(b->drive);
    hs_request_status s = tale_wait(r, &text);
    assert_int_equal(s.state, HS_REQUEST_DONE);
    assert_string_equal(text.data, prompts[0].text);
    hs_request_destroy(&r);
    hs_buf_deinit(&text);
    bed_end(b);
}

/* ---- what is no mirror ---- */

static void refused(const char *path, const char *mirror, int code, const char *part)
{
    hs_engine_options opt = tale_options((hs_engine_options){.path = path, .mirror = mirror, .context = 128});
    hs_plan plan;
    hs_err err = {0};
    assert_int_equal(hs_plan_make(&opt, &plan, &err), code);
    if (!strstr(err.text, part))
        fail_msg("'%s' has no '%s'", err.text, part);
}

static void patch(const char *folder, const char *name, off_t at, bool from_end)
{
    char path[200];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, at, from_end ? SEEK_END : SEEK_SET);
    at = ftell(f);
    assert_int_equal(fread(&byte, 1, 1, f), 1);
    byte ^= 1;
    fseek(f, at, SEEK_SET);
    fwrite(&byte, 1, 1, f);
    fclose(f);
}

static void only_copies_are_mirrors(void **state)
{
    (void)state;
    char other[64], list[300];
    refused(tale_packed(), "/nowhere/at all", -ENOENT, "mirror: /nowhere/at all");
    refused(tale_packed(), TALE, -ESTALE, "another kind");
    refused(tale_packed(), tale_packed(), -EINVAL, "own file");
    snprintf(list, sizeof list, "%s,%s, %s,%s", copy_of_packed, copy_of_packed, copy_of_packed, copy_of_packed);
    refused(tale_packed(), list, -E2BIG, "one too many");
    tale_copy_folder(TALE, other);
    for (uint32_t i = 0; i < 32; i++) {
        struct stat st;
        char path[200];
        snprintf(path, sizeof path, "%s/model.safetensors", other);
        assert_int_equal(stat(path, &st), 0);
        patch(other, "model.safetensors", st.st_size / 32 * i + 3000, false);
        if (i == 0)
            patch(other, "model.safetensors", 3000, false); /* the header stays what it is */
    }
    refused(TALE, other, -ESTALE, "its weights");
    tale_remove_folder(other);
}

static int setup(void **state)
{
    (void)state;
    hs_engine *e = tale_create((hs_engine_options){.context = 128});
    prompts = tale_prompts(e);
    hs_engine_destroy(&e);
    tale_copy_folder(TALE, copy_of_plain);
    tale_copy_folder(tale_packed(), copy_of_packed);
    const char *const paths[] = {TALE, tale_packed()};
    for (int i = 0; i < 2; i++) {
        hs_source *s = NULL;
        assert_int_equal(hs_source_open(paths[i], &s, NULL), 0);
        while (hs_source_file(s, n_files[i]))
            n_files[i]++;
        hs_source_close(&s);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tale_remove_folder(copy_of_plain);
    tale_remove_folder(copy_of_packed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_drives_are_read),
        cmocka_unit_test(a_bad_drive_changes_no_token),
        cmocka_unit_test(a_damaged_record_is_read_from_the_mirror),
        cmocka_unit_test(what_is_bad_in_both_fails_that_request),
        cmocka_unit_test(loading_too),
        cmocka_unit_test(a_drive_that_stalls_is_waited_for_and_left_alone),
        cmocka_unit_test(only_copies_are_mirrors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
