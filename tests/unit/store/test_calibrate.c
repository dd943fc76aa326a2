/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/calibrate.h"
#include "store/device.h"

/* A drive that is not there, with a clock of its own: how fast each way is, on top of 1 GB/s or `rate`. What is in
 * flight when a measurement ends has to land still. */
static struct {
    uint64_t now;
    double rate;
    uint32_t silent_from, given_up; /* measurements: the first that does not end by itself; how many did not */
    double pread, buffered, small, big, shallow; /* factors */
    double once;                                 /* of the first measurement of each way but the default */
    bool no_uring;
    uint32_t n, stop_after;
    double seconds;
    uint64_t most_memory;
} drive;

static void reset(void)
{
    memset(&drive, 0, sizeof drive);
    drive.pread = drive.buffered = drive.small = drive.big = drive.shallow = 1;
    drive.rate = 1e9;
    drive.now = 77;
}

static uint64_t now(void)
{
    return drive.now;
}

static int measure(const char *file, const hs_disk_run *run, hs_disk_result *ret, hs_err *err)
{
    (void)file;
    bool pread = !strcmp(run->engine, "pread");
    double rate = drive.rate;
    drive.n++;
    drive.seconds += run->max_seconds;
    if (run->in_flight > drive.most_memory)
        drive.most_memory = run->in_flight;
    if (drive.no_uring && !pread)
        return hs_err_set(err, -EPERM, "io_uring is denied");
    assert_true(run->random && !run->bare);
    rate *= pread ? drive.pread : 1;
    rate *= run->buffered ? drive.buffered : 1;
    rate *= run->request_bytes < 1 << 20 ? drive.small : run->request_bytes > 1 << 20 ? drive.big : 1;
    rate *= run->in_flight < 16 << 20 ? drive.shallow : 1;
    if (drive.once > 0 && run->max_seconds < 0.14 && drive.n > 2)
        rate *= drive.once; /* a short measurement while the drive was in a good mood */
    uint64_t ends = drive.now + (uint64_t)((run->max_seconds + (double)run->in_flight / rate) * 1e9);
    bool silent = drive.silent_from && drive.n >= drive.silent_from;
    if (run->give_up_ns && (silent || ends > run->give_up_ns)) {
        drive.given_up++;
        drive.now = run->give_up_ns;
        return hs_err_set(err, -ETIMEDOUT, "silent");
    }
    assert_false(silent); /* would wait for ever */
    drive.now = ends;
    *ret = (hs_disk_result){.bytes = (uint64_t)rate, .busy_s = 1, .direct = true};
    return 0;
}

static int on_trial(void *ctx, const hs_io_choice *how, double bytes_per_s)
{
    (void)ctx;
    assert_true(how->read_size && bytes_per_s > 0);
    return drive.stop_after && drive.n >= drive.stop_after;
}

static hs_io_choice run(int want)
{
    hs_calibrate_config c = {.measure = measure, .on_trial = on_trial, .now = now};
    hs_io_choice choice = {0};
    hs_err err = {0};
    drive.n = 0;
    drive.seconds = 0;
    uint64_t begun = drive.now;
    assert_int_equal(hs_calibrate("a file", &c, &choice, &err), want);
    assert_true(drive.now - begun <= (uint64_t)(HS_CALIBRATE_SECONDS * 1e9));
    return choice;
}

static void is_default(const hs_io_choice *c)
{
    hs_io_choice d = hs_io_choice_default();
    assert_int_equal(c->engine, d.engine);
    assert_int_equal(c->buffered, d.buffered);
    assert_int_equal(c->read_size, d.read_size);
    assert_int_equal(c->in_flight, d.in_flight);
    assert_true(fabs(c->bytes_per_s - 1e9) < 1);
    assert_true(c->default_bytes_per_s == c->bytes_per_s);
}

