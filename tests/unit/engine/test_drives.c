/* labels: unit */
/* test_drives.c - several drives: which they are and what share each has; what they are together, beside every way in
 * which experts may fall, counted one by one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pack/pack.h"
#include "tale.h"

#define READ_SIZE (1u << 20)

/* Four experts of 1 MiB a layer. */
static const hs_plan plan = {.token_cycle = 40, .moe_layers = 10, .bytes_per_token_cold = 40ull << 20};
static const hs_drive quick = {2e9, 0.0001, 0.0005}, slow = {1e9, 0.0002, 0.001}, third = {5e8, 0.0003, 0.002};

static void near(double a, double b)
{
    if (fabs(a - b) > 1e-6 * fabs(b))
        fail_msg("%g instead of %g", a, b);
}

static double wave(hs_drive d, uint32_t n)
{
    return d.first_s + n * d.each_s;
}

/* Drives with these shares of one copy. */
static hs_drives striped(bool is_cut, uint32_t n, const double *share)
{
    hs_drives d = {.n = n, .is_cut = is_cut};
    for (uint32_t i = 0; i < n; i++)
        d.drive[i].share = share[i];
    return d;
}

/* Mean over all ways in which `left` experts may fall on the drives. */
static double each_way(const hs_drives *d, const hs_drive *of, uint32_t left, uint32_t *on)
{
    double mean = 0;
    for (uint32_t i = 0; left && i < d->n; i++) {
        on[i]++;
        mean += d->drive[i].share * each_way(d, of, left - 1, on);
        on[i]--;
    }
    for (uint32_t i = 0; !left && i < d->n; i++)
        mean = on[i] ? fmax(mean, wave(of[i], on[i])) : mean;
    return mean;
}

static void test_one(void **state)
{
    (void)state;
    hs_drives d = striped(false, 1, (double[]){1});
    hs_drive x = hs_drives_join(&plan, &d, READ_SIZE, &slow);
    near(x.bytes_per_s, slow.bytes_per_s);
    near(x.first_s, slow.first_s);
    near(x.each_s, slow.each_s);
}

/* Pieces of one expert come from all at once: the slowest piece counts, whether one or many are missing. */
static void test_cut(void **state)
{
    (void)state;
    const hs_drive of[] = {quick, slow};
    hs_drives by_rate = striped(true, 2, (double[]){2 / 3.0, 1 / 3.0}), even = striped(true, 2, (double[]){0.5, 0.5});
    hs_drive x = hs_drives_join(&plan, &by_rate, READ_SIZE, of);
    near(x.bytes_per_s, 3e9);
    near(x.each_s, 0.001 / 3);
    near(x.first_s, 0.0002);
    x = hs_drives_join(&plan, &even, READ_SIZE, of);
    near(x.bytes_per_s, 2e9); /* half of all comes from the slow one */
    near(x.each_s, 0.0005);
}

/* Whole experts: one comes from one drive; of four, the mean of the drive that got most. */
static void test_dealt(void **state)
{
    (void)state;
    const hs_drive of[] = {quick, slow, third};
    const double shares[][3] = {{0.5, 0.5, 0}, {2 / 3.0, 1 / 3.0, 0}, {4 / 7.0, 2 / 7.0, 1 / 7.0}};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t on[3] = {0};
        hs_drives d = striped(false, i < 2 ? 2 : 3, shares[i]);
        hs_drive x = hs_drives_join(&plan, &d, READ_SIZE, of);
        near(wave(x, 1), each_way(&d, of, 1, on));
        near(wave(x, 4), each_way(&d, of, 4, on));
        assert_true(wave(x, 4) > 4 * plan.bytes_per_token_cold / 40.0 / x.bytes_per_s);
    }
    /* As many as a layer can have still make a chance. */
    hs_plan wide = {.token_cycle = 64, .moe_layers = 1, .bytes_per_token_cold = 64ull << 20};
    hs_drives d = striped(false, 2, (double[]){0.5, 0.5});
    hs_drive x = hs_drives_join(&wide, &d, READ_SIZE, (hs_drive[]){slow, slow});
    assert_true(wave(x, 64) > wave(slow, 32) && wave(x, 64) < wave(slow, 38));
}

/* Copies add up; one expert that is a single read is as fast as the faster drive, one of many reads as both. */
static void test_copies(void **state)
{
    (void)state;
    const hs_drive of[] = {quick, slow};
    hs_drives d = striped(false, 2, (double[]){1, 1});
    d.drive[1].copy = 1;
    hs_drive x = hs_drives_join(&plan, &d, READ_SIZE, of);
    near(x.bytes_per_s, 3e9);
    near(wave(x, 1), wave(quick, 1));
    near(wave(x, 4), wave(quick, 3));           /* and one from the slow drive, meanwhile */
    const hs_drive late = {1e9, 0.0001, 0.001}; /* begins as early, ends later */
    x = hs_drives_join(&plan, &d, READ_SIZE, (hs_drive[]){late, quick});
    near(wave(x, 1), wave(quick, 1));
    hs_plan big = plan;
    big.bytes_per_token_cold *= 30;
    x = hs_drives_join(&big, &d, READ_SIZE, of);
    assert_true(wave(x, 1) < 0.8 * wave(quick, 1));
    /* A striped copy beside a whole one. */
    d = (hs_drives){.n = 3, .is_cut = true, .drive = {{.share = 0.5}, {.share = 0.5}, {.share = 1, .copy = 1}}};
    x = hs_drives_join(&plan, &d, READ_SIZE, (hs_drive[]){slow, slow, third});
    near(x.bytes_per_s, 2.5e9);
}

