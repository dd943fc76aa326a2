/*
 * folder.c - the files around the shards: listing a folder, copying, files that appear only when they are complete,
 * the lock of a folder that is being written.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define COPY_CHUNK (1u << 20)

bool hs__pk_name_is_plain(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    return n && n <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

bool hs__pk_name_is_reserved(const char *name)
{
    return !strcmp(name, HS__PK_MANIFEST) || !strncmp(name, "hotset-pack.", 12) || !strncmp(name, "copied-", 7) ||
           ends_with(name, ".hss") || ends_with(name, ".header") || ends_with(name, ".tmp") ||
           ends_with(name, ".safetensors"); /* one that no index names: alone with config.json it would be a model */
}

char *hs__pk_path(const char *folder, const char *name, hs_err *err)
{
    char *p = hs_asprintf("%s/%s", folder, name);
    if (!p)
        hs_err_set(err, -ENOMEM, "%s: out of memory", folder);
    return p;
}

int hs__pk_open(const char *path, struct stat *ret_st, hs_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return hs_file_unopened(path, -errno, err);
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r < 0)
        hs_err_set(err, r, "%s: %s", path, hs_strerror(r));
    else if (!S_ISREG(st.st_mode))
        r = hs_err_set(err, -EINVAL, "%s: not a regular file", path);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_st = st;
    return fd;
}

int hs__pk_unchanged(int fd, const char *path, uint64_t bytes, const int64_t mtime[2], hs_err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
    if ((uint64_t)st.st_size != bytes || st.st_mtim.tv_sec != mtime[0] || st.st_mtim.tv_nsec != mtime[1])
        return hs_err_set(err, -ESTALE, "%s was changed while it was being packed: nothing of it can be relied on",
                          path);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hs__pk_file *)a)->name, ((const hs__pk_file *)b)->name);
}

static int add_file(hs__pk_list *l, const char *name, const struct stat *st)
{
    if (l->n == HS__PK_MAX_FILES)
        return -E2BIG;
    size_t cap = l->n;
    if (hs_grow(&l->files, sizeof *l->files, l->n + 1, &cap, l->n + 1) < 0)
        return -ENOMEM;
    hs__pk_file *file = &l->files[l->n++];
    *file = (hs__pk_file){.name = hs_strdup(name),
                          .bytes = (uint64_t)st->st_size,
                          .mtime = {st->st_mtim.tv_sec, st->st_mtim.tv_nsec},
                          .mode = st->st_mode & 07777};
    return file->name ? 0 : -ENOMEM;
}

static int add_entry(hs__pk_list *l, const char *folder, int dir, const char *name, const hs__pk_work *w, hs_err *err)
{
    struct stat st;
    if (!strcmp(name, ".") || !strcmp(name, ".."))
        return 0;
    /* Hugging Face's cache keeps symbolic links to blobs: they stand for their files. */
    if (fstatat(dir, name, &st, 0) < 0)
        return hs_err_set(err, -errno, "%s/%s: %s%s", folder, name, hs_strerror(-errno),
                          errno == ENOENT ? " (a symbolic link to nothing: is the download complete?)" : "");
    if (!S_ISREG(st.st_mode)) {
        if (w)
            hs__pk_note(w, "%s/%s is left out: %s", folder, name,
                        S_ISDIR(st.st_mode) ? "a packed model has no subfolders" : "not a regular file");
        return 0;
    }
    int r = add_file(l, name, &st);
    if (r == -E2BIG)
        return hs_err_set(err, r, "%s: more than %u files", folder, HS__PK_MAX_FILES);
    return r < 0 ? hs_err_set(err, r, "%s: out of memory", folder) : 0;
}

int hs__pk_list_folder(const char *path, const hs__pk_work *w, hs__pk_list *ret, hs_err *err)
{
    hs__pk_list l = {0};
    int r = 0;
    DIR *d = opendir(path);
    if (!d)
        return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
    errno = 0;
    for (struct dirent *e; r == 0 && (errno = 0, e = readdir(d));)
        r = add_entry(&l, path, dirfd(d), e->d_name, w, err);
    if (r == 0 && errno)
        r = hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
    closedir(d);
    if (r < 0) {
        hs__pk_list_free(&l);
        return r;
    }
    if (l.n)
        qsort(l.files, l.n, sizeof *l.files, by_name);
    *ret = l;
    return 0;
}

void hs__pk_list_free(hs__pk_list *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        hs_free(l->files[i].name);
        hs_free(l->files[i].stored_as);
    }
    hs_free(l->files);
    *l = (hs__pk_list){0};
}