static void defaults_stay(void **state)
{
    (void)state;
    reset();
    hs_io_choice c = run(0);
    is_default(&c);
    assert_true(drive.seconds < 1.5); /* nothing had to prove itself */
    drive.pread = drive.buffered = drive.small = drive.big = drive.shallow = 1.049;
    c = run(0);
    is_default(&c);
    drive.once = 1.5;
    c = run(0);
    is_default(&c);
}

static void what_is_better_is_taken(void **state)
{
    (void)state;
    reset();
    drive.big = 1.06;
    hs_io_choice c = run(0);
    assert_int_equal(c.read_size, 2 << 20);
    assert_int_equal(c.engine, HS_IO_URING);
    assert_true(fabs(c.bytes_per_s / 1.06e9 - 1) < 1e-6 && fabs(c.default_bytes_per_s / 1e9 - 1) < 1e-6);
    reset();
    drive.pread = 1.2;
    drive.small = 1.1;
    drive.shallow = 1.1;
    c = run(0);
    assert_int_equal(c.engine, HS_IO_PREAD);
    assert_false(c.buffered);
    assert_true(c.read_size < 1 << 20 && c.in_flight < 16 << 20);
    assert_true(fabs(c.default_bytes_per_s / 1e9 - 1) < 1e-6);
    reset();
    drive.buffered = 2;
    c = run(0);
    assert_true(c.buffered);
}

static void bounded(void **state)
{
    (void)state;
    reset();
    drive.pread = drive.small = drive.shallow = 1.3; /* every axis proves something */
    run(0);
    assert_true(drive.seconds <= HS_CALIBRATE_SECONDS);
    assert_true(drive.most_memory <= HS_LOAD_SCRATCH_BYTES);
    hs_calibrate_config c = {.measure = measure, .seconds = 0.1};
    hs_io_choice choice;
    hs_err err = {0};
    drive.n = 0;
    assert_int_equal(hs_calibrate("a file", &c, &choice, &err), -ETIME);
    assert_int_equal(drive.n, 0);
}

/* Nothing is begun that would not end in time, and what little could be measured is the answer. */
static void a_slow_drive_is_measured_in_time(void **state)
{
    (void)state;
    static const double rates[] = {300e6, 100e6, 20e6, 8e6, 4e6};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        reset();
        drive.rate = rates[i];
        drive.pread = 1.3;
        hs_io_choice c = run(0);
        assert_int_equal(drive.given_up, 0);
        assert_true(drive.n >= (rates[i] >= 100e6 ? 8 : rates[i] >= 20e6 ? 3 : 1));
        double of = c.bytes_per_s / drive.rate;
        assert_true(fabs(of - (c.engine == HS_IO_PREAD ? 1.3 : 1)) < 1e-6);
    }
    reset();
    drive.rate = 1e6; /* the first reads alone take longer */
    run(-ETIMEDOUT);
    assert_int_equal(drive.n, 1);
}

/* From whichever measurement on: what stood before stays. */
static void a_drive_that_falls_silent_is_left(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 30; n++) {
        reset();
        drive.pread = drive.small = drive.shallow = 1.3;
        drive.silent_from = n;
        hs_io_choice c = run(n == 1 ? -ETIMEDOUT : 0);
        assert_true(drive.given_up <= 1);
        if (n > 1 && n < 10)
            is_default(&c);
    }
}

static void without_io_uring(void **state)
{
    (void)state;
    reset();
    drive.no_uring = true;
    drive.shallow = 1.2;
    hs_io_choice c = run(0);
    assert_int_equal(c.engine, HS_IO_PREAD);
    assert_true(c.in_flight < 16 << 20);
}

static void stopped(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 20; n++) {
        reset();
        drive.pread = drive.small = drive.shallow = 1.3;
        drive.stop_after = n;
        run(-ECANCELED);
        assert_int_equal(drive.n, n);
    }
}

/* ---- kept results ---- */

static char dir[64], drive_file[400];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hotset-calibrate-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