/* ---- which they are ---- */

static char other[64], mirror[64];

/* A folder on a drive that is not that of dir. */
static bool elsewhere(const char *dir, char *ret, size_t cap)
{
    struct stat a, b;
    snprintf(ret, cap, "/dev/shm/hotset-drives-XXXXXX");
    return stat(dir, &a) == 0 && stat("/dev/shm", &b) == 0 && a.st_dev != b.st_dev && mkdtemp(ret);
}

static void remove_folder(const char *path)
{
    char command[160];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    if (*path)
        assert_int_equal(system(command), 0);
}

static hs_drives found(const char *path, const char *mirrors)
{
    hs_engine_options opt = tale_options((hs_engine_options){.path = path, .mirror = mirrors});
    hs_drives d;
    hs_err err = {0};
    if (hs_drives_find(&opt, &d, &err) < 0)
        fail_msg("%s", err.text);
    return d;
}

static void test_find(void **state)
{
    (void)state;
    hs_drives d = found(TALE, NULL);
    assert_int_equal(d.n, 1);
    assert_true(d.drive[0].share == 1 && d.drive[0].copy == 0);
    assert_non_null(strstr(d.drive[0].file, "tale-moe-fp8/model"));
    hs_drives_deinit(&d);
    assert_int_equal(d.n, 0);
    hs_engine_options nowhere = {.path = "/nowhere"};
    hs_err err = {0};
    assert_true(hs_drives_find(&nowhere, &d, &err) < 0);
}

static void test_find_several(void **state)
{
    (void)state;
    char packed[64] = "/tmp/hotset-drives-XXXXXX", command[256];
    hs_err err = {0};
    assert_non_null(mkdtemp(packed));
    if (!elsewhere(packed, other, sizeof other) || !elsewhere(TALE, mirror, sizeof mirror)) {
        remove_folder(packed);
        skip();
    }
    for (int cut = 0; cut < 2; cut++) {
        const char *stripe[] = {other};
        hs_pack_options p = {.src = TALE,
                             .dst = packed,
                             .codec = HS_PACK_RAW,
                             .threads = 2,
                             .stripe = stripe,
                             .n_stripe = 1,
                             .shares = (const uint32_t[]){3, 1},
                             .split_bytes = cut ? 16 << 10 : 1 << 20};
        if (hs_pack(&p, &err) < 0)
            fail_msg("%s", err.text);
        hs_drives d = found(packed, NULL);
        assert_int_equal(d.n, 2);
        assert_int_equal(d.is_cut, cut);
        assert_true(d.drive[0].share > 0.7 && d.drive[0].share < 0.8);
        near(d.drive[0].share + d.drive[1].share, 1);
        assert_ptr_equal(strstr(d.drive[0].file, packed), d.drive[0].file);
        assert_ptr_equal(strstr(d.drive[1].file, other), d.drive[1].file);
        assert_true(d.drive[0].copy == 0 && d.drive[1].copy == 0);
        hs_drives_deinit(&d);
        snprintf(command, sizeof command, "rm -r '%s'/* '%s'/*", packed, other);
        assert_int_equal(system(command), 0);
    }
    /* A copy on another drive adds to the model; one on the model's own drive does not. */
    snprintf(command, sizeof command, "cp -r '%s'/. '%s' && cp -r '%s'/. '%s'", TALE, mirror, TALE, packed);
    assert_int_equal(system(command), 0);
    hs_drives d = found(TALE, mirror);
    assert_int_equal(d.n, 2);
    assert_true(d.drive[1].copy == 1 && d.drive[1].share == 1 && d.drive[0].share == 1 && !d.is_cut);
    assert_ptr_equal(strstr(d.drive[1].file, mirror), d.drive[1].file);
    hs_drives_deinit(&d);
    char both[160];
    snprintf(both, sizeof both, "%s,%s", mirror, other);
    snprintf(command, sizeof command, "cp -r '%s'/. '%s'", TALE, other);
    assert_int_equal(system(command), 0);
    d = found(TALE, both); /* two copies on one drive */
    assert_int_equal(d.n, 2);
    assert_true(d.drive[0].share == 1 && d.drive[1].share == 1);
    hs_drives_deinit(&d);
    remove_folder(packed);
    remove_folder(other);
    remove_folder(mirror);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one),   cmocka_unit_test(test_cut),
                                       cmocka_unit_test(test_dealt), cmocka_unit_test(test_copies),
                                       cmocka_unit_test(test_find),  cmocka_unit_test(test_find_several)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