const hs__pk_file *hs__pk_list_find(const hs__pk_list *l, const char *name)
{
    hs__pk_file key = {.name = (char *)(uintptr_t)name};
    return l->n ? bsearch(&key, l->files, l->n, sizeof *l->files, by_name) : NULL;
}

int hs__pk_commit(int fd, const char *tmp, const char *path, hs_err *err)
{
    int r = fsync(fd) < 0 ? -errno : 0;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r == 0)
        r = hs_fsync_parent(path);
    return r < 0 ? hs_err_set(err, r, "%s: %s", path, hs_strerror(r)) : 0;
}

int hs__pk_link(const char *folder, const char *name, const char *target, hs_err *err)
{
    char *path = hs__pk_path(folder, name, err), *tmp = path ? hs__pk_path(folder, HS__PK_TMP, err) : NULL;
    int r = tmp ? 0 : -ENOMEM;
    if (r == 0) {
        unlink(tmp);
        if (symlink(target, tmp) < 0 || rename(tmp, path) < 0)
            r = -errno;
        if (r == 0)
            r = hs_fsync_parent(path);
        if (r < 0)
            hs_err_set(err, r, "%s: %s", path, hs_strerror(r));
    }
    hs_free(path);
    hs_free(tmp);
    return r;
}

/* A new HS__PK_TMP in folder. Its mode is set whatever the umask says only by the caller. */
static int open_tmp(const char *folder, uint32_t mode, char **ret_tmp, hs_err *err)
{
    char *tmp = hs__pk_path(folder, HS__PK_TMP, err);
    if (!tmp)
        return -ENOMEM;
    unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : 0;
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        hs_err_set(err, r, "%s: %s", tmp, hs_strerror(r));
        hs_free(tmp);
        return r;
    }
    *ret_tmp = tmp;
    return fd;
}

int hs__pk_write(const char *folder, const char *name, const void *data, size_t len, uint32_t mode, hs_err *err)
{
    char *tmp = NULL, *path = hs__pk_path(folder, name, err);
    if (!path)
        return -ENOMEM;
    int fd = open_tmp(folder, mode, &tmp, err), r = fd;
    if (fd >= 0) {
        r = hs_write_full(fd, data, len);
        if (r == 0) {
            r = hs__pk_commit(fd, tmp, path, err);
        } else {
            close(fd);
            hs_err_set(err, r, "%s: %s", path, hs_strerror(r));
        }
        if (r < 0)
            unlink(tmp);
    }
    hs_free(tmp);
    hs_free(path);
    return r < 0 ? r : 0;
}

/* Reads in, hashes, and writes to out unless it is -1. */
static int stream(hs__pk_work *w, int in, const char *in_path, int out, const char *out_path, uint64_t bytes,
                  uint64_t *ret_hash, hs_err *err)
{
    XXH3_state_t *h = XXH3_createState();
    uint8_t *buf = hs_malloc(COPY_CHUNK);
    int r = h && buf ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", in_path);
    if (r == 0)
        XXH3_64bits_reset(h);
    for (uint64_t at = 0; r == 0 && at < bytes;) {
        size_t n = bytes - at < COPY_CHUNK ? (size_t)(bytes - at) : COPY_CHUNK;
        r = hs_pread_full(in, buf, n, (off_t)at);
        if (r < 0) {
            hs_err_set(err, r, "%s: %s", in_path, r == -ENODATA ? "ends too early" : hs_strerror(r));
            break;
        }
        XXH3_64bits_update(h, buf, n);
        r = out < 0 ? 0 : hs_write_full(out, buf, n);
        if (r < 0) {
            hs_err_set(err, r, "%s: %s", out_path, hs_strerror(r));
            break;
        }
        at += n;
        r = hs__pk_advance(w, n, err);
    }
    if (r == 0)
        *ret_hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    hs_free(buf);
    return r;
}

int hs__pk_hash_file(hs__pk_work *w, const char *path, uint64_t bytes, uint64_t *ret, hs_err *err)
{
    struct stat st = {0};
    int fd = hs__pk_open(path, &st, err);
    if (fd < 0)
        return fd;
    int r;
    if ((uint64_t)st.st_size != bytes)
        r = hs_err_set(err, -EBADMSG, "%s: %llu bytes instead of %llu", path, (unsigned long long)st.st_size,
                       (unsigned long long)bytes);
    else
        r = stream(w, fd, path, -1, NULL, bytes, ret, err);
    close(fd);
    return r;
}

