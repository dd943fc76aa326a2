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
    const char *mount, *max, *high, *usage, *inactive;
} group_files;

static const group_files v2 = {"/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", "inactive_file"};
static const group_files v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", NULL, "memory.usage_in_bytes",
                               "total_inactive_file"};

static uint64_t number_in(const char *dir, const char *name)
{
    char path[MAX_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return read_number(path);
}

/* What one group still allows; its inactive page cache can be reclaimed. */
static uint64_t group_left(const group_files *f, const char *dir)
{
    uint64_t max = number_in(dir, f->max), high = f->high ? number_in(dir, f->high) : UINT64_MAX;
    max = high < max ? high : max;
    if (max >= UINT64_MAX / 4)
        return UINT64_MAX;
    uint64_t used = number_in(dir, f->usage);
    if (used == UINT64_MAX)
        used = 0;
    char path[MAX_PATH + 64];
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    uint64_t cache = read_field(path, f->inactive, 1, 0);
    used -= cache < used ? cache : used;
    return used < max ? max - used : 0;
}

/* The least over the group `sub` and all groups above it. */
static uint64_t chain_left(const group_files *f, const char *root, const char *sub)
{
    char dir[MAX_PATH];
    uint64_t left = UINT64_MAX;
    size_t top = strlen(root) + strlen(f->mount);
    int n = snprintf(dir, sizeof dir, "%s%s%s", root, f->mount, sub);
    if (n < 0 || n >= (int)sizeof dir)
        return left;
    for (;;) {
        uint64_t here = group_left(f, dir);
        left = here < left ? here : left;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < top)
            return left;
        *slash = '\0';
    }
}

static uint64_t cgroup_left(const char *root)
{
    char line[MAX_PATH];
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "re");
    if (!f)
        return UINT64_MAX;
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
            here = chain_left(&v2, root, path);
        else if (strstr(controllers, "memory"))
            here = chain_left(&v1, root, path);
        left = here < left ? here : left;
    }
    fclose(f);
    return left;
}

uint64_t hs__memory_available_below(const char *root)
{
    char status[MAX_PATH];
    uint64_t machine = machine_available(root), group = cgroup_left(root);
    uint64_t least = machine < group ? machine : group;
    snprintf(status, sizeof status, "%s/proc/self/status", root);
    uint64_t own = read_field(status, "VmRSS", 1024, 0);
    return least > UINT64_MAX - own ? UINT64_MAX : least + own;
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
