/* atomic_file.c - see atomic_file.h. */
#include "cli/atomic_file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/gzip.h"

#define BUFFER_BYTES (256u * 1024)

struct hs_atomic_file {
    char *path, *tmp;
    int fd;
    int failed; /* first error, negative errno */
    bool committed, in_place;
    hs_gzip *gzip; /* NULL = written as it comes */
    size_t used;
    char buffer[BUFFER_BYTES];
};
_Static_assert(sizeof(struct hs_atomic_file) + HS_GZIP_BYTES < HS_ATOMIC_FILE_BYTES, "what is promised");

/* Opens what is written: the device or pipe at path, or a new file beside it. */
static int open_fd(hs_atomic_file *f, hs_err *err)
{
    struct stat st;
    bool is_there = stat(f->path, &st) == 0;
    if (is_there && S_ISDIR(st.st_mode))
        return hs_err_set(err, -EISDIR, "%s: cannot write: %s", f->path, hs_strerror(EISDIR));
    f->in_place = is_there && !S_ISREG(st.st_mode);
    f->fd = f->in_place ? open(f->path, O_WRONLY | O_CLOEXEC)
                        : open(f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return f->fd < 0 ? hs_err_set(err, -errno, "%s: cannot write: %s", f->path, hs_strerror(errno)) : 0;
}

int hs_atomic_file_open(const char *path, hs_atomic_file **ret_file, hs_err *err)
{
    hs_atomic_file *f = hs_calloc(1, sizeof *f);
    if (!f)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    f->fd = -1;
    f->path = hs_strdup(path);
    f->tmp = hs_asprintf("%s.tmp-%ld", path, (long)getpid());
    int r = f->path && f->tmp ? open_fd(f, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    if (r < 0)
        hs_atomic_file_close(&f);
    else
        *ret_file = f;
    return r;
}

int hs_atomic_file_open_gz(const char *path, hs_atomic_file **ret_file, hs_err *err)
{
    hs_atomic_file *f;
    int r = hs_atomic_file_open(path, &f, err);
    if (r == 0 && hs_is_gzip_name(path) && hs_gzip_create(&f->gzip) < 0) {
        hs_atomic_file_close(&f);
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    }
    if (r == 0)
        *ret_file = f;
    return r;
}

static void flush(hs_atomic_file *f)
{
    if (f->failed == 0 && f->used)
        f->failed = hs_write_full(f->fd, f->buffer, f->used);
    f->used = 0;
}

static void write_gzipped(hs_atomic_file *f, const void *data, size_t n, bool is_last)
{
    bool more = n > 0 || is_last;
    while (more && f->failed == 0) {
        f->used += hs_gzip_write(f->gzip, &data, &n, is_last, f->buffer + f->used, sizeof f->buffer - f->used, &more);
        if (f->used == sizeof f->buffer)
            flush(f);
    }
}

void hs_atomic_file_write(hs_atomic_file *f, const void *data, size_t n)
{
    if (f->gzip) {
        write_gzipped(f, data, n, false);
        return;
    }
    if (f->used + n > sizeof f->buffer)
        flush(f);
    if (f->failed)
        return;
    if (n > sizeof f->buffer) {
        f->failed = hs_write_full(f->fd, data, n);
        return;
    }
    memcpy(f->buffer + f->used, data, n);
    f->used += n;
}

void hs_atomic_file_printf(hs_atomic_file *f, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line)
        f->failed = f->failed ? f->failed : -E2BIG;
    else
        hs_atomic_file_write(f, line, (size_t)n);
}

int hs_atomic_file_commit(hs_atomic_file *f, hs_err *err)
{
    if (f->gzip)
        write_gzipped(f, NULL, 0, true);
    flush(f);
    if (f->failed == 0 && !f->in_place && (fsync(f->fd) < 0 || rename(f->tmp, f->path) < 0))
        f->failed = -errno;
    if (f->failed)
        return hs_err_set(err, f->failed, "%s: cannot write: %s", f->path, hs_strerror(f->failed));
    f->committed = true;
    int r = f->in_place ? 0 : hs_fsync_parent(f->path);
    return r < 0 ? hs_err_set(err, r, "%s: cannot sync its folder: %s", f->path, hs_strerror(r)) : 0;
}

void hs_atomic_file_close(hs_atomic_file **file)
{
    hs_atomic_file *f = *file;
    if (!f)
        return;
    if (f->fd >= 0) {
        close(f->fd);
        if (!f->committed && !f->in_place)
            unlink(f->tmp);
    }
    hs_gzip_destroy(&f->gzip);
    hs_free(f->path);
    hs_free(f->tmp);
    hs_free(f);
    *file = NULL;
}
