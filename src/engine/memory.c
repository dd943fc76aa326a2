/* memory.c - reads /proc and /sys/fs/cgroup; no state. Figures that cannot be read do not limit. */
#include "engine/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#define MIN_RESERVE (512ull << 20)

/* The number in a one-number file ("max" and absent files: UINT64_MAX). */
static uint64_t read_number(const char *path)
{
    uint64_t v = UINT64_MAX;
    FILE *f = fopen(path, "re");
    if (!f)
        return v;
    if (fscanf(f, "%" SCNu64, &v) != 1)
        v = UINT64_MAX;
    fclose(f);
    return v;
}

/* The value after `key` in a file of "key value" lines, times unit; def if absent. */
static uint64_t read_field(const char *path, const char *key, uint64_t unit, uint64_t def)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return def;
    char line[256];
    size_t n = strlen(key);
    uint64_t v = def, got;
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, key, n) && (line[n] == ':' || line[n] == ' ') &&
            sscanf(line + n + 1, "%" SCNu64, &got) == 1) {
            v = got * unit;
            break;
        }
    }
    fclose(f);
    return v;
}

static uint64_t machine_available(void)
{
    uint64_t v = read_field("/proc/meminfo", "MemAvailable", 1024, UINT64_MAX);
    struct sysinfo si;
    if (v == UINT64_MAX && sysinfo(&si) == 0)
        v = ((uint64_t)si.freeram + si.bufferram) * si.mem_unit;
    return v;
}

/* What one group still allows; its inactive page cache can be reclaimed. */
static uint64_t group_left(const char *dir, const char *limit, const char *usage, const char *inactive)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, limit);
    uint64_t max = read_number(path);
    if (max >= UINT64_MAX / 4)
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", dir, usage);
    uint64_t used = read_number(path);
    if (used == UINT64_MAX)
        used = 0;
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    uint64_t cache = read_field(path, inactive, 1, 0);
    used -= cache < used ? cache : used;
    return used < max ? max - used : 0;
}

/* The least over the group of `sub` and all groups above it, below root. */
static uint64_t chain_left(const char *root, const char *sub, const char *limit, const char *usage,
                           const char *inactive)
{
    char dir[512];
    uint64_t left = UINT64_MAX;
    int n = snprintf(dir, sizeof dir, "%s%s", root, sub);
    if (n < 0 || n >= (int)sizeof dir)
        return left;
    size_t root_len = strlen(root);
    for (;;) {
        uint64_t here = group_left(dir, limit, usage, inactive);
        left = here < left ? here : left;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < root_len)
            return left;
        *slash = '\0';
    }
}

static uint64_t cgroup_left(void)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return UINT64_MAX;
    char line[512];
    uint64_t left = UINT64_MAX;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        uint64_t here = UINT64_MAX;
        if (!strcmp(controllers, ":"))
            here = chain_left("/sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file");
        else if (strstr(controllers, "memory"))
            here = chain_left("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes",
                              "total_inactive_file");
        left = here < left ? here : left;
    }
    fclose(f);
    return left;
}

uint64_t hs__memory_available(void)
{
    uint64_t machine = machine_available(), group = cgroup_left();
    uint64_t least = machine < group ? machine : group;
    uint64_t own = read_field("/proc/self/status", "VmRSS", 1024, 0);
    return least == UINT64_MAX ? least : least + own;
}

uint64_t hs__memory_auto_limit(uint64_t available)
{
    uint64_t reserve = available / 8;
    if (reserve < MIN_RESERVE)
        reserve = MIN_RESERVE < available / 4 ? MIN_RESERVE : available / 4;
    return available - reserve;
}
