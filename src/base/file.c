/* file.c - whole small files. No state. */
#include "base/file.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

int hs_pread_full(int fd, void *buf, size_t n, off_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(fd, (char *)buf + done, n - done, offset + (off_t)done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -ENODATA;
        done += (size_t)k;
    }
    return 0;
}

int hs_pwrite_full(int fd, const void *buf, size_t n, off_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(fd, (const char *)buf + done, n - done, offset + (off_t)done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        done += (size_t)k;
    }
    return 0;
}

int hs_write_full(int fd, const void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const char *)buf + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        done += (size_t)k;
    }
    return 0;
}

int hs_file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, hs_err *err)
{
    int r = 0;
    char *data = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = hs_err_set(err, -errno, "%s: %s", path, hs_strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        r = hs_err_set(err, -EINVAL, "%s: not a regular file", path);
        goto out;
    }
    if ((unsigned long long)st.st_size > max) {
        r = hs_err_set(err, -EFBIG, "%s: %lld bytes; at most %zu are accepted here", path, (long long)st.st_size, max);
        goto out;
    }
    data = hs_malloc((size_t)st.st_size + 1);
    if (!data) {
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
        goto out;
    }
    r = hs_pread_full(fd, data, (size_t)st.st_size, 0);
    if (r < 0) {
        hs_err_set(err, r, "%s: %s", path, r == -ENODATA ? "the file shrank while it was read" : hs_strerror(r));
        goto out;
    }
    data[st.st_size] = '\0';
    *ret_data = data;
    data = NULL;
    if (ret_len)
        *ret_len = (size_t)st.st_size;
out:
    hs_free(data);
    if (fd >= 0)
        close(fd);
    return r;
}

bool hs_file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int hs_fsync_parent(const char *path)
{
    char tmp[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s", path) >= (int)sizeof tmp)
        return -ENAMETOOLONG;
    int fd = open(dirname(tmp), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int hs_file_write_atomic(const char *path, const void *data, size_t len, hs_err *err)
{
    char tmp[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return hs_err_set(err, -ENAMETOOLONG, "%s: path is too long", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return hs_err_set(err, -errno, "%s: %s", tmp, hs_strerror(errno));
    int r = hs_write_full(fd, data, len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(tmp);
        return hs_err_set(err, r, "%s: %s", path, hs_strerror(r));
    }
    r = hs_fsync_parent(path);
    return r < 0 ? hs_err_set(err, r, "%s: %s", path, hs_strerror(r)) : 0;
}

int hs_file_unopened(const char *path, int code, hs_err *err)
{
    char to[PATH_MAX];
    ssize_t n = readlink(path, to, sizeof to - 1);
    if (n <= 0)
        return hs_err_set(err, code, "%s: %s", path, hs_strerror(code));
    to[n] = '\0';
    return hs_err_set(err, code, "%s: is a link to %s: %s%s", path, to, hs_strerror(code),
                      code == -ENOENT ? " (is that drive mounted?)" : "");
}

void hs_file_name(int fd, char *buf, size_t cap)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buf, cap - 1);
    if (n > 0)
        buf[n] = '\0';
    else
        snprintf(buf, cap, "a model's file");
}
