/* labels: unit */
/* test_memory.c - what machine and control groups leave, from made-up trees of /proc and /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/memory.h"
#include "machine.h"

#define GIB (1ull << 30)

/* 16 GiB available; this process holds 1 MiB. */
static void put_machine(void)
{
    machine_put("/proc/meminfo",
                "MemTotal:       33554432 kB\nMemFree:         1048576 kB\nMemAvailable:   16777216 kB\n");
    machine_put("/proc/self/status", "Name:\thotset\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n");
}

static uint64_t left(void)
{
    return hs__memory_available_below(machine_root) - (1u << 20);
}

static void test_machine(void **state)
{
    (void)state;
    put_machine();
    assert_int_equal(left(), 16 * GIB);
    machine_put("/proc/self/cgroup", "0::/\n"); /* no files there */
    assert_int_equal(left(), 16 * GIB);
}

static void test_nothing_known(void **state)
{
    (void)state;
    uint64_t sysinfo_says = hs__memory_available_below(machine_root);
    assert_true(sysinfo_says > 0 && sysinfo_says < UINT64_MAX);
}

static void test_v2(void **state)
{
    (void)state;
    put_machine();
    machine_put("/proc/self/cgroup", "0::/system.slice/hotset.service\n");
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.max", "4294967296\n");
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.current", "1073741824\n");
    assert_int_equal(left(), 3 * GIB);
    /* page cache is free memory */
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.stat",
                "anon 100\nfile 900000000\ninactive_file 268435456\nactive_file 268435456\n");
    assert_int_equal(left(), 3 * GIB + GIB / 2);
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", "2147483648\n");
    assert_int_equal(left(), GIB + GIB / 2);
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.high", "max\n");
    assert_int_equal(left(), 3 * GIB + GIB / 2);
    /* a slice above is tighter */
    machine_put("/sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
    machine_put("/sys/fs/cgroup/system.slice/memory.current", "1610612736\n");
    assert_int_equal(left(), GIB / 2);
    machine_put("/sys/fs/cgroup/system.slice/memory.current", "9663676416\n"); /* over its limit */
    assert_int_equal(hs__memory_available_below(machine_root),
                     0); /* what is over is not there for this process either */
    machine_put("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    machine_put("/sys/fs/cgroup/system.slice/hotset.service/memory.max", "max\n");
    assert_int_equal(left(), 16 * GIB);
}

/* In a container the group is the root of what is mounted. */
static void test_v2_container(void **state)
{
    (void)state;
    put_machine();
    machine_put("/proc/self/cgroup", "0::/\n");
    machine_put("/sys/fs/cgroup/memory.max", "1073741824\n");
    machine_put("/sys/fs/cgroup/memory.current", "0\n");
    assert_int_equal(left(), GIB);
}

static void test_v1(void **state)
{
    (void)state;
    put_machine();
    machine_put("/proc/self/cgroup", "12:cpu,cpuacct:/a\n5:memory:/docker/0123\n1:name=systemd:/x\n0::/ignored\n");
    machine_put("/sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "3221225472\n");
    machine_put("/sys/fs/cgroup/memory/docker/0123/memory.usage_in_bytes", "2147483648\n");
    machine_put("/sys/fs/cgroup/memory/docker/0123/memory.stat", "inactive_file 1\ntotal_inactive_file 1073741824\n");
    assert_int_equal(left(), 2 * GIB);
    machine_put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* v1's "no limit" */
    assert_int_equal(left(), 2 * GIB);
    machine_put("/sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(left(), 16 * GIB);
}

static void test_damaged_files(void **state)
{
    (void)state;
    put_machine();
    machine_put("/proc/self/cgroup", "\n:\n0:\nnonsense\n0::\n7:memory:/../../..\n");
    machine_put("/sys/fs/cgroup/memory.max", "lots\n");
    assert_int_equal(left(), 16 * GIB);
    char line[3000];
    memset(line, 'a', sizeof line);
    memcpy(line, "0::/", 4);
    line[sizeof line - 1] = '\0';
    machine_put("/proc/self/cgroup", line);
    assert_int_equal(left(), 16 * GIB);
}

/* A group whose limit has been lowered under what is used: this process has to come down by as much. */
static void test_over_the_limit(void **state)
{
    (void)state;
    put_machine();
    machine_put("/proc/self/status", "VmRSS:\t 2097152 kB\n");
    machine_put("/proc/self/cgroup", "0::/hotset\n");
    machine_put("/sys/fs/cgroup/hotset/memory.current", "3221225472\n");
    machine_put("/sys/fs/cgroup/hotset/memory.max", "max\n");
    machine_put("/sys/fs/cgroup/hotset/memory.high", "2147483648\n");
    hs__memory m;
    hs__memory_look(machine_root, &m);
    assert_int_equal(m.own, 2 * GIB);
    assert_int_equal(m.budget, GIB);
}

static void test_pressure(void **state)
{
    (void)state;
    hs__memory m;
    put_machine();
    hs__memory_look(machine_root, &m);
    assert_int_equal(m.stalled_us[0] + m.stalled_us[1], 0);
    machine_put("/proc/self/cgroup", "0::/hotset\n");
    machine_put("/proc/pressure/memory",
                "some avg10=0.00 avg60=1.00 avg300=0.00 total=1234567\nfull avg10=0.00 total=99\n");
    machine_put("/sys/fs/cgroup/hotset/memory.pressure", "some avg10=0.00 total=17\n");
    hs__memory_look(machine_root, &m);
    assert_int_equal(m.stalled_us[0], 1234567);
    assert_int_equal(m.stalled_us[1], 17);
    machine_put("/proc/pressure/memory", "some avg10=0.00 total=many\n");
    hs__memory_look(machine_root, &m);
    assert_int_equal(m.stalled_us[0], 0);
    machine_put("/proc/pressure/memory", "some avg10=0.00 total=1234567\n");
    machine_put("/sys/fs/cgroup/hotset/memory.max", "1048576\n"); /* what others stand still for is not our lack */
    hs__memory_look(machine_root, &m);
    assert_int_equal(m.stalled_us[0], 0);
    assert_int_equal(m.stalled_us[1], 17);
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
        cmocka_unit_test_setup_teardown(test_machine, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_nothing_known, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_v2, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_v2_container, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_v1, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_damaged_files, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_over_the_limit, machine_create, machine_destroy),
        cmocka_unit_test_setup_teardown(test_pressure, machine_create, machine_destroy),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
