/* device.c - see device.h. Reads /sys; no state. */
#include "store/device.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

/* One line of a file in /sys without blanks at its ends; "" if there is none. */
static void read_line(const char *dir, const char *name, char *buf, size_t cap)
{
    char path[PATH_MAX];
    *buf = '\0';
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (!fgets(buf, (int)cap, f))
        *buf = '\0';
    fclose(f);
    size_t n = strcspn(buf, "\n");
    while (n && buf[n - 1] == ' ')
        n--;
    buf[n] = '\0';
    size_t blank = strspn(buf, " ");
    memmove(buf, buf + blank, strlen(buf + blank) + 1);
}

/* What names the drive of block device `dir` (a partition: of the drive it is on). */
static void read_serial(char *dir, char *buf, size_t cap)
{
    static const char *const names[] = {"serial", "device/serial", "wwid", "device/wwid", "dm/uuid", "md/uuid"};
    *buf = '\0';
    for (int up = 0; up < 2 && !*buf; up++) {
        for (size_t i = 0; i < sizeof names / sizeof *names && !*buf; i++)
            read_line(dir, names[i], buf, cap);
        char *slash = strrchr(dir, '/');
        if (slash)
            *slash = '\0';
    }
}

int hs_device_describe(const char *file, char *buf, size_t cap, hs_err *err)
{
    struct stat st;
    struct statfs fs;
    struct utsname u;
    char link[64], dir[PATH_MAX], serial[128] = "", sectors[32] = "";
    if (stat(file, &st) < 0 || statfs(file, &fs) < 0)
        return hs_err_set(err, -errno, "%s: %s", file, hs_strerror(-errno));
    if (uname(&u) < 0)
        u.release[0] = '\0';
    snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    if (realpath(link, dir)) {
        char name[NAME_MAX + 1];
        snprintf(name, sizeof name, "%s", strrchr(dir, '/') + 1);
        read_line(dir, "size", sectors, sizeof sectors);
        read_serial(dir, serial, sizeof serial);
        snprintf(buf, cap, "filesystem %lx on %s, serial %s, %s sectors; Linux %s", (unsigned long)fs.f_type, name,
                 *serial ? serial : "unknown", sectors, u.release);
    } else {
        /* No block device of its own: btrfs, overlays, network filesystems. */
        int id[2];
        memcpy(id, &fs.f_fsid, sizeof id);
        snprintf(buf, cap, "filesystem %lx %08x%08x; Linux %s", (unsigned long)fs.f_type, (unsigned)id[0],
                 (unsigned)id[1], u.release);
    }
    return 0;
}