int hs__pk_copy(hs__pk_work *w, const char *from_folder, const char *from, const char *to_folder, const char *to,
                uint32_t mode, uint64_t *ret_hash, hs_err *err)
{
    struct stat st;
    char *in_path = hs__pk_path(from_folder, from, err), *out_path = in_path ? hs__pk_path(to_folder, to, err) : NULL;
    char *tmp = NULL;
    int r = out_path ? 0 : -ENOMEM, in = -1, out = -1;
    if (r == 0)
        r = in = hs__pk_open(in_path, &st, err);
    if (in >= 0)
        r = out = open_tmp(to_folder, mode, &tmp, err);
    if (out >= 0) {
        uint64_t bytes = (uint64_t)st.st_size;
        r = stream(w, in, in_path, out, out_path, bytes, ret_hash, err);
        if (r == 0)
            r = hs__pk_unchanged(in, in_path, bytes, (int64_t[2]){st.st_mtim.tv_sec, st.st_mtim.tv_nsec}, err);
        if (r == 0)
            r = hs__pk_commit(out, tmp, out_path, err);
        else
            close(out);
        if (r < 0)
            unlink(tmp);
    }
    if (in >= 0)
        close(in);
    hs_free(tmp);
    hs_free(in_path);
    hs_free(out_path);
    return r;
}

/* The absolute path of dst, which need not exist; its parent must. */
static int resolve(const char *dst, char ret[PATH_MAX], hs_err *err)
{
    char parent[PATH_MAX], name[NAME_MAX + 1];
    if (realpath(dst, ret))
        return 0;
    size_t n = strlen(dst);
    while (n > 1 && dst[n - 1] == '/')
        n--;
    size_t slash = n;
    while (slash && dst[slash - 1] != '/')
        slash--;
    if (errno != ENOENT || n == 0 || n - slash > NAME_MAX || n >= PATH_MAX)
        return hs_err_set(err, errno ? -errno : -EINVAL, "%s: %s", dst, hs_strerror(errno ? -errno : -EINVAL));
    snprintf(name, sizeof name, "%.*s", (int)(n - slash), dst + slash);
    snprintf(parent, sizeof parent, "%.*s", (int)slash, slash ? dst : "");
    char folder[PATH_MAX];
    if (!realpath(*parent ? parent : ".", folder))
        return hs_err_set(err, -errno, "%s: %s", *parent ? parent : ".", hs_strerror(-errno));
    if (snprintf(ret, PATH_MAX, "%s/%s", !strcmp(folder, "/") ? "" : folder, name) >= PATH_MAX)
        return hs_err_set(err, -ENAMETOOLONG, "%s: the path is too long", dst);
    return 0;
}

int hs__pk_prepare_dst(const char *src, const char *dst, bool make, hs_err *err)
{
    char s[PATH_MAX], d[PATH_MAX];
    struct stat st;
    if (!realpath(src, s))
        return hs_err_set(err, -errno, "%s: %s", src, hs_strerror(-errno));
    int r = resolve(dst, d, err);
    if (r < 0)
        return r;
    size_t n = strlen(s);
    if (!strncmp(s, d, n) && (d[n] == '\0' || d[n] == '/' || n == 1))
        return hs_err_set(err, -EINVAL, "%s %s %s: choose a folder outside it", dst,
                          d[n] == '\0' ? "is the same folder as" : "lies inside", src);
    if (make && mkdir(d, 0777) < 0 && errno != EEXIST)
        return hs_err_set(err, -errno, "%s: %s", dst, hs_strerror(-errno));
    if (stat(d, &st) < 0)
        return hs_err_set(err, -errno, "%s: %s", dst, hs_strerror(-errno));
    return S_ISDIR(st.st_mode) ? 0 : hs_err_set(err, -ENOTDIR, "%s: not a folder", dst);
}

int hs__pk_lock(const char *folder, int *ret_fd, hs_err *err)
{
    char *path = hs__pk_path(folder, HS__PK_LOCK, err);
    if (!path)
        return -ENOMEM;
    int r = -EAGAIN;
    while (r == -EAGAIN) {
        struct stat mine, there;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0) {
            r = hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
            break;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            r = errno == EWOULDBLOCK ? hs_err_set(err, -EBUSY, "%s: another hotset is writing to this folder", folder)
                                     : hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
        /* A finished one removes its lock file: then the lock on that inode is worth nothing. */
        else if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
                 mine.st_dev == there.st_dev)
            r = 0;
        if (r == 0)
            *ret_fd = fd;
        else
            close(fd);
    }
    hs_free(path);
    return r;
}

void hs__pk_unlock(const char *folder, int *fd)
{
    if (*fd < 0)
        return;
    char path[PATH_MAX]; /* no allocation: the lock must not stay because memory ran out */
    if (snprintf(path, sizeof path, "%s/" HS__PK_LOCK, folder) < (int)sizeof path)
        unlink(path);
    close(*fd);
    *fd = -1;
}
