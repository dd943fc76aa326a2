/* labels: unit */
/* Progress lines: what they say, and when, on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/progress.h"

#define SECOND 1000000000ull

static void test_format(void **state)
{
    (void)state;
    char line[200];
    hs_progress_format(line, sizeof line, "pack", HS_PROGRESS_BYTES, 1 << 20, 4 << 20, 1 << 20, 0);
    assert_string_equal(line, "pack  25%  1.0 MiB of 4.0 MiB  1.0 MiB/s  ETA 3s");
    hs_progress_format(line, sizeof line, "pack", HS_PROGRESS_BYTES, 1 << 20, 4 << 20, 1 << 20, 100);
    assert_string_equal(line, "pack [######                  ]  25%  1.0 MiB of 4.0 MiB  1.0 MiB/s  ETA 3s");
    hs_progress_format(line, sizeof line, "prefill", HS_PROGRESS_PERCENT, 10, 10, 3, 0);
    assert_string_equal(line, "prefill 100%  ETA 0s");
    hs_progress_format(line, sizeof line, "prefill", HS_PROGRESS_TOKENS, 512, 2048, 100, 0);
    assert_string_equal(line, "prefill  25%  512 of 2048 tokens  ETA 16s");
    hs_progress_format(line, sizeof line, "queued", HS_PROGRESS_TOKENS, 0, 0, 0, 0);
    assert_string_equal(line, "queued");
    hs_progress_format(line, sizeof line, "read", HS_PROGRESS_BYTES, 2048, 0, 100, 80);
    assert_string_equal(line, "read  2.0 KiB");
}

static void test_format_times(void **state)
{
    (void)state;
    char line[200];
    hs_progress_format(line, sizeof line, "x", HS_PROGRESS_PERCENT, 0, 90, 1, 0);
    assert_non_null(strstr(line, "ETA 1min30s"));
    hs_progress_format(line, sizeof line, "x", HS_PROGRESS_PERCENT, 0, 7260, 1, 0);
    assert_non_null(strstr(line, "ETA 2h01min"));
    hs_progress_format(line, sizeof line, "x", HS_PROGRESS_PERCENT, 0, UINT64_MAX, 1e-6, 0);
    assert_non_null(strstr(line, "ETA >99h"));
}

static void test_format_narrow(void **state)
{
    (void)state;
    char line[200];
    for (unsigned width = 1; width < 120; width++) {
        hs_progress_format(line, sizeof line, "pack", HS_PROGRESS_BYTES, 3, 9, 1, width);
        assert_true(strlen(line) <= width);
    }
    hs_progress_format(line, 10, "a long label", HS_PROGRESS_BYTES, 3, 9, 1, 0);
    assert_int_equal(strlen(line), 9);
    hs_progress_format(line, sizeof line, "over", HS_PROGRESS_PERCENT, 12, 9, 1, 60);
    assert_non_null(strstr(line, "100%"));
}

/* What was written to p.out since the last call. */
static const char *written(hs_progress *p, char *buf, size_t cap)
{
    rewind(p->out);
    size_t n = fread(buf, 1, cap - 1, p->out);
    buf[n] = '\0';
    rewind(p->out);
    assert_int_equal(ftruncate(fileno(p->out), 0), 0);
    return buf;
}

static void test_plain_lines(void **state)
{
    (void)state;
    char text[4096];
    hs_progress p;
    FILE *f = tmpfile();
    hs_progress_init(&p, f);
    assert_false(p.terminal);
    for (uint64_t t = 0; t < 10; t++)
        hs_progress_update(&p, "pack", HS_PROGRESS_BYTES, 1000 + t, 2000, t * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "");
    hs_progress_update(&p, "pack", HS_PROGRESS_BYTES, 1500, 2000, 10 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "pack  75%  1.5 KiB of 2.0 KiB  50 B/s  ETA 10s\n");
    hs_progress_update(&p, "pack", HS_PROGRESS_BYTES, 1600, 2000, 11 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "");
    hs_progress_clear(&p);
    assert_string_equal(written(&p, text, sizeof text), "");
    fclose(f);
}

static void test_terminal(void **state)
{
    (void)state;
    char text[4096];
    hs_progress p;
    FILE *f = tmpfile();
    hs_progress_init(&p, f);
    p.terminal = true;
    p.columns = 100;
    hs_progress_update(&p, "load", HS_PROGRESS_PERCENT, 0, 100, 0);
    hs_progress_update(&p, "load", HS_PROGRESS_PERCENT, 10, 100, SECOND / 5);
    assert_string_equal(written(&p, text, sizeof text), "");
    hs_progress_update(&p, "load", HS_PROGRESS_PERCENT, 50, 100, SECOND);
    assert_string_equal(written(&p, text, sizeof text), "\rload [############            ]  50%  ETA 1s\033[K");
    hs_progress_update(&p, "load", HS_PROGRESS_PERCENT, 51, 100, SECOND + SECOND / 20);
    assert_string_equal(written(&p, text, sizeof text), "");
    hs_progress_update(&p, "load", HS_PROGRESS_PERCENT, 100, 100, SECOND + SECOND / 10 - 1);
    assert_non_null(strstr(written(&p, text, sizeof text), "100%"));
    hs_progress_clear(&p);
    assert_string_equal(written(&p, text, sizeof text), "\r\033[K");
    hs_progress_clear(&p);
    assert_string_equal(written(&p, text, sizeof text), "");
    fclose(f);
}

/* A new label begins a new clock: the rate of one phase does not leak into the next. */
static void test_phases(void **state)
{
    (void)state;
    char text[4096];
    hs_progress p;
    FILE *f = tmpfile();
    hs_progress_init(&p, f);
    hs_progress_update(&p, "measure", HS_PROGRESS_BYTES, 0, 100, 0);
    hs_progress_update(&p, "pack", HS_PROGRESS_BYTES, 0, 2000, 100 * SECOND);
    hs_progress_update(&p, "pack", HS_PROGRESS_BYTES, 1000, 2000, 110 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "pack  50%  1000 B of 2.0 KiB  100 B/s  ETA 10s\n");
    fclose(f);
}

/* Work in large steps: between two of them the time left does not grow, unless one is late. */
static void test_steps(void **state)
{
    (void)state;
    char text[4096];
    hs_progress p;
    FILE *f = tmpfile();
    hs_progress_init(&p, f);
    hs_progress_update(&p, "prefill", HS_PROGRESS_TOKENS, 0, 100, 0);
    hs_progress_update(&p, "prefill", HS_PROGRESS_TOKENS, 10, 100, 20 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "prefill  10%  10 of 100 tokens  ETA 3min00s\n");
    hs_progress_update(&p, "prefill", HS_PROGRESS_TOKENS, 10, 100, 60 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "prefill  10%  10 of 100 tokens  ETA 3min00s\n");
    hs_progress_update(&p, "prefill", HS_PROGRESS_TOKENS, 10, 100, 80 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "prefill  10%  10 of 100 tokens  ETA 6min00s\n");
    hs_progress_update(&p, "prefill", HS_PROGRESS_TOKENS, 50, 100, 100 * SECOND);
    assert_string_equal(written(&p, text, sizeof text), "prefill  50%  50 of 100 tokens  ETA 1min40s\n");
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),      cmocka_unit_test(test_format_times), cmocka_unit_test(test_format_narrow),
        cmocka_unit_test(test_plain_lines), cmocka_unit_test(test_terminal),     cmocka_unit_test(test_phases),
        cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
