/* labels: unit */
/* What is judged healthy, on a machine made of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "cli/doctor.h"

static hs_doctor d;

static void put(const char *dir, const char *path, const char *text)
{
    char full[512];
    hs_err err = {0};
    for (const char *p = path; (p = strchr(p + 1, '/'));) {
        snprintf(full, sizeof full, "%s%.*s", dir, (int)(p - path), path);
        mkdir(full, 0700);
    }
    snprintf(full, sizeof full, "%s%s", dir, path);
    assert_int_equal(hs_file_write_atomic(full, text, strlen(text), &err), 0);
}

static void expect(hs_health health, const char *text)
{
    const hs_finding *f = &d.findings[d.n - 1];
    assert_int_equal(f->health, health);
    assert_non_null(strstr(f->text, text));
    assert_true(health == HS_HEALTH_OK || *f->advice || strstr(text, "cannot be read") || strstr(text, "not tell"));
}

static void test_machine(void **state)
{
    (void)state;
    char dir[] = "/tmp/hotset-doctor-XXXXXX", command[64];
    assert_non_null(mkdtemp(dir));
    d = (hs_doctor){.root = dir};
    hs_doctor_kernel(&d, "6.1.0-18-amd64");
    expect(HS_HEALTH_OK, "6.1.0-18");
    hs_doctor_kernel(&d, "4.19.0");
    expect(HS_HEALTH_WARN, "pool of threads");
    hs_doctor_swap(&d);
    expect(HS_HEALTH_WARN, "not tell");
    hs_doctor_huge_pages(&d);
    expect(HS_HEALTH_WARN, "cannot be read");
    hs_doctor_pressure(&d);
    expect(HS_HEALTH_WARN, "no pressure stall information");
    hs_doctor_io_uring(&d, 0);
    expect(HS_HEALTH_OK, "allowed");
    hs_doctor_io_uring(&d, -EPERM);
    expect(HS_HEALTH_WARN, "refused");
    put(dir, "/proc/sys/kernel/io_uring_disabled", "2\n");
    hs_doctor_io_uring(&d, -EPERM);
    expect(HS_HEALTH_WARN, "io_uring_disabled is 2");
    hs_doctor_memlock(&d, 8 << 20);
    expect(HS_HEALTH_WARN, "8.0 MiB");
    hs_doctor_memlock(&d, UINT64_MAX);
    expect(HS_HEALTH_OK, "unlimited");
    put(dir, "/proc/meminfo", "MemTotal: 5 kB\nSwapTotal:  2097152 kB\n");
    hs_doctor_swap(&d);
    expect(HS_HEALTH_WARN, "2.0 GiB");
    put(dir, "/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    hs_doctor_huge_pages(&d);
    expect(HS_HEALTH_WARN, "[never]");
    put(dir, "/proc/pressure/memory", "some avg10=0.00\nfull\n");
    hs_doctor_pressure(&d);
    expect(HS_HEALTH_OK, "avg10");
    hs_doctor_state_dir(&d, "");
    expect(HS_HEALTH_WARN, "no folder");
    hs_doctor_state_dir(&d, "/dev/null/x");
    expect(HS_HEALTH_WARN, "/dev/null/x");
    hs_doctor_drive(&d, "x", 99999, 1);
    expect(HS_HEALTH_WARN, "no block device");
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

static void test_report(void **state)
{
    (void)state;
    d = (hs_doctor){.root = ""};
    hs_doctor_add(&d, "model", HS_HEALTH_FAIL, "buy memory", "too \x1b big");
    hs_buf b;
    hs_buf_init(&b, 4096);
    hs_doctor_format(&d, &b);
    assert_string_equal(b.data, "FAIL  model       too ? big\n                  -> buy memory\n");
    hs_buf_deinit(&b);
    json_t *o = hs_doctor_json(&d);
    assert_int_equal(json_integer_value(json_object_get(o, "failures")), 1);
    json_decref(o);
    for (int i = 0; i < 100; i++)
        hs_doctor_add(&d, "x", HS_HEALTH_OK, NULL, "x");
    assert_int_equal(d.n, HS_DOCTOR_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_machine), cmocka_unit_test(test_report)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
