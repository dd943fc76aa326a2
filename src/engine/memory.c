/* memory.c - reads /proc and /sys/fs/cgroup; no state. Figures that cannot be read do not limit. */
#include "engine/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#define MIN_RESERVE (512ull << 20)
#define MAX_PATH    768

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

static uint64_t machine_available(const char *root)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    uint64_t v = read_field(path, "MemAvailable", 1024, UINT64_MAX);
    struct sysinfo si;
    if (v == UINT64_MAX && sysinfo(&si) == 0)
        v = ((uint64_t)si.freeram + si.bufferram) * si.mem_unit;
    return v;
}

/* How a version of control groups names its files; high may be NULL. */
typedef struct group_files {
    const char *mount, *max, *high, *usage, *cache[2];
} group_files;

static const group_files v2 = {
    "/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", {"inactive_file", "active_file"}};
static const group_files v1 = {"/sys/fs/cgroup/memory",
                               "memory.limit_in_bytes",
                               NULL,
                               "memory.usage_in_bytes",
                               {"total_inactive_file", "total_active_file"}};

static uint64_t number_in(const char *dir, const char *name)
{
    char path[MAX_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return read_number(path);
}

/* Time that some task has stood still for memory, from a file of pressure stall information; 0 if there is none. */
static uint64_t read_stall(const char *path)
{
    char line[256];
    uint64_t us = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        const char *total = strstr(line, "total=");
        if (!strncmp(line, "some ", 5) && total && sscanf(total + 6, "%" SCNu64, &us) != 1)
            us = 0;
    }
    fclose(f);
    return us;
}

/* What one group still allows, below zero if it is over its limit; its page cache can be reclaimed. */
static int64_t group_left(const group_files *f, const char *dir)
{
    uint64_t max = number_in(dir, f->max), high = f->high ? number_in(dir, f->high) : UINT64_MAX;
    max = high < max ? high : max;
    if (max >= UINT64_MAX / 4)
        return INT64_MAX;
    uint64_t used = number_in(dir, f->usage);
    if (used >= UINT64_MAX / 4)
        used = 0;
    char path[MAX_PATH + 64];
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    for (int i = 0; i < 2; i++) {
        uint64_t cache = read_field(path, f->cache[i], 1, 0);
        used -= cache < used ? cache : used;
    }
    return (int64_t)max - (int64_t)used;
}

/* The least over the group `sub` and all groups above it; *ret_stalled_us: of the group itself. */
static int64_t chain_left(const group_files *f, const char *root, const char *sub, uint64_t *ret_stalled_us)
{
    char dir[MAX_PATH], pressure[MAX_PATH + 64];
    int64_t left = INT64_MAX;
    size_t top = strlen(root) + strlen(f->mount);
    int n = snprintf(dir, sizeof dir, "%s%s%s", root, f->mount, sub);
    if (n < 0 || n >= (int)sizeof dir)
        return left;
    snprintf(pressure, sizeof pressure, "%s/memory.pressure", dir);
    *ret_stalled_us = read_stall(pressure);
    for (;;) {
        int64_t here = group_left(f, dir);
        left = here < left ? here : left;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < top)
            return left;
        *slash = '\0';
    }
}

static int64_t cgroup_left(const char *root, uint64_t *ret_stalled_us)
{
    char line[MAX_PATH];
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "re");
    if (!f)
        return INT64_MAX;
    int64_t left = INT64_MAX;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        int64_t here = INT64_MAX;
        if (!strcmp(controllers, ":"))
            here = chain_left(&v2, root, path, ret_stalled_us);
        else if (strstr(controllers, "memory"))
            here = chain_left(&v1, root, path, &(uint64_t){0});
        left = here < left ? here : left;
    }
    fclose(f);
    return left;
}

/* own + left within 0 and UINT64_MAX; left INT64_MAX: no limit. */
static uint64_t budget_of(uint64_t own, int64_t left)
{
    if (left == INT64_MAX)
        return UINT64_MAX;
    return left < 0 && (uint64_t)-left > own ? 0 : own + (uint64_t)left;
}

void hs__memory_look(const char *root, hs__memory *ret)
{
    char path[MAX_PATH];
    hs__memory m = {0};
    snprintf(path, sizeof path, "%s/proc/self/status", root);
    m.own = read_field(path, "VmRSS", 1024, 0);
    snprintf(path, sizeof path, "%s/proc/pressure/memory", root);
    m.stalled_us[0] = read_stall(path);
    uint64_t machine = machine_available(root), group = budget_of(m.own, cgroup_left(root, &m.stalled_us[1]));
    machine = machine > UINT64_MAX - m.own ? UINT64_MAX : machine + m.own;
    m.budget = machine < group ? machine : group;
    if (group < machine)
        m.stalled_us[0] = 0;
    *ret = m;
}

uint64_t hs__memory_available_below(const char *root)
{
    hs__memory m;
    hs__memory_look(root, &m);
    return m.budget;
}

uint64_t hs__memory_available(void)
{
    return hs__memory_available_below("");
}

uint64_t hs__memory_auto_limit(uint64_t available)
{
    uint64_t reserve = available / 8;
    if (reserve < MIN_RESERVE)
        reserve = MIN_RESERVE < available / 4 ? MIN_RESERVE : available / 4;
    return available - reserve;
}
