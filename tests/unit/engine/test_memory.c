/* labels: unit */
/* test_memory.c - what machine and control groups leave, from made-up trees of /proc and /sys. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/memory.h"

#define GIB (1ull << 30)

static char root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int create_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/hotset-memory-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int destroy_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file below root, with the folders on the way. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* 16 GiB available; this process holds 1 MiB. */
static void put_machine(void)
{
    put("/proc/meminfo", "MemTotal:       33554432 kB\nMemFree:         1048576 kB\nMemAvailable:   16777216 kB\n");
    put("/proc/self/status", "Name:\thotset\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n");
}

static uint64_t left(void)
{
    return hs__memory_available_below(root) - (1u << 20);
}

static void test_machine(void **state)
{
    (void)state;
    put_machine();
    assert_int_equal(left(), 16 * GIB);
    put("/proc/self/cgroup", "0::/\n"); /* no files there */
    assert_int_equal(left(), 16 * GIB);
}

static void test_nothing_known(void **state)
{
    (void)state;
    uint64_t sysinfo_says = hs__memory_available_below(root);
    assert_true(sysinfo_says > 0 && sysinfo_says < UINT64_MAX);
}

static void test_v2(void **state)
{
    (void)state;
    put_machine();
    put("/proc/self/cgroup", "0::/system.slice/hotset.service\n");
    put("/sys/fs/cgroup/system.slice/hotset.service/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/system.slice/hotset.service/memory.current", "1073741824\n");
    assert_int_equal(left(), 3 * GIB);
    /* inactive page cache is free memory */
    put("/sys/fs/cgroup/system.slice/hotset.service/memory.stat",
        "anon 100\nfile 900000000\ninactive_file 536870912\nactive_file 5\n");
    assert_int_equal(left(), 3 * GIB + GIB / 2);
    put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", "2147483648\n");
    assert_int_equal(left(), GIB + GIB / 2);
    put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", "max\n");
    assert_int_equal(left(), 3 * GIB + GIB / 2);
    /* a slice above is tighter */
    put("/sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/system.slice/memory.current", "1610612736\n");
    assert_int_equal(left(), GIB / 2);
    put("/sys/fs/cgroup/system.slice/memory.current", "9663676416\n"); /* over its limit */
    assert_int_equal(left(), 0);
    put("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/hotset.service/memory.max", "max\n");
    assert_int_equal(left(), 16 * GIB);
}

/* In a container the group is the root of what is mounted. */
static void test_v2_container(void **state)
{
    (void)state;
    put_machine();
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/memory.current", "0\n");
    assert_int_equal(left(), GIB);
}

static void test_v1(void **state)
{
    (void)state;
    put_machine();
    put("/proc/self/cgroup", "12:cpu,cpuacct:/a\n5:memory:/docker/0123\n1:name=systemd:/x\n0::/ignored\n");
    put("/sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "3221225472\n");
    put("/sys/fs/cgroup/memory/docker/0123/memory.usage_in_bytes", "2147483648\n");
    put("/sys/fs/cgroup/memory/docker/0123/memory.stat", "inactive_file 1\ntotal_inactive_file 1073741824\n");
    assert_int_equal(left(), 2 * GIB);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* v1's "no limit" */
    assert_int_equal(left(), 2 * GIB);
    put("/sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(left(), 16 * GIB);
}

static void test_damaged_files(void **state)
{
    (void)state;
    put_machine();
    put("/proc/self/cgroup", "\n:\n0:\nnonsense\n0::\n7:memory:/../../..\n");
    put("/sys/fs/cgroup/memory.max", "lots\n");
    assert_int_equal(left(), 16 * GIB);
    char line[3000];
    memset(line, 'a', sizeof line);
    memcpy(line, "0::/", 4);
    line[sizeof line - 1] = '\0';
    put("/proc/self/cgroup", line);
    assert_int_equal(left(), 16 * GIB);
}

static void test_reserve(void **state)
{
    (void)state;
    assert_int_equal(hs__memory_auto_limit(16 * GIB), 14 * GIB);
    assert_int_equal(hs__memory_auto_limit(3 * GIB), 3 * GIB - GIB / 2);
    assert_int_equal(hs__memory_auto_limit(GIB), GIB - GIB / 4);
    assert_int_equal(hs__memory_auto_limit(0), 0);
}

static void test_here(void **state)
{
    (void)state;
    uint64_t available = hs__memory_available();
    assert_true(available > 0);
    assert_true(hs__memory_auto_limit(available) < available);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_machine, create_root, destroy_root),
        cmocka_unit_test_setup_teardown(test_nothing_known, create_root, destroy_root),
        cmocka_unit_test_setup_teardown(test_v2, create_root, destroy_root),
        cmocka_unit_test_setup_teardown(test_v2_container, create_root, destroy_root),
        cmocka_unit_test_setup_teardown(test_v1, create_root, destroy_root),
        cmocka_unit_test_setup_teardown(test_damaged_files, create_root, destroy_root),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
