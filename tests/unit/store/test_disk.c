/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/disk.h"

#define BYTES (5u << 20)

static char dir[64], path[80];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hotset-disk-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/big", dir);
    FILE *f = fopen(path, "w");
    for (uint32_t i = 0; i < BYTES; i++)
        fputc((int)(i >> 12), f);
    return fclose(f);
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static bool never(void)
{
    return false;
}

static bool always(void)
{
    return true;
}

/* Every way reads what it says, and no more than it was told to. */
static void measures(void **state)
{
    (void)state;
    static const char *const engines[] = {NULL, "auto", "pread"};
    for (int i = 0; i < 24; i++) {
        hs_disk_run run = {.engine = engines[i % 3],
                           .buffered = i / 3 % 2,
                           .random = i / 6 % 2,
                           .bare = i / 12 % 2,
                           .request_bytes = 256 << 10,
                           .in_flight = 1 << 20,
                           .max_bytes = 12 << 20,
                           .max_seconds = 60,
                           .seed = 3,
                           .stop = never};
        hs_disk_result r = {0};
        hs_err err = {0};
        assert_int_equal(hs_disk_measure(path, &run, &r, &err), 0);
        assert_true(r.bytes >= run.max_bytes && r.bytes < run.max_bytes + 2 * run.in_flight);
        assert_int_equal(r.reads * run.request_bytes, r.bytes);
        assert_true(hs_disk_rate(&r) > 0);
        assert_true(!run.buffered || !r.direct);
        assert_true(strcmp(engines[i % 3] ? engines[i % 3] : "", "pread") || !strcmp(r.engine, "pread"));
    }
}

/* What is skipped is read, but not counted. */
static void skips_the_start(void **state)
{
    (void)state;
    hs_disk_run run = {.request_bytes = 256 << 10, .in_flight = 1 << 20, .max_bytes = 1ull << 40, .max_seconds = 0.05};
    hs_disk_result all, r;
    hs_err err = {0};
    assert_int_equal(hs_disk_measure(path, &run, &all, &err), 0);
    run.skip_seconds = 1e-9; /* the first round */
    run.max_bytes = 1 << 20;
    for (int i = 0; !i || (i < 1000 && r.bytes >= run.max_bytes); i++) /* if all has come by then, all is counted */
        assert_int_equal(hs_disk_measure(path, &run, &r, &err), 0);
    assert_true(r.bytes < run.max_bytes && all.bytes > 0);
}

static void waves(void **state)
{
    (void)state;
    hs_disk_waves run = {
        .object_bytes = 1 << 20, .few = 1, .many = 4, .beside_s = 1e-4, .pause_s = 1e-4, .max_seconds = 0.02};
    hs_disk_wave_times t = {-1, -1};
    hs_err err = {0};
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), 0);
    assert_true(t.first_s >= 0 && t.each_s >= 0 && t.first_s + t.each_s > 0);
    run.many = run.few;
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), 0);
    assert_true(t.first_s == 0 && t.each_s > 0);
    run.object_bytes = 8 << 20;
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "smaller"));
    run.object_bytes = 1 << 20;
    run.stop = always;
    assert_int_equal(hs_disk_measure_waves(path, &run, &t, &err), -ECANCELED);
    assert_int_equal(hs_disk_measure_waves("/nowhere/at all", &run, &t, &err), -ENOENT);
}

static void says_why_not(void **state)
{
    (void)state;
    hs_disk_run run = {.request_bytes = 1 << 20, .in_flight = 1 << 20, .max_bytes = 1 << 20, .max_seconds = 1};
    hs_disk_result r;
    hs_err err = {0};
    assert_int_equal(hs_disk_measure("/nowhere/at all", &run, &r, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at all"));
    run.stop = always;
    assert_int_equal(hs_disk_measure(path, &run, &r, &err), -ECANCELED);
    run.request_bytes = run.in_flight = 8 << 20;
    assert_int_equal(hs_disk_measure(path, &run, &r, &err), -EINVAL);
}

static void picks_the_biggest(void **state)
{
    (void)state;
    char small[80], *file = NULL;
    uint64_t bytes = 0;
    hs_err err = {0};
    snprintf(small, sizeof small, "%s/small", dir);
    FILE *f = fopen(small, "w");
    fputs("x", f);
    fclose(f);
    assert_int_equal(hs_disk_pick(dir, &file, &bytes, &err), 0);
    assert_string_equal(file, path);
    assert_int_equal(bytes, BYTES);
    hs_free(file);
    assert_int_equal(hs_disk_pick(small, &file, &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1 MiB"));
    assert_int_equal(hs_disk_pick("/nowhere/at all", &file, &bytes, &err), -ENOENT);
    unlink(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measures), cmocka_unit_test(skips_the_start),
                                       cmocka_unit_test(waves), cmocka_unit_test(says_why_not),
                                       cmocka_unit_test(picks_the_biggest)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