/* Path of the only file in dir. */
static void find(void)
{
    DIR *d = opendir(dir);
    *drive_file = '\0';
    for (struct dirent *e; (e = readdir(d));)
        if (*e->d_name != '.')
            snprintf(drive_file, sizeof drive_file, "%s/%s", dir, e->d_name);
    closedir(d);
}

static int teardown(void **state)
{
    (void)state;
    find();
    unlink(drive_file);
    return rmdir(dir);
}

static void kept(void **state)
{
    (void)state;
    hs_io_choice in = {HS_IO_PREAD, true, 512 << 10, 8 << 20, 2e9, 1e9, 5e8}, out;
    hs_err err = {0};
    assert_int_equal(hs_calibration_load(dir, dir, &out, &err), -ENOENT);
    assert_int_equal(hs_calibration_save(dir, dir, &in, &err), 0);
    assert_int_equal(hs_calibration_load(dir, dir, &out, &err), 0);
    assert_int_equal(out.engine, in.engine);
    assert_int_equal(out.buffered, in.buffered);
    assert_int_equal(out.read_size, in.read_size);
    assert_int_equal(out.in_flight, in.in_flight);
    assert_true(out.bytes_per_s == in.bytes_per_s && out.default_bytes_per_s == in.default_bytes_per_s);
    assert_true(out.lone_bytes_per_s == in.lone_bytes_per_s);
    assert_int_equal(hs_calibration_load(dir, "/nowhere/at all", &out, &err), -ENOENT);
    assert_int_equal(hs_calibration_save("/dev/null/x", dir, &in, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "/dev/null"));
}

/* Whatever stands in the file: an error, and nothing is taken from it. */
static void damaged(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {{"\"io_uring\"", "\"mmap\""},
                                           {"1048576", "1048577"},
                                           {"1048576", "0"},
                                           {"16777216", "999999999999"},
                                           {"\"version\": 1", "\"version\": 2"},
                                           {"filesystem", "filesystex"},
                                           {"{", "["},
                                           {"\"bytes_per_s\": 0.0", "\"bytes_per_s\": -1"},
                                           {"\"bytes_per_s\": 0.0", "\"bytes_per_s\": 1e99"},
                                           {"lone_bytes_per_s\": 0.0", "lone_bytes_per_s\": 1e99"},
                                           {"true", "\"true\""}};
    hs_io_choice in = hs_io_choice_default(), out;
    hs_err err = {0};
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(hs_calibration_save(dir, dir, &in, &err), 0);
    find();
    assert_int_equal(hs_file_read(drive_file, 4096, &text, &len, &err), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char bad[4096], *at = strstr(text, wrong[i][0]);
        assert_non_null(at);
        int n = snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - text), text, wrong[i][1], at + strlen(wrong[i][0]));
        assert_int_equal(hs_file_write_atomic(drive_file, bad, (size_t)n, &err), 0);
        err = (hs_err){0};
        assert_true(hs_calibration_load(dir, dir, &out, &err) < 0);
        assert_non_null(strstr(err.text, drive_file));
    }
    free(text);
}

static void drives_are_told_apart(void **state)
{
    (void)state;
    char here[400], there[400];
    hs_err err = {0};
    assert_int_equal(hs_device_describe(dir, here, sizeof here, &err), 0);
    assert_int_equal(hs_device_describe("/proc", there, sizeof there, &err), 0);
    assert_string_not_equal(here, there);
    assert_int_equal(hs_device_describe(dir, there, sizeof there, &err), 0);
    assert_string_equal(here, there);
    assert_int_equal(hs_device_describe("/nowhere/at all", there, sizeof there, &err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stay),
        cmocka_unit_test(what_is_better_is_taken),
        cmocka_unit_test(bounded),
        cmocka_unit_test(a_slow_drive_is_measured_in_time),
        cmocka_unit_test(a_drive_that_falls_silent_is_left),
        cmocka_unit_test(without_io_uring),
        cmocka_unit_test(stopped),
        cmocka_unit_test_setup_teardown(kept, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(drives_are_told_apart, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
