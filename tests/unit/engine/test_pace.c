/* labels: unit */
/* The drive as calibration has kept it: where that is believed, what it says of experts, and where it is measured
 * instead. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "hotset/hotset.h"
#include "store/calibrate.h"

#define BYTES (3u << 20)

static char dir[64], file[80];
static const hs_plan plan = {.token_cycle = 40, .moe_layers = 10, .bytes_per_token_cold = 40 * 200000};

static int setup(void **state)
{
    (void)state;
    static char bytes[BYTES];
    hs_err err;
    snprintf(dir, sizeof dir, "/tmp/hotset-pace-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/model", dir);
    return hs_file_write_atomic(file, bytes, sizeof bytes, &err);
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    return system(command);
}

static void keep(double bytes_per_s, double lone)
{
    hs_io_choice c = hs_io_choice_default();
    hs_err err = {0};
    c.read_size = 1 << 20;
    c.buffered = true;
    c.bytes_per_s = c.default_bytes_per_s = bytes_per_s;
    c.lone_bytes_per_s = lone;
    if (hs_calibration_save(dir, file, &c, &err) < 0)
        fail_msg("%s", err.text);
}

static hs_drive_source find(const hs_engine_options *opt, hs_drive *ret)
{
    *ret = (hs_drive){0};
    return hs_drive_find(dir, opt, &plan, NULL, 0.5, NULL, ret);
}

static void near(double x, double y)
{
    if (fabs(x - y) > 1e-6 * fabs(y))
        fail_msg("%g instead of %g", x, y);
}

static void test_kept(void **state)
{
    (void)state;
    static const hs_calibrate_mode modes[] = {HS_CALIBRATE_KEPT, HS_CALIBRATE_ONCE};
    keep(123456789, 50000000);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        hs_engine_options opt = {.path = dir, .state_dir = dir, .io_calibrate = modes[i]};
        hs_drive d;
        assert_int_equal(find(&opt, &d), HS_DRIVE_KEPT);
        near(d.bytes_per_s, 123456789);
        near(d.each_s, 200000 / 123456789.0);
        near(d.first_s, (1 << 20) / 50000000.0 - (1 << 20) / 123456789.0);
    }
    keep(1e8, 2e8); /* one read alone cannot be faster */
    hs_engine_options opt = {.path = dir, .state_dir = dir, .io_calibrate = HS_CALIBRATE_KEPT};
    hs_drive d;
    assert_int_equal(find(&opt, &d), HS_DRIVE_KEPT);
    assert_true(d.first_s == 0);
}

static void test_measured(void **state)
{
    (void)state;
    hs_drive d;
    keep(1, 1); /* nobody's drive */
    hs_engine_options opt = {.path = dir, .state_dir = dir, .io_calibrate = HS_CALIBRATE_OFF, .io_buffered = true};
    assert_int_equal(find(&opt, &d), HS_DRIVE_MEASURED);
    assert_true(d.bytes_per_s > 1 && d.first_s + d.each_s > 0);
    opt.io_calibrate = HS_CALIBRATE_ALWAYS;
    assert_int_equal(find(&opt, &d), HS_DRIVE_MEASURED);
    opt = (hs_engine_options){.path = dir, .io_calibrate = HS_CALIBRATE_KEPT, .io_buffered = true};
    assert_int_equal(find(&opt, &d), HS_DRIVE_MEASURED);
    opt.state_dir = dir;
    assert_int_equal(find(&opt, &d), HS_DRIVE_KEPT);
    keep(1, 0); /* kept by a version that did not read alone */
    assert_int_equal(find(&opt, &d), HS_DRIVE_MEASURED);
    assert_true(d.bytes_per_s > 1);
    opt.path = "/nowhere/at all";
    assert_int_equal(hs_drive_find(opt.path, &opt, &plan, NULL, 0.5, NULL, &d), HS_DRIVE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept), cmocka_unit_test(test_measured)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
