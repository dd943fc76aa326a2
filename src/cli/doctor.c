/* doctor.c - see doctor.h. */
#include "cli/doctor.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/option.h"

#define MIN_MEMLOCK (64ull << 20) /* what the buffers of a usual model take */

static const char *const words[] = {"ok", "warn", "fail"};

void hs_doctor_add(hs_doctor *d, const char *what, hs_health health, const char *advice, const char *fmt, ...)
{
    if (d->n == HS_DOCTOR_MAX)
        return;
    hs_finding *f = &d->findings[d->n++];
    va_list ap;
    f->what = what;
    f->health = health;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    snprintf(f->advice, sizeof f->advice, "%s", advice ? advice : "");
    hs_make_printable(f->text);
    hs_make_printable(f->advice);
}

size_t hs_doctor_count(const hs_doctor *d, hs_health health)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += d->findings[i].health == health;
    return n;
}

/* The beginning of a file below root; false if it cannot be read. */
static bool read_text(const hs_doctor *d, const char *path, char *buf, size_t cap)
{
    char full[PATH_MAX];
    if (snprintf(full, sizeof full, "%s%s", d->root, path) >= (int)sizeof full)
        return false;
    FILE *f = fopen(full, "re");
    if (!f)
        return false;
    size_t n = fread(buf, 1, cap - 1, f);
    buf[n] = '\0';
    fclose(f);
    return n > 0;
}

void hs_doctor_kernel(hs_doctor *d, const char *release)
{
    unsigned major = 0, minor = 0;
    if (sscanf(release, "%u.%u", &major, &minor) != 2)
        hs_doctor_add(d, "kernel", HS_HEALTH_WARN, NULL, "Linux '%s' is no version that is understood", release);
    else if (major < 5 || (major == 5 && minor < 1))
        hs_doctor_add(d, "kernel", HS_HEALTH_WARN, "use Linux 6.1 or newer: 5.1 has no io_uring yet",
                      "Linux %s: experts are read by a pool of threads", release);
    else if (major < 6)
        hs_doctor_add(d, "kernel", HS_HEALTH_WARN, "use Linux 6.1 or newer: io_uring costs less there",
                      "Linux %s works", release);
    else
        hs_doctor_add(d, "kernel", HS_HEALTH_OK, NULL, "Linux %s", release);
}

void hs_doctor_io_uring(hs_doctor *d, int result)
{
    char text[32] = "";
    bool has = read_text(d, "/proc/sys/kernel/io_uring_disabled", text, sizeof text);
    long disabled = has ? strtol(text, NULL, 10) : 0;
    if (result == 0)
        hs_doctor_add(d, "io_uring", HS_HEALTH_OK, NULL, "allowed");
    else if (disabled)
        hs_doctor_add(d, "io_uring", HS_HEALTH_WARN, "sysctl kernel.io_uring_disabled=0",
                      "sysctl kernel.io_uring_disabled is %ld: reads go through a pool of threads", disabled);
    else if (result == -ENOSYS)
        hs_doctor_add(d, "io_uring", HS_HEALTH_WARN, "use a kernel that has it; containers: another seccomp profile",
                      "this kernel has none, or hides it: reads go through a pool of threads");
    else
        hs_doctor_add(d, "io_uring", HS_HEALTH_WARN,
                      "containers: a seccomp profile that allows io_uring_setup, io_uring_enter, io_uring_register",
                      "refused (%s): reads go through a pool of threads", hs_strerror(result));
}

void hs_doctor_memlock(hs_doctor *d, uint64_t bytes)
{
    char a[32];
    if (bytes >= UINT64_MAX / 2)
        hs_doctor_add(d, "memlock", HS_HEALTH_OK, NULL, "unlimited");
    else if (bytes >= MIN_MEMLOCK)
        hs_doctor_add(d, "memlock", HS_HEALTH_OK, NULL, "%s", hs_format_size(bytes, a, sizeof a));
    else
        hs_doctor_add(d, "memlock", HS_HEALTH_WARN, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service",
                      "%s: buffers may not be registered, which costs some microseconds per read",
                      hs_format_size(bytes, a, sizeof a));
}

void hs_doctor_huge_pages(hs_doctor *d)
{
    char text[128];
    static const char file[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    if (!read_text(d, file, text, sizeof text)) {
        hs_doctor_add(d, "huge pages", HS_HEALTH_WARN, NULL, "%s cannot be read", file);
        return;
    }
    text[strcspn(text, "\n")] = '\0';
    bool never = strstr(text, "[never]") != NULL;
    hs_doctor_add(d, "huge pages", never ? HS_HEALTH_WARN : HS_HEALTH_OK,
                  never ? "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled" : NULL, "%s%s", text,
                  never ? ": memory is walked in pages of 4 KiB, which computes slower" : "");
}

void hs_doctor_swap(hs_doctor *d)
{
    char text[8192];
    const char *total = NULL;
    unsigned long long kib = 0;
    if (read_text(d, "/proc/meminfo", text, sizeof text))
        total = strstr(text, "SwapTotal:");
    if (!total || sscanf(total + 10, "%llu", &kib) != 1)
        hs_doctor_add(d, "swap", HS_HEALTH_WARN, NULL, "/proc/meminfo does not tell");
    else if (!kib)
        hs_doctor_add(d, "swap", HS_HEALTH_OK, NULL, "none");
    else
        hs_doctor_add(d, "swap", HS_HEALTH_WARN,
                      "MemorySwapMax=0 in the service (or swapoff -a): an expert read again from its file costs less "
                      "than one that was swapped",
                      "%.1f GiB: what is resident may be written out and read back", (double)kib / (1 << 20));
}

void hs_doctor_pressure(hs_doctor *d)
{
    char text[512];
    if (read_text(d, "/proc/pressure/memory", text, sizeof text) && !strncmp(text, "some ", 5)) {
        text[strcspn(text, "\n")] = '\0';
        hs_doctor_add(d, "pressure", HS_HEALTH_OK, NULL, "the kernel tells memory pressure: %s", text);
    } else {
        hs_doctor_add(d, "pressure", HS_HEALTH_WARN, "boot with psi=1",
                      "no pressure stall information: the governor goes by free memory alone");
    }
}

void hs_doctor_state_dir(hs_doctor *d, const char *dir)
{
    static const char advice[] = "set state.dir to a folder that this user may write";
    char path[PATH_MAX];
    if (!dir || !*dir) {
        hs_doctor_add(d, "state", HS_HEALTH_WARN, advice, "no folder for what is learnt: neither state.dir nor HOME");
        return;
    }
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path) {
        hs_doctor_add(d, "state", HS_HEALTH_WARN, advice, "the name of state.dir is too long");
        return;
    }
    while (access(path, F_OK) < 0 && errno == ENOENT) { /* what is missing is made when something is kept */
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            break;
        *slash = '\0';
    }
    int code = access(path, W_OK | X_OK) < 0 ? -errno : 0;
    if (code < 0)
        hs_doctor_add(d, "state", HS_HEALTH_WARN, advice, "%s: %s: %s; nothing is kept between runs", dir, path,
                      hs_strerror(code));
    else
        hs_doctor_add(d, "state", HS_HEALTH_OK, NULL, "%s", dir);
}

void hs_doctor_drive(hs_doctor *d, const char *file, unsigned dev_major, unsigned dev_minor)
{
    char link[PATH_MAX], dir[PATH_MAX], path[PATH_MAX + 32], text[32] = "";
    if (snprintf(link, sizeof link, "%s/sys/dev/block/%u:%u", d->root, dev_major, dev_minor) >= (int)sizeof link ||
        !realpath(link, dir)) {
        hs_doctor_add(d, "drive", HS_HEALTH_WARN, "hotset bench --disk PATH measures it",
                      "%s lies on no block device of its own: a network or stacked filesystem", file);
        return;
    }
    size_t root = strlen(d->root);
    for (int up = 0; up < 2 && !*text; up++) { /* a partition: its drive */
        snprintf(path, sizeof path, "%s/queue/rotational", dir + root);
        char *slash = strrchr(dir, '/');
        if (read_text(d, path, text, sizeof text) || !slash)
            break;
        *slash = '\0';
    }
    const char *name = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;
    if (*text == '1')
        hs_doctor_add(d, "drive", HS_HEALTH_WARN,
                      "if it does turn, put the model on an SSD; hotset bench --disk PATH tells",
                      "%s lies on %s, which turns by its own word, as virtual drives often say", file, name);
    else
        hs_doctor_add(d, "drive", HS_HEALTH_OK, NULL, "%s lies on %s, %s", file, name,
                      !strncmp(name, "nvme", 4) ? "an NVMe drive"
                      : *text                   ? "which does not turn"
                                                : "of unknown kind");
}

void hs_doctor_format(const hs_doctor *d, hs_buf *out)
{
    static const char *const shown[] = {"OK", "WARN", "FAIL"};
    for (size_t i = 0; i < d->n; i++) {
        const hs_finding *f = &d->findings[i];
        hs_buf_printf(out, "%-4s  %-11s %s\n", shown[f->health], f->what, f->text);
        if (*f->advice)
            hs_buf_printf(out, "%18s-> %s\n", "", f->advice);
    }
}

json_t *hs_doctor_json(const hs_doctor *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const hs_finding *f = &d->findings[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:o}", "check", f->what, "health", words[f->health], "found",
                                        f->text, "advice", *f->advice ? json_string(f->advice) : json_null()));
    }
    return json_pack("{s:o, s:i, s:i}", "checks", list, "warnings", (int)hs_doctor_count(d, HS_HEALTH_WARN), "failures",
                     (int)hs_doctor_count(d, HS_HEALTH_FAIL));
}
